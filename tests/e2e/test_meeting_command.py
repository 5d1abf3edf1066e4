"""`atrium meeting` against a running suite without models."""

from __future__ import annotations

import json
import wave
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from atrium_suite.cli.main import app

from .running_suite import RunningSuite

Command = Callable[..., Result]

CAPTIONS = """WEBVTT

00:00:01.000 --> 00:00:05.000
<v Mia>So we decided to move to Northgate in May.

00:00:06.000 --> 00:00:10.000
<v Tom>I will sign the contract by Friday.
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSuite]:
    running = RunningSuite(tmp_path_factory.mktemp("meetings") / "state")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def key(running: RunningSuite) -> str:
    return running.bootstrap()


@pytest.fixture
def atrium(running: RunningSuite, key: str) -> Command:
    def call(*arguments: str, given: str | None = None) -> Result:
        env = {"ATRIUM_API_KEY": key, "ATRIUM_TARGET": running.target}
        result = CliRunner().invoke(app, ["meeting", *arguments], env=env, input=given)
        assert result.exception is None or isinstance(result.exception, SystemExit)
        assert "\x1b" not in result.output
        return result

    return call


@pytest.fixture
def imported(atrium: Command, tmp_path: Path) -> Iterator[str]:
    """The id of a meeting that was imported."""
    file = tmp_path / "move.vtt"
    file.write_text(CAPTIONS, "utf-8")
    assert atrium("import", str(file)).exit_code == 0
    identifier = ids_of(atrium)[0]
    yield identifier
    assert atrium("delete", identifier, "--yes").exit_code == 0


def ids_of(atrium: Command) -> list[str]:
    listed = json.loads(atrium("list", "--json").stdout)
    return [each["name"].removeprefix("meetings/") for each in listed]


def test_the_newest_meeting_needs_no_id(atrium: Command, imported: str, tmp_path: Path) -> None:
    assert "Northgate" in atrium("show", "latest").output
    assert "Minutes" in atrium("minutes", "latest").output
    assert "sign the contract" in atrium("ask", "latest", "Who signs the contract?").output
    assert "Northgate" in atrium("catchup", "latest", "--joined", "0:05").output
    for suffix in (".md", ".docx", ".srt", ".vtt", ".json"):
        file = tmp_path / f"minutes{suffix}"
        assert atrium("export", "latest", str(file)).exit_code == 0
        assert file.stat().st_size > 0


def test_without_meetings_there_is_no_newest_one(atrium: Command) -> None:
    said = atrium("show", "latest")
    assert said.exit_code == 1
    assert "NO_MEETINGS" in said.output


def test_an_unknown_meeting_is_told_with_where_to_look(atrium: Command) -> None:
    said = atrium("ask", "m1", "Who?")
    assert said.exit_code == 1
    assert "MEETING_NOT_FOUND" in said.output
    assert "atrium meeting list" in said.output


def test_what_cannot_be_taken_in_leaves_no_empty_meeting(atrium: Command, tmp_path: Path) -> None:
    text = tmp_path / "notes.md"
    text.write_text("# Notes")
    sound = tmp_path / "sound.wav"
    with wave.open(str(sound), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(16_000)
        out.writeframes(b"\0\0" * 16_000)
    for command, file, reason in (
        ("import", text, "TRANSCRIPT_FORMAT_UNKNOWN"),
        ("transcribe", sound, "RECOGNITION_UNAVAILABLE"),
        ("live", sound, "RECOGNITION_UNAVAILABLE"),
        ("live", text, "SOUND_INVALID"),
        ("live", tmp_path / "none.wav", "No such file"),
        ("transcribe", tmp_path / "none.mp4", "OPTION_INVALID"),
    ):
        said = atrium(command, str(file))
        assert said.exit_code == 1, said.output
        assert reason in said.output
    assert ids_of(atrium) == []


def test_who_deletes_is_asked_for_the_meeting_by_its_title(atrium: Command, imported: str) -> None:
    kept = atrium("delete", "latest", given="n\n")
    assert kept.exit_code == 1
    assert f"{imported} “move”" in kept.output
    assert ids_of(atrium) == [imported]
