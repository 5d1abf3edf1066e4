"""Runs knowledge alone: ``python -m atrium_knowledge``."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack

from atrium_knowledge.adapters.admin_client import IDEMPOTENT_ADMIN_METHODS, AdminReaderDirectory
from atrium_knowledge.adapters.admin_users import AdminErasedUsers, AdminRoleHolders
from atrium_knowledge.adapters.gateway_reader import GatewayReader
from atrium_knowledge.app.encode import EMBED_TASK
from atrium_knowledge.bootstrap import build
from atrium_knowledge.settings import KnowledgeSettings
from atrium_shared.audit import RemoteAuditSink
from atrium_shared.identity import IdentityClient, ServiceIdentity
from atrium_shared.jobs import Jobs
from atrium_shared.rpc.channel import open_channel
from atrium_shared.rpc.models import IDEMPOTENT_METHODS, GatewayEmbedder, GatewayGenerator
from atrium_shared.rpc.server import RpcServer, ServerMisconfigured, serve_until_signal
from atrium_shared.settings import (
    SettingsInvalid,
    load_settings,
    secret_bytes,
    take_no_arguments,
)
from atrium_shared.telemetry import configure_logging, configure_tracing


async def serve(settings: KnowledgeSettings) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        SettingsInvalid: A setting is missing or wrong.
        ServerMisconfigured: The address cannot be had.
    """
    if settings.secret is None:
        raise SettingsInvalid(
            "  ATRIUM_SECRET: needed and not set; take the one of the other services, or make one "
            "with `openssl rand -hex 32`"
        )
    service = ServiceIdentity("knowledge", secret_bytes(settings.secret))
    async with AsyncExitStack() as stack:
        admin = await stack.enter_async_context(
            open_channel(settings.admin_target, idempotent=IDEMPOTENT_ADMIN_METHODS)
        )
        gateway = await stack.enter_async_context(
            open_channel(settings.gateway_target, idempotent=IDEMPOTENT_METHODS)
        )
        identity = IdentityClient(admin, service, downstream=("admin", "gateway"))
        await identity.start()
        stack.push_async_callback(identity.close)
        audit = RemoteAuditSink(admin, service)
        stack.push_async_callback(audit.close)
        jobs = Jobs(settings.jobs_url, executor_id=settings.replica, name="knowledge")
        app = build(
            settings,
            audit=audit,
            jobs=jobs,
            embedder=GatewayEmbedder(gateway, EMBED_TASK),
            generator=GatewayGenerator(gateway),
            reader=GatewayReader(gateway),
            delegation=identity,
            role_holders=AdminRoleHolders(admin),
            erased_users=AdminErasedUsers(admin, service),
            reader_directory=AdminReaderDirectory(admin),
        )
        await jobs.start()
        stack.push_async_callback(jobs.close)
        await serve_until_signal(
            RpcServer(
                [app],
                address=settings.address,
                authenticator=identity,
                audit=audit,
                service=service,
            )
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run knowledge; return the exit code."""
    take_no_arguments("atrium_knowledge", "Runs knowledge alone, until SIGTERM.", arguments)
    try:
        settings = load_settings(KnowledgeSettings)
        configure_logging(json=settings.log_json)
        configure_tracing("knowledge", settings.otlp_endpoint)
        asyncio.run(serve(settings))
    except (SettingsInvalid, ServerMisconfigured) as error:
        sys.stderr.write(f"Knowledge cannot start.\n{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
