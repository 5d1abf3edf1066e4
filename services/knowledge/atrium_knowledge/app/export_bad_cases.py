"""Give bad cases as lines of a question set, so that they can be asked again."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Final

from atrium_knowledge.app.answer_access import AnswerAccess
from atrium_knowledge.app.evaluation_store import EvaluationStore
from atrium_knowledge.app.ports import Delegation, RoleHolders
from atrium_knowledge.app.question_sets import act_for, is_nobody
from atrium_knowledge.app.stores import CollectionStore
from atrium_knowledge.domain.answers import Decision
from atrium_knowledge.domain.collections import Collection
from atrium_knowledge.domain.errors import RoleHeldByNobody
from atrium_knowledge.domain.evaluations import BadCase, BadCasePlace, EvaluationCase
from atrium_knowledge.domain.names import collection_id
from atrium_shared.audit_trail import AuditTrail
from atrium_shared.errors import AtriumError, Denied
from atrium_shared.principal import Principal

_CASES_AT_ONCE: Final = 100
_CHUNK_BYTES: Final = 256 * 1024


@dataclass
class ExportSummary:
    """What became of the bad cases of an export."""

    exported: int = 0
    duplicates: int = 0
    """Their question has a line already."""
    without_words: int = 0
    """Their words are not kept."""
    withheld: int = 0
    """The caller may not see the answer, or not act for who asked."""


class ExportBadCases:
    """The use case.

    Args:
        collections: Where collections are stored.
        evaluations: Where bad cases are stored.
        access: Says whose answers the caller may see.
        delegation: Says for whom the caller may act.
        roles: Finds users who hold a role.
        audit: Records calls.
    """

    def __init__(
        self,
        collections: CollectionStore,
        evaluations: EvaluationStore,
        access: AnswerAccess,
        delegation: Delegation,
        roles: RoleHolders,
        audit: AuditTrail,
    ) -> None:
        self._collections = collections
        self._evaluations = evaluations
        self._access = access
        self._delegation = delegation
        self._roles = roles
        self._audit = audit

    async def __call__(
        self, principal: Principal, parent: str, role: str
    ) -> AsyncGenerator[bytes | ExportSummary, None]:
        """Yield whole lines, then a summary.

        Args:
            principal: Who exports.
            parent: Name of the collection.
            role: Asked for by the questions of feedback; empty: each names who asked.

        Raises:
            CollectionNotFound: There is no such collection in the caller's tenant.
            RoleHeldByNobody: Nobody holds the role.
            Denied: ``role`` is given, and the caller may not list users.
        """
        # Recorded before the first line is shown.
        async with self._audit.call(principal, "ExportBadCases", parent):
            collection = await self._collections.get(principal.tenant, collection_id(parent))
            if role and role not in await self._roles.holders(principal, [role]):
                raise RoleHeldByNobody(role)
        async with (
            self._audit.failures(principal, "ExportBadCases", parent),
            aclosing(self._parts(principal, collection, role)) as parts,
        ):
            async for part in parts:
                yield part

    async def _parts(
        self, principal: Principal, collection: Collection, role: str
    ) -> AsyncGenerator[bytes | ExportSummary, None]:
        summary = ExportSummary()
        seen: set[tuple[str, str, str]] = set()
        acts_for: dict[str, bool] = {}
        place = BadCasePlace()
        chunk = b""
        more = True
        while more:
            page = await self._evaluations.bad_cases_in_words(collection.uid, place, _CASES_AT_ONCE)
            more = len(page) == _CASES_AT_ONCE
            for bad_case, asked in page:
                place = bad_case.place
                if asked is None:
                    summary.without_words += 1
                    continue
                if role and bad_case.regression is None:
                    asked = replace(asked, as_user="", role=role)
                identity = (bad_case.question_hash, asked.as_user, asked.role)
                if identity in seen:
                    summary.duplicates += 1
                elif not await self._may_have(principal, collection, bad_case, asked, acts_for):
                    summary.withheld += 1
                else:
                    seen.add(identity)
                    summary.exported += 1
                    line = json.dumps(asked.to_json(), ensure_ascii=False)
                    chunk += line.encode() + b"\n"
                    if len(chunk) >= _CHUNK_BYTES:
                        yield chunk
                        chunk = b""
        if chunk:
            yield chunk
        yield summary

    async def _may_have(
        self,
        principal: Principal,
        collection: Collection,
        bad_case: BadCase,
        asked: EvaluationCase,
        acts_for: dict[str, bool],
    ) -> bool:
        user = asked.as_user
        if user and user not in acts_for:
            acts_for[user] = await self._acts_for(principal, user)
        if user and not acts_for[user]:
            return False
        if bad_case.decision is Decision.ANSWERED and not bad_case.passages:
            # Of runs from before citations were noted.
            return False
        return await self._access.may_see(
            principal, collection.uid, bad_case.passages, bad_case.answer_time
        )

    async def _acts_for(self, principal: Principal, user: str) -> bool:
        try:
            await act_for(self._delegation, principal.tenant, principal.subject, user)
        except AtriumError as error:
            if not isinstance(error, Denied) and not is_nobody(error):
                raise
            return False
        return True
