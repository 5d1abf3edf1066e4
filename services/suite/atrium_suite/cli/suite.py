"""``atrium up`` and ``atrium demo``."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from atrium_shared.settings import load_settings
from atrium_shared.telemetry import configure_logging, configure_tracing
from atrium_suite.cli.calls import DEFAULT_TARGET, StopSignal, run
from atrium_suite.cli.models import pull_set
from atrium_suite.settings import SuiteSettings
from atrium_suite.terminal.output import make_console, plain, show_path

if TYPE_CHECKING:
    from atrium_suite.bootstrap import Suite

# The services take two seconds to import. Commands that only call them do without, so `up` and
# `demo` import them when they run.
Models = Literal["small", "none"]


def up(
    models: Annotated[
        Models | None, typer.Option(help="Local models to run.", show_default="small")
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(help="State folder.", show_default="~/.local/share/atrium"),
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="Where gRPC listens.", show_default="127.0.0.1:7400")
    ] = None,
    http_address: Annotated[
        str | None, typer.Option(help="Where HTTP listens.", show_default="127.0.0.1:7480")
    ] = None,
) -> None:
    """Start every service in one process and keep it running."""
    given = {
        "SUITE_MODELS": models,
        "SUITE_STATE_DIR": str(state) if state else None,
        "SUITE_ADDRESS": address,
        "SUITE_HTTP_ADDRESS": http_address,
    }

    async def work() -> None:
        from atrium_suite.bootstrap import build

        chosen = {name: value for name, value in given.items() if value is not None}
        settings = load_settings(SuiteSettings, {**os.environ, **chosen})
        await pull_set(settings.models)
        configure_logging(json=settings.log_json)
        configure_tracing("atrium", settings.otlp_endpoint)
        suite = build(settings)
        stopping = StopSignal()
        await suite.start()
        try:
            await _announce(suite, settings)
            await stopping.wait()
            make_console(stderr=True).print("Stopping; once more ends at once.")
        finally:
            await suite.stop()
            stopping.release()

    run(work())


def demo(
    models: Annotated[Models, typer.Option(help="Models that answer.")] = "small",
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the suite running at the end, until Ctrl-C.")
    ] = False,
    folder: Annotated[Path, typer.Option(help="Where state and transcript go.")] = Path("var/demo"),
) -> None:
    """Run the main job on a sample handbook: four people, the same questions. Exit 1 if it fails.

    Answers must be decided as expected, and nothing may show that its reader may not read.
    """

    async def wait(suite: Suite) -> None:
        stopping = StopSignal()
        make_console().print(
            f"The suite keeps running: export ATRIUM_TARGET={suite.address}   Stop it with Ctrl-C.",
            soft_wrap=True,
        )
        await stopping.wait()
        stopping.release()

    async def work() -> None:
        from atrium_suite.demo.run import Demo

        show = Demo(folder, models, lambda: pull_set(models))
        result = await show.run(wait if keep else None)
        if result.faults:
            raise typer.Exit(1)

    run(work())


async def _announce(suite: Suite, settings: SuiteSettings) -> None:
    console = make_console()
    readiness = await suite.readiness()
    models = ", ".join(
        f"{part.name.removeprefix('models/')} {part.state.lower()}" for part in readiness.parts
    )
    rows = [
        ("gRPC", suite.address),
        ("HTTP", f"http://{suite.http_address}  /readyz /healthz /metrics"),
        ("state", show_path(settings.state_dir)),
        ("models", models or "none: answers word for word, search by keywords"),
    ]
    console.print("Atrium is up. Atrium 已启动。", style="bold green")
    for what, words in rows:
        console.print(f"  {what:<8}", plain(words), soft_wrap=True)
    if suite.is_new:
        console.print("A new installation. Its first key, in another terminal:")
        console.print(plain(f"  {bootstrap_command(suite.address, settings)}"), soft_wrap=True)
    console.print("Stop it with Ctrl-C.")


def bootstrap_command(address: str, settings: SuiteSettings) -> str:
    """Return what makes the first key, as it is to be typed for this suite."""
    command = "atrium admin bootstrap --tenant acme"
    field = SuiteSettings.model_fields["state_dir"]
    if settings.state_dir != field.get_default(call_default_factory=True):
        command += f" --state {shlex.quote(str(settings.state_dir.resolve()))}"
    return command if address == DEFAULT_TARGET else f"{command} --target {address}"
