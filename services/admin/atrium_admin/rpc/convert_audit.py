"""AuditService: protos to domain values and back."""

from __future__ import annotations

from datetime import datetime

from atrium.admin.v1 import admin_service_pb2, audit_service_pb2
from atrium_admin.app.audit_checkpoints import SignedCheckpoint
from atrium_admin.app.list_readers import ReadersPage
from atrium_admin.app.pages import Page, PageRequest
from atrium_admin.app.ports import AuditFilter
from atrium_admin.app.replay_decision import Replay, ReplayedDecision
from atrium_admin.app.replay_permission import PastVerdict
from atrium_admin.app.search_audit_log import ExportHeader, ExportPart
from atrium_admin.domain.audit import AuditLine
from atrium_admin.domain.names import role_name, user_name
from atrium_admin.domain.past_policy import Reader, Through
from atrium_admin.rpc.convert import (
    audit_line_to_proto,
    decision_of,
    grant_to_proto,
    time_from_proto,
    time_to_proto,
    verdict_to_proto,
)


def page(
    request: audit_service_pb2.ListReadersRequest
    | audit_service_pb2.SearchAuditEventsRequest
    | audit_service_pb2.ListAuditCheckpointsRequest,
) -> PageRequest:
    """Return which page a request wants."""
    return PageRequest(request.page_size, request.page_token)


def read_time(
    request: audit_service_pb2.ListReadersRequest | audit_service_pb2.ReplayPermissionRequest,
) -> datetime | None:
    """Return about which time a request asks; None for now.

    Raises:
        FieldInvalid: The time is malformed.
    """
    if not request.HasField("read_time"):
        return None
    return time_from_proto(request.read_time, field="read_time")


def clauses(request: audit_service_pb2.ListReadersRequest) -> list[list[str]]:
    """Return the sets of labels of which a reader holds one each."""
    return [list(clause.labels) for clause in request.clauses]


def readers_to_proto(found: ReadersPage) -> audit_service_pb2.ListReadersResponse:
    """Return a page of readers."""
    return audit_service_pb2.ListReadersResponse(
        readers=map(_reader_to_proto, found.page.items),
        next_page_token=found.page.next_page_token,
        policy_version=found.version.version,
        policy_time=time_to_proto(found.version.time),
    )


def past_verdict_to_proto(found: PastVerdict) -> audit_service_pb2.ReplayPermissionResponse:
    """Return whether something was permitted, and why."""
    verdict: admin_service_pb2.TestPermissionResponse = verdict_to_proto(found.verdict)
    return audit_service_pb2.ReplayPermissionResponse(
        allowed=verdict.allowed,
        matches=verdict.matches,
        policy_version=found.version.version,
        policy_time=time_to_proto(found.version.time),
    )


def _reader_to_proto(reader: Reader) -> audit_service_pb2.Reader:
    return audit_service_pb2.Reader(
        user=user_name(reader.user), grants=map(_through_to_proto, reader.grants)
    )


def _through_to_proto(through: Through) -> audit_service_pb2.Reader.Through:
    return audit_service_pb2.Reader.Through(
        role=role_name(through.role),
        via=through.via,
        grant=grant_to_proto(through.grant),
        permission=through.permission,
    )


def replayed_to_proto(found: ReplayedDecision) -> audit_service_pb2.ReplayDecisionResponse:
    """Return a logged decision beside what is decided now."""
    return audit_service_pb2.ReplayDecisionResponse(
        event=audit_line_to_proto(found.line),
        permission=found.permission,
        then=_replay_to_proto(found.then),
        now=_replay_to_proto(found.now),
    )


def _replay_to_proto(replay: Replay) -> audit_service_pb2.ReplayDecisionResponse.Replay:
    return audit_service_pb2.ReplayDecisionResponse.Replay(
        allowed=replay.allowed,
        same=replay.same,
        matches=verdict_to_proto(replay.verdict).matches,
        may_impersonate=replay.may_impersonate,
        policy_version=replay.version.version,
        policy_time=time_to_proto(replay.version.time),
    )


def search_filter(request: audit_service_pb2.SearchAuditEventsRequest) -> AuditFilter:
    """Return which events a request wants.

    Raises:
        FieldInvalid: A time is malformed.
    """
    start = end = None
    if request.HasField("start_time"):
        start = time_from_proto(request.start_time, field="start_time")
    if request.HasField("end_time"):
        end = time_from_proto(request.end_time, field="end_time")
    return AuditFilter(
        start_time=start,
        end_time=end,
        user=request.user,
        action=request.action,
        resource_prefix=request.resource_prefix,
        decision=decision_of(request.decision),
        detail=request.detail,
        policy_version=request.policy_version,
    )


def events_to_proto(page: Page[AuditLine]) -> audit_service_pb2.SearchAuditEventsResponse:
    """Return a page of events."""
    return audit_service_pb2.SearchAuditEventsResponse(
        events=map(audit_line_to_proto, page.items), next_page_token=page.next_page_token
    )


def checkpoints_to_proto(
    page: Page[SignedCheckpoint], jwks: str
) -> audit_service_pb2.ListAuditCheckpointsResponse:
    """Return a page of checkpoints."""
    return audit_service_pb2.ListAuditCheckpointsResponse(
        checkpoints=map(_checkpoint_to_proto, page.items),
        next_page_token=page.next_page_token,
        jwks=jwks,
    )


def _checkpoint_to_proto(signed: SignedCheckpoint) -> audit_service_pb2.AuditCheckpoint:
    proto = audit_service_pb2.AuditCheckpoint(statement=signed.statement, sequence=signed.sequence)
    if signed.checkpoint is not None:
        proto.sequence = signed.checkpoint.sequence
        proto.hash = signed.checkpoint.hash
        proto.time.FromDatetime(signed.checkpoint.time)
    return proto


def export_part_to_proto(part: ExportPart, jwks: str) -> audit_service_pb2.ExportAuditLogResponse:
    """Return one part of an export."""
    if isinstance(part, ExportHeader):
        header = audit_service_pb2.ExportAuditLogResponse.Header(
            tenant=part.tenant, sequence=part.head.sequence, hash=part.head.hash, jwks=jwks
        )
        return audit_service_pb2.ExportAuditLogResponse(header=header)
    if isinstance(part, AuditLine):
        return audit_service_pb2.ExportAuditLogResponse(event=audit_line_to_proto(part))
    return audit_service_pb2.ExportAuditLogResponse(checkpoint=part.statement)
