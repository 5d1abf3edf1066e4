"""Two real vLLM servers of a tiny model behind a real gateway: ``make test-vllm``.

The model's weights are noise, so what it says means nothing; that it says the same each time, and
something else with each adapter, is what these tests rest on.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from google.protobuf import struct_pb2
from google.protobuf.json_format import ParseDict

from atrium.gateway.v1 import gateway_pb2
from atrium_gateway.domain.adapters import ADAPTER_FILES
from atrium_gateway.testing import refusal, serve_gateway
from atrium_gateway.testing_vllm import AdapterDesk
from atrium_shared.testing import eventually
from tests.figures import ROOT
from tests.processes import free_port

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(1800)]

_PROGRAMS = ROOT / ".venv-vllm" / "bin"
_SECONDS_TO_START = 600.0
_ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # two servers on one machine must share its cores
    "OMP_NUM_THREADS": "1",
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
}


@dataclass
class Server:
    """One vLLM process.

    Attributes:
        model: Folder of the model.
        log: Where it writes what it has to say.
    """

    model: Path
    log: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self) -> None:
        """Start it and wait until it answers."""
        arguments = [
            *("serve", str(self.model), "--served-model-name", "tiny-qwen2"),
            *("--host", "127.0.0.1", "--port", str(self.port)),
            *("--dtype", "float32", "--max-model-len", "1024", "--enforce-eager"),
            *("--enable-lora", "--max-loras", "2", "--max-cpu-loras", "8"),
            *("--max-lora-rank", "16"),
            # Noise would fill a JSON reply with blanks for ever.
            "--structured-outputs-config",
            '{"backend": "xgrammar", "disable_any_whitespace": true}',
        ]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [_PROGRAMS / "vllm", *arguments],
                env=os.environ | _ENVIRONMENT,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until = time.monotonic() + _SECONDS_TO_START
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > until:
                raise AssertionError(f"vLLM did not start:\n{self.log.read_text()[-4000:]}")
            time.sleep(0.5)

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/models", timeout=2, trust_env=False).is_success
        except httpx.HTTPError:
            return False

    def adapters(self) -> list[str]:
        """Names of the adapters that it holds."""
        listed = httpx.get(f"{self.url}/models", timeout=5, trust_env=False).json()["data"]
        return [entry["id"] for entry in listed if entry["id"] != "tiny-qwen2"]

    def kill(self) -> None:
        """Kill it and its engine without a warning."""
        if self.process is None:
            return
        with suppress(ProcessLookupError):  # it died by itself
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@dataclass
class Hall(AdapterDesk):
    """The gateway before two servers."""

    servers: list[Server]
    made: Path

    def files(self, name: str) -> dict[str, bytes]:
        """Return the files of an adapter that peft saved."""
        return {file: (self.made / "adapters" / name / file).read_bytes() for file in ADAPTER_FILES}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hall(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Hall]:
    folder = tmp_path_factory.mktemp("vllm")
    make_tiny = [_PROGRAMS / "python", Path(__file__).parent / "make_tiny.py", folder]
    await asyncio.to_thread(subprocess.run, make_tiny, check=True)
    servers = [Server(folder / "tiny-qwen2", folder / f"{place}.log") for place in range(2)]
    entry = {
        "replicas": [server.url for server in servers],
        "location": "resident",
        "models": [
            {
                "name": "models/tiny",
                "upstream_model": "tiny-qwen2",
                "context_tokens": 1024,
                "adapters": {"dir": str(folder / "shared"), "hidden_size": 128},
            }
        ],
    }
    (folder / "servers.yaml").write_text(json.dumps({"servers": [entry]}))
    with ExitStack() as stack:
        for server in servers:  # one after the other: each takes a core for half a minute
            stack.callback(server.kill)
            await asyncio.to_thread(server.start)
        async with serve_gateway(
            folder,
            routes={"default": [{"model": "models/tiny", "max_tokens": 24}]},
            with_scripted=False,
            GATEWAY_SERVERS_FILE=str(folder / "servers.yaml"),
            GATEWAY_ADAPTER_CHECK_SECONDS="0.5",
        ) as gateway:
            yield Hall(gateway, servers, folder, patience_seconds=120)


def request(**more: object) -> gateway_pb2.GenerateRequest:
    message = gateway_pb2.Message(role=gateway_pb2.Message.USER, content="hello")
    fields = {"task": "contract.clause", "messages": [message], **more}
    return gateway_pb2.GenerateRequest(**fields)  # type: ignore[arg-type]


async def test_a_stream_comes_in_parts_and_is_counted(hall: Hall) -> None:
    events = [event async for event in hall.gateway.models.StreamGenerate(request(task="other"))]
    parts = [event.delta for event in events[:-1]]
    final = events[-1].done
    assert len(parts) > 5
    assert final.usage.completion_tokens == 24
    assert 10 < final.usage.prompt_tokens < 60
    assert final.text == "".join(parts) == await hall.ask("other")


async def test_a_reply_follows_its_schema(hall: Hall) -> None:
    schema = {
        "type": "object",
        "properties": {"risk": {"enum": ["low", "high"]}, "signed": {"type": "boolean"}},
        "required": ["risk", "signed"],
        "additionalProperties": False,
    }
    asked = request(task="other", max_tokens=60)
    asked.response_schema.CopyFrom(ParseDict(schema, struct_pb2.Struct()))
    reply = json.loads((await hall.gateway.models.Generate(asked)).text)
    assert reply["risk"] in ("low", "high")
    assert isinstance(reply["signed"], bool)


async def test_a_prompt_beyond_the_context_is_told(hall: Hall) -> None:
    error = await refusal(hall.gateway.models.Generate(request(task="other", max_tokens=4000)))
    assert error.reason == "PROMPT_TOO_LONG"


async def test_two_tenants_adapters_reply_each_in_its_own_way(hall: Hall) -> None:
    base = await hall.ask("other")
    for who, name in (("acme", "acme-1"), ("globex", "globex-1")):
        adapter = await hall.deployed(hall.files(name), who)
        assert (adapter.serving_version, adapter.replicas) == (1, 2)
        assert adapter.versions[0].replicas_ready == 2
        await hall.route("models/adapters/clause-risk", who=who)
    ours, theirs = await hall.ask(), await hall.ask(who="globex")
    assert len({base, ours, theirs}) == 3
    for server in hall.servers:
        assert len(server.adapters()) == 2
    for _ in range(4):  # on whichever server
        assert await hall.ask() == ours


async def test_versions_roll_forward_and_back(hall: Hall) -> None:
    first = await hall.ask()
    await hall.deployed(hall.files("acme-2"))
    second = await hall.ask()
    assert second != first
    assert (await hall.served(await hall.rollback())).serving_version == 1
    assert await hall.ask() == first


async def test_calls_go_on_when_a_server_dies_and_it_gets_its_adapters_again(hall: Hall) -> None:
    ours, theirs = await hall.ask(), await hall.ask(who="globex")
    killed = hall.servers[0]
    asked = [asyncio.create_task(hall.ask()) for _ in range(4)]
    killed.kill()
    assert {await task for task in asked} == {ours}
    for _ in range(4):
        assert await hall.ask() == ours
        assert await hall.ask(who="globex") == theirs
    await asyncio.to_thread(killed.start)
    # The two that answer; the version that was rolled back is loaded when it is asked for.
    await eventually(lambda: len(killed.adapters()) == 2, seconds=60)
    hall.servers[1].kill()
    assert await hall.ask() == ours
    assert await hall.ask(who="globex") == theirs
