"""``atrium knowledge bad-cases`` and ``keep-questions``: what was answered badly."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from google.protobuf.field_mask_pb2 import FieldMask

from atrium.knowledge.v1 import evaluation_service_pb2, knowledge_service_pb2
from atrium_suite.cli.calls import (
    DEFAULT_TARGET,
    AsJson,
    AsUser,
    Key,
    OptionInvalid,
    Target,
    all_pages,
    collection_name,
    connect,
    run,
)
from atrium_suite.terminal.answers import DECISIONS
from atrium_suite.terminal.output import make_console, print_json, print_rows

BadCase = evaluation_service_pb2.BadCase
_REASONS = {
    BadCase.NOT_HELPFUL: "did not help 无帮助",
    BadCase.REFUSAL_DISPUTED: "refusal disputed 对拒答有异议",
    BadCase.NOTHING_FOUND: "nothing found 未找到",
    BadCase.REGRESSION: "answered otherwise 与上次不同",
}
CollectionId = Annotated[str, typer.Argument(metavar="COLLECTION", help="Such as handbook.")]


def bad_cases(
    collection: CollectionId,
    export: Annotated[
        Path | None,
        typer.Option(help="Write those in words, as JSON Lines that `evaluate` takes."),
    ] = None,
    role: Annotated[
        str, typer.Option(help="With --export: ask for this role, and name nobody who asked.")
    ] = "",
    target: Target = DEFAULT_TARGET,
    key: Key = "",
    as_user: AsUser = None,
    as_json: AsJson = False,
) -> None:
    """List answers that did not help or are others than in an earlier run, or export them."""

    async def work() -> None:
        if role and export is None:
            raise OptionInvalid("--role is for --export.")
        async with connect(target, key, as_user) as client:
            parent = collection_name(collection)
            if export is None:
                found: list[BadCase] = await all_pages(
                    client.evaluations.ListBadCases,
                    evaluation_service_pb2.ListBadCasesRequest(parent=parent),
                    "bad_cases",
                )
                if as_json:
                    print_json(found)
                else:
                    _print_cases(found)
                return
            summary = evaluation_service_pb2.ExportBadCasesResponse.Summary()
            # Whole or not at all.
            unfinished = export.with_name(f"{export.name}.part")
            named = f"roles/{role.removeprefix('roles/')}" if role else ""
            request = evaluation_service_pb2.ExportBadCasesRequest(parent=parent, role=named)
            try:
                with unfinished.open("wb") as lines:
                    async for part in client.evaluations.ExportBadCases(request):
                        lines.write(part.chunk)
                        if part.HasField("summary"):
                            summary = part.summary
                unfinished.replace(export)
            finally:
                unfinished.unlink(missing_ok=True)
        if as_json:
            print_json(summary)
        else:
            _print_summary(summary, export)

    run(work())


def keep_questions(
    collection: CollectionId,
    off: Annotated[
        bool, typer.Option("--off", help="Keep none, and remove those that were kept.")
    ] = False,
    target: Target = DEFAULT_TARGET,
    key: Key = "",
) -> None:
    """Keep the words of questions that were answered badly; they may be personal."""

    async def work() -> None:
        async with connect(target, key) as client:
            wanted = await client.knowledge.GetCollection(
                knowledge_service_pb2.GetCollectionRequest(name=collection_name(collection))
            )
            wanted.keep_questions = not off
            changed = await client.knowledge.UpdateCollection(
                knowledge_service_pb2.UpdateCollectionRequest(
                    collection=wanted, update_mask=FieldMask(paths=["keep_questions"])
                )
            )
        kept = "Questions that are answered badly are kept from now on."
        gone = "No words of questions are kept; those that were are removed."
        make_console().print(kept if changed.keep_questions else gone)

    run(work())


def _print_cases(found: list[BadCase]) -> None:
    rows = []
    for each in found:
        where = each.feedback
        decision = DECISIONS[each.decision][1]
        if each.HasField("regression"):
            two = each.regression
            where = f"{two.question_set}, question {two.number}: {two.baseline} → {two.run}"
            decision = f"{DECISIONS[two.baseline_decision][1]} → {decision}"
        rows.append(
            (
                each.create_time.ToDatetime().strftime("%Y-%m-%d %H:%M"),
                _REASONS[each.reason],
                decision,
                "\n".join(each.passages),
                where,
            )
        )
    print_rows(
        ("time", "reason", "decision", "cited", "where"), rows, empty="There are no bad cases."
    )


def _print_summary(
    summary: evaluation_service_pb2.ExportBadCasesResponse.Summary, file: Path
) -> None:
    console = make_console()
    console.print(f"Wrote {summary.exported} questions to {file}.", markup=False)
    for count, why in (
        (summary.duplicates, "asked the same"),
        (summary.without_words, "left out: their words are not kept"),
        (summary.withheld, "left out: the answer or the asker is not for you to see"),
    ):
        if count:
            console.print(f"{count} {why}.", markup=False)
