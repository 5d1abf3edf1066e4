"""What of a tenant's texts may go to a model outside of the installation.

By the tenant's residency: nothing, texts with personal data replaced, or all. Whatever goes wrong
on the way, nothing is sent: a search that fails or takes too long is a refusal.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import structlog

from atrium_gateway.app.caller import Caller
from atrium_gateway.app.ports import Cleared, ClearedTexts
from atrium_gateway.domain.errors import ResidencyForbids
from atrium_gateway.domain.generation import ChatMessage, Prompt, Source, Tool, ToolCall
from atrium_gateway.domain.models import Location, Model
from atrium_gateway.domain.pii import Detector, Found, PiiKind, Redaction
from atrium_gateway.domain.pii.detect import same_names, without_overlaps
from atrium_gateway.domain.pii.kinds import CHECKED
from atrium_shared.principal import Residency

_MOST_NAMES = 500
"""Names looked for in the other texts of a call; more of them is a list of people, not a letter."""

_log = structlog.get_logger(__name__)

Rewrite = Callable[[str], str]


class Unsearchable(Exception):
    """Personal data in a text cannot be replaced; ``str()`` says why and holds none of the text."""


class RedactingGuard:
    """Implements :class:`~atrium_gateway.app.ports.ResidencyGuard`.

    Args:
        detector: Finds personal data.
        timeout_seconds: How long it may search the texts of one call.
    """

    def __init__(self, detector: Detector, *, timeout_seconds: float) -> None:
        self._detector = detector
        self._timeout_seconds = timeout_seconds

    async def clear(self, caller: Caller, model: Model, prompt: Prompt) -> Cleared:
        """Return what of a prompt may be sent; see the port.

        Raises:
            ResidencyForbids: Nothing of it.
        """
        if self._as_it_is(caller, model):
            return Cleared(model.name, prompt)
        texts: dict[str, str] = {}
        try:
            rewritten(prompt, lambda text: texts.setdefault(text, text))
            redaction = await self._replace(texts)
            cleared = rewritten(prompt, texts.__getitem__)
        except Exception as error:
            raise self._refusal(model, error) from None
        restoration = redaction.restoration()
        return Cleared(model.name, cleared, restoration if restoration.values else None)

    async def clear_texts(self, caller: Caller, model: Model, texts: Sequence[str]) -> ClearedTexts:
        """Return what of texts to encode may be sent; see the port.

        Raises:
            ResidencyForbids: Nothing of them.
        """
        if self._as_it_is(caller, model):
            return ClearedTexts(model.name, texts)
        replaced = dict.fromkeys(texts, "")
        try:
            await self._replace(replaced)
        except Exception as error:
            raise self._refusal(model, error) from None
        return ClearedTexts(model.name, [replaced[text] for text in texts])

    def _as_it_is(self, caller: Caller, model: Model) -> bool:
        """Say whether texts may go unchanged, or else only with personal data replaced."""
        if model.location is Location.RESIDENT:
            return True
        residency = caller.principal.residency
        if residency is Residency.ANY:
            return True
        if residency is Residency.HYBRID:
            return False
        raise ResidencyForbids(model.name, residency)

    def _refusal(self, model: Model, error: Exception) -> ResidencyForbids:
        # Whatever the error is, the texts were not searched. Its words may hold some of them, so
        # they are neither shown nor logged, nor chained to what is raised.
        if isinstance(error, Unsearchable):
            why = str(error)
        else:
            why = "the search for it failed"
            _log.error("search for personal data failed", error=type(error).__name__)
        return ResidencyForbids(model.name, Residency.HYBRID, why)

    async def _replace(self, texts: dict[str, str]) -> Redaction:
        """Set each text to what may be sent of it.

        Raises:
            Unsearchable: It took too long, or a number is left that a checksum confirms.
        """
        deadline = asyncio.get_running_loop().time() + self._timeout_seconds
        found = {text: await self._find(text, deadline) for text in texts}
        names = {
            text[each.start : each.end]
            for text, here in found.items()
            for each in here
            if each.kind is PiiKind.PERSON and each.end - each.start > 1
        }
        redaction = Redaction(texts)
        for text, here in found.items():
            if names and len(texts) > 1 and len(names) <= _MOST_NAMES:
                here = without_overlaps([*here, *same_names(text, sorted(names))])
            texts[text] = redaction.hide(text, here)
        # Looked at once more as it would be sent: whatever is wrong above must not let these out.
        for text, sent in texts.items():
            if sent != text:
                left = await self._find(sent, deadline)
                if any(each.kind in CHECKED for each in left):
                    raise Unsearchable("not all of it could be replaced")
        return redaction

    async def _find(self, text: str, deadline: float) -> list[Found]:
        found: list[Found] = []
        for part in self._detector.find_in_parts(text):
            found = part
            if asyncio.get_running_loop().time() > deadline:
                raise Unsearchable(
                    f"the search for it took longer than {self._timeout_seconds:g} s"
                )
            # Others have their turn between the parts of a long text.
            await asyncio.sleep(0)
        return found


def rewritten(prompt: Prompt, rewrite: Rewrite) -> Prompt:
    """Return a prompt in which ``rewrite`` saw every text that a server can get.

    Raises:
        Unsearchable: ``rewrite`` changes the name of a tool, which must stay as it is.
        RecursionError: A schema or arguments are nested too deep.
    """
    schema = prompt.response_schema
    return replace(
        prompt,
        messages=tuple(_message(message, rewrite) for message in prompt.messages),
        response_schema=None if schema is None else _value(schema, rewrite),
        stop=tuple(map(rewrite, prompt.stop)),
        tools=tuple(
            Tool(
                _unchanged(tool.name, rewrite),
                rewrite(tool.description),
                None if tool.parameters is None else _value(tool.parameters, rewrite),
            )
            for tool in prompt.tools
        ),
        tool_choice=replace(prompt.tool_choice, tool=_unchanged(prompt.tool_choice.tool, rewrite)),
        sources=tuple(Source(rewrite(each.id), rewrite(each.text)) for each in prompt.sources),
        # The pages were read already; no server needs their addresses.
        web_pages=(),
    )


def _message(message: ChatMessage, rewrite: Rewrite) -> ChatMessage:
    return replace(
        message,
        content=rewrite(message.content),
        tool_calls=tuple(
            ToolCall(
                rewrite(call.id),
                _unchanged(call.name, rewrite),
                _arguments(call.arguments, rewrite),
            )
            for call in message.tool_calls
        ),
        tool_call_id=rewrite(message.tool_call_id),
    )


def _arguments(text: str, rewrite: Rewrite) -> str:
    """Rewrite the strings of a JSON text, behind whose escapes anything can stand."""
    try:
        value = json.loads(text)
    except ValueError:
        return rewrite(text)
    changed = _value(value, rewrite)
    # What JSON does not tell, such as a key that is there twice, is in the text itself.
    return rewrite(text) if changed == value else json.dumps(changed, ensure_ascii=False)


def _value(value: Any, rewrite: Rewrite) -> Any:
    if isinstance(value, str):
        return rewrite(value)
    if isinstance(value, Mapping):
        return {rewrite(key): _value(each, rewrite) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_value(each, rewrite) for each in value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        digits = str(int(value) if value == value // 1 else value)
        hidden = rewrite(digits)
        return value if hidden == digits else hidden
    return value


def _unchanged(name: str, rewrite: Rewrite) -> str:
    if rewrite(name) != name:
        raise Unsearchable("the name of a tool holds some, and must stay as it is")
    return name
