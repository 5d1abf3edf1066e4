"""Walks the candidates of a task until one answers.

Every model call of the gateway passes here, and every attempt of one passes the same gates in the
same order (:meth:`Dispatch._attempt`): residency, budget, queue, replica, breaker, deadline; then
what came is put right, settled and counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterator,
)
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import TypeVar

from atrium_gateway.app.caller import Caller
from atrium_gateway.app.catalog import Catalog, Replica, ServedModel
from atrium_gateway.app.fair_queue import FairQueue, QueueFull
from atrium_gateway.app.generation_names import GenerationNames
from atrium_gateway.app.meter_usage import MeterUsage
from atrium_gateway.app.outside import OutsideEncoder, OutsideReranker
from atrium_gateway.app.ports import (
    Budgets,
    Cleared,
    EncoderBackend,
    ReaderBackend,
    ReplySchema,
    RerankerBackend,
    ResidencyGuard,
    Restorer,
    SchemaCompiler,
)
from atrium_gateway.app.resolve_route import ResolveRoute
from atrium_gateway.app.tool_rules import ToolRules, ToolTurn
from atrium_gateway.domain.errors import (
    EncoderQueueFull,
    GeneratorQueueFull,
    ModelUnavailable,
    QuotaExhausted,
    ResidencyForbids,
    SchemaUnsupported,
    TaskHasNoModel,
    UpstreamFailed,
    UpstreamResting,
    UpstreamTimedOut,
)
from atrium_gateway.domain.generation import (
    CacheMode,
    Completed,
    Delta,
    FinishReason,
    Generated,
    GenerateEvent,
    Grounding,
    Prompt,
    ToolCall,
    ToolCallDelta,
)
from atrium_gateway.domain.models import Capability, Model
from atrium_gateway.domain.routes import Candidate, in_order
from atrium_gateway.domain.tokens import estimate_prompt_tokens, estimate_tokens, most_tokens
from atrium_gateway.domain.tool_errors import ToolCallRefused
from atrium_shared.engines import NO_USAGE, Engine, EngineKind, Usage
from atrium_shared.errors import AtriumError, Exhausted, Invalid, Unavailable

T = TypeVar("T")

# What lets the next candidate try. A quota that is used up does not: it holds for all of them.
_NEXT_MAY_DO = (Unavailable, Exhausted, Invalid, ResidencyForbids)
# What another replica of the same model may do better.
_REPLICA_FAULTS = (UpstreamFailed, UpstreamTimedOut, ModelUnavailable)


@dataclass(frozen=True, slots=True)
class Plan:
    """What the route of its task says of one call.

    Attributes:
        caller: Whose call.
        capability: What is asked.
        candidates: Candidates in the order in which this call asks them, at least one.
        choices: The models of these; None for one that the installation does not have.
        left_last: Candidates that were moved to the end because their servers rest.
        grounding: How closely a reply keeps to its sources, by the request or else the route.
        cache: Whether the cache may be used, by the request or else the route.
    """

    caller: Caller
    capability: Capability
    candidates: tuple[Candidate, ...]
    choices: tuple[ServedModel | None, ...]
    left_last: tuple[Candidate, ...] = ()
    grounding: Grounding = Grounding.TOLERANT
    cache: CacheMode = CacheMode.OFF

    @property
    def model(self) -> Model | None:
        """The model asked first; None when the installation does not have it."""
        first = self.choices[0]
        return first.model if first is not None else None


@dataclass(slots=True)
class _Target:
    """A model to ask, and what was tried of it."""

    served: ServedModel
    candidate: Candidate
    deadline: float
    tried: list[Replica]
    attempts: _Attempts


class _Attempts:
    """The targets of one call in order, and why those before failed."""

    def __init__(self, plan: Plan) -> None:
        self.caller = plan.caller
        self._plan = plan
        self.uncounted = 1  # a call counts once, however often it is tried
        self._errors: list[AtriumError] = []
        self._reasons = [f"{each.model}: its server rests" for each in plan.left_last]

    def __iter__(self) -> Iterator[_Target]:
        """Give each candidate, once for every replica that may do better than the one before."""
        now = asyncio.get_running_loop().time
        for served, candidate in zip(self._plan.choices, self._plan.candidates, strict=True):
            if served is None:
                why = "this installation does not have it"
                self.failed(candidate, ModelUnavailable(candidate.model, why))
                continue
            target = _Target(served, candidate, now() + candidate.timeout_seconds, [], self)
            yield target
            # The replicas share the candidate's time.
            while self._failed_at_replica(target) and now() < target.deadline:
                yield target

    def failed(self, candidate: Candidate, error: AtriumError) -> None:
        """Remember why a candidate did not answer."""
        self._errors.append(error)
        why = getattr(error, "why", error.reason)
        reason = f"{candidate.model}: {why}"
        if reason not in self._reasons:
            self._reasons.append(reason)

    def engine(self, kind: EngineKind, served: ServedModel) -> Engine:
        """Return the engine of a reply, degraded when an earlier candidate failed."""
        engine = Engine(kind, served.model.backend, served.model.id)
        # Another replica of the same model is no lesser choice.
        name = f"{served.model.name}: "
        reasons = [reason for reason in self._reasons if not reason.startswith(name)]
        return engine.degraded_because("; ".join(reasons)) if reasons else engine

    def error(self) -> AtriumError:
        """Return what to tell the caller when no candidate answered.

        Of the candidates that were asked, one whose server failed tells most, since the same call
        may work later; then one with a full queue; then one that found the request wrong; then
        one that may not have the texts. When none could be asked, that is told, and why.
        """
        asked = [error for error in self._errors if not isinstance(error, ModelUnavailable)]
        for kind in _NEXT_MAY_DO:
            for error in asked:
                if isinstance(error, kind):
                    return error
        plan = self._plan
        return TaskHasNoModel(self.caller.task, plan.capability.value, self._reasons)

    def _failed_at_replica(self, target: _Target) -> bool:
        return isinstance(self._errors[-1], _REPLICA_FAULTS) and (
            target.served.choose(target.tried) is not None
        )


@dataclass(frozen=True, slots=True)
class _Checks:
    """What a reply is held to."""

    schema: ReplySchema | None
    tools: ToolRules


@dataclass(slots=True)
class _Running:
    """One attempt behind its gates.

    Attributes:
        replica: What runs it.
        cost: Returns what it cost until now; whoever runs it sets this. An attempt that failed
            before anything came costs nothing, one that its caller left cost its prompt.
    """

    replica: Replica
    cost: Callable[[bool], Usage]


class Dispatch:
    """Runs calls on the first candidate that answers.

    Args:
        catalog: The models.
        routes: Says which candidates a task has.
        meter: Counts what calls cost.
        schemas: Checks replies that must follow a schema.
        budgets: What callers may still use.
        guard: Decides what may leave the installation.
        names: Names replies, for their outcomes.
        arms_key: Key of the hash that draws a caller's arm; the same in every replica.
    """

    def __init__(
        self,
        catalog: Catalog,
        routes: ResolveRoute,
        meter: MeterUsage,
        schemas: SchemaCompiler,
        budgets: Budgets,
        guard: ResidencyGuard,
        names: GenerationNames,
        *,
        arms_key: bytes = b"",
    ) -> None:
        self._catalog = catalog
        self._routes = routes
        self._meter = meter
        self._schemas = schemas
        self._budgets = budgets
        self._guard = guard
        self._names = names
        self._arms_key = arms_key

    async def plan(
        self, caller: Caller, capability: Capability, prompt: Prompt | None = None
    ) -> Plan:
        """Return which models a call asks and how.

        Args:
            caller: Whose call.
            capability: What is asked.
            prompt: What to write, where that is asked; it may say more than the route.

        Raises:
            TaskHasNoModel: No route of the task leads to a model that can do it.
        """
        route = await self._routes.route(caller.tenant, caller.task, capability)
        candidates = route.candidates
        left_last: tuple[Candidate, ...] = ()
        if len(candidates) > 1:
            if any(each.weight for each in candidates):
                candidates = in_order(candidates, self._lot(caller))
            resting = [each for each in candidates if self._rests(each, caller.tenant)]
            if resting:
                well = [each for each in candidates if each not in resting]
                first = candidates.index(well[0]) if well else 0
                left_last = candidates[:first]
                candidates = (*well, *resting)
        grounding = prompt.grounding if prompt is not None else None
        cache = prompt.cache if prompt is not None else None
        return Plan(
            caller,
            capability,
            candidates,
            tuple([self._catalog.find(each.model, caller.tenant) for each in candidates]),
            left_last,
            grounding or route.grounding,
            cache or route.cache,
        )

    async def generate(self, caller: Caller, prompt: Prompt, plan: Plan | None = None) -> Generated:
        """Write a whole reply.

        Nothing is shown before the end, so the next candidate is tried even when one fails in the
        middle of its reply.

        Args:
            caller: Whose call.
            prompt: What to write.
            plan: From :meth:`plan`, where the caller has it already.

        Raises:
            TaskHasNoModel: No candidate can be used.
            SchemaUnsupported: The prompt's schema is none.
            ToolRepeated, ToolSchemaInvalid, ToolChoiceInvalid, ToolMessageInvalid: Its tools, or
                the calls in its conversation, cannot be meant.
            QuotaExhausted: The caller has not enough left.
            AtriumError: The error of the candidate that tells most; see :meth:`_Attempts.error`.
        """
        checks = self._checks(prompt)
        attempts = _Attempts(plan or await self.plan(caller, Capability.GENERATE, prompt))
        for target in attempts:
            try:
                try:
                    return await self._whole_on(target, prompt, checks, attempts)
                except ToolCallRefused as refused:
                    again = _with_repair(prompt, refused)
                    with _told_instead(refused):
                        # The same replica once more: it did not fail, its model did.
                        fresh = replace(target, tried=[])
                        return await self._whole_on(fresh, again, checks, attempts)
            except QuotaExhausted:
                raise
            except _NEXT_MAY_DO as error:
                attempts.failed(target.candidate, error)
        raise attempts.error()

    async def stream(
        self, caller: Caller, prompt: Prompt, plan: Plan | None = None
    ) -> AsyncGenerator[GenerateEvent, None]:
        """Write a reply as it comes: its parts, then the whole of it.

        The next candidate is tried until one has written something; from then on its failure is
        the call's. Closing the iterator stops the model.

        Args:
            caller: Whose call.
            prompt: What to write.
            plan: From :meth:`plan`, where the caller has it already.

        Raises:
            TaskHasNoModel: No candidate can be used.
            SchemaUnsupported: The prompt's schema is none.
            ToolRepeated, ToolSchemaInvalid, ToolChoiceInvalid, ToolMessageInvalid: Its tools, or
                the calls in its conversation, cannot be meant.
            QuotaExhausted: The caller has not enough left.
            AtriumError: The error of the candidate that tells most; see :meth:`_Attempts.error`.
        """
        checks = self._checks(prompt)
        attempts = _Attempts(plan or await self.plan(caller, Capability.GENERATE, prompt))
        for target in attempts:
            shown = False
            try:
                try:
                    stream = self._stream_on(target, prompt, checks, attempts)
                    async with aclosing(stream) as events:
                        async for event in events:
                            shown = True
                            yield event
                    return
                except ToolCallRefused as refused:
                    if shown:
                        raise
                    again = _with_repair(prompt, refused)
                    with _told_instead(refused):
                        fresh = replace(target, tried=[])
                        stream = self._stream_on(fresh, again, checks, attempts)
                        async with aclosing(stream) as events:
                            async for event in events:
                                shown = True
                                yield event
                    return
            except QuotaExhausted:
                raise
            except _NEXT_MAY_DO as error:
                if shown:
                    raise
                attempts.failed(target.candidate, error)
        raise attempts.error()

    async def encode(
        self,
        caller: Caller,
        capability: Capability,
        run: Callable[[EncoderBackend], Awaitable[tuple[T, int]]],
        most_tokens: int,
    ) -> tuple[T, Engine, Usage]:
        """Run work that needs an encoder.

        Args:
            caller: Whose call.
            capability: What is asked.
            run: Does the work on an encoder; returns its result and the tokens that were read.
            most_tokens: The most tokens that it can read.

        Returns:
            The result, what made it and what it cost.

        Raises:
            TaskHasNoModel: No candidate can be used.
            QuotaExhausted: The caller has not enough left.
            AtriumError: The error of the candidate that tells most; see :meth:`_Attempts.error`.
        """

        async def run_on(served: ServedModel, replica: Replica) -> tuple[T, int]:
            return await run(self._encoder(caller, served, replica))

        return await self._first(caller, capability, run_on, most_tokens)

    async def rerank(
        self,
        caller: Caller,
        by_encoder: Callable[[EncoderBackend], Awaitable[tuple[T, int]]],
        by_reranker: Callable[[RerankerBackend], Awaitable[tuple[T, int]]],
        most_tokens: int,
    ) -> tuple[T, Engine, Usage]:
        """Run work for which a reranker is best and an encoder will do.

        Args:
            caller: Whose call.
            by_encoder: Does the work on an encoder; see :meth:`encode`.
            by_reranker: Does it on a reranker.
            most_tokens: The most tokens that either can read.

        Returns:
            As :meth:`encode`; its errors, too.
        """

        async def run_on(served: ServedModel, replica: Replica) -> tuple[T, int]:
            reranker = replica.reranker
            if reranker is None:
                return await by_encoder(self._encoder(caller, served, replica))
            if isinstance(reranker, OutsideReranker):
                reranker = reranker.of(caller, served.model, self._guard)
            return await by_reranker(reranker)

        return await self._first(caller, Capability.RERANK, run_on, most_tokens)

    def _encoder(self, caller: Caller, served: ServedModel, replica: Replica) -> EncoderBackend:
        encoder = replica.encoder
        assert encoder is not None  # routes lead to models that can do what is asked
        if isinstance(encoder, OutsideEncoder):
            return encoder.of(caller, served.model, self._guard)
        return encoder

    async def read(
        self,
        caller: Caller,
        run: Callable[[ReaderBackend], Awaitable[tuple[T, int]]],
        most_tokens: int,
    ) -> tuple[T, Engine, Usage]:
        """Run work that needs a reader; arguments and errors are those of :meth:`encode`."""

        async def run_on(served: ServedModel, replica: Replica) -> tuple[T, int]:
            assert replica.reader is not None  # routes lead to models that can do what is asked
            return await run(replica.reader)

        return await self._first(caller, Capability.READ, run_on, most_tokens)

    async def _first(
        self,
        caller: Caller,
        capability: Capability,
        run: Callable[[ServedModel, Replica], Awaitable[tuple[T, int]]],
        most_tokens: int,
    ) -> tuple[T, Engine, Usage]:
        attempts = _Attempts(await self.plan(caller, capability))
        for target in attempts:
            try:
                async with self._attempt(target, caller, most_tokens, EncoderQueueFull) as running:
                    async with asyncio.timeout_at(target.deadline):
                        result, tokens = await run(target.served, running.replica)
                    usage = Usage(encoder_tokens=tokens)
                    running.cost = lambda _: usage  # noqa: B023 - asked before the next turn
            except QuotaExhausted:
                raise
            except _NEXT_MAY_DO as error:
                attempts.failed(target.candidate, error)
                continue
            return result, attempts.engine(EngineKind.ENCODER, target.served), usage
        raise attempts.error()

    async def _whole_on(
        self, target: _Target, prompt: Prompt, checks: _Checks, attempts: _Attempts
    ) -> Generated:
        if target.served.completes:
            return await self._complete_on(target, prompt, checks, attempts)
        async with aclosing(self._stream_on(target, prompt, checks, attempts)) as events:
            async for event in events:
                if isinstance(event, Generated):
                    return event
        raise AssertionError("unreachable: a stream ends with the whole, or raises")

    async def _stream_on(
        self, target: _Target, prompt: Prompt, checks: _Checks, attempts: _Attempts
    ) -> AsyncGenerator[GenerateEvent, None]:
        reply = _Reply(await self._clear(target, attempts.caller, prompt))
        turn = checks.tools.turn(target.served.model.name)
        most = most_tokens(reply.prompt)
        async with self._attempt(target, attempts.caller, most, GeneratorQueueFull) as running:
            running.cost = reply.cost
            async with aclosing(running.replica.stream(reply.cleared)) as events:
                while True:
                    # Not one timeout around the loop: it would also cancel whoever holds the
                    # iterator between two events.
                    async with asyncio.timeout_at(target.deadline):
                        event = await anext(events, None)
                    if event is None:
                        raise UpstreamFailed(target.served.model.name, "it ended without an end")
                    if isinstance(event, Delta):
                        shown = reply.text(event.text)
                        if shown:
                            for part in turn.take(Delta(shown)):
                                yield part
                    elif isinstance(event, ToolCallDelta):
                        for part in turn.take(reply.tool_call(event)):
                            yield part
                    else:
                        break
            for rest in reply.rest():
                for part in turn.take(rest):
                    yield part
            completed = reply.completed(event.reason, event.usage)
            completed = _checked(completed, turn, checks.schema, target)
        for part in turn.rest():
            yield part
        yield self._generated(completed, reply.cleared, target, attempts)

    async def _complete_on(
        self, target: _Target, prompt: Prompt, checks: _Checks, attempts: _Attempts
    ) -> Generated:
        cleared = await self._clear(target, attempts.caller, prompt)
        most = most_tokens(cleared.prompt)
        async with self._attempt(target, attempts.caller, most, GeneratorQueueFull) as running:
            reply = _Reply(cleared)
            running.cost = reply.cost_in_one_piece
            async with asyncio.timeout_at(target.deadline):
                came = await running.replica.complete(cleared)
            completed = reply.whole(came)
            turn = checks.tools.turn(target.served.model.name)
            turn.take_whole(completed.text, completed.tool_calls)
            completed = _checked(completed, turn, checks.schema, target)
        return self._generated(completed, cleared, target, attempts)

    @asynccontextmanager
    async def _attempt(
        self,
        target: _Target,
        caller: Caller,
        most_tokens: int,
        full: type[GeneratorQueueFull] | type[EncoderQueueFull],
    ) -> AsyncIterator[_Running]:
        """Pass the gates of one attempt, and settle and count what it cost however it ends.

        Args:
            target: What is asked.
            caller: Whose call.
            most_tokens: The most that it can cost.
            full: Raised when too many wait already.
        """
        served, model = target.served, target.served.model.name
        attempts = target.attempts
        reservation = await self._budgets.reserve(caller, most_tokens, attempts.uncounted)
        attempts.uncounted = 0
        used = NO_USAGE
        running: _Running | None = None
        try:
            async with _Turn(served.queues, caller, target.deadline, full, model):
                replica = _choose(served, target.tried)
                with replica.upstream.call(caller.tenant):
                    running = _Running(replica, lambda left: NO_USAGE)
                    yield running
            used = running.cost(False)
            self._meter.answered(caller, model, used)
        except TimeoutError as error:
            used = running.cost(False) if running else NO_USAGE
            self._meter.failed(caller, model, used)
            raise UpstreamTimedOut(model, target.candidate.timeout_seconds) from error
        except (GeneratorExit, asyncio.CancelledError):
            if running is not None:  # the caller left; what was written until then was used
                used = running.cost(True)
                self._meter.answered(caller, model, used)
            raise
        except AtriumError as error:
            used = running.cost(False) if running else NO_USAGE
            if used is not NO_USAGE or (
                isinstance(error, UpstreamFailed | UpstreamTimedOut)
                and not isinstance(error, UpstreamResting)
            ):
                self._meter.failed(caller, model, used)
            raise
        finally:
            reservation.settle(used.total_tokens)

    async def _clear(self, target: _Target, caller: Caller, prompt: Prompt) -> Cleared:
        if not prompt.max_tokens:
            prompt = replace(prompt, max_tokens=target.candidate.max_tokens)
        return await self._guard.clear(caller, target.served.model, prompt)

    def _generated(
        self, reply: Completed, cleared: Cleared, target: _Target, attempts: _Attempts
    ) -> Generated:
        return Generated(
            reply.text,
            reply.reason,
            attempts.engine(EngineKind.GENERATIVE, target.served),
            reply.usage,
            reply.tool_calls,
            self._names.new(attempts.caller, target.served.model.name),
            redacted_values=cleared.restoration.values if cleared.restoration else 0,
        )

    def _checks(self, prompt: Prompt) -> _Checks:
        schema = prompt.response_schema
        return _Checks(
            None if schema is None else self._schemas.compile(schema),
            ToolRules(prompt, self._schemas),
        )

    def _lot(self, caller: Caller) -> int:
        """Return where a caller falls: always the same for one user and task, and not to guess."""
        who = f"{caller.tenant}\0{caller.principal.subject}\0{caller.task}".encode()
        return int.from_bytes(blake2b(who, digest_size=8, key=self._arms_key).digest(), "big")

    def _rests(self, candidate: Candidate, tenant: str) -> bool:
        served = self._catalog.find(candidate.model, tenant)
        return served is not None and served.resting


class _Reply:
    """What came of one reply so far, and what of it can be shown."""

    def __init__(self, cleared: Cleared) -> None:
        self.cleared = cleared
        self._written: list[str] = []  # as the model wrote it: what it cost
        self._shown: list[str] = []
        self._usage: Usage | None = None
        self._text: Restorer | None = None
        self._arguments: dict[int, Restorer] = {}
        if cleared.restoration is not None:
            in_json = cleared.prompt.response_schema is not None
            self._text = cleared.restoration.restorer(in_json=in_json)

    @property
    def prompt(self) -> Prompt:
        """What was sent."""
        return self.cleared.prompt

    def text(self, part: str) -> str:
        """Take text and return what of it can be shown now."""
        self._written.append(part)
        if self._text is not None:
            part = self._text.feed(part)
        if part:
            self._shown.append(part)
        return part

    def tool_call(self, part: ToolCallDelta) -> ToolCallDelta:
        """Take a part of a tool call and return what of it can be shown now."""
        self._written.append(part.name + part.arguments)
        restoration = self.cleared.restoration
        if restoration is not None:
            restorer = self._arguments.get(part.index)
            if restorer is None:
                restorer = restoration.restorer(in_json=True)
                self._arguments[part.index] = restorer
            part = replace(part, arguments=restorer.feed(part.arguments))
        return part

    def rest(self) -> Iterator[Delta | ToolCallDelta]:
        """Give what was held back until the end."""
        if self._text is not None:
            rest = self._text.end()
            if rest:
                self._shown.append(rest)
                yield Delta(rest)
        for index, restorer in sorted(self._arguments.items()):
            rest = restorer.end()
            if rest:
                yield ToolCallDelta(index, rest)

    def completed(self, reason: FinishReason, usage: Usage) -> Completed:
        """Return the whole of what was streamed, the calls aside."""
        self._usage = usage
        return Completed("".join(self._shown), reason, usage)

    def whole(self, came: Completed) -> Completed:
        """Take a reply in one piece and return it as it can be shown."""
        self._usage = came.usage
        restoration = self.cleared.restoration
        if restoration is None or self._text is None:
            return came
        text = self._text.feed(came.text) + self._text.end()
        calls = []
        for call in came.tool_calls:
            restorer = restoration.restorer(in_json=True)
            arguments = restorer.feed(call.arguments) + restorer.end()
            calls.append(ToolCall(call.id, call.name, arguments))
        return replace(came, text=text, tool_calls=tuple(calls))

    def cost(self, left: bool) -> Usage:
        """Return what it cost until now: as told at the end, estimated before.

        Args:
            left: Whether its caller left; else it failed.
        """
        if self._usage is not None:
            return self._usage
        if not self._written and not left:
            return NO_USAGE
        return Usage(
            prompt_tokens=estimate_prompt_tokens(self.prompt.messages, self.prompt.tools),
            completion_tokens=estimate_tokens("".join(self._written)),
        )

    def cost_in_one_piece(self, left: bool) -> Usage:
        """Return what it cost until now, where nothing of it shows before its end.

        Args:
            left: Whether its caller left; nobody knows how much was written by then, so all that
                could be counts. Otherwise whoever leaves just before the end would pay nothing.
        """
        cost = self.cost(left)
        if left and self._usage is None:
            cost = replace(cost, completion_tokens=self.prompt.max_tokens)
        return cost


def _checked(
    reply: Completed, turn: ToolTurn, schema: ReplySchema | None, target: _Target
) -> Completed:
    """Return a reply with its calls, if it is what was asked for."""
    calls, reason = turn.finish(reply.reason)
    # A reply that was cut at max_tokens cannot follow the schema; its reason says so.
    if schema is not None and reason is FinishReason.STOP:
        mismatch = schema.mismatch(reply.text)
        if mismatch:
            raise SchemaUnsupported(
                f"the reply did not follow it ({mismatch})", model=target.served.model.name
            )
    if reason is reply.reason and calls == reply.tool_calls:
        return reply  # nearly always
    return replace(reply, reason=reason, tool_calls=calls)


def _with_repair(prompt: Prompt, refused: ToolCallRefused) -> Prompt:
    """Return the prompt that asks a model to call its tools better.

    Raises:
        ToolCallRefused: The same, when asking again cannot help.
    """
    if not refused.repair:
        raise refused
    return replace(prompt, messages=(*prompt.messages, *refused.repair))


@contextmanager
def _told_instead(refused: ToolCallRefused) -> Iterator[None]:
    """Tell how the tools were called, not that the longer prompt was too long to ask again."""
    try:
        yield
    except Invalid as error:
        raise refused from error


def _choose(served: ServedModel, tried: list[Replica]) -> Replica:
    replica = served.choose(tried)
    if replica is None:
        seconds = min(each.upstream.seconds_left for each in served.replicas)
        raise UpstreamResting(served.model.name, seconds)
    tried.append(replica)
    return replica


class _Turn:
    """Waits for the turn of a call; time runs. A class, since a generator costs every call more.

    Args:
        queues: Where the call waits, one after the other.
        caller: Whose call.
        deadline: When it gives up, on the loop's clock.
        full: Raised when too many wait already.
        model: Resource name of the model, for errors.
    """

    __slots__ = ("_caller", "_deadline", "_full", "_model", "_queues", "_taken")

    def __init__(
        self,
        queues: tuple[FairQueue, ...],
        caller: Caller,
        deadline: float,
        full: type[GeneratorQueueFull] | type[EncoderQueueFull],
        model: str,
    ) -> None:
        self._queues = queues
        self._caller = caller
        self._deadline = deadline
        self._full = full
        self._model = model
        self._taken = 0

    async def __aenter__(self) -> None:
        try:
            for queue in self._queues:
                if not queue.try_acquire():
                    await self._wait_in(queue)
                self._taken += 1
        except BaseException:  # whatever ends the wait, the turns before it are given back
            self._release()
            raise

    async def __aexit__(self, *error: object) -> None:
        self._release()

    async def _wait_in(self, queue: FairQueue) -> None:
        try:
            async with asyncio.timeout_at(self._deadline):
                await queue.acquire(self._caller.tenant)
        except QueueFull as error:
            raise self._full(self._model, error.waiting) from error

    def _release(self) -> None:
        for queue in self._queues[: self._taken]:
            queue.release()
