"""The `atrium` command against a running suite."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from atrium_suite.cli.main import app

from .running_suite import UNKNOWN_KEY, RunningSuite

Command = Callable[..., Result]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSuite]:
    running = RunningSuite(tmp_path_factory.mktemp("command") / "state")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def key(running: RunningSuite) -> str:
    state = ["--state", str(running.suite.state_dir), "--target", running.target]
    made = CliRunner().invoke(app, ["admin", "bootstrap", "--tenant", "acme", "--json", *state])
    assert made.exit_code == 0, made.output
    again = CliRunner().invoke(app, ["admin", "bootstrap", "--tenant", "acme", *state])
    assert again.exit_code == 1
    assert "ALREADY_BOOTSTRAPPED" in again.output
    secret: str = json.loads(made.output)["secret"]
    return secret


@pytest.fixture
def atrium(running: RunningSuite, key: str) -> Command:
    def call(*arguments: str, **environment: str) -> Result:
        env = {"ATRIUM_API_KEY": key, "ATRIUM_TARGET": running.target, **environment}
        result = CliRunner().invoke(app, list(arguments), env=env)
        assert "Traceback" not in result.output
        assert "\x1b" not in result.output
        return result

    return call


@pytest.fixture
def handbook(atrium: Command, tmp_path: Path) -> Iterator[Path]:
    """A collection with an open document and one for HR; its folder."""
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "leave.md").write_text("# Leave\n\nThere are 25 days of leave a year.\n", "utf-8")
    (folder / "pay.md").write_text("# Pay\n\nGrade P5 earns 4,711 euros a month.\n", "utf-8")
    assert atrium("knowledge", "create", "handbook", "--name", "Handbook").exit_code == 0
    added = atrium("knowledge", "add", "handbook", str(folder / "leave.md"), "--id", "leave")
    assert added.exit_code == 0, added.output
    added = atrium(
        "knowledge", "add", "handbook", str(folder / "pay.md"), "--id", "pay", "--label", "hr"
    )
    assert added.exit_code == 0, added.output
    yield folder
    assert atrium("knowledge", "delete", "handbook", "--yes").exit_code == 0


def as_json(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def test_who_lost_all_keys_makes_one_where_the_suite_is(
    running: RunningSuite, atrium: Command, tmp_path: Path
) -> None:
    issue = ("admin", "issue-key", "acme", "admin", "--state")
    made = atrium(*issue, str(running.suite.state_dir))
    assert made.exit_code == 0, made.output
    key = re.search(r"ATRIUM_API_KEY=(atr_\S+)", made.output)
    assert key is not None
    assert atrium("admin", "user", "list", ATRIUM_API_KEY=key[1]).exit_code == 0
    nowhere = atrium(*issue, str(tmp_path / "none"))
    assert nowhere.exit_code == 1
    assert "atrium up" in nowhere.output
    assert not (tmp_path / "none").exists()
    nobody = atrium("admin", "issue-key", "acme", "eve", "--state", str(running.suite.state_dir))
    assert "USER_NOT_FOUND" in nobody.output


@pytest.mark.parametrize("grant", ["labels/hr:write", "labels/hr:fly", "knowledge.documents:raed"])
def test_a_grant_that_would_do_nothing_is_refused(atrium: Command, grant: str) -> None:
    for option in ("--grant", "--deny"):
        refused = atrium("admin", "role", "create", "typo", option, grant)
        assert refused.exit_code == 1
        assert "FIELD_INVALID" in refused.output
        assert " or *" in refused.output
    assert "typo" not in atrium("admin", "role", "list").output


def test_a_newcomer_gets_from_a_folder_to_an_answer(atrium: Command, handbook: Path) -> None:
    assert atrium("admin", "user", "create", "mia").exit_code == 0
    secret = as_json(atrium("admin", "key", "create", "mia", "--json"))["secret"]
    answer = atrium(
        "knowledge", "ask", "handbook", "How many days of leave?", ATRIUM_API_KEY=secret
    )
    assert answer.exit_code == 0
    assert "25 days" in answer.output
    assert "已回答 answered" in answer.output
    assert re.search(r"\[1\] .*[Ll]eave", answer.output)
    hidden = atrium(
        "knowledge", "ask", "handbook", "What does grade P5 earn?", ATRIUM_API_KEY=secret
    )
    assert hidden.exit_code == 0
    assert "未找到 not found" in hidden.output
    assert "4,711" not in hidden.output
    atrium("admin", "user", "delete", "mia")


def test_answers_and_lists_are_json_for_programs(atrium: Command, handbook: Path) -> None:
    answer = as_json(atrium("knowledge", "ask", "handbook", "How many days of leave?", "--json"))
    assert answer["decision"] == "ANSWERED"
    assert answer["citations"][0]["passage"]["document"] == "collections/handbook/documents/leave"
    assert answer["seconds"] >= 0
    documents = as_json(atrium("knowledge", "list", "handbook", "--json"))
    assert [each["name"].rpartition("/")[2] for each in documents] == ["leave", "pay"]
    collections = as_json(atrium("knowledge", "list", "--json"))
    assert collections[0]["display_name"] == "Handbook"
    found = as_json(atrium("knowledge", "search", "handbook", "leave", "--json"))
    assert "25 days" in found["results"][0]["passage"]["text"]


def test_labels_can_be_changed_and_documents_deleted(atrium: Command, handbook: Path) -> None:
    changed = atrium("knowledge", "label", "handbook", "pay", "--label", "finance")
    assert "finance" in changed.output
    assert "finance" in atrium("knowledge", "list", "handbook").output
    assert atrium("knowledge", "delete", "handbook", "pay", "--yes").exit_code == 0
    assert "finance" not in atrium("knowledge", "list", "handbook").output


def test_one_bad_file_stops_no_other_and_the_exit_code_says_so(
    atrium: Command, handbook: Path
) -> None:
    (handbook / "broken.pdf").write_bytes(b"%PDF-1.7 and then nothing")
    (handbook / "empty.md").write_bytes(b"")
    (handbook / "good.txt").write_text("Tea is served at four.", "utf-8")
    added = atrium("knowledge", "add", "handbook", str(handbook))
    assert added.exit_code == 1
    lines = {line.split()[0].rpartition("/")[2]: line for line in added.output.splitlines()[1:-1]}
    assert "DOCUMENT_BROKEN" in lines["broken.pdf"]
    assert "DOCUMENT_EMPTY" in lines["empty.md"]
    assert "ready" in lines["good.txt"]
    assert "3 added, 2 failed." in added.output
    asked = atrium("knowledge", "ask", "handbook", "When is tea served?")
    assert "at four" in asked.output


def test_adding_the_same_file_again_makes_a_version_and_no_second_document(
    atrium: Command, handbook: Path
) -> None:
    path = handbook / "tea.txt"
    for time in ("four", "five"):
        path.write_text(f"Tea is served at {time} o'clock.", "utf-8")
        assert atrium("knowledge", "add", "handbook", str(path)).exit_code == 0
    documents = as_json(atrium("knowledge", "list", "handbook", "--json"))
    assert [each["version"] for each in documents if each["filename"] == "tea.txt"] == ["2"]
    asked = atrium("knowledge", "ask", "handbook", "When is tea served?")
    assert "five" in asked.output
    assert "four" not in asked.output


def test_the_directory_is_kept_with_commands(atrium: Command) -> None:
    role = atrium("admin", "role", "create", "hr", "--grant", "labels/hr:read",
                  "--inherits", "member")  # fmt: skip
    assert "labels/hr:read" in role.output
    assert atrium("admin", "user", "create", "lin", "--role", "hr", "--name", "林悦").exit_code == 0
    assert "林悦" in atrium("admin", "user", "list").output
    tested = atrium("admin", "role", "test", "lin", "labels/hr:read")
    assert "lin may read labels/hr." in tested.output
    group = atrium("admin", "group", "create", "people", "--member", "lin")
    assert "lin" in group.output
    in_use = atrium("admin", "role", "delete", "hr")
    assert in_use.exit_code == 1
    assert "ROLE_IN_USE" in in_use.output
    made = as_json(atrium("admin", "key", "create", "lin", "--expires", "90d", "--json"))
    name = made["api_key"]["name"].partition("/")[2]
    listed = atrium("admin", "key", "list", "--user", "lin").output
    assert name in listed
    assert made["secret"] not in listed
    assert atrium("admin", "key", "revoke", name).exit_code == 0
    assert "revoked" in atrium("admin", "key", "list", "--user", "lin").output
    for what, each in (("group", "people"), ("user", "lin"), ("role", "hr")):
        assert atrium("admin", what, "delete", each).exit_code == 0


def test_the_audit_log_is_searched_exported_and_verified_without_a_server(
    atrium: Command, tmp_path: Path
) -> None:
    assert atrium("admin", "user", "create", "eve").exit_code == 0
    searched = atrium(
        "admin", "audit", "search", "--resource", "users/ev", "--decision", "allowed", "--json"
    )
    assert [each["resource"] for each in as_json(searched)] == ["users/eve"]
    assert "eve" in atrium("admin", "audit", "readers").output
    assert "Nobody" in atrium("admin", "audit", "readers", "--label", "no/one,nor/this").output
    created = as_json(searched)[0]["sequence"]
    assert "permitted under" in atrium("admin", "audit", "replay", str(created)).output
    export, keys, kept = (tmp_path / name for name in ("log.jsonl", "keys.json", "kept.txt"))
    assert atrium("admin", "audit", "export", str(export)).exit_code == 0
    shown = atrium("admin", "audit", "checkpoint", "--output", str(kept), "--keys", str(keys))
    assert shown.exit_code == 0, shown.output
    offline = ["--file", str(export), "--keys", str(keys), "--checkpoint", str(kept)]
    erased = atrium("admin", "user", "erase", "eve", "--yes")
    assert "erased-" in erased.output
    assert "users/eve" not in export.read_text()

    def verified(*lines: str) -> Any:
        export.write_text("\n".join(lines))
        result = atrium("admin", "audit", "verify", "--json", *offline)
        found = json.loads(result.output)
        assert result.exit_code == (0 if found["intact"] else 1)
        return found

    lines = export.read_text().splitlines()
    assert verified(*lines)["problems"] == []
    assert verified(*lines)["checkpoints"] >= 1
    named = next(n for n, line in enumerate(lines) if "users/~" in line)
    changed = [*lines[:named], lines[named].replace("users/~", "users/~b", 1), *lines[named + 1 :]]
    assert verified(*changed)["problems"] == ["chain_broken"]
    cut = [line for line in lines if '"event"' not in line or '"sequence": "1"' in line]
    assert "lines_missing" in verified(*cut)["problems"]
    export.write_text("{}\n")
    assert "no export of an audit log" in atrium("admin", "audit", "verify", *offline).output
    without_file = atrium("admin", "audit", "verify", "--keys", str(keys))
    assert "--keys goes with --file" in without_file.output
    assert "not both" in atrium("models", "usage", "--csv", "--json").output
    assert "--since is a time" in atrium("admin", "audit", "search", "--since", "soon").output
    assert "--decision is" in atrium("admin", "audit", "search", "--decision", "maybe").output


def test_the_audit_log_is_shown_and_verified(atrium: Command) -> None:
    assert atrium("admin", "tenant", "list").exit_code == 0
    lines = atrium("admin", "audit", "list", "--last", "3").output.splitlines()
    assert len(lines) == 4
    assert "admin.ListTenants" in lines[1]
    verified = atrium("admin", "audit", "verify")
    assert verified.exit_code == 0
    assert "intact" in verified.output


def test_a_tenant_is_changed_by_the_operator(atrium: Command) -> None:
    update = ("admin", "tenant", "update", "acme")
    made = as_json(atrium(*update, "--residency", "hybrid", "--quota", "tokens/day=1000", "--json"))
    assert (made["residency"], made["quotas"][0]["limit"]) == ("HYBRID", "1000")
    listed = atrium("admin", "tenant", "list").output
    assert "hybrid" in listed
    assert "tokens/day=1000" in listed
    again = as_json(atrium(*update, "--residency", "private-only", "--no-quotas", "--json"))
    assert (again["residency"], again["quotas"]) == ("PRIVATE_ONLY", [])
    for wrong in (["--quota", "tokens/week=3"], ["--quota", "tokens/day=1", "--no-quotas"], []):
        refused = atrium(*update, *wrong)
        assert refused.exit_code == 1
        assert "OPTION_INVALID" in refused.output


@pytest.mark.parametrize(
    ("arguments", "environment", "reason"),
    [
        (["knowledge", "list"], {"ATRIUM_API_KEY": ""}, "CREDENTIAL_MISSING"),
        (["knowledge", "list"], {"ATRIUM_API_KEY": UNKNOWN_KEY}, "API_KEY_UNKNOWN"),
        (["knowledge", "list"], {"ATRIUM_API_KEY": "nonsense"}, "CREDENTIAL_MALFORMED"),
        (["knowledge", "list", "absent"], {}, "COLLECTION_NOT_FOUND"),
        (["knowledge", "ask", "absent", "?"], {}, "COLLECTION_NOT_FOUND"),
        (["knowledge", "ask", "absent", "x" * 4001], {}, "QUESTION_TOO_LONG"),
        (["knowledge", "ask", "absent", "?", "--mode", "loud"], {}, "OPTION_INVALID"),
        (["knowledge", "create", "Bad Id"], {}, "FIELD_INVALID"),
        (["knowledge", "add", "absent", "/nowhere/at/all.md"], {}, "/nowhere/at/all.md"),
        (["knowledge", "label", "a", "b", "--section", "heading"], {}, "OPTION_INVALID"),
        (["admin", "user", "create", "x", "--role", "none"], {}, "ROLE_NOT_FOUND"),
        (["admin", "user", "update", "admin"], {}, "OPTION_INVALID"),
        (["admin", "user", "update", "admin", "--disable"], {}, "LAST_ADMIN"),
        (["admin", "key", "create", "admin", "--expires", "soon"], {}, "OPTION_INVALID"),
        (["admin", "role", "test", "admin", "labels"], {}, "OPTION_INVALID"),
        (["knowledge", "list"], {"ATRIUM_TARGET": "127.0.0.1:1"}, "atrium up"),
        (["models", "path", "gpt-9"], {}, "MODEL_UNKNOWN"),
        (["up", "--address", "nowhere"], {}, "SUITE_ADDRESS"),
    ],
)
def test_each_mistake_gives_one_readable_error(
    atrium: Command, arguments: list[str], environment: dict[str, str], reason: str
) -> None:
    result = atrium(*arguments, **environment)
    assert result.exit_code == 1
    assert result.output.startswith("error: ")
    assert reason in result.output


def test_nothing_is_deleted_without_a_yes(atrium: Command, handbook: Path) -> None:
    assert atrium("knowledge", "delete", "handbook").exit_code == 1
    assert "handbook" in atrium("knowledge", "list").output


def test_the_models_are_listed_with_what_is_here(atrium: Command, tmp_path: Path) -> None:
    listed = atrium("models", "list", ATRIUM_MODELS_DIR=str(tmp_path))
    assert listed.exit_code == 0
    assert re.search(r"multilingual-e5-small +absent +91 MB +small", listed.output)
    missing = atrium("models", "path", "qwen2.5-0.5b", ATRIUM_MODELS_DIR=str(tmp_path))
    assert missing.exit_code == 1
    assert "atrium models pull qwen2.5-0.5b" in missing.output
