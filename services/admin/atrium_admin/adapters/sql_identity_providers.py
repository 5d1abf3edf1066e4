"""Identity providers in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Row, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from atrium_admin.adapters.tables import (
    group_roles,
    identity_provider_groups,
    identity_provider_tokens,
    identity_providers,
)
from atrium_admin.app.ports import Slice
from atrium_admin.domain.identity_providers import GroupMapping, IdentityProvider, UserMatch


class SqlIdentityProviders:
    """Implements :class:`~atrium_admin.app.ports.IdentityProviders`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get(self, tenant: str, provider: str) -> IdentityProvider | None:
        """Return an identity provider."""
        rows = await self._session.execute(
            select(identity_providers).where(
                identity_providers.c.tenant_id == tenant, identity_providers.c.id == provider
            )
        )
        found = await self._load(rows.all())
        return found[0] if found else None

    async def by_issuer(self, issuer: str) -> IdentityProvider | None:
        """Return the identity provider of any tenant."""
        rows = await self._session.execute(
            select(identity_providers).where(identity_providers.c.issuer == issuer)
        )
        found = await self._load(rows.all())
        return found[0] if found else None

    async def list_after(self, tenant: str, provider: str, limit: int) -> Slice[IdentityProvider]:
        """Return up to ``limit`` identity providers with greater ids, in their order."""
        query = (
            select(identity_providers)
            .where(identity_providers.c.tenant_id == tenant, identity_providers.c.id > provider)
            .order_by(identity_providers.c.id)
            .limit(limit + 1)
        )
        rows = (await self._session.execute(query)).all()
        return Slice(await self._load(rows[:limit]), len(rows) > limit)

    async def add(self, provider: IdentityProvider) -> None:
        """Store a new identity provider."""
        await self._session.execute(
            insert(identity_providers).values(
                tenant_id=provider.tenant,
                id=provider.id,
                issuer=provider.issuer,
                create_time=provider.create_time,
                **_changeable(provider),
            )
        )
        await self._add_mappings(provider)

    async def replace(self, provider: IdentityProvider) -> None:
        """Store a changed identity provider."""
        await self._session.execute(
            update(identity_providers)
            .where(
                identity_providers.c.tenant_id == provider.tenant,
                identity_providers.c.id == provider.id,
            )
            .values(**_changeable(provider))
        )
        await self._session.execute(
            delete(identity_provider_groups).where(
                identity_provider_groups.c.tenant_id == provider.tenant,
                identity_provider_groups.c.provider_id == provider.id,
            )
        )
        await self._add_mappings(provider)

    async def remove(self, tenant: str, provider: str) -> None:
        """Remove an identity provider, but not the groups of its mapping."""
        await self._session.execute(
            delete(identity_providers).where(
                identity_providers.c.tenant_id == tenant, identity_providers.c.id == provider
            )
        )

    async def last_token_of(self, tenant: str, provider: str, user: str) -> datetime | None:
        """Return when the newest token was issued that a user came with."""
        tokens = identity_provider_tokens
        issued_at: datetime | None = await self._session.scalar(
            select(tokens.c.issued_at).where(
                tokens.c.tenant_id == tenant,
                tokens.c.provider_id == provider,
                tokens.c.user_id == user,
            )
        )
        return issued_at

    async def set_last_token_of(
        self, tenant: str, provider: str, user: str, issued_at: datetime
    ) -> None:
        """Remember when the newest token was issued that a user came with."""
        tokens = identity_provider_tokens
        await self._session.execute(
            delete(tokens).where(
                tokens.c.tenant_id == tenant,
                tokens.c.provider_id == provider,
                tokens.c.user_id == user,
            )
        )
        await self._session.execute(
            insert(tokens).values(
                tenant_id=tenant, provider_id=provider, user_id=user, issued_at=issued_at
            )
        )

    async def _add_mappings(self, provider: IdentityProvider) -> None:
        rows = [
            {
                "tenant_id": provider.tenant,
                "provider_id": provider.id,
                "claim_value": mapping.claim_value,
                "group_id": mapping.group,
            }
            for mapping in provider.group_mappings
        ]
        if rows:
            await self._session.execute(insert(identity_provider_groups), rows)

    async def _load(self, rows: Sequence[Row[tuple[object, ...]]]) -> list[IdentityProvider]:
        if not rows:
            return []
        # All rows of one question are of one tenant.
        tenant = rows[0].tenant_id
        mapped = identity_provider_groups
        query = (
            select(
                mapped.c.provider_id,
                mapped.c.claim_value,
                mapped.c.group_id,
                group_roles.c.role_id,
            )
            .join_from(
                mapped,
                group_roles,
                (group_roles.c.tenant_id == mapped.c.tenant_id)
                & (group_roles.c.group_id == mapped.c.group_id),
                isouter=True,
            )
            .where(mapped.c.tenant_id == tenant, mapped.c.provider_id.in_([r.id for r in rows]))
            .order_by(mapped.c.claim_value, group_roles.c.role_id)
        )
        roles: dict[tuple[str, str, str], list[str]] = {}
        for provider, value, group, role in await self._session.execute(query):
            given = roles.setdefault((provider, value, group), [])
            if role is not None:
                given.append(role)
        return [
            IdentityProvider(
                tenant=tenant,
                id=row.id,
                display_name=row.display_name,
                issuer=row.issuer,
                audiences=tuple(row.audiences),
                jwks_uri=row.jwks_uri,
                algorithms=tuple(row.algorithms),
                user_claim=row.user_claim,
                user_match=UserMatch(row.user_match),
                email_claim=row.email_claim,
                name_claim=row.name_claim,
                groups_claim=row.groups_claim,
                group_mappings=tuple(
                    GroupMapping(value, group, tuple(given))
                    for (provider, value, group), given in roles.items()
                    if provider == row.id
                ),
                provision_users=row.provision_users,
                disabled=row.disabled,
                create_time=row.create_time,
            )
            for row in rows
        ]


def _changeable(provider: IdentityProvider) -> dict[str, object]:
    return {
        "display_name": provider.display_name,
        "audiences": list(provider.audiences),
        "jwks_uri": provider.jwks_uri,
        "algorithms": list(provider.algorithms),
        "user_claim": provider.user_claim,
        "user_match": provider.user_match.value,
        "email_claim": provider.email_claim,
        "name_claim": provider.name_claim,
        "groups_claim": provider.groups_claim,
        "provision_users": provider.provision_users,
        "disabled": provider.disabled,
    }
