"""The ``atrium`` command."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated

import typer

from atrium_suite.cli import admin, history, knowledge, meeting, models, suite, sync

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Atrium: AI features over gRPC, for many tenants or for one.",
)
app.command()(suite.up)
app.command()(suite.demo)
knowledge.app.command()(history.versions)
knowledge.app.command()(history.explain)
knowledge.app.command()(sync.sync)
app.add_typer(knowledge.app, name="knowledge")
app.add_typer(meeting.app, name="meeting")
app.add_typer(models.app, name="models")
app.add_typer(admin.app, name="admin")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(version("atrium-suite"))
        raise typer.Exit


@app.callback()
def _options(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Say which.")
    ] = False,
) -> None:
    """Carry the options that come before every command."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with the given arguments, or those of the process."""
    app(args=arguments)
