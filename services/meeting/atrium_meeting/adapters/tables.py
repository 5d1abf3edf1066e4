"""The tables of the service's database."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from atrium_shared.database import UtcDateTime
from atrium_shared.operations import operations_table

metadata = sa.MetaData()

operations = operations_table(metadata)

meetings = sa.Table(
    "meetings",
    metadata,
    sa.Column("uid", sa.String(40), primary_key=True),
    sa.Column("tenant", sa.String(64), nullable=False),
    sa.Column("id", sa.String(63), nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("start_time", UtcDateTime),
    sa.Column("languages", sa.JSON, nullable=False),
    sa.Column("chinese_script", sa.String(16), nullable=False),
    sa.Column("hotwords", sa.JSON, nullable=False),
    sa.Column("agenda", sa.JSON, nullable=False),
    sa.Column("labels", sa.JSON, nullable=False),
    sa.Column("speaker_count", sa.Integer, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("duration_ms", sa.BigInteger, nullable=False),
    sa.Column("speakers", sa.JSON, nullable=False),
    sa.Column("transcript_version", sa.Integer, nullable=False),
    sa.Column("failure_reason", sa.String(100), nullable=False),
    sa.Column("failure_message", sa.Text, nullable=False),
    sa.Column("truncated", sa.Boolean, nullable=False),
    sa.Column("creator", sa.String(140), nullable=False),
    # Who created it and the id of their request; null: they gave none.
    sa.Column("request_key", sa.String(250)),
    sa.Column("create_time", UtcDateTime, nullable=False),
    sa.UniqueConstraint("tenant", "id"),
    sa.UniqueConstraint("tenant", "request_key"),
    sa.Index("meetings_by_time", "tenant", "create_time", "uid"),
)


def _meeting_uid(**options: Any) -> sa.Column[str]:
    return sa.Column(
        "meeting_uid",
        sa.String(40),
        sa.ForeignKey("meetings.uid", ondelete="CASCADE"),
        nullable=False,
        **options,
    )


recordings = sa.Table(
    "recordings",
    metadata,
    sa.Column("uid", sa.String(40), primary_key=True),
    _meeting_uid(index=True),
    sa.Column("filename", sa.Text, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("content_hash", sa.String(64), nullable=False),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("actor", sa.String(140), nullable=False),
    sa.Column("on_behalf_of", sa.String(140)),
    sa.Column("operation_id", sa.String(64), nullable=False, unique=True),
    sa.Column("write_minutes", sa.Boolean, nullable=False),
    sa.Column("request_key", sa.String(250)),
    sa.Column("create_time", UtcDateTime, nullable=False),
    sa.UniqueConstraint("meeting_uid", "request_key"),
)

transcript_versions = sa.Table(
    "transcript_versions",
    metadata,
    _meeting_uid(primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("author", sa.String(140), nullable=False),
    sa.Column("change", sa.Text, nullable=False),
    sa.Column("speakers", sa.JSON, nullable=False),
    sa.Column("origin", sa.JSON, nullable=False),
    sa.Column("create_time", UtcDateTime, nullable=False),
)

# An utterance as it is from one version on until before another; null: still.
utterances = sa.Table(
    "utterances",
    metadata,
    _meeting_uid(primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("from_version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("until_version", sa.Integer),
    sa.Column("speaker", sa.String(16), nullable=False),
    sa.Column("language", sa.String(8), nullable=False),
    sa.Column("start_ms", sa.BigInteger, nullable=False),
    sa.Column("end_ms", sa.BigInteger, nullable=False),
    sa.Column("word_count", sa.Integer, nullable=False),
    sa.Column("words", sa.Text, nullable=False),
    sa.Index("utterances_by_time", "meeting_uid", "start_ms", "number"),
)

# Meetings that are live, and how far they are.
live_streams = sa.Table(
    "live_streams",
    metadata,
    _meeting_uid(primary_key=True),
    # What a resume token proves.
    sa.Column("session", sa.String(64), nullable=False),
    # Counts the streams: only the newest may write.
    sa.Column("epoch", sa.Integer, nullable=False),
    # Up to where all that was said is stored, in milliseconds.
    sa.Column("kept_until_ms", sa.BigInteger, nullable=False),
    sa.Column("utterance_count", sa.Integer, nullable=False),
    # Voices of the speakers, as `domain.live` writes them.
    sa.Column("voices", sa.LargeBinary, nullable=False),
    # Until when its stream counts as open; null: it is closed.
    sa.Column("lease_time", UtcDateTime),
    # When a stream was last there.
    sa.Column("seen_time", UtcDateTime, nullable=False),
)

minutes = sa.Table(
    "minutes",
    metadata,
    _meeting_uid(primary_key=True),
    sa.Column("id", sa.String(40), primary_key=True),
    # Counts up with each minutes of the meeting: their order.
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("author", sa.String(140), nullable=False),
    sa.Column("content", sa.Text, nullable=False),
    sa.Column("create_time", UtcDateTime, nullable=False),
    sa.UniqueConstraint("meeting_uid", "number"),
)

feedback = sa.Table(
    "feedback",
    metadata,
    _meeting_uid(primary_key=True),
    sa.Column("minutes_id", sa.String(40), primary_key=True),
    sa.Column("sentence", sa.String(32), primary_key=True),
    sa.Column("subject", sa.String(140), primary_key=True),
    sa.Column("id", sa.String(64), nullable=False),
    sa.Column("rating", sa.String(16), nullable=False),
    sa.Column("comment", sa.Text, nullable=False),
    sa.Column("correction", sa.Text, nullable=False),
    sa.Column("create_time", UtcDateTime, nullable=False),
    sa.ForeignKeyConstraint(
        ["meeting_uid", "minutes_id"], ["minutes.meeting_uid", "minutes.id"], ondelete="CASCADE"
    ),
)

# Minutes that were asked for by a call of their own.
minutes_requests = sa.Table(
    "minutes_requests",
    metadata,
    sa.Column("operation_id", sa.String(64), primary_key=True),
    _meeting_uid(index=True),
    sa.Column("minutes_id", sa.String(40), nullable=False),
    sa.Column("actor", sa.String(140), nullable=False),
    sa.Column("on_behalf_of", sa.String(140)),
    sa.Column("wanted", sa.Text, nullable=False),
    sa.Column("done", sa.Boolean, nullable=False, index=True),
    sa.Column("request_key", sa.String(250)),
    sa.Column("create_time", UtcDateTime, nullable=False),
    sa.UniqueConstraint("meeting_uid", "request_key"),
)

# Parts of minutes that are being written, so that a crash repeats one.
minutes_parts = sa.Table(
    "minutes_parts",
    metadata,
    _meeting_uid(primary_key=True),
    sa.Column("minutes_id", sa.String(40), primary_key=True),
    sa.Column("part", sa.String(200), primary_key=True),
    sa.Column("result", sa.JSON, nullable=False),
)

hotwords = sa.Table(
    "hotwords",
    metadata,
    sa.Column("tenant", sa.String(64), primary_key=True),
    sa.Column("words", sa.JSON, nullable=False),
    sa.Column("update_time", UtcDateTime, nullable=False),
)

# Files that are being received: what a crash leaves of them goes at the next start.
uploads = sa.Table(
    "uploads",
    metadata,
    sa.Column("recording_uid", sa.String(40), primary_key=True),
    sa.Column("folder", sa.Text, nullable=False),
    sa.Column("replica", sa.String(200), nullable=False),
    sa.Column("start_time", UtcDateTime, nullable=False),
)

# Folders of the file store that still have to go.
purges = sa.Table(
    "purges",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("folder", sa.Text, nullable=False),
)
