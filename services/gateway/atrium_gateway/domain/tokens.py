"""How many tokens a text has, where no tokenizer says so."""

from __future__ import annotations

import json
from collections.abc import Iterable

from atrium_gateway.domain.generation import ChatMessage, Prompt, Tool

# A chat template spends about this much on marking one message.
_TOKENS_PER_MESSAGE = 4
_UTF8_BYTES_PER_TOKEN = 4
# What templates put before a conversation that has no instructions.
_PREAMBLE_TOKENS = 64
# Templates put words of their own around a list of tools: some 600 bytes in those of Qwen, Llama
# and Mistral.
_TOOLS_TOKENS = 160
_MOST_TOOLS_BYTES = 4096
_MOST_BYTES_PER_CALL = 128


def estimate_tokens(text: str) -> int:
    """Return about how many tokens a byte-pair vocabulary makes of ``text``.

    English runs at about four bytes a token and Chinese at about one and a half characters, four
    and a half bytes, a token; so the length in UTF-8 says about the same of both.
    """
    return -(-_utf8_bytes(text) // _UTF8_BYTES_PER_TOKEN)


def estimate_prompt_tokens(messages: Iterable[ChatMessage], tools: Iterable[Tool] = ()) -> int:
    """Return about how many tokens a conversation has, the template's marks included."""
    tokens = 0
    for message in messages:
        tokens += estimate_tokens(message.content) + _TOKENS_PER_MESSAGE
        for call in message.tool_calls:
            tokens += estimate_tokens(call.name + call.arguments) + _TOKENS_PER_MESSAGE
    described = [_described(tool, indent=None) for tool in tools]
    if described:
        tokens += _TOOLS_TOKENS + sum(map(estimate_tokens, described))
    return tokens


def most_prompt_tokens(messages: Iterable[ChatMessage], tools: Iterable[Tool] = ()) -> int:
    """Return a number of tokens that a byte-level vocabulary cannot exceed: one a byte.

    A prompt that fits even so needs no counting.
    """
    most = 0
    for message in messages:
        most += _utf8_bytes(message.content) + 4 * _TOKENS_PER_MESSAGE
        for call in message.tool_calls:
            # Some templates write the arguments anew, with other spaces and escapes.
            written = json.dumps(call.arguments)
            most += 2 * len(written) + len(call.name) + _MOST_BYTES_PER_CALL
    described = [len(_described(tool, indent=4)) for tool in tools]
    if described:
        most += _MOST_TOOLS_BYTES + sum(described)
    return most


def most_tokens(prompt: Prompt) -> int:
    """Return the most tokens that a reply to ``prompt`` can cost, prompt and reply together."""
    read = most_prompt_tokens(prompt.messages, prompt.tools) + _PREAMBLE_TOKENS
    return read + prompt.max_tokens


def most_encoder_tokens(texts: Iterable[str]) -> int:
    """Return the most tokens that an encoder can read in ``texts``: one a byte and the marks."""
    return sum(_utf8_bytes(text) + 16 for text in texts)


def _utf8_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _described(tool: Tool, indent: int | None) -> str:
    """Return a tool as templates write it; with ``indent`` and ASCII escapes at its longest."""
    function = {
        "name": tool.name,
        "description": tool.description,
        "parameters": dict(tool.parameters or {}),
    }
    whole = {"type": "function", "function": function}
    return json.dumps(whole, indent=indent, ensure_ascii=indent is not None)
