"""Looking at users."""

from __future__ import annotations

from atrium_admin.app.audit_trail import AuditTrail
from atrium_admin.app.pages import Page, PageRequest, page_of
from atrium_admin.app.ports import Storage
from atrium_admin.domain.errors import UserNotFound
from atrium_admin.domain.names import id_of
from atrium_admin.domain.users import User
from atrium_shared.principal import Principal


class GetUser:
    """Returns one user."""

    def __init__(self, storage: Storage, trail: AuditTrail) -> None:
        self._storage = storage
        self._trail = trail

    async def __call__(self, principal: Principal, name: str) -> User:
        """Return a user of the caller's tenant.

        Raises:
            UserNotFound: There is none of this name, or it is another tenant's.
        """
        async with self._trail.read(principal, "admin.GetUser", name):
            user_id = id_of("users", name)
            async with self._storage.read() as uow:
                user = await uow.users.get(principal.tenant, user_id) if user_id else None
            if user is None:
                raise UserNotFound(name)
            return user


class ListUsers:
    """Lists users in the order of their names."""

    def __init__(self, storage: Storage, trail: AuditTrail) -> None:
        self._storage = storage
        self._trail = trail

    async def __call__(self, principal: Principal, page: PageRequest) -> Page[User]:
        """Return users of the caller's tenant.

        Raises:
            PageTokenInvalid: The token belongs to another request.
        """
        fingerprint = f"ListUsers {principal.tenant}"
        async with self._trail.read(principal, "admin.ListUsers", "users/-"):
            cursor = page.cursor(fingerprint)
            async with self._storage.read() as uow:
                part = await uow.users.list_after(principal.tenant, cursor, page.limit)
            return page_of(part, fingerprint, lambda user: user.id)
