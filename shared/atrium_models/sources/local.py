"""The operator's mirror as a folder on this machine."""

from __future__ import annotations

from pathlib import Path

from atrium_models.catalog import ModelSpec
from atrium_models.checking import blocks, write_checked
from atrium_models.progress import Reporter, Stage
from atrium_models.sources import SourceFailed


class FolderMirror:
    """A folder that holds ``<model>/<file>``, such as another store.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def label(self) -> str:
        """What people call it."""
        return "mirror"

    def extra_bytes(self, model: ModelSpec) -> int:
        """Nothing: files are copied once."""
        del model
        return 0

    def fetch(self, model: ModelSpec, work: Path, ready: Path, report: Reporter) -> None:
        """See :meth:`atrium_models.sources.Source.fetch`."""
        del work
        if not self._folder.is_dir():
            raise SourceFailed(f"the folder {self._folder} does not exist")
        report.begin(Stage.DOWNLOADING, model.disk_bytes, source=self.label)
        for name, expected in model.files.items():
            try:
                stream = (self._folder / model.name / name).open("rb")
            except OSError as exc:
                raise SourceFailed(
                    f"{self._folder / model.name} holds no readable {name} ({exc.strerror})"
                ) from exc
            with stream:
                write_checked(
                    blocks(stream),
                    ready / name,
                    expected,
                    model=model.name,
                    source=self.label,
                    advance=report.advance,
                )
