"""Live streams: how far they are, and who may go on with them."""

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
        "live_streams",
        sa.Column("meeting_uid", sa.String(40), nullable=False),
        sa.Column("session", sa.String(64), nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("kept_until_ms", sa.BigInteger, nullable=False),
        sa.Column("utterance_count", sa.Integer, nullable=False),
        sa.Column("voices", sa.LargeBinary, nullable=False),
        sa.Column("lease_time", UtcDateTime),
        sa.PrimaryKeyConstraint("meeting_uid"),
        sa.ForeignKeyConstraint(["meeting_uid"], ["meetings.uid"], ondelete="CASCADE"),
    )
