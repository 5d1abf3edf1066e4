from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from atrium_admin.domain.audit import (
    AuditEvent,
    AuditHead,
    AuditLine,
    Decision,
    bounded,
    chain_hash,
    extend,
)
from atrium_admin.domain.checkpoints import LogCheck

NOW = datetime(2030, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
EVENT = AuditEvent(NOW, "users/lin", "", "admin.GetUser", "users/kim", Decision.ALLOWED)


def verdict(lines: list[AuditLine], head: AuditHead) -> int:
    check = LogCheck("acme")
    check.follow(lines)
    return check.finish(head).first_broken_sequence


def log_of(size: int) -> tuple[list[AuditLine], AuditHead]:
    events = [replace(EVENT, resource=f"users/u{number}") for number in range(size)]
    lines = extend("acme", AuditHead(), events)
    return lines, AuditHead(lines[-1].sequence, lines[-1].hash) if lines else AuditHead()


def test_a_whole_log_is_intact() -> None:
    lines, head = log_of(5)
    assert [line.sequence for line in lines] == [1, 2, 3, 4, 5]
    assert verdict(lines, head) == 0
    assert verdict([], AuditHead()) == 0


@pytest.mark.parametrize(
    "change",
    [
        {"time": NOW + timedelta(microseconds=1)},
        {"actor": "users/kim"},
        {"on_behalf_of": "users/kim"},
        {"action": "admin.ListUsers"},
        {"resource": "users/other"},
        {"decision": Decision.DENIED},
        {"detail": "x"},
        {"policy_version": 9},
        {"model": "m"},
        {"tokens": 1},
    ],
)
def test_changing_any_field_of_a_line_breaks_the_log_there(change: dict[str, object]) -> None:
    lines, head = log_of(5)
    lines[2] = replace(lines[2], event=replace(lines[2].event, **change))  # type: ignore[arg-type]
    assert verdict(lines, head) == 3


def test_a_line_taken_out_moved_or_doubled_is_found() -> None:
    lines, head = log_of(5)
    assert verdict([*lines[:1], *lines[2:]], head) == 2
    assert verdict([lines[0], lines[2], lines[1], *lines[3:]], head) == 2
    assert verdict([*lines[:3], lines[2], *lines[3:]], head) == 4


def test_a_line_resealed_without_those_after_it_is_found_at_the_next() -> None:
    lines, head = log_of(5)
    forged = replace(lines[2].event, actor="users/kim")
    lines[2] = AuditLine(3, forged, chain_hash("acme", 3, forged, lines[1].hash))
    assert verdict(lines, head) == 4


def test_lines_missing_at_the_end_are_found() -> None:
    lines, head = log_of(5)
    assert verdict(lines[:3], head) == 4
    assert verdict([], head) == 1


def test_a_last_line_that_was_resealed_does_not_fit_the_head() -> None:
    lines, head = log_of(5)
    forged = replace(lines[4].event, actor="users/kim")
    lines[4] = AuditLine(5, forged, chain_hash("acme", 5, forged, lines[3].hash))
    assert verdict(lines, head) == 5


def test_a_log_of_another_tenant_does_not_pass_for_this_one() -> None:
    lines = extend("globex", AuditHead(), [EVENT])
    assert verdict(lines, AuditHead(1, lines[0].hash)) == 1


def test_texts_are_cut_and_kept_on_one_line() -> None:
    event = bounded(
        replace(
            EVENT,
            time=NOW.astimezone(timezone(timedelta(hours=8))),
            actor="a" * 1000,
            resource="r" * 1000,
            detail="line\nbreak\x00" + "d" * 1000,
        )
    )
    assert len(event.actor) == 134
    assert len(event.resource) == 512
    assert len(event.detail) == 256
    assert event.detail.startswith("line\ufffdbreak\ufffd")
    assert event.time == NOW
    assert event.time.tzinfo is UTC


def test_the_encoding_of_a_line_stays_as_it_is() -> None:
    # Logs that exist must verify under every later version.
    assert chain_hash("acme", 1, EVENT, bytes(32)).hex() == PINNED


PINNED = "bf9599faba10bb6febaad80faf244f91936a6f216f67f0509cca184a9f180bda"
