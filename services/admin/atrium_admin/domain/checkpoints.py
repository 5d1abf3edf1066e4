"""Checkpoints of an audit log: a signed word on how it stood at a time.

A chain of hashes shows changes inside it, but whoever holds the database can cut its tail off, or
make it anew from the start. Against a checkpoint that was signed before, and kept elsewhere, both
show (Crosby and Wallach, "Efficient data structures for tamper-evident logging", 2009).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from atrium_admin.domain.audit import AuditHead, AuditLine, chain_hash

STATEMENT_KIND = "checkpoint"

_HASH = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How a log stood.

    Attributes:
        tenant: Whose log.
        sequence: Its last line then.
        hash: Hash of that line, 32 bytes.
        time: When.
    """

    tenant: str
    sequence: int
    hash: bytes
    time: datetime

    def claims(self) -> dict[str, str | int]:
        """Return what is signed."""
        return {
            "tenant": self.tenant,
            "sequence": self.sequence,
            "hash": self.hash.hex(),
            "time": self.time.isoformat(),
        }


def checkpoint_of(claims: Mapping[str, object]) -> Checkpoint:
    """Return the checkpoint that was signed.

    Raises:
        ValueError: The claims are those of something else.
    """
    tenant, sequence = claims.get("tenant"), claims.get("sequence")
    digest, time = claims.get("hash"), claims.get("time")
    if not (
        isinstance(tenant, str)
        and isinstance(sequence, int)
        and isinstance(digest, str)
        and isinstance(time, str)
        and _HASH.fullmatch(digest)
    ):
        raise ValueError("no checkpoint")
    return Checkpoint(tenant, sequence, bytes.fromhex(digest), datetime.fromisoformat(time))


class Problem(StrEnum):
    """What is wrong with a log."""

    CHAIN_BROKEN = "chain_broken"
    LINES_MISSING = "lines_missing"
    CHECKPOINT_MISFIT = "checkpoint_misfit"
    CHECKPOINT_FORGED = "checkpoint_forged"
    PSEUDONYM_FORGED = "pseudonym_forged"


@dataclass(frozen=True, slots=True)
class AuditVerdict:
    """What a check of a log found.

    Attributes:
        events: Lines that the log should have.
        first_broken_sequence: First line that is missing or does not fit; 0 when all fit. Where a
            checkpoint does not fit a chain that was made anew: the first line after the last
            checkpoint that does.
        checkpoints: Checkpoints that fit.
        problems: What is wrong.
    """

    events: int
    first_broken_sequence: int
    checkpoints: int
    problems: frozenset[Problem]


class LogCheck:
    """Follows a log line by line, past its checkpoints, and remembers where it breaks first.

    Args:
        tenant: Whose log it should be.
    """

    def __init__(self, tenant: str) -> None:
        self._tenant = tenant
        self._head = AuditHead()
        self._expected: dict[int, set[bytes]] = {}
        self._sound_until = 0
        self._fitting = 0
        self._problems: set[Problem] = set()
        self._first_broken = 0

    def expect(self, checkpoints: Iterable[Checkpoint]) -> None:
        """Hold the lines that follow against these; their signatures were verified."""
        for checkpoint in checkpoints:
            if checkpoint.tenant != self._tenant or checkpoint.sequence <= self._head.sequence:
                self.note(Problem.CHECKPOINT_FORGED)
                continue
            self._expected.setdefault(checkpoint.sequence, set()).add(checkpoint.hash)

    def note(self, problem: Problem) -> None:
        """Remember something wrong that is no line's fault."""
        self._problems.add(problem)

    def follow(self, lines: Iterable[AuditLine]) -> bool:
        """Check the next lines, in order. Returns False once the chain is broken."""
        for line in lines:
            expected = self._head.sequence + 1
            fits = line.sequence == expected and line.hash == chain_hash(
                self._tenant, expected, line.event, self._head.hash
            )
            if not fits:
                self._break(Problem.CHAIN_BROKEN, expected)
                return False
            self._head = AuditHead(expected, line.hash)
            self._pass_checkpoint()
        return True

    def finish(self, head: AuditHead) -> AuditVerdict:
        """Compare with where the log should end, and give the verdict."""
        if Problem.CHAIN_BROKEN not in self._problems:
            if self._head.sequence < head.sequence:
                self._break(Problem.LINES_MISSING, self._head.sequence + 1)
            elif self._head != head:
                # The last line is not the one that was written last.
                self._break(Problem.CHAIN_BROKEN, max(head.sequence, 1))
            if any(sequence > self._head.sequence for sequence in self._expected):
                self._break(Problem.LINES_MISSING, self._head.sequence + 1)
        return AuditVerdict(
            head.sequence, self._first_broken, self._fitting, frozenset(self._problems)
        )

    def _pass_checkpoint(self) -> None:
        hashes = self._expected.pop(self._head.sequence, set())
        if hashes == {self._head.hash}:
            self._fitting += 1
            self._sound_until = self._head.sequence
        elif hashes:
            self._break(Problem.CHECKPOINT_MISFIT, self._sound_until + 1)

    def _break(self, problem: Problem, sequence: int) -> None:
        self._problems.add(problem)
        self._first_broken = min(self._first_broken or sequence, sequence)
