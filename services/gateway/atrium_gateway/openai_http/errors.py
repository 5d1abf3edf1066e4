"""Errors in OpenAI's shape: status, type, param, code, and our reason beside them."""

from __future__ import annotations

import math

from pydantic import ValidationError

from atrium_gateway.domain.errors import QuotaExhausted, UpstreamFailed, UpstreamTimedOut
from atrium_gateway.domain.tool_errors import ToolCallRefused
from atrium_shared.errors import (
    AtriumError,
    Conflict,
    Denied,
    Exhausted,
    Invalid,
    NotFound,
    Unauthenticated,
    Unavailable,
)

_STATUS: tuple[tuple[type[AtriumError], int, str], ...] = (
    (NotFound, 404, "invalid_request_error"),
    (Unauthenticated, 401, "authentication_error"),
    (Denied, 403, "permission_error"),
    (Conflict, 409, "invalid_request_error"),
    (Invalid, 400, "invalid_request_error"),
    (Exhausted, 429, "rate_limit_error"),
    (UpstreamTimedOut, 504, "api_error"),
    (UpstreamFailed, 502, "api_error"),
    (ToolCallRefused, 502, "api_error"),
    (Unavailable, 503, "api_error"),
)
# Clients look for these; every other code is our reason.
_CODES = {
    "MODEL_NOT_FOUND": "model_not_found",
    "PROMPT_TOO_LONG": "context_length_exceeded",
    "QUOTA_EXHAUSTED": "rate_limit_exceeded",
}
_RETRY_SECONDS = 1


class BodyTooLarge(Exhausted):
    """The body of a request is larger than any prompt may be."""

    reason = "BODY_TOO_LARGE"

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"The body is larger than {limit:,} bytes. Send less at once.", limit=limit
        )


class BodyMalformed(Invalid):
    """The body is no JSON object."""

    reason = "BODY_MALFORMED"

    def __init__(self, why: str) -> None:
        super().__init__(f"The body must be a JSON object in UTF-8: {why}.")


class ParameterInvalid(Invalid):
    """A parameter of the request is wrong."""

    reason = "PARAMETER_INVALID"

    def __init__(self, param: str, problem: str) -> None:
        super().__init__(f"Parameter {param!r}: {problem}.", field=param)


class ParameterUnsupported(Invalid):
    """A parameter asks for what no model here does; without it the reply would not be as asked."""

    reason = "PARAMETER_UNSUPPORTED"

    def __init__(self, param: str, expected: str) -> None:
        super().__init__(f"Parameter {param!r} is not supported: {expected}.", field=param)


class TaskUnknown(NotFound):
    """`model` names no task that has a route."""

    reason = "MODEL_NOT_FOUND"

    def __init__(self, task: str) -> None:
        super().__init__(
            f"The model {task[:100]!r} does not exist. `model` is the name of a task: one that GET "
            "/v1/models lists, or 'default' for whatever has no task of its own.",
            field="model",
            model=task[:100],
        )


class PathUnknown(NotFound):
    """Nothing is served at this path."""

    reason = "PATH_UNKNOWN"

    def __init__(self, method: str, path: str) -> None:
        super().__init__(
            f"Nothing is served at {method[:20]} {path[:200]}. There are "
            "POST /v1/chat/completions, POST /v1/embeddings, GET /v1/models and "
            "GET /v1/models/{model}."
        )


def of_validation(error: ValidationError) -> Invalid:
    """Return what is wrong with a body, by the first parameter at fault."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    path = ""
    for part in first["loc"]:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part.isidentifier():  # names of the variants of a union are none
            path += f".{part}" if path else part
    if first["type"] == "json_invalid" or not path:
        return BodyMalformed(first["msg"])
    return ParameterInvalid(path, first["msg"])


def status_of(error: Exception) -> int:
    """Return the HTTP status for an error."""
    if isinstance(error, BodyTooLarge):
        return 413
    return next((status for kind, status, _ in _STATUS if isinstance(error, kind)), 500)


def retry_after(error: Exception) -> int | None:
    """Return after how many seconds the same call may work, or None when nothing tells."""
    if not isinstance(error, Exhausted | Unavailable) or isinstance(error, BodyTooLarge):
        return None
    if error.retry_seconds is not None:
        return max(_RETRY_SECONDS, math.ceil(error.retry_seconds))
    # A call that may need more than its quota ever allows never fits.
    return None if isinstance(error, QuotaExhausted) else _RETRY_SECONDS


def error_body(error: Exception, trace_id: str) -> dict[str, object]:
    """Return an error as a client reads it. What nobody foresaw shows the trace id alone."""
    if not isinstance(error, AtriumError):
        message = (
            f"Something went wrong inside Atrium (trace {trace_id}). Try again; if it stays, give "
            "the trace id to who runs the installation."
        )
        shape = {"message": message, "type": "api_error", "param": None, "code": "INTERNAL"}
        return {"error": {**shape, "reason": "INTERNAL", "trace_id": trace_id}}
    kind = next((name for each, _, name in _STATUS if isinstance(error, each)), "api_error")
    if isinstance(error, BodyTooLarge):
        kind = "invalid_request_error"
    code = _CODES.get(error.reason, error.reason)
    if isinstance(error, Unauthenticated):
        code = "invalid_api_key"
    return {
        "error": {
            "message": error.message,
            "type": kind,
            "param": error.field,
            "code": code,
            "reason": error.reason,
            "metadata": error.metadata,
            "trace_id": trace_id,
        }
    }
