"""Pseudonyms: what the audit log holds in place of users' names.

A pseudonym commits to a name: it is the hash of tenant, name and a random salt, and a table keeps
name and salt beside it. With the row everybody can check that the pseudonym is that user's; nobody
can turn it to another user. Without the row nothing leads from the pseudonym to the name, as the
salt is gone with it: this is how a user is erased while the chain of hashes stays whole.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from atrium_admin.domain.audit import AuditEvent
from atrium_admin.domain.names import id_of, user_name

SALT_BYTES = 32

_DIGEST_BYTES = 16
_SEALED = re.compile(r"users/~([a-z2-7]{26})")
_ERASED = re.compile(r"users/erased-([a-z2-7]{26})")


@dataclass(frozen=True, slots=True)
class Pseudonym:
    """A row that leads from a pseudonym to a user.

    Attributes:
        user: User id.
        pseudonym: 26 letters and digits.
        salt: 32 random bytes.
    """

    user: str
    pseudonym: str
    salt: bytes

    def fits(self, tenant: str) -> bool:
        """Say whether the pseudonym was made for this user."""
        return self.pseudonym == pseudonym_for(tenant, self.user, self.salt)


def pseudonym_for(tenant: str, user: str, salt: bytes) -> str:
    """Return the pseudonym of a user: 26 letters and digits, 128 bits."""
    text = json.dumps(["atrium-pseudonym-1", tenant, user], separators=(",", ":")).encode()
    digest = hashlib.sha256(salt + text).digest()[:_DIGEST_BYTES]
    return base64.b32encode(digest).decode().rstrip("=").lower()


def sealed_name(pseudonym: str) -> str:
    """Return how the log holds a pseudonym: ``users/~...``, which is no user's name."""
    return f"users/~{pseudonym}"


def pseudonym_in(name: str) -> str | None:
    """Return the pseudonym that the log holds here; None when it is something else."""
    match = _SEALED.fullmatch(name)
    return match[1] if match else None


def erased_id(pseudonym: str) -> str:
    """Return the id under which a user reads who was erased: ``erased-...``."""
    return f"erased-{pseudonym}"


def pseudonym_of_erased(name: str) -> str | None:
    """Return the pseudonym in ``users/erased-...``; None when the name is another one."""
    match = _ERASED.fullmatch(name)
    return match[1] if match else None


def user_in(name: str) -> str | None:
    """Return the id in ``users/<id>``; None when the text is something else."""
    return id_of("users", name)


def readable_name(pseudonym: str, user: str | None) -> str:
    """Return what to show for a pseudonym whose user is known, or is not any more."""
    return user_name(erased_id(pseudonym) if user is None else user)


def renamed(event: AuditEvent, name_of: Callable[[str], str]) -> AuditEvent:
    """Return the event with every name in it replaced: actor, on whose behalf, and resource."""
    return replace(
        event,
        actor=name_of(event.actor),
        on_behalf_of=name_of(event.on_behalf_of),
        resource=name_of(event.resource),
    )
