"""`atrium knowledge versions`, `explain` and `sync` against a running suite."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from atrium_suite.cli.main import app

from .running_suite import RunningSuite

Command = Callable[..., Result]


@pytest.fixture(scope="module")
def atrium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    folder = tmp_path_factory.mktemp("history")
    running = RunningSuite(folder / "state")
    state = ["--state", str(running.suite.state_dir), "--target", running.target]
    made = CliRunner().invoke(app, ["admin", "bootstrap", "--tenant", "acme", "--json", *state])
    env = {"ATRIUM_API_KEY": json.loads(made.output)["secret"], "ATRIUM_TARGET": running.target}

    def call(*arguments: str) -> Result:
        result = CliRunner().invoke(app, list(arguments), env=env)
        assert "Traceback" not in result.output
        return result

    pay = folder / "pay.md"
    pay.write_text("# Pay\n\nGrade P5 earns 4,711 euros a month.\n", "utf-8")
    commands = (
        ("knowledge", "create", "handbook"),
        ("knowledge", "add", "handbook", str(pay), "--id", "pay", "--label", "hr/pay"),
        ("admin", "role", "create", "hr", "--grant", "labels/hr/*:read", "--inherits", "member"),
        ("admin", "user", "create", "lin", "--role", "hr"),
        ("admin", "user", "create", "wang"),
    )
    try:
        for command in commands:
            done = call(*command)
            assert done.exit_code == 0, done.output
        yield call
    finally:
        running.stop()


def test_explain_names_the_reader_the_role_and_the_grant(atrium: Command) -> None:
    shown = atrium("knowledge", "explain", "handbook/pay/1")
    assert shown.exit_code == 0, shown.output
    assert re.search(r"^document 文档 +hr/pay$", shown.output, re.MULTILINE)
    assert re.search(r"users/lin +roles/hr +labels/hr/\*:read +labels/hr/pay:read", shown.output)
    assert "users/wang" not in shown.output
    assert "4,711" not in shown.output


def test_explain_gives_programs_json(atrium: Command) -> None:
    found = json.loads(atrium("knowledge", "explain", "handbook/pay", "--json").output)
    assert found["name"] == "collections/handbook/documents/pay"
    assert found["clauses"] == [{"origin": "DOCUMENT", "labels": ["hr/pay"]}]
    assert "users/lin" in [reader["user"] for reader in found["readers"]]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("handbook/pay", "--at", "2999-01-01"), "READ_TIME_AHEAD"),
        (("handbook/pay", "--at", "2001-01-01"), "READ_TIME_BEFORE_DOCUMENT"),
        (("handbook/pay", "--at", "yesterday"), "OPTION_INVALID"),
        (("handbook",), "OPTION_INVALID"),
        (("handbook/pay/9",), "PASSAGE_NOT_FOUND"),
    ],
)
def test_explain_says_what_is_wrong(
    atrium: Command, arguments: tuple[str, ...], reason: str
) -> None:
    refused = atrium("knowledge", "explain", *arguments)
    assert refused.exit_code == 1
    assert reason in refused.output


def test_versions_are_listed_with_their_labels(atrium: Command) -> None:
    shown = atrium("knowledge", "versions", "handbook/pay")
    assert shown.exit_code == 0, shown.output
    assert re.search(r"^1 +current +.*hr/pay \(.* – now\)$", shown.output, re.MULTILINE)


def test_a_folder_is_kept_in_step(atrium: Command, tmp_path: Path) -> None:
    (tmp_path / "hr").mkdir()
    (tmp_path / "tea.md").write_text("Tea is served at four.", "utf-8")
    (tmp_path / "hr" / "grades.md").write_text("Grade P6 earns 5,000 euros.", "utf-8")
    labels = tmp_path / ".labels.yaml"
    labels.write_text('"hr/*": [hr/pay]\n"*": []\n', "utf-8")
    folder = ("knowledge", "sync", str(tmp_path), "--collection", "handbook", "--source", "files")
    first = atrium(*folder, "--labels", str(labels))
    assert first.exit_code == 0, first.output
    assert "2 new, 0 updated" in first.output
    again = atrium(*folder, "--labels", str(labels))
    assert "0 new, 0 updated, 0 labelled, 2 unchanged, 0 removed, 0 failed." in again.output
    (tmp_path / "tea.md").unlink()
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.7 and then nothing")
    changed = atrium(*folder, "--json")
    assert changed.exit_code == 1
    report = json.loads(changed.output)
    assert (report["counts"]["removed"], report["counts"]["unchanged"]) == ("1", "1")
    assert [each["reason"] for each in report["problems"]] == ["DOCUMENT_BROKEN"]
    listed = atrium("knowledge", "list", "handbook").output
    assert "hr/pay" in listed
    assert "tea" not in listed


def test_labels_that_fit_no_file_send_nothing(atrium: Command, tmp_path: Path) -> None:
    (tmp_path / "tea.md").write_text("Tea is served at four.", "utf-8")
    labels = tmp_path / ".labels.yaml"
    labels.write_text('"hr/*": [hr/pay]\n', "utf-8")
    refused = atrium("knowledge", "sync", str(tmp_path), "--collection", "handbook",
                     "--source", "other", "--labels", str(labels))  # fmt: skip
    assert refused.exit_code == 1
    assert "LABELS_INVALID" in refused.output
