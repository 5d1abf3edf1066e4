"""Networks run by ONNX Runtime beside everything else that a process does."""

from __future__ import annotations

from pathlib import Path

import onnxruntime as ort


def open_session(model: bytes | Path, *, threads: int = 1) -> ort.InferenceSession:
    """Return a session for inputs whose length differs; several threads may run it at once.

    Args:
        model: The graph, or its file.
        threads: How many compute one run.

    Raises:
        Exception: ONNX Runtime cannot read it; its errors have no class of their own.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # A plan of memory would be kept for each length that ever came.
    options.enable_mem_pattern = False
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
