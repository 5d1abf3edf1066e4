"""Ports that let everything pass: for tests, and for an installation that sets no limits."""

from __future__ import annotations

from atrium_gateway.app.caller import Caller
from atrium_gateway.domain.generation import CacheMode, Generated, Prompt
from atrium_gateway.domain.models import Model


class _Nothing:
    def settle(self, tokens: int) -> int:
        """Keep no count."""
        return 0


_NOTHING = _Nothing()


class NoBudgets:
    """Lets every call pass."""

    async def reserve(self, caller: Caller, tokens: int, requests: int = 1) -> _Nothing:
        """Set nothing aside."""
        return _NOTHING


class NoCache:
    """Keeps nothing."""

    async def find(
        self, caller: Caller, model: Model, prompt: Prompt, mode: CacheMode
    ) -> Generated | None:
        """Find nothing."""
        return None

    async def keep(
        self, caller: Caller, model: Model, prompt: Prompt, mode: CacheMode, reply: Generated
    ) -> None:
        """Keep nothing."""
