from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from atrium_suite.demo.handbook import Handbook

from .running_suite import RunningSuite


@dataclass(frozen=True)
class Filled:
    """A suite that holds the sample handbook."""

    running: RunningSuite
    handbook: Handbook
    admin_key: str
    portal_key: str


# One process runs one suite at a time (durable jobs have one instance a process), so a suite ends
# with the module that uses it.
@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    with pytest.MonkeyPatch.context() as environment:
        # The issuer of the tests speaks plain http on this machine.
        environment.setenv("ADMIN_OIDC_LOOPBACK_HTTP", "true")
        running = RunningSuite(tmp_path_factory.mktemp("suite") / "state")
    try:
        admin_key = running.bootstrap()
        handbook, portal_key = running.fill(admin_key)
        yield Filled(running, handbook, admin_key, portal_key)
    finally:
        running.stop()
