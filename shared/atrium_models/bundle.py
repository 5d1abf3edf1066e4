"""One archive with whole models, to carry into a network that reaches nothing.

A bundle is a plain tar file: ``atrium-bundle.json`` first, then ``<model>/<file>``. What it says of
itself is only used to list it; what its files must be stands in ``models.yaml``.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from atrium_models.catalog import ModelSpec
from atrium_models.checking import blocks, matches, write_checked
from atrium_models.errors import ModelBundleInvalid, ModelChecksumMismatch
from atrium_models.progress import Reporter, Stage
from atrium_models.sources import SourceFailed

INDEX_NAME = "atrium-bundle.json"
_INDEX_LIMIT_BYTES = 1 << 20


def write_bundle(models: Sequence[ModelSpec], root: Path, archive: Path) -> int:
    """Write the files of ``models``, which lie in folder ``root``, into ``archive``.

    The same models give the same bytes. ``archive`` appears whole or not at all.

    Returns:
        Its size in bytes.

    Raises:
        ModelChecksumMismatch: A file of the store was changed.
        OSError: It cannot be written.
    """
    index = {
        "format": 1,
        "models": {
            model.name: {
                "title": model.title,
                "licence": model.licence,
                "files": {name: file.model_dump() for name, file in model.files.items()},
            }
            for model in models
        },
    }
    archive.parent.mkdir(parents=True, exist_ok=True)
    part = archive.with_name(archive.name + ".part")
    try:
        with part.open("wb") as stream:
            with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
                content = json.dumps(index, indent=1).encode()
                _add(tar, INDEX_NAME, len(content), io.BytesIO(content))
                for model in models:
                    for name, expected in model.files.items():
                        path = root / model.name / name
                        if not matches(path, expected):
                            raise ModelChecksumMismatch(
                                model.name,
                                name,
                                source="store",
                                expected=f"SHA-256 {expected.sha256}",
                                got="another or no file",
                            )
                        with path.open("rb") as file:
                            _add(tar, f"{model.name}/{name}", expected.bytes, file)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(archive)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return archive.stat().st_size


def _add(tar: tarfile.TarFile, name: str, size: int, content: IO[bytes]) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = size
    entry.mode = 0o644
    tar.addfile(entry, content)


@contextmanager
def _opened(archive: Path) -> Iterator[tarfile.TarFile]:
    """Open ``archive`` for reading from start to end, and name what is wrong with it."""
    try:
        with tarfile.open(archive, "r:") as tar:
            yield tar
    except (tarfile.TarError, EOFError) as exc:
        raise ModelBundleInvalid(str(archive), f"it is damaged or cut short ({exc})") from exc


def _checked(entry: tarfile.TarInfo, archive: Path) -> str:
    """The name of ``entry``, if a bundle may hold such an entry.

    Names are only compared with those of ``models.yaml`` and never used as a path; an archive
    that tries to leave its folder is refused all the same, because somebody made it so.
    """
    parts = entry.name.split("/")
    if not entry.isreg() or entry.name.startswith("/") or ".." in parts or "\\" in entry.name:
        raise ModelBundleInvalid(
            str(archive), f"the entry {entry.name!r} is not a plain file inside the bundle"
        )
    return entry.name


def bundled_models(archive: Path) -> list[str]:
    """Names of the models that ``archive`` says it holds.

    Raises:
        ModelBundleInvalid: It is no bundle.
    """
    if not archive.is_file():
        raise ModelBundleInvalid(str(archive), "there is no such file")
    with _opened(archive) as tar:
        entry = tar.next()
        if entry is None or entry.name != INDEX_NAME or entry.size > _INDEX_LIMIT_BYTES:
            raise ModelBundleInvalid(str(archive), f"it does not start with {INDEX_NAME}")
        stream = tar.extractfile(entry)
        assert stream
        try:
            return list(json.load(stream)["models"])
        except (ValueError, KeyError, TypeError) as exc:
            raise ModelBundleInvalid(str(archive), f"its {INDEX_NAME} is damaged") from exc


class BundleMirror:
    """A bundle as the operator's mirror.

    Args:
        archive: The tar file.
    """

    def __init__(self, archive: Path) -> None:
        self._archive = archive

    @property
    def label(self) -> str:
        """What people call it."""
        return "bundle"

    def extra_bytes(self, model: ModelSpec) -> int:
        """Nothing: files are copied out of the archive."""
        del model
        return 0

    def fetch(self, model: ModelSpec, work: Path, ready: Path, report: Reporter) -> None:
        """See :meth:`atrium_models.sources.Source.fetch`."""
        del work
        if model.name not in bundled_models(self._archive):
            raise SourceFailed(f"{self._archive} does not hold this model")
        report.begin(Stage.DOWNLOADING, model.disk_bytes, source=self.label)
        missing = dict(model.files)
        with _opened(self._archive) as tar:
            for entry in tar:
                name = _checked(entry, self._archive)
                folder, _, file = name.partition("/")
                if folder != model.name or file not in missing:
                    continue
                stream = tar.extractfile(entry)
                assert stream
                write_checked(
                    blocks(stream),
                    ready / file,
                    missing.pop(file),
                    model=model.name,
                    source=self.label,
                    advance=report.advance,
                )
        if missing:
            raise SourceFailed(f"{self._archive} lacks {', '.join(missing)} of this model")
