"""Runs a pipeline of pyannote.audio in an environment of its own; nothing else imports this file.

    python pyannote_worker.py PIPELINE_FOLDER

One request is a line of JSON, ``{"samples": N}``, and N 32-bit floats (mono, 16 kHz). One answer is
a line of JSON, ``{"turns": [[speaker, start_s, end_s], ...]}`` or ``{"error": "..."}``. The first
line tells that the pipeline is loaded, ``{"pipeline": name, "version": version}``, or why it is
not. The standard output belongs to the answers: what libraries print goes to the error stream. The
end of the input ends the worker.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any, BinaryIO

SAMPLE_RATE = 16_000


def load(folder: str) -> tuple[Any, dict[str, str]]:
    """Return a pipeline and what is to be said about it."""
    import pyannote.audio

    pipeline = pyannote.audio.Pipeline.from_pretrained(folder)
    if pipeline is None:
        raise ValueError(f"{folder} holds no pipeline.")
    about = {"pipeline": type(pipeline).__name__, "version": pyannote.audio.__version__}
    return pipeline, about


def find_turns(pipeline: Any, sound: bytes) -> list[list[object]]:
    """Return the turns of a piece: speaker, start and end in seconds."""
    import torch

    waveform = torch.frombuffer(bytearray(sound), dtype=torch.float32).reshape(1, -1)
    with torch.inference_mode():
        found = pipeline({"waveform": waveform, "sample_rate": SAMPLE_RATE})
    annotation = getattr(found, "speaker_diarization", found)
    return [
        [str(speaker), float(turn.start), float(turn.end)]
        for turn, _, speaker in annotation.itertracks(yield_label=True)
    ]


def serve(pipeline: Any, requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests until there are no more."""
    while line := requests.readline():
        sound = requests.read(4 * int(json.loads(line)["samples"]))
        try:
            answer: dict[str, object] = {"turns": find_turns(pipeline, sound)}
        except Exception as exc:  # whatever a pipeline raises is told to the service
            answer = {"error": f"{type(exc).__name__}: {exc}"}
        say(answers, answer)


def say(answers: BinaryIO, answer: object) -> None:
    """Write one line."""
    answers.write(json.dumps(answer).encode() + b"\n")
    answers.flush()


def main() -> None:
    """Load the pipeline, say so, and serve."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        pipeline, about = load(sys.argv[1])
    except Exception as exc:  # a missing package, a broken file, a pipeline that wants a model hub
        say(answers, {"error": f"{type(exc).__name__}: {exc}"})
        sys.exit(1)
    say(answers, about)
    serve(pipeline, sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
