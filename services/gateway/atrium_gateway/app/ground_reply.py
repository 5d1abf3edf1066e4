"""Keeps replies to their sources: what no source supports is dropped, sentence by sentence.

The check is made of rules (:mod:`atrium_grounding.verification`): numbers, names, negations and
most words must stand in one source. What a model wrote is never judged by a model.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

from atrium_gateway.app.dispatch import Plan
from atrium_gateway.domain.errors import (
    GroundingWithoutSources,
    GroundingWithSchema,
    ReplyUnsupported,
    SourceRepeated,
    SourcesTooLong,
)
from atrium_gateway.domain.generation import (
    Delta,
    Generated,
    GenerateEvent,
    Grounding,
    Prompt,
    Source,
    Support,
)
from atrium_grounding.lexicon import lexicon
from atrium_grounding.sentences import SentenceCutter
from atrium_grounding.verification import SentenceVerifier
from atrium_grounding.verification import Source as Supporting

MOST_CHARACTERS = 200_000
"""Of all sources of a reply that is checked; beyond that the check would take seconds."""

_HEADING = "Sources:"


def check_sources(prompt: Prompt, plan: Plan) -> bool:
    """Tell whether a reply must keep to its sources, before a model is asked.

    Raises:
        SourceRepeated: Two sources have one id.
        GroundingWithoutSources: It must, and there are none.
        GroundingWithSchema: It must, and has no sentences.
        SourcesTooLong: It must, and there is too much to check against.
    """
    seen: set[str] = set()
    for index, source in enumerate(prompt.sources):
        if source.id in seen:
            raise SourceRepeated(index, source.id)
        seen.add(source.id)
    if plan.grounding is not Grounding.STRICT:
        return False
    if not prompt.sources:
        raise GroundingWithoutSources(plan.caller.task)
    if prompt.response_schema is not None:
        raise GroundingWithSchema(plan.caller.task)
    characters = sum(len(source.text) for source in prompt.sources)
    if characters > MOST_CHARACTERS:
        raise SourcesTooLong(characters, MOST_CHARACTERS)
    return True


def with_sources(prompt: Prompt) -> Prompt:
    """Return a prompt whose sources stand before its last message, for the model to read."""
    if not prompt.sources:
        return prompt
    *before, last = prompt.messages
    listed = "\n\n".join(f"[{source.id}]\n{source.text}" for source in prompt.sources)
    read = replace(last, content=f"{_HEADING}\n{listed}\n\n{last.content}")
    return replace(prompt, messages=(*before, read), sources=())


async def ground(reply: Generated, prompt: Prompt) -> Generated:
    """Return a reply without the sentences that no source supports.

    Raises:
        ReplyUnsupported: None is left.
    """
    checked = _Checked(prompt)
    await checked.feed(reply.text)
    await checked.end()
    return checked.whole(reply)


async def ground_stream(
    events: AsyncGenerator[GenerateEvent, None], prompt: Prompt
) -> AsyncGenerator[GenerateEvent, None]:
    """Give a streamed reply sentence by sentence, each once it is whole and supported.

    Closing the iterator closes ``events``, too.

    Raises:
        ReplyUnsupported: No sentence was; nothing was given.
    """
    checked = _Checked(prompt)
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Delta):
                for part in await checked.feed(event.text):
                    yield Delta(part)
            elif isinstance(event, Generated):
                for part in await checked.end():
                    yield Delta(part)
                yield checked.whole(event)
            else:
                yield event


class _Checked:
    """A reply as far as it is checked."""

    def __init__(self, prompt: Prompt) -> None:
        self._sources: Sequence[Source] = prompt.sources
        self._asked = prompt.messages[-1].content
        self._cutter = SentenceCutter()
        self._verifier: SentenceVerifier | None = None
        self._text = ""
        self._supports: list[Support] = []
        self._dropped = 0

    async def feed(self, part: str) -> list[str]:
        return await self._keep(self._cutter.feed(part))

    async def end(self) -> list[str]:
        return await self._keep(self._cutter.end())

    def whole(self, reply: Generated) -> Generated:
        if not self._supports and not reply.tool_calls:
            raise ReplyUnsupported(self._dropped)
        return replace(
            reply,
            text=self._text,
            supports=tuple(self._supports),
            dropped_sentences=self._dropped,
        )

    async def _keep(self, sentences: Sequence[str]) -> list[str]:
        if not sentences:
            return []
        # In a thread: long sources take a while to read, and other calls must not wait for that.
        found = await asyncio.to_thread(self._supporters, sentences)
        kept: list[str] = []
        for sentence, supporters in zip(sentences, found, strict=True):
            if not supporters:
                self._dropped += 1
                continue
            shown = sentence if self._text else sentence.lstrip()
            start = len(self._text) + len(shown) - len(shown.lstrip())
            self._text += shown
            ids = tuple(self._sources[index].id for index in supporters)
            self._supports.append(Support(start, len(self._text), ids))
            kept.append(shown)
        return kept

    def _supporters(self, sentences: Sequence[str]) -> list[list[int]]:
        if self._verifier is None:
            sources = [Supporting(source.text) for source in self._sources]
            self._verifier = SentenceVerifier(self._asked, sources, lexicon())
        return [self._verifier.supporters(sentence) for sentence in sentences]
