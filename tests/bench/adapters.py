"""Many tenants' adapters on one encoder: memory, switches, throughput, and whether they stay apart.

`make bench BENCH=adapters [ARGS="--adapters 1000 --calls 1000"]`. The encoder is the real one of
the model store; the adapters are random, rank 8 over query and value of every layer, and written
to var/bench for the time of the run. Calls go through the adapter host that the gateway uses.

`switch.*` is what it takes until another adapter's matrices are at hand: looked up where they are
in memory (`resident`), read and checked where they are not (`from_disk`). `call.*` are whole calls
of one short text, with the adapter of the call before (`same`) or another; calls of the base
without adapters between them are the baseline, which tells how busy the machine was. `way.*`
compares what one text costs the processor: branches fed with each run, as the gateway does; ONNX
Runtime's own adapter files; and one slot, where weights are merged, rounded and handed in. peft
itself (`peft.*`) is measured by another Python that has torch, `.venv-train` or `--peft-python`.
With SABOTAGE=1 one call in ten asks for another adapter than it says, which must show as
`isolation.vectors_of_another`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import psutil
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from atrium_gateway.adapters.encoder_adapter_files import AdapterWeights, read_adapter
from atrium_gateway.adapters.fair_threads import FairThreads
from atrium_gateway.adapters.onnx_adapters import OnnxAdapters
from atrium_gateway.adapters.onnx_encoder import OnnxEncoder
from atrium_gateway.adapters.onnx_lora import Attention, add_branches
from atrium_gateway.app.ports import TextKind
from atrium_gateway.domain.similarity import SimilarityScale
from atrium_models import ModelStore
from tests.encoder_adapters import adapter_tensors, in_floats, merged_changes, write_adapter
from tests.figures import ROOT, Figures

RANK = 8
MEMORY_AIM_MB = 2000
SWITCH_AIM_MS = 50
COSINE_AIM = 1e-3
STREAMS = 16
ENCODER = "multilingual-e5-small"
TEXTS = (
    "员工每年可以休几天年假？",
    "how do I roll back a deployment?",
    "The supplier shall indemnify the customer against all losses arising from clause 7.",
    "差旅报销须在三十天内提交，并附发票。",
    "payment is due within 30 days of receipt of the invoice",
    "违约方应当赔偿守约方因此遭受的一切损失，包括合理的律师费。",
)
_MEMORY = 4 << 30
_PEFT_ADAPTERS = 100

Vectors = NDArray[np.float32]


@dataclass
class Bench:
    """What a run works with.

    Attributes:
        encoder_dir: Folder of the encoder.
        attention: Where adapters fit on it.
        folders: The adapters, by name.
        threads: Where texts run.
        base: The encoder alone.
        strength: Standard deviation of B.
    """

    encoder_dir: Path
    attention: Attention
    folders: dict[str, Path]
    threads: FairThreads
    base: OnnxEncoder
    strength: float

    def tensors(self, number: int) -> dict[str, Any]:
        """The matrices of one adapter."""
        return adapter_tensors(
            seed=number, rank=RANK, strength=self.strength,
            hidden=self.attention.hidden, layers=self.attention.layers,
        )  # fmt: skip

    def host(self, threads: FairThreads, memory_bytes: int = _MEMORY) -> OnnxAdapters:
        """Return an adapter host as the gateway makes it, the only one on its threads."""
        return OnnxAdapters(
            f"models/{self.encoder_dir.name}", "small", lambda: self.encoder_dir,
            threads=threads, similarity_scale=SimilarityScale(0.78, 0.89),
            memory_bytes=memory_bytes,
        )  # fmt: skip


def resident_mb() -> float:
    """Memory of this process in MB."""
    return float(psutil.Process().memory_info().rss) / 1e6


async def measure(
    figures: Figures,
    encoder_dir: Path,
    attention: Attention,
    adapters: int,
    calls: int,
    kept_in: Path,
    *,
    strength: float = 0.06,
) -> None:
    """Measure everything but peft.

    Args:
        figures: Where the figures go.
        encoder_dir: Folder of the encoder.
        attention: Its layers and width.
        adapters: How many there are.
        calls: Calls of each kind.
        kept_in: Folder for the adapters' files; they are removed again.
        strength: Standard deviation of B, so how much the adapters change.
    """
    folder = kept_in / f"adapters-{os.getpid()}"
    threads = FairThreads(os.cpu_count() or 1)
    base = OnnxEncoder(encoder_dir, threads)
    bench = Bench(encoder_dir, attention, {}, threads, base, strength)
    figures.add("load", os.getloadavg()[0], "processes", n=os.cpu_count() or 1)
    try:
        for number in range(adapters):
            name = f"tenant-{number}"
            bench.folders[name] = write_adapter(
                folder / name, bench.tensors(number), base=encoder_dir.name, rank=RANK
            )
        before = await _embed_base(bench)
        host = await _memory(figures, bench)
        await _switches(figures, bench, host, calls)
        await _throughput(figures, bench, host, calls)
        await _isolation(figures, bench, host, calls)
        after = await _embed_base(bench)
        differ = int((before != after).any(axis=1).sum())
        figures.add("base.vectors_changed", differ, "count", n=len(TEXTS), target=0, at_most=True)
        await host.close()
        _equality(figures, bench)
        _ways(figures, bench, max(20, calls // 20))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        await threads.close()


async def _embed_base(bench: Bench) -> Vectors:
    return (await bench.base.embed(TEXTS, "query")).vectors


async def _memory(figures: Figures, bench: Bench) -> OnnxAdapters:
    alone = resident_mb()
    host, took = bench.host(bench.threads), []
    for name, folder in bench.folders.items():
        begun = time.perf_counter()
        await host.load(name, folder)
        took.append((time.perf_counter() - begun) * 1000)
    n, whole = len(bench.folders), resident_mb()
    figures.add(
        "memory.rss_mb", whole, "MB", n=n, target=MEMORY_AIM_MB, at_most=True, baseline=alone
    )
    figures.add("memory.matrices_mb", host.used_bytes / 1e6, "MB", n=n)
    figures.add("deploy.p50_ms", float(np.median(took)), "ms", n=n)
    return host


async def _timed(work: Awaitable[Any]) -> float:
    begun = time.perf_counter()
    await work
    return (time.perf_counter() - begun) * 1000


async def _switches(figures: Figures, bench: Bench, host: OnnxAdapters, calls: int) -> None:
    names = list(bench.folders)
    # There is room for one, so every call finds that its matrices were dropped.
    few = max(2, min(len(names), calls))
    threads = FairThreads(os.cpu_count() or 1)
    small = bench.host(threads, memory_bytes=0)
    for name in names[:few]:
        await small.load(name, bench.folders[name])
    text = [TEXTS[1]]
    ways: dict[str, Callable[[int], Awaitable[Any]]] = {
        "base": lambda _: bench.base.embed(text, "query"),
        "same": lambda _: host.encoder(names[0], "models/x").embed(text, TextKind.QUERY),
        "resident": lambda number: host.encoder(names[number % len(names)], "models/x").embed(
            text, TextKind.QUERY
        ),
        "from_disk": lambda number: small.encoder(names[number % few], "models/x").embed(
            text, TextKind.QUERY
        ),
    }
    took: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(calls):
        for way, call in ways.items():
            took[way].append(await _timed(call(number)))
    for way in ("same", "resident", "from_disk"):
        for share in (50, 95):
            plain = float(np.percentile(took["base"], share))
            value = float(np.percentile(took[way], share))
            figures.add(f"call.{way}.p{share}_ms", value, "ms", n=calls, baseline=plain)
    for way, kept in (("resident", host), ("from_disk", small)):
        switches = [await _timed(kept.bring(names[number % few])) for number in range(calls)]
        for share in (50, 95):
            figures.add(
                f"switch.{way}.p{share}_ms", float(np.percentile(switches, share)), "ms", n=calls,
                target=SWITCH_AIM_MS if share == 95 else None, at_most=True,
            )  # fmt: skip
    await small.close()
    await threads.close()


async def _throughput(figures: Figures, bench: Bench, host: OnnxAdapters, calls: int) -> None:
    names = list(bench.folders)

    def adapter(name: str, text: str) -> Awaitable[Any]:
        return host.encoder(name, "models/x").embed([text], TextKind.QUERY)

    ways: dict[str, Callable[[int], Awaitable[Any]]] = {
        "base": lambda number: bench.base.embed([TEXTS[number % len(TEXTS)]], "query"),
        "single": lambda number: adapter(names[0], TEXTS[number % len(TEXTS)]),
        "mixed": lambda number: adapter(names[number % len(names)], TEXTS[number % len(TEXTS)]),
    }
    took: dict[str, float] = dict.fromkeys(ways, 0.0)
    rounds = 5
    each = max(STREAMS, calls // rounds)
    for _ in range(rounds):  # interleaved, as other work comes and goes on the machine
        for way, call in ways.items():
            took[way] += await _timed(_side_by_side(call, each))
    rates = {way: rounds * each / milliseconds * 1000 for way, milliseconds in took.items()}
    for way, rate in rates.items():
        figures.add(
            f"throughput.{way}_per_second", rate, "1/s", n=rounds * each, baseline=rates["base"]
        )
    figures.add("throughput.mixed_to_single", rates["mixed"] / rates["single"], "ratio", n=rounds)


async def _side_by_side(call: Callable[[int], Awaitable[Any]], calls: int) -> None:
    numbers = iter(range(calls))

    async def stream() -> None:
        for number in numbers:
            await call(number)

    await asyncio.gather(*(stream() for _ in range(STREAMS)))


async def _isolation(figures: Figures, bench: Bench, host: OnnxAdapters, calls: int) -> None:
    """Ask many adapters at once, some dropped meanwhile, and compare with each asked alone."""
    names = list(bench.folders)[:50]
    alone = {
        name: (await host.encoder(name, "models/x").embed(TEXTS, TextKind.QUERY)).vectors
        for name in names
    }
    threads = FairThreads(os.cpu_count() or 1)
    room = 10 * host.used_bytes // len(bench.folders)
    small = bench.host(threads, memory_bytes=room)
    for name in names:
        await small.load(name, bench.folders[name])
    wrong, sabotage = 0, "SABOTAGE" in os.environ
    order = np.random.default_rng(3).permutation(np.arange(max(calls, len(names))) % len(names))

    async def ask(number: int) -> None:
        nonlocal wrong
        name, text = names[order[number]], number % len(TEXTS)
        asked = names[order[number] - 1] if sabotage and number % 10 == 0 else name
        kept = small if number % 2 else host
        made = await kept.encoder(asked, "models/x").embed([TEXTS[text]], TextKind.QUERY)
        wrong += not np.array_equal(made.vectors[0], alone[name][text])

    await _side_by_side(ask, len(order))
    await small.close()
    figures.add(
        "isolation.vectors_of_another", wrong, "count", n=len(order), target=0, at_most=True
    )


def _session(model: onnx.ModelProto) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.enable_mem_pattern = False
    return ort.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])


def _token_ids(bench: Bench) -> list[NDArray[np.int64]]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(bench.encoder_dir / "tokenizer.json"))
    tokenizer.enable_truncation(bench.base.max_tokens)
    return [np.array([tokenizer.encode(f"query: {text}").ids], np.int64) for text in TEXTS]


def _graph(bench: Bench) -> onnx.ModelProto:
    return onnx.load(bench.encoder_dir / "model.int8.onnx")


def _branched(bench: Bench) -> onnx.ModelProto:
    model = _graph(bench)
    add_branches(model)
    return model


def _weights(bench: Bench, number: int) -> AdapterWeights:
    folder = bench.folders[f"tenant-{number}"]
    return read_adapter(folder, base=bench.encoder_dir.name, attention=bench.attention)


def _distances(a: Sequence[Vectors], b: Sequence[Vectors]) -> list[float]:
    pairs = zip(a, b, strict=True)
    return [1 - float(x[0].astype(np.float64) @ y[0].astype(np.float64)) for x, y in pairs]


def _equality(figures: Figures, bench: Bench) -> None:
    """Branches against merged weights, without rounding and with the rounding of the base."""
    ids = _token_ids(bench)

    def run(session: ort.InferenceSession, inputs: dict[str, Any]) -> list[Vectors]:
        return [session.run(None, {"input_ids": each, **inputs})[0] for each in ids]

    plain, plain_floats = _session(_graph(bench)), _session(in_floats(_graph(bench), {}))
    branches, branches_floats = (
        _session(_branched(bench)),
        _session(in_floats(_branched(bench), {})),
    )
    of_base, of_base_floats = run(plain, {}), run(plain_floats, {})
    none = int(
        sum(not np.array_equal(a, b) for a, b in zip(run(branches, {}), of_base, strict=True))
    )
    figures.add(
        "equality.vectors_changed_by_no_adapter", none, "count", n=len(ids), target=0, at_most=True
    )
    exact, rounded, moved = [], [], []
    hidden, layers = bench.attention.hidden, bench.attention.layers
    for number in range(min(3, len(bench.folders))):
        changes = merged_changes(bench.tensors(number), 1.0, hidden=hidden, layers=layers)
        expected = run(_session(in_floats(_graph(bench), changes)), {})
        inputs = dict(_weights(bench, number).inputs)
        exact += _distances(run(branches_floats, inputs), expected)
        rounded += _distances(run(branches, inputs), expected)
        moved += _distances(expected, of_base_floats)
    n = len(exact)
    figures.add(
        "equality.cosine_distance_max", max(exact), "1-cos", n=n, target=COSINE_AIM, at_most=True
    )
    base = float(np.median(_distances(of_base, of_base_floats)))
    figures.add(
        "equality.with_rounding_p50", float(np.median(rounded)), "1-cos", n=n, baseline=base
    )
    figures.add("equality.adapter_moves_p50", float(np.median(moved)), "1-cos", n=n)


def _ways(figures: Figures, bench: Bench, rounds: int) -> None:
    """Processor time of one text, three ways; and of a switch where one is needed."""
    ids = _token_ids(bench)[0]
    branches = _session(_branched(bench))
    inputs = dict(_weights(bench, 0).inputs)

    file = bench.folders["tenant-0"] / "adapter.onnx_adapter"
    written = ort.AdapterFormat()
    written.set_adapter_version(1)
    written.set_model_version(1)
    values = {name: ort.OrtValue.ortvalue_from_numpy(each) for name, each in inputs.items()}
    written.set_parameters(values)
    written.export_adapter(str(file))
    adapter = ort.LoraAdapter()
    adapter.Load(str(file))

    def with_runtime_adapter() -> None:
        options = ort.RunOptions()
        options.add_active_adapter(adapter)
        branches.run(None, {"input_ids": ids}, options)

    slot, merge = _slot(bench)
    merged = merge()
    plain = _session(_graph(bench))
    ways: dict[str, Callable[[], Any]] = {
        "base": lambda: plain.run(None, {"input_ids": ids}),
        "no_adapter": lambda: branches.run(None, {"input_ids": ids}),
        "branches": lambda: branches.run(None, {"input_ids": ids, **inputs}),
        "runtime_adapter": with_runtime_adapter,
        "slot": lambda: slot.run(None, {"input_ids": ids, **merged}),
        "slot_switch": merge,
    }
    took: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, run in ways.items():
            begun = time.thread_time()
            run()
            took[way].append((time.thread_time() - begun) * 1000)
    base = float(np.median(took.pop("base")))
    for way, times in took.items():
        figures.add(f"way.{way}_ms", float(np.median(times)), "ms", n=rounds, baseline=base)
    size = sum(each.nbytes for each in merged.values()) / 1e6
    figures.add("way.slot_mb_an_adapter", size, "MB", n=1)


def _slot(bench: Bench) -> tuple[ort.InferenceSession, Callable[[], dict[str, Any]]]:
    """A session whose rounded projections are inputs, and what merges an adapter into them."""
    model = _graph(bench)
    graph, codes, scales = model.graph, {}, {}
    for constant in list(graph.initializer):
        if constant.name.endswith((".q.w", ".q.scale")):
            kept = codes if constant.name.endswith(".w") else scales
            kept[constant.name] = numpy_helper.to_array(constant)
            told = helper.make_tensor_value_info(
                constant.name, constant.data_type, list(constant.dims)
            )
            graph.input.append(told)
            graph.initializer.remove(constant)
    hidden, layers = bench.attention.hidden, bench.attention.layers
    tensors = bench.tensors(0)

    def merge() -> dict[str, Any]:
        merged: dict[str, Any] = {}
        changes = merged_changes(tensors, 1.0, hidden=hidden, layers=layers)
        for name, change in changes.items():
            scale = f"{name.removesuffix('.w')}.scale"
            weights = codes[name].astype(np.float32) * scales[scale] + change
            merged[scale] = np.abs(weights).max(axis=0) / np.float32(63)
            merged[name] = np.rint(weights / merged[scale]).astype(np.int8)
        return merged

    return _session(model), merge


_PEFT = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
import torch
from peft import LoraConfig, get_peft_model
from transformers import BertConfig, BertModel
count, hidden, layers = map(int, sys.argv[1:])
torch.set_num_threads(1)
config = BertConfig(vocab_size=1000, hidden_size=hidden, num_hidden_layers=layers,
                    num_attention_heads=hidden // 32, intermediate_size=4 * hidden)
lora = LoraConfig(r=8, lora_alpha=8, target_modules=["query", "value"])
model = get_peft_model(BertModel(config).eval(), lora, adapter_name="a0")
began = time.perf_counter()
for number in range(1, count):
    model.add_adapter(f"a{number}", lora)
added = time.perf_counter() - began
switches, ids = [], torch.arange(12)[None]
with torch.inference_mode():
    for number in range(40):
        began = time.perf_counter()
        model.set_adapter(f"a{number * 7 % count}")
        switches.append((time.perf_counter() - began) * 1000)
        model(input_ids=ids)
print(json.dumps({"added": added, "switches": switches}))
"""


def measure_peft(figures: Figures, python: Path, attention: Attention, adapters: int) -> None:
    """Measure adding and switching adapters with peft itself.

    Args:
        figures: Where the figures go.
        python: A Python that has torch, transformers and peft.
        attention: Layers and width of the encoder.
        adapters: How many; peft slows down with their number.
    """
    command = [str(python), "-c", _PEFT, *map(str, (adapters, attention.hidden, attention.layers))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True)
    told = json.loads(done.stdout.splitlines()[-1])
    switches = told["switches"]
    figures.add("peft.add_ms_an_adapter", told["added"] / (adapters - 1) * 1000, "ms", n=adapters)
    for share in (50, 95):
        value = float(np.percentile(switches, share))
        figures.add(f"peft.switch.p{share}_ms", value, "ms", n=len(switches))


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="make bench BENCH=adapters", description=__doc__)
    parser.add_argument("--adapters", type=int, default=1000)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--peft-adapters", type=int, default=_PEFT_ADAPTERS)
    parser.add_argument("--peft-python", type=Path, default=ROOT / ".venv-train" / "bin" / "python")
    chosen = parser.parse_args()
    if chosen.adapters < 2 or chosen.calls < 20 or chosen.peft_adapters < 2:
        parser.error("At least two adapters and 20 calls are needed.")
    encoder = ModelStore.from_environment().path(ENCODER)
    attention = add_branches(onnx.load(encoder / "model.int8.onnx"))
    figures = Figures("bench", "adapters")
    kept_in = ROOT / "var" / "bench"
    asyncio.run(measure(figures, encoder, attention, chosen.adapters, chosen.calls, kept_in))
    if chosen.peft_python.is_file():
        measure_peft(figures, chosen.peft_python, attention, chosen.peft_adapters)
    else:
        print(
            f"peft is not measured: {chosen.peft_python} is not there (make train-reader makes it)"
        )
    if figures.missed:
        sys.exit(f"Not reached: {', '.join(figures.missed)}")


if __name__ == "__main__":
    main()
