"""The real worker in a process of its own, with a scripted pyannote.audio in place of the real one.

The last test runs the real library: `make test-pyannote` names its interpreter and the weights.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from atrium_meeting.adapters.onnx_speaker_models import MODELS
from atrium_meeting.adapters.pyannote_diarizer import PyannoteDiarizer
from atrium_meeting.domain.audio import SAMPLE_RATE, Region, Samples
from atrium_meeting.domain.errors import DiarizationUnavailable
from atrium_meeting.testing import silence, tone

REAL_PYTHON = os.environ.get("ATRIUM_PYANNOTE_PYTHON", "")
SEGMENTATION = os.environ.get("ATRIUM_PYANNOTE_SEGMENTATION", "")

FAKE_LIBRARY = """
import os, sys, time
from types import SimpleNamespace

__version__ = "scripted"

class Annotation:
    def __init__(self, turns):
        self._turns = turns
    def itertracks(self, yield_label):
        for start, end, who in self._turns:
            yield SimpleNamespace(start=start, end=end), None, who

class Pipeline:
    @classmethod
    def from_pretrained(cls, folder):
        self = cls()
        with open(os.path.join(folder, "config.yaml")) as file:
            self.does = file.read().split()
        if self.does[0] == "unloadable":
            raise OSError("weights.bin is missing")
        return self
    def __call__(self, file):
        print("a library that prints")
        if self.does[0] == "dies":
            print("out of memory", file=sys.stderr)
            os._exit(3)
        if self.does[0] == "hangs":
            time.sleep(60)
        if self.does[0] == "raises":
            raise RuntimeError("bad tensor")
        if self.does[0] == "environment":
            raise RuntimeError(",".join(sorted(os.environ)))
        seconds = file["waveform"].shape[1] / file["sample_rate"]
        turns = Annotation([(0.0, seconds / 2, "B"), (seconds / 2, seconds, "A")])
        return turns if self.does[0] == "legacy" else SimpleNamespace(speaker_diarization=turns)
"""
FAKE_TORCH = """
import contextlib
float32 = "float32"
inference_mode = contextlib.nullcontext

class _Sound:
    def __init__(self, data):
        self.shape = (1, len(data) // 4)
    def reshape(self, *shape):
        return self

def frombuffer(data, dtype):
    return _Sound(data)
"""


@pytest.fixture
def fake_python(tmp_path: Path) -> Path:
    """An interpreter that finds the scripted libraries."""
    library = tmp_path / "library"
    (library / "pyannote" / "audio").mkdir(parents=True)
    (library / "pyannote" / "audio" / "__init__.py").write_text(FAKE_LIBRARY)
    (library / "torch.py").write_text(FAKE_TORCH)
    program = tmp_path / "python"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={library} exec {sys.executable} -S "$@"\n')
    program.chmod(0o755)
    return program


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    folder = tmp_path / "halves"
    folder.mkdir()
    (folder / "config.yaml").write_text("works")
    return folder


@pytest.fixture
def diarizer(fake_python: Path, pipeline: Path) -> Iterator[PyannoteDiarizer]:
    diarizer = PyannoteDiarizer(fake_python, pipeline, piece_seconds=20)
    yield diarizer
    diarizer.close()


SPEECH = [Region(0, 2000)]


@pytest.mark.parametrize("kind", ["works", "legacy"])
def test_turns_come_out_with_speakers_in_order(
    diarizer: PyannoteDiarizer, pipeline: Path, kind: str
):
    (pipeline / "config.yaml").write_text(kind)

    turns = diarizer.assign([diarizer.examine(tone(2), SPEECH, 5000)])

    assert [(t.speaker, t.start_ms, t.end_ms) for t in turns] == [
        ("S1", 5000, 6000),
        ("S2", 6000, 7000),
    ]
    assert diarizer.model == "pyannote.audio/halves"


def test_speakers_of_pieces_are_put_together_by_their_voices(
    diarizer: PyannoteDiarizer, two_speakers: Samples
):
    first = two_speakers[1 * SAMPLE_RATE : 8 * SAMPLE_RATE]
    second = two_speakers[13 * SAMPLE_RATE :]
    # Halves: S1 (to 3.5 s) and S2 (4.1 s on) in the first; S2 (to 14.7 s) and S1 in the second.
    pieces = [diarizer.examine(first, SPEECH, 0), diarizer.examine(second, SPEECH, 7000)]

    turns = diarizer.assign([type(p)(p.offset_ms, bytes(p.data)) for p in pieces])

    assert [turn.speaker for turn in turns] == ["S1", "S2", "S2", "S1"]


def test_a_given_number_of_speakers_is_kept_to(diarizer: PyannoteDiarizer, two_speakers: Samples):
    piece = diarizer.examine(two_speakers, SPEECH, 0)

    assert {turn.speaker for turn in diarizer.assign([piece], speakers=1)} == {"S1"}


def test_without_speech_no_process_is_started(pipeline: Path):
    diarizer = PyannoteDiarizer(Path("/nowhere/python"), pipeline)

    assert diarizer.assign([diarizer.examine(silence(2), [], 0)]) == []


def test_an_interpreter_that_is_missing_is_named(pipeline: Path):
    diarizer = PyannoteDiarizer(Path("/nowhere/python"), pipeline)

    with pytest.raises(
        DiarizationUnavailable, match=r"/nowhere/python cannot be started"
    ) as raised:
        diarizer.examine(tone(2), SPEECH, 0)
    assert raised.value.reason == "DIARIZATION_UNAVAILABLE"


def test_a_folder_without_a_pipeline_is_named(fake_python: Path, tmp_path: Path):
    diarizer = PyannoteDiarizer(fake_python, tmp_path / "nothing")

    with pytest.raises(DiarizationUnavailable, match=r"nothing holds no config\.yaml"):
        diarizer.examine(tone(2), SPEECH, 0)


def test_an_environment_without_the_library_says_so(pipeline: Path):
    diarizer = PyannoteDiarizer(Path(sys.executable), pipeline)

    with pytest.raises(DiarizationUnavailable, match=r"could not be loaded: ModuleNotFoundError"):
        diarizer.examine(tone(2), SPEECH, 0)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("unloadable", r"could not be loaded: OSError: weights\.bin is missing"),
        ("raises", r"failed: RuntimeError: bad tensor"),
        ("dies", r"(?s)ended unexpectedly\. It said: .*out of memory"),
    ],
)
def test_what_goes_wrong_in_the_process_is_told_and_the_next_call_works(
    diarizer: PyannoteDiarizer, pipeline: Path, kind: str, message: str
):
    (pipeline / "config.yaml").write_text(kind)
    with pytest.raises(DiarizationUnavailable, match=message):
        diarizer.examine(tone(2), SPEECH, 0)

    diarizer.close()
    (pipeline / "config.yaml").write_text("works")
    assert len(diarizer.assign([diarizer.examine(tone(2), SPEECH, 0)])) == 2


def test_a_process_that_hangs_is_ended(fake_python: Path, pipeline: Path):
    (pipeline / "config.yaml").write_text("hangs")
    diarizer = PyannoteDiarizer(fake_python, pipeline, piece_seconds=0.3)

    started = time.monotonic()
    with pytest.raises(DiarizationUnavailable, match=r"took longer than 0\.3 s and was ended"):
        diarizer.examine(tone(2), SPEECH, 0)
    assert time.monotonic() - started < 20


def test_secrets_of_the_service_do_not_reach_the_process(
    diarizer: PyannoteDiarizer, pipeline: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MEETING_DATABASE_URL", "postgresql://secret")
    (pipeline / "config.yaml").write_text("environment")

    with pytest.raises(DiarizationUnavailable) as raised:
        diarizer.examine(tone(2), SPEECH, 0)
    assert "HF_HUB_OFFLINE" in str(raised.value)
    assert "MEETING_DATABASE_URL" not in str(raised.value)


@pytest.mark.skipif(not REAL_PYTHON, reason="needs pyannote.audio: make test-pyannote")
@pytest.mark.timeout(900)
def test_the_real_library_runs_a_real_pipeline_from_a_folder(tmp_path: Path, two_speakers: Samples):
    """SpeakerDiarization with the real segmentation-3.0; embeddings by CAM++ as ONNX.

    The library takes ONNX encoders by the names that WeSpeaker gives inputs and outputs. It reads
    a PLDA whichever clustering is chosen; the agglomerative one does not use it.
    """
    model = onnx.load(MODELS / "campplus.onnx")
    graph = model.graph
    graph.node.insert(0, helper.make_node("Identity", ["feats"], ["features"]))
    graph.node.append(helper.make_node("Identity", ["embeddings"], ["embs"]))
    graph.input[0].name, graph.output[0].name = "feats", "embs"
    onnx.save(model, tmp_path / "wespeaker-campplus.onnx")
    one = np.eye(192)
    np.savez(tmp_path / "xvec_transform.npz", mean1=np.zeros(192), mean2=np.zeros(192), lda=one)
    np.savez(tmp_path / "plda.npz", mu=np.zeros(192), tr=one, psi=np.arange(192, 0, -1.0))
    config = {
        "pipeline": {
            "name": "pyannote.audio.pipelines.SpeakerDiarization",
            "params": {
                "segmentation": SEGMENTATION,
                "segmentation_step": 0.25,
                "segmentation_batch_size": 4,
                "embedding": str(tmp_path / "wespeaker-campplus.onnx"),
                "embedding_exclude_overlap": True,
                "plda": str(tmp_path),
                "clustering": "AgglomerativeClustering",
            },
        },
        "params": {
            "segmentation": {"min_duration_off": 0.0},
            "clustering": {"method": "average", "min_cluster_size": 1, "threshold": 0.6},
        },
    }
    (tmp_path / "config.yaml").write_text(json.dumps(config))
    diarizer = PyannoteDiarizer(Path(REAL_PYTHON), tmp_path)
    try:
        middle = 8 * SAMPLE_RATE
        pieces = [
            diarizer.examine(two_speakers[:middle], SPEECH, 0),
            diarizer.examine(two_speakers[middle:], SPEECH, 8000),
        ]
        turns = diarizer.assign(pieces)
    finally:
        diarizer.close()

    for speaker, start_ms, end_ms in (
        ("S1", 1071, 3521),
        ("S2", 8213, 14723),
        ("S1", 15487, 17517),
    ):
        own = sum(
            min(turn.end_ms, end_ms) - max(turn.start_ms, start_ms)
            for turn in turns
            if turn.speaker == speaker and turn.start_ms < end_ms and turn.end_ms > start_ms
        )
        assert own > 0.7 * (end_ms - start_ms)
