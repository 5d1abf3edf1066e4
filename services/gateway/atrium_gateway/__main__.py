"""Runs the gateway alone: ``python -m atrium_gateway``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import uvloop
from starlette.applications import Starlette
from starlette.routing import Mount

from atrium_gateway.bootstrap import build
from atrium_gateway.settings import GatewaySettings
from atrium_shared.audit import RemoteAuditSink
from atrium_shared.http_server import AddressTaken, HttpServer, listen
from atrium_shared.identity import IdentityClient, ServiceIdentity
from atrium_shared.jobs import Jobs
from atrium_shared.rpc.channel import open_channel
from atrium_shared.rpc.server import RpcServer, ServerMisconfigured, serve_until_signal
from atrium_shared.settings import (
    SettingsInvalid,
    load_settings,
    secret_bytes,
    take_no_arguments,
)
from atrium_shared.telemetry import configure_logging, configure_tracing


async def serve(settings: GatewaySettings) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        SettingsInvalid: A setting is missing or wrong.
        ServerMisconfigured: The address cannot be had.
        AddressTaken: The address of the HTTP side cannot be had.
    """
    if settings.secret is None:
        raise SettingsInvalid(
            "  ATRIUM_SECRET: needed and not set; take the one of the other services, or make one "
            "with `openssl rand -hex 32`"
        )
    service = ServiceIdentity("gateway", secret_bytes(settings.secret))
    async with open_channel(settings.admin_target, service=service) as channel:
        identity = IdentityClient(channel, service, downstream=("admin",))
        audit = RemoteAuditSink(channel, service)
        # Roll-outs of adapters alone are jobs here: they can begin a second later.
        jobs = Jobs(
            settings.jobs_url, executor_id=settings.replica, name="gateway", poll_seconds=1.0
        )
        app = build(settings, audit=audit, jobs=jobs)
        server = RpcServer(
            [app],
            address=settings.address,
            authenticator=identity,
            audit=audit,
            service=service,
        )
        http = None
        if settings.http_address:
            mounted = [Mount(path, app) for path, app in server.http_apps().items()]
            listener = listen(settings.http_address, "GATEWAY_HTTP_ADDRESS")
            http = HttpServer(Starlette(routes=mounted), listener)
        await identity.start()
        await jobs.start()
        try:
            await serve_until_signal(server, http)
        finally:
            await jobs.close()
            await audit.close()
            await identity.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the gateway; return the exit code."""
    take_no_arguments("atrium_gateway", "Runs the gateway alone, until SIGTERM.", arguments)
    try:
        settings = load_settings(GatewaySettings)
        configure_logging(json=settings.log_json)
        configure_tracing("gateway", settings.otlp_endpoint)
        uvloop.run(serve(settings))
    except (SettingsInvalid, ServerMisconfigured, AddressTaken) as error:
        sys.stderr.write(f"The gateway cannot start.\n{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
