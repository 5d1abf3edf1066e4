"""Pseudonyms of users in SQL."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import delete, exists, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from atrium_admin.adapters.sql_ids import portions
from atrium_admin.adapters.tables import audit_heads, audit_pseudonyms, erased_users, users
from atrium_admin.domain.audit import AuditEvent
from atrium_admin.domain.pseudonyms import (
    SALT_BYTES,
    Pseudonym,
    pseudonym_for,
    pseudonym_in,
    readable_name,
    renamed,
    sealed_name,
    user_in,
)


class SqlPseudonyms:
    """Implements :class:`~atrium_admin.app.ports.Pseudonyms`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def of(self, tenant: str, user: str) -> str | None:
        """Return a user's pseudonym; None when the log has none."""
        return (await self._known(tenant, [user])).get(user)

    async def unlink(self, tenant: str, user: str) -> str:
        """Forget which pseudonym is this user's, and return it; a new one when there is none."""
        # As an append does first: one that is under way must not link the user anew.
        await self._session.execute(
            select(audit_heads.c.tenant_id)
            .where(audit_heads.c.tenant_id == tenant)
            .with_for_update()
        )
        known = await self.of(tenant, user)
        await self._session.execute(
            delete(audit_pseudonyms).where(
                audit_pseudonyms.c.tenant_id == tenant, audit_pseudonyms.c.user_id == user
            )
        )
        return known or _new(tenant, user).pseudonym

    async def list_after(self, tenant: str, user: str, limit: int) -> list[Pseudonym]:
        """Return up to ``limit`` pseudonyms of users with greater ids, in their order."""
        rows = await self._session.execute(
            select(audit_pseudonyms)
            .where(audit_pseudonyms.c.tenant_id == tenant, audit_pseudonyms.c.user_id > user)
            .order_by(audit_pseudonyms.c.user_id)
            .limit(limit)
        )
        return [Pseudonym(row.user_id, row.pseudonym, row.salt) for row in rows]

    async def hide(self, tenant: str, events: Sequence[AuditEvent]) -> list[AuditEvent]:
        """Replace every user's name by a pseudonym; who has none gets one."""
        found = {user for event in events for user in _users_of(event)}
        pseudonyms = await self._known(tenant, sorted(found))
        unknown = sorted(found - pseudonyms.keys())
        if unknown:
            made = [_new(tenant, user) for user in unknown]
            pseudonyms.update((each.user, each.pseudonym) for each in made)
            # What still arrives of somebody erased is not to be linked to them again.
            erased = await self._erased(tenant, unknown)
            kept = [
                {
                    "tenant_id": tenant,
                    "user_id": each.user,
                    "pseudonym": each.pseudonym,
                    "salt": each.salt,
                }
                for each in made
                if each.user not in erased
            ]
            if kept:
                await self._session.execute(insert(audit_pseudonyms), kept)

        return _hidden(events, pseudonyms)

    async def hide_all(
        self, events: Mapping[str, Sequence[AuditEvent]]
    ) -> dict[str, list[AuditEvent]]:
        """Do for many tenants what :meth:`hide` does; who is known is asked for at once."""
        found = {
            tenant: {user for event in theirs for user in _users_of(event)}
            for tenant, theirs in events.items()
        }
        known: dict[str, dict[str, str]] = {tenant: {} for tenant in events}
        users_of_all = sorted(set().union(*found.values()))
        for some in portions(sorted(events)):
            for few in portions(users_of_all):
                rows = await self._session.execute(
                    select(
                        audit_pseudonyms.c.tenant_id,
                        audit_pseudonyms.c.user_id,
                        audit_pseudonyms.c.pseudonym,
                    ).where(
                        audit_pseudonyms.c.tenant_id.in_(some), audit_pseudonyms.c.user_id.in_(few)
                    )
                )
                for tenant, user, pseudonym in rows:
                    known[tenant][user] = pseudonym
        return {
            tenant: _hidden(theirs, known[tenant])
            if found[tenant] <= known[tenant].keys()
            else await self.hide(tenant, theirs)
            for tenant, theirs in events.items()
        }

    async def show(self, tenant: str, events: Iterable[AuditEvent]) -> list[AuditEvent]:
        """Replace every pseudonym by the user's name, or by one that says they were erased."""
        events = list(events)
        found = {
            pseudonym
            for event in events
            for name in (event.actor, event.on_behalf_of, event.resource)
            if (pseudonym := pseudonym_in(name)) is not None
        }
        users_of: dict[str, str] = {}
        for some in portions(sorted(found)):
            rows = await self._session.execute(
                select(audit_pseudonyms.c.pseudonym, audit_pseudonyms.c.user_id).where(
                    audit_pseudonyms.c.tenant_id == tenant, audit_pseudonyms.c.pseudonym.in_(some)
                )
            )
            users_of.update((pseudonym, user) for pseudonym, user in rows)

        def shown(name: str) -> str:
            pseudonym = pseudonym_in(name)
            return name if pseudonym is None else readable_name(pseudonym, users_of.get(pseudonym))

        return [renamed(event, shown) for event in events]

    async def _known(self, tenant: str, ids: Sequence[str]) -> dict[str, str]:
        known: dict[str, str] = {}
        for some in portions(ids):
            rows = await self._session.execute(
                select(audit_pseudonyms.c.user_id, audit_pseudonyms.c.pseudonym).where(
                    audit_pseudonyms.c.tenant_id == tenant, audit_pseudonyms.c.user_id.in_(some)
                )
            )
            known.update((user, pseudonym) for user, pseudonym in rows)
        return known

    async def _erased(self, tenant: str, ids: Sequence[str]) -> set[str]:
        """Return those who were erased and do not exist anew."""
        erased: set[str] = set()
        for some in portions(ids):
            erased.update(
                await self._session.scalars(
                    select(erased_users.c.user_id).where(
                        erased_users.c.tenant_id == tenant,
                        erased_users.c.user_id.in_(some),
                        ~exists().where(
                            users.c.tenant_id == tenant, users.c.id == erased_users.c.user_id
                        ),
                    )
                )
            )
        return erased


def _hidden(events: Iterable[AuditEvent], pseudonyms: Mapping[str, str]) -> list[AuditEvent]:
    def hidden(name: str) -> str:
        user = user_in(name)
        return name if user is None else sealed_name(pseudonyms[user])

    return [renamed(event, hidden) for event in events]


def _users_of(event: AuditEvent) -> list[str]:
    names = (event.actor, event.on_behalf_of, event.resource)
    return [user for name in names if (user := user_in(name)) is not None]


def _new(tenant: str, user: str) -> Pseudonym:
    salt = secrets.token_bytes(SALT_BYTES)
    return Pseudonym(user, pseudonym_for(tenant, user, salt), salt)
