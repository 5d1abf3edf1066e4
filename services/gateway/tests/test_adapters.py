"""Adapters of tenants: taken in, rolled out to every server, called, rolled back, removed."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.longrunning import operations_pb2, operations_pb2_grpc
from safetensors.numpy import save

from atrium.gateway.v1 import (
    adapter_service_pb2,
    gateway_pb2,
    gateway_service_pb2,
)
from atrium.gateway.v1.gateway_service_pb2_grpc import ModelCatalogStub
from atrium_gateway.domain.adapters import CONFIG_FILE, WEIGHTS_FILE, served_name
from atrium_gateway.testing import failure, refusal, serve_gateway
from atrium_gateway.testing_vllm import (
    AdapterDesk,
    FakeVllm,
    adapter_files,
    deploy_requests,
    fake_vllms,
    fingerprint,
)
from atrium_shared.rpc.channel import RemoteError
from atrium_shared.testing import eventually
from atrium_shared.testing_databases import ServiceDatabases

away = ServiceDatabases("gateway", "").away

Adapter = adapter_service_pb2.Adapter


@dataclass
class House(AdapterDesk):
    """A gateway before two vLLM servers of one base model."""

    servers: Sequence[FakeVllm]
    folder: Path

    def files_stored(self) -> list[str]:
        """Names of the files in the file store."""
        root = self.folder / "blobs"
        # Folders may go while it looks.
        return sorted(f"{folder}/{file}" for folder, _, files in os.walk(root) for file in files)


@asynccontextmanager
async def house(
    folder: Path, servers: Sequence[FakeVllm], *, per_replica: int = 8, **variables: str
) -> AsyncIterator[House]:
    for server in servers:
        server.models = ["tiny"]
    adapters = {"dir": str(folder / "adapters"), "per_replica": per_replica, "hidden_size": 16}
    entry = {
        "replicas": [server.url for server in servers],
        "location": "resident",
        "models": [
            {"name": "models/tiny", "upstream_model": "tiny", "adapters": adapters},
            {
                "name": "models/small",
                "upstream_model": "other",
                "adapters": adapters | {"trained_as": ["org/small"]},
            },
        ],
    }
    (folder / "servers.yaml").write_text(json.dumps({"servers": [entry]}))
    settings = {
        "GATEWAY_SERVERS_FILE": str(folder / "servers.yaml"),
        "GATEWAY_BLOB_URL": (folder / "blobs").as_uri(),
        "GATEWAY_ADAPTER_CHECK_SECONDS": "0.02",
        "GATEWAY_ADAPTER_ROLLOUT_SECONDS": "60",
        "GATEWAY_MAX_LORA_RANK": "16",
        "GATEWAY_MAX_ADAPTER_BYTES": str(256 * 1024),
    }
    routes = {"default": [{"model": "models/tiny"}]}
    async with serve_gateway(
        folder, routes=routes, with_scripted=False, **(settings | variables)
    ) as gateway:
        yield House(gateway, servers, folder)


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[House]:
    """A gateway before two servers."""
    async with fake_vllms(2) as servers, house(tmp_path, servers) as made:
        yield made


def refused(error: RemoteError, reason: str, *words: str) -> None:
    assert error.reason == reason, error
    for word in words:
        assert word in str(error)


def reply_of(files: Mapping[str, bytes]) -> str:
    return fingerprint(files[WEIGHTS_FILE])


# What is refused, with nothing stored


_NO_ADAPTERS: list[tuple[dict[str, bytes], tuple[str, ...]]] = [
    ({WEIGHTS_FILE: adapter_files()[WEIGHTS_FILE]}, (CONFIG_FILE, "did not come")),
    ({CONFIG_FILE: adapter_files()[CONFIG_FILE]}, (WEIGHTS_FILE, "did not come")),
    (adapter_files() | {CONFIG_FILE: b"{"}, ("adapter_config.json", "JSON")),
    (adapter_files() | {CONFIG_FILE: b"[" * 100_000}, ("adapter_config.json",)),
    (adapter_files(config={"peft_type": "IA3"}), ("peft_type",)),
    (adapter_files(config={"r": 0}), ("r:",)),
    (adapter_files(config={"r": "8"}), ("r:",)),
    (adapter_files(config={"use_dora": True}), ("use_dora",)),
    (adapter_files(config={"bias": "all"}), ("bias",)),
    (adapter_files(config={"modules_to_save": ["lm_head"]}), ("modules_to_save",)),
    (adapter_files(config={"target_modules": "(a+)+$"}), ("target_modules",)),
    (adapter_files(config={"target_modules": ["k_proj"]}), ("q_proj", "target_modules")),
    (adapter_files(config={"rank_pattern": {"(a+)+$": 4}}), ("rank_pattern",)),
    (adapter_files(config={"init_lora_weights": "pissa"}), ("init_lora_weights",)),
    (adapter_files(config={"r": 2}), ("rank 2", "4")),
    (adapter_files(base="other/model"), ("other/model", "models/tiny")),
    (adapter_files(hidden_size=24), ("24", "16")),
    (
        adapter_files() | {WEIGHTS_FILE: adapter_files()[WEIGHTS_FILE][:-1]},
        ("damaged or cut short",),
    ),
    (adapter_files() | {WEIGHTS_FILE: b"\x80\x04\x95pickle"}, ("damaged or cut short",)),
    (adapter_files() | {WEIGHTS_FILE: b"\xff" * 64}, ("damaged or cut short",)),
    (adapter_files() | {WEIGHTS_FILE: save({})}, ("no matrices",)),
    (
        adapter_files() | {WEIGHTS_FILE: save({"lm_head.weight": np.zeros((2, 2), np.float32)})},
        ("lm_head.weight",),
    ),
    (
        adapter_files()
        | {
            WEIGHTS_FILE: save(
                {"base_model.model.a.q_proj.lora_A.weight": np.zeros((4, 16), np.float32)}
            )
        },
        ("a.q_proj", "lora_B"),
    ),
    (
        adapter_files()
        | {
            WEIGHTS_FILE: save(
                {
                    f"base_model.model.a.q_proj.lora_{side}.weight": np.zeros((4, 4), np.int32)
                    for side in "AB"
                }
            )
        },
        ("I32", "F32"),
    ),
]


async def test_what_is_no_adapter_is_refused_and_nothing_stays(two: House) -> None:
    for files, words in _NO_ADAPTERS:
        requests = deploy_requests(files, chunk_bytes=1 << 16)
        error = await refusal(two.adapters().DeployAdapter(requests))
        refused(error, "ADAPTER_INVALID", *words)
        assert error.metadata["why"]
    assert two.files_stored() == []
    refused(await refusal(two.get()), "ADAPTER_NOT_FOUND")


async def test_a_base_that_takes_no_adapters_is_refused_with_those_that_do(two: House) -> None:
    call = two.adapters().DeployAdapter(deploy_requests(adapter_files(), base_model="models/other"))
    refused(await refusal(call), "ADAPTER_BASE_UNKNOWN", "models/other", "models/tiny")
    assert two.files_stored() == []


async def test_a_rank_above_the_limit_is_refused(two: House) -> None:
    call = two.adapters().DeployAdapter(deploy_requests(adapter_files(rank=32)))
    refused(await refusal(call), "ADAPTER_RANK_TOO_LARGE", "32", "16")
    pattern = adapter_files(config={"rank_pattern": {"k_proj": 17}})
    call = two.adapters().DeployAdapter(deploy_requests(pattern))
    refused(await refusal(call), "ADAPTER_RANK_TOO_LARGE", "17")
    assert two.files_stored() == []


async def test_files_above_the_limit_are_refused_while_they_come(two: House) -> None:
    files = {WEIGHTS_FILE: b"\0" * (256 * 1024 + 1)}
    call = two.adapters().DeployAdapter(deploy_requests(files, chunk_bytes=1 << 18))
    refused(await refusal(call), "ADAPTER_TOO_LARGE", WEIGHTS_FILE)
    assert two.files_stored() == []


async def test_parts_in_the_wrong_order_are_refused(two: House) -> None:
    request = adapter_service_pb2.DeployAdapterRequest
    header = request(header=request.Header(name="adapters/a", base_model="models/tiny"))
    config = request(chunk=request.Chunk(file=CONFIG_FILE, content=b"{"))
    weights = request(chunk=request.Chunk(file=WEIGHTS_FILE, content=b"x"))
    for parts, words in (
        ([], "header did not come"),
        ([config], "header did not come"),
        ([header, header], "header came twice"),
        ([header, config, weights, config], "parts of another file"),
    ):
        error = await refusal(two.adapters().DeployAdapter(aiter_of(parts)))
        refused(error, "ADAPTER_INVALID", words)
    pickle = request(chunk=request.Chunk(file="adapter_model.bin", content=b"x"))
    error = await refusal(two.adapters().DeployAdapter(aiter_of([header, pickle])))
    refused(error, "FIELD_INVALID")


async def aiter_of(items: Sequence[Any]) -> AsyncIterator[Any]:
    for item in items:
        yield item


async def test_an_upload_that_breaks_off_leaves_nothing(two: House) -> None:
    sent, never = asyncio.Event(), asyncio.Event()

    async def parts() -> AsyncIterator[Any]:
        async for part in deploy_requests(adapter_files()):
            yield part
        sent.set()
        await never.wait()

    call = two.adapters().DeployAdapter(parts())
    await sent.wait()
    await asyncio.sleep(0.05)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await asyncio.sleep(0.05)
    assert two.files_stored() == []
    refused(await refusal(two.get()), "ADAPTER_NOT_FOUND")


async def test_who_may_not_manage_adapters_gets_nowhere(two: House) -> None:
    error = await refusal(two.adapters("guest").DeployAdapter(deploy_requests(adapter_files())))
    assert error.code is grpc.StatusCode.PERMISSION_DENIED
    assert two.files_stored() == []


# Rolling out


async def test_an_adapter_serves_when_every_server_holds_it(two: House) -> None:
    files = adapter_files(1)
    operation = await two.deploy(files, note="40 clauses")
    progress = adapter_service_pb2.DeployAdapterProgress()
    assert operation.metadata.Unpack(progress)
    assert (progress.adapter, progress.version) == ("adapters/clause-risk", 1)
    ended = await two.done(operation)
    assert ended.metadata.Unpack(progress)
    assert (progress.replicas_ready, progress.replicas) == (2, 2)
    adapter = await two.get()
    version = adapter.versions[0]
    assert (adapter.serving_version, adapter.replicas) == (1, 2)
    assert (version.state, version.replicas_ready) == (Adapter.SERVING, 2)
    assert (version.rank, version.note) == (4, "40 clauses")
    assert version.size_bytes == sum(map(len, files.values()))
    assert [len(server.loaded) for server in two.servers] == [1, 1]
    await two.route("models/adapters/clause-risk")
    assert await two.ask() == reply_of(files)
    assert await two.ask("other") == "base"


async def test_the_version_before_answers_until_all_hold_the_next(two: House) -> None:
    first, second = adapter_files(1), adapter_files(2)
    await two.deployed(first)
    await two.route("models/adapters/clause-risk")
    two.servers[1].may_load.clear()
    operation = await two.deploy(second)
    await eventually(lambda: len(two.servers[0].loaded) == 2)
    assert await two.ask() == reply_of(first)
    assert (await two.get()).versions[0].state == Adapter.ROLLING_OUT
    two.servers[1].may_load.set()
    await two.done(operation)
    assert {await two.ask() for _ in range(8)} == {reply_of(second)}
    states = [(version.number, version.state) for version in (await two.get()).versions]
    assert states == [(2, Adapter.SERVING), (1, Adapter.KEPT)]


async def test_one_server_that_refuses_fails_the_roll_out_and_the_other_lets_go(two: House) -> None:
    first, second = adapter_files(1), adapter_files(2)
    await two.deployed(first)
    await two.route("models/adapters/clause-risk")
    two.servers[1].load_failures = [failure(500, type="InternalServerError", message="secret")]
    ended = await two.done(await two.deploy(second))
    assert "ADAPTER_ROLLOUT_FAILED" in str(ended.error)
    version = (await two.get()).versions[0]
    assert version.state == Adapter.FAILED
    assert "Server 2 of 2" in version.failure
    assert "HTTP 500" in version.failure
    assert "secret" not in version.failure + str(ended.error)
    await eventually(lambda: all(len(server.loaded) == 1 for server in two.servers))
    assert await two.ask() == reply_of(first)
    # The same version can be tried again.
    await two.done(await two.rollback(2))
    assert await two.ask() == reply_of(second)


async def test_a_server_that_is_away_for_too_long_fails_the_roll_out(tmp_path: Path) -> None:
    brief = {"GATEWAY_ADAPTER_ROLLOUT_SECONDS": "0.5"}
    async with fake_vllms(2) as servers, house(tmp_path, servers, **brief) as made:
        servers[0].down = True
        ended = await made.done(await made.deploy(adapter_files()))
        assert "ADAPTER_ROLLOUT_FAILED" in str(ended.error)
        assert (await made.get()).serving_version == 0
        servers[0].restart()
        await eventually(lambda: not any(server.loaded for server in servers))


async def test_a_server_that_restarts_is_waited_for(two: House) -> None:
    two.servers[0].down = True
    operation = await two.deploy(adapter_files())
    await asyncio.sleep(0.1)
    two.servers[0].restart()
    assert (await two.done(operation)).HasField("response")


async def test_a_roll_out_waits_while_the_database_is_away(two: House) -> None:
    two.servers[1].down = True
    operation = await two.deploy(adapter_files(1))
    with away(f"sqlite:///{two.folder}/gateway.db"):
        two.servers[1].restart()
        await asyncio.sleep(0.5)
    assert not (await two.done(operation)).HasField("error")
    assert all(len(server.loaded) == 1 for server in two.servers)


async def test_two_deploys_at_once_leave_the_later_one_serving(two: House) -> None:
    first, second = adapter_files(1), adapter_files(2)
    for server in two.servers:
        server.load_seconds = 0.05
    operations = await asyncio.gather(two.deploy(first), two.deploy(second))
    for operation in operations:
        assert (await two.done(operation)).HasField("response")
    adapter = await two.get()
    assert [version.number for version in adapter.versions] == [2, 1]
    assert adapter.serving_version == 2
    await two.route("models/adapters/clause-risk")
    newest = adapter.versions[0].sha256
    shas = {}
    for files in (first, second):
        shas[(await two.deployed(files, name="adapters/other")).versions[0].sha256] = files
    assert await two.ask() == reply_of(shas[newest])


async def test_a_roll_out_can_be_cancelled(two: House) -> None:
    two.servers[1].may_load.clear()
    operation = await two.deploy(adapter_files())
    stub = operations_pb2_grpc.OperationsStub(two.gateway.open_channel("acme"))
    await stub.CancelOperation(operations_pb2.CancelOperationRequest(name=operation.name))
    adapter = await two.get()
    assert (adapter.serving_version, adapter.versions[0].state) == (0, Adapter.FAILED)
    two.servers[1].may_load.set()
    await asyncio.sleep(0.1)
    await eventually(lambda: not any(server.loaded for server in two.servers))
    assert (await two.get()).serving_version == 0


async def test_an_adapter_stays_with_its_base(two: House) -> None:
    await two.deployed(adapter_files(1))
    stored = two.files_stored()
    files = adapter_files(2, base="org/Small")
    call = two.adapters().DeployAdapter(deploy_requests(files, base_model="models/small"))
    refused(await refusal(call), "ADAPTER_INVALID", "models/tiny", "models/small")
    assert two.files_stored() == stored
    assert len((await two.get()).versions) == 1


# Tenants


async def test_tenants_adapters_of_one_name_answer_each_its_own(two: House) -> None:
    ours, theirs = adapter_files(1), adapter_files(2)
    await two.deployed(ours)
    await two.deployed(theirs, "globex")
    await two.route("models/adapters/clause-risk")
    await two.route("models/adapters/clause-risk", who="globex")
    assert await two.ask() == reply_of(ours)
    assert await two.ask(who="globex") == reply_of(theirs)
    names = two.servers[0].loaded
    assert len(names) == 2
    assert not any("acme" in name or "globex" in name or "clause" in name for name in names)


async def test_another_tenants_adapter_is_absent_everywhere(two: House) -> None:
    await two.deployed(adapter_files(1))
    name = "adapters/clause-risk"
    stub = two.adapters("globex")
    refused(
        await refusal(stub.GetAdapter(adapter_service_pb2.GetAdapterRequest(name=name))),
        "ADAPTER_NOT_FOUND",
    )
    rollback = adapter_service_pb2.RollbackAdapterRequest(name=name)
    refused(await refusal(stub.RollbackAdapter(rollback)), "ADAPTER_NOT_FOUND")
    delete = adapter_service_pb2.DeleteAdapterRequest(name=name)
    refused(await refusal(stub.DeleteAdapter(delete)), "ADAPTER_NOT_FOUND")
    assert not (await stub.ListAdapters(adapter_service_pb2.ListAdaptersRequest())).adapters
    catalog = ModelCatalogStub(two.gateway.open_channel("globex"))
    listed = await catalog.ListModels(gateway_service_pb2.ListModelsRequest())
    assert not [model.name for model in listed.models if "adapters/" in model.name]
    get = gateway_service_pb2.GetModelRequest(name=f"models/{name}")
    theirs = await refusal(catalog.GetModel(get))
    get = gateway_service_pb2.GetModelRequest(name="models/adapters/never-was")
    never = await refusal(catalog.GetModel(get))
    assert theirs.reason == never.reason == "MODEL_NOT_FOUND"
    with pytest.raises(grpc.aio.AioRpcError, match="does not have"):
        await two.route(f"models/{name}", who="globex")
    # Nor by the name under which the servers hold it.
    served = next(iter(two.servers[0].loaded))
    with pytest.raises(grpc.aio.AioRpcError, match="does not have"):
        await two.route(f"models/{served}", who="globex")


async def test_a_tenant_sees_its_adapter_among_the_models(two: House) -> None:
    await two.deployed(adapter_files(1))
    listed = await two.gateway.catalog.ListModels(gateway_service_pb2.ListModelsRequest())
    owned = [model.name for model in listed.models if "adapters/" in model.name]
    assert owned == ["models/adapters/clause-risk"]
    get = gateway_service_pb2.GetModelRequest(name="models/adapters/clause-risk")
    assert (await two.gateway.catalog.GetModel(get)).name == "models/adapters/clause-risk"


def test_names_at_servers_never_meet() -> None:
    names = {
        served_name(tenant, adapter, number, uid)
        for tenant, adapter, number, uid in [
            ("a", "b-1", 1, "x"),
            ("a-b", "1", 1, "x"),
            ("a", "b", 11, "x"),
            ("a", "b-11", 1, "x"),
            ("a", "b-1", 1, "y"),
        ]
    }
    assert len(names) == 5


# Servers that come and go


async def test_a_restarted_server_gets_its_adapters_again(two: House) -> None:
    files = adapter_files(1)
    await two.deployed(files)
    await two.route("models/adapters/clause-risk")
    for server in two.servers:  # at once, so that calls meet servers that lost it
        server.restart()
    assert {await two.ask() for _ in range(6)} == {reply_of(files)}
    for server in two.servers:
        server.restart()
    assert await streamed(two) == reply_of(files)
    await eventually(lambda: all(len(server.loaded) == 1 for server in two.servers))


async def test_servers_are_looked_after_again_after_an_outage_of_the_database(two: House) -> None:
    await two.deployed(adapter_files(1))
    with away(f"sqlite:///{two.folder}/gateway.db"):
        await asyncio.sleep(0.2)
    two.servers[0].restart()
    await eventually(lambda: len(two.servers[0].loaded) == 1)


async def streamed(two: House) -> str:
    message = gateway_pb2.Message(role=gateway_pb2.Message.USER, content="hello")
    request = gateway_pb2.GenerateRequest(task="contract.clause", messages=[message])
    events = two.gateway.models.StreamGenerate(request)
    return "".join([event.delta async for event in events])


async def test_calls_go_on_while_a_server_is_away(two: House) -> None:
    files = adapter_files(1)
    await two.deployed(files)
    await two.route("models/adapters/clause-risk")
    two.servers[0].down = True
    assert {await two.ask() for _ in range(4)} == {reply_of(files)}
    two.servers[0].restart()
    await eventually(lambda: len(two.servers[0].loaded) == 1)


async def test_what_nobody_knows_is_unloaded_and_foreign_adapters_are_left(two: House) -> None:
    two.servers[0].loaded.update({"atrium-0123": "/x", "somebody-elses": "/y"})
    await eventually(lambda: list(two.servers[0].loaded) == ["somebody-elses"])


async def test_adapters_beyond_the_cap_make_room_and_come_back(tmp_path: Path) -> None:
    many = [adapter_files(seed) for seed in range(3)]
    async with fake_vllms(1) as servers, house(tmp_path, servers, per_replica=2) as made:
        for place, files in enumerate(many):
            await made.deployed(files, name=f"adapters/a{place}")
            await made.route(f"models/adapters/a{place}", task=f"task.a{place}")
        for _ in range(2):
            for place, files in enumerate(many):
                assert await made.ask(f"task.a{place}") == reply_of(files)
                assert len(servers[0].loaded) == 2
        before = len(servers[0].loads)
        await made.ask("task.a2")  # used last, so it is still there
        assert len(servers[0].loads) == before


async def test_after_a_restart_the_gateway_finishes_what_it_began(tmp_path: Path) -> None:
    files = adapter_files(1)
    async with fake_vllms(2) as servers:
        servers[1].down = True
        async with house(tmp_path, servers) as made:
            operation = await made.deploy(files)
            await eventually(lambda: servers[0].loaded)
        servers[1].restart()
        async with house(tmp_path, servers) as made:
            assert (await made.done(operation)).HasField("response")
            await made.route("models/adapters/clause-risk")
            assert await made.ask() == reply_of(files)


# Rolling back, listing, deleting


async def test_rolling_back_answers_with_the_version_before_without_loading(two: House) -> None:
    first, second = adapter_files(1), adapter_files(2)
    await two.deployed(first)
    await two.deployed(second)
    await two.route("models/adapters/clause-risk")
    loads = len(two.servers[0].loads)
    await two.done(await two.rollback())
    assert await two.ask() == reply_of(first)
    assert len(two.servers[0].loads) == loads
    assert (await two.get()).serving_version == 1
    await two.done(await two.rollback(2))
    assert await two.ask() == reply_of(second)


async def test_rolling_back_to_what_is_not_there_is_refused(two: House) -> None:
    refused(await refusal(two.rollback(1)), "ADAPTER_NOT_FOUND")
    await two.deployed(adapter_files())
    for version in (0, 7):
        refused(await refusal(two.rollback(version)), "ADAPTER_VERSION_NOT_FOUND")
    assert (await two.get()).serving_version == 1


async def test_adapters_are_listed_in_pages(two: House) -> None:
    for place in range(3):
        await two.deployed(adapter_files(place), name=f"adapters/a{place}")
    request = adapter_service_pb2.ListAdaptersRequest(page_size=2)
    page = await two.adapters().ListAdapters(request)
    assert [adapter.name for adapter in page.adapters] == ["adapters/a0", "adapters/a1"]
    assert page.adapters[0].serving_version == 1
    request.page_token = page.next_page_token
    page = await two.adapters().ListAdapters(request)
    assert [adapter.name for adapter in page.adapters] == ["adapters/a2"]
    assert not page.next_page_token


async def test_an_adapter_that_a_route_names_is_not_deleted(two: House) -> None:
    await two.deployed(adapter_files())
    await two.route("models/adapters/clause-risk")
    delete = adapter_service_pb2.DeleteAdapterRequest(name="adapters/clause-risk")
    error = await refusal(two.adapters().DeleteAdapter(delete))
    refused(error, "ADAPTER_IN_USE", "routes/contract.clause")
    assert (await two.get()).serving_version == 1


async def test_a_deleted_adapter_is_gone_from_servers_folders_and_store(two: House) -> None:
    await two.deployed(adapter_files(1))
    await two.deployed(adapter_files(2))
    delete = adapter_service_pb2.DeleteAdapterRequest(name="adapters/clause-risk")
    await two.adapters().DeleteAdapter(delete)
    refused(await refusal(two.get()), "ADAPTER_NOT_FOUND")
    await eventually(lambda: not any(server.loaded for server in two.servers))
    two.gateway.clock.advance(120)
    await eventually(lambda: two.files_stored() == [])
    await eventually(lambda: list((two.folder / "adapters").iterdir()) == [])
    # A new one of the same name begins anew.
    assert (await two.deployed(adapter_files(3))).serving_version == 1


async def test_what_a_dead_gateway_left_half_copied_is_removed(two: House) -> None:
    left = two.folder / "adapters" / ".coming-abc"
    left.mkdir(parents=True)
    (left / CONFIG_FILE).touch()
    os.utime(left, (0, 0))
    await two.deployed(adapter_files(1))
    (only,) = (two.folder / "adapters").iterdir()
    assert only.name in two.servers[0].loaded


async def test_changes_are_in_the_audit_log(two: House) -> None:
    await two.deployed(adapter_files(1))
    await two.deployed(adapter_files(2))
    await two.done(await two.rollback())
    delete = adapter_service_pb2.DeleteAdapterRequest(name="adapters/clause-risk")
    await two.adapters().DeleteAdapter(delete)
    actions = [event.action for event in two.gateway.audit.events]
    assert actions == [
        "gateway.DeployAdapter",
        "gateway.DeployAdapter",
        "gateway.RollbackAdapter",
        "gateway.DeleteAdapter",
    ]
