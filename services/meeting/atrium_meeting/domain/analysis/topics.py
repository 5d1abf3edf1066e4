"""Which parts of a meeting are about the same subject."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from atrium_meeting.domain.analysis.blocks import blocks_of
from atrium_meeting.domain.analysis.chapters import Part, Vectors
from atrium_meeting.domain.analysis.sentences import Sentence

_ALIKE: Final = 0.22
"""Cosine of the terms at which two parts are about one subject."""
_ALIKE_ENCODED: Final = 0.35
"""The same of terms and vectors together."""


def join_parts(
    sentences: Sequence[Sentence], parts: Sequence[Part], vectors: Vectors | None = None
) -> tuple[tuple[int, ...], ...]:
    """Return groups of numbers of parts, each about one subject, in order of the first.

    Parts under one line of the agenda belong together. Others do when they share enough of what
    is said nowhere else in the meeting; a part joins the group that it is most like.
    """
    rows = _rows(sentences, parts)
    likeness = rows @ rows.T
    least = _ALIKE
    if vectors is not None:
        means = _means(sentences, parts, vectors)
        likeness = (likeness + np.clip(means @ means.T, 0, None)) / 2
        least = _ALIKE_ENCODED
    groups: list[list[int]] = []
    for number, part in enumerate(parts):
        best, chosen = least, None
        for group in groups:
            line = parts[group[0]].agenda
            if part.agenda >= 0 and line >= 0:
                if part.agenda == line:
                    best, chosen = math.inf, group
                continue
            alike = max(float(likeness[number, other]) for other in group)
            if alike >= best:
                best, chosen = alike, group
        if chosen is None:
            groups.append([number])
        else:
            chosen.append(number)
    return tuple(tuple(group) for group in groups)


def _rows(sentences: Sequence[Sentence], parts: Sequence[Part]) -> npt.NDArray[np.float64]:
    """Return the terms of each part, weighted by how few parts have them, of length 1."""
    counts = [
        Counter(term for s in sentences[part.start : part.end] for term in s.terms)
        for part in parts
    ]
    spread: Counter[str] = Counter()
    for count in counts:
        spread.update(count.keys())
    shared = [term for term, n in spread.items() if n > 1]
    number = {term: i for i, term in enumerate(shared)}
    rows = np.zeros((len(parts), max(len(shared), 1)))
    norms = np.zeros(len(parts))
    for i, count in enumerate(counts):
        for term, n in count.items():
            weight = math.log1p(n) * math.log((len(parts) + 1) / spread[term])
            norms[i] += weight * weight
            if term in number:
                rows[i, number[term]] = weight
    return rows / np.sqrt(np.where(norms > 0, norms, 1.0))[:, None]


def _means(
    sentences: Sequence[Sentence], parts: Sequence[Part], vectors: Vectors
) -> npt.NDArray[np.float64]:
    centred = vectors.astype(float)
    centred -= centred.mean(axis=0)
    blocks = blocks_of(sentences)
    of_sentence = np.repeat(centred, [block.end - block.start for block in blocks], axis=0)
    means = np.array([of_sentence[part.start : part.end].mean(axis=0) for part in parts])
    norms = np.linalg.norm(means, axis=1, keepdims=True)
    unit: npt.NDArray[np.float64] = means / np.where(norms > 0, norms, 1.0)
    return unit
