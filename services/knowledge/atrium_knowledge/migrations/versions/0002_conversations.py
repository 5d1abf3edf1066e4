"""Conversations with their turns."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from atrium_shared.database import UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "conversations",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("collection_uid", sa.String(40), nullable=False),
        sa.Column("subject", sa.String(140), nullable=False),
        sa.Column("turn_count", sa.Integer, nullable=False),
        sa.Column("create_time", UtcDateTime, nullable=False),
        sa.Column("use_time", UtcDateTime, nullable=False),
        sa.ForeignKeyConstraint(["collection_uid"], ["collections.uid"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    op.create_index("ix_conversations_collection_uid", "conversations", ["collection_uid"])
    op.create_index("ix_conversations_use_time", "conversations", ["use_time"])
    op.create_index("conversations_by_subject", "conversations", ["tenant", "subject", "id"])
    op.create_table(
        "conversation_turns",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("conversation_id", sa.String(64), nullable=False),
        sa.Column("number", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("question", sa.Text, nullable=False),
        sa.Column("interpreted", sa.Text, nullable=False),
        sa.Column("answer_id", sa.String(64), nullable=False),
        sa.Column("decision", sa.String(16), nullable=False),
        sa.Column("create_time", UtcDateTime, nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant", "conversation_id"],
            ["conversations.tenant", "conversations.id"],
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant", "conversation_id", "number"),
    )
