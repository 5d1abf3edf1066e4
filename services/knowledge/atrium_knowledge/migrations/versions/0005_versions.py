"""What is kept of each version: its hash, whether its text is there, the labels in force."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from atrium_shared.database import UtcDateTime

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "collections", sa.Column("versions_kept", sa.Integer, nullable=False, server_default="10")
    )
    op.add_column(
        "revisions", sa.Column("content_hash", sa.String(64), nullable=False, server_default="")
    )
    op.add_column(
        "revisions", sa.Column("text_kept", sa.Boolean, nullable=False, server_default=sa.true())
    )
    op.execute(
        sa.text("UPDATE revisions SET text_kept = :gone WHERE state = 'FAILED'").bindparams(
            sa.bindparam("gone", False, sa.Boolean)
        )
    )
    op.create_table(
        "label_periods",
        sa.Column("id", sa.Integer, autoincrement=True, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("labels", sa.JSON, nullable=False),
        sa.Column("section_labels", sa.JSON, nullable=False),
        sa.Column("outline", sa.JSON, nullable=False, server_default="[]"),
        sa.Column("start_time", UtcDateTime, nullable=False),
        sa.Column("end_time", UtcDateTime),
        sa.ForeignKeyConstraint(["revision"], ["revisions.seq"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_label_periods_revision", "label_periods", ["revision"])
    # What is searchable changed last when it was published or labelled: since then at least its
    # labels are in force.
    op.execute(
        "INSERT INTO label_periods (revision, labels, section_labels, start_time) "
        "SELECT seq, labels, section_labels, update_time FROM revisions WHERE state = 'LIVE'"
    )
