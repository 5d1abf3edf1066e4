"""Pages of the web by HTTPS, from allowed hosts in the public Internet alone.

A page's address comes from whoever calls, so nothing about it is trusted: names may resolve to
addresses inside of the network, differently each time they are asked; servers may redirect there,
never end, or send little that unpacks to much. So a name is resolved once, all addresses that it
has must be public, and the connection is made to the checked address itself: there is no second
look-up that could say something else. TLS still verifies the name.
"""

from __future__ import annotations

import asyncio
import codecs
import re
import socket
import ssl
import zlib
from collections.abc import Awaitable, Callable, Sequence
from http.cookiejar import CookieJar, DefaultCookiePolicy
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Protocol

import httpx

from atrium_documents import DocumentError, ParsedDocument, ParseLimits, ParserUnavailable
from atrium_documents import DocumentTimedOut as ParsingTimedOut
from atrium_gateway.domain.web_pages import (
    AllowedHosts,
    WebPage,
    WebPageForbidden,
    WebPageTooLarge,
    WebPageUnreachable,
    WebPageUnreadable,
    is_host_name,
)

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Returns the addresses of a host; raises OSError when it has none."""

MOST_BYTES = 2_000_000
"""Largest page, packed and unpacked."""

_MOST_REDIRECTS = 3
_MOST_ADDRESSES_TRIED = 3
_MOST_AT_A_TIME = 16
_CONNECT_SECONDS = 3.0
_SECONDS = 10.0
_PORTS = {"https": 443, "http": 80}
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SUFFIXES = {
    "text/html": ".html",
    "application/xhtml+xml": ".html",
    "text/plain": ".txt",
    "text/markdown": ".md",
    "text/x-markdown": ".md",
}
_ENCODINGS = ("gb", "big5", "shift-jis", "euc-", "iso-8859-", "windows-125", "koi8-", "utf-16")
_READ_AS = frozenset({"text/html", "text/plain", "text/markdown"})
_LIMITS = ParseLimits(
    max_bytes=2 * MOST_BYTES,  # a page in another encoding grows when it becomes UTF-8
    max_unpacked_bytes=2 * MOST_BYTES,
    max_pages=1,
    max_text_chars=MOST_BYTES,
    timeout_seconds=8,
    memory_bytes=1 << 30,
    ocr_max_pages=0,
)
_AUTHORITY = re.compile("[/?#]")
# Kept for protocols (RFC 6890); newer versions of Python say so themselves.
_PROTOCOLS = IPv4Network("192.0.0.0/24")
# Addresses that hold another: a translator in the network would take the packet to that one.
_NAT64 = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))


class FileParser(Protocol):
    """Reads files where they can do no harm; see ``atrium_documents.DocumentParser``."""

    async def parse(
        self, data: bytes, filename: str, media_type: str = "", limits: ParseLimits | None = None
    ) -> ParsedDocument:
        """Return the text of a file."""


class HttpsPages:
    """Fetches pages; see ``PageReader``.

    Args:
        hosts: The hosts that may be asked.
        parser: Reads what came.
        http: Whether addresses without TLS are fetched, too.
        resolve: Resolves names; the system does when None.
        transport: Sends requests; a connection for each when None.
    """

    def __init__(
        self,
        hosts: AllowedHosts,
        parser: FileParser,
        *,
        http: bool = False,
        resolve: Resolve | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._hosts = hosts
        self._parser = parser
        self._schemes = ("https", "http") if http else ("https",)
        self._resolve = resolve or _resolve
        self._client = httpx.AsyncClient(
            # Nothing is kept between pages: neither cookies nor connections, which are made to
            # addresses and would be taken for those of any name.
            transport=transport
            or httpx.AsyncHTTPTransport(
                verify=ssl.create_default_context(),
                limits=httpx.Limits(max_keepalive_connections=0),
                trust_env=False,
            ),
            timeout=httpx.Timeout(_SECONDS, connect=_CONNECT_SECONDS),
            follow_redirects=False,
            trust_env=False,  # a proxy would resolve names anew
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        )
        self._turns = asyncio.Semaphore(_MOST_AT_A_TIME)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def read(self, address: str) -> WebPage:
        """Return the text of a page; see ``PageReader``."""
        try:
            async with asyncio.timeout(_SECONDS), self._turns:
                data, media_type, charset = await self._fetch(address)
                return await self._parse(address, data, media_type, charset)
        except TimeoutError as error:
            raise WebPageUnreachable(address, f"it took longer than {_SECONDS:g} s") from error

    async def _fetch(self, address: str) -> tuple[bytes, str, str]:
        url = self._checked_url(address, address)
        for _ in range(_MOST_REDIRECTS + 1):
            addresses = await self._checked_addresses(address, url)
            response = await self._send(address, url, addresses)
            try:
                if response.status_code in _REDIRECTS:
                    url = self._redirected(address, url, response)
                    continue
                return await _body(address, response)
            except httpx.HTTPError as error:
                raise WebPageUnreachable(address, "the connection broke off") from error
            finally:
                await response.aclose()
        raise WebPageUnreachable(address, f"it redirects more than {_MOST_REDIRECTS} times")

    def _checked_url(self, address: str, target: str) -> httpx.URL:
        """Return where to go, if one may go there at all; names are not resolved yet."""
        if any(each <= " " or each in "\\\x7f" for each in target):
            raise WebPageForbidden(address, "it holds spaces, control characters or backslashes")
        try:
            url = httpx.URL(target)
            host = url.raw_host.decode("ascii").lower()
        except (httpx.InvalidURL, UnicodeError, ValueError) as error:
            raise WebPageForbidden(address, "it is no address of a page") from error
        where = "" if target == address else "it redirects to what is not allowed: "
        if url.scheme not in self._schemes:
            raise WebPageForbidden(address, f"{where}it does not begin with https://")
        if url.userinfo or "@" in _AUTHORITY.split(target.partition("//")[2], 1)[0]:
            raise WebPageForbidden(address, f"{where}it holds a user name")
        if not is_host_name(host):
            raise WebPageForbidden(address, f"{where}it names no host by its name")
        if url.port is not None and url.port != _PORTS[url.scheme]:
            raise WebPageForbidden(address, f"{where}it names a port of its own")
        if not self._hosts.allow(host):
            raise WebPageForbidden(address, f"{where}the operator does not allow its host")
        return url.copy_with(fragment=None)

    def _redirected(self, address: str, url: httpx.URL, response: httpx.Response) -> httpx.URL:
        location = response.headers.get("location", "")
        try:
            target = url.join(location)
        except (httpx.InvalidURL, ValueError) as error:
            raise WebPageUnreachable(address, "it redirects to nowhere") from error
        if not location:
            raise WebPageUnreachable(address, "it redirects to nowhere")
        return self._checked_url(address, str(target))

    async def _checked_addresses(self, address: str, url: httpx.URL) -> list[str]:
        """Return the addresses of a page's host; all of them must be public."""
        host = url.raw_host.decode("ascii").lower()
        try:
            found = await self._resolve(host, _PORTS[url.scheme])
        except (OSError, UnicodeError) as error:
            raise WebPageUnreachable(address, "its host has no address") from error
        if not found:
            raise WebPageUnreachable(address, "its host has no address")
        for each in found:
            if not is_public(each):
                raise WebPageForbidden(address, "its host lies inside of a network")
        return list(dict.fromkeys(found))[:_MOST_ADDRESSES_TRIED]

    async def _send(self, address: str, url: httpx.URL, addresses: Sequence[str]) -> httpx.Response:
        host = url.raw_host.decode("ascii").lower()
        why = "no connection to it can be made"
        for each in addresses:
            request = self._client.build_request(
                "GET",
                url.copy_with(host=each),
                headers={
                    "host": host,
                    "user-agent": "atrium-gateway",
                    "accept": "text/html, text/markdown, text/plain;q=0.9",
                    "accept-encoding": "gzip",
                },
                # The name that the certificate must bear.
                extensions={"sni_hostname": host},
            )
            try:
                return await self._client.send(request, stream=True)
            except httpx.ConnectError:
                continue
            except httpx.ConnectTimeout:
                why = "it does not answer"
            except httpx.HTTPError as error:
                raise WebPageUnreachable(address, "the connection broke off") from error
        raise WebPageUnreachable(address, why)

    async def _parse(self, address: str, data: bytes, media_type: str, charset: str) -> WebPage:
        try:
            document = await self._parser.parse(
                _in_utf8(data, charset), f"page{_SUFFIXES[media_type]}", media_type, _LIMITS
            )
        except ParsingTimedOut as error:
            raise WebPageUnreadable(address, "reading it takes too long") from error
        except DocumentError as error:
            raise WebPageUnreadable(address, f"it has no text ({error.reason})") from error
        except ParserUnavailable as error:
            raise WebPageUnreachable(address, "no process is there to read it") from error
        if document.media_type not in _READ_AS:
            raise WebPageUnreadable(address, f"it is {document.media_type}")
        return WebPage(address, document.title or "", document.text)


def is_public(address: str) -> bool:
    """Return whether an IP address, and any that it holds, lies in the public Internet."""
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, IPv6Address):
        if ip.scope_id is not None:
            return False
        held = _held(ip)
        if held is not None:
            return is_public(str(held))
        if ip.is_site_local:
            return False
    elif ip in _PROTOCOLS:
        return False
    return ip.is_global and not (
        ip.is_private
        or ip.is_loopback
        or ip.is_link_local
        or ip.is_multicast
        or ip.is_reserved
        or ip.is_unspecified
    )


def _held(ip: IPv6Address) -> IPv4Address | None:
    if any(ip in network for network in _NAT64) or int(ip) >> 32 == 0:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)


async def _resolve(host: str, port: int) -> list[str]:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(sockaddr[0]) for *_, sockaddr in found]


async def _body(address: str, response: httpx.Response) -> tuple[bytes, str, str]:
    """Return the unpacked bytes of a page, its media type and the encoding that it states."""
    if response.status_code != 200:
        raise WebPageUnreachable(address, f"its server says HTTP {response.status_code}")
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in _SUFFIXES:
        raise WebPageUnreadable(address, "its server does not call it HTML, text or Markdown")
    packing = response.headers.get("content-encoding", "identity").strip().lower()
    if packing not in ("identity", "gzip", ""):
        raise WebPageUnreadable(address, "it is packed in another way than gzip")
    inflate = zlib.decompressobj(wbits=31) if packing == "gzip" else None
    parts: list[bytes] = []
    size = packed = 0
    async for chunk in response.aiter_raw():
        packed += len(chunk)
        try:
            # Never more than what is still allowed, and a byte to see that there is more.
            part = inflate.decompress(chunk, MOST_BYTES - size + 1) if inflate else chunk
        except zlib.error as error:
            raise WebPageUnreadable(address, "it is not packed as it says") from error
        size += len(part)
        if size > MOST_BYTES or packed > MOST_BYTES:
            raise WebPageTooLarge(address, MOST_BYTES)
        parts.append(part)
    if inflate is not None and not inflate.eof:
        raise WebPageUnreachable(address, "the connection broke off")
    return b"".join(parts), media_type, response.charset_encoding or ""


def _in_utf8(data: bytes, charset: str) -> bytes:
    """Return a page in UTF-8 with its mark, where the server states another encoding (HTML: 13.2).

    What the server states counts more than what the page does.
    """
    name = charset.lower().replace("_", "-")
    # Python knows more encodings, of which some are no text and some take very long.
    if not name.startswith(_ENCODINGS):
        return data
    try:
        return codecs.BOM_UTF8 + data.decode(name, "replace").encode("utf-8", "replace")
    except LookupError:
        return data
