"""A reader of the model store: it reads a passage once and every question by itself behind it.

What its numbers mean is told in ``READER_CARD.md`` of ``atrium_models``. Every passage and every
question runs alone, for the same reason as every text of an encoder (ADR 0003).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
from cachetools import LRUCache

from atrium_gateway.adapters.fair_threads import FairThreads
from atrium_gateway.adapters.onnx_files import CHARACTERS_PER_TOKEN, check_unicode, open_files
from atrium_gateway.app.ports import Reading
from atrium_gateway.domain.reading import CUT_OFF, PassageReading, ReadPassage, Relation

if TYPE_CHECKING:
    from tokenizers import Encoding

PROMPTS: Final[dict[Relation, tuple[str, str]]] = {
    Relation.ANSWERS: ("\nQuestion: ", "\nAnswer in:"),
    Relation.CONCERNS: ("\nQuestion: ", "\nAbout it:"),
    Relation.STATES: ("\nStatement: ", "\nSaid in:"),
}
"""What stands before and behind the question; as it was learnt."""

_KEPT_BYTES: Final = 256 << 20
"""What was made of passages and is kept for the next question: some 100 passages of 250 tokens."""
_OVERHANG: Final = 2
"""A token that ends at most so many code points behind a unit still belongs to it."""


@dataclass(frozen=True, slots=True)
class _State:
    """What the model made of a passage."""

    past: npt.NDArray[np.float16]
    """(2 * layers, heads, tokens, size): keys and values."""
    keys: npt.NDArray[np.float32]
    """(units seen, width): what a question is compared with."""
    seen: tuple[bool, ...]
    """For each unit whether it lies in the window."""
    truncated: bool

    @property
    def bytes(self) -> int:
        return self.past.nbytes + self.keys.nbytes


class OnnxReader:
    """A reader of the model store; safe to call from many tasks.

    Readings are urgent: they go before passages that are embedded on the same threads.

    Args:
        model_dir: Folder with ``tokenizer.json`` and ``model.int8.onnx``, whose inputs and outputs
            are told in :mod:`atrium_models.conversions.reader`.
        threads: Where pairs run; may be shared with other models.

    Raises:
        ModelUnavailable: A file is missing or damaged.
    """

    def __init__(self, model_dir: Path, threads: FairThreads) -> None:
        self.name = model_dir.name
        files = open_files(model_dir, "atrium.max_question_tokens")
        self.max_tokens = files.max_tokens
        self._session, self._tokenizer = files.session, files.tokenizer
        self._max_question_tokens = int(files.properties["atrium.max_question_tokens"])
        before = next(one for one in self._session.get_inputs() if one.name == "past").shape
        states, heads, _, size = before
        self._nothing_before = np.zeros((states, heads, 0, size), np.float16)
        self._states: LRUCache[tuple[str, ReadPassage], _State] = LRUCache(
            _KEPT_BYTES, getsizeof=lambda state: state.bytes
        )
        self._lock = threading.Lock()
        self._threads = threads
        threads.open_model(self.name)

    @classmethod
    async def load(cls, model_dir: Path, threads: FairThreads) -> OnnxReader:
        """Build a reader without stopping the event loop for the second that it takes.

        Raises:
            ModelUnavailable: A file is missing or damaged.
        """
        return await asyncio.to_thread(cls, model_dir, threads)

    async def read(
        self, question: str, passages: Sequence[ReadPassage], relation: Relation, scope: str
    ) -> Reading:
        """Read ``question`` with each of ``passages``; a reading depends on that pair alone.

        What was made of a passage is kept for the next question of the same ``scope`` about the
        same text. Passages and questions longer than their windows are cut there.

        Raises:
            EncoderQueueFull: Too many pairs wait already; none of these was taken.
            ModelUnavailable: The reader is closed, or failed on a pair.
            TextNotUnicode: A text cannot be encoded in UTF-8.
        """
        check_unicode(question, "question", 0)
        for index, passage in enumerate(passages):
            check_unicode(passage.heading, f"passages[{index}].heading", index)
            check_unicode(passage.text, f"passages[{index}].text", index)
        asked, cut = await asyncio.to_thread(self._ask, question, relation)
        work = partial(self._read, asked, cut, scope)
        rows = await self._threads.run(self.name, work, passages, background=False)
        return Reading([row[0] for row in rows], sum(row[1] for row in rows))

    async def close(self) -> None:
        """Take no more pairs; waiting calls end with ``ModelUnavailable``."""
        self._threads.close_model(self.name)

    def _ask(self, question: str, relation: Relation) -> tuple[npt.NDArray[np.int64], bool]:
        """The tokens of the question with what stands around it, and whether it was cut."""
        before, behind = PROMPTS[relation]
        kept = question[: self._max_question_tokens * CHARACTERS_PER_TOKEN]
        encoding = self._encode(f"{before}{kept}{behind}")
        over = len(encoding) - self._max_question_tokens
        if over > 0:
            offsets = self._encode(f"{before}{kept}").offsets
            kept = kept[: offsets[max(0, len(offsets) - over) - 1][1] - len(before)]
            encoding = self._encode(f"{before}{kept}{behind}")
        return np.array([encoding.ids], np.int64), kept != question

    def _read(
        self, asked: npt.NDArray[np.int64], cut: bool, scope: str, passage: ReadPassage
    ) -> tuple[PassageReading, int]:
        state = self._state(scope, passage)
        # Counted whether or not the passage was read for an earlier question: what a call costs
        # does not tell what others asked.
        tokens = state.past.shape[2] + asked.size
        if not len(state.keys):
            scores = [CUT_OFF] * len(passage.segments)
            return PassageReading.of(scores, truncated=cut or state.truncated), tokens
        (rows,) = self._session.run(["scores"], {"input_ids": asked, "past": state.past})
        last, width = rows[0, -1], state.keys.shape[1]
        found = iter((state.keys @ last[:width] - last[-1]).tolist())
        scores = [next(found) if seen else CUT_OFF for seen in state.seen]
        if not np.isfinite(scores).all():
            raise ArithmeticError("its scores are no numbers")
        return PassageReading.of(scores, truncated=cut or state.truncated), tokens

    def _state(self, scope: str, passage: ReadPassage) -> _State:
        """What the model makes of a passage, from memory where it was read before."""
        key = (scope, passage)
        with self._lock:
            state = self._states.get(key)
        if state is None:
            state = self._read_passage(passage)
            with self._lock:
                if state.bytes <= self._states.maxsize:
                    self._states[key] = state
        return state

    def _read_passage(self, passage: ReadPassage) -> _State:
        whole = f"{passage.heading}\n{passage.text}"
        kept = whole[: self.max_tokens * CHARACTERS_PER_TOKEN]
        encoding = self._encode(kept)
        encoding.truncate(self.max_tokens)
        ids = np.array([encoding.ids], np.int64)
        rows, past = self._session.run(
            ["scores", "present"], {"input_ids": ids, "past": self._nothing_before}
        )
        width = rows.shape[2] // 3
        means, lasts = rows[0, :, width : 2 * width], rows[0, :, 2 * width : 3 * width]
        units = tokens_of_units(passage, encoding)
        keys = [
            means[first : last + 1].mean(0) + lasts[last] for first, last in filter(None, units)
        ]
        return _State(
            past,
            np.array(keys, np.float32).reshape(-1, width),
            tuple(unit is not None for unit in units),
            bool(encoding.overflowing) or kept != whole,
        )

    def _encode(self, text: str) -> Encoding:
        # The batch method lets go of the interpreter lock, the one for a single text does not.
        (encoding,) = self._tokenizer.encode_batch([text], add_special_tokens=False)
        return encoding


def tokens_of_units(passage: ReadPassage, encoding: Encoding) -> list[tuple[int, int] | None]:
    """The first and the last token of each of the passage's units; ``None``: it has none."""
    before = len(passage.heading) + 1
    begins, ends = np.array(encoding.offsets, np.int64).reshape(-1, 2).T
    found: list[tuple[int, int] | None] = []
    for segment in passage.segments:
        start, end = segment.start + before, segment.end + before
        inside = np.flatnonzero((ends > start) & (begins < end) & (ends <= end + _OVERHANG))
        found.append((int(inside[0]), int(inside[-1])) if inside.size else None)
    return found
