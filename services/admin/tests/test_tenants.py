from __future__ import annotations

from typing import Any

import grpc
import pytest
from sqlalchemy import text, update

from atrium.admin.v1 import admin_pb2, identity_service_pb2
from atrium.admin.v1 import admin_service_pb2 as pb
from atrium_admin.adapters import tables
from atrium_admin.adapters.sql_storage import SqlStorage
from atrium_admin.bootstrap import MIGRATIONS
from atrium_shared.database import Database
from atrium_shared.identity import (
    IdentityClient,
    QuotaUnreadable,
    ServiceIdentity,
    quotas_from_proto,
    residency_from_proto,
)
from atrium_shared.principal import QuotaUnit, QuotaWindow, Residency, TenantQuota
from atrium_shared.testing import TEST_SECRET, FixedClock, eventually

from .house import House, migrate_to, refused


async def test_bootstrap_makes_the_operator_tenant_with_an_administrator(
    empty_house: House,
) -> None:
    response = await empty_house.admin_as_service().Bootstrap(
        pb.BootstrapRequest(tenant_id="acme", admin_user_id="root")
    )
    assert response.tenant.name == "tenants/acme"
    assert response.tenant.display_name == "acme"
    assert response.tenant.operator
    assert response.admin.name == "users/root"
    assert list(response.admin.roles) == ["roles/admin"]
    assert response.secret.startswith(response.api_key.prefix)
    own = pb.GetTenantRequest(name="tenants/-")
    assert await empty_house.admin(response.secret).GetTenant(own) == response.tenant


async def test_bootstrap_works_once_and_the_first_tenant_learns_of_the_attempt(
    house: House,
) -> None:
    request = pb.BootstrapRequest(tenant_id="other")
    failure = await refused(house.admin_as_service().Bootstrap(request))
    assert failure.code is grpc.StatusCode.FAILED_PRECONDITION
    assert failure.reason == "ALREADY_BOOTSTRAPPED"
    assert failure.metadata == {"tenant": "tenants/acme"}
    tenants = await house.admin().ListTenants(pb.ListTenantsRequest())
    assert [tenant.name for tenant in tenants.tenants] == ["tenants/acme"]
    events = await house.admin().ListAuditEvents(
        pb.ListAuditEventsRequest(action="admin.Bootstrap")
    )
    assert [(event.actor, event.detail) for event in events.events] == [
        ("services/suite", "ALREADY_BOOTSTRAPPED"),
        ("services/suite", ""),
    ]


async def test_bootstrap_is_for_holders_of_the_installation_secret(house: House) -> None:
    failure = await refused(house.admin().Bootstrap(pb.BootstrapRequest(tenant_id="other")))
    assert (failure.code, failure.reason) == (grpc.StatusCode.PERMISSION_DENIED, "SERVICE_ONLY")


async def test_a_malformed_administrator_leaves_nothing_behind(empty_house: House) -> None:
    admin = empty_house.admin_as_service()
    failure = await refused(
        admin.Bootstrap(pb.BootstrapRequest(tenant_id="acme", admin_user_id="no spaces"))
    )
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert (failure.reason, failure.field) == ("FIELD_INVALID", "admin_user_id")
    # It still is the first time.
    await admin.Bootstrap(pb.BootstrapRequest(tenant_id="acme"))


async def test_the_operator_makes_further_tenants(house: House) -> None:
    response = await house.admin().CreateTenant(
        pb.CreateTenantRequest(
            tenant_id="globex",
            tenant=admin_pb2.Tenant(display_name="Globex", max_upload_bytes=1024, operator=True),
            admin_user_id="hank",
        )
    )
    assert not response.tenant.operator
    assert response.admin.name == "users/hank"
    users = await house.admin(response.secret).ListUsers(pb.ListUsersRequest())
    assert [user.name for user in users.users] == ["users/hank"]


async def test_a_tenant_that_is_not_the_operator_makes_none(house: House) -> None:
    key = await house.second_tenant()
    request = pb.CreateTenantRequest(tenant_id="third", tenant={"display_name": "Third"})
    failure = await refused(house.admin(key).CreateTenant(request))
    assert failure.code is grpc.StatusCode.PERMISSION_DENIED
    assert failure.reason == "NOT_OPERATOR"
    assert failure.metadata == {"tenant": "tenants/globex"}


async def test_a_tenant_id_is_taken_once(house: House) -> None:
    request = pb.CreateTenantRequest(tenant_id="acme", tenant={"display_name": "Again"})
    failure = await refused(house.admin().CreateTenant(request))
    assert failure.code is grpc.StatusCode.ALREADY_EXISTS
    assert (failure.reason, failure.field) == ("TENANT_EXISTS", "tenant_id")
    assert failure.metadata == {"tenant": "tenants/acme"}


async def test_the_operator_sees_all_tenants_and_others_themselves(house: House) -> None:
    key = await house.second_tenant()
    operator, other = house.admin(), house.admin(key)
    assert (await operator.GetTenant(pb.GetTenantRequest(name="tenants/globex"))).display_name
    everyone = await operator.ListTenants(pb.ListTenantsRequest())
    assert [tenant.name for tenant in everyone.tenants] == ["tenants/acme", "tenants/globex"]
    alone = await other.ListTenants(pb.ListTenantsRequest())
    assert [tenant.name for tenant in alone.tenants] == ["tenants/globex"]
    assert (await other.GetTenant(pb.GetTenantRequest(name="tenants/globex"))) == alone.tenants[0]


async def test_another_tenant_and_an_absent_one_read_the_same(house: House) -> None:
    other = house.admin(await house.second_tenant())
    failures = [
        await refused(other.GetTenant(pb.GetTenantRequest(name=f"tenants/{name}")))
        for name in ("acme", "absent")
    ]
    for failure, name in zip(failures, ("acme", "absent"), strict=True):
        assert failure.code is grpc.StatusCode.NOT_FOUND
        assert failure.reason == "TENANT_NOT_FOUND"
        assert failure.metadata == {"tenant": f"tenants/{name}"}
        assert failure.message == f"Tenant 'tenants/{name}' does not exist."


async def test_tenants_come_in_pages(house: House) -> None:
    for name in ("beta", "gamma"):
        request = pb.CreateTenantRequest(tenant_id=name, tenant={"display_name": name})
        await house.admin().CreateTenant(request)
    first = await house.admin().ListTenants(pb.ListTenantsRequest(page_size=2))
    second = await house.admin().ListTenants(
        pb.ListTenantsRequest(page_size=2, page_token=first.next_page_token)
    )
    names = [tenant.name for page in (first, second) for tenant in page.tenants]
    assert names == ["tenants/acme", "tenants/beta", "tenants/gamma"]
    assert not second.next_page_token


@pytest.mark.parametrize("bad", ["", "Acme", "a", "a b", "a" * 64])
async def test_a_malformed_tenant_id_is_refused(house: House, bad: str) -> None:
    request = pb.CreateTenantRequest(tenant_id=bad, tenant={"display_name": "x"})
    failure = await refused(house.admin().CreateTenant(request))
    assert (failure.reason, failure.field) == ("FIELD_INVALID", "tenant_id")


TOKENS, REQUESTS = admin_pb2.TenantQuota.TOKENS, admin_pb2.TenantQuota.REQUESTS
MINUTE, DAY = admin_pb2.TenantQuota.MINUTE, admin_pb2.TenantQuota.DAY
PER_DAY = {"unit": TOKENS, "window": DAY, "limit": 1_000_000}
PER_MINUTE = {"unit": REQUESTS, "window": MINUTE, "limit": 0}


def change(name: str, *paths: str, **fields: Any) -> pb.UpdateTenantRequest:
    return pb.UpdateTenantRequest(
        tenant=admin_pb2.Tenant(name=f"tenants/{name}", **fields), update_mask={"paths": paths}
    )


async def exchanged(house: House, key: str) -> Any:
    request = identity_service_pb2.ExchangeCredentialRequest(
        credential=key, audiences=["knowledge"]
    )
    return await house.identity().ExchangeCredential(request)


async def test_a_tenant_of_which_nobody_said_more_keeps_everything_inside(house: House) -> None:
    key = await house.second_tenant()
    for credential in (house.key, key):
        answer = await exchanged(house, credential)
        assert answer.residency == admin_pb2.Tenant.PRIVATE_ONLY
        assert not answer.quotas
    own = await house.admin().GetTenant(pb.GetTenantRequest(name="tenants/-"))
    assert own.residency == admin_pb2.Tenant.PRIVATE_ONLY


async def test_a_tenant_is_made_with_residency_and_quotas(house: House) -> None:
    response = await house.admin().CreateTenant(
        pb.CreateTenantRequest(
            tenant_id="globex",
            tenant=admin_pb2.Tenant(
                display_name="Globex", residency=admin_pb2.Tenant.HYBRID, quotas=[PER_DAY]
            ),
        )
    )
    assert response.tenant.residency == admin_pb2.Tenant.HYBRID
    assert list(response.tenant.quotas) == [admin_pb2.TenantQuota(**PER_DAY)]
    answer = await exchanged(house, response.secret)
    assert answer.residency == admin_pb2.Tenant.HYBRID
    assert answer.quotas == response.tenant.quotas


async def test_what_the_operator_changes_reaches_principals_and_delegated_tokens(
    house: House,
) -> None:
    key = await house.second_tenant()
    made = await house.admin().UpdateTenant(
        change(
            "globex",
            "residency",
            "quotas",
            residency=admin_pb2.Tenant.ANY,
            quotas=[PER_MINUTE, PER_DAY],
        )
    )
    assert made.display_name == "Globex"  # not in the mask
    own = await house.admin(key).GetTenant(pb.GetTenantRequest(name="tenants/-"))
    assert own == made
    answer = await exchanged(house, key)
    delegated = await house.identity().IssueDelegatedToken(
        identity_service_pb2.IssueDelegatedTokenRequest(
            tenant="globex", actor="users/admin", audiences=["knowledge"]
        )
    )
    for each in (answer, delegated):
        assert each.residency == admin_pb2.Tenant.ANY
        assert list(each.quotas) == [
            admin_pb2.TenantQuota(**PER_MINUTE),
            admin_pb2.TenantQuota(**PER_DAY),
        ]
    lifted = await house.admin().UpdateTenant(change("globex", "quotas"))
    assert not lifted.quotas
    assert lifted.residency == admin_pb2.Tenant.ANY


async def test_a_change_of_a_tenant_drops_its_cached_principals_everywhere(house: House) -> None:
    key = await house.second_tenant()
    here = house.app.authenticator
    before = await here.authenticate(key, None)
    own = await here.authenticate(house.key, None)
    service = ServiceIdentity("knowledge", TEST_SECRET)
    there = IdentityClient(house.server.open_service_channel("knowledge"), service)
    heard: list[tuple[str, frozenset[str]]] = []
    there.on_change(lambda tenant, users: heard.append((tenant, users)))
    await there.start()
    try:
        assert (await there.authenticate(key, None)).residency is Residency.PRIVATE_ONLY
        await house.admin().UpdateTenant(
            change(
                "globex",
                "residency",
                "quotas",
                residency=admin_pb2.Tenant.HYBRID,
                quotas=[PER_DAY],
            )
        )
        after = await here.authenticate(key, None)
        assert (before.residency, after.residency) == (Residency.PRIVATE_ONLY, Residency.HYBRID)
        await eventually(lambda: ("globex", frozenset()) in heard)
        remote = await there.authenticate(key, None)
        assert remote.residency is Residency.HYBRID
    finally:
        await there.close()
    assert remote.quotas == (TenantQuota(QuotaUnit.TOKENS, QuotaWindow.DAY, 1_000_000),)
    assert await here.authenticate(house.key, None) is own  # another tenant's stay


async def test_both_tenants_find_the_change_in_their_log(house: House) -> None:
    key = await house.second_tenant()
    await house.admin().UpdateTenant(
        change("globex", "residency", residency=admin_pb2.Tenant.HYBRID)
    )
    listed = pb.ListAuditEventsRequest(action="admin.UpdateTenant")
    lines = []
    for credential in (house.key, key):
        (line,) = (await house.admin(credential).ListAuditEvents(listed)).events
        lines.append((line.actor, line.resource, line.detail))
        verdict = await house.admin(credential).VerifyAuditLog(pb.VerifyAuditLogRequest())
        assert verdict.intact
    assert lines == [
        ("users/admin", "tenants/globex", "residency private_only -> hybrid"),
        ("tenants/acme", "tenants/globex", "residency private_only -> hybrid"),
    ]


async def test_a_tenant_cannot_loosen_its_own_residency(house: House) -> None:
    key = await house.second_tenant()
    for name in ("globex", "-", "acme", "absent"):
        request = change(name, "residency", residency=admin_pb2.Tenant.ANY)
        failure = await refused(house.admin(key).UpdateTenant(request))
        assert (failure.code, failure.reason) == (
            grpc.StatusCode.PERMISSION_DENIED,
            "NOT_OPERATOR",
        )
    assert (await exchanged(house, key)).residency == admin_pb2.Tenant.PRIVATE_ONLY
    (line, *_) = (
        await house.admin(key).ListAuditEvents(
            pb.ListAuditEventsRequest(action="admin.UpdateTenant")
        )
    ).events
    assert (line.decision, line.detail) == (admin_pb2.AuditEvent.DENIED, "NOT_OPERATOR")


@pytest.mark.parametrize(
    ("request_", "reason", "field"),
    [
        (change("absent", "residency"), "TENANT_NOT_FOUND", ""),
        (change("acme", "operator"), "UPDATE_MASK_UNKNOWN", "update_mask"),
        (
            change("acme", "quotas", quotas=[PER_DAY, {**PER_DAY, "limit": 5}]),
            "FIELD_INVALID",
            "tenant.quotas",
        ),
        (
            change("acme", "quotas", quotas=[{**PER_DAY, "limit": -1}]),
            "FIELD_INVALID",
            "tenant.quotas[0].limit",
        ),
        (change("acme", "quotas", quotas=[{"limit": 5}]), "FIELD_INVALID", "tenant.quotas[0].unit"),
        (change("acme", "residency", residency=9), "FIELD_INVALID", "tenant.residency"),
        (
            change("acme", "display_name", display_name="a\nb"),
            "FIELD_INVALID",
            "tenant.display_name",
        ),
    ],
)
async def test_a_wrong_change_of_a_tenant_changes_nothing(
    house: House, request_: pb.UpdateTenantRequest, reason: str, field: str
) -> None:
    before = await house.admin().GetTenant(pb.GetTenantRequest(name="tenants/-"))
    failure = await refused(house.admin().UpdateTenant(request_))
    assert (failure.reason, failure.field) == (reason, field)
    assert await house.admin().GetTenant(pb.GetTenantRequest(name="tenants/-")) == before


async def test_who_does_not_name_residency_and_quotas_leaves_them(house: House) -> None:
    own = change("-", "residency", "quotas", residency=admin_pb2.Tenant.ANY, quotas=[PER_DAY])
    await house.admin().UpdateTenant(own)
    for mask in ((), ("*",)):
        changed = await house.admin().UpdateTenant(change("acme", *mask, display_name="New"))
        assert (changed.display_name, changed.residency) == ("New", admin_pb2.Tenant.ANY)
        assert len(changed.quotas) == 1


async def test_a_residency_that_nobody_knows_keeps_everything_inside(house: House) -> None:
    await house.tamper(update(tables.tenants).values(residency="newer"))
    assert (await exchanged(house, house.key)).residency == admin_pb2.Tenant.PRIVATE_ONLY


def test_a_service_of_an_older_release_reads_the_strictest() -> None:
    later = identity_service_pb2.ExchangeCredentialResponse.FromString(b"\x40\x63")  # residency 99
    for said in (identity_service_pb2.ExchangeCredentialResponse(), later):
        assert residency_from_proto(said.residency) is Residency.PRIVATE_ONLY
    with pytest.raises(QuotaUnreadable) as caught:
        quotas_from_proto([admin_pb2.TenantQuota(unit=9, window=DAY, limit=5)])
    assert caught.value.reason == "QUOTA_UNREADABLE"


async def test_tenants_of_a_release_before_residency_keep_everything_inside(
    database_url: str, clock: FixedClock
) -> None:
    await migrate_to(
        "0007",
        database_url,
        text(
            "INSERT INTO tenants (id, display_name, create_time, max_upload_bytes, operator, "
            "policy_version) VALUES ('old', 'Old', '2026-01-01 00:00:00', 7, true, 3)"
        ),
    )
    database = Database(database_url, migrations=MIGRATIONS, name="admin")
    await database.start()
    try:
        async with SqlStorage(database).read() as uow:
            tenant = await uow.tenants.get("old")
    finally:
        await database.close()
    assert tenant is not None
    assert (tenant.residency, tenant.quotas) == (Residency.PRIVATE_ONLY, ())
