"""The gates that every attempt passes, with fakes behind them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from atrium_gateway.adapters.json_schemas import JsonSchemaCompiler
from atrium_gateway.adapters.scripted_backend import ScriptedBackend, ScriptedReply
from atrium_gateway.app.caller import Caller
from atrium_gateway.app.catalog import Catalog, Replica, ServedModel
from atrium_gateway.app.dispatch import Dispatch
from atrium_gateway.app.generation_names import GenerationNames
from atrium_gateway.app.meter_usage import MeterUsage
from atrium_gateway.app.outside import NotCleared, OutsideEncoder, OutsideGenerator
from atrium_gateway.app.ports import Cleared, ClearedTexts, EncoderBackend, TextKind
from atrium_gateway.app.resolve_route import ResolveRoute
from atrium_gateway.app.upstreams import Upstream
from atrium_gateway.domain.breaker import BreakerLimits
from atrium_gateway.domain.errors import (
    ModelUnavailable,
    QuotaExhausted,
    ResidencyForbids,
    TaskHasNoModel,
    UpstreamFailed,
    UpstreamTimedOut,
)
from atrium_gateway.domain.generation import (
    ChatMessage,
    Completed,
    Delta,
    Finished,
    FinishReason,
    Generated,
    GenerateEvent,
    Prompt,
    Role,
    Tool,
    ToolCall,
    ToolCallDelta,
)
from atrium_gateway.domain.models import Capability, Location, Model
from atrium_gateway.domain.routes import LOTS, Candidate, Route, RouteOrigin, in_order
from atrium_gateway.domain.tool_errors import ToolCallRefused
from atrium_gateway.domain.usage import UsageCount
from atrium_shared.clock import FixedClock
from atrium_shared.engines import Usage
from atrium_shared.errors import Unavailable
from atrium_shared.testing import eventually, make_principal

CAPABILITIES = frozenset({Capability.GENERATE, Capability.EMBED})
CALLER = Caller(make_principal(), "t")
PROMPT = Prompt((ChatMessage(Role.USER, "How many?"),), max_tokens=9)
LIMITS = BreakerLimits(failures=2, open_seconds=5)


class Counts:
    """Keeps what was counted."""

    def __init__(self) -> None:
        self.by_model: dict[str, UsageCount] = {}

    async def add(self, counts: Any) -> None:
        for key, count in counts.items():
            self.by_model[key.model] = self.by_model.get(key.model, UsageCount()) + count


class NoRoutes:
    async def list_routes(self, tenant: str) -> list[Route]:
        return []

    async def stamps(self) -> dict[str, int]:
        return {}


@dataclass
class Reserved:
    tokens: int
    requests: int = 1
    settled: list[int] = field(default_factory=list)

    def settle(self, tokens: int) -> int:
        self.settled.append(tokens)
        return tokens


class FakeBudgets:
    """Remembers what was set aside, and refuses when told to."""

    def __init__(self) -> None:
        self.reserved: list[Reserved] = []
        self.empty = False

    async def reserve(self, caller: Caller, tokens: int, requests: int = 1) -> Reserved:
        if self.empty:
            now = FixedClock().now()
            raise QuotaExhausted(
                "quotas/q",
                unit="tokens",
                window="day",
                limit=1,
                remaining=0,
                needed=tokens,
                reset_time=now,
                now=now,
            )
        self.reserved.append(Reserved(tokens, requests))
        return self.reserved[-1]

    @property
    def settled(self) -> list[list[int]]:
        return [each.settled for each in self.reserved]


class Swap:
    """Puts "Lin" back for "[1]", however it is cut."""

    values = 1

    def restorer(self, *, in_json: bool) -> Swap:
        fresh = Swap()
        fresh._held = ""
        return fresh

    def feed(self, part: str) -> str:
        text = (self._held + part).replace("[1]", "Lin")
        start = text.rfind("[")
        if start < 0:
            self._held = ""
            return text
        self._held = text[start:]
        return text[:start]

    def end(self) -> str:
        rest, self._held = self._held, ""
        return rest

    _held: str = ""


class FakeGuard:
    """Replaces "Lin" for models outside, or forbids them."""

    def __init__(self) -> None:
        self.forbids = False
        self.cleared: list[str] = []

    async def clear(self, caller: Caller, model: Model, prompt: Prompt) -> Cleared:
        if model.location is Location.RESIDENT:
            return Cleared(model.name, prompt)
        if self.forbids:
            raise ResidencyForbids(model.name, "private_only")
        self.cleared.append(model.name)
        messages = tuple(
            replace(each, content=each.content.replace("Lin", "[1]")) for each in prompt.messages
        )
        return Cleared(model.name, replace(prompt, messages=messages), Swap())

    async def clear_texts(self, caller: Caller, model: Model, texts: Sequence[str]) -> ClearedTexts:
        if self.forbids:
            raise ResidencyForbids(model.name, "private_only")
        return ClearedTexts(model.name, [text.replace("Lin", "[1]") for text in texts])


class Calling(ScriptedBackend):
    """Asks for tools in parts."""

    def __init__(self, *parts: ToolCallDelta | Delta) -> None:
        super().__init__()
        self.parts = parts

    async def stream(
        self, prompt: Prompt
    ) -> AsyncGenerator[Delta | ToolCallDelta | Finished, None]:
        self.prompts.append(prompt)
        for part in self.parts:
            yield part
        yield Finished(FinishReason.TOOL_CALLS, Usage(3, 4))


class Completing(ScriptedBackend):
    """Gives whole replies."""

    async def complete(self, prompt: Prompt) -> Completed:
        self.prompts.append(prompt)
        return Completed("whole", FinishReason.STOP, Usage(3, 4))


class World:
    """A dispatch over scripted models."""

    def __init__(self) -> None:
        self.clock = FixedClock()
        self.counts = Counts()
        self.meter = MeterUsage(self.counts, self.clock)  # type: ignore[arg-type]
        self.budgets, self.guard = FakeBudgets(), FakeGuard()
        self.served: list[ServedModel] = []
        self.candidates: list[Candidate] = []

    def add(
        self,
        name: str,
        *backends: ScriptedBackend,
        outside: bool = False,
        adapter: str = "",
        timeout_seconds: float = 5.0,
        weight: int = 0,
    ) -> tuple[ScriptedBackend, ...]:
        """Add a model with a replica for each backend, and a candidate for it."""
        backends = backends or (ScriptedBackend(),)
        name = f"models/{name}"
        where = Location.OUTSIDE if outside else Location.RESIDENT
        model = Model(name, "scripted", CAPABILITIES, location=where)
        replicas = []
        for index, backend in enumerate(backends):
            upstream = Upstream(f"{name}/{index}", self.clock, LIMITS)
            completer = backend if isinstance(backend, Completing) else None
            if outside:
                generator = OutsideGenerator(name, backend, completer)
                encoder = OutsideEncoder(name, backend)
                replicas.append(Replica(upstream, backend, generator, encoder=encoder))
            else:
                replicas.append(Replica(upstream, backend, backend, completer, backend))
        self.served.append(ServedModel(model, tuple(replicas), adapter=adapter))
        self.candidates.append(Candidate(name, timeout_seconds, weight=weight))
        return backends

    @property
    def dispatch(self) -> Dispatch:
        catalog = Catalog(self.served)
        route = Route("default", tuple(self.candidates), RouteOrigin.FILE)
        return Dispatch(
            catalog,
            ResolveRoute((route,), NoRoutes(), catalog, self.clock),  # type: ignore[arg-type]
            self.meter,
            JsonSchemaCompiler(),
            self.budgets,
            self.guard,
            GenerationNames(bytes(32), self.clock),
        )

    async def generate(self, prompt: Prompt = PROMPT, caller: Caller = CALLER) -> Generated:
        return await self.dispatch.generate(caller, prompt)

    async def stream(self, prompt: Prompt = PROMPT) -> list[GenerateEvent]:
        return [event async for event in self.dispatch.stream(CALLER, prompt)]

    async def counted(self, name: str) -> UsageCount:
        await self.meter.flush()
        return self.counts.by_model.get(f"models/{name}", UsageCount())


@pytest.fixture
def world() -> World:
    return World()


# Budgets


async def test_a_call_reserves_its_longest_and_settles_what_it_used_once(world: World) -> None:
    world.add("a")
    generated = await world.generate()
    (reserved,) = world.budgets.reserved
    assert reserved.settled == [generated.usage.total_tokens]
    assert reserved.tokens >= len("How many?") + PROMPT.max_tokens


async def test_the_routes_max_tokens_is_reserved_where_the_request_does_not_say(
    world: World,
) -> None:
    world.add("a")
    await world.generate(replace(PROMPT, max_tokens=0))
    assert world.budgets.reserved[0].tokens > 512


async def test_tools_and_their_schemas_are_part_of_the_longest(world: World) -> None:
    world.add("a")
    await world.generate()
    tool = Tool("f", "x" * 1000, {"type": "object", "description": "y" * 1000})
    await world.generate(replace(PROMPT, tools=(tool,)))
    plain, with_tool = (each.tokens for each in world.budgets.reserved)
    assert with_tool - plain >= 2000


async def test_an_exhausted_quota_ends_the_call_without_asking_any_model(world: World) -> None:
    (first,) = world.add("a")
    (second,) = world.add("b")
    world.budgets.empty = True
    with pytest.raises(QuotaExhausted):
        await world.generate()
    with pytest.raises(QuotaExhausted):
        await world.stream()
    with pytest.raises(QuotaExhausted):
        await world.dispatch.encode(CALLER, Capability.EMBED, embed, 7)
    assert not first.prompts
    assert not second.prompts


async def test_a_failed_attempt_gives_everything_back_before_the_next_reserves(
    world: World,
) -> None:
    (first,) = world.add("a")
    world.add("b")
    first.enqueue(UpstreamFailed("models/a", "down"))
    generated = await world.generate()
    assert world.budgets.settled == [[0], [generated.usage.total_tokens]]
    assert [each.requests for each in world.budgets.reserved] == [1, 0]  # one call, tried twice


async def test_what_a_failing_model_wrote_is_settled_too(world: World) -> None:
    (first,) = world.add("a")
    world.add("b")
    first.enqueue(ScriptedReply("three words here", error=UpstreamFailed("models/a", "cut")))
    await world.generate()
    (settled,), _ = world.budgets.settled
    assert settled > 0
    assert (await world.counted("a")).usage.total_tokens == settled


async def test_a_stream_that_is_left_is_charged_what_was_written(world: World) -> None:
    (backend,) = world.add("a")
    backend.enqueue("one two three four five six seven")
    async with aclosing(world.dispatch.stream(CALLER, PROMPT)) as events:
        async for _ in events:
            break
    (settled,) = world.budgets.settled
    count = await world.counted("a")
    assert settled == [count.usage.total_tokens]
    assert count.usage.completion_tokens == 1
    assert count.requests == 1


async def test_a_call_cancelled_while_it_waits_for_its_model_is_charged_its_prompt(
    world: World,
) -> None:
    (backend,) = world.add("a")
    backend.enqueue(ScriptedReply("late", pause_seconds=60))
    call = asyncio.ensure_future(world.generate())
    await eventually(lambda: backend.prompts)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    usage = (await world.counted("a")).usage
    assert (usage.completion_tokens, [usage.prompt_tokens]) == (0, world.budgets.settled[0])
    assert world.served[0].replicas[0].upstream.in_flight == 0


async def embed(encoder: EncoderBackend) -> tuple[Any, int]:
    made = await encoder.embed(["Lin and words"], TextKind.QUERY)
    return made, made.tokens


async def test_encoding_reserves_and_settles(world: World) -> None:
    world.add("a")
    _, _, usage = await world.dispatch.encode(CALLER, Capability.EMBED, embed, 123)
    assert world.budgets.reserved == [Reserved(123, 1, [usage.encoder_tokens])]


# Residency


async def test_a_model_outside_gets_the_cleared_prompt_and_its_reply_is_restored(
    world: World,
) -> None:
    (backend,) = world.add("a", outside=True)
    prompt = Prompt((ChatMessage(Role.USER, "Ask Lin"),), max_tokens=9)
    backend.enqueue(
        "So [1] said",
        "So [1] said",
        "odd [",
    )
    generated = await world.generate(prompt)
    assert generated.text == "So Lin said"
    assert generated.redacted_values == 1
    assert "Lin" not in str(backend.prompts)
    events = await world.stream(prompt)
    assert "".join(each.text for each in events if isinstance(each, Delta)) == "So Lin said"
    assert isinstance(events[-1], Generated)
    assert events[-1].text == "So Lin said"
    held_back = await world.stream(prompt)
    assert isinstance(held_back[-1], Generated)
    assert held_back[-1].text == "odd ["
    assert "".join(each.text for each in held_back if isinstance(each, Delta)) == "odd ["


async def test_a_placeholder_cut_over_parts_of_a_tool_call_is_restored(world: World) -> None:
    parts = [
        ToolCallDelta(0, '{"name": "[', "c1", "find"),
        ToolCallDelta(0, '1]"}'),
    ]
    world.add("a", Calling(*parts), outside=True)
    tool = Tool("find", parameters={"type": "object"})
    generated = await world.generate(replace(PROMPT, tools=(tool,)))
    assert generated.tool_calls == (ToolCall("c1", "find", '{"name": "Lin"}'),)


async def test_a_whole_reply_from_outside_is_restored(world: World) -> None:
    backend = Completing()
    world.add("a", backend, outside=True)
    assert (await world.generate()).text == "whole"


async def test_a_forbidden_model_is_passed_over_for_one_inside(world: World) -> None:
    (outside,) = world.add("a", outside=True)
    (inside,) = world.add("b")
    world.guard.forbids = True
    generated = await world.generate()
    assert generated.engine.model == "b"
    assert "residency" in generated.engine.degraded_reason
    assert (len(outside.prompts), len(inside.prompts)) == (0, 1)


async def test_when_only_outside_models_are_there_the_prohibition_is_told(world: World) -> None:
    world.add("a", outside=True)
    world.guard.forbids = True
    with pytest.raises(ResidencyForbids):
        await world.generate()
    with pytest.raises(ResidencyForbids):
        await world.dispatch.encode(CALLER, Capability.EMBED, embed, 7)


async def test_an_encoder_outside_gets_cleared_texts(world: World) -> None:
    (backend,) = world.add("a", outside=True)
    await world.dispatch.encode(CALLER, Capability.EMBED, embed, 7)
    assert [texts for texts, _ in backend.embedded] == [("[1] and words",)]


async def test_code_that_forgets_the_guard_reaches_no_model_outside() -> None:
    backend = ScriptedBackend()
    generator = OutsideGenerator("models/a", backend)
    for wrong in (PROMPT, Cleared("models/b", PROMPT)):
        with pytest.raises(NotCleared):
            generator.stream(wrong)  # type: ignore[arg-type]
    with pytest.raises(NotCleared):
        await OutsideEncoder("models/a", backend).embed(["x"], TextKind.QUERY)  # type: ignore[arg-type]
    assert not backend.prompts
    assert not backend.embedded


def test_a_model_outside_with_a_backend_that_is_not_is_refused() -> None:
    backend = ScriptedBackend()
    replica = Replica(Upstream("u", FixedClock()), backend, generator=backend)
    with pytest.raises(TypeError, match="models/a is outside"):
        ServedModel(Model("models/a", "openai", CAPABILITIES), (replica,))


# Replicas


async def test_another_replica_answers_and_that_is_no_lesser_choice(world: World) -> None:
    first, second = world.add("a", ScriptedBackend(), ScriptedBackend())
    first.enqueue(UpstreamFailed("models/a", "down"))
    second.enqueue(UpstreamFailed("models/a", "down"))
    for each in (first, second):
        each.enqueue("fine")
    # Whichever is asked first fails, the other one fails too, then none is left.
    with pytest.raises(UpstreamFailed):
        await world.generate()
    first.enqueue(UpstreamFailed("models/a", "down"))
    generated = [await world.generate() for _ in range(2)]
    assert not any(each.engine.degraded for each in generated)


async def test_the_replica_with_least_to_do_is_asked(world: World) -> None:
    backends = world.add("a", *(ScriptedBackend() for _ in range(3)))
    for backend in backends:
        for _ in range(3):
            backend.enqueue(ScriptedReply("x", pause_seconds=0.02))
    await asyncio.gather(*(world.generate() for _ in range(9)))
    assert [len(backend.prompts) for backend in backends] == [3, 3, 3]


async def test_a_replica_that_holds_the_adapter_is_preferred(world: World) -> None:
    backends = world.add("a", ScriptedBackend(), ScriptedBackend(), adapter="minutes@2")
    world.served[0].replicas[1].upstream.adapters.add("minutes@2")
    for _ in range(8):
        await world.generate()
    assert [len(backend.prompts) for backend in backends] == [0, 8]


async def test_a_request_that_will_not_do_is_not_tried_on_another_replica(world: World) -> None:
    backends = world.add("a", ScriptedBackend(), ScriptedBackend())
    long = Prompt((ChatMessage(Role.USER, "x " * 9000),), max_tokens=9)
    with pytest.raises(Exception, match="together they must not exceed"):
        await world.generate(long)
    assert sum(len(backend.prompts) for backend in backends) == 1


async def test_replicas_share_the_time_of_their_candidate(world: World) -> None:
    backends = world.add("a", ScriptedBackend(), ScriptedBackend(), timeout_seconds=0.05)
    for backend in backends:
        backend.enqueue(ScriptedReply("late", pause_seconds=60))
    began = asyncio.get_running_loop().time()
    with pytest.raises(UpstreamTimedOut):
        await world.generate()
    assert asyncio.get_running_loop().time() - began < 1
    assert sum(len(backend.prompts) for backend in backends) == 1


# Breakers


async def test_a_model_whose_server_rests_is_asked_last_and_the_reply_says_why(
    world: World,
) -> None:
    (first,) = world.add("a")
    (second,) = world.add("b")
    for _ in range(2):
        first.enqueue(UpstreamFailed("models/a", "down"))
        await world.generate()
    assert len(first.prompts) == 2
    generated = await world.generate()
    assert len(first.prompts) == 2  # not even asked
    assert generated.engine.degraded_reason == "models/a: its server rests"
    second.enqueue(UpstreamFailed("models/b", "down"))
    with pytest.raises(UpstreamFailed):
        await world.generate()
    world.clock.advance(7)
    generated = await world.generate()
    assert (generated.engine.model, generated.engine.degraded) == ("a", False)
    assert (await world.counted("a")).failures == 2


async def test_a_resting_server_without_another_says_when_it_is_asked_again(
    world: World,
) -> None:
    (backend,) = world.add("a")
    for _ in range(2):
        backend.enqueue(UpstreamFailed("models/a", "down"))
        with pytest.raises(UpstreamFailed):
            await world.generate()
    with pytest.raises(UpstreamFailed, match=r"asked again in [4-6] s") as caught:
        await world.generate()
    assert caught.value.metadata["retry_seconds"] in "456"
    assert len(backend.prompts) == 2
    assert world.budgets.settled[-1] == [0]
    assert (await world.counted("a")).failures == 2  # what was not asked has not failed


async def test_a_hanging_server_opens_the_breaker(world: World) -> None:
    (backend,) = world.add("a", timeout_seconds=0.01)
    for _ in range(2):
        backend.enqueue(ScriptedReply("late", pause_seconds=60))
        with pytest.raises(UpstreamTimedOut):
            await world.generate()
    assert world.served[0].resting


@pytest.mark.parametrize("error", [ModelUnavailable("models/a", "loading")])
async def test_a_model_that_loads_does_not_open_the_breaker(world: World, error: Exception) -> None:
    (backend,) = world.add("a")
    for _ in range(3):
        backend.enqueue(error)
        with pytest.raises(TaskHasNoModel):
            await world.generate()
    assert not world.served[0].resting


async def test_a_server_that_answers_wrongly_is_well(world: World) -> None:
    backend = Calling(ToolCallDelta(0, "{}", "c1", "other"))
    world.add("a", backend)
    for _ in range(3):
        with pytest.raises(ToolCallRefused):
            await world.generate()
    assert not world.served[0].resting


async def test_a_backend_that_ends_without_an_end_has_failed(world: World) -> None:
    class Short(ScriptedBackend):
        async def stream(
            self, prompt: Prompt
        ) -> AsyncGenerator[Delta | ToolCallDelta | Finished, None]:
            yield Delta("so")

    world.add("a", Short())
    with pytest.raises(UpstreamFailed, match="without an end"):
        await world.generate()


# Tools


async def test_tool_calls_pass_in_parts_and_come_whole_at_the_end(world: World) -> None:
    parts = (
        Delta("I ask. "),
        ToolCallDelta(0, '{"da', "c1", "find"),
        ToolCallDelta(0, 'ys": 3}'),
        ToolCallDelta(1, "{}", "c2", "other"),
    )
    world.add("a", Calling(*parts))
    tools = (
        Tool("find", parameters={"properties": {"days": {"type": "integer"}}}),
        Tool("other"),
    )
    *streamed, done = await world.stream(replace(PROMPT, tools=tools))
    assert tuple(streamed) == parts
    assert isinstance(done, Generated)
    assert done.text == "I ask. "
    assert done.reason is FinishReason.TOOL_CALLS
    assert done.tool_calls == (
        ToolCall("c1", "find", '{"days": 3}'),
        ToolCall("c2", "other", "{}"),
    )
    assert done.usage == Usage(3, 4)


async def test_a_tool_call_that_does_not_fit_goes_to_the_next_model_or_is_refused(
    world: World,
) -> None:
    world.add("a", Calling(ToolCallDelta(0, '{"days": "three"}', "c1", "find")))
    tool = Tool("find", parameters={"properties": {"days": {"type": "integer"}}})
    prompt = replace(PROMPT, tools=(tool,))
    with pytest.raises(ToolCallRefused):
        await world.generate(prompt)
    world.add("b")
    assert (await world.generate(prompt)).engine.model == "b"


# Whole replies


async def test_a_backend_that_gives_whole_replies_is_asked_for_one(world: World) -> None:
    backend = Completing()
    world.add("a", backend)
    generated = await world.generate()
    assert (generated.text, generated.usage) == ("whole", Usage(3, 4))
    assert world.budgets.settled == [[7]]
    assert (await world.counted("a")).requests == 1
    assert (await world.stream())[-1] != generated  # a stream is still one


# Weights


def test_arms_are_drawn_by_their_weights_and_the_others_stand_behind() -> None:
    candidates = (Candidate("a", weight=95), Candidate("b", weight=5), Candidate("c"))
    orders = Counter(
        "".join(each.model for each in in_order(candidates, -(-LOTS * lot // 1000)))
        for lot in range(1000)
    )
    assert orders == {"abc": 950, "bac": 50}
    assert in_order(candidates, LOTS - 1)[0].model == "b"
    assert in_order(candidates, 0)[0].model == "a"


def test_without_weights_the_order_of_the_route_holds() -> None:
    candidates = (Candidate("a"), Candidate("b"))
    assert in_order(candidates, LOTS - 1) == candidates


def test_a_growing_canary_takes_no_caller_back() -> None:
    def canary(weight: int) -> set[int]:
        arms = (Candidate("a", weight=100 - weight), Candidate("b", weight=weight))
        return {
            lot for lot in range(1000) if in_order(arms, -(-LOTS * lot // 1000))[0].model == "b"
        }

    assert canary(5) < canary(10) < canary(50)


async def test_a_user_keeps_its_arm_and_users_spread_by_weight(world: World) -> None:
    world.add("a", weight=80)
    world.add("b", weight=20)

    async def arm(user: int, task: str = "t") -> str:
        principal = make_principal(actor="users/portal", on_behalf_of=f"users/u{user}")
        return (await world.generate(caller=Caller(principal, task))).engine.model

    arms = [await arm(user) for user in range(400)]
    assert [await arm(user) for user in range(50)] == arms[:50]
    assert 45 <= arms.count("b") <= 115  # 80 expected, five standard deviations off at most
    # Who is in one task's canary is not in every other's.
    assert [await arm(user, "other") for user in range(100)] != arms[:100]
    generated = await world.generate()
    assert not generated.engine.degraded


async def test_when_all_weights_are_on_missing_models_the_fallback_answers_and_says_so(
    world: World,
) -> None:
    world.add("b")
    world.candidates.insert(0, Candidate("models/gone", weight=1))
    generated = await world.generate()
    assert generated.engine.model == "b"
    assert generated.engine.degraded_reason == "models/gone: this installation does not have it"


async def test_a_route_of_missing_models_alone_fails(world: World) -> None:
    world.candidates.append(Candidate("models/gone", weight=1))
    world.candidates.append(Candidate("models/lost", weight=1))
    with pytest.raises(TaskHasNoModel, match="models/lost"):
        await world.generate()


async def test_an_error_of_the_budgets_store_is_told(world: World) -> None:
    world.add("a")

    async def down(caller: Caller, tokens: int, requests: int = 1) -> Reserved:
        raise Unavailable("the store is down")

    world.budgets.reserve = down  # type: ignore[method-assign]
    with pytest.raises(Unavailable, match="the store is down"):
        await world.generate()
