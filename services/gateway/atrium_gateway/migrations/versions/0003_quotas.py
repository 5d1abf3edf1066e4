"""Quotas of tenants, and what is used of every quota by which process."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "quotas",
        sa.Column("tenant", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(80), primary_key=True),
        sa.Column("subject", sa.String(160), nullable=False),
        sa.Column("unit", sa.String(16), nullable=False),
        sa.Column("window", sa.String(16), nullable=False),
        sa.Column("quota_limit", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "quota_ledgers",
        sa.Column("ledger", sa.String(300), primary_key=True),
        sa.Column("tenant", sa.String(64), nullable=False, index=True),
        sa.Column("window_end", sa.DateTime(timezone=True), nullable=False, index=True),
        sa.Column("granted", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "quota_processes",
        sa.Column("process", sa.String(32), primary_key=True),
        sa.Column("beat", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "quota_leases",
        sa.Column("ledger", sa.String(300), primary_key=True),
        sa.Column("process", sa.String(32), primary_key=True, index=True),
        sa.Column("granted", sa.BigInteger, nullable=False),
        sa.Column("mark", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("quota_leases")
    op.drop_table("quota_processes")
    op.drop_table("quota_ledgers")
    op.drop_table("quotas")
