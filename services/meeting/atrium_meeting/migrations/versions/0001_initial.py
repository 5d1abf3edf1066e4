"""Meetings, recordings, versions of transcripts, minutes, feedback, what is left to do."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from atrium_shared.database import UtcDateTime
from atrium_shared.operations import create_operations_table

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_operations_table(op)  # type: ignore[arg-type]  # the module acts as one
    op.create_table(
        "hotwords",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("words", sa.JSON, nullable=False),
        sa.Column("update_time", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("tenant"),
    )
    op.create_table(
        "meetings",
        sa.Column("uid", sa.String(40), nullable=False),
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
        sa.Column("request_key", sa.String(250)),
        sa.Column("create_time", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("uid"),
        sa.UniqueConstraint("tenant", "id"),
        sa.UniqueConstraint("tenant", "request_key"),
    )
    op.create_index("meetings_by_time", "meetings", ["tenant", "create_time", "uid"])
    op.create_table(
        "purges",
        sa.Column("id", sa.Integer, autoincrement=True, nullable=False),
        sa.Column("folder", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "uploads",
        sa.Column("recording_uid", sa.String(40), nullable=False),
        sa.Column("folder", sa.Text, nullable=False),
        sa.Column("replica", sa.String(200), nullable=False),
        sa.Column("start_time", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("recording_uid"),
    )
    op.create_table(
        "minutes",
        sa.Column("meeting_uid", sa.String(40), nullable=False),
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("author", sa.String(140), nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("create_time", UtcDateTime, nullable=False),
        sa.ForeignKeyConstraint(["meeting_uid"], ["meetings.uid"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("meeting_uid", "id"),
        sa.UniqueConstraint("meeting_uid", "number"),
    )
    op.create_table(
        "recordings",
        sa.Column("uid", sa.String(40), nullable=False),
        sa.Column("meeting_uid", sa.String(40), nullable=False),
        sa.Column("filename", sa.Text, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("content_hash", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("actor", sa.String(140), nullable=False),
        sa.Column("on_behalf_of", sa.String(140)),
        sa.Column("operation_id", sa.String(64), nullable=False),
        sa.Column("write_minutes", sa.Boolean, nullable=False),
        sa.Column("request_key", sa.String(250)),
        sa.Column("create_time", UtcDateTime, nullable=False),
        sa.ForeignKeyConstraint(["meeting_uid"], ["meetings.uid"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("uid"),
        sa.UniqueConstraint("meeting_uid", "request_key"),
        sa.UniqueConstraint("operation_id"),
    )
    op.create_index(op.f("ix_recordings_meeting_uid"), "recordings", ["meeting_uid"])
    op.create_index(op.f("ix_recordings_state"), "recordings", ["state"])
    op.create_table(
        "transcript_versions",
        sa.Column("meeting_uid", sa.String(40), nullable=False),
        sa.Column("version", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("author", sa.String(140), nullable=False),
        sa.Column("change", sa.Text, nullable=False),
        sa.Column("speakers", sa.JSON, nullable=False),
        sa.Column("origin", sa.JSON, nullable=False),
        sa.Column("create_time", UtcDateTime, nullable=False),
        sa.ForeignKeyConstraint(["meeting_uid"], ["meetings.uid"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("meeting_uid", "version"),
    )
    op.create_table(
        "utterances",
        sa.Column("meeting_uid", sa.String(40), nullable=False),
        sa.Column("number", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("from_version", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("until_version", sa.Integer),
        sa.Column("speaker", sa.String(16), nullable=False),
        sa.Column("language", sa.String(8), nullable=False),
        sa.Column("start_ms", sa.BigInteger, nullable=False),
        sa.Column("end_ms", sa.BigInteger, nullable=False),
        sa.Column("word_count", sa.Integer, nullable=False),
        sa.Column("words", sa.Text, nullable=False),
        sa.ForeignKeyConstraint(["meeting_uid"], ["meetings.uid"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("meeting_uid", "number", "from_version"),
    )
    op.create_index("utterances_by_time", "utterances", ["meeting_uid", "start_ms", "number"])
    op.create_table(
        "feedback",
        sa.Column("meeting_uid", sa.String(40), nullable=False),
        sa.Column("minutes_id", sa.String(40), nullable=False),
        sa.Column("sentence", sa.String(32), nullable=False),
        sa.Column("subject", sa.String(140), nullable=False),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("rating", sa.String(16), nullable=False),
        sa.Column("comment", sa.Text, nullable=False),
        sa.Column("correction", sa.Text, nullable=False),
        sa.Column("create_time", UtcDateTime, nullable=False),
        sa.ForeignKeyConstraint(
            ["meeting_uid", "minutes_id"], ["minutes.meeting_uid", "minutes.id"], ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["meeting_uid"], ["meetings.uid"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("meeting_uid", "minutes_id", "sentence", "subject"),
    )
    op.create_table(
        "minutes_requests",
        sa.Column("operation_id", sa.String(64), nullable=False),
        sa.Column("meeting_uid", sa.String(40), nullable=False),
        sa.Column("minutes_id", sa.String(40), nullable=False),
        sa.Column("actor", sa.String(140), nullable=False),
        sa.Column("on_behalf_of", sa.String(140)),
        sa.Column("wanted", sa.Text, nullable=False),
        sa.Column("done", sa.Boolean, nullable=False),
        sa.Column("request_key", sa.String(250)),
        sa.Column("create_time", UtcDateTime, nullable=False),
        sa.ForeignKeyConstraint(["meeting_uid"], ["meetings.uid"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("operation_id"),
        sa.UniqueConstraint("meeting_uid", "request_key"),
    )
    op.create_index("ix_minutes_requests_done", "minutes_requests", ["done"])
    op.create_index("ix_minutes_requests_meeting_uid", "minutes_requests", ["meeting_uid"])
    op.create_table(
        "minutes_parts",
        sa.Column("meeting_uid", sa.String(40), nullable=False),
        sa.Column("minutes_id", sa.String(40), nullable=False),
        sa.Column("part", sa.String(200), nullable=False),
        sa.Column("result", sa.JSON, nullable=False),
        sa.ForeignKeyConstraint(["meeting_uid"], ["meetings.uid"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("meeting_uid", "minutes_id", "part"),
    )
