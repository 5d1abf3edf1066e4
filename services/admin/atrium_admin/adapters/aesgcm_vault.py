"""Sealing secrets with AES-256-GCM under a key derived from the installation's secret."""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_NONCE_BYTES = 12


class AesGcmVault:
    """Implements :class:`~atrium_admin.app.ports.KeyVault`.

    Args:
        secret: The installation's secret, at least 32 bytes. It serves several purposes; HKDF
            (RFC 5869) with a name of its own keeps them apart.
    """

    def __init__(self, secret: bytes) -> None:
        kdf = HKDF(SHA256(), length=32, salt=None, info=b"atrium admin vault 1")
        self._cipher = AESGCM(kdf.derive(secret))

    def seal(self, secret: bytes, purpose: str) -> bytes:
        """Encrypt; ``purpose`` is bound to it."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, secret, purpose.encode())

    def open(self, sealed: bytes, purpose: str) -> bytes | None:
        """Decrypt; None when it was sealed under another secret or purpose, or was altered."""
        nonce, encrypted = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        try:
            return self._cipher.decrypt(nonce, encrypted, purpose.encode())
        except (InvalidTag, ValueError):
            return None
