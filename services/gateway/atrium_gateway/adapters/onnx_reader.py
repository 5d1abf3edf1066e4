"""A cross-encoder of the model store that reads a question together with passages.

What its numbers mean is told in ``READER_CARD.md`` of ``atrium_models``. Every pair of question and
passage runs alone, for the same reason as every text of an encoder (ADR 0003).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from atrium_gateway.adapters.fair_threads import FairThreads
from atrium_gateway.adapters.onnx_files import CHARACTERS_PER_TOKEN, check_unicode, open_files
from atrium_gateway.app.ports import Reading
from atrium_gateway.domain.reading import CUT_OFF, PassageReading, ReadPassage

if TYPE_CHECKING:
    from tokenizers import Encoding


class OnnxReader:
    """A reader of the model store; safe to call from many tasks.

    Readings are urgent: they go before passages that are embedded on the same threads.

    Args:
        model_dir: Folder with ``model.int8.onnx`` (``input_ids`` int64 ``(1, tokens)`` ->
            ``scores`` float32 ``(1, tokens, 2)``) and ``tokenizer.json``.
        threads: Where pairs run; may be shared with other models.

    Raises:
        ModelUnavailable: A file is missing or damaged.
    """

    def __init__(self, model_dir: Path, threads: FairThreads) -> None:
        self.name = model_dir.name
        files = open_files(model_dir)
        self.max_tokens = files.max_tokens
        self._session, self._tokenizer = files.session, files.tokenizer
        self._marks = self._tokenizer.num_special_tokens_to_add(is_pair=True)
        self._max_question_tokens = self.max_tokens // 2
        self._max_characters = self.max_tokens * CHARACTERS_PER_TOKEN
        self._threads = threads
        threads.open_model(self.name)

    @classmethod
    async def load(cls, model_dir: Path, threads: FairThreads) -> OnnxReader:
        """Build a reader without stopping the event loop for the half second that it takes.

        Raises:
            ModelUnavailable: A file is missing or damaged.
        """
        return await asyncio.to_thread(cls, model_dir, threads)

    async def read(self, question: str, passages: Sequence[ReadPassage]) -> Reading:
        """Read ``question`` with each of ``passages``; a reading depends on that pair alone.

        A question longer than half the window is cut there, so that a passage has room beside it.

        Raises:
            EncoderQueueFull: Too many pairs wait already; none of these was taken.
            ModelUnavailable: The reader is closed, or failed on a pair.
            TextNotUnicode: A text cannot be encoded in UTF-8.
        """
        check_unicode(question, "question", 0)
        for index, passage in enumerate(passages):
            check_unicode(passage.heading, f"passages[{index}].heading", index)
            check_unicode(passage.text, f"passages[{index}].text", index)
        work = partial(self._read, question)
        rows = await self._threads.run(self.name, work, passages, background=False)
        return Reading([row[0] for row in rows], sum(row[1] for row in rows))

    async def close(self) -> None:
        """Take no more pairs; waiting calls end with ``ModelUnavailable``."""
        self._threads.close_model(self.name)

    def _read(self, question: str, passage: ReadPassage) -> tuple[PassageReading, int]:
        whole = f"{passage.heading}\n{passage.text}"
        texts = [question[: self._max_characters], whole[: self._max_characters]]
        # The batch method lets go of the interpreter lock, the one for a single text does not.
        asked, given = self._tokenizer.encode_batch(texts, add_special_tokens=False)
        asked.truncate(self._max_question_tokens)
        given.truncate(max(0, self.max_tokens - self._marks - len(asked)))
        cut = bool(asked.overflowing or given.overflowing) or texts != [question, whole]
        pair = self._tokenizer.post_process(asked, given)
        ids = np.array([pair.ids], np.int64)
        (scores,) = self._session.run(["scores"], {"input_ids": ids})
        if not np.isfinite(scores).all():
            raise ArithmeticError("its scores are no numbers")
        return PassageReading.of(_by_segment(passage, pair, scores[0]), truncated=cut), ids.size


def _by_segment(
    passage: ReadPassage, pair: Encoding, scores: npt.NDArray[np.float32]
) -> list[float]:
    """The log-odds of the passage's segments, from the scores ``(tokens, 2)`` of the pair."""
    # A token stands in the segment in which its first character lies, the space before it included:
    # that is how it was learnt.
    begins = np.array(
        [
            begin if sequence == 1 else -1
            for (begin, _), sequence in zip(pair.offsets, pair.sequence_ids, strict=True)
        ]
    )
    before = len(passage.heading) + 1
    nothing = float(scores[0, 1])
    found = []
    for segment in passage.segments:
        inside = (begins >= segment.start + before) & (begins < segment.end + before)
        if inside.any():
            found.append(float(scores[inside, 0].mean(dtype=np.float64)) - nothing)
        else:
            found.append(CUT_OFF)
    return found
