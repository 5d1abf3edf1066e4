"""Everything that the admin service refuses, one class a reason."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from atrium_shared.errors import Conflict, Denied, Invalid, NotFound, Unauthenticated, Unavailable


class FieldInvalid(Invalid):
    """A field holds what no rule of the proto can tell, such as control characters."""

    reason = "FIELD_INVALID"

    def __init__(self, field: str, expected: str) -> None:
        super().__init__(f"Field {field!r} must be {expected}.", field=field, expected=expected)


class TenantNotFound(NotFound):
    """No such tenant, or not one that the caller may see."""

    reason = "TENANT_NOT_FOUND"

    def __init__(self, tenant: str, *, field: str | None = None) -> None:
        super().__init__(f"Tenant {tenant!r} does not exist.", field=field, tenant=tenant)


class TenantExists(Conflict):
    """The tenant's id is taken."""

    reason = "TENANT_EXISTS"

    def __init__(self, tenant: str) -> None:
        super().__init__(
            f"Tenant {tenant!r} exists already. Choose another id.",
            field="tenant_id",
            tenant=tenant,
        )


class NotOperator(Denied):
    """Only the operator tenant may make and change tenants."""

    reason = "NOT_OPERATOR"

    def __init__(self, tenant: str) -> None:
        super().__init__(
            f"Tenant {tenant!r} is not the operator. Ask the operator of this installation to "
            "make or change the tenant.",
            tenant=tenant,
        )


class AlreadyBootstrapped(Conflict):
    """The first tenant was made before."""

    reason = "ALREADY_BOOTSTRAPPED"

    def __init__(self, tenant: str) -> None:
        super().__init__(
            f"The first tenant exists already: {tenant!r}. Use an administrator's key. If all keys "
            "are lost: `atrium admin issue-key` on the machine of `atrium up`, `python -m "
            "atrium_admin issue-key` where admin runs alone.",
            tenant=tenant,
        )


class UserNotFound(NotFound):
    """No such user in the caller's tenant."""

    reason = "USER_NOT_FOUND"

    def __init__(self, user: str, *, field: str | None = None) -> None:
        super().__init__(f"User {user!r} does not exist.", field=field, user=user)


class UserExists(Conflict):
    """The user's id is taken."""

    reason = "USER_EXISTS"

    def __init__(self, user: str) -> None:
        super().__init__(
            f"User {user!r} exists already. Update it, or choose another id.",
            field="user_id",
            user=user,
        )


class EraseSelf(Conflict):
    """Who erases would have to be written down under the name that goes."""

    reason = "ERASE_SELF"

    def __init__(self, user: str) -> None:
        super().__init__(f"{user!r} is who asks. Let another administrator erase you.", user=user)


class UserNameTaken(Conflict):
    """Another user signs in under this name."""

    reason = "USER_NAME_TAKEN"

    def __init__(self, user_name: str, user: str) -> None:
        super().__init__(
            f"User name {user_name!r} belongs to {user!r}; upper and lower case are alike. "
            "Choose another.",
            field="user.user_name",
            user_name=user_name,
            user=user,
        )


class ExternalIdTaken(Conflict):
    """Another user has this id in the outside directory."""

    reason = "EXTERNAL_ID_TAKEN"

    def __init__(self, external_id: str, user: str) -> None:
        super().__init__(
            f"External id {external_id!r} belongs to {user!r}. Choose another.",
            field="user.external_id",
            external_id=external_id,
            user=user,
        )


class GroupNotFound(NotFound):
    """No such group in the caller's tenant."""

    reason = "GROUP_NOT_FOUND"

    def __init__(self, group: str) -> None:
        super().__init__(f"Group {group!r} does not exist.", group=group)


class GroupExists(Conflict):
    """The group's id is taken."""

    reason = "GROUP_EXISTS"

    def __init__(self, group: str) -> None:
        super().__init__(
            f"Group {group!r} exists already. Update it, or choose another id.",
            field="group_id",
            group=group,
        )


class RoleNotFound(NotFound):
    """No such role in the caller's tenant."""

    reason = "ROLE_NOT_FOUND"

    def __init__(self, role: str, *, field: str | None = None) -> None:
        super().__init__(f"Role {role!r} does not exist.", field=field, role=role)


class RoleExists(Conflict):
    """The role's id is taken."""

    reason = "ROLE_EXISTS"

    def __init__(self, role: str) -> None:
        super().__init__(
            f"Role {role!r} exists already. Update it, or choose another id.",
            field="role_id",
            role=role,
        )


class RoleBuiltIn(Conflict):
    """The role comes with every tenant."""

    reason = "ROLE_BUILT_IN"

    def __init__(self, role: str) -> None:
        super().__init__(
            f"Role {role!r} comes with every tenant and cannot be changed. Make a role that "
            "inherits from it.",
            role=role,
        )


class RoleCycle(Invalid):
    """The inherited roles would form a circle."""

    reason = "ROLE_CYCLE"

    def __init__(self, circle: Sequence[str], *, field: str) -> None:
        path = " -> ".join(circle)
        super().__init__(
            f"The roles would inherit in a circle: {path}. Leave one of these steps out.",
            field=field,
            circle=path,
        )


class RoleInUse(Conflict):
    """Somebody holds the role."""

    reason = "ROLE_IN_USE"

    def __init__(self, role: str, holders: int, example: str) -> None:
        super().__init__(
            f"Role {role!r} is held or inherited by {holders}, one of them {example!r}. Take it "
            "from them first.",
            role=role,
            holders=holders,
            example=example,
        )


class LastAdmin(Conflict):
    """Nobody enabled would be left who may manage users and roles."""

    reason = "LAST_ADMIN"

    def __init__(self, tenant: str) -> None:
        super().__init__(
            "After this change no enabled user could manage users and roles. Give another user "
            "'admin.users:manage' and 'admin.roles:manage' (such as by 'roles/admin') first.",
            tenant=tenant,
        )


class ApiKeyNotFound(NotFound):
    """No such key in the caller's tenant."""

    reason = "API_KEY_NOT_FOUND"

    def __init__(self, api_key: str) -> None:
        super().__init__(f"API key {api_key!r} does not exist.", api_key=api_key)


class ApiKeyExpiryPast(Invalid):
    """A new key would be dead at birth."""

    reason = "API_KEY_EXPIRY_PAST"

    def __init__(self, expire_time: datetime, now: datetime) -> None:
        super().__init__(
            f"The key would expire at {expire_time.isoformat()}, which is not after now "
            f"({now.isoformat()}). Send a later time, or none for a key that never expires.",
            field="expire_time",
            expire_time=expire_time.isoformat(),
            now=now.isoformat(),
        )


class ApiKeyUnknown(Unauthenticated):
    """No key has this id and secret; which of the two is wrong is not told."""

    reason = "API_KEY_UNKNOWN"

    def __init__(self) -> None:
        super().__init__("The API key is unknown. Ask your administrator for a new one.")


class ApiKeyExpired(Unauthenticated):
    """The key's time is over."""

    reason = "API_KEY_EXPIRED"

    def __init__(self, api_key: str, expire_time: datetime) -> None:
        super().__init__(
            f"API key {api_key!r} expired at {expire_time.isoformat()}. Ask your administrator "
            "for a new one.",
            api_key=api_key,
            expire_time=expire_time.isoformat(),
        )


class ApiKeyRevoked(Unauthenticated):
    """The key was ended by an administrator."""

    reason = "API_KEY_REVOKED"

    def __init__(self, api_key: str) -> None:
        super().__init__(
            f"API key {api_key!r} was revoked. Ask your administrator for a new one.",
            api_key=api_key,
        )


class UserDisabled(Unauthenticated):
    """The user may do nothing for now."""

    reason = "USER_DISABLED"

    def __init__(self, user: str) -> None:
        super().__init__(f"User {user!r} is disabled. Ask your administrator.", user=user)


class ImpersonationDenied(Denied):
    """The caller may not act on this user's behalf."""

    reason = "IMPERSONATION_DENIED"

    def __init__(self, actor: str, user: str) -> None:
        super().__init__(
            f"{actor!r} may not act on behalf of {user!r}: it lacks '{user}:impersonate'. Ask "
            "your administrator for a role that grants it, such as 'roles/service'.",
            actor=actor,
            user=user,
        )


class ReadTimeAhead(Invalid):
    """What will be permitted is not known."""

    reason = "READ_TIME_AHEAD"

    def __init__(self, read_time: datetime, now: datetime) -> None:
        super().__init__(
            f"The time {read_time.isoformat()} lies ahead of now ({now.isoformat()}). Ask about a "
            "time that has been, or leave it out for now.",
            field="read_time",
            read_time=read_time.isoformat(),
            now=now.isoformat(),
        )


class ReadTimeBeforeHistory(Invalid):
    """What was permitted then was not kept, or is kept no longer."""

    reason = "READ_TIME_BEFORE_HISTORY"

    def __init__(self, wanted: str, history_start: datetime | None, *, field: str) -> None:
        start = "" if history_start is None else history_start.isoformat()
        super().__init__(
            f"The policy of {wanted} is not known: its history begins at {start or 'no time yet'}. "
            "Ask about a later time.",
            field=field,
            wanted=wanted,
            history_start=start,
        )


class AuditEventNotFound(NotFound):
    """The tenant's log has no such line."""

    reason = "AUDIT_EVENT_NOT_FOUND"

    def __init__(self, sequence: int) -> None:
        super().__init__(
            f"The audit log has no event {sequence}.", field="sequence", sequence=sequence
        )


class DecisionNotReplayable(Conflict):
    """Roles did not decide what a line of the log tells of."""

    reason = "DECISION_NOT_REPLAYABLE"

    def __init__(self, sequence: int, problem: str) -> None:
        super().__init__(
            f"Event {sequence} cannot be replayed: {problem}. Only checks of a user's permission "
            "can.",
            field="sequence",
            sequence=sequence,
            problem=problem,
        )


class CheckpointInvalid(Invalid):
    """The checkpoint was not signed by this installation, or not so."""

    reason = "CHECKPOINT_INVALID"

    def __init__(self, problem: str) -> None:
        super().__init__(
            f"The checkpoint is not valid: {problem}. Send one of this tenant's log, unchanged, as "
            "ListAuditCheckpoints gave it.",
            field="checkpoint",
            problem=problem,
        )


class IdentityProviderNotFound(NotFound):
    """No such identity provider in the caller's tenant."""

    reason = "IDENTITY_PROVIDER_NOT_FOUND"

    def __init__(self, identity_provider: str) -> None:
        super().__init__(
            f"Identity provider {identity_provider!r} does not exist.",
            identity_provider=identity_provider,
        )


class IdentityProviderExists(Conflict):
    """The identity provider's id is taken."""

    reason = "IDENTITY_PROVIDER_EXISTS"

    def __init__(self, identity_provider: str) -> None:
        super().__init__(
            f"Identity provider {identity_provider!r} exists already. Update it, or choose "
            "another id.",
            field="identity_provider_id",
            identity_provider=identity_provider,
        )


class IssuerTaken(Conflict):
    """Another identity provider has this issuer; whose is not told."""

    reason = "ISSUER_TAKEN"

    def __init__(self, issuer: str) -> None:
        super().__init__(
            f"Issuer {issuer!r} is connected already. An issuer serves one tenant, by one "
            "identity provider; ask the operator of this installation if it is yours.",
            field="identity_provider.issuer",
            issuer=issuer,
        )


class IssuerUnknown(Unauthenticated):
    """No tenant has connected the issuer of this token."""

    reason = "ISSUER_UNKNOWN"

    def __init__(self, issuer: str) -> None:
        super().__init__(
            f"The token comes from {issuer!r}, which no tenant has connected. Ask your "
            "administrator to make an identity provider for it.",
            issuer=issuer,
        )


class IdentityProviderDisabled(Unauthenticated):
    """Tokens of this identity provider are refused for now, or it was removed."""

    reason = "IDENTITY_PROVIDER_DISABLED"

    def __init__(self, identity_provider: str) -> None:
        super().__init__(
            f"Identity provider {identity_provider!r} is disabled or was removed. Ask your "
            "administrator.",
            identity_provider=identity_provider,
        )


class IdentityProviderUnreachable(Unavailable):
    """The issuer's keys cannot be had now."""

    reason = "IDENTITY_PROVIDER_UNREACHABLE"

    def __init__(self, identity_provider: str, cause: str) -> None:
        super().__init__(
            f"The keys of identity provider {identity_provider!r} cannot be had: {cause}. Try "
            "again; if it stays, see that its issuer and JWKS URI are right and can be reached.",
            identity_provider=identity_provider,
            cause=cause,
        )


class TokenAlgorithmRefused(Unauthenticated):
    """The token is signed in a way that is not accepted, or not at all."""

    reason = "TOKEN_ALGORITHM_REFUSED"

    def __init__(self, algorithm: str, allowed: Sequence[str]) -> None:
        listed = ", ".join(allowed)
        super().__init__(
            f"The token is signed with {algorithm!r}; expected one of: {listed}.",
            algorithm=algorithm,
            allowed=listed,
        )


class TokenKeyUnknown(Unauthenticated):
    """The issuer publishes no key of this id that fits the token's algorithm."""

    reason = "TOKEN_KEY_UNKNOWN"

    def __init__(self, identity_provider: str, kid: str) -> None:
        super().__init__(
            f"Identity provider {identity_provider!r} has no key {kid!r} for this token. If the "
            "issuer has just changed its keys, try again in a minute.",
            identity_provider=identity_provider,
            kid=kid,
        )


class TokenAudienceWrong(Unauthenticated):
    """The token is meant for somebody else."""

    reason = "TOKEN_AUDIENCE_WRONG"

    def __init__(self, identity_provider: str, audiences: Sequence[str]) -> None:
        listed = ", ".join(audiences)
        super().__init__(
            f"The token is meant for others; expected one of these audiences: {listed}.",
            identity_provider=identity_provider,
            audiences=listed,
        )


class TokenNotYetValid(Unauthenticated):
    """The token's time has not come."""

    reason = "TOKEN_NOT_YET_VALID"

    def __init__(self, begin: datetime) -> None:
        super().__init__(
            f"The token is not valid before {begin.isoformat()}. See that the clocks of the "
            "issuer and of this installation agree.",
            begin_time=begin.isoformat(),
        )


class TokenClaimInvalid(Unauthenticated):
    """A claim of the token is missing or has another form."""

    reason = "TOKEN_CLAIM_INVALID"

    def __init__(self, claim: str, expected: str) -> None:
        super().__init__(
            f"Claim {claim!r} of the token must be {expected}. See what the issuer puts into it.",
            claim=claim,
            expected=expected,
        )


class UserNotProvisioned(Unauthenticated):
    """The token is right, but the directory knows no such user."""

    reason = "USER_NOT_PROVISIONED"

    def __init__(self, identity_provider: str, user: str) -> None:
        super().__init__(
            f"The directory has no user for {user!r}, and identity provider "
            f"{identity_provider!r} makes none. Ask your administrator.",
            identity_provider=identity_provider,
            user=user,
        )


class WatcherTooSlow(Unavailable):
    """The watcher read more slowly than changes came, and was cut off."""

    reason = "WATCHER_TOO_SLOW"

    def __init__(self, replica: str, waiting: int) -> None:
        super().__init__(
            f"Replica {replica!r} left {waiting} changes unread and was cut off. Connect again "
            "and forget everything cached.",
            replica=replica,
            waiting=waiting,
        )


class PolicyVersionAhead(Invalid):
    """A replica claims to have applied what has not happened."""

    reason = "POLICY_VERSION_AHEAD"

    def __init__(self, replica: str, version: int, newest: int) -> None:
        super().__init__(
            f"Replica {replica!r} acknowledges version {version}, but the newest is {newest}. Open "
            "WatchPolicies again; was the database restored from a backup?",
            field="version",
            replica=replica,
            version=version,
            newest=newest,
        )


class NotHeld(Conflict):
    """What should be taken away is not there to take."""

    reason = "NOT_HELD"

    def __init__(self, holder: str, held: str, through: Sequence[str] = ()) -> None:
        hint = (
            f" They hold it through {', '.join(through)}: take it there."
            if through
            else " Nothing was changed."
        )
        super().__init__(
            f"{holder!r} does not hold {held!r} directly.{hint}",
            holder=holder,
            held=held,
            through=",".join(through),
        )


class SigningKeyLocked(Unavailable):
    """The signing key in the database was encrypted under another installation secret."""

    reason = "SIGNING_KEY_LOCKED"

    def __init__(self, kid: str) -> None:
        super().__init__(
            f"Signing key {kid!r} cannot be decrypted: ATRIUM_SECRET is not the secret that it "
            "was stored under. Set the secret that this database was made with.",
            kid=kid,
        )
