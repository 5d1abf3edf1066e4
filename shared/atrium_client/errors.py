"""What a failed call says, as one exception."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import unquote

import grpc
from google.protobuf.any_pb2 import Any
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

# Two forms in which gRPC says that there was no connection.
_REFUSED = re.compile(r"ipv[46]:(?P<address>\S+): (?:.*: )?(?P<why>[^:]+)$")
_UNRESOLVED = re.compile(r"errors resolving (?P<address>\S+):")


@dataclass(eq=False)
class AtriumCallError(Exception):
    """A call failed.

    Attributes:
        code: gRPC status code.
        reason: Upper-case reason such as ``DOCUMENT_ENCRYPTED``; programs compare this.
        message: What was wrong, what was expected, what to do.
        metadata: Every dynamic value of the message.
        fields: Path of each offending request field, and what is wrong with it.
        trace_id: What the operator finds the call by, or "".
    """

    code: grpc.StatusCode
    reason: str
    message: str
    metadata: dict[str, str] = field(default_factory=dict)
    fields: dict[str, str] = field(default_factory=dict)
    trace_id: str = ""

    def __str__(self) -> str:
        return f"{self.message} ({self.reason})"

    @classmethod
    def from_rpc(cls, error: grpc.aio.AioRpcError) -> AtriumCallError:
        """Read a gRPC error with its details (``google.rpc``)."""
        status = rpc_status.from_call(error)
        if status is not None:
            return cls.from_status(status)
        reason = error.code().name
        message = error.details() or reason
        if error.code() is grpc.StatusCode.UNAVAILABLE:
            message = _unreachable(message)
        elif error.code() is grpc.StatusCode.UNIMPLEMENTED:
            message = (
                "What answers there does not know this call: another service of Atrium, an older "
                "release, or something else."
            )
        return cls(error.code(), reason, message)

    @classmethod
    def from_status(cls, status: status_pb2.Status) -> AtriumCallError:
        """Read a ``google.rpc.Status``, as failed operations carry it."""
        code = next(code for code in grpc.StatusCode if code.value[0] == status.code)
        found = cls(code, code.name, status.message)
        for detail in status.details:
            found._read(detail)
        return found

    def _read(self, detail: Any) -> None:
        info = error_details_pb2.ErrorInfo()
        bad = error_details_pb2.BadRequest()
        request = error_details_pb2.RequestInfo()
        if detail.Unpack(info):
            self.reason, self.metadata = info.reason, dict(info.metadata)
        elif detail.Unpack(bad):
            self.fields = {each.field: each.description for each in bad.field_violations}
        elif detail.Unpack(request):
            self.trace_id = request.request_id


def _unreachable(details: str) -> str:
    """Say in plain words that no server answered."""
    if "HTTP/2" in details:
        return (
            f"What answers there does not speak gRPC ({details}). Is it the port of HTTP? Atrium's "
            "gRPC is at 7400 where nobody chose another."
        )
    if refused := _REFUSED.search(details):
        where, why = unquote(refused["address"]), refused["why"].strip()
        said = f"Nothing answers at {where} ({why[:1].lower()}{why[1:]})."
    elif unresolved := _UNRESOLVED.search(details):
        said = f"There is no host {unresolved['address']!r}."
    else:
        said = f"The server does not answer ({details})."
    return f"{said} Is Atrium running there? `atrium up` starts it on this machine."
