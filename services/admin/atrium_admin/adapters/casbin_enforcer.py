"""One tenant's policy in Casbin: RBAC with inherited roles, where a deny wins.

The tenant is not a domain inside the model, as each tenant has an enforcer of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from casbin import Enforcer
from casbin.rbac import RoleManager

from atrium_admin.domain.names import group_name, role_name
from atrium_admin.domain.users import Memberships
from atrium_shared.principal import Grant, RuleBlock

MODEL = """
[request_definition]
r = sub, obj, act

[policy_definition]
p = sub, obj, act, eft

[role_definition]
g = _, _

[policy_effect]
e = some(where (p.eft == allow)) && !some(where (p.eft == deny))

[matchers]
m = (p.act == r.act || p.act == "*") && keyMatch(r.obj, p.obj) && g(r.sub, p.sub)
"""
"""``keyMatch`` takes a star at a rule's end as "starts with", which is what a grant means by it."""


class _Links(RoleManager):  # type: ignore[misc]  # Casbin ships no types
    """Who has which role, as a graph with remembered closures.

    Casbin's own role manager follows ten steps of inheritance and no more, remembers every name
    that it was ever asked about, and searches a list to take a link away.
    """

    def __init__(self) -> None:
        self._parents: dict[str, frozenset[str]] = {}
        self._closures: dict[str, frozenset[str]] = {}

    def clear(self) -> None:
        self._parents.clear()
        self._closures.clear()

    def set_parents(self, name: str, parents: Iterable[str]) -> None:
        """Link a name to exactly these."""
        parents = frozenset(parents)
        if self._parents.get(name, frozenset()) == parents:
            return
        if parents:
            self._parents[name] = parents
        else:
            del self._parents[name]
        # Only what leads through this name leads elsewhere now.
        for other in [other for other, reached in self._closures.items() if name in reached]:
            del self._closures[other]

    def closure(self, name: str) -> frozenset[str]:
        """Return the name and everything that it is linked to, directly or not."""
        known = self._closures.get(name)
        if known is None:
            seen = {name}
            open_names = [name]
            while open_names:
                for parent in self._parents.get(open_names.pop(), ()):
                    if parent not in seen:
                        seen.add(parent)
                        open_names.append(parent)
            known = frozenset(seen)
            if name in self._parents:
                self._closures[name] = known
        return known

    def has_link(self, name1: str, name2: str, *domain: str) -> bool:
        """Say whether the second is the first or one of its roles. Casbin asks this per rule."""
        return name2 in self.closure(name1)

    def get_roles(self, name: str, *domain: str) -> list[str]:
        return sorted(self._parents.get(name, ()))

    def add_link(self, name1: str, name2: str, *domain: str) -> None:
        self.set_parents(name1, {*self._parents.get(name1, ()), name2})


class CasbinEnforcer:
    """Implements :class:`~atrium_admin.app.ports.PolicyEnforcer`.

    Casbin's own list of rules is put together when Casbin is asked: rarely, while roles change and
    are compiled all the time.
    """

    def __init__(self) -> None:
        self._links = _Links()
        self._grants: dict[str, tuple[Grant, ...]] = {}
        self._blocks: dict[str, RuleBlock] = {}
        self._listed = True
        self._casbin = Enforcer(Enforcer.new_model(text=MODEL))
        self._casbin.set_role_manager(self._links)
        self._casbin.build_role_links()

    def clear(self) -> None:
        """Forget everything."""
        self._links.clear()
        self._grants.clear()
        self._blocks.clear()
        self._listed = False

    def set_roles(self, roles: Iterable[tuple[str, Sequence[Grant], Sequence[str]]]) -> None:
        """Put roles (id, own grants, inherited roles), in place of what they were."""
        for role, grants, inherits in roles:
            self._grants[role] = tuple(grants)
            self._blocks.pop(role, None)
            self._links.set_parents(role_name(role), map(role_name, inherits))
        self._listed = False

    def remove_role(self, role: str) -> None:
        """Forget a role."""
        self._grants.pop(role, None)
        self._blocks.pop(role, None)
        self._links.set_parents(role_name(role), ())
        self._listed = False

    def set_group(self, group: str, roles: Sequence[str]) -> None:
        """Put a group, in place of what it was."""
        self._links.set_parents(group_name(group), map(role_name, roles))

    def remove_group(self, group: str) -> None:
        """Forget a group."""
        self._links.set_parents(group_name(group), ())

    def roles_of(self, memberships: Memberships) -> frozenset[str]:
        """Return all roles of such a user: given, through groups, and inherited."""
        names: set[str] = set()
        for name in _subjects(memberships):
            names |= self._links.closure(name)
        return frozenset(name.removeprefix("roles/") for name in names if name.startswith("roles/"))

    def grants_of(self, role: str) -> Sequence[Grant]:
        """Return a role's own grants."""
        return self._grants.get(role, ())

    def block_of(self, role: str) -> RuleBlock:
        """Return a role's own grants, compiled; the same object until they change."""
        block = self._blocks.get(role)
        if block is None:
            block = self._blocks[role] = RuleBlock(self._grants.get(role, ()))
        return block

    def enforce(self, user: str, memberships: Memberships, resource: str, action: str) -> bool:
        """Let Casbin decide by looking at every rule.

        Users are linked for as long as one question takes: there may be a hundred thousand of
        them, and only rules and roles are worth the memory.
        """
        self._list_rules()
        self._links.set_parents(user, _subjects(memberships))
        try:
            return bool(self._casbin.enforce(user, resource, action))
        finally:
            self._links.set_parents(user, ())

    def _list_rules(self) -> None:
        if self._listed:
            return
        # Casbin's own add_policies searches all rules for each new one, to find duplicates; ours
        # are unique already, and 110,000 of them would take hours.
        self._casbin.get_model()["p"]["p"].policy = [
            [name, grant.resource, grant.action, grant.effect.value]
            for role, grants in self._grants.items()
            for name in (role_name(role),)
            for grant in grants
        ]
        self._listed = True


def _subjects(memberships: Memberships) -> list[str]:
    return [*map(role_name, memberships.roles), *map(group_name, memberships.groups)]
