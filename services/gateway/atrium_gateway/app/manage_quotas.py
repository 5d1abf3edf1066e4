"""Lists, sets and removes quotas."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from atrium_gateway.app.budgets import LeasedBudgets
from atrium_gateway.app.page import Page, cut_page
from atrium_gateway.app.ports import QuotaStore
from atrium_gateway.domain.errors import QuotaInvalid, QuotaNotFound
from atrium_gateway.domain.quotas import (
    MOST_QUOTAS,
    Quota,
    QuotaOrigin,
    check_tenants_quota,
)
from atrium_shared.audit import AuditEvent, AuditSink, Decision
from atrium_shared.paging import decode_page_token, page_size
from atrium_shared.principal import Principal


@dataclass(frozen=True, slots=True)
class QuotaView:
    """A quota with what is used of it now.

    Attributes:
        quota: The quota.
        used: Used or reserved in the running window.
        reset_time: When the running window ends.
    """

    quota: Quota
    used: int
    reset_time: datetime


class ListQuotas:
    """Use case of ``ListQuotas``.

    Args:
        store: The tenants' own quotas.
        budgets: Know what is used.
    """

    def __init__(self, store: QuotaStore, budgets: LeasedBudgets) -> None:
        self._store = store
        self._budgets = budgets

    async def __call__(self, principal: Principal, size: int, token: str) -> Page[QuotaView]:
        """Return a page of the quotas that hold for the tenant, by name.

        Raises:
            PageTokenInvalid: The token belongs to another request.
        """
        fingerprint = f"{principal.tenant} ListQuotas"
        after = decode_page_token(token, fingerprint)
        limit = page_size(size)
        own = (await self._store.list_quotas([principal.tenant])).get(principal.tenant, ())
        quotas = {quota.name: quota for quota in map(Quota.of_operator, principal.quotas)}
        quotas |= {quota.name: quota for quota in own}
        names = sorted(name for name in quotas if name > after)[: limit + 1]
        used = await self._budgets.used(principal.tenant, [quotas[name] for name in names])
        views = [QuotaView(*each) for each in used]
        return cut_page(views, limit, lambda view: view.quota.name, fingerprint)


class UpdateQuota:
    """Use case of ``UpdateQuota``.

    Args:
        store: Keeps the tenants' quotas.
        budgets: Hold calls to them.
        audit: Records the change.
    """

    def __init__(self, store: QuotaStore, budgets: LeasedBudgets, audit: AuditSink) -> None:
        self._store = store
        self._budgets = budgets
        self._audit = audit

    async def __call__(self, principal: Principal, quota: Quota) -> QuotaView:
        """Set the tenant's quota and return it. Other processes hold to it within 5 s.

        Raises:
            QuotaInvalid: A tenant cannot set such a quota, or has too many.
        """
        quota = replace(quota, origin=QuotaOrigin.TENANT)
        check_tenants_quota(quota)
        own = (await self._store.list_quotas([principal.tenant])).get(principal.tenant, ())
        if len(own) >= MOST_QUOTAS and all(other.name != quota.name for other in own):
            raise QuotaInvalid(
                "quota.name", quota.name, f"a tenant has at most {MOST_QUOTAS} quotas; remove some"
            )
        limit = f"{quota.limit} {quota.unit.value} a {quota.window.value}"
        detail = f"{limit}, {quota.subject}" if quota.subject else limit
        # Before the change: what the log does not hold must not happen.
        await self._audit.record(
            AuditEvent.of(
                principal, "gateway.UpdateQuota", quota.name, Decision.ALLOWED, detail=detail
            )
        )
        await self._store.put_quota(principal.tenant, quota)
        self._budgets.forget(principal.tenant)
        return QuotaView(*(await self._budgets.used(principal.tenant, [quota]))[0])


class DeleteQuota:
    """Use case of ``DeleteQuota``.

    Args:
        store: Keeps the tenants' quotas.
        budgets: Hold calls to them.
        audit: Records the change.
    """

    def __init__(self, store: QuotaStore, budgets: LeasedBudgets, audit: AuditSink) -> None:
        self._store = store
        self._budgets = budgets
        self._audit = audit

    async def __call__(self, principal: Principal, name: str) -> None:
        """Remove the tenant's quota.

        Args:
            principal: Who asks.
            name: Resource name, ``"quotas/assistant-daily"``.

        Raises:
            QuotaNotFound: The tenant has set no such quota.
        """
        own = (await self._store.list_quotas([principal.tenant])).get(principal.tenant, ())
        if all(quota.name != name for quota in own):
            raise QuotaNotFound(name)
        await self._audit.record(
            AuditEvent.of(principal, "gateway.DeleteQuota", name, Decision.ALLOWED)
        )
        await self._store.delete_quota(principal.tenant, name)
        self._budgets.forget(principal.tenant)
