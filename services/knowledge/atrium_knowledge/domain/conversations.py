"""Questions of one user, each in the light of those before it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from atrium_knowledge.domain.answers import Decision

TURNS_KEPT: Final = 200
"""Of one conversation; older turns are forgotten."""
TURNS_READ: Final = 5
"""How far back a question may lean."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One question and how it was decided.

    It holds no text of the answer: its reader may lose the right to read that.
    """

    number: int
    """From 1."""
    question: str
    """As it was asked."""
    interpreted: str
    """As it was answered: standing alone, made of the asker's own questions."""
    answer: str
    """Name of the answer, "answers/a81c"; it may be gone."""
    decision: Decision
    create_time: datetime
    """UTC."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation. Only who began it may know that it exists."""

    tenant: str
    id: str
    """Id within the tenant, "c51e" of "conversations/c51e"."""
    subject: str
    """Whose it is, "users/lin"."""
    collection_uid: str
    collection_id: str
    turn_count: int
    """Questions asked in all."""
    create_time: datetime
    """UTC."""
    use_time: datetime
    """When something was last asked, or it was begun. UTC."""

    @property
    def name(self) -> str:
        """Resource name, "conversations/c51e"."""
        return f"conversations/{self.id}"

    @property
    def collection(self) -> str:
        """Resource name of the collection."""
        return f"collections/{self.collection_id}"

    def expire_time(self, kept: timedelta) -> datetime:
        """Return when it is forgotten unless something is asked before."""
        return self.use_time + kept
