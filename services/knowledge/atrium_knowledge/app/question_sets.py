"""Store, return, list and remove sets of questions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final

from atrium_knowledge.app.evaluation_store import EvaluationStore
from atrium_knowledge.app.ports import Delegation, RoleHolders
from atrium_knowledge.app.stores import CollectionStore
from atrium_knowledge.domain.collections import Collection
from atrium_knowledge.domain.errors import (
    QuestionSetTooLarge,
    SubjectsUnknown,
    UploadHeaderMissing,
    UploadHeaderRepeated,
)
from atrium_knowledge.domain.evaluations import (
    MAX_SET_BYTES,
    EvaluationCase,
    QuestionSet,
    check_cases,
    read_cases,
)
from atrium_knowledge.domain.names import collection_id, question_set_id
from atrium_shared.audit_trail import AuditTrail
from atrium_shared.clock import Clock, Ids
from atrium_shared.errors import AtriumError
from atrium_shared.paging import decode_page_token, encode_page_token, page_size
from atrium_shared.principal import Principal

_ABSENT: Final = ("USER_NOT_FOUND", "USER_DISABLED", "CREDENTIAL_MALFORMED")


class QuestionSets:
    """The use cases.

    Args:
        collections: Where collections are stored.
        evaluations: Where sets are stored.
        delegation: Says whether the caller may act for a user.
        roles: Finds users who hold a role.
        audit: Records calls.
        clock: Tells the time.
        ids: Makes names.
    """

    def __init__(
        self,
        collections: CollectionStore,
        evaluations: EvaluationStore,
        delegation: Delegation,
        roles: RoleHolders,
        audit: AuditTrail,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._collections = collections
        self._evaluations = evaluations
        self._delegation = delegation
        self._roles = roles
        self._audit = audit
        self._clock = clock
        self._ids = ids

    async def create(
        self,
        principal: Principal,
        parent: str,
        display_name: str,
        cases: Sequence[EvaluationCase],
    ) -> QuestionSet:
        """Store a set.

        Raises:
            CollectionNotFound: There is no such collection in the caller's tenant.
            QuestionSetEmpty: It holds no questions.
            QuestionSetLineInvalid: A question is not as it should be.
            SubjectsUnknown: It names users who do not exist, or roles that nobody holds.
            Denied: The caller may not act for a user that it names.
        """
        async with self._audit.call(principal, "CreateQuestionSet", parent):
            collection = await self._collections.get(principal.tenant, collection_id(parent))
            return await self._store(principal, collection, display_name, check_cases(cases))

    async def import_(
        self, principal: Principal, parts: AsyncIterator[tuple[str, str] | bytes]
    ) -> QuestionSet:
        """Store a set from a file of JSON lines.

        Args:
            principal: Who stores it.
            parts: The collection's name and a display name, then the bytes.

        Raises:
            UploadHeaderMissing: The bytes came first.
            UploadHeaderRepeated: A second header came.
            QuestionSetTooLarge: More than `MAX_SET_BYTES`, or too many questions.
            AtriumError: As of :meth:`create`.
        """
        header = await anext(parts, None)
        if not isinstance(header, tuple):
            raise UploadHeaderMissing
        parent, display_name = header
        async with self._audit.call(principal, "ImportQuestionSet", parent):
            collection = await self._collections.get(principal.tenant, collection_id(parent))
            data = b""
            async for part in parts:
                if isinstance(part, tuple):
                    raise UploadHeaderRepeated
                data += part
                if len(data) > MAX_SET_BYTES:
                    raise QuestionSetTooLarge(len(data), MAX_SET_BYTES, "bytes")
            return await self._store(principal, collection, display_name, read_cases(data))

    async def get(self, principal: Principal, name: str) -> QuestionSet:
        """Return a set with its questions.

        Raises:
            QuestionSetNotFound: There is none in the caller's tenant.
        """
        async with self._audit.call(principal, "GetQuestionSet", name):
            return await self._evaluations.get_set(principal.tenant, question_set_id(name))

    async def list(
        self, principal: Principal, requested: int, page_token: str
    ) -> tuple[Sequence[QuestionSet], str]:
        """Return a page of sets without their questions, and the token of the next page.

        Raises:
            PageTokenInvalid: The token was altered or made for another request.
        """
        async with self._audit.call(principal, "ListQuestionSets", "questionSets"):
            fingerprint = f"{principal.tenant}/questionSets"
            after = decode_page_token(page_token, fingerprint)
            size = page_size(requested)
            found = await self._evaluations.list_sets(principal.tenant, after, size + 1)
            page, more = found[:size], len(found) > size
            return page, encode_page_token(page[-1].id, fingerprint) if more else ""

    async def delete(self, principal: Principal, name: str) -> None:
        """Remove a set and its runs.

        Raises:
            QuestionSetNotFound: There is none in the caller's tenant.
        """
        async with self._audit.call(principal, "DeleteQuestionSet", name):
            await self._evaluations.delete_set(principal.tenant, question_set_id(name))

    async def _store(
        self,
        principal: Principal,
        collection: Collection,
        display_name: str,
        cases: tuple[EvaluationCase, ...],
    ) -> QuestionSet:
        await self._check_subjects(principal, cases)
        questions = QuestionSet(
            tenant=principal.tenant,
            id=self._ids.new("q"),
            collection_uid=collection.uid,
            collection_id=collection.id,
            display_name=display_name,
            cases=cases,
            case_count=len(cases),
            create_time=self._clock.now(),
        )
        await self._evaluations.save_set(questions)
        return questions

    async def _check_subjects(self, principal: Principal, cases: Sequence[EvaluationCase]) -> None:
        roles = {case.role for case in cases if case.role}
        holders = await self._roles.holders(principal, sorted(roles)) if roles else {}
        unknown_roles = {role for role in roles if role not in holders}
        unknown_users = set()
        for user in sorted({case.as_user for case in cases if case.as_user}):
            try:
                await act_for(self._delegation, principal.tenant, principal.subject, user)
            except AtriumError as error:
                if not is_nobody(error):
                    raise
                unknown_users.add(user)
        if unknown_users or unknown_roles:
            raise SubjectsUnknown(unknown_users, unknown_roles)


def is_nobody(error: AtriumError) -> bool:
    """Say whether :func:`act_for` failed since there is no such user, or none who may sign in."""
    return error.reason in _ABSENT


async def act_for(delegation: Delegation, tenant: str, runner: str, user: str) -> Principal:
    """Return the principal of a user for whom somebody else asks, with permissions as of now.

    Raises:
        Denied: ``runner`` may not act for the user, or one of the two may do nothing.
        NotFound: There is no such user.
    """
    return await delegation.delegate(tenant, runner, None if user == runner else user)
