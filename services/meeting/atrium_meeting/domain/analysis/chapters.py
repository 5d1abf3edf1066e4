"""Where one subject ends and the next begins.

Two kinds of evidence meet. Locally, each place between two sentences is scored by a logistic
regression: how much the words and vectors on both sides differ (Hearst, 1997, at several widths),
phrases that announce a new item, who speaks, how long the turn is, pauses. Globally, the cut is
chosen by dynamic programming so that what is said inside a part stays close to the part's mean
(Utiyama and Isahara, 2001, with vectors in place of word probabilities). The weights were learned
on the parts for tuning of two public sets (``tests/eval/chapters``).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from atrium_grounding import tokens
from atrium_meeting.domain.analysis.blocks import blocks_of
from atrium_meeting.domain.analysis.sentences import Sentence

Vectors = npt.NDArray[np.float32]
"""A row for each block (:func:`~.blocks.blocks_of`), any length."""

_Floats = npt.NDArray[np.floating[Any]]

_WIDTHS: Final = (60, 150, 350)
"""Words on either side that are compared."""
_TERMS: Final = 1_500
"""Terms of a meeting that are counted, the most frequent first."""
_TRIED: Final = 250
"""Places that are tried as the beginning of a part."""
_USUAL_WORDS: Final = 1_500
"""Words of the shortest meetings that the weights were learned on."""
_AGENDA: Final = 4.0
"""Worth of a sentence that takes up a line of the agenda."""
_INTRODUCTION: Final = 30
"""A sentence with more words introduces nothing."""
_SHORT: Final = 8
_SILENCE_MS: Final = 2_500
_PRESENT_WORDS: Final = 200
"""Who said nothing for so many words is new to the talk."""

_OPENS: Final = re.compile(
    r"\b(?:next (?:item|topic|point|question|on (?:the|our) (?:list|agenda)|up|thing)|"
    r"(?:first|second|third|fourth|fifth|last|final|another|other) (?:item|topic|point|issue|"
    r"question|thing)|"
    r"(?:let's|lets|let us|we'll|we will|we can|we should|i'll|to|shall we|i'd like to|wanna|want "
    r"to)"
    r" (?:now )?(?:move|go|turn|get|jump|switch|come|start|begin)(?: (?:back|straight|right))?"
    r" (?:on|onto|into|over|to|with|off)\b|"
    r"mov(?:e|ing) on|turning to|switching to|on the agenda|item (?:number )?(?:\d+|one|two|three|"
    r"four|five)|agenda item|that brings us|which brings us|speaking of|over to you|"
    r"(?:questions?|presentation) (?:from|by)|we(?:'ll| will)? now (?:go|move|proceed|continue)|"
    r"(?:do|does) (?:you|anyone|anybody) (?:wanna|want to) go|go (?:next|ahead)\b)"
    r"|下一(?:个|项|位|部分|环节)|(?:第[一二三四五六七八九十]|最后一)(?:个|项|点)?(?:议题|问题|"
    r"议程|话题|环节|部分|"
    r"事情|件事|方面)|接下来|下面(?:我们|请|就|有请|想|来)|那?我们(?:再|就)?(?:来|开始|进入)(?:看|"
    r"说|讲|聊|谈|讨论)"
    r"|进入(?:到)?(?:下|第|今天|我们)|换(?:个|一个)(?:话题|问题)|另外(?:一个|一方面|我)|"
    r"还有一个(?:问题|事)|"
    r"(?:我)?想(?:再)?(?:请|问|请教)(?:一下|问)?|有请|话题|议题|议程"
)
_CLOSES: Final = re.compile(
    r"\b(?:thank you|thanks|okay|ok|alright|all right|great|any (?:other|more|further) "
    r"(?:questions?|"
    r"comments?|thoughts?)|that's (?:it|all)|that is all|anything else|sounds good|so that's|"
    r"we(?:'re| are) (?:done|finished)|let's leave)\b"
    r"|谢谢|感谢|好的|就到这|就这样|没(?:有)?(?:其他)?问题|差不多|我就(?:讲|说)|分享到|掌声"
)
_STARTS: Final = re.compile(
    r"^(?:so|okay|ok|now|alright|all right|right|well|um so|okay so|anyway)\b"
    r"|^(?:好|那么?|OK|ok|嗯|行|对)[，,。 ]?"
)

_ORDINAL: Final = re.compile(
    r"^(?:(?:okay|ok|right|alright|good|so|then|and),? )*(?:first|second|third|fourth|fifth|next|"
    r"last|finally|item)\b"
    r"|第[一二三四五六七八](?:项|个|点|件)|下一|最后一"
)

FEATURES: Final = (
    "lexical60", "lexical150", "lexical350", "new_terms", "vector60", "vector150", "vector350",
    "opens", "opens_soon", "closes_before", "starts", "turn", "speaker", "new_speaker",
    "turn_words", "short_before", "question",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Weights:
    """What was learned.

    Args:
        local: One for each of :data:`FEATURES`.
        bias: Of a place that nothing speaks for.
        unity: How much it counts that a part stays close to its mean.
        price: Of a further part.
        least: Words that a part holds at least.
    """

    local: tuple[float, ...]
    bias: float
    unity: float
    price: float
    least: int


_WEIGHTS: Final = {
    ("zh", False): Weights(
        (0.57, 0.08, 1.3, 4.91, 0.0, 0.0, 0.0, 0.99, 1.08,
         1.12, 0.37, 5.81, 0.08, -0.31, 0.2, -1.77, -0.16),
        -15.25, 30.0, -0.5, 100,
    ),
    ("zh", True): Weights(
        (0.7, -0.32, 0.91, 4.1, 0.16, 0.53, 0.41, 0.99, 0.98,
         1.08, 0.35, 5.86, -0.09, -0.37, 0.18, -1.57, -0.31),
        -14.68, 20.0, 0.5, 100,
    ),
    ("en", False): Weights(
        (0.23, 0.25, 0.35, 1.91, 0.0, 0.0, 0.0, 0.83, 0.96,
         0.7, 0.7, 1.92, 0.04, 0.7, 0.78, 0.15, -0.04),
        -11.11, 20.0, -1.5, 100,
    ),
    ("en", True): Weights(
        (0.2, 0.05, 0.18, 1.66, 0.21, 0.33, 0.21, 0.85, 0.94,
         0.67, 0.68, 1.92, -0.13, 0.59, 0.81, 0.22, -0.05),
        -10.94, 20.0, 0.0, 100,
    ),
}  # fmt: skip
"""By language and whether there are vectors."""


def features(sentences: Sequence[Sentence], vectors: Vectors | None) -> _Floats:
    """Return what speaks for a cut before each sentence, shape [sentences, FEATURES]."""
    n = len(sentences)
    sizes = _sizes(sentences)
    position = np.concatenate([[0.0], np.cumsum(sizes)])
    terms = _term_rows(sentences)
    columns: dict[str, _Floats] = {}
    for width in _WIDTHS:
        columns[f"lexical{width}"] = _depth(
            _likeness(terms, sizes, position, width), position, width
        )
        if vectors is None:
            columns[f"vector{width}"] = np.zeros(n)
    if vectors is not None:
        rows = _rows_of_sentences(sentences, vectors) * sizes[:, None]
        for width in _WIDTHS:
            columns[f"vector{width}"] = _depth(
                _likeness(rows, sizes, position, width), position, width
            )
    columns["new_terms"] = _new_terms(terms, position)
    opens = np.array([bool(_OPENS.search(s.folded)) for s in sentences], dtype=float)
    closes = np.array([bool(_CLOSES.search(s.folded)) for s in sentences], dtype=float)
    columns["opens"] = opens
    soon = np.zeros(n)
    for ahead in (1, 2, 3):
        soon[:-ahead] = np.maximum(soon[:-ahead], opens[ahead:]) if ahead < n else soon[:-ahead]
    columns["opens_soon"] = soon
    before = np.zeros(n)
    for back in (1, 2, 3):
        before[back:] = np.maximum(before[back:], closes[:-back]) if back < n else before[back:]
    columns["closes_before"] = before
    columns["starts"] = np.array([bool(_STARTS.search(s.folded)) for s in sentences], dtype=float)
    columns |= _speakers(sentences, sizes, position)
    columns["question"] = np.array([s.is_question for s in sentences], dtype=float)
    return np.stack([columns[name] for name in FEATURES], axis=1)


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a meeting.

    Args:
        start: Index of its first sentence.
        end: Index after its last.
        agenda: Number of the agenda's line that it is about; -1: of none.
    """

    start: int
    end: int
    agenda: int = -1


def find_parts(
    sentences: Sequence[Sentence],
    *,
    vectors: Vectors | None = None,
    agenda: Sequence[str] = (),
    weights: Weights | None = None,
) -> tuple[Part, ...]:
    """Return the parts of a meeting, in order, without gaps.

    Args:
        sentences: Of the meeting.
        vectors: Of its blocks, from an encoder; ``None`` without one.
        agenda: Its items, where it has an agenda.
        weights: What was learned; ``None``: what ships, by language.

    Raises:
        ValueError: There are more or fewer vectors than blocks.
    """
    if not sentences:
        return ()
    n = len(sentences)
    weights = weights or _shipped(sentences, vectors is not None)
    gain = features(sentences, vectors) @ np.array(weights.local) + weights.bias
    gain = gain - weights.price + _pauses(sentences)
    items = _items(sentences, agenda)
    for index in items:
        gain[index] += _AGENDA
    sizes = _sizes(sentences)
    rows = _term_rows(sentences) if vectors is None else _rows_of_sentences(sentences, vectors)
    rows = _unit(rows) * np.sqrt(sizes)[:, None]
    cuts = [0, *best_cut(gain, rows, sizes, weights.unity, weights.least), n]
    parts = []
    current = -1
    for start, end in pairwise(cuts):
        line = next((items[i] for i in range(start, min(end, start + 4)) if i in items), -1)
        current = line if line >= 0 else -1
        parts.append(Part(start, end, current))
    return tuple(parts)


def _sizes(sentences: Sequence[Sentence]) -> _Floats:
    """Return the words of each sentence; a short meeting counts as if it had more.

    Subjects of a meeting of minutes take fewer words than those of one of hours.
    """
    sizes = np.array([max(sentence.size, 1) for sentence in sentences], dtype=float)
    scaled: _Floats = sizes * max(1.0, _USUAL_WORDS / sizes.sum())
    return scaled


def _shipped(sentences: Sequence[Sentence], encoded: bool) -> Weights:
    chinese = sum(s.size for s in sentences if s.language == "zh")
    language = "zh" if 2 * chinese > sum(s.size for s in sentences) else "en"
    return _WEIGHTS[language, encoded]


def _pauses(sentences: Sequence[Sentence]) -> _Floats:
    """Return what silence before each sentence is worth; the sets for tuning hold none."""
    gaps = np.zeros(len(sentences))
    for i in range(1, len(sentences)):
        gaps[i] = sentences[i].start_ms - sentences[i - 1].end_ms
    worth: _Floats = np.clip((gaps - _SILENCE_MS) / _SILENCE_MS, 0, 1)
    return worth


def _items(sentences: Sequence[Sentence], agenda: Sequence[str]) -> dict[int, int]:
    """Return which sentences take up which line of the agenda."""
    lines = [frozenset(tokens.words(line)) for line in agenda]
    found: dict[int, int] = {}
    for sentence in sentences:
        if sentence.size > _INTRODUCTION:
            continue
        said = set(tokens.words(sentence.text))
        shares = [len(said & line) / len(line) if line else 0.0 for line in lines]
        begin = sentence.index
        while begin > 0 and not sentences[begin].first and sentence.index - begin < 2:
            begin -= 1
        opens = any(
            _OPENS.search(one.folded) or _ORDINAL.search(one.folded)
            for one in sentences[begin : sentence.index + 1]
        )
        least = 0.2 if opens else 0.5
        matching = [number for number, share in enumerate(shares) if share >= least]
        if len(matching) == 1 and (opens or sentence.size <= _SHORT):
            found.setdefault(begin, matching[0])
    return found


def best_cut(gain: _Floats, rows: _Floats, sizes: _Floats, unity: float, least: float) -> list[int]:
    """Choose cuts by dynamic programming.

    Args:
        gain: What a cut before each sentence is worth.
        rows: A vector for each sentence, scaled by the root of its size.
        sizes: Words of each sentence.
        unity: Worth of a part's vectors agreeing, for 1,000 words.
        least: Words that a part holds at least.
    """
    n = len(sizes)
    # Most places are worth nothing: the best ones are tried against each other.
    tried = np.sort(np.argsort(-gain[1:], kind="stable")[:_TRIED] + 1)
    places = np.concatenate([[0], tried, [n]]).astype(int)
    position = np.concatenate([[0.0], np.cumsum(sizes)])[places]
    weighted = rows * np.sqrt(sizes)[:, None]
    sums = np.concatenate(
        [np.zeros((1, rows.shape[1]), dtype=np.float32), np.cumsum(weighted, axis=0)]
    )[places]
    gram = sums @ sums.T
    diagonal = np.diag(gram)
    worth = np.concatenate([[0.0], gain[tried], [0.0]])
    best = np.zeros(len(places))
    came = np.zeros(len(places), dtype=int)
    for end in range(1, len(places)):
        begins = np.flatnonzero(position[end] - position[:end] >= least)
        begins = begins if len(begins) else np.array([0])
        length = np.maximum(position[end] - position[begins], 1.0)
        agree = (diagonal[end] - 2 * gram[end, begins] + diagonal[begins]) / length
        value = best[begins] + unity / 1000 * agree + worth[begins]
        choice = int(np.argmax(value))
        best[end], came[end] = value[choice], begins[choice]
    cuts = []
    at = int(came[-1])
    while at > 0:
        cuts.append(int(places[at]))
        at = int(came[at])
    return cuts[::-1]


def _term_rows(sentences: Sequence[Sentence]) -> _Floats:
    """Return how much each sentence says of each term of the meeting."""
    within: Counter[str] = Counter()
    for sentence in sentences:
        within.update(set(sentence.terms))
    chosen = [term for term, count in within.most_common(_TERMS) if count > 1]
    if not chosen:
        return np.zeros((len(sentences), 1))
    number = {term: i for i, term in enumerate(chosen)}
    weight = np.log(len(sentences) / np.array([within[term] for term in chosen]) + 1)
    rows = np.zeros((len(sentences), len(chosen)), dtype=np.float32)
    for i, sentence in enumerate(sentences):
        for term in sentence.terms:
            if (column := number.get(term)) is not None:
                rows[i, column] += 1
    rows *= weight.astype(np.float32)
    return rows


def _rows_of_sentences(sentences: Sequence[Sentence], vectors: Vectors) -> _Floats:
    """Return the vector of each sentence's block, seen from the meeting's mean."""
    blocks = blocks_of(sentences)
    if len(blocks) != len(vectors):
        raise ValueError(f"{len(vectors)} vectors for {len(blocks)} blocks")
    centred = vectors.astype(float)
    centred -= centred.mean(axis=0)
    repeats = [block.end - block.start for block in blocks]
    return np.repeat(_unit(centred), repeats, axis=0)


def _unit(rows: _Floats) -> _Floats:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norms > 0, norms, 1.0)


def _likeness(rows: _Floats, sizes: _Floats, position: _Floats, width: int) -> _Floats:
    """Return the cosine of the ``width`` words before and after each place."""
    n = len(sizes)
    sums = np.concatenate([np.zeros((1, rows.shape[1]), dtype=np.float32), np.cumsum(rows, axis=0)])
    here = position[:n]
    left = np.searchsorted(position, here - width)
    right = np.minimum(np.searchsorted(position, here + width), n)
    a = sums[:n] - sums[left]
    b = sums[right] - sums[:n]
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.where(norms > 0, np.einsum("ij,ij->i", a, b) / np.where(norms > 0, norms, 1), 0.5)


def _depth(likeness: _Floats, position: _Floats, width: int) -> _Floats:
    """Return how deep each place lies below its surroundings, in deviations of the meeting."""
    n = len(likeness)
    sums = np.concatenate([[0.0], np.cumsum(likeness)])
    left = np.searchsorted(position, position[:n] - 2 * width)
    right = np.minimum(np.searchsorted(position, position[:n] + 2 * width), n)
    around = (sums[right] - sums[left]) / np.maximum(right - left, 1)
    deviation = likeness.std() or 1.0
    depth: _Floats = np.clip((around - likeness) / deviation, -3, 3)
    return depth


def _new_terms(rows: _Floats, position: _Floats) -> _Floats:
    """Return the share of what is said next that was not said shortly before."""
    n = len(rows)
    present = (rows > 0).astype(np.float32)
    sums = np.concatenate(
        [np.zeros((1, rows.shape[1]), dtype=np.float32), np.cumsum(present, axis=0)]
    )
    here = position[:n]
    left = np.searchsorted(position, here - 250)
    right = np.minimum(np.searchsorted(position, here + 80), n)
    ahead = (sums[right] - sums[:n]) > 0
    known = (sums[:n] - sums[left]) > 0
    total = ahead.sum(axis=1)
    share: _Floats = (ahead & ~known).sum(axis=1) / np.maximum(total, 1)
    return share


def _speakers(
    sentences: Sequence[Sentence], sizes: _Floats, position: _Floats
) -> dict[str, _Floats]:
    n = len(sentences)
    turn, changed, fresh, words, short = (np.zeros(n) for _ in range(5))
    last_spoke: dict[str, float] = {}
    i = 0
    before = 0.0
    while i < n:
        end = i + 1
        while end < n and sentences[end].speaker == sentences[i].speaker:
            end += 1
        length = position[end] - position[i]
        speaker = sentences[i].speaker
        turn[i] = changed[i] = 1.0
        gone = position[i] - last_spoke.get(speaker, -1e9)
        fresh[i] = float(gone > _PRESENT_WORDS)
        words[i] = np.log1p(length)
        short[i] = float(before < 6)
        for k in range(i + 1, end):
            turn[k] = float(sentences[k].first)
            words[k] = np.log1p(position[end] - position[k]) * turn[k]
        last_spoke[speaker] = float(position[end])
        before = float(length)
        i = end
    return {
        "turn": turn,
        "speaker": changed,
        "new_speaker": fresh,
        "turn_words": words,
        "short_before": short,
    }
