"""What tests of every service need: a running server, fake credentials, fixed clocks and ids."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from inspect import isawaitable
from pathlib import Path

import grpc

from atrium_shared.audit import AuditEvent, AuditSink, Decision, MemoryAuditSink
from atrium_shared.clock import FixedClock, SequentialIds
from atrium_shared.errors import Denied, Unauthenticated
from atrium_shared.identity import Authenticator, ChangeListener, ServiceIdentity
from atrium_shared.principal import AllowSet, Grant, Principal, Residency, TenantQuota
from atrium_shared.rpc.channel import RemoteError, metadata_interceptors, raise_from_rpc
from atrium_shared.rpc.server import RpcLimits, RpcServer, ServiceApp

__all__ = [
    "TEST_SECRET",
    "AuditEvent",
    "Decision",
    "FakeAuthenticator",
    "FakeCredentialUnknown",
    "FakeImpersonationDenied",
    "FixedClock",
    "MemoryAuditSink",
    "RunningServer",
    "SequentialIds",
    "eventually",
    "make_principal",
    "memory_folder",
    "running_server",
]

TEST_SECRET = b"a secret of thirty-two bytes....."
"""An installation secret for tests."""

_MEMORY = Path("/dev/shm")  # noqa: S108 - only folders of random names are made there


@contextmanager
def memory_folder() -> Iterator[Path]:
    """Give a folder in memory where the system has one to write to.

    Durable writes to disk would be most of the time of a test.
    """
    where = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="atrium-", dir=where) as folder:
        yield Path(folder)


def make_principal(
    *permissions: str,
    labels: Iterable[str] = (),
    tenant: str = "acme",
    actor: str = "users/lin",
    on_behalf_of: str | None = None,
    policy_version: int = 1,
    token: str = "",
    max_upload_bytes: int = 0,
    residency: Residency = Residency.PRIVATE_ONLY,
    quotas: tuple[TenantQuota, ...] = (),
) -> Principal:
    """Return a principal who holds ``permissions`` and may read ``labels``.

    Args:
        *permissions: Such as ``"knowledge.answers:ask"``; ``"*:*"`` holds all.
        labels: Such as ``"hr/compensation"`` or ``"hr/*"``.
        tenant: Id of the tenant.
        actor: Who holds the credential.
        on_behalf_of: The end user, or ``None``.
        policy_version: Version of the policy.
        token: Internal token that further services get.
        max_upload_bytes: Largest upload; 0: the installation's default.
        residency: Where the tenant's texts may go.
        quotas: What the tenant may use.
    """
    wanted = [permission.rpartition(":") for permission in permissions]
    grants = [Grant(resource, action) for resource, _, action in wanted]
    grants += [Grant(f"labels/{label}", "read") for label in labels]
    return Principal(
        tenant=tenant,
        actor=actor,
        on_behalf_of=on_behalf_of,
        allow_set=AllowSet(grants, policy_version),
        credential="apiKeys/test",
        max_upload_bytes=max_upload_bytes,
        token=token or f"token-of-{actor}",
        residency=residency,
        quotas=quotas,
    )


class FakeCredentialUnknown(Unauthenticated):
    """The fake knows no such credential."""

    reason = "API_KEY_UNKNOWN"

    def __init__(self) -> None:
        super().__init__("This API key is not known.")


class FakeImpersonationDenied(Denied):
    """The fake does not let the actor act for others."""

    reason = "IMPERSONATION_DENIED"

    def __init__(self, actor: str, user: str) -> None:
        super().__init__(f"{actor} may not act for {user}.", actor=actor, user=user)


class FakeAuthenticator:
    """Knows a fixed set of credentials.

    Whoever may ``impersonate`` ``users/<id>`` acts for that user: as the principal whose actor
    that user is when there is one, else with permissions of their own.
    """

    def __init__(self, principals: Mapping[str, Principal]) -> None:
        self.principals = dict(principals)
        self._listeners: list[ChangeListener] = []

    async def authenticate(self, credential: str, on_behalf_of: str | None) -> Principal:
        """Return the principal of ``credential``."""
        principal = self.principals.get(credential)
        if principal is None:
            raise FakeCredentialUnknown
        if on_behalf_of is None or on_behalf_of == principal.subject:
            return principal
        if not principal.allow_set.permits(on_behalf_of, "impersonate"):
            raise FakeImpersonationDenied(principal.actor, on_behalf_of)
        known = (p for p in self.principals.values() if p.actor == on_behalf_of)
        allow_set = next((p.allow_set for p in known), principal.allow_set)
        return replace(principal, on_behalf_of=on_behalf_of, allow_set=allow_set)

    def on_change(self, listener: ChangeListener) -> None:
        """Call ``listener`` at each :meth:`change`."""
        self._listeners.append(listener)

    def change(
        self, credential: str, principal: Principal | None, *, users: Sequence[str] = ()
    ) -> Awaitable[object]:
        """Make ``credential`` stand for another principal, or for none, and report it.

        Returns:
            Done when the listeners are.
        """
        before = self.principals.pop(credential)
        if principal is not None:
            self.principals[credential] = principal
        holds = [listener(before.tenant, frozenset(users)) for listener in self._listeners]
        return asyncio.gather(*(hold for hold in holds if hold is not None))


@dataclass(frozen=True)
class RunningServer:
    """A server that answers.

    Attributes:
        target: ``"127.0.0.1:54321"``.
        server: The server itself.
        authenticator: Whom it knows.
        audit: What it audited by itself.
        open_channel: Gives a channel whose calls carry a token and, when given, an end user;
            without a token they carry nothing. Channels are closed with the server.
        open_service_channel: Gives a channel whose calls come from the named service.
    """

    target: str
    server: RpcServer
    authenticator: Authenticator
    audit: AuditSink
    open_channel: Callable[..., grpc.aio.Channel]
    open_service_channel: Callable[[str], grpc.aio.Channel]


@asynccontextmanager
async def running_server(
    apps: Sequence[ServiceApp],
    principals: Mapping[str, Principal] | None = None,
    *,
    authenticator: Authenticator | None = None,
    audit: AuditSink | None = None,
    limits: RpcLimits | None = None,
    service: ServiceIdentity | None = None,
    grace_seconds: float = 2.0,
) -> AsyncIterator[RunningServer]:
    """Serve ``apps`` on a free port of this machine while the block runs.

    Args:
        apps: What to serve.
        principals: Who stands behind which bearer token.
        authenticator: Instead of a :class:`FakeAuthenticator` over ``principals``.
        audit: Instead of a :class:`MemoryAuditSink`.
        limits: Bounds of the server.
        service: Verifies other services; made from :data:`TEST_SECRET` when ``None``.
        grace_seconds: How long calls under way may take when the block ends.
    """
    authenticator = authenticator or FakeAuthenticator(principals or {})
    audit = audit or MemoryAuditSink()
    service = service or ServiceIdentity("test", TEST_SECRET)
    server = RpcServer(
        apps,
        address="127.0.0.1:0",
        authenticator=authenticator,
        audit=audit,
        service=service,
        limits=limits,
    )
    port = await server.start()
    target = f"127.0.0.1:{port}"
    channels: list[grpc.aio.Channel] = []

    def open_with(metadata: Sequence[tuple[str, str]]) -> grpc.aio.Channel:
        channel = grpc.aio.insecure_channel(
            target,
            # Ports are used again between tests, so connections must not be.
            options=[("grpc.use_local_subchannel_pool", 1)],
            interceptors=metadata_interceptors(lambda: tuple(metadata)) if metadata else None,
        )
        channels.append(channel)
        return channel

    def open_channel(token: str | None = None, user: str | None = None) -> grpc.aio.Channel:
        metadata = [] if token is None else [("authorization", f"Bearer {token}")]
        return open_with(metadata if user is None else [*metadata, ("x-atrium-user", user)])

    def open_service_channel(name: str) -> grpc.aio.Channel:
        return open_with(ServiceIdentity(name, TEST_SECRET).metadata())

    try:
        yield RunningServer(
            target, server, authenticator, audit, open_channel, open_service_channel
        )
    finally:
        for channel in channels:
            await channel.close()
        await server.stop(grace_seconds)


async def eventually(
    holds: Callable[[], object | Awaitable[object]], seconds: float = 20.0
) -> None:
    """Wait until something is so that sets no event here; long, as a busy machine is slow.

    Args:
        holds: Says whether it is so; may be a coroutine function.
        seconds: How long to wait.

    Raises:
        TimeoutError: It is not so within ``seconds``.
    """
    async with asyncio.timeout(seconds):
        while not (await held if isawaitable(held := holds()) else held):  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def error_of(call: Awaitable[object]) -> RemoteError:
    """Return the error that a call fails with: its code, reason, metadata and violations."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        try:
            raise_from_rpc(error)
        except RemoteError as remote:
            return remote
    raise AssertionError("The call did not fail.")
