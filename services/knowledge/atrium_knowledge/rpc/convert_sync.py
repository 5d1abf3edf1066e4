"""Runs of a source: protos to domain and back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Final

from atrium.knowledge.v1 import knowledge_pb2, sync_pb2
from atrium_documents.cleaning import one_line
from atrium_knowledge.app.label_warnings import LabelWarning
from atrium_knowledge.app.sync_documents import SyncOutcome, SyncPart
from atrium_knowledge.domain.errors import SyncItemWithoutId
from atrium_knowledge.domain.sync import (
    ItemAccess,
    ItemContent,
    Removal,
    SyncCounts,
    SyncEnd,
    SyncHeader,
    SyncItem,
    SyncProblem,
    SyncStage,
    SyncState,
)
from atrium_knowledge.rpc.convert import section_labels_from_proto, timestamp
from atrium_shared.errors import AtriumError
from atrium_shared.rpc.operations_servicer import operation_to_proto
from atrium_shared.rpc.status import FieldInvalid
from atrium_shared.rpc.violations import described, nul_fields, violations_of

_STAGES: Final = {
    SyncStage.RUNNING: sync_pb2.SyncState.RUNNING,
    SyncStage.INTERRUPTED: sync_pb2.SyncState.INTERRUPTED,
    SyncStage.REMOVING: sync_pb2.SyncState.REMOVING,
    SyncStage.COMPLETE: sync_pb2.SyncState.COMPLETE,
}


async def sync_parts(
    requests: AsyncIterator[sync_pb2.SyncDocumentsRequest],
) -> AsyncIterator[SyncPart]:
    """Convert the messages of a run as they come; a message without a part says nothing."""
    async for request in requests:
        match request.WhichOneof("part"):
            case "header":
                header = request.header
                yield SyncHeader(header.source, header.sync_token, header.resume, header.base_token)
            case "item":
                yield _item_from_proto(request.item)
            case "chunk":
                yield request.chunk
            case "end":
                yield SyncEnd(request.end.complete, request.end.allow_empty)


def outcome_to_proto(outcome: SyncOutcome) -> sync_pb2.SyncDocumentsResponse:
    """Convert the end of a run."""
    return sync_pb2.SyncDocumentsResponse(
        counts=_counts_to_proto(outcome.counts),
        problems=map(_problem_to_proto, outcome.problems),
        operation=operation_to_proto(outcome.operation),
        warnings=warnings_to_proto(outcome.warnings),
    )


def warnings_to_proto(warnings: Iterable[LabelWarning]) -> list[knowledge_pb2.Warning]:
    """Convert labels that nobody holds."""
    return [
        knowledge_pb2.Warning(
            reason="LABEL_HELD_BY_NOBODY",
            message=f"Nobody of your organisation may read what is labelled {one.label!r} alone. "
            "If that is not meant, check its spelling, or give a role that grants it.",
            metadata={"label": one.label},
        )
        for one in warnings
    ]


def progress_to_proto(
    source: str, counts: SyncCounts, processing: int
) -> sync_pb2.SyncDocumentsMetadata:
    """Convert how far a run is after its end."""
    return sync_pb2.SyncDocumentsMetadata(
        source=source, counts=_counts_to_proto(counts), processing=processing
    )


def report_to_proto(
    source: str, counts: SyncCounts, problems: Sequence[SyncProblem]
) -> sync_pb2.SyncReport:
    """Convert what came of a run."""
    return sync_pb2.SyncReport(
        source=source,
        counts=_counts_to_proto(counts),
        problems=map(_problem_to_proto, problems),
    )


def state_to_proto(state: SyncState) -> sync_pb2.SyncState:
    """Convert where the syncing of a source stands."""
    return sync_pb2.SyncState(
        name=state.name,
        state=_STAGES[state.stage],
        sync_token=state.token,
        last_item=state.last_item,
        counts=_counts_to_proto(state.counts),
        completed_token=state.completed_token,
        operation=state.operation,
        start_time=timestamp(state.start_time),
        update_time=timestamp(state.update_time),
        document_count=state.document_count,
    )


def _item_from_proto(item: sync_pb2.SyncItem) -> SyncItem:
    # The id of a wrong item is told and stored with what is wrong.
    item_id, revision = (text.replace("\0", "\ufffd") for text in (item.id, item.revision))
    return SyncItem(item_id, revision, _change_from_proto(item))


def _change_from_proto(
    item: sync_pb2.SyncItem,
) -> ItemContent | ItemAccess | Removal | AtriumError:
    if not item.id:
        return SyncItemWithoutId()
    # A wrong item is reported and stops no other, so it is not the server that validates it.
    broken = [*map(described, violations_of(item)), *nul_fields(item)]
    if broken:
        return FieldInvalid([(f"item.{path}".rstrip("."), what) for path, what in broken])
    match item.WhichOneof("change"):
        case "upsert":
            upsert = item.upsert
            access = _access_from_proto(upsert.access) if upsert.HasField("access") else None
            title = one_line(upsert.title)
            return ItemContent(upsert.filename, title, upsert.size_bytes, access)
        case "access":
            return _access_from_proto(item.access)
        case _:
            return Removal()


def _access_from_proto(access: sync_pb2.SyncItem.Access) -> ItemAccess:
    return ItemAccess(frozenset(access.labels), section_labels_from_proto(access.section_labels))


def _counts_to_proto(counts: SyncCounts) -> sync_pb2.SyncCounts:
    return sync_pb2.SyncCounts(**counts.as_dict())


def _problem_to_proto(problem: SyncProblem) -> sync_pb2.SyncProblem:
    return sync_pb2.SyncProblem(
        item=problem.item,
        position=problem.position,
        reason=problem.reason,
        message=problem.message,
    )
