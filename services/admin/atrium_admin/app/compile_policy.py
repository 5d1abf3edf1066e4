"""From roles and groups to what somebody may do, compiled once and kept current.

Casbin decides by looking at every rule. That is right and slow, so the rules that hold for a user
are compiled into an allow-set, which answers the same with a few look-ups. Each role's rules are
compiled once, into a block that all allow-sets with this role share; users with the same roles
share one allow-set. A tenant's roles are loaded when first asked for; later changes are applied one
by one, and cost what the changed role is large, not the policy.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from cachetools import LRUCache

from atrium_admin.app.ports import PolicyChange, PolicyEnforcer, Storage, UnitOfWork
from atrium_admin.domain.errors import UserNotFound
from atrium_admin.domain.names import user_name
from atrium_admin.domain.roles import covers
from atrium_admin.domain.users import Memberships
from atrium_shared.principal import AllowSet, Effect, Grant

_COMPILE_IN_THREAD_RULES = 2_000
"""Above this a compilation takes milliseconds, during which others should be served."""

_SUBJECT_BLOCKS = 4
"""What an allow-set weighs beside its blocks, so that empty ones count too."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a user may do something, and why.

    Attributes:
        allowed: The decision.
        matches: (role id, grant) of every grant that speaks about it, denies first.
    """

    allowed: bool
    matches: tuple[tuple[str, Grant], ...]


@dataclass
class _TenantPolicy:
    """One tenant's policy in memory.

    Attributes:
        enforcer: Its roles, rules and groups.
        roles_of_user: All roles of the users that asked lately.
        allow_sets: What these sets of roles may do.
        version: Policy version that all this shows; -1 before it is loaded.
        lock: Held while it is brought up to date or compiled from.
    """

    enforcer: PolicyEnforcer
    roles_of_user: LRUCache[str, frozenset[str]]
    allow_sets: LRUCache[frozenset[str], AllowSet]
    version: int = -1
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class CompilePolicy:
    """Compiles allow-sets of users.

    Args:
        storage: Where policies are kept.
        new_enforcer: Makes an empty enforcer for a tenant.
        max_tenants: Most tenants in memory; the least recently used go first.
        max_users: Most users of a tenant whose roles are remembered.
        max_blocks: Most blocks in a tenant's remembered allow-sets, together.
    """

    def __init__(
        self,
        storage: Storage,
        new_enforcer: Callable[[], PolicyEnforcer],
        *,
        max_tenants: int = 256,
        max_users: int = 50_000,
        max_blocks: int = 1_000_000,
    ) -> None:
        self._storage = storage
        self._new_enforcer = new_enforcer
        self._max_users = max_users
        self._max_blocks = max_blocks
        self._tenants: LRUCache[str, _TenantPolicy] = LRUCache(max_tenants)

    async def __call__(self, tenant: str, user: str, policy_version: int) -> AllowSet:
        """Return what a user may do.

        Args:
            tenant: Tenant id.
            user: User id.
            policy_version: The tenant's policy version that the caller saw; the answer is of this
                version or a newer one.

        Raises:
            UserNotFound: The tenant has no such user.
        """
        policy = self._tenants.get(tenant)
        if policy is not None and policy.version >= policy_version:
            roles = policy.roles_of_user.get(user)
            known = None if roles is None else policy.allow_sets.get(roles)
            if known is not None:
                return _at_version(known, policy.version)
        async with self._current(tenant) as (policy, uow):
            memberships = await _memberships(uow, tenant, user)
            roles = policy.enforcer.roles_of(memberships)
            allow_set = policy.allow_sets.get(roles)
            if allow_set is None:
                allow_set = await _compile(policy.enforcer, roles)
                if _weight(allow_set) <= self._max_blocks:
                    policy.allow_sets[roles] = allow_set
            policy.roles_of_user[user] = roles
            return _at_version(allow_set, policy.version)

    async def explain(self, tenant: str, user: str, resource: str, action: str) -> Verdict:
        """Let Casbin itself decide, and name the grants that speak about it.

        Raises:
            UserNotFound: The tenant has no such user.
        """
        async with self._current(tenant) as (policy, uow):
            memberships = await _memberships(uow, tenant, user)
            enforcer = policy.enforcer
            matches = [
                (role, grant)
                for role in sorted(enforcer.roles_of(memberships))
                for grant in enforcer.grants_of(role)
                if covers(grant, resource, action)
            ]
            matches.sort(key=lambda match: match[1].effect is not Effect.DENY)
            allowed = await asyncio.to_thread(
                enforcer.enforce, user_name(user), memberships, resource, action
            )
            return Verdict(allowed, tuple(matches))

    @asynccontextmanager
    async def _current(self, tenant: str) -> AsyncIterator[tuple[_TenantPolicy, UnitOfWork]]:
        """Give a tenant's policy as it is now, for this task alone."""
        policy = self._tenants.get(tenant)
        if policy is None:
            policy = _TenantPolicy(
                self._new_enforcer(),
                LRUCache(self._max_users),
                LRUCache(self._max_blocks, getsizeof=_weight),
            )
            self._tenants[tenant] = policy
        async with policy.lock, self._storage.read() as uow:
            await _bring_up_to_date(policy, uow, tenant)
            yield policy, uow


def _at_version(allow_set: AllowSet, version: int) -> AllowSet:
    """Return the same rules as those of another version: a change elsewhere left them alone."""
    if allow_set.policy_version == version:
        return allow_set
    current = copy.copy(allow_set)
    current.policy_version = version
    return current


def _weight(allow_set: AllowSet) -> int:
    return len(allow_set.blocks) + _SUBJECT_BLOCKS


async def _memberships(uow: UnitOfWork, tenant: str, user: str) -> Memberships:
    memberships = await uow.users.memberships(tenant, user)
    if memberships is None:
        raise UserNotFound(user_name(user))
    return memberships


async def _compile(enforcer: PolicyEnforcer, roles: Iterable[str]) -> AllowSet:
    held = [role for role in sorted(roles) if enforcer.grants_of(role)]
    if sum(len(enforcer.grants_of(role)) for role in held) > _COMPILE_IN_THREAD_RULES:
        return await asyncio.to_thread(_allow_set, enforcer, held)
    return _allow_set(enforcer, held)


def _allow_set(enforcer: PolicyEnforcer, roles: Iterable[str]) -> AllowSet:
    allow_set = AllowSet.of_blocks(map(enforcer.block_of, roles))
    # Every token carries the digest, so it is better reckoned here than on the first answer.
    _ = allow_set.digest
    return allow_set


async def _bring_up_to_date(policy: _TenantPolicy, uow: UnitOfWork, tenant: str) -> None:
    """Apply what changed since the policy was last used; load it whole if that is not known."""
    version = await uow.policies.version(tenant)
    if version == policy.version:
        return
    changes = (
        await uow.policies.tenant_changes(tenant, policy.version, version)
        if policy.version >= 0
        else []
    )
    seen = {change.policy_version for change in changes}
    if policy.version < 0 or len(seen) != version - policy.version:
        await _load(policy, uow, tenant)
    else:
        await _apply(policy, uow, tenant, changes)
    policy.version = version


async def _load(policy: _TenantPolicy, uow: UnitOfWork, tenant: str) -> None:
    rules = await uow.policies.rules(tenant, None)
    edges = await uow.roles.edges(tenant)
    groups = await uow.policies.group_roles(tenant, None)
    policy.roles_of_user.clear()
    policy.allow_sets.clear()
    policy.enforcer.clear()
    policy.enforcer.set_roles((role, grants, edges.get(role, ())) for role, grants in rules.items())
    for group, roles in groups.items():
        policy.enforcer.set_group(group, roles)


async def _apply(
    policy: _TenantPolicy, uow: UnitOfWork, tenant: str, changes: Iterable[PolicyChange]
) -> None:
    users: set[str] | None = set()
    changed_roles: set[str] = set()
    changed_groups: set[str] = set()
    for change in changes:
        users = None if users is None or change.users is None else users | set(change.users)
        changed_roles.update(change.roles)
        changed_groups.update(change.groups)
    if changed_roles:
        rules = await uow.policies.rules(tenant, sorted(changed_roles))
        edges = await uow.roles.edges(tenant, sorted(changed_roles))
        for roles in [roles for roles in policy.allow_sets if roles & changed_roles]:
            del policy.allow_sets[roles]
        for role in changed_roles - rules.keys():
            policy.enforcer.remove_role(role)
        policy.enforcer.set_roles(
            (role, grants, edges.get(role, ())) for role, grants in rules.items()
        )
        # Only somebody who holds a changed role can hold more or fewer roles through it.
        for user in [u for u, roles in policy.roles_of_user.items() if roles & changed_roles]:
            del policy.roles_of_user[user]
    if changed_groups:
        groups = await uow.policies.group_roles(tenant, sorted(changed_groups))
        for group in changed_groups:
            if group in groups:
                policy.enforcer.set_group(group, groups[group])
            else:
                policy.enforcer.remove_group(group)
    if users is None:
        policy.roles_of_user.clear()
    else:
        for user in users:
            policy.roles_of_user.pop(user, None)
