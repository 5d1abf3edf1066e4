"""What a tenant's residency lets out of the installation, and that nothing else gets out."""

from __future__ import annotations

import ast
import json
import time
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import struct_pb2
from google.protobuf.json_format import ParseDict

import atrium_gateway
from atrium.gateway.v1 import gateway_pb2
from atrium_gateway.adapters.openai_server import OpenAIServer
from atrium_gateway.app.caller import Caller
from atrium_gateway.app.outside import NotCleared, OutsideEncoder, OutsideGenerator
from atrium_gateway.app.ports import Cleared, ClearedTexts, TextKind
from atrium_gateway.app.residency import RedactingGuard
from atrium_gateway.domain.errors import ResidencyForbids
from atrium_gateway.domain.generation import (
    ChatMessage,
    Prompt,
    Role,
    Source,
    Tool,
    ToolCall,
    ToolChoice,
    ToolMode,
)
from atrium_gateway.domain.models import Capability, Location, Model
from atrium_gateway.domain.pii import Detector, Found
from atrium_gateway.domain.web_pages import WebPage
from atrium_gateway.testing import (
    Answer,
    FakeUpstream,
    counts,
    delta,
    event,
    fake_upstream,
    refusal,
    reply,
    serve_gateway,
)
from atrium_shared.principal import Residency
from atrium_shared.testing import make_principal

MOBILE, BANK_CARD, ID_CARD = "13800138000", "6222020200112230", "11010519491231002X"
MAIL = "li.na@example.com"
SECRETS = (MOBILE, BANK_CARD, ID_CARD, MAIL)

OUTSIDE = Model("models/far", "openai", frozenset({Capability.GENERATE}))
RESIDENT = Model(
    "models/near", "openai", frozenset({Capability.GENERATE}), location=Location.RESIDENT
)


def caller(residency: Residency) -> Caller:
    return Caller(make_principal(residency=residency), "docs.continue")


def crash(text: str) -> Iterator[Found]:
    raise RuntimeError(f"a pattern broke at {text}")
    yield


def hang(text: str) -> Iterator[Found]:
    time.sleep(0.03)
    yield from ()


def guard(*finders: Any, timeout_seconds: float = 30.0) -> RedactingGuard:
    return RedactingGuard(
        Detector(finders) if finders else Detector(), timeout_seconds=timeout_seconds
    )


def user(text: str) -> Prompt:
    return Prompt((ChatMessage(Role.USER, text),))


def remote(upstream: FakeUpstream, **more: str) -> dict[str, str]:
    return {"LLM_URL": upstream.url, "LLM_MODEL": "tiny", **more}


def route_to(*models: str) -> dict[str, Any]:
    return {"default": [{"model": f"models/{name}"} for name in models]}


def ask(text: str, **more: Any) -> gateway_pb2.GenerateRequest:
    messages = [gateway_pb2.Message(role=gateway_pb2.Message.USER, content=text)]
    return gateway_pb2.GenerateRequest(task="docs.continue", messages=messages, **more)


def sent_to(upstream: FakeUpstream) -> str:
    """Everything that an upstream got, as one text."""
    return json.dumps([[each.path, each.body] for each in upstream.requests], ensure_ascii=False)


# What must not go


@pytest.mark.parametrize("method", ["Generate", "StreamGenerate", "Embed", "Rerank", "Classify"])
async def test_private_texts_go_to_no_model_outside(
    tmp_path: Path, upstream: FakeUpstream, method: str
) -> None:
    path = tmp_path / "servers.yaml"
    models = [
        {"name": "models/far", "upstream_model": "tiny"},
        {"name": "models/farther", "upstream_model": "tiny", "capability": "embed"},
    ]
    path.write_text(json.dumps({"servers": [{"url": upstream.url, "models": models}]}))
    requests = {
        "Generate": ask("canary"),
        "StreamGenerate": ask("canary"),
        "Embed": gateway_pb2.EmbedRequest(task="t", texts=["canary"], kind=1),
        "Rerank": gateway_pb2.RerankRequest(task="t", query="canary", texts=["canary"]),
        "Classify": gateway_pb2.ClassifyRequest(
            task="t", texts=["canary"], labels=[{"id": "a", "description": "canary"}]
        ),
    }
    async with serve_gateway(
        tmp_path,
        routes=route_to("far", "farther"),
        with_scripted=False,
        residency=Residency.PRIVATE_ONLY,
        GATEWAY_SERVERS_FILE=str(path),
    ) as served:
        error = await refusal(getattr(served.models, method)(requests[method]))
        assert (error.code, error.reason) == (
            grpc.StatusCode.PERMISSION_DENIED,
            "RESIDENCY_FORBIDS",
        )
        assert error.metadata["residency"] == "private_only"
        assert "outside" in error.message
    assert not upstream.posted


async def test_private_texts_go_to_the_next_model_that_is_inside(
    tmp_path: Path, upstream: FakeUpstream
) -> None:
    routes = route_to("tiny", "scripted")
    variables = remote(upstream)
    async with serve_gateway(
        tmp_path, routes=routes, residency=Residency.PRIVATE_ONLY, **variables
    ) as served:
        served.scripted.enqueue("Inside.")
        response = await served.models.Generate(ask("canary"))
    assert response.text == "Inside."
    assert response.engine.degraded
    assert "residency (private_only) forbids" in response.engine.degraded_reason
    assert not upstream.posted


async def test_a_server_that_the_operator_calls_resident_gets_private_texts(
    tmp_path: Path, upstream: FakeUpstream
) -> None:
    variables = remote(upstream, LLM_LOCATION="resident")
    async with serve_gateway(
        tmp_path, routes=route_to("tiny"), residency=Residency.PRIVATE_ONLY, **variables
    ) as served:
        assert (await served.models.Generate(ask(f"call {MOBILE}"))).text == f"call {MOBILE}"


@pytest.mark.parametrize("residency", ["", "anywhere", None])
async def test_a_residency_that_nobody_knows_lets_nothing_out(residency: Any) -> None:
    with pytest.raises(ResidencyForbids):
        await guard().clear(caller(residency), OUTSIDE, user("canary"))
    with pytest.raises(ResidencyForbids):
        await guard().clear_texts(caller(residency), OUTSIDE, ["canary"])


async def test_a_principal_of_whom_nothing_is_known_keeps_texts_inside() -> None:
    unknown = Caller(make_principal(), "docs.continue")
    with pytest.raises(ResidencyForbids):
        await guard().clear(unknown, OUTSIDE, user("canary"))
    cleared = await guard().clear(unknown, RESIDENT, user("canary"))
    assert cleared.prompt == user("canary")


# A search that fails


@pytest.mark.parametrize(
    "broken", [guard(crash), guard(hang, timeout_seconds=0.001)], ids=["crash", "timeout"]
)
async def test_a_search_that_fails_is_a_refusal_that_repeats_nothing(
    broken: RedactingGuard, caplog: pytest.LogCaptureFixture
) -> None:
    calls = (
        broken.clear(caller(Residency.HYBRID), OUTSIDE, user(f"canary {MOBILE}")),
        broken.clear_texts(caller(Residency.HYBRID), OUTSIDE, [f"canary {MOBILE}"]),
    )
    for call in calls:
        with pytest.raises(ResidencyForbids) as caught:
            await call
        assert caught.value.reason == "RESIDENCY_FORBIDS"
        assert "search" in caught.value.message
        assert "canary" not in f"{caught.value.message} {caught.value.__cause__} {caplog.text}"


async def test_nothing_reaches_the_server_while_the_search_crashes(
    tmp_path: Path, upstream: FakeUpstream
) -> None:
    async with serve_gateway(
        tmp_path,
        routes=route_to("tiny", "scripted"),
        residency=Residency.HYBRID,
        detector=Detector([crash]),
        **remote(upstream),
    ) as served:
        served.scripted.enqueue("Inside.")
        response = await served.models.Generate(ask("canary"))
        assert "the search for it failed" in response.engine.degraded_reason
    assert not upstream.posted


async def test_a_number_that_is_left_after_all_is_a_refusal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def misplaced(self: object, text: str, found: Any) -> str:
        return text + "."

    monkeypatch.setattr("atrium_gateway.app.residency.Redaction.hide", misplaced)
    with pytest.raises(ResidencyForbids) as caught:
        await guard().clear(caller(Residency.HYBRID), OUTSIDE, user(ID_CARD))
    assert "not all of it could be replaced" in caught.value.message


@pytest.mark.parametrize("where", ["tools", "tool_choice", "tool_calls"])
async def test_personal_data_in_the_name_of_a_tool_is_a_refusal(where: str) -> None:
    name = f"call_{MOBILE}"
    prompt = {
        "tools": Prompt((), tools=(Tool(name),)),
        "tool_choice": Prompt((), tool_choice=ToolChoice(ToolMode.REQUIRED, name)),
        "tool_calls": Prompt((ChatMessage(Role.ASSISTANT, "", (ToolCall("1", name, "{}"),)),)),
    }[where]
    with pytest.raises(ResidencyForbids) as caught:
        await guard().clear(caller(Residency.HYBRID), OUTSIDE, prompt)
    assert "name of a tool" in caught.value.message


async def test_a_schema_nested_without_end_is_a_refusal() -> None:
    schema: dict[str, Any] = {}
    for _ in range(5_000):
        schema = {"items": schema}
    with pytest.raises(ResidencyForbids):
        await guard().clear(caller(Residency.HYBRID), OUTSIDE, Prompt((), response_schema=schema))


# What goes with personal data replaced


def whole_prompt() -> Prompt:
    """A prompt with personal data in every place that a server can get to see."""
    schema = {"properties": {MAIL: {"enum": [MOBILE, 13800138000.0], "const": int(BANK_CARD)}}}
    return Prompt(
        messages=(
            ChatMessage(Role.SYSTEM, f"Never tell {ID_CARD}."),
            ChatMessage(Role.USER, f"联系人：王小明，{MOBILE}"),
            ChatMessage(
                Role.ASSISTANT,
                f"王小明 {MAIL}",
                (
                    ToolCall(f"id {MOBILE}", "dial", json.dumps({"to": MOBILE, "n": 13800138000})),
                    ToolCall("b", "dial", '{"to": "\\u0031\\u0033800138000"}'),
                    ToolCall("c", "dial", f'{{"a": "{MOBILE}", "a": 1}}'),
                    ToolCall("d", "dial", f"not JSON {BANK_CARD}"),
                ),
            ),
            ChatMessage(Role.TOOL, f"dialled {MOBILE}", tool_call_id=f"id {MOBILE}"),
        ),
        response_schema=schema,
        stop=(MOBILE,),
        tools=(Tool("dial", f"Dials such as {MOBILE}", {"default": [MAIL, {ID_CARD: True}]}),),
        sources=(Source(MAIL, f"Card {BANK_CARD}"),),
        web_pages=(f"https://example.com/{MOBILE}",),
    )


async def test_no_part_of_a_prompt_keeps_personal_data() -> None:
    cleared = await guard().clear(caller(Residency.HYBRID), OUTSIDE, whole_prompt())
    sent = repr(cleared.prompt)
    for secret in (*SECRETS, "王小明", "u0031", "13800138000.0"):
        assert secret not in sent
    assert cleared.restoration is not None
    assert cleared.restoration.values == 5
    messages = cleared.prompt.messages
    assert messages[1].content == "联系人：⟦PERSON_1⟧，⟦PHONE_1⟧"
    assert messages[2].content == "⟦PERSON_1⟧ ⟦EMAIL_1⟧"  # known from the message before
    assert json.loads(messages[2].tool_calls[0].arguments) == {"to": "⟦PHONE_1⟧", "n": "⟦PHONE_1⟧"}
    assert messages[2].tool_calls[0].id == messages[3].tool_call_id == "id ⟦PHONE_1⟧"
    assert cleared.prompt.stop == ("⟦PHONE_1⟧",)


def test_no_part_of_a_prompt_was_forgotten() -> None:
    # Whoever adds a field adds it to rewritten() in app/residency.py, and here.
    assert {each.name for each in fields(Prompt)} == {
        *("messages", "response_schema", "stop", "tools", "tool_choice", "sources", "web_pages"),
        *("max_tokens", "temperature", "seed", "grounding", "aids", "cache"),  # hold no words
    }
    expected = {
        ChatMessage: {"role", "content", "tool_calls", "tool_call_id"},
        ToolCall: {"id", "name", "arguments"},
        Tool: {"name", "description", "parameters"},
        ToolChoice: {"mode", "tool"},
        Source: {"id", "text"},
    }
    for kind, names in expected.items():
        assert {each.name for each in fields(kind)} == names


async def test_a_prompt_without_personal_data_goes_word_for_word() -> None:
    prompt = Prompt(
        (ChatMessage(Role.USER, "订单20260315123456789 ⟦PHONE_1⟧"),),
        response_schema={"a": [1, 2.5, True, None]},
        tools=(Tool("dial", "x", {"minimum": 10**30}),),
    )
    cleared = await guard().clear(caller(Residency.HYBRID), OUTSIDE, prompt)
    assert cleared == Cleared(OUTSIDE.name, prompt)


async def test_replies_whole_and_streamed_have_the_values_again(
    tmp_path: Path, upstream: FakeUpstream
) -> None:
    text = f"客户 {MOBILE} 的卡 {BANK_CARD} 和证件 {ID_CARD} ，邮箱 {MAIL} 。"
    async with serve_gateway(
        tmp_path, routes=route_to("tiny"), residency=Residency.HYBRID, **remote(upstream)
    ) as served:
        whole = await served.models.Generate(ask(text))
        assert whole.text == text
        assert whole.redacted_values == 4
        letters = [delta(letter) for letter in "拨⟦phone_1⟧，发⟦ EMAIL 1 ⟧或⟦PHONE_7⟧"]
        upstream.enqueue(Answer([*letters, delta(None, "stop"), counts(9, 9), event("[DONE]")]))
        events = [each async for each in served.models.StreamGenerate(ask(text))]
    written = f"拨{MOBILE}，发{MAIL}或⟦PHONE_7⟧"
    assert "".join(each.delta for each in events[:-1]) == written
    assert events[-1].done.text == written
    assert len(upstream.posted) == 2
    for secret in SECRETS:
        assert secret not in sent_to(upstream)


async def test_a_reply_by_a_schema_is_checked_with_the_values_in_it(
    tmp_path: Path, upstream: FakeUpstream
) -> None:
    schema = {
        "type": "object",
        "properties": {"to": {"type": "string", "pattern": "^[0-9]{11}$"}},
        "required": ["to"],
    }
    struct = ParseDict(schema, struct_pb2.Struct())
    async with serve_gateway(
        tmp_path, routes=route_to("tiny"), residency=Residency.HYBRID, **remote(upstream)
    ) as served:
        upstream.enqueue(reply('{"to": "⟦PHO', 'NE_1⟧"}'))
        response = await served.models.Generate(ask(MOBILE, response_schema=struct))
        assert json.loads(response.text) == {"to": MOBILE}
        upstream.enqueue(reply('{"to": "⟦PHONE_2⟧"}'))
        error = await refusal(served.models.Generate(ask(MOBILE, response_schema=struct)))
    assert error.reason == "SCHEMA_UNSUPPORTED"


async def test_texts_to_encode_go_with_personal_data_replaced(
    tmp_path: Path, upstream: FakeUpstream
) -> None:
    model = {"name": "models/far", "upstream_model": "tiny", "capability": "embed"}
    path = tmp_path / "servers.yaml"
    path.write_text(json.dumps({"servers": [{"url": upstream.url, "models": [model]}]}))
    async with serve_gateway(
        tmp_path,
        routes=route_to("far"),
        residency=Residency.HYBRID,
        GATEWAY_SERVERS_FILE=str(path),
    ) as served:
        await served.models.Embed(
            gateway_pb2.EmbedRequest(task="t", texts=[f"a {MOBILE}", MAIL, "plain"], kind=1)
        )
        await served.models.Rerank(
            gateway_pb2.RerankRequest(task="t", query=MAIL, texts=[BANK_CARD, ID_CARD])
        )
    (first, *_) = upstream.posted
    assert first.body["input"] == ["a ⟦PHONE_1⟧", "⟦EMAIL_1⟧", "plain"]
    for secret in SECRETS:
        assert secret not in sent_to(upstream)


async def test_texts_of_tenants_that_may_go_anywhere_go_as_they_are(
    tmp_path: Path, upstream: FakeUpstream
) -> None:
    async with serve_gateway(
        tmp_path, routes=route_to("tiny"), residency=Residency.ANY, **remote(upstream)
    ) as served:
        response = await served.models.Generate(ask(MOBILE))
        assert (response.text, response.redacted_values) == (MOBILE, 0)
    assert MOBILE in sent_to(upstream)


class Pages:
    """Web pages that remember who was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def read(self, address: str) -> WebPage:
        self.asked.append(address)
        return WebPage(address, "A page", "Words.")


@pytest.mark.parametrize(
    ("residency", "address", "why"),
    [
        (Residency.PRIVATE_ONLY, "https://docs.example/a", "residency (private_only) forbids"),
        (Residency.HYBRID, f"https://docs.example/?q={MOBILE}", "address of a page holds some"),
    ],
)
async def test_no_page_is_fetched_whose_address_must_stay_inside(
    tmp_path: Path, residency: Residency, address: str, why: str
) -> None:
    pages = Pages()
    async with serve_gateway(
        tmp_path, routes=route_to("scripted"), residency=residency, pages=pages
    ) as served:
        error = await refusal(served.models.Generate(ask("Sum up.", web_pages=[address])))
        assert error.reason == "RESIDENCY_FORBIDS"
        assert why in error.message
        assert not pages.asked
        if residency is Residency.HYBRID:
            await served.models.Generate(ask("Sum up.", web_pages=["https://docs.example/a"]))
            assert pages.asked == ["https://docs.example/a"]


# Ways around


async def test_a_server_cannot_send_texts_on_by_a_redirect(
    tmp_path: Path, upstream: FakeUpstream
) -> None:
    async with fake_upstream() as elsewhere:
        upstream.enqueue(
            *[Answer([b"{}"], 307, headers={"location": f"{elsewhere.url}/chat/completions"})] * 3
        )
        variables = remote(upstream, LLM_LOCATION="resident")
        async with serve_gateway(
            tmp_path, routes=route_to("tiny"), residency=Residency.PRIVATE_ONLY, **variables
        ) as served:
            error = await refusal(served.models.Generate(ask("canary")))
    assert error.reason == "UPSTREAM_FAILED"
    assert not elsewhere.requests


async def test_no_proxy_of_the_environment_sees_texts(
    upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with fake_upstream() as proxy:
        for variable in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
            monkeypatch.setenv(variable, f"http://127.0.0.1:{proxy.port}")
        server = OpenAIServer(upstream.url, None)
        body = {"messages": [{"content": "canary"}]}
        async with server.post("models/near", "/chat/completions", body) as response:
            await response.read()
        await server.close()
    assert not proxy.connections
    assert len(upstream.posted) == 1


class Recorder:
    """A backend that remembers what it got."""

    def __init__(self) -> None:
        self.got: list[object] = []

    def stream(self, prompt: Prompt) -> Any:
        self.got.append(prompt)

    async def embed(self, texts: Any, kind: TextKind) -> None:
        self.got.append(texts)


async def test_a_backend_outside_takes_only_what_was_cleared_for_it() -> None:
    recorder: Any = Recorder()
    generator = OutsideGenerator("models/far", recorder)
    encoder = OutsideEncoder("models/far", recorder)
    for wrong in (user("x"), Cleared("models/other", user("x"))):
        with pytest.raises(NotCleared):
            generator.stream(wrong)  # type: ignore[arg-type]
    for texts in (["x"], ClearedTexts("models/other", ["x"])):
        with pytest.raises(NotCleared):
            await encoder.embed(texts, TextKind.QUERY)  # type: ignore[arg-type]
    assert not recorder.got


def test_only_the_guard_clears() -> None:
    makers = set()
    root = Path(atrium_gateway.__file__).parent
    for path in root.rglob("*.py"):
        source = path.read_text("utf-8")
        for node in ast.walk(ast.parse(source)) if "Cleared" in source else ():
            called = node.func if isinstance(node, ast.Call) else None
            if isinstance(called, ast.Name) and called.id in ("Cleared", "ClearedTexts"):
                makers.add(path.relative_to(root).as_posix())
    assert makers == {"app/residency.py"}
