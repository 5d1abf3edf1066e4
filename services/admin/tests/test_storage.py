from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import delete, select, update

from atrium.admin.v1 import admin_pb2
from atrium.admin.v1 import admin_service_pb2 as pb
from atrium_admin.adapters import tables
from atrium_admin.adapters.sql_policies import SqlPolicies
from atrium_admin.adapters.sql_storage import SqlStorage
from atrium_admin.bootstrap import MIGRATIONS, build
from atrium_admin.domain.audit import AuditEvent, Decision
from atrium_admin.domain.roles import built_in_digest
from atrium_shared.database import Database, DatabaseUnavailable
from atrium_shared.testing import FixedClock

from .house import House, refused, settings_for


async def test_migrations_lead_to_the_tables_that_the_code_knows(database_url: str) -> None:
    db = Database(database_url, migrations=MIGRATIONS, name="admin")
    await db.start()
    async with db.engine.connect() as connection:
        differences = await connection.run_sync(
            lambda sync: compare_metadata(
                MigrationContext.configure(
                    sync,
                    opts={
                        "compare_type": True,
                        "include_object": lambda item, name, *_: (
                            not name.startswith("schema_version")
                        ),
                    },
                ),
                tables.metadata,
            )
        )
    await db.close()
    assert differences == []


async def test_a_database_that_cannot_be_opened_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    app = build(settings_for(f"sqlite+aiosqlite:///{tmp_path}/file/admin.db"))
    with pytest.raises(DatabaseUnavailable):
        await app.service_app.start()


async def test_everything_is_there_after_a_restart(house: House, clock: FixedClock) -> None:
    await house.admin().CreateUser(
        pb.CreateUserRequest(user_id="lin", user={"roles": ["roles/editor"]})
    )
    again = build(settings_for(house.database_url), clock=clock)
    await again.service_app.start()
    try:
        allow_set = await again.compile_policy("acme", "lin", 0)
        assert allow_set.permits("knowledge.documents", "write")
    finally:
        await again.service_app.stop()


async def test_a_release_with_other_built_in_roles_brings_them_to_every_tenant(
    house: House, clock: FixedClock
) -> None:
    await house.second_tenant()
    await house.admin().CreateRole(pb.CreateRoleRequest(role_id="mine", role=admin_pb2.Role()))
    before = await house.app.compile_policy("acme", "admin", 0)
    globex = "globex"
    await house.tamper(  # to what an older release left
        update(tables.installation).values(built_in_roles="older"),
        delete(tables.role_grants).where(tables.role_grants.c.role_id == "editor"),
        delete(tables.role_parents),
        delete(tables.roles).where(
            tables.roles.c.id == "editor", tables.roles.c.tenant_id == globex
        ),
        update(tables.roles)
        .where(tables.roles.c.id == "service", tables.roles.c.tenant_id == globex)
        .values(built_in=False),
    )
    newer = build(settings_for(house.database_url), clock=clock)
    await newer.service_app.start()
    await newer.service_app.stop()
    for tenant in ("acme", "globex"):
        allow_set = await house.app.compile_policy(tenant, "admin", before.policy_version + 1)
        assert allow_set.policy_version > before.policy_version
    roles = (await house.admin().ListRoles(pb.ListRolesRequest())).roles
    assert [role.name for role in roles if role.built_in] == [
        "roles/admin",
        "roles/editor",
        "roles/member",
        "roles/service",
    ]
    assert len(next(role for role in roles if role.name == "roles/editor").grants) == 3
    (row,) = await house.tamper(select(tables.installation.c.built_in_roles))
    assert row.built_in_roles == built_in_digest()
    parents = await house.tamper(select(tables.role_parents))
    assert {(row.tenant_id, row.role_id, row.parent_id) for row in parents} == {
        ("acme", "editor", "member"),
        ("acme", "service", "editor"),
        ("acme", "service", "member"),
        # A role that a tenant had made under a name of ours stays the tenant's.
        ("globex", "editor", "member"),
    }
    assert (await house.admin().VerifyAuditLog(pb.VerifyAuditLogRequest())).intact


async def test_a_change_that_fails_halfway_leaves_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> int:
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(SqlPolicies, "add_change", broken)
    call = house.admin().CreateUser(pb.CreateUserRequest(user_id="lin", user={"email": ""}))
    failure = await refused(call)
    assert failure.reason == "INTERNAL"
    assert "disk" not in failure.message
    monkeypatch.undo()
    absent = await refused(house.admin().GetUser(pb.GetUserRequest(name="users/lin")))
    assert absent.reason == "USER_NOT_FOUND"
    assert (await house.app.compile_policy("acme", "admin", 0)).policy_version == 1
    assert (await house.admin().VerifyAuditLog(pb.VerifyAuditLogRequest())).intact


async def test_a_change_and_the_writer_of_the_log_do_not_wait_for_each_other(house: House) -> None:
    database = Database(house.database_url, migrations=MIGRATIONS, name="admin")
    await database.start()
    storage = SqlStorage(database)
    event = AuditEvent(
        house.clock.now(), "users/admin", "", "admin.GetUser", "users/admin", Decision.ALLOWED
    )

    async def append() -> None:
        async with storage.write() as uow:
            await uow.audit.append("acme", [event])

    async with storage.write() as change:
        await change.tenants.lock("acme")
        writing = asyncio.create_task(append())
        # On PostgreSQL it gets as far as it can; on SQLite it waits for its turn to write.
        await asyncio.wait([writing], timeout=0.5)
        await change.audit.append("acme", [event])
    await writing
    await database.close()
    assert (await house.admin().VerifyAuditLog(pb.VerifyAuditLogRequest())).intact
