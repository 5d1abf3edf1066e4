"""Counts of passages from the relational database."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from atrium_knowledge.adapters import tables
from atrium_knowledge.app.ports import PassageCount
from atrium_knowledge.domain.documents import RevisionState
from atrium_shared.database import Database

_PASSAGES = tables.passages
_REVISIONS = tables.revisions


class SqlPassageCounts:
    """Implements ``ports.PassageCounts``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def count(self, collection_uid: str) -> Sequence[PassageCount]:
        """Return the counts of a collection."""
        keys = _PASSAGES.c.revision, _PASSAGES.c.access_class, _PASSAGES.c.language
        query = (
            sa.select(*keys, sa.func.count())
            .join(_REVISIONS, _REVISIONS.c.seq == _PASSAGES.c.revision)
            .where(
                _REVISIONS.c.collection_uid == collection_uid,
                _REVISIONS.c.state == RevisionState.LIVE,
            )
            .group_by(*keys)
        )
        async with self._database.read() as session:
            return [PassageCount(*row) for row in await session.execute(query)]
