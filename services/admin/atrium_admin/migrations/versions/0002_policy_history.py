"""The history of users, groups and roles, which begins with what is there now."""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

from atrium_shared.database import UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def _tenant() -> sa.Column[str]:
    return sa.Column("tenant_id", sa.String(64), sa.ForeignKey("tenants.id"), primary_key=True)


def _key(name: str, length: int = 128) -> sa.Column[str]:
    return sa.Column(name, sa.String(length), primary_key=True)


def _text(name: str, length: int) -> sa.Column[str]:
    return sa.Column(name, sa.String(length), nullable=False)


def _from_until() -> tuple[sa.Column[int], sa.Column[int]]:
    return (
        sa.Column("from_version", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("until_version", sa.BigInteger, nullable=True),
    )


def upgrade() -> None:
    op.create_table(
        "policy_versions",
        _tenant(),
        sa.Column("version", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("time", UtcDateTime, nullable=False),
    )
    op.create_index("policy_versions_by_time", "policy_versions", ["tenant_id", "time"])
    op.create_table(
        "past_users",
        _tenant(),
        _key("user_id"),
        sa.Column("disabled", sa.Boolean, nullable=False),
        *_from_until(),
    )
    op.create_table(
        "past_links", _tenant(), _key("kind", 16), _key("holder"), _key("held"), *_from_until()
    )
    op.create_index("past_links_by_held", "past_links", ["tenant_id", "kind", "held"])
    op.create_table(
        "past_grants",
        _tenant(),
        _key("role_id"),
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
        _text("resource", 256),
        _text("action", 32),
        _text("effect", 8),
        *_from_until(),
    )
    _begin_with_what_is_there()


def _begin_with_what_is_there() -> None:
    versions = sa.table(
        "policy_versions",
        sa.column("tenant_id"), sa.column("version"), sa.column("time", UtcDateTime),
    )  # fmt: skip
    tenants = sa.table("tenants", sa.column("id"), sa.column("policy_version"))
    now = sa.literal(datetime.now(UTC), UtcDateTime)
    op.execute(
        versions.insert().from_select(
            ["tenant_id", "version", "time"], sa.select(tenants.c.id, tenants.c.policy_version, now)
        )
    )
    for statement in (
        """INSERT INTO past_users (tenant_id, user_id, disabled, from_version)
           SELECT users.tenant_id, users.id, users.disabled, tenants.policy_version
           FROM users JOIN tenants ON tenants.id = users.tenant_id""",
        """INSERT INTO past_grants
               (tenant_id, role_id, position, resource, action, effect, from_version)
           SELECT role_grants.tenant_id, role_id, position, resource, action, effect,
                  tenants.policy_version
           FROM role_grants JOIN tenants ON tenants.id = role_grants.tenant_id""",
        *(
            f"""INSERT INTO past_links (tenant_id, kind, holder, held, from_version)
                SELECT {table}.tenant_id, '{kind}', {holder}, {held}, tenants.policy_version
                FROM {table} JOIN tenants ON tenants.id = {table}.tenant_id"""  # noqa: S608 - names of ours
            for kind, table, holder, held in (
                ("user_role", "user_roles", "user_id", "role_id"),
                ("user_group", "group_members", "user_id", "group_id"),
                ("group_role", "group_roles", "group_id", "role_id"),
                ("role_role", "role_parents", "role_id", "parent_id"),
            )
        ),
    ):
        op.execute(statement)
