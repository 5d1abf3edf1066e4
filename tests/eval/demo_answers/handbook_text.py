"""Reads the sample handbook from its authored sources: sections, and who may read them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from bs4 import BeautifulSoup

HANDBOOK = Path(__file__).parents[3] / "services/suite/atrium_suite/samples/handbook"


@dataclass(frozen=True)
class Section:
    """A piece of a document under one heading.

    Attributes:
        file: The document that is uploaded, relative to the handbook.
        heading: The heading as the document shows it; empty in a mail, which has none.
        text: The words under the heading, without those of other sections.
        clauses: Who may read it: of each non-empty set one label must be held.
    """

    file: str
    heading: str
    text: str
    clauses: tuple[frozenset[str], ...]

    def readable_with(self, labels: frozenset[str]) -> bool:
        """Returns whether somebody who holds `labels` may read the section."""
        return all(not clause or clause & labels for clause in self.clauses)


def load_manifest() -> dict[str, Any]:
    """Returns the manifest of the handbook."""
    manifest: dict[str, Any] = yaml.safe_load(
        (HANDBOOK / "manifest.yaml").read_text(encoding="utf-8")
    )
    return manifest


def labels_of_users(manifest: dict[str, Any]) -> dict[str, frozenset[str]]:
    """Returns the labels that each user may read."""
    roles = manifest["tenant"]["roles"]
    users = manifest["tenant"]["users"]
    return {user: frozenset(roles[entry["role"]]) for user, entry in users.items()}


def load_sections(manifest: dict[str, Any]) -> list[Section]:
    """Returns every section of every document."""
    sections = []
    for document in manifest["documents"]:
        for heading, text in _split(HANDBOOK / document["source"]):
            clauses = (
                frozenset(document["labels"]),
                frozenset(document["sections"].get(heading, ())),
            )
            sections.append(Section(document["file"], heading, text, clauses))
    return sections


def _split(source: Path) -> list[tuple[str, str]]:
    if source.suffix == ".yaml":
        sheets = yaml.safe_load(source.read_text(encoding="utf-8"))["sheets"]
        return [
            (sheet["name"], "\n".join(" ".join(map(str, row)) for row in sheet["rows"]))
            for sheet in sheets
        ]
    text = source.read_text(encoding="utf-8")
    if source.suffix == ".html":
        for tag in (soup := BeautifulSoup(text, "lxml").main).find_all(["h1", "h2"]):
            tag.replace_with(f"\n{'#' * int(tag.name[1])} {tag.get_text()}\n")
        text = re.sub(r" {2,}", " ", soup.get_text(" "))
        text = re.sub(r"(?m)^ +", "", text)
    if "\nMessage-ID:" in text:
        return [("", text)]
    parts = re.split(r"(?m)^#{1,2} (.+)$", text)
    return [(heading.strip(), body) for heading, body in zip(parts[1::2], parts[2::2], strict=True)]
