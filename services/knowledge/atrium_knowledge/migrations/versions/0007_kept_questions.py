"""Words of questions are kept only where a collection says so; regressions between runs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "collections",
        sa.Column("keep_questions", sa.Boolean, nullable=False, server_default=sa.false()),
    )
    # No collection has said so yet.
    op.execute("UPDATE feedback SET question = NULL, answer = NULL")
    op.add_column("evaluation_results", sa.Column("regressed_from", sa.String(64)))
    op.create_index(
        "ix_evaluation_results_regressed_from", "evaluation_results", ["regressed_from"]
    )
