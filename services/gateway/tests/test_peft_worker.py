"""The worker for transformers and peft, on a tiny random model, and peft as a yardstick.

See ``make test-peft``.

Needs a Python with torch, transformers and peft, named by ATRIUM_TRAIN_PYTHON.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper

from atrium.gateway.v1 import gateway_pb2
from atrium_gateway.adapters.encoder_adapter_files import read_adapter
from atrium_gateway.adapters.llama_server import WatchTimes
from atrium_gateway.adapters.onnx_lora import add_branches
from atrium_gateway.adapters.openai_server import RequestRefused
from atrium_gateway.adapters.peft_backend import PeftBackend
from atrium_gateway.domain.adapters import ADAPTER_FILES
from atrium_gateway.domain.errors import (
    ModelUnavailable,
    PromptTooLong,
    SchemaUnsupported,
    UpstreamFailed,
)
from atrium_gateway.domain.generation import (
    ChatMessage,
    Delta,
    Finished,
    FinishReason,
    Prompt,
    Role,
)
from atrium_gateway.domain.models import ModelState
from atrium_gateway.testing import serve_gateway
from atrium_gateway.testing_vllm import AdapterDesk
from tests.encoder_adapters import HIDDEN, TINY, in_floats, write_adapter, write_encoder

ROOT = Path(__file__).parents[3]
PYTHON = Path(os.environ.get("ATRIUM_TRAIN_PYTHON", sys.executable))
needs_torch = pytest.mark.skipif(
    "ATRIUM_TRAIN_PYTHON" not in os.environ,
    reason="needs torch, which `make test-peft` installs into an environment of its own",
)
pytestmark = pytest.mark.timeout(600)  # each test starts a process that loads torch, some five
TIMES = WatchTimes(start=100, check=0.5, first_pause=0.1, stable=0)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("peft")
    script = Path(__file__).with_name("make_tiny_generator.py")
    subprocess.run([PYTHON, script, folder], check=True, capture_output=True, timeout=100)
    return folder


@pytest.fixture(scope="module")
def path_of_package() -> AsyncIterator[None]:
    """The other Python finds this package by its path where it is not installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT / "services" / "gateway"))
        yield


@pytest.fixture
async def backend(made: Path, path_of_package: None) -> AsyncIterator[PeftBackend]:
    backend = PeftBackend(made / "tiny-llama", PYTHON, threads=1, times=TIMES)
    await backend.start()
    yield backend
    await backend.close()


def prompt(text: str = "red green", *, most: int = 12, **more: Any) -> Prompt:
    messages = (ChatMessage(Role.USER, text),)
    return Prompt(
        messages=messages, max_tokens=most, temperature=more.pop("temperature", 0), **more
    )


async def write(generator: Any, asked: Prompt) -> tuple[str, Finished]:
    parts, end = [], None
    async for event in generator.stream(asked):
        if isinstance(event, Delta):
            parts.append(event.text)
        else:
            end = event
    assert isinstance(end, Finished)
    return "".join(parts), end


async def served(backend: PeftBackend) -> set[str]:
    headers = {"authorization": f"Bearer {backend._process.api_key}"}
    async with httpx.AsyncClient(trust_env=False, headers=headers) as client:
        listed = (await client.get(f"{backend._process.base_url}/models")).json()["data"]
    return {each["id"] for each in listed}


async def load(backend: PeftBackend, name: str, folder: Path) -> None:
    body = {"lora_name": name, "lora_path": str(folder)}
    async with backend.server.post(name, "/load_lora_adapter", body):
        pass


async def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    backend = PeftBackend(tmp_path / "none", PYTHON, threads=1)
    await backend.start()
    status = await backend.status()
    assert status.state is ModelState.UNAVAILABLE
    assert "does not exist" in status.reason
    with pytest.raises(ModelUnavailable):
        await write(backend, prompt())
    await backend.close()


async def test_a_python_without_torch_is_told(tmp_path: Path) -> None:
    times = WatchTimes(start=5, first_pause=30, longest_pause=30)
    backend = PeftBackend(
        tmp_path, Path(shutil.which("false") or "/bin/false"), threads=1, times=times
    )
    await backend.start()
    with pytest.raises(ModelUnavailable, match="ended with status 1"):
        await write(backend, prompt())
    await backend.close()


@needs_torch
async def test_adapters_that_do_not_fit_are_refused_and_the_others_go_on(
    backend: PeftBackend, made: Path, tmp_path: Path
) -> None:
    base, _ = await write(backend, prompt())
    await load(backend, "a", made / "adapter-1")
    one = backend.generator("models/adapters/a", "a")
    good, _ = await write(one, prompt())

    def changed(name: str, **config: Any) -> Path:
        folder = shutil.copytree(made / "adapter-1", tmp_path / name)
        told = json.loads((folder / "adapter_config.json").read_text())
        (folder / "adapter_config.json").write_text(json.dumps({**told, **config}))
        return folder

    broken = changed("broken") / "adapter_model.safetensors"
    content = bytearray(broken.read_bytes())
    content[-4:] = struct.pack("<f", float("nan"))
    broken.write_bytes(content)
    short = changed("short") / "adapter_model.safetensors"
    short.write_bytes(short.read_bytes()[:50])
    for folder in (
        changed("rank", r=8), changed("large", r=65), changed("target", target_modules=["nothing"]),
        changed("more", target_modules=["q_proj", "v_proj", "k_proj"]),
        changed("fewer", target_modules=["q_proj"]), changed("kind", peft_type="IA3"),
        broken.parent, short.parent, tmp_path / "none",
    ):  # fmt: skip
        with pytest.raises(RequestRefused) as refused:
            await load(backend, "b", folder)
        assert refused.value.status == 400, folder.name
        assert refused.value.code == "adapter_invalid", folder.name
        assert (await write(one, prompt()))[0] == good
    assert await served(backend) == {"tiny-llama", "a"}
    assert (await write(backend, prompt()))[0] == base


@needs_torch
async def test_requests_that_cannot_be_served_are_refused(backend: PeftBackend) -> None:
    with pytest.raises(PromptTooLong):
        await write(backend, prompt("red " * 200))
    with pytest.raises(SchemaUnsupported):
        await write(backend, prompt(response_schema={"type": "object"}))
    with pytest.raises(UpstreamFailed, match="404"):
        await write(backend.generator("models/adapters/x", "x"), prompt())
    address = backend._process.base_url
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"{address}/models")).status_code == 401
        headers = {"authorization": f"Bearer {backend._process.api_key}"}
        for body in (b"{", b"[]", b"{}", b'{"messages": [{"role": "user"}]}'):
            reply = await client.post(f"{address}/chat/completions", content=body, headers=headers)
            assert reply.status_code == 400
            assert reply.json()["error"]["code"] == "invalid_request"


@needs_torch
async def test_each_adapter_writes_what_its_merged_model_writes(
    backend: PeftBackend, made: Path, path_of_package: None
) -> None:
    """In one slot, asked at the same time, with configurations that differ."""
    base, end = await write(backend, prompt())
    assert end.reason is FinishReason.LENGTH
    assert (end.usage.completion_tokens, end.usage.prompt_tokens) == (12, 4)
    expected = {"base": base}
    for number in (1, 2, 3):
        merged = PeftBackend(made / f"merged-{number}" / "merged", PYTHON, threads=1, times=TIMES)
        await merged.start()
        expected[str(number)] = (await write(merged, prompt()))[0]
        await merged.close()
        await load(backend, str(number), made / f"adapter-{number}")
    assert len(set(expected.values())) == 4
    generators = {
        name: backend if name == "base" else backend.generator(f"models/adapters/{name}", name)
        for name in expected
    }
    asked = list(expected) * 5
    replies = await asyncio.gather(*(write(generators[name], prompt()) for name in asked))
    for name, (text, _) in zip(asked, replies, strict=True):
        assert text == expected[name], name


@needs_torch
async def test_stop_seed_and_leaving_early(backend: PeftBackend) -> None:
    whole, _ = await write(backend, prompt(most=20))
    words = whole.split()
    stop = next(word for word in words[1:] if word != words[0])
    text, end = await write(backend, prompt(most=20, stop=(stop,)))
    assert end.reason is FinishReason.STOP
    assert text == whole[: whole.index(stop)]
    warm = {"temperature": 1.5, "most": 20}
    first, again = [await write(backend, prompt(seed=5, **warm)) for _ in range(2)]
    assert first == again
    assert (await write(backend, prompt(seed=6, **warm)))[0] != first[0]
    stream = backend.stream(prompt(most=100))
    await anext(stream)
    await stream.aclose()
    begun = time.monotonic()
    assert (await write(backend, prompt(most=1)))[1].usage.completion_tokens == 1
    assert time.monotonic() - begun < 30


@needs_torch
async def test_a_killed_worker_comes_back_without_its_adapters(
    backend: PeftBackend, made: Path
) -> None:
    base, _ = await write(backend, prompt())
    await load(backend, "a", made / "adapter-1")
    process = backend._process.process_id
    assert process is not None
    os.kill(process, signal.SIGKILL)
    while backend._process.process_id == process:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.05)
    assert (await write(backend, prompt()))[0] == base
    assert await served(backend) == {"tiny-llama"}


@needs_torch
async def test_the_gateway_serves_the_model_of_the_settings(
    made: Path, path_of_package: None, tmp_path: Path
) -> None:
    routes = {"default": [{"model": "models/tiny-llama"}]}
    settings = {"GATEWAY_PEFT_MODEL": str(made / "tiny-llama"), "GATEWAY_PEFT_PYTHON": str(PYTHON)}
    async with serve_gateway(tmp_path, routes=routes, with_scripted=False, **settings) as served:
        message = gateway_pb2.Message(role=gateway_pb2.Message.USER, content="red green")
        reply = await served.models.Generate(
            gateway_pb2.GenerateRequest(task="a.b", messages=[message], max_tokens=5)
        )
        assert reply.engine.backend == "peft"
        assert reply.engine.model == "tiny-llama"
        assert reply.usage.completion_tokens == 5


@needs_torch
async def test_a_deployed_adapter_writes_what_its_merged_model_writes(
    made: Path, path_of_package: None, tmp_path: Path
) -> None:
    settings = {"GATEWAY_PEFT_MODEL": str(made / "tiny-llama"), "GATEWAY_PEFT_PYTHON": str(PYTHON)}
    merged = PeftBackend(made / "merged-1" / "merged", PYTHON, threads=1, times=TIMES)
    await merged.start()
    expected, _ = await write(merged, prompt("hello"))
    await merged.close()
    files = {file: (made / "adapter-1" / file).read_bytes() for file in ADAPTER_FILES}
    routes = {"default": [{"model": "models/tiny-llama"}]}
    async with serve_gateway(tmp_path, routes=routes, with_scripted=False, **settings) as served:
        desk = AdapterDesk(served, patience_seconds=100)
        await desk.deployed(files, base_model="models/tiny-llama")
        await desk.route("models/adapters/clause-risk")
        assert await desk.ask(max_tokens=12) == expected
        assert await desk.ask("other.task", max_tokens=12) != expected


@needs_torch
def test_branches_of_an_encoder_compute_what_peft_computes(tmp_path: Path) -> None:
    """transformers and peft on the same float weights, beside the graph without rounding."""
    base = write_encoder(tmp_path / TINY)
    folder = write_adapter(tmp_path / "adapter", lora_alpha=12)
    model = onnx.load(base / "model.int8.onnx")
    told = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    floats = {
        name: values * told.get(f"{name.removesuffix('.w')}.scale", np.float32(1))
        for name, values in told.items()
        if name.endswith((".w", ".b"))
    }
    codes = np.stack([told["words"] & 15, told["words"] >> 4], axis=2).reshape(-1, HIDDEN)
    scales = np.repeat(told["words.scale"], 32, axis=1)
    floats |= {"words": (codes - np.float32(8)) * scales, "positions": told["positions"]}
    np.savez(tmp_path / "weights.npz", **{k: v.astype(np.float32) for k, v in floats.items()})
    lines = [[1, 3, 4], [2, 5, 6, 7, 8], list(range(12)) * 2]
    script = Path(__file__).with_name("peft_vectors.py")
    command = [PYTHON, script, tmp_path / "weights.npz", folder, json.dumps(lines)]
    done = subprocess.run(command, check=True, capture_output=True, timeout=100)
    expected = np.array(json.loads(done.stdout.splitlines()[-1]))
    attention = add_branches(model)
    weights = read_adapter(folder, base=TINY, attention=attention)
    session = ort.InferenceSession(in_floats(model, {}).SerializeToString())
    for ids, vector in zip(lines, expected, strict=True):
        fed = {"input_ids": np.array([ids], np.int64)}
        (made,) = session.run(None, {**fed, **weights.inputs})
        np.testing.assert_allclose(made[0], vector, atol=2e-5)
        assert session.run(None, fed)[0][0] @ vector < 0.999
