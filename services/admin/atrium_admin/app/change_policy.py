"""The frame of every change: one transaction with its audit line, its policy version and its rule.

What changes permissions raises the tenant's policy version, is checked against locking the tenant
out, is kept in the history of the policy, and is written to the list of changes, all inside the
transaction of the change itself. The feed then tells everyone, before the caller gets the answer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from atrium_admin.app.audit_trail import AuditTrail
from atrium_admin.app.policy_feed import PolicyFeed
from atrium_admin.app.ports import Storage, UnitOfWork
from atrium_admin.domain.audit import AuditEvent, Decision, bounded
from atrium_admin.domain.errors import LastAdmin
from atrium_admin.domain.roles import closure, inverse
from atrium_shared.clock import Clock
from atrium_shared.principal import Principal

_MOST_USERS_NAMED = 100
"""Above this the feed says "any user": a shorter message, and listeners forget by tenant anyway."""

_CANDIDATES_AT_ONCE = 200


class Change:
    """A change in the making.

    Attributes:
        uow: Its transaction.
        event: Its line in the audit log, written at the end; what comes to light on the way may
            be put into it.
        version: Version of the change, once it is committed; None when nothing needed telling.
        elsewhere: Lines for the logs of other tenants that have a part in it: their ids and events.
    """

    def __init__(self, uow: UnitOfWork, event: AuditEvent) -> None:
        self.uow = uow
        self.event = event
        self.version: int | None = None
        self.elsewhere: list[tuple[str, AuditEvent]] = []
        self.policy = False
        self.keys = False
        self.users: set[str] = set()
        self.roles: set[str] = set()
        self.groups: set[str] = set()
        self.everyone = False

    def affects_users(self, users: Iterable[str]) -> None:
        """Say that what these users may do changes."""
        self.policy = True
        self.users.update(users)

    def affects_role(self, role: str) -> None:
        """Say that a role was made, changed or removed; anyone may hold it."""
        self.policy = True
        self.roles.add(role)

    def affects_group(self, group: str, members: Iterable[str]) -> None:
        """Say that a group was made, changed or removed.

        Args:
            group: Its id.
            members: Ids of the users whose permissions change with it.
        """
        self.affects_users(members)
        self.groups.add(group)

    def affects_everyone(self) -> None:
        """Say that any user's credential may work no longer, or give something else."""
        self.keys = True
        self.everyone = True

    def ends_key_of(self, user: str) -> None:
        """Say that a key of this user works no longer. No permission changes by that."""
        self.keys = True
        self.users.add(user)


class Changes:
    """Begins changes.

    Args:
        storage: Where they are kept.
        trail: Where they are written down.
        feed: Whom to tell.
        clock: Tells when.
    """

    def __init__(self, storage: Storage, trail: AuditTrail, feed: PolicyFeed, clock: Clock) -> None:
        self._storage = storage
        self._trail = trail
        self._feed = feed
        self._clock = clock

    @asynccontextmanager
    async def begin(
        self, principal: Principal, action: str, resource: str
    ) -> AsyncIterator[Change]:
        """Give a change of the principal's tenant; committed and announced at the end.

        An error inside undoes everything, and is written down.

        Raises:
            LastAdmin: Nobody would be left who may manage users and roles.
        """
        event = self._trail.event(principal, action, resource, Decision.ALLOWED)
        async with (
            self._trail.attempt(principal, action, resource),
            self.begin_unattended(principal.tenant, event) as change,
        ):
            yield change

    @asynccontextmanager
    async def begin_unattended(self, tenant: str, event: AuditEvent) -> AsyncIterator[Change]:
        """Give a change that no principal of the tenant asked for, such as an upgrade's.

        Raises:
            LastAdmin: Nobody would be left who may manage users and roles.
        """
        async with self._storage.write() as uow:
            await uow.tenants.lock(tenant)
            change = Change(uow, event)
            yield change
            if change.policy or change.keys:
                await self._record(tenant, change)
            lines = [(tenant, change.event), *change.elsewhere]
            # In the order in which the audit log's writer takes them.
            for owner, line in sorted(lines, key=lambda entry: entry[0]):
                await uow.audit.append(owner, [bounded(line)])
        if change.policy or change.keys:
            # Before the caller hears of success: what it asks next is answered by the new policy.
            await self._feed.publish()

    async def _record(self, tenant: str, change: Change) -> None:
        uow = change.uow
        now = self._clock.now()
        if change.policy:
            await require_administrator(uow, tenant)
            version = await uow.tenants.bump_policy(tenant)
            await uow.history.keep(
                tenant, version, now, users=change.users, groups=change.groups, roles=change.roles
            )
        else:
            version = await uow.policies.version(tenant)
        change.version = await uow.policies.add_change(
            tenant,
            version,
            users=await _users_to_name(uow, tenant, change),
            roles=sorted(change.roles),
            groups=sorted(change.groups),
            time=now,
        )


async def _users_to_name(uow: UnitOfWork, tenant: str, change: Change) -> list[str] | None:
    """Return all whom a change concerns; None when they are too many."""
    if change.everyone:
        return None
    users = set(change.users)
    if change.roles:
        # Who holds a role has it directly, through a group, or because another role inherits it.
        heirs = closure(change.roles, inverse(await uow.roles.edges(tenant)))
        holders = await uow.policies.holders(tenant, heirs, _MOST_USERS_NAMED)
        if holders is None:
            return None
        users.update(holders)
    return sorted(users) if len(users) <= _MOST_USERS_NAMED else None


async def require_administrator(uow: UnitOfWork, tenant: str) -> None:
    """Refuse a policy under which no enabled user may manage users and roles.

    Raises:
        LastAdmin: There is none.
    """
    administration = await uow.policies.administration(tenant)
    carriers = administration.carriers()
    after = ""
    while carriers:
        holders = await uow.policies.enabled_holders(tenant, carriers, after, _CANDIDATES_AT_ONCE)
        if not holders:
            break
        if any(administration.suffices(roles) for roles in holders.values()):
            return
        after = max(holders)
    raise LastAdmin(tenant)
