from __future__ import annotations

import json
from pathlib import Path

import av
import pytest

from atrium_meeting.domain.transcript import join, split_words
from tests.eval.meeting_scripts.script import read_scripts

FOLDER = Path(__file__).parent
SAMPLES = FOLDER.parents[2] / "services/suite/atrium_suite/samples/meetings"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_sample_meetings_are_what_their_scripts_say(language: str) -> None:
    (script,) = read_scripts(FOLDER / f"samples_{language}.txt")
    meeting = json.loads((SAMPLES / language / "meeting.json").read_text(encoding="utf-8"))
    audio = SAMPLES / language / meeting["audio"]

    assert [said["text"] for said in meeting["utterances"]] == [
        join(line.words) for line in script.lines
    ]
    for said in meeting["utterances"]:
        assert [word["text"] for word in said["words"]] == split_words(said["text"])
    assert len(meeting["decisions"]) == 2
    assert len(meeting["actions"]) == 3
    assert all(action["owner"] and action["due_date"] for action in meeting["actions"])
    assert meeting["left"]["missed_decisions"] == ["d2"]
    assert audio.stat().st_size < 1_000_000
    with av.open(str(audio)) as container:
        frames = list(container.decode(audio=0))
    length = sum(frame.samples for frame in frames) * 1000 / frames[0].sample_rate
    assert length == pytest.approx(meeting["duration_ms"], abs=100)
    assert 90_000 <= length <= 125_000
