"""The gateway's tables."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Column, Date, MetaData, String, Table

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

usage = Table(
    "usage",
    metadata,
    Column("tenant", String(64), primary_key=True),
    Column("day", Date, primary_key=True),
    Column("task", String(64), primary_key=True),
    Column("model", String(256), primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Column("failures", BigInteger, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    Column("encoder_tokens", BigInteger, nullable=False),
    Column("cached_prompt_tokens", BigInteger, nullable=False),
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
