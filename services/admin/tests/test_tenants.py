from __future__ import annotations

import grpc
import pytest

from atrium.admin.v1 import admin_pb2
from atrium.admin.v1 import admin_service_pb2 as pb

from .house import House, refused


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
