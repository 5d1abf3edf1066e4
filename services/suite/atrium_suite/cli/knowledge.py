"""``atrium knowledge``: collections, documents, questions."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from google.protobuf.json_format import ParseDict, ParseError
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from atrium.knowledge.v1 import knowledge_pb2, knowledge_service_pb2
from atrium_client import AtriumClient
from atrium_suite.cli.bad_cases import bad_cases, keep_questions
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
from atrium_suite.cli.evaluations import evaluate
from atrium_suite.terminal.answers import DECISIONS, engine_in_words, place_of, tokens_in_words
from atrium_suite.terminal.output import (
    make_console,
    megabytes,
    plain,
    print_json,
    print_rows,
    printable,
    to_dict,
)
from atrium_suite.terminal.uploads import (
    FileAdded,
    FileToAdd,
    add_files,
    document_id_for,
    find_files,
)

app = typer.Typer(no_args_is_help=True, help="Collections of documents, and questions over them.")


CollectionId = Annotated[str, typer.Argument(metavar="COLLECTION", help="Such as handbook.")]
DocumentId = Annotated[str, typer.Argument(metavar="DOCUMENT", help="As `list` shows it.")]
Labels = Annotated[
    list[str] | None,
    typer.Option(
        "--label",
        help="Who reads it holds one of the labels; repeatable. None: everyone; a document that is "
        "there already keeps its own.",
        metavar="LABEL",
    ),
]
SectionLabels = Annotated[
    list[str] | None,
    typer.Option(
        "--section", help="Label that a section needs besides; repeatable.",
        metavar="HEADING=LABEL",
    ),
]  # fmt: skip
_MODES = {
    "auto": knowledge_service_pb2.AskRequest.MODE_UNSPECIFIED,
    "extractive": knowledge_service_pb2.AskRequest.EXTRACTIVE,
    "generative": knowledge_service_pb2.AskRequest.GENERATIVE,
}


@app.command()
def create(
    collection: CollectionId,
    name: Annotated[str, typer.Option(help="Name for people. Empty: the id.")] = "",
    topics: Annotated[
        Path | None, typer.Option(help="YAML list of restricted topics, as the API has them.")
    ] = None,
    questions: Annotated[
        bool,
        typer.Option(
            "--keep-questions", help="Keep the words of questions that are answered badly."
        ),
    ] = False,
    target: Target = DEFAULT_TARGET,
    key: Key = "",
    as_json: AsJson = False,
) -> None:
    """Make a collection."""

    async def work() -> None:
        wanted = knowledge_pb2.Collection(
            display_name=name or collection,
            restricted_topics=_read_topics(topics),
            keep_questions=questions,
        )
        async with connect(target, key) as client:
            made = await client.knowledge.CreateCollection(
                knowledge_service_pb2.CreateCollectionRequest(
                    collection_id=collection, collection=wanted
                )
            )
        if as_json:
            print_json(made)
        else:
            make_console().print(f"Made {made.name}.")

    run(work())


@app.command()
def add(
    collection: CollectionId,
    paths: Annotated[list[Path], typer.Argument(help="Files and folders.")],
    labels: Labels = None,
    sections: SectionLabels = None,
    title: Annotated[str, typer.Option(help="Title, for a single file.")] = "",
    document_id: Annotated[str, typer.Option("--id", help="Id, for a single file.")] = "",
    target: Target = DEFAULT_TARGET,
    key: Key = "",
    as_user: AsUser = None,
    as_json: AsJson = False,
) -> None:
    """Upload files; a file that was added before becomes a new version. Exit 1 when one failed."""

    async def work() -> None:
        found = list(dict.fromkeys(find_files(paths)))
        if not found:
            raise OptionInvalid("The folders hold no files. Name a folder with documents in it.")
        if (title or document_id) and len(found) > 1:
            raise OptionInvalid(f"--title and --id are for one file; here are {len(found)}.")
        files = [
            FileToAdd(
                path,
                document_id or document_id_for(path),
                title=title,
                labels=labels or (),
                section_labels=_sections(sections),
            )
            for path in found
        ]
        async with connect(target, key, as_user) as client:
            added = await _add_with_progress(client, _name_of(collection), files, quiet=as_json)
        if as_json:
            print_json({"files": [_added_as_json(each) for each in added]})
        else:
            _print_added(added)
        if any(each.error is not None for each in added):
            raise typer.Exit(1)

    run(work())


@app.command(name="list")
def list_(
    collection: Annotated[
        str, typer.Argument(help="List its documents. Empty: list the collections.")
    ] = "",
    target: Target = DEFAULT_TARGET,
    key: Key = "",
    as_user: AsUser = None,
    as_json: AsJson = False,
) -> None:
    """List collections, or the documents of one."""

    async def work() -> None:
        async with connect(target, key, as_user) as client:
            if collection:
                documents: list[knowledge_pb2.Document] = await all_pages(
                    client.knowledge.ListDocuments,
                    knowledge_service_pb2.ListDocumentsRequest(parent=_name_of(collection)),
                    "documents",
                )
                if as_json:
                    print_json(documents)
                else:
                    _print_documents(documents)
            else:
                collections: list[knowledge_pb2.Collection] = await all_pages(
                    client.knowledge.ListCollections,
                    knowledge_service_pb2.ListCollectionsRequest(),
                    "collections",
                )
                if as_json:
                    print_json(collections)
                else:
                    print_rows(
                        ("collection", "name", "restricted topics"),
                        [
                            (
                                each.name.removeprefix("collections/"),
                                each.display_name,
                                ", ".join(topic.id for topic in each.restricted_topics),
                            )
                            for each in collections
                        ],
                        empty="There are no collections. Make one: atrium knowledge create ID",
                    )

    run(work())


@app.command()
def delete(
    collection: CollectionId,
    document: Annotated[
        str, typer.Argument(help="Delete this document. Empty: the whole collection.")
    ] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    target: Target = DEFAULT_TARGET,
    key: Key = "",
    as_user: AsUser = None,
) -> None:
    """Delete a document, or a collection with all its documents."""
    what = f"document {document}" if document else f"collection {collection} with all documents"
    if not yes:
        typer.confirm(f"Delete {what} for good?", abort=True)

    async def work() -> None:
        name = _name_of(collection, document)
        async with connect(target, key, as_user) as client:
            if document:
                await client.knowledge.DeleteDocument(
                    knowledge_service_pb2.DeleteDocumentRequest(name=name)
                )
            else:
                await client.knowledge.DeleteCollection(
                    knowledge_service_pb2.DeleteCollectionRequest(name=name)
                )
        make_console().print(f"Deleted {what}.", markup=False)

    run(work())


@app.command()
def label(
    collection: CollectionId,
    document: DocumentId,
    labels: Labels = None,
    sections: SectionLabels = None,
    target: Target = DEFAULT_TARGET,
    key: Key = "",
    as_user: AsUser = None,
    as_json: AsJson = False,
) -> None:
    """Replace the labels of a document and of its sections. Without --label everyone reads it."""

    async def work() -> None:
        async with connect(target, key, as_user) as client:
            changed = await client.knowledge.SetDocumentLabels(
                knowledge_service_pb2.SetDocumentLabelsRequest(
                    name=_name_of(collection, document),
                    labels=labels or (),
                    section_labels=[
                        knowledge_pb2.SectionLabels(heading=heading, labels=needed)
                        for heading, needed in _sections(sections).items()
                    ],
                )
            )
        if as_json:
            print_json(changed)
        else:
            _print_documents([changed])

    run(work())


@app.command()
def search(
    collection: CollectionId,
    query: Annotated[str, typer.Argument(help="Words or a question.")],
    limit: Annotated[int, typer.Option(min=1, max=100, help="Most passages.")] = 10,
    target: Target = DEFAULT_TARGET,
    key: Key = "",
    as_user: AsUser = None,
    as_json: AsJson = False,
) -> None:
    """Find the passages that answer best, of those that the asker may read."""

    async def work() -> None:
        async with connect(target, key, as_user) as client:
            found = await client.knowledge.Search(
                knowledge_service_pb2.SearchRequest(
                    parent=_name_of(collection), query=query, page_size=limit
                )
            )
        if as_json:
            print_json(found)
            return
        console = make_console()
        for number, result in enumerate(found.results, start=1):
            legs = [
                f"{leg} {rank}"
                for leg, rank in (
                    ("keywords", result.keyword_rank),
                    ("vectors", result.vector_rank),
                )
                if rank
            ]
            console.print(
                Text.assemble(
                    (f"[{number}] ", "bold"),
                    plain(place_of(result.passage), "bold"),
                    (f"  {', '.join(legs)}", "dim"),
                )
            )
            console.print(plain(result.passage.text.strip()), soft_wrap=not console.is_terminal)
            console.print()
        if not found.results:
            console.print("未找到 Nothing found.")

    run(work())


@app.command()
def ask(
    collection: CollectionId,
    question: Annotated[str, typer.Argument(help="In Chinese or English.")],
    mode: Annotated[
        str, typer.Option(help="auto, extractive (word for word) or generative.", metavar="MODE")
    ] = "auto",
    language: Annotated[
        str, typer.Option(help="Language of the answer, zh or en. Empty: the question's.")
    ] = "",
    target: Target = DEFAULT_TARGET,
    key: Key = "",
    as_user: AsUser = None,
    as_json: AsJson = False,
) -> None:
    """Ask a question; the answer cites its sources."""

    async def work() -> None:
        if mode not in _MODES:
            raise OptionInvalid(f"--mode is one of {', '.join(_MODES)}; given was {mode!r}.")
        begun = time.monotonic()
        answer = knowledge_pb2.Answer()
        written = ""
        async with connect(target, key, as_user) as client:
            async for event in client.ask(
                _name_of(collection), question, mode=_MODES[mode], language=language
            ):
                if event.HasField("answer"):
                    answer = event.answer
                elif event.delta and not as_json:
                    sys.stdout.write(printable(event.delta))
                    sys.stdout.flush()
                    written += event.delta
        if as_json:
            print_json({**to_dict(answer), "seconds": round(time.monotonic() - begun, 3)})
        else:
            _print_end(answer, written, time.monotonic() - begun)

    run(work())


app.command()(evaluate)
app.command()(bad_cases)
app.command()(keep_questions)


def _print_end(answer: knowledge_pb2.Answer, written: str, seconds: float) -> None:
    console = make_console()
    if written:
        console.print()
    if written.strip() != answer.text.strip():
        console.print(plain(answer.text), soft_wrap=not console.is_terminal)
    console.print()
    _, words, colour = DECISIONS[answer.decision]
    facts = [f"{engine_in_words(answer.engine)}", f"{seconds:.1f} s", tokens_in_words(answer.usage)]
    if answer.dropped_sentences:
        facts.append(f"{answer.dropped_sentences} unsupported sentences dropped")
    console.print(Text.assemble((words, f"bold {colour}"), plain(" · " + " · ".join(facts), "dim")))
    if answer.engine.degraded:
        console.print(plain(f"降级 degraded: {answer.engine.degraded_reason}", "yellow"))
    if answer.citations:
        console.print("来源 Sources", style="bold")
    shown = ""
    for citation in answer.citations:
        source = f"[{citation.number}] {place_of(citation.passage)}"
        if source != shown:
            console.print(plain(source))
            shown = source
        quote = " ".join(citation.quote.split())
        console.print(plain(f"    “{quote}”", "dim"), soft_wrap=not console.is_terminal)


async def _add_with_progress(
    client: AtriumClient, collection: str, files: list[FileToAdd], *, quiet: bool
) -> list[FileAdded]:
    console = make_console(stderr=True)
    if quiet or not console.is_terminal:
        return await add_files(client, collection, files)
    with Progress(
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[stage]}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    ) as progress:
        tasks = {}

        def show(added: FileAdded) -> None:
            at = added.file.path
            if at not in tasks:
                tasks[at] = progress.add_task(plain(at.name).plain, total=1.0, stage="")
            done = added.share_done
            progress.update(
                tasks[at],
                completed=done,
                stage=added.stage,
                # Finished files make room: at most those under way are to be seen.
                visible=added.document is None and added.error is None,
            )
            progress.refresh()

        return await add_files(client, collection, files, on_change=show)


def _print_added(added: list[FileAdded]) -> None:
    console = make_console()
    rows: list[tuple[str | Text, ...]] = []
    for each in added:
        document = each.document or knowledge_pb2.Document()
        state = Text("ready", "green") if each.error is None else Text(each.reason, "red")
        rows.append(
            (
                str(each.file.path),
                state,
                str(document.passage_count or ""),
                str(document.page_count or ""),
                f"{each.seconds:.1f} s",
                each.message or "; ".join(document.warnings),
            )
        )
    print_rows(("file", "state", "passages", "pages", "time", ""), rows, empty="")
    failed = sum(each.error is not None for each in added)
    console.print(f"{len(added) - failed} added, {failed} failed." if failed else "All added.")


def _added_as_json(added: FileAdded) -> dict[str, Any]:
    return {
        "file": str(added.file.path),
        "document": to_dict(added.document) if added.document is not None else None,
        "reason": added.reason,
        "message": added.message,
        "seconds": round(added.seconds, 3),
    }


def _print_documents(documents: list[knowledge_pb2.Document]) -> None:
    state = knowledge_pb2.Document.State
    print_rows(
        ("document", "title", "state", "passages", "size", "labels", "sections with labels"),
        [
            (
                each.name.rpartition("/")[2],
                each.title,
                state.Name(each.state).lower(),
                str(each.passage_count),
                megabytes(each.size_bytes) if each.size_bytes else "",
                ", ".join(each.labels) or "everyone",
                "; ".join(f"{s.heading}: {', '.join(s.labels)}" for s in each.section_labels),
            )
            for each in documents
        ],
        empty="There are no documents. Add some: atrium knowledge add COLLECTION PATH",
        whole=("document",),
    )
    # Below the table: a sentence in a column would make every row as long as itself.
    console = make_console()
    for each in documents:
        if each.error_message:
            console.print(f"{each.title}: {printable(each.error_message)}", markup=False)


def _name_of(collection: str, document: str = "") -> str:
    """Accept names as they are shown, and whole resource names."""
    if document.startswith("collections/"):
        return document
    name = collection_name(collection)
    return f"{name}/documents/{document}" if document else name


def _sections(given: list[str] | None) -> dict[str, list[str]]:
    sections: dict[str, list[str]] = {}
    for each in given or ():
        heading, found, needed = each.rpartition("=")
        if not found or not heading or not needed:
            raise OptionInvalid(f"--section is HEADING=LABEL; given was {each!r}.")
        sections.setdefault(heading, []).append(needed)
    return sections


def _read_topics(file: Path | None) -> list[knowledge_pb2.RestrictedTopic]:
    if file is None:
        return []
    try:
        given = yaml.safe_load(file.read_text(encoding="utf-8"))
        return [ParseDict(each, knowledge_pb2.RestrictedTopic()) for each in given]
    except (yaml.YAMLError, ParseError, TypeError, UnicodeDecodeError) as error:
        raise OptionInvalid(
            f"{file} is no list of restricted topics ({error}). Each has id, description, "
            "examples, labels and refusals."
        ) from error
