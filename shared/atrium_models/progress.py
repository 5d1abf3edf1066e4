"""How far a pull is, and how it is stopped."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Stage(StrEnum):
    """What is being done for a model."""

    WAITING = "waiting"
    """Another process is pulling the same model, or its base is not here yet."""
    DOWNLOADING = "downloading"
    CHECKING = "checking"
    CONVERTING = "converting"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class PullProgress:
    """A step forward for one model.

    Attributes:
        model: Its name.
        stage: What is being done.
        source: Where it comes from, such as ``"package index"``; empty before it is known.
        done_bytes: Bytes that are here and, in stage ``CHECKING``, checked.
        total_bytes: Bytes of this stage. It may differ from source to source.
        note: Something to tell the person who waits, such as why a source was left.
    """

    model: str
    stage: Stage
    source: str = ""
    done_bytes: int = 0
    total_bytes: int = 0
    note: str = ""


ProgressCallback = Callable[[PullProgress], None]
"""Receives every :class:`PullProgress`; called from worker threads, one call at a time."""


class PullStopped(Exception):
    """The pull was told to stop. What was downloaded stays for the next one."""


class Reporter:
    """Reports for one model, one step at a time, and notices when the pull shall stop.

    Args:
        model: The model's name.
        callback: Who is told.
        lock: Shared by all models of a pull, so that ``callback`` runs once at a time.
        stop: Set when the pull shall stop.
    """

    def __init__(
        self, model: str, callback: ProgressCallback, lock: threading.Lock, stop: threading.Event
    ) -> None:
        self._model = model
        self._callback = callback
        self._lock = lock
        self._stop = stop
        self._source = ""
        self._stage = Stage.WAITING
        self._total = 0
        self._done = 0

    def of(self, model: str) -> Reporter:
        """One that reports to the same for another model."""
        return Reporter(model, self._callback, self._lock, self._stop)

    def begin(self, stage: Stage, total_bytes: int = 0, *, source: str | None = None) -> None:
        """Start ``stage``, which will handle ``total_bytes``.

        Raises:
            PullStopped: The pull shall stop.
        """
        self.check()
        with self._lock:
            self._stage, self._total, self._done = stage, total_bytes, 0
            if stage is Stage.DONE:
                self._done = total_bytes
            if source is not None:
                self._source = source
            self._tell()

    def advance(self, count: int) -> None:
        """Add ``count`` bytes; negative when bytes turned out useless.

        Raises:
            PullStopped: The pull shall stop.
        """
        self.check()
        with self._lock:
            self._done += count
            self._tell()

    def tell(self, note: str) -> None:
        """Pass on ``note``."""
        with self._lock:
            self._tell(note)

    def check(self) -> None:
        """Return if the pull shall go on.

        Raises:
            PullStopped: The pull shall stop.
        """
        if self._stop.is_set():
            raise PullStopped

    def _tell(self, note: str = "") -> None:
        self._callback(
            PullProgress(self._model, self._stage, self._source, self._done, self._total, note)
        )
