"""Saying whether a user may do something, and why."""

from __future__ import annotations

from atrium_admin.app.audit_trail import AuditTrail
from atrium_admin.app.compile_policy import CompilePolicy, Verdict
from atrium_admin.app.ports import Storage
from atrium_admin.domain.errors import UserNotFound
from atrium_admin.domain.names import id_of
from atrium_shared.principal import Principal


class ExplainPermission:
    """Asks Casbin itself, and names the grants that matched."""

    def __init__(self, storage: Storage, compile_policy: CompilePolicy, trail: AuditTrail) -> None:
        self._storage = storage
        self._compile = compile_policy
        self._trail = trail

    async def __call__(
        self, principal: Principal, user: str, resource: str, action: str
    ) -> Verdict:
        """Return the decision about a user of the caller's tenant. Who is disabled may nothing.

        Raises:
            UserNotFound: There is none of this name, or it is another tenant's.
        """
        async with self._trail.read(principal, "admin.TestPermission", user):
            user_id = id_of("users", user)
            disabled = None
            if user_id is not None:
                async with self._storage.read() as uow:
                    disabled = await uow.users.is_disabled(principal.tenant, user_id)
            if user_id is None or disabled is None:
                raise UserNotFound(user, field="user")
            verdict = await self._compile.explain(principal.tenant, user_id, resource, action)
            return Verdict(verdict.allowed and not disabled, verdict.matches)
