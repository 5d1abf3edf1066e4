"""Pseudonyms in place of users' names in the audit logs, and the list of erased users.

Hashes are over what is stored, so every log is sealed anew: the same lines with pseudonyms, then
one line that holds the hash with which the log ended before. A log that was whole is whole again; a
log that was broken stays broken at the same line, because from there on its old hashes are kept.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from alembic import op

from atrium_shared.database import UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_LINES_AT_ONCE = 1_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_USER = re.compile(r"users/([A-Za-z0-9][A-Za-z0-9._@-]{0,127})")
_NAMES = ("actor", "on_behalf_of", "resource")

_heads = sa.table(
    "audit_heads", sa.column("tenant_id"), sa.column("sequence"), sa.column("hash", sa.LargeBinary)
)
_lines = sa.table(
    "audit_lines",
    sa.column("tenant_id"), sa.column("sequence"), sa.column("time", UtcDateTime),
    sa.column("actor"), sa.column("on_behalf_of"), sa.column("action"), sa.column("resource"),
    sa.column("decision"), sa.column("detail"), sa.column("policy_version"), sa.column("model"),
    sa.column("tokens"), sa.column("hash", sa.LargeBinary),
)  # fmt: skip
_pseudonyms = sa.table(
    "audit_pseudonyms",
    sa.column("tenant_id"), sa.column("user_id"), sa.column("pseudonym"),
    sa.column("salt", sa.LargeBinary),
)  # fmt: skip


def upgrade() -> None:
    op.create_table(
        "audit_pseudonyms",
        sa.Column("tenant_id", sa.String(64), sa.ForeignKey("tenants.id"), primary_key=True),
        sa.Column("user_id", sa.String(128), primary_key=True),
        sa.Column("pseudonym", sa.String(32), nullable=False),
        sa.Column("salt", sa.LargeBinary(32), nullable=False),
    )
    op.create_index(
        "audit_pseudonyms_by_pseudonym",
        "audit_pseudonyms",
        ["tenant_id", "pseudonym"],
        unique=True,
    )
    op.create_table(
        "erased_users",
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("tenant_id", sa.String(64), sa.ForeignKey("tenants.id"), nullable=False),
        sa.Column("user_id", sa.String(128), nullable=False),
        sa.Column("time", UtcDateTime, nullable=False),
    )
    op.create_index("erased_users_by_user", "erased_users", ["tenant_id", "user_id"])
    for head in op.get_bind().execute(sa.select(_heads)).all():
        _seal_anew(head.tenant_id, head.sequence, head.hash)


def _seal_anew(tenant: str, length: int, old_head: bytes) -> None:
    bind = op.get_bind()
    names: dict[str, str] = {}
    old = new = bytes(32)
    expected, whole = 1, True
    for row in _rows(tenant):
        line = dict(row._mapping)
        whole = whole and row.sequence == expected and row.hash == _hash(tenant, line, old)
        for column in _NAMES:
            line[column] = _hidden(tenant, line[column], names)
        old, expected = row.hash, row.sequence + 1
        if whole:
            line["hash"] = new = _hash(tenant, line, new)
        bind.execute(
            sa.update(_lines)
            .where(_lines.c.tenant_id == tenant, _lines.c.sequence == row.sequence)
            .values({column: line[column] for column in (*_NAMES, "hash")})
        )
    if not whole or expected != length + 1 or old != old_head or not length:
        # The head stays what it was, so that the break shows as before.
        return
    told = {
        "sequence": length + 1,
        "time": datetime.now(UTC),
        "actor": "services/admin",
        "on_behalf_of": "",
        "action": "admin.SealAuditLogAnew",
        "resource": "",
        "decision": "allowed",
        "detail": f"pseudonyms; the log of {length} lines ended with sha256:{old_head.hex()}",
        "policy_version": 0,
        "model": "",
        "tokens": 0,
    }
    sealed = _hash(tenant, told, new)
    bind.execute(sa.insert(_lines).values(tenant_id=tenant, hash=sealed, **told))
    bind.execute(
        sa.update(_heads)
        .where(_heads.c.tenant_id == tenant)
        .values(sequence=length + 1, hash=sealed)
    )


def _rows(tenant: str) -> Iterator[sa.Row[Any]]:
    after = 0
    while True:
        rows = (
            op.get_bind()
            .execute(
                sa.select(_lines)
                .where(_lines.c.tenant_id == tenant, _lines.c.sequence > after)
                .order_by(_lines.c.sequence)
                .limit(_LINES_AT_ONCE)
            )
            .all()
        )
        yield from rows
        if len(rows) < _LINES_AT_ONCE:
            return
        after = rows[-1].sequence


def _hidden(tenant: str, name: str, names: dict[str, str]) -> str:
    match = _USER.fullmatch(name)
    if match is None:
        return name
    user = match[1]
    if user not in names:
        salt = secrets.token_bytes(32)
        text = json.dumps(["atrium-pseudonym-1", tenant, user], separators=(",", ":")).encode()
        digest = hashlib.sha256(salt + text).digest()[:16]
        names[user] = base64.b32encode(digest).decode().rstrip("=").lower()
        op.get_bind().execute(
            sa.insert(_pseudonyms).values(
                tenant_id=tenant, user_id=user, pseudonym=names[user], salt=salt
            )
        )
    return f"users/~{names[user]}"


def _hash(tenant: str, line: dict[str, Any], previous: bytes) -> bytes:
    """Return the hash that seals a line, as the version ``atrium-audit-1`` has it."""
    encoded = json.dumps(
        [
            "atrium-audit-1",
            tenant,
            line["sequence"],
            (line["time"] - _EPOCH) // timedelta(microseconds=1),
            line["actor"],
            line["on_behalf_of"],
            line["action"],
            line["resource"],
            line["decision"],
            line["detail"],
            line["policy_version"],
            line["model"],
            line["tokens"],
        ],
        ensure_ascii=True,
        separators=(",", ":"),
    ).encode()
    return hashlib.sha256(previous + encoded).digest()
