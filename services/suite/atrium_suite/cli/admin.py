"""``atrium admin``: the first key, tenants, keys; users, groups, roles and audit next door."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from atrium.admin.v1 import admin_pb2, admin_service_pb2, admin_service_pb2_grpc
from atrium_shared.identity import ServiceIdentity
from atrium_shared.rpc.channel import open_channel
from atrium_shared.settings import load_settings, secret_bytes
from atrium_suite.cli.audit import audit_app
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
from atrium_suite.cli.directory import group_app, role_app, user_app
from atrium_suite.cli.identity_providers import idp_app
from atrium_suite.installation import read_secret
from atrium_suite.settings import SuiteSettings
from atrium_suite.terminal.names import full_name, moment, short_name
from atrium_suite.terminal.output import make_console, print_json, print_rows

app = typer.Typer(no_args_is_help=True, help="Tenants, users, roles, keys and the audit log.")
tenant_app = typer.Typer(no_args_is_help=True, help="Tenants.")
key_app = typer.Typer(no_args_is_help=True, help="API keys.")
app.add_typer(tenant_app, name="tenant")
app.add_typer(user_app, name="user")
app.add_typer(group_app, name="group")
app.add_typer(role_app, name="role")
app.add_typer(idp_app, name="idp")
app.add_typer(key_app, name="key")
app.add_typer(audit_app, name="audit")

Name = Annotated[str, typer.Option("--name", help="Name for people. Empty: the id.")]


@app.command()
def bootstrap(
    tenant: Annotated[str, typer.Option(help="Id of the first tenant, such as acme.")],
    display_name: Name = "",
    admin: Annotated[str, typer.Option(help="Id of its administrator.")] = "admin",
    state: Annotated[
        Path | None, typer.Option(help="State folder of the suite, for its secret.")
    ] = None,
    target: Target = DEFAULT_TARGET,
    as_json: AsJson = False,
) -> None:
    """Make the first tenant, its administrator and the first key. Works once."""

    async def work() -> None:
        settings = load_settings(SuiteSettings)
        secret = settings.secret or read_secret(state or settings.state_dir)
        caller = ServiceIdentity("cli", secret_bytes(secret))
        async with open_channel(target, service=caller) as channel:
            stub = admin_service_pb2_grpc.AdminServiceStub(channel)
            made = await stub.Bootstrap(
                admin_service_pb2.BootstrapRequest(
                    tenant_id=tenant, display_name=display_name, admin_user_id=admin
                )
            )
        if as_json:
            print_json(made)
            return
        console = make_console()
        console.print(f"Made {made.tenant.name} with {made.admin.name}.", markup=False)
        _print_secret(made.secret)

    run(work())


@tenant_app.command("create")
def create_tenant(
    tenant: Annotated[str, typer.Argument(metavar="TENANT")],
    display_name: Name = "",
    admin: Annotated[str, typer.Option(help="Id of its administrator.")] = "admin",
    target: Target = DEFAULT_TARGET,
    key: Key = "",
    as_json: AsJson = False,
) -> None:
    """Make a further tenant, its administrator and their key (operator tenant only)."""

    async def work() -> None:
        async with connect(target, key) as client:
            made = await client.admin.CreateTenant(
                admin_service_pb2.CreateTenantRequest(
                    tenant_id=tenant,
                    tenant=admin_pb2.Tenant(display_name=display_name or tenant),
                    admin_user_id=admin,
                )
            )
        if as_json:
            print_json(made)
            return
        make_console().print(f"Made {made.tenant.name} with {made.admin.name}.", markup=False)
        _print_secret(made.secret)

    run(work())


@tenant_app.command("list")
def list_tenants(target: Target = DEFAULT_TARGET, key: Key = "", as_json: AsJson = False) -> None:
    """List the tenants that the caller may see."""

    async def work() -> None:
        request = admin_service_pb2.ListTenantsRequest()
        async with connect(target, key) as client:
            found: list[admin_pb2.Tenant] = await all_pages(
                client.admin.ListTenants, request, "tenants"
            )
        if as_json:
            print_json(found)
            return
        print_rows(
            ("tenant", "name", "made", "operator"),
            [
                (
                    short_name(each.name),
                    each.display_name,
                    moment(each.create_time),
                    "yes" if each.operator else "",
                )
                for each in found
            ],
            empty="There are no tenants.",
        )

    run(work())


@key_app.command("create")
def create_key(
    user: Annotated[str, typer.Argument(metavar="USER", help="Whom it stands for.")],
    display_name: Annotated[str, typer.Option("--name", help="What it is for.")] = "",
    expires: Annotated[
        str, typer.Option(help="How long it works, such as 90d or 12h. Empty: for ever.")
    ] = "",
    target: Target = DEFAULT_TARGET,
    key: Key = "",
    as_json: AsJson = False,
) -> None:
    """Make a key for a user and show its secret, this once."""

    async def work() -> None:
        request = admin_service_pb2.CreateApiKeyRequest(
            user=full_name("users", user), display_name=display_name
        )
        if expires:
            request.expire_time.FromDatetime(datetime.now(UTC) + _duration(expires))
        async with connect(target, key) as client:
            made = await client.admin.CreateApiKey(request)
        if as_json:
            print_json(made)
            return
        make_console().print(f"Made {made.api_key.name} for {made.api_key.user}.", markup=False)
        _print_secret(made.secret)

    run(work())


@key_app.command("list")
def list_keys(
    user: Annotated[str, typer.Option(help="Only keys of this user.")] = "",
    target: Target = DEFAULT_TARGET,
    key: Key = "",
    as_json: AsJson = False,
) -> None:
    """List keys without their secrets."""

    async def work() -> None:
        request = admin_service_pb2.ListApiKeysRequest(
            user=full_name("users", user) if user else ""
        )
        async with connect(target, key) as client:
            found: list[admin_pb2.ApiKey] = await all_pages(
                client.admin.ListApiKeys, request, "api_keys"
            )
        if as_json:
            print_json(found)
            return
        print_rows(
            ("key", "user", "for", "begins", "made", "last used", "state"),
            [
                (
                    short_name(each.name),
                    short_name(each.user),
                    each.display_name,
                    f"{each.prefix}…",
                    moment(each.create_time),
                    moment(each.last_use_time),
                    _key_state(each),
                )
                for each in found
            ],
            empty="There are no keys.",
        )

    run(work())


@key_app.command("revoke")
def revoke_key(
    api_key: Annotated[str, typer.Argument(metavar="KEY", help="As `list` shows it.")],
    target: Target = DEFAULT_TARGET,
    key: Key = "",
) -> None:
    """End a key at once."""

    async def work() -> None:
        async with connect(target, key) as client:
            ended = await client.admin.RevokeApiKey(
                admin_service_pb2.RevokeApiKeyRequest(name=full_name("apiKeys", api_key))
            )
        make_console().print(f"Revoked {short_name(ended.name)}.", markup=False)

    run(work())


def _print_secret(secret: str) -> None:
    console = make_console()
    console.print("The key, shown this once; keep it in a safe place:")
    console.print(f"  export ATRIUM_API_KEY={secret}", markup=False, soft_wrap=True)


def _key_state(key: admin_pb2.ApiKey) -> Text:
    if key.HasField("revoke_time"):
        return Text("revoked", "red")
    if not key.HasField("expire_time"):
        return Text("valid", "green")
    if key.expire_time.ToDatetime(UTC) <= datetime.now(UTC):
        return Text("expired", "red")
    return Text(f"valid until {moment(key.expire_time)}", "green")


def _duration(text: str) -> timedelta:
    match = re.fullmatch(r"(\d{1,5})([dh])", text)
    if match is None or int(match[1]) == 0:
        raise OptionInvalid(f"--expires is a number of days or hours, 90d or 12h; not {text!r}.")
    return timedelta(days=int(match[1])) if match[2] == "d" else timedelta(hours=int(match[1]))
