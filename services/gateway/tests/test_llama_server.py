from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from atrium_gateway.adapters.llama_server import LlamaServer, WatchTimes
from atrium_gateway.domain.errors import ModelUnavailable
from atrium_gateway.domain.models import ModelState
from atrium_shared.testing import eventually

QUICK = WatchTimes(
    start=20, check=0.05, answer=0.5, first_pause=0.01, longest_pause=0.05, stable=60, stop=0.5
)

WORKER = """
import os, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from atrium_gateway.adapters.llama_worker import KEY_VARIABLE, announce, end_with_parent

end_with_parent()
how = open(sys.argv[1]).read()
key = os.environ[KEY_VARIABLE]
if how == "dies":
    print("no such tensor", file=sys.stderr, flush=True)
    sys.exit(3)
if how == "floods":
    os.write(2, b"x" * 3_000_000)
if how == "silent":
    time.sleep(60)

class Handler(BaseHTTPRequestHandler):
    def answer(self):
        if how == "hangs" and self.path == "/health":
            time.sleep(60)
        allowed = self.headers["authorization"] == "Bearer " + key
        self.send_response(200 if allowed else 401)
        self.end_headers()
    do_GET = do_POST = answer
    def log_message(self, *arguments):
        pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
announce(f"http://127.0.0.1:{server.server_port}", 1)
server.serve_forever()
"""


class Fake:
    """A fake worker whose behaviour the test chooses; it is read when the worker starts."""

    def __init__(self, folder: Path) -> None:
        self.behaviour = folder / "behaviour"
        self.model = folder / "model.gguf"
        self.model.write_bytes(b"GGUF")
        self.script = folder / "worker.py"
        self.script.write_text(WORKER)
        self.behave("well")

    def behave(self, how: str) -> None:
        self.behaviour.write_text(how)

    def server(self, times: WatchTimes = QUICK) -> LlamaServer:
        command = (sys.executable, str(self.script), str(self.behaviour))
        return LlamaServer("small", self.model, command=command, times=times)


@pytest.fixture
def fake(tmp_path: Path) -> Fake:
    return Fake(tmp_path)


@contextlib.asynccontextmanager
async def started(server: LlamaServer) -> AsyncIterator[LlamaServer]:
    await server.start()
    try:
        yield server
    finally:
        await server.close()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_worker_answers_with_its_key_only_and_ends_on_close(fake: Fake) -> None:
    async with started(fake.server()) as server:
        await server.ready()
        pid = server.process_id
        assert pid
        assert alive(pid)
        health = server.base_url.removesuffix("/v1") + "/health"
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(health)).status_code == 401
            key = {"authorization": f"Bearer {server.api_key}"}
            assert (await client.get(health, headers=key)).status_code == 200
    assert not alive(pid)
    assert server.state is ModelState.UNAVAILABLE
    with pytest.raises(ModelUnavailable, match="it was stopped"):
        _ = server.base_url


async def test_killed_worker_is_started_again(fake: Fake) -> None:
    async with started(fake.server()) as server:
        await server.ready()
        first = server.process_id
        assert first
        os.kill(first, signal.SIGKILL)
        await eventually(lambda: server.state is ModelState.READY and server.process_id != first)
        assert server.restarts == 1


async def test_hanging_worker_is_killed_and_started_again(fake: Fake) -> None:
    fake.behave("hangs")
    async with started(fake.server()) as server:
        await server.ready()
        first = server.process_id
        assert first
        fake.behave("well")
        await eventually(lambda: server.restarts == 1 and server.state is ModelState.READY)
        assert not alive(first)


async def test_worker_that_cannot_start_says_why_and_is_tried_again(fake: Fake) -> None:
    fake.behave("dies")
    patient = WatchTimes(start=20, first_pause=0.3, longest_pause=0.3, stop=0.5, check=0.05)
    async with started(fake.server(patient)) as server:
        with pytest.raises(ModelUnavailable, match=r"status 3 \(no such tensor\)") as caught:
            await server.ready()
        assert caught.value.reason == "MODEL_UNAVAILABLE"
        fake.behave("well")
        await eventually(lambda: server.state is ModelState.READY)


async def test_worker_that_says_nothing_is_given_up_after_its_time(fake: Fake) -> None:
    fake.behave("silent")
    impatient = WatchTimes(start=0.5, first_pause=0.3, longest_pause=0.3, stop=0.5)
    async with started(fake.server(impatient)) as server:
        with pytest.raises(ModelUnavailable, match=r"did not answer within 0\.5 s"):
            await server.ready()


async def test_endless_log_line_does_not_block_the_worker(fake: Fake) -> None:
    fake.behave("floods")
    async with started(fake.server()) as server:
        await server.ready()


async def test_missing_file_is_said_before_anything_is_started(fake: Fake) -> None:
    fake.model.unlink()
    server = fake.server()
    with pytest.raises(ModelUnavailable, match=r"model\.gguf does not exist"):
        await server.start()
    assert server.process_id is None


async def test_close_while_loading_leaves_no_process(fake: Fake) -> None:
    fake.behave("silent")
    async with started(fake.server()) as server:
        await eventually(lambda: server.process_id is not None)
        pid = server.process_id
        assert pid
    assert not alive(pid)


async def test_worker_dies_with_a_parent_that_was_killed(fake: Fake) -> None:
    parent = f"""
import asyncio, sys
from pathlib import Path
from atrium_gateway.adapters.llama_server import LlamaServer

async def main():
    command = (sys.executable, {str(fake.script)!r}, {str(fake.behaviour)!r})
    server = LlamaServer("small", Path({str(fake.model)!r}), command=command)
    await server.start()
    await server.ready()
    print(server.process_id, file=sys.stderr, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", parent, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr
    line = await process.stderr.readline()
    process.kill()
    await process.wait()
    await eventually(lambda: not alive(int(line)))


@pytest.fixture(scope="module")
def qwen() -> Path:
    from atrium_models import ModelStore

    return ModelStore.from_environment().path("qwen2.5-0.5b") / "model.gguf"


@contextlib.asynccontextmanager
async def serving(model: Path) -> AsyncIterator[tuple[LlamaServer, httpx.AsyncClient]]:
    async with started(LlamaServer("qwen2.5-0.5b", model)) as server:
        await server.ready()
        async with httpx.AsyncClient(
            base_url=server.base_url,
            headers={"authorization": f"Bearer {server.api_key}"},
            timeout=110,
            trust_env=False,
        ) as client:
            yield server, client


def ask(content: str, **more: object) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": content}], "temperature": 0, **more}


@pytest.mark.models
async def test_real_model_follows_a_schema_streams_and_reuses_a_prompt(qwen: Path) -> None:
    async with serving(qwen) as (_, client):
        schema = {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city", "days"],
            "additionalProperties": False,
        }
        wanted = {"type": "json_schema", "json_schema": {"name": "trip", "schema": schema}}
        body = ask("I stay three days in Paris.", max_tokens=60, response_format=wanted)
        reply = (await client.post("/chat/completions", json=body)).json()
        trip = json.loads(reply["choices"][0]["message"]["content"])
        assert set(trip) == {"city", "days"}
        assert isinstance(trip["days"], int)

        body = ask("Count: one, two,", max_tokens=12, stream=True)
        events = []
        async with client.stream("POST", "/chat/completions", json=body) as stream:
            async for line in stream.aiter_lines():
                if line:
                    events.append(line)
        assert events[-1] == "data: [DONE]"
        assert len(events) > 5

        long = "The office closes at six. " * 60
        first = (
            await client.post("/chat/completions", json=ask(long + "Why?", max_tokens=4))
        ).json()
        second = (
            await client.post("/chat/completions", json=ask(long + "When?", max_tokens=4))
        ).json()
        assert first["usage"]["prompt_tokens"] > 300
        cached = second["usage"]["prompt_tokens_details"]["cached_tokens"]
        assert cached > 0.9 * second["usage"]["prompt_tokens"]


@pytest.mark.models
async def test_real_model_stops_writing_when_the_caller_leaves(qwen: Path) -> None:
    async with serving(qwen) as (_, client):
        endless = ask("Write a very long story.", max_tokens=4000, stream=True)
        async with client.stream("POST", "/chat/completions", json=endless) as stream:
            async for line in stream.aiter_lines():
                if line:
                    break
        # The only slot is free again: a short request need not wait for 4,000 tokens.
        began = time.monotonic()
        reply = await client.post("/chat/completions", json=ask("Hi", max_tokens=1))
        assert reply.status_code == 200
        assert time.monotonic() - began < 60


@pytest.mark.models
async def test_damaged_model_file_is_reported(tmp_path: Path, qwen: Path) -> None:
    broken = tmp_path / "model.gguf"
    with qwen.open("rb") as whole:
        broken.write_bytes(whole.read(1 << 20))
    async with started(LlamaServer("broken", broken)) as server:
        with pytest.raises(ModelUnavailable, match="its process ended with status"):
            await server.ready(60)
