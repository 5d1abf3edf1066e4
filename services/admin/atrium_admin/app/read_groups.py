"""Looking at groups."""

from __future__ import annotations

from atrium_admin.app.audit_trail import AuditTrail
from atrium_admin.app.pages import Page, PageRequest, page_of
from atrium_admin.app.ports import Storage
from atrium_admin.domain.errors import GroupNotFound
from atrium_admin.domain.names import id_of
from atrium_admin.domain.users import Group
from atrium_shared.principal import Principal

_MOST_MEMBERS = 50_000
"""Members on one page of groups: about a megabyte of names."""


class GetGroup:
    """Returns one group."""

    def __init__(self, storage: Storage, trail: AuditTrail) -> None:
        self._storage = storage
        self._trail = trail

    async def __call__(self, principal: Principal, name: str) -> Group:
        """Return a group of the caller's tenant.

        Raises:
            GroupNotFound: There is none of this name, or it is another tenant's.
        """
        async with self._trail.read(principal, "admin.GetGroup", name):
            group_id = id_of("groups", name)
            async with self._storage.read() as uow:
                group = await uow.groups.get(principal.tenant, group_id) if group_id else None
            if group is None:
                raise GroupNotFound(name)
            return group


class ListGroups:
    """Lists groups in the order of their names."""

    def __init__(self, storage: Storage, trail: AuditTrail) -> None:
        self._storage = storage
        self._trail = trail

    async def __call__(self, principal: Principal, page: PageRequest) -> Page[Group]:
        """Return groups of the caller's tenant. Large groups make shorter pages.

        Raises:
            PageTokenInvalid: The token belongs to another request.
        """
        fingerprint = f"ListGroups {principal.tenant}"
        async with self._trail.read(principal, "admin.ListGroups", "groups/-"):
            cursor = page.cursor(fingerprint)
            async with self._storage.read() as uow:
                part = await uow.groups.list_after(
                    principal.tenant, cursor, page.limit, max_members=_MOST_MEMBERS
                )
            return page_of(part, fingerprint, lambda group: group.id)
