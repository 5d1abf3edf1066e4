"""The gRPC service of conversations: requests in, use cases, replies out."""

from __future__ import annotations

from google.protobuf import empty_pb2

from atrium.knowledge.v1 import conversation_service_pb2, conversation_service_pb2_grpc
from atrium_knowledge.app.converse import Converse
from atrium_knowledge.rpc import convert_conversations
from atrium_knowledge.rpc.servicer import Context
from atrium_shared.rpc.context import principal


class ConversationServicer(conversation_service_pb2_grpc.ConversationServiceServicer):
    """Implements ``atrium.knowledge.v1.ConversationService``."""

    def __init__(self, converse: Converse) -> None:
        self._converse = converse

    async def CreateConversation(
        self,
        request: conversation_service_pb2.CreateConversationRequest,
        context: Context,
    ) -> conversation_service_pb2.Conversation:
        begun = await self._converse.create(principal(context), request.conversation.collection)
        return convert_conversations.to_proto(begun, self._converse.kept)

    async def GetConversation(
        self,
        request: conversation_service_pb2.GetConversationRequest,
        context: Context,
    ) -> conversation_service_pb2.Conversation:
        found, turns = await self._converse.get(principal(context), request.name)
        return convert_conversations.to_proto(found, self._converse.kept, turns)

    async def ListConversations(
        self,
        request: conversation_service_pb2.ListConversationsRequest,
        context: Context,
    ) -> conversation_service_pb2.ListConversationsResponse:
        page, next_token = await self._converse.list(
            principal(context), request.page_size, request.page_token
        )
        return conversation_service_pb2.ListConversationsResponse(
            conversations=[
                convert_conversations.to_proto(one, self._converse.kept) for one in page
            ],
            next_page_token=next_token,
        )

    async def DeleteConversation(
        self,
        request: conversation_service_pb2.DeleteConversationRequest,
        context: Context,
    ) -> empty_pb2.Empty:
        await self._converse.delete(principal(context), request.name)
        return empty_pb2.Empty()
