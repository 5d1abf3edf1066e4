"""When a live stream was last there, so that one to which nobody returns can be ended."""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

from atrium_shared.database import UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("live_streams", sa.Column("seen_time", UtcDateTime))
    # Nothing is known of streams of before: their time begins now.
    streams = sa.table("live_streams", sa.column("seen_time", UtcDateTime))
    op.execute(sa.update(streams).values(seen_time=datetime.now(UTC)))
    with op.batch_alter_table("live_streams") as table:
        table.alter_column("seen_time", existing_type=UtcDateTime, nullable=False)
