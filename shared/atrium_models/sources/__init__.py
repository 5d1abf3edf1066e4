"""Where models come from. Each kind of source is one file."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from atrium_models.catalog import ModelSpec
from atrium_models.progress import Reporter


class SourceFailed(Exception):
    """The source gave no model. The text says why, as half a sentence for people."""


class Source(Protocol):
    """Something that can supply the files of one model."""

    @property
    def label(self) -> str:
        """What people call it: ``"mirror"``, ``"model hub"``, ``"package index"``."""
        ...

    def extra_bytes(self, model: ModelSpec) -> int:
        """Disk space that fetching needs for a while, beside the model's own files."""
        ...

    def fetch(self, model: ModelSpec, work: Path, ready: Path, report: Reporter) -> None:
        """Put every file of ``model``, checked, into folder ``ready``.

        Args:
            model: What to fetch.
            work: Folder of this source and model for what a later try can use. It may hold
                anything that an earlier, interrupted try left there.
            ready: Empty folder for the finished files.
            report: Told of every step; its exception ends the fetch.

        Raises:
            SourceFailed: It cannot be reached, or lacks a file.
            ModelChecksumMismatch: It has another file than the expected one. Nothing wrong is left
                in ``work``.
            ModelConversionFailed: The files came but could not be converted.
            OSError: The disk is full or cannot be written.
        """
        ...
