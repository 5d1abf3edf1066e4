"""Outside credentials in, internal tokens out (in the manner of RFC 8693)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from atrium_admin.app.authenticate import Authenticate, Identity
from atrium_admin.app.signing import Signing
from atrium_shared.principal import Principal


@dataclass(frozen=True, slots=True)
class Exchanged:
    """A token and what stands behind it.

    Attributes:
        identity: Who calls and what they may do.
        token: Internal token; a secret.
        expire_time: When the token expires.
    """

    identity: Identity
    token: str
    expire_time: datetime

    @property
    def principal(self) -> Principal:
        """The same for use cases."""
        return Principal(
            tenant=self.identity.tenant.id,
            actor=self.identity.actor,
            on_behalf_of=self.identity.on_behalf_of,
            allow_set=self.identity.allow_set,
            credential=self.identity.credential,
            max_upload_bytes=self.identity.tenant.max_upload_bytes,
            token=self.token,
            residency=self.identity.tenant.residency,
            quotas=self.identity.tenant.quotas,
        )


class ExchangeCredential:
    """Authenticates, and signs what was found.

    Args:
        authenticate: Knows who holds a credential.
        signing: Signs tokens.
    """

    def __init__(self, authenticate: Authenticate, signing: Signing) -> None:
        self._authenticate = authenticate
        self._signing = signing

    async def __call__(
        self,
        credential: str,
        on_behalf_of: str | None,
        *,
        accepted_by: Sequence[str],
        audiences: Sequence[str],
    ) -> Exchanged:
        """Return a token for a credential. It never outlives the credential.

        Args:
            credential: An API key, an internal token or a token of an identity provider.
            on_behalf_of: The end user named beside it, or None.
            accepted_by: Services that were called with the credential.
            audiences: Services that the new token is for.

        Raises:
            Unauthenticated: See :class:`Authenticate`.
            Denied: The actor may not act for that user.
            NotFound: There is no such user.
        """
        identity = await self._authenticate(credential, on_behalf_of, accepted_by)
        return self._sign(identity, audiences)

    async def delegated(
        self, tenant: str, actor: str, on_behalf_of: str | None, *, audiences: Sequence[str]
    ) -> Exchanged:
        """Return a token for work that goes on after its request ended.

        Raises:
            NotFound: The tenant or a user is not there (any more).
            Denied: One of the two is disabled, or the actor may not act for that user.
        """
        identity = await self._authenticate.delegated(tenant, actor, on_behalf_of)
        return self._sign(identity, audiences)

    def _sign(self, identity: Identity, audiences: Sequence[str]) -> Exchanged:
        token, expire_time = self._signing.sign(
            tenant=identity.tenant.id,
            actor=identity.actor,
            on_behalf_of=identity.on_behalf_of,
            allow_set=identity.allow_set,
            credential=identity.credential,
            audiences=audiences,
            until=identity.until,
        )
        return Exchanged(identity, token, expire_time)
