"""What OpenAI clients send, and what becomes of it.

Fields that nobody knows are passed over, as clients send more with every version. Fields that ask
for what is not done here are refused by name: a reply that looks as if they had been followed would
mislead.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from atrium_gateway.app.ports import TextKind
from atrium_gateway.domain.generation import (
    ChatMessage,
    Prompt,
    Role,
    Tool,
    ToolCall,
    ToolChoice,
    ToolMode,
)
from atrium_gateway.openai_http.errors import (
    ParameterInvalid,
    ParameterUnsupported,
    of_validation,
)

_MOST_CHARACTERS = 10_000_000
_MOST_TEXTS = 2048
_MOST_TEXT_CHARACTERS = 100_000
_ROLES = {
    "system": Role.SYSTEM,
    "developer": Role.SYSTEM,
    "user": Role.USER,
    "assistant": Role.ASSISTANT,
    "tool": Role.TOOL,
}
_ANY_OBJECT = {"type": "object"}
_KINDS = {"query": TextKind.QUERY, "passage": TextKind.PASSAGE, "document": TextKind.PASSAGE}

# What asks for something else than what is done, unless it has one of these values.
_CHAT_UNSUPPORTED: dict[str, tuple[tuple[Any, ...], str]] = {
    "n": ((1,), "ask for one reply at a time (1)"),
    "logprobs": ((False,), "leave it out"),
    "top_logprobs": ((0,), "leave it out"),
    "logit_bias": (({},), "leave it out"),
    "top_p": ((1, 1.0), "use `temperature`"),
    "frequency_penalty": ((0, 0.0), "leave it out"),
    "presence_penalty": ((0, 0.0), "leave it out"),
    "functions": (([],), "use `tools`"),
    "function_call": (("none",), "use `tool_choice`"),
    "audio": ((), "replies are text"),
    "modalities": ((["text"],), "replies are text"),
    "prediction": ((), "leave it out"),
    "reasoning_effort": ((), "leave it out; the route chooses the model"),
    "service_tier": (("auto", "default"), "leave it out"),
    "store": ((False,), "nothing is stored here"),
    "web_search_options": ((), "leave it out"),
}


class _Sent(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


class _Part(_Sent):
    type: str
    text: Annotated[str, Field(max_length=_MOST_CHARACTERS)] = ""
    refusal: str = ""


_Content = Annotated[str, Field(max_length=_MOST_CHARACTERS)] | list[_Part] | None
_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class _CalledFunction(_Sent):
    name: _Name
    arguments: Annotated[str, Field(max_length=1_000_000)]


class _SentToolCall(_Sent):
    id: Annotated[str, Field(min_length=1, max_length=256)]
    function: _CalledFunction


class _SentMessage(_Sent):
    role: str
    content: _Content = None
    tool_calls: Annotated[list[_SentToolCall], Field(max_length=128)] | None = None
    tool_call_id: Annotated[str, Field(max_length=256)] | None = None


class _Function(_Sent):
    name: _Name
    description: Annotated[str, Field(max_length=100_000)] | None = None
    parameters: dict[str, Any] | None = None


class _SentTool(_Sent):
    type: str
    function: _Function | None = None


class _NamedFunction(_Sent):
    name: str


class _NamedTool(_Sent):
    type: Literal["function"]
    function: _NamedFunction


class _JsonSchema(_Sent):
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None


class _ResponseFormat(_Sent):
    type: str
    json_schema: _JsonSchema | None = None


class _StreamOptions(_Sent):
    include_usage: bool = False


class ChatRequest(_Sent):
    """Body of ``POST /v1/chat/completions``."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    model: Annotated[str, Field(min_length=1, max_length=256)]
    messages: Annotated[list[_SentMessage], Field(min_length=1, max_length=1000)]
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1, le=131_072)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, le=131_072)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    seed: Annotated[int, Field(ge=-(1 << 63), lt=1 << 63)] | None = None
    stop: str | list[str] | None = None
    tools: Annotated[list[_SentTool], Field(max_length=128)] | None = None
    tool_choice: Literal["none", "auto", "required"] | _NamedTool | None = None
    parallel_tool_calls: bool | None = None
    response_format: _ResponseFormat | None = None
    metadata: Annotated[dict[str, str], Field(max_length=16)] | None = None

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with the usage."""
        return self.stream_options is not None and self.stream_options.include_usage

    @property
    def one_tool_call(self) -> bool:
        """Whether the reply may hold one tool call at most."""
        return self.parallel_tool_calls is False

    def prompt(self) -> Prompt:
        """Return what a generator is asked.

        Raises:
            ParameterInvalid: A parameter is wrong.
            ParameterUnsupported: A parameter asks for what is not done.
        """
        self._check_extra()
        if self.stream_options is not None and not self.stream:
            raise ParameterInvalid("stream_options", "only with `stream` true")
        tools = tuple(_tool(tool, index) for index, tool in enumerate(self.tools or ()))
        return Prompt(
            messages=tuple(_message(each, index) for index, each in enumerate(self.messages)),
            max_tokens=self.max_completion_tokens or self.max_tokens or 0,
            temperature=self.temperature or 0.0,
            response_schema=self._schema(),
            stop=self._stop(),
            seed=self.seed,
            tools=tools,
            tool_choice=self._tool_choice(tools),
        )

    def _check_extra(self) -> None:
        extra = self.__pydantic_extra__ or {}
        for name in extra.keys() & _CHAT_UNSUPPORTED.keys():
            harmless, expected = _CHAT_UNSUPPORTED[name]
            value = extra[name]
            if value is not None and not any(
                value == each and type(value) is type(each) for each in harmless
            ):
                raise ParameterUnsupported(name, expected)

    def _stop(self) -> tuple[str, ...]:
        if self.stop is None:
            return ()
        strings = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)
        if len(strings) > 8 or not all(1 <= len(each) <= 64 for each in strings):
            raise ParameterInvalid("stop", "expected at most 8 strings of 1 to 64 characters")
        return strings

    def _schema(self) -> dict[str, Any] | None:
        sent = self.response_format
        if sent is None or sent.type == "text":
            return None
        if sent.type == "json_object":
            return _ANY_OBJECT
        if sent.type != "json_schema":
            raise ParameterUnsupported(
                "response_format.type", "expected text, json_object or json_schema"
            )
        if sent.json_schema is None or sent.json_schema.schema_ is None:
            raise ParameterInvalid("response_format.json_schema.schema", "needed with json_schema")
        return sent.json_schema.schema_

    def _tool_choice(self, tools: tuple[Tool, ...]) -> ToolChoice:
        sent = self.tool_choice
        if sent is None:
            return ToolChoice()
        if not tools and sent != "none":
            raise ParameterInvalid("tool_choice", "only with `tools`")
        if isinstance(sent, str):
            return ToolChoice(ToolMode(sent))
        name = sent.function.name
        if all(tool.name != name for tool in tools):
            raise ParameterInvalid("tool_choice.function.name", "expected the name of a tool")
        return ToolChoice(ToolMode.REQUIRED, name)


class EmbeddingsRequest(_Sent):
    """Body of ``POST /v1/embeddings``."""

    model: Annotated[str, Field(min_length=1, max_length=256)]
    input: Any
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Field(ge=1)] | None = None
    input_type: Literal["query", "passage", "document"] | None = None

    def texts(self) -> list[str]:
        """Return the texts.

        Raises:
            ParameterInvalid: There is none, there are too many, or one is too long.
            ParameterUnsupported: They are tokens.
        """
        sent = [self.input] if isinstance(self.input, str) else self.input
        if not isinstance(sent, list) or not 1 <= len(sent) <= _MOST_TEXTS:
            raise ParameterInvalid(
                "input", f"expected a string, or a list of 1 to {_MOST_TEXTS} strings"
            )
        for index, text in enumerate(sent):
            if isinstance(text, int | list):
                raise ParameterUnsupported(
                    "input",
                    "send texts, not tokens; each model here has a vocabulary of its own "
                    "(LangChain: check_embedding_ctx_length=False)",
                )
            if not isinstance(text, str) or len(text) > _MOST_TEXT_CHARACTERS:
                raise ParameterInvalid(
                    f"input[{index}]", f"expected at most {_MOST_TEXT_CHARACTERS:,} characters"
                )
        return sent

    @property
    def kind(self) -> TextKind:
        """Which side of a comparison the texts are on; OpenAI's API does not tell them apart."""
        return _KINDS[self.input_type or "passage"]


R = TypeVar("R", bound=_Sent)


def read_body(kind: type[R], body: bytes) -> R:
    """Return the request in ``body``.

    Raises:
        BodyMalformed: It is no JSON object.
        ParameterInvalid: A parameter is wrong.
    """
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise of_validation(error) from error


def _message(sent: _SentMessage, index: int) -> ChatMessage:
    at = f"messages[{index}]"
    role = _ROLES.get(sent.role)
    if role is None:
        raise ParameterInvalid(f"{at}.role", f"expected one of {', '.join(_ROLES)}")
    calls = sent.tool_calls or ()
    if calls and role is not Role.ASSISTANT:
        raise ParameterInvalid(f"{at}.tool_calls", "only with the role assistant")
    if (role is Role.TOOL) is not bool(sent.tool_call_id):
        raise ParameterInvalid(f"{at}.tool_call_id", "needed with the role tool, and only there")
    if sent.content is None and not calls:
        raise ParameterInvalid(f"{at}.content", "expected a text")
    return ChatMessage(
        role,
        _text(sent.content, f"{at}.content"),
        tuple(ToolCall(each.id, each.function.name, each.function.arguments) for each in calls),
        sent.tool_call_id or "",
    )


def _text(content: str | list[_Part] | None, at: str) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    for index, part in enumerate(content):
        if part.type not in ("text", "refusal"):
            raise ParameterUnsupported(f"{at}[{index}].type", "parts of a message are text")
    return "".join(part.text or part.refusal for part in content)


def _tool(sent: _SentTool, index: int) -> Tool:
    if sent.type != "function":
        raise ParameterUnsupported(f"tools[{index}].type", "tools are functions")
    if sent.function is None:
        raise ParameterInvalid(f"tools[{index}].function", "needed")
    function = sent.function
    return Tool(function.name, function.description or "", function.parameters)
