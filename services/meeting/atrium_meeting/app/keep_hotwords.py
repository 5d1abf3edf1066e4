"""Names and terms that recognition should expect in every meeting of a tenant."""

from __future__ import annotations

from collections.abc import Sequence

from atrium_meeting.app.stores import HotwordStore
from atrium_shared.audit_trail import AuditTrail
from atrium_shared.principal import Principal


class KeepHotwords:
    """The use cases: reading them and replacing them."""

    def __init__(self, hotwords: HotwordStore, audit: AuditTrail) -> None:
        self._hotwords = hotwords
        self._audit = audit

    async def get(self, principal: Principal) -> tuple[str, ...]:
        """Return the tenant's."""
        async with self._audit.call(principal, "GetHotwords", "hotwords"):
            return await self._hotwords.get(principal.tenant)

    async def update(self, principal: Principal, words: Sequence[str]) -> tuple[str, ...]:
        """Replace the tenant's; what is recognised from now on expects them."""
        async with self._audit.call(principal, "UpdateHotwords", "hotwords"):
            await self._hotwords.set(principal.tenant, words)
            return tuple(words)
