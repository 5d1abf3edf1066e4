"""What the documents of the repository name is there: files, commands, targets, variables."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from atrium_admin.settings import AdminSettings
from atrium_gateway.settings import GatewaySettings
from atrium_knowledge.settings import KnowledgeSettings
from atrium_meeting.settings import MeetingSettings
from atrium_shared.settings import Settings
from atrium_suite.cli.main import app
from atrium_suite.settings import SuiteSettings

ROOT = Path(__file__).parents[2]
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_COMMAND = re.compile(r"(?:^|[`;|]\s*|\$ )atrium((?: [a-z][a-z|\\-]*)+)", re.MULTILINE)
_TARGET = re.compile(r"(?:^|`|[A-Z]=\S+ )make ([a-z][a-z-]*)", re.MULTILINE)
_PROGRAM = re.compile(r"\b(EVAL|BENCH)=([a-z_]+)")
_CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)


def documents() -> list[Path]:
    tracked = subprocess.run(
        ["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    # The samples speak of an invented company, whose commands are not ours.
    return [ROOT / name for name in tracked if "/samples/handbook/" not in name]


DOCUMENTS = documents()


def code_of(document: Path) -> Iterator[str]:
    for found in _CODE.finditer(document.read_text("utf-8")):
        yield found.group().strip("`").removeprefix("sh\n")


def name_of(document: Path) -> str:
    return str(document.relative_to(ROOT))


def missing_command(words: list[str]) -> str:
    """Return the first word that no command bears; "" where all are there."""
    command: Any = typer.main.get_command(app)
    for word in words:
        below = getattr(command, "commands", None)
        if below is None:
            return ""
        choices = word.replace("\\", "").split("|")
        for choice in choices:
            if choice not in below:
                return choice
        command = below[choices[0]]
    return ""


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_links_lead_to_files(document: Path) -> None:
    links = _LINK.findall(document.read_text("utf-8"))
    inside = [link.partition("#")[0] for link in links if "://" not in link]
    assert [link for link in inside if link and not (document.parent / link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_commands_are_there(document: Path) -> None:
    named = [found for code in code_of(document) for found in _COMMAND.findall(code)]
    assert [words for words in named if missing_command(words.split())] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_targets_evaluations_and_benches_are_there(document: Path) -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    code = list(code_of(document))
    for text in code:
        for target in _TARGET.findall(text):
            assert f"\n{target}:" in makefile
        for kind, name in _PROGRAM.findall(text):
            known = ROOT / "tests" / kind.lower() / (name if kind == "EVAL" else f"{name}.py")
            assert known.exists(), f"{kind}={name}"


def test_what_is_looked_for_is_found_at_all() -> None:
    readme = list(code_of(ROOT / "README.md"))
    commands = {found.strip() for code in readme for found in _COMMAND.findall(code)}
    assert {"meeting live", "admin bootstrap", "knowledge ask handbook"} <= commands
    assert "demo" in {found for code in readme for found in _TARGET.findall(code)}
    assert missing_command(["meeting", "dance"]) == "dance"
    assert missing_command(["admin", "audit", "search|dance"]) == "dance"


@pytest.mark.parametrize(
    ("service", "settings"),
    [
        ("admin", AdminSettings),
        ("gateway", GatewaySettings),
        ("knowledge", KnowledgeSettings),
        ("meeting", MeetingSettings),
        ("suite", SuiteSettings),
    ],
)
def test_the_readme_of_a_service_names_all_its_variables_and_no_others(
    service: str, settings: type[Settings]
) -> None:
    prefix = settings.model_config.get("env_prefix", "")
    known = {
        str(field.validation_alias or f"{prefix}{name}".upper())
        for name, field in settings.model_fields.items()
    }
    readme = (ROOT / "services" / service / "README.md").read_text("utf-8")
    tables = re.findall(r"^\| variable \|.*\n((?:\|.*\n)+)", readme, re.MULTILINE)
    named = {
        name
        for row in "".join(tables).splitlines()
        for name in re.findall(r"`([A-Z][A-Z_]+)`", row.split("|")[1])
    }
    common = {"OTEL_EXPORTER_OTLP_ENDPOINT"}
    assert known - named - common == set()
    assert named - known == set()
