"""Sentence vectors from an ONNX graph of the model store, in this process.

Every text runs alone: a graph that quantises activations takes its scales from everything that it
sees at once, so a text in a batch would get a vector that depends on its neighbours (ADR 0003).
Several threads run one text each, which needs no padding and loses no speed on a CPU.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from tokenizers import Tokenizer

from atrium_gateway.domain.errors import EncoderQueueFull, ModelUnavailable
from atrium_shared.errors import Invalid

Kind = Literal["query", "passage"]
"""What a text is: one that searches, or one that is searched. E5-like encoders mark them apart."""

_CHARACTERS_PER_TOKEN = 64
"""More characters a token than any real text has: what lies beyond is cut unread."""


class TextNotUnicode(Invalid):
    """A text holds half of a surrogate pair, which no character set can carry."""

    reason = "TEXT_NOT_UNICODE"

    def __init__(self, index: int, position: int) -> None:
        super().__init__(
            f"Text {index} holds an unpaired surrogate at character {position}; "
            "send well-formed Unicode.",
            field=f"texts[{index}]",
            index=index,
            position=position,
        )


@dataclass(frozen=True)
class EmbedResult:
    """The vectors of one call.

    Attributes:
        vectors: float32 of shape ``(texts, dimensions)``, each of length 1.
        tokens: Tokens that the model read, prefixes and end marks included.
        truncated: For each text, whether it was longer than the model's window and was cut there.
    """

    vectors: npt.NDArray[np.float32]
    tokens: int
    truncated: list[bool]


@dataclass(eq=False)
class _Call:
    """One call of ``embed`` while its texts run."""

    texts: list[str]
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[None]
    vectors: npt.NDArray[np.float32]
    truncated: list[bool]
    left: int
    tokens: int = 0
    over: bool = False


@dataclass(order=True)
class _Item:
    """One text in the queue, ordered by who should run first."""

    background: bool
    turn: int
    number: int
    call: _Call = field(compare=False)
    index: int = field(compare=False)


class OnnxEncoder:
    """An encoder of the model store: texts in, vectors out; safe to call from many tasks.

    Questions run before passages, and calls with many texts take turns with each other, so that
    someone who searches does not wait for someone who imports.

    Args:
        model_dir: Folder with ``model.int8.onnx`` (``input_ids`` int64 ``(1, tokens)`` ->
            ``embedding`` float32 ``(1, dimensions)``) and ``tokenizer.json``.
        threads: Texts that run at the same time; best is one a core.
        queue_limit: Texts that may wait. A call that finds the queue empty is always taken.

    Raises:
        ModelUnavailable: A file is missing or damaged.
    """

    def __init__(self, model_dir: Path, threads: int, *, queue_limit: int = 8192) -> None:
        self.name = model_dir.name
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Every length is another shape: remembering a memory plan for each would only grow.
        options.enable_mem_pattern = False
        graph, vocabulary = model_dir / "model.int8.onnx", model_dir / "tokenizer.json"
        for path in (graph, vocabulary):
            if not path.is_file():
                raise ModelUnavailable(
                    self.name, f"{path} is missing; run `atrium models pull {self.name}`"
                )
        try:
            self._session = ort.InferenceSession(
                str(graph), options, providers=["CPUExecutionProvider"]
            )
            properties = self._session.get_modelmeta().custom_metadata_map
            self.dimensions = int(properties["atrium.dimensions"])
            self.max_tokens = int(properties["atrium.max_tokens"])
            self._prefixes = {
                "query": properties["atrium.query_prefix"],
                "passage": properties["atrium.passage_prefix"],
            }
            self._tokenizer = Tokenizer.from_file(str(vocabulary))
        except Exception as exc:  # Both libraries raise bare Exception for a damaged file.
            raise ModelUnavailable(
                self.name,
                f"{model_dir} is damaged ({exc}); run `atrium models remove {self.name}` and "
                f"`atrium models pull {self.name}`",
            ) from exc
        self._tokenizer.enable_truncation(self.max_tokens)
        self._max_characters = self.max_tokens * _CHARACTERS_PER_TOKEN
        self._queue_limit = queue_limit
        self._queue: list[_Item] = []
        self._turn = 0
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._closed = False
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="encoder")

    @classmethod
    async def load(cls, model_dir: Path, threads: int, *, queue_limit: int = 8192) -> OnnxEncoder:
        """Build an encoder without stopping the event loop for the half second that it takes.

        Raises:
            ModelUnavailable: A file is missing or damaged.
        """
        return await asyncio.to_thread(cls, model_dir, threads, queue_limit=queue_limit)

    async def embed(self, texts: Sequence[str], kind: Kind) -> EmbedResult:
        """Encode ``texts``; the vector of a text depends on that text and ``kind`` alone.

        Raises:
            EncoderQueueFull: Too many texts wait already; none of these was taken.
            ModelUnavailable: The encoder is closed, or failed on a text.
            TextNotUnicode: A text cannot be encoded in UTF-8.
        """
        for index, text in enumerate(texts):
            try:
                text.encode()
            except UnicodeEncodeError as exc:
                raise TextNotUnicode(index, exc.start) from exc
        loop = asyncio.get_running_loop()
        prefix = self._prefixes[kind]
        call = _Call(
            texts=[prefix + text for text in texts],
            loop=loop,
            done=loop.create_future(),
            vectors=np.zeros((len(texts), self.dimensions), np.float32),
            truncated=[False] * len(texts),
            left=len(texts),
        )
        if texts:
            self._enqueue(call, background=kind == "passage")
            try:
                await call.done
            except asyncio.CancelledError:
                self._forget(call)
                raise
        return EmbedResult(call.vectors, call.tokens, call.truncated)

    async def close(self) -> None:
        """Stop: texts that run now finish, waiting calls end with ``ModelUnavailable``."""
        with self._lock:
            self._closed = True
            calls = {item.call for item in self._queue}
        for call in calls:
            self._fail(call, ModelUnavailable(self.name, "it was closed"))
        await asyncio.to_thread(self._threads.shutdown)

    def _enqueue(self, call: _Call, *, background: bool) -> None:
        with self._lock:
            if self._closed:
                raise ModelUnavailable(self.name, "it was closed")
            waiting = len(self._queue)
            if waiting and waiting + len(call.texts) > self._queue_limit:
                raise EncoderQueueFull(self.name, waiting)
            for index in range(len(call.texts)):
                # The n-th text of every call takes the n-th turn from when that call came.
                item = _Item(background, self._turn + index, next(self._numbers), call, index)
                heapq.heappush(self._queue, item)
        for _ in call.texts:
            self._threads.submit(self._run_next)

    def _run_next(self) -> None:
        """Run the most urgent text. One such task is submitted for each text in the queue."""
        with self._lock:
            if not self._queue:
                return  # Its text was taken out with a cancelled call.
            item = heapq.heappop(self._queue)
            if item.background:
                self._turn = item.turn
        call = item.call
        try:
            vector, tokens, cut = self._encode(call.texts[item.index])
        except Exception as exc:  # Whatever the engine raises must reach the waiting call.
            self._fail(call, ModelUnavailable(self.name, f"it failed on a text ({exc})"))
            return
        with self._lock:
            call.vectors[item.index] = vector
            call.truncated[item.index] = cut
            call.tokens += tokens
            call.left -= 1
            finished = call.left == 0
        if finished:
            self._settle(call, None)

    def _encode(self, text: str) -> tuple[npt.NDArray[np.float32], int, bool]:
        head = text[: self._max_characters]
        # The batch method lets go of the interpreter lock, the one for a single text does not.
        encoding = self._tokenizer.encode_batch_fast([head])[0]
        ids = np.array([encoding.ids], np.int64)
        (vectors,) = self._session.run(["embedding"], {"input_ids": ids})
        cut = len(head) < len(text) or bool(encoding.overflowing)
        return vectors[0], ids.size, cut

    def _fail(self, call: _Call, error: Exception) -> None:
        self._forget(call)
        self._settle(call, error)

    def _forget(self, call: _Call) -> None:
        """Take the rest of ``call`` out of the queue."""
        with self._lock:
            self._queue = [item for item in self._queue if item.call is not call]
            heapq.heapify(self._queue)

    def _settle(self, call: _Call, error: Exception | None) -> None:
        def settle() -> None:
            if not call.done.done():
                if error is None:
                    call.done.set_result(None)
                else:
                    call.done.set_exception(error)

        with self._lock:
            if call.over:
                return
            call.over = True
        call.loop.call_soon_threadsafe(settle)
