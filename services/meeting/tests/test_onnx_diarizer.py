import base64
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from atrium_meeting.adapters.onnx_diarizer import OnnxDiarizer, window_starts
from atrium_meeting.adapters.onnx_speaker_models import MODELS, OnnxSpeakerEncoder, Segmentation
from atrium_meeting.app.ports import SpeakerPiece
from atrium_meeting.domain.audio import SAMPLE_RATE, Region, Samples
from atrium_meeting.domain.online_speakers import OnlineSpeakers
from atrium_meeting.testing import silence, tone

TURNS = [("S1", 1071, 3521), ("S2", 4120, 7870), ("S2", 8213, 14723), ("S1", 15487, 17517)]


@pytest.fixture(scope="module")
def diarizer() -> OnnxDiarizer:
    return OnnxDiarizer(threads=1)


@pytest.fixture(scope="module")
def examined(diarizer: OnnxDiarizer, two_speakers: Samples) -> SpeakerPiece:
    return diarizer.examine(two_speakers, everything(two_speakers), 0)


def everything(samples: Samples) -> list[Region]:
    return [Region(0, len(samples) * 1000 // SAMPLE_RATE)]


def test_two_speakers_are_found_with_their_turns(diarizer: OnnxDiarizer, examined: SpeakerPiece):
    turns = diarizer.assign([examined])

    assert {turn.speaker for turn in turns} == {"S1", "S2"}
    for speaker, start_ms, end_ms in TURNS:
        own = sum(
            min(turn.end_ms, end_ms) - max(turn.start_ms, start_ms)
            for turn in turns
            if turn.speaker == speaker and turn.start_ms < end_ms and turn.end_ms > start_ms
        )
        assert own > 0.8 * (end_ms - start_ms)


def test_pieces_share_speakers_and_survive_json(diarizer: OnnxDiarizer, two_speakers: Samples):
    middle = 8000 * SAMPLE_RATE // 1000
    pieces = [
        diarizer.examine(part, everything(part), offset)
        for part, offset in ((two_speakers[:middle], 0), (two_speakers[middle:], 8000))
    ]
    stored = json.dumps([[p.offset_ms, base64.b64encode(p.data).decode()] for p in pieces])
    again = [SpeakerPiece(offset, base64.b64decode(data)) for offset, data in json.loads(stored)]

    turns = diarizer.assign(again)

    assert len(pieces[0].data) < 10_000
    assert turns[0].speaker == "S1"
    assert {turn.speaker for turn in turns if turn.end_ms > 16_000} == {"S1"}
    assert {t.speaker for t in turns if t.start_ms > 4000 and t.end_ms < 15_000} == {"S2"}


def test_a_given_number_of_speakers_is_kept_to(diarizer: OnnxDiarizer, examined: SpeakerPiece):
    assert {turn.speaker for turn in diarizer.assign([examined], speakers=1)} == {"S1"}


def test_nothing_is_examined_where_nobody_speaks(diarizer: OnnxDiarizer):
    piece = diarizer.examine(silence(60), [], 0)

    assert diarizer.assign([piece]) == []
    assert len(piece.data) < 2000


@pytest.mark.parametrize("sound", [silence(0), silence(0.01), silence(3), tone(3), tone(12)])
def test_sound_without_voices_gives_no_turns(diarizer: OnnxDiarizer, sound: Samples):
    assert diarizer.assign([diarizer.examine(sound, everything(sound), 0)]) == []


def test_no_pieces_give_no_turns(diarizer: OnnxDiarizer):
    assert diarizer.assign([]) == []


def test_windows_cover_everything_and_skip_what_is_not_speech():
    minute = 60 * SAMPLE_RATE

    assert window_starts(minute, [Region(0, 60_000)], 148)[0] == 0
    assert window_starts(minute, [Region(0, 60_000)], 148)[-1] == (minute - 160_000) // 270
    assert window_starts(minute, [Region(30_000, 30_500)], 148) == [1332, 1480, 1628, 1776]
    assert window_starts(8000, [Region(0, 500)], 148) == [0]


def test_live_utterances_find_their_speakers(two_speakers: Samples):
    encoder, speakers = OnnxSpeakerEncoder(), OnlineSpeakers()

    heard = [
        speakers.assign(
            encoder.encode(two_speakers[start * SAMPLE_RATE // 1000 : end * SAMPLE_RATE // 1000]),
            end - start,
        )
        for _, start, end in TURNS
    ]

    assert heard == [speaker for speaker, _, _ in TURNS]


def test_an_utterance_under_400_ms_has_no_voice():
    assert OnnxSpeakerEncoder().encode(tone(0.3)) is None


def test_the_segmentation_is_the_original_network():
    # A hum whose pitch swings; numbers of the original weights under torch 2.13.
    time = np.arange(160_000) / SAMPLE_RATE
    swing = 150 + 40 * np.sin(2 * np.pi * 3 * time)
    hum = 0.2 * np.sin(2 * np.pi * swing * time) * (np.sin(2 * np.pi * 0.4 * time) > 0)

    (classes,) = Segmentation().classes(hum.astype(np.float32), [0])

    counts = np.bincount(classes, minlength=7)
    assert abs(counts - [434, 0, 155, 0, 0, 0, 0]).max() <= 3


def test_the_encoder_is_the_original_network():
    # The first numbers of the embedding by the original weights under torch 2.13.
    features = (np.sin(np.arange(250 * 80).reshape(250, 80) * 0.37) * 3).astype(np.float32)

    embedding = OnnxSpeakerEncoder().embed(features)

    assert embedding is not None
    assert np.linalg.norm(embedding) == pytest.approx(1.0, abs=1e-5)
    assert embedding[:6] == pytest.approx(
        [-0.1012, -0.077, 0.0438, -0.0801, -0.0032, 0.0375], abs=2e-3
    )


def test_what_ships_is_what_the_export_writes():
    """Without torch the script cannot run here, but it names the SHA-256 of what it writes."""
    script = Path(__file__).parents[1] / "training" / "export_speaker_models.py"
    text = script.read_text(encoding="utf-8")

    for model in ("segmentation-3.0.onnx", "campplus.onnx"):
        digest = hashlib.sha256((MODELS / model).read_bytes()).hexdigest()
        assert f'"{model}": "{digest}"' in text
