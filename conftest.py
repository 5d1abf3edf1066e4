"""What every test shares: logs go to pytest."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import structlog


def _log_to_pytest() -> None:
    # By default structlog prints to whatever `sys.stdout` is at the time. While another thread runs
    # a command for a test that is what the command prints to, which ends with the command.
    structlog.configure(
        processors=[structlog.stdlib.render_to_log_kwargs],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
    )


def pytest_configure() -> None:
    """Take care of what runs before the first test too."""
    _log_to_pytest()


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """Undo what a test configures: its handlers write to a stream that ends with the test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    _log_to_pytest()
