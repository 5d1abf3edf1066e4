"""The gateway's tables."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Date,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

from atrium_shared.database import UtcDateTime

metadata = MetaData()

routes = Table(
    "routes",
    metadata,
    Column("tenant", String(64), primary_key=True),
    Column("task", String(64), primary_key=True),
    Column("candidates", JSON, nullable=False),
    Column("grounding", String(16), nullable=False),
    Column("cache", String(16), nullable=False),
)

route_stamps = Table(
    "route_stamps",
    metadata,
    Column("tenant", String(64), primary_key=True),
    Column("stamp", BigInteger, nullable=False),
)

usage = Table(
    "usage_by_key",
    metadata,
    Column("tenant", String(64), primary_key=True),
    Column("day", Date, primary_key=True),
    Column("task", String(64), primary_key=True),
    Column("model", String(256), primary_key=True),
    Column("credential", String(160), primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Column("failures", BigInteger, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    Column("encoder_tokens", BigInteger, nullable=False),
    Column("cached_prompt_tokens", BigInteger, nullable=False),
    Column("cached", BigInteger, nullable=False),
)

quotas = Table(
    "quotas",
    metadata,
    Column("tenant", String(64), primary_key=True),
    Column("name", String(80), primary_key=True),
    Column("subject", String(160), nullable=False),
    Column("unit", String(16), nullable=False),
    Column("window", String(16), nullable=False),
    Column("quota_limit", BigInteger, nullable=False),
)

quota_ledgers = Table(
    "quota_ledgers",
    metadata,
    Column("ledger", String(300), primary_key=True),
    Column("tenant", String(64), nullable=False, index=True),
    Column("window_end", UtcDateTime, nullable=False, index=True),
    Column("granted", BigInteger, nullable=False),
)

quota_processes = Table(
    "quota_processes",
    metadata,
    Column("process", String(32), primary_key=True),
    Column("beat", BigInteger, nullable=False),
)

quota_leases = Table(
    "quota_leases",
    metadata,
    Column("ledger", String(300), primary_key=True),
    Column("process", String(32), primary_key=True, index=True),
    Column("granted", BigInteger, nullable=False),
    Column("mark", BigInteger, nullable=False),
)

adapters = Table(
    "adapters",
    metadata,
    Column("tenant", String(64), primary_key=True),
    Column("id", String(64), primary_key=True),
    Column("base_model", String(256), nullable=False),
    Column("serving", Integer, nullable=False),
    Column("previous", Integer, nullable=False),
    Column("asked", Integer, nullable=False),  # roll-outs begun so far
    Column("serving_asked", Integer, nullable=False),  # the one that made `serving` answer
)

adapter_versions = Table(
    "adapter_versions",
    metadata,
    Column("tenant", String(64), primary_key=True),
    Column("adapter", String(64), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("uid", String(64), nullable=False, unique=True),
    Column("state", String(16), nullable=False),
    Column("rank", Integer, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("create_time", UtcDateTime, nullable=False),
    Column("note", Text, nullable=False),
    Column("failure", Text, nullable=False),
    ForeignKeyConstraint(
        ["tenant", "adapter"], ["adapters.tenant", "adapters.id"], ondelete="CASCADE"
    ),
)

adapter_rollouts = Table(
    "adapter_rollouts",
    metadata,
    Column("id", String(64), primary_key=True),  # of the Operation and of the job
    Column("tenant", String(64), nullable=False),
    Column("adapter", String(64), nullable=False),
    Column("number", Integer, nullable=False),
    Column("asked", Integer, nullable=False),
    ForeignKeyConstraint(
        ["tenant", "adapter", "number"],
        ["adapter_versions.tenant", "adapter_versions.adapter", "adapter_versions.number"],
        ondelete="CASCADE",
    ),
)

adapter_leftovers = Table(
    "adapter_leftovers",
    metadata,
    Column("uid", String(64), primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("served_name", String(64), nullable=False),
    Column("remove_after", UtcDateTime, nullable=False),
)

adapter_changes = Table(
    "adapter_changes",
    metadata,
    Column("id", Integer, primary_key=True),  # one row, 1
    Column("changes", BigInteger, nullable=False),  # grows whenever what servers may hold changes
)

outcomes = Table(
    "outcomes",
    metadata,
    Column("tenant", String(64), primary_key=True),
    Column("generation", String(16), primary_key=True),
    Column("day", Date, nullable=False),
    Column("task", String(64), nullable=False),
    Column("model", String(256), nullable=False),
    Column("outcome", String(16), nullable=False),
    Index("outcomes_by_day", "tenant", "day"),
)
