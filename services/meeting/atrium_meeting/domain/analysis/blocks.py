"""Blocks: neighbouring sentences that an encoder reads at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from atrium_meeting.domain.analysis.sentences import Sentence
from atrium_meeting.domain.transcript import join

_WORDS: Final = 60
"""A block ends before it would have more words than this; a Chinese character is half of one."""
_WORDS_OF_A_TURN: Final = 20
"""With fewer a block goes on when somebody else speaks."""


@dataclass(frozen=True, slots=True)
class Block:
    """Neighbouring sentences.

    Args:
        start: Index of the first.
        end: Index after the last.
        text: What they say.
    """

    start: int
    end: int
    text: str


def blocks_of(sentences: Sequence[Sentence]) -> tuple[Block, ...]:
    """Cut the sentences into blocks, in order and without gaps: what an encoder is to be given.

    An hour of speech makes about 200 blocks, far less than sentences; short replies tell an
    encoder nothing by themselves.
    """
    blocks: list[Block] = []
    start, words = 0, 0
    for i, sentence in enumerate(sentences):
        full = words + sentence.size > _WORDS
        turn = words >= _WORDS_OF_A_TURN and sentence.speaker != sentences[i - 1].speaker
        if i > start and (full or turn):
            blocks.append(_block(sentences, start, i))
            start, words = i, 0
        words += sentence.size
    if start < len(sentences):
        blocks.append(_block(sentences, start, len(sentences)))
    return tuple(blocks)


def _block(sentences: Sequence[Sentence], start: int, end: int) -> Block:
    return Block(start, end, join(sentence.text for sentence in sentences[start:end]))
