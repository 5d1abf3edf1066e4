"""Ending a key."""

from __future__ import annotations

from atrium_admin.app.change_policy import Changes
from atrium_admin.domain.api_keys import ApiKey
from atrium_admin.domain.errors import ApiKeyNotFound
from atrium_admin.domain.names import id_of
from atrium_shared.clock import Clock
from atrium_shared.principal import Principal


class RevokeApiKey:
    """Ends a key at once.

    Unlike every other change it may take the last way in from the last administrator: a key that
    leaked must be ended by one call that nothing refuses, and a key can lapse by itself anyway. The
    administrator stays one; who runs the installation can make them a new key
    (``python -m atrium_admin issue-key``).
    """

    def __init__(self, changes: Changes, clock: Clock) -> None:
        self._changes = changes
        self._clock = clock

    async def __call__(self, principal: Principal, name: str) -> ApiKey:
        """Return the key, ended. One that was ended before stays as it is.

        Raises:
            ApiKeyNotFound: There is none of this name, or it is another tenant's.
        """
        async with self._changes.begin(principal, "admin.RevokeApiKey", name) as change:
            key_id = id_of("apiKeys", name)
            key = await change.uow.api_keys.get(key_id) if key_id else None
            if key is None or key.tenant != principal.tenant:
                raise ApiKeyNotFound(name)
            revoked = key.revoked(self._clock.now())
            if revoked.revoke_time != key.revoke_time and revoked.revoke_time is not None:
                await change.uow.api_keys.revoke(key.id, revoked.revoke_time)
                change.ends_key_of(key.user)
        return revoked
