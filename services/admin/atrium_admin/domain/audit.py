"""The audit log of a tenant: a chain in which every line seals all lines before it.

The hash of a line is SHA-256 over the hash before it and the line's canonical encoding; so a line
cannot be changed, moved or taken out without breaking every later hash (Schneier and Kelsey,
"Secure audit logs to support computer forensics", 1999, without their key evolution).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from atrium_admin.domain.names import single_line

GENESIS = bytes(32)
"""What stands before the first line."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ACTOR_MAX, _ACTION_MAX, _RESOURCE_MAX, _DETAIL_MAX, _MODEL_MAX = 134, 128, 512, 256, 200


class Decision(StrEnum):
    """What was decided."""

    ALLOWED = "allowed"
    DENIED = "denied"
    REFUSED = "refused"
    NOT_FOUND = "not_found"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """What happened. Metadata alone: no field takes document text or a prompt.

    Attributes:
        time: When, in UTC.
        actor: Who called, ``users/portal``, ``services/knowledge`` or "" when unknown.
        on_behalf_of: On whose behalf, or "".
        action: What was done, ``knowledge.Ask``.
        resource: To what, ``collections/handbook``.
        decision: What was decided.
        detail: Error reason, or other words without content.
        policy_version: Under which version it was decided; 0 when none was asked.
        model: Model that answered, or "".
        tokens: Tokens used by models.
    """

    time: datetime
    actor: str
    on_behalf_of: str
    action: str
    resource: str
    decision: Decision
    detail: str = ""
    policy_version: int = 0
    model: str = ""
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class AuditLine:
    """An event in its place.

    Attributes:
        sequence: Place in the tenant's log, from 1, without gaps.
        event: What happened.
        hash: SHA-256 over the hash before and this line, 32 bytes.
    """

    sequence: int
    event: AuditEvent
    hash: bytes


@dataclass(frozen=True, slots=True)
class AuditHead:
    """Where a log ends: the last sequence (0 when empty) and its hash."""

    sequence: int = 0
    hash: bytes = GENESIS


def bounded(event: AuditEvent) -> AuditEvent:
    """Return the event with every text cut to its limit and on one line.

    Texts come from other services and from callers' requests. Cutting keeps the log a log: no event
    is lost because its resource name was absurd, and no document fits into a field.
    """
    return AuditEvent(
        time=event.time.astimezone(UTC),
        actor=single_line(event.actor, _ACTOR_MAX),
        on_behalf_of=single_line(event.on_behalf_of, _ACTOR_MAX),
        action=single_line(event.action, _ACTION_MAX),
        resource=single_line(event.resource, _RESOURCE_MAX),
        decision=event.decision,
        detail=single_line(event.detail, _DETAIL_MAX),
        policy_version=event.policy_version,
        model=single_line(event.model, _MODEL_MAX),
        tokens=event.tokens,
    )


def chain_hash(tenant: str, sequence: int, event: AuditEvent, previous: bytes) -> bytes:
    """Return the hash that seals a line. The tenant is part of it: logs cannot be swapped."""
    line = [
        "atrium-audit-1",  # version of this encoding
        tenant,
        sequence,
        (event.time - _EPOCH) // timedelta(microseconds=1),
        event.actor,
        event.on_behalf_of,
        event.action,
        event.resource,
        event.decision.value,
        event.detail,
        event.policy_version,
        event.model,
        event.tokens,
    ]
    encoded = json.dumps(line, ensure_ascii=True, separators=(",", ":")).encode()
    return hashlib.sha256(previous + encoded).digest()


def extend(tenant: str, head: AuditHead, events: Iterable[AuditEvent]) -> list[AuditLine]:
    """Put events after the head of a log."""
    lines = []
    sequence, previous = head.sequence, head.hash
    for event in events:
        sequence += 1
        previous = chain_hash(tenant, sequence, event, previous)
        lines.append(AuditLine(sequence, event, previous))
    return lines
