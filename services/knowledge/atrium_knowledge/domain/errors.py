"""What can go wrong with collections, documents, questions and answers."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from atrium_shared.errors import Conflict, Denied, Exhausted, Invalid, NotFound, Unavailable

MAX_QUESTION_CHARS = 4000
"""Longest question or query, in code points."""


class CollectionNotFound(NotFound):
    """No such collection in the caller's tenant."""

    reason = "COLLECTION_NOT_FOUND"

    def __init__(self, name: str) -> None:
        super().__init__(f"Collection {name!r} does not exist.", collection=name)


class CollectionExists(Conflict):
    """The id is taken."""

    reason = "COLLECTION_EXISTS"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"Collection {name!r} exists already. Choose another id, or add to that one.",
            field="collection_id",
            collection=name,
        )


class CollectionChanged(Conflict):
    """The etag that came with an update is not the collection's any more."""

    reason = "COLLECTION_CHANGED"

    def __init__(self, name: str, expected: str, given: str) -> None:
        super().__init__(
            f"Collection {name!r} has changed: its etag is {expected!r}, the update carries "
            f"{given!r}. Read it again, and repeat the update.",
            field="collection.etag",
            collection=name,
            etag=expected,
        )


class TopicRepeated(Invalid):
    """Two restricted topics of a collection have one id."""

    reason = "TOPIC_REPEATED"

    def __init__(self, topic: str, position: int) -> None:
        super().__init__(
            f"Restricted topic {topic!r} is given twice; each id may stand once.",
            field=f"collection.restricted_topics[{position}].id",
            topic=topic,
        )


class DocumentNotFound(NotFound):
    """No such document, or one that the caller may not know of: the two read the same."""

    reason = "DOCUMENT_NOT_FOUND"

    def __init__(self, name: str) -> None:
        super().__init__(f"Document {name!r} does not exist.", document=name)


class DocumentExists(Conflict):
    """An item of a sync names a document that is not the source's."""

    reason = "DOCUMENT_EXISTS"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"The document {name!r} exists and did not come from this source. Choose another id "
            "for the item, or delete the document first.",
            document=name,
        )


class DocumentIdReserved(Denied):
    """The caller neither manages documents nor may read the whole of the one with this id.

    Whether there is such a document reads the same, so that nobody finds out by trying ids.
    """

    reason = "DOCUMENT_ID_RESERVED"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"You may not upload as {name!r}. Leave document_id empty for a new document, or give "
            "that of a document that you may read whole, to replace it. Other ids are chosen by "
            "who holds knowledge.documents:manage.",
            field="header.document_id",
            document=name,
        )


class DocumentEmpty(Invalid):
    """An upload of 0 bytes."""

    reason = "DOCUMENT_EMPTY"

    def __init__(self, filename: str) -> None:
        super().__init__(
            f"File {filename!r} has 0 bytes. Upload a file with content.",
            field="chunk",
            filename=filename,
        )


class DocumentTooLarge(Exhausted):
    """An upload went over the tenant's limit."""

    reason = "DOCUMENT_TOO_LARGE"

    def __init__(self, filename: str, limit_bytes: int) -> None:
        super().__init__(
            f"File {filename!r} is larger than the {limit_bytes} bytes that your organisation "
            "allows for one file. Nothing was stored. Split the file, or ask for a higher limit.",
            field="chunk",
            filename=filename,
            limit_bytes=limit_bytes,
        )


class UploadHeaderMissing(Invalid):
    """An upload began with a chunk, or with nothing."""

    reason = "UPLOAD_HEADER_MISSING"

    def __init__(self) -> None:
        super().__init__(
            "The first message of an upload must be the header (collection, file name, labels); "
            "chunks of the file follow.",
            field="header",
        )


class UploadHeaderRepeated(Invalid):
    """An upload has a second header."""

    reason = "UPLOAD_HEADER_REPEATED"

    def __init__(self) -> None:
        super().__init__(
            "An upload has one header, as its first message; a second one came. Nothing was "
            "stored. Upload each file by a call of its own.",
            field="header",
        )


class FilenameMissing(Invalid):
    """An upload without a file name."""

    reason = "FILENAME_MISSING"

    def __init__(self) -> None:
        super().__init__(
            "The upload names no file. Set header.document.filename, such as 'leave.docx'.",
            field="header.document.filename",
        )


class SectionNotFound(Invalid):
    """Labels for a section that the document does not have."""

    reason = "SECTION_NOT_FOUND"

    def __init__(self, heading: str, document: str) -> None:
        super().__init__(
            f"Document {document!r} has no section with the heading {heading!r}; labels of "
            "sections need the heading exactly as it stands in the document.",
            field="section_labels",
            heading=heading,
            document=document,
        )


class QuestionTooLong(Invalid):
    """A question or query over the limit."""

    reason = "QUESTION_TOO_LONG"

    def __init__(self, length: int, field: str) -> None:
        super().__init__(
            f"The question has {length} characters; at most {MAX_QUESTION_CHARS} are read. "
            "Shorten it.",
            field=field,
            length=length,
            limit=MAX_QUESTION_CHARS,
        )


class PassageNotFound(NotFound):
    """No such passage, or one that the caller may not know of: the two read the same."""

    reason = "PASSAGE_NOT_FOUND"

    def __init__(self, name: str) -> None:
        super().__init__(f"Passage {name!r} does not exist.", passage=name)


class AnswerNotFound(NotFound):
    """No such answer, or one given to somebody else: the two read the same."""

    reason = "ANSWER_NOT_FOUND"

    def __init__(self, name: str) -> None:
        super().__init__(f"Answer {name!r} does not exist.", answer=name)


class ConversationNotFound(NotFound):
    """No such conversation, or somebody else's: the two read the same."""

    reason = "CONVERSATION_NOT_FOUND"

    def __init__(self, name: str) -> None:
        super().__init__(f"Conversation {name!r} does not exist.", conversation=name)


class ConversationElsewhere(Invalid):
    """A question to one collection in a conversation about another."""

    reason = "CONVERSATION_ELSEWHERE"

    def __init__(self, name: str, collection: str, asked: str) -> None:
        super().__init__(
            f"Conversation {name!r} is about {collection!r}, the question is to {asked!r}. Ask "
            "that collection, or begin a conversation about the other one.",
            field="conversation",
            conversation=name,
            collection=collection,
            asked=asked,
        )


class QuestionSetNotFound(NotFound):
    """No such set of questions in the caller's tenant."""

    reason = "QUESTION_SET_NOT_FOUND"

    def __init__(self, name: str) -> None:
        super().__init__(f"Question set {name!r} does not exist.", question_set=name)


class QuestionSetEmpty(Invalid):
    """A set without questions."""

    reason = "QUESTION_SET_EMPTY"

    def __init__(self) -> None:
        super().__init__(
            "The set holds no questions; expected one JSON object a line, such as "
            '{"question": "How many days of leave?", "as_user": "users/lin"}. Nothing was stored.',
            field="question_set.cases",
        )


class QuestionSetTooLarge(Exhausted):
    """A set with more than may be in one."""

    reason = "QUESTION_SET_TOO_LARGE"

    def __init__(self, size: int, limit: int, unit: str) -> None:
        super().__init__(
            f"The set has {size} {unit}; at most {limit} are taken. Nothing was stored. Split it.",
            field="question_set.cases",
            size=size,
            limit=limit,
            unit=unit,
        )


class QuestionSetLineInvalid(Invalid):
    """A question of a set is not as it should be."""

    reason = "QUESTION_SET_LINE_INVALID"

    def __init__(self, line: int, field: str, problem: str) -> None:
        place = f"Line {line}, field {field!r}" if field else f"Line {line}"
        super().__init__(
            f"{place}: {problem}. Nothing was stored.",
            field=f"question_set.cases[{line - 1}].{field}".rstrip("."),
            line=line,
            field_name=field,
            problem=problem,
        )


class SubjectsUnknown(Invalid):
    """A set asks as users who do not exist, or for roles that nobody holds."""

    reason = "SUBJECTS_UNKNOWN"

    def __init__(self, users: Iterable[str], roles: Iterable[str]) -> None:
        named = {"users": ", ".join(sorted(users)), "roles": ", ".join(sorted(roles))}
        parts = [f"unknown or disabled users: {named['users']}"] if named["users"] else []
        parts += [f"roles that no user holds: {named['roles']}"] if named["roles"] else []
        super().__init__(
            f"The set names {'; '.join(parts)}. Nothing was stored. Correct the names, or make the "
            "users first.",
            field="question_set.cases",
            **named,
        )


class RoleHeldByNobody(Invalid):
    """Questions are to be asked for a role that no user holds."""

    reason = "ROLE_HELD_BY_NOBODY"

    def __init__(self, role: str) -> None:
        super().__init__(
            f"No user holds the role {role!r}, so nobody could ask for it. Name a role that "
            "somebody holds, or none.",
            field="role",
            role=role,
        )


class EvaluationRunNotFound(NotFound):
    """No such run in the caller's tenant."""

    reason = "EVALUATION_RUN_NOT_FOUND"

    def __init__(self, name: str) -> None:
        super().__init__(f"Evaluation run {name!r} does not exist.", evaluation_run=name)


class EvaluationFailed(Unavailable):
    """Something that should not happen did; the log has the details."""

    reason = "EVALUATION_FAILED"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"Evaluation run {name!r} ended because of an internal error. Run it again; if it "
            "fails again, tell the operator, whose log has the details.",
            evaluation_run=name,
        )


def check_question_length(text: str, field: str) -> None:
    """Refuse a question that is too long, before anything else is done with it.

    Raises:
        QuestionTooLong: It has more than `MAX_QUESTION_CHARS` code points.
    """
    if len(text) > MAX_QUESTION_CHARS:
        raise QuestionTooLong(len(text), field)


class ReadTimeAhead(Invalid):
    """Who will be able to read something is not known."""

    reason = "READ_TIME_AHEAD"

    def __init__(self, read_time: datetime, now: datetime) -> None:
        super().__init__(
            f"The time {read_time.isoformat()} lies ahead of now ({now.isoformat()}). Ask about a "
            "time in the past, or give none for now.",
            field="read_time",
            read_time=read_time.isoformat(),
            now=now.isoformat(),
        )


class ReadTimeBeforeDocument(Invalid):
    """Nothing of the document could be read at that time."""

    reason = "READ_TIME_BEFORE_DOCUMENT"

    def __init__(self, document: str, read_time: datetime, first: datetime | None) -> None:
        since = f"before {first.isoformat()}" if first else "yet"
        super().__init__(
            f"Nobody could read {document!r} at {read_time.isoformat()}: none of it was "
            f"searchable {since}. Ask about a later time.",
            field="read_time",
            document=document,
            read_time=read_time.isoformat(),
            first_time=first.isoformat() if first else "",
        )


class SyncStateNotFound(NotFound):
    """Nothing was ever synced from this source, or nothing that can be gone on with."""

    reason = "SYNC_STATE_NOT_FOUND"

    def __init__(self, source: str) -> None:
        super().__init__(
            f"Nothing was synced from {source!r} yet. Begin a run: send the header without "
            "`resume` and without `base_token`.",
            source=source,
        )


class SyncTokenWrong(Conflict):
    """The run to go on with, or to build on, is another."""

    reason = "SYNC_TOKEN_WRONG"

    def __init__(self, source: str, field: str, given: str, expected: str) -> None:
        known = f"expected was {expected!r}" if expected else "there is no such run"
        super().__init__(
            f"The {field} {given!r} does not fit the state of {source!r}; {known}. Read it with "
            "GetSyncState, or begin a new run with a complete list.",
            field=f"header.{field}",
            source=source,
            given=given,
            expected=expected,
        )


class SyncUnderWay(Conflict):
    """Another run of the source is being received, or removes what its list did not name."""

    reason = "SYNC_UNDER_WAY"

    def __init__(self, source: str) -> None:
        super().__init__(
            f"{source!r} is being synced already, or the removals of its last run still go on. "
            "Wait until GetSyncState says otherwise.",
            source=source,
        )


class SyncHeaderMissing(Invalid):
    """A run began with something else than its header."""

    reason = "SYNC_HEADER_MISSING"

    def __init__(self) -> None:
        super().__init__(
            "The first message of a sync must be the header (source, sync_token); items follow.",
            field="header",
        )


class SyncHeaderRepeated(Invalid):
    """A run has a second header."""

    reason = "SYNC_HEADER_REPEATED"

    def __init__(self) -> None:
        super().__init__(
            "A sync has one header, as its first message; a second one came. What was "
            "acknowledged before stays; go on with `resume`.",
            field="header",
        )


class SyncEndMissing(Invalid):
    """The stream ended without saying that the list was over."""

    reason = "SYNC_END_MISSING"

    def __init__(self, last_item: str) -> None:
        super().__init__(
            f"The stream ended without an end marker, after item {last_item!r}. Nothing was "
            "removed, and what was acknowledged stays; go on with `resume`.",
            field="end",
            last_item=last_item,
        )


class SyncAfterEnd(Invalid):
    """Something came after the end marker."""

    reason = "SYNC_AFTER_END"

    def __init__(self, what: str) -> None:
        super().__init__(
            f"After the end marker came {what}; nothing may follow it. The run is not over and "
            "nothing was removed; go on with `resume` and send one end marker.",
            field="end",
            what=what,
        )


class SyncChunkUnexpected(Invalid):
    """Bytes came that belong to no item."""

    reason = "SYNC_CHUNK_UNEXPECTED"

    def __init__(self, last_item: str) -> None:
        super().__init__(
            f"Bytes came after item {last_item!r} was whole, or before any. An upserted item is "
            "followed by exactly `size_bytes` bytes. What was acknowledged stays.",
            field="chunk",
            last_item=last_item,
        )


class SyncItemWithoutId(Invalid):
    """An item that does not say which document it is."""

    reason = "SYNC_ITEM_WITHOUT_ID"

    def __init__(self) -> None:
        super().__init__(
            "The item has no id. Set item.id to what the source calls the document.",
            field="item.id",
        )


class SyncItemIncomplete(Invalid):
    """An item has fewer or more bytes than it said."""

    reason = "SYNC_ITEM_INCOMPLETE"

    def __init__(self, item: str, size_bytes: int, received_bytes: int) -> None:
        super().__init__(
            f"Item {item!r} was to have {size_bytes} bytes, and {received_bytes} came. It was not "
            "applied; send it again whole.",
            field="item.upsert.size_bytes",
            item=item,
            size_bytes=size_bytes,
            received_bytes=received_bytes,
        )


class SyncListEmpty(Invalid):
    """A complete list names nothing of a source that has documents."""

    reason = "SYNC_LIST_EMPTY"

    def __init__(self, source: str, document_count: int) -> None:
        super().__init__(
            f"The list of {source!r} is said to be complete and names nothing, which would remove "
            f"all its {document_count} documents. If that is meant, set end.allow_empty.",
            field="end.complete",
            source=source,
            document_count=document_count,
        )


class SyncListDoubtful(Conflict):
    """A complete list has items of which nobody knows which documents they are."""

    reason = "SYNC_LIST_DOUBTFUL"

    def __init__(self, source: str) -> None:
        super().__init__(
            f"Items in the list of {source!r} had no id, so what it does not name cannot be told, "
            "and nothing was removed. Begin a new run, or end this one as not complete.",
            field="end.complete",
            source=source,
        )


class SyncFailed(Unavailable):
    """Something that should not happen did; the log has the details."""

    reason = "SYNC_FAILED"

    def __init__(self, source: str) -> None:
        super().__init__(
            f"The end of the sync of {source!r} failed because of an internal error. What was "
            "acknowledged stays. Sync again; if it fails again, tell the operator.",
            source=source,
        )


class PassagesNotNamed(Invalid):
    """A request to read passages says neither which nor of what document."""

    reason = "PASSAGES_NOT_NAMED"

    def __init__(self) -> None:
        super().__init__(
            "The request names no passages. Give `names`, or a `document` with `start`.",
            field="names",
        )


class UploadCancelled(Conflict):
    """The upload's operation was cancelled."""

    reason = "UPLOAD_CANCELLED"

    def __init__(self) -> None:
        super().__init__("The upload was cancelled before the document was searchable.")


class IngestionFailed(Unavailable):
    """Something that should not happen did; the log has the details."""

    reason = "INGESTION_FAILED"

    def __init__(self, document: str) -> None:
        super().__init__(
            f"Document {document!r} could not be taken in because of an internal error. "
            "Upload it again; if it fails again, tell the operator, whose log has the details.",
            document=document,
        )
