"""Protos of the directory service to domain values and back."""

from __future__ import annotations

from atrium.admin.v1 import directory_service_pb2 as pb
from atrium_admin.domain.identity_providers import (
    IdentityProvider,
    IdentityProviderDraft,
    UserMatch,
)
from atrium_admin.domain.names import group_name, role_name
from atrium_admin.rpc.convert import time_to_proto

_ALGORITHMS = {
    pb.IdentityProvider.RS256: "RS256",
    pb.IdentityProvider.PS256: "PS256",
    pb.IdentityProvider.ES256: "ES256",
    pb.IdentityProvider.EDDSA: "EdDSA",
}
_ALGORITHM_NUMBERS = {name: number for number, name in _ALGORITHMS.items()}


def identity_provider_draft(provider: pb.IdentityProvider) -> IdentityProviderDraft:
    """Return what a request says about an identity provider."""
    by_external_id = provider.user_match == pb.IdentityProvider.EXTERNAL_ID
    return IdentityProviderDraft(
        display_name=provider.display_name,
        issuer=provider.issuer,
        audiences=tuple(provider.audiences),
        jwks_uri=provider.jwks_uri,
        algorithms=tuple(_ALGORITHMS[each] for each in provider.algorithms),
        user_claim=provider.user_claim,
        user_match=UserMatch.EXTERNAL_ID if by_external_id else UserMatch.USER_NAME,
        email_claim=provider.email_claim,
        name_claim=provider.name_claim,
        groups_claim=provider.groups_claim,
        group_mappings=tuple(
            (mapping.claim_value, tuple(mapping.roles)) for mapping in provider.group_mappings
        ),
        provision_users=provider.provision_users,
        disabled=provider.disabled,
    )


def identity_provider_to_proto(provider: IdentityProvider) -> pb.IdentityProvider:
    """Return an identity provider."""
    by_external_id = provider.user_match is UserMatch.EXTERNAL_ID
    return pb.IdentityProvider(
        name=provider.name,
        display_name=provider.display_name,
        issuer=provider.issuer,
        audiences=provider.audiences,
        jwks_uri=provider.jwks_uri,
        algorithms=[_ALGORITHM_NUMBERS[each] for each in provider.algorithms],
        user_claim=provider.user_claim,
        user_match=(
            pb.IdentityProvider.EXTERNAL_ID if by_external_id else pb.IdentityProvider.USER_NAME
        ),
        email_claim=provider.email_claim,
        name_claim=provider.name_claim,
        groups_claim=provider.groups_claim,
        group_mappings=[
            pb.IdentityProvider.GroupMapping(
                claim_value=mapping.claim_value,
                roles=map(role_name, mapping.roles),
                group=group_name(mapping.group),
            )
            for mapping in provider.group_mappings
        ],
        provision_users=provider.provision_users,
        disabled=provider.disabled,
        create_time=time_to_proto(provider.create_time),
    )
