"""What taking documents in costs: by format, by stage, and of the encoder, through the suite.

Each format is measured by itself: its documents are uploaded at once and waited for. Encoding is
compared with the same encoder called in this process without anything around it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from atrium_client import AtriumClient
from atrium_gateway.adapters.fair_threads import FairThreads
from atrium_gateway.adapters.onnx_encoder import OnnxEncoder
from atrium_models.store import ModelStore
from atrium_shared.telemetry import configure_logging
from atrium_suite.demo.handbook import load_handbook
from atrium_suite.demo.steps import COLLECTION, make_collection, make_people
from atrium_suite.terminal.uploads import FileAdded, FileToAdd, add_files, document_id_for
from tests.corpus import FORMATS, Corpus
from tests.figures import Figures
from tests.suites import open_suite, wait_for_models

TARGET_TOKENS_PER_SECOND = 3000
ENCODER = "multilingual-e5-small"
_PASSAGES = 256
_WARM_UP = 16
_THREADS = 2


async def measure(figures: Figures, folder: Path, models: str) -> None:
    """Measure through the suite, then the encoder alone."""
    corpus = Corpus(folder)
    plain = folder / "plain.md"
    texts = corpus.texts(_PASSAGES)
    plain.write_text("\n\n".join(f"## {at}\n\n{text}" for at, text in enumerate(texts)))
    begun = time.monotonic()
    async with open_suite(folder / "state", models) as suite:
        started = time.monotonic() - begun
        await wait_for_models(suite)
        # With models, loading them shares the cores with the start.
        target = 3 if models == "none" else None
        figures.add("start_seconds", started, "s", n=1, target=target, at_most=True)
        key = await suite.bootstrap_tenant("bench")
        async with AtriumClient(key, target=suite.address) as admin:
            await make_collection(admin, load_handbook())
            portal_key = await make_people(admin, load_handbook())
        async with AtriumClient(portal_key, target=suite.address) as portal:
            await _measure_formats(figures, portal, corpus)
            through = await _add(portal, [plain])
    if models == "none":
        return
    progress = through[0].progress
    alone = await _encode_alone(texts)
    figures.add(
        "encoding.tokens_per_second",
        progress.encoder_tokens / progress.encode_seconds,
        "tokens/s",
        n=progress.encoder_tokens,
        target=TARGET_TOKENS_PER_SECOND,
        baseline=alone,
    )


async def _measure_formats(figures: Figures, portal: AtriumClient, corpus: Corpus) -> None:
    everything: list[FileAdded] = []
    for kind in FORMATS:
        files = corpus.files(kind)
        begun = time.monotonic()
        added = await _add(portal, files)
        seconds = time.monotonic() - begun
        size = sum(path.stat().st_size for path in files)
        figures.add(f"{kind}.docs_per_second", len(files) / seconds, "1/s", n=len(files))
        figures.add(f"{kind}.mb_per_second", size / 1e6 / seconds, "MB/s", n=len(files))
        _add_shares(figures, f"{kind}.", added)
        everything += added
    _add_shares(figures, "", everything)


def _add_shares(figures: Figures, prefix: str, added: Sequence[FileAdded]) -> None:
    seconds = {
        "parsing": sum(each.progress.parse_seconds for each in added),
        "encoding": sum(each.progress.encode_seconds for each in added),
        "indexing": sum(each.progress.index_seconds for each in added),
    }
    whole = sum(seconds.values())
    for stage, spent in seconds.items():
        figures.add(f"{prefix}share_{stage}", spent / whole, "share", n=len(added))


async def _add(portal: AtriumClient, paths: Sequence[Path]) -> list[FileAdded]:
    files = [FileToAdd(path, document_id_for(path)) for path in paths]
    added = await add_files(portal, COLLECTION, files)
    for each in added:
        if each.error is not None:
            raise SystemExit(f"{each.file.path.name} was not added: {each.message}")
    return added


async def _encode_alone(texts: Sequence[str]) -> float:
    threads = FairThreads(_THREADS)
    encoder = await OnnxEncoder.load(ModelStore.from_environment().path(ENCODER), threads)
    try:
        await encoder.embed(texts[:_WARM_UP], "passage")
        begun = time.monotonic()
        result = await encoder.embed(texts, "passage")
        return result.tokens / (time.monotonic() - begun)
    finally:
        await threads.close()


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="make bench BENCH=ingest", description=__doc__)
    parser.add_argument("--models", choices=("small", "none"), default="small")
    chosen = parser.parse_args()
    figures = Figures("bench", "ingest")
    with tempfile.TemporaryDirectory() as folder:
        log = (Path(folder) / "suite.log").open("w", encoding="utf-8")
        with log, contextlib.redirect_stderr(log):
            configure_logging(json=False)
            asyncio.run(measure(figures, Path(folder), chosen.models))


if __name__ == "__main__":
    main()
