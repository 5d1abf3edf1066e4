"""Who may read a passage.

An access rule is a conjunction of clauses: the document's labels, and those of each labelled
section around the passage. A clause is met by whoever may read any one of its labels. Rules are
interned per collection as numbered classes; the number is what the index filters on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

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


EVERYONE = AccessRule()
