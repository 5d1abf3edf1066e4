"""Ports that let everything pass: for tests, and for an installation that sets no limits."""

from __future__ import annotations

from collections.abc import Sequence

from atrium_gateway.app.caller import Caller
from atrium_gateway.app.ports import Cleared, ClearedTexts
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


class OpenGuard:
    """Lets every text go everywhere."""

    async def clear(self, caller: Caller, model: Model, prompt: Prompt) -> Cleared:
        """Return the prompt as it is."""
        return Cleared(model.name, prompt)

    async def clear_texts(self, caller: Caller, model: Model, texts: Sequence[str]) -> ClearedTexts:
        """Return the texts as they are."""
        return ClearedTexts(model.name, texts)


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
