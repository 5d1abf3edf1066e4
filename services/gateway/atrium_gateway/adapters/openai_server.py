"""The connection to one OpenAI-compatible HTTP server: vLLM, llama.cpp, a cloud.

Nothing that the server says is trusted, and nothing that it says in words is shown or logged: its
messages may repeat a prompt. Its error codes are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

import aiohttp
import orjson
from tenacity import (
    AsyncRetrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential_jitter,
)

from atrium_gateway.domain.errors import UpstreamFailed
from atrium_gateway.domain.models import READY, ModelState, ModelStatus
from atrium_shared.clock import Clock, SystemClock

_CONNECT_SECONDS = 5.0
_PROBE_SECONDS = 3.0
_KEEP_STATUS_SECONDS = 10.0
_MOST_ERROR_BYTES = 64 * 1024
_MOST_LIST_BYTES = 4 << 20
# Busy or on its way up: the same request may well succeed in a moment. A plain 500 is more often
# the request's own doing, and the next candidate serves it better than the same server again.
_TRANSIENT_STATUS = frozenset({408, 425, 429, 502, 503, 504})
_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class _Transient(Exception):
    """Nothing of a reply came, and asking again may help.

    Args:
        why: What happened, for the caller.
        status: HTTP status, if one came.
    """

    def __init__(self, why: str, status: int | None = None) -> None:
        super().__init__(why)
        self.why = why
        self.status = status


class RequestRefused(Exception):
    """The server refused the request with a 4xx status that is not about load.

    Args:
        status: HTTP status.
        code: The server's error code or type, or "".
        details: The server's ``error`` object.
    """

    def __init__(self, status: int, code: str, details: Mapping[str, Any]) -> None:
        super().__init__(f"{status} {code}")
        self.status = status
        self.code = code
        self.details = details

    def as_failure(self, model: str) -> UpstreamFailed:
        """Return the error for a caller who cannot do anything about it."""
        if self.status in (401, 403):
            why = f"it refused the operator's key (HTTP {self.status})"
        elif self.status == 404:
            why = "it does not know the model, or its URL is wrong (HTTP 404)"
        else:
            why = f"it refused the request (HTTP {self.status}{_in_brackets(self.code)})"
        return UpstreamFailed(model, why, status=self.status)


class OpenAIServer:
    """Sends requests to one server and keeps its connections open.

    Args:
        address: The base URL, such as ``http://vllm:8000/v1``, or what returns it; that may raise
            ModelUnavailable.
        api_key: Sent as bearer token; None sends none.
        clock: Tells the age of what is known about the server.
        attempts: How often a busy server is asked before a reply begins.
    """

    def __init__(
        self,
        address: str | Callable[[], str],
        api_key: str | None,
        clock: Clock | None = None,
        *,
        attempts: int = 3,
    ) -> None:
        self._address: Callable[[], str] = (
            partial(str, address) if isinstance(address, str) else address
        )
        self._attempts = attempts
        self._clock = clock or SystemClock()
        self._headers = {
            "accept-encoding": "identity",
            "content-type": "application/json",
            "user-agent": "atrium-gateway",
        }
        if api_key:
            self._headers["authorization"] = f"Bearer {api_key}"
        self._opened: aiohttp.ClientSession | None = None
        self._models: frozenset[str] | None = None
        self._alive = ModelStatus(ModelState.STARTING, "the server was not asked yet")
        self._asked_at: float | None = None

    async def close(self) -> None:
        """Close all connections."""
        if self._opened is not None:
            await self._opened.close()

    def post(
        self, model: str, path: str, body: Mapping[str, Any]
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """Send a request and give the response, its body still to be read.

        What fails before a response begins is tried again, ``attempts`` times in all, with growing
        pauses and jitter. Leaving the context closes a connection that is not read to its end,
        which stops the server's work.

        Args:
            model: Resource name of the model, for errors.
            path: Below the base URL, ``"/chat/completions"``.
            body: Sent as JSON.

        Raises:
            UpstreamFailed: The server cannot be reached or failed.
            RequestRefused: The server refused the request.
        """
        return _Sending(self._send(model, path, _as_json(body)))

    async def post_json(
        self, model: str, path: str, body: Mapping[str, Any], most_bytes: int
    ) -> Mapping[str, Any]:
        """Send a request and return the JSON object that comes back.

        Raises:
            UpstreamFailed: The server cannot be reached or failed, or what came back is no JSON
                object or larger than ``most_bytes``.
            RequestRefused: The server refused the request.
        """
        async with self.post(model, path, body) as response:
            try:
                raw = await read_body(response, most_bytes)
            except aiohttp.ClientError as error:
                raise UpstreamFailed(model, _what_broke(error)) from error
        if raw is None:
            raise UpstreamFailed(model, f"it sent more than {most_bytes} bytes")
        value = parse_object(raw)
        if value is None:
            raise UpstreamFailed(model, "it sent something that is not a JSON object")
        return value

    async def status(self, upstream_model: str) -> ModelStatus:
        """Return whether the server answers and serves a model. Asked at most every 10 s.

        Args:
            upstream_model: The model's name at the server.
        """
        now = self._clock.monotonic()
        if self._asked_at is None or now - self._asked_at >= _KEEP_STATUS_SECONDS:
            self._asked_at = now
            self._alive, self._models = await self._probe()
        if self._alive is READY and self._models is not None and upstream_model not in self._models:
            return ModelStatus(
                ModelState.UNAVAILABLE,
                f"The server does not list the model {upstream_model!r}. Check its name.",
            )
        return self._alive

    async def list_models(self) -> frozenset[str]:
        """Return the names of the models that the server lists now, adapters among them.

        Raises:
            UpstreamFailed: It does not answer, or not with a list.
        """
        status, listed = await self._probe()
        if listed is None:
            raise UpstreamFailed("/models", status.reason or "it keeps no list of models")
        return listed

    async def _probe(self) -> tuple[ModelStatus, frozenset[str] | None]:
        try:
            async with self._client().get(
                f"{self._address()}/models",
                timeout=aiohttp.ClientTimeout(total=_PROBE_SECONDS),
                allow_redirects=False,
            ) as response:
                status, raw = response.status, await read_body(response, _MOST_LIST_BYTES)
        except (aiohttp.ClientError, TimeoutError) as error:
            why = f"The server does not answer: {_what_broke(error)}. Start it, or check its URL."
            return ModelStatus(ModelState.UNAVAILABLE, why), None
        if status in (401, 403):
            why = f"The server refuses the operator's key (HTTP {status})."
            return ModelStatus(ModelState.UNAVAILABLE, why), None
        if status >= 500:
            why = f"The server fails (HTTP {status}). Look at its log."
            return ModelStatus(ModelState.UNAVAILABLE, why), None
        listed = parse_object(raw) if raw is not None and status < 300 else None
        data = listed.get("data") if listed else None
        if not isinstance(data, list):
            return READY, None  # it answers, but keeps no list of models
        return READY, frozenset(
            str(entry.get("id")) for entry in data if isinstance(entry, Mapping)
        )

    def _client(self) -> aiohttp.ClientSession:
        # Made by the first call, as it belongs to the loop that runs then. Only what the settings
        # say decides where texts go: nothing of the environment (`trust_env` is off), no server by
        # a redirect (`allow_redirects`).
        if self._opened is None:
            self._opened = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=self._headers,
                # Replies take as long as they take; callers bound them with deadlines of their own.
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
            )
        return self._opened

    async def _send(self, model: str, path: str, content: bytes) -> aiohttp.ClientResponse:
        try:
            try:
                return await self._send_once(model, path, content)
            except _Transient as error:
                return await self._send_again(error, model, path, content)
        except _Transient as error:
            raise UpstreamFailed(model, error.why, status=error.status) from error
        except aiohttp.ClientError as error:
            raise UpstreamFailed(model, _what_broke(error)) from error

    async def _send_again(
        self, failed: _Transient | None, model: str, path: str, content: bytes
    ) -> aiohttp.ClientResponse:
        """Repeat what failed once; calls that do not fail pay nothing for the possibility."""
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(_Transient),
            stop=stop_after_attempt(self._attempts),
            wait=wait_exponential_jitter(multiplier=0.1, max=2.0, jitter=0.2),
            reraise=True,
        ):
            with attempt:
                if failed is not None:
                    error, failed = failed, None
                    raise error
                return await self._send_once(model, path, content)
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _send_once(self, model: str, path: str, content: bytes) -> aiohttp.ClientResponse:
        url = self._address() + path
        try:
            response = await self._client().post(url, data=content, allow_redirects=False)
        except aiohttp.ServerTimeoutError as error:
            raise UpstreamFailed(model, _what_broke(error)) from error
        except aiohttp.ClientConnectionError as error:
            # A kept connection that the server closed meanwhile looks the same as a dead server.
            raise _Transient(_what_broke(error)) from error
        status = response.status
        if 200 <= status < 300:
            return response
        try:
            raw = await read_body(response, _MOST_ERROR_BYTES)
        except aiohttp.ClientError:
            raw = None
        finally:
            response.close()
        details = _error_object(raw)
        code = error_code(details)
        if status in _TRANSIENT_STATUS:
            raise _Transient(f"HTTP {status}{_in_brackets(code)}", status)
        if 400 <= status < 500:
            raise RequestRefused(status, code, details)
        raise UpstreamFailed(model, f"HTTP {status}{_in_brackets(code)}", status=status)


class _Sending:
    """See :meth:`OpenAIServer.post`; a class, since a generator costs every call more."""

    __slots__ = ("_response", "_send")

    def __init__(self, send: Coroutine[Any, Any, aiohttp.ClientResponse]) -> None:
        self._send = send

    async def __aenter__(self) -> aiohttp.ClientResponse:
        self._response = await self._send
        return self._response

    async def __aexit__(self, *error: object) -> None:
        self._response.close()  # does nothing to a connection whose answer was read to its end


def _as_json(body: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(body)
    except TypeError:  # a schema may hold numbers of more than 64 bits
        text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
        return text.encode("utf-8", "replace")


def parse_object(raw: bytes) -> Mapping[str, Any] | None:
    """Return the JSON object in ``raw``, or None when there is none."""
    try:
        value = orjson.loads(raw)
    except ValueError:
        # Half of a surrogate pair, a number beyond 64 bits: no JSON to everyone.
        try:
            value = json.loads(raw)
        except (ValueError, RecursionError):
            return None
    return value if isinstance(value, dict) else None


def error_code(details: Mapping[str, Any]) -> str:
    """Return the short name of an error, or "" when it has none that may be shown."""
    for key in ("code", "type"):
        value = details.get(key)
        if isinstance(value, str) and _CODE.fullmatch(value):
            return value
    return ""


async def read_body(response: aiohttp.ClientResponse, most_bytes: int) -> bytes | None:
    """Return the body of a response, or None when it has more than ``most_bytes``."""
    parts: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > most_bytes:
            return None
        parts.append(chunk)
    return b"".join(parts)


def _error_object(raw: bytes | None) -> Mapping[str, Any]:
    body = parse_object(raw) if raw else None
    if body is None:
        return {}
    error = body.get("error")
    # vLLM once put the fields at the top, OpenAI puts them under "error".
    return error if isinstance(error, Mapping) else body


def _what_broke(error: aiohttp.ClientError | TimeoutError) -> str:
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return "no connection to it can be made"
    if isinstance(error, TimeoutError):
        return "it does not answer"
    if isinstance(error, aiohttp.ClientResponseError):
        return "it sent something that is no HTTP"
    return "the connection broke off"


def _in_brackets(code: str) -> str:
    return f", {code}" if code else ""
