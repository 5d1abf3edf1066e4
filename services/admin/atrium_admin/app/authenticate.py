"""Who holds this credential, for whom do they call, and what may they do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NoReturn

from atrium_admin.app.audit_log import AuditLog
from atrium_admin.app.compile_policy import CompilePolicy
from atrium_admin.app.key_uses import KeyUses
from atrium_admin.app.ports import Storage, UnitOfWork
from atrium_admin.app.sign_in import SignIn
from atrium_admin.app.signing import Signing
from atrium_admin.domain.api_keys import ApiKey, parse_credential
from atrium_admin.domain.audit import AuditEvent, Decision
from atrium_admin.domain.errors import (
    ApiKeyUnknown,
    IdentityProviderDisabled,
    ImpersonationDenied,
    TenantNotFound,
    UserDisabled,
    UserNotFound,
)
from atrium_admin.domain.names import id_of, user_name
from atrium_admin.domain.tenants import Tenant
from atrium_shared.clock import Clock
from atrium_shared.errors import AtriumError
from atrium_shared.identity import (
    API_KEY_PREFIX,
    CredentialMalformed,
    TokenInvalid,
    is_internal_token,
    is_outside_token,
)
from atrium_shared.principal import AllowSet

DELEGATED = "delegated"
"""Stands for a key in tokens of work that goes on by itself."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who calls.

    Attributes:
        tenant: The tenant.
        actor: Name of the user who holds the credential.
        on_behalf_of: Name of the user for whom they call, or None.
        allow_set: What that user (without one, the actor) may do.
        credential: Name of the key (``apiKeys/k1``) or of the identity provider
            (``identityProviders/okta``), or :data:`DELEGATED`.
        until: When the credential itself ends; None when it does not by itself.
    """

    tenant: Tenant
    actor: str
    on_behalf_of: str | None
    allow_set: AllowSet
    credential: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Claim:
    """What a credential proves. Users are given by id."""

    tenant: str
    actor: str
    on_behalf_of: str | None
    credential: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the directory says about a claim. None stands for "there is none"."""

    tenant: Tenant | None
    actor_disabled: bool | None
    on_behalf_of_disabled: bool | None


class Authenticate:
    """Checks API keys, internal tokens and tokens of identity providers against the directory.

    Args:
        storage: The directory.
        compile_policy: Compiles what users may do.
        signing: Verifies internal tokens.
        sign_in: Knows tokens of identity providers.
        uses: Notes when keys are used.
        log: Where refusals are written down.
        clock: Tells what is expired.
    """

    def __init__(
        self,
        storage: Storage,
        compile_policy: CompilePolicy,
        signing: Signing,
        sign_in: SignIn,
        uses: KeyUses,
        log: AuditLog,
        clock: Clock,
    ) -> None:
        self._storage = storage
        self._compile = compile_policy
        self._signing = signing
        self._sign_in = sign_in
        self._uses = uses
        self._log = log
        self._clock = clock

    async def __call__(
        self, credential: str, on_behalf_of: str | None, audiences: Sequence[str]
    ) -> Identity:
        """Return who calls.

        Args:
            credential: An API key, an internal token or a token of an identity provider.
            on_behalf_of: The end user named beside it, ``users/lin`` or ``lin``, or None.
            audiences: Names of the services that were called with it; a token must be meant for
                one of them.

        Raises:
            CredentialMalformed: It is none of these, or the user's name is none.
            ApiKeyUnknown: No key has this id and secret.
            ApiKeyExpired: Its time is over.
            ApiKeyRevoked: It was revoked.
            TokenExpired: The token's time is over.
            TokenInvalid: The token is forged, broken or meant for others.
            UserDisabled: The actor, or the user for whom they call, is disabled.
            ImpersonationDenied: The actor may not act for that user.
            UserNotFound: There is no such user.
            AtriumError: A token of an identity provider is refused; see :class:`SignIn`.
        """
        user = _user_id(on_behalf_of)
        if credential.startswith(API_KEY_PREFIX):
            return await self._by_key(credential, user)
        if is_internal_token(credential):
            return await self._by_token(credential, user, audiences)
        if is_outside_token(credential):
            return await self._by_outside_token(credential, user)
        raise CredentialMalformed("The credential is neither an API key nor a token.")

    async def delegated(self, tenant: str, actor: str, on_behalf_of: str | None) -> Identity:
        """Return who works on after their request ended; everything is looked up anew.

        Args:
            tenant: Tenant id.
            actor: Who asked for the work, ``users/portal``.
            on_behalf_of: For whom, ``users/lin`` or ``lin``, or None.

        Raises:
            TenantNotFound: There is no such tenant.
            UserNotFound: There is no such user (any more).
            UserDisabled: One of the two is disabled.
            ImpersonationDenied: The actor may not act for that user (any more).
        """
        actor_id = id_of("users", actor)
        if actor_id is None:
            raise UserNotFound(actor, field="actor")
        claim = _Claim(tenant, actor_id, _user_id(on_behalf_of), DELEGATED)
        async with self._storage.read() as uow:
            facts = await _look_up(uow, claim)
        return await self._identify(claim, facts)

    async def _by_key(self, credential: str, user: str | None) -> Identity:
        parts = parse_credential(credential)
        if parts is None:
            raise CredentialMalformed("The API key is not whole; it reads atr_<id>_<secret>.")
        key_id, secret = parts
        async with self._storage.read() as uow:
            key = await uow.api_keys.get(key_id)
            if key is None or not key.matches(secret):
                raise ApiKeyUnknown
            claim = _Claim(key.tenant, key.user, user, key.name, key.expire_time)
            facts = await _look_up(uow, claim)
        await self._require_usable(key, claim)
        self._uses.note(key)
        return await self._identify(claim, facts)

    async def _by_token(self, token: str, user: str | None, audiences: Sequence[str]) -> Identity:
        claims = self._signing.verify(token, audiences)
        actor = id_of("users", claims.actor)
        if actor is None:
            raise TokenInvalid("it names no user")
        claim = _Claim(
            claims.tenant,
            actor,
            _user_id(claims.on_behalf_of),
            claims.credential,
            claims.expire_time,
        )
        key = None
        async with self._storage.read() as uow:
            if claim.credential.startswith("identityProviders/"):
                await _require_connected(uow, claim)
            elif claim.credential != DELEGATED:
                key = await uow.api_keys.get(id_of("apiKeys", claim.credential) or "")
                if key is None:
                    raise ApiKeyUnknown
            facts = await _look_up(uow, claim)
        if key is not None:
            await self._require_usable(key, claim)
        if user is not None and user != claim.on_behalf_of:
            # A token speaks for whom it was made; it cannot be turned to somebody else.
            await self._refuse(claim, ImpersonationDenied(claims.actor, user_name(user)))
        return await self._identify(claim, facts)

    async def _by_outside_token(self, token: str, user: str | None) -> Identity:
        signed_in = await self._sign_in(token)
        claim = _Claim(signed_in.tenant, signed_in.user, user, signed_in.provider, signed_in.until)
        async with self._storage.read() as uow:
            facts = await _look_up(uow, claim)
        return await self._identify(claim, facts)

    async def _identify(self, claim: _Claim, facts: _Facts) -> Identity:
        tenant = facts.tenant
        if tenant is None:
            raise TenantNotFound(claim.tenant, field="tenant")
        actor = user_name(claim.actor)
        await self._require_enabled(claim, claim.actor, facts.actor_disabled)
        allow_set = await self._compile(tenant.id, claim.actor, tenant.policy_version)
        obo = None
        if claim.on_behalf_of is not None:
            obo = user_name(claim.on_behalf_of)
            if not allow_set.permits(obo, "impersonate"):
                await self._refuse(claim, ImpersonationDenied(actor, obo))
            # After the permission: only who may act for them learns whether they exist.
            await self._require_enabled(claim, claim.on_behalf_of, facts.on_behalf_of_disabled)
            allow_set = await self._compile(tenant.id, claim.on_behalf_of, tenant.policy_version)
        return Identity(tenant, actor, obo, allow_set, claim.credential, claim.until)

    async def _require_usable(self, key: ApiKey, claim: _Claim) -> None:
        try:
            key.require_usable(self._clock.now())
        except AtriumError as error:
            await self._refuse(claim, error)

    async def _require_enabled(self, claim: _Claim, user: str, disabled: bool | None) -> None:
        if disabled is None:
            await self._refuse(claim, UserNotFound(user_name(user)))
        if disabled:
            await self._refuse(claim, UserDisabled(user_name(user)))

    async def _refuse(self, claim: _Claim, error: AtriumError) -> NoReturn:
        """Write a refusal down and raise it. The credential was right, so the tenant is known."""
        event = AuditEvent(
            time=self._clock.now(),
            actor=user_name(claim.actor),
            on_behalf_of="" if claim.on_behalf_of is None else user_name(claim.on_behalf_of),
            action="admin.Authenticate",
            resource=claim.credential,
            decision=Decision.DENIED,
            detail=error.reason,
        )
        await self._log.append([(claim.tenant, event)])
        raise error


async def _require_connected(uow: UnitOfWork, claim: _Claim) -> None:
    """Refuse an internal token behind which stood a token of an identity provider that went.

    Raises:
        IdentityProviderDisabled: It was disabled or removed meanwhile.
    """
    provider_id = id_of("identityProviders", claim.credential) or ""
    provider = await uow.identity_providers.get(claim.tenant, provider_id)
    if provider is None or provider.disabled:
        raise IdentityProviderDisabled(claim.credential)


async def _look_up(uow: UnitOfWork, claim: _Claim) -> _Facts:
    tenant = await uow.tenants.get(claim.tenant)
    actor_disabled = await uow.users.is_disabled(claim.tenant, claim.actor)
    obo_disabled = None
    if claim.on_behalf_of is not None:
        obo_disabled = await uow.users.is_disabled(claim.tenant, claim.on_behalf_of)
    return _Facts(tenant, actor_disabled, obo_disabled)


def _user_id(name: str | None) -> str | None:
    """Return the id in ``users/lin`` or ``lin``; None for none.

    Raises:
        CredentialMalformed: It is neither.
    """
    if not name:
        return None
    user = id_of("users", name if name.startswith("users/") else user_name(name))
    if user is None:
        raise CredentialMalformed("The user for whom the call is made has no well-formed name.")
    return user
