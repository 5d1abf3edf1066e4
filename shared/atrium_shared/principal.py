"""Who calls, for whom, and what they may do."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
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


class AllowSet:
    """What somebody may do, compiled so that one question costs a few set look-ups.

    The cost does not depend on the number of rules, only on how many different lengths the
    prefixes have.

    Args:
        grants: Every rule that holds for the subject, in any order.
        policy_version: Version of the tenant's policy that the rules come from.
    """

    __slots__ = ("_allow", "_deny", "_digest", "grants", "policy_version")

    def __init__(self, grants: Iterable[Grant] = (), policy_version: int = 0) -> None:
        self.grants = frozenset(grants)
        self.policy_version = policy_version
        self._allow = _Rules(grant for grant in self.grants if grant.effect is Effect.ALLOW)
        self._deny = _Rules(grant for grant in self.grants if grant.effect is Effect.DENY)
        self._digest: bytes | None = None

    @property
    def digest(self) -> bytes:
        """SHA-256 over the sorted rules, 32 bytes. The same rules give the same digest."""
        if self._digest is None:
            lines = sorted(
                f"{grant.resource}\t{grant.action}\t{grant.effect.value}\n" for grant in self.grants
            )
            self._digest = hashlib.sha256("".join(lines).encode()).digest()
        return self._digest

    def permits(self, resource: str, action: str) -> bool:
        """Return whether ``action`` on ``resource`` is allowed and not denied."""
        return self._allow.match(resource, action) and not self._deny.match(resource, action)

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
        return self.policy_version == other.policy_version and self.grants == other.grants

    def __hash__(self) -> int:
        return hash((self.policy_version, self.digest))

    def __repr__(self) -> str:
        return f"AllowSet({len(self.grants)} grants, policy_version={self.policy_version})"


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
    """

    tenant: str
    actor: str
    on_behalf_of: str | None
    allow_set: AllowSet
    credential: str
    max_upload_bytes: int = 0
    token: str = field(default="", repr=False)
    service: str | None = None

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
