"""What kind of meeting it was.

Each kind has phrases that belong to it; they are counted per sentence, and count more at the
beginning, where people say what they came for. To them come signs of form: a given agenda, one side
that asks and another that answers at length, updates that go round. The kind with most wins.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

from atrium_grounding import tokens
from atrium_meeting.domain.analysis.sentences import Sentence
from atrium_meeting.domain.minutes import MinutesType

_OPENING: Final = 4
"""Sentences that open a meeting; people tell in them what they came for."""
_OPENING_WORTH: Final = 3.0

_CUES: Final[Mapping[MinutesType, re.Pattern[str]]] = {
    MinutesType.AGENDA: re.compile(
        r"\b(?:agenda|(?:first|second|third|fourth|next|last|final) (?:item|point|topic|on (?:the|"
        r"our) list)|item (?:one|two|three|four|five|six|\d)|"
        r"^(?:next|first|second|third|fourth|last|finally),|any other business|minutes of|same "
        r"time next|three items|four items|five items|"
        r"two items|items today|(?:monthly|quarterly|annual|weekly) meeting|move on to|committee|"
        r"board meeting|call (?:this meeting|the meeting) to order|chair|motion|adjourn|"
        r"tell us about the|report on|reports? on)\b"
        r"|议程|议题|议案|第[一二三四五六](?:项|个议题|点|件)|下一(?:项|个议题|点)|最后一(?:项|"
        r"个议题|件)|例会|理事会|委员会|(?:今天|一共)[^，。]{0,4}[两三四五六]个?(?:议题|事项|项|"
        r"件事)|其他事项|下个?月同一时间|汇报一下"
    ),
    MinutesType.BRAINSTORM: re.compile(
        r"\b(?:brainstorm\w*|ideas?|what if|how about|what about a|imagine|silly|crazy|wild|write "
        r"(?:it|that|everything) down|no criticism|love it|or maybe|"
        r"or (?:a|an|we|even)\b|maybe also|we could (?:also )?(?:call|have|make|do|try|offer|give|"
        r"put|build|use)|let's collect|creative|suggestions?|brilliant|nothing is (?:silly|too)|"
        r"like in a|could there be|why not|could we (?:have|make|offer|do))\b"
        r"|头脑风暴|点子|想法|主意|创意|离谱|天马行空|随便(?:说|想)|先记下来|要不(?:要)?|或者|"
        r"搞个|弄个|做个|办个|来个|怎么样|不如|脑洞|也可以|就像|假如|如果(?:我们|能)|妙|"
        r"这个我喜欢|有意思|异想天开|不批评|别否定|名字(?:可以|就)?叫"
    ),
    MinutesType.STANDUP: re.compile(
        r"\b(?:stand-?up|daily|two minutes each|one minute each|minutes each|quick round|round "
        r"the (?:table|room)|yesterday i|i (?:finished|fixed|reviewed|merged|moved|deployed|"
        r"tested|started|worked|moved)|"
        r"today i|plan for today|my turn|your turn|^(?:good )?morning|i start\b|i'll go first|i'm "
        r"(?:blocked|stuck|"
        r"done|waiting)|blocked|blockers?|in review|on call|still working on|nothing from me|"
        r"that's it from me|that's all from me|any trouble|sprint|ticket|build|deploy\w*|shift|"
        r"deliveries|short round)\b"
        r"|站会|晨会|早会|班前会|每人[一两二三]分钟|轮流|我先来|到我|到你|轮到|下一个是?谁|"
        r"昨天(?:我|做|把|完成|修|改)|我昨天|今天(?:我|打算|继续|要|准备)|我今天|卡住|卡在|阻塞|"
        r"受阻|等评审|评审完|做完了|修好了|值班|没有?阻碍|我说完了|进度|"
        r"冲刺|开工|交接班"
    ),
    MinutesType.INTERVIEW: re.compile(
        r"\b(?:interview\w*|tell (?:us|me) (?:something )?about (?:yourself|your)|your "
        r"(?:experience|background|strengths?|weakness\w*|career|cv|resume|job|work|last|previous|"
        r"studies|salary|notice|degree|"
        r"certificates?|motivation|hobbies|book|research|childhood)|why (?:do you want|did you "
        r"(?:apply|leave|choose|become)|would you|are you)|have you (?:ever|led|worked|used|"
        r"managed|done)|"
        r"can you (?:drive|speak|work|handle|start)|when could you|how (?:long|did you|do you|"
        r"would you|many years)|what would you|what do you (?:do|like|think|expect|enjoy)|what "
        r"(?:was|is) your|do you (?:need|have|speak|like|know|still|prefer|miss)|"
        r"notice period|months' notice|candidate|applicant|conditions|thanks for coming|thank you "
        r"for (?:coming|having|taking)|learned in|i(?:'ve| have) (?:been|worked)|"
        r"my uncle|at university|grew up|qualif\w+|any questions for us|question for (?:us|you)|"
        r"did you bring)\b"
        r"|面试|采访|访谈|应聘|候选人|求职|(?:介绍|说说|讲讲|谈谈)(?:一下)?(?:你)?自己|自我介绍|"
        r"您(?!好)|为什么(?:想|要)?(?:离开|离职|来|选|当|做)|你(?:有|会|做|带|之前|以前|最|怎么看|"
        r"什么时候|平时|在)|经历|带过|干过|学过|做过|离职|辞职|入职|待遇|工资|薪水|"
        r"优点|缺点|最(?:难|喜欢|骄傲|遗憾|大)的?|当时|那时候|毕业|专业|什么时候能(?:来|到岗|"
        r"上班)|谢谢(?:你|您)(?:过来|来|的时间|接受)|证书|简历|请讲|好找吗"
    ),
    MinutesType.DECISION: re.compile(
        r"\b(?:decid\w+|decision|choose|choice|options?|which (?:one|of|do|should|is)|versus|"
        r"compare\w*|pros|cons|advantage|drawback|cheaper|"
        r"more expensive|in favou?r|against|vote|rather have|better than|instead of|can we afford|"
        r"afford|too expensive|risk\w*|prefer|alternative|"
        r"(?:the )?(?:first|second) (?:option|offer|choice|place)|we take|objection|is everybody "
        r"fine|give up|convinced|worth it|leave (?:this|the) room|no later|only goal|settled?|"
        r"per (?:month|year|square)|the rent|costs?|quote|offers?)\b"
        r"|决定|拍板|选(?:哪|择|项|定|的|[^一]{0,4}[，。]|$)|方案|二选一|对比|比较(?:一下|了)?|"
        r"还是(?!来|要)|优势|劣势|利弊|更(?:便宜|贵|划算|稳|快|好)|贵|便宜|划算|(?:定|敲)(?:下来|"
        r"了)|就这一个目标|目标|投票|表决|反对|支持|风险|没意见|租金|报价|预算|成本|"
        r"付得起|负担|值不值|我认了|(?:喜欢|倾向|更想)|哪(?:个|家|一个|边|款)|甲|乙方案"
    ),
}
_MORE: Final[Mapping[MinutesType, re.Pattern[str]]] = {
    MinutesType.BRAINSTORM: re.compile(
        r"\b(?:we could|could we|maybe|perhaps|why not|or we|or just|and then we|let's|what if|"
        r"how about|"
        r"sounds fun|funny|fun)\b|可以|要不|干脆|还可以|再加|比如|能不能"
    ),
    MinutesType.INTERVIEW: re.compile(
        r"\b(?:what made you|how did you|do you remember|how do you|did you ever|listeners|readers|"
        r"could you (?:tell|describe|explain|walk)|would you (?:say|like|do)|your (?:latest|new|"
        r"first|own|"
        r"team|family|parents|company|day|dream|plans?))\b|您(?:是|怎么|为什么|当初|的)|听众|读者|"
        r"观众朋友|"
        r"(?:跟|给)我们(?:讲|说|聊)|怎么(?:开始|走上|想到)|为什么会?"
    ),
    MinutesType.DECISION: re.compile(
        r"\b(?:than|cheaper|either|both|versus|rather|prefer|or the|one of (?:them|the two)|the "
        r"other one|"
        r"pick|which|in the end|make up our minds|we need to (?:know|decide|choose|settle)|today "
        r"we)\b"
        r"|两(?:个|家|边|种|款|套)|相比|倾向|比[^，。]{1,8}(?:多|少|贵|便宜|好|快|大|小|远|近)|"
        r"今天(?:必须|得|要|就)|"
        r"得有个(?:结论|结果|说法)|各有|哪(?:个|家|边|一)|不然就|要么"
    ),
    MinutesType.STANDUP: re.compile(
        r"\b(?:i'm (?:working|finishing|testing|waiting)|next up|who's next|go on|anything in "
        r"(?:your|the) way|"
        r"need(?:s)? help|since yesterday|last night|overnight|tonight|this morning|today)\b"
        r"|昨晚|昨天|今天|今早|夜里|接着|下一位|轮到|还差|等着|帮忙|缺人|明天"
    ),
    MinutesType.AGENDA: re.compile(
        r"\b(?:next|last|first|second|third|finally)\b.{0,30}(?:item|point|topic|thing)?|"
        r"any(?:thing| other) "
        r"(?:else|questions|business)|请[^，。]{1,4}(?:汇报|说明|介绍)|下一个|其次|另外|最后"
    ),
}
"""Phrases that are usual in a kind of meeting, but not rare elsewhere."""
_TITLES: Final[Mapping[MinutesType, re.Pattern[str]]] = {
    MinutesType.AGENDA: re.compile(
        r"\b(?:monthly|quarterly|annual|committee|board|association|assembly|council|general "
        r"meeting|"
        r"parents' evening|jour fixe)\b|例会|理事会|委员会|大会|业主|月会|季度会|联席"
    ),
    MinutesType.BRAINSTORM: re.compile(
        r"\b(?:brainstorm\w*|ideas?|how (?:do|can|could|might) we|ways to|workshop|names? for|"
        r"what could)\b"
        r"|头脑风暴|点子|创意|怎么|如何|想法|起(?:个)?名"
    ),
    MinutesType.STANDUP: re.compile(
        r"\b(?:stand-?up|daily|morning (?:round|meeting|huddle|briefing)|handover|huddle|shift|"
        r"check-?in)\b"
        r"|站会|晨会|早会|交接班|班前会|碰头|日会"
    ),
    MinutesType.INTERVIEW: re.compile(
        r"\b(?:interview\w*|conversation with|talk(?:ing)? (?:with|to)|podcast|candidate|job "
        r"talk)\b"
        r"|面试|访谈|采访|专访|对话|应聘"
    ),
    MinutesType.DECISION: re.compile(
        r"\b(?:which|where|whether|choos\w+|choice|decision|decide|select\w*|or)\b|选|哪|定(?:在|"
        r"址|下)|决定|决策|还是|定标"
    ),
}
_TITLE_WORTH: Final = 25.0
_WORTH: Final[Mapping[MinutesType, float]] = {
    MinutesType.AGENDA: 2.0,
    MinutesType.BRAINSTORM: 1.0,
    MinutesType.STANDUP: 0.9,
    MinutesType.INTERVIEW: 1.0,
    MinutesType.DECISION: 0.9,
}
_MORE_WORTH: Final = 0.35
_ABOUT_ONESELF: Final = re.compile(r"\b(?:i|i'm|i've|my|i'd)\b|我(?!们)")


def type_scores(
    sentences: Sequence[Sentence], agenda: Sequence[str] = (), title: str = ""
) -> dict[MinutesType, float]:
    """Return how much speaks for each kind; comparable within one meeting only.

    Args:
        sentences: Of the meeting.
        agenda: Its items, where it has an agenda.
        title: What it is called; may be empty.
    """
    opening = _OPENING
    scores: dict[MinutesType, float] = dict.fromkeys(MinutesType, 0.0)
    for i, sentence in enumerate(sentences):
        worth = _OPENING_WORTH if i < opening else 1.0
        for kind, cues in _CUES.items():
            found = {match.group() for match in cues.finditer(sentence.folded)}
            scores[kind] += worth * min(len(found), 2)
            scores[kind] += _MORE_WORTH * bool(_MORE[kind].search(sentence.folded))
    total = max(len(sentences), 1)
    scores = {kind: 100 * scores[kind] * _WORTH[kind] / total for kind in scores}
    scores[MinutesType.INTERVIEW] += 120 * max(0.0, _asymmetry(sentences) - 0.3)
    scores[MinutesType.STANDUP] += 15 * _roundness(sentences)
    if agenda:
        scores[MinutesType.AGENDA] += 60
    folded = tokens.fold_keeping_length(title)
    for kind, cues in _TITLES.items():
        scores[kind] += _TITLE_WORTH * bool(cues.search(folded))
    return scores


def detect_type(
    sentences: Sequence[Sentence], agenda: Sequence[str] = (), title: str = ""
) -> MinutesType:
    """Return the kind that most speaks for; ``AGENDA`` where there is nothing to tell by."""
    scores = type_scores(sentences, agenda, title)
    return max(MinutesType, key=lambda kind: scores[kind])


def _asymmetry(sentences: Sequence[Sentence]) -> float:
    """Return how much one person answers what the others ask of them, 0 to 1."""
    asked: Counter[str] = Counter()
    answered: Counter[str] = Counter()
    told: Counter[str] = Counter()
    for before, after in pairwise(sentences):
        if before.is_question and after.speaker != before.speaker:
            asked[before.speaker] += 1
            answered[after.speaker] += 1
    for sentence in sentences:
        if _ABOUT_ONESELF.search(sentence.folded):
            told[sentence.speaker] += 1
    total = sum(answered.values())
    if total < 4:
        return 0.0
    who, answers = max(answered.items(), key=lambda item: item[1])
    share = answers / total
    asks = asked[who] / total
    oneself = told[who] / max(sum(told.values()), 1)
    return max(0.0, (share - 0.5) * 2 - asks) * (0.5 + oneself)


def _roundness(sentences: Sequence[Sentence]) -> float:
    """Return how far everybody has a stretch of their own, 0 to 1.

    Each speaker's words are mostly in one third of the time that the meeting takes.
    """
    spoken: dict[str, list[tuple[int, int]]] = {}
    for sentence in sentences:
        spoken.setdefault(sentence.speaker, []).append((sentence.index, min(sentence.size, 40)))
    if len(spoken) < 3:
        return 0.0
    width = len(sentences) / len(spoken)
    close = []
    for turns in spoken.values():
        best = inside = first = 0
        for place, words in turns:
            inside += words
            while turns[first][0] <= place - width:
                inside -= turns[first][1]
                first += 1
            best = max(best, inside)
        close.append(best / sum(words for _, words in turns))
    return max(0.0, (sum(close) / len(close) - 0.4) / 0.6)
