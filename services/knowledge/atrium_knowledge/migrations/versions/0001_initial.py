"""Collections, documents with versions and passages, answers, what is left to do."""

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
        "collections",
        sa.Column("uid", sa.String(40), nullable=False),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("id", sa.String(63), nullable=False),
        sa.Column("display_name", sa.String(200), nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("topics", sa.JSON, nullable=False),
        sa.Column("encoder", sa.String(200), nullable=False),
        sa.Column("dimensions", sa.Integer, nullable=False),
        sa.Column("actor", sa.String(140), nullable=False),
        sa.Column("on_behalf_of", sa.String(140)),
        sa.Column("create_time", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("uid"),
        sa.UniqueConstraint("tenant", "id"),
    )
    op.create_table(
        "purges",
        sa.Column("id", sa.Integer, autoincrement=True, nullable=False),
        sa.Column("collection_uid", sa.String(40), nullable=False),
        sa.Column("revisions", sa.JSON, nullable=False),
        sa.Column("folders", sa.JSON, nullable=False),
        sa.Column("whole", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_purges_collection_uid", "purges", ["collection_uid"])
    op.create_table(
        "uploads",
        sa.Column("revision_uid", sa.String(40), nullable=False),
        sa.Column("folder", sa.Text, nullable=False),
        sa.Column("replica", sa.String(200), nullable=False),
        sa.Column("start_time", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("revision_uid"),
    )
    op.create_table(
        "access_classes",
        sa.Column("collection_uid", sa.String(40), nullable=False),
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("rule", sa.JSON, nullable=False),
        sa.Column("rule_hash", sa.String(64), nullable=False),
        sa.ForeignKeyConstraint(["collection_uid"], ["collections.uid"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("collection_uid", "id"),
        sa.UniqueConstraint("collection_uid", "rule_hash"),
    )
    op.create_table(
        "answers",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("collection_uid", sa.String(40), nullable=False),
        sa.Column("subject", sa.String(140), nullable=False),
        sa.Column("decision", sa.String(16), nullable=False),
        sa.Column("engine", sa.JSON, nullable=False),
        sa.Column("passages", sa.JSON, nullable=False),
        sa.Column("policy_version", sa.BigInteger, nullable=False),
        sa.Column("has_feedback", sa.Boolean, nullable=False),
        sa.Column("create_time", UtcDateTime, nullable=False),
        sa.ForeignKeyConstraint(["collection_uid"], ["collections.uid"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    op.create_index("ix_answers_collection_uid", "answers", ["collection_uid"])
    op.create_index("ix_answers_create_time", "answers", ["create_time"])
    op.create_table(
        "documents",
        sa.Column("uid", sa.String(40), nullable=False),
        sa.Column("collection_uid", sa.String(40), nullable=False),
        sa.Column("id", sa.String(63), nullable=False),
        sa.Column("versions", sa.Integer, nullable=False),
        sa.Column("shown", sa.BigInteger),
        sa.ForeignKeyConstraint(["collection_uid"], ["collections.uid"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("uid"),
        sa.UniqueConstraint("collection_uid", "id"),
    )
    op.create_table(
        "topic_vectors",
        sa.Column("collection_uid", sa.String(40), nullable=False),
        sa.Column("encoder", sa.String(200), nullable=False),
        sa.Column("dimensions", sa.Integer, nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("vectors", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["collection_uid"], ["collections.uid"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("collection_uid"),
    )
    op.create_table(
        "answer_documents",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("answer_id", sa.String(64), nullable=False),
        sa.Column("document_id", sa.String(63), nullable=False),
        sa.Column("collection_uid", sa.String(40), nullable=False),
        sa.ForeignKeyConstraint(["collection_uid"], ["collections.uid"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["tenant", "answer_id"], ["answers.tenant", "answers.id"], ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("tenant", "answer_id", "document_id"),
    )
    op.create_index(
        "answer_documents_by_document", "answer_documents", ["collection_uid", "document_id"]
    )
    op.create_table(
        "feedback",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("answer_id", sa.String(64), nullable=False),
        sa.Column("subject", sa.String(140), nullable=False),
        sa.Column("rating", sa.String(16), nullable=False),
        sa.Column("comment", sa.Text, nullable=False),
        sa.Column("question", sa.Text),
        sa.Column("answer", sa.Text),
        sa.Column("create_time", UtcDateTime, nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant", "answer_id"], ["answers.tenant", "answers.id"], ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    op.create_table(
        "revisions",
        sa.Column(
            "seq",
            sa.BigInteger().with_variant(sa.Integer, "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("uid", sa.String(40), nullable=False),
        sa.Column("document_uid", sa.String(40), nullable=False),
        sa.Column("collection_uid", sa.String(40), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("filename", sa.Text, nullable=False),
        sa.Column("labels", sa.JSON, nullable=False),
        sa.Column("section_labels", sa.JSON, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("media_type", sa.String(200), nullable=False),
        sa.Column("language", sa.String(8), nullable=False),
        sa.Column("page_count", sa.Integer, nullable=False),
        sa.Column("passage_count", sa.Integer, nullable=False),
        sa.Column("class_counts", sa.JSON, nullable=False),
        sa.Column("warnings", sa.JSON, nullable=False),
        sa.Column("error_reason", sa.String(100), nullable=False),
        sa.Column("error_message", sa.Text, nullable=False),
        sa.Column("actor", sa.String(140), nullable=False),
        sa.Column("on_behalf_of", sa.String(140)),
        sa.Column("operation_id", sa.String(64), nullable=False),
        sa.Column("request_key", sa.String(250)),
        sa.Column("encoder", sa.String(200), nullable=False),
        sa.Column("dimensions", sa.Integer, nullable=False),
        sa.Column("indexed", sa.Boolean, nullable=False),
        sa.Column("labels_pending", sa.Boolean, nullable=False),
        sa.Column("create_time", UtcDateTime, nullable=False),
        sa.Column("update_time", UtcDateTime, nullable=False),
        sa.ForeignKeyConstraint(["collection_uid"], ["collections.uid"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["document_uid"], ["documents.uid"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("collection_uid", "request_key"),
        sa.UniqueConstraint("operation_id"),
        sa.UniqueConstraint("uid"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_revisions_document_uid", "revisions", ["document_uid"])
    op.create_index("revisions_by_state", "revisions", ["collection_uid", "state"])
    op.create_table(
        "passages",
        sa.Column("revision", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("ordinal", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("section", sa.Integer, nullable=False),
        sa.Column("start", sa.Integer, nullable=False),
        sa.Column("end", sa.Integer, nullable=False),
        sa.Column("page", sa.Integer, nullable=False),
        sa.Column("paragraph", sa.Integer, nullable=False),
        sa.Column("language", sa.String(8), nullable=False),
        sa.Column("access_class", sa.Integer, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.ForeignKeyConstraint(["revision"], ["revisions.seq"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("revision", "ordinal"),
    )
    op.create_table(
        "sections",
        sa.Column("revision", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("path", sa.JSON, nullable=False),
        sa.ForeignKeyConstraint(["revision"], ["revisions.seq"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("revision", "number"),
    )
