"""Ask knowledge random questions as random users under random policies: does anything leak?

`make eval EVAL=knowledge_permissions [ARGS="--cases 100000 --processes 2"]`. Every passage, every
labelled heading and every title carries a canary, a word that stands nowhere else. In each case a
user asks a question, and every canary of what that user may not read must be absent from all that
the question brings about: candidates, replies, prompts, answers, sources, citations, texts sent to
encoder and reader, logs, audit events, errors, feedback, stored answers, memory. Half of the probes
are hostile: names of hidden passages and documents, other people's answers.

With SABOTAGE=1 the permission filter is taken out, with SABOTAGE=index only the index's own: the
run must then report leaks (`tests/sabotage.py`). `agreement.py` beside this compares allow-sets
with Casbin.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import random
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from statistics import median
from unittest.mock import patch

from prometheus_client import generate_latest

from atrium.knowledge.v1 import knowledge_service_pb2 as pb
from atrium_shared.errors import AtriumError
from atrium_shared.principal import AllowSet, Principal
from atrium_shared.testing import memory_folder
from tests.figures import Figures
from tests.sabotage import exit_code, guard_removed

from .equality import readable_world, told
from .recording import Wire
from .running import (
    PARENT,
    Asked,
    Directory,
    RunningWorld,
    Tally,
    all_logs,
    all_rows,
    running_admin,
    running_world,
    stored,
)
from .timing import mann_whitney, refusal_times
from .worlds import Question, World, canaries_in

DOCUMENTS, USERS, ROUNDS = 40, 25, 3
READERS = 6
"""Users of a world whose replies are compared and whose refusals are timed."""
_PROBED = 0.15
"""Share of the cases that are followed by hostile calls."""
_MODES = [pb.AskRequest.EXTRACTIVE, pb.AskRequest.MODE_UNSPECIFIED]
OVER_GRPC = 16
"""Every so many worlds are asked over gRPC, the others in this process."""
AT_ONCE = 4
"""Worlds that one process asks in at a time."""
_TABLES_OF_DOCUMENTS = {
    "documents",
    "label_periods",
    "operations",
    "passages",
    "revisions",
    "sections",
}


class Interrogation:
    """Asks the users' questions in one world and watches.

    Args:
        world: What is true.
        running: What is asked.
        tally: Where leaks are counted.
    """

    def __init__(self, world: World, running: RunningWorld, tally: Tally) -> None:
        self._world = world
        self._running = running
        self._tally = tally
        self._chance = random.Random(world.seed + 1)
        self._allowed_of_answer: dict[str, frozenset[str]] = {}
        """What the asker of an answer was allowed to see, by its name."""
        self._answers_of: dict[str, list[str]] = {}
        """Names of the answers to a user."""
        self._cited: dict[str, set[str]] = {}
        self._shown: set[str] = set()
        """Canaries that somebody was rightly shown, or asked about."""

    async def round(self, principals: dict[str, Principal], questions: int) -> None:
        """Ask every user the same questions, user by user for each question."""
        documents = self._world.documents.values()
        readable = {user: self._world.policy.readable(user, documents) for user in principals}
        for question in self._world.questions(questions):
            for user in self._chance.sample(sorted(principals), len(principals)):
                await self._case(principals[user], readable[user], question)
                if self._chance.random() < _PROBED:
                    await self._probe(principals[user], readable[user])
        self._tally.look("memory", " ".join(self._running.remembered()), self._shown)

    async def _case(
        self, principal: Principal, allowed: frozenset[str], question: Question
    ) -> None:
        mode = self._chance.choice(_MODES)
        asked = await self._running.ask(principal, question.text, mode)
        tally, echoed = self._tally, allowed | question.asked
        tally.counts["cases"] += 1
        tally.counts["cases over gRPC"] += isinstance(self._running.users, Wire)
        tally.looks["candidates"] += 1
        tally.leak(
            "candidates",
            [
                point
                for point in asked.candidates
                if not self._running.canaries_of_point[point] <= allowed
            ],
        )
        tally.look("search", asked.search.SerializeToString(), allowed)
        self._watch_answer(asked, allowed, echoed)
        self._answers_of.setdefault(principal.actor, []).append(asked.answer.name)
        tally.look("prompts", "\n".join(asked.prompts), echoed)
        tally.look("encoder", "\n".join(asked.encoded), echoed)
        tally.look("reader", "\n".join(asked.read), allowed)
        tally.look("audit", repr(self._running.house.audit.events), set())
        self._shown |= echoed
        self._count(asked, allowed, question)

    def _watch_answer(self, asked: Asked, allowed: frozenset[str], echoed: frozenset[str]) -> None:
        # The model repeats the question too, which nobody has to be protected from.
        tally, answer = self._tally, asked.answer
        deltas = "".join(event.delta for event in asked.events)
        tally.look("deltas", deltas, echoed)
        for event in asked.events:
            if event.HasField("sources"):
                tally.look("sources", event.SerializeToString(), allowed)
        tally.look("answers", answer.text, echoed)
        for citation in answer.citations:
            tally.look("citations", citation.SerializeToString(), allowed)
        tally.look("whole answers", answer.SerializeToString(), echoed)
        self._allowed_of_answer[answer.name] = echoed
        self._cited[answer.name] = {one.passage.name for one in answer.citations}

    def _count(self, asked: Asked, allowed: frozenset[str], question: Question) -> None:
        counts, answer, fact = self._tally.counts, asked.answer, question.fact
        counts[f"decision {answer.Decision.Name(answer.decision)}"] += 1
        if fact is None or question.asked:
            return
        if fact.canary not in allowed:
            counts["forbidden"] += 1
            return
        counts["permitted"] += 1
        counts["permitted found"] += fact.canary in canaries_in(asked.search.SerializeToString())
        cited = {c for one in answer.citations for c in canaries_in(one.passage.text)}
        counts["permitted cited"] += fact.canary in cited

    async def _probe(self, principal: Principal, allowed: frozenset[str]) -> None:
        """Name what is hidden, as somebody would who guesses well."""
        running, tally, chance = self._running, self._tally, self._chance
        running.forget()
        told: list[str] = []
        hidden = sorted(running.passages.keys() - allowed)
        if hidden:
            name = running.passages[chance.choice(hidden)]
            passages = pb.ReadPassagesRequest(names=[name])
            told.append(await running.refused(principal, "ReadPassages", passages))
            self._same(told[-1], name, "PASSAGE_NOT_FOUND Passage {name!r}")
            document = name.partition("/passages/")[0]
            told.append(await self._document(principal, document, allowed))
        listed = await running.users.call(
            principal, "ListDocuments", pb.ListDocumentsRequest(parent=PARENT)
        )
        tally.look("lists", listed.SerializeToString(), allowed)
        # Feedback on an own answer is kept, on another's refused.
        owned = self._answers_of[principal.actor]
        answer = chance.choice(chance.choice([owned, sorted(self._allowed_of_answer)]))
        feedback = pb.GiveFeedbackRequest(
            feedback=pb.Feedback(answer=answer, rating=pb.Feedback.NOT_HELPFUL, comment="?")
        )
        own = self._allowed_of_answer[answer]
        try:
            reply = await running.users.call(principal, "GiveFeedback", feedback)
            tally.look("feedback", reply.SerializeToString(), own)
        except AtriumError as error:
            told.append(f"{error.reason} {error.message} {error.metadata}")
        tally.counts["probes"] += 1
        tally.look("errors", "\n".join(told), set())
        tally.look("audit", repr(running.house.audit.events), set())

    async def _document(self, principal: Principal, name: str, allowed: frozenset[str]) -> str:
        """Read a document by name, whole and from an offset; return what was refused."""
        running = self._running
        told = []
        start = pb.ReadPassagesRequest(document=name, start=self._chance.randrange(200))
        for method, request in (
            ("ReadPassages", start),
            ("GetDocument", pb.GetDocumentRequest(name=name)),
        ):
            refusal = await running.refused(principal, method, request)
            if refusal:
                self._same(refusal, name, "DOCUMENT_NOT_FOUND Document {name!r}")
                told.append(refusal)
            else:
                reply = await running.users.call(principal, method, request)
                self._tally.look("documents", reply.SerializeToString(), allowed)
        return "\n".join(told)

    def _same(self, refusal: str, name: str, form: str) -> None:
        """Count a refusal that tells what is hidden from what does not exist."""
        key = "passage" if "/passages/" in name else "document"
        expected = f"{form.format(name=name)} does not exist. { ({key: name}) }"
        self._tally.looks["refusals"] += 1
        self._tally.leak("refusals", [] if refusal == expected else [refusal or f"read {name}"])

    def watch_stored(self) -> None:
        """Look at what the database holds of answers and feedback."""
        house, tally = self._running.house, self._tally
        for name, passages in stored(house, "answers", "id", "passages"):
            tally.look("stored answers", passages, set())
            shown = self._cited[f"answers/{name}"]
            tally.leak("stored answers", [one for one in json.loads(passages) if one not in shown])
        for name, answer, comment in stored(house, "feedback", "answer_id", "answer", "comment"):
            allowed = self._allowed_of_answer[f"answers/{name}"]
            tally.look("stored feedback", f"{answer} {comment}", allowed)
        for table, rows in all_rows(house, but=_TABLES_OF_DOCUMENTS):
            tally.look("stored elsewhere", f"{table} {rows}", self._shown)
        tally.look("metrics", generate_latest(), set())


@contextmanager
def sabotage(how: str) -> Iterator[bool]:
    """Take a guard out when one is named; yield whether the index is to be blind.

    Args:
        how: "1": everybody may read everything. "index": the index ignores who asks.
    """
    if how == "1":
        with patch.object(AllowSet, "may_read", lambda *_: True):
            yield False
    else:
        yield how == "index"


async def interrogate(
    seed: int,
    *,
    documents: int,
    users: int,
    rounds: int,
    questions: int,
    starting: asyncio.Lock,
    over_grpc: bool = False,
    blind: bool = False,
) -> Tally:
    """Build a world, ask, change it, ask again; return what was seen."""
    tally = Tally()
    world = World(seed, documents, users)
    with memory_folder() as folder:
        async with AsyncExitStack() as stack:
            # Alembic migrates one database of a process at a time.
            async with starting:
                admin = await stack.enter_async_context(running_admin(folder))
                running = await stack.enter_async_context(running_world(folder, blind=blind))
            directory = Directory(admin, f"w{seed}")
            await running.fill(world.documents.values())
            if over_grpc:
                running.users = Wire(running.house.server)
            asking = Interrogation(world, running, tally)
            for number in range(rounds):
                if number:
                    await running.apply(world)
                await directory.write(world.policy)
                await running.learn(world.documents.values())
                principals = {user: await directory.principal(user) for user in world.policy.users}
                await asking.round(principals, questions)
            asking.watch_stored()
    return tally


async def compare(
    seed: int, *, documents: int, users: int, readers: int, questions: int, sabotaged: str = ""
) -> Tally:
    """Ask a world whole, and cut down to what each of some users may read; count differences."""
    tally = Tally()
    world = World(seed, documents, users)
    with memory_folder() as folder, sabotage(sabotaged) as blind:
        async with running_admin(folder) as admin, running_world(folder, blind=blind) as running:
            await running.fill(world.documents.values())
            await running.apply(world)
            directory = Directory(admin, f"w{seed}")
            await directory.write(world.policy)
            asked = world.questions(questions)
            whole = {}
            chosen = sorted(world.policy.users)[:readers]
            principals = {user: await directory.principal(user) for user in chosen}
            for user in chosen:
                whole[user] = await told(running, principals[user], asked, seed)
    for user in chosen:
        with memory_folder() as folder, sabotage(sabotaged) as blind:
            async with running_world(folder, blind=blind) as running:
                await running.fill(readable_world(world, user))
                alone = await told(running, principals[user], asked, seed)
        for number, (one, other) in enumerate(zip(whole[user], alone, strict=True)):
            kind = "compared replies" if number < len(asked) else "compared lists"
            tally.looks[kind] += 1
            tally.leak(kind, [] if one == other else [f"world {seed}, {user}, question {number}"])
    return tally


async def refusals_timed(
    seed: int, *, documents: int, users: int, readers: int, rounds: int
) -> dict[str, tuple[list[float], list[float]]]:
    """Time refusals of hidden and of absent things, as some users of a world."""
    world = World(seed, documents, users)
    times: dict[str, tuple[list[float], list[float]]] = {}
    with memory_folder() as folder:
        async with running_admin(folder) as admin, running_world(folder) as running:
            await running.fill(world.documents.values())
            await running.learn(world.documents.values())
            directory = Directory(admin, f"w{seed}")
            await directory.write(world.policy)
            for user in sorted(world.policy.users)[:readers]:
                principal = await directory.principal(user)
                taken = await refusal_times(running, world, principal, user, rounds)
                for call, (hidden, absent) in taken.items():
                    before = times.setdefault(call, ([], []))
                    before[0].extend(hidden)
                    before[1].extend(absent)
    return times


async def interrogate_all(seeds: Iterable[int], *, sabotaged: str = "", **sizes: int) -> Tally:
    """Ask in several worlds at once: one waits for its database while another reckons."""
    total = Tally()
    with sabotage(sabotaged) as blind, all_logs() as logs:
        starting = asyncio.Lock()
        asking = [
            interrogate(
                seed, starting=starting, over_grpc=seed % OVER_GRPC == 0, blind=blind, **sizes
            )
            for seed in seeds
        ]
        for tally in await asyncio.gather(*asking):
            total.add(tally)
        total.look("logs", "\n".join(logs), set())
        # One line at least shows that something was listened to.
        total.counts["log lines"] = len(logs)
    return total


def _some_worlds(seeds: Sequence[int], questions: int, sabotaged: str) -> Tally:
    sizes = {"documents": DOCUMENTS, "users": USERS, "rounds": ROUNDS, "questions": questions}
    return asyncio.run(interrogate_all(seeds, sabotaged=sabotaged, **sizes))


def ask_all(cases: int, processes: int, sabotaged: str) -> Tally:
    """Ask at least so many cases in as many worlds as that takes."""
    questions = max(1, min(40, cases // (USERS * ROUNDS)))
    worlds = -(-cases // (USERS * ROUNDS * questions))
    batches = [range(first, min(first + AT_ONCE, worlds)) for first in range(0, worlds, AT_ONCE)]
    total, begun = Tally(), time.monotonic()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        running = [pool.submit(_some_worlds, batch, questions, sabotaged) for batch in batches]
        for number, done in enumerate(as_completed(running), 1):
            total.add(done.result())
            print(
                f"part {number} of {len(batches)}: {total.counts['cases']} cases, "
                f"{total.leaks.total()} leaks, {time.monotonic() - begun:.0f} s",
                flush=True,
            )
    return total


def report(tally: Tally, figures: Figures) -> int:
    """Print the figures; return the number of leaks."""
    cases = tally.counts["cases"]
    figures.add("cases", cases, "count", n=cases)
    figures.add("cases_over_grpc", tally.counts["cases over gRPC"], "count", n=cases)
    figures.add("leaks", tally.leaks.total(), "count", n=cases, target=0, at_most=True)
    for channel in sorted(tally.looks):
        figures.add(
            f"leaks.{channel.replace(' ', '_')}", tally.leaks[channel], "count",
            n=tally.looks[channel], target=0, at_most=True,
        )  # fmt: skip
    permitted = tally.counts["permitted"]
    figures.add(
        "permitted_found", tally.counts["permitted found"] / max(permitted, 1), "share",
        n=permitted, target=0.99,
    )  # fmt: skip
    figures.add(
        "permitted_cited", tally.counts["permitted cited"] / max(permitted, 1), "share", n=permitted
    )
    for name in sorted(tally.counts):
        if name.startswith("decision"):
            figures.add(name.replace(" ", "."), tally.counts[name] / cases, "share", n=cases)
    for example in tally.examples:
        print(example)
    return tally.leaks.total()


def report_times(times: dict[str, tuple[list[float], list[float]]], figures: Figures) -> None:
    """Print whether hidden and absent things are told apart by time."""
    for call, (hidden, absent) in sorted(times.items()):
        apart = mann_whitney(hidden, absent)
        figures.add(f"time.{call}.p_value", apart, "probability", n=len(hidden) + len(absent))
        difference = (median(hidden) - median(absent)) * 1000
        figures.add(
            f"time.{call}.difference_of_medians", difference, "ms", n=len(hidden) + len(absent),
            baseline=median(absent) * 1000,
        )  # fmt: skip


def main(arguments: Sequence[str] | None = None, folder: Path | None = None) -> int:
    """Run from the command line; return the exit code.

    Args:
        arguments: Of the command line. None: those of this process.
        folder: Where figures go. None: where they are kept.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=48, help="worlds compared, whole and cut down")
    parser.add_argument("--refusals", type=int, default=400, help="refusals timed, of each kind")
    chosen = parser.parse_args(arguments)
    sabotaged = guard_removed("index")
    tally = ask_all(chosen.cases, chosen.processes, sabotaged)
    for seed in range(1000, 1000 + chosen.pairs // READERS):
        tally.add(
            asyncio.run(
                compare(
                    seed, documents=DOCUMENTS, users=USERS, readers=READERS, questions=60,
                    sabotaged=sabotaged,
                )
            )
        )  # fmt: skip
    name = "knowledge_permissions.sabotaged" if sabotaged else "knowledge_permissions"
    figures = Figures("eval", name, folder=folder)
    leaks = report(tally, figures)
    if not sabotaged:
        rounds = chosen.refusals // READERS
        timed = refusals_timed(
            2000, documents=DOCUMENTS, users=USERS, readers=READERS, rounds=rounds
        )
        report_times(asyncio.run(timed), figures)
    return exit_code(figures, sabotaged, found=leaks)


if __name__ == "__main__":
    raise SystemExit(main())
