"""Tenants, users, groups, roles, keys, policy changes, audit logs, signing keys."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from atrium_shared.database import UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _member(table: str, column: str, *, cascade: bool) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["tenant_id", column],
        [f"{table}.tenant_id", f"{table}.id"],
        ondelete="CASCADE" if cascade else None,
    )


def _tenant() -> sa.Column[str]:
    return sa.Column("tenant_id", sa.String(64), sa.ForeignKey("tenants.id"), primary_key=True)


def _key(name: str, length: int = 128) -> sa.Column[str]:
    return sa.Column(name, sa.String(length), primary_key=True)


def _text(name: str, length: int) -> sa.Column[str]:
    return sa.Column(name, sa.String(length), nullable=False)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False)


def upgrade() -> None:
    installation = op.create_table(
        "installation",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        _text("first_tenant", 64),
        _text("built_in_roles", 64),
        _number("change_version"),
    )
    op.bulk_insert(
        installation,
        [{"id": 1, "first_tenant": "", "built_in_roles": "", "change_version": 0}],
    )
    op.create_table(
        "tenants",
        _key("id", 64),
        _text("display_name", 200),
        sa.Column("create_time", UtcDateTime, nullable=False),
        _number("max_upload_bytes"),
        sa.Column("operator", sa.Boolean, nullable=False),
        _number("policy_version"),
    )
    op.create_table(
        "users",
        _tenant(),
        _key("id"),
        _text("display_name", 200),
        _text("kind", 16),
        _text("email", 320),
        sa.Column("disabled", sa.Boolean, nullable=False),
        sa.Column("create_time", UtcDateTime, nullable=False),
    )
    op.create_table(
        "groups",
        _tenant(),
        _key("id"),
        _text("display_name", 200),
        sa.Column("create_time", UtcDateTime, nullable=False),
    )
    op.create_table(
        "roles",
        _tenant(),
        _key("id"),
        _text("display_name", 200),
        sa.Column("built_in", sa.Boolean, nullable=False),
        sa.Column("create_time", UtcDateTime, nullable=False),
    )
    op.create_table(
        "role_grants",
        _key("tenant_id", 64),
        _key("role_id"),
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
        _text("resource", 256),
        _text("action", 32),
        _text("effect", 8),
        _member("roles", "role_id", cascade=True),
    )
    op.create_index("role_grants_by_resource", "role_grants", ["tenant_id", "resource"])
    op.create_table(
        "role_parents",
        _key("tenant_id", 64),
        _key("role_id"),
        _key("parent_id"),
        _member("roles", "role_id", cascade=True),
        _member("roles", "parent_id", cascade=False),
    )
    op.create_index("role_parents_by_parent", "role_parents", ["tenant_id", "parent_id"])
    op.create_table(
        "user_roles",
        _key("tenant_id", 64),
        _key("user_id"),
        _key("role_id"),
        _member("users", "user_id", cascade=True),
        _member("roles", "role_id", cascade=False),
    )
    op.create_index("user_roles_by_role", "user_roles", ["tenant_id", "role_id"])
    op.create_table(
        "group_members",
        _key("tenant_id", 64),
        _key("group_id"),
        _key("user_id"),
        _member("groups", "group_id", cascade=True),
        _member("users", "user_id", cascade=True),
    )
    op.create_index("group_members_by_user", "group_members", ["tenant_id", "user_id"])
    op.create_table(
        "group_roles",
        _key("tenant_id", 64),
        _key("group_id"),
        _key("role_id"),
        _member("groups", "group_id", cascade=True),
        _member("roles", "role_id", cascade=False),
    )
    op.create_index("group_roles_by_role", "group_roles", ["tenant_id", "role_id"])
    op.create_table(
        "api_keys",
        _key("id", 64),
        _text("tenant_id", 64),
        _text("user_id", 128),
        _text("display_name", 200),
        sa.Column("secret_hash", sa.LargeBinary(32), nullable=False),
        _text("prefix", 80),
        sa.Column("create_time", UtcDateTime, nullable=False),
        sa.Column("expire_time", UtcDateTime, nullable=True),
        sa.Column("revoke_time", UtcDateTime, nullable=True),
        sa.Column("last_use_time", UtcDateTime, nullable=True),
        _member("users", "user_id", cascade=True),
    )
    op.create_index("api_keys_by_time", "api_keys", ["tenant_id", "create_time", "id"])
    op.create_index("api_keys_by_user", "api_keys", ["tenant_id", "user_id"])
    op.create_table(
        "policy_changes",
        sa.Column("version", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("tenant_id", sa.String(64), sa.ForeignKey("tenants.id"), nullable=False),
        _number("policy_version"),
        sa.Column("users", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("roles", sa.JSON, nullable=False),
        sa.Column("groups", sa.JSON, nullable=False),
        sa.Column("time", UtcDateTime, nullable=False),
    )
    op.create_index("policy_changes_by_tenant", "policy_changes", ["tenant_id", "policy_version"])
    op.create_table(
        "audit_heads",
        _tenant(),
        _number("sequence"),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
    )
    op.create_table(
        "audit_lines",
        _tenant(),
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("time", UtcDateTime, nullable=False),
        _text("actor", 134),
        _text("on_behalf_of", 134),
        _text("action", 128),
        _text("resource", 512),
        _text("decision", 16),
        _text("detail", 256),
        _number("policy_version"),
        _text("model", 200),
        _number("tokens"),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
    )
    op.create_index("audit_lines_by_time", "audit_lines", ["tenant_id", "time"])
    op.create_index("audit_lines_by_actor", "audit_lines", ["tenant_id", "actor", "sequence"])
    op.create_index(
        "audit_lines_by_on_behalf_of", "audit_lines", ["tenant_id", "on_behalf_of", "sequence"]
    )
    op.create_table(
        "signing_keys",
        _key("kid", 64),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("create_time", UtcDateTime, nullable=False),
    )
