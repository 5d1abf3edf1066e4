"""Models, routes and usage over gRPC."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import timestamp_pb2

from atrium.gateway.v1 import gateway_pb2, gateway_service_pb2
from atrium.gateway.v1.gateway_service_pb2_grpc import ModelCatalogStub, ModelGatewayStub
from atrium_gateway.testing import FakeUpstream, ServedGateway, failure, refusal, serve_gateway
from atrium_shared.audit import Decision

FILE, TENANT = gateway_pb2.Route.FILE, gateway_pb2.Route.TENANT


def route(name: str, *models: str, **more: Any) -> gateway_pb2.Route:
    candidates = [gateway_pb2.Route.Candidate(model=f"models/{each}", **more) for each in models]
    return gateway_pb2.Route(name=f"routes/{name}", candidates=candidates)


def update(route: gateway_pb2.Route) -> gateway_service_pb2.UpdateRouteRequest:
    return gateway_service_pb2.UpdateRouteRequest(route=route)


def delete(name: str) -> gateway_service_pb2.DeleteRouteRequest:
    return gateway_service_pb2.DeleteRouteRequest(name=name)


async def routes_of(catalog: Any) -> list[gateway_pb2.Route]:
    page = await catalog.ListRoutes(gateway_service_pb2.ListRoutesRequest())
    return list(page.routes)


def ask(task: str = "knowledge.answer", **fields: Any) -> gateway_pb2.GenerateRequest:
    message = gateway_pb2.Message(role=gateway_pb2.Message.USER, content="hello world")
    return gateway_pb2.GenerateRequest(task=task, messages=[message], **fields)


async def generate(gateway: Any, task: str = "knowledge.answer") -> gateway_pb2.GenerateResponse:
    response: gateway_pb2.GenerateResponse = await gateway.Generate(ask(task))
    return response


def timestamp(moment: datetime) -> timestamp_pb2.Timestamp:
    proto = timestamp_pb2.Timestamp()
    proto.FromDatetime(moment)
    return proto


# Models


async def test_every_model_is_listed_with_its_state_and_what_to_do(
    tmp_path: Path, upstream: FakeUpstream
) -> None:
    upstream.models = ["another"]
    variables = {
        "GATEWAY_MODELS": "multilingual-e5-small",
        "LLM_URL": upstream.url,
        "LLM_MODEL": "Qwen/Qwen2.5-7B",
        "LLM_CONTEXT_TOKENS": "4096",
    }
    async with serve_gateway(tmp_path, **variables) as served:
        page = await served.catalog.ListModels(gateway_service_pb2.ListModelsRequest())
    models = {model.name: model for model in page.models}
    assert list(models) == [
        "models/Qwen/Qwen2.5-7B",
        "models/atrium-reader",
        "models/multilingual-e5-small",
        "models/qwen2.5-0.5b",
        "models/qwen2.5-1.5b",
        "models/scripted",
    ]
    remote = models["models/Qwen/Qwen2.5-7B"]
    assert (remote.backend, remote.context_tokens) == ("openai", 4096)
    assert remote.state == gateway_pb2.Model.UNAVAILABLE
    assert "does not list the model 'Qwen/Qwen2.5-7B'" in remote.state_reason
    encoder = models["models/multilingual-e5-small"]
    assert encoder.backend == "onnxruntime"
    assert list(encoder.capabilities) == [
        gateway_pb2.Model.EMBED,
        gateway_pb2.Model.RERANK,
        gateway_pb2.Model.CLASSIFY,
    ]
    assert encoder.state == gateway_pb2.Model.UNAVAILABLE
    assert "run `atrium models pull small`" in encoder.state_reason
    reader = models["models/atrium-reader"]
    assert (reader.backend, reader.context_tokens) == ("onnxruntime", 1100)
    assert list(reader.capabilities) == [gateway_pb2.Model.READ]
    generator = models["models/qwen2.5-1.5b"]
    assert (generator.backend, generator.context_tokens) == ("llama.cpp", 8192)
    assert list(generator.capabilities) == [gateway_pb2.Model.GENERATE]
    assert generator.state == gateway_pb2.Model.UNAVAILABLE
    assert "GATEWAY_MODELS=multilingual-e5-small" in generator.state_reason
    assert "`atrium models pull qwen2.5-1.5b`" in generator.state_reason
    scripted = models["models/scripted"]
    assert (scripted.state, scripted.state_reason) == (gateway_pb2.Model.READY, "")


async def test_models_come_in_pages(served: ServedGateway) -> None:
    names: list[str] = []
    token = ""
    while True:
        request = gateway_service_pb2.ListModelsRequest(page_size=3, page_token=token)
        page = await served.catalog.ListModels(request)
        names += [model.name for model in page.models]
        token = page.next_page_token
        if not token:
            break
        assert len(page.models) == 3
    assert names == sorted(names)
    assert len(names) == 5


async def test_one_model_is_returned_by_its_name_or_alias(
    tmp_path: Path, upstream: FakeUpstream
) -> None:
    variables = {"LLM_URL": upstream.url, "LLM_MODEL": "tiny"}
    async with serve_gateway(tmp_path, **variables) as served:
        for name in ("models/tiny", "models/remote"):
            model = await served.catalog.GetModel(gateway_service_pb2.GetModelRequest(name=name))
            assert model.name == "models/tiny"
            assert model.state == gateway_pb2.Model.READY


async def test_a_model_that_does_not_exist_is_not_found(served: ServedGateway) -> None:
    request = gateway_service_pb2.GetModelRequest(name="models/none")
    error = await refusal(served.catalog.GetModel(request))
    assert error.code is grpc.StatusCode.NOT_FOUND
    assert error.reason == "MODEL_NOT_FOUND"
    assert error.metadata == {"model": "models/none"}


# Routes


async def test_the_operators_routes_are_listed(served: ServedGateway) -> None:
    default, embed, read = await routes_of(served.catalog)
    assert (read.name, read.origin) == ("routes/read", FILE)
    assert (default.name, default.origin) == ("routes/default", FILE)
    assert (embed.name, embed.origin) == ("routes/embed", FILE)
    assert default.candidates[0].model == "models/scripted"
    assert default.candidates[0].timeout_seconds == 120
    assert default.candidates[0].max_tokens == 512


async def test_a_tenants_route_holds_for_it_at_once_and_for_no_other(
    tmp_path: Path, upstream: FakeUpstream
) -> None:
    variables = {"LLM_URL": upstream.url, "LLM_MODEL": "tiny"}
    async with serve_gateway(tmp_path, **variables) as served:
        assert (await generate(served.models)).engine.model == "scripted"
        made = await served.catalog.UpdateRoute(update(route("knowledge", "tiny")))
        assert made.origin == TENANT
        assert made.candidates[0].timeout_seconds == 120
        assert made.candidates[0].max_tokens == 512
        assert (await generate(served.models)).engine.model == "tiny"
        assert (await generate(served.models, "docs.continue")).engine.model == "scripted"
        globex = served.open_channel("globex")
        assert (await generate(ModelGatewayStub(globex))).engine.model == "scripted"
        assert "routes/knowledge" not in {
            each.name for each in await routes_of(ModelCatalogStub(globex))
        }
        await served.catalog.DeleteRoute(delete("routes/knowledge"))
        assert (await generate(served.models)).engine.model == "scripted"


async def test_a_tenants_route_replaces_its_own_and_hides_the_operators(
    served: ServedGateway,
) -> None:
    await served.catalog.UpdateRoute(update(route("default", "qwen2.5-0.5b")))
    changed = route("default", "scripted", timeout_seconds=5, max_tokens=7)
    await served.catalog.UpdateRoute(update(changed))
    default, embed, _ = await routes_of(served.catalog)
    changed.origin, changed.grounding = TENANT, gateway_pb2.TOLERANT
    changed.cache = gateway_pb2.CACHE_OFF
    assert default == changed
    assert embed.origin == FILE
    await served.catalog.DeleteRoute(delete("routes/default"))
    assert (await routes_of(served.catalog))[0].origin == FILE


async def test_routes_survive_a_restart(tmp_path: Path) -> None:
    async with serve_gateway(tmp_path) as served:
        await served.catalog.UpdateRoute(update(route("a.b", "scripted", "qwen2.5-0.5b")))
    async with serve_gateway(tmp_path) as served:
        (own,) = [each for each in await routes_of(served.catalog) if each.origin == TENANT]
        assert [each.model for each in own.candidates] == ["models/scripted", "models/qwen2.5-0.5b"]


async def test_a_route_to_an_unknown_model_is_refused_and_nothing_is_stored(
    served: ServedGateway,
) -> None:
    bad = update(route("knowledge", "scripted", "gone"))
    error = await refusal(served.catalog.UpdateRoute(bad))
    assert error.code is grpc.StatusCode.INVALID_ARGUMENT
    assert error.reason == "ROUTE_MODEL_UNKNOWN"
    assert error.field == "route.candidates[1].model"
    assert error.metadata == {"route": "routes/knowledge", "model": "models/gone"}
    assert all(each.origin == FILE for each in await routes_of(served.catalog))
    assert served.audit.events == []


async def test_a_model_that_is_gone_from_the_installation_is_named_when_called(
    tmp_path: Path, upstream: FakeUpstream
) -> None:
    variables = {"LLM_URL": upstream.url, "LLM_MODEL": "tiny"}
    async with serve_gateway(tmp_path, **variables) as served:
        await served.catalog.UpdateRoute(update(route("knowledge", "tiny")))
    async with serve_gateway(tmp_path) as served:
        error = await refusal(generate(served.models))
        assert error.reason == "TASK_HAS_NO_MODEL"
        assert "models/tiny: this installation does not have it" in error.message


@pytest.mark.parametrize("name", ["routes/knowledge", "routes/default"])
async def test_only_a_route_of_ones_own_can_be_removed(served: ServedGateway, name: str) -> None:
    error = await refusal(served.catalog.DeleteRoute(delete(name)))
    assert error.code is grpc.StatusCode.NOT_FOUND
    assert error.reason == "ROUTE_NOT_FOUND"
    assert error.metadata == {"route": name}


async def test_another_tenants_route_cannot_be_removed(served: ServedGateway) -> None:
    await served.catalog.UpdateRoute(update(route("knowledge", "scripted")))
    globex = ModelCatalogStub(served.open_channel("globex"))
    error = await refusal(globex.DeleteRoute(delete("routes/knowledge")))
    assert error.reason == "ROUTE_NOT_FOUND"
    assert len(await routes_of(served.catalog)) == 4


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        (route("Bad Name", "scripted"), "route.name"),
        (route("x"), "route.candidates"),
        (route("x", *["scripted"] * 17), "route.candidates"),
        (route("x", "no spaces"), "route.candidates[0].model"),
        (route("x", "scripted", timeout_seconds=-1), "route.candidates[0].timeout_seconds"),
        (route("x", "scripted", max_tokens=-1), "route.candidates[0].max_tokens"),
    ],
)
async def test_a_route_outside_its_limits_is_refused(
    served: ServedGateway, bad: gateway_pb2.Route, field: str
) -> None:
    error = await refusal(served.catalog.UpdateRoute(update(bad)))
    assert error.reason == "FIELD_INVALID"
    assert error.field == field


async def test_changes_of_routes_are_audited(served: ServedGateway) -> None:
    await served.catalog.UpdateRoute(update(route("knowledge", "scripted", "qwen2.5-0.5b")))
    await served.catalog.DeleteRoute(delete("routes/knowledge"))
    assert [
        (each.action, each.resource, each.decision, each.detail) for each in served.audit.events
    ] == [
        (
            "gateway.UpdateRoute",
            "routes/knowledge",
            Decision.ALLOWED,
            "models/scripted, models/qwen2.5-0.5b",
        ),
        ("gateway.DeleteRoute", "routes/knowledge", Decision.ALLOWED, ""),
    ]


async def test_routes_come_in_pages_that_belong_to_their_request(served: ServedGateway) -> None:
    for name in ("b", "a", "c"):
        await served.catalog.UpdateRoute(update(route(name, "scripted")))
    first = await served.catalog.ListRoutes(gateway_service_pb2.ListRoutesRequest(page_size=2))
    assert [each.name for each in first.routes] == ["routes/a", "routes/b"]
    request = gateway_service_pb2.ListRoutesRequest(page_token=first.next_page_token)
    rest = await served.catalog.ListRoutes(request)
    names = ["routes/c", "routes/default", "routes/embed", "routes/read"]
    assert [each.name for each in rest.routes] == names
    assert rest.next_page_token == ""
    for other in (
        served.catalog.ListModels(
            gateway_service_pb2.ListModelsRequest(page_token=first.next_page_token)
        ),
        ModelCatalogStub(served.open_channel("globex")).ListRoutes(request),
        served.catalog.ListRoutes(gateway_service_pb2.ListRoutesRequest(page_token="AAAA")),
    ):
        error = await refusal(other)
        assert error.code is grpc.StatusCode.INVALID_ARGUMENT
        assert error.reason == "PAGE_TOKEN_INVALID"


# Usage


async def usage_of(catalog: Any, **fields: Any) -> Any:
    return await catalog.ListUsage(gateway_service_pb2.ListUsageRequest(**fields))


async def test_usage_is_told_by_day_newest_first_and_in_pages(served: ServedGateway) -> None:
    for _ in range(3):
        for task in ("b.x", "a.y"):
            await generate(served.models, task)
        await generate(served.models, "b.x")
        served.clock.advance(24 * 3600)
    seen: list[tuple[str, str, int]] = []
    token = ""
    while True:
        page = await usage_of(served.catalog, page_size=2, page_token=token)
        seen += [
            (each.day.ToJsonString(), each.task, each.usage.prompt_tokens) for each in page.records
        ]
        assert {each.model for each in page.records} == {"models/scripted"}
        token = page.next_page_token
        if not token:
            break
    assert seen == [
        (f"2030-01-0{day}T00:00:00Z", task, tokens)
        for day in (4, 3, 2)
        for task, tokens in (("a.y", 2), ("b.x", 4))
    ]


async def test_usage_can_be_asked_for_a_period(served: ServedGateway) -> None:
    for _ in range(3):
        await generate(served.models)
        served.clock.advance(24 * 3600)
    page = await usage_of(
        served.catalog,
        start_time=timestamp(datetime(2030, 1, 3, 12, tzinfo=UTC)),
        end_time=timestamp(datetime(2030, 1, 4, tzinfo=UTC)),
    )
    assert [each.day.ToDatetime().day for each in page.records] == [3]


async def test_usage_older_than_thirty_days_is_told_when_asked_for(served: ServedGateway) -> None:
    await generate(served.models)
    start = served.clock.now()
    served.clock.advance(40 * 24 * 3600)
    assert not (await usage_of(served.catalog)).records
    assert len((await usage_of(served.catalog, start_time=timestamp(start))).records) == 1


async def test_a_tenant_sees_its_own_usage_alone(served: ServedGateway) -> None:
    await generate(served.models)
    globex = served.open_channel("globex")
    assert not (await usage_of(ModelCatalogStub(globex))).records
    await generate(ModelGatewayStub(globex))
    (record,) = (await usage_of(ModelCatalogStub(globex))).records
    assert record.requests == 1


async def test_usage_survives_a_stop_right_after_the_call(tmp_path: Path) -> None:
    async with serve_gateway(tmp_path) as served:
        await generate(served.models)
    async with serve_gateway(tmp_path) as served:
        await generate(served.models)
        (record,) = (await usage_of(served.catalog)).records
        assert record.requests == 2


async def test_an_empty_period_is_refused(served: ServedGateway) -> None:
    now = served.clock.now()
    fields = {"start_time": timestamp(now), "end_time": timestamp(now - timedelta(hours=1))}
    error = await refusal(usage_of(served.catalog, **fields))
    assert error.code is grpc.StatusCode.INVALID_ARGUMENT
    assert error.reason == "USAGE_PERIOD_INVALID"
    assert error.field == "end_time"


async def test_a_moment_that_no_calendar_has_is_refused(served: ServedGateway) -> None:
    impossible = timestamp_pb2.Timestamp(seconds=2**62)
    error = await refusal(usage_of(served.catalog, start_time=impossible))
    assert error.reason == "FIELD_INVALID"
    assert error.field == "start_time"


async def test_a_page_token_made_up_for_usage_is_refused(served: ServedGateway) -> None:
    from atrium_shared.paging import encode_page_token

    forged = encode_page_token("[1]", "acme ListUsage None None")
    error = await refusal(usage_of(served.catalog, page_token=forged))
    assert error.reason == "PAGE_TOKEN_INVALID"


async def test_who_may_not_see_usage_or_routes_is_denied(served: ServedGateway) -> None:
    guest = ModelCatalogStub(served.open_channel("guest"))
    for call in (usage_of(guest), routes_of(guest), guest.UpdateRoute(update(route("x", "y")))):
        assert (await refusal(call)).code is grpc.StatusCode.PERMISSION_DENIED


async def test_failures_of_a_server_count_as_failures(
    tmp_path: Path, upstream: FakeUpstream
) -> None:
    routes = {"default": [{"model": "models/tiny"}]}
    variables = {"LLM_URL": upstream.url, "LLM_MODEL": "tiny"}
    async with serve_gateway(tmp_path, routes=routes, **variables) as served:
        upstream.enqueue(failure(500))
        await refusal(generate(served.models))
        (record,) = (await usage_of(served.catalog)).records
        assert (record.requests, record.failures) == (0, 1)


async def test_a_route_set_through_another_replica_holds_within_five_seconds(
    tmp_path: Path,
) -> None:
    routes = {"default": [{"model": "models/scripted"}]}
    database = f"sqlite+aiosqlite:///{tmp_path}/shared.db"
    async with (
        serve_gateway(tmp_path, routes=routes, GATEWAY_DATABASE_URL=database) as one,
        serve_gateway(tmp_path, routes=routes, GATEWAY_DATABASE_URL=database) as other,
    ):

        async def seen() -> list[str]:
            listed = await other.catalog.ListRoutes(gateway_service_pb2.ListRoutesRequest())
            return [route.name for route in listed.routes]

        assert await seen() == ["routes/default"]
        candidate = gateway_pb2.Route.Candidate(model="models/scripted")
        route = gateway_pb2.Route(name="routes/docs", candidates=[candidate])
        await one.catalog.UpdateRoute(gateway_service_pb2.UpdateRouteRequest(route=route))
        other.clock.advance(5)
        assert await seen() == ["routes/default", "routes/docs"]
        await one.catalog.DeleteRoute(gateway_service_pb2.DeleteRouteRequest(name=route.name))
        assert await seen() == ["routes/default", "routes/docs"]
        other.clock.advance(5)
        assert await seen() == ["routes/default"]


async def test_a_kept_reply_counts_as_a_call_that_cost_nothing(served: ServedGateway) -> None:
    request = ask(cache=gateway_pb2.EXACT)
    first = await served.models.Generate(request)
    again = await served.models.Generate(request)
    assert (first.cached, again.cached, again.text) == (False, True, first.text)
    assert not again.usage.ByteSize()
    assert first.generation != again.generation
    events = [event async for event in served.models.StreamGenerate(request)]
    assert events[-1].done.cached
    assert "".join(event.delta for event in events) == first.text
    (record,) = (await usage_of(served.catalog)).records
    assert (record.requests, record.cached) == (3, 2)
    assert record.usage == first.usage


async def test_a_kept_reply_is_its_tenants_alone(served: ServedGateway) -> None:
    request = ask(cache=gateway_pb2.EXACT)
    await served.models.Generate(request)
    globex = ModelGatewayStub(served.open_channel("globex"))
    assert not (await globex.Generate(request)).cached
    served.clock.advance(3601)
    assert not (await served.models.Generate(request)).cached


async def test_usage_is_told_by_key_and_costs_what_the_model_costs(
    tmp_path: Path, upstream: FakeUpstream
) -> None:
    price = {"currency": "CNY", "prompt": "1000", "completion": "2000.5"}
    model = {"name": "models/tiny", "upstream_model": "tiny", "price": price}
    servers = tmp_path / "servers.yaml"
    servers.write_text(json.dumps({"servers": [{"url": upstream.url, "models": [model]}]}))
    routes = {"default": [{"model": "models/tiny"}]}
    variables = {"GATEWAY_SERVERS_FILE": str(servers)}
    async with serve_gateway(tmp_path, routes=routes, **variables) as served:
        await generate(served.models)
        (record,) = (await usage_of(served.catalog)).records
    assert record.credential
    cost = (
        1000 * record.usage.prompt_tokens + Decimal("2000.5") * record.usage.completion_tokens
    ) / 1_000_000
    assert (Decimal(record.cost), record.currency) == (cost, "CNY")
