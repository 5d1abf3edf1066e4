"""Adapters of tenants, their versions and roll-outs, and Operations."""

import sqlalchemy as sa
from alembic import op

from atrium_shared.database import UtcDateTime
from atrium_shared.operations import create_operations_table

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_operations_table(op)  # type: ignore[arg-type]  # the module acts as one
    op.create_table(
        "adapters",
        sa.Column("tenant", sa.String(64), primary_key=True),
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("base_model", sa.String(256), nullable=False),
        sa.Column("serving", sa.Integer, nullable=False),
        sa.Column("previous", sa.Integer, nullable=False),
        sa.Column("asked", sa.Integer, nullable=False),
        sa.Column("serving_asked", sa.Integer, nullable=False),
    )
    op.create_table(
        "adapter_versions",
        sa.Column("tenant", sa.String(64), primary_key=True),
        sa.Column("adapter", sa.String(64), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("uid", sa.String(64), nullable=False, unique=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("rank", sa.Integer, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("create_time", UtcDateTime, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("failure", sa.Text, nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant", "adapter"], ["adapters.tenant", "adapters.id"], ondelete="CASCADE"
        ),
    )
    op.create_table(
        "adapter_rollouts",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("adapter", sa.String(64), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("asked", sa.Integer, nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant", "adapter", "number"],
            ["adapter_versions.tenant", "adapter_versions.adapter", "adapter_versions.number"],
            ondelete="CASCADE",
        ),
    )
    op.create_table(
        "adapter_leftovers",
        sa.Column("uid", sa.String(64), primary_key=True),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("served_name", sa.String(64), nullable=False),
        sa.Column("remove_after", UtcDateTime, nullable=False),
    )
    changes = op.create_table(
        "adapter_changes",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("changes", sa.BigInteger, nullable=False),
    )
    op.execute(sa.insert(changes).values(id=1, changes=0))


def downgrade() -> None:
    for table in (
        "adapter_changes",
        "adapter_leftovers",
        "adapter_rollouts",
        "adapter_versions",
        "adapters",
        "operations",
    ):
        op.drop_table(table)
