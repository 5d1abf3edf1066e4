"""The OpenAI API, as clients speak it: what is answered, what is refused and how that reads."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from atrium.gateway.v1 import gateway_pb2, gateway_service_pb2
from atrium_gateway.adapters.scripted_backend import ScriptedReply
from atrium_gateway.domain.errors import UpstreamFailed, UpstreamTimedOut
from atrium_gateway.domain.generation import Role, ToolChoice, ToolMode
from atrium_gateway.openai_http.app import MOST_BODY_BYTES
from atrium_gateway.testing import ServedGateway, serve_gateway
from atrium_shared.http_server import HttpServer, listen
from atrium_shared.principal import QuotaUnit, QuotaWindow, TenantQuota
from atrium_shared.testing import Decision, FakeAuthenticator, eventually, make_principal

HELLO = [{"role": "user", "content": "hello"}]


class Api:
    """The API of a served gateway over a real socket."""

    def __init__(self, gateway: ServedGateway, http: httpx.AsyncClient) -> None:
        self.gateway = gateway
        self.http = http

    async def chat(self, key: str = "acme", **body: Any) -> httpx.Response:
        sent = {"model": "default", "messages": HELLO, **body}
        headers = {"authorization": f"Bearer {key}"} if key else {}
        return await self.http.post("/v1/chat/completions", json=sent, headers=headers)

    async def embed(self, **body: Any) -> httpx.Response:
        headers = {"authorization": "Bearer acme"}
        return await self.http.post(
            "/v1/embeddings", json={"model": "embed", **body}, headers=headers
        )

    async def get(self, path: str, key: str = "acme") -> httpx.Response:
        return await self.http.get(path, headers={"authorization": f"Bearer {key}"})


@asynccontextmanager
async def serve_api(folder: Path, **options: Any) -> AsyncIterator[Api]:
    async with serve_gateway(folder, **options) as gateway:
        listener = listen("127.0.0.1:0", "TEST")
        port = listener.getsockname()[1]
        server = HttpServer(gateway.http, listener)
        await server.start()
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
                yield Api(gateway, http)
        finally:
            await server.stop()


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with serve_api(tmp_path) as api:
        yield api


def error_of(response: httpx.Response) -> dict[str, Any]:
    error: dict[str, Any] = response.json()["error"]
    assert error["message"]
    return error


def events_of(text: str) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


# What is refused, and how it reads.


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"model": None}, "model", "PARAMETER_INVALID"),
    ({"model": 3}, "model", "PARAMETER_INVALID"),
    ({"messages": None}, "messages", "PARAMETER_INVALID"),
    ({"messages": []}, "messages", "PARAMETER_INVALID"),
    ({"messages": "hello"}, "messages", "PARAMETER_INVALID"),
    ({"messages": [{"role": "user"}]}, "messages[0].content", "PARAMETER_INVALID"),
    ({"messages": [{"content": "x"}]}, "messages[0].role", "PARAMETER_INVALID"),
    (
        {"messages": [{"role": "wizard", "content": "x"}]},
        "messages[0].role",
        "PARAMETER_INVALID",
    ),
    (
        {"messages": [{"role": "tool", "content": "x"}]},
        "messages[0].tool_call_id",
        "PARAMETER_INVALID",
    ),
    (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
        "messages[0].content[0].type",
        "PARAMETER_UNSUPPORTED",
    ),
    ({"max_tokens": -1}, "max_tokens", "PARAMETER_INVALID"),
    ({"max_tokens": "many"}, "max_tokens", "PARAMETER_INVALID"),
    ({"max_completion_tokens": 0}, "max_completion_tokens", "PARAMETER_INVALID"),
    ({"temperature": 3}, "temperature", "PARAMETER_INVALID"),
    ({"temperature": -0.1}, "temperature", "PARAMETER_INVALID"),
    ({"seed": 1 << 63}, "seed", "PARAMETER_INVALID"),
    ({"stop": [""]}, "stop", "PARAMETER_INVALID"),
    ({"stop": ["x"] * 9}, "stop", "PARAMETER_INVALID"),
    ({"n": 2}, "n", "PARAMETER_UNSUPPORTED"),
    ({"n": True}, "n", "PARAMETER_UNSUPPORTED"),
    ({"logprobs": True}, "logprobs", "PARAMETER_UNSUPPORTED"),
    ({"top_p": 0.5}, "top_p", "PARAMETER_UNSUPPORTED"),
    ({"functions": [{"name": "f"}]}, "functions", "PARAMETER_UNSUPPORTED"),
    ({"modalities": ["audio"]}, "modalities", "PARAMETER_UNSUPPORTED"),
    (
        {"stream_options": {"include_usage": True}},
        "stream_options",
        "PARAMETER_INVALID",
    ),
    (
        {"response_format": {"type": "grammar"}},
        "response_format.type",
        "PARAMETER_UNSUPPORTED",
    ),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}},
        "response_format.json_schema.schema",
        "PARAMETER_INVALID",
    ),
    ({"tools": [{"type": "retrieval"}]}, "tools[0].type", "PARAMETER_UNSUPPORTED"),
    ({"tools": [{"type": "function"}]}, "tools[0].function", "PARAMETER_INVALID"),
    (
        {"tools": [{"type": "function", "function": {"name": "a b"}}]},
        "tools[0].function.name",
        "PARAMETER_INVALID",
    ),
    ({"tool_choice": "auto"}, "tool_choice", "PARAMETER_INVALID"),
    (
        {
            "tools": [{"type": "function", "function": {"name": "a"}}],
            "tool_choice": {"type": "function", "function": {"name": "b"}},
        },
        "tool_choice.function.name",
        "PARAMETER_INVALID",
    ),
    ({"metadata": {"a": 1}}, "metadata.a", "PARAMETER_INVALID"),
]


async def test_a_wrong_parameter_is_refused_by_name(api: Api) -> None:
    for change, param, code in WRONG:
        response = await api.chat(**change)
        error = error_of(response)
        assert (response.status_code, error["param"], error["code"]) == (400, param, code), change
        assert error["type"] == "invalid_request_error"
    assert not api.gateway.scripted.prompts


async def test_what_is_no_json_object_is_refused(api: Api) -> None:
    headers = {"authorization": "Bearer acme"}
    for body in (
        b"",
        b"{",
        b"[]",
        b'"text"',
        b"\xff\xfe",
        b'{"model": "default", "messages": nul}',
    ):
        response = await api.http.post("/v1/chat/completions", content=body, headers=headers)
        assert (response.status_code, error_of(response)["code"]) == (400, "BODY_MALFORMED"), body


async def test_a_task_without_a_route_is_an_unknown_model(api: Api) -> None:
    for model in ("gpt-4o", "models/scripted", "default.", "x" * 200):
        response = await api.chat(model=model)
        error = error_of(response)
        assert (response.status_code, error["code"], error["param"]) == (
            404,
            "model_not_found",
            "model",
        )
    assert (await api.get("/v1/models/gpt-4o")).status_code == 404


async def test_who_is_not_known_or_may_not_is_refused_before_the_body_is_read(api: Api) -> None:
    for key, status, code in (
        ("", 401, "invalid_api_key"),
        ("wrong", 401, "invalid_api_key"),
        ("guest", 403, "PERMISSION_DENIED"),
    ):
        headers = {"authorization": f"Bearer {key}"} if key else {}
        for path in ("/v1/chat/completions", "/v1/embeddings"):
            response = await api.http.post(path, content=b"{", headers=headers)
            assert (response.status_code, error_of(response)["code"]) == (status, code)
        response = await api.http.get("/v1/models", headers=headers)
        assert response.status_code == status
        assert ("www-authenticate" in response.headers) is (status == 401)
    assert [(each.action, each.decision) for each in api.gateway.audit.events] == [
        ("gateway.ChatCompletions", Decision.DENIED),
        ("gateway.Embeddings", Decision.DENIED),
        ("gateway.Models", Decision.DENIED),
    ]


async def test_a_prompt_of_10_mb_gets_a_clear_error_and_a_larger_body_is_not_read(
    api: Api,
) -> None:
    response = await api.chat(messages=[{"role": "user", "content": "word " * 2_000_000}])
    error = error_of(response)
    assert (response.status_code, error["code"]) == (400, "context_length_exceeded")
    assert (error["reason"], error["param"]) == ("PROMPT_TOO_LONG", "messages")

    headers = {"authorization": "Bearer acme"}
    large = b"x" * (MOST_BODY_BYTES + 1)
    response = await api.http.post("/v1/chat/completions", content=large, headers=headers)
    assert (response.status_code, error_of(response)["code"]) == (413, "BODY_TOO_LARGE")

    async def in_pieces() -> AsyncIterator[bytes]:
        for _ in range(13):
            yield b"x" * (1 << 20)

    response = await api.http.post("/v1/chat/completions", content=in_pieces(), headers=headers)
    assert (response.status_code, error_of(response)["code"]) == (413, "BODY_TOO_LARGE")


async def test_other_paths_and_methods_are_not_found_in_openais_shape(api: Api) -> None:
    for method, path in (
        ("GET", "/v1/chat/completions"),
        ("POST", "/v1/completions"),
        ("POST", "/v1/models"),
    ):
        response = await api.http.request(method, path)
        error = error_of(response)
        assert (response.status_code, error["code"]) == (404, "PATH_UNKNOWN")
        assert f"{method} {path}." in error["message"]
        assert "x-request-id" not in response.headers


async def test_an_empty_or_a_second_user_is_refused(api: Api) -> None:
    for users in ([""], ["lin", "max"]):
        headers = [("authorization", "Bearer acme"), *(("x-atrium-user", user) for user in users)]
        response = await api.http.get("/v1/models", headers=headers)
        assert (response.status_code, error_of(response)["code"]) == (401, "invalid_api_key")


async def test_a_model_that_fails_before_its_first_word_has_a_status(api: Api) -> None:
    for raised, status, code in (
        (UpstreamFailed("models/scripted", "HTTP 500"), 502, "UPSTREAM_FAILED"),
        (UpstreamTimedOut("models/scripted", 3), 504, "UPSTREAM_TIMED_OUT"),
    ):
        for stream in (False, True):
            api.gateway.scripted.enqueue(raised)
            response = await api.chat(stream=stream)
            assert (response.status_code, error_of(response)["code"]) == (status, code)
            assert response.headers["retry-after"] == "1"


async def test_without_a_model_a_call_says_what_to_do(tmp_path: Path) -> None:
    async with serve_api(tmp_path, with_scripted=False) as api:
        response = await api.chat()
        assert (response.status_code, error_of(response)["code"]) == (503, "TASK_HAS_NO_MODEL")


async def test_a_quota_that_is_used_up_says_when_to_come_back(tmp_path: Path) -> None:
    one_a_day = TenantQuota(QuotaUnit.REQUESTS, QuotaWindow.DAY, 1)
    async with serve_api(tmp_path, quotas={"acme": [one_a_day]}) as api:
        assert (await api.chat()).status_code == 200
        response = await api.chat()
        error = error_of(response)
        assert (response.status_code, error["code"]) == (429, "rate_limit_exceeded")
        assert (error["reason"], error["metadata"]["remaining"]) == ("QUOTA_EXHAUSTED", "0")
        assert 3600 < int(response.headers["retry-after"]) <= 24 * 3600
    no_more = TenantQuota(QuotaUnit.TOKENS, QuotaWindow.DAY, 1)
    async with serve_api(tmp_path, quotas={"acme": [no_more]}) as api:
        response = await api.chat()
        assert response.status_code == 429
        assert "retry-after" not in response.headers


async def test_what_nobody_foresaw_shows_the_trace_alone(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.gateway.scripted.enqueue(ScriptedReply("said ", error=RuntimeError("secret words")))
    response = await api.chat()
    error = error_of(response)
    assert (response.status_code, error["code"]) == (500, "INTERNAL")
    assert "secret" not in response.text
    assert error["trace_id"] == response.headers["x-request-id"] != ""


async def test_a_stream_that_breaks_ends_with_an_error_event(api: Api) -> None:
    broken = UpstreamFailed("models/scripted", "the connection broke off")
    api.gateway.scripted.enqueue(ScriptedReply("one two ", error=broken))
    response = await api.chat(stream=True)
    assert response.status_code == 200
    *parts, last = events_of(response.text)
    assert "".join(each["choices"][0]["delta"].get("content", "") for each in parts) == "one two "
    assert last["error"]["code"] == "UPSTREAM_FAILED"


async def test_a_client_that_leaves_stops_the_model_and_is_recorded(api: Api) -> None:
    slow = ScriptedReply("one two three four five", pause_seconds=0.2)
    body = {"model": "default", "messages": HELLO, "stream": True}
    headers = {"authorization": "Bearer acme"}
    api.gateway.scripted.enqueue(slow)
    async with api.http.stream(
        "POST", "/v1/chat/completions", json=body, headers=headers
    ) as response:
        async for _ in response.aiter_lines():
            break
    await eventually(lambda: api.gateway.scripted.cancelled == 1)

    api.gateway.scripted.enqueue(slow)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await api.chat()
    await eventually(lambda: api.gateway.scripted.cancelled == 2)
    await eventually(lambda: len(api.gateway.audit.events) == 2)
    assert {each.detail for each in api.gateway.audit.events} == {"CANCELLED"}


async def test_a_stream_ends_when_its_caller_loses_the_permission(api: Api) -> None:
    api.gateway.scripted.enqueue(ScriptedReply("word " * 500, pause_seconds=0.2))
    authenticator = api.gateway.authenticator
    assert isinstance(authenticator, FakeAuthenticator)
    stream = asyncio.create_task(api.chat(stream=True))
    await eventually(lambda: api.gateway.scripted.prompts)
    await asyncio.sleep(0.25)
    await authenticator.change("acme", make_principal(tenant="acme"))
    response = await stream
    assert events_of(response.text)[-1]["error"]["code"] == "PERMISSION_DENIED"
    assert api.gateway.scripted.cancelled == 1


# What is answered.


async def test_a_whole_reply_has_openais_shape(api: Api) -> None:
    response = await api.chat(
        messages=[
            {"role": "developer", "content": "Be kind."},
            {"role": "user", "content": [{"type": "text", "text": "hel"},
                                         {"type": "text", "text": "lo"}]},
        ],
        temperature=1, seed=7, stop="!", max_tokens=64, n=1, user="someone", top_p=1,
        metadata={"order": "17"}, a_field_of_next_year={"x": 1}, logprobs=None,
    )  # fmt: skip
    assert response.status_code == 200
    body = response.json()
    assert body["object"] == "chat.completion"
    assert body["model"] == "scripted"
    [choice] = body["choices"]
    assert choice["message"] == {
        "role": "assistant", "content": "scripted: hello", "refusal": None,
    }  # fmt: skip
    assert choice["finish_reason"] == "stop"
    usage = body["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] == 5
    assert body["atrium"]["degraded"] is False
    assert body["atrium"]["generation"].startswith("generations/")
    [prompt] = api.gateway.scripted.prompts
    assert [each.role for each in prompt.messages] == [Role.SYSTEM, Role.USER]
    assert (prompt.temperature, prompt.seed, prompt.stop, prompt.max_tokens) == (1.0, 7, ("!",), 64)


async def test_a_stream_has_openais_shape_and_ends_with_done(api: Api) -> None:
    response = await api.chat(stream=True, stream_options={"include_usage": True})
    assert response.headers["content-type"].startswith("text/event-stream")
    first, *parts, end, usage, done = events_of(response.text)
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    text = "".join(each["choices"][0]["delta"]["content"] for each in parts)
    assert text == "scripted: hello"
    assert end["choices"][0]["finish_reason"] == "stop"
    assert (usage["choices"], usage["usage"]["total_tokens"]) == ([], 3)
    assert done == "[DONE]"
    assert len({each["id"] for each in (first, *parts, end, usage)}) == 1


async def test_usage_is_left_out_of_a_stream_that_does_not_ask(api: Api) -> None:
    response = await api.chat(stream=True)
    assert not any("usage" in each for each in events_of(response.text)[:-1])


async def test_json_modes_reach_the_model_as_schemas_in_their_order(api: Api) -> None:
    await api.chat(response_format={"type": "json_object"})
    schema = {
        "type": "object",
        "properties": {"zebra": {"type": "string"}, "ant": {"type": "integer"}},
        "required": ["zebra", "ant"],
    }
    sent = {"name": "reply", "strict": True, "schema": schema}
    response = await api.chat(response_format={"type": "json_schema", "json_schema": sent})
    assert response.json()["choices"][0]["message"]["content"] == '{"zebra": "scripted", "ant": 0}'
    asked = [prompt.response_schema for prompt in api.gateway.scripted.prompts]
    assert asked == [{"type": "object"}, schema]
    assert list(asked[1]["properties"]) == ["zebra", "ant"]
    response = await api.chat(
        response_format={"type": "json_schema", "json_schema": {"schema": {"type": "wizard"}}}
    )
    assert (response.status_code, error_of(response)["code"]) == (400, "SCHEMA_UNSUPPORTED")


async def test_tools_and_their_answers_reach_the_model(api: Api) -> None:
    call = {
        "id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'},
    }  # fmt: skip
    await api.chat(
        messages=[
            *HELLO,
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "seen"},
        ],
        tools=[{"type": "function", "function": {"name": "look", "description": "Looks."}}],
        tool_choice={"type": "function", "function": {"name": "look"}},
    )
    [prompt] = api.gateway.scripted.prompts
    assert prompt.tool_choice == ToolChoice(ToolMode.REQUIRED, "look")
    assert [tool.description for tool in prompt.tools] == ["Looks."]
    assert prompt.messages[1].tool_calls[0].arguments == '{"at": 1}'
    assert prompt.messages[2].tool_call_id == "c1"


async def test_a_task_below_a_route_is_served_and_counted_under_its_own_name(api: Api) -> None:
    route = gateway_pb2.Route(
        name="routes/docs", candidates=[gateway_pb2.Route.Candidate(model="models/scripted")]
    )
    await api.gateway.catalog.UpdateRoute(gateway_service_pb2.UpdateRouteRequest(route=route))
    assert (await api.chat(model="docs.continue")).status_code == 200
    assert (await api.chat(key="globex", model="docs.continue")).status_code == 404
    await eventually(lambda: any(each.resource == "tasks/docs.continue"
                                 for each in api.gateway.audit.events))  # fmt: skip
    usage = await api.gateway.catalog.ListUsage(gateway_service_pb2.ListUsageRequest())
    assert [each.task for each in usage.records] == ["docs.continue"]

    listed = (await api.get("/v1/models")).json()["data"]
    owners = {each["id"]: each["owned_by"] for each in listed}
    assert owners == {"default": "atrium", "docs": "acme", "embed": "atrium", "read": "atrium"}
    assert [each["atrium"]["models"] for each in listed if each["id"] == "docs"] == [
        ["models/scripted"]
    ]
    assert (await api.get("/v1/models/docs.continue")).json()["id"] == "docs.continue"
    others = (await api.get("/v1/models", key="globex")).json()["data"]
    assert "docs" not in {each["id"] for each in others}


async def test_vectors_come_as_floats_and_as_base64(api: Api) -> None:
    floats = (await api.embed(input=["red fox", "blue whale"])).json()
    assert [each["index"] for each in floats["data"]] == [0, 1]
    one = (await api.embed(input="red fox", encoding_format="base64")).json()
    decoded = np.frombuffer(base64.b64decode(one["data"][0]["embedding"]), "<f4")
    assert np.allclose(decoded, floats["data"][0]["embedding"])
    assert np.isclose(np.linalg.norm(decoded), 1)
    assert floats["usage"] == {"prompt_tokens": 4, "total_tokens": 4}
    await api.embed(input="red fox", input_type="query")
    kinds = [kind.value for _, kind in api.gateway.scripted.embedded]
    assert kinds == ["passage", "passage", "query"]


async def test_a_wrong_embedding_request_names_its_parameter(api: Api) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({}, "input"),
        ({"input": []}, "input"),
        ({"input": 7}, "input"),
        ({"input": [1, 2, 3]}, "input"),
        ({"input": [[1, 2], [3]]}, "input"),
        ({"input": ["a", None]}, "input[1]"),
        ({"input": ["a" * 100_001]}, "input[0]"),
        ({"input": ["a"] * 2049}, "input"),
        ({"input": "a", "encoding_format": "int8"}, "encoding_format"),
        ({"input": "a", "dimensions": 7}, "dimensions"),
    ]
    for change, param in wrong:
        response = await api.embed(**change)
        assert (response.status_code, error_of(response)["param"]) == (400, param), change


async def test_tokens_instead_of_texts_are_refused_with_what_to_do(api: Api) -> None:
    error = error_of(await api.embed(input=[[1, 2], [3]]))
    assert error["code"] == "PARAMETER_UNSUPPORTED"
    assert "check_embedding_ctx_length" in error["message"]
