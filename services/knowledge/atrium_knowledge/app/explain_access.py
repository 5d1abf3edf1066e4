"""Say who could read a document or a passage at a time, and why."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from atrium_knowledge.app.get_document import find_document
from atrium_knowledge.app.ports import ReaderDirectory
from atrium_knowledge.app.stores import CollectionStore, DocumentStore
from atrium_knowledge.domain.access import AccessExplanation, ClauseOrigin, LabelClause
from atrium_knowledge.domain.errors import (
    DocumentNotFound,
    PassageNotFound,
    ReadTimeAhead,
    ReadTimeBeforeDocument,
)
from atrium_knowledge.domain.history import LabelsThen
from atrium_knowledge.domain.names import is_passage_name, passage_name
from atrium_shared.audit_trail import AuditTrail
from atrium_shared.clock import Clock
from atrium_shared.paging import cursor_time, decode_page_cursor, encode_page_token, page_size
from atrium_shared.principal import Principal

_CLOCK_SKEW: Final = timedelta(seconds=10)
"""How far a caller's clock may go ahead of ours."""


class ExplainAccess:
    """The use case. It reads labels and their history, and no text.

    Args:
        collections: Where collections are stored.
        documents: Where documents are stored.
        readers: Knows who held which labels when.
        audit: Records calls.
        clock: Tells the time.
    """

    def __init__(
        self,
        collections: CollectionStore,
        documents: DocumentStore,
        readers: ReaderDirectory,
        audit: AuditTrail,
        clock: Clock,
    ) -> None:
        self._collections = collections
        self._documents = documents
        self._readers = readers
        self._audit = audit
        self._clock = clock

    async def __call__(
        self,
        principal: Principal,
        name: str,
        read_time: datetime | None,
        requested: int,
        page_token: str,
    ) -> AccessExplanation:
        """Return the labels in force at a time, and a page of those who could read.

        Args:
            principal: Who asks, an auditor.
            name: Of a document or of a passage.
            read_time: At which time, UTC; ``None``: now.
            requested: Most readers; 0: 100.
            page_token: Where the page before ended.

        Raises:
            DocumentNotFound: There is no such document in the caller's tenant.
            PassageNotFound: The version that was current had no such passage.
            ReadTimeAhead: The time lies in the future.
            ReadTimeBeforeDocument: Nothing of the document could be read yet.
            PageTokenInvalid: The token was altered or made for another request.
        """
        async with self._audit.call(principal, "ExplainAccess", name):
            fingerprint = f"{principal.tenant}/{name}/{read_time}/access"
            moment, inner = decode_page_cursor(page_token, fingerprint, _cursor) or (
                self._moment(read_time),
                "",
            )
            then = await self._labels_then(principal, name, moment)
            clauses = _clauses(then, of_passage=is_passage_name(name))
            page = await self._readers.list_readers(
                principal,
                [one.labels for one in clauses],
                moment,
                page_size(requested),
                inner,
            )
            following = ""
            if page.next_page_token:
                following = encode_page_token(
                    f"{moment.isoformat()} {page.next_page_token}", fingerprint
                )
            return AccessExplanation(
                name=name,
                read_time=moment,
                version=then.version,
                clauses=clauses,
                labels_time=then.since,
                labelled_sections=0 if is_passage_name(name) else len(then.sections),
                readers=page.readers,
                next_page_token=following,
                policy_version=page.policy_version,
                policy_time=page.policy_time,
            )

    def _moment(self, read_time: datetime | None) -> datetime:
        """Return the time that all pages show."""
        now = self._clock.now()
        if read_time is not None and read_time > now + _CLOCK_SKEW:
            raise ReadTimeAhead(read_time, now)
        return min(read_time or now, now)

    async def _labels_then(self, principal: Principal, name: str, moment: datetime) -> LabelsThen:
        document, ordinal = name, None
        if is_passage_name(name):
            parsed = passage_name(name)
            document, ordinal = parsed.document_name, parsed.ordinal
        try:
            uid, revision = await find_document(
                self._collections, self._documents, principal, document
            )
        except DocumentNotFound as error:
            raise (error if ordinal is None else PassageNotFound(name)) from error
        then = await self._documents.labels_at(uid, revision.document_id, ordinal, moment)
        if then is None:
            first = await self._documents.first_read_time(uid, revision.document_id)
            raise ReadTimeBeforeDocument(document, moment, first)
        return then


def _clauses(then: LabelsThen, *, of_passage: bool) -> tuple[LabelClause, ...]:
    found = [LabelClause(ClauseOrigin.DOCUMENT, then.document)] if then.document else []
    if of_passage:
        found += [LabelClause(ClauseOrigin.SECTION, labels) for labels in then.sections if labels]
    return tuple(found)


def _cursor(text: str) -> tuple[datetime, str]:
    """Read the time that all pages show, and the directory's token of the page wanted."""
    time, _, inner = text.partition(" ")
    return cursor_time(time), inner
