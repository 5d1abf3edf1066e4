from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from pathlib import Path

import pytest

from atrium.admin.v1 import admin_service_pb2, admin_service_pb2_grpc
from atrium_admin.__main__ import main
from atrium_shared.identity import ServiceIdentity
from atrium_shared.rpc.channel import open_channel
from atrium_shared.testing import TEST_SECRET


async def test_the_process_serves_alone_and_drains(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "ATRIUM_SECRET": TEST_SECRET.hex(),
        "ADMIN_ADDRESS": "127.0.0.1:0",
        "ADMIN_DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path}/state/admin.db",
        "ADMIN_LOG_JSON": "true",
    }

    async def start(*arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "atrium_admin", *arguments,
            env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip

    server = await start()
    try:
        assert server.stderr is not None
        port = None
        while port is None:
            line = (await asyncio.wait_for(server.stderr.readline(), 60)).decode()
            assert line, "the server ended before it served"
            found = re.search(r'"port": (\d+)', line)
            port = found and found[1]
        target = f"127.0.0.1:{port}"
        service = ServiceIdentity("suite", TEST_SECRET)
        async with open_channel(target, service=service) as channel:
            stub = admin_service_pb2_grpc.AdminServiceStub(channel)
            made = await stub.Bootstrap(
                admin_service_pb2.BootstrapRequest(tenant_id="acme"), wait_for_ready=True
            )
        # Beside the running server.
        issuing = await start("issue-key", "acme", "admin")
        out, err = await asyncio.wait_for(issuing.communicate(), 60)
        assert issuing.returncode == 0, err.decode()
        key = out.decode().strip()
        assert key.startswith("atr_")
        assert key != made.secret
        async with open_channel(target) as channel:
            stub = admin_service_pb2_grpc.AdminServiceStub(channel)
            keys = await stub.ListApiKeys(
                admin_service_pb2.ListApiKeysRequest(),
                metadata=[("authorization", f"Bearer {key}")],
            )
        assert len(keys.api_keys) == 2
    finally:
        server.send_signal(signal.SIGTERM)
        await asyncio.wait_for(server.communicate(), 60)
    assert server.returncode == 0


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "ATRIUM_SECRET: needed and not set"),
        ({"ATRIUM_SECRET": "ab" * 31}, "expected at least 32 bytes"),
        ({"ATRIUM_SECRET": "ab" * 32, "ADMIN_POLL_SECONDS": "9"}, "ADMIN_POLL_SECONDS"),
    ],
)
def test_a_bad_setting_stops_the_start_and_is_named(
    environment: dict[str, str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in [name for name in os.environ if name.startswith(("ADMIN_", "ATRIUM_"))]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert main([]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert "ababab" not in err


def test_a_key_for_nobody_is_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ATRIUM_SECRET", TEST_SECRET.hex())
    monkeypatch.setenv("ADMIN_DATABASE_URL", f"sqlite+aiosqlite:///{tmp_path}/admin.db")
    assert main(["issue-key", "acme", "admin"]) == 2
    captured = capsys.readouterr()
    assert "Tenant 'tenants/acme' does not exist." in captured.err
    assert captured.out == ""
