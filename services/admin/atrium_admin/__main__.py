"""Runs the admin service alone, or makes a key where the database lies.

``python -m atrium_admin`` serves; with ``issue-key TENANT USER`` it prints a new key.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.routing import Mount

from atrium_admin.bootstrap import build, issue_key
from atrium_admin.settings import AdminSettings
from atrium_shared.errors import AtriumError
from atrium_shared.http_server import AddressTaken, HttpServer, listen
from atrium_shared.identity import ServiceIdentity
from atrium_shared.rpc.server import RpcServer, ServerMisconfigured, serve_until_signal
from atrium_shared.settings import SettingsInvalid, load_settings, secret_bytes
from atrium_shared.telemetry import configure_logging, configure_tracing


async def serve(settings: AdminSettings) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        ServerMisconfigured: The address cannot be had.
        AddressTaken: The address of the HTTP side cannot be had.
        AtriumError: The database or its signing key cannot be opened.
    """
    admin = build(settings)
    server = RpcServer(
        [admin.service_app],
        address=settings.address,
        authenticator=admin.authenticator,
        audit=admin.audit,
        service=ServiceIdentity("admin", secret_bytes(settings.secret)),
    )
    http = None
    if settings.http_address:
        listener = listen(settings.http_address, "ADMIN_HTTP_ADDRESS")
        http = HttpServer(Starlette(routes=[Mount("/scim", admin.scim)]), listener)
    await serve_until_signal(server, http)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m atrium_admin", description=__doc__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    issue = commands.add_parser("issue-key", help="make a key when all keys of a tenant are lost")
    issue.add_argument("tenant", help="id of the tenant, such as acme")
    issue.add_argument("user", help="id of the user, such as admin")
    options = parser.parse_args(arguments)
    try:
        settings = load_settings(AdminSettings)
        configure_logging(json=settings.log_json)
        configure_tracing("admin", settings.otlp_endpoint)
        if options.command == "issue-key":
            name, credential = asyncio.run(issue_key(settings, options.tenant, options.user))
            sys.stderr.write(
                f"Made {name} for users/{options.user} of {options.tenant}. It is shown this "
                "once:\n"
            )
            sys.stdout.write(f"{credential}\n")
        else:
            asyncio.run(serve(settings))
    except (SettingsInvalid, ServerMisconfigured, AddressTaken, AtriumError) as error:
        sys.stderr.write(f"The admin service cannot do this.\n{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
