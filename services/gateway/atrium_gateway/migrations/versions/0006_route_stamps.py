"""A number for each tenant with routes that changes with them, so that all are watched at once."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    stamps = op.create_table(
        "route_stamps",
        sa.Column("tenant", sa.String(64), primary_key=True),
        sa.Column("stamp", sa.BigInteger, nullable=False),
    )
    routes = sa.table("routes", sa.column("tenant", sa.String))
    tenants = sa.select(routes.c.tenant, sa.literal(1)).distinct()
    op.execute(stamps.insert().from_select(["tenant", "stamp"], tenants))
