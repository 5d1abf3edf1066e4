"""A model that says what it is told to: for tests and for trying the suite without weights.

What it does by itself is fixed, so tests may rely on it:

- A token is a Chinese character, or a word with the spaces after it.
- Without an enqueued reply it answers ``scripted: `` and the last message of the user or of a tool.
- Where a call of a tool is required it calls the one that is named, or else the first, with the
  smallest arguments that follow the types of its schema; it calls none of its own accord.
- With a schema it answers the smallest JSON value that follows the schema's types: every required
  property, ``"scripted"`` for text, the least allowed number or 0, no items, ``false``.
- It stops before a stop string, after ``max_tokens`` tokens (``LENGTH``), and refuses a prompt
  that does not fit 8,192 tokens with the reply.
- A vector counts the words of a text in 384 places chosen by a checksum (feature hashing), so
  texts that share words have a high cosine and texts that share none one of about 0. Questions
  and passages are not marked apart.
- A segment of a passage has log-odds between -4 and 4, by the share of the question's words that it
  has: half of them give 0. What begins after the first 512 words of question, heading and text is
  cut off.
"""

from __future__ import annotations

import asyncio
import json
import re
import zlib
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from atrium_gateway.app.ports import Embedding, Reading, TextKind
from atrium_gateway.domain import lexical
from atrium_gateway.domain.errors import PromptTooLong
from atrium_gateway.domain.generation import (
    Delta,
    Finished,
    FinishReason,
    Prompt,
    Role,
    ToolCall,
    ToolCallDelta,
)
from atrium_gateway.domain.models import READY, ModelStatus
from atrium_gateway.domain.reading import CUT_OFF, PassageReading, ReadPassage, Relation
from atrium_gateway.domain.similarity import PLAIN_SCALE, SimilarityScale
from atrium_gateway.domain.tools import allowed_tools, must_call, schema_of
from atrium_shared.engines import Usage

SCRIPTED_MODEL = "models/scripted"
CONTEXT_TOKENS = 8192
DIMENSIONS = 384
_WINDOW_TOKENS = 512
_REMEMBERED = 1000
_TOKEN = re.compile(r"[\u4e00-\u9fff]|[^\s\u4e00-\u9fff]+\s*|\s+")


@dataclass(frozen=True, slots=True)
class ScriptedReply:
    """A reply to give.

    Attributes:
        text: What to say.
        pause_seconds: Pause before each token.
        error: Raised after text and calls instead of finishing.
        calls: Tools to call after the text, their arguments word by word; words count as tokens.
    """

    text: str = ""
    pause_seconds: float = 0.0
    error: Exception | None = None
    calls: tuple[ToolCall, ...] = ()


class ScriptedBackend:
    """A generator, an encoder and a reader that need no weights.

    Args:
        name: Resource name of the model, for errors.

    Attributes:
        prompts: The last 1,000 prompts, oldest first.
        embedded: The last 1,000 calls of :meth:`embed`: texts and kind.
        read_questions: The last 1,000 questions of :meth:`read`.
        cancelled: Replies that were stopped by their reader.
    """

    similarity_scale: SimilarityScale = PLAIN_SCALE

    def __init__(self, name: str = SCRIPTED_MODEL) -> None:
        self._name = name
        self._replies: deque[ScriptedReply] = deque()
        self.prompts: deque[Prompt] = deque(maxlen=_REMEMBERED)
        self.embedded: deque[tuple[tuple[str, ...], TextKind]] = deque(maxlen=_REMEMBERED)
        self.read_questions: deque[str] = deque(maxlen=_REMEMBERED)
        self.cancelled = 0

    def enqueue(self, *replies: str | Exception | ToolCall | ScriptedReply) -> None:
        """Set the next replies; an exception is raised before the first token."""
        for reply in replies:
            if isinstance(reply, Exception):
                reply = ScriptedReply(error=reply)
            elif isinstance(reply, ToolCall):
                reply = ScriptedReply(calls=(reply,))
            elif isinstance(reply, str):
                reply = ScriptedReply(reply)
            self._replies.append(reply)

    async def status(self) -> ModelStatus:
        """Return that it is ready."""
        return READY

    async def stream(
        self, prompt: Prompt
    ) -> AsyncGenerator[Delta | ToolCallDelta | Finished, None]:
        """Write a reply; see ``GeneratorBackend``."""
        self.prompts.append(prompt)
        read = _read(prompt)
        if read + prompt.max_tokens > CONTEXT_TOKENS:
            raise PromptTooLong(
                self._name,
                prompt_tokens=read,
                max_tokens=prompt.max_tokens,
                context_tokens=CONTEXT_TOKENS,
                exact=True,
            )
        reply = self._replies.popleft() if self._replies else _default(prompt)
        parts: list[Delta | ToolCallDelta] = [*_text_parts(reply.text, prompt.stop)]
        parts += _call_parts(reply.calls)
        written = parts[: prompt.max_tokens]
        try:
            for part in written:
                if reply.pause_seconds:
                    await asyncio.sleep(reply.pause_seconds)
                yield part
        except (GeneratorExit, asyncio.CancelledError):
            self.cancelled += 1
            raise
        if reply.error is not None:
            raise reply.error
        reason = FinishReason.TOOL_CALLS if reply.calls else FinishReason.STOP
        if len(parts) > len(written):
            reason = FinishReason.LENGTH
        yield Finished(reason, Usage(prompt_tokens=read, completion_tokens=len(written)))

    async def embed(self, texts: Sequence[str], kind: TextKind) -> Embedding:
        """Return one vector a text; see ``EncoderBackend``."""
        self.embedded.append((tuple(texts), kind))
        vectors = np.zeros((len(texts), DIMENSIONS), np.float32)
        truncated: list[bool] = []
        read = 0
        for row, text in zip(vectors, texts, strict=True):
            terms = lexical.terms(text)
            truncated.append(len(terms) > _WINDOW_TOKENS)
            for term in terms[:_WINDOW_TOKENS]:
                checksum = zlib.crc32(term.encode())
                row[checksum % DIMENSIONS] += 1 if checksum >> 31 else -1
            read += min(len(terms), _WINDOW_TOKENS)
            length = np.linalg.norm(row)
            if length:
                row /= length
            else:
                row[0] = 1  # a text without words still has a vector of length 1
        return Embedding(vectors, read, truncated)

    async def read(
        self, question: str, passages: Sequence[ReadPassage], relation: Relation, scope: str
    ) -> Reading:
        """Return the share of the question's words in each segment; see ``ReaderBackend``."""
        del relation, scope
        self.read_questions.append(question)
        asked = lexical.terms(question)
        readings, read = [], 0
        for passage in passages:
            above = len(asked) + len(lexical.terms(passage.heading))
            whole = above + len(lexical.terms(passage.text))
            scores = [
                _log_odds(set(asked), passage.text[segment.start : segment.end])
                if above + len(lexical.terms(passage.text[: segment.start])) < _WINDOW_TOKENS
                else CUT_OFF
                for segment in passage.segments
            ]
            readings.append(PassageReading.of(scores, truncated=whole > _WINDOW_TOKENS))
            read += min(whole, _WINDOW_TOKENS)
        return Reading(readings, read)


def _log_odds(asked: set[str], segment: str) -> float:
    share = len(asked.intersection(lexical.terms(segment))) / len(asked) if asked else 0.0
    return 8 * share - 4


def _read(prompt: Prompt) -> int:
    texts = [message.content for message in prompt.messages]
    texts += [call.arguments for message in prompt.messages for call in message.tool_calls]
    texts += [f"{tool.name} {tool.description}" for tool in prompt.tools]
    return sum(len(_TOKEN.findall(text)) for text in texts)


def _text_parts(text: str, stops: Sequence[str]) -> list[Delta]:
    for stop in stops:
        text = text.partition(stop)[0]
    return [Delta(token) for token in _TOKEN.findall(text)]


def _call_parts(calls: Sequence[ToolCall]) -> list[ToolCallDelta]:
    parts = []
    for index, call in enumerate(calls):
        first, *rest = _TOKEN.findall(call.arguments) or [""]
        parts.append(ToolCallDelta(index, first, call.id, call.name))
        parts.extend(ToolCallDelta(index, each) for each in rest)
    return parts


def _default(prompt: Prompt) -> ScriptedReply:
    if prompt.tools and must_call(prompt):
        wanted = allowed_tools(prompt)[0]
        schema = next(schema_of(tool) for tool in prompt.tools if tool.name == wanted)
        arguments = json.dumps(_smallest(schema), ensure_ascii=False)
        return ScriptedReply(calls=(ToolCall("call_scripted", wanted, arguments),))
    if prompt.response_schema is not None:
        return ScriptedReply(json.dumps(_smallest(prompt.response_schema), ensure_ascii=False))
    asked = [
        message.content for message in prompt.messages if message.role in (Role.USER, Role.TOOL)
    ]
    return ScriptedReply(f"scripted: {asked[-1] if asked else ''}")


def _smallest(schema: Mapping[str, Any]) -> object:
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type", "object")
    match kind[0] if isinstance(kind, list) else kind:
        case "object":
            properties = schema.get("properties", {})
            return {
                name: _smallest(properties.get(name, {})) for name in schema.get("required", ())
            }
        case "array":
            return [_smallest(schema.get("items", {}))] * int(schema.get("minItems", 0))
        case "string":
            return "scripted"
        case "integer" | "number":
            return schema.get("minimum", 0)
        case "boolean":
            return False
        case _:
            return None
