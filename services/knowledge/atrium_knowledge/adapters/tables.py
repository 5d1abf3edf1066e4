"""The tables of the service's database."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from atrium_shared.database import UtcDateTime
from atrium_shared.operations import operations_table

metadata = sa.MetaData()

operations = operations_table(metadata)

collections = sa.Table(
    "collections",
    metadata,
    sa.Column("uid", sa.String(40), primary_key=True),
    sa.Column("tenant", sa.String(64), nullable=False),
    sa.Column("id", sa.String(63), nullable=False),
    sa.Column("display_name", sa.String(200), nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("topics", sa.JSON, nullable=False),
    # How many superseded versions of a document keep their text.
    sa.Column("versions_kept", sa.Integer, nullable=False),
    # Whether words are stored with feedback on what did not help.
    sa.Column("keep_questions", sa.Boolean, nullable=False),
    sa.Column("encoder", sa.String(200), nullable=False),
    sa.Column("dimensions", sa.Integer, nullable=False),
    # Who last changed it: the topics are encoded on their account.
    sa.Column("actor", sa.String(140), nullable=False),
    sa.Column("on_behalf_of", sa.String(140)),
    sa.Column("create_time", UtcDateTime, nullable=False),
    sa.UniqueConstraint("tenant", "id"),
)


def _collection_uid(**options: Any) -> sa.Column[str]:
    return sa.Column(
        "collection_uid",
        sa.String(40),
        sa.ForeignKey("collections.uid", ondelete="CASCADE"),
        nullable=False,
        **options,
    )


topic_vectors = sa.Table(
    "topic_vectors",
    metadata,
    _collection_uid(primary_key=True),
    sa.Column("encoder", sa.String(200), nullable=False),
    sa.Column("dimensions", sa.Integer, nullable=False),
    sa.Column("fingerprint", sa.String(64), nullable=False),
    sa.Column("vectors", sa.LargeBinary, nullable=False),
)

access_classes = sa.Table(
    "access_classes",
    metadata,
    _collection_uid(primary_key=True),
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("rule", sa.JSON, nullable=False),
    # SHA-256 of the rule: a rule may be longer than an index entry.
    sa.Column("rule_hash", sa.String(64), nullable=False),
    sa.UniqueConstraint("collection_uid", "rule_hash"),
)

documents = sa.Table(
    "documents",
    metadata,
    sa.Column("uid", sa.String(40), primary_key=True),
    _collection_uid(),
    sa.Column("id", sa.String(63), nullable=False),
    sa.Column("versions", sa.Integer, nullable=False),
    # The revision that stands for it: the searchable one, else the newest.
    sa.Column("shown", sa.BigInteger),
    sa.UniqueConstraint("collection_uid", "id"),
)

revisions = sa.Table(
    "revisions",
    metadata,
    sa.Column(
        "seq",
        sa.BigInteger().with_variant(sa.Integer, "sqlite"),
        primary_key=True,
        autoincrement=True,
    ),
    sa.Column("uid", sa.String(40), nullable=False, unique=True),
    sa.Column(
        "document_uid",
        sa.String(40),
        sa.ForeignKey("documents.uid", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    _collection_uid(),
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
    sa.Column("operation_id", sa.String(64), nullable=False, unique=True),
    sa.Column("request_key", sa.String(250)),
    sa.Column("content_hash", sa.String(64), nullable=False),
    sa.Column("text_kept", sa.Boolean, nullable=False),
    sa.Column("encoder", sa.String(200), nullable=False),
    sa.Column("dimensions", sa.Integer, nullable=False),
    # From parsing on it may have points in the index.
    sa.Column("indexed", sa.Boolean, nullable=False),
    # Its labels have changed, and the index does not know yet.
    sa.Column("labels_pending", sa.Boolean, nullable=False),
    sa.Column("create_time", UtcDateTime, nullable=False),
    sa.Column("update_time", UtcDateTime, nullable=False),
    sa.UniqueConstraint("collection_uid", "request_key"),
    sa.Index("revisions_by_state", "collection_uid", "state"),
    sqlite_autoincrement=True,
)

label_periods = sa.Table(
    "label_periods",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column(
        "revision",
        sa.BigInteger,
        sa.ForeignKey("revisions.seq", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    sa.Column("labels", sa.JSON, nullable=False),
    sa.Column("section_labels", sa.JSON, nullable=False),
    # Which section labels apply to which passages. Worked out when the period ends: until then
    # the passages themselves tell.
    sa.Column("outline", sa.JSON, nullable=False),
    sa.Column("start_time", UtcDateTime, nullable=False),
    sa.Column("end_time", UtcDateTime),
)

sections = sa.Table(
    "sections",
    metadata,
    sa.Column(
        "revision",
        sa.BigInteger,
        sa.ForeignKey("revisions.seq", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    # Headings, outermost first.
    sa.Column("path", sa.JSON, nullable=False),
)

passages = sa.Table(
    "passages",
    metadata,
    sa.Column(
        "revision",
        sa.BigInteger,
        sa.ForeignKey("revisions.seq", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    sa.Column("ordinal", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("section", sa.Integer, nullable=False),
    sa.Column("start", sa.Integer, nullable=False),
    sa.Column("end", sa.Integer, nullable=False),
    sa.Column("page", sa.Integer, nullable=False),
    sa.Column("paragraph", sa.Integer, nullable=False),
    sa.Column("language", sa.String(8), nullable=False),
    sa.Column("access_class", sa.Integer, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
)

sync_sources = sa.Table(
    "sync_sources",
    metadata,
    _collection_uid(primary_key=True),
    sa.Column("source", sa.String(63), primary_key=True),
    # Number of its newest run, from 1.
    sa.Column("run", sa.Integer, nullable=False),
    sa.Column("stage", sa.String(16), nullable=False),
    sa.Column("token", sa.String(500), nullable=False),
    sa.Column("completed_token", sa.String(500), nullable=False),
    sa.Column("last_item", sa.String(500), nullable=False),
    sa.Column("counts", sa.JSON, nullable=False),
    # An item had no id: what a list does not name cannot be told.
    sa.Column("doubtful", sa.Boolean, nullable=False),
    # The stream that writes, "replica/y1", until when; empty: none does.
    sa.Column("holder", sa.String(250), nullable=False),
    sa.Column("lease_time", UtcDateTime, nullable=False),
    sa.Column("operation_id", sa.String(64), nullable=False),
    # What the job of the last end needs; null once it is done.
    sa.Column("finishing", sa.JSON(none_as_null=True)),
    sa.Column("start_time", UtcDateTime, nullable=False),
    sa.Column("update_time", UtcDateTime, nullable=False),
)

sync_items = sa.Table(
    "sync_items",
    metadata,
    _collection_uid(primary_key=True),
    sa.Column("source", sa.String(63), primary_key=True),
    sa.Column("item", sa.String(500), primary_key=True),
    sa.Column("document_id", sa.String(63), nullable=False),
    sa.Column("revision", sa.String(200), nullable=False),
    # The run that named it last.
    sa.Column("run", sa.Integer, nullable=False),
    sa.Index("sync_items_by_document", "collection_uid", "document_id"),
)

uploads = sa.Table(
    "uploads",
    metadata,
    sa.Column("revision_uid", sa.String(40), primary_key=True),
    sa.Column("folder", sa.Text, nullable=False),
    sa.Column("replica", sa.String(200), nullable=False),
    sa.Column("start_time", UtcDateTime, nullable=False),
)

purges = sa.Table(
    "purges",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    # No foreign key: the collection may be gone already.
    sa.Column("collection_uid", sa.String(40), nullable=False, index=True),
    sa.Column("revisions", sa.JSON, nullable=False),
    sa.Column("folders", sa.JSON, nullable=False),
    sa.Column("whole", sa.Boolean, nullable=False),
)

answers = sa.Table(
    "answers",
    metadata,
    sa.Column("tenant", sa.String(64), primary_key=True),
    sa.Column("id", sa.String(64), primary_key=True),
    _collection_uid(index=True),
    sa.Column("subject", sa.String(140), nullable=False),
    sa.Column("decision", sa.String(16), nullable=False),
    sa.Column("engine", sa.JSON, nullable=False),
    sa.Column("passages", sa.JSON, nullable=False),
    sa.Column("policy_version", sa.BigInteger, nullable=False),
    sa.Column("has_feedback", sa.Boolean, nullable=False),
    sa.Column("create_time", UtcDateTime, nullable=False, index=True),
)

answer_documents = sa.Table(
    "answer_documents",
    metadata,
    sa.Column("tenant", sa.String(64), primary_key=True),
    sa.Column("answer_id", sa.String(64), primary_key=True),
    sa.Column("document_id", sa.String(63), primary_key=True),
    _collection_uid(),
    sa.ForeignKeyConstraint(
        ["tenant", "answer_id"], ["answers.tenant", "answers.id"], ondelete="CASCADE"
    ),
    sa.Index("answer_documents_by_document", "collection_uid", "document_id"),
)

conversations = sa.Table(
    "conversations",
    metadata,
    sa.Column("tenant", sa.String(64), primary_key=True),
    sa.Column("id", sa.String(64), primary_key=True),
    _collection_uid(index=True),
    sa.Column("subject", sa.String(140), nullable=False),
    sa.Column("turn_count", sa.Integer, nullable=False),
    sa.Column("create_time", UtcDateTime, nullable=False),
    sa.Column("use_time", UtcDateTime, nullable=False, index=True),
    sa.Index("conversations_by_subject", "tenant", "subject", "id"),
)

conversation_turns = sa.Table(
    "conversation_turns",
    metadata,
    sa.Column("tenant", sa.String(64), primary_key=True),
    sa.Column("conversation_id", sa.String(64), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("question", sa.Text, nullable=False),
    sa.Column("interpreted", sa.Text, nullable=False),
    # Without a foreign key: answers are forgotten before conversations.
    sa.Column("answer_id", sa.String(64), nullable=False),
    sa.Column("decision", sa.String(16), nullable=False),
    sa.Column("create_time", UtcDateTime, nullable=False),
    sa.ForeignKeyConstraint(
        ["tenant", "conversation_id"],
        ["conversations.tenant", "conversations.id"],
        ondelete="CASCADE",
    ),
)

feedback = sa.Table(
    "feedback",
    metadata,
    sa.Column("tenant", sa.String(64), primary_key=True),
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("answer_id", sa.String(64), nullable=False),
    sa.Column("subject", sa.String(140), nullable=False),
    sa.Column("rating", sa.String(16), nullable=False),
    sa.Column("comment", sa.Text, nullable=False),
    # Only of what did not help, where the collection keeps questions and they were still known.
    sa.Column("question", sa.Text),
    sa.Column("answer", sa.Text),
    # What the same questions share; only where the question was still known.
    sa.Column("question_hash", sa.String(64), index=True),
    sa.Column("create_time", UtcDateTime, nullable=False),
    sa.ForeignKeyConstraint(
        ["tenant", "answer_id"], ["answers.tenant", "answers.id"], ondelete="CASCADE"
    ),
)

question_sets = sa.Table(
    "question_sets",
    metadata,
    sa.Column("tenant", sa.String(64), primary_key=True),
    sa.Column("id", sa.String(64), primary_key=True),
    _collection_uid(index=True),
    sa.Column("display_name", sa.String(200), nullable=False),
    sa.Column("cases", sa.JSON, nullable=False),
    sa.Column("case_count", sa.Integer, nullable=False),
    sa.Column("create_time", UtcDateTime, nullable=False),
)

evaluation_runs = sa.Table(
    "evaluation_runs",
    metadata,
    sa.Column("tenant", sa.String(64), primary_key=True),
    # Also that of its operation.
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("set_id", sa.String(64), nullable=False),
    sa.Column("baseline", sa.String(64), nullable=False),
    sa.Column("mode", sa.String(16), nullable=False),
    sa.Column("runner", sa.String(140), nullable=False),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("error_reason", sa.String(100), nullable=False),
    sa.Column("case_count", sa.Integer, nullable=False),
    sa.Column("create_time", UtcDateTime, nullable=False),
    sa.ForeignKeyConstraint(
        ["tenant", "set_id"], ["question_sets.tenant", "question_sets.id"], ondelete="CASCADE"
    ),
)

evaluation_results = sa.Table(
    "evaluation_results",
    metadata,
    sa.Column("tenant", sa.String(64), primary_key=True),
    sa.Column("run_id", sa.String(64), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("result", sa.JSON, nullable=False),
    # The earlier run of the set from which it is a regression; null: it is none.
    sa.Column("regressed_from", sa.String(64), index=True),
    sa.ForeignKeyConstraint(
        ["tenant", "run_id"], ["evaluation_runs.tenant", "evaluation_runs.id"], ondelete="CASCADE"
    ),
)

# One row: how far the list of erased users was read.
erasures = sa.Table(
    "erasures",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("sequence", sa.BigInteger, nullable=False),
)
