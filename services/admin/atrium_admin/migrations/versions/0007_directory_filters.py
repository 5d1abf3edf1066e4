"""Display names and mail addresses in the form in which filters compare them."""

from __future__ import annotations

from unicodedata import normalize

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_AT_ONCE = 1_000


def _key(text: str) -> str:
    return normalize("NFC", normalize("NFC", text).casefold())


def _fill(table: sa.TableClause, **keys: str) -> None:
    """Write each ``<name>_key`` from its column; the database knows no case beyond ASCII."""
    connection = op.get_bind()
    ours = (table.c.tenant_id, table.c.id)
    last: tuple[str, str] = ("", "")
    change = (
        sa.update(table)
        .where(table.c.tenant_id == sa.bindparam("tenant"), table.c.id == sa.bindparam("row"))
        .values({key: sa.bindparam(f"new_{key}") for key in keys})
    )
    while True:
        rows = connection.execute(
            sa.select(table).where(sa.tuple_(*ours) > last).order_by(*ours).limit(_AT_ONCE)
        ).all()
        if not rows:
            return
        last = (rows[-1].tenant_id, rows[-1].id)
        connection.execute(
            change,
            [
                {
                    "tenant": row.tenant_id,
                    "row": row.id,
                    **{f"new_{key}": _key(row._mapping[of]) for key, of in keys.items()},
                }
                for row in rows
            ],
        )


def _table(name: str, *columns: str) -> sa.TableClause:
    return sa.table(name, *(sa.column(each, sa.String) for each in ("tenant_id", "id", *columns)))


def upgrade() -> None:
    added = {"users": ("display_name_key", "email_key"), "groups": ("display_name_key",)}
    for table, keys in added.items():
        for key in keys:
            op.add_column(table, sa.Column(key, sa.String(1024), nullable=False, server_default=""))
    users = _table("users", "display_name", "email", *added["users"])
    groups = _table("groups", "display_name", *added["groups"])
    _fill(users, display_name_key="display_name", email_key="email")
    _fill(groups, display_name_key="display_name")
    op.create_index("users_by_email", "users", ["tenant_id", "email_key"])
    op.create_index("groups_by_display_name", "groups", ["tenant_id", "display_name_key"])
