"""Cut Chinese and English text into words, folded so that spellings meet.

Folding is NFKC, lower case and simplified characters: 「年假」 in either script, "SEV 1" and
"sev-1", "20,000" and "20000" become the same. The dictionary is read when the first text comes.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from collections.abc import Iterator
from functools import cache, lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Final

import Stemmer

if TYPE_CHECKING:
    import rjieba

_CJK: Final = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uac00-\ud7af"
_TOKEN: Final = re.compile(
    rf"(?P<cjk>[{_CJK}]+)"
    rf"|(?P<word>[^\W_{_CJK}]+(?:[-_.,:/@+&'’·]+[^\W_{_CJK}]+)*)"
)
_THOUSANDS: Final = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_SPACED_CODE: Final = re.compile(r"\b([A-Z]{1,5}) (?=\d{1,4}\b)")
_JOINERS: Final = re.compile(r"[-_.,:/@+&'’·]+")
_DECIMAL: Final = re.compile(r"\d+(?:\.\d+)+")

ENGLISH_STOP_WORDS: Final = frozenset(
    "a about after all also am an and any are as at be because been before being but by can "
    "could did do does doing done during each either else ever every for from get gets got "
    "had has have having he her here hers him his how i if in into is it its itself just let "
    "like many may me might more most much must my no nor not of on once one only or other "
    "our ours out over own please same shall she should since so some such tell than that "
    "the their theirs them then there these they this those through to too under until up "
    "upon us very was we were what when where whether which while who whom whose why will "
    "with within would you your yours".split()
)
"""Words that say nothing about a subject; question words among them."""

CHINESE_STOP_WORDS: Final = frozenset(
    "的 了 是 在 有 和 与 及 或 吗 呢 吧 啊 呀 么 什么 多少 几 怎么 怎样 怎么样 如何 哪 哪个 "
    "哪些 哪里 哪儿 哪位 哪种 哪一 谁 何 何时 何处 为何 为什么 是否 可以 可 能 能否 能够 会 "
    "要 应 应该 应当 请 请问 请教 我 我们 咱们 你 你们 您 他 她 它 他们 她们 它们 这 那 这个 "
    "那个 这些 那些 其 之 个 把 被 对 对于 关于 从 到 向 由 以 于 为 而 则 就 都 也 还 又 很 "
    "更 最 不 没 没有 得 地 着 过 给 让 使 比 等 来 去 上 下 中 里 内 外 前 后 时 时候 一 "
    "一个 一下 想 知道 告诉 有没有 是不是 能不能 需要 吗 嘛 啦 并 且 但 但是 所 每 各 该 此 "
    "即 若 如果 因为 所以 以及 其中 进行 通过 根据 按 按照 多 少 多久 多长 多大 几个".split()
)
"""The same for Chinese."""

_STOP: Final = ENGLISH_STOP_WORDS | CHINESE_STOP_WORDS
_CHINESE_FUNCTION_CHARACTERS: Final = frozenset(
    "的了是在和与及或吗呢吧啊呀么嘛啦谁哪何几您你我他她它这那其之也还又很更把被"
)
_STEMMED_WORDS: Final = 65_536
_LONGEST_TERM: Final = 64


def fold(text: str) -> str:
    """Return ``text`` as matching sees it: NFKC, lower case, simplified characters.

    Characters are folded one by one, without OpenCC's phrase rules: what matters is that both
    sides of a match are folded alike.
    """
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKC", text).lower().translate(_simplified())


def fold_keeping_length(text: str) -> str:
    """Return :func:`fold` of ``text`` character by character, so that offsets stay.

    A character that would become several (a ligature, a circled number over nine) stays as it is.
    """
    return text.lower() if text.isascii() else text.translate(_FOLDED_CHARACTERS)


def words(text: str) -> list[str]:
    """Return the content words of ``text`` in order: Chinese words, English stems, numbers, codes.

    Unlike :func:`index_terms` no bigrams: each piece of the text counts once.
    """
    found: list[str] = []
    for token, cjk in split(text):
        if cjk:
            found.extend(word for word in _segmenter().cut(token, False) if word not in _STOP)
        else:
            found.extend(latin_words(token))
    return found


def all_terms(text: str) -> Iterator[str]:
    """Yield words and, for Chinese, character bigrams, as often as they occur."""
    for token, cjk in split(text):
        if cjk:
            yield from _chinese_terms(token)
        else:
            yield from _latin_terms(token)


def split(text: str) -> Iterator[tuple[str, bool]]:
    """Yield folded runs of Chinese (``True``) and folded words of other scripts (``False``)."""
    folded = _THOUSANDS.sub("", fold(_SPACED_CODE.sub(r"\1-", text)))
    for match in _TOKEN.finditer(folded):
        yield match.group(), match.lastgroup == "cjk"


def _chinese_terms(run: str) -> Iterator[str]:
    for word in _segmenter().cut(run):
        if word not in _STOP:
            yield word
    for i in range(len(run) - 1):
        if (
            run[i] not in _CHINESE_FUNCTION_CHARACTERS
            and run[i + 1] not in _CHINESE_FUNCTION_CHARACTERS
        ):
            yield run[i : i + 2]


def _latin_terms(token: str) -> Iterator[str]:
    """Yield the word joined ("sev-1" as "sev1") and, when it is made of several, its parts."""
    parts = _JOINERS.split(token)
    if len(parts) == 1:
        if token not in ENGLISH_STOP_WORDS and len(token) <= _LONGEST_TERM:
            yield stem(token)
        return
    if _DECIMAL.fullmatch(token):
        yield token
        return
    joined = "".join(parts)
    if len(joined) <= _LONGEST_TERM:
        yield stem(joined)
    for part in parts:
        if 1 < len(part) <= _LONGEST_TERM and part not in ENGLISH_STOP_WORDS:
            yield stem(part)


def latin_words(token: str) -> Iterator[str]:
    """Yield the content words of a folded token that is not Chinese, as stems."""
    parts = _JOINERS.split(token)
    if len(parts) == 1 or not any(character.isdigit() for character in token):
        for part in parts:
            if (part not in ENGLISH_STOP_WORDS and len(part) > 1) or part.isdigit():
                yield stem(part)
    elif _DECIMAL.fullmatch(token):
        yield token
    else:
        yield "".join(parts)


@lru_cache(maxsize=_STEMMED_WORDS)
def stem(word: str) -> str:
    """Return the Snowball (Porter 2) stem of a lower-case English word; codes stay as they are."""
    if not word.isalpha() or not word.isascii():
        return word
    with _STEMMER_LOCK:
        stemmed: str = _stemmer().stemWord(word)
    return stemmed


# A Snowball stemmer keeps its state between calls, so threads must take turns.
_STEMMER_LOCK: Final = threading.Lock()


class _FoldedCharacters(dict[int, str]):
    """Fills itself as characters turn up."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        folded = fold(character)
        self[code] = folded if len(folded) == 1 else character
        return self[code]


_FOLDED_CHARACTERS: Final = _FoldedCharacters()


@cache
def _stemmer() -> Stemmer.Stemmer:
    return Stemmer.Stemmer("english")


@cache
def _segmenter() -> rjieba.Jieba:
    import rjieba  # here, as its dictionary takes 35 MB of a process that may never need it

    return rjieba.Jieba()


@cache
def _simplified() -> dict[int, str]:
    """Return OpenCC's table of traditional characters; of several choices its first."""
    table = resources.files("opencc").joinpath("dictionary", "TSCharacters.txt")
    pairs = (line.split("\t") for line in table.read_text(encoding="utf-8").splitlines() if line)
    return {ord(traditional): simplified.split(" ")[0] for traditional, simplified in pairs}
