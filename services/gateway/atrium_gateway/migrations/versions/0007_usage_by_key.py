"""Usage by key as well, and the calls that the cache answered."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_KEPT = (
    "tenant, day, task, model, requests, failures, prompt_tokens, completion_tokens, "
    "encoder_tokens, cached_prompt_tokens"
)


def upgrade() -> None:
    # SQLite cannot add to a primary key, so the rows move. What was counted before knows no key.
    op.create_table(
        "usage_by_key",
        sa.Column("tenant", sa.String(64), primary_key=True),
        sa.Column("day", sa.Date, primary_key=True),
        sa.Column("task", sa.String(64), primary_key=True),
        sa.Column("model", sa.String(256), primary_key=True),
        sa.Column("credential", sa.String(160), primary_key=True),
        sa.Column("requests", sa.BigInteger, nullable=False),
        sa.Column("failures", sa.BigInteger, nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger, nullable=False),
        sa.Column("completion_tokens", sa.BigInteger, nullable=False),
        sa.Column("encoder_tokens", sa.BigInteger, nullable=False),
        sa.Column("cached_prompt_tokens", sa.BigInteger, nullable=False),
        sa.Column("cached", sa.BigInteger, nullable=False),
    )
    op.execute(
        f"INSERT INTO usage_by_key ({_KEPT}, credential, cached) "  # noqa: S608 - columns above
        f"SELECT {_KEPT}, '', 0 FROM usage"
    )
    op.drop_table("usage")


def downgrade() -> None:
    op.create_table(
        "usage",
        sa.Column("tenant", sa.String(64), primary_key=True),
        sa.Column("day", sa.Date, primary_key=True),
        sa.Column("task", sa.String(64), primary_key=True),
        sa.Column("model", sa.String(256), primary_key=True),
        sa.Column("requests", sa.BigInteger, nullable=False),
        sa.Column("failures", sa.BigInteger, nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger, nullable=False),
        sa.Column("completion_tokens", sa.BigInteger, nullable=False),
        sa.Column("encoder_tokens", sa.BigInteger, nullable=False),
        sa.Column("cached_prompt_tokens", sa.BigInteger, nullable=False),
    )
    op.execute(
        f"INSERT INTO usage ({_KEPT}) SELECT tenant, day, task, model, "  # noqa: S608 - see above
        "SUM(requests), SUM(failures), SUM(prompt_tokens), SUM(completion_tokens), "
        "SUM(encoder_tokens), SUM(cached_prompt_tokens) FROM usage_by_key "
        "GROUP BY tenant, day, task, model"
    )
    op.drop_table("usage_by_key")
