"""Files over HTTP: an operator's mirror by web address, or a model hub."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import httpx
from tenacity import (
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    wait_exponential_jitter,
)

from atrium_models.catalog import FileSpec, Hub, ModelSpec
from atrium_models.checking import check_size_and_digest, matches, sha256_of
from atrium_models.errors import ModelChecksumMismatch
from atrium_models.progress import Reporter, Stage
from atrium_models.sources import SourceFailed


@dataclass(frozen=True)
class WebTimes:
    """Patience with a server, in seconds and tries.

    Attributes:
        connect: Longest time to connect.
        read: Longest time without a byte.
        tries: How often a file is tried before the source is given up.
        first_pause: Pause before the second try; it doubles.
    """

    connect: float = 10.0
    read: float = 60.0
    tries: int = 4
    first_pause: float = 0.5


class WebSource:
    """Every file of a model behind one web address each.

    Args:
        label: What people call this source.
        address_of: Gives the address of a file of a model, by its name in the model.
        headers: Sent with every request to the first server, not to one it redirects to.
        times: How patient to be.
    """

    def __init__(
        self,
        label: str,
        address_of: Callable[[str], str],
        *,
        headers: Mapping[str, str] | None = None,
        times: WebTimes | None = None,
    ) -> None:
        self._label = label
        self._address_of = address_of
        self._headers = dict(headers or {})
        self._times = times or WebTimes()

    @property
    def label(self) -> str:
        """What people call it."""
        return self._label

    def extra_bytes(self, model: ModelSpec) -> int:
        """Nothing: the files themselves are downloaded."""
        del model
        return 0

    def fetch(self, model: ModelSpec, work: Path, ready: Path, report: Reporter) -> None:
        """See :meth:`atrium_models.sources.Source.fetch`."""
        report.begin(Stage.DOWNLOADING, model.disk_bytes, source=self.label)
        timeout = httpx.Timeout(self._times.read, connect=self._times.connect)
        with httpx.Client(timeout=timeout, headers=self._headers, follow_redirects=True) as client:
            for name, expected in model.files.items():
                part = work / f"{name}.part"
                part.parent.mkdir(parents=True, exist_ok=True)
                self._fetch_file(client, model.name, name, expected, part, report)
        # Only a whole model moves on: until here an interrupted pull finds everything in `work`.
        for name in model.files:
            target = ready / name
            target.parent.mkdir(parents=True, exist_ok=True)
            (work / f"{name}.part").replace(target)

    def _fetch_file(
        self,
        client: httpx.Client,
        model: str,
        name: str,
        expected: FileSpec,
        part: Path,
        report: Reporter,
    ) -> None:
        resumed = part.exists()
        if matches(part, expected):
            report.advance(expected.bytes)
            return
        try:
            self._download(client, model, name, expected, part, report)
        except ModelChecksumMismatch:
            size = part.stat().st_size if part.exists() else 0
            part.unlink(missing_ok=True)
            report.advance(-size)
            if not resumed:
                raise
            # What an earlier try left may be the cause: once more from the start.
            self._download(client, model, name, expected, part, report)

    def _download(
        self,
        client: httpx.Client,
        model: str,
        name: str,
        expected: FileSpec,
        part: Path,
        report: Reporter,
    ) -> None:
        address = self._address_of(name)
        counted = 0  # Bytes of this file that the reporter knows.

        def advance(size: int) -> None:
            nonlocal counted
            report.advance(size - counted)
            counted = size

        retrying = Retrying(
            retry=retry_if_exception(_may_pass),
            stop=stop_after_attempt(self._times.tries),
            wait=wait_exponential_jitter(
                multiplier=self._times.first_pause, jitter=self._times.first_pause
            ),
            reraise=True,
        )
        try:
            retrying(self._stream, client, address, model, name, expected, part, advance)
        except httpx.HTTPError as exc:
            raise SourceFailed(_describe(exc, name, address)) from exc
        except httpx.InvalidURL as exc:
            raise SourceFailed(f"{without_secrets(address)} is not a web address") from exc
        digest = sha256_of(part)
        try:
            check_size_and_digest(name, part.stat().st_size, digest, expected, model, self._label)
        except ModelChecksumMismatch:
            part.unlink()
            advance(0)
            raise

    def _stream(
        self,
        client: httpx.Client,
        address: str,
        model: str,
        name: str,
        expected: FileSpec,
        part: Path,
        advance: Callable[[int], None],
    ) -> None:
        have = part.stat().st_size if part.exists() else 0
        if have >= expected.bytes:
            part.unlink()
            have = 0
        # Compressed transfer would make ranges and sizes mean something else.
        headers = {"accept-encoding": "identity"}
        if have:
            headers["range"] = f"bytes={have}-"
        with client.stream("GET", address, headers=headers) as reply:
            reply.raise_for_status()
            if reply.headers.get("content-range", "").startswith(f"bytes {have}-"):
                mode = "ab"
            else:
                mode, have = "wb", 0
            length = reply.headers.get("content-length", "")
            if length.isdecimal() and have + int(length) != expected.bytes:
                # Often a login page or an error page with status 200.
                check_size_and_digest(name, have + int(length), "", expected, model, self._label)
            advance(have)
            with part.open(mode) as stream:
                for block in reply.iter_raw():
                    have += len(block)
                    if have > expected.bytes:
                        check_size_and_digest(name, have, "", expected, model, self._label)
                    stream.write(block)
                    advance(have)
                stream.flush()
                os.fsync(stream.fileno())
        if have < expected.bytes:
            raise httpx.RemoteProtocolError(f"the connection closed after {have} bytes")


def mirror_by_address(address: str, model: ModelSpec, times: WebTimes | None = None) -> WebSource:
    """The mirror at ``address``, which holds ``<model>/<file>``."""
    base = address.rstrip("/")
    return WebSource(
        "mirror", lambda file: f"{base}/{quote(model.name)}/{quote(file)}", times=times
    )


def hub(endpoint: str, token: str | None, entry: Hub, times: WebTimes | None = None) -> WebSource:
    """The repository ``entry`` of the model hub at ``endpoint``."""
    base = f"{endpoint.rstrip('/')}/{entry.repository}/resolve/{entry.revision}"
    return WebSource(
        "model hub",
        lambda file: f"{base}/{quote(entry.files[file])}",
        headers={"authorization": f"Bearer {token}"} if token else None,
        times=times,
    )


def without_secrets(address: str) -> str:
    """``address`` without a user name, password or query."""
    parts = urlsplit(address)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _may_pass(error: BaseException) -> bool:
    """Whether the same request may work a little later."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code == 429 or error.response.status_code >= 500
    return isinstance(error, httpx.TransportError) and not isinstance(
        error, httpx.UnsupportedProtocol
    )


def _describe(error: httpx.HTTPError, name: str, address: str) -> str:
    shown = without_secrets(address)
    match error:
        case httpx.HTTPStatusError():
            status = error.response.status_code
            what = {
                401: "refused access to",
                403: "refused access to",
                404: "does not hold",
            }.get(status, "could not deliver")
            return f"the server {what} {name} at {shown} (HTTP {status})"
        case httpx.ConnectError() | httpx.ConnectTimeout() | httpx.ProxyError():
            return f"no connection to {shown} ({error})"
        case httpx.TimeoutException():
            return f"no answer in time from {shown}"
        case httpx.UnsupportedProtocol():
            return f"{shown} is not a web address with http or https"
        case _:
            return f"the transfer of {name} from {shown} broke off ({error})"
