"""How closely replies of a route keep to their sources, and whether the cache may be used."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("routes") as table:
        for column, held_until_now in (("grounding", "tolerant"), ("cache", "off")):
            table.add_column(
                sa.Column(column, sa.String(16), nullable=False, server_default=held_until_now)
            )


def downgrade() -> None:
    with op.batch_alter_table("routes") as table:
        table.drop_column("cache")
        table.drop_column("grounding")
