"""AuditService: protos to domain values and back."""

from __future__ import annotations

from datetime import datetime

from atrium.admin.v1 import admin_service_pb2, audit_service_pb2
from atrium_admin.app.list_readers import ReadersPage
from atrium_admin.app.pages import PageRequest
from atrium_admin.app.replay_permission import PastVerdict
from atrium_admin.domain.names import role_name, user_name
from atrium_admin.domain.past_policy import Reader, Through
from atrium_admin.rpc.convert import (
    grant_to_proto,
    time_from_proto,
    time_to_proto,
    verdict_to_proto,
)


def page(request: audit_service_pb2.ListReadersRequest) -> PageRequest:
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
