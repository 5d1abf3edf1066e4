"""``atrium knowledge sync``: keep a collection in step with a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from atrium.knowledge.v1 import sync_pb2
from atrium_client import AtriumClient
from atrium_suite.cli.calls import (
    DEFAULT_TARGET,
    AsJson,
    AsUser,
    Key,
    OptionInvalid,
    Target,
    collection_name,
    connect,
    run,
)
from atrium_suite.terminal.folders import FolderFile, FolderSync, read_folder, sync_folder
from atrium_suite.terminal.output import make_console, plain, print_json, print_rows, to_dict


def sync(
    folder: Annotated[Path, typer.Argument(help="Its files become the documents of the source.")],
    collection: Annotated[str, typer.Option(help="Such as handbook.")],
    source: Annotated[str, typer.Option(help="Name of the source, such as wiki.")],
    labels: Annotated[
        Path | None,
        typer.Option(
            help='YAML: patterns to labels, such as "hr/*": \\[hr/pay]. The first counts.'
        ),
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep documents whose files are gone.")
    ] = False,
    allow_empty: Annotated[
        bool, typer.Option("--allow-empty", help="An empty folder removes every document.")
    ] = False,
    target: Target = DEFAULT_TARGET,
    key: Key = "",
    as_user: AsUser = None,
    as_json: AsJson = False,
) -> None:
    """Bring a collection in step with a folder. Exit 1 when a file failed."""

    async def work() -> None:
        if not folder.is_dir():
            raise OptionInvalid(f"{folder} is no folder.")
        files = read_folder(folder, _read_labels(labels))
        name = f"{collection_name(collection)}/sources/{source}"
        async with connect(target, key, as_user) as client:
            reply, sent, report = await _run(
                client, name, files, keep=keep, allow_empty=allow_empty, quiet=as_json
            )
        problems = [*reply.problems, *report.problems]
        if as_json:
            print_json({**to_dict(report), "problems": [to_dict(each) for each in problems]})
        else:
            _print_end(report, problems, sent, reply)
        if problems or sent.unreadable:
            raise typer.Exit(1)

    run(work())


async def _run(
    client: AtriumClient,
    source: str,
    files: list[FolderFile],
    *,
    keep: bool,
    allow_empty: bool,
    quiet: bool,
) -> tuple[sync_pb2.SyncDocumentsResponse, FolderSync, sync_pb2.SyncReport]:
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
        sending = progress.add_task("sending 发送", total=len(files))
        reply, sent = await sync_folder(
            client,
            source,
            files,
            keep=keep,
            allow_empty=allow_empty,
            on_change=lambda now: progress.update(sending, completed=now.done),
        )
        changed = reply.counts.created + reply.counts.updated
        taking_in = progress.add_task("taking in 处理", total=changed)

        def show(metadata: sync_pb2.SyncDocumentsMetadata) -> None:
            progress.update(taking_in, completed=max(0, changed - metadata.processing))

        report = await client.wait(
            reply.operation,
            sync_pb2.SyncReport,
            progress=sync_pb2.SyncDocumentsMetadata,
            on_progress=show,
        )
    return reply, sent, report


def _print_end(
    report: sync_pb2.SyncReport,
    problems: list[sync_pb2.SyncProblem],
    sent: FolderSync,
    reply: sync_pb2.SyncDocumentsResponse,
) -> None:
    console = make_console()
    counts = report.counts
    if sent.skipped:
        console.print(f"Went on with the run that broke, after {sent.skipped} files.")
    console.print(
        f"{counts.created} new, {counts.updated} updated, {counts.labelled} labelled, "
        f"{counts.unchanged} unchanged, {counts.removed} removed, {len(problems)} failed."
    )
    for warning in reply.warnings:
        console.print(plain(f"{warning.reason}: {warning.message}", "yellow"))
    if problems:
        print_rows(
            ("file", "reason", ""),
            [(each.item, each.reason, each.message) for each in problems],
            empty="",
        )
    if sent.unreadable:
        console.print(
            plain(f"Not readable, so nothing was removed: {', '.join(sent.unreadable)}", "red")
        )


def _read_labels(file: Path | None) -> dict[str, Any] | None:
    if file is None:
        return None
    try:
        given = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise OptionInvalid(f"{file} is no YAML ({error}).") from error
    if not isinstance(given, dict) or not all(isinstance(each, str) for each in given):
        raise OptionInvalid(f'{file} is no list of patterns with labels, such as "hr/*": [hr/pay].')
    return given
