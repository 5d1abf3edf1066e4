"""Authentication of calls that arrive in this very process, without a network hop."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass

from cachetools import LRUCache

from atrium_admin.app.exchange_credential import ExchangeCredential
from atrium_admin.app.policy_feed import PolicyFeed
from atrium_admin.app.ports import PolicyChange
from atrium_admin.domain.names import user_name
from atrium_shared.clock import Clock
from atrium_shared.identity import ChangeListener
from atrium_shared.principal import Principal

_RENEW_BEFORE_EXPIRY_SECONDS = 30.0
"""A token that goes on to other services should live for a while longer."""

_CACHED_PRINCIPALS = 50_000

_Key = tuple[bytes, str | None]


@dataclass(frozen=True, slots=True)
class _Cached:
    principal: Principal
    # On the monotonic clock, in seconds.
    until: float


class AdminAuthenticator:
    """Implements :class:`atrium_shared.identity.Authenticator` and ``ChangeSource``.

    Answers are remembered until their token is about to expire or a change names their tenant and
    user. Changes of this process arrive before their caller hears of success; those of other
    replicas a fraction of a second later. Without a lease of the feed nothing remembered counts.

    Args:
        exchange: Turns credentials into tokens.
        feed: Tells what changes.
        clock: Tells expiry.
        served: Names of the services in this process, for which tokens are made and accepted.
    """

    def __init__(
        self, exchange: ExchangeCredential, feed: PolicyFeed, clock: Clock, served: Sequence[str]
    ) -> None:
        self._exchange = exchange
        self._feed = feed
        self._clock = clock
        self._served = tuple(served)
        self._cache: LRUCache[_Key, _Cached] = LRUCache(_CACHED_PRINCIPALS)
        self._keys_of_tenant: dict[str, set[_Key]] = {}
        self._changes = 0
        self._listeners: list[ChangeListener] = []
        feed.listen(self._forget)

    async def authenticate(self, credential: str, on_behalf_of: str | None) -> Principal:
        """Return who calls; see :class:`atrium_shared.identity.Authenticator`.

        Raises:
            Unauthenticated: The credential is malformed, unknown, expired or revoked.
            Denied: The caller may not act for that user.
            NotFound: There is no such user.
        """
        now = self._clock.monotonic()
        key = (hashlib.sha256(credential.encode()).digest(), on_behalf_of)
        cached = self._cache.get(key)
        # Without a lease a change may have been missed, and the directory is asked.
        if cached is not None and now < cached.until and self._feed.is_current:
            return cached.principal
        changes = self._changes
        exchanged = await self._exchange(
            credential, on_behalf_of, accepted_by=self._served, audiences=self._served
        )
        principal = exchanged.principal
        left = (exchanged.expire_time - self._clock.now()).total_seconds()
        # What changed meanwhile may not be in the answer: it serves this call, and no later one.
        if changes == self._changes:
            until = now + left - min(_RENEW_BEFORE_EXPIRY_SECONDS, left / 2)
            self._remember(key, _Cached(principal, until))
        return principal

    async def delegate(self, tenant: str, actor: str, on_behalf_of: str | None) -> Principal:
        """Return a principal for work that goes on after its request ended, looked up anew.

        Raises:
            NotFound: The tenant or a user is not there (any more).
            Denied: One of the two is disabled, or the actor may not act for that user.
        """
        exchanged = await self._exchange.delegated(
            tenant, actor, on_behalf_of, audiences=self._served
        )
        return exchanged.principal

    def on_change(self, listener: ChangeListener) -> None:
        """Call ``listener`` at each change from now on, after it is felt here."""
        self._listeners.append(listener)

    def _remember(self, key: _Key, cached: _Cached) -> None:
        if len(self._cache) >= _CACHED_PRINCIPALS and key not in self._cache:
            oldest, gone = self._cache.popitem()
            self._keys_of_tenant[gone.principal.tenant].discard(oldest)
        self._cache[key] = cached
        self._keys_of_tenant.setdefault(cached.principal.tenant, set()).add(key)

    def _forget(self, change: PolicyChange | None) -> Awaitable[object]:
        """Drop what a change concerns, everything for None; done when the listeners are."""
        self._changes += 1
        tenant, users = "", frozenset[str]()
        if change is None:
            self._cache.clear()
            self._keys_of_tenant.clear()
        else:
            tenant, users = change.tenant, frozenset(map(user_name, change.users or ()))
            keys = self._keys_of_tenant.get(tenant, set())
            for key in tuple(keys):
                principal = self._cache[key].principal
                if not users or principal.actor in users or principal.on_behalf_of in users:
                    del self._cache[key]
                    keys.discard(key)
        holds = [listener(tenant, users) for listener in self._listeners]
        return asyncio.gather(*(hold for hold in holds if hold is not None))
