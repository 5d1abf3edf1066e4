"""A tenant's policy as it was at one version, and who could read what under it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from atrium_admin.domain.names import group_name, role_name
from atrium_admin.domain.roles import covers
from atrium_admin.domain.users import Memberships
from atrium_shared.principal import AllowSet, Effect, Grant

READING = (("knowledge.answers", "ask"), ("knowledge.documents", "read"))
"""(resource, action) pairs of which a reader of documents holds at least one."""


class Link(StrEnum):
    """A kind of link between users, groups and roles: who holds, and what is held."""

    USER_ROLE = "user_role"
    USER_GROUP = "user_group"
    GROUP_ROLE = "group_role"
    ROLE_ROLE = "role_role"


@dataclass(frozen=True, slots=True)
class PolicyVersion:
    """A version of a tenant's policy.

    Attributes:
        version: Its number.
        time: Since when it was in force.
    """

    version: int
    time: datetime


@dataclass(frozen=True)
class PastPolicy:
    """What decided under one version.

    Attributes:
        at: The version.
        disabled: User id -> whether they were disabled, in the order of ids.
        memberships: User id -> roles given directly, and groups.
        group_roles: Group id -> its roles.
        inherits: Role id -> the roles that it inherits.
        grants: Role id -> its own grants, in their order.
    """

    at: PolicyVersion
    disabled: Mapping[str, bool]
    memberships: Mapping[str, Memberships]
    group_roles: Mapping[str, Sequence[str]]
    inherits: Mapping[str, Sequence[str]]
    grants: Mapping[str, Sequence[Grant]]


@dataclass(frozen=True, slots=True)
class Through:
    """A grant through which somebody could read.

    Attributes:
        role: Id of the role that holds it.
        via: Names from what the user holds to that role: ``groups/hr``, ``roles/hr-partner``.
        grant: The grant.
        permission: What it opens, ``labels/hr/pay:read``.
    """

    role: str
    via: tuple[str, ...]
    grant: Grant
    permission: str


@dataclass(frozen=True, slots=True)
class Reader:
    """Somebody who could read.

    Attributes:
        user: User id.
        grants: Every allowing grant that speaks about a permitted label, clause by clause.
    """

    user: str
    grants: tuple[Through, ...]


class Readers:
    """Finds who could read what every one of some clauses opens.

    Whether and through what is reckoned once for all users with the same roles and groups, and the
    rules are compiled once for all sets of them that lead to the same roles.

    Args:
        policy: The policy that was in force.
        clauses: Sets of labels, such as ``hr/pay``; a reader holds one of each.
    """

    def __init__(self, policy: PastPolicy, clauses: Sequence[Sequence[str]]) -> None:
        self._policy = policy
        self._clauses = [
            [(f"labels/{label}", "read") for label in dict.fromkeys(labels)] for labels in clauses
        ]
        self._asked = {pair for clause in self._clauses for pair in clause} | set(READING)
        self._relevant: dict[str, list[Grant]] = {}
        self._opened: dict[frozenset[str], list[tuple[str, str]] | None] = {}
        self._found: dict[Memberships, tuple[Through, ...] | None] = {}

    def after(self, user: str, limit: int) -> tuple[list[Reader], bool]:
        """Return up to ``limit`` readers with greater ids in their order, and whether more come."""
        readers: list[Reader] = []
        for candidate, disabled in self._policy.disabled.items():
            if disabled or candidate <= user:
                continue
            through = self._through(self._policy.memberships[candidate])
            if through is None:
                continue
            if len(readers) == limit:
                return readers, True
            readers.append(Reader(candidate, through))
        return readers, False

    def _through(self, memberships: Memberships) -> tuple[Through, ...] | None:
        if memberships not in self._found:
            ways = ways_to_roles(memberships, self._policy)
            opened = self._open(frozenset(ways))
            self._found[memberships] = (
                None
                if opened is None
                else tuple(
                    Through(role, ways[role], grant, f"{resource}:{action}")
                    for resource, action in opened
                    for role in sorted(ways)
                    for grant in self._of(role)
                    if grant.effect is Effect.ALLOW and covers(grant, resource, action)
                )
            )
        return self._found[memberships]

    def _open(self, roles: frozenset[str]) -> list[tuple[str, str]] | None:
        """Return which of the asked permissions such a user held; None when not enough."""
        if roles not in self._opened:
            allow_set = AllowSet(grant for role in roles for grant in self._of(role))
            held: list[tuple[str, str]] | None
            held = [pair for pair in READING if allow_set.permits(*pair)]
            if held and self._clauses:
                by_clause = [
                    [pair for pair in clause if allow_set.permits(*pair)]
                    for clause in self._clauses
                ]
                held = list(dict.fromkeys(pair for clause in by_clause for pair in clause))
                if not all(by_clause):
                    held = None
            self._opened[roles] = held or None
        return self._opened[roles]

    def _of(self, role: str) -> list[Grant]:
        """Return the grants of a role that speak about anything that was asked."""
        if role not in self._relevant:
            self._relevant[role] = [
                grant
                for grant in self._policy.grants.get(role, ())
                if any(covers(grant, *pair) for pair in self._asked)
            ]
        return self._relevant[role]


def ways_to_roles(memberships: Memberships, policy: PastPolicy) -> dict[str, tuple[str, ...]]:
    """Return every role that such a user had -> a shortest way to it, the role's name last."""
    ways: dict[str, tuple[str, ...]] = {}
    steps: list[tuple[str, tuple[str, ...]]]
    steps = [(role, (role_name(role),)) for role in sorted(memberships.roles)]
    steps += [
        (role, (group_name(group), role_name(role)))
        for group in sorted(memberships.groups)
        for role in sorted(policy.group_roles.get(group, ()))
    ]
    # Breadth first: a way is never longer than one found later.
    while steps:
        steps.sort(key=lambda step: len(step[1]))
        reached: list[tuple[str, tuple[str, ...]]] = []
        for role, way in steps:
            if role not in ways:
                ways[role] = way
                reached.append((role, way))
        steps = [
            (parent, (*way, role_name(parent)))
            for role, way in reached
            for parent in sorted(policy.inherits.get(role, ()))
        ]
    return ways


def policy_of(
    at: PolicyVersion,
    users: Iterable[tuple[str, bool]],
    links: Iterable[tuple[str, str, str]],
    grants: Iterable[tuple[str, Grant]],
) -> PastPolicy:
    """Put a policy together.

    Args:
        at: Its version.
        users: (id, disabled), in the order of ids.
        links: (kind, holder, held), with the values of :class:`Link` as kinds.
        grants: (role, grant), in the order of each role's grants.
    """
    disabled = dict(users)
    held: dict[str, dict[str, list[str]]] = {kind: {} for kind in Link}
    for kind, holder, target in links:
        held[kind].setdefault(holder, []).append(target)
    rules: dict[str, list[Grant]] = {}
    for role, grant in grants:
        rules.setdefault(role, []).append(grant)
    return PastPolicy(
        at=at,
        disabled=disabled,
        memberships={
            user: Memberships(
                frozenset(held[Link.USER_ROLE].get(user, ())),
                frozenset(held[Link.USER_GROUP].get(user, ())),
            )
            for user in disabled
        },
        group_roles=held[Link.GROUP_ROLE],
        inherits=held[Link.ROLE_ROLE],
        grants=rules,
    )
