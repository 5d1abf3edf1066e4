"""OpenID Connect issuers that a tenant trusts, and what their groups give."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from urllib.parse import urlsplit

from atrium_admin.domain.errors import FieldInvalid
from atrium_admin.domain.names import is_id, require_one_line

ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
"""How tokens may be signed (RFC 7518, RFC 8037).

All of them have a public key. A shared secret (HS256) would let everyone who verifies also sign,
and ``none`` signs nothing.
"""

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_CLAIM = re.compile(r"[A-Za-z0-9_:./#-]{1,64}")
_WELL_KNOWN = "/.well-known/openid-configuration"


class UserMatch(StrEnum):
    """What of a user a token's claim is compared with."""

    USER_NAME = "user_name"
    EXTERNAL_ID = "external_id"


@dataclass(frozen=True, slots=True)
class GroupMapping:
    """What members of one of the issuer's groups get.

    Attributes:
        claim_value: The group as the token names it.
        group: Id of the group of the tenant that holds them.
        roles: Ids of roles, sorted: those of that group.
    """

    claim_value: str
    group: str
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class IdentityProvider:
    """An issuer whose tokens are credentials of one tenant.

    Attributes:
        tenant: Tenant id.
        id: Such as ``okta``.
        display_name: Name for people.
        issuer: ``iss`` of its tokens; unique over all tenants.
        audiences: Values of ``aud`` of which a token must hold one.
        jwks_uri: Where its keys are; "" asks the issuer's discovery document.
        algorithms: How tokens may be signed, some of :data:`ALGORITHMS`.
        user_claim: Claim that says which user it is.
        user_match: What that claim is compared with.
        email_claim: Claim with a new user's mail address.
        name_claim: Claim with a new user's name.
        groups_claim: Claim with the groups; "" takes none from tokens.
        group_mappings: What groups give.
        provision_users: Whether unknown users are made.
        disabled: Whether its tokens are refused for now.
        create_time: When it was made.
    """

    tenant: str
    id: str
    display_name: str
    issuer: str
    audiences: tuple[str, ...]
    jwks_uri: str
    algorithms: tuple[str, ...]
    user_claim: str
    user_match: UserMatch
    email_claim: str
    name_claim: str
    groups_claim: str
    group_mappings: tuple[GroupMapping, ...]
    provision_users: bool
    disabled: bool
    create_time: datetime

    @property
    def name(self) -> str:
        """``identityProviders/<id>``."""
        return identity_provider_name(self.id)

    @property
    def discovery_uri(self) -> str:
        """Where the issuer describes itself (OpenID Connect Discovery 1.0, section 4)."""
        return self.issuer.rstrip("/") + _WELL_KNOWN

    def groups_of(self, values: Sequence[str]) -> frozenset[str]:
        """Return the ids of the tenant's groups that these groups of a token stand for."""
        named = frozenset(values)
        return frozenset(each.group for each in self.group_mappings if each.claim_value in named)


@dataclass(frozen=True, slots=True)
class IdentityProviderDraft:
    """What a caller says about an identity provider; see :class:`IdentityProvider`.

    Attributes:
        group_mappings: (group as the token names it, names of roles ``roles/member``).
    """

    display_name: str = ""
    issuer: str = ""
    audiences: tuple[str, ...] = ()
    jwks_uri: str = ""
    algorithms: tuple[str, ...] = ()
    user_claim: str = ""
    user_match: UserMatch = UserMatch.USER_NAME
    email_claim: str = ""
    name_claim: str = ""
    groups_claim: str = ""
    group_mappings: tuple[tuple[str, tuple[str, ...]], ...] = ()
    provision_users: bool = False
    disabled: bool = False


def identity_provider_name(provider_id: str) -> str:
    """Return ``identityProviders/<id>``."""
    return f"identityProviders/{provider_id}"


def group_id_for(provider: str, claim_value: str) -> str:
    """Return the id of the group that holds whom the provider's tokens name so.

    It reads ``okta.hr`` where the value can stand in an id, and else ends in a hash of it.
    """
    readable = f"{provider}.{claim_value}"
    if is_id(readable):
        return readable
    return f"{provider}.{hashlib.sha256(claim_value.encode()).hexdigest()[:16]}"


def require_url(url: str, *, field: str, loopback_http: bool) -> str:
    """Return a URL from which keys may be taken.

    Args:
        url: The URL.
        field: Request field that holds it.
        loopback_http: Whether plain http to this very machine will do.

    Raises:
        FieldInvalid: It is no https URL, or has a query, a fragment or a user in it.
    """
    expected = "an https URL without user, query and fragment"
    try:
        parts = urlsplit(url)
        plain = loopback_http and parts.scheme == "http" and parts.hostname in _LOOPBACK
        port = parts.port
    except ValueError as error:
        raise FieldInvalid(field, expected) from error
    whole = parts.hostname and port != 0 and not (parts.query or parts.fragment or "@" in url)
    if not whole or not (plain or parts.scheme == "https") or re.search(r"\s|[?#\\]", url):
        raise FieldInvalid(field, expected)
    return require_one_line(url, field=field)


def require_claim(claim: str, *, field: str, default: str) -> str:
    """Return the name of a claim; ``default`` for none.

    Raises:
        FieldInvalid: It cannot be one.
    """
    if claim and _CLAIM.fullmatch(claim) is None:
        raise FieldInvalid(field, "the name of a claim: letters, digits and _:./#-, at most 64")
    return claim or default
