"""Where a tenant's texts may go, and what it may use."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Nobody was asked yet whether anything may leave.
    residency = sa.Column("residency", sa.String(16), nullable=False, server_default="private_only")
    op.add_column("tenants", residency)
    op.add_column("tenants", sa.Column("quotas", sa.JSON, nullable=False, server_default="[]"))
