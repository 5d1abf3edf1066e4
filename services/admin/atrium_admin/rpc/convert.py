"""Protos to domain values and back."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from atrium.admin.v1 import admin_pb2, admin_service_pb2, identity_service_pb2
from atrium_admin.app.audit_log import Entry
from atrium_admin.app.compile_policy import Verdict
from atrium_admin.app.create_tenant import FoundedTenant, TenantDraft
from atrium_admin.app.exchange_credential import Exchanged
from atrium_admin.app.pages import PageRequest
from atrium_admin.app.policy_feed import FeedMessage
from atrium_admin.app.ports import AuditFilter, ErasedUser, Slice
from atrium_admin.app.revoke import (
    EverythingOf,
    Key,
    Membership,
    Revoked,
    RoleGrants,
    Target,
    UserRole,
)
from atrium_admin.domain.api_keys import ApiKey
from atrium_admin.domain.audit import AuditEvent, AuditLine, Decision
from atrium_admin.domain.checkpoints import AuditVerdict, Problem
from atrium_admin.domain.errors import FieldInvalid
from atrium_admin.domain.names import group_name, role_name, tenant_name, user_name
from atrium_admin.domain.roles import Role, RoleDraft
from atrium_admin.domain.tenants import Tenant
from atrium_admin.domain.users import Group, GroupDraft, User, UserDraft, UserKind
from atrium_shared.identity import (
    allow_set_to_proto,
    quotas_from_proto,
    quotas_to_proto,
    residency_from_proto,
    residency_to_proto,
)
from atrium_shared.principal import Effect, Grant

_DECISIONS = {
    admin_pb2.AuditEvent.ALLOWED: Decision.ALLOWED,
    admin_pb2.AuditEvent.DENIED: Decision.DENIED,
    admin_pb2.AuditEvent.REFUSED: Decision.REFUSED,
    admin_pb2.AuditEvent.NOT_FOUND: Decision.NOT_FOUND,
    admin_pb2.AuditEvent.FAILED: Decision.FAILED,
}
_DECISION_NUMBERS = {decision: number for number, decision in _DECISIONS.items()}
_PROBLEM_NUMBERS = {
    Problem.CHAIN_BROKEN: admin_service_pb2.VerifyAuditLogResponse.CHAIN_BROKEN,
    Problem.LINES_MISSING: admin_service_pb2.VerifyAuditLogResponse.EVENTS_MISSING,
    Problem.CHECKPOINT_MISFIT: admin_service_pb2.VerifyAuditLogResponse.CHECKPOINT_MISFIT,
    Problem.CHECKPOINT_FORGED: admin_service_pb2.VerifyAuditLogResponse.CHECKPOINT_FORGED,
    Problem.PSEUDONYM_FORGED: admin_service_pb2.VerifyAuditLogResponse.PSEUDONYM_FORGED,
}


def time_to_proto(time: datetime) -> Timestamp:
    """Return a moment as a timestamp."""
    timestamp = Timestamp()
    timestamp.FromDatetime(time)
    return timestamp


def time_from_proto(timestamp: Timestamp, *, field: str) -> datetime:
    """Return a timestamp as a moment.

    Raises:
        FieldInvalid: It is outside the years 1 to 9999, or malformed.
    """
    try:
        return timestamp.ToDatetime(UTC)
    except (ValueError, OverflowError) as error:
        raise FieldInvalid(field, "a time in the years 1 to 9999") from error


def page(
    request: admin_service_pb2.ListTenantsRequest
    | admin_service_pb2.ListUsersRequest
    | admin_service_pb2.ListGroupsRequest
    | admin_service_pb2.ListRolesRequest
    | admin_service_pb2.ListApiKeysRequest
    | admin_service_pb2.ListAuditEventsRequest,
) -> PageRequest:
    """Return which page a request wants."""
    return PageRequest(request.page_size, request.page_token)


# Tenants


def bootstrap_draft(request: admin_service_pb2.BootstrapRequest) -> TenantDraft:
    """Return the first tenant that is asked for."""
    return TenantDraft(
        id=request.tenant_id, display_name=request.display_name, admin_user=request.admin_user_id
    )


def tenant_draft(request: admin_service_pb2.CreateTenantRequest) -> TenantDraft:
    """Return the further tenant that is asked for."""
    return TenantDraft(
        id=request.tenant_id,
        display_name=request.tenant.display_name,
        max_upload_bytes=request.tenant.max_upload_bytes,
        admin_user=request.admin_user_id,
        residency=residency_from_proto(request.tenant.residency),
        quotas=quotas_from_proto(request.tenant.quotas),
    )


def tenant_changes(tenant: admin_pb2.Tenant) -> TenantDraft:
    """Return what a tenant should become."""
    return TenantDraft(
        id="",
        display_name=tenant.display_name,
        max_upload_bytes=tenant.max_upload_bytes,
        residency=residency_from_proto(tenant.residency),
        quotas=quotas_from_proto(tenant.quotas),
    )


def tenant_to_proto(tenant: Tenant) -> admin_pb2.Tenant:
    """Return a tenant."""
    return admin_pb2.Tenant(
        name=tenant_name(tenant.id),
        display_name=tenant.display_name,
        create_time=time_to_proto(tenant.create_time),
        max_upload_bytes=tenant.max_upload_bytes,
        operator=tenant.operator,
        residency=residency_to_proto(tenant.residency),
        quotas=quotas_to_proto(tenant.quotas),
    )


def bootstrap_to_proto(founded: FoundedTenant) -> admin_service_pb2.BootstrapResponse:
    """Return the first tenant, its administrator and their key."""
    return admin_service_pb2.BootstrapResponse(
        tenant=tenant_to_proto(founded.tenant),
        admin=user_to_proto(founded.admin),
        api_key=api_key_to_proto(founded.api_key),
        secret=founded.credential,
    )


def founded_to_proto(founded: FoundedTenant) -> admin_service_pb2.CreateTenantResponse:
    """Return a further tenant, its administrator and their key."""
    return admin_service_pb2.CreateTenantResponse(
        tenant=tenant_to_proto(founded.tenant),
        admin=user_to_proto(founded.admin),
        api_key=api_key_to_proto(founded.api_key),
        secret=founded.credential,
    )


# Users and groups


def user_draft(user: admin_pb2.User) -> UserDraft:
    """Return what a request says about a user."""
    service = user.kind == admin_pb2.User.SERVICE
    return UserDraft(
        display_name=user.display_name,
        kind=UserKind.SERVICE if service else UserKind.PERSON,
        email=user.email,
        roles=tuple(user.roles),
        disabled=user.disabled,
        user_name=user.user_name,
        external_id=user.external_id,
    )


def user_to_proto(user: User) -> admin_pb2.User:
    """Return a user."""
    service = user.kind is UserKind.SERVICE
    return admin_pb2.User(
        name=user.name,
        display_name=user.display_name,
        kind=admin_pb2.User.SERVICE if service else admin_pb2.User.PERSON,
        roles=map(role_name, user.roles),
        disabled=user.disabled,
        create_time=time_to_proto(user.create_time),
        email=user.email,
        user_name=user.user_name or user.id,
        external_id=user.external_id,
    )


def group_draft(group: admin_pb2.Group) -> GroupDraft:
    """Return what a request says about a group."""
    return GroupDraft(
        display_name=group.display_name,
        members=tuple(group.members),
        roles=tuple(group.roles),
        external_id=group.external_id,
    )


def group_to_proto(group: Group) -> admin_pb2.Group:
    """Return a group."""
    return admin_pb2.Group(
        name=group_name(group.id),
        display_name=group.display_name,
        members=map(user_name, group.members),
        roles=map(role_name, group.roles),
        create_time=time_to_proto(group.create_time),
        external_id=group.external_id,
    )


# Roles


def role_draft(role: admin_pb2.Role) -> RoleDraft:
    """Return what a request says about a role."""
    return RoleDraft(
        display_name=role.display_name,
        grants=tuple(map(grant_from_proto, role.grants)),
        inherits=tuple(role.inherits),
    )


def grant_from_proto(grant: admin_pb2.Grant) -> Grant:
    """Return a grant."""
    deny = grant.effect == admin_pb2.Grant.DENY
    return Grant(grant.resource, grant.action, Effect.DENY if deny else Effect.ALLOW)


def grant_to_proto(grant: Grant) -> admin_pb2.Grant:
    """Return a grant."""
    deny = grant.effect is Effect.DENY
    return admin_pb2.Grant(
        resource=grant.resource,
        action=grant.action,
        effect=admin_pb2.Grant.DENY if deny else admin_pb2.Grant.ALLOW,
    )


def role_to_proto(role: Role) -> admin_pb2.Role:
    """Return a role."""
    return admin_pb2.Role(
        name=role.name,
        display_name=role.display_name,
        grants=map(grant_to_proto, role.grants),
        inherits=map(role_name, role.inherits),
        built_in=role.built_in,
        create_time=time_to_proto(role.create_time),
    )


def verdict_to_proto(verdict: Verdict) -> admin_service_pb2.TestPermissionResponse:
    """Return whether something is permitted, and why."""
    return admin_service_pb2.TestPermissionResponse(
        allowed=verdict.allowed,
        matches=(
            admin_service_pb2.TestPermissionResponse.Match(
                role=role_name(role), grant=grant_to_proto(grant)
            )
            for role, grant in verdict.matches
        ),
    )


# Revoking


def revoke_target(request: admin_service_pb2.RevokeRequest) -> Target:
    """Return what shall be taken away."""
    match request.WhichOneof("target"):
        case "user_role":
            return UserRole(request.user_role.user, request.user_role.role)
        case "membership":
            return Membership(request.membership.user, request.membership.group)
        case "everything_of":
            return EverythingOf(request.everything_of)
        case "api_key":
            return Key(request.api_key)
        case _:
            grants = map(grant_from_proto, request.role_grants.grants)
            return RoleGrants(request.role_grants.role, tuple(grants))


def revoked_to_proto(revoked: Revoked) -> admin_service_pb2.RevokeResponse:
    """Return where it holds."""
    return admin_service_pb2.RevokeResponse(
        version=revoked.held.version,
        acknowledged=revoked.held.acknowledged,
        lapsed=revoked.held.lapsed,
        still_through=revoked.still_through,
    )


# Keys


def expire_time(request: admin_service_pb2.CreateApiKeyRequest) -> datetime | None:
    """Return when a new key shall stop working.

    Raises:
        FieldInvalid: The time is malformed.
    """
    if not request.HasField("expire_time"):
        return None
    return time_from_proto(request.expire_time, field="expire_time")


def api_key_to_proto(key: ApiKey) -> admin_pb2.ApiKey:
    """Return a key without its secret."""
    proto = admin_pb2.ApiKey(
        name=key.name,
        user=user_name(key.user),
        display_name=key.display_name,
        create_time=time_to_proto(key.create_time),
        prefix=key.prefix,
    )
    if key.expire_time is not None:
        proto.expire_time.FromDatetime(key.expire_time)
    if key.revoke_time is not None:
        proto.revoke_time.FromDatetime(key.revoke_time)
    if key.last_use_time is not None:
        proto.last_use_time.FromDatetime(key.last_use_time)
    return proto


# Audit


def audit_filter(request: admin_service_pb2.ListAuditEventsRequest) -> AuditFilter:
    """Return which lines a request wants.

    Raises:
        FieldInvalid: A time is malformed.
    """
    start = end = None
    if request.HasField("start_time"):
        start = time_from_proto(request.start_time, field="start_time")
    if request.HasField("end_time"):
        end = time_from_proto(request.end_time, field="end_time")
    return AuditFilter(start, end, request.user, request.action)


def decision_of(number: admin_pb2.AuditEvent.Decision.ValueType) -> Decision | None:
    """Return a decision; None when none is said."""
    return _DECISIONS.get(number)


def audit_line_to_proto(line: AuditLine) -> admin_pb2.AuditEvent:
    """Return a line of the audit log."""
    event = line.event
    return admin_pb2.AuditEvent(
        sequence=line.sequence,
        time=time_to_proto(event.time),
        actor=event.actor,
        on_behalf_of=event.on_behalf_of,
        action=event.action,
        resource=event.resource,
        decision=_DECISION_NUMBERS[event.decision],
        detail=event.detail,
        policy_version=event.policy_version,
        model=event.model,
        tokens=event.tokens,
        hash=line.hash,
    )


def audit_entries(
    entries: Iterable[identity_service_pb2.AppendAuditEventsRequest.Entry], now: datetime
) -> list[Entry]:
    """Return the events that a service reports; those without a time happened now.

    Raises:
        FieldInvalid: An event has no decision, or its time is malformed.
    """
    return [
        (entry.tenant, _audit_event(entry.event, now, field=f"entries[{index}].event"))
        for index, entry in enumerate(entries)
    ]


def _audit_event(event: admin_pb2.AuditEvent, now: datetime, *, field: str) -> AuditEvent:
    if decision_of(event.decision) is None:
        raise FieldInvalid(f"{field}.decision", "one of the decisions")
    if event.HasField("time"):
        now = time_from_proto(event.time, field=f"{field}.time")
    return audit_event(event, now)


def audit_event(event: admin_pb2.AuditEvent, time: datetime) -> AuditEvent:
    """Return an event that has a decision."""
    return AuditEvent(
        time=time,
        actor=event.actor,
        on_behalf_of=event.on_behalf_of,
        action=event.action,
        resource=event.resource,
        decision=_DECISIONS[event.decision],
        detail=event.detail,
        policy_version=event.policy_version,
        model=event.model,
        tokens=event.tokens,
    )


def audit_verdict_to_proto(verdict: AuditVerdict) -> admin_service_pb2.VerifyAuditLogResponse:
    """Return whether the log is whole."""
    return admin_service_pb2.VerifyAuditLogResponse(
        events=verdict.events,
        intact=not verdict.problems,
        first_broken_sequence=verdict.first_broken_sequence,
        checkpoints=verdict.checkpoints,
        problems=sorted(_PROBLEM_NUMBERS[problem] for problem in verdict.problems),
    )


# Identity


def exchanged_to_proto(
    exchanged: Exchanged,
) -> identity_service_pb2.ExchangeCredentialResponse:
    """Return a token and what stands behind it."""
    identity = exchanged.identity
    return identity_service_pb2.ExchangeCredentialResponse(
        token=exchanged.token,
        expire_time=time_to_proto(exchanged.expire_time),
        tenant=identity.tenant.id,
        actor=identity.actor,
        on_behalf_of=identity.on_behalf_of or "",
        allow_set=allow_set_to_proto(identity.allow_set),
        max_upload_bytes=identity.tenant.max_upload_bytes,
        residency=residency_to_proto(identity.tenant.residency),
        quotas=quotas_to_proto(identity.tenant.quotas),
    )


def feed_message_to_proto(message: FeedMessage) -> identity_service_pb2.WatchPoliciesResponse:
    """Return a change or a heartbeat."""
    change = message.change
    if change is None:
        return identity_service_pb2.WatchPoliciesResponse(version=message.version)
    return identity_service_pb2.WatchPoliciesResponse(
        version=message.version,
        tenant=change.tenant,
        users=map(user_name, change.users or ()),
    )


def erased_users_to_proto(
    part: Slice[ErasedUser],
) -> identity_service_pb2.ListErasedUsersResponse:
    """Return a part of the list of erased users."""
    return identity_service_pb2.ListErasedUsersResponse(
        erased_users=(
            identity_service_pb2.ErasedUser(
                sequence=erased.sequence,
                tenant=erased.tenant,
                user=user_name(erased.user),
                erase_time=time_to_proto(erased.time),
            )
            for erased in part.items
        ),
        more=part.more,
    )


def lease_to_proto(lease: timedelta) -> identity_service_pb2.AcknowledgePoliciesResponse:
    """Return for how long a replica may serve."""
    response = identity_service_pb2.AcknowledgePoliciesResponse()
    response.lease.FromTimedelta(lease)
    return response
