"""What the admin service knows of users, over gRPC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC

import grpc

from atrium.admin.v1 import (
    admin_pb2,
    admin_service_pb2,
    admin_service_pb2_grpc,
    identity_service_pb2,
    identity_service_pb2_grpc,
)
from atrium_knowledge.app.ports import ErasedUser
from atrium_shared.identity import ServiceIdentity
from atrium_shared.principal import Principal
from atrium_shared.rpc.channel import metadata_for, raise_from_rpc

_PAGE = 1000


class AdminRoleHolders:
    """Implements ``ports.RoleHolders``.

    Args:
        channel: Channel to the admin service.
        seconds: How long a call may take.
    """

    def __init__(self, channel: grpc.aio.Channel, *, seconds: float = 10.0) -> None:
        self._stub = admin_service_pb2_grpc.AdminServiceStub(channel)
        self._seconds = seconds

    async def holders(self, principal: Principal, roles: Sequence[str]) -> Mapping[str, str]:
        """Return for each role a person who holds it."""
        found: dict[str, str] = {}
        try:
            groups = await self._groups(principal)
            token = ""
            while len(found) < len(set(roles)):
                page = await self._stub.ListUsers(
                    admin_service_pb2.ListUsersRequest(page_size=_PAGE, page_token=token),
                    metadata=metadata_for(principal),
                    timeout=self._seconds,
                )
                for user in page.users:
                    if user.disabled or user.kind == admin_pb2.User.SERVICE:
                        continue
                    held = {*user.roles}
                    for group in groups:
                        if user.name in group.members:
                            held.update(group.roles)
                    for role in held.intersection(roles):
                        found.setdefault(role, user.name)
                token = page.next_page_token
                if not token:
                    break
        except grpc.aio.AioRpcError as error:
            raise_from_rpc(error)
        return found

    async def _groups(self, principal: Principal) -> list[admin_pb2.Group]:
        groups: list[admin_pb2.Group] = []
        token = ""
        while True:
            page = await self._stub.ListGroups(
                admin_service_pb2.ListGroupsRequest(page_size=_PAGE, page_token=token),
                metadata=metadata_for(principal),
                timeout=self._seconds,
            )
            groups += page.groups
            token = page.next_page_token
            if not token:
                return groups


class AdminErasedUsers:
    """Implements ``ports.ErasedUsers``.

    Args:
        channel: Channel to the admin service.
        service: Who asks: the list is for services.
        seconds: How long a call may take.
    """

    def __init__(
        self, channel: grpc.aio.Channel, service: ServiceIdentity, *, seconds: float = 10.0
    ) -> None:
        self._stub = identity_service_pb2_grpc.IdentityServiceStub(channel)
        self._service = service
        self._seconds = seconds

    async def after(self, sequence: int) -> Sequence[ErasedUser]:
        """Return who was erased after a place in the list; empty at its end."""
        try:
            response = await self._stub.ListErasedUsers(
                identity_service_pb2.ListErasedUsersRequest(after=sequence),
                metadata=self._service.metadata(),
                timeout=self._seconds,
            )
        except grpc.aio.AioRpcError as error:
            raise_from_rpc(error)
        return [
            ErasedUser(
                sequence=one.sequence,
                tenant=one.tenant,
                user=one.user,
                erase_time=one.erase_time.ToDatetime(tzinfo=UTC),
            )
            for one in response.erased_users
        ]
