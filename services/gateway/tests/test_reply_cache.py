"""Replies that are kept: who gets one, and who must not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from atrium_gateway.app.caller import Caller
from atrium_gateway.app.reply_cache import MemoryReplyCache, Vector
from atrium_gateway.app.same_question import same_question
from atrium_gateway.domain.generation import (
    Aid,
    CacheMode,
    Calculation,
    ChatMessage,
    FinishReason,
    Generated,
    Prompt,
    Role,
    Source,
    Tool,
    ToolCall,
)
from atrium_gateway.domain.models import Model
from atrium_gateway.domain.similarity import PLAIN_SCALE, SimilarityScale
from atrium_shared.clock import FixedClock
from atrium_shared.engines import Engine, EngineKind, Usage
from atrium_shared.errors import Unavailable
from atrium_shared.principal import AllowSet, Grant, Principal

MODEL = Model("models/m", "openai", frozenset(), version="1")
ASKED = "How many days of annual leave are there in Shanghai?"


def caller(tenant: str = "acme", task: str = "docs.ask", *grants: str) -> Caller:
    allow = AllowSet(Grant(grant, "read") for grant in grants)
    return Caller(Principal(tenant, "users/lin", None, allow, "apiKeys/k1"), task)


def prompt(text: str = ASKED, **fields: object) -> Prompt:
    system = ChatMessage(Role.SYSTEM, "Be brief.")
    return replace(Prompt((system, ChatMessage(Role.USER, text))), **fields)


def reply(text: str = "15 days.", **fields: object) -> Generated:
    engine = Engine(EngineKind.GENERATIVE, "openai", "m")
    made = Generated(text, FinishReason.STOP, engine, Usage(10, 5), generation="generations/g1")
    return replace(made, **fields)


class Vectors:
    """All questions about leave are near each other, as they are for a real encoder."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.fails = False

    async def __call__(self, caller: Caller, text: str) -> tuple[Vector, SimilarityScale]:
        if self.fails:
            raise Unavailable("no encoder")
        self.asked.append((caller.tenant, text))
        near = "leave" in text or "年假" in text
        return np.array([1, 0] if near else [0, 1], np.float32), PLAIN_SCALE


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def vectors() -> Vectors:
    return Vectors()


@pytest.fixture
def cache(clock: FixedClock, vectors: Vectors) -> MemoryReplyCache:
    return MemoryReplyCache(clock, vectors)


async def test_the_same_request_is_answered_from_the_cache(cache: MemoryReplyCache) -> None:
    await cache.keep(caller(), MODEL, prompt(), CacheMode.EXACT, reply())
    found = await cache.find(caller(), MODEL, prompt(), CacheMode.EXACT)
    assert found is not None
    assert (found.text, found.cached, found.usage.total_tokens) == ("15 days.", True, 0)
    assert found.generation == ""


OTHERS = {
    "tenant": (caller("other"), MODEL, prompt()),
    "permissions": (caller("acme", "docs.ask", "labels/hr"), MODEL, prompt()),
    "task": (caller("acme", "docs.polish"), MODEL, prompt()),
    "model": (caller(), replace(MODEL, name="models/n"), prompt()),
    "version": (caller(), replace(MODEL, version="2"), prompt()),
    "space": (caller(), MODEL, prompt(ASKED + " ")),
    "system": (caller(), MODEL, Prompt((ChatMessage(Role.USER, ASKED),))),
    "temperature": (caller(), MODEL, prompt(temperature=0.5)),
    "max_tokens": (caller(), MODEL, prompt(max_tokens=9)),
    "schema": (caller(), MODEL, prompt(response_schema={"type": "object"})),
    "stop": (caller(), MODEL, prompt(stop=("x",))),
    "seed": (caller(), MODEL, prompt(seed=1)),
    "tools": (caller(), MODEL, prompt(tools=(Tool("t"),))),
    "sources": (caller(), MODEL, prompt(sources=(Source("a", "b"),))),
    "aids": (caller(), MODEL, prompt(aids=frozenset({Aid.CALCULATE}))),
}


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("mode", [CacheMode.EXACT, CacheMode.SEMANTIC])
async def test_another_request_is_not(cache: MemoryReplyCache, other: str, mode: CacheMode) -> None:
    if other == "space" and mode is CacheMode.SEMANTIC:
        pytest.skip("a space more is the same question")
    await cache.keep(caller(), MODEL, prompt(), mode, reply())
    assert await cache.find(*OTHERS[other], mode) is None


async def test_the_order_of_a_schemas_keys_is_part_of_the_request(cache: MemoryReplyCache) -> None:
    one, other = {"a": 1, "b": 2}, {"b": 2, "a": 1}
    await cache.keep(caller(), MODEL, prompt(response_schema=one), CacheMode.EXACT, reply())
    assert await cache.find(caller(), MODEL, prompt(response_schema=one), CacheMode.EXACT)
    assert not await cache.find(caller(), MODEL, prompt(response_schema=other), CacheMode.EXACT)


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ({"reason": FinishReason.LENGTH}, False),
        ({"reason": FinishReason.FILTERED}, False),
        ({"calculation": Calculation("1+1", "2")}, False),
        ({"reason": FinishReason.TOOL_CALLS, "tool_calls": (ToolCall("1", "t", "{}"),)}, True),
    ],
)
async def test_only_whole_replies_that_stay_true_are_kept(
    cache: MemoryReplyCache, fields: dict[str, object], kept: bool
) -> None:
    await cache.keep(caller(), MODEL, prompt(), CacheMode.EXACT, reply(**fields))
    assert bool(await cache.find(caller(), MODEL, prompt(), CacheMode.EXACT)) is kept


async def test_pages_may_change_so_nothing_that_read_one_is_kept(cache: MemoryReplyCache) -> None:
    asked = prompt(web_pages=("https://example.com",))
    await cache.keep(caller(), MODEL, asked, CacheMode.EXACT, reply())
    assert await cache.find(caller(), MODEL, asked, CacheMode.EXACT) is None


async def test_a_reply_grows_old(cache: MemoryReplyCache, clock: FixedClock) -> None:
    await cache.keep(caller(), MODEL, prompt(), CacheMode.EXACT, reply())
    clock.advance(3601)
    assert await cache.find(caller(), MODEL, prompt(), CacheMode.EXACT) is None


async def test_memory_is_bounded(clock: FixedClock, vectors: Vectors) -> None:
    cache = MemoryReplyCache(clock, vectors, most_bytes=10_000)
    for number in range(5):
        asked = prompt(f"Question {number}?")
        await cache.keep(caller(), MODEL, asked, CacheMode.EXACT, reply("x" * 300))
    found = [
        await cache.find(caller(), MODEL, prompt(f"Question {number}?"), CacheMode.EXACT)
        for number in range(5)
    ]
    assert [reply is not None for reply in found] == [False, False, True, True, True]
    await cache.keep(caller(), MODEL, prompt(), CacheMode.EXACT, reply("x" * 3000))
    assert await cache.find(caller(), MODEL, prompt(), CacheMode.EXACT) is None


async def test_no_memory_keeps_nothing(clock: FixedClock, vectors: Vectors) -> None:
    cache = MemoryReplyCache(clock, vectors, most_bytes=0)
    await cache.keep(caller(), MODEL, prompt(), CacheMode.SEMANTIC, reply())
    assert await cache.find(caller(), MODEL, prompt(), CacheMode.SEMANTIC) is None
    assert not vectors.asked


async def test_other_words_find_it_only_when_that_is_asked_for(
    cache: MemoryReplyCache, vectors: Vectors
) -> None:
    other = prompt("how many days of annual leave are there in Shanghai")
    await cache.keep(caller(), MODEL, prompt(), CacheMode.SEMANTIC, reply())
    assert await cache.find(caller(), MODEL, other, CacheMode.EXACT) is None
    found = await cache.find(caller(), MODEL, other, CacheMode.SEMANTIC)
    assert found is not None
    assert found.cached


async def test_a_question_is_encoded_once(cache: MemoryReplyCache, vectors: Vectors) -> None:
    assert await cache.find(caller(), MODEL, prompt(), CacheMode.SEMANTIC) is None
    await cache.keep(caller(), MODEL, prompt(), CacheMode.SEMANTIC, reply())
    assert vectors.asked == [("acme", ASKED)]


async def test_without_an_encoder_the_same_bytes_are_found(
    cache: MemoryReplyCache, vectors: Vectors
) -> None:
    vectors.fails = True
    await cache.keep(caller(), MODEL, prompt(), CacheMode.SEMANTIC, reply())
    assert await cache.find(caller(), MODEL, prompt(), CacheMode.SEMANTIC)
    assert not await cache.find(caller(), MODEL, prompt(ASKED.lower()), CacheMode.SEMANTIC)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("How many days of annual leave do I get?", "how many days of annual leave do i get"),
        ("上海的年假有多少天?", "上海的年假有多少天"),
        ("年假有几天？", "年假有几天"),
    ],
)
def test_the_same_question(one: str, other: str) -> None:
    assert same_question(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("How many days of annual leave do I get?", "How many days of sick leave do I get?"),
        ("How many days of leave in Shanghai?", "How many days of leave in Beijing?"),
        ("Is leave paid in year 2?", "Is leave paid in year 3?"),
        ("Who approves annual leave?", "When is annual leave approved?"),
        ("May leave be carried over?", "May leave not be carried over?"),
        ("Does Lin report to Wang?", "Does Wang report to Lin?"),
        ("Must I apply before the trip?", "Must I apply after the trip?"),
        ("上海的年假有多少天？", "北京的年假有多少天？"),
        ("年假有多少天？", "病假有多少天？"),
        ("谁批准年假？", "什么时候批准年假？"),
        ("可以休年假吗？", "不可以休年假吗？"),
        ("王伟向李娜汇报吗？", "李娜向王伟汇报吗？"),
        ("2025年的预算是多少？", "2026年的预算是多少？"),
        ("How many days of annual leave?", "年假有多少天？"),
    ],
)
def test_not_the_same_question(one: str, other: str) -> None:
    assert not same_question(one, other)
