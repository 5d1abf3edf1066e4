"""``atrium models``: what there is, fetching what is not, and what a tenant uses of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from atrium_models.progress import ProgressCallback, PullProgress, Stage
from atrium_models.store import ModelState, ModelStore
from atrium_suite.cli import gateway
from atrium_suite.cli.calls import AsJson, run
from atrium_suite.terminal.output import make_console, megabytes, plain, print_json, print_rows

app = typer.Typer(
    no_args_is_help=True,
    help="Models: pull and carry the local ones, say which task takes which, and what it cost.",
)

Names = Annotated[
    list[str] | None, typer.Argument(help="Models or sets, such as small.", metavar="NAME...")
]
_COLOURS = {ModelState.PULLED: "green", ModelState.PARTIAL: "yellow", ModelState.DAMAGED: "red"}


@app.command(name="list")
def list_(as_json: AsJson = False) -> None:
    """List the known models and how much of each is here."""

    async def work() -> None:
        store = ModelStore.from_environment()
        stored = store.list()
        sets = {
            each.spec.name: [
                name for name, members in store.catalog.sets.items() if each.spec.name in members
            ]
            for each in stored
        }
        if as_json:
            print_json(
                {
                    "root": str(store.root),
                    "models": [
                        {
                            "name": each.spec.name,
                            "task": each.spec.task,
                            "licence": each.spec.licence,
                            "bytes": each.spec.disk_bytes,
                            "state": each.state.value,
                            "sets": sets[each.spec.name],
                        }
                        for each in stored
                    ],
                }
            )
            return
        print_rows(
            ("model", "state", "size", "sets", "licence", "what"),
            [
                (
                    each.spec.name,
                    Text(each.state.value, _COLOURS.get(each.state, "dim")),
                    megabytes(each.spec.disk_bytes),
                    ", ".join(sets[each.spec.name]),
                    each.spec.licence,
                    each.spec.title,
                )
                for each in stored
            ],
            empty="The catalogue is empty.",
        )
        make_console().print(plain(f"In {store.root}", "dim"), soft_wrap=True)

    run(work())


@app.command()
def pull(names: Names = None) -> None:
    """Fetch models or sets (small when none is named); goes on where an earlier pull stopped."""

    async def work() -> None:
        store = ModelStore.from_environment()
        paths = await asyncio.to_thread(_pull_showing, store, names or ["small"])
        console = make_console()
        for path in paths:
            console.print(plain(f"{path.name}  {path}"), soft_wrap=True)

    run(work())


@app.command()
def path(name: Annotated[str, typer.Argument(help="A model.")]) -> None:
    """Print the folder of a model; fails when it is not here."""

    async def work() -> None:
        typer.echo(str(ModelStore.from_environment().path(name)))

    run(work())


@app.command()
def verify(names: Names = None) -> None:
    """Compare the checksum of every file of the models that are here."""

    async def work() -> None:
        store = ModelStore.from_environment()
        chosen = [spec.name for spec in store.catalog.resolve(names)] if names else [
            each.spec.name for each in store.list() if each.state is not ModelState.ABSENT
        ]  # fmt: skip
        console = make_console()
        for name in chosen:
            await asyncio.to_thread(store.verify, name)
            console.print(Text.assemble(("✓ ", "green"), name))
        if not chosen:
            console.print("No model is here. Fetch some: atrium models pull")

    run(work())


@app.command()
def bundle(
    archive: Annotated[Path, typer.Argument(help="File to write, such as models.tar.")],
    names: Names = None,
) -> None:
    """Write models that are here into one archive, to carry where nothing can be reached."""

    async def work() -> None:
        store = ModelStore.from_environment()
        chosen = names or ["small"]
        size = await asyncio.to_thread(store.bundle, chosen, archive)
        make_console().print(
            plain(
                f"{archive}, {megabytes(size)}. There: ATRIUM_MODELS_MIRROR={archive.name} "
                f"atrium models pull {' '.join(chosen)}"
            ),
            soft_wrap=True,
        )

    run(work())


app.add_typer(gateway.route_app, name="route")
app.add_typer(gateway.quota_app, name="quota")
app.command()(gateway.usage)
app.command()(gateway.costs)


async def pull_set(name: str) -> str:
    """Fetch a set, showing how far it is.

    Returns:
        Its models with their sizes in words; "" for an empty set.

    Raises:
        AtriumError: It could not be had.
    """
    store = ModelStore.from_environment()
    specs = store.catalog.resolve([name])
    if not specs:
        return ""
    here = all(store.status(spec.name).state is ModelState.PULLED for spec in specs)
    if not here:
        await asyncio.to_thread(_pull_showing, store, [name])
    sizes = ", ".join(f"{spec.name} {megabytes(spec.disk_bytes)}" for spec in specs)
    return f"{sizes}, {'here already' if here else 'fetched and checked'}"


def _pull_showing(store: ModelStore, names: list[str]) -> Sequence[Path]:
    console = make_console(stderr=True)
    if not console.is_terminal:
        return store.pull(names, _tell_stages())
    with Progress(
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[stage]}", style="dim"),
        console=console,
    ) as progress:
        tasks: dict[str, TaskID] = {}

        def show(step: PullProgress) -> None:
            if step.model not in tasks:
                tasks[step.model] = progress.add_task(step.model, total=None, stage="")
            where = f" ({step.source})" if step.source else ""
            progress.update(
                tasks[step.model],
                completed=step.done_bytes,
                total=step.total_bytes or None,
                stage=f"{step.stage.value}{where}",
            )
            if step.note:
                progress.console.print(plain(f"{step.model}: {step.note}", "yellow"))

        return store.pull(names, show)


def _tell_stages() -> ProgressCallback:
    """Return what prints one line a stage, for where nothing can be redrawn."""
    console = make_console(stderr=True)
    seen: set[tuple[str, Stage, str]] = set()

    def tell(step: PullProgress) -> None:
        if step.note:
            console.print(plain(f"{step.model}: {step.note}"), soft_wrap=True)
        key = (step.model, step.stage, step.source)
        if key not in seen:
            seen.add(key)
            size = f", {megabytes(step.total_bytes)}" if step.total_bytes else ""
            word = "for" if step.stage is Stage.WAITING else "from"
            where = f" {word} {step.source}" if step.source else ""
            console.print(plain(f"{step.model}: {step.stage.value}{where}{size}"), soft_wrap=True)

    return tell
