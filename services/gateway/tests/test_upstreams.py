"""Servers that misbehave, behind a served gateway: replicas, breakers, limits, weights."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest

from atrium.gateway.v1 import gateway_pb2, gateway_service_pb2
from atrium_gateway.adapters.config_files import read_routes, read_servers
from atrium_gateway.testing import (
    Answer,
    FakeUpstream,
    ServedGateway,
    delta,
    event,
    failure,
    fake_upstream,
    refusal,
    reply,
    serve_gateway,
)
from atrium_shared.settings import SettingsInvalid
from atrium_shared.testing import eventually

HANGS = Answer(hang=True)
TRICKLES = Answer([delta("so"), *([b": still here\n\n", 0.02] * 500)])
GARBAGE = Answer([b"data: \xff\xfe{{{\n\n"])
BREAKS_OFF = Answer([delta("so"), delta(" far")], cut=True)
FAILS_IN_ITS_REPLY = Answer([delta("so"), event({"error": {"code": "oom"}})])


def ask(text: str = "a b c", **more: Any) -> gateway_pb2.GenerateRequest:
    message = gateway_pb2.Message(role=gateway_pb2.Message.USER, content=text)
    return gateway_pb2.GenerateRequest(task="t", messages=[message], **more)


def entry(name: str, *upstreams: FakeUpstream, **more: Any) -> dict[str, Any]:
    model = {"name": f"models/{name}", "upstream_model": "tiny", **more.pop("model", {})}
    urls = [upstream.url for upstream in upstreams]
    where = {"url": urls[0]} if len(urls) == 1 else {"replicas": urls}
    return {**where, "models": [model], "location": "resident", **more}


def servers(folder: Path, *entries: dict[str, Any]) -> dict[str, str]:
    path = folder / "servers.yaml"
    path.write_text(json.dumps({"servers": entries}))
    return {"GATEWAY_SERVERS_FILE": str(path)}


def route(*models: str, **more: object) -> dict[str, Any]:
    return {"default": [{"model": f"models/{name}", **more} for name in models]}


@pytest.fixture
async def fakes() -> AsyncIterator[Sequence[FakeUpstream]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(fake_upstream()) for _ in range(3)]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (HANGS, "UPSTREAM_TIMED_OUT"),
        (TRICKLES, "UPSTREAM_TIMED_OUT"),
        (GARBAGE, "UPSTREAM_FAILED"),
        (BREAKS_OFF, "UPSTREAM_FAILED"),
        (FAILS_IN_ITS_REPLY, "UPSTREAM_FAILED"),
        (failure(500), "UPSTREAM_FAILED"),
    ],
    ids=["hangs", "trickles", "garbage", "breaks off", "fails in its reply", "500"],
)
async def test_the_breaker_of_a_bad_server_opens_and_closes_again(
    tmp_path: Path, upstream: FakeUpstream, answer: Answer, reason: str
) -> None:
    impatient = reason == "UPSTREAM_TIMED_OUT"
    async with serve_gateway(
        tmp_path,
        routes=route("m", timeout_seconds=0.1 if impatient else 20),
        with_scripted=False,
        GATEWAY_IDLE_SECONDS="0.1",
        **servers(tmp_path, entry("m", upstream)),
    ) as served:
        upstream.enqueue(*[answer] * 5)
        for _ in range(5):
            assert (await refusal(served.models.Generate(ask()))).reason == reason
        resting = await refusal(served.models.Generate(ask()))
        assert resting.code is grpc.StatusCode.UNAVAILABLE
        assert "is asked again in" in resting.message
        assert int(resting.metadata["retry_seconds"]) in range(4, 7)
        assert len(upstream.posted) == 5
        served.clock.advance(6.1)
        candidate = gateway_pb2.Route.Candidate(model="models/m", timeout_seconds=20)
        patient = gateway_pb2.Route(name="routes/default", candidates=[candidate])
        await served.catalog.UpdateRoute(gateway_service_pb2.UpdateRouteRequest(route=patient))
        assert (await served.models.Generate(ask())).text == "a b c"
        assert (await served.models.Generate(ask())).text == "a b c"
        assert len(upstream.posted) == 7


async def test_a_probe_that_fails_keeps_the_breaker_open_longer(
    tmp_path: Path, upstream: FakeUpstream
) -> None:
    async with serve_gateway(
        tmp_path, routes=route("m"), with_scripted=False, **servers(tmp_path, entry("m", upstream))
    ) as served:
        upstream.enqueue(*[failure(500)] * 6)
        for _ in range(5):
            await refusal(served.models.Generate(ask()))
        served.clock.advance(6.1)
        assert "HTTP 500" in (await refusal(served.models.Generate(ask()))).message
        served.clock.advance(6.1)
        assert "asked again" in (await refusal(served.models.Generate(ask()))).message
        served.clock.advance(6.1)
        assert (await served.models.Generate(ask())).text == "a b c"


async def test_models_of_one_server_share_its_breaker(
    tmp_path: Path, upstream: FakeUpstream
) -> None:
    shared = entry("m", upstream)
    shared["models"].append({"name": "models/n", "upstream_model": "tiny"})
    async with serve_gateway(
        tmp_path,
        routes={**route("m"), "t2": route("n")["default"]},
        with_scripted=False,
        **servers(tmp_path, shared),
    ) as served:
        upstream.enqueue(*[failure(500)] * 5)
        for _ in range(5):
            await refusal(served.models.Generate(ask()))
        request = ask()
        request.task = "t2"
        assert "asked again" in (await refusal(served.models.Generate(request))).message


async def test_a_dead_replica_is_left_out_and_comes_back(
    tmp_path: Path, fakes: Sequence[FakeUpstream]
) -> None:
    dead, well = fakes[:2]
    variables = servers(tmp_path, entry("m", dead, well))
    async with serve_gateway(
        tmp_path, routes=route("m"), with_scripted=False, **variables
    ) as served:
        dead.enqueue(*[Answer(silent=True)] * 50)

        async def until_asked(times: int) -> None:
            async with asyncio.timeout(30):
                while len(dead.posted) < times:  # either of two idle replicas may be drawn
                    answer = await served.models.Generate(ask())
                    assert (answer.text, answer.engine.degraded) == ("a b c", False)

        await until_asked(5)
        for _ in range(8):
            await served.models.Generate(ask())
        assert len(dead.posted) == 5  # its breaker is open
        dead._answers.clear()
        served.clock.advance(6.1)
        await until_asked(8)
        request = gateway_service_pb2.GetModelRequest(name="models/m")
        assert (await served.catalog.GetModel(request)).replicas == 2


async def test_a_stream_is_not_moved_to_another_replica_once_something_was_shown(
    tmp_path: Path, fakes: Sequence[FakeUpstream]
) -> None:
    async with serve_gateway(
        tmp_path, routes=route("m"), with_scripted=False, **servers(tmp_path, entry("m", *fakes))
    ) as served:
        for fake in fakes:
            fake.enqueue(BREAKS_OFF)
        shown: list[str] = []

        async def read() -> None:
            async for event in served.models.StreamGenerate(ask()):
                shown.append(event.delta)

        assert (await refusal(read())).reason == "UPSTREAM_FAILED"
        assert "".join(shown) == "so far"
        assert sum(len(fake.posted) for fake in fakes) == 1


async def test_a_server_gets_no_more_calls_at_once_than_it_may(
    tmp_path: Path, upstream: FakeUpstream
) -> None:
    class Watched(FakeUpstream):
        now = most = 0

        async def _exchange(self, reader: Any, writer: Any) -> bool:
            return await super()._exchange(reader, writer)

        async def _write(self, answer: Answer, writer: Any, gone: Any) -> bool:
            self.now += 1
            self.most = max(self.most, self.now)
            try:
                return await super()._write(answer, writer, gone)
            finally:
                self.now -= 1

    upstream.__class__ = Watched
    shared = entry("m", upstream, concurrent=2)
    shared["models"].append({"name": "models/n", "upstream_model": "tiny"})
    async with serve_gateway(
        tmp_path,
        routes={**route("m"), "t2": route("n")["default"]},
        with_scripted=False,
        **servers(tmp_path, shared),
    ) as served:
        upstream.enqueue(*[Answer([0.02, *reply("ok").chunks])] * 12)
        requests = [ask() for _ in range(12)]
        for request in requests[::2]:
            request.task = "t2"
        await asyncio.gather(*(served.models.Generate(request) for request in requests))
        assert upstream.most == 2  # type: ignore[attr-defined]


async def test_a_deadline_over_several_attempts_ends_the_call_and_frees_both_servers(
    tmp_path: Path, fakes: Sequence[FakeUpstream]
) -> None:
    first, second = fakes[:2]
    routes = {
        "default": [
            {"model": "models/m", "timeout_seconds": 0.1},
            {"model": "models/n", "timeout_seconds": 60},
        ]
    }
    async with serve_gateway(
        tmp_path,
        routes=routes,
        with_scripted=False,
        **servers(tmp_path, entry("m", first), entry("n", second)),
    ) as served:
        first.enqueue(HANGS)
        second.enqueue(HANGS)
        began = asyncio.get_running_loop().time()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await served.models.Generate(ask(), timeout=2)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert asyncio.get_running_loop().time() - began < 30
        await eventually(lambda: first.left_at and second.left_at)
        assert (await served.models.Generate(ask())).text == "a b c"


async def test_every_candidate_that_hangs_is_left_after_its_own_time(
    tmp_path: Path, fakes: Sequence[FakeUpstream]
) -> None:
    routes = route("m", "n", timeout_seconds=0.1)
    async with serve_gateway(
        tmp_path,
        routes=routes,
        with_scripted=False,
        **servers(tmp_path, entry("m", fakes[0]), entry("n", fakes[1])),
    ) as served:
        for fake in fakes:
            fake.enqueue(HANGS)
        error = await refusal(served.models.Generate(ask()))
        assert (error.reason, error.metadata["model"]) == ("UPSTREAM_TIMED_OUT", "models/m")


# Routes and the servers file


async def test_both_arms_of_a_route_answer_and_a_caller_keeps_its_arm(
    tmp_path: Path, fakes: Sequence[FakeUpstream]
) -> None:
    routes = route("m", "n", weight=50)
    async with serve_gateway(
        tmp_path,
        routes=routes,
        with_scripted=False,
        **servers(tmp_path, entry("m", fakes[0]), entry("n", fakes[1])),
    ) as served:
        arms = []
        for number in range(16):
            request = ask()
            request.task = f"t{number}"
            models = {(await served.models.Generate(request)).engine.model for _ in range(2)}
            assert len(models) == 1
            arms += models
        assert set(arms) == {"m", "n"}


@pytest.mark.parametrize("weight", [-1, 10_001])
async def test_a_weight_outside_its_limits_is_refused(served: ServedGateway, weight: int) -> None:
    candidate = gateway_pb2.Route.Candidate(model="models/scripted", weight=weight)
    own = gateway_pb2.Route(name="routes/default", candidates=[candidate])
    request = gateway_service_pb2.UpdateRouteRequest(route=own)
    error = await refusal(served.catalog.UpdateRoute(request))
    assert error.code is grpc.StatusCode.INVALID_ARGUMENT
    assert error.field == "route.candidates[0].weight"


async def test_what_a_route_says_of_sources_and_cache_is_kept(tmp_path: Path) -> None:
    candidate = gateway_pb2.Route.Candidate(model="models/scripted", weight=3)
    own = gateway_pb2.Route(
        name="routes/t",
        candidates=[candidate],
        grounding=gateway_pb2.STRICT,
        cache=gateway_pb2.SEMANTIC,
    )
    async with serve_gateway(tmp_path) as served:
        await served.catalog.UpdateRoute(gateway_service_pb2.UpdateRouteRequest(route=own))
    async with serve_gateway(tmp_path) as served:
        listed = await served.catalog.ListRoutes(gateway_service_pb2.ListRoutesRequest())
        (kept,) = [each for each in listed.routes if each.name == "routes/t"]
        assert (kept.grounding, kept.cache) == (gateway_pb2.STRICT, gateway_pb2.SEMANTIC)
        assert kept.candidates[0].weight == 3


async def test_what_a_servers_file_says_of_a_model_is_listed(
    tmp_path: Path, upstream: FakeUpstream
) -> None:
    facts = {
        "tier": "vertical",
        "million_parameters": 494,
        "version": "2026-11",
        "price": {"currency": "CNY", "prompt": 0.8, "completion": "2.00"},
    }
    variables = servers(tmp_path, entry("m", upstream, model=facts, location="outside"))
    async with serve_gateway(tmp_path, **variables) as served:
        model = await served.catalog.GetModel(gateway_service_pb2.GetModelRequest(name="models/m"))
        scripted = await served.catalog.GetModel(
            gateway_service_pb2.GetModelRequest(name="models/scripted")
        )
    assert model.tier == gateway_pb2.Model.VERTICAL
    assert model.location == gateway_pb2.Model.OUTSIDE
    assert (model.million_parameters, model.version, model.replicas) == (494, "2026-11", 1)
    assert model.price == gateway_pb2.Price(
        currency="CNY", prompt="0.8", completion="2", encoder="0"
    )
    assert scripted.location == gateway_pb2.Model.RESIDENT
    assert not scripted.HasField("price")


MODEL = "{name: models/m, upstream_model: m}"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (f"servers: [{{models: [{MODEL}]}}]", "either url or replicas"),
        (
            f"servers: [{{url: 'http://a', replicas: ['http://b'], models: [{MODEL}]}}]",
            "either url or replicas",
        ),
        (f"servers: [{{replicas: ['http://a', 'http://a'], models: [{MODEL}]}}]", "different URLs"),
        (f"servers: [{{url: 'http://a', concurrent: 0, models: [{MODEL}]}}]", "concurrent"),
        (f"servers: [{{url: 'http://a', location: moon, models: [{MODEL}]}}]", "location"),
        (
            "servers: [{url: 'http://a', models: [{name: models/m, upstream_model: m, "
            "price: {currency: CNY, prompt: -1}}]}]",
            "price.prompt",
        ),
        (
            "servers: [{url: 'http://a', models: [{name: models/m, upstream_model: m, "
            "price: {currency: yuan}}]}]",
            "price.currency",
        ),
        (
            "servers: [{url: 'http://a', models: [{name: models/m, upstream_model: m, "
            "price: {currency: CNY}}, {name: models/n, upstream_model: n, "
            "price: {currency: USD}}]}]",
            "one currency, not CNY and USD",
        ),
        (
            "servers: [{url: 'http://a', models: [{name: models/m, upstream_model: m, "
            "million_parameters: -1}]}]",
            "million_parameters",
        ),
    ],
)
def test_a_wrong_servers_file_is_told_where(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "servers.yaml"
    path.write_text(content)
    with pytest.raises(SettingsInvalid) as caught:
        read_servers(path)
    assert words in str(caught.value)


def test_a_routes_file_may_say_more_than_candidates(tmp_path: Path) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text(
        "routes:\n"
        "  a: {candidates: [{model: models/m, weight: 9}], grounding: strict, cache: exact}\n"
        "  b: {candidates: [{model: models/m}], cache: off}\n"
        "  c: [{model: models/m}]\n"
    )
    a, b, c = read_routes(path)
    assert (a.candidates[0].weight, a.grounding, a.cache) == (9, "strict", "exact")
    assert (b.grounding, b.cache) == (c.grounding, c.cache) == ("tolerant", "off")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("weight: -1", "candidates.0.weight"),
        ("weight: 10001", "candidates.0.weight"),
        ("timeout_seconds: -1", "candidates.0.timeout_seconds"),
        ("max_tokens: -5", "candidates.0.max_tokens"),
    ],
)
def test_negative_limits_in_a_routes_file_are_told(tmp_path: Path, more: str, words: str) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text(f"routes: {{default: [{{model: models/m, {more}}}]}}")
    with pytest.raises(SettingsInvalid) as caught:
        read_routes(path)
    assert words in str(caught.value)
