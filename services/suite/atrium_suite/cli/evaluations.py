"""``atrium knowledge evaluate``: are answers right, for each role?"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from atrium.knowledge.v1 import evaluation_service_pb2
from atrium_client import AtriumClient
from atrium_suite.cli.calls import (
    DEFAULT_TARGET,
    AsJson,
    AsUser,
    Key,
    Target,
    collection_name,
    connect,
    run,
)
from atrium_suite.terminal.answers import DECISIONS
from atrium_suite.terminal.output import make_console, print_json, print_rows

Result = evaluation_service_pb2.EvaluationResult


def evaluate(
    file: Annotated[Path, typer.Argument(help="JSON lines, each a question and what to expect.")],
    collection: Annotated[str, typer.Option(help="Such as handbook.", metavar="COLLECTION")],
    baseline: Annotated[
        str, typer.Option(help="An earlier run to compare with, as this command prints it.")
    ] = "",
    target: Target = DEFAULT_TARGET,
    key: Key = "",
    as_user: AsUser = None,
    as_json: AsJson = False,
) -> None:
    """Ask a set of questions as its users and roles. Exit 1 when something was not as expected."""

    async def work() -> None:
        data = await asyncio.to_thread(file.read_bytes)
        async with connect(target, key, as_user) as client:
            name = collection_name(collection)
            questions = await client.import_questions(name, data, display_name=file.name)
            done = await _run(client, questions, baseline, quiet=as_json)
        if as_json:
            print_json(done)
        else:
            _print_run(done, questions)
        if any(map(_went_wrong, done.results)):
            raise typer.Exit(1)

    run(work())


async def _run(
    client: AtriumClient,
    questions: evaluation_service_pb2.QuestionSet,
    baseline: str,
    *,
    quiet: bool,
) -> evaluation_service_pb2.EvaluationRun:
    operation = await client.evaluations.RunEvaluation(
        evaluation_service_pb2.RunEvaluationRequest(question_set=questions.name, baseline=baseline)
    )
    console = make_console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=quiet or not console.is_terminal,
    ) as progress:
        task = progress.add_task("asking", total=questions.case_count)

        def show(so_far: evaluation_service_pb2.RunEvaluationMetadata) -> None:
            progress.update(task, completed=so_far.cases_done)

        ended = await client.wait(
            operation,
            evaluation_service_pb2.EvaluationRun,
            progress=evaluation_service_pb2.RunEvaluationMetadata,
            on_progress=show,
        )
    return await client.evaluations.GetEvaluationRun(
        evaluation_service_pb2.GetEvaluationRunRequest(name=ended.name)
    )


def _print_run(
    done: evaluation_service_pb2.EvaluationRun, questions: evaluation_service_pb2.QuestionSet
) -> None:
    print_rows(
        (
            "role",
            "questions",
            "decided",
            "facts",
            "cited",
            "forbidden",
            "failed",
            "median",
            "p95",
            "satisfied",
        ),
        [
            (
                each.role,
                str(each.cases),
                _share(each.decisions_right, each.decisions_judged),
                _share(each.facts_right, each.facts_judged),
                _share(each.citations_right, each.citations_judged),
                Text(str(each.forbidden_shown), "red" if each.forbidden_shown else ""),
                Text(str(each.errors), "red" if each.errors else ""),
                f"{each.latency_median_seconds:.2f} s",
                f"{each.latency_p95_seconds:.2f} s",
                _share(each.feedback_helpful, each.feedback_total),
            )
            for each in done.roles
        ],
        empty="Nothing was asked.",
    )
    console = make_console()
    listed = [each for each in done.results if _went_wrong(each) or each.changed]
    if listed:
        console.print()
        print_rows(
            ("line", "role", "question", "decision", "not as expected"),
            [
                (
                    str(each.number),
                    each.role,
                    questions.cases[each.number - 1].question,
                    DECISIONS[each.decision][1],
                    Text(", ".join(_problems(each)), "yellow"),
                )
                for each in listed
            ],
            empty="",
        )
    console.print(f"\n{done.name}", markup=False)


def _went_wrong(result: Result) -> bool:
    verdicts = (result.decision_verdict, result.fact_verdict, result.citation_verdict)
    return Result.WRONG in verdicts or bool(result.forbidden_shown or result.error_reason)


def _problems(result: Result) -> list[str]:
    verdicts = {
        "decision": result.decision_verdict,
        "facts": result.fact_verdict,
        "citation": result.citation_verdict,
    }
    problems = [name for name, verdict in verdicts.items() if verdict == Result.WRONG]
    problems += [f"forbidden phrase {number} shown" for number in result.forbidden_shown]
    problems += [result.error_reason] if result.error_reason else []
    return [*problems, "changed"] if result.changed else problems


def _share(right: int, judged: int) -> str:
    return f"{right}/{judged}" if judged else "-"
