"""Who could read something at a time, and through which grants."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from atrium_admin.app.audit_trail import AuditTrail
from atrium_admin.app.pages import Page, PageRequest, page_of
from atrium_admin.app.past_policies import PastPolicies
from atrium_admin.app.ports import Slice
from atrium_admin.domain.past_policy import PolicyVersion, Reader, Readers
from atrium_shared.paging import cursor_sequence
from atrium_shared.principal import Principal


@dataclass(frozen=True, slots=True)
class ReadersPage:
    """One page of readers.

    Attributes:
        page: The readers, in the order of their ids.
        version: The policy under which they could read.
    """

    page: Page[Reader]
    version: PolicyVersion


class ListReaders:
    """Lists who could read what carries certain labels."""

    def __init__(self, policies: PastPolicies, trail: AuditTrail) -> None:
        self._policies = policies
        self._trail = trail

    async def __call__(
        self,
        principal: Principal,
        clauses: Sequence[Sequence[str]],
        read_time: datetime | None,
        page: PageRequest,
    ) -> ReadersPage:
        """Return enabled users of the caller's tenant who could read it.

        Args:
            principal: Who asks.
            clauses: Sets of labels, ``hr/pay``; a reader holds one of each. None: everybody who
                may ask or read documents at all.
            read_time: At which time; None for now.
            page: Which page. All pages show the policy of the first.

        Raises:
            ReadTimeAhead: The time lies ahead.
            ReadTimeBeforeHistory: The history begins later.
            PageTokenInvalid: The token belongs to another request.
        """
        tenant = principal.tenant
        async with self._trail.read(principal, "admin.ListReaders", _in_words(clauses)):
            fingerprint = f"ListReaders {tenant} {list(map(list, clauses))} {read_time}"
            number, after = page.cursor_as(fingerprint, _cursor) or (None, "")
            if number is not None:
                version = await self._policies.numbered(tenant, number, field="page_token")
            else:
                version = await self._policies.in_force(tenant, read_time)
            rebuilt = await self._policies.rebuild(tenant, version)
            readers = Readers(rebuilt.policy, clauses)
            # Ten thousand users take a while, during which others should be served.
            items, more = await asyncio.to_thread(readers.after, after, page.limit)
            return ReadersPage(
                page_of(
                    Slice(items, more),
                    fingerprint,
                    lambda reader: f"{version.version} {reader.user}",
                ),
                version,
            )


def _in_words(clauses: Sequence[Sequence[str]]) -> str:
    """Return the clauses as they read in the audit log: ``labels/hr/pay|labels/board & ...``."""
    return " & ".join("|".join(f"labels/{label}" for label in labels) for labels in clauses)


def _cursor(text: str) -> tuple[int, str]:
    number, _, after = text.partition(" ")
    return cursor_sequence(number), after
