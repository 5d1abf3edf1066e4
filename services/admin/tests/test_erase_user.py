from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from sqlalchemy import Executable, delete, insert, select, update

from atrium.admin.v1 import admin_pb2, audit_service_pb2, identity_service_pb2
from atrium.admin.v1 import admin_service_pb2 as pb
from atrium_admin.adapters import tables
from atrium_admin.adapters.sql_storage import SqlStorage
from atrium_admin.bootstrap import MIGRATIONS
from atrium_admin.domain.audit import AuditEvent, AuditHead, AuditLine, Decision, extend
from atrium_admin.domain.checkpoints import LogCheck
from atrium_admin.domain.pseudonyms import Pseudonym, pseudonym_for
from atrium_shared.database import Database

from .house import House, migrate_to, refused

ERASED = re.compile(r"users/erased-[a-z2-7]{26}")
EVERYWHERE = (
    "users", "user_roles", "group_members", "api_keys", "past_users", "past_links", "audit_lines",
    "audit_pseudonyms",
)  # fmt: skip


async def make_user(house: House, user: str, *roles: str) -> None:
    proto = admin_pb2.User(
        display_name="Lin Daiyu", email="lin@example.org", roles=[f"roles/{r}" for r in roles]
    )
    await house.admin().CreateUser(pb.CreateUserRequest(user_id=user, user=proto))


async def erase(house: House, user: str, key: str | None = None) -> str:
    response = await house.auditing(key).EraseUser(
        audit_service_pb2.EraseUserRequest(name=f"users/{user}")
    )
    return str(response.erased_name)


async def events(house: House, **fields: Any) -> list[admin_pb2.AuditEvent]:
    page = await house.admin().ListAuditEvents(pb.ListAuditEventsRequest(**fields))
    return list(page.events)


async def erased_users(house: House, after: int = 0, page_size: int = 0) -> Any:
    return await house.identity().ListErasedUsers(
        identity_service_pb2.ListErasedUsersRequest(after=after, page_size=page_size)
    )


async def intact(house: House) -> bool:
    return bool((await house.admin().VerifyAuditLog(pb.VerifyAuditLogRequest())).intact)


async def everything(house: House) -> str:
    """Return every value of every table in which a user could be named."""
    found = ""
    for table in EVERYWHERE:
        found += repr(await house.tamper(select(tables.metadata.tables[table])))
    return found


async def test_an_erased_user_is_nowhere_named_and_the_log_stays_whole(house: House) -> None:
    await make_user(house, "lin", "member", "editor")
    await house.admin().CreateGroup(
        pb.CreateGroupRequest(group_id="hr", group={"members": ["users/lin"]})
    )
    lins = house.admin(await house.key_of("lin"))
    await refused(lins.ListUsers(pb.ListUsersRequest()))
    await house.admin().GetUser(pb.GetUserRequest(name="users/lin"))
    before = await events(house)
    assert "lin" in await everything(house)
    house.clock.advance(60)

    name = await erase(house, "lin")

    assert ERASED.fullmatch(name)
    after = await everything(house)
    assert "'lin'" not in after
    assert "users/lin" not in after
    assert "Daiyu" not in after
    assert "example.org" not in after
    assert await intact(house)
    read = {event.sequence: event for event in await events(house)}
    for event in before:
        shown = read[event.sequence]
        assert shown.hash == event.hash
        assert shown.actor == (name if event.actor == "users/lin" else event.actor)
        assert shown.resource == (name if event.resource == "users/lin" else event.resource)
    line = next(event for event in read.values() if event.action == "admin.EraseUser")
    assert (line.actor, line.resource, line.decision) == (
        "users/admin",
        name,
        admin_pb2.AuditEvent.ALLOWED,
    )
    refusal = await refused(lins.ListUsers(pb.ListUsersRequest()))
    assert refusal.code is grpc.StatusCode.UNAUTHENTICATED
    gone = await refused(house.admin().GetUser(pb.GetUserRequest(name="users/lin")))
    assert gone.reason == "USER_NOT_FOUND"


async def test_what_an_erased_user_did_and_could_is_still_found_under_the_new_name(
    house: House,
) -> None:
    await make_user(house, "lin")
    lins = house.admin(await house.key_of("lin"))
    await refused(lins.ListUsers(pb.ListUsersRequest()))
    moment = house.clock.now()
    house.clock.advance(60)
    readers = audit_service_pb2.ListReadersRequest()
    readers.read_time.FromDatetime(moment)
    known = await house.auditing().ListReaders(readers)
    assert [reader.user for reader in known.readers] == ["users/admin", "users/lin"]

    name = await erase(house, "lin")

    theirs = await events(house, user=name)
    assert [event.action for event in theirs] == ["admin.ListUsers"]
    assert not await events(house, user="users/lin")
    known = await house.auditing().ListReaders(readers)
    assert [reader.user for reader in known.readers] == ["users/admin", name]
    now = await house.auditing().ListReaders(audit_service_pb2.ListReadersRequest())
    assert [reader.user for reader in now.readers] == ["users/admin"]


async def test_other_services_read_who_was_erased_in_order(house: House) -> None:
    for user in ("lin", "kim", "bo"):
        await make_user(house, user)
    assert not (await erased_users(house)).erased_users
    for user in ("kim", "lin", "bo"):
        house.clock.advance(1)
        await erase(house, user)
    first = await erased_users(house, page_size=2)
    assert [(each.sequence, each.tenant, each.user) for each in first.erased_users] == [
        (1, "acme", "users/kim"),
        (2, "acme", "users/lin"),
    ]
    assert first.more
    rest = await erased_users(house, after=2)
    assert [each.user for each in rest.erased_users] == ["users/bo"]
    assert rest.erased_users[0].erase_time.ToDatetime(UTC) == house.clock.now()
    assert not rest.more


async def test_only_services_read_who_was_erased(house: House) -> None:
    channel = house.server.open_channel(house.key, None)
    stub = type(house.identity())(channel)
    failure = await refused(stub.ListErasedUsers(identity_service_pb2.ListErasedUsersRequest()))
    assert (failure.code, failure.reason) == (grpc.StatusCode.PERMISSION_DENIED, "SERVICE_ONLY")


async def test_what_still_arrives_of_an_erased_user_is_not_linked_to_them(house: House) -> None:
    await make_user(house, "lin")
    await erase(house, "lin")
    late = admin_pb2.AuditEvent(
        actor="users/portal",
        on_behalf_of="users/lin",
        action="knowledge.Ask",
        decision=admin_pb2.AuditEvent.ALLOWED,
    )
    entry = identity_service_pb2.AppendAuditEventsRequest.Entry(tenant="acme", event=late)
    await house.identity().AppendAuditEvents(
        identity_service_pb2.AppendAuditEventsRequest(entries=[entry])
    )
    (event,) = await events(house, action="knowledge.Ask")
    assert ERASED.fullmatch(event.on_behalf_of)
    assert "lin" not in {row.user_id for row in await house.tamper(select(tables.audit_pseudonyms))}
    assert await intact(house)


async def test_who_gets_the_name_of_an_erased_user_is_somebody_else(house: House) -> None:
    await make_user(house, "lin")
    await house.admin().GetUser(pb.GetUserRequest(name="users/lin"))
    name = await erase(house, "lin")
    await make_user(house, "lin")
    await house.admin().GetUser(pb.GetUserRequest(name="users/lin"))
    found = await events(house, action="admin.GetUser")
    assert [event.resource for event in found] == ["users/lin", name]


async def test_somebody_deleted_before_can_still_be_erased(house: House) -> None:
    await make_user(house, "lin")
    await house.admin().DeleteUser(pb.DeleteUserRequest(name="users/lin"))
    name = await erase(house, "lin")
    assert {event.resource for event in await events(house)} >= {name}
    assert "'lin'" not in await everything(house)
    assert [each.user for each in (await erased_users(house)).erased_users] == ["users/lin"]


@pytest.mark.parametrize("name", ["users/absent", "users/not a name"])
async def test_an_unknown_user_is_not_erased(house: House, name: str) -> None:
    failure = await refused(
        house.auditing().EraseUser(audit_service_pb2.EraseUserRequest(name=name))
    )
    assert (failure.code, failure.reason) == (grpc.StatusCode.NOT_FOUND, "USER_NOT_FOUND")
    assert failure.metadata == {"user": name}
    assert not (await erased_users(house)).erased_users


async def test_nobody_erases_themselves(house: House) -> None:
    await make_user(house, "kim", "admin")
    failure = await refused(erase(house, "admin"))
    assert (failure.code, failure.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "ERASE_SELF")
    assert failure.metadata == {"user": "users/admin"}
    assert (await house.admin().GetUser(pb.GetUserRequest(name="users/admin"))).name


async def test_the_last_administrator_is_not_erased_and_nothing_is_half_done(
    house: House,
) -> None:
    role = admin_pb2.Role(grants=[admin_pb2.Grant(resource="admin.users", action="manage")])
    await house.admin().CreateRole(pb.CreateRoleRequest(role_id="people", role=role))
    await make_user(house, "kim", "people")
    before = await everything(house)
    failure = await refused(erase(house, "admin", await house.key_of("kim")))
    assert (failure.code, failure.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "LAST_ADMIN")
    assert failure.metadata == {"tenant": "acme"}
    assert not (await erased_users(house)).erased_users
    assert "'admin'" in before
    assert (await house.admin().GetUser(pb.GetUserRequest(name="users/admin"))).name
    shown = {event.actor for event in await events(house)}
    assert shown == {"services/suite", "users/admin", "users/kim"}


async def test_who_may_not_manage_users_may_not_erase_them(house: House) -> None:
    await make_user(house, "lin")
    failure = await refused(erase(house, "admin", await house.key_of("lin")))
    assert (failure.code, failure.reason) == (
        grpc.StatusCode.PERMISSION_DENIED,
        "PERMISSION_DENIED",
    )


async def test_tenants_have_pseudonyms_of_their_own(house: House) -> None:
    globex = await house.second_tenant()
    theirs = house.admin(globex)
    await make_user(house, "lin")
    await theirs.CreateUser(pb.CreateUserRequest(user_id="lin", user={"email": ""}))
    rows = await house.tamper(
        select(tables.audit_pseudonyms).where(tables.audit_pseudonyms.c.user_id == "lin")
    )
    assert len({row.pseudonym for row in rows}) == 2
    await erase(house, "lin")
    page = await theirs.ListAuditEvents(pb.ListAuditEventsRequest())
    assert "users/lin" in {event.resource for event in page.events}


def test_a_pseudonym_fits_its_user_alone() -> None:
    salt = b"s" * 32
    pseudonym = pseudonym_for("acme", "lin", salt)
    assert re.fullmatch("[a-z2-7]{26}", pseudonym)
    assert Pseudonym("lin", pseudonym, salt).fits("acme")
    assert not Pseudonym("kim", pseudonym, salt).fits("acme")
    assert not Pseudonym("lin", pseudonym, salt).fits("globex")
    assert not Pseudonym("lin", pseudonym, bytes(32)).fits("acme")
    # Logs that exist must resolve under every later version.
    assert pseudonym == "tcsuva3fqyst2bzh6fl4j7lt54"


# Logs from before there were pseudonyms

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def old_log() -> list[AuditLine]:
    made = [
        AuditEvent(NOW + timedelta(seconds=n), "users/portal", f"users/u{n % 3}", "knowledge.Ask",
                   f"collections/c{n}", Decision.ALLOWED)
        for n in range(7)
    ]  # fmt: skip
    made.append(
        AuditEvent(NOW, "users/u1", "", "admin.GetUser", "users/u2", Decision.DENIED, "X", 3)
    )
    return extend("acme", AuditHead(), made)


def as_rows(lines: list[AuditLine]) -> list[Executable]:
    return [
        insert(tables.audit_lines).values(
            tenant_id="acme", sequence=line.sequence, time=line.event.time, actor=line.event.actor,
            on_behalf_of=line.event.on_behalf_of, action=line.event.action,
            resource=line.event.resource, decision=line.event.decision.value,
            detail=line.event.detail, policy_version=line.event.policy_version,
            model=line.event.model, tokens=line.event.tokens, hash=line.hash,
        )
        for line in lines
    ]  # fmt: skip


async def migrated(database_url: str, *tampering: Executable) -> tuple[int, Any, Any]:
    """Bring a log of the time before pseudonyms to now.

    Returns:
        Where it breaks (0: nowhere), its lines as sealed, and as shown.
    """
    lines = old_log()
    await migrate_to(
        "0002",
        database_url,
        insert(tables.tenants).values(
            id="acme", display_name="", create_time=NOW, max_upload_bytes=0, operator=True,
            policy_version=1,
        ),
        insert(tables.audit_heads).values(
            tenant_id="acme", sequence=lines[-1].sequence, hash=lines[-1].hash
        ),
        *as_rows(lines),
        *tampering,
    )  # fmt: skip
    database = Database(database_url, migrations=MIGRATIONS, name="admin")
    await database.start()
    async with SqlStorage(database).read() as uow:
        sealed = await uow.audit.read_after("acme", 0, 100)
        shown = [await uow.audit.get("acme", line.sequence) for line in sealed]
        head = await uow.audit.head("acme")
    await database.close()
    assert head is not None
    check = LogCheck("acme")
    check.follow(sealed)
    return check.finish(head).first_broken_sequence, sealed, shown


async def test_a_log_from_before_pseudonyms_is_whole_and_reads_the_same(
    database_url: str,
) -> None:
    old = old_log()
    broken, sealed, shown = await migrated(database_url)
    assert broken == 0
    assert [line.event for line in shown[:-1]] == [line.event for line in old]
    stored = repr(sealed)
    assert "users/u" not in stored
    assert "users/portal" not in stored
    last = sealed[-1].event
    assert (last.action, last.actor) == ("admin.SealAuditLogAnew", "services/admin")
    assert old[-1].hash.hex() in last.detail


@pytest.mark.parametrize(
    ("tampering", "first_broken"),
    [
        (update(tables.audit_lines).where(tables.audit_lines.c.sequence == 3).values(tokens=9), 3),
        (update(tables.audit_lines).where(tables.audit_lines.c.sequence == 8).values(tokens=9), 8),
        (delete(tables.audit_lines).where(tables.audit_lines.c.sequence == 4), 4),
        (delete(tables.audit_lines).where(tables.audit_lines.c.sequence > 5), 6),
        (update(tables.audit_heads).values(hash=bytes(32)), 8),
    ],
)
async def test_sealing_anew_does_not_mend_a_log_that_was_tampered_with(
    database_url: str, tampering: Executable, first_broken: int
) -> None:
    broken, _, _ = await migrated(database_url, tampering)
    assert broken == first_broken
