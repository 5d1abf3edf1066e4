from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.eval.meeting_scripts.script import Script, read_scripts

from . import cache_folder, load

FOLDER = Path(__file__).parent


def scripts(name: str) -> list[Script]:
    return [s for lang in ("en", "zh") for s in read_scripts(FOLDER / f"{name}_{lang}.txt")]


def test_there_are_six_scripts_a_language_with_something_planted_in_each() -> None:
    found = scripts("scripts")

    assert sorted(s.id for s in found) == [
        f"{lang}-0{n}" for lang in ("en", "zh") for n in range(1, 7)
    ]
    for script in found:
        assert 3 <= len(script.speakers) <= 4
        assert sum(item.label[0] == "a" for item in script.planted) >= 2
        marks = {mark for line in script.lines for mark in line.disfluencies if mark}
        assert len(marks) >= 3


def test_recordings_are_looked_for_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATRIUM_CACHE_DIR", str(tmp_path))
    assert load() == []

    folder = cache_folder() / "meetings"
    folder.mkdir(parents=True)
    for name in ("zh-01", "en-01"):
        (folder / f"{name}.json").write_text(json.dumps({"id": name, "audio": f"{name}.ogg"}))
    (folder / "en-01.ogg").touch()

    # A meeting whose sound is missing was not made to the end.
    assert [recording.meeting["id"] for recording in load()] == ["en-01"]
    assert load()[0].audio == folder / "en-01.ogg"
