"""Ask a reader, as far as there is one."""

from __future__ import annotations

from collections.abc import Sequence

from atrium_knowledge.app.encode import is_absence
from atrium_knowledge.app.ports import Reader, Readings, Relation
from atrium_knowledge.domain.answering.extraction import PassageToRead
from atrium_knowledge.domain.topics import CompiledTopic, topic_to_read
from atrium_shared.errors import AtriumError
from atrium_shared.principal import Principal


class ConsultReader:
    """Asks a reader about passages and topics; without one there is no opinion.

    Args:
        reader: Reads; ``None`` where there is none.
    """

    def __init__(self, reader: Reader | None) -> None:
        self._reader = reader

    async def of_passages(
        self, principal: Principal, question: str, passages: Sequence[PassageToRead]
    ) -> Readings | None:
        """Return what the reader says of each segment; ``None`` when there is no reader now.

        Raises:
            AtriumError: The reader refuses these texts.
        """
        return await self._read(principal, question, passages, "answers")

    async def of_topics(
        self, principal: Principal, question: str, topics: Sequence[CompiledTopic]
    ) -> tuple[list[float], int] | None:
        """Return for each topic the log-odds that the question is about it, and tokens read.

        ``None`` when there is no reader now.

        Raises:
            AtriumError: The reader refuses these texts.
        """
        owners: list[int] = []
        passages: list[PassageToRead] = []
        for number, topic in enumerate(topics):
            parts = topic_to_read(topic)
            owners += [number] * len(parts)
            passages += parts
        readings = await self._read(principal, question, passages, "concerns")
        if readings is None:
            return None
        best = [float("-inf")] * len(topics)
        for owner, log_odds in zip(owners, readings.log_odds, strict=True):
            best[owner] = max(best[owner], *log_odds)
        return best, readings.tokens

    async def _read(
        self,
        principal: Principal,
        question: str,
        passages: Sequence[PassageToRead],
        relation: Relation,
    ) -> Readings | None:
        if self._reader is None or not passages:
            return None
        try:
            return await self._reader.read(principal, question, passages, relation)
        except AtriumError as error:
            if not is_absence(error):
                raise
            return None
