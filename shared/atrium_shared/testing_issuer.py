"""An OpenID Connect issuer for tests: real keys, a real port, and every way of misbehaving."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

AUDIENCE = "atrium"
"""Audience of the tokens that :meth:`TestIssuer.token` makes."""


class TestIssuer:
    """Signs tokens and publishes its keys on this machine.

    Attributes:
        url: What it calls itself, ``http://127.0.0.1:54321``.
        requests: Paths that were asked for, in order.
        documents: Path -> (status, headers, body) instead of what it would answer by itself.
        delay_seconds: How long it thinks before each answer.
    """

    __test__ = False  # no test, whatever its name begins with

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[str] = []
        self._answering: set[asyncio.Task[None]] = set()
        self.documents: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.delay_seconds = 0.0
        self._keys: dict[str, tuple[str, Any]] = {}

    def add_key(self, kid: str, algorithm: str = "ES256", *, bits: int = 2048) -> None:
        """Make a key and publish it."""
        makers = {
            "RS256": lambda: rsa.generate_private_key(65537, bits),
            "PS256": lambda: rsa.generate_private_key(65537, bits),
            "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
            "EdDSA": ed25519.Ed25519PrivateKey.generate,
        }
        self._keys[kid] = (algorithm, makers[algorithm]())

    def remove_key(self, kid: str) -> None:
        """Publish a key no longer."""
        del self._keys[kid]

    def public_pem(self, kid: str) -> bytes:
        """Return the public half of a key."""
        pem: bytes = (
            self._keys[kid][1]
            .public_key()
            .public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )
        return pem

    def token(
        self,
        now: datetime,
        *,
        kid: str = "k1",
        headers: dict[str, Any] | None = None,
        algorithm: str = "",
        **claims: Any,
    ) -> str:
        """Return a token that is good for an hour; what is None is left out.

        Args:
            now: When it is issued.
            kid: Key that signs it.
            headers: Further headers.
            algorithm: Instead of the key's own.
            **claims: Further claims, or others.
        """
        seconds = int(now.timestamp())
        said = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "lin",
            "iat": seconds,
            "exp": seconds + 3600,
            **claims,
        }
        own, key = self._keys[kid]
        return jwt.encode(
            {name: value for name, value in said.items() if value is not None},
            key,
            algorithm=algorithm or own,
            headers={
                name: value
                for name, value in {"kid": kid, **(headers or {})}.items()
                if value is not None
            },
        )

    def jwks(self) -> dict[str, Any]:
        """Return the published key set."""
        return {
            "keys": [
                {
                    **get_default_algorithms()[algorithm].to_jwk(key.public_key(), as_dict=True),
                    "kid": kid,
                    "use": "sig",
                }
                for kid, (algorithm, key) in self._keys.items()
            ]
        }

    def _document(self, path: str) -> tuple[int, dict[str, str], bytes]:
        if path in self.documents:
            return self.documents[path]
        if path == "/.well-known/openid-configuration":
            found: Any = {"issuer": self.url, "jwks_uri": f"{self.url}/jwks"}
        elif path == "/jwks":
            found = self.jwks()
        else:
            return 404, {}, b"{}"
        return 200, {}, json.dumps(found).encode()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            path = (await reader.readline()).decode().split(" ")[1]
            while await reader.readline() != b"\r\n":
                pass
            self.requests.append(path)
            await asyncio.sleep(self.delay_seconds)
            status, headers, body = self._document(path)
            lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", "Connection: close"]
            lines += [f"{name}: {value}" for name, value in headers.items()]
            writer.write("\r\n".join([*lines, "", ""]).encode() + body)
            await writer.drain()
        except ConnectionError:
            pass  # who asked has heard enough
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answering = asyncio.create_task(self._answer(reader, writer))
        self._answering.add(answering)
        answering.add_done_callback(self._answering.discard)

    async def _close(self) -> None:
        """End what is still being answered."""
        answering = list(self._answering)
        for one in answering:
            one.cancel()
        await asyncio.gather(*answering, return_exceptions=True)


@asynccontextmanager
async def running_issuer() -> AsyncIterator[TestIssuer]:
    """Give an issuer with one key, ``k1``, on a free port while the block runs."""
    issuer = TestIssuer()
    issuer.add_key("k1")
    server = await asyncio.start_server(issuer._accept, "127.0.0.1", 0)
    issuer.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield issuer
    finally:
        server.close()
        await issuer._close()
        await server.wait_closed()
