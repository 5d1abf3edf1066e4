"""Taking permissions away, everywhere at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from atrium_admin.app.change_policy import Change, Changes
from atrium_admin.app.policy_feed import PolicyFeed
from atrium_admin.app.policy_leases import Held
from atrium_admin.app.ports import UnitOfWork
from atrium_admin.domain.errors import (
    ApiKeyNotFound,
    GroupNotFound,
    NotHeld,
    RoleBuiltIn,
    RoleNotFound,
    UserNotFound,
)
from atrium_admin.domain.names import group_name, id_of, role_name
from atrium_admin.domain.roles import closure
from atrium_admin.domain.users import User
from atrium_shared.clock import Clock
from atrium_shared.principal import Grant, Principal

_KEYS_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class UserRole:
    """A role given to a user directly; both by name."""

    user: str
    role: str


@dataclass(frozen=True, slots=True)
class Membership:
    """A user's place in a group; both by name."""

    user: str
    group: str


@dataclass(frozen=True, slots=True)
class EverythingOf:
    """All roles, memberships and keys of a user."""

    user: str


@dataclass(frozen=True, slots=True)
class Key:
    """An API key."""

    api_key: str


@dataclass(frozen=True, slots=True)
class RoleGrants:
    """Some of a role's own grants."""

    role: str
    grants: tuple[Grant, ...]


Target = UserRole | Membership | EverythingOf | Key | RoleGrants


@dataclass(frozen=True, slots=True)
class Revoked:
    """What came of it.

    Attributes:
        held: Where it holds.
        still_through: Names of groups and roles through which the user still holds the role that
            was taken; "" nowhere.
    """

    held: Held
    still_through: tuple[str, ...] = ()


class Revoke:
    """Takes permissions away and waits until no replica grants them any more.

    Like :class:`RevokeApiKey` it may end the last key of the last administrator, and like every
    change of a policy it leaves somebody who may manage users and roles.

    Args:
        changes: Makes the change.
        feed: Tells when it holds everywhere.
        clock: Gives the time at which keys end.
    """

    def __init__(self, changes: Changes, feed: PolicyFeed, clock: Clock) -> None:
        self._changes = changes
        self._feed = feed
        self._clock = clock

    async def __call__(self, principal: Principal, target: Target) -> Revoked:
        """Return when it holds everywhere.

        Raises:
            UserNotFound: There is no such user, or it is another tenant's.
            RoleNotFound: There is no such role.
            GroupNotFound: There is no such group.
            ApiKeyNotFound: There is no such key.
            NotHeld: There is nothing to take.
            RoleBuiltIn: The role comes with every tenant.
            LastAdmin: Nobody would be left who may manage users and roles.
            PermissionDenied: The caller may not.
        """
        still_through: tuple[str, ...] = ()
        async with self._changes.begin(principal, "admin.Revoke", _subject(target)) as change:
            principal.require(_permission(target))
            change.event = replace(change.event, detail=_taken(target))
            match target:
                case UserRole():
                    still_through = await self._take_role(change, principal.tenant, target)
                case Membership():
                    await self._take_membership(change, principal.tenant, target)
                case EverythingOf():
                    await self._take_everything(change, principal.tenant, target.user)
                case Key():
                    await self._end_key(change, principal.tenant, target.api_key)
                case RoleGrants():
                    await self._take_grants(change, principal.tenant, target)
        return Revoked(await self._feed.wait_until_held(change.version), still_through)

    async def _take_role(self, change: Change, tenant: str, target: UserRole) -> tuple[str, ...]:
        uow = change.uow
        user = await _user(uow, tenant, target.user)
        role = id_of("roles", target.role)
        if role is None or await uow.roles.unknown(tenant, [role]):
            raise RoleNotFound(target.role, field="user_role.role")
        left = tuple(held for held in user.roles if held != role)
        through = await _ways_to(uow, tenant, user, role, left)
        if len(left) == len(user.roles):
            raise NotHeld(target.user, target.role, through)
        await uow.users.replace(tenant, replace(user, roles=left))
        change.affects_users([user.id])
        return through

    async def _take_membership(self, change: Change, tenant: str, target: Membership) -> None:
        uow = change.uow
        user = await _user(uow, tenant, target.user)
        group = id_of("groups", target.group)
        if group is None or await uow.groups.get(tenant, group) is None:
            raise GroupNotFound(target.group)
        if not await _leave_group(uow, tenant, user.id, group):
            raise NotHeld(target.user, target.group)
        change.affects_users([user.id])

    async def _take_everything(self, change: Change, tenant: str, name: str) -> None:
        uow = change.uow
        user = await _user(uow, tenant, name)
        memberships = await uow.users.memberships(tenant, user.id)
        for group in memberships.groups if memberships else ():
            await _leave_group(uow, tenant, user.id, group)
        await uow.users.replace(tenant, replace(user, roles=()))
        now, before = self._clock.now(), None
        while True:
            keys = await uow.api_keys.list_after(tenant, user.id, before, _KEYS_AT_ONCE)
            for key in keys.items:
                if key.revoke_time is None:
                    await uow.api_keys.revoke(key.id, now)
            if not keys.more:
                break
            before = (keys.items[-1].create_time, keys.items[-1].id)
        change.affects_users([user.id])

    async def _end_key(self, change: Change, tenant: str, name: str) -> None:
        key_id = id_of("apiKeys", name)
        key = await change.uow.api_keys.get(key_id) if key_id else None
        if key is None or key.tenant != tenant:
            raise ApiKeyNotFound(name)
        if key.revoke_time is None:
            await change.uow.api_keys.revoke(key.id, self._clock.now())
            change.ends_key_of(key.user)

    async def _take_grants(self, change: Change, tenant: str, target: RoleGrants) -> None:
        uow = change.uow
        role_id = id_of("roles", target.role)
        role = await uow.roles.get(tenant, role_id) if role_id else None
        if role is None:
            raise RoleNotFound(target.role)
        if role.built_in:
            raise RoleBuiltIn(target.role)
        for grant in target.grants:
            if grant not in role.grants:
                raise NotHeld(target.role, f"{grant.effect.value} {grant.resource}:{grant.action}")
        taken = set(target.grants)
        left = tuple(grant for grant in role.grants if grant not in taken)
        await uow.roles.replace(tenant, replace(role, grants=left))
        change.affects_role(role.id)


async def _user(uow: UnitOfWork, tenant: str, name: str) -> User:
    user_id = id_of("users", name)
    user = await uow.users.get(tenant, user_id) if user_id else None
    if user is None:
        raise UserNotFound(name)
    return user


async def _leave_group(uow: UnitOfWork, tenant: str, user: str, group_id: str) -> bool:
    """Take a user out of a group; return whether they were in it."""
    group = await uow.groups.get(tenant, group_id)
    if group is None or user not in group.members:
        return False
    members = tuple(member for member in group.members if member != user)
    await uow.groups.replace(tenant, replace(group, members=members))
    return True


async def _ways_to(
    uow: UnitOfWork, tenant: str, user: User, role: str, left: Sequence[str]
) -> tuple[str, ...]:
    """Return the groups and other roles of a user that bring them a role, sorted."""
    edges = await uow.roles.edges(tenant)
    ways = [role_name(held) for held in left if role in closure([held], edges)]
    memberships = await uow.users.memberships(tenant, user.id)
    if memberships and memberships.groups:
        given = await uow.policies.group_roles(tenant, sorted(memberships.groups))
        ways += [
            group_name(group) for group, roles in given.items() if role in closure(roles, edges)
        ]
    return tuple(sorted(ways))


def _subject(target: Target) -> str:
    """Return whom or what the audit log names."""
    match target:
        case UserRole(user) | Membership(user) | EverythingOf(user):
            return user
        case Key(api_key):
            return api_key
        case RoleGrants(role):
            return role


def _taken(target: Target) -> str:
    """Return what was taken, for the audit log."""
    match target:
        case UserRole(_, role):
            return role
        case Membership(_, group):
            return group
        case RoleGrants(_, grants):
            return " ".join(f"{grant.resource}:{grant.action}" for grant in grants)
        case _:
            return ""


def _permission(target: Target) -> str:
    match target:
        case Key():
            return "admin.keys:manage"
        case RoleGrants():
            return "admin.roles:manage"
        case _:
            return "admin.users:manage"
