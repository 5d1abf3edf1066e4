"""The policies of the past, rebuilt when asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cachetools import LRUCache

from atrium_admin.app.compile_policy import Verdict
from atrium_admin.app.ports import PolicyEnforcer, Storage
from atrium_admin.domain.errors import ReadTimeAhead, ReadTimeBeforeHistory
from atrium_admin.domain.names import user_name
from atrium_admin.domain.past_policy import PastPolicy, PolicyVersion
from atrium_admin.domain.roles import covers
from atrium_shared.clock import Clock
from atrium_shared.principal import Effect

_CLOCK_SKEW = timedelta(seconds=10)
"""What another machine calls now may be a little ahead of this one's now."""


@dataclass
class RebuiltPolicy:
    """A policy of the past and the enforcer that decides by it.

    Attributes:
        policy: The policy.
        enforcer: Holds its roles and groups.
        lock: Held while the enforcer decides: it is made for one thread.
    """

    policy: PastPolicy
    enforcer: PolicyEnforcer
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def explain(self, user: str, resource: str, action: str) -> Verdict | None:
        """Let Casbin decide, and name the grants that speak about it; None: no such user then."""
        disabled = self.policy.disabled.get(user)
        if disabled is None:
            return None
        memberships = self.policy.memberships[user]
        matches = [
            (role, grant)
            for role in sorted(self.enforcer.roles_of(memberships))
            for grant in self.enforcer.grants_of(role)
            if covers(grant, resource, action)
        ]
        matches.sort(key=lambda match: match[1].effect is not Effect.DENY)
        async with self.lock:
            allowed = await asyncio.to_thread(
                self.enforcer.enforce, user_name(user), memberships, resource, action
            )
        return Verdict(allowed and not disabled, tuple(matches))


class PastPolicies:
    """Finds the version that was in force and rebuilds its policy.

    Args:
        storage: Where the history is kept.
        new_enforcer: Makes an empty enforcer.
        clock: Tells what lies ahead.
        max_kept: Most policies that stay in memory; the least recently used go first.
    """

    def __init__(
        self,
        storage: Storage,
        new_enforcer: Callable[[], PolicyEnforcer],
        clock: Clock,
        *,
        max_kept: int = 4,
    ) -> None:
        self._storage = storage
        self._new_enforcer = new_enforcer
        self._clock = clock
        self._kept: LRUCache[tuple[str, int, int], RebuiltPolicy] = LRUCache(max_kept)
        self._rebuilding = asyncio.Lock()

    async def in_force(self, tenant: str, read_time: datetime | None) -> PolicyVersion:
        """Return the version that was in force at a time; None stands for now.

        Raises:
            ReadTimeAhead: The time lies ahead.
            ReadTimeBeforeHistory: The history begins later.
        """
        now = self._clock.now()
        time = now if read_time is None else read_time
        if time > now + _CLOCK_SKEW:
            raise ReadTimeAhead(time, now)
        async with self._storage.read() as uow:
            # A change of another replica whose clock is ahead is in force, too.
            found = await uow.history.at(tenant, now + _CLOCK_SKEW if read_time is None else time)
            if found is not None:
                return found
            first = await uow.history.first(tenant)
        raise ReadTimeBeforeHistory(
            time.isoformat(), None if first is None else first.time, field="read_time"
        )

    async def numbered(self, tenant: str, version: int, *, field: str) -> PolicyVersion:
        """Return a version by its number.

        Raises:
            ReadTimeBeforeHistory: It is not kept.
        """
        async with self._storage.read() as uow:
            found = await uow.history.numbered(tenant, version)
            if found is not None:
                return found
            first = await uow.history.first(tenant)
        start = None if first is None else first.time
        raise ReadTimeBeforeHistory(f"version {version}", start, field=field)

    async def rebuild(self, tenant: str, version: PolicyVersion) -> RebuiltPolicy:
        """Return the policy of a version."""
        # One at a time: whoever asks for the same policy meanwhile finds it made.
        async with self._rebuilding, self._storage.read() as uow:
            # The past never changes, but for the names of those who are erased.
            key = (tenant, version.version, await uow.erased_users.last(tenant))
            rebuilt = self._kept.get(key)
            if rebuilt is None:
                policy = await uow.history.policy(tenant, version)
                rebuilt = RebuiltPolicy(policy, await asyncio.to_thread(self._enforcer, policy))
                for older in [k for k in self._kept if k[0] == tenant and k[2] != key[2]]:
                    del self._kept[older]
                self._kept[key] = rebuilt
        return rebuilt

    def _enforcer(self, policy: PastPolicy) -> PolicyEnforcer:
        enforcer = self._new_enforcer()
        roles = policy.grants.keys() | policy.inherits.keys()
        enforcer.set_roles(
            (role, policy.grants.get(role, ()), policy.inherits.get(role, ())) for role in roles
        )
        for group, held in policy.group_roles.items():
            enforcer.set_group(group, held)
        return enforcer
