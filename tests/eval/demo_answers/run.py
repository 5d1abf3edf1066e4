"""Ask the whole suite the questions over the sample handbook, as the four people of it.

`make eval EVAL=demo_answers ARGS="--engine small"`. Engines: `extractive` quotes, with the encoder;
`small` writes with the small model, checked; `none` runs without any model. `--split dev` is for
tuning; nothing is ever chosen by `test`. With SABOTAGE=1 the permission filter is taken out: the
run must then report forbidden phrases (`tests/sabotage.py`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import structlog

from atrium.knowledge.v1 import knowledge_pb2, knowledge_service_pb2
from atrium_client import AtriumClient
from atrium_shared.principal import AllowSet
from atrium_suite.demo.handbook import load_handbook
from atrium_suite.demo.steps import COLLECTION, add_documents, make_collection, make_people
from tests.figures import ROOT, Figures
from tests.sabotage import exit_code, guard_removed
from tests.suites import open_suite, wait_for_models

from .matching import holds_facts, shown_forbidden

DATA = Path(__file__).parent / "data"
DECISION = knowledge_pb2.Answer.Decision
MODE = knowledge_service_pb2.AskRequest.Mode


async def ask(client: AtriumClient, question: dict[str, Any], generate: bool) -> dict[str, Any]:
    """Ask one question; return what was shown and how it is judged."""
    answer = knowledge_pb2.Answer()
    shown: list[str] = []
    begun = time.monotonic()
    async for event in client.ask(
        COLLECTION,
        question["question"],
        mode=MODE.MODE_UNSPECIFIED if generate else MODE.EXTRACTIVE,
    ):
        # The event in words holds every field: sources, deltas, citations, titles.
        shown.append(str(event.delta) or _words(event))
        if event.HasField("answer"):
            answer = event.answer
    decision = DECISION.Name(answer.decision)
    return {
        "id": question["id"],
        "user": question["user"],
        "question": question["question"],
        "expected": question["decision"],
        "decision": decision,
        "right": decision == question["decision"]
        and (question["topic"] or "") == answer.restricted_topic,
        "fact": holds_facts(answer.text, question["facts"]) if question["facts"] else None,
        "forbidden": shown_forbidden("\n".join(shown), question["forbidden"]),
        "text": answer.text,
        "cites": [c.passage.document.rpartition("/")[2] for c in answer.citations],
        "engine": f"{answer.engine.kind} {answer.engine.model}".strip(),
        "degraded": answer.engine.degraded_reason,
        "dropped": answer.dropped_sentences,
        "seconds": round(time.monotonic() - begun, 2),
    }


def _words(message: Any) -> str:
    """Return every text in a message and the messages in it."""
    words: list[str] = []
    for field, value in message.ListFields():
        values = value if field.is_repeated else [value]
        for each in values:
            if field.type == field.TYPE_MESSAGE:
                words.append(_words(each))
            elif isinstance(each, str):
                words.append(each)
    return "\n".join(words)


async def run(engine: str, split: str, limit: int | None) -> list[dict[str, Any]]:
    """Start a suite, fill it, ask everything; return one record a question."""
    lines = (DATA / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    questions = [json.loads(line) for line in lines][:limit]
    with tempfile.TemporaryDirectory() as folder:
        models = "none" if engine == "none" else "small"
        async with open_suite(Path(folder), models) as suite:
            await wait_for_models(suite)
            handbook = load_handbook()
            key = await suite.bootstrap_tenant("lumen-harbor")
            async with AtriumClient(key, target=suite.address) as admin:
                portal_key = await make_people(admin, handbook)
                await make_collection(admin, handbook)
            async with AtriumClient(portal_key, target=suite.address) as portal:
                await add_documents(portal, handbook, lambda _: None)
                records = []
                for question in questions:
                    client = portal.as_user(question["user"])
                    records.append(await ask(client, question, engine == "small"))
                return records


@contextmanager
def sabotage(wanted: bool) -> Iterator[None]:
    """Take the permission filter out, when wanted: everybody may read everything."""
    if not wanted:
        yield
        return
    with patch.object(AllowSet, "may_read", lambda *_: True):
        yield


def report(records: list[dict[str, Any]], engine: str, figures: Figures) -> int:
    """Print the figures; return how many forbidden phrases were shown."""
    answered = [one for one in records if one["expected"] == "ANSWERED"]
    leaks = sum(len(one["forbidden"]) for one in records)
    right = sum(one["right"] for one in records)
    facts = sum(bool(one["fact"]) for one in answered)
    # Without an encoder no target is set: the questions cross languages.
    aims = engine != "none"
    figures.add(
        f"{engine}.decision_right", right / len(records), "share", n=len(records),
        target=0.95 if aims else None,
    )  # fmt: skip
    figures.add(
        f"{engine}.fact_in_answer", facts / len(answered), "share", n=len(answered),
        target=0.90 if aims else None,
    )  # fmt: skip
    figures.add(f"{engine}.forbidden_shown", leaks, "count", n=len(records), target=0, at_most=True)
    for decision in ("ANSWERED", "REFUSED", "NOT_FOUND"):
        some = [one for one in records if one["expected"] == decision]
        share = sum(one["right"] for one in some) / max(len(some), 1)
        figures.add(f"{engine}.{decision.lower()}_right", share, "share", n=len(some))
    seconds = sorted(one["seconds"] for one in records)
    figures.add(f"{engine}.median_seconds", seconds[len(seconds) // 2], "s", n=len(records))
    return leaks


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=["extractive", "small", "none"], default="extractive")
    parser.add_argument("--split", choices=["dev", "test"], default="test")
    parser.add_argument("--limit", type=int, help="ask only the first so many")
    chosen = parser.parse_args()
    sabotaged = guard_removed()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with sabotage(bool(sabotaged)):
        records = asyncio.run(run(chosen.engine, chosen.split, chosen.limit))
    name = "demo_answers.sabotaged" if sabotaged else "demo_answers"
    figures = Figures("eval", name)
    leaks = report(records, chosen.engine, figures)
    file = ROOT / "var" / "eval" / f"{name}.{chosen.engine}.report.jsonl"
    file.write_text(
        "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in records), encoding="utf-8"
    )
    print(f"One record a question: {file.relative_to(ROOT)}")
    return exit_code(figures, sabotaged, found=leaks)


if __name__ == "__main__":
    raise SystemExit(main())
