"""Does a clause deny something, or say the opposite of another?"""

from __future__ import annotations

import re
from typing import Final

from atrium_grounding import tokens

# What holds a word of denial and denies nothing: limits, questions, set phrases.
_HARMLESS: Final = re.compile(
    r"\bno (?:more|less|fewer|later|earlier) than\b|\bnot (?:more|less|fewer|later|earlier) than\b"
    r"|\b(?:can't|cannot|can not|won't|will not|not|mustn't|may not) (?:\w+ ){0,3}?(?:more|less|"
    r"fewer|later|"
    r"earlier) than\b|\bnot (?:exceed(?:ing)?|only|just|to mention|least)\b|\bno (?:problem|"
    r"doubt|matter|"
    r"worries)\b"
    r"|\bwhy (?:not|don't)\b|\b(?:don't|do not|never) forget\b|\bnot a problem\b"
    r"|\b(?:isn't|aren't|wasn't|don't|didn't|won't|shouldn't|can't) (?:it|we|you|they|that)\b"
    r"|\bno\. ?\d|\bnumber one\b"
    r"|(?:不|别|未)(?:能|会|可以|得|许|要|可)?(?:超过|少于|多于|低于|高于|晚于|早于|迟于|忘)|"
    r"不要忘|不但|不仅|不只|不错|"
    r"不过|不同|不断"
    r"|不管|不论|不如说|不好意思|对不起|差不多|了不起|不客气|不少|要不然|要不|不然|没问题|"
    r"没关系|没事|没错|"
    r"(?:不到|不足|不满)\s*(?:百分之|[0-9一二三四五六七八九十百千万半两])|(?:[0-9一二三四五六七八九十百千万半两]|%|％)\w{0,2}?不到|"
    r"无人[机车店]|无障碍|无纸|无限|无缝|"
    r"无犯罪|"
    r"未来|未必|别的|别人|特别|区别|分别|级别|类别|个别|性别|告别|无论|无线|无锡|毫无疑问|莫非|"
    r"非常|除非|"
    r"(.)不\1|是否|能否|可否"
)
_DENIALS: Final = re.compile(
    r"\b(?:not|never|no|none|nobody|nothing|cannot|without|neither|nor|forbidden|unable|dont|wont|"
    r"cant|didnt|isnt|doesnt|hardly)\b|n't\b"
    r"|不|没|别|未|无|勿|(?<!打)算了|拉倒|免了|砍掉|(?<![是除并])非(?!洲)|否(?!认|决|定)"
)
# Each word with what says the opposite; stems of English words, Chinese words as they stand.
_OPPOSITES: Final = (
    ("approv accept adopt agre endors pass "
        "support", "reject declin refus turn.down oppos disagre veto"),
    ("increas rais grow rise higher up "
        "more", "decreas reduc lower cut drop fall shrink down less fewer"),
    ("before earlier advanc bring.forward", "after later postpon delay defer push.back"),
    ("stay keep remain", "move switch chang leav"),
    ("keep retain continu stay maintain", "drop remov abandon cancel scrap stop discontinu delet"),
    ("start begin launch open", "stop end close shut"),
    ("allow permit", "forbid ban prohibit block"),
    ("hire recruit", "fire dismiss"),
    ("buy purchas", "sell"),
    ("internal", "external"),
    ("succeed success pass", "fail failur"),
    ("faster quicker", "slower"),
    ("finish complet done", "unfinish incomplet pend"),
    ("first", "last"),
    ("in.favour in.favor", "against"),
    ("cheaper cheap", "expens pricier"),
    ("full", "empti"),
    ("free avail vacant", "taken take occupi"),
    ("includ", "exclud"),
    ("remember", "forget forgot"),
    ("correct", "wrong incorrect"),
    ("safe", "unsaf danger"),
    ("insid indoor", "outsid outdoor"),
    ("same", "differ"),
    ("easier easi", "harder hard difficult"),
    ("better best", "worse worst"),
    ("longer long", "shorter short"),
    ("larger bigger larg big", "smaller small"),
    ("enough suffici", "insuffici"),
    ("everybodi everyon all", "nobodi none"),
    ("mani", "few"),
    ("with", "without"),
    ("morn", "even afternoon"),
    ("left", "right"),
    ("new", "old"),
    ("win won", "lose lost"),
    ("arriv", "leav depart"),
    ("enabl activ", "disabl deactiv"),
    ("同意 通过 批准 赞成 支持 认可 采纳 接受", "反对 否决 驳回 拒绝 不赞成"),
    ("增加 提高 上升 上调 上涨 增长 扩大 加大 "
        "涨", "减少 降低 下降 下调 下跌 缩减 缩小 削减 压缩 降"),
    ("换成 改用 更换 换了 换掉", "还按 还用 仍用 沿用 照旧 照用"),
    ("免费", "收费"),
    ("出席 到场", "缺席 请假"),
    ("正常", "异常 故障"),
    ("盈利", "亏损"),
    ("提前", "推迟 延后 延期 推后 往后推 顺延"),
    ("保留 继续 维持 留着", "取消 划掉 放弃 删除 去掉 停止 砍掉 终止 移除 停掉"),
    ("开始 启动 启用 开放 上线 打开", "停止 结束 关闭 停用 下线 暂停"),
    ("允许", "禁止"),
    ("内部", "外部"),
    ("成功", "失败"),
    ("之前 以前", "之后 以后"),
    ("最早", "最晚 最迟"),
    ("便宜", "贵"),
    ("快", "慢"),
    ("室内 屋里", "室外 户外 露天"),
    ("涨价 上涨", "降价 下跌"),
    ("上午 早上", "下午 晚上"),
    ("左边", "右边"),
    ("足够 够用", "不足 短缺"),
    ("更多", "更少"),
    ("更大", "更小"),
    ("更长", "更短"),
    ("赞成", "反对"),
    ("合格 及格", "不合格"),
    ("打开", "关掉 关上"),
    ("来得及", "来不及"),
    ("多于 超过", "少于 不足"),
)  # fmt: skip


_PREFIXES: Final = re.compile(
    "不(?![过但仅同断错少])|没(?![收])|(?<![特区分级类个性告识辨])别(?![人墅的])|未(?![来])|勿"
)


def without_denials(text: str) -> str:
    """Return a text in which Chinese words of denial stand apart: 不赔 holds 赔."""
    return text if text.isascii() else _PREFIXES.sub(" ", text)


def denials(text: str) -> int:
    """Return how many words of a text deny something, in Chinese and English."""
    return len(_DENIALS.findall(_HARMLESS.sub(" ", tokens.fold(text).replace("’", "'"))))


def _pairs() -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    found = []
    for one, other in _OPPOSITES:
        found.append((tuple(one.split()), tuple(other.split())))
        found.append((tuple(other.split()), tuple(one.split())))
    return found


_PAIRS: Final = _pairs()


_AT_MOST: Final = re.compile(
    r"\bat most\b|\bup to\b|\b(?:no|not|n't|cannot|never)\b(?: \w+){0,3} (?:more|over|"
    r"exceed\w*)\b|n't (?:\w+ ){0,3}"
    r"(?:more than|exceed)|(?:不|别|未)(?:能|会|可以|得|许|要|可)?(?:超过|多于|高于)|最多|至多"
)
_MORE: Final = re.compile(r"\bmore than\b|\bexceed|超过|多于|高于")


class Poles:
    """A clause as its opposites are looked for.

    Args:
        text: The clause.
    """

    __slots__ = ("_limit", "denied", "held")

    def __init__(self, text: str) -> None:
        folded = tokens.fold(text).replace("’", "'")
        words = {tokens.stem(word) for word in re.findall(r"[a-z]+", folded)}
        self.denied = denials(text)
        self._limit = -1 if _MORE.search(folded) else 0
        if _AT_MOST.search(folded):
            self._limit = 1
        """How many words deny."""
        self.held = tuple(any(_holds(folded, words, word) for word in side) for side, _ in _PAIRS)
        """For each side of each pair, whether it is there."""

    def opposes(self, other: Poles) -> bool:
        """Tell whether a clause with about the same words says the opposite of another."""
        opposite = any(
            # One side here, the other there, and not both in either.
            mine and not theirs and self._far(i, other)
            for i, (mine, theirs) in enumerate(zip(self.held, other.held, strict=True))
        )
        beyond = self._limit * other._limit == -1
        return (self.denied + other.denied + opposite + beyond) % 2 == 1

    def _far(self, side: int, other: Poles) -> bool:
        across = side + 1 if side % 2 == 0 else side - 1
        return other.held[across] and not self.held[across]


def _holds(folded: str, words: set[str], word: str) -> bool:
    if not word.isascii():
        return word in folded
    if "." in word:
        return word.replace(".", " ") in folded
    return word in words or tokens.stem(word) in words


_NO: Final = re.compile(
    r"^\W*(?:no|nope|nah|not (?:yet|really|at all|now)|i don't think so|never|不行|不用|不是|"
    r"不要|不需要|不可以|"
    r"不能|不会|没有|还没|没|不|别|否)(?:\W|$)"
)
_YES: Final = re.compile(
    r"^\W*(?:yes|yeah|yep|yup|sure|ok|okay|right|exactly|correct|agreed|absolutely|of course|fine|"
    r"definitely|indeed|certainly|"
    r"i can|we can|i do|we do|we are|gladly|happily|by all means|"
    r"makes sense|all good|works for me|sounds good|good|great|will do|done|deal|no problem|"
    r"对|是|是的|好|好的|行|可以|没问题|没错|同意|赞同|附议|嗯|当然|明白|收到|成|确实|没意见|赞成|就这么定)(?:\W|的|啊|"
    r"吧|了|，|$)"
)


_SAID_NO: Final = re.compile(r"\b(?:said|say) no\b|没答应|没同意|拒绝了|回绝了")
_DENIES_ALL: Final = re.compile(
    r"^\W*(?:but )?(?:we|i|they|he|she|it|you)(?:'s| is| are|'re| was)? ?"
    r"(?:don't|didn't|can't|couldn't|won't|doesn't|isn't|not|do not|said no)\W*$|"
    r"^(?:可)?(?:没有|不是|不行)\W*$"
)


def answers_no(text: str) -> bool:
    """Tell whether what is said begins with a no, or tells of one."""
    folded = tokens.fold(text).replace("’", "'")
    return _NO.match(folded) is not None or _SAID_NO.search(folded) is not None


def denies_all(text: str) -> bool:
    """Tell whether a sentence only takes back what was said before it: "We don't."."""
    return _DENIES_ALL.match(tokens.fold(text).replace("’", "'")) is not None


def answers_yes(text: str) -> bool:
    """Tell whether what is said begins with a yes."""
    return _YES.match(tokens.fold(text).replace("’", "'")) is not None
