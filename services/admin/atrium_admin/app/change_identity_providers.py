"""Connecting, changing and disconnecting identity providers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from atrium_admin.app.change_policy import Change, Changes
from atrium_admin.app.references import resolve_roles
from atrium_admin.domain.errors import (
    FieldInvalid,
    GroupExists,
    IdentityProviderExists,
    IdentityProviderNotFound,
    IssuerTaken,
)
from atrium_admin.domain.identity_providers import (
    ALGORITHMS,
    GroupMapping,
    IdentityProvider,
    IdentityProviderDraft,
    group_id_for,
    identity_provider_name,
    require_claim,
    require_url,
)
from atrium_admin.domain.names import display_text, group_name, id_of, require_one_line, role_name
from atrium_admin.domain.users import Group
from atrium_shared.clock import Clock
from atrium_shared.principal import Principal
from atrium_shared.update_masks import resolve_mask

_FIELDS = (
    "display_name",
    "audiences",
    "jwks_uri",
    "algorithms",
    "user_claim",
    "user_match",
    "email_claim",
    "name_claim",
    "groups_claim",
    "group_mappings",
    "provision_users",
    "disabled",
)
_MOST_NAME_CHARACTERS = 200


class IdentityProviderRules:
    """Checks drafts, and keeps the groups of a mapping as it says.

    Each group of the mapping is a group of the tenant like any other, so that whatever looks at
    memberships (policies, explanations, history) needs to know nothing about tokens.

    Args:
        clock: Gives times of creation.
        loopback_http: Whether an issuer on this very machine may speak plain http.
    """

    def __init__(self, clock: Clock, *, loopback_http: bool) -> None:
        self._clock = clock
        self._loopback_http = loopback_http

    def checked(
        self, tenant: str, provider_id: str, draft: IdentityProviderDraft, create_time: datetime
    ) -> IdentityProvider:
        """Return the provider that a draft describes, its mapping still empty.

        Raises:
            FieldInvalid: A field is malformed.
        """
        where = "identity_provider"
        jwks_uri, issuer = draft.jwks_uri, draft.issuer
        if jwks_uri:
            require_url(jwks_uri, field=f"{where}.jwks_uri", loopback_http=self._loopback_http)
        if not draft.audiences:
            raise FieldInvalid(f"{where}.audiences", "a list of at least one audience")
        for index, audience in enumerate(draft.audiences):
            require_one_line(audience, field=f"{where}.audiences[{index}]")
        if draft.group_mappings and not draft.groups_claim:
            raise FieldInvalid(f"{where}.groups_claim", "set, as there is a mapping of groups")
        return IdentityProvider(
            tenant=tenant,
            id=provider_id,
            display_name=display_text(
                draft.display_name, field=f"{where}.display_name", default=provider_id
            ),
            issuer=require_url(issuer, field=f"{where}.issuer", loopback_http=self._loopback_http),
            audiences=draft.audiences,
            jwks_uri=jwks_uri,
            algorithms=draft.algorithms or ALGORITHMS,
            user_claim=_claim(draft.user_claim, "user_claim", "sub"),
            user_match=draft.user_match,
            email_claim=_claim(draft.email_claim, "email_claim", "email"),
            name_claim=_claim(draft.name_claim, "name_claim", "name"),
            groups_claim=_claim(draft.groups_claim, "groups_claim", ""),
            group_mappings=(),
            provision_users=draft.provision_users,
            disabled=draft.disabled,
            create_time=create_time,
        )

    async def keep_groups(
        self, change: Change, before: IdentityProvider, draft: IdentityProviderDraft
    ) -> tuple[GroupMapping, ...]:
        """Make, change and remove groups so that they are what the draft's mapping says.

        Raises:
            RoleNotFound: A role does not exist.
            GroupExists: A group of that name is there already, and not of this provider.
            FieldInvalid: The mapping names a group twice.
        """
        uow, tenant = change.uow, before.tenant
        left = {mapping.claim_value: mapping for mapping in before.group_mappings}
        kept: dict[str, GroupMapping] = {}
        for index, (value, role_names) in enumerate(draft.group_mappings):
            field = f"identity_provider.group_mappings[{index}]"
            if value in kept:
                raise FieldInvalid(f"{field}.claim_value", "named once")
            require_one_line(value, field=f"{field}.claim_value")
            roles = await resolve_roles(uow, tenant, role_names, field=f"{field}.roles")
            mapping = GroupMapping(value, group_id_for(before.id, value), roles)
            old = left.pop(value, None)
            if old is None:
                await self._add_group(change, before, mapping)
            elif old.roles != roles:
                group = await uow.groups.get(tenant, mapping.group)
                assert group is not None, "the mapping refers to it"
                await uow.groups.replace(tenant, replace(group, roles=roles))
                change.affects_group(group.id, group.members)
            kept[value] = mapping
        await self.remove_groups(change, tenant, left.values())
        return tuple(kept[value] for value in sorted(kept))

    async def remove_groups(
        self, change: Change, tenant: str, mappings: Iterable[GroupMapping]
    ) -> None:
        """Remove the groups of a mapping."""
        for mapping in mappings:
            group = await change.uow.groups.get(tenant, mapping.group)
            assert group is not None, "the mapping refers to it"
            await change.uow.groups.remove(tenant, group.id)
            change.affects_group(group.id, group.members)

    async def _add_group(
        self, change: Change, provider: IdentityProvider, mapping: GroupMapping
    ) -> None:
        if await change.uow.groups.get(provider.tenant, mapping.group) is not None:
            raise GroupExists(group_name(mapping.group))
        group = Group(
            id=mapping.group,
            display_name=mapping.claim_value[:_MOST_NAME_CHARACTERS],
            members=(),
            roles=mapping.roles,
            create_time=self._clock.now(),
        )
        await change.uow.groups.add(provider.tenant, group)
        change.affects_group(group.id, ())


class CreateIdentityProvider:
    """Connects an issuer to the caller's tenant."""

    def __init__(self, changes: Changes, rules: IdentityProviderRules, clock: Clock) -> None:
        self._changes = changes
        self._rules = rules
        self._clock = clock

    async def __call__(
        self, principal: Principal, provider_id: str, draft: IdentityProviderDraft
    ) -> IdentityProvider:
        """Make an identity provider.

        Raises:
            IdentityProviderExists: The id is taken.
            IssuerTaken: The issuer is connected already, here or to another tenant.
            RoleNotFound: A role of the mapping does not exist.
            GroupExists: A group of the mapping is there already.
            LastAdmin: A role that denies would lock out the last administrator.
            FieldInvalid: A field is malformed.
        """
        tenant, name = principal.tenant, identity_provider_name(provider_id)
        async with self._changes.begin(principal, "admin.CreateIdentityProvider", name) as change:
            providers = change.uow.identity_providers
            provider = self._rules.checked(tenant, provider_id, draft, self._clock.now())
            if await providers.get(tenant, provider_id) is not None:
                raise IdentityProviderExists(name)
            # Two tenants that take one issuer at once: the second waits here.
            await change.uow.tenants.lock_installation()
            if await providers.by_issuer(provider.issuer) is not None:
                raise IssuerTaken(provider.issuer)
            mappings = await self._rules.keep_groups(change, provider, draft)
            provider = replace(provider, group_mappings=mappings)
            await providers.add(provider)
            change.event = replace(change.event, detail=provider.issuer)
        return provider


class UpdateIdentityProvider:
    """Changes everything of an identity provider but its issuer."""

    def __init__(self, changes: Changes, rules: IdentityProviderRules) -> None:
        self._changes = changes
        self._rules = rules

    async def __call__(
        self,
        principal: Principal,
        name: str,
        draft: IdentityProviderDraft,
        mask: Sequence[str],
    ) -> IdentityProvider:
        """Change the fields that the mask names, or all.

        Raises:
            IdentityProviderNotFound: There is none of this name, or it is another tenant's.
            UpdateMaskUnknown: The mask names something else.
            RoleNotFound: A role of the mapping does not exist.
            GroupExists: A group of the mapping is there already.
            LastAdmin: Nobody would be left who may manage users and roles.
            FieldInvalid: A field is malformed.
        """
        tenant = principal.tenant
        async with self._changes.begin(principal, "admin.UpdateIdentityProvider", name) as change:
            before = await _existing(change, tenant, name)
            fields = resolve_mask(mask, _FIELDS)
            after = _draft_of(before)
            after = replace(after, **{field: getattr(draft, field) for field in fields})
            provider = self._rules.checked(tenant, before.id, after, before.create_time)
            mappings = await self._rules.keep_groups(change, before, after)
            provider = replace(provider, group_mappings=mappings)
            await change.uow.identity_providers.replace(provider)
            change.affects_everyone()
        return provider


class DeleteIdentityProvider:
    """Disconnects an issuer; the groups of its mapping go with it."""

    def __init__(self, changes: Changes, rules: IdentityProviderRules) -> None:
        self._changes = changes
        self._rules = rules

    async def __call__(self, principal: Principal, name: str) -> None:
        """Remove an identity provider of the caller's tenant.

        Raises:
            IdentityProviderNotFound: There is none of this name, or it is another tenant's.
            LastAdmin: Nobody would be left who may manage users and roles.
        """
        tenant = principal.tenant
        async with self._changes.begin(principal, "admin.DeleteIdentityProvider", name) as change:
            provider = await _existing(change, tenant, name)
            await self._rules.remove_groups(change, tenant, provider.group_mappings)
            await change.uow.identity_providers.remove(tenant, provider.id)
            change.affects_everyone()


async def _existing(change: Change, tenant: str, name: str) -> IdentityProvider:
    provider_id = id_of("identityProviders", name)
    found = await change.uow.identity_providers.get(tenant, provider_id) if provider_id else None
    if found is None:
        raise IdentityProviderNotFound(name)
    return found


def _draft_of(provider: IdentityProvider) -> IdentityProviderDraft:
    return IdentityProviderDraft(
        display_name=provider.display_name,
        issuer=provider.issuer,
        audiences=provider.audiences,
        jwks_uri=provider.jwks_uri,
        algorithms=provider.algorithms,
        user_claim=provider.user_claim,
        user_match=provider.user_match,
        email_claim=provider.email_claim,
        name_claim=provider.name_claim,
        groups_claim=provider.groups_claim,
        group_mappings=tuple(
            (mapping.claim_value, tuple(map(role_name, mapping.roles)))
            for mapping in provider.group_mappings
        ),
        provision_users=provider.provision_users,
        disabled=provider.disabled,
    )


def _claim(claim: str, field: str, default: str) -> str:
    return require_claim(claim, field=f"identity_provider.{field}", default=default)
