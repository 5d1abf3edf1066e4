"""Sources that documents are synced from, and what they have here."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from atrium_shared.database import UtcDateTime

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sync_sources",
        sa.Column("collection_uid", sa.String(40), nullable=False),
        sa.Column("source", sa.String(63), nullable=False),
        sa.Column("run", sa.Integer, nullable=False),
        sa.Column("stage", sa.String(16), nullable=False),
        sa.Column("token", sa.String(500), nullable=False),
        sa.Column("completed_token", sa.String(500), nullable=False),
        sa.Column("last_item", sa.String(500), nullable=False),
        sa.Column("counts", sa.JSON, nullable=False),
        sa.Column("doubtful", sa.Boolean, nullable=False),
        sa.Column("holder", sa.String(250), nullable=False),
        sa.Column("lease_time", UtcDateTime, nullable=False),
        sa.Column("operation_id", sa.String(64), nullable=False),
        sa.Column("finishing", sa.JSON),
        sa.Column("start_time", UtcDateTime, nullable=False),
        sa.Column("update_time", UtcDateTime, nullable=False),
        sa.ForeignKeyConstraint(["collection_uid"], ["collections.uid"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("collection_uid", "source"),
    )
    op.create_table(
        "sync_items",
        sa.Column("collection_uid", sa.String(40), nullable=False),
        sa.Column("source", sa.String(63), nullable=False),
        sa.Column("item", sa.String(500), nullable=False),
        sa.Column("document_id", sa.String(63), nullable=False),
        sa.Column("revision", sa.String(200), nullable=False),
        sa.Column("run", sa.Integer, nullable=False),
        sa.ForeignKeyConstraint(["collection_uid"], ["collections.uid"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("collection_uid", "source", "item"),
    )
    op.create_index("sync_items_by_document", "sync_items", ["collection_uid", "document_id"])
