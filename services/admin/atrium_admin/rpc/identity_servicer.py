"""IdentityService: what other services ask."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc

from atrium.admin.v1 import identity_service_pb2, identity_service_pb2_grpc
from atrium_admin.app.audit_log import AuditLog
from atrium_admin.app.exchange_credential import ExchangeCredential
from atrium_admin.app.list_erased_users import ListErasedUsers
from atrium_admin.app.policy_feed import PolicyFeed
from atrium_admin.app.signing import Signing
from atrium_admin.rpc import convert
from atrium_shared.clock import Clock
from atrium_shared.rpc.context import principal

Context = grpc.aio.ServicerContext[Any, Any]


class IdentityServicer(identity_service_pb2_grpc.IdentityServiceServicer):
    """Serves ``atrium.admin.v1.IdentityService``.

    Args:
        exchange: Turns credentials into tokens.
        signing: Knows the public keys.
        feed: Tells what changes.
        log: Takes audit events.
        list_erased_users: Tells who was erased.
        clock: Gives the time of events that carry none.
    """

    def __init__(
        self,
        exchange: ExchangeCredential,
        signing: Signing,
        feed: PolicyFeed,
        log: AuditLog,
        list_erased_users: ListErasedUsers,
        clock: Clock,
    ) -> None:
        self._exchange = exchange
        self._signing = signing
        self._feed = feed
        self._log = log
        self._list_erased_users = list_erased_users
        self._clock = clock

    async def ExchangeCredential(
        self, request: identity_service_pb2.ExchangeCredentialRequest, context: Context
    ) -> identity_service_pb2.ExchangeCredentialResponse:
        caller = principal(context).service or ""
        exchanged = await self._exchange(
            request.credential,
            request.on_behalf_of or None,
            accepted_by=[caller],
            audiences=request.audiences,
        )
        return convert.exchanged_to_proto(exchanged)

    async def IssueDelegatedToken(
        self, request: identity_service_pb2.IssueDelegatedTokenRequest, context: Context
    ) -> identity_service_pb2.ExchangeCredentialResponse:
        exchanged = await self._exchange.delegated(
            request.tenant,
            request.actor,
            request.on_behalf_of or None,
            audiences=request.audiences,
        )
        return convert.exchanged_to_proto(exchanged)

    async def GetSigningKeys(
        self, request: identity_service_pb2.GetSigningKeysRequest, context: Context
    ) -> identity_service_pb2.GetSigningKeysResponse:
        return identity_service_pb2.GetSigningKeysResponse(jwks=self._signing.jwks)

    async def WatchPolicies(
        self, request: identity_service_pb2.WatchPoliciesRequest, context: Context
    ) -> AsyncIterator[identity_service_pb2.WatchPoliciesResponse]:
        async with aclosing(self._feed.watch(request.replica)) as messages:
            async for message in messages:
                yield convert.feed_message_to_proto(message)

    async def AcknowledgePolicies(
        self, request: identity_service_pb2.AcknowledgePoliciesRequest, context: Context
    ) -> identity_service_pb2.AcknowledgePoliciesResponse:
        if request.leaving:
            await self._feed.leave(request.replica)
            return identity_service_pb2.AcknowledgePoliciesResponse()
        lease = await self._feed.acknowledge(request.replica, request.version)
        return convert.lease_to_proto(lease)

    async def AppendAuditEvents(
        self, request: identity_service_pb2.AppendAuditEventsRequest, context: Context
    ) -> identity_service_pb2.AppendAuditEventsResponse:
        await self._log.append(convert.audit_entries(request.entries, self._clock.now()))
        return identity_service_pb2.AppendAuditEventsResponse()

    async def ListErasedUsers(
        self, request: identity_service_pb2.ListErasedUsersRequest, context: Context
    ) -> identity_service_pb2.ListErasedUsersResponse:
        part = await self._list_erased_users(request.after, request.page_size)
        return convert.erased_users_to_proto(part)
