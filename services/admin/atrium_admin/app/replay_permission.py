"""Saying whether a user could do something at a time, and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from atrium_admin.app.audit_trail import AuditTrail
from atrium_admin.app.compile_policy import Verdict
from atrium_admin.app.past_policies import PastPolicies
from atrium_admin.domain.errors import UserNotFound
from atrium_admin.domain.names import id_of
from atrium_admin.domain.past_policy import PolicyVersion
from atrium_shared.principal import Principal


@dataclass(frozen=True, slots=True)
class PastVerdict:
    """A decision of the past.

    Attributes:
        verdict: Whether the user could, and the grants that spoke about it.
        version: The policy under which.
    """

    verdict: Verdict
    version: PolicyVersion


class ReplayPermission:
    """Asks Casbin under the policy of a past time."""

    def __init__(self, policies: PastPolicies, trail: AuditTrail) -> None:
        self._policies = policies
        self._trail = trail

    async def __call__(
        self,
        principal: Principal,
        user: str,
        resource: str,
        action: str,
        read_time: datetime | None,
    ) -> PastVerdict:
        """Return the decision about a user of the caller's tenant. Who was disabled could nothing.

        Raises:
            UserNotFound: There was none of this name then.
            ReadTimeAhead: The time lies ahead.
            ReadTimeBeforeHistory: The history begins later.
        """
        async with self._trail.read(principal, "admin.ReplayPermission", user):
            version = await self._policies.in_force(principal.tenant, read_time)
            rebuilt = await self._policies.rebuild(principal.tenant, version)
            verdict = await rebuilt.explain(id_of("users", user) or "", resource, action)
            if verdict is None:
                raise UserNotFound(user, field="user")
            return PastVerdict(verdict, version)
