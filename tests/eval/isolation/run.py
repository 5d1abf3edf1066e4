"""Does anything of one tenant reach another through the gateway?

`make eval EVAL=isolation [ARGS="--probes 1000000 --processes 2"]`. Tenants with names that nearly
meet hold words that stand nowhere else: in kept replies, what their adapters say, tasks, routes,
quotas, users, prompts. Each probe is one tenant's try to see, use or change what is another's,
against the gateway's own parts in this process; only servers of models are played. Nothing may be
found, and what is one's own must be, so that parts that hold nothing do not pass.

SABOTAGE takes guards out: `cache` (tenant and permissions in the key of kept replies), `adapters`
(the tenant in the look-up of adapters), `outcomes` (the tenant in the signature of names of
replies), or 1 for all. The run must then report leaks by each (`tests/sabotage.py`).
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from atrium_gateway.app import reply_cache
from atrium_gateway.app.adapter_fleet import AdapterFleet
from atrium_gateway.app.caller import Caller
from atrium_gateway.app.generation_names import GenerationNames
from atrium_gateway.domain.adapters import HeldVersion
from atrium_gateway.domain.models import Model
from atrium_shared.testing import memory_folder
from tests.figures import Figures
from tests.sabotage import exit_code, guard_removed

from .house import open_house
from .probes import Probes
from .worlds import Tally, World, principal_of

GUARDS = ("cache", "adapters", "outcomes")
"""What SABOTAGE can take out."""
PARTITIONS = 1_200
_PROBES_OF_A_WORLD = 50_000


@contextmanager
def sabotage(how: str) -> Iterator[None]:
    """Take guards out while the block runs.

    Args:
        how: One of :data:`GUARDS`, "1" for all of them, "" for none.
    """
    digest, sign = reply_cache._digest, GenerationNames._signature
    nobody = principal_of("")

    def digest_of_nobody(caller: Caller, model: Model, request: dict[str, Any]) -> bytes:
        return digest(replace(caller, principal=nobody), model, request)

    def serving_anybody(fleet: AdapterFleet, tenant: str, adapter: str) -> HeldVersion | None:
        return next((one for (_, id_), one in fleet._serving.items() if id_ == adapter), None)

    def sign_for_anybody(names: GenerationNames, tenant: str, told: bytes) -> bytes:
        return sign(names, "", told)

    blinded = {
        "cache": patch.object(reply_cache, "_digest", digest_of_nobody),
        "adapters": patch.object(AdapterFleet, "serving", serving_anybody),
        "outcomes": patch.object(GenerationNames, "_signature", sign_for_anybody),
    }
    with ExitStack() as stack:
        for guard in GUARDS:
            if how in (guard, "1"):
                stack.enter_context(blinded[guard])
        yield


async def probe_world(
    seed: int, probes: int, *, partitions: int = PARTITIONS, sabotaged: str = ""
) -> Tally:
    """Build a world and probe it; return what was seen."""
    with memory_folder() as folder, sabotage(sabotaged):
        async with open_house(folder) as house:
            probing = Probes(World(seed, partitions), house)
            await probing.fill()
            await probing.run(probes)
            await probing.finish()
    return probing.tally


def _one_world(seed: int, probes: int, sabotaged: str) -> Tally:
    return asyncio.run(probe_world(seed, probes, sabotaged=sabotaged))


def probe_all(probes: int, processes: int, sabotaged: str) -> Tally:
    """Probe so often, in as many worlds as that takes."""
    sizes = [
        min(_PROBES_OF_A_WORLD, probes - done) for done in range(0, probes, _PROBES_OF_A_WORLD)
    ]
    total, begun = Tally(), time.monotonic()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        running = [
            pool.submit(_one_world, seed, size, sabotaged) for seed, size in enumerate(sizes)
        ]
        for number, done in enumerate(as_completed(running), 1):
            total.add(done.result())
            print(
                f"part {number} of {len(sizes)}: {total.probes.total()} probes, "
                f"{total.leaks.total()} leaks, {time.monotonic() - begun:.0f} s",
                flush=True,
            )
    return total


def report(tally: Tally, figures: Figures) -> None:
    """Print the figures."""
    figures.add(
        "leaks", tally.leaks.total(), "count", n=tally.probes.total(), target=0, at_most=True
    )
    for kind in sorted(tally.sought):
        # Events are no probes: what is looked at are those of the probes by whole calls.
        figures.add(
            f"leaks.{kind}", tally.leaks[kind], "count",
            n=tally.probes[kind] or tally.sought[kind], target=0, at_most=True,
        )  # fmt: skip
        figures.add(
            f"own_found.{kind}", tally.found[kind] / max(tally.sought[kind], 1), "share",
            n=tally.sought[kind], target=1,
        )  # fmt: skip
    for example in tally.examples:
        print(example)


def main(arguments: Sequence[str] | None = None, folder: Path | None = None) -> int:
    """Run from the command line; return the exit code.

    Args:
        arguments: Of the command line. None: those of this process.
        folder: Where figures go. None: where they are kept.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--probes", type=int, default=1_000_000)
    parser.add_argument("--processes", type=int, default=2)
    chosen = parser.parse_args(arguments)
    sabotaged = guard_removed(*GUARDS)
    tally = probe_all(chosen.probes, chosen.processes, sabotaged)
    area = f"isolation.sabotaged_{sabotaged}" if sabotaged else "isolation"
    figures = Figures("eval", area, folder=folder)
    report(tally, figures)
    removed = [guard for guard in GUARDS if sabotaged in (guard, "1")]
    found = min((tally.leaks[guard] for guard in removed), default=tally.leaks.total())
    return exit_code(figures, sabotaged, found=found)


if __name__ == "__main__":
    raise SystemExit(main())
