"""Forget from time to time what is kept for a limited time only, and users who were erased."""

from __future__ import annotations

from datetime import timedelta

import structlog

from atrium_knowledge.app.answer_log import RecentAnswers
from atrium_knowledge.app.conversation_store import ConversationStore
from atrium_knowledge.app.ports import ErasedUsers, ErasureStore
from atrium_shared.clock import Clock
from atrium_shared.tasks import repeat

_log = structlog.get_logger(__name__)


class ForgetOld:
    """Runs beside the service.

    Args:
        conversations: Where conversations are stored.
        erasures: Where it is noted who was forgotten.
        erased_users: The list of users who were erased, where there is one.
        recent: What was said lately, in memory.
        clock: Tells the time.
        conversations_kept: How long a conversation is kept after its last question.
        every_seconds: From time to time.
    """

    def __init__(
        self,
        conversations: ConversationStore,
        erasures: ErasureStore,
        erased_users: ErasedUsers | None,
        recent: RecentAnswers,
        clock: Clock,
        *,
        conversations_kept: timedelta,
        every_seconds: float,
    ) -> None:
        self._conversations = conversations
        self._erasures = erasures
        self._erased_users = erased_users
        self._recent = recent
        self._clock = clock
        self._conversations_kept = conversations_kept
        self._every_seconds = every_seconds

    async def run(self) -> None:
        """Forget until cancelled."""
        # Nothing is lost by waiting for the next time.
        await repeat(self.once, self._every_seconds, failed="old data not forgotten")

    async def once(self) -> None:
        """Forget what is too old by now, and who was erased since the last time."""
        await self._conversations.forget(self._clock.now() - self._conversations_kept)
        if self._erased_users is None:
            return
        while erased := await self._erased_users.after(await self._erasures.sequence()):
            for one in erased:
                # One transaction notes the place too: a crash forgets nobody halfway.
                await self._erasures.forget(one)
                self._recent.forget_user(one.tenant, one.user)
            _log.info("erased users forgotten", users=len(erased))
