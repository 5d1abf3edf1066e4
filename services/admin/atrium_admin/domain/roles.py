"""Roles: named sets of grants that may inherit from one another, but never in a circle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from atrium_admin.domain.errors import RoleCycle
from atrium_admin.domain.names import require_one_line, role_name
from atrium_shared.principal import Effect, Grant

DEFAULT_ROLE = "member"
"""What a user without roles gets."""

ADMIN_ROLE = "admin"
"""What a tenant's first user gets."""


@dataclass(frozen=True, slots=True)
class Role:
    """A named set of grants.

    Attributes:
        id: Such as ``hr-partner``.
        display_name: Name for people.
        grants: Its own grants, without duplicates.
        inherits: Ids of roles whose grants it has too, sorted.
        built_in: Whether it comes with every tenant.
        create_time: When it was made.
    """

    id: str
    display_name: str
    grants: tuple[Grant, ...]
    inherits: tuple[str, ...]
    built_in: bool
    create_time: datetime

    @property
    def name(self) -> str:
        """``roles/<id>``."""
        return role_name(self.id)


@dataclass(frozen=True, slots=True)
class RoleDraft:
    """What a caller says about a role; see :class:`Role`.

    Attributes:
        inherits: Names of roles, ``roles/member``.
    """

    display_name: str = ""
    grants: tuple[Grant, ...] = ()
    inherits: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BuiltInRole:
    """A role that comes with every tenant."""

    id: str
    display_name: str
    permissions: tuple[str, ...]
    inherits: tuple[str, ...] = ()

    def role(self, create_time: datetime) -> Role:
        """Return it as a role of a tenant."""
        pairs = (permission.rpartition(":") for permission in self.permissions)
        return Role(
            id=self.id,
            display_name=self.display_name,
            grants=tuple(Grant(resource, action, Effect.ALLOW) for resource, _, action in pairs),
            inherits=tuple(sorted(self.inherits)),
            built_in=True,
            create_time=create_time,
        )


BUILT_IN_ROLES = (
    BuiltInRole(
        "member",
        "Member",
        (
            "knowledge.collections:read",
            "knowledge.documents:read",
            "knowledge.answers:ask",
            "meeting.meetings:read",
            "meeting.meetings:write",
            "gateway.models:use",
        ),
    ),
    BuiltInRole(
        "editor",
        "Editor",
        (
            "knowledge.documents:read",
            "knowledge.documents:write",
            "knowledge.documents:manage",
        ),
        inherits=("member",),
    ),
    BuiltInRole(
        "service",
        "Service",
        ("users/*:impersonate",),
        inherits=("editor", "member"),
    ),
    # Managing is not reading: no label is granted, so that running a tenant does not open its pay
    # bands. An administrator who should read them gets a role that says so.
    BuiltInRole(
        "admin", "Administrator", ("admin.*:*", "knowledge.*:*", "meeting.*:*", "gateway.*:*")
    ),
)


def built_in_digest() -> str:
    """Return a hash of :data:`BUILT_IN_ROLES`, which changes when a release changes them."""
    rows = [[r.id, r.display_name, *r.permissions, *r.inherits] for r in BUILT_IN_ROLES]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def unique_grants(grants: Iterable[Grant], *, field: str) -> tuple[Grant, ...]:
    """Return the grants in their order, each once.

    Raises:
        FieldInvalid: A resource holds control characters.
    """
    unique: dict[Grant, None] = {}
    for index, grant in enumerate(grants):
        require_one_line(grant.resource, field=f"{field}[{index}].resource")
        unique[grant] = None
    return tuple(unique)


def covers(grant: Grant, resource: str, action: str) -> bool:
    """Say whether one grant speaks about an action on a resource, whatever its effect."""
    if grant.action not in ("*", action):
        return False
    if grant.resource.endswith("*"):
        return resource.startswith(grant.resource[:-1])
    return grant.resource == resource


def require_no_cycle(
    role: str, inherits: Iterable[str], edges: Mapping[str, Iterable[str]], *, field: str
) -> None:
    """Refuse inherited roles that lead back to ``role``.

    Args:
        role: Id of the role to change.
        inherits: Ids of the roles that it shall inherit.
        edges: What every role inherits now; what it says of ``role`` itself does not count.
        field: Request field to name in the error.

    Raises:
        RoleCycle: With the whole circle, from the role back to itself.
    """
    # Depth first, remembering by which role each was reached.
    reached_from: dict[str, str] = {}
    open_roles = [(parent, role) for parent in inherits]
    while open_roles:
        current, child = open_roles.pop()
        if current == role:
            circle = [role]
            while child != role:
                circle.append(child)
                child = reached_from[child]
            circle.append(role)
            raise RoleCycle([role_name(step) for step in reversed(circle)], field=field)
        if current not in reached_from:
            reached_from[current] = child
            open_roles.extend((parent, current) for parent in edges.get(current, ()))


def closure(roles: Iterable[str], edges: Mapping[str, Iterable[str]]) -> frozenset[str]:
    """Return the roles with all that they inherit."""
    seen: set[str] = set()
    open_roles = list(roles)
    while open_roles:
        role = open_roles.pop()
        if role not in seen:
            seen.add(role)
            open_roles.extend(edges.get(role, ()))
    return frozenset(seen)


def inverse(edges: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """Return role -> the roles that inherit it."""
    heirs: dict[str, list[str]] = {}
    for role, parents in edges.items():
        for parent in parents:
            heirs.setdefault(parent, []).append(role)
    return heirs
