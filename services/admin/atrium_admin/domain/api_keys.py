"""API keys: ``atr_<id>_<secret>``, of which only a hash is kept.

The secret is 256 random bits, so no dictionary holds it and trying them all is hopeless; a fast
hash is right here. A slow one (bcrypt, argon2) protects passwords that people choose, and would
cost every call its time for nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, replace
from datetime import datetime

from atrium_admin.domain.errors import ApiKeyExpired, ApiKeyRevoked
from atrium_admin.domain.names import api_key_name

_SCHEME = "atr_"
_SECRET_BYTES = 32
_SHOWN_SECRET_CHARACTERS = 4
_FORM = re.compile(rf"atr_([a-z0-9]{{1,64}})_([0-9a-f]{{{2 * _SECRET_BYTES}}})")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key without its secret.

    Attributes:
        id: Unique over all tenants, for a key names its tenant.
        tenant: Tenant id.
        user: Id of the user that it stands for.
        display_name: What it is for.
        secret_hash: SHA-256 of the secret part, 32 bytes.
        prefix: First characters of the whole key, to tell keys apart.
        create_time: When it was made.
        expire_time: When it stops working; None for never.
        revoke_time: When it was revoked; None if it was not.
        last_use_time: Last use, to the minute.
    """

    id: str
    tenant: str
    user: str
    display_name: str
    secret_hash: bytes
    prefix: str
    create_time: datetime
    expire_time: datetime | None = None
    revoke_time: datetime | None = None
    last_use_time: datetime | None = None

    @property
    def name(self) -> str:
        """``apiKeys/<id>``."""
        return api_key_name(self.id)

    def matches(self, secret: str) -> bool:
        """Compare with a presented secret in constant time."""
        return hmac.compare_digest(self.secret_hash, hash_secret(secret))

    def require_usable(self, now: datetime) -> None:
        """Refuse a key that was revoked or is past its time.

        Raises:
            ApiKeyRevoked: It was revoked.
            ApiKeyExpired: Its expiry is not after ``now``.
        """
        if self.revoke_time is not None:
            raise ApiKeyRevoked(self.name)
        if self.expire_time is not None and self.expire_time <= now:
            raise ApiKeyExpired(self.name, self.expire_time)

    def revoked(self, now: datetime) -> ApiKey:
        """Return the key ended at ``now``, or as it is when it was ended before."""
        return self if self.revoke_time is not None else replace(self, revoke_time=now)


def new_key(
    key_id: str,
    *,
    tenant: str,
    user: str,
    display_name: str,
    create_time: datetime,
    expire_time: datetime | None = None,
) -> tuple[ApiKey, str]:
    """Make a key. Returns it with its credential, which is kept nowhere."""
    secret = secrets.token_hex(_SECRET_BYTES)
    credential = f"{_SCHEME}{key_id}_{secret}"
    shown = len(credential) - len(secret) + _SHOWN_SECRET_CHARACTERS
    key = ApiKey(
        id=key_id,
        tenant=tenant,
        user=user,
        display_name=display_name,
        secret_hash=hash_secret(secret),
        prefix=credential[:shown],
        create_time=create_time,
        expire_time=expire_time,
    )
    return key, credential


def hash_secret(secret: str) -> bytes:
    """Return the SHA-256 of a secret, 32 bytes."""
    return hashlib.sha256(secret.encode()).digest()


def parse_credential(credential: str) -> tuple[str, str] | None:
    """Split ``atr_<id>_<secret>`` into id and secret; None when it has another form."""
    match = _FORM.fullmatch(credential)
    return None if match is None else (match[1], match[2])
