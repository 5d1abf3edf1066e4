"""What can go wrong between a model's name and its files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from atrium_shared.errors import Conflict, Exhausted, Invalid, NotFound, Unavailable


@dataclass(frozen=True)
class FailedSource:
    """One source that gave no model, and why.

    Attributes:
        source: Where it was looked for, such as ``"mirror"`` or ``"package index"``.
        reason: Why that failed, as half a sentence without a full stop.
    """

    source: str
    reason: str

    def __str__(self) -> str:
        return f"{self.source}: {self.reason}"


class ModelUnknown(NotFound):
    """No model or set of that name is in ``models.yaml``."""

    reason = "MODEL_UNKNOWN"

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(
            f"There is no model or set {name!r}. Known: {', '.join(known)}.",
            field="name",
            model=name,
        )


class ModelNotPulled(Unavailable):
    """The model is known, but its files are not in the store."""

    reason = "MODEL_NOT_PULLED"

    def __init__(self, name: str, root: str, detail: str) -> None:
        super().__init__(
            f"Model {name!r} {detail} in {root}. Run: atrium models pull {name}",
            model=name,
            root=root,
        )


class ModelChecksumMismatch(Unavailable):
    """What a source served is not the file that ``models.yaml`` names; it was not used."""

    reason = "MODEL_CHECKSUM_MISMATCH"

    def __init__(
        self,
        model: str,
        file: str,
        *,
        source: str,
        expected: str,
        got: str,
        others: Sequence[FailedSource] = (),
    ) -> None:
        elsewhere = "".join(f"\n  {other}" for other in others)
        super().__init__(
            f"Model {model!r}: {file} from the {source} is not the expected file: "
            f"expected {expected}, got {got}. Nothing of it was kept."
            + (f" The other sources gave no model either:{elsewhere}" if others else "")
            + " Repair or replace that source, then pull again.",
            model=model,
            file=file,
            source=source,
            expected=expected,
            got=got,
        )
        self.model = model
        self.file = file
        self.source = source
        self.expected = expected
        self.got = got

    def beside(self, others: Sequence[FailedSource]) -> ModelChecksumMismatch:
        """The same error, which also says why the other sources gave nothing."""
        return ModelChecksumMismatch(
            self.model,
            self.file,
            source=self.source,
            expected=self.expected,
            got=self.got,
            others=others,
        )


class ModelSourcesUnreachable(Unavailable):
    """No source of the model could be reached or holds it."""

    reason = "MODEL_SOURCES_UNREACHABLE"

    def __init__(self, model: str, attempts: Sequence[FailedSource]) -> None:
        tried = "".join(f"\n  {attempt}" for attempt in attempts)
        super().__init__(
            f"Model {model!r} could not be fetched. Tried:{tried}\n"
            "Set ATRIUM_MODELS_MIRROR to a folder or URL that holds the models, or to an archive "
            "made by `atrium models bundle` on a machine with access; what was downloaded already "
            "is kept and the next pull goes on from there.",
            model=model,
            attempts="; ".join(map(str, attempts)),
        )


class ModelDiskFull(Exhausted):
    """The disk of the store lacks room for the model."""

    reason = "MODEL_DISK_FULL"

    def __init__(self, names: Sequence[str], root: str, needed: int, free: int) -> None:
        super().__init__(
            f"Pulling {', '.join(names)} needs {needed / 1e6:,.0f} MB in {root}, "
            f"but {free / 1e6:,.0f} MB are free. Free some space or set ATRIUM_MODELS_DIR to a "
            "larger disk.",
            models=",".join(names),
            root=root,
            needed_bytes=needed,
            free_bytes=free,
        )


class ModelBundleInvalid(Invalid):
    """The archive is not a bundle, or holds what a bundle must not hold."""

    reason = "MODEL_BUNDLE_INVALID"

    def __init__(self, archive: str, detail: str) -> None:
        super().__init__(
            f"{archive} is not a usable model bundle: {detail}. "
            "Make one with `atrium models bundle`.",
            field="archive",
            archive=archive,
        )


class ModelConversionFailed(Unavailable):
    """A downloaded file could not be turned into the files an engine opens."""

    reason = "MODEL_CONVERSION_FAILED"

    def __init__(self, model: str, detail: str) -> None:
        super().__init__(
            f"Model {model!r} could not be converted: {detail}. Pull it again; if "
            "that repeats, the installed versions of onnx and numpy differ from the pinned ones.",
            model=model,
        )


class ModelBusy(Conflict):
    """Another process is changing the same model and did not finish in time."""

    reason = "MODEL_BUSY"

    def __init__(self, model: str, waited_seconds: float) -> None:
        super().__init__(
            f"Another process has been changing model {model!r} for {waited_seconds:.0f} s. "
            "Wait for it, or end it, and try again.",
            model=model,
        )


class ModelStoreUnusable(Unavailable):
    """The store's folder cannot be read or written."""

    reason = "MODEL_STORE_UNUSABLE"

    def __init__(self, root: str, detail: str) -> None:
        super().__init__(
            f"The model store {root} cannot be used: {detail}. "
            "Set ATRIUM_MODELS_DIR to a folder that this user may write.",
            root=root,
        )


class CatalogInvalid(Invalid):
    """``models.yaml`` itself is wrong."""

    reason = "MODEL_CATALOG_INVALID"

    def __init__(self, where: str, detail: str) -> None:
        super().__init__(f"Model catalog, {where}: {detail}.", field=where)
