"""Signed checkpoints of the audit logs, the public keys that verify them, indexes for searching."""

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
        "audit_heads",
        sa.Column("checkpoint_sequence", sa.BigInteger, nullable=False, server_default="0"),
    )
    op.add_column("audit_heads", sa.Column("checkpoint_time", UtcDateTime, nullable=True))
    op.create_table(
        "audit_checkpoints",
        sa.Column("tenant_id", sa.String(64), sa.ForeignKey("tenants.id"), primary_key=True),
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("statement", sa.String(1024), nullable=False),
    )
    op.create_table(
        "checkpoint_keys",
        sa.Column("kid", sa.String(64), primary_key=True),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("create_time", UtcDateTime, nullable=False),
    )
    for column in ("action", "decision", "detail", "policy_version"):
        op.create_index(
            f"audit_lines_by_{column}", "audit_lines", ["tenant_id", column, "sequence"]
        )
    op.create_index(
        "audit_lines_by_resource",
        "audit_lines",
        ["tenant_id", "resource"],
        postgresql_ops={"resource": "varchar_pattern_ops"},
    )
