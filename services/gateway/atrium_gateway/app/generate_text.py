"""Writes a text, whole or as it comes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from atrium_gateway.app.audit_calls import AuditCalls
from atrium_gateway.app.calculate import Calculate
from atrium_gateway.app.caller import Caller
from atrium_gateway.app.dispatch import Dispatch, Plan
from atrium_gateway.app.generation_names import GenerationNames
from atrium_gateway.app.ground_reply import check_sources, ground, ground_stream, with_sources
from atrium_gateway.app.meter_usage import MeterUsage
from atrium_gateway.app.ports import ReplyCache, ResidencyGuard
from atrium_gateway.app.read_web_pages import ReadWebPages
from atrium_gateway.domain.errors import ResidencyForbids
from atrium_gateway.domain.generation import (
    CacheMode,
    Delta,
    Generated,
    GenerateEvent,
    Prompt,
    ToolCallDelta,
)
from atrium_gateway.domain.models import Capability, Model

_WEB = Model("web pages", "https", frozenset())
"""What addresses of pages are sent to: outside, like any model there."""


class GenerateText:
    """Use case of ``Generate`` and ``StreamGenerate``.

    Args:
        dispatch: Runs the call on a model.
        audit: Records it.
        cache: Keeps replies.
        pages: Reads web pages.
        calculate: Answers questions that need a calculation, where that is asked for.
        guard: Decides whether the addresses of pages may leave.
        names: Names replies that come from the cache.
        meter: Counts these.
    """

    def __init__(
        self,
        dispatch: Dispatch,
        audit: AuditCalls,
        cache: ReplyCache,
        pages: ReadWebPages,
        calculate: Calculate,
        guard: ResidencyGuard,
        names: GenerationNames,
        meter: MeterUsage,
    ) -> None:
        self._dispatch = dispatch
        self._audit = audit
        self._cache = cache
        self._pages = pages
        self._calculate = calculate
        self._guard = guard
        self._names = names
        self._meter = meter

    async def whole(self, caller: Caller, prompt: Prompt) -> Generated:
        """Write a text and return it whole.

        Raises:
            WebPagesOff, WebPageForbidden, WebPageUnreachable, WebPageUnreadable, WebPageTooLarge:
                A page cannot be had.
            AtriumError: See :meth:`Dispatch.generate`.
        """
        async with self._audit.call(caller, "gateway.Generate") as call:
            plan = await self._dispatch.plan(caller, Capability.GENERATE, prompt)
            strict = prompt if check_sources(prompt, plan) else None
            question = self._calculate.question(prompt)
            prompt = await self._with_pages(prompt, plan)
            generated = await self._find(prompt, plan)
            if generated is None:
                # A result is no sentence of a source; its numbers are checked by themselves.
                if question is not None:
                    generated = await self._calculate.answer(caller, question, prompt)
                else:
                    generated = await self._dispatch.generate(caller, with_sources(prompt), plan)
                    generated = await ground(generated, strict) if strict else generated
                await self._keep(prompt, plan, generated)
            call.answered(generated.engine, generated.usage)
            return generated

    async def stream(self, caller: Caller, prompt: Prompt) -> AsyncGenerator[GenerateEvent, None]:
        """Write a text and give it as it comes: its parts, then the whole. Closing stops the model.

        Raises:
            WebPagesOff, WebPageForbidden, WebPageUnreachable, WebPageUnreadable, WebPageTooLarge:
                A page cannot be had.
            AtriumError: See :meth:`Dispatch.stream`.
        """
        async with self._audit.call(caller, "gateway.StreamGenerate") as call:
            plan = await self._dispatch.plan(caller, Capability.GENERATE, prompt)
            strict = prompt if check_sources(prompt, plan) else None
            question = self._calculate.question(prompt)
            prompt = await self._with_pages(prompt, plan)
            kept = await self._find(prompt, plan)
            if kept is None and question is not None:
                kept = await self._calculate.answer(caller, question, prompt)
                await self._keep(prompt, plan, kept)
            if kept is not None:
                call.answered(kept.engine, kept.usage)
                for event in _as_events(kept):
                    yield event
                return
            async with aclosing(self._stream(caller, prompt, plan, strict=strict)) as events:
                async for event in events:
                    if isinstance(event, Generated):
                        await self._keep(prompt, plan, event)
                        call.answered(event.engine, event.usage)
                    yield event

    async def _with_pages(self, prompt: Prompt, plan: Plan) -> Prompt:
        if not prompt.web_pages:
            return prompt
        # Who asks for a page tells its host the address, and that somebody reads it.
        cleared = await self._guard.clear_texts(plan.caller, _WEB, prompt.web_pages)
        if list(cleared.texts) != list(prompt.web_pages):
            raise ResidencyForbids(
                _WEB.name, plan.caller.principal.residency, "an address of a page holds some"
            )
        context = plan.model.context_tokens if plan.model is not None else 0
        reply = prompt.max_tokens or plan.candidates[0].max_tokens
        return await self._pages(prompt, context, reply)

    def _stream(
        self, caller: Caller, prompt: Prompt, plan: Plan, *, strict: Prompt | None
    ) -> AsyncGenerator[GenerateEvent, None]:
        events = self._dispatch.stream(caller, with_sources(prompt), plan)
        # Web pages are no sources: the check is against the request without them.
        return ground_stream(events, strict) if strict else events

    async def _find(self, prompt: Prompt, plan: Plan) -> Generated | None:
        if plan.cache is CacheMode.OFF or plan.model is None:
            return None
        kept = await self._cache.find(plan.caller, plan.model, prompt, plan.cache)
        if kept is None:
            return None
        self._meter.cached(plan.caller, plan.model.name)
        # What becomes of it here says nothing about what became of it where it was first given.
        return replace(kept, generation=self._names.new(plan.caller, plan.model.name))

    async def _keep(self, prompt: Prompt, plan: Plan, reply: Generated) -> None:
        if plan.cache is not CacheMode.OFF and plan.model is not None and not reply.engine.degraded:
            await self._cache.keep(plan.caller, plan.model, prompt, plan.cache, reply)


def _as_events(reply: Generated) -> list[GenerateEvent]:
    """Return a whole reply as a stream would have given it."""
    text: list[GenerateEvent] = [Delta(reply.text)] if reply.text else []
    calls = [
        ToolCallDelta(index, call.arguments, call.id, call.name)
        for index, call in enumerate(reply.tool_calls)
    ]
    return [*text, *calls, reply]
