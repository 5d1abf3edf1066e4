"""Quotas over gRPC: setting them, and calls that they stop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from atrium.gateway.v1 import gateway_pb2, quota_service_pb2
from atrium.gateway.v1.gateway_service_pb2_grpc import ModelGatewayStub
from atrium.gateway.v1.quota_service_pb2_grpc import QuotaServiceStub
from atrium_gateway.testing import Answer as UpstreamAnswer
from atrium_gateway.testing import (
    FakeUpstream,
    ServedGateway,
    delta,
    failure,
    fake_upstream,
    refusal,
    reply,
    serve_gateway,
)
from atrium_shared.audit import Decision
from atrium_shared.principal import QuotaUnit, QuotaWindow, TenantQuota
from atrium_shared.testing import eventually

Quota = quota_service_pb2.Quota
OPERATOR = {
    "acme": [
        TenantQuota(QuotaUnit.TOKENS, QuotaWindow.DAY, 1000),
        TenantQuota(QuotaUnit.REQUESTS, QuotaWindow.MINUTE, 5),
    ]
}


@pytest.fixture
async def upstream_served(tmp_path: Path) -> AsyncIterator[tuple[FakeUpstream, ServedGateway]]:
    """A gateway in front of a server that counts tokens, with the operator's quotas."""
    async with (
        fake_upstream() as upstream,
        serve_gateway(
            tmp_path,
            routes={"default": [{"model": "models/remote"}]},
            quotas=OPERATOR,
            LLM_URL=upstream.url,
            LLM_MODEL="tiny",
        ) as served,
    ):
        yield upstream, served


def quota(name: str = "quotas/mine", **more: Any) -> quota_service_pb2.Quota:
    return Quota(**{"name": name, "unit": Quota.TOKENS, "window": Quota.DAY, "limit": 100, **more})


def update(quota: quota_service_pb2.Quota) -> quota_service_pb2.UpdateQuotaRequest:
    return quota_service_pb2.UpdateQuotaRequest(quota=quota)


def stub(served: ServedGateway, who: str = "acme") -> Any:
    return QuotaServiceStub(served.open_channel(who))


async def quotas_of(quotas: Any, **more: Any) -> list[quota_service_pb2.Quota]:
    page = await quotas.ListQuotas(quota_service_pb2.ListQuotasRequest(**more))
    return list(page.quotas)


def prompt(max_tokens: int = 50, task: str = "docs.continue") -> gateway_pb2.GenerateRequest:
    message = gateway_pb2.Message(role=gateway_pb2.Message.USER, content="hello world")
    return gateway_pb2.GenerateRequest(task=task, messages=[message], max_tokens=max_tokens)


async def used(served: ServedGateway, name: str = "quotas/operator-tokens-day") -> int:
    found = {each.name: each.used for each in await quotas_of(stub(served))}
    return found[name]


# Setting


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (quota(limit=-1), "FIELD_INVALID"),
        (quota(name="quotas/"), "FIELD_INVALID"),
        (quota(name="mine"), "FIELD_INVALID"),
        (quota(unit=0), "FIELD_INVALID"),
        (quota(window=9), "FIELD_INVALID"),
        (quota(subject="users/lin"), "QUOTA_INVALID"),
        (quota(subject="tasks/"), "QUOTA_INVALID"),
        (quota(name="quotas/operator-tokens-day"), "QUOTA_INVALID"),
    ],
)
async def test_a_quota_that_cannot_be_is_refused_and_not_stored(
    served: ServedGateway, wrong: quota_service_pb2.Quota, reason: str
) -> None:
    error = await refusal(stub(served).UpdateQuota(update(wrong)))
    assert error.reason == reason
    assert error.field is not None
    assert await quotas_of(stub(served)) == []
    assert all(event.action != "gateway.UpdateQuota" for event in served.audit.events)


async def test_a_quota_is_set_listed_with_its_use_replaced_and_removed(
    upstream_served: tuple[FakeUpstream, ServedGateway],
) -> None:
    upstream, served = upstream_served
    quotas = stub(served)
    set_ = await quotas.UpdateQuota(update(quota(subject="tasks/docs", limit=900)))
    assert (set_.used, set_.origin) == (0, Quota.TENANT)
    assert set_.reset_time.ToJsonString() == "2030-01-03T00:00:00Z"
    upstream.enqueue(reply("hi", prompt_tokens=7))
    await served.models.Generate(prompt())
    assert [(each.name, each.used, each.origin) for each in await quotas_of(quotas)] == [
        ("quotas/mine", 8, Quota.TENANT),
        ("quotas/operator-requests-minute", 1, Quota.OPERATOR),
        ("quotas/operator-tokens-day", 8, Quota.OPERATOR),
    ]
    replaced = await quotas.UpdateQuota(update(quota(subject="tasks/docs", limit=8)))
    assert replaced.used == 8
    error = await refusal(served.models.Generate(prompt()))
    assert error.metadata["quota"] == "quotas/mine"
    await quotas.DeleteQuota(quota_service_pb2.DeleteQuotaRequest(name="quotas/mine"))
    await served.models.Generate(prompt())
    changes = [event for event in served.audit.events if event.action.endswith("Quota")]
    assert [(event.action, event.resource, event.decision) for event in changes] == [
        ("gateway.UpdateQuota", "quotas/mine", Decision.ALLOWED),
        ("gateway.UpdateQuota", "quotas/mine", Decision.ALLOWED),
        ("gateway.DeleteQuota", "quotas/mine", Decision.ALLOWED),
    ]
    assert changes[0].detail == "900 tokens a day, tasks/docs"


@pytest.mark.parametrize("name", ["quotas/none", "quotas/operator-tokens-day"])
async def test_what_the_tenant_did_not_set_cannot_be_removed(
    upstream_served: tuple[FakeUpstream, ServedGateway], name: str
) -> None:
    served = upstream_served[1]
    request = quota_service_pb2.DeleteQuotaRequest(name=name)
    assert (await refusal(stub(served).DeleteQuota(request))).reason == "QUOTA_NOT_FOUND"
    assert len(await quotas_of(stub(served))) == 2


async def test_quotas_are_listed_in_pages_of_ones_own_tenant(served: ServedGateway) -> None:
    quotas = stub(served)
    for name in ("quotas/c", "quotas/a", "quotas/b"):
        await quotas.UpdateQuota(update(quota(name)))
    request = quota_service_pb2.ListQuotasRequest(page_size=2)
    first = await quotas.ListQuotas(request)
    assert [each.name for each in first.quotas] == ["quotas/a", "quotas/b"]
    request.page_token = first.next_page_token
    rest = await quotas.ListQuotas(request)
    assert [each.name for each in rest.quotas] == ["quotas/c"]
    assert rest.next_page_token == ""
    others = stub(served, "globex")
    assert await quotas_of(others) == []
    assert (await refusal(others.ListQuotas(request))).reason == "PAGE_TOKEN_INVALID"


@pytest.mark.parametrize("method", ["ListQuotas", "UpdateQuota", "DeleteQuota"])
async def test_quotas_need_a_permission(served: ServedGateway, method: str) -> None:
    requests = {
        "ListQuotas": quota_service_pb2.ListQuotasRequest(),
        "UpdateQuota": update(quota()),
        "DeleteQuota": quota_service_pb2.DeleteQuotaRequest(name="quotas/mine"),
    }
    call = getattr(stub(served, "guest"), method)(requests[method])
    assert (await refusal(call)).reason == "PERMISSION_DENIED"


# Calls


async def test_a_call_that_may_not_fit_is_refused_before_it_is_sent(
    upstream_served: tuple[FakeUpstream, ServedGateway],
) -> None:
    upstream, served = upstream_served
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await served.models.Generate(prompt(max_tokens=990))
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    error = await refusal(served.models.Generate(prompt(max_tokens=990)))
    assert error.reason == "QUOTA_EXHAUSTED"
    assert {key: error.metadata[key] for key in ("quota", "limit", "remaining", "reset_time")} == {
        "quota": "quotas/operator-tokens-day",
        "limit": "1000",
        "remaining": "1000",
        "reset_time": "2030-01-03T00:00:00Z",
    }
    assert upstream.posted == []
    assert await used(served, "quotas/operator-requests-minute") == 0


async def test_who_is_refused_is_told_when_to_try_again(
    upstream_served: tuple[FakeUpstream, ServedGateway],
) -> None:
    _, served = upstream_served
    for _ in range(5):
        await served.models.Generate(prompt())
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await served.models.Generate(prompt())
    details = dict(refused.value.trailing_metadata() or ())["grpc-status-details-bin"]
    assert isinstance(details, bytes)
    retry = error_details_pb2.RetryInfo()
    found = [each for each in status_pb2.Status.FromString(details).details if each.Unpack(retry)]
    assert len(found) == 1
    assert retry.retry_delay.ToSeconds() == 55
    served.clock.advance(55)
    await served.models.Generate(prompt())


async def test_a_server_that_fails_before_it_writes_costs_the_request_alone(
    upstream_served: tuple[FakeUpstream, ServedGateway],
) -> None:
    upstream, served = upstream_served
    upstream.enqueue(failure(400, code="bad"))
    await refusal(served.models.Generate(prompt()))
    assert await used(served) == 0
    assert await used(served, "quotas/operator-requests-minute") == 1


async def test_a_stream_that_breaks_off_costs_what_was_written(
    upstream_served: tuple[FakeUpstream, ServedGateway],
) -> None:
    upstream, served = upstream_served
    upstream.enqueue(UpstreamAnswer([delta("eight by"), delta("tes...")], cut=True))
    await refusal(served.models.StreamGenerate(prompt()))
    assert 4 <= await used(served) <= 20


async def test_a_stream_that_its_caller_leaves_costs_what_was_written(
    upstream_served: tuple[FakeUpstream, ServedGateway],
) -> None:
    upstream, served = upstream_served
    upstream.enqueue(UpstreamAnswer([delta("one two three four")], hang=True))
    call = served.models.StreamGenerate(prompt(max_tokens=500))
    async for _ in call:
        break
    assert await used(served) > 500  # reserved
    call.cancel()
    await eventually(lambda: upstream.left_at)
    for _ in range(200):
        if await used(served) < 50:
            break
    assert 4 <= await used(served) <= 20


async def test_a_call_that_is_tried_on_two_models_counts_once(tmp_path: Path) -> None:
    async with (
        fake_upstream() as upstream,
        serve_gateway(
            tmp_path,
            routes={"default": [{"model": "models/remote"}, {"model": "models/scripted"}]},
            quotas=OPERATOR,
            LLM_URL=upstream.url,
            LLM_MODEL="tiny",
        ) as served,
    ):
        upstream.enqueue(failure(400, code="bad"))
        answered = await served.models.Generate(prompt())
        assert answered.engine.degraded
        assert await used(served, "quotas/operator-requests-minute") == 1


async def test_encoders_count_too(tmp_path: Path) -> None:
    async with serve_gateway(
        tmp_path, routes={"default": [{"model": "models/scripted"}]}, quotas=OPERATOR
    ) as served:
        request = gateway_pb2.EmbedRequest(
            task="docs.embed", texts=["hello world"], kind=gateway_pb2.EmbedRequest.QUERY
        )
        answered = await served.models.Embed(request)
        assert await used(served) == answered.usage.encoder_tokens > 0


async def test_one_tenants_quota_does_not_touch_another(
    upstream_served: tuple[FakeUpstream, ServedGateway],
) -> None:
    _, served = upstream_served
    await stub(served).UpdateQuota(update(quota(unit=Quota.REQUESTS, limit=0)))
    assert (await refusal(served.models.Generate(prompt()))).reason == "QUOTA_EXHAUSTED"
    await ModelGatewayStub(served.open_channel("globex")).Generate(prompt())
