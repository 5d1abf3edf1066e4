"""What a token of an identity provider says, and whether it says it here and now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from atrium_admin.domain.errors import TokenAudienceWrong, TokenClaimInvalid, TokenNotYetValid
from atrium_admin.domain.identity_providers import IdentityProvider
from atrium_admin.domain.names import single_line

CLOCK_SKEW = timedelta(seconds=60)
"""How far the issuer's clock and ours may be apart (RFC 7519, section 4.1.4)."""

MAX_TOKEN_CHARACTERS = 16_384
"""Longest token; the same as of every credential."""

_MOST_USER_CHARACTERS = 256
_MOST_GROUPS = 2_000


@dataclass(frozen=True, slots=True)
class Header:
    """What a token says of itself before anything is verified.

    Attributes:
        issuer: Claim ``iss``.
        algorithm: Header ``alg``.
        kid: Header ``kid``; "" when there is none.
    """

    issuer: str
    algorithm: str
    kid: str


@dataclass(frozen=True, slots=True)
class Assertion:
    """What a verified token says.

    Attributes:
        user: Value of the provider's user claim.
        email: Mail address or "".
        display_name: Name for people or "".
        groups: The issuer's groups; None when the provider takes none from tokens.
        issued_at: When it was issued.
        until: From when on it is refused.
    """

    user: str
    email: str
    display_name: str
    groups: tuple[str, ...] | None
    issued_at: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Times:
    """When a token is good.

    Attributes:
        begin: When it was issued, or from when on it is meant to be used.
        end: Claim ``exp``.
    """

    begin: datetime
    end: datetime

    @property
    def until(self) -> datetime:
        """From when on it is refused."""
        return self.end + CLOCK_SKEW


def read_times(claims: Mapping[str, object]) -> Times:
    """Return when a token is good.

    Raises:
        TokenClaimInvalid: ``iat`` or ``exp`` is missing, or one of the times is no number.
    """
    begin = _moment(claims, "iat")
    if "nbf" in claims:
        begin = max(begin, _moment(claims, "nbf"))
    return Times(begin, _moment(claims, "exp"))


def read_assertion(
    claims: Mapping[str, object], provider: IdentityProvider, now: datetime
) -> Assertion:
    """Return what the claims of a token say. That it did not expire is seen to elsewhere.

    The signature was verified before: what is wrong here is told to who holds a real token.

    Raises:
        TokenAudienceWrong: It is meant for others.
        TokenNotYetValid: Its time has not come.
        TokenClaimInvalid: A claim is missing or has another form.
    """
    _require_audience(claims.get("aud"), provider)
    times = read_times(claims)
    if times.begin > now + CLOCK_SKEW:
        raise TokenNotYetValid(times.begin)
    if provider.user_claim == "email" and claims.get("email_verified") is not True:
        raise TokenClaimInvalid("email_verified", "true, as the address says who the user is")
    return Assertion(
        user=_user(claims, provider.user_claim),
        email=_text(claims.get(provider.email_claim)),
        display_name=_text(claims.get(provider.name_claim)),
        groups=_groups(claims, provider.groups_claim) if provider.groups_claim else None,
        issued_at=_moment(claims, "iat"),
        until=times.until,
    )


def _require_audience(audience: object, provider: IdentityProvider) -> None:
    named = audience if isinstance(audience, list) else [audience]
    if not any(each in provider.audiences for each in named if isinstance(each, str)):
        raise TokenAudienceWrong(provider.name, provider.audiences)


def _moment(claims: Mapping[str, object], claim: str) -> datetime:
    seconds = claims.get(claim)
    try:
        if isinstance(seconds, bool) or not isinstance(seconds, int | float):
            raise TokenClaimInvalid(claim, "a number of seconds since 1970")
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise TokenClaimInvalid(claim, "a number of seconds since 1970") from error


def _user(claims: Mapping[str, object], claim: str) -> str:
    value = claims.get(claim)
    # What surrounds a name or steers terminals would make two users look like one.
    if (
        not isinstance(value, str)
        or not value
        or value != single_line(value.strip(), _MOST_USER_CHARACTERS)
    ):
        raise TokenClaimInvalid(claim, f"one line of 1 to {_MOST_USER_CHARACTERS} characters")
    return value


def _text(value: object) -> str:
    # Names are for people; a token without one is as good.
    return value if isinstance(value, str) else ""


def _groups(claims: Mapping[str, object], claim: str) -> tuple[str, ...]:
    # A token that leaves its groups out must not read as "in no group" nor as "as before".
    value = claims.get(claim)
    expected = f"a list of at most {_MOST_GROUPS} names of groups, empty for none"
    if not isinstance(value, list) or len(value) > _MOST_GROUPS:
        raise TokenClaimInvalid(claim, expected)
    if not all(isinstance(each, str) for each in value):
        raise TokenClaimInvalid(claim, expected)
    return tuple(value)
