"""Clients that know nothing of Atrium, with a tenant's key: openai's own and LangChain's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import openai
import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel

from tests.e2e.running_suite import UNKNOWN_KEY, RunningSuite

TASK = "default"


class Verdict(BaseModel):
    """What a schema asks for."""

    fine: bool
    why: str


class Api:
    def __init__(self, running: RunningSuite) -> None:
        self.url = f"http://{running.suite.http_address}/v1"
        self.key = running.bootstrap()
        self.client = openai.OpenAI(base_url=self.url, api_key=self.key, max_retries=0)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("GATEWAY_SCRIPTED", "true")
        running = RunningSuite(tmp_path_factory.mktemp("suite") / "state")
    try:
        api = Api(running)
        with api.client:
            yield api
    finally:
        running.stop()


def test_the_openai_client_completes_streams_and_embeds(api: Api) -> None:
    messages: list[openai.types.chat.ChatCompletionMessageParam] = [
        {"role": "system", "content": "Answer."},
        {"role": "user", "content": "hello there"},
    ]
    whole = api.client.chat.completions.create(model=TASK, messages=messages)
    assert whole.choices[0].message.content == "scripted: hello there"
    assert whole.choices[0].finish_reason == "stop"
    assert whole.usage is not None
    assert whole.usage.completion_tokens == 3

    stream = api.client.chat.completions.create(
        model=TASK, messages=messages, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == "scripted: hello there"
    assert chunks[-1].usage == whole.usage

    parsed = api.client.chat.completions.parse(
        model=TASK, messages=messages, response_format=Verdict
    )
    assert parsed.choices[0].message.parsed == Verdict(fine=False, why="scripted")

    made = api.client.embeddings.create(model="embed", input=["red fox", "a red fox"])
    one, other = (np.array(each.embedding) for each in made.data)
    assert one @ other > 0.5

    models = [model.id for model in api.client.models.list()]
    assert {TASK, "embed"} <= set(models)
    assert api.client.models.retrieve(TASK).owned_by == "atrium"


LOOK_UP: openai.types.chat.ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Looks a word up.",
        "parameters": {
            "type": "object",
            "properties": {"word": {"type": "string"}},
            "required": ["word"],
            "additionalProperties": False,
        },
    },
}


def test_the_openai_client_calls_tools_in_rounds(api: Api) -> None:
    messages: list[Any] = [{"role": "user", "content": "What is a llama?"}]
    whole = api.client.chat.completions.create(
        model=TASK, messages=messages, tools=[LOOK_UP], tool_choice="required"
    )
    assert whole.choices[0].finish_reason == "tool_calls"
    assert whole.choices[0].message.tool_calls is not None
    with api.client.chat.completions.stream(
        model=TASK, messages=messages, tools=[LOOK_UP], tool_choice="required"
    ) as stream:
        written = [each.arguments_delta for each in stream
                   if each.type == "tool_calls.function.arguments.delta"]  # fmt: skip
        streamed = stream.get_final_completion().choices[0]
    for choice in (whole.choices[0], streamed):
        assert choice.message.tool_calls is not None
        (call,) = choice.message.tool_calls
        assert call.type == "function"
        assert call.function.name == "look_up"
        assert json.loads(call.function.arguments) == {"word": "scripted"}
    assert json.loads("".join(written)) == {"word": "scripted"}

    messages += [
        whole.choices[0].message.to_dict(),
        {"role": "tool", "tool_call_id": call.id, "content": "an animal"},
    ]
    answer = api.client.chat.completions.create(model=TASK, messages=messages, tools=[LOOK_UP])
    assert answer.choices[0].message.content == "scripted: an animal"
    assert answer.choices[0].finish_reason == "stop"

    with pytest.raises(openai.BadRequestError) as unanswered:
        api.client.chat.completions.create(model=TASK, messages=messages[:2])
    assert (unanswered.value.code, unanswered.value.param) == ("TOOL_MESSAGE_INVALID", "messages")
    with pytest.raises(openai.BadRequestError) as twice:
        api.client.chat.completions.create(
            model=TASK, messages=messages[:1], tools=[LOOK_UP, LOOK_UP]
        )
    assert (twice.value.code, twice.value.param) == ("TOOL_REPEATED", "tools[1].name")


def test_the_openai_client_understands_what_is_refused(api: Api) -> None:
    messages: list[openai.types.chat.ChatCompletionMessageParam] = [
        {"role": "user", "content": "hello"}
    ]
    with openai.OpenAI(base_url=api.url, api_key=UNKNOWN_KEY, max_retries=0) as stranger:
        with pytest.raises(openai.AuthenticationError) as unknown:
            stranger.chat.completions.create(model=TASK, messages=messages)
        assert unknown.value.code == "invalid_api_key"
    with pytest.raises(openai.NotFoundError) as missing:
        api.client.chat.completions.create(model="gpt-4o", messages=messages)
    assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.BadRequestError) as several:
        api.client.chat.completions.create(model=TASK, messages=messages, n=2)
    assert several.value.param == "n"
    with pytest.raises(openai.BadRequestError) as long:
        api.client.chat.completions.create(
            model=TASK, messages=[{"role": "user", "content": "word " * 20_000}]
        )
    assert long.value.code == "context_length_exceeded"


def test_langchain_invokes_streams_structures_and_embeds(api: Api) -> None:
    chat = ChatOpenAI(model=TASK, base_url=api.url, api_key=api.key, max_retries=0)
    asked = [SystemMessage("Answer."), HumanMessage("hello there")]
    said = chat.invoke(asked)
    assert said.content == "scripted: hello there"
    assert said.usage_metadata is not None
    assert said.usage_metadata["output_tokens"] == 3
    assert "".join(str(chunk.content) for chunk in chat.stream(asked)) == "scripted: hello there"
    verdict = chat.with_structured_output(Verdict, method="json_schema").invoke(asked)
    assert verdict == Verdict(fine=False, why="scripted")

    calling = chat.bind_tools([LOOK_UP], tool_choice="look_up")
    called = calling.invoke(asked)
    assert isinstance(called, AIMessage)
    parts = list(calling.stream(asked))
    streamed = parts[0]
    for part in parts[1:]:
        streamed += part  # type: ignore[assignment]
    assert isinstance(streamed, AIMessage)
    for message in (called, streamed):
        (call,) = message.tool_calls
        assert (call["name"], call["args"]) == ("look_up", {"word": "scripted"})
    result = ToolMessage("an animal", tool_call_id=called.tool_calls[0]["id"])
    told = chat.bind_tools([LOOK_UP]).invoke([*asked, called, result])
    assert told.content == "scripted: an animal"

    embeddings = OpenAIEmbeddings(
        model="embed",
        base_url=api.url,
        api_key=api.key,
        max_retries=0,
        check_embedding_ctx_length=False,  # else it sends tokens of OpenAI's own vocabulary
    )
    one, other = map(np.array, embeddings.embed_documents(["red fox", "a red fox"]))
    assert one @ other > 0.5
    assert np.allclose(embeddings.embed_query("red fox"), one)
