"""The demo from beginning to end."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from atrium.admin.v1 import admin_pb2, admin_service_pb2
from atrium.engine.v1 import engine_pb2
from atrium_client import AtriumClient, readable_errors
from atrium_shared.telemetry import configure_logging
from atrium_suite.bootstrap import Suite, build
from atrium_suite.demo.handbook import Handbook, load_handbook
from atrium_suite.demo.meeting import SampleMeeting, found_of, load_samples, outside, run_meeting
from atrium_suite.demo.screen import DemoScreen
from atrium_suite.demo.steps import (
    COLLECTION,
    PORTAL,
    Asked,
    add_documents,
    ask_as,
    make_collection,
    make_people,
)
from atrium_suite.demo.transcript import Transcript
from atrium_suite.errors import StateDirUnusable
from atrium_suite.installation import StateDir
from atrium_suite.settings import SuiteSettings
from atrium_suite.terminal.output import show_path
from atrium_suite.terminal.uploads import FileAdded

_LAST_EVENTS = 6
_WARM_UP_SECONDS = 120.0


@dataclass
class DemoResult:
    """How the demo went."""

    asked: list[Asked] = field(default_factory=list)
    added: list[FileAdded] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


class Demo:
    """One run of the demo.

    Args:
        folder: Gets ``state/``, ``transcript.md``, ``suite.log`` and ``env``.
        models: Which models answer.
        pull: Fetches the models, showing how far it is; returns them in words.
    """

    def __init__(
        self,
        folder: Path,
        models: Literal["small", "none"],
        pull: Callable[[], Awaitable[str]],
    ) -> None:
        self._folder = folder
        self._models = models
        self._pull = pull
        self._handbook: Handbook = load_handbook()
        self._result = DemoResult()
        self._times: list[tuple[str, float, str]] = []
        self._begun = time.monotonic()
        self._file = folder / "transcript.md"

    async def run(self, keep: Callable[[Suite], Awaitable[None]] | None = None) -> DemoResult:
        """Run it all.

        Args:
            keep: Awaited at the end while the suite still runs.

        Raises:
            AtriumError: The suite cannot start, or the models cannot be had.
            AtriumCallError: A step failed.
        """
        state = self._folder / "state"
        _empty(state)
        self._screen = DemoScreen(Transcript(self._file))
        self._screen.opening(self._handbook, self._models)
        self._screen.part("1  Start 启动")
        begun = time.monotonic()
        pulled = await self._pull()
        if self._models != "none":
            self._took("models", begun, pulled)
        with (self._folder / "suite.log").open("w", encoding="utf-8") as log, redirect_stderr(log):
            configure_logging(json=False)
            settings = SuiteSettings(
                state_dir=state, address="127.0.0.1:0", http_address="127.0.0.1:0",
                models=self._models,
            )  # fmt: skip
            begun = time.monotonic()
            suite = build(settings)
            await suite.start()
            try:
                self._took(
                    "suite", begun,
                    f"all services in one process, gRPC {suite.address}, HTTP {suite.http_address}",
                )  # fmt: skip
                await self._job(suite)
                if keep is not None:
                    await keep(suite)
            finally:
                await suite.stop()
        return self._result

    async def _job(self, suite: Suite) -> None:
        begun = time.monotonic()
        key = await suite.bootstrap_tenant(
            self._handbook.tenant, display_name=" ".join(self._handbook.company.values())
        )
        async with AtriumClient(key, target=suite.address) as admin:
            portal_key = await make_people(admin, self._handbook)
            await make_collection(admin, self._handbook)
            self._took(
                "people", begun,
                f"tenant {self._handbook.tenant}, {len(self._handbook.people)} people with a role "
                f"each, the service account {PORTAL} that asks for them, "
                f"{len(self._handbook.topics)} restricted topics",
            )  # fmt: skip
            async with AtriumClient(portal_key, target=suite.address) as portal:
                await self._add_documents(portal)
                await self._wait_for_models(suite)
                await self._ask(portal)
                await self._meet(portal)
            await self._show_audit(admin)
        self._finish(suite, portal_key)

    async def _add_documents(self, portal: AtriumClient) -> None:
        self._screen.part("2  Documents 文档")
        begun = time.monotonic()
        with self._screen.documents(self._handbook) as view:
            self._result.added = await add_documents(portal, self._handbook, view.update)
        for added in self._result.added:
            if added.error is not None:
                self._fault(f"{added.file.path.name} was not added: {added.message}")
        progress = [added.progress for added in self._result.added]
        passages = sum(each.document.passage_count for each in self._result.added if each.document)
        tokens = sum(each.encoder_tokens for each in progress)
        parts = [
            f"parsing {sum(each.parse_seconds for each in progress):.1f} s",
            f"encoding {sum(each.encode_seconds for each in progress):.1f} s",
            f"indexing {sum(each.index_seconds for each in progress):.1f} s",
        ]
        words = f"{passages} passages" + (f", {tokens:,} tokens encoded" if tokens else "")
        self._took("documents", begun, words, f"summed over files: {', '.join(parts)}")

    async def _wait_for_models(self, suite: Suite) -> None:
        if self._models == "none":
            return
        begun = time.monotonic()
        with self._screen.busy("The generator is being loaded and warmed up ..."):
            now = await suite.wait_until_ready(_WARM_UP_SECONDS)
        states = [f"{part.name.removeprefix('models/')} {part.state.lower()}" for part in now.parts]
        self._took("warm-up", begun, f"{', '.join(states)}; loaded beside the above")
        for part in now.parts:
            if part.state != "READY":
                self._fault(f"{part.name} is not available: {part.reason}")

    async def _ask(self, portal: AtriumClient) -> None:
        self._screen.part("3  Questions 提问")
        if self._models != "none":
            self._screen.note(
                "One language of each question is answered by the generator, sentence by sentence "
                "checked against its sources; the other is taken word for word, at once."
            )
        clients = {person.id: portal.as_user(person.id) for person in self._handbook.people}
        begun = time.monotonic()
        try:
            for number, question in enumerate(self._handbook.questions):
                with self._screen.question(question) as view:
                    for language in question.text:
                        generate = self._models != "none" and _is_generated(number, language)
                        for person in self._handbook.people:
                            view.asking(person.id)
                            asked = await ask_as(
                                clients[person.id],
                                self._handbook,
                                question,
                                person,
                                language,
                                generate=generate,
                                encoder=self._models != "none",
                            )
                            self._result.asked.append(asked)
                            view.add(asked)
        finally:
            for client in clients.values():
                await client.close()
        for asked in self._result.asked:
            for fault in asked.verdict.faults:
                who = f"{asked.person.id}, {asked.question.id}, {asked.language}"
                self._result.faults.append(f"{who}: {fault}")
        self._times.append(("questions", time.monotonic() - begun, self._speeds()))

    async def _meet(self, portal: AtriumClient) -> None:
        self._screen.part("4  Meetings 会议")
        recognise = self._models != "none"
        if recognise:
            self._screen.note(
                "The minutes of one meeting are written by the generator, sentence by sentence "
                "checked against what was said; the other's are taken word for word, at once."
            )
        else:
            self._screen.note(
                "Without a model for speech the samples come in as captions; `make demo` "
                "transcribes their recordings."
            )
        async with portal.as_user(self._handbook.people[0].id) as client:
            for sample in load_samples():
                await self._show_meeting(client, sample, recognise=recognise)

    async def _show_meeting(
        self, client: AtriumClient, sample: SampleMeeting, *, recognise: bool
    ) -> None:
        begun = time.monotonic()
        with self._screen.busy(f"{sample.title} ..."):
            shown = await run_meeting(
                client,
                sample,
                self._folder,
                recognise=recognise,
                # As with questions: on two cores both would take too long to watch.
                generate=recognise and sample.language == "en",
            )
        self._screen.meeting(sample, shown)
        decisions = [each.sentence for each in shown.minutes.decisions]
        actions = [each.sentence for each in shown.minutes.actions]
        planted = sample.script["decisions"], sample.script["actions"]
        length = shown.meeting.duration.ToMilliseconds() / 1000
        files = ", ".join(map(show_path, shown.files))
        self._took(
            f"meeting {sample.language}", begun,
            f"{length:.0f} s {'of sound' if recognise else 'of captions'}, words and minutes in "
            f"{shown.seconds:.1f} s; {found_of(sample, planted[0], decisions)} of "
            f"{len(planted[0])} decisions and {found_of(sample, planted[1], actions)} of "
            f"{len(planted[1])} actions found; {files}",
        )  # fmt: skip
        for text in outside(sample, shown.catch_up):
            self._fault(f"The catch-up tells what was said while nobody was away: {text}")

    async def _show_audit(self, admin: AtriumClient) -> None:
        self._screen.part("5  Audit 审计")
        with readable_errors():
            events = await admin.admin.ListAuditEvents(
                admin_service_pb2.ListAuditEventsRequest(page_size=_LAST_EVENTS)
            )
            found = await admin.admin.VerifyAuditLog(admin_service_pb2.VerifyAuditLogRequest())
        if found.intact:
            words = f"{found.events} events; the hash chain is intact 审计链完整."
        else:
            words = f"The hash chain breaks at event {found.first_broken_sequence}."
            self._fault(words)
        self._screen.audit(list[admin_pb2.AuditEvent](events.events), words)

    def _finish(self, suite: Suite, portal_key: str) -> None:
        self._screen.part("6  Result 结果")
        asked = self._result.asked
        answered = [each for each in asked if each.answer.citations]
        right = [each for each in asked if not each.verdict.faults]
        refused = {each.person.id for each in right if each.answer.restricted_topic == "pay"}
        self._screen.line(
            "decisions",
            f"{len(right)} of {len(asked)} as expected; {len(answered)} answers with sources; "
            f"the pay question was refused to {', '.join(sorted(refused))}",
        )
        if not any(each.verdict.leaks for each in asked):
            self._screen.line("secrets", "nothing was shown to anybody who may not read it")
        for fault in self._result.faults:
            self._screen.fault(fault)
        self._times.append(("all", time.monotonic() - self._begun, ""))
        self._screen.times(self._times)
        env = self._folder / "env"
        with os.fdopen(os.open(env, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(f"export ATRIUM_API_KEY={portal_key}\n")
        self._screen.note(
            f"Transcript {show_path(self._file)}, state {show_path(self._folder / 'state')}, "
            f"log {show_path(self._folder / 'suite.log')}."
        )
        command = _own_command()
        collection = COLLECTION.removeprefix("collections/")
        self._screen.commands(
            "Go on with the same documents and meetings 继续使用这些文档和会议:",
            [
                f"SUITE_STATE_DIR={shlex.quote(show_path(self._folder / 'state'))} make up",
                f". {shlex.quote(show_path(env))}   # the portal's key, in another terminal",
                f'{command} knowledge ask {collection} "How long is probation?" --as anna.de',
                f'{command} knowledge ask {collection} "试用期多长？" --as chen.cn',
                f"{command} meeting list --as {self._handbook.people[0].id}",
            ],
        )

    def _took(self, what: str, begun: float, words: str, figures: str = "") -> None:
        seconds = time.monotonic() - begun
        self._times.append((what, seconds, figures))
        self._screen.line(what, "; ".join(filter(None, (words, figures))), seconds)

    def _fault(self, words: str) -> None:
        self._result.faults.append(words)

    def _speeds(self) -> str:
        seconds: dict[str, list[float]] = {"generated": [], "word for word": []}
        for asked in self._result.asked:
            if asked.answer.engine.kind == engine_pb2.Engine.GENERATIVE:
                seconds["generated"].append(asked.seconds)
            elif asked.answer.engine.kind == engine_pb2.Engine.EXTRACTIVE:
                seconds["word for word"].append(asked.seconds)
        return "; ".join(
            f"{len(each)} {name}, {sum(each) / len(each):.1f} s each"
            for name, each in seconds.items()
            if each
        )


def _is_generated(number: int, language: str) -> bool:
    """Choose one language a question, in turn: on two cores both would take too long to watch."""
    return language == ("zh", "en")[number % 2]


def _empty(state: Path) -> None:
    """Remove what an earlier demo left, and nothing else."""
    if not state.exists() or not any(state.iterdir()):
        return
    if not (state / "suite.lock").exists():
        raise StateDirUnusable(state, "it holds files that no demo made")
    with StateDir(state):
        for each in state.iterdir():
            if each.name == "suite.lock":
                continue
            if each.is_dir():
                shutil.rmtree(each)
            else:
                each.unlink()


def _own_command() -> str:
    """Return how this command was called, as one would type it here."""
    command = Path(sys.argv[0])
    if command.name != "atrium" or shutil.which("atrium") == str(command):
        return "atrium"
    return show_path(command)
