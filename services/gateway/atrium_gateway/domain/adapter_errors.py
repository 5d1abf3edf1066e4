"""What can go wrong with adapters, by reason."""

from __future__ import annotations

from atrium_gateway.domain.adapters import ADAPTER_FILES
from atrium_shared.errors import Conflict, Invalid, NotFound, Unavailable


class AdapterNotFound(NotFound):
    """The tenant has no such adapter."""

    reason = "ADAPTER_NOT_FOUND"

    def __init__(self, adapter: str) -> None:
        super().__init__(
            f"Adapter {adapter!r} does not exist. ListAdapters names those that do.",
            field="name",
            adapter=adapter,
        )


class AdapterVersionNotFound(NotFound):
    """The adapter has no such version."""

    reason = "ADAPTER_VERSION_NOT_FOUND"

    def __init__(self, adapter: str, version: int) -> None:
        which = f"version {version}" if version else "version that answered before"
        super().__init__(
            f"Adapter {adapter!r} has no {which}. GetAdapter shows its versions.",
            field="version",
            adapter=adapter,
            version=version,
        )


class AdapterInvalid(Invalid):
    """What was sent is no adapter that can be served."""

    reason = "ADAPTER_INVALID"

    def __init__(self, adapter: str, why: str) -> None:
        super().__init__(
            f"Adapter {adapter!r} cannot be served: {why}. Send {' and '.join(ADAPTER_FILES)} of a "
            "LoRA adapter as peft saves them. Nothing was stored.",
            adapter=adapter,
            why=why,
        )


class AdapterBaseUnknown(Invalid):
    """The named base model is not there, or takes no adapters."""

    reason = "ADAPTER_BASE_UNKNOWN"

    def __init__(self, base: str, known: list[str]) -> None:
        which = f"Those that do: {', '.join(known)}" if known else "None of this installation does"
        super().__init__(
            f"Model {base!r} does not exist here or takes no adapters. {which}; the operator's "
            "servers file says which do (`adapters`).",
            field="header.base_model",
            base_model=base,
        )


class AdapterRankTooLarge(Invalid):
    """Its matrices have a higher rank than servers were told to expect."""

    reason = "ADAPTER_RANK_TOO_LARGE"

    def __init__(self, adapter: str, rank: int, limit: int) -> None:
        super().__init__(
            f"Adapter {adapter!r} has rank {rank}; servers take at most {limit}. Train it with a "
            "smaller `r`, or let the operator raise GATEWAY_MAX_LORA_RANK and vLLM's "
            "--max-lora-rank together.",
            adapter=adapter,
            rank=rank,
            limit=limit,
        )


class AdapterTooLarge(Invalid):
    """Its files are larger than allowed."""

    reason = "ADAPTER_TOO_LARGE"

    def __init__(self, adapter: str, file: str, limit_bytes: int) -> None:
        super().__init__(
            f"{file} of adapter {adapter!r} is larger than {limit_bytes} bytes. Train it with a "
            "smaller `r` or fewer target modules, or let the operator raise "
            "GATEWAY_MAX_ADAPTER_BYTES.",
            adapter=adapter,
            file=file,
            limit_bytes=limit_bytes,
        )


class AdapterInUse(Conflict):
    """A route names the adapter."""

    reason = "ADAPTER_IN_USE"

    def __init__(self, adapter: str, routes: list[str]) -> None:
        super().__init__(
            f"Adapter {adapter!r} is named by {', '.join(routes)}. Change or delete these routes "
            "first.",
            adapter=adapter,
            routes=", ".join(routes),
        )


class AdapterRolloutFailed(Unavailable):
    """A version could not be brought to every server. The version before goes on answering."""

    reason = "ADAPTER_ROLLOUT_FAILED"

    def __init__(self, adapter: str, version: int, why: str) -> None:
        super().__init__(
            f"Version {version} of adapter {adapter!r} could not be brought to every server: {why} "
            "What answered before goes on answering. RollbackAdapter with this version tries "
            "again.",
            adapter=adapter,
            version=version,
        )
        self.why = why


class AdapterUploadExpired(Unavailable):
    """Storing the files took so long that they were given up."""

    reason = "ADAPTER_UPLOAD_EXPIRED"

    def __init__(self, adapter: str) -> None:
        super().__init__(
            f"Storing adapter {adapter!r} took so long that its files were given up. Nothing was "
            "stored; deploy it again.",
            adapter=adapter,
        )
