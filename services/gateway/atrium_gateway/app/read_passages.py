"""Reads a question together with passages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from atrium_gateway.app.audit_calls import AuditCalls
from atrium_gateway.app.caller import Caller
from atrium_gateway.app.dispatch import Dispatch
from atrium_gateway.app.ports import ReaderBackend, Reading
from atrium_gateway.domain.errors import SegmentInvalid
from atrium_gateway.domain.reading import ReadPassage, Relation
from atrium_gateway.domain.tokens import most_encoder_tokens
from atrium_shared.engines import Engine, Usage


@dataclass(frozen=True, slots=True)
class PassagesRead:
    """Readings, what made them and what they cost."""

    reading: Reading
    engine: Engine
    usage: Usage


class ReadPassages:
    """Use case of ``Read``.

    Args:
        dispatch: Runs the call on a reader.
        audit: Records it.
    """

    def __init__(self, dispatch: Dispatch, audit: AuditCalls) -> None:
        self._dispatch = dispatch
        self._audit = audit

    async def __call__(
        self, caller: Caller, question: str, passages: Sequence[ReadPassage], relation: Relation
    ) -> PassagesRead:
        """Return one reading a passage, in order.

        Raises:
            SegmentInvalid: A segment lies outside its passage or overlaps the one before.
            AtriumError: See :meth:`Dispatch.read`.
        """
        _check(passages)
        scope = caller.principal.tenant

        async def run(reader: ReaderBackend) -> tuple[Reading, int]:
            reading = await reader.read(question, passages, relation, scope)
            return reading, reading.tokens

        texts = [question + passage.heading + passage.text for passage in passages]
        most = most_encoder_tokens(texts)
        async with self._audit.call(caller, "gateway.Read") as call:
            reading, engine, usage = await self._dispatch.read(caller, run, most)
            call.answered(engine, usage)
            return PassagesRead(reading, engine, usage)


def _check(passages: Sequence[ReadPassage]) -> None:
    for at, passage in enumerate(passages):
        end = 0
        for index, segment in enumerate(passage.segments):
            if segment.start < end:
                raise SegmentInvalid(at, index, "start", segment.start, f"{end} or more")
            if not segment.start < segment.end <= len(passage.text):
                expected = f"more than `start` ({segment.start}), at most {len(passage.text)}"
                raise SegmentInvalid(at, index, "end", segment.end, expected)
            end = segment.end
