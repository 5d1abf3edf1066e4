"""The gateway in a process of its own, for tests that kill it.

Everything is the real one but who calls: a token says it, as `tenant/key`. It prints `ready` when
it answers.

    python quota_process.py PORT DATABASE_URL UPSTREAM_URL ROUTES_FILE QUOTAS_JSON

`SABOTAGE=1` charges a dead process nothing of what it held, to see the tests fail.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import replace

from sqlalchemy import update

from atrium_gateway import bootstrap
from atrium_gateway.adapters.sql_quotas import SqlLedgers
from atrium_gateway.adapters.tables import quota_leases
from atrium_gateway.settings import GatewaySettings
from atrium_gateway.testing import PERMISSIONS
from atrium_shared.audit import MemoryAuditSink
from atrium_shared.principal import Principal, QuotaUnit, QuotaWindow, Residency, TenantQuota
from atrium_shared.rpc.server import RpcServer
from atrium_shared.settings import load_settings
from atrium_shared.telemetry import configure_logging
from atrium_shared.testing import FakeAuthenticator, make_principal


class AnyKey(FakeAuthenticator):
    """Believes every token."""

    def __init__(self, quotas: dict[str, list[tuple[str, int]]]) -> None:
        super().__init__({})
        self._quotas = {
            tenant: tuple(
                TenantQuota(QuotaUnit(unit), QuotaWindow.MONTH, limit) for unit, limit in each
            )
            for tenant, each in quotas.items()
        }

    async def authenticate(self, credential: str, on_behalf_of: str | None) -> Principal:
        tenant, _, key = credential.partition("/")
        return replace(
            make_principal(*PERMISSIONS, tenant=tenant),
            credential=f"apiKeys/{key}",
            residency=Residency.ANY,
            quotas=self._quotas.get(tenant, ()),
        )


class ForgivingLedgers(SqlLedgers):
    """Charges a dead process nothing of what it held."""

    async def bury(self, process: str, beat: int) -> bool:
        async with self._database.write() as session:
            await session.execute(
                update(quota_leases).where(quota_leases.c.process == process).values(mark=0)
            )
        return await super().bury(process, beat)


async def main(port: str, database: str, upstream: str, routes: str, quotas: str) -> None:
    """Serve until killed or told to stop."""
    if os.environ.get("SABOTAGE"):
        bootstrap.SqlLedgers = ForgivingLedgers  # type: ignore[misc]
    configure_logging(json=False)
    variables = {
        "GATEWAY_DATABASE_URL": database,
        "GATEWAY_MODELS": "none",
        "GATEWAY_ROUTES_FILE": routes,
        "GATEWAY_QUEUE_CAPACITY": "1000",
        "LLM_URL": upstream,
        "LLM_MODEL": "tiny",
    }
    audit = MemoryAuditSink()
    app = bootstrap.build(load_settings(GatewaySettings, variables), audit=audit)
    server = RpcServer(
        [app],
        address=f"127.0.0.1:{port}",
        authenticator=AnyKey(json.loads(quotas)),
        audit=audit,
    )
    await server.start()
    print("ready", flush=True)
    # Whoever started this process ends it by closing its standard input.
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(1.0)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
