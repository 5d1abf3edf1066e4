"""How many tokens a text has, where no tokenizer says so."""

from __future__ import annotations

import json
from collections.abc import Iterable

from atrium_gateway.domain.generation import ChatMessage, Prompt

# A chat template spends about this much on marking one message.
_TOKENS_PER_MESSAGE = 4
_UTF8_BYTES_PER_TOKEN = 4
# What templates put before a conversation that has no instructions, and before a list of tools.
_PREAMBLE_TOKENS = 64
_TOOLS_PREAMBLE_TOKENS = 512


def estimate_tokens(text: str) -> int:
    """Return about how many tokens a byte-pair vocabulary makes of ``text``.

    English runs at about four bytes a token and Chinese at about one and a half characters, four
    and a half bytes, a token; so the length in UTF-8 says about the same of both.
    """
    return -(-len(text.encode("utf-8", "surrogatepass")) // _UTF8_BYTES_PER_TOKEN)


def estimate_prompt_tokens(messages: Iterable[ChatMessage]) -> int:
    """Return about how many tokens a conversation has, the template's marks included."""
    return sum(estimate_tokens(message.content) + _TOKENS_PER_MESSAGE for message in messages)


def most_prompt_tokens(messages: Iterable[ChatMessage]) -> int:
    """Return a number of tokens that a byte-level vocabulary cannot exceed: one a byte.

    A prompt that fits even so needs no counting.
    """
    return sum(
        len(message.content.encode("utf-8", "surrogatepass")) + 4 * _TOKENS_PER_MESSAGE
        for message in messages
    )


def most_tokens(prompt: Prompt) -> int:
    """Return the most tokens that a reply to ``prompt`` can cost, prompt and reply together."""
    tokens = most_prompt_tokens(prompt.messages) + _PREAMBLE_TOKENS + prompt.max_tokens
    for message in prompt.messages:
        for call in message.tool_calls:
            tokens += len(call.arguments.encode("utf-8", "surrogatepass")) + len(call.name) + 64
    if prompt.tools:
        tokens += _TOOLS_PREAMBLE_TOKENS
    for tool in prompt.tools:
        told = tool.name + tool.description + json.dumps(tool.parameters or {}, ensure_ascii=False)
        tokens += len(told.encode("utf-8", "surrogatepass")) + 64
    return tokens


def most_encoder_tokens(texts: Iterable[str]) -> int:
    """Return the most tokens that an encoder can read in ``texts``: one a byte and the marks."""
    return sum(len(text.encode("utf-8", "surrogatepass")) + 16 for text in texts)
