"""Calculate exactly, keep hostile programs in, name what is missing.

`make eval EVAL=calculation ARGS="--programs 10000 --problems 100"`. Three parts:

- Random programs over decimals, percentages, lists, integers, dates and working days, through the
  gateway's reading, rewriting and sandbox: each result must equal the one found with `fractions`,
  `decimal` and a walk over days (`programs.py`).
- Hostile programs in twelve categories (`hostile.py`): each must end in a plain error within the
  limits; a result, a touched file, a read variable or a connection is an escape.
- Word problems in both languages (`problems.jsonl`), a third of which lacks a quantity, on the
  small model through the gateway's RPC. Left out, with the reason, where its weights are not there.

With SABOTAGE=1 programs run as the model wrote them, on floats, and hostile ones without a guard
and without a limit of time: the run must then report both errors and escapes
(`tests/sabotage.py`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import psutil

from atrium.gateway.v1 import gateway_pb2
from atrium_client import AtriumCallError, readable_errors
from atrium_gateway.adapters.monty_sandbox import MontySandbox, SandboxLimits
from atrium_gateway.domain.programs import (
    Guessed,
    ProgramFailed,
    ProgramRefused,
    exact,
    given_by,
)
from atrium_gateway.testing import serve_gateway
from atrium_models import ModelStore
from atrium_shared.errors import AtriumError
from tests.figures import Figures
from tests.sabotage import exit_code, guard_removed

from .hostile import Bait, Hostile, hostile
from .programs import Program, Value, programs

_FOLDER: Final = Path(__file__).parent
_MODEL: Final = "qwen2.5-0.5b"
_LIMIT_SECONDS: Final = 1.0
_LATE_SECONDS: Final = 4.0
"""Behind the limit of one second and the kill one second later; the rest is a busy machine's."""
_AT_ONCE: Final = 2
_VARIABLE: Final = "ATRIUM_CANARY"
_CANARY: Final = "canary-5e1c"
_SABOTAGE_EVERY: Final = 8
_SABOTAGE_MEMORY: Final = 128 * 1024 * 1024

Run = Callable[[str], Awaitable[Sequence[Any]]]


@dataclass
class Part:
    """What became of one part."""

    checked: int = 0
    wrong: int = 0


class RawSandbox(MontySandbox):
    """The interpreter without a guard, without exact numbers, and without a limit of time."""

    def __init__(self) -> None:
        super().__init__(SandboxLimits(_LATE_SECONDS + 1, _SABOTAGE_MEMORY), processes=_AT_ONCE)
        self._prelude = "from datetime import date, timedelta\nresult = None"

    def _resource_limits(self) -> Any:
        return super()._resource_limits() | {"max_feed_duration_secs": None}

    async def run(self, program: str) -> Sequence[Any]:
        """Run a program as it is."""
        return await super().run(f"{program}\n[result]")


async def check_programs(
    figures: Figures, count: int, seed: int, run: Run, *, show: int = 5
) -> Part:
    """Compare so many random programs with their results."""
    part = Part()
    families: Counter[str] = Counter()
    queue = iter(programs(count, seed))

    async def work() -> None:
        for program in queue:
            part.checked += 1
            got = await _value(run, program)
            if got != program.expected:
                part.wrong += 1
                families[program.family] += 1
                if part.wrong <= show:
                    print(f"not equal: {program.text!r} gave {got!r}", file=sys.stderr)

    started = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(_AT_ONCE)))
    seconds = time.perf_counter() - started
    figures.add("programs.unequal", part.wrong, "programs", n=part.checked, target=0, at_most=True)
    figures.add("programs.per_second", part.checked / seconds, "1/s", n=part.checked)
    return part


async def _value(run: Run, program: Program) -> Value | str:
    try:
        shown = await run(program.text)
    except (ProgramRefused, ProgramFailed, Guessed, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    match shown:
        case ["number", numerator, denominator]:
            return Fraction(int(numerator), int(denominator))
        case ["date", text]:
            return date.fromisoformat(text)
        case ["weekday", number]:
            return int(number)
        case [int() | float() as number]:  # sabotaged
            return Fraction(number)
    return repr(shown)


async def check_hostile(figures: Figures, every: int, run: Run) -> Part:
    """Run hostile programs; count those that escape or are not stopped in time."""
    part = Part()
    late, worst, unclear = 0, 0.0, 0
    with tempfile.TemporaryDirectory() as folder, _memory() as peak:
        async with _bait(Path(folder)) as (bait, came):
            for attempt in hostile(bait)[::every]:
                part.checked += 1
                started = time.perf_counter()
                said = await _stopped(run, attempt)
                seconds = time.perf_counter() - started
                worst = max(worst, seconds)
                late += seconds > _LATE_SECONDS
                touched = bait.written.exists() or came() or _CANARY not in bait.file.read_text()
                if said is None or touched or _CANARY in said:
                    part.wrong += 1
                    print(f"escaped: {attempt.category} {attempt.text[:100]!r}", file=sys.stderr)
                elif not said.strip():
                    unclear += 1
    n = part.checked
    figures.add("hostile.escapes", part.wrong, "programs", n=n, target=0, at_most=True)
    figures.add("hostile.late", late, "programs", n=n, target=0, at_most=True)
    figures.add("hostile.without_reason", unclear, "programs", n=n, target=0, at_most=True)
    figures.add("hostile.slowest", worst, "s", n=n)
    figures.add("hostile.worker_memory", peak[0] / 2**20, "MiB", n=n, target=256, at_most=True)
    part.wrong += late
    return part


async def _stopped(run: Run, attempt: Hostile) -> str | None:
    """Return with which words a program was stopped, or None when it gave a result."""
    try:
        await run(attempt.text)
    except (ProgramRefused, ProgramFailed, Guessed, ValueError) as error:
        return str(error)
    return None


@asynccontextmanager
async def _bait(folder: Path) -> AsyncIterator[tuple[Bait, Callable[[], int]]]:
    came = 0

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal came
        came += 1
        writer.close()

    secret = folder / "secret.txt"
    secret.write_text(_CANARY)
    os.environ[_VARIABLE] = _CANARY
    server = await asyncio.start_server(count, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield Bait(secret, folder / "written.txt", port, _VARIABLE), lambda: came
    del os.environ[_VARIABLE]


@contextmanager
def _memory() -> Iterator[list[int]]:
    """Give the most bytes that a worker of the sandbox took, once the block ends."""
    peak, over = [0], threading.Event()

    def watch() -> None:
        me = psutil.Process()
        while not over.wait(0.02):
            for child in me.children():
                try:
                    if child.name() == "monty":
                        peak[0] = max(peak[0], child.memory_info().rss)
                except psutil.Error:
                    continue  # it ended meanwhile

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        over.set()
        thread.join()


async def check_problems(figures: Figures, count: int) -> None:
    """Put word problems to the small model."""
    rows = [json.loads(line) for line in (_FOLDER / "problems.jsonl").read_text().splitlines()]
    problems = [(row[language], row["answer"]) for row in rows for language in ("zh", "en")]
    step = max(len(problems) // count, 1) if count else 0
    if not step:
        return
    store = ModelStore.from_environment()
    try:
        store.path(_MODEL)
    except AtriumError as error:
        print(f"The word problems are left out: {error.message}", file=sys.stderr)
        return
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        async with serve_gateway(
            Path(folder),
            with_scripted=False,
            locate=store.path,
            GATEWAY_MODELS=_MODEL,
            GATEWAY_GENERATOR_CONTEXT_TOKENS="4096",
        ) as served:
            for question, answer in problems[::step][:count]:
                what = await _outcome(served, question, answer)
                print(f"{what}: {question}", file=sys.stderr)
                counts[what] += 1
    given = sum(n for what, n in counts.items() if what.startswith("given"))
    lacking = sum(n for what, n in counts.items() if what.startswith("lacking"))
    for name, what, n in [
        ("problems.correct", "given: correct", given),
        ("problems.wrong", "given: wrong", given),
        ("problems.refused", "given: refused", given),
        ("problems.missing_named", "lacking: named", lacking),
        ("problems.missing_guessed", "lacking: guessed", lacking),
    ]:
        figures.add(name, counts[what] / n if n else 0, "share", n=n)


async def _outcome(served: Any, question: str, answer: str | None) -> str:
    message = gateway_pb2.Message(role=gateway_pb2.Message.USER, content=question)
    request = gateway_pb2.GenerateRequest(
        task="default", messages=[message], aids=[gateway_pb2.CALCULATE]
    )
    kind = "given" if answer is not None else "lacking"
    try:
        with readable_errors():
            reply = await served.models.Generate(request)
    except AtriumCallError as error:
        return f"{kind}: {'refused' if error.reason == 'CALCULATION_FAILED' else error.reason}"
    if reply.calculation.missing:
        return f"{kind}: {'refused' if answer is not None else 'named'}"
    if not reply.HasField("calculation"):
        return f"{kind}: not asked"
    if answer is None:
        return f"{kind}: guessed"
    said = reply.calculation.result.replace(",", "")
    right = said == answer or said.split(" ")[0].rstrip("%") == answer
    return f"{kind}: {'correct' if right else 'wrong'}"


async def main(arguments: Sequence[str] | None = None, folder: Path | None = None) -> int:
    """Run the evaluation and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", type=int, default=10_000, help="random programs")
    parser.add_argument("--hostile-every", type=int, default=1, help="take one of so many")
    parser.add_argument("--problems", type=int, default=100, help="word problems; 0: none")
    parser.add_argument("--seed", type=int, default=20260302)
    options = parser.parse_args(arguments)
    sabotage = guard_removed()
    figures = Figures("eval", "calculation", folder=folder)
    guarded = MontySandbox(SandboxLimits(seconds=_LIMIT_SECONDS), processes=_AT_ONCE)
    raw = RawSandbox()

    async def run(program: str) -> Sequence[Any]:
        if sabotage:
            return await raw.run(program)
        return await guarded.run(exact(program, given_by([program])))

    try:
        calculated = await check_programs(figures, options.programs, options.seed, run)
        every = options.hostile_every * (_SABOTAGE_EVERY if sabotage else 1)
        stopped = await check_hostile(figures, every, run)
        if sabotage:
            return exit_code(figures, sabotage, found=min(calculated.wrong, stopped.wrong))
        await check_problems(figures, options.problems)
    finally:
        await guarded.close()
        await raw.close()
    return exit_code(figures, "", found=calculated.wrong + stopped.wrong)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
