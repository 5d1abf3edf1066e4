"""A transcript as sentences: the units that minutes quote and cite."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final

from atrium_grounding import tokens
from atrium_grounding.languages import detect_language
from atrium_grounding.sentences import split_units
from atrium_meeting.domain.transcript import (
    Span,
    Transcript,
    Utterance,
    Word,
    is_unspaced,
    join,
    offsets,
    with_capitals,
)

_ENDS: Final = frozenset("。！？…!?.;；")
_CHINESE_MARKS: Final = frozenset("，。！？：；（）、")
_CLOSERS: Final = "\"'”’」』）)】》]"
_ENGLISH_WORDS: Final = 45
"""A sentence of recognised speech with more words than this has lost its punctuation."""
_CHINESE_WORDS: Final = 80
_LEAST_PIECE: Final = 5
"""Words that a cut leaves on either side."""
_PAUSE_MS: Final = 350
"""Nobody pauses so long inside a phrase."""
_LONG_PAUSE_MS: Final = 900
_GOES_ON_MS: Final = 1_500
"""What the same speaker says so soon after an unfinished sentence is the rest of it."""


@dataclass(frozen=True)
class Sentence:
    """What one speaker says in one go.

    Args:
        index: Its place among the sentences of the transcript, from 0.
        speaker: Who says it, "S1".
        language: "zh" or "en".
        text: The clean view of it, exactly.
        spans: Where it stands; more than one where a sentence was cut into several utterances.
        start_ms: Where its first word begins.
        end_ms: Where its last word ends.
        utterance: Number of its first utterance in the transcript, from 0.
        first: It begins its utterance.
    """

    index: int
    speaker: str
    language: str
    text: str
    spans: tuple[Span, ...]
    start_ms: int
    end_ms: int
    utterance: int
    first: bool

    @cached_property
    def folded(self) -> str:
        """The text in lower case, with simplified characters; offsets are those of the text.

        Chinese punctuation stays, a typographic apostrophe becomes a plain one.
        """
        folded = tokens.fold_keeping_length(self.text).replace("’", "'")
        if folded.isascii():
            return folded
        pairs = zip(self.text, folded, strict=True)
        return "".join(said if said in _CHINESE_MARKS else plain for said, plain in pairs)

    @cached_property
    def terms(self) -> tuple[str, ...]:
        """Its content words, folded and stemmed; one for each time."""
        return tuple(
            term for term in tokens.words(self.text) if len(term) > 1 and term not in SPOKEN
        )

    @cached_property
    def is_question(self) -> bool:
        """Whether it asks; recognised speech may lack the mark."""
        return asks(self.text, self.language)

    @cached_property
    def size(self) -> int:
        """How much it says: words, a Chinese character counting as half of one."""
        han = sum(map(is_unspaced, self.text))
        return self.text.count(" ") + 1 if not han else (han + 1) // 2 + self.text.count(" ")


def asks(text: str, language: str) -> bool:
    """Tell whether a sentence asks; recognised speech may lack the mark."""
    stripped = text.rstrip(_CLOSERS + " ")
    return stripped.endswith(("?", "？")) or (
        language == "zh" and stripped.rstrip("。，,. ").endswith(("吗", "呢", "么"))
    )


# Content words of any conversation, which tell nothing about its subject (stems).
SPOKEN: Final = frozenset(
    "ll ve re don didn doesn isn aren wasn won couldn wouldn shouldn hasn haven ain yeah yes okay "
    "ok uh um mm hmm hm mhm right well know think mean thing kind sort go going gonna "
    "get got want actual realli good okey oh ah bit lot let say said see look guess mayb sure "
    "yep alright someth anyth everyth basic thank pleas hi hello everyon everybodi guy one two "
    "time way make need use tri talk discuss dont didnt doesnt thats theyr youv weve ive ill "
    "然后 这个 那个 就是 就是说 对吧 对对 对对对 觉得 现在 我觉得 非常 还是 可能 问题 东西 知道 "
    "比如 比如说 所以 但是 因为 其实 应该 可以 没有 已经 这样 这种 这些 这边 那边 那么 那种 那样 "
    "时候 一些 一点 一下 一个 两个 三个 大家 我们 你们 他们 自己 好的 好吧 是的 谢谢 今天 今年 "
    "进行 包括 或者 而且 然而 还有 怎么 什么 这么 不是 就会 都是 也是 可是 不会 不要 不过 出来 "
    "起来 过来 过去 里面 上面 下面 之后 以后 之前 以前 刚才 刚刚 接下来 首先 第一 第二 第三 最后 "
    "老师 同学 各位 嘉宾 主持人 感觉 看到 看看 讲到 说到 提到 来讲 来说 有点 很多 许多 真的 "
    "相当于 当然 一定 特别 比较 肯定 确实 希望 能够 需要 是不是 有没有 或者说 另外 对于".split()
)


def sentences_of(transcript: Transcript) -> tuple[Sentence, ...]:
    """Return the sentences of the clean view, in order; an utterance may hold several.

    A sentence ends at its punctuation. Recognised speech may have little of it, so what is too
    long is cut at pauses, and what the same speaker goes on with at once is joined.
    """
    found: list[Sentence] = []
    pieces: list[_Piece] = []
    for piece in _pieces(transcript.utterances):
        if pieces and not _continues(pieces, piece):
            found.append(_sentence(len(found), pieces))
            pieces = []
        pieces.append(piece)
    if pieces:
        found.append(_sentence(len(found), pieces))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class _Piece:
    """Words of one utterance, by their numbers in it."""

    utterance: Utterance
    number: int
    words: tuple[int, ...]
    last: bool
    text: str

    @property
    def first(self) -> bool:
        return not self.words or all(
            word.disfluency is not None for word in self.utterance.words[: self.words[0]]
        )


def _pieces(utterances: Sequence[Utterance]) -> Iterator[_Piece]:
    for number, utterance in enumerate(utterances):
        kept = [i for i, word in enumerate(utterance.words) if word.disfluency is None]
        if not kept:
            continue
        words = with_capitals(utterance.words)
        texts = [words[i].text for i in kept]
        starts = offsets(texts)
        text = join(texts)
        cuts = [0]
        for unit in split_units(text)[1:]:
            cut = bisect_right(starts, unit.start) - 1
            if cut > cuts[-1]:
                cuts.append(cut)
        cuts.append(len(kept))
        for a, b in pairwise(cuts):
            parts = list(_cut_at_pauses(words, kept[a:b]))
            for i, part in enumerate(parts):
                yield _Piece(
                    utterance,
                    number,
                    tuple(part),
                    last=b == len(kept) and i == len(parts) - 1,
                    text=join(words[k].text for k in part),
                )


def _cut_at_pauses(words: Sequence[Word], kept: Sequence[int]) -> Iterator[Sequence[int]]:
    """Cut what is too long for a sentence where the speaker pauses, or after a comma."""
    chinese = sum(1 for i in kept if is_unspaced(words[i].text[0])) * 2 > len(kept)
    most = _CHINESE_WORDS if chinese else _ENGLISH_WORDS
    begin = 0
    pauses = [words[b].start_ms - words[a].end_ms for a, b in pairwise(kept)]
    while begin < len(kept):
        rest = len(kept) - begin
        window = range(begin + _LEAST_PIECE - 1, min(begin + most, len(kept) - _LEAST_PIECE))
        long = next((i for i in window if pauses[i] >= _LONG_PAUSE_MS), None)
        cut = long
        if cut is None and rest > most and window:
            best = max(window, key=lambda i: (_gap(words[kept[i]], pauses[i]), i))
            cut = best if _gap(words[kept[best]], pauses[best]) > 0 else None
            if cut is None:
                cut = window[-1]
        if cut is None:
            yield kept[begin:]
            return
        yield kept[begin : cut + 1]
        begin = cut + 1


def _gap(word: Word, pause_ms: int) -> int:
    """Tell how good a place to cut is after a word."""
    comma = word.text[-1] in ",，、:：;；—"
    return (pause_ms if pause_ms >= _PAUSE_MS else 0) + 400 * comma


def _continues(pieces: Sequence[_Piece], piece: _Piece) -> bool:
    """Tell whether a piece is the rest of the sentence that the pieces before it began."""
    before = pieces[-1]
    if piece.number == before.number or not before.last or not piece.first:
        return False
    if piece.utterance.speaker != before.utterance.speaker:
        return False
    last = before.text.rstrip(_CLOSERS)[-1:]
    if last in _ENDS:
        return False
    gap = piece.utterance.words[piece.words[0]].start_ms - before.utterance.end_ms
    if gap > _GOES_ON_MS or sum(len(p.words) for p in pieces) + len(piece.words) > _CHINESE_WORDS:
        return False
    begins = piece.text[0]
    if last in ",，、-—":
        return True
    return gap < _PAUSE_MS and (is_unspaced(begins) or begins.islower())


def _sentence(index: int, pieces: Sequence[_Piece]) -> Sentence:
    begin, end = pieces[0], pieces[-1]
    text = join(word for piece in pieces for word in [piece.text])
    language = begin.utterance.language
    return Sentence(
        index=index,
        speaker=begin.utterance.speaker,
        language=language if language in ("zh", "en") else detect_language(text),
        text=text,
        spans=tuple(
            Span(piece.utterance.id, piece.words[0], piece.words[-1] + 1) for piece in pieces
        ),
        start_ms=begin.utterance.words[begin.words[0]].start_ms,
        end_ms=max(end.utterance.words[i].end_ms for i in end.words),
        utterance=begin.number,
        first=begin.first,
    )
