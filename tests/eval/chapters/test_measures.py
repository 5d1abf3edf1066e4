from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from .measures import f1, matches, pk, window_diff
from .sets import load_qmsum, load_vcsum


def test_a_boundary_is_matched_once_and_within_the_tolerance() -> None:
    assert matches([10, 11], [10], 1) == 1
    assert matches([8], [10], 1) == 0
    assert matches([9.5, 20], [10, 21], 1) == 2
    assert f1(2, 3, 2) == pytest.approx(0.8)


def test_a_right_segmentation_has_no_error() -> None:
    assert pk({5, 10}, {5, 10}, 15) == 0
    assert window_diff({5, 10}, {5, 10}, 15) == 0


def test_no_cut_and_too_many_cuts_are_errors() -> None:
    assert pk(set(), {5, 10}, 15) > 0.2
    assert window_diff(set(range(1, 15)), {5, 10}, 15) > 0.5


def test_a_joined_meeting_tells_no_boundary_by_its_speakers(tmp_path: Path) -> None:
    rows = [
        {"av_num": n % 7, "speaker": [3, 4, 3], "context": [["好的。"], ["我们开始。"], ["行。"]]}
        for n in range(40)
    ]
    file = tmp_path / "vcsum.jsonl.gz"
    with gzip.open(file, "wt", encoding="utf-8") as out:
        out.writelines(json.dumps(row) + "\n" for row in rows)
    meetings = load_vcsum(file, "tune", "joined")
    assert meetings
    for meeting in meetings:
        assert 4 <= len(meeting.starts) <= 7
        assert {u.speaker for u in meeting.transcript.utterances} == {"S1", "S2"}
        assert all(start % 3 == 0 for start in meeting.starts)
    assert [m.id for m in load_vcsum(file, "tune", "joined")] == [m.id for m in meetings]


def test_lines_that_say_nothing_do_not_shift_the_boundaries(tmp_path: Path) -> None:
    lines = [{"speaker": "A", "content": f"Line {i} ."} for i in range(12)]
    lines[3]["content"] = "{vocalsound} ."
    topics = [
        {"topic": "one", "relevant_text_span": [["0", "6"]]},
        {"topic": "two", "relevant_text_span": [["7", "11"]]},
    ]
    file = tmp_path / "qmsum.jsonl.gz"
    with gzip.open(file, "wt", encoding="utf-8") as out:
        row = {"id": "m", "meeting_transcripts": lines, "topic_list": topics}
        out.write(json.dumps(row))
    [meeting] = load_qmsum(file)
    assert len(meeting.transcript.utterances) == 11
    assert meeting.starts == (6,)
    assert meeting.transcript.utterances[6].text == "Line 7."
