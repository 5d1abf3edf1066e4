"""Whether the time of a refusal tells what is hidden from what does not exist."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Sequence

import numpy as np

from atrium.knowledge.v1 import knowledge_service_pb2 as pb
from atrium_shared.principal import Principal

from .running import PARENT, RunningWorld
from .worlds import World


def mann_whitney(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the two-sided p-value of the rank-sum test, by its normal approximation.

    Mann & Whitney, "On a test of whether one of two random variables is stochastically larger than
    the other" (1947), with the correction for ties. Small: the two are told apart.
    """
    values = np.concatenate([one, other])
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks = (last - (counts - 1) / 2)[places]
    n, m = len(one), len(other)
    u = float(ranks[:n].sum()) - n * (n + 1) / 2
    total = n + m
    ties = float((counts**3 - counts).sum()) / (total * (total - 1))
    deviation = math.sqrt(n * m / 12 * (total + 1 - ties))
    if deviation == 0:
        return 1.0
    return math.erfc(abs(u - n * m / 2) / deviation / math.sqrt(2))


async def refusal_times(
    running: RunningWorld, world: World, principal: Principal, user: str, rounds: int
) -> dict[str, tuple[list[float], list[float]]]:
    """Return how long refusals of hidden and of absent things took, in seconds, by call.

    The two kinds take turns, in random order within each turn, so that whatever else the machine
    does meets both alike.
    """
    readable = world.policy.readable(user, world.documents.values())
    hidden = sorted(name for canary, name in running.passages.items() if canary not in readable)
    documents = sorted(
        {
            one.id
            for one in world.documents.values()
            if not readable & {canary for canary, _ in one.canaries()}
        }
    )
    hidden_facts = [
        fact
        for one in world.documents.values()
        for fact in one.facts()
        if fact.canary not in readable
    ]
    chance = np.random.default_rng(world.seed)
    times: dict[str, tuple[list[float], list[float]]] = {}

    async def take(call: str, kind: int, act: Callable[[], Awaitable[object]]) -> None:
        begun = time.perf_counter()
        await act()
        times.setdefault(call, ([], []))[kind].append(time.perf_counter() - begun)

    for number in range(rounds):
        name = hidden[number % len(hidden)]
        document, _, passage = name.partition("/passages/")
        named = documents[number % len(documents)] if documents else ""
        # As long as the hidden names, and of nothing.
        pairs = {
            "ReadPassages": (
                pb.ReadPassagesRequest(names=[name]),
                pb.ReadPassagesRequest(names=[f"{_absent(document)}/passages/{passage}"]),
            ),
            "GetDocument": (
                pb.GetDocumentRequest(name=f"{PARENT}/documents/{named}"),
                pb.GetDocumentRequest(name=_absent(f"{PARENT}/documents/{named}")),
            ),
        }
        if not documents:
            del pairs["GetDocument"]
        for call, requests in pairs.items():
            for kind in chance.permutation(2).tolist():
                request = requests[kind]
                await take(call, kind, lambda c=call, r=request: running.refused(principal, c, r))
        facts = hidden_facts[number % len(hidden_facts)], world.fact()
        asked = [world.ask_about(fact) for fact in facts]
        for kind in chance.permutation(2).tolist():
            request = pb.AskRequest(
                parent=PARENT, question=asked[kind], mode=pb.AskRequest.EXTRACTIVE
            )
            await take("Ask", kind, lambda r=request: running.loop.stream(principal, "Ask", r))
    return times


def _absent(name: str) -> str:
    """Return a name as long as this one, of nothing."""
    above, _, last = name.rpartition("/")
    return f"{above}/x{last[1:]}"
