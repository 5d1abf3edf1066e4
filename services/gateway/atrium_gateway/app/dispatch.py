"""Walks the candidates of a task until one answers.

Every model call of the gateway passes here: what must hold for all of them (deadlines, queues,
fallbacks, usage) is in this file.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import TypeVar

from atrium_gateway.app.caller import Caller
from atrium_gateway.app.catalog import Catalog, ServedModel
from atrium_gateway.app.fair_queue import QueueFull
from atrium_gateway.app.meter_usage import MeterUsage
from atrium_gateway.app.ports import (
    EncoderBackend,
    ReaderBackend,
    ReplySchema,
    SchemaCompiler,
)
from atrium_gateway.app.resolve_route import ResolveRoute
from atrium_gateway.domain.errors import (
    EncoderQueueFull,
    GeneratorQueueFull,
    ModelUnavailable,
    SchemaUnsupported,
    TaskHasNoModel,
    UpstreamFailed,
    UpstreamTimedOut,
)
from atrium_gateway.domain.generation import Delta, Finished, FinishReason, Generated, Prompt
from atrium_gateway.domain.models import Capability, Engine, EngineKind
from atrium_gateway.domain.routes import Candidate
from atrium_gateway.domain.tokens import estimate_prompt_tokens, estimate_tokens
from atrium_gateway.domain.usage import NO_USAGE, Usage
from atrium_shared.errors import AtriumError, Exhausted, Invalid, Unavailable

T = TypeVar("T")
B = TypeVar("B")


class Attempts:
    """The candidates of one call in order, and why those before failed.

    Args:
        caller: Whose call.
        capability: What is asked.
        candidates: The candidates, first choice first.
        catalog: The models.
    """

    def __init__(
        self,
        caller: Caller,
        capability: Capability,
        candidates: tuple[Candidate, ...],
        catalog: Catalog,
    ) -> None:
        self._caller = caller
        self._capability = capability
        self._candidates = candidates
        self._catalog = catalog
        self._errors: list[AtriumError] = []
        self._reasons: list[str] = []

    def __iter__(self) -> Iterator[tuple[ServedModel, Candidate]]:
        for candidate in self._candidates:
            served = self._catalog.find(candidate.model)
            if served is None:
                why = "this installation does not have it"
                self.failed(candidate, ModelUnavailable(candidate.model, why))
            else:
                yield served, candidate

    def failed(self, candidate: Candidate, error: AtriumError) -> None:
        """Remember why a candidate did not answer."""
        self._errors.append(error)
        why = getattr(error, "why", error.reason)
        self._reasons.append(f"{candidate.model}: {why}")

    def engine(self, kind: EngineKind, served: ServedModel) -> Engine:
        """Return the engine of a reply, degraded when an earlier candidate failed."""
        engine = Engine(kind, served.model.backend, served.model.id)
        return engine.degraded_because("; ".join(self._reasons)) if self._reasons else engine

    def error(self) -> AtriumError:
        """Return what to tell the caller when no candidate answered.

        Of the candidates that were asked, one whose server failed tells most, since the same call
        may work later; then one with a full queue; then one that found the request wrong. When
        none could be asked, that is told, and why.
        """
        asked = [error for error in self._errors if not isinstance(error, ModelUnavailable)]
        for kind in (Unavailable, Exhausted, Invalid):
            for error in asked:
                if isinstance(error, kind):
                    return error
        return TaskHasNoModel(self._caller.task, self._capability.value, self._reasons)


class Dispatch:
    """Runs calls on the first candidate that answers.

    Args:
        catalog: The models.
        routes: Says which candidates a task has.
        meter: Counts what calls cost.
        schemas: Checks replies that must follow a schema.
    """

    def __init__(
        self,
        catalog: Catalog,
        routes: ResolveRoute,
        meter: MeterUsage,
        schemas: SchemaCompiler,
    ) -> None:
        self._catalog = catalog
        self._routes = routes
        self._meter = meter
        self._schemas = schemas

    async def generate(self, caller: Caller, prompt: Prompt) -> Generated:
        """Write a whole reply.

        Nothing is shown before the end, so the next candidate is tried even when one fails in the
        middle of its reply.

        Raises:
            TaskHasNoModel: No candidate can be used.
            SchemaUnsupported: The prompt's schema is none.
            AtriumError: The error of the candidate that tells most; see :meth:`Attempts.error`.
        """
        schema = self._compile(prompt)
        attempts = await self._attempts(caller, Capability.GENERATE)
        for served, candidate in attempts:
            try:
                async with aclosing(
                    self._generate_on(served, candidate, caller, prompt, schema, attempts)
                ) as events:
                    async for event in events:
                        if isinstance(event, Generated):
                            return event
            except (Unavailable, Exhausted, Invalid) as error:
                attempts.failed(candidate, error)
        raise attempts.error()

    async def stream(
        self, caller: Caller, prompt: Prompt
    ) -> AsyncGenerator[Delta | Generated, None]:
        """Write a reply as it comes: deltas, then the whole of it.

        The next candidate is tried until one has written something; from then on its failure is
        the call's. Closing the iterator stops the model.

        Raises:
            TaskHasNoModel: No candidate can be used.
            SchemaUnsupported: The prompt's schema is none.
            AtriumError: The error of the candidate that tells most; see :meth:`Attempts.error`.
        """
        schema = self._compile(prompt)
        attempts = await self._attempts(caller, Capability.GENERATE)
        for served, candidate in attempts:
            shown = False
            try:
                async with aclosing(
                    self._generate_on(served, candidate, caller, prompt, schema, attempts)
                ) as events:
                    async for event in events:
                        shown = True
                        yield event
                return
            except (Unavailable, Exhausted, Invalid) as error:
                if shown:
                    raise
                attempts.failed(candidate, error)
        raise attempts.error()

    async def encode(
        self,
        caller: Caller,
        capability: Capability,
        run: Callable[[EncoderBackend], Awaitable[tuple[T, int]]],
    ) -> tuple[T, Engine, Usage]:
        """Run work that needs an encoder.

        Args:
            caller: Whose call.
            capability: What is asked.
            run: Does the work on an encoder; returns its result and the tokens that were read.

        Returns:
            The result, what made it and what it cost.

        Raises:
            TaskHasNoModel: No candidate can be used.
            AtriumError: The error of the candidate that tells most; see :meth:`Attempts.error`.
        """
        return await self._first(caller, capability, lambda served: served.encoder, run)

    async def read(
        self, caller: Caller, run: Callable[[ReaderBackend], Awaitable[tuple[T, int]]]
    ) -> tuple[T, Engine, Usage]:
        """Run work that needs a reader; arguments and errors are those of :meth:`encode`."""
        return await self._first(caller, Capability.READ, lambda served: served.reader, run)

    async def _first(
        self,
        caller: Caller,
        capability: Capability,
        backend_of: Callable[[ServedModel], B | None],
        run: Callable[[B], Awaitable[tuple[T, int]]],
    ) -> tuple[T, Engine, Usage]:
        attempts = await self._attempts(caller, capability)
        for served, candidate in attempts:
            backend = backend_of(served)
            assert backend is not None  # resolve() returns models that can do what is asked
            try:
                result, tokens = await self._run_on(backend, served, candidate, caller, run)
            except (Unavailable, Exhausted, Invalid) as error:
                attempts.failed(candidate, error)
                continue
            usage = Usage(encoder_tokens=tokens)
            self._meter.answered(caller.tenant, caller.task, served.model.name, usage)
            return result, attempts.engine(EngineKind.ENCODER, served), usage
        raise attempts.error()

    def _compile(self, prompt: Prompt) -> ReplySchema | None:
        if prompt.response_schema is None:
            return None
        return self._schemas.compile(prompt.response_schema)

    async def _attempts(self, caller: Caller, capability: Capability) -> Attempts:
        candidates = await self._routes.candidates(caller.tenant, caller.task, capability)
        return Attempts(caller, capability, candidates, self._catalog)

    async def _generate_on(
        self,
        served: ServedModel,
        candidate: Candidate,
        caller: Caller,
        prompt: Prompt,
        schema: ReplySchema | None,
        attempts: Attempts,
    ) -> AsyncGenerator[Delta | Generated, None]:
        generator = served.generator
        assert generator is not None  # resolve() returns models that can do what is asked
        asked = replace(prompt, max_tokens=prompt.max_tokens or candidate.max_tokens)
        deadline = asyncio.get_running_loop().time() + candidate.timeout_seconds
        model = served.model.name
        parts: list[str] = []
        running = False
        try:
            async with _turn(served, caller, deadline, GeneratorQueueFull):
                running = True
                async with aclosing(generator.stream(asked)) as events:
                    while True:
                        # Not one timeout around the loop: it would also cancel whoever holds the
                        # iterator between two events.
                        async with asyncio.timeout_at(deadline):
                            event = await anext(events)
                        if isinstance(event, Finished):
                            break
                        parts.append(event.text)
                        yield event
            # A reply that was cut at max_tokens cannot follow the schema; its reason says so.
            if schema is not None and event.reason is FinishReason.STOP:
                mismatch = schema.mismatch("".join(parts))
                if mismatch:
                    raise SchemaUnsupported(
                        f"the reply did not follow it ({mismatch})", model=model
                    )
        except TimeoutError as error:
            self._count_failure(caller, model, asked, parts)
            raise UpstreamTimedOut(model, candidate.timeout_seconds) from error
        except AtriumError as error:
            if parts or isinstance(error, UpstreamFailed | UpstreamTimedOut):
                self._count_failure(caller, model, asked, parts)
            raise
        except (GeneratorExit, asyncio.CancelledError):
            if running:  # the caller left; what was written until then was used
                usage = _estimate_usage(asked, parts)
                self._meter.answered(caller.tenant, caller.task, model, usage)
            raise
        self._meter.answered(caller.tenant, caller.task, model, event.usage)
        engine = attempts.engine(EngineKind.GENERATIVE, served)
        yield Generated("".join(parts), event.reason, engine, event.usage)

    async def _run_on(
        self,
        backend: B,
        served: ServedModel,
        candidate: Candidate,
        caller: Caller,
        run: Callable[[B], Awaitable[tuple[T, int]]],
    ) -> tuple[T, int]:
        deadline = asyncio.get_running_loop().time() + candidate.timeout_seconds
        model = served.model.name
        try:
            async with _turn(served, caller, deadline, EncoderQueueFull):
                async with asyncio.timeout_at(deadline):
                    return await run(backend)
        except TimeoutError as error:
            self._meter.failed(caller.tenant, caller.task, model)
            raise UpstreamTimedOut(model, candidate.timeout_seconds) from error
        except (UpstreamFailed, UpstreamTimedOut):
            self._meter.failed(caller.tenant, caller.task, model)
            raise

    def _count_failure(self, caller: Caller, model: str, prompt: Prompt, parts: list[str]) -> None:
        usage = _estimate_usage(prompt, parts) if parts else NO_USAGE
        self._meter.failed(caller.tenant, caller.task, model, usage)


@asynccontextmanager
async def _turn(
    served: ServedModel,
    caller: Caller,
    deadline: float,
    full: type[GeneratorQueueFull] | type[EncoderQueueFull],
) -> AsyncIterator[None]:
    queue = served.queue
    if queue is None:
        yield
        return
    try:
        async with asyncio.timeout_at(deadline):
            await queue.acquire(caller.tenant)
    except QueueFull as error:
        raise full(served.model.name, error.waiting) from error
    try:
        yield
    finally:
        queue.release()


def _estimate_usage(prompt: Prompt, parts: list[str]) -> Usage:
    return Usage(
        prompt_tokens=estimate_prompt_tokens(prompt.messages),
        completion_tokens=estimate_tokens("".join(parts)),
    )
