"""A whole suite beside the test: its own thread, its own loop, free ports."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from atrium_client import AtriumClient
from atrium_suite.bootstrap import build
from atrium_suite.demo.handbook import Handbook, load_handbook
from atrium_suite.demo.steps import add_documents, make_collection, make_people
from atrium_suite.settings import SuiteSettings

T = TypeVar("T")
TENANT = "lumen-harbor"
UNKNOWN_KEY = f"atr_{'a' * 17}_{'0' * 64}"
"""Has the form of a key, and nobody holds it."""


class RunningSuite:
    """A started suite without models.

    Args:
        state_dir: Its state folder.
    """

    def __init__(self, state_dir: Path) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="suite")
        self._thread.start()
        self.suite = build(
            SuiteSettings(
                state_dir=state_dir,
                address="127.0.0.1:0",
                http_address="127.0.0.1:0",
                models="none",
                drain_seconds=2.0,
            )
        )
        try:
            self._run(self.suite.start())
        except BaseException:
            self._end_loop()
            raise

    @property
    def target(self) -> str:
        """Where it listens."""
        return self.suite.address

    def client(self, key: str, user: str | None = None) -> AtriumClient:
        """Return a client for the loop of the test."""
        return AtriumClient(key, target=self.target, on_behalf_of=user)

    def stop(self) -> None:
        """Stop it as a signal would."""
        try:
            self._run(self.suite.stop())
        finally:
            self._end_loop()

    def bootstrap(self) -> str:
        """Make the first tenant and return its administrator's key."""
        return self._run(self.suite.bootstrap_tenant(TENANT))

    def fill(self, admin_key: str) -> tuple[Handbook, str]:
        """Make the people and documents of the sample handbook.

        Returns:
            The handbook, and the key of the portal that asks for its people.
        """
        return self._run(self._fill(admin_key))

    async def _fill(self, admin_key: str) -> tuple[Handbook, str]:
        handbook = load_handbook()
        async with self.client(admin_key) as admin:
            portal_key = await make_people(admin, handbook)
            await make_collection(admin, handbook)
        async with self.client(portal_key) as portal:
            added = await add_documents(portal, handbook, lambda _: None)
        failed = {each.file.path.name: each.message for each in added if each.error is not None}
        assert failed == {}
        return handbook, portal_key

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(100)

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
