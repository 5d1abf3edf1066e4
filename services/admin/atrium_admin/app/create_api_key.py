"""Making a key."""

from __future__ import annotations

from datetime import datetime

from atrium_admin.app.change_policy import Changes
from atrium_admin.domain.api_keys import ApiKey, new_key
from atrium_admin.domain.errors import ApiKeyExpiryPast, UserNotFound
from atrium_admin.domain.names import display_text, id_of
from atrium_shared.clock import Clock, Ids
from atrium_shared.principal import Principal


class CreateApiKey:
    """Makes a key and shows its secret, this once."""

    def __init__(self, changes: Changes, clock: Clock, ids: Ids) -> None:
        self._changes = changes
        self._clock = clock
        self._ids = ids

    async def __call__(
        self, principal: Principal, user: str, display_name: str, expire_time: datetime | None
    ) -> tuple[ApiKey, str]:
        """Return the key, and its credential ``atr_<id>_<secret>``.

        Args:
            principal: Who asks.
            user: Whom the key stands for, ``users/portal``.
            display_name: What it is for.
            expire_time: When it stops working; None for never.

        Raises:
            UserNotFound: There is none of this name, or it is another tenant's.
            ApiKeyExpiryPast: ``expire_time`` does not lie ahead.
            FieldInvalid: The display name is malformed.
        """
        async with self._changes.begin(principal, "admin.CreateApiKey", user) as change:
            now = self._clock.now()
            text = display_text(display_name, field="display_name")
            if expire_time is not None and expire_time <= now:
                raise ApiKeyExpiryPast(expire_time, now)
            user_id = id_of("users", user)
            if user_id is None or await change.uow.users.get(principal.tenant, user_id) is None:
                raise UserNotFound(user, field="user")
            key, credential = new_key(
                self._ids.new("k"),
                tenant=principal.tenant,
                user=user_id,
                display_name=text,
                create_time=now,
                expire_time=expire_time,
            )
            await change.uow.api_keys.add(key)
        return key, credential
