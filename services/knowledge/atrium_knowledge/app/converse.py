"""Begin, return, list and forget one's own conversations."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from atrium_knowledge.app.conversation_store import ConversationStore
from atrium_knowledge.app.stores import CollectionStore
from atrium_knowledge.domain.conversations import TURNS_KEPT, Conversation, Turn
from atrium_knowledge.domain.names import collection_id, conversation_id
from atrium_shared.audit_trail import AuditTrail
from atrium_shared.clock import Clock, Ids
from atrium_shared.paging import decode_page_token, encode_page_token, page_size
from atrium_shared.principal import Principal


class Converse:
    """The use cases. Whatever a caller may do, they meet their own conversations only.

    Args:
        collections: Where collections are stored.
        conversations: Where conversations are stored.
        audit: Records calls.
        clock: Tells the time.
        ids: Makes names.
        kept: How long a conversation is kept after its last question.
    """

    def __init__(
        self,
        collections: CollectionStore,
        conversations: ConversationStore,
        audit: AuditTrail,
        clock: Clock,
        ids: Ids,
        *,
        kept: timedelta,
    ) -> None:
        self.kept = kept
        self._collections = collections
        self._conversations = conversations
        self._audit = audit
        self._clock = clock
        self._ids = ids

    async def create(self, principal: Principal, collection: str) -> Conversation:
        """Begin a conversation about a collection.

        Raises:
            CollectionNotFound: There is none in the caller's tenant.
        """
        async with self._audit.call(principal, "CreateConversation", collection):
            found = await self._collections.get(principal.tenant, collection_id(collection))
            now = self._clock.now()
            begun = Conversation(
                tenant=principal.tenant,
                id=self._ids.new("c"),
                subject=principal.subject,
                collection_uid=found.uid,
                collection_id=found.id,
                turn_count=0,
                create_time=now,
                use_time=now,
            )
            await self._conversations.create(begun)
            return begun

    async def get(self, principal: Principal, name: str) -> tuple[Conversation, Sequence[Turn]]:
        """Return one of the caller's conversations with its latest turns, oldest first.

        Raises:
            ConversationNotFound: There is none, or it is somebody else's.
        """
        async with self._audit.call(principal, "GetConversation", name):
            key = principal.tenant, principal.subject, conversation_id(name)
            found = await self._conversations.get(*key)
            return found, await self._conversations.turns(*key, TURNS_KEPT)

    async def list(
        self, principal: Principal, requested: int, page_token: str
    ) -> tuple[Sequence[Conversation], str]:
        """Return a page of the caller's conversations, and the token of the next page.

        Raises:
            PageTokenInvalid: The token was altered or made for another request.
        """
        async with self._audit.call(principal, "ListConversations", "conversations"):
            fingerprint = f"{principal.tenant}/{principal.subject}/conversations"
            after = decode_page_token(page_token, fingerprint)
            size = page_size(requested)
            found = await self._conversations.list(
                principal.tenant, principal.subject, after, size + 1
            )
            page, more = found[:size], len(found) > size
            return page, encode_page_token(page[-1].id, fingerprint) if more else ""

    async def delete(self, principal: Principal, name: str) -> None:
        """Forget one of the caller's conversations.

        Raises:
            ConversationNotFound: There is none, or it is somebody else's.
        """
        async with self._audit.call(principal, "DeleteConversation", name):
            await self._conversations.delete(
                principal.tenant, principal.subject, conversation_id(name)
            )
