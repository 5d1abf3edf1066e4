"""Logs as machines and as people read them."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
import structlog

from atrium_shared import telemetry
from atrium_shared.rpc.context import CURRENT_CALL, CallContext, trace_id, traceparent


def test_a_line_is_one_json_object(capsys: Any) -> None:
    telemetry.configure_logging(json=True)
    structlog.get_logger("atrium.demo").info("document parsed", pages=3, title="员工手册")
    logging.getLogger("some.library").warning("disk at %d %%", 91)
    mine, theirs = map(json.loads, capsys.readouterr().err.splitlines())
    assert (mine["event"], mine["pages"], mine["title"]) == ("document parsed", 3, "员工手册")
    assert (mine["level"], mine["logger"]) == ("info", "atrium.demo")
    assert (theirs["event"], theirs["level"]) == ("disk at 91 %", "warning")
    assert theirs["logger"] == "some.library"
    assert mine["timestamp"].endswith("Z")


def test_a_stack_is_part_of_its_line(capsys: Any) -> None:
    telemetry.configure_logging(json=True)
    try:
        raise ZeroDivisionError("oh")
    except ZeroDivisionError as error:
        structlog.get_logger().error("call failed", exc_info=error)
    (line,) = capsys.readouterr().err.splitlines()
    assert "ZeroDivisionError" in str(json.loads(line)["exception"])


@pytest.mark.parametrize("as_json", [True, False])
def test_a_stack_shows_no_variables(capsys: Any, as_json: bool) -> None:
    telemetry.configure_logging(json=as_json)

    def ask(question: str) -> None:
        raise ZeroDivisionError(len(question))

    try:
        ask("".join(["how much ", "does Lin earn?"]))
    except ZeroDivisionError as error:
        structlog.get_logger().error("call failed", exc_info=error)
    line = capsys.readouterr().err
    assert "ZeroDivisionError" in line
    assert "how much does" not in line


def test_people_read_plain_lines(capsys: Any) -> None:
    telemetry.configure_logging(json=False)
    structlog.get_logger().info("serving", port=7400)
    line = capsys.readouterr().err
    assert "serving" in line
    assert "port=7400" in line


def test_less_severe_lines_are_left_out(capsys: Any) -> None:
    telemetry.configure_logging(json=True, level="warning")
    structlog.get_logger().info("not shown")
    structlog.get_logger().warning("shown")
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["event"] == "shown"


def test_a_line_of_a_call_carries_its_trace(capsys: Any) -> None:
    telemetry.configure_logging(json=True)
    call = CallContext("00-" + "a" * 32 + "-" + "b" * 16 + "-01")
    token = CURRENT_CALL.set(call)
    structlog.get_logger().info("inside")
    CURRENT_CALL.reset(token)
    structlog.get_logger().info("outside")
    inside, outside = map(json.loads, capsys.readouterr().err.splitlines())
    assert inside["trace"] == "a" * 32
    assert "trace" not in outside


def test_outside_of_calls_there_is_no_trace() -> None:
    assert (trace_id(), traceparent()) == ("", None)


@pytest.mark.parametrize("header", [None, "", "nonsense", "00-xyz-1-01"])
def test_a_call_without_a_usable_trace_gets_its_own(header: str | None) -> None:
    call = CallContext(header)
    assert len(call.trace_id) == 32
    assert call.trace_id == call.trace_id
    assert call.traceparent.startswith(f"00-{call.trace_id}-")


def test_a_span_is_nothing_when_nothing_is_traced() -> None:
    assert telemetry.tracer() is None
    with telemetry.span("parse", pages=1):
        assert traceparent() is None


def test_metrics_of_the_process_are_there() -> None:
    assert b"process_resident_memory_bytes" in telemetry.metrics_text()
