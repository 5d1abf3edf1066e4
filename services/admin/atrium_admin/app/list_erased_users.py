"""Telling other services who was erased."""

from __future__ import annotations

from atrium_admin.app.ports import ErasedUser, Slice, Storage
from atrium_shared.paging import page_size


class ListErasedUsers:
    """Reads on in the list of erased users."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    async def __call__(self, after: int, size: int) -> Slice[ErasedUser]:
        """Return erased users of all tenants, in the order in which they were erased.

        Args:
            after: Only later places in the list; 0 for all.
            size: Most to return; 0 takes the default.
        """
        async with self._storage.read() as uow:
            return await uow.erased_users.list_after(after, page_size(size))
