"""``atrium admin user|group|role``: who there is and what they may do."""

from __future__ import annotations

from typing import Annotated

import typer
from google.protobuf.field_mask_pb2 import FieldMask
from rich.text import Text

from atrium.admin.v1 import admin_pb2, admin_service_pb2, audit_service_pb2
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
from atrium_suite.terminal.output import make_console, plain, print_json, print_rows

user_app = typer.Typer(no_args_is_help=True, help="Users.")
group_app = typer.Typer(no_args_is_help=True, help="Groups.")
role_app = typer.Typer(no_args_is_help=True, help="Roles and what they grant.")

Roles = Annotated[
    list[str] | None, typer.Option("--role", help="Role; repeatable.", metavar="ROLE")
]
Members = Annotated[
    list[str] | None, typer.Option("--member", help="User; repeatable.", metavar="USER")
]
Grants = Annotated[
    list[str] | None,
    typer.Option(
        "--grant", help="Such as labels/hr/compensation:read; repeatable.",
        metavar="RESOURCE:ACTION",
    ),
]  # fmt: skip
Denies = Annotated[
    list[str] | None,
    typer.Option("--deny", help="What it forbids; repeatable.", metavar="RESOURCE:ACTION"),
]
Inherits = Annotated[
    list[str] | None,
    typer.Option("--inherits", help="Role whose grants it has too; repeatable.", metavar="ROLE"),
]
Name = Annotated[str, typer.Option("--name", help="Name for people. Empty: the id.")]
UserId = Annotated[str, typer.Argument(metavar="USER")]
RoleId = Annotated[str, typer.Argument(metavar="ROLE")]
GroupId = Annotated[str, typer.Argument(metavar="GROUP")]


@user_app.command("create")
def create_user(
    user: UserId,
    display_name: Name = "",
    roles: Roles = None,
    email: Annotated[str, typer.Option(help="Mail address.")] = "",
    service: Annotated[bool, typer.Option("--service", help="A product's back end.")] = False,
    target: Target = DEFAULT_TARGET,
    key: Key = "",
    as_json: AsJson = False,
) -> None:
    """Make a user. Without --role they get the role member, with --service the role service."""

    async def work() -> None:
        kind = admin_pb2.User.SERVICE if service else admin_pb2.User.PERSON
        given = roles or (["service"] if service else [])
        async with connect(target, key) as client:
            made = await client.admin.CreateUser(
                admin_service_pb2.CreateUserRequest(
                    user_id=user,
                    user=admin_pb2.User(
                        display_name=display_name or user,
                        kind=kind,
                        roles=full_names("roles", given),
                        email=email,
                    ),
                )
            )
        _show_users([made], as_json=as_json, one=True)

    run(work())


@user_app.command("list")
def list_users(target: Target = DEFAULT_TARGET, key: Key = "", as_json: AsJson = False) -> None:
    """List users."""

    async def work() -> None:
        request = admin_service_pb2.ListUsersRequest()
        async with connect(target, key) as client:
            found: list[admin_pb2.User] = await all_pages(client.admin.ListUsers, request, "users")
        _show_users(found, as_json=as_json)

    run(work())


@user_app.command("update")
def update_user(
    user: UserId,
    display_name: Annotated[str | None, typer.Option("--name", help="New name.")] = None,
    roles: Roles = None,
    email: Annotated[str | None, typer.Option(help="New mail address.")] = None,
    disabled: Annotated[
        bool | None, typer.Option("--disable/--enable", help="Whether they may do nothing.")
    ] = None,
    target: Target = DEFAULT_TARGET,
    key: Key = "",
    as_json: AsJson = False,
) -> None:
    """Change a user; --role replaces all roles that they hold directly."""

    async def work() -> None:
        changed = admin_pb2.User(name=full_name("users", user))
        paths = []
        if display_name is not None:
            changed.display_name = display_name
            paths.append("display_name")
        if roles is not None:
            changed.roles.extend(full_names("roles", roles))
            paths.append("roles")
        if email is not None:
            changed.email = email
            paths.append("email")
        if disabled is not None:
            changed.disabled = disabled
            paths.append("disabled")
        _require_changes(paths)
        async with connect(target, key) as client:
            made = await client.admin.UpdateUser(
                admin_service_pb2.UpdateUserRequest(
                    user=changed, update_mask=FieldMask(paths=paths)
                )
            )
        _show_users([made], as_json=as_json, one=True)

    run(work())


@user_app.command("delete")
def delete_user(user: UserId, target: Target = DEFAULT_TARGET, key: Key = "") -> None:
    """Remove a user with their keys and memberships."""

    async def work() -> None:
        async with connect(target, key) as client:
            await client.admin.DeleteUser(
                admin_service_pb2.DeleteUserRequest(name=full_name("users", user))
            )
        make_console().print(f"Removed user {user}.", markup=False)

    run(work())


@user_app.command("erase")
def erase_user(
    user: UserId,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    target: Target = DEFAULT_TARGET,
    key: Key = "",
) -> None:
    """Erase a user: remove them, and unlink the audit log from their name. For good."""
    if not yes:
        typer.confirm(f"Erase {user} for good?", abort=True)

    async def work() -> None:
        async with connect(target, key) as client:
            erased = await client.audit.EraseUser(
                audit_service_pb2.EraseUserRequest(name=full_name("users", user))
            )
        make_console().print(
            f"Erased. The audit log calls them {short_name(erased.erased_name)} from now on.",
            markup=False,
        )

    run(work())


@group_app.command("create")
def create_group(
    group: GroupId,
    display_name: Name = "",
    members: Members = None,
    roles: Roles = None,
    target: Target = DEFAULT_TARGET,
    key: Key = "",
    as_json: AsJson = False,
) -> None:
    """Make a group; its members hold its roles."""

    async def work() -> None:
        async with connect(target, key) as client:
            made = await client.admin.CreateGroup(
                admin_service_pb2.CreateGroupRequest(
                    group_id=group,
                    group=admin_pb2.Group(
                        display_name=display_name or group,
                        members=full_names("users", members),
                        roles=full_names("roles", roles),
                    ),
                )
            )
        _show_groups([made], as_json=as_json, one=True)

    run(work())


@group_app.command("list")
def list_groups(target: Target = DEFAULT_TARGET, key: Key = "", as_json: AsJson = False) -> None:
    """List groups."""

    async def work() -> None:
        request = admin_service_pb2.ListGroupsRequest()
        async with connect(target, key) as client:
            found: list[admin_pb2.Group] = await all_pages(
                client.admin.ListGroups, request, "groups"
            )
        _show_groups(found, as_json=as_json)

    run(work())


@group_app.command("update")
def update_group(
    group: GroupId,
    members: Members = None,
    roles: Roles = None,
    display_name: Annotated[str | None, typer.Option("--name", help="New name.")] = None,
    target: Target = DEFAULT_TARGET,
    key: Key = "",
    as_json: AsJson = False,
) -> None:
    """Change a group; --member and --role replace all that it had."""

    async def work() -> None:
        changed = admin_pb2.Group(name=full_name("groups", group))
        paths = []
        if display_name is not None:
            changed.display_name = display_name
            paths.append("display_name")
        if members is not None:
            changed.members.extend(full_names("users", members))
            paths.append("members")
        if roles is not None:
            changed.roles.extend(full_names("roles", roles))
            paths.append("roles")
        _require_changes(paths)
        async with connect(target, key) as client:
            made = await client.admin.UpdateGroup(
                admin_service_pb2.UpdateGroupRequest(
                    group=changed, update_mask=FieldMask(paths=paths)
                )
            )
        _show_groups([made], as_json=as_json, one=True)

    run(work())


@group_app.command("delete")
def delete_group(group: GroupId, target: Target = DEFAULT_TARGET, key: Key = "") -> None:
    """Remove a group; its members stay."""

    async def work() -> None:
        async with connect(target, key) as client:
            await client.admin.DeleteGroup(
                admin_service_pb2.DeleteGroupRequest(name=full_name("groups", group))
            )
        make_console().print(f"Removed group {group}.", markup=False)

    run(work())


@role_app.command("create")
def create_role(
    role: RoleId,
    display_name: Name = "",
    grants: Grants = None,
    denies: Denies = None,
    inherits: Inherits = None,
    target: Target = DEFAULT_TARGET,
    key: Key = "",
    as_json: AsJson = False,
) -> None:
    """Make a role."""

    async def work() -> None:
        async with connect(target, key) as client:
            made = await client.admin.CreateRole(
                admin_service_pb2.CreateRoleRequest(
                    role_id=role,
                    role=admin_pb2.Role(
                        display_name=display_name or role,
                        grants=_grants(grants, denies),
                        inherits=full_names("roles", inherits),
                    ),
                )
            )
        _show_roles([made], as_json=as_json, one=True)

    run(work())


@role_app.command("list")
def list_roles(target: Target = DEFAULT_TARGET, key: Key = "", as_json: AsJson = False) -> None:
    """List roles and what they grant."""

    async def work() -> None:
        request = admin_service_pb2.ListRolesRequest()
        async with connect(target, key) as client:
            found: list[admin_pb2.Role] = await all_pages(client.admin.ListRoles, request, "roles")
        _show_roles(found, as_json=as_json)

    run(work())


@role_app.command("update")
def update_role(
    role: RoleId,
    grants: Grants = None,
    denies: Denies = None,
    inherits: Inherits = None,
    display_name: Annotated[str | None, typer.Option("--name", help="New name.")] = None,
    target: Target = DEFAULT_TARGET,
    key: Key = "",
    as_json: AsJson = False,
) -> None:
    """Change a role; --grant and --deny together replace all that it granted and denied."""

    async def work() -> None:
        changed = admin_pb2.Role(name=full_name("roles", role))
        paths = []
        if display_name is not None:
            changed.display_name = display_name
            paths.append("display_name")
        if grants is not None or denies is not None:
            changed.grants.extend(_grants(grants, denies))
            paths.append("grants")
        if inherits is not None:
            changed.inherits.extend(full_names("roles", inherits))
            paths.append("inherits")
        _require_changes(paths)
        async with connect(target, key) as client:
            made = await client.admin.UpdateRole(
                admin_service_pb2.UpdateRoleRequest(
                    role=changed, update_mask=FieldMask(paths=paths)
                )
            )
        _show_roles([made], as_json=as_json, one=True)

    run(work())


@role_app.command("delete")
def delete_role(role: RoleId, target: Target = DEFAULT_TARGET, key: Key = "") -> None:
    """Remove a role that nobody holds."""

    async def work() -> None:
        async with connect(target, key) as client:
            await client.admin.DeleteRole(
                admin_service_pb2.DeleteRoleRequest(name=full_name("roles", role))
            )
        make_console().print(f"Removed role {role}.", markup=False)

    run(work())


@role_app.command("test")
def check_permission(
    user: UserId,
    permission: Annotated[
        str, typer.Argument(help="Such as labels/hr/compensation:read.", metavar="RESOURCE:ACTION")
    ],
    target: Target = DEFAULT_TARGET,
    key: Key = "",
    as_json: AsJson = False,
) -> None:
    """Say whether a user may do something, and through which grants."""

    async def work() -> None:
        resource, action = _split(permission)
        async with connect(target, key) as client:
            found = await client.admin.TestPermission(
                admin_service_pb2.TestPermissionRequest(
                    user=full_name("users", user), resource=resource, action=action
                )
            )
        if as_json:
            print_json(found)
            return
        console = make_console()
        console.print(
            plain(f"{user} may {'' if found.allowed else 'not '}{action} {resource}."),
            style="green" if found.allowed else "yellow",
        )
        for match in found.matches:
            console.print(plain(f"  {short_name(match.role)}: {_grant_in_words(match.grant)}"))

    run(work())


def _show_users(users: list[admin_pb2.User], *, as_json: bool, one: bool = False) -> None:
    if as_json:
        print_json(users[0] if one else users)
        return
    print_rows(
        ("user", "name", "kind", "roles", "mail", ""),
        [
            (
                short_name(each.name),
                each.display_name,
                "service" if each.kind == admin_pb2.User.SERVICE else "person",
                ", ".join(map(short_name, each.roles)),
                each.email,
                Text("disabled", "red") if each.disabled else "",
            )
            for each in users
        ],
        empty="There are no users.",
    )


def _show_groups(groups: list[admin_pb2.Group], *, as_json: bool, one: bool = False) -> None:
    if as_json:
        print_json(groups[0] if one else groups)
        return
    print_rows(
        ("group", "name", "members", "roles"),
        [
            (
                short_name(each.name),
                each.display_name,
                ", ".join(map(short_name, each.members)),
                ", ".join(map(short_name, each.roles)),
            )
            for each in groups
        ],
        empty="There are no groups.",
    )


def _show_roles(roles: list[admin_pb2.Role], *, as_json: bool, one: bool = False) -> None:
    if as_json:
        print_json(roles[0] if one else roles)
        return
    print_rows(
        ("role", "name", "grants", "inherits", ""),
        [
            (
                short_name(each.name),
                each.display_name,
                "\n".join(map(_grant_in_words, each.grants)),
                ", ".join(map(short_name, each.inherits)),
                "built in" if each.built_in else "",
            )
            for each in roles
        ],
        empty="There are no roles.",
    )


def _grants(allowed: list[str] | None, denied: list[str] | None) -> list[admin_pb2.Grant]:
    grants = []
    for given, effect in ((allowed, admin_pb2.Grant.ALLOW), (denied, admin_pb2.Grant.DENY)):
        for each in given or ():
            resource, action = _split(each)
            grants.append(admin_pb2.Grant(resource=resource, action=action, effect=effect))
    return grants


def _grant_in_words(grant: admin_pb2.Grant) -> str:
    deny = "not " if grant.effect == admin_pb2.Grant.DENY else ""
    return f"{deny}{grant.resource}:{grant.action}"


def _split(permission: str) -> tuple[str, str]:
    resource, found, action = permission.rpartition(":")
    if not found or not resource or not action:
        raise OptionInvalid(
            f"{permission!r} is no permission. Expected RESOURCE:ACTION, such as "
            "labels/hr/compensation:read or knowledge.documents:write."
        )
    return resource, action


def _require_changes(paths: list[str]) -> None:
    if not paths:
        raise OptionInvalid("Nothing to change was given. See --help for what can be changed.")
