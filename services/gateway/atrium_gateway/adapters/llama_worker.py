"""llama.cpp as a process of its own: ``python -m atrium_gateway.adapters.llama_worker --model F``.

It serves llama.cpp's OpenAI HTTP API on 127.0.0.1, says where on its standard output with one line
``{"address": "http://127.0.0.1:PORT"}``, and ends when its standard input closes or its parent
dies. A crash in native code, or memory that runs out, then ends this process and nothing else.
:class:`atrium_gateway.adapters.llama_server.LlamaServer` starts it and keeps it running.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import signal
import sys
import threading
from collections.abc import Sequence
from typing import Any

KEY_VARIABLE = "ATRIUM_LLAMA_KEY"
"""Environment variable with the API key that callers must send; unset asks for none."""

_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Make this process end when the process that started it does, however that ends."""
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # It died before the kernel was told.
            os._exit(0)

    def wait_for_end_of_input() -> None:
        while os.read(0, 4096):
            pass
        os._exit(0)

    threading.Thread(target=wait_for_end_of_input, daemon=True).start()


def announce(address: str, output: int) -> None:
    """Tell the parent, on file descriptor ``output``, that ``address`` now answers."""
    os.write(output, json.dumps({"address": address}).encode() + b"\n")


def _parameters(options: argparse.Namespace) -> Any:
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = options.model
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = options.port
    parameters.offline = True
    parameters.ui = False
    parameters.endpoint_slots = False
    parameters.verbosity = options.verbosity
    if key := os.environ.pop(KEY_VARIABLE, ""):
        parameters.api_keys = [key]
    parameters.n_gpu_layers = 0
    parameters.n_parallel = options.parallel
    parameters.n_ctx = options.ctx * options.parallel
    parameters.n_batch = parameters.n_ubatch = options.batch
    parameters.cpuparams.n_threads = options.threads
    parameters.cpuparams_batch.n_threads = options.threads
    parameters.cache_prompt = True
    parameters.cache_ram_mib = options.cache_mib
    if options.lookup:
        # Answers copy from their sources: guess that the words after a repeated run repeat too.
        # Guesses are checked by the model itself, so they change the speed and not the text.
        kind = xllamacpp.common_speculative_type.COMMON_SPECULATIVE_TYPE_NGRAM_MAP_K
        parameters.speculative.types = [kind]
        parameters.speculative.ngram_map_k.size_n = 3
        parameters.speculative.ngram_map_k.size_m = options.lookup
    return parameters


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Serve one GGUF model with llama.cpp.")
    parser.add_argument("--model", required=True, help="the GGUF file")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--ctx", type=int, default=8192, help="tokens of prompt and reply")
    parser.add_argument("--parallel", type=int, default=1, help="requests at the same time")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--batch", type=int, default=512, help="prompt tokens a step")
    parser.add_argument("--cache-mib", type=int, default=256, help="memory for earlier prompts")
    parser.add_argument("--lookup", type=int, default=4, help="tokens to guess a step; 0: off")
    parser.add_argument("--verbosity", type=int, default=2, help="0 errors .. 4 everything")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until standard input closes."""
    options = _parser().parse_args(arguments)
    end_with_parent()
    # Threads that spin while they wait for each other starve on a busy machine: beside other work
    # on both of two cores, sleeping threads wrote ten times as many tokens.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    output = os.dup(1)
    os.dup2(2, 1)  # Whatever native code prints belongs with the log.
    import xllamacpp

    server = xllamacpp.Server(_parameters(options))
    announce(server.listening_address, output)
    threading.Event().wait()


if __name__ == "__main__":
    main()
