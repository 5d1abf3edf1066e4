"""Leases of the replicas that follow the policy feed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from atrium_shared.database import UtcDateTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "policy_replicas",
        sa.Column("replica", sa.String(128), primary_key=True),
        sa.Column("acknowledged", sa.BigInteger, nullable=False),
        sa.Column("lease_until", UtcDateTime, nullable=False),
        sa.Column("ended", sa.Boolean, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("policy_replicas")
