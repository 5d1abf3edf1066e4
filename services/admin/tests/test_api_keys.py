from __future__ import annotations

from datetime import timedelta
from unittest.mock import AsyncMock

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import select

from atrium.admin.v1 import admin_pb2, admin_service_pb2_grpc
from atrium.admin.v1 import admin_service_pb2 as pb
from atrium_admin.adapters.sql_api_keys import SqlApiKeys
from atrium_admin.adapters.tables import metadata
from atrium_shared.database import DatabaseUnavailable

from .house import House, refused

OWN = pb.GetTenantRequest(name="tenants/-")


async def make_user(house: House, user_id: str, *roles: str) -> None:
    await house.admin().CreateUser(
        pb.CreateUserRequest(user_id=user_id, user=admin_pb2.User(roles=roles))
    )


def at(house: House, **delta: float) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(house.clock.now() + timedelta(**delta))
    return timestamp


async def test_a_key_stands_for_its_user_and_shows_its_secret_once(house: House) -> None:
    await make_user(house, "root", "roles/admin")
    made = await house.admin().CreateApiKey(
        pb.CreateApiKeyRequest(user="users/root", display_name="Laptop")
    )
    assert made.api_key.user == "users/root"
    assert made.secret.startswith(made.api_key.prefix)
    assert made.secret.startswith(f"atr_{made.api_key.name.removeprefix('apiKeys/')}_")
    keys = (await house.admin(made.secret).ListApiKeys(pb.ListApiKeysRequest())).api_keys
    secret = made.secret.rpartition("_")[2]
    assert all(secret not in str(key) for key in keys)


async def test_no_secret_is_in_the_database(house: House) -> None:
    dump = [row for table in metadata.sorted_tables for row in await house.tamper(select(table))]
    _, key_id, secret = house.key.split("_")
    assert key_id in str(dump)
    assert secret not in str(dump)


async def test_an_unknown_key_and_a_wrong_secret_read_the_same(house: House) -> None:
    scheme, key_id, secret = house.key.split("_")
    wrong_secret = f"{scheme}_{key_id}_{secret[:-1]}{'0' if secret[-1] != '0' else '1'}"
    wrong_id = f"{scheme}_x{key_id}_{secret}"
    for credential in (wrong_secret, wrong_id):
        failure = await refused(house.admin(credential).GetTenant(OWN))
        assert failure.code is grpc.StatusCode.UNAUTHENTICATED
        assert failure.reason == "API_KEY_UNKNOWN"
        assert failure.metadata == {}
        assert failure.message == "The API key is unknown. Ask your administrator for a new one."


@pytest.mark.parametrize("credential", ["atr_k1", "nonsense", "a.b.c", "atr_k1_" + "z" * 64])
async def test_what_is_no_credential_is_told_so(house: House, credential: str) -> None:
    failure = await refused(house.admin(credential).GetTenant(OWN))
    assert failure.code is grpc.StatusCode.UNAUTHENTICATED
    assert failure.reason == "CREDENTIAL_MALFORMED"


async def test_a_call_without_a_credential_is_told_so(house: House) -> None:
    channel = house.server.open_channel()
    failure = await refused(admin_service_pb2_grpc.AdminServiceStub(channel).GetTenant(OWN))
    assert (failure.code, failure.reason) == (
        grpc.StatusCode.UNAUTHENTICATED,
        "CREDENTIAL_MISSING",
    )


async def test_a_key_works_until_its_expiry_and_no_longer(house: House) -> None:
    await make_user(house, "root", "roles/admin")
    expiry = at(house, hours=1)
    key = await house.key_of("root", expire_time=expiry)
    await house.admin(key).GetTenant(OWN)
    house.clock.advance(3599)
    await house.admin(key).GetTenant(OWN)
    house.clock.advance(1)
    failure = await refused(house.admin(key).GetTenant(OWN))
    assert failure.code is grpc.StatusCode.UNAUTHENTICATED
    assert failure.reason == "API_KEY_EXPIRED"
    name = f"apiKeys/{key.split('_')[1]}"
    assert failure.metadata == {
        "api_key": name,
        "expire_time": house.clock.now().isoformat(),
    }


async def test_an_expired_key_in_use_is_written_down(house: House) -> None:
    await make_user(house, "root", "roles/admin")
    key = await house.key_of("root", expire_time=at(house, seconds=1))
    house.clock.advance(2)
    await refused(house.admin(key).GetTenant(OWN))
    events = await house.admin().ListAuditEvents(
        pb.ListAuditEventsRequest(action="admin.Authenticate")
    )
    (event,) = events.events
    assert event.actor == "users/root"
    assert event.resource == f"apiKeys/{key.split('_')[1]}"
    assert (event.decision, event.detail) == (admin_pb2.AuditEvent.DENIED, "API_KEY_EXPIRED")


@pytest.mark.parametrize("seconds", [0, -1, -1e9])
async def test_an_expiry_must_lie_ahead(house: House, seconds: float) -> None:
    request = pb.CreateApiKeyRequest(user="users/admin", expire_time=at(house, seconds=seconds))
    failure = await refused(house.admin().CreateApiKey(request))
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert (failure.reason, failure.field) == ("API_KEY_EXPIRY_PAST", "expire_time")
    assert failure.metadata["now"] == house.clock.now().isoformat()
    assert len((await house.admin().ListApiKeys(pb.ListApiKeysRequest())).api_keys) == 1


async def test_an_expiry_that_is_no_time_is_refused(house: House) -> None:
    request = pb.CreateApiKeyRequest(
        user="users/admin", expire_time=Timestamp(seconds=10**15, nanos=-5)
    )
    failure = await refused(house.admin().CreateApiKey(request))
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert (failure.reason, failure.field) == ("FIELD_INVALID", "expire_time")


async def test_a_revoked_key_is_refused_by_the_next_call(house: House) -> None:
    await make_user(house, "root", "roles/admin")
    key = await house.key_of("root")
    root = house.admin(key)
    await root.GetTenant(OWN)
    name = f"apiKeys/{key.split('_')[1]}"
    revoked = await house.admin().RevokeApiKey(pb.RevokeApiKeyRequest(name=name))
    assert revoked.revoke_time.ToDatetime().isoformat() == "2030-01-02T03:04:05"
    failure = await refused(root.GetTenant(OWN))
    assert failure.code is grpc.StatusCode.UNAUTHENTICATED
    assert failure.reason == "API_KEY_REVOKED"
    assert failure.metadata == {"api_key": name}
    house.clock.advance(60)
    again = await house.admin().RevokeApiKey(pb.RevokeApiKeyRequest(name=name))
    assert again == revoked


async def test_a_key_of_a_disabled_user_is_refused(house: House) -> None:
    await make_user(house, "root", "roles/admin")
    key = await house.key_of("root")
    await house.admin(key).GetTenant(OWN)
    request = pb.UpdateUserRequest(user={"name": "users/root", "disabled": True})
    request.update_mask.paths.append("disabled")
    await house.admin().UpdateUser(request)
    failure = await refused(house.admin(key).GetTenant(OWN))
    assert failure.code is grpc.StatusCode.UNAUTHENTICATED
    assert failure.reason == "USER_DISABLED"
    assert failure.metadata == {"user": "users/root"}


async def test_another_tenants_key_and_an_absent_one_read_the_same(house: House) -> None:
    keys = await house.admin().ListApiKeys(pb.ListApiKeysRequest())
    other = house.admin(await house.second_tenant())
    for name in (keys.api_keys[0].name, "apiKeys/absent"):
        failure = await refused(other.RevokeApiKey(pb.RevokeApiKeyRequest(name=name)))
        assert failure.code is grpc.StatusCode.NOT_FOUND
        assert failure.reason == "API_KEY_NOT_FOUND"
        assert failure.message == f"API key {name!r} does not exist."
    await house.admin().GetTenant(OWN)


async def test_a_key_needs_a_user_of_the_own_tenant(house: House) -> None:
    await make_user(house, "lin")
    other = house.admin(await house.second_tenant())
    for user in ("users/lin", "users/absent"):
        failure = await refused(other.CreateApiKey(pb.CreateApiKeyRequest(user=user)))
        assert failure.code is grpc.StatusCode.NOT_FOUND
        assert (failure.reason, failure.field) == ("USER_NOT_FOUND", "user")
        failure = await refused(other.ListApiKeys(pb.ListApiKeysRequest(user=user)))
        assert (failure.reason, failure.field) == ("USER_NOT_FOUND", "user")


async def test_keys_come_newest_first_in_pages(house: House) -> None:
    await make_user(house, "lin")
    for number in range(4):
        if number != 2:  # two keys share their time
            house.clock.advance(1)
        request = pb.CreateApiKeyRequest(user="users/lin", display_name=str(number))
        await house.admin().CreateApiKey(request)
    labels: list[str] = []
    times, token = [], ""
    while True:
        page = await house.admin().ListApiKeys(
            pb.ListApiKeysRequest(user="users/lin", page_size=1, page_token=token)
        )
        labels += [key.display_name for key in page.api_keys]
        times += [key.create_time.seconds for key in page.api_keys]
        token = page.next_page_token
        if not token:
            break
    assert sorted(labels) == ["0", "1", "2", "3"]
    assert times == sorted(times, reverse=True)
    assert len((await house.admin().ListApiKeys(pb.ListApiKeysRequest())).api_keys) == 5


async def test_a_use_that_could_not_be_written_is_written_later(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.clock.advance(90)
    await house.admin().GetTenant(OWN)
    with monkeypatch.context() as away:
        away.setattr(SqlApiKeys, "record_uses", AsyncMock(side_effect=DatabaseUnavailable("admin")))
        with pytest.raises(DatabaseUnavailable):
            await house.flush_key_uses()
    await house.flush_key_uses()
    (key,) = (await house.admin().ListApiKeys(pb.ListApiKeysRequest())).api_keys
    assert key.last_use_time.ToDatetime().isoformat() == "2030-01-02T03:05:00"


async def test_the_last_use_is_told_to_the_minute(house: House) -> None:
    house.clock.advance(90)
    await house.admin().GetTenant(OWN)
    await house.flush_key_uses()
    (key,) = (await house.admin().ListApiKeys(pb.ListApiKeysRequest())).api_keys
    assert key.last_use_time.ToDatetime().isoformat() == "2030-01-02T03:05:00"
