"""Prompts of tenants that must stay inside, thrown at a model outside while the search crashes.

The gateway's dispatch with its own guard and HTTP client, in front of a server that keeps all it
gets. `make test-faults FAULTS=residency` sends 100,000 prompts of a `PRIVATE_ONLY` tenant, each
with a canary in some of the places that a request has, and 20,000 of a `HYBRID` tenant with
numbers that carry a checksum, half of them written to be overlooked; one search of a text in fifty
crashes, some take too long. Otherwise it is a few hundred. With SABOTAGE=1 the guard lets
everything through, and the run must fail.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
import unicodedata
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import pytest

from atrium_gateway.adapters.json_schemas import JsonSchemaCompiler
from atrium_gateway.adapters.openai_encoder import OpenAIEncoder
from atrium_gateway.adapters.openai_generator import OpenAIGenerator
from atrium_gateway.adapters.openai_server import OpenAIServer
from atrium_gateway.adapters.scripted_backend import ScriptedBackend
from atrium_gateway.app.caller import Caller
from atrium_gateway.app.catalog import Catalog, Replica, ServedModel
from atrium_gateway.app.dispatch import Dispatch
from atrium_gateway.app.generation_names import GenerationNames
from atrium_gateway.app.meter_usage import MeterUsage
from atrium_gateway.app.outside import OutsideEncoder, OutsideGenerator
from atrium_gateway.app.ports import Embedding, EncoderBackend, TextKind
from atrium_gateway.app.residency import RedactingGuard
from atrium_gateway.app.resolve_route import ResolveRoute
from atrium_gateway.app.upstreams import Upstream
from atrium_gateway.domain.errors import ResidencyForbids
from atrium_gateway.domain.generation import (
    ChatMessage,
    Generated,
    Prompt,
    Role,
    Source,
    Tool,
    ToolCall,
)
from atrium_gateway.domain.models import Capability, Location, Model
from atrium_gateway.domain.pii import Detector, Found
from atrium_gateway.domain.pii.detect import FINDERS
from atrium_gateway.domain.routes import Candidate, Route, RouteOrigin
from atrium_gateway.domain.usage import UsageCount, UsageKey
from atrium_gateway.testing import FakeUpstream, fake_upstream
from atrium_shared.clock import SystemClock
from atrium_shared.errors import AtriumError
from atrium_shared.principal import Residency
from atrium_shared.testing import make_principal
from tests.eval.pii.make_chinese import MAKERS, hard_to_see
from tests.figures import Figures

FULL = os.environ.get("FAULTS") == "residency"
SABOTAGE = os.environ.get("SABOTAGE") == "1"
PRIVATE, HYBRID = (100_000, 20_000) if FULL else (300, 150)
AT_ONCE = 16
CHECKED = ("ID_CARD", "CREDIT_CODE", "BANK_CARD", "IBAN")
SEARCH_SECONDS = 0.2


class NoStore:
    """Keeps neither routes nor usage."""

    async def list_routes(self, tenant: str) -> list[Route]:
        return []

    async def stamps(self) -> Mapping[str, int]:
        return {}

    async def add(self, counts: Mapping[UsageKey, UsageCount]) -> None:
        return None


class NoBudgets:
    """Sets nothing aside: what may leave does not depend on what may be used."""

    async def reserve(self, caller: Caller, tokens: int, requests: int = 1) -> NoBudgets:
        return self

    def settle(self, tokens: int) -> int:
        return 0


@dataclass
class Bench:
    """A dispatch with a model outside and one inside, and what went out."""

    dispatch: Dispatch
    upstream: FakeUpstream
    inside: ScriptedBackend
    crashes: list[str] = field(default_factory=list)

    def take_sent(self) -> list[str]:
        """Return all that the server outside got since the last time: headers, paths and bodies."""
        sent = [
            json.dumps([each.path, each.headers, each.body], ensure_ascii=False)
            for each in self.upstream.requests
        ]
        self.upstream.requests.clear()
        return sent


@asynccontextmanager
async def bench(dice: random.Random) -> AsyncIterator[Bench]:
    crashes: list[str] = []

    def unreliable(text: str) -> Iterator[Found]:
        chance = dice.random()
        if chance < 0.02:
            crashes.append("crash")
            raise RuntimeError(text)
        if chance < 0.023:
            crashes.append("late")
            time.sleep(SEARCH_SECONDS)
        yield from ()

    async with fake_upstream() as upstream:
        clock = SystemClock()
        server = OpenAIServer(upstream.url, None)
        far, close = Upstream(upstream.url, clock), Upstream("inside", clock)
        writes, encodes = frozenset({Capability.GENERATE}), frozenset({Capability.EMBED})
        generator = OpenAIGenerator("models/far", "tiny", server)
        encoder = OpenAIEncoder("models/vectors", "tiny", server)
        inside = ScriptedBackend()
        models = [
            ServedModel(
                Model("models/far", "openai", writes),
                (Replica(far, generator, OutsideGenerator("models/far", generator)),),
            ),
            ServedModel(
                Model("models/vectors", "openai", encodes),
                (Replica(far, encoder, encoder=OutsideEncoder("models/vectors", encoder)),),
            ),
            ServedModel(
                Model("models/near", "scripted", writes | encodes, location=Location.RESIDENT),
                (Replica(close, inside, generator=inside, encoder=inside),),
            ),
        ]
        routes = (
            Route("t.far", (Candidate("models/far"),), RouteOrigin.FILE),
            Route("t.both", (Candidate("models/far"), Candidate("models/near")), RouteOrigin.FILE),
            Route("t.vectors", (Candidate("models/vectors"),), RouteOrigin.FILE),
        )
        catalog, store = Catalog(models), NoStore()
        dispatch = Dispatch(
            catalog,
            ResolveRoute(routes, store, catalog, clock),  # type: ignore[arg-type]
            MeterUsage(store, clock),  # type: ignore[arg-type]
            JsonSchemaCompiler(),
            NoBudgets(),
            RedactingGuard(Detector([*FINDERS, unreliable]), timeout_seconds=SEARCH_SECONDS),
            GenerationNames(bytes(32), clock),
        )
        yield Bench(dispatch, upstream, inside, crashes)
        await server.close()


def prompt_with(words: str, dice: random.Random) -> Prompt:
    """Return a prompt with ``words`` in one or more of the places that a request has."""
    user = ChatMessage(Role.USER, words if dice.random() < 0.7 else "请看上文")
    messages: list[ChatMessage] = [user]
    more: dict[str, Any] = {}
    places = dice.sample(range(7), dice.randint(0 if user.content == words else 1, 3))
    if 0 in places:
        messages.insert(0, ChatMessage(Role.SYSTEM, words))
    if 1 in places:
        call = ToolCall("c1", "find", json.dumps({"q": words}, ensure_ascii=dice.random() < 0.5))
        messages += [
            ChatMessage(Role.ASSISTANT, "", (call,)),
            ChatMessage(Role.TOOL, words, tool_call_id="c1"),
            user,
        ]
    if 2 in places:
        more["stop"] = (words,)
    if 3 in places:
        more["tools"] = (Tool("find", words, {"type": "object", "description": words}),)
    if 4 in places:
        more["response_schema"] = {"type": "object", "properties": {words: {"type": "string"}}}
    if 5 in places:
        more["sources"] = (Source("s1", words),)
    if 6 in places:
        messages.insert(0, ChatMessage(Role.ASSISTANT, words))
    return Prompt(tuple(messages), **more)


async def call(bench: Bench, caller: Caller, prompt: Prompt, dice: random.Random) -> str:
    """Make one call by a random method and return the text of its reply, if it has one.

    Raises:
        AtriumError: The call is refused.
    """
    if caller.task == "t.vectors":
        texts = [message.content for message in prompt.messages]

        async def run(encoder: EncoderBackend) -> tuple[Embedding, int]:
            embedding = await encoder.embed(texts, TextKind.PASSAGE)
            return embedding, embedding.tokens

        await bench.dispatch.encode(caller, Capability.EMBED, run, 1_000)
        return ""
    if dice.random() < 0.5:
        return (await bench.dispatch.generate(caller, prompt)).text
    text = ""
    async for event in bench.dispatch.stream(caller, prompt):
        if isinstance(event, Generated):
            text = event.text
    return text


async def in_batches(count: int, work: Callable[[int], Any]) -> None:
    for start in range(0, count, AT_ONCE):
        await asyncio.gather(*map(work, range(start, min(start + AT_ONCE, count))))


def plain(text: str) -> str:
    """Return letters and digits alone, each in one spelling."""
    folded = unicodedata.normalize("NFKC", text).upper()
    return "".join(each for each in folded if each.isascii() and each.isalnum())


def sabotaged() -> Any:
    """Return what lets everything through for a while, if that is asked for."""
    return patch.object(RedactingGuard, "_as_it_is", lambda *_: True)


async def private_leaks(count: int) -> tuple[int, int]:
    """Return how many bytes of canaries and how many requests a model outside got."""
    dice = random.Random(5)
    caller = {
        task: Caller(make_principal(residency=Residency.PRIVATE_ONLY), task)
        for task in ("t.far", "t.both", "t.vectors")
    }
    leaked = requests = 0
    forbidden: list[str] = []
    answered: list[str] = []
    async with bench(dice) as made:

        async def one(number: int) -> None:
            task = dice.choice(("t.far", "t.far", "t.both", "t.vectors"))
            words = f"canary-{number} {MAKERS['PHONE'](dice)}"
            try:
                await call(made, caller[task], prompt_with(words, dice), dice)
            except ResidencyForbids:
                forbidden.append(task)
            except AtriumError:
                return  # the mock knows neither tools nor schemas
            else:
                answered.append(task)

        for start in range(0, count, 1_000):
            await in_batches(min(1_000, count - start), lambda n, start=start: one(start + n))
            sent = made.take_sent()
            requests += len(sent)
            leaked += sum(each.count("canary-") * len("canary-") for each in sent)
    if not requests:  # only the model inside answers
        assert set(answered) == {"t.both"}
        assert {"t.far", "t.vectors"} <= set(forbidden)
    return leaked, requests


@dataclass
class Hybrid:
    """What came of the prompts of a tenant whose personal data is replaced."""

    leaked: int = 0
    sent: int = 0
    refused: int = 0
    answered: int = 0
    restored: int = 0
    crashes: int = 0


async def hybrid_leaks(count: int) -> Hybrid:
    """Return how many bytes of numbers with a checksum a model outside got, and the rest."""
    dice = random.Random(6)
    principal = make_principal(residency=Residency.HYBRID)
    result, wanted = Hybrid(), set[str]()
    async with bench(dice) as made:

        async def one(number: int) -> None:
            values = [MAKERS[dice.choice(CHECKED)](dice) for _ in range(dice.randint(1, 3))]
            wanted.update(map(plain, values))
            if dice.random() < 0.5:
                values = [hard_to_see(value, dice) for value in values]
            words = f"第{number}条：{'，还有'.join(values)}。 Thanks {dice.choice(values)} !"
            prompt = prompt_with(words, dice)
            task = dice.choice(("t.far", "t.far", "t.vectors"))
            try:
                text = await call(made, Caller(principal, task), prompt, dice)
            except ResidencyForbids:
                result.refused += 1
                return
            except AtriumError:
                return  # the mock knows neither tools nor schemas
            if text:
                result.answered += 1
                result.restored += text == prompt.messages[-1].content

        for start in range(0, count, 500):
            wanted.clear()
            await in_batches(min(500, count - start), lambda n, start=start: one(start + n))
            for sent in map(plain, made.take_sent()):
                result.sent += 1
                result.leaked += sum(len(value) for value in wanted if value in sent)
        result.crashes = len(made.crashes)
    return result


@pytest.mark.timeout(1_800 if FULL else 120)
async def test_a_model_outside_gets_no_byte_of_what_must_stay_inside() -> None:
    with sabotaged() if SABOTAGE else nullcontext():
        leaked, requests = await private_leaks(PRIVATE)
        hybrid = await hybrid_leaks(HYBRID)
    if FULL:
        figures = Figures("faults", "residency")
        figures.add("private_only.leaked", leaked, "bytes", n=PRIVATE, target=0, at_most=True)
        figures.add(
            "private_only.requests", requests, "requests", n=PRIVATE, target=0, at_most=True
        )
        figures.add("hybrid.leaked", hybrid.leaked, "bytes", n=hybrid.sent, target=0, at_most=True)
        figures.add("hybrid.refused", hybrid.refused, "calls", n=HYBRID)
        figures.add("hybrid.crashes", hybrid.crashes, "searches", n=HYBRID)
        figures.add(
            "hybrid.restored",
            hybrid.restored / max(1, hybrid.answered),
            "share",
            n=hybrid.answered,
            target=1,
        )
    assert (leaked, requests) == (0, 0)
    assert hybrid.leaked == 0
    assert hybrid.crashes
    assert hybrid.refused
    assert hybrid.sent > HYBRID / 3
    assert hybrid.restored == hybrid.answered > 0


async def test_the_server_outside_would_show_a_leak() -> None:
    with sabotaged():
        leaked, requests = await private_leaks(20)
        hybrid = await hybrid_leaks(20)
    assert min(leaked, requests, hybrid.leaked) > 0
