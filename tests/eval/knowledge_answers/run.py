"""Ask public question sets of the whole suite: what is found, what is answered, what is not known.

`make eval EVAL=knowledge_answers ARGS="--engine extractive"`. Engines: `extractive` quotes, with
the encoder; `small` writes with the small model, checked; `keywords` runs without any model and is
what the others are compared with. The sets lie in ATRIUM_DATA_DIR; where it is absent nothing is
measured. Each set becomes a collection:

* `cmrc` (CMRC 2018 trial, CC BY-SA 4.0, Cui et al.) and `drcd` (DRCD dev, CC BY-SA 3.0, Delta
  Research Center): Chinese paragraphs. Passages are looked for over all articles, answers only
  asked of articles that no shipped model learned from. Half of those then leave, and their
  questions have no answer any more.
* `rgb` (RGB refined, CC BY-NC-SA 4.0, Chen et al.; nothing of it is kept but figures): first the
  positive and negative passages of all questions together, then the negative ones alone.
* `handbook` (deep-rag-benchmark, Apache-2.0): an English handbook, questions on a single text.
* `cross`: questions on the Chinese sets in English and on the handbook in Chinese, put by hand
  (`data/translations.jsonl`).

The baseline of a recall is the keyword leg of the same search, which is the search without an
encoder. It holds the product's own Chinese-English word list, so it crosses languages too. How a
passage and a reply are judged stands in `judging.py`. A question counts as unanswerable when no
paragraph that is left mentions its answer; how many are left out for that is told.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import structlog

from atrium.knowledge.v1 import knowledge_pb2, knowledge_service_pb2
from atrium_client import AtriumCallError, AtriumClient, readable_errors
from atrium_suite.terminal.uploads import FileToAdd, add_files
from tests.figures import ROOT, Figures
from tests.suites import open_suite, wait_for_models

from .judging import holds_fact, is_right_passage
from .sets import Library, Question, load_handbook, load_rgb, load_squad

DATA = Path(__file__).parent / "data"
SETS = ("cmrc", "drcd", "rgb", "handbook", "cross")
CROSSED = ("cmrc", "drcd", "handbook")
DEPTHS = (1, 5, 10)
_FOUND_AT_MOST = 100
"""Both legs of a search together, so that a keyword rank is seen wherever its passage ends up."""
_PROGRESS_EVERY = 25
_MODE = knowledge_service_pb2.AskRequest.Mode
_DECISION = knowledge_pb2.Answer.Decision


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Attributes:
        engine: `extractive`, `small` or `keywords`.
        sets: Which sets, of `SETS`.
        size: Questions of each kind and set.
        seed: Chooses them.
        paragraphs: Fill each collection with about so many only. Figures then have no target.
    """

    engine: str
    sets: Sequence[str] = SETS
    size: int = 150
    seed: int = 1
    paragraphs: int | None = None


def load(name: str, folder: Path, paragraphs: int | None = None) -> Library:
    """Read a set.

    Raises:
        OSError: It is not there.
    """
    match name:
        case "cmrc":
            return load_squad(folder / "cmrc2018_trial.json.gz", name, paragraphs)
        case "drcd":
            return load_squad(folder / "drcd_dev.json.gz", name, paragraphs)
        case "rgb":
            return load_rgb(folder / "rgb_zh_refine.jsonl.gz", paragraphs)
        case _:
            questions = folder / "handbook_single_text_questions.jsonl.gz"
            return load_handbook(folder / "handbook" / "handbook", questions, paragraphs)


def load_translations(file: Path) -> dict[tuple[str, str], str]:
    """Return the questions put in the other language, by set and id."""
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return {(one["set"], one["question"]): one["translation"] for one in lines}


class Measurement:
    """Fills collections of a running suite, asks, and adds figures.

    Args:
        client: Administers the tenant, uploads and asks.
        plan: What to measure.
        figures: Where figures go.
        folder: For the files to upload.
    """

    def __init__(self, client: AtriumClient, plan: Plan, figures: Figures, folder: Path) -> None:
        self._client, self._plan, self._figures = client, plan, figures
        self._folder = folder
        self.records: list[dict[str, Any]] = []

    async def measure(self, library: Library, translations: dict[tuple[str, str], str]) -> None:
        """Fill a collection, ask everything that the plan wants of it, and add the figures."""
        own = library.name in self._plan.sets
        await self._fill(library)
        if own and library.recall_target is not None:
            asked = self._sample(library.questions, f"{library.name}.search")
            await self._find(library, library.name, asked, library.recall_target)
        if "cross" in self._plan.sets and library.name in CROSSED:
            asked = self._sample(
                [
                    replace(one, text=translations[library.name, one.id])
                    for one in library.questions
                    if (library.name, one.id) in translations
                ],
                f"{library.name}.cross",
            )
            await self._find(library, f"cross.{library.name}", asked, None)
        if own:
            await self._answer(library)

    async def _fill(self, library: Library) -> None:
        begun = time.monotonic()
        request = knowledge_service_pb2.CreateCollectionRequest(
            collection_id=library.name,
            collection=knowledge_pb2.Collection(display_name=library.name),
        )
        with readable_errors():
            await self._client.knowledge.CreateCollection(request)
        folder = self._folder / library.name
        folder.mkdir()
        files = []
        for name, text in {**library.staying, **library.leaving}.items():
            path = folder / name
            path.write_text(text, encoding="utf-8")
            files.append(FileToAdd(path, path.stem, title=library.title))
        for added in await add_files(self._client, f"collections/{library.name}", files):
            if added.reason == "DOCUMENT_HAS_NO_TEXT":
                _tell(f"{added.file.path.name} holds nothing but a title and is left out")
            elif added.error is not None:
                raise SystemExit(f"{added.file.path.name} was not added: {added.message}")
        _tell(f"{library.name}: {len(files)} files in {time.monotonic() - begun:.0f} s")

    async def _leave(self, library: Library) -> None:
        for name in library.leaving:
            document = f"collections/{library.name}/documents/{Path(name).stem}"
            with readable_errors():
                await self._client.knowledge.DeleteDocument(
                    knowledge_service_pb2.DeleteDocumentRequest(name=document)
                )

    async def _find(
        self, library: Library, name: str, asked: Sequence[Question], target: float | None
    ) -> None:
        """Search for each question; add how often the right passage is among the first."""
        if not asked:
            return
        ranks: list[tuple[int | None, int | None]] = []
        for number, question in enumerate(asked, 1):
            request = knowledge_service_pb2.SearchRequest(
                parent=f"collections/{library.name}",
                query=question.text,
                page_size=_FOUND_AT_MOST,
            )
            with readable_errors():
                found = (await self._client.knowledge.Search(request)).results
            right = [
                (place, result.keyword_rank)
                for place, result in enumerate(found, 1)
                if is_right_passage(result.passage.text, question)
            ]
            rank = min((place for place, _ in right), default=None)
            by_keywords = min((place for _, place in right if place), default=None)
            ranks.append((rank, by_keywords))
            self._record(
                library, question, kind=f"{name}.search", rank=rank, keyword_rank=by_keywords
            )
            _tell_progress(f"{name}, searching", number, len(asked))
        keywords_only = self._plan.engine == "keywords"
        for depth in DEPTHS:
            self._figures.add(
                f"{self._plan.engine}.{name}.recall_at_{depth}",
                _share([rank is not None and rank <= depth for rank, _ in ranks]),
                "share",
                n=len(ranks),
                target=self._target(target) if depth == 5 else None,
                baseline=None
                if keywords_only
                else _share([place is not None and place <= depth for _, place in ranks]),
            )

    async def _answer(self, library: Library) -> None:
        """Ask what can be answered, then, without the documents that leave, what cannot."""
        engine, name = self._plan.engine, library.name
        held_out = [one for one in library.questions if one.held_out]
        asked = self._sample(held_out, f"{name}.answer")
        answered = [
            await self._ask(library, question, "answer", number, len(asked))
            for number, question in enumerate(asked, 1)
        ]
        await self._leave(library)
        # Minutes of comparing texts: beside the loop, which serves the suite meanwhile.
        possible, left_out = await asyncio.to_thread(library.unanswerable)
        asked = self._sample(possible, f"{name}.absent")
        absent = [
            await self._ask(library, question, "absent", number, len(asked))
            for number, question in enumerate(asked, 1)
        ]
        if answered:
            self._add(f"{name}.fact_in_answer", [one["fact"] for one in answered])
            self._add(
                f"{name}.answerable_not_found",
                [one["decision"] == "NOT_FOUND" for one in answered],
            )
            degraded = [bool(one["degraded"]) for one in answered]
            if any(degraded):
                self._add(f"{name}.answers_degraded", degraded)
        if absent:
            told = [one["decision"] == "NOT_FOUND" for one in absent]
            self._add(f"{name}.unanswerable_told", told, library.absence_target)
        if library.leaving:
            total = sum(one.leaves for one in library.questions)
            self._figures.add(
                f"{engine}.{name}.unanswerable_left_out", left_out, "questions", n=total
            )
        seconds = sorted(one["seconds"] for one in [*answered, *absent])
        if seconds:
            p95 = seconds[min(len(seconds) - 1, int(len(seconds) * 0.95))]
            for figure, value in (("median", statistics.median(seconds)), ("p95", p95)):
                self._figures.add(f"{engine}.{name}.{figure}_seconds", value, "s", n=len(seconds))

    async def _ask(
        self, library: Library, question: Question, kind: str, number: int, total: int
    ) -> dict[str, Any]:
        mode = _MODE.MODE_UNSPECIFIED if self._plan.engine == "small" else _MODE.EXTRACTIVE
        answer = knowledge_pb2.Answer()
        error = ""
        begun = time.monotonic()
        try:
            async for event in self._client.ask(
                f"collections/{library.name}", question.text, mode=mode
            ):
                if event.HasField("answer"):
                    answer = event.answer
        except AtriumCallError as refused:
            # One call that fails is a wrong answer, not the end of an hour's run.
            error = str(refused)
        seconds = time.monotonic() - begun
        decision = _DECISION.Name(answer.decision)
        reply = {} if library.measured_only else {"asked": question.text, "text": answer.text}
        record = self._record(
            library,
            question,
            kind=f"{library.name}.{kind}",
            decision=decision,
            fact=decision == "ANSWERED" and holds_fact(answer.text, question),
            engine=f"{answer.engine.kind} {answer.engine.model}".strip(),
            degraded=answer.engine.degraded_reason,
            error=error,
            seconds=round(seconds, 3),
            **reply,
        )
        _tell_progress(f"{library.name}, {kind}", number, total)
        return record

    def _record(self, library: Library, question: Question, **said: Any) -> dict[str, Any]:
        self.records.append({"set": library.name, "id": question.id, **said})
        return self.records[-1]

    def _sample(self, questions: Sequence[Question], purpose: str) -> list[Question]:
        chance = random.Random(f"{self._plan.seed} {purpose}")
        return chance.sample(questions, min(self._plan.size, len(questions)))

    def _target(self, target: float | None) -> float | None:
        # Neither a part of a set nor the baseline itself has anything to reach.
        partly = self._plan.paragraphs is not None or self._plan.engine == "keywords"
        return None if partly else target

    def _add(self, name: str, right: Sequence[bool], target: float | None = None) -> None:
        self._figures.add(
            f"{self._plan.engine}.{name}", _share(right), "share", n=len(right),
            target=self._target(target),
        )  # fmt: skip


async def run(
    plan: Plan, data: Path, translations: dict[tuple[str, str], str], figures: Figures
) -> list[dict[str, Any]]:
    """Start a suite, measure set by set; return one record a question.

    Args:
        plan: What to measure.
        data: Folder of the sets.
        translations: Questions in the other language, by set and id.
        figures: Where figures go.
    """
    wanted = [
        name
        for name in SETS[:-1]
        if name in plan.sets or ("cross" in plan.sets and name in CROSSED)
    ]
    with tempfile.TemporaryDirectory() as folder:
        models = "none" if plan.engine == "keywords" else "small"
        async with open_suite(Path(folder) / "state", models) as suite:
            await wait_for_models(suite)
            key = await suite.bootstrap_tenant("knowledge-answers")
            async with AtriumClient(key, target=suite.address) as client:
                measurement = Measurement(client, plan, figures, Path(folder))
                for name in wanted:
                    try:
                        library = load(name, data, plan.paragraphs)
                    except OSError as error:
                        print(f"Skipped {name}: {error.filename} is not there.")
                        continue
                    await measurement.measure(library, translations)
                return measurement.records


def _share(right: Sequence[bool]) -> float:
    return sum(right) / len(right)


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _tell_progress(what: str, number: int, total: int) -> None:
    if number % _PROGRESS_EVERY == 0 or number == total:
        _tell(f"{what}: {number} of {total}")


def _sets(text: str) -> list[str]:
    names = text.split(",")
    if unknown := sorted(set(names) - set(SETS)):
        raise argparse.ArgumentTypeError(
            f"unknown: {', '.join(unknown)}. Choose from {', '.join(SETS)}"
        )
    return names


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 on, not {text!r}")
    return int(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        prog="make eval EVAL=knowledge_answers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--engine", choices=["extractive", "small", "keywords"], default="extractive"
    )
    parser.add_argument("--size", type=_count, default=150, help="questions of each kind and set")
    parser.add_argument("--sets", type=_sets, default=list(SETS), help="separated by commas")
    parser.add_argument("--seed", type=int, default=1, help="chooses the questions")
    parser.add_argument(
        "--paragraphs", type=_count, help="to try it: of each set about so many, without targets"
    )
    chosen = parser.parse_args(arguments)
    data = Path(os.environ.get("ATRIUM_DATA_DIR") or ROOT.parent / "shared" / "data") / "knowledge"
    if not data.is_dir():
        print(f"Skipped: there is no {data}. Set ATRIUM_DATA_DIR to the folder of the public sets.")
        return 0
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    plan = Plan(chosen.engine, chosen.sets, chosen.size, chosen.seed, chosen.paragraphs)
    figures = Figures("eval", "knowledge_answers")
    translations = load_translations(DATA / "translations.jsonl")
    records = asyncio.run(run(plan, data, translations, figures))
    file = ROOT / "var" / "eval" / f"knowledge_answers.{plan.engine}.report.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(
        "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in records), encoding="utf-8"
    )
    print(f"One record a question: {file.relative_to(ROOT)}")
    return 1 if figures.missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
