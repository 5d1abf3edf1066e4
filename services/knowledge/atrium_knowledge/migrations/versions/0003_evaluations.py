"""Sets of questions, evaluation runs, and what feedback on the same questions shares."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from atrium_shared.database import UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("feedback", sa.Column("question_hash", sa.String(64)))
    op.create_index("ix_feedback_question_hash", "feedback", ["question_hash"])
    op.create_table(
        "question_sets",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("collection_uid", sa.String(40), nullable=False),
        sa.Column("display_name", sa.String(200), nullable=False),
        sa.Column("cases", sa.JSON, nullable=False),
        sa.Column("case_count", sa.Integer, nullable=False),
        sa.Column("create_time", UtcDateTime, nullable=False),
        sa.ForeignKeyConstraint(["collection_uid"], ["collections.uid"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    op.create_index("ix_question_sets_collection_uid", "question_sets", ["collection_uid"])
    op.create_table(
        "evaluation_runs",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("set_id", sa.String(64), nullable=False),
        sa.Column("baseline", sa.String(64), nullable=False),
        sa.Column("mode", sa.String(16), nullable=False),
        sa.Column("runner", sa.String(140), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("error_reason", sa.String(100), nullable=False),
        sa.Column("case_count", sa.Integer, nullable=False),
        sa.Column("create_time", UtcDateTime, nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant", "set_id"], ["question_sets.tenant", "question_sets.id"], ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    op.create_index("ix_evaluation_runs_state", "evaluation_runs", ["state"])
    op.create_table(
        "evaluation_results",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("number", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("result", sa.JSON, nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant", "run_id"],
            ["evaluation_runs.tenant", "evaluation_runs.id"],
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant", "run_id", "number"),
    )
