"""The rule that a tenant cannot lock itself out.

After every change of a policy some enabled user must hold both ``admin.users:manage`` and
``admin.roles:manage``: who holds them can repair everything else.

Only the few grants that speak about these two permissions matter, so the rule is checked against
those alone, inside the transaction that changes the policy, however large the policy is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from atrium_admin.domain.roles import closure, inverse
from atrium_shared.principal import AllowSet, Effect, Grant

REQUIRED = (("admin.users", "manage"), ("admin.roles", "manage"))
"""(resource, action) pairs that one enabled user must hold together."""


def covering_resources() -> frozenset[str]:
    """Return every grant resource that matches a required one: itself and each prefix with a star.

    A database finds these few by equality; it would have to look at every grant for the prefix.
    """
    return frozenset(
        pattern
        for resource, _ in REQUIRED
        for pattern in (resource, *(resource[:end] + "*" for end in range(len(resource) + 1)))
    )


def covering_actions() -> frozenset[str]:
    """Return every grant action that matches a required one."""
    return frozenset({"*", *(action for _, action in REQUIRED)})


class Administration:
    """The part of a policy that decides who administers the tenant.

    Args:
        grants: Role id -> its grants on :func:`covering_resources`.
        edges: Role id -> the roles that it inherits.
    """

    def __init__(
        self, grants: Mapping[str, Iterable[Grant]], edges: Mapping[str, Iterable[str]]
    ) -> None:
        self._grants = {role: tuple(rules) for role, rules in grants.items()}
        self._edges = edges
        self._verdicts: dict[frozenset[str], bool] = {}

    def carriers(self) -> frozenset[str]:
        """Return the roles that allow something required, by themselves or by inheritance.

        Whoever administers the tenant holds at least one of them.
        """
        allowing = {
            role
            for role, rules in self._grants.items()
            if any(rule.effect is Effect.ALLOW for rule in rules)
        }
        return closure(allowing, inverse(self._edges))

    def suffices(self, roles: Iterable[str]) -> bool:
        """Say whether a user with exactly these roles (direct and by groups) is enough."""
        # Only roles with such grants tell users apart, so that many users share few verdicts.
        deciding = closure(roles, self._edges).intersection(self._grants)
        if deciding not in self._verdicts:
            allow_set = AllowSet(rule for role in deciding for rule in self._grants[role])
            self._verdicts[deciding] = all(allow_set.permits(*pair) for pair in REQUIRED)
        return self._verdicts[deciding]
