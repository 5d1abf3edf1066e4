"""Looking at keys, never at their secrets."""

from __future__ import annotations

from datetime import datetime

from atrium_admin.app.audit_trail import AuditTrail
from atrium_admin.app.pages import Page, PageRequest, page_of
from atrium_admin.app.ports import Storage
from atrium_admin.domain.api_keys import ApiKey
from atrium_admin.domain.errors import UserNotFound
from atrium_admin.domain.names import id_of
from atrium_shared.paging import cursor_time
from atrium_shared.principal import Principal


class ListApiKeys:
    """Lists keys, newest first."""

    def __init__(self, storage: Storage, trail: AuditTrail) -> None:
        self._storage = storage
        self._trail = trail

    async def __call__(self, principal: Principal, user: str, page: PageRequest) -> Page[ApiKey]:
        """Return keys of the caller's tenant.

        Args:
            principal: Who asks.
            user: Only keys of this user, ``users/portal``; "" for all.
            page: Which page.

        Raises:
            UserNotFound: There is no such user, or it is another tenant's.
            PageTokenInvalid: The token belongs to another request.
        """
        fingerprint = f"ListApiKeys {principal.tenant} {user}"
        async with self._trail.read(principal, "admin.ListApiKeys", user or "apiKeys/-"):
            before = page.cursor_as(fingerprint, _cursor)
            user_id = id_of("users", user) or ""
            async with self._storage.read() as uow:
                if user and await uow.users.is_disabled(principal.tenant, user_id) is None:
                    raise UserNotFound(user, field="user")
                part = await uow.api_keys.list_after(principal.tenant, user_id, before, page.limit)
            return page_of(part, fingerprint, lambda key: f"{key.create_time.isoformat()} {key.id}")


def _cursor(text: str) -> tuple[datetime, str]:
    time, _, key_id = text.partition(" ")
    return cursor_time(time), key_id
