"""The admin service behind a real server on a free port, and how its refusals are read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from alembic import command
from alembic.config import Config
from google.rpc import error_details_pb2, status_pb2
from sqlalchemy import Connection, Executable, text
from sqlalchemy.ext.asyncio import create_async_engine

import atrium_shared.database
from atrium.admin.v1 import (
    admin_service_pb2,
    admin_service_pb2_grpc,
    audit_service_pb2_grpc,
    directory_service_pb2_grpc,
    identity_service_pb2_grpc,
)
from atrium_admin.bootstrap import MIGRATIONS, AdminApp
from atrium_admin.settings import AdminSettings
from atrium_shared.database import Database
from atrium_shared.testing import TEST_SECRET, FixedClock, RunningServer


@dataclass(frozen=True)
class Failure:
    """What a refused call answered."""

    code: grpc.StatusCode
    reason: str
    metadata: dict[str, str]
    field: str
    message: str


async def refused(call: Any) -> Failure:
    """Await a call that must fail, and return its error details."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return failure_of(caught.value)


def failure_of(error: grpc.aio.AioRpcError) -> Failure:
    trailing = dict(error.trailing_metadata() or ())
    details = status_pb2.Status.FromString(trailing["grpc-status-details-bin"]).details
    info, bad_request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in details:
        for message in (info, bad_request):
            if detail.Is(message.DESCRIPTOR):
                detail.Unpack(message)
    assert info.domain == "atrium"
    fields = [violation.field for violation in bad_request.field_violations]
    return Failure(
        error.code(),
        info.reason,
        dict(info.metadata),
        fields[0] if fields else "",
        error.details() or "",
    )


async def migrate_to(revision: str, database_url: str, *statements: Executable) -> None:
    """Bring an empty database to a revision of the past, and run SQL on it."""
    schema = {"server_settings": {"search_path": "admin"}}
    arguments = {} if database_url.startswith("sqlite") else {"connect_args": schema}
    engine = create_async_engine(database_url, **arguments)

    def upgrade(connection: Connection) -> None:
        config = Config()
        scripts = Path(atrium_shared.database.__file__).parent / "migrations"
        config.set_main_option("script_location", str(scripts))
        config.set_main_option("path_separator", "newline")
        config.set_main_option("version_locations", str(MIGRATIONS / "versions"))
        config.attributes["connection"] = connection
        config.attributes["version_table"] = "schema_version_admin"
        command.upgrade(config, revision)

    async with engine.begin() as connection:
        if arguments:
            await connection.execute(text("CREATE SCHEMA IF NOT EXISTS admin"))
        await connection.run_sync(upgrade)
        for statement in statements:
            await connection.execute(statement)
    await engine.dispose()


def settings_for(database_url: str, secret: bytes = TEST_SECRET) -> AdminSettings:
    return AdminSettings(
        ATRIUM_SECRET=secret.hex(), database_url=database_url, oidc_loopback_http=True
    )


@dataclass
class House:
    """A running admin service with one tenant, ``acme``, and its administrator."""

    app: AdminApp
    server: RunningServer
    clock: FixedClock
    database_url: str
    key: str

    def admin(self, key: str | None = None, user: str | None = None) -> Any:
        channel = self.server.open_channel(self.key if key is None else key, user)
        return admin_service_pb2_grpc.AdminServiceStub(channel)

    def directory(self, key: str | None = None) -> Any:
        channel = self.server.open_channel(self.key if key is None else key)
        return directory_service_pb2_grpc.DirectoryServiceStub(channel)

    def admin_as_service(self, name: str = "suite") -> Any:
        return admin_service_pb2_grpc.AdminServiceStub(self.server.open_service_channel(name))

    def auditing(self, key: str | None = None) -> Any:
        channel = self.server.open_channel(self.key if key is None else key, None)
        return audit_service_pb2_grpc.AuditServiceStub(channel)

    def identity(self, name: str = "knowledge") -> Any:
        return identity_service_pb2_grpc.IdentityServiceStub(self.server.open_service_channel(name))

    async def key_of(self, user: str, **options: Any) -> str:
        """Make a key for a user of acme and return its credential."""
        request = admin_service_pb2.CreateApiKeyRequest(user=f"users/{user}", **options)
        response = await self.admin().CreateApiKey(request)
        return str(response.secret)

    async def second_tenant(self) -> str:
        """Make the tenant globex and return its administrator's credential."""
        response = await self.admin().CreateTenant(
            admin_service_pb2.CreateTenantRequest(
                tenant_id="globex", tenant={"display_name": "Globex"}
            )
        )
        return str(response.secret)

    async def tamper(self, *statements: Executable) -> list[Any]:
        """Run SQL past the service, as who holds the database can. Returns the last rows."""
        database = Database(self.database_url, migrations=MIGRATIONS, name="admin")
        await database.start()
        rows: list[Any] = []
        async with database.write() as session:
            for statement in statements:
                result = await session.execute(statement)
                rows = list(result.all()) if result.returns_rows else []
        await database.close()
        return rows

    async def flush_key_uses(self) -> None:
        """Write the last uses of keys now instead of after half a minute."""
        await self.app.key_uses.flush()
