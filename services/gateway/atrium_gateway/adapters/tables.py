"""The gateway's tables."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Column, Date, MetaData, String, Table

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
