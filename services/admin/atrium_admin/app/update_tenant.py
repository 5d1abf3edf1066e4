"""Changing a tenant: what the operator decides about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from atrium_admin.app.audit_trail import AuditTrail
from atrium_admin.app.change_policy import Changes
from atrium_admin.app.create_tenant import TenantDraft, distinct_quotas
from atrium_admin.domain.audit import Decision
from atrium_admin.domain.errors import NotOperator, TenantNotFound
from atrium_admin.domain.names import display_text, id_of, tenant_name
from atrium_admin.domain.tenants import Tenant
from atrium_shared.principal import Principal
from atrium_shared.update_masks import resolve_mask

_NAMED_ONLY = ("residency", "quotas")
_FIELDS = ("display_name", "max_upload_bytes", *_NAMED_ONLY)


class UpdateTenant:
    """Changes a tenant's name, limits or where its texts may go."""

    def __init__(self, changes: Changes, trail: AuditTrail) -> None:
        self._changes = changes
        self._trail = trail

    async def __call__(
        self, principal: Principal, name: str, draft: TenantDraft, mask: Sequence[str]
    ) -> Tenant:
        """Change the fields that the mask names; without one, the name and the upload limit.

        The line goes to the operator's log and to the tenant's, there with the operator's tenant
        in place of a person whom that tenant does not know.

        Args:
            principal: Of the operator.
            name: ``tenants/globex``, or ``tenants/-`` for the operator itself.
            draft: The new values.
            mask: Fields to change.

        Raises:
            NotOperator: The caller's tenant may not.
            TenantNotFound: There is none of this name.
            UpdateMaskUnknown: The mask names something else.
            FieldInvalid: The display name is malformed, or two quotas limit the same.
        """
        action = "admin.UpdateTenant"
        target = principal.tenant if name == "tenants/-" else id_of("tenants", name) or ""
        own = self._trail.event(principal, action, name, Decision.ALLOWED)
        theirs = replace(own, actor=tenant_name(principal.tenant), on_behalf_of="")
        async with (
            self._trail.attempt(principal, action, name),
            self._changes.begin_unattended(target, theirs) as change,
        ):
            operator = await change.uow.tenants.get(principal.tenant)
            if operator is None or not operator.operator:
                raise NotOperator(tenant_name(principal.tenant))
            fields = resolve_mask(mask, _FIELDS, named_only=_NAMED_ONLY)
            before = await change.uow.tenants.get(target) if target else None
            if before is None:
                raise TenantNotFound(name)
            tenant = _revised(before, draft, fields)
            detail = _difference(before, tenant)
            if target == principal.tenant:
                change.event = replace(own, detail=detail)
            else:
                change.event = replace(theirs, resource=tenant_name(target), detail=detail)
                change.elsewhere.append((principal.tenant, replace(own, detail=detail)))
            if tenant != before:
                await change.uow.tenants.replace(tenant)
                # Every cached principal of the tenant carries these values.
                change.affects_everyone()
        return tenant


def _revised(tenant: Tenant, draft: TenantDraft, fields: frozenset[str]) -> Tenant:
    if "display_name" in fields:
        text = display_text(draft.display_name, field="tenant.display_name", default=tenant.id)
        tenant = replace(tenant, display_name=text)
    if "max_upload_bytes" in fields:
        tenant = replace(tenant, max_upload_bytes=draft.max_upload_bytes)
    if "residency" in fields:
        tenant = replace(tenant, residency=draft.residency)
    if "quotas" in fields:
        tenant = replace(tenant, quotas=distinct_quotas(draft.quotas))
    return tenant


def _difference(before: Tenant, after: Tenant) -> str:
    """Return what changed where it matters to who reads the log: numbers and kinds, no names."""
    changed = []
    if after.residency != before.residency:
        changed.append(f"residency {before.residency} -> {after.residency}")
    if after.quotas != before.quotas:
        limits = [f"{each.limit} {each.unit}/{each.window}" for each in after.quotas]
        changed.append(f"quotas {', '.join(limits) or 'none'}")
    return "; ".join(changed)
