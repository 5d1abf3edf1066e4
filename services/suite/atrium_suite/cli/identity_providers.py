"""``atrium admin idp``: issuers whose tokens are credentials."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from google.protobuf.field_mask_pb2 import FieldMask
from rich.text import Text

from atrium.admin.v1 import directory_service_pb2 as pb
from atrium_suite.cli.calls import (
    DEFAULT_TARGET,
    AsJson,
    Key,
    OptionInvalid,
    Target,
    all_pages,
    connect,
    run,
)
from atrium_suite.terminal.names import full_name, full_names, short_name
from atrium_suite.terminal.output import make_console, print_json, print_rows

idp_app = typer.Typer(no_args_is_help=True, help="Identity providers (OpenID Connect).")

_COLLECTION = "identityProviders"

ProviderId = Annotated[str, typer.Argument(metavar="PROVIDER")]
Audiences = Annotated[
    list[str] | None,
    typer.Option("--audience", help="Audience of its tokens; repeatable.", metavar="AUDIENCE"),
]
Mappings = Annotated[
    list[str] | None,
    typer.Option(
        "--map", help="What a group of the issuer gives; repeatable.", metavar="GROUP=ROLE[,ROLE]"
    ),
]


@idp_app.command("create")
def create(
    provider: ProviderId,
    issuer: Annotated[str, typer.Option(help="The `iss` of its tokens, an https URL.")],
    audiences: Audiences = None,
    jwks_uri: Annotated[
        str, typer.Option(help="Where its keys are. Empty: as its discovery document says.")
    ] = "",
    user_claim: Annotated[str, typer.Option(help="Claim that says which user it is.")] = "sub",
    by_external_id: Annotated[
        bool, typer.Option(help="Find users by the external id that SCIM set, not by user name.")
    ] = False,
    groups_claim: Annotated[
        str, typer.Option(help="Claim with the groups. Empty: groups are not taken from tokens.")
    ] = "",
    mappings: Mappings = None,
    provision: Annotated[
        bool, typer.Option("--provision", help="Make users whom nobody has made yet.")
    ] = False,
    display_name: Annotated[str, typer.Option("--name", help="Name for people.")] = "",
    target: Target = DEFAULT_TARGET,
    key: Key = "",
    as_json: AsJson = False,
) -> None:
    """Connect an issuer: its tokens are credentials from then on."""

    async def work() -> None:
        match = pb.IdentityProvider.EXTERNAL_ID if by_external_id else pb.IdentityProvider.USER_NAME
        wanted = pb.IdentityProvider(
            display_name=display_name or provider,
            issuer=issuer,
            audiences=audiences or (),
            jwks_uri=jwks_uri,
            user_claim=user_claim,
            user_match=match,
            groups_claim=groups_claim,
            group_mappings=_mappings(mappings),
            provision_users=provision,
        )
        async with connect(target, key) as client:
            made = await client.directory.CreateIdentityProvider(
                pb.CreateIdentityProviderRequest(
                    identity_provider_id=provider, identity_provider=wanted
                )
            )
        _show([made], as_json=as_json, one=True)

    run(work())


@idp_app.command("list")
def list_all(target: Target = DEFAULT_TARGET, key: Key = "", as_json: AsJson = False) -> None:
    """List identity providers and what their groups give."""

    async def work() -> None:
        async with connect(target, key) as client:
            found: list[pb.IdentityProvider] = await all_pages(
                client.directory.ListIdentityProviders,
                pb.ListIdentityProvidersRequest(),
                "identity_providers",
            )
        _show(found, as_json=as_json)

    run(work())


@idp_app.command("update")
def update(
    provider: ProviderId,
    audiences: Audiences = None,
    jwks_uri: Annotated[str | None, typer.Option(help="Where its keys are.")] = None,
    groups_claim: Annotated[str | None, typer.Option(help="Claim with the groups.")] = None,
    mappings: Mappings = None,
    provision: Annotated[
        bool | None, typer.Option("--provision/--no-provision", help="Make unknown users.")
    ] = None,
    disabled: Annotated[
        bool | None, typer.Option("--disable/--enable", help="Whether its tokens are refused.")
    ] = None,
    display_name: Annotated[str | None, typer.Option("--name", help="New name.")] = None,
    target: Target = DEFAULT_TARGET,
    key: Key = "",
    as_json: AsJson = False,
) -> None:
    """Change an identity provider; --audience and --map replace all that it had."""

    async def work() -> None:
        given: dict[str, Any] = {
            "audiences": audiences,
            "jwks_uri": jwks_uri,
            "groups_claim": groups_claim,
            "group_mappings": None if mappings is None else _mappings(mappings),
            "provision_users": provision,
            "disabled": disabled,
            "display_name": display_name,
        }
        changes = {field: value for field, value in given.items() if value is not None}
        if not changes:
            raise OptionInvalid("Say what to change; --help lists the options.")
        changed = pb.IdentityProvider(name=full_name(_COLLECTION, provider), **changes)
        async with connect(target, key) as client:
            made = await client.directory.UpdateIdentityProvider(
                pb.UpdateIdentityProviderRequest(
                    identity_provider=changed, update_mask=FieldMask(paths=changes)
                )
            )
        _show([made], as_json=as_json, one=True)

    run(work())


@idp_app.command("delete")
def delete(provider: ProviderId, target: Target = DEFAULT_TARGET, key: Key = "") -> None:
    """Disconnect an issuer; the groups of its mapping go, its users stay."""

    async def work() -> None:
        async with connect(target, key) as client:
            await client.directory.DeleteIdentityProvider(
                pb.DeleteIdentityProviderRequest(name=full_name(_COLLECTION, provider))
            )
        make_console().print(f"Removed identity provider {provider}.", markup=False)

    run(work())


def _show(providers: list[pb.IdentityProvider], *, as_json: bool, one: bool = False) -> None:
    if as_json:
        print_json(providers[0] if one else providers)
        return
    print_rows(
        ("provider", "issuer", "audiences", "groups", "new users", ""),
        [
            (
                short_name(each.name),
                each.issuer,
                ", ".join(each.audiences),
                "\n".join(map(_in_words, each.group_mappings)),
                "are made" if each.provision_users else "are refused",
                Text("disabled", "red") if each.disabled else "",
            )
            for each in providers
        ],
        empty="There are no identity providers.",
    )


def _in_words(mapping: pb.IdentityProvider.GroupMapping) -> str:
    return f"{mapping.claim_value}: {', '.join(map(short_name, mapping.roles))}"


def _mappings(given: list[str] | None) -> list[pb.IdentityProvider.GroupMapping]:
    found = []
    for each in given or ():
        group, equals, roles = each.rpartition("=")
        if not (group and equals and roles):
            raise OptionInvalid(
                f"--map reads GROUP=ROLE[,ROLE], such as hr=hr-partner; not {each!r}."
            )
        found.append(
            pb.IdentityProvider.GroupMapping(
                claim_value=group, roles=full_names("roles", roles.split(","))
            )
        )
    return found
