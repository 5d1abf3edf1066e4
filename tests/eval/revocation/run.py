"""Revoke permissions over three processes with caches and open streams, and cut processes off.

`make eval EVAL=revocation` (ARGS="--rounds 40"). Admin, gateway and knowledge run as processes of
their own. In each round somebody who may read a passage searches for it, so that every cache is
warm, and holds a stream of `Ask` open; then what they hold is revoked, while they go on searching.
Measured from when `Revoke` is called: until the first refusal, until the stream has ended, until
`Revoke` returned. Nothing may be seen by a call that begins after it returned. Then gateway and
knowledge are cut off from admin, by a network that swallows everything and by stopping admin.

With SABOTAGE=1 the listener of knowledge and gateway to the policy feed does nothing, or they serve
on without a lease: the run must then report failures of both (`tests/sabotage.py`).
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import signal
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from atrium.admin.v1 import admin_pb2, admin_service_pb2
from atrium.gateway.v1 import gateway_service_pb2
from atrium.knowledge.v1 import knowledge_pb2, knowledge_service_pb2
from atrium_client import AtriumCallError, AtriumClient, readable_errors
from atrium_gateway.testing import Answer, FakeUpstream, delta, fake_upstream
from tests.eval.revocation.proxy import TcpProxy, tcp_proxy
from tests.figures import Figures
from tests.processes import Processes, running_processes
from tests.sabotage import exit_code, guard_removed

COLLECTION = "collections/handbook"
CANARY = "canary-52000"
DOCUMENT = f"# Pay\n\nThe salary band of grade 7 is {CANARY} euros a year.\n".encode()
QUESTION = "What is the salary band of grade 7?"
KINDS = ("user_role", "membership", "role_grants", "api_key", "everything_of")
LABEL = admin_pb2.Grant(resource="labels/hr/pay", action="read")

REFUSAL_TARGET_SECONDS = 1.0
LEASE_SECONDS = 5.0
REVOKE_AT_WORST_SECONDS = 6.5
_PROBE_PAUSE_SECONDS = 0.025
_ASKED_AFTER = 3
_GIVE_UP_SECONDS = 9.0
_REFUSALS = (
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.UNAVAILABLE,
    # A call that was let in before the cut, and waits for an audit log out of reach.
    grpc.StatusCode.DEADLINE_EXCEEDED,
)


@dataclass
class Watched:
    """What one caller saw, by the monotonic clock in seconds.

    Attributes:
        allowed: When searches were sent that found the passage.
        refused: When searches were sent that did not.
        said: When messages of the open stream came.
        ended: When the stream ended; None while it is open.
        reason: Why it ended.
    """

    allowed: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    said: list[float] = field(default_factory=list)
    ended: float | None = None
    reason: str = ""

    def refused_after(self, start: float) -> float:
        """Return how long after ``start`` the last search that still found the passage was sent.

        The search after it was refused, so a caller is refused by then.
        """
        later = [sent for sent in self.allowed if sent >= start]
        if not later:
            return 0.0
        return min((sent for sent in self.refused if sent > later[-1]), default=later[-1]) - start

    def asked_since(self, moment: float) -> int:
        """Count the searches sent after a moment that were answered."""
        return sum(at > moment for at in (*self.allowed, *self.refused))

    def seen_since(self, moment: float) -> int:
        """Count what was seen by calls sent, or said by the stream, after a moment."""
        return sum(at > moment for at in self.allowed) + sum(at > moment for at in self.said)


@dataclass
class Outcome:
    """What one round or one cut came to; seconds."""

    refusal: float
    stream: float
    returned: float
    seen_after: int
    lapsed: tuple[str, ...] = ()
    recovered: float = 0.0


class World:
    """The processes and the people."""

    def __init__(
        self, processes: Processes, proxy: TcpProxy, upstream: FakeUpstream, admin_key: str
    ) -> None:
        self.processes = processes
        self.proxy = proxy
        self.upstream = upstream
        self.admin_key = admin_key
        self.admin = processes.client("admin", admin_key)

    async def prepare(self) -> None:
        """Make the document that only some may read."""
        async with self.processes.client("knowledge", self.admin_key) as keeper:
            with readable_errors():
                await keeper.knowledge.CreateCollection(
                    knowledge_service_pb2.CreateCollectionRequest(
                        collection_id="handbook",
                        collection=knowledge_pb2.Collection(display_name="H"),
                    )
                )
            operation = await keeper.upload_document(
                COLLECTION, DOCUMENT, filename="pay.md", labels=["hr/pay"]
            )
            await keeper.wait_for_document(operation)

    async def make_reader(self, name: str, *, by_group: bool) -> tuple[str, str]:
        """Make a user who may read it through a role of their own; return credential and key."""
        role = admin_pb2.Role(grants=[LABEL])
        roles = ["roles/member"] if by_group else ["roles/member", f"roles/{name}"]
        with readable_errors():
            await self.admin.admin.CreateRole(
                admin_service_pb2.CreateRoleRequest(role_id=name, role=role)
            )
            await self.admin.admin.CreateUser(
                admin_service_pb2.CreateUserRequest(user_id=name, user=admin_pb2.User(roles=roles))
            )
            if by_group:
                group = admin_pb2.Group(members=[f"users/{name}"], roles=[f"roles/{name}"])
                await self.admin.admin.CreateGroup(
                    admin_service_pb2.CreateGroupRequest(group_id=name, group=group)
                )
            made = await self.admin.admin.CreateApiKey(
                admin_service_pb2.CreateApiKeyRequest(user=f"users/{name}")
            )
        return made.secret, made.api_key.name

    async def revoke(self, **target: Any) -> admin_service_pb2.RevokeResponse:
        """Revoke and return where it holds."""
        with readable_errors():
            return await self.admin.admin.Revoke(admin_service_pb2.RevokeRequest(**target))


async def may_see(client: AtriumClient) -> bool:
    """Say whether a search shows the passage; being refused is a no."""
    try:
        with readable_errors():
            found = await client.knowledge.Search(
                knowledge_service_pb2.SearchRequest(parent=COLLECTION, query=QUESTION), timeout=20
            )
    except AtriumCallError as error:
        if error.code not in _REFUSALS:
            raise
        return False
    return any(CANARY in result.passage.text for result in found.results)


async def may_use_models(client: AtriumClient) -> bool:
    """Say whether the gateway lets somebody in."""
    try:
        with readable_errors():
            await client.catalog.ListModels(gateway_service_pb2.ListModelsRequest(), timeout=20)
    except AtriumCallError as error:
        if error.code not in _REFUSALS:
            raise
        return False
    return True


class Caller:
    """Somebody who searches again and again beside an open stream of answers."""

    def __init__(self, world: World, key: str) -> None:
        self._knowledge = world.processes.client("knowledge", key)
        self._gateway = world.processes.client("gateway", key)
        self._upstream = world.upstream
        self._tasks: list[asyncio.Task[None]] = []
        self._answered = asyncio.Event()
        self.seen = Watched()
        self.models = Watched()

    async def begin(self) -> None:
        """Warm every cache, open the stream, and go on searching."""
        if not (await may_see(self._knowledge) and await may_use_models(self._gateway)):
            raise SystemExit("The evaluation is broken: the passage was never to be seen.")
        # The model writes on for longer than any round lasts.
        parts = [part for _ in range(600) for part in (delta("The band is wide. "), 0.1)]
        self._upstream.enqueue(Answer(parts, hang=True))
        opened = asyncio.Event()
        self._tasks.append(asyncio.create_task(self._listen(opened)))
        await asyncio.wait_for(opened.wait(), 30)
        for ask, client, watched in (
            (may_see, self._knowledge, self.seen),
            (may_use_models, self._gateway, self.models),
        ):
            self._tasks.append(asyncio.create_task(self._ask_on(ask, client, watched)))

    async def ask_more(self, moment: float) -> None:
        """Wait until some searches that were sent after a moment have been answered."""
        async with asyncio.timeout(30):
            while any(each.asked_since(moment) < _ASKED_AFTER for each in (self.seen, self.models)):
                self._answered.clear()
                await self._answered.wait()

    async def end(self) -> None:
        """Stop everything."""
        for task in self._tasks:
            task.cancel()
        done = await asyncio.gather(*self._tasks, return_exceptions=True)
        for client in (self._knowledge, self._gateway):
            await client.close()
        for result in done:
            if isinstance(result, Exception):
                raise result

    async def _listen(self, opened: asyncio.Event) -> None:
        try:
            async for event in self._knowledge.ask(
                COLLECTION,
                QUESTION,
                mode=knowledge_service_pb2.AskRequest.GENERATIVE,
            ):
                self.seen.said.append(time.monotonic())
                opened.set()
                if event.HasField("answer"):
                    break
        except AtriumCallError as error:
            self.seen.reason = error.reason
        self.seen.ended = time.monotonic()
        opened.set()

    async def _ask_on(self, ask: Any, client: AtriumClient, watched: Watched) -> None:
        while True:
            sent = time.monotonic()
            (watched.allowed if await ask(client) else watched.refused).append(sent)
            self._answered.set()
            await asyncio.sleep(_PROBE_PAUSE_SECONDS)


async def revoke_once(world: World, kind: str, name: str) -> Outcome:
    """Revoke what one reader holds, and watch."""
    key, key_name = await world.make_reader(name, by_group=kind == "membership")
    targets: dict[str, Any] = {
        "user_role": {"user": f"users/{name}", "role": f"roles/{name}"},
        "membership": {"user": f"users/{name}", "group": f"groups/{name}"},
        "role_grants": {"role": f"roles/{name}", "grants": [LABEL]},
        "api_key": key_name,
        "everything_of": f"users/{name}",
    }
    caller = Caller(world, key)
    try:
        await caller.begin()
        begun = time.monotonic()
        revoked = await world.revoke(**{kind: targets[kind]})
        returned = time.monotonic()
        await caller.ask_more(returned)
    finally:
        await caller.end()
    watched = [caller.seen]
    if kind in ("api_key", "everything_of"):
        watched.append(caller.models)
    return Outcome(
        refusal=max(each.refused_after(begun) for each in watched),
        stream=(caller.seen.ended or float("inf")) - begun,
        returned=returned - begun,
        seen_after=sum(each.seen_since(returned) for each in watched),
        lapsed=tuple(revoked.lapsed),
    )


async def cut_off_once(world: World, how: str, name: str) -> Outcome:
    """Cut gateway and knowledge off from admin, and watch until they refuse."""
    key, _ = await world.make_reader(name, by_group=False)
    caller = Caller(world, key)
    revoking: asyncio.Task[admin_service_pb2.RevokeResponse] | None = None
    returned = float("inf")
    try:
        await caller.begin()
        begun = time.monotonic()
        if how == "network":
            world.proxy.stop_forwarding()
            revoking = asyncio.create_task(
                world.revoke(user_role={"user": f"users/{name}", "role": f"roles/{name}"})
            )
        else:
            world.processes.send("admin", signal.SIGSTOP)
        while time.monotonic() - begun < _GIVE_UP_SECONDS:
            await asyncio.sleep(0.05)
            if revoking is not None and revoking.done() and returned == float("inf"):
                returned = time.monotonic()
        ended = time.monotonic()
    finally:
        world.processes.send("admin", signal.SIGCONT)
        world.proxy.forward_again()
        await caller.end()
    # Who is back follows the feed again, and lets in whom it may.
    recovered_key, _ = await world.make_reader(f"{name}-after", by_group=False)
    async with world.processes.client("knowledge", recovered_key) as client:
        async with asyncio.timeout(30):
            for _ in itertools.count():
                if await may_see(client):
                    break
                await asyncio.sleep(0.05)
    recovered = time.monotonic() - ended
    lapsed: tuple[str, ...] = ()
    if revoking is not None:
        lapsed = tuple((await revoking).lapsed)
    both = (caller.seen, caller.models)
    return Outcome(
        refusal=max(each.refused_after(begun) for each in both),
        stream=(caller.seen.ended or float("inf")) - begun,
        returned=returned - begun,
        seen_after=sum(each.seen_since(returned) for each in both),
        lapsed=lapsed,
        recovered=recovered,
    )


async def measure(
    figures: Figures, folder: Path, *, rounds: int, cuts: Sequence[str], sabotage: str = ""
) -> None:
    """Measure, and add the figures.

    Args:
        figures: Where they go.
        folder: Where the processes keep their state.
        rounds: How often to revoke.
        cuts: How to cut processes off: ``network``, ``stopped``.
        sabotage: The guard to take out of gateway and knowledge: ``changes``, ``leases`` or none.
    """
    programs = {
        name: ("-m", "tests.eval.revocation.deaf", name, sabotage)
        for name in ("gateway", "knowledge")
        if sabotage
    }
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(fake_upstream())
        upstream.models = ["slow"]
        processes = Processes(
            folder,
            programs,
            {"LLM_URL": upstream.url, "LLM_MODEL": "slow", "LLM_LOCATION": "resident"},
        )
        proxy = await stack.enter_async_context(tcp_proxy(processes.targets["admin"]))
        processes.admin_target = proxy.address
        await stack.enter_async_context(running_processes(processes))
        world = World(processes, proxy, upstream, await processes.bootstrap("acme"))
        stack.push_async_callback(world.admin.close)
        await world.prepare()
        outcomes = [
            await revoke_once(world, KINDS[number % len(KINDS)], f"reader{number}")
            for number in range(rounds)
        ]
        if outcomes:
            _report(figures, outcomes)
        for how in cuts:
            _report_cut(figures, how, await cut_off_once(world, how, f"cut-{how}"))


def _report(figures: Figures, outcomes: Sequence[Outcome]) -> None:
    n = len(outcomes)
    for name, values, target in (
        ("refusal", [each.refusal for each in outcomes], REFUSAL_TARGET_SECONDS),
        ("stream_ended", [each.stream for each in outcomes], REFUSAL_TARGET_SECONDS),
        ("revoke_returned", [each.returned for each in outcomes], REFUSAL_TARGET_SECONDS),
    ):
        values = sorted(min(value, 1e6) for value in values)
        figures.add(f"{name}_p50", values[n // 2], "s", n=n)
        p99 = values[min(n - 1, int(n * 0.99))]
        figures.add(f"{name}_p99", p99, "s", n=n, target=target, at_most=True)
    seen = sum(each.seen_after for each in outcomes)
    figures.add("seen_after_revoke_returned", seen, "calls", n=n, target=0, at_most=True)
    lapsed = sum(len(each.lapsed) for each in outcomes)
    figures.add("lapsed_replicas", lapsed, "replicas", n=n, target=0, at_most=True)


def _report_cut(figures: Figures, how: str, outcome: Outcome) -> None:
    def add(name: str, value: float, target: float, unit: str = "s") -> None:
        value = min(value, 1e6)
        figures.add(f"cut_off.{how}.{name}", value, unit, n=1, target=target, at_most=True)

    add("refused_after", outcome.refusal, LEASE_SECONDS + 0.5)
    add("stream_ended_after", outcome.stream, LEASE_SECONDS + 0.5)
    if how == "network":
        add("revoke_returned_after", outcome.returned, REVOKE_AT_WORST_SECONDS)
        add("seen_after_revoke_returned", outcome.seen_after, 0, "calls")
        named = {replica.partition("@")[0] for replica in outcome.lapsed}
        add("cut_off_but_not_named", len({"gateway", "knowledge"} - named), 0, "replicas")
    figures.add(f"cut_off.{how}.serves_again_after", outcome.recovered, "s", n=1)


def main() -> int:
    """Print the figures; return the exit code."""
    parser = argparse.ArgumentParser(prog="make eval EVAL=revocation", description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    chosen = parser.parse_args()
    removed = guard_removed()
    sabotages = ("changes", "leases") if removed else ("",)
    found = []
    for sabotage in sabotages:
        figures = Figures("eval", f"revocation.sabotaged_{sabotage}" if sabotage else "revocation")
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(
                measure(
                    figures,
                    Path(folder),
                    rounds=0 if sabotage == "leases" else chosen.rounds,
                    cuts=() if sabotage == "changes" else ("network", "stopped"),
                    sabotage=sabotage,
                )
            )
        found.append(len(figures.missed))
    return exit_code(figures, removed, found=min(found))


if __name__ == "__main__":
    raise SystemExit(main())
