"""Who may read a passage.

An access rule is a conjunction of clauses: the document's labels, and those of each labelled
section around the passage. A clause is met by whoever may read any one of its labels. Rules are
interned per collection as numbered classes; the number is what the index filters on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

Clause = frozenset[str]


@dataclass(frozen=True, slots=True)
class AccessRule:
    """A conjunction of clauses. Without clauses everyone of the tenant may read."""

    clauses: tuple[Clause, ...] = ()
    """Sorted, each once, none empty."""

    @classmethod
    def of(cls, clauses: Iterable[Iterable[str]]) -> AccessRule:
        """Return the rule that ``clauses`` mean: an empty clause asks for nothing.

        A clause that contains another is met whenever the smaller one is, so it is left out: equal
        rights get equal rules.
        """
        sets = {frozenset(clause) for clause in clauses} - {frozenset()}
        needed = [one for one in sets if not any(other < one for other in sets)]
        return cls(tuple(sorted(needed, key=sorted)))

    def met_by(self, may_read: Callable[[Iterable[str]], bool]) -> bool:
        """Say whether a reader meets every clause.

        Args:
            may_read: Whether the reader may read any of some labels (``AllowSet.may_read``).
        """
        return all(may_read(clause) for clause in self.clauses)


class ClauseOrigin(StrEnum):
    """Where labels stand."""

    DOCUMENT = "DOCUMENT"
    SECTION = "SECTION"


@dataclass(frozen=True, slots=True)
class LabelClause:
    """Labels of which a reader held at least one."""

    origin: ClauseOrigin
    labels: frozenset[str]
    """Not empty."""


@dataclass(frozen=True, slots=True)
class AccessGrant:
    """One grant through which somebody could read."""

    role: str
    """The role that holds it, "roles/hr-partner"."""
    via: tuple[str, ...]
    """How the user came to the role: "groups/hr", "roles/hr-partner"."""
    grant: str
    """As the role has it, "labels/hr/*:read"."""
    permission: str
    """What it opened here, "labels/hr/pay:read"."""


@dataclass(frozen=True, slots=True)
class AccessReader:
    """Somebody who could read, and why."""

    user: str
    """Resource name, "users/lin"."""
    grants: tuple[AccessGrant, ...]


@dataclass(frozen=True, slots=True)
class AccessExplanation:
    """Who could read something at a time, and why. It holds no text."""

    name: str
    """The document or passage."""
    read_time: datetime
    """UTC."""
    version: int
    """The document's version that was current."""
    clauses: tuple[LabelClause, ...]
    """A reader held one label of each; none: everyone of the tenant could read."""
    labels_time: datetime
    """Since when these labels were in force, UTC."""
    labelled_sections: int
    """Of a document: its sections that had labels of their own."""
    readers: tuple[AccessReader, ...]
    """A page, ordered by name."""
    next_page_token: str
    policy_version: int
    """Version of the tenant's policy that was in force."""
    policy_time: datetime
    """Since when it was in force, UTC."""


EVERYONE = AccessRule()
