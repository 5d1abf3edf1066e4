"""Who calls, for whom, and what they may do."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from atrium_shared.errors import Denied


class PermissionDenied(Denied):
    """The caller is known, and lacks a permission."""

    reason = "PERMISSION_DENIED"

    def __init__(self, subject: str, permission: str) -> None:
        super().__init__(
            f"{subject} lacks the permission {permission!r}. "
            "An administrator of the tenant can give a role that grants it.",
            subject=subject,
            permission=permission,
        )


class Effect(StrEnum):
    """What a matching rule does."""

    ALLOW = "allow"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Grant:
    """One rule: allow or deny an action on a resource.

    Attributes:
        resource: Permission area such as ``"knowledge.documents"`` or a document label as
            ``"labels/hr/compensation"``. A ``"*"`` at the end matches whatever starts so.
        action: ``"read"``, ``"write"`` and so on, or ``"*"`` for all.
        effect: A deny wins over every allow.
    """

    resource: str
    action: str
    effect: Effect = Effect.ALLOW


class _Rules:
    """Rules of one effect, compiled: a set for exact resources, one set for each prefix length."""

    __slots__ = ("_exact", "_prefixes")

    def __init__(self, grants: Iterable[Grant]) -> None:
        self._exact: set[tuple[str, str]] = set()
        by_length: dict[int, set[tuple[str, str]]] = {}
        for grant in grants:
            if grant.resource.endswith("*"):
                prefix = grant.resource[:-1]
                by_length.setdefault(len(prefix), set()).add((prefix, grant.action))
            else:
                self._exact.add((grant.resource, grant.action))
        self._prefixes = tuple(sorted(by_length.items()))

    def match(self, resource: str, action: str) -> bool:
        exact = self._exact
        if (resource, action) in exact or (resource, "*") in exact:
            return True
        for length, rules in self._prefixes:
            if length > len(resource):
                return False
            prefix = resource[:length]
            if (prefix, action) in rules or (prefix, "*") in rules:
                return True
        return False


class RuleBlock:
    """Rules that several allow-sets share, such as those of one role, compiled once.

    Args:
        grants: The rules, in any order.
        digest: What :attr:`digest` would be, where it is known already.
    """

    __slots__ = ("__weakref__", "_digest", "allows", "denies", "grants")

    def __init__(self, grants: Iterable[Grant] = (), digest: bytes | None = None) -> None:
        self.grants = frozenset(grants)
        self.allows = _Rules(grant for grant in self.grants if grant.effect is Effect.ALLOW)
        denies = [grant for grant in self.grants if grant.effect is Effect.DENY]
        self.denies = _Rules(denies) if denies else None
        self._digest = digest

    @property
    def digest(self) -> bytes:
        """SHA-256 over the sorted rules, 32 bytes. The same rules give the same digest."""
        if self._digest is None:
            self._digest = _digest(self.grants)
        return self._digest


class AllowSet:
    """What somebody may do, compiled so that one question costs a few set look-ups.

    The cost does not depend on the number of rules, only on how many different lengths the
    prefixes have, and on the number of blocks. Thousands of users hold the same few roles, so the
    rules of a role are kept in a block that all of them share.

    Args:
        grants: Every rule that holds for the subject, in any order.
        policy_version: Version of the tenant's policy that the rules come from.
    """

    __slots__ = ("_digest", "blocks", "policy_version")

    def __init__(self, grants: Iterable[Grant] = (), policy_version: int = 0) -> None:
        self.blocks: tuple[RuleBlock, ...] = (RuleBlock(grants),)
        self.policy_version = policy_version
        self._digest: bytes | None = None

    @classmethod
    def of_blocks(
        cls, blocks: Iterable[RuleBlock], policy_version: int = 0, digest: bytes | None = None
    ) -> AllowSet:
        """Return the rules of all ``blocks`` together.

        Args:
            blocks: In any order; a rule may stand in several.
            policy_version: Version of the tenant's policy that the rules come from.
            digest: What :attr:`digest` would be, where it is known already.
        """
        allow_set = cls.__new__(cls)
        allow_set.blocks = tuple(blocks)
        allow_set.policy_version = policy_version
        allow_set._digest = digest
        return allow_set

    @property
    def grants(self) -> frozenset[Grant]:
        """Every rule that holds for the subject; put together at each call."""
        return frozenset().union(*(block.grants for block in self.blocks))

    @property
    def digest(self) -> bytes:
        """SHA-256 over the sorted rules, 32 bytes. The same rules give the same digest."""
        if self._digest is None:
            blocks = self.blocks
            self._digest = blocks[0].digest if len(blocks) == 1 else _digest(self.grants)
        return self._digest

    def permits(self, resource: str, action: str) -> bool:
        """Return whether ``action`` on ``resource`` is allowed and not denied."""
        allowed = False
        for block in self.blocks:
            if block.denies is not None and block.denies.match(resource, action):
                return False
            allowed = allowed or block.allows.match(resource, action)
        return allowed

    def loses_to(self, other: AllowSet) -> bool:
        """Return whether ``other`` lacks something that this one permits, as far as rules tell.

        An allow that is gone or a deny that is new counts, even where another rule makes up for it.
        """
        if self.digest == other.digest:
            return False
        # Blocks in common need no look inside.
        common = {block.digest for block in self.blocks} & {block.digest for block in other.blocks}
        mine = _grants_outside(self.blocks, common)
        theirs = _grants_outside(other.blocks, common)
        return any(
            grant.effect is Effect.ALLOW and not _has(other, grant) for grant in mine
        ) or any(grant.effect is Effect.DENY and not _has(self, grant) for grant in theirs)

    def may_read(self, labels: Iterable[str]) -> bool:
        """Return whether something with these labels may be read.

        Any one of the labels suffices. Without labels everyone of the tenant may.

        Args:
            labels: Labels without the ``labels/`` prefix, such as ``"hr/compensation"``.
        """
        labelled = False
        for label in labels:
            if self.permits(f"labels/{label}", "read"):
                return True
            labelled = True
        return not labelled

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AllowSet):
            return NotImplemented
        return self.policy_version == other.policy_version and self.digest == other.digest

    def __hash__(self) -> int:
        return hash((self.policy_version, self.digest))

    def __repr__(self) -> str:
        return f"AllowSet({len(self.grants)} grants, policy_version={self.policy_version})"


def _digest(grants: frozenset[Grant]) -> bytes:
    lines = sorted(f"{grant.resource}\t{grant.action}\t{grant.effect.value}\n" for grant in grants)
    return hashlib.sha256("".join(lines).encode()).digest()


def _grants_outside(blocks: Iterable[RuleBlock], common: set[bytes]) -> Iterator[Grant]:
    for block in blocks:
        if block.digest not in common:
            yield from block.grants


def _has(allow_set: AllowSet, grant: Grant) -> bool:
    return any(grant in block.grants for block in allow_set.blocks)


class Residency(StrEnum):
    """Where the texts of a tenant may go."""

    PRIVATE_ONLY = "private_only"
    """Nothing leaves the installation. Also what holds where nothing is known."""
    HYBRID = "hybrid"
    """Texts may leave with personal data replaced; it is put back in the reply."""
    ANY = "any"
    """Texts may leave."""


class QuotaUnit(StrEnum):
    """What a quota counts."""

    TOKENS = "tokens"
    """Read and written, by generators and encoders."""
    REQUESTS = "requests"
    """Calls."""


class QuotaWindow(StrEnum):
    """Over which time a quota counts: full minutes, hours, days and months of UTC."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class TenantQuota:
    """At most ``limit`` of ``unit`` in each ``window``, as the operator allows a tenant."""

    unit: QuotaUnit
    window: QuotaWindow
    limit: int


@dataclass(frozen=True)
class Principal:
    """Who calls. It comes from the credential, never from a request field.

    Attributes:
        tenant: Id of the tenant, ``"acme"``. Empty for a service acting as itself.
        actor: Who holds the credential, ``"users/portal"`` (or ``"services/knowledge"``).
        on_behalf_of: The end user for whom the actor calls, ``"users/lin"``, or ``None``.
        allow_set: What the end user (without one, the actor) may do.
        credential: Id of the key, for the audit log; never the secret.
        max_upload_bytes: Largest upload in bytes that the tenant set. 0: the installation's.
        token: Internal token to call further services with, a secret.
        service: Name of the calling service when it acts as itself, else ``None``.
        residency: Where the tenant's texts may go.
        quotas: What the operator allows the tenant to use.
    """

    tenant: str
    actor: str
    on_behalf_of: str | None
    allow_set: AllowSet
    credential: str
    max_upload_bytes: int = 0
    token: str = field(default="", repr=False)
    service: str | None = None
    residency: Residency = Residency.PRIVATE_ONLY
    quotas: tuple[TenantQuota, ...] = ()

    @property
    def subject(self) -> str:
        """Whose permissions count: the end user, or without one the actor."""
        return self.on_behalf_of or self.actor

    def may(self, permission: str) -> bool:
        """Return whether the subject holds ``permission``, such as ``"knowledge.answers:ask"``."""
        resource, _, action = permission.rpartition(":")
        return self.allow_set.permits(resource, action)

    def require(self, permission: str) -> None:
        """Do nothing when the subject holds ``permission``.

        Raises:
            PermissionDenied: It does not.
        """
        if not self.may(permission):
            raise PermissionDenied(self.subject, permission)
