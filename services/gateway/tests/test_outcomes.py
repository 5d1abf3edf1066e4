"""What became of replies, and the report of costs."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import grpc
import pytest

from atrium.gateway.v1 import gateway_pb2, gateway_service_pb2
from atrium.gateway.v1.gateway_service_pb2_grpc import ModelCatalogStub, ModelGatewayStub
from atrium_gateway.app.caller import Caller
from atrium_gateway.app.generation_names import GenerationNames
from atrium_gateway.domain.costs import ModelCost, cost_of_task
from atrium_gateway.domain.errors import GenerationNotFound
from atrium_gateway.domain.models import Price
from atrium_gateway.domain.outcomes import OutcomeCount, wilson_interval
from atrium_gateway.domain.usage import UsageCount
from atrium_gateway.testing import FakeUpstream, ServedGateway, refusal, serve_gateway
from atrium_shared.clock import FixedClock
from atrium_shared.engines import Usage
from atrium_shared.testing import make_principal

Said = gateway_service_pb2.RecordOutcomeRequest
CALLER = Caller(make_principal(), "minutes.write")


async def generate(gateway: Any, text: str = "hello world") -> gateway_pb2.GenerateResponse:
    message = gateway_pb2.Message(role=gateway_pb2.Message.USER, content=text)
    request = gateway_pb2.GenerateRequest(task="minutes.write", messages=[message])
    response: gateway_pb2.GenerateResponse = await gateway.Generate(request)
    return response


def said(generation: str, outcome: Said.Outcome.ValueType = Said.ACCEPTED) -> Said:
    return Said(generation=generation, outcome=outcome)


async def costs(catalog: Any, **period: Any) -> gateway_service_pb2.ReportCostsResponse:
    response: gateway_service_pb2.ReportCostsResponse = await catalog.ReportCosts(
        gateway_service_pb2.ReportCostsRequest(**period)
    )
    return response


# Names


def test_a_name_carries_task_model_and_day_and_no_two_are_the_same() -> None:
    clock = FixedClock()
    names = GenerationNames(bytes(32), clock)
    one, other = (names.new(CALLER, "models/m:adapter@3") for _ in range(2))
    assert one != other
    clock.advance(86_400)
    generation = names.read("acme", one)
    assert (generation.task, generation.model) == ("minutes.write", "models/m:adapter@3")
    assert generation.day == date(2030, 1, 2)
    assert generation == names.read("acme", one)
    assert generation.id != names.read("acme", other).id


@pytest.mark.parametrize("place", range(0, 67, 3))
def test_a_name_that_was_changed_anywhere_is_unknown(place: int) -> None:
    names = GenerationNames(bytes(32), FixedClock())
    name = names.new(CALLER, "models/m")
    at = len("generations/") + place
    changed = name[:at] + ("A" if name[at] != "A" else "B") + name[at + 1 :]
    with pytest.raises(GenerationNotFound):
        names.read("acme", changed)


@pytest.mark.parametrize(
    "name",
    [
        "generations/",
        "generations/x",
        "generations/????",
        "generations/ñ",
        "generations/" + "A" * 900,
    ],
)
def test_what_is_no_name_is_unknown(name: str) -> None:
    with pytest.raises(GenerationNotFound):
        GenerationNames(bytes(32), FixedClock()).read("acme", name)


async def test_a_name_of_another_tenant_reads_like_one_that_never_was(
    served: ServedGateway,
) -> None:
    name = (await generate(served.models)).generation
    globex = ModelGatewayStub(served.open_channel("globex"))
    foreign = await refusal(globex.RecordOutcome(said(name)))
    made_up = await refusal(globex.RecordOutcome(said("generations/AAAA")))
    assert foreign.code is grpc.StatusCode.NOT_FOUND
    assert foreign.reason == "GENERATION_NOT_FOUND"
    assert foreign.field == "generation"
    assert (foreign.code, foreign.message, foreign.metadata) == (
        made_up.code,
        made_up.message,
        made_up.metadata,
    )
    assert not (await costs(ModelCatalogStub(served.open_channel("globex")))).tasks


async def test_an_outcome_that_is_not_said_is_refused(served: ServedGateway) -> None:
    name = (await generate(served.models)).generation
    error = await refusal(served.models.RecordOutcome(said(name, Said.OUTCOME_UNSPECIFIED)))
    assert error.code is grpc.StatusCode.INVALID_ARGUMENT
    error = await refusal(served.models.RecordOutcome(said("replies/x")))
    assert error.code is grpc.StatusCode.INVALID_ARGUMENT


async def test_who_may_not_use_models_may_not_say_what_became_of_replies(
    served: ServedGateway,
) -> None:
    name = (await generate(served.models)).generation
    guest = served.open_channel("guest")
    error = await refusal(ModelGatewayStub(guest).RecordOutcome(said(name)))
    assert error.code is grpc.StatusCode.PERMISSION_DENIED
    error = await refusal(
        ModelCatalogStub(guest).ReportCosts(gateway_service_pb2.ReportCostsRequest())
    )
    assert error.code is grpc.StatusCode.PERMISSION_DENIED


# Reports


async def test_outcomes_are_counted_once_a_reply_and_the_last_one_counts(
    served: ServedGateway,
) -> None:
    names = [(await generate(served.models)).generation for _ in range(4)]
    for name in names:
        await served.models.RecordOutcome(said(name, Said.REJECTED))
        await served.models.RecordOutcome(said(name, Said.REJECTED))
    await served.models.RecordOutcome(said(names[0], Said.ACCEPTED))
    await served.models.RecordOutcome(said(names[1], Said.EDITED))
    (task,) = (await costs(served.catalog)).tasks
    (model,) = task.models
    assert task.task == "minutes.write"
    assert (model.model, model.requests) == ("models/scripted", 4)
    assert (model.accepted, model.edited, model.rejected) == (1, 1, 2)
    assert (model.acceptance_low, model.acceptance_high) == wilson_interval(1, 4)
    assert (model.cost, task.suggested_model, task.saving) == ("", "", "")


async def test_a_streamed_reply_can_be_judged_too(served: ServedGateway) -> None:
    message = gateway_pb2.Message(role=gateway_pb2.Message.USER, content="hello")
    request = gateway_pb2.GenerateRequest(task="t", messages=[message])
    events = [event async for event in served.models.StreamGenerate(request)]
    await served.models.RecordOutcome(said(events[-1].done.generation))
    (task,) = (await costs(served.catalog)).tasks
    assert task.models[0].accepted == 1


async def test_an_outcome_counts_on_the_day_of_its_reply(served: ServedGateway) -> None:
    name = (await generate(served.models)).generation
    served.clock.advance(40 * 86_400)
    await served.models.RecordOutcome(said(name))
    assert not (await costs(served.catalog)).tasks


async def test_the_report_prices_each_model_and_suggests_the_cheaper_one(
    tmp_path: Path, upstream: FakeUpstream
) -> None:
    upstream.models = ["large", "small"]
    models = [
        {
            "name": f"models/{name}",
            "upstream_model": name,
            "price": {"currency": "CNY", "prompt": price, "completion": price},
        }
        for name, price in (("large", 8), ("small", 0.1))
    ]
    servers = {"servers": [{"url": upstream.url, "location": "resident", "models": models}]}
    path = tmp_path / "servers.yaml"
    path.write_text(json.dumps(servers))
    routes = {"default": [{"model": "models/large"}, {"model": "models/small"}]}
    taken = [Said.ACCEPTED] * 5
    async with serve_gateway(
        tmp_path, routes=routes, with_scripted=False, GATEWAY_SERVERS_FILE=str(path)
    ) as served:
        for model, outcomes in (("large", (Said.ACCEPTED, Said.REJECTED)), ("small", taken)):
            candidates = [gateway_pb2.Route.Candidate(model=f"models/{model}")]
            route = gateway_pb2.Route(name="routes/default", candidates=candidates)
            await served.catalog.UpdateRoute(gateway_service_pb2.UpdateRouteRequest(route=route))
            for outcome in outcomes:
                name = (await generate(served.models, "a b c")).generation
                await served.models.RecordOutcome(said(name, outcome))
        report = await costs(served.catalog)
    assert report.currency == "CNY"
    (task,) = report.tasks
    large, small = task.models
    # Each reply: 7 tokens read, 3 written.
    assert (large.model, large.cost) == ("models/large", "0.00016")
    assert (small.model, small.cost) == ("models/small", "0.000005")
    assert (task.suggested_model, task.saving) == ("models/small", "0.000158")
    assert "would have cost 0.000002 instead of 0.00016" in task.reason


async def test_an_empty_period_is_refused(served: ServedGateway) -> None:
    request = gateway_service_pb2.ReportCostsRequest()
    request.start_time.FromJsonString("2030-01-02T00:00:00Z")
    request.end_time.FromJsonString("2030-01-02T00:00:00Z")
    error = await refusal(served.catalog.ReportCosts(request))
    assert error.reason == "USAGE_PERIOD_INVALID"


def cost(
    model: str, price: str | None, accepted: int = 0, other: int = 0, tokens: int = 1_000_000
) -> ModelCost:
    return ModelCost(
        f"models/{model}",
        UsageCount(10, 0, Usage(prompt_tokens=tokens)),
        Price("CNY", prompt=Decimal(price)) if price is not None else None,
        OutcomeCount(accepted, 0, other),
    )


def suggestion(*models: ModelCost) -> tuple[str, str]:
    task = cost_of_task("t", models)
    return task.suggested_model, f"{task.saving}"


def test_few_outcomes_suggest_nothing_and_many_do() -> None:
    # 9 of 10: the interval begins at .60. 900 of 1,000: at .88.
    assert suggestion(cost("large", "8", 90, 10), cost("small", "1", 9, 1)) == ("", "0")
    assert suggestion(cost("large", "8", 90, 10), cost("small", "1", 900, 100)) == (
        "models/small",
        "7",
    )


def test_the_lower_end_may_lie_five_points_below_and_not_more() -> None:
    low, _ = wilson_interval(900, 1000)
    below = round((low + 0.05) * 10_000) - 1
    assert suggestion(cost("a", "8", below, 10_000 - below), cost("b", "1", 900, 100))[0]
    above = below + 2
    assert not suggestion(cost("a", "8", above, 10_000 - above), cost("b", "1", 900, 100))[0]


def test_of_several_the_one_that_saves_most_is_suggested_and_all_dearer_ones_count() -> None:
    large, middle, small = (
        cost("large", "8", 900, 100),
        cost("middle", "4", 900, 100),
        cost("small", "1", 900, 100),
    )
    assert suggestion(small, large, middle) == ("models/small", "10")


def test_a_model_without_price_costs_nothing() -> None:
    assert suggestion(cost("large", "8", 90, 10), cost("own", None, 900, 100)) == (
        "models/own",
        "8",
    )


@pytest.mark.parametrize(
    ("models", "reason"),
    [
        ([cost("own", None, 5)], "No model of this task cost anything"),
        ([cost("large", "8", 5)], "No cheaper model served this task"),
        ([cost("large", "8", 5), cost("larger", "9", 5)], "No outcomes|cheaper|certain"),
        ([cost("large", "8", 5), cost("small", "1")], "No outcomes were recorded for models/small"),
        ([cost("large", "8"), cost("small", "1", 5)], "No outcomes were recorded for models/large"),
        ([cost("large", "8", 9, 1), cost("small", "1", 5, 5)], "It is not certain"),
    ],
)
def test_without_a_suggestion_the_reason_is_told(models: list[ModelCost], reason: str) -> None:
    task = cost_of_task("t", models)
    assert not task.suggested_model
    assert any(each in task.reason for each in reason.split("|"))


def test_costs_are_exact() -> None:
    price = Price("CNY", prompt=Decimal("0.1"), completion=Decimal("999999999.999999999"))
    usage = Usage(prompt_tokens=3, completion_tokens=10**12 + 1)
    assert f"{price.of(usage):f}" == "1000000000000999.999000299999999"


@pytest.mark.parametrize(
    ("hits", "total", "low", "high"),
    [
        (0, 0, 0, 0),
        (0, 10, 0, 0.2775),
        (10, 10, 0.7225, 1),
        (5, 10, 0.2366, 0.7634),
        (90, 100, 0.8256, 0.9448),
    ],
)
def test_intervals_are_wilsons(hits: int, total: int, low: float, high: float) -> None:
    assert wilson_interval(hits, total) == pytest.approx((low, high), abs=5e-5)
