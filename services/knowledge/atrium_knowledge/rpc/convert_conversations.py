"""Conversations to protos."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from atrium.knowledge.v1 import conversation_service_pb2
from atrium_knowledge.domain.conversations import Conversation, Turn
from atrium_knowledge.rpc.convert import DECISIONS, timestamp


def to_proto(
    conversation: Conversation, kept: timedelta, turns: Sequence[Turn] = ()
) -> conversation_service_pb2.Conversation:
    """Convert a conversation, with its turns where they are wanted.

    Args:
        conversation: The conversation.
        kept: How long it is kept after its last question.
        turns: Its latest turns, oldest first.
    """
    return conversation_service_pb2.Conversation(
        name=conversation.name,
        collection=conversation.collection,
        turns=[
            conversation_service_pb2.ConversationTurn(
                number=turn.number,
                question=turn.question,
                interpreted_question=turn.interpreted,
                answer=turn.answer,
                decision=DECISIONS[turn.decision],
                create_time=timestamp(turn.create_time),
            )
            for turn in turns
        ],
        turn_count=conversation.turn_count,
        create_time=timestamp(conversation.create_time),
        expire_time=timestamp(conversation.expire_time(kept)),
    )
