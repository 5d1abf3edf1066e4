"""Asking of a line of the audit log whether it would be decided so again."""

from __future__ import annotations

from dataclasses import dataclass

from atrium_admin.app.audit_trail import AuditTrail
from atrium_admin.app.compile_policy import Verdict
from atrium_admin.app.past_policies import PastPolicies
from atrium_admin.app.ports import MethodPermissions, Storage
from atrium_admin.domain.audit import AuditEvent, AuditLine, Decision
from atrium_admin.domain.errors import AuditEventNotFound, DecisionNotReplayable
from atrium_admin.domain.names import id_of
from atrium_admin.domain.past_policy import PolicyVersion
from atrium_shared.principal import PermissionDenied, Principal


@dataclass(frozen=True, slots=True)
class Replay:
    """What a policy says about a logged call.

    Attributes:
        allowed: Whether the call would get past the check of its permission.
        same: Whether that is what happened.
        verdict: Whether the user had the permission, and the grants that speak about it; without
            matches when there was no such user.
        may_impersonate: Whether the caller could act for the user; true without one.
        version: The policy.
    """

    allowed: bool
    same: bool
    verdict: Verdict
    may_impersonate: bool
    version: PolicyVersion


@dataclass(frozen=True, slots=True)
class ReplayedDecision:
    """A logged decision beside what is decided now.

    Attributes:
        line: The line of the log.
        permission: What the call needed, ``knowledge.answers:ask``.
        then: Under the policy of that time.
        now: Under today's.
    """

    line: AuditLine
    permission: str
    then: Replay
    now: Replay


class ReplayDecision:
    """Replays the check of a permission that a line of the log tells of.

    Args:
        storage: Where the log is kept.
        policies: Rebuilds the policies.
        permissions: Knows what each method needs.
        trail: Where the question is written down.
    """

    def __init__(
        self,
        storage: Storage,
        policies: PastPolicies,
        permissions: MethodPermissions,
        trail: AuditTrail,
    ) -> None:
        self._storage = storage
        self._policies = policies
        self._permissions = permissions
        self._trail = trail

    async def __call__(self, principal: Principal, sequence: int) -> ReplayedDecision:
        """Return the decision of a line of the caller's tenant's log, then and now.

        Raises:
            AuditEventNotFound: The log has no such line.
            DecisionNotReplayable: Roles did not decide it.
            ReadTimeBeforeHistory: The policy of that time is not kept.
        """
        tenant, resource = principal.tenant, f"auditEvents/{sequence}"
        async with self._trail.read(principal, "admin.ReplayDecision", resource):
            async with self._storage.read() as uow:
                line = await uow.audit.get(tenant, sequence)
            if line is None:
                raise AuditEventNotFound(sequence)
            event = line.event
            permission = self._permissions.of(event.action)
            problem = _why_not(event, permission)
            if permission is None or problem:
                raise DecisionNotReplayable(sequence, problem)
            if event.policy_version:
                then = await self._policies.numbered(tenant, event.policy_version, field="sequence")
            else:
                then = await self._policies.in_force(tenant, event.time)
            now = await self._policies.in_force(tenant, None)
            return ReplayedDecision(
                line,
                permission,
                await self._replay(tenant, event, permission, then),
                await self._replay(tenant, event, permission, now),
            )

    async def _replay(
        self, tenant: str, event: AuditEvent, permission: str, version: PolicyVersion
    ) -> Replay:
        rebuilt = await self._policies.rebuild(tenant, version)
        resource, _, action = permission.rpartition(":")
        subject = id_of("users", event.on_behalf_of or event.actor) or ""
        nothing = Verdict(False, ())
        verdict = await rebuilt.explain(subject, resource, action) or nothing
        may_impersonate = True
        if event.on_behalf_of:
            actor = id_of("users", event.actor) or ""
            acting = await rebuilt.explain(actor, event.on_behalf_of, "impersonate")
            may_impersonate = (acting or nothing).allowed
        allowed = verdict.allowed and may_impersonate
        was_allowed = event.decision is not Decision.DENIED
        return Replay(allowed, allowed == was_allowed, verdict, may_impersonate, version)


def _why_not(event: AuditEvent, permission: str | None) -> str:
    """Return why roles did not decide this event; "" when they did."""
    if permission is None:
        return f"{event.action!r} asks for no permission"
    if id_of("users", event.actor) is None:
        return f"it was done by {event.actor!r}, which is no user"
    if event.decision is Decision.DENIED and event.detail != PermissionDenied.reason:
        return f"it was denied for another reason, {event.detail!r}"
    return ""
