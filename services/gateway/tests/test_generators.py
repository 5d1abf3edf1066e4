"""What every generator does, run on each backend; and what only a remote one can do wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from atrium_gateway.adapters.openai_generator import OpenAIGenerator
from atrium_gateway.adapters.openai_server import OpenAIServer
from atrium_gateway.adapters.scripted_backend import ScriptedBackend, ScriptedReply
from atrium_gateway.app.ports import GeneratorBackend
from atrium_gateway.domain.errors import (
    PromptTooLong,
    SchemaUnsupported,
    UpstreamFailed,
    UpstreamTimedOut,
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
from atrium_gateway.testing import (
    Answer,
    FakeUpstream,
    counts,
    delta,
    event,
    failure,
    json_answer,
    reply,
)
from atrium_shared.engines import Usage

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def ask(text: str = "Say hello to the world", **more: object) -> Prompt:
    settings: dict[str, object] = {"max_tokens": 64, **more}
    return Prompt((ChatMessage(Role.USER, text),), **settings)  # type: ignore[arg-type]


async def collect(generator: GeneratorBackend, prompt: Prompt) -> tuple[list[str], Finished]:
    async with aclosing(generator.stream(prompt)) as events:
        seen = [event async for event in events]
    assert isinstance(seen[-1], Finished)
    deltas = seen[:-1]
    assert all(isinstance(each, Delta) and each.text for each in deltas)
    return [each.text for each in deltas if isinstance(each, Delta)], seen[-1]


@pytest.fixture
async def remote(upstream: FakeUpstream) -> AsyncIterator[OpenAIGenerator]:
    server = OpenAIServer(lambda: upstream.url, "key")
    yield OpenAIGenerator("models/tiny", "tiny", server, context_tokens=8192, idle_seconds=0.2)
    await server.close()


@pytest.fixture(params=["scripted", "openai"])
def generator(request: pytest.FixtureRequest) -> GeneratorBackend:
    if request.param == "scripted":
        return ScriptedBackend("models/tiny")
    backend: GeneratorBackend = request.getfixturevalue("remote")
    return backend


# Every generator


async def test_a_reply_comes_in_parts_and_ends_with_its_usage(generator: GeneratorBackend) -> None:
    texts, finished = await collect(generator, ask())
    assert "Say hello to the world" in "".join(texts)
    assert len(texts) > 2
    assert finished.reason is FinishReason.STOP
    assert finished.usage.prompt_tokens > 0
    assert finished.usage.completion_tokens == len(texts)


async def test_a_prompt_beyond_the_context_is_refused_with_its_sizes(
    generator: GeneratorBackend,
) -> None:
    with pytest.raises(PromptTooLong) as caught:
        await collect(generator, ask("word " * 20_000))
    assert int(caught.value.metadata["prompt_tokens"]) > 8192
    assert caught.value.metadata["max_tokens"] == "64"
    assert caught.value.metadata["context_tokens"] == "8192"
    assert caught.value.metadata["model"] == "models/tiny"


async def test_replies_run_side_by_side(generator: GeneratorBackend) -> None:
    prompts = [ask(f"number {number}") for number in range(8)]
    replies = await asyncio.gather(*(collect(generator, prompt) for prompt in prompts))
    for number, (texts, _) in enumerate(replies):
        assert f"number {number}" in "".join(texts)


async def test_a_reply_that_is_closed_early_leaves_the_generator_usable(
    generator: GeneratorBackend,
) -> None:
    events = generator.stream(ask())
    assert isinstance(await anext(events), Delta)
    await events.aclose()
    texts, _ = await collect(generator, ask("again"))
    assert "again" in "".join(texts)


async def test_the_generator_is_ready(generator: GeneratorBackend) -> None:
    assert (await generator.status()).state is ModelState.READY


# The scripted one


async def test_scripted_replies_come_in_their_order_and_prompts_are_kept() -> None:
    scripted = ScriptedBackend()
    scripted.enqueue("one", ScriptedReply("two three", error=UpstreamFailed("models/x", "why")))
    assert (await collect(scripted, ask("a")))[0] == ["one"]
    with pytest.raises(UpstreamFailed):
        await collect(scripted, ask("b"))
    assert (await collect(scripted, ask("c")))[0] == ["scripted: ", "c"]
    assert [prompt.messages[0].content for prompt in scripted.prompts] == ["a", "b", "c"]


async def test_scripted_replies_keep_to_max_tokens_and_stop_strings() -> None:
    scripted = ScriptedBackend()
    scripted.enqueue("one two three four", "before END after")
    texts, finished = await collect(scripted, ask(max_tokens=2))
    assert (texts, finished.reason) == (["one ", "two "], FinishReason.LENGTH)
    texts, finished = await collect(scripted, ask(stop=("END",)))
    assert ("".join(texts), finished.reason) == ("before ", FinishReason.STOP)


# What is sent


async def test_a_request_carries_everything_that_was_asked(
    upstream: FakeUpstream, remote: OpenAIGenerator
) -> None:
    messages = (
        ChatMessage(Role.SYSTEM, "Be brief."),
        ChatMessage(Role.USER, "你好 \ud83d\udc4b"),
        ChatMessage(Role.ASSISTANT, "Hm?"),
    )
    await collect(remote, Prompt(messages, 9, 0.5, SCHEMA, ("END", "##"), 42))
    (request,) = upstream.posted
    assert request.path == "/v1/chat/completions"
    assert request.headers["authorization"] == "Bearer key"
    assert request.body == {
        "model": "tiny",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "你好 ??"},
            {"role": "assistant", "content": "Hm?"},
        ],
        "max_tokens": 9,
        "temperature": 0.5,
        "stream": True,
        "stream_options": {"include_usage": True},
        "stop": ["END", "##"],
        "seed": 42,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "reply", "strict": True, "schema": SCHEMA},
        },
    }


async def test_connections_are_used_again(upstream: FakeUpstream, remote: OpenAIGenerator) -> None:
    for _ in range(5):
        await collect(remote, ask())
    assert upstream.connections == 1


# How replies are read


async def test_chunks_cut_anywhere_and_lines_ended_in_any_way_are_read(
    upstream: FakeUpstream, remote: OpenAIGenerator
) -> None:
    whole = delta("你好 ") + b": ping\r\n\r\n" + delta("wörld").replace(b"\n", b"\r\n")
    whole += delta("!", "length") + counts(5, 3, cached=2) + event("[DONE]")
    upstream.enqueue(Answer([whole[i : i + 3] for i in range(0, len(whole), 3)]))
    texts, finished = await collect(remote, ask())
    assert "".join(texts) == "你好 wörld!"
    assert finished == Finished(FinishReason.LENGTH, Usage(5, 3, 0, 2))


async def test_a_server_that_does_not_count_gets_an_estimate(
    upstream: FakeUpstream, remote: OpenAIGenerator
) -> None:
    upstream.enqueue(Answer([delta("four words are here", "stop")]))
    _, finished = await collect(remote, ask("x" * 40))
    assert finished.usage == Usage(prompt_tokens=14, completion_tokens=5)


async def test_a_server_that_does_not_stream_is_understood(
    upstream: FakeUpstream, remote: OpenAIGenerator
) -> None:
    choice = {"message": {"content": "All at once."}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 3, "completion_tokens": 4}
    upstream.enqueue(json_answer({"choices": [choice], "usage": usage}))
    texts, finished = await collect(remote, ask())
    assert texts == ["All at once."]
    assert finished.usage == Usage(3, 4)


async def test_a_server_that_never_says_goodbye_does_not_hold_a_whole_reply(
    upstream: FakeUpstream, remote: OpenAIGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atrium_gateway.adapters.openai_generator._TRAILER_SECONDS", 0.05)
    upstream.enqueue(Answer([delta("done", "stop")], hang=True))
    texts, _ = await collect(remote, ask())
    assert texts == ["done"]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (Answer([b"<html>busy</html>\n\n"]), "without a reply"),
        (Answer([b"data: {\n\n"]), "not a JSON object"),
        (Answer([b"data: [1]\n\n"]), "not a JSON object"),
        (Answer([b"data: " + b"[" * 5000 + b"\n\n"]), "not a JSON object"),
        (Answer([b"data: \xff\xfe\n\n"]), "not a JSON object"),
        (Answer([event({"choices": "x"})]), "without the fields"),
        (Answer([event({"choices": [7]})]), "without the fields"),
        (Answer([event({"choices": [{"delta": {"content": 7}}]})]), "without the fields"),
        (Answer([event({"choices": [{"delta": "x"}]})]), "without the fields"),
        (Answer([b"data: " + b"x" * (2 << 20)]), "endless event"),
        (Answer(), "without a reply"),
        (Answer([event("[DONE]")]), "without a reply"),
        (Answer([delta("half")]), "in the middle"),
        (Answer([delta("half")], cut=True), "broke off"),
        (Answer([delta("half"), event({"error": {"code": "oom"}})]), "while it wrote (oom)"),
        (Answer([delta("half"), b"error: {}\n\n"]), "while it wrote"),
        (Answer([delta("half"), b'event: error\ndata: {"type":"t"}\n\n']), "while it wrote (t)"),
        (Answer([delta("x" * 70_000)]), "beyond max_tokens"),
        (failure(500, type="server_error"), "HTTP 500, server_error"),
        (failure(400, code="bad"), "refused the request (HTTP 400, bad)"),
        (failure(401), "refused the operator's key"),
        (failure(404, message="no such model"), "does not know the model"),
        (Answer([b"x" * 100_000], status=500), "HTTP 500"),
        (failure(500, type="a secret prompt"), "HTTP 500"),
        (json_answer([]), "not a JSON object"),
    ],
)
async def test_what_a_server_does_wrong_is_named_without_its_words(
    upstream: FakeUpstream, remote: OpenAIGenerator, answer: Answer, why: str
) -> None:
    upstream.enqueue(answer)
    with pytest.raises(UpstreamFailed) as caught:
        await collect(remote, ask(max_tokens=200))
    assert why in caught.value.why
    assert caught.value.metadata["model"] == "models/tiny"
    assert "secret" not in caught.value.message
    assert len(upstream.posted) == 1


async def test_a_status_is_told(upstream: FakeUpstream, remote: OpenAIGenerator) -> None:
    upstream.enqueue(failure(500))
    with pytest.raises(UpstreamFailed) as caught:
        await collect(remote, ask())
    assert caught.value.metadata["status"] == "500"


@pytest.mark.parametrize("status", [429, 502, 503])
async def test_a_busy_server_is_asked_again(
    upstream: FakeUpstream, remote: OpenAIGenerator, status: int
) -> None:
    upstream.enqueue(failure(status), reply("ok"))
    assert (await collect(remote, ask()))[0] == ["ok"]


async def test_a_server_that_stays_busy_is_given_up_after_three_tries(
    upstream: FakeUpstream, remote: OpenAIGenerator
) -> None:
    upstream.enqueue(*[failure(503)] * 4)
    with pytest.raises(UpstreamFailed, match="HTTP 503"):
        await collect(remote, ask())
    assert len(upstream.posted) == 3


async def test_a_connection_closed_before_a_reply_is_opened_again(
    upstream: FakeUpstream, remote: OpenAIGenerator
) -> None:
    upstream.enqueue(Answer(silent=True), reply("ok"))
    assert (await collect(remote, ask()))[0] == ["ok"]


async def test_a_server_that_is_not_there_is_named() -> None:
    server = OpenAIServer(lambda: "http://127.0.0.1:1/v1", None)
    absent = OpenAIGenerator("models/gone", "gone", server)
    with pytest.raises(UpstreamFailed, match="no connection to it can be made"):
        await collect(absent, ask())
    status = await absent.status()
    assert status.state is ModelState.UNAVAILABLE
    assert "Start it, or check its URL" in status.reason
    await server.close()


async def test_a_server_that_falls_silent_in_its_reply_is_left(
    upstream: FakeUpstream, remote: OpenAIGenerator
) -> None:
    upstream.enqueue(Answer([delta("half")], hang=True))
    with pytest.raises(UpstreamTimedOut) as caught:
        await collect(remote, ask())
    assert caught.value.metadata == {"model": "models/tiny", "timeout_seconds": "0.2"}
    assert "the next part of the reply" in caught.value.message


async def test_comments_alone_are_no_progress(
    upstream: FakeUpstream, remote: OpenAIGenerator
) -> None:
    pings = [part for _ in range(20) for part in (b": ping\n\n", 0.05)]
    upstream.enqueue(Answer([delta("half"), *pings], hang=True))
    with pytest.raises(UpstreamTimedOut):
        await collect(remote, ask())


@pytest.mark.parametrize(
    "error",
    [
        {"code": 400, "type": "exceed_context_size_error", "n_prompt_tokens": 99, "n_ctx": 50},
        {"code": "context_length_exceeded", "message": "x"},
        {"message": "This model's maximum context length is 50 tokens."},
    ],
)
async def test_a_prompt_that_the_server_finds_too_long_is_reported_so(
    upstream: FakeUpstream, remote: OpenAIGenerator, error: dict[str, object]
) -> None:
    upstream.enqueue(failure(400, **error))
    with pytest.raises(PromptTooLong) as caught:
        await collect(remote, ask())
    if "n_ctx" in error:
        assert caught.value.metadata["prompt_tokens"] == "99"
        assert caught.value.metadata["context_tokens"] == "50"


async def test_a_schema_that_the_server_refuses_is_reported_so(
    upstream: FakeUpstream, remote: OpenAIGenerator
) -> None:
    upstream.enqueue(failure(400, message="failed to parse grammar"))
    with pytest.raises(SchemaUnsupported) as caught:
        await collect(remote, ask(response_schema=SCHEMA))
    assert caught.value.metadata == {"model": "models/tiny"}


async def test_an_exact_count_decides_where_the_server_has_one(upstream: FakeUpstream) -> None:
    counted: list[int] = []

    async def count(prompt: Prompt) -> int | None:
        counted.append(len(prompt.messages))
        return answers.pop(0)

    server = OpenAIServer(lambda: upstream.url, None)
    counting = OpenAIGenerator("models/t", "t", server, context_tokens=100, count_tokens=count)
    answers: list[int | None] = [36, 37, None]
    text = "word " * 40
    await collect(counting, ask(text))
    with pytest.raises(PromptTooLong, match="has 37 tokens"):
        await collect(counting, ask(text))
    with pytest.raises(PromptTooLong, match="has about 54 tokens"):
        await collect(counting, ask(text))
    with pytest.raises(PromptTooLong):
        await collect(counting, ask("word " * 4000))  # so far beyond that nobody counts
    await collect(counting, ask("short"))  # nor where one token a byte would fit
    assert counted == [1, 1, 1]
    await server.close()


@pytest.mark.parametrize(
    ("answer", "state", "reason"),
    [
        (failure(401), ModelState.UNAVAILABLE, "refuses the operator's key"),
        (failure(500), ModelState.UNAVAILABLE, "HTTP 500"),
        (failure(404), ModelState.READY, ""),
        (json_answer({"data": [{"id": "other"}]}), ModelState.UNAVAILABLE, "does not list"),
        (json_answer({"data": "?"}), ModelState.READY, ""),
    ],
)
async def test_the_state_of_a_server_is_what_it_says(
    upstream: FakeUpstream,
    remote: OpenAIGenerator,
    answer: Answer,
    state: ModelState,
    reason: str,
) -> None:
    upstream.answer_listing(answer)
    status = await remote.status()
    assert status.state is state
    assert reason in status.reason
    await remote.status()
    assert len(upstream.requests) == 1  # asked at most every ten seconds
