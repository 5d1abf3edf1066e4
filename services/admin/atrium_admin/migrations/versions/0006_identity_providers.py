"""Identity providers; what outside directories call users and groups."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from atrium_shared.database import UtcDateTime

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def _member(table: str, column: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["tenant_id", column], [f"{table}.tenant_id", f"{table}.id"], ondelete="CASCADE"
    )


def _text(name: str, length: int) -> sa.Column[str]:
    return sa.Column(name, sa.String(length), nullable=False)


def _added_text(name: str, length: int) -> sa.Column[str]:
    return sa.Column(name, sa.String(length), nullable=False, server_default="")


def upgrade() -> None:
    op.add_column("users", _added_text("user_name", 256))
    op.add_column("users", _added_text("user_name_key", 1024))
    op.add_column("users", _added_text("external_id", 256))
    users = sa.table("users", sa.column("id"), sa.column("user_name"), sa.column("user_name_key"))
    # Ids are ASCII, so lower case is the form in which names are compared.
    op.execute(
        sa.update(users).values(user_name=users.c.id, user_name_key=sa.func.lower(users.c.id))
    )
    op.create_index("users_by_user_name", "users", ["tenant_id", "user_name_key"])
    op.create_index("users_by_external_id", "users", ["tenant_id", "external_id"])
    op.add_column("groups", _added_text("external_id", 256))
    op.create_index("groups_by_external_id", "groups", ["tenant_id", "external_id"])
    op.create_table(
        "identity_providers",
        sa.Column("tenant_id", sa.String(64), sa.ForeignKey("tenants.id"), primary_key=True),
        sa.Column("id", sa.String(32), primary_key=True),
        _text("display_name", 200),
        _text("issuer", 512),
        sa.Column("audiences", sa.JSON, nullable=False),
        _text("jwks_uri", 512),
        sa.Column("algorithms", sa.JSON, nullable=False),
        _text("user_claim", 64),
        _text("user_match", 16),
        _text("email_claim", 64),
        _text("name_claim", 64),
        _text("groups_claim", 64),
        sa.Column("provision_users", sa.Boolean, nullable=False),
        sa.Column("disabled", sa.Boolean, nullable=False),
        sa.Column("create_time", UtcDateTime, nullable=False),
    )
    op.create_index("identity_providers_by_issuer", "identity_providers", ["issuer"], unique=True)
    op.create_table(
        "identity_provider_groups",
        sa.Column("tenant_id", sa.String(64), primary_key=True),
        sa.Column("provider_id", sa.String(32), primary_key=True),
        sa.Column("claim_value", sa.String(256), primary_key=True),
        _text("group_id", 128),
        _member("identity_providers", "provider_id"),
        _member("groups", "group_id"),
    )
    op.create_table(
        "identity_provider_tokens",
        sa.Column("tenant_id", sa.String(64), primary_key=True),
        sa.Column("provider_id", sa.String(32), primary_key=True),
        sa.Column("user_id", sa.String(128), primary_key=True),
        sa.Column("issued_at", UtcDateTime, nullable=False),
        _member("identity_providers", "provider_id"),
        _member("users", "user_id"),
    )
