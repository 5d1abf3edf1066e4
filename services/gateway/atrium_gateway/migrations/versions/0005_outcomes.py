"""What became of replies."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "outcomes",
        sa.Column("tenant", sa.String(64), primary_key=True),
        sa.Column("generation", sa.String(16), primary_key=True),
        sa.Column("day", sa.Date, nullable=False),
        sa.Column("task", sa.String(64), nullable=False),
        sa.Column("model", sa.String(256), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
    )
    op.create_index("outcomes_by_day", "outcomes", ["tenant", "day"])


def downgrade() -> None:
    op.drop_table("outcomes")
