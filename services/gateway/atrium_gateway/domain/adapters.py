"""Adapters: small weights of one tenant over a base model that all tenants share."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

ADAPTER_PREFIX = "adapters/"
ADAPTER_MODEL_PREFIX = "models/adapters/"
SERVED_PREFIX = "atrium-"
"""Begins every name under which a server holds an adapter of ours, and no other name."""

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
ADAPTER_FILES = (CONFIG_FILE, WEIGHTS_FILE)

# Attention of these shares one hidden size on its way in, whatever the number of heads.
_READS_HIDDEN = frozenset({"q_proj", "k_proj", "v_proj", "gate_proj", "up_proj", "query", "key"})


class VersionState(StrEnum):
    """How far a version is."""

    ROLLING_OUT = "rolling_out"
    SERVING = "serving"
    KEPT = "kept"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class AdapterVersion:
    """One set of weights; never changed once stored.

    Attributes:
        number: Counts from 1 within the adapter.
        uid: Unique in the installation; names its files.
        state: How far it is.
        rank: Largest rank of its matrices.
        size_bytes: Size of its files together.
        sha256: Over its two files, configuration first; hexadecimal.
        create_time: When it was stored.
        note: What it was trained on, as the deployer says.
        failure: Why it failed, in plain words.
    """

    number: int
    uid: str
    state: VersionState
    rank: int
    size_bytes: int
    sha256: str
    create_time: datetime
    note: str = ""
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter of one tenant.

    Attributes:
        tenant: Whose it is.
        id: Unique within the tenant, ``"clause-risk"``.
        base_model: Model that it belongs to, ``"models/qwen2.5-0.5b"``.
        serving_version: The version that answers; 0: none yet.
        previous_version: The version that answered before it; 0: none.
        versions: All versions, newest first.
    """

    tenant: str
    id: str
    base_model: str
    serving_version: int
    previous_version: int
    versions: tuple[AdapterVersion, ...]

    @property
    def name(self) -> str:
        """Resource name, ``"adapters/clause-risk"``."""
        return ADAPTER_PREFIX + self.id

    @property
    def model(self) -> str:
        """Name by which routes of its tenant call it, ``"models/adapters/clause-risk"``."""
        return ADAPTER_MODEL_PREFIX + self.id

    def version(self, number: int) -> AdapterVersion | None:
        """Return a version by its number, or None."""
        return next((each for each in self.versions if each.number == number), None)


@dataclass(frozen=True, slots=True)
class HeldVersion:
    """A version as servers know it.

    Attributes:
        tenant: Whose it is.
        adapter: Id of the adapter.
        base_model: Model that it belongs to.
        number: Which version.
        uid: Names its files.
        state: How far it is.
    """

    tenant: str
    adapter: str
    base_model: str
    number: int
    uid: str
    state: VersionState

    @property
    def served_name(self) -> str:
        """Name under which servers hold it."""
        return served_name(self.tenant, self.adapter, self.number, self.uid)


def served_name(tenant: str, adapter: str, number: int, uid: str) -> str:
    """Return the name under which servers hold a version.

    A hash over all four, each with its length: no choice of names makes two tenants' adapters
    meet, nobody can name another's, and a version that follows a deleted one of the same number
    has a name of its own.
    """
    digest = hashlib.sha256()
    for part in ("t", tenant, adapter, f"v{number}", uid):
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(4, "big") + encoded)
    return SERVED_PREFIX + digest.hexdigest()[:40]


def folder_key(tenant: str, uid: str) -> str:
    """Return the folder of a version's files in the file store."""
    return f"adapters/{tenant}/{uid}"


def same_base(named: str, accepted: tuple[str, ...]) -> bool:
    """Return whether an adapter's configuration names one of the accepted base models.

    Training from a local copy writes the copy's folder instead of the model's name, so the last
    part of the path is enough.
    """
    last = named.rstrip("/").rpartition("/")[2].lower()
    return any(last == each.rstrip("/").rpartition("/")[2].lower() for each in accepted)


def wrong_shapes(
    pairs: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]],
    ranks: Mapping[str, int],
    hidden_size: int,
) -> str:
    """Return why the matrices of an adapter cannot be right, or "" when they can.

    Args:
        pairs: Shapes of A (rank, in) and B (out, rank) by module, ``"model.layers.0.q_proj"``.
        ranks: Rank of each module by the configuration.
        hidden_size: Of the base model; 0: not known.
    """
    by_kind: dict[str, tuple[str, int, int]] = {}
    hidden: tuple[str, int] | None = ("the base model", hidden_size) if hidden_size else None
    for module, (a, b) in pairs.items():
        if len(a) != 2 or len(b) != 2 or min(*a, *b) < 1:
            return f"{module}: expected two matrices, found shapes {list(a)} and {list(b)}"
        rank = ranks[module]
        if a[0] != rank or b[1] != rank:
            return (
                f"{module}: its configuration says rank {rank}, its matrices have {a[0]} and {b[1]}"
            )
        kind = module.rpartition(".")[2]
        first = by_kind.setdefault(kind, (module, a[1], b[0]))
        if first[1:] != (a[1], b[0]):
            return (
                f"{module} maps {a[1]} to {b[0]} numbers, but {first[0]} maps {first[1]} to "
                f"{first[2]}; all layers of a model are alike"
            )
        if kind in _READS_HIDDEN:
            hidden = hidden or (module, a[1])
            if hidden[1] != a[1]:
                return f"{module} reads {a[1]} numbers, {hidden[0]} has {hidden[1]}"
    return ""
