"""``atrium up`` and ``atrium demo``."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Annotated, Literal

import typer

from atrium_shared.settings import load_settings
from atrium_shared.telemetry import configure_logging, configure_tracing
from atrium_suite.bootstrap import Suite, build
from atrium_suite.cli.calls import run
from atrium_suite.cli.models import pull_set
from atrium_suite.demo.run import Demo, DemoResult
from atrium_suite.demo.screen import show_path
from atrium_suite.settings import SuiteSettings
from atrium_suite.terminal.output import make_console, plain

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
        chosen = {name: value for name, value in given.items() if value is not None}
        settings = load_settings(SuiteSettings, {**os.environ, **chosen})
        await pull_set(settings.models)
        configure_logging(json=settings.log_json)
        configure_tracing("atrium", settings.otlp_endpoint)
        suite = build(settings)
        stopping = _StopSignal()
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
        stopping = _StopSignal()
        make_console().print(
            f"The suite keeps running: export ATRIUM_TARGET={suite.address}   Stop it with Ctrl-C.",
            soft_wrap=True,
        )
        await stopping.wait()
        stopping.release()

    async def work() -> None:
        show = Demo(folder, models, lambda: pull_set(models))
        result: DemoResult = await show.run(wait if keep else None)
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
        console.print(
            "A new installation. Its first key, in another terminal:\n"
            "  atrium admin bootstrap --tenant acme"
        )
    console.print("Stop it with Ctrl-C.")


class _StopSignal:
    """SIGTERM or SIGINT; the second one has its usual effect."""

    _NUMBERS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self) -> None:
        self._came = asyncio.Event()
        for number in self._NUMBERS:
            asyncio.get_running_loop().add_signal_handler(number, self._came.set)

    async def wait(self) -> None:
        """Return when a signal came."""
        await self._came.wait()
        self.release()

    def release(self) -> None:
        """Give the signals their usual effect again."""
        for number in self._NUMBERS:
            asyncio.get_running_loop().remove_signal_handler(number)
