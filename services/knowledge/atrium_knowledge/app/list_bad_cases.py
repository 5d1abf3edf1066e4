"""List the answers that did not help, and those that are others than before."""

from __future__ import annotations

from collections.abc import Collection as AnyCollection
from collections.abc import Sequence
from dataclasses import replace

from atrium_knowledge.app.access_classes import AccessClasses
from atrium_knowledge.app.evaluation_store import EvaluationStore
from atrium_knowledge.app.get_document import may_know
from atrium_knowledge.app.stores import CollectionStore, DocumentStore
from atrium_knowledge.domain.evaluations import BadCase, BadCasePlace
from atrium_knowledge.domain.names import collection_id, passage_name
from atrium_shared.audit_trail import AuditTrail
from atrium_shared.paging import (
    decode_page_cursor,
    encode_page_token,
    page_size,
)
from atrium_shared.principal import Principal


class ListBadCases:
    """The use case. Who reads the list sees no words, and no document they may not know of."""

    def __init__(
        self,
        collections: CollectionStore,
        documents: DocumentStore,
        evaluations: EvaluationStore,
        classes: AccessClasses,
        audit: AuditTrail,
    ) -> None:
        self._collections = collections
        self._documents = documents
        self._evaluations = evaluations
        self._classes = classes
        self._audit = audit

    async def __call__(
        self, principal: Principal, parent: str, requested: int, page_token: str
    ) -> tuple[Sequence[BadCase], str]:
        """Return a page of bad cases, and the token of the next page.

        Raises:
            CollectionNotFound: There is no such collection in the caller's tenant.
            PageTokenInvalid: The token was altered or made for another request.
        """
        async with self._audit.call(principal, "ListBadCases", parent):
            collection = await self._collections.get(principal.tenant, collection_id(parent))
            fingerprint = f"{principal.tenant}/{collection.uid}/badCases"
            after = decode_page_cursor(page_token, fingerprint, BadCasePlace.parse)
            size = page_size(requested)
            found = await self._evaluations.bad_cases(
                collection.uid, after or BadCasePlace(), size + 1
            )
            page, more = found[:size], len(found) > size
            cited = {passage_name(name).document for one in page for name in one.cited}
            known = {one for one in cited if await self._knows(principal, collection.uid, one)}
            shown = [_shown(one, known) for one in page]
            return shown, encode_page_token(str(page[-1].place), fingerprint) if more else ""

    async def _knows(self, principal: Principal, collection_uid: str, document_id: str) -> bool:
        reader = await self._classes.reader(principal, collection_uid)
        revision = await self._documents.shown(collection_uid, document_id)
        return revision is not None and may_know(principal, reader, revision)


def _shown(bad_case: BadCase, known: AnyCollection[str]) -> BadCase:
    regression = bad_case.regression
    if regression is not None:
        before = _of_documents(regression.baseline_passages, known)
        regression = replace(regression, baseline_passages=before)
    passages = _of_documents(bad_case.passages, known)
    return replace(bad_case, passages=passages, regression=regression)


def _of_documents(passages: Sequence[str], known: AnyCollection[str]) -> tuple[str, ...]:
    return tuple(name for name in passages if passage_name(name).document in known)
