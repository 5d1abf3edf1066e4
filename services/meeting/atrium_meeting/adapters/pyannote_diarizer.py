"""Diarization by a pipeline of pyannote.audio, in its own environment and process.

torch and pyannote.audio never enter the process of the service. The pipeline tells who speaks when
within a piece; over pieces, speakers are put together by CAM++ and the clustering that the built-in
diarizer uses, so any pipeline will do, whatever embeddings it has or has not.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from atrium_meeting.adapters.onnx_speaker_models import OnnxSpeakerEncoder
from atrium_meeting.app.ports import SpeakerPiece
from atrium_meeting.domain.audio import Region, Samples, cut
from atrium_meeting.domain.diarization import in_order_of_speaking, name_voices
from atrium_meeting.domain.errors import DiarizationUnavailable
from atrium_meeting.domain.transcript import SpeakerTurn

WORKER: Final = Path(__file__).with_name("pyannote_worker.py")
START_SECONDS: Final = 600.0
"""How long importing torch and loading a pipeline may take: minutes, from a cold disk."""
PIECE_SECONDS: Final = 1800.0
"""How long a piece may take: five minutes of sound on a slow processor."""
_VOICE_MS: Final = 6000
"""Speech by which a speaker of a piece is known to other pieces."""
_LOG_BYTES: Final = 2000


class PyannoteDiarizer:
    """Runs a pipeline from a local folder; starts its process when it is first needed.

    A process that dies or takes too long is ended; the call fails, and the next one starts another.

    Args:
        python: Interpreter of an environment with pyannote.audio (``requirements/pyannote.txt``).
        pipeline: Folder with the pipeline's ``config.yaml`` and the files that it names.
        start_seconds: How long starting may take.
        piece_seconds: How long one piece may take.
    """

    def __init__(
        self,
        python: Path,
        pipeline: Path,
        *,
        start_seconds: float = START_SECONDS,
        piece_seconds: float = PIECE_SECONDS,
    ) -> None:
        self._python = python
        self._pipeline = pipeline
        self._start_seconds = start_seconds
        self._piece_seconds = piece_seconds
        self._encoder = OnnxSpeakerEncoder()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None

    @property
    def model(self) -> str:
        """Name of the pipeline's folder."""
        return f"pyannote.audio/{self._pipeline.name}"

    def examine(self, samples: Samples, speech: Sequence[Region], offset_ms: int) -> SpeakerPiece:
        """Return the turns of a piece and the voice of each of its speakers.

        Raises:
            DiarizationUnavailable: The environment or the pipeline is missing, or its process died
                or took too long.
        """
        turns: list[tuple[str, int, int]] = []
        if speech:
            found = self._ask(samples)
            turns = [
                (who, round(1000 * start), round(1000 * end)) for who, start, end in found["turns"]
            ]
        voices = {}
        for who in sorted({turn[0] for turn in turns}):
            own = [Region(start, end) for name, start, end in turns if name == who]
            voices[who] = self._voice(samples, own)
        content = {"turns": turns, "voices": voices}
        return SpeakerPiece(offset_ms, json.dumps(content).encode())

    def assign(self, pieces: Sequence[SpeakerPiece], speakers: int = 0) -> list[SpeakerTurn]:
        """Return who spoke when, over all pieces."""
        known = [(piece.offset_ms, json.loads(piece.data)) for piece in pieces]
        names = [
            (number, who) for number, (_, piece) in enumerate(known) for who in piece["voices"]
        ]
        if not names:
            return []
        voices = [known[number][1]["voices"][who] for number, who in names]
        labels = dict(zip(names, range(len(names)), strict=True))
        if len(known) > 1 or speakers:
            found = name_voices(
                np.array([voice["embedding"] for voice in voices], np.float32),
                np.array([voice["seconds"] for voice in voices], np.float32),
                speakers,
            )
            labels = dict(zip(names, found.tolist(), strict=True))
        turns = [
            SpeakerTurn(str(labels[number, who]), offset_ms + start, offset_ms + end)
            for number, (offset_ms, piece) in enumerate(known)
            for who, start, end in piece["turns"]
            if end > start
        ]
        return in_order_of_speaking(sorted(turns, key=lambda turn: (turn.start_ms, turn.end_ms)))

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def _voice(self, samples: Samples, own: Sequence[Region]) -> dict[str, Any]:
        """Return the embedding of a speaker's longest turns, and how much speech there is."""
        sound: list[Samples] = []
        left = _VOICE_MS
        for region in sorted(own, key=lambda region: -region.length_ms):
            if left <= 0:
                break
            sound.append(
                cut(samples, Region(region.start_ms, min(region.end_ms, region.start_ms + left)))
            )
            left -= region.length_ms
        embedding = self._encoder.encode(np.concatenate(sound))
        seconds = sum(region.length_ms for region in own) / 1000
        if embedding is None:
            return {"embedding": [0.0] * 192, "seconds": 0.0}
        return {"embedding": [round(float(x), 5) for x in embedding], "seconds": seconds}

    def _ask(self, samples: Samples) -> dict[str, Any]:
        with self._lock:
            process = self._process or self._start()
            request = json.dumps({"samples": len(samples)}).encode() + b"\n"
            answer = self._exchange(
                process, [request, samples.astype("<f4").tobytes()], self._piece_seconds
            )
        if "error" in answer:
            raise DiarizationUnavailable(
                f"The pipeline {self._pipeline} failed: {answer['error']}", pipeline=self.model
            )
        return answer

    def _start(self) -> subprocess.Popen[bytes]:
        if not (self._pipeline / "config.yaml").is_file():
            raise DiarizationUnavailable(
                f"{self._pipeline} holds no config.yaml. Name the folder of a pipeline of "
                "pyannote.audio.",
                pipeline=self.model,
            )
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 -- closed when the process ends
        # Nothing of the service's environment, which holds secrets; and no model hub, no telemetry.
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HF_HUB_OFFLINE": "1",
            "PYANNOTE_METRICS_ENABLED": "0",
        }
        try:
            self._process = subprocess.Popen(  # noqa: S603 -- the operator names the interpreter
                [str(self._python), str(WORKER), str(self._pipeline)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                env=environment,
            )
        except OSError as exc:
            self._end()
            raise DiarizationUnavailable(
                f"{self._python} cannot be started: {exc}. Name the interpreter of an environment "
                "with pyannote.audio (requirements/pyannote.txt).",
                pipeline=self.model,
            ) from exc
        about = self._exchange(self._process, [], self._start_seconds)
        if "error" in about:
            self._end()
            raise DiarizationUnavailable(
                f"The pipeline {self._pipeline} could not be loaded: {about['error']}",
                pipeline=self.model,
            )
        return self._process

    def _exchange(
        self, process: subprocess.Popen[bytes], request: Sequence[bytes], seconds: float
    ) -> dict[str, Any]:
        """Write a request and return the answer; the process ends if it does not answer in time."""
        assert process.stdin is not None
        assert process.stdout is not None
        late = threading.Event()

        def stop() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(seconds, stop)
        timer.start()
        try:
            for part in request:
                process.stdin.write(part)
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = b""
        finally:
            timer.cancel()
        if not line:
            said = self._end()
            raise DiarizationUnavailable(
                f"The process of pyannote.audio took longer than {seconds:g} s and was ended."
                if late.is_set()
                else f"The process of pyannote.audio ended unexpectedly. It said: {said}",
                pipeline=self.model,
            )
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _end(self) -> str:
        """End the process and return the last that it said."""
        said = ""
        if self._process is not None:
            self._process.kill()
            for stream in (self._process.stdin, self._process.stdout):
                if stream is not None:
                    with contextlib.suppress(BrokenPipeError):  # a request that nobody reads
                        stream.close()
            self._process.wait()
        if self._log is not None:
            end = self._log.seek(0, os.SEEK_END)
            self._log.seek(max(0, end - _LOG_BYTES))
            said = self._log.read().decode(errors="replace").strip()
            self._log.close()
        self._process = self._log = None
        return said
