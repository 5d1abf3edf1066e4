"""Runs the meeting service alone: ``python -m atrium_meeting``."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack

from atrium_meeting.app.analyse_meeting import EMBED_TASK
from atrium_meeting.bootstrap import build, open_engines
from atrium_meeting.settings import MeetingSettings
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


async def serve(settings: MeetingSettings) -> None:
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
    service = ServiceIdentity("meeting", secret_bytes(settings.secret))
    async with AsyncExitStack() as stack:
        admin = await stack.enter_async_context(open_channel(settings.admin_target))
        gateway = await stack.enter_async_context(
            open_channel(settings.gateway_target, idempotent=IDEMPOTENT_METHODS)
        )
        identity = IdentityClient(admin, service, downstream=("admin", "gateway"))
        await identity.start()
        stack.push_async_callback(identity.close)
        audit = RemoteAuditSink(admin, service)
        stack.push_async_callback(audit.close)
        jobs = Jobs(settings.jobs_url, executor_id=settings.replica, name="meeting")
        app = build(
            settings,
            audit=audit,
            jobs=jobs,
            delegation=identity,
            engines=open_engines(settings),
            embedder=GatewayEmbedder(gateway, EMBED_TASK),
            generator=GatewayGenerator(gateway),
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
    """Run the meeting service; return the exit code."""
    take_no_arguments("atrium_meeting", "Runs the meeting service alone, until SIGTERM.", arguments)
    try:
        settings = load_settings(MeetingSettings)
        configure_logging(json=settings.log_json)
        configure_tracing("meeting", settings.otlp_endpoint)
        asyncio.run(serve(settings))
    except (SettingsInvalid, ServerMisconfigured) as error:
        sys.stderr.write(f"The meeting service cannot start.\n{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
