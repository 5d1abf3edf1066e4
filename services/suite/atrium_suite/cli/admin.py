"""``atrium admin``: the first key, tenants, keys; users, groups, roles and audit next door."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from google.protobuf.field_mask_pb2 import FieldMask
from pydantic import SecretStr
from rich.text import Text

import atrium_admin.bootstrap
from atrium.admin.v1 import admin_pb2, admin_service_pb2, admin_service_pb2_grpc
from atrium_admin.settings import AdminSettings
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
from atrium_suite.installation import StateDir, read_secret
from atrium_suite.settings import SuiteSettings, load_service_settings
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


State = Annotated[
    Path | None, typer.Option(help="State folder of the suite, for its secret and its files.")
]


class ResidencyName(StrEnum):
    """Where a tenant's texts may go, as it is typed."""

    PRIVATE_ONLY = "private-only"
    HYBRID = "hybrid"
    ANY = "any"


ResidencyOption = Annotated[
    ResidencyName | None,
    typer.Option(
        "--residency",
        help="Where its texts may go: nowhere outside, outside with personal data replaced, "
        "or anywhere.",
    ),
]
Quotas = Annotated[
    list[str] | None,
    typer.Option(
        "--quota",
        help="Most tokens or requests a minute, hour, day or month, such as tokens/day=1000000; "
        "repeat. Replaces all that it had.",
        metavar="UNIT/WINDOW=N",
    ),
]


@app.command()
def bootstrap(
    tenant: Annotated[str, typer.Option(help="Id of the first tenant, such as acme.")],
    display_name: Name = "",
    admin: Annotated[str, typer.Option(help="Id of its administrator.")] = "admin",
    state: State = None,
    target: Target = DEFAULT_TARGET,
    as_json: AsJson = False,
) -> None:
    """Make the first tenant, its administrator and the first key. Works once."""

    async def work() -> None:
        _, secret = _installation(state)
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


@app.command("issue-key")
def issue_key(
    tenant: Annotated[str, typer.Argument(metavar="TENANT")],
    user: Annotated[str, typer.Argument(metavar="USER")],
    state: State = None,
) -> None:
    """Make a key when all keys of a tenant are lost; needs the state folder, not a key."""

    async def work() -> None:
        folder, secret = _installation(state)
        own = load_service_settings(AdminSettings, folder.admin_variables(secret))
        _, credential = await atrium_admin.bootstrap.issue_key(own, tenant, user)
        _print_secret(credential)

    run(work())


@tenant_app.command("create")
def create_tenant(
    tenant: Annotated[str, typer.Argument(metavar="TENANT")],
    display_name: Name = "",
    admin: Annotated[str, typer.Option(help="Id of its administrator.")] = "admin",
    residency: ResidencyOption = None,
    quotas: Quotas = None,
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
                    tenant=admin_pb2.Tenant(
                        display_name=display_name or tenant,
                        residency=_residency(residency),
                        quotas=map(_quota, quotas or ()),
                    ),
                    admin_user_id=admin,
                )
            )
        if as_json:
            print_json(made)
            return
        make_console().print(f"Made {made.tenant.name} with {made.admin.name}.", markup=False)
        _print_secret(made.secret)

    run(work())


@tenant_app.command("update")
def update_tenant(
    tenant: Annotated[str, typer.Argument(metavar="TENANT", help="Its id; - for your own.")],
    display_name: Annotated[str | None, typer.Option("--name", help="New name.")] = None,
    max_upload_bytes: Annotated[
        int | None, typer.Option(help="Largest upload; 0: the installation's default.")
    ] = None,
    residency: ResidencyOption = None,
    quotas: Quotas = None,
    no_quotas: Annotated[bool, typer.Option("--no-quotas", help="Lift all quotas.")] = False,
    target: Target = DEFAULT_TARGET,
    key: Key = "",
    as_json: AsJson = False,
) -> None:
    """Change a tenant (operator tenant only); holds everywhere within a second."""

    async def work() -> None:
        changed = admin_pb2.Tenant(name=full_name("tenants", tenant))
        paths = []
        if display_name is not None:
            changed.display_name = display_name
            paths.append("display_name")
        if max_upload_bytes is not None:
            changed.max_upload_bytes = max_upload_bytes
            paths.append("max_upload_bytes")
        if residency is not None:
            changed.residency = _residency(residency)
            paths.append("residency")
        if quotas and no_quotas:
            raise OptionInvalid("Give --quota or --no-quotas, not both.")
        if quotas or no_quotas:
            changed.quotas.extend(map(_quota, quotas or ()))
            paths.append("quotas")
        if not paths:
            raise OptionInvalid("Nothing to change. `--help` lists what can be.")
        async with connect(target, key) as client:
            made = await client.admin.UpdateTenant(
                admin_service_pb2.UpdateTenantRequest(
                    tenant=changed, update_mask=FieldMask(paths=paths)
                )
            )
        _show_tenants([made], as_json=as_json, one=True)

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
        _show_tenants(found, as_json=as_json)

    run(work())


_QUOTA = re.compile(r"(tokens|requests)/(minute|hour|day|month)=(\d{1,15})")


def _quota(text: str) -> admin_pb2.TenantQuota:
    parts = _QUOTA.fullmatch(text)
    if parts is None:
        raise OptionInvalid(
            "--quota is tokens or requests, a slash, minute, hour, day or month, and the limit, "
            f"such as tokens/day=1000000; not {text!r}."
        )
    unit, window, limit = parts.groups()
    return admin_pb2.TenantQuota(
        unit=admin_pb2.TenantQuota.Unit.Value(unit.upper()),
        window=admin_pb2.TenantQuota.Window.Value(window.upper()),
        limit=int(limit),
    )


def _quota_words(quota: admin_pb2.TenantQuota) -> str:
    unit = admin_pb2.TenantQuota.Unit.Name(quota.unit)
    window = admin_pb2.TenantQuota.Window.Name(quota.window)
    return f"{unit.lower()}/{window.lower()}={quota.limit}"


def _residency(name: ResidencyName | None) -> admin_pb2.Tenant.Residency.ValueType:
    if name is None:
        return admin_pb2.Tenant.RESIDENCY_UNSPECIFIED
    return admin_pb2.Tenant.Residency.Value(name.name)


def _show_tenants(found: Sequence[admin_pb2.Tenant], *, as_json: bool, one: bool = False) -> None:
    if as_json:
        print_json(found[0] if one else found)
        return
    print_rows(
        ("tenant", "name", "made", "operator", "residency", "quotas"),
        [
            (
                short_name(each.name),
                each.display_name,
                moment(each.create_time),
                "yes" if each.operator else "",
                ResidencyName[admin_pb2.Tenant.Residency.Name(each.residency)].value,
                " ".join(map(_quota_words, each.quotas)),
            )
            for each in found
        ],
        empty="There are no tenants.",
    )


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


def _installation(state: Path | None) -> tuple[StateDir, SecretStr]:
    """Return the state folder, the one that was chosen or the usual one, and its secret."""
    settings = load_settings(SuiteSettings)
    folder = StateDir(state or settings.state_dir)
    return folder, settings.secret or read_secret(folder.folder)


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
