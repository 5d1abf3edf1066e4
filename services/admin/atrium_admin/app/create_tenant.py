"""Making a tenant: its built-in roles, its administrator and their first key."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from atrium_admin.app.audit_trail import AuditTrail
from atrium_admin.app.ports import Storage, UnitOfWork
from atrium_admin.domain.api_keys import ApiKey, new_key
from atrium_admin.domain.audit import Decision, bounded
from atrium_admin.domain.errors import FieldInvalid, NotOperator, TenantExists
from atrium_admin.domain.names import display_text, is_id, tenant_name
from atrium_admin.domain.roles import ADMIN_ROLE, BUILT_IN_ROLES
from atrium_admin.domain.tenants import Tenant
from atrium_admin.domain.users import User, UserKind
from atrium_shared.clock import Clock, Ids
from atrium_shared.principal import Principal, Residency, TenantQuota

_DEFAULT_ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class FoundedTenant:
    """A new tenant.

    Attributes:
        tenant: The tenant.
        admin: Its administrator.
        api_key: The administrator's key.
        credential: The key whole, with its secret, which is kept nowhere.
    """

    tenant: Tenant
    admin: User
    api_key: ApiKey
    credential: str


@dataclass(frozen=True, slots=True)
class TenantDraft:
    """What a caller says about a tenant; see :class:`Tenant`.

    Attributes:
        id: Such as ``acme``.
        display_name: Name for people; "" takes the id.
        max_upload_bytes: Largest upload in bytes; 0 takes the installation's default.
        admin_user: Id of the administrator's user; "" takes ``admin``.
        residency: Where its texts may go.
        quotas: What it may use.
    """

    id: str
    display_name: str = ""
    max_upload_bytes: int = 0
    admin_user: str = ""
    residency: Residency = Residency.PRIVATE_ONLY
    quotas: tuple[TenantQuota, ...] = ()


def distinct_quotas(quotas: Iterable[TenantQuota]) -> tuple[TenantQuota, ...]:
    """Return quotas as they are stored: one for each unit and window.

    Raises:
        FieldInvalid: Two of them limit the same.
    """
    found: dict[tuple[str, str], TenantQuota] = {}
    for quota in quotas:
        limited = (quota.unit, quota.window)
        if limited in found:
            raise FieldInvalid(
                "tenant.quotas",
                f"one limit for each unit and window; {quota.unit} a {quota.window} has two",
            )
        found[limited] = quota
    return tuple(found[limited] for limited in sorted(found))


async def found_tenant(
    uow: UnitOfWork, draft: TenantDraft, *, operator: bool, now: datetime, ids: Ids
) -> FoundedTenant:
    """Store a tenant with everything that it needs to be administered.

    Raises:
        FieldInvalid: The administrator's id, the display name or a quota is malformed.
        TenantExists: The id is taken.
    """
    admin_id = draft.admin_user or _DEFAULT_ADMIN
    if not is_id(admin_id):
        raise FieldInvalid("admin_user_id", "letters, digits and ._-@, at most 128")
    name = display_text(draft.display_name, field="tenant.display_name", default=draft.id)
    if await uow.tenants.get(draft.id) is not None:
        raise TenantExists(tenant_name(draft.id))
    tenant = Tenant(
        draft.id,
        name,
        now,
        draft.max_upload_bytes,
        operator,
        residency=draft.residency,
        quotas=distinct_quotas(draft.quotas),
    )
    await uow.tenants.add(tenant)
    for built_in in BUILT_IN_ROLES:
        await uow.roles.add(tenant.id, built_in.role(now))
    admin = User(
        id=admin_id,
        display_name=admin_id,
        kind=UserKind.PERSON,
        email="",
        roles=(ADMIN_ROLE,),
        disabled=False,
        create_time=now,
    )
    await uow.users.add(tenant.id, admin)
    key, credential = new_key(
        ids.new("k"), tenant=tenant.id, user=admin.id, display_name="First key", create_time=now
    )
    await uow.api_keys.add(key)
    version = await uow.tenants.bump_policy(tenant.id)
    roles = [built_in.id for built_in in BUILT_IN_ROLES]
    await uow.history.keep(tenant.id, version, now, users=[admin.id], groups=(), roles=roles)
    return FoundedTenant(replace(tenant, policy_version=version), admin, key, credential)


class CreateTenant:
    """Makes a further tenant.

    Nobody can have cached anything about it, so the feed is not told.
    """

    def __init__(self, storage: Storage, trail: AuditTrail, clock: Clock, ids: Ids) -> None:
        self._storage = storage
        self._trail = trail
        self._clock = clock
        self._ids = ids

    async def __call__(self, principal: Principal, draft: TenantDraft) -> FoundedTenant:
        """Make a tenant with its administrator and return the first key.

        Raises:
            NotOperator: The caller's tenant may not.
            TenantExists: The id is taken.
            FieldInvalid: The administrator's id, the display name or a quota is malformed.
        """
        action, resource = "admin.CreateTenant", tenant_name(draft.id)
        async with (
            self._trail.attempt(principal, action, resource),
            self._storage.write() as uow,
        ):
            own = await uow.tenants.get(principal.tenant)
            if own is None or not own.operator:
                raise NotOperator(tenant_name(principal.tenant))
            founded = await found_tenant(
                uow, draft, operator=False, now=self._clock.now(), ids=self._ids
            )
            event = self._trail.event(principal, action, resource, Decision.ALLOWED)
            await uow.audit.append(principal.tenant, [bounded(event)])
        return founded
