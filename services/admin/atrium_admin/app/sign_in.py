"""From a token of an identity provider to a user of the tenant that trusts it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from atrium_admin.app.audit_log import AuditLog
from atrium_admin.app.change_policy import Changes
from atrium_admin.app.create_user import add_user
from atrium_admin.app.ports import OutsideTokens, Storage, UnitOfWork
from atrium_admin.app.references import free_user_id
from atrium_admin.domain.audit import AuditEvent, Decision
from atrium_admin.domain.errors import (
    IdentityProviderDisabled,
    IssuerUnknown,
    UserNotProvisioned,
)
from atrium_admin.domain.identity_providers import IdentityProvider, UserMatch
from atrium_admin.domain.identity_tokens import (
    MAX_TOKEN_CHARACTERS,
    Assertion,
    read_assertion,
    read_times,
)
from atrium_admin.domain.names import group_name, single_line
from atrium_admin.domain.users import User, UserDraft
from atrium_shared.clock import Clock, Ids
from atrium_shared.errors import AtriumError
from atrium_shared.identity import CredentialMalformed, TokenExpired

_ACTION = "admin.SignIn"
_MOST_NAME_CHARACTERS = 200
_MOST_EMAIL_CHARACTERS = 320


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Whom a token stands for.

    Attributes:
        tenant: Tenant id.
        user: Id of the user.
        provider: Name of the identity provider.
        until: From when on the token is refused.
    """

    tenant: str
    user: str
    provider: str
    until: datetime


@dataclass(frozen=True, slots=True)
class _Difference:
    """What a token says beyond what the directory knows.

    Attributes:
        user: The user; None when there is none yet.
        latest: Whether this token was issued after all others of this user that were seen.
        join: Ids of the provider's groups that they are not in yet.
        leave: Ids of the provider's groups that they are in no longer.
    """

    user: User | None
    latest: bool
    join: frozenset[str]
    leave: frozenset[str]


class SignIn:
    """Verifies tokens and brings the directory up to what they say.

    A token moves its user between the groups of its provider's mapping, and no others. An older
    token than the newest one seen moves nobody: else a token kept from before a demotion would
    undo it.

    Args:
        storage: The directory.
        changes: Begins changes of it.
        tokens: Reads and verifies.
        log: Where refusals are written down.
        clock: Tells what is expired.
        ids: Names users whose names cannot be ids.
    """

    def __init__(
        self,
        storage: Storage,
        changes: Changes,
        tokens: OutsideTokens,
        log: AuditLog,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._storage = storage
        self._changes = changes
        self._tokens = tokens
        self._log = log
        self._clock = clock
        self._ids = ids

    async def __call__(self, token: str) -> SignedIn:
        """Return whom a token stands for.

        Raises:
            CredentialMalformed: It is too long.
            TokenInvalid: It cannot be read, or its signature does not fit.
            IssuerUnknown: No tenant trusts its issuer.
            IdentityProviderDisabled: The tenant does not for now.
            TokenAlgorithmRefused: It is signed in a way that is not accepted.
            TokenKeyUnknown: It is signed with a key that the issuer does not publish.
            IdentityProviderUnreachable: The issuer's keys cannot be had.
            TokenExpired: Its time is over.
            TokenNotYetValid: Its time has not come.
            TokenAudienceWrong: It is meant for others.
            TokenClaimInvalid: A claim is missing or has another form.
            UserNotProvisioned: The directory knows no such user.
            LastAdmin: Its groups would leave nobody who may manage users and roles.
        """
        if len(token) > MAX_TOKEN_CHARACTERS:
            raise CredentialMalformed(
                f"The token is longer than {MAX_TOKEN_CHARACTERS:,} characters."
            )
        header = self._tokens.read_header(token)
        async with self._storage.read() as uow:
            provider = await uow.identity_providers.by_issuer(header.issuer)
        if provider is None:
            raise IssuerUnknown(header.issuer)
        if provider.disabled:
            raise IdentityProviderDisabled(provider.name)
        claims = await self._tokens.verify(token, header, provider)
        # From here on the issuer vouches for what it says, so the tenant's log takes it.
        try:
            times = read_times(claims)
            if self._clock.now() >= times.until:
                raise TokenExpired(times.end)
            assertion = read_assertion(claims, provider, self._clock.now())
            user = await self._bring_up_to_date(provider, assertion)
        except AtriumError as error:
            event = self._event(provider, "", Decision.DENIED, error.reason)
            await self._log.append([(provider.tenant, event)])
            raise
        return SignedIn(provider.tenant, user, provider.name, assertion.until)

    async def _bring_up_to_date(self, provider: IdentityProvider, assertion: Assertion) -> str:
        async with self._storage.read() as uow:
            difference = await _compare(uow, provider, assertion)
        user = difference.user
        if user is None and not provider.provision_users:
            raise UserNotProvisioned(provider.name, assertion.user)
        if user is None or difference.join or difference.leave:
            return await self._change(provider, assertion)
        if difference.latest:
            async with self._storage.write() as uow:
                await uow.tenants.lock(provider.tenant)
                if (await _compare(uow, provider, assertion)).latest:
                    await uow.identity_providers.set_last_token_of(
                        provider.tenant, provider.id, user.id, assertion.issued_at
                    )
        return user.id

    async def _change(self, provider: IdentityProvider, assertion: Assertion) -> str:
        tenant = provider.tenant
        event = self._event(provider, "", Decision.ALLOWED, "")
        async with self._changes.begin_unattended(tenant, event) as change:
            uow = change.uow
            # Others may have come first.
            current = await uow.identity_providers.get(tenant, provider.id)
            if current is None or current.disabled:
                raise IdentityProviderDisabled(provider.name)
            difference = await _compare(uow, current, assertion)
            user, made = difference.user, ""
            if user is None:
                user = await self._add_user(uow, current, assertion)
                made = "makes the user"
                difference = await _compare(uow, current, assertion)
            for group in sorted(difference.join):
                await uow.groups.add_member(tenant, group, user.id)
            for group in sorted(difference.leave):
                await uow.groups.remove_member(tenant, group, user.id)
            if difference.latest:
                await uow.identity_providers.set_last_token_of(
                    tenant, current.id, user.id, assertion.issued_at
                )
            change.affects_users([user.id])
            change.event = replace(event, actor=user.name, detail=_in_words(made, difference))
        return user.id

    async def _add_user(
        self, uow: UnitOfWork, provider: IdentityProvider, assertion: Assertion
    ) -> User:
        by_name = provider.user_match is UserMatch.USER_NAME
        user_id = await free_user_id(uow, provider.tenant, assertion.user, self._ids)
        draft = UserDraft(
            display_name=single_line(assertion.display_name.strip(), _MOST_NAME_CHARACTERS),
            email=single_line(assertion.email.strip(), _MOST_EMAIL_CHARACTERS),
            user_name=assertion.user if by_name else user_id,
            external_id="" if by_name else assertion.user,
        )
        return await add_user(uow, provider.tenant, user_id, draft, now=self._clock.now())

    def _event(
        self, provider: IdentityProvider, actor: str, decision: Decision, detail: str
    ) -> AuditEvent:
        return AuditEvent(
            time=self._clock.now(),
            actor=actor,
            on_behalf_of="",
            action=_ACTION,
            resource=provider.name,
            decision=decision,
            detail=detail,
        )


async def _compare(
    uow: UnitOfWork, provider: IdentityProvider, assertion: Assertion
) -> _Difference:
    tenant = provider.tenant
    if provider.user_match is UserMatch.EXTERNAL_ID:
        user = await uow.users.by_external_id(tenant, assertion.user)
    else:
        user = await uow.users.by_user_name(tenant, assertion.user)
    nothing: frozenset[str] = frozenset()
    if user is None or user.disabled or assertion.groups is None:
        return _Difference(user, latest=False, join=nothing, leave=nothing)
    seen = await uow.identity_providers.last_token_of(tenant, provider.id, user.id)
    memberships = await uow.users.memberships(tenant, user.id)
    is_in = memberships.groups if memberships is not None else nothing
    if seen is not None and assertion.issued_at < seen:
        return _Difference(user, latest=False, join=nothing, leave=nothing)
    ours = frozenset(mapping.group for mapping in provider.group_mappings)
    should = provider.groups_of(assertion.groups)
    return _Difference(
        user,
        # The newest token comes again every few minutes.
        latest=seen is None or assertion.issued_at > seen,
        join=should - is_in,
        leave=(is_in & ours) - should,
    )


def _in_words(made: str, difference: _Difference) -> str:
    parts = [
        *([made] if made else []),
        *(f"joins {group_name(group)}" for group in sorted(difference.join)),
        *(f"leaves {group_name(group)}" for group in sorted(difference.leave)),
    ]
    return "; ".join(parts)
