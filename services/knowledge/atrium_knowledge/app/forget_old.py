"""Forget from time to time what is kept for a limited time only."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import structlog

from atrium_knowledge.app.conversation_store import ConversationStore
from atrium_shared.clock import Clock
from atrium_shared.errors import AtriumError

_log = structlog.get_logger(__name__)


class ForgetOld:
    """Runs beside the service.

    Args:
        conversations: Where conversations are stored.
        clock: Tells the time.
        conversations_kept: How long a conversation is kept after its last question.
        every_seconds: From time to time.
    """

    def __init__(
        self,
        conversations: ConversationStore,
        clock: Clock,
        *,
        conversations_kept: timedelta,
        every_seconds: float,
    ) -> None:
        self._conversations = conversations
        self._clock = clock
        self._conversations_kept = conversations_kept
        self._every_seconds = every_seconds

    async def run(self) -> None:
        """Forget until cancelled."""
        while True:
            try:
                await self.once()
            except AtriumError as error:
                # Nothing is lost by waiting for the next time.
                _log.warning("old records not forgotten", reason=error.reason)
            await asyncio.sleep(self._every_seconds)

    async def once(self) -> None:
        """Forget what is too old by now."""
        await self._conversations.forget(self._clock.now() - self._conversations_kept)
