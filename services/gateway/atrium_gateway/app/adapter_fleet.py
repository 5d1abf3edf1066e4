"""Keeps adapters on the servers of their base models.

What a server holds is lost when it restarts, and other gateways load and unload too. So nothing
here is more than the last thing known: every server is asked again and again what it holds, what
it lacks is loaded, what nobody knows is unloaded, and a call finds out for itself when a server
lost an adapter since.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

import structlog
from tenacity import (
    AsyncRetrying,
    retry_if_exception_type,
    stop_after_delay,
    wait_exponential_jitter,
)

from atrium_gateway.app.adapter_ports import (
    AdapterFolders,
    AdapterFolderUnavailable,
    AdapterReader,
    AdapterReplica,
    AdapterStore,
    ReplicaCount,
    ReplicaRefused,
    ReplicaUnreachable,
)
from atrium_gateway.domain.adapters import (
    ADAPTER_MODEL_PREFIX,
    Adapter,
    AdapterVersion,
    HeldVersion,
    VersionState,
)
from atrium_gateway.domain.adapters import served_name as name_of
from atrium_gateway.domain.errors import ModelUnavailable
from atrium_shared.clock import Clock
from atrium_shared.tasks import repeat

_LOAD_SECONDS = 120.0
_AGAIN_SECONDS = 60.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class AdapterBase:
    """A base model whose servers take adapters.

    Attributes:
        model: Resource name.
        accepted: Names by which adapters' configurations may call it.
        replicas: Its servers.
        folders: Where they read adapters.
        per_replica: Most adapters that a server holds; the least recently used goes first.
        hidden_size: Numbers between its layers; 0: not known.
        reader: Reads adapters of it; None: as those of generators are read.
    """

    model: str
    accepted: tuple[str, ...]
    replicas: tuple[AdapterReplica, ...]
    folders: AdapterFolders
    per_replica: int = 64
    hidden_size: int = 0
    reader: AdapterReader | None = None


class RolloutRefused(Exception):
    """A version cannot be brought to every server.

    Args:
        why: What happened, a sentence.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class _Member:
    """What is known of one server.

    Args:
        replica: The server.
    """

    def __init__(self, replica: AdapterReplica) -> None:
        self.replica = replica
        self.up = False
        self.refused: dict[str, float] = {}  # when it refused one, on the monotonic clock
        # One change at a time: loading is slow, and the cap must hold.
        self.changing = asyncio.Lock()
        self._held: OrderedDict[str, None] = OrderedDict()  # least recently used first

    def __contains__(self, name: str) -> bool:
        return name in self._held

    def __len__(self) -> int:
        return len(self._held)

    @property
    def name(self) -> str:
        """Where it is, for the log."""
        return self.replica.upstream.name

    @property
    def oldest(self) -> str:
        """The adapter that was not used for the longest time."""
        return next(iter(self._held))

    def names(self) -> list[str]:
        """Return what it holds, least recently used first."""
        return list(self._held)

    def touch(self, name: str) -> bool:
        """Note a use; False when it does not hold it."""
        if name not in self._held:
            return False
        self._held.move_to_end(name)
        return True

    def add(self, name: str) -> None:
        """Note that it holds an adapter."""
        self.up = True
        self._held[name] = None
        # Dispatch chooses among servers by this.
        self.replica.upstream.adapters.add(name)

    def drop(self, name: str) -> None:
        """Note that it does not hold an adapter."""
        self._held.pop(name, None)
        self.replica.upstream.adapters.discard(name)

    def learn(self, held: frozenset[str]) -> None:
        """Take over what the server says that it holds."""
        self.up = True
        for name in self.names():
            if name not in held:
                self.drop(name)
        for name in sorted(held):
            if name not in self._held:
                self.add(name)

    def lost(self) -> None:
        """Note that it does not answer."""
        self.up = False
        for name in self.names():
            self.drop(name)


class AdapterFleet:
    """The servers of all base models that take adapters.

    Args:
        bases: The base models.
        store: Says what servers may hold.
        clock: Tells the time.
        check_seconds: How often servers are asked what they hold.
        rollout_seconds: Longest wait for a server that does not answer, during a roll-out.
        also: What to do after each check.
    """

    def __init__(
        self,
        bases: Iterable[AdapterBase],
        store: AdapterStore,
        clock: Clock,
        *,
        check_seconds: float,
        rollout_seconds: float,
        also: Callable[[], Awaitable[None]],
    ) -> None:
        self.bases: Mapping[str, AdapterBase] = {base.model: base for base in bases}
        self._members = {
            model: [_Member(replica) for replica in base.replicas]
            for model, base in self.bases.items()
        }
        self._store = store
        self._clock = clock
        self._check_seconds = check_seconds
        self._rollout_seconds = rollout_seconds
        self._also = also
        self._versions: dict[str, HeldVersion] = {}
        self._serving: dict[tuple[str, str], HeldVersion] = {}
        self._stamp: object = None
        self._kick = asyncio.Event()
        self._used: dict[str, float] = {}

    def serving(self, tenant: str, adapter: str) -> HeldVersion | None:
        """Return the version of a tenant's adapter that answers, or None."""
        return self._serving.get((tenant, adapter))

    def serving_ids(self, tenant: str) -> list[str]:
        """Return the ids of the tenant's adapters that answer, sorted."""
        return sorted(adapter for owner, adapter in self._serving if owner == tenant)

    def count(self, adapter: Adapter, version: AdapterVersion) -> ReplicaCount:
        """Return how many servers hold a version now, and how many there are."""
        name = name_of(adapter.tenant, adapter.id, version.number, version.uid)
        members = self._members.get(adapter.base_model, [])
        return sum(name in member for member in members), len(members)

    def holds(self, version: HeldVersion, place: int) -> bool:
        """Return whether one server holds a version, as far as is known."""
        return version.served_name in self._members[version.base_model][place]

    def check_now(self) -> None:
        """Let :meth:`run` look at all servers at once instead of after its pause."""
        self._kick.set()

    async def refresh(self) -> None:
        """Read what servers may hold, if it changed since."""
        stamp = await self._store.stamp()  # before: what changes meanwhile is read again
        if stamp == self._stamp:
            return
        held = await self._store.held()
        self._versions = {version.served_name: version for version in held}
        self._serving = {
            (version.tenant, version.adapter): version
            for version in held
            if version.state is VersionState.SERVING
        }
        self._used = {name: at for name, at in self._used.items() if name in self._versions}
        self._stamp = stamp

    async def run(self) -> None:
        """Look after all servers until cancelled."""

        async def look() -> None:
            await self.check()
            await self._also()

        await repeat(look, self._check_seconds, failed="adapters were not checked", wake=self._kick)

    async def check(self) -> None:
        """Ask every server what it holds; load what it lacks, unload what nobody knows."""
        members = [
            (base, member) for model, base in self.bases.items() for member in self._members[model]
        ]
        await asyncio.gather(*(self._ask(member) for _, member in members))
        # After the servers: what they hold was in the database before it was loaded.
        await self.refresh()
        await asyncio.gather(
            *(self._reconcile(base, member) for base, member in members if member.up)
        )

    async def roll_out(
        self, version: HeldVersion, tell: Callable[[int, int], Awaitable[None]]
    ) -> None:
        """Bring a version to every server of its base; all hold it, or it is taken away again.

        Args:
            version: What to bring.
            tell: Called with the servers that hold it and the servers in all.

        Raises:
            RolloutRefused: A server refused it, or did not answer for too long.
        """
        base, members = self.bases.get(version.base_model), self._of(version)
        if base is None or not members:
            raise RolloutRefused(f"{version.base_model} takes no adapters any more.")
        ready = 0

        async def bring(member: _Member) -> None:
            nonlocal ready
            async for attempt in AsyncRetrying(
                retry=retry_if_exception_type(ReplicaUnreachable),
                stop=stop_after_delay(self._rollout_seconds),
                wait=wait_exponential_jitter(multiplier=0.1, max=5.0, jitter=0.2),
                reraise=True,
            ):
                with attempt:
                    await self._load(base, member, version)
            ready += 1
            await tell(ready, len(members))

        results = await asyncio.gather(*map(bring, members), return_exceptions=True)
        whys = []
        for place, (member, result) in enumerate(zip(members, results, strict=True), 1):
            if isinstance(result, ReplicaUnreachable | ReplicaRefused):
                whys.append(f"Server {place} of {len(members)}: {result.why}.")
                _log.warning("adapter not loaded", server=member.name, why=result.why)
            elif isinstance(result, AdapterFolderUnavailable):
                whys.append(f"{result}.")
            elif isinstance(result, BaseException):
                raise result
        if whys:
            await self.take_away(version)
            raise RolloutRefused(" ".join(dict.fromkeys(whys)))

    async def take_away(self, version: HeldVersion) -> None:
        """Unload a version everywhere, as far as servers answer; later checks do the rest."""
        await asyncio.gather(
            *(self._unload(member, version.served_name) for member in self._of(version))
        )

    async def ensure(self, version: HeldVersion, place: int) -> None:
        """Load a version on one server of its base unless it holds it; counts as a use.

        Args:
            version: What is called.
            place: Which server, in the order of the base's.

        Raises:
            ModelUnavailable: The server does not take it now.
        """
        name = version.served_name
        self._used[name] = self._clock.monotonic()
        member = self._members[version.base_model][place]
        if member.touch(name):
            return
        why: str
        try:
            await self._load(self.bases[version.base_model], member, version)
            return
        except (ReplicaUnreachable, ReplicaRefused) as error:
            why = error.why
        except AdapterFolderUnavailable as error:
            why = str(error)
        raise ModelUnavailable(ADAPTER_MODEL_PREFIX + version.adapter, why)

    def forgot(self, version: HeldVersion, place: int) -> None:
        """Note that a server does not know a version that it was thought to hold."""
        self._members[version.base_model][place].drop(version.served_name)
        self.check_now()

    def _of(self, version: HeldVersion) -> list[_Member]:
        return list(self._members.get(version.base_model, ()))

    async def _ask(self, member: _Member) -> None:
        try:
            async with member.changing:
                member.learn(await member.replica.held())
        except ReplicaUnreachable as error:
            if member.up:
                _log.warning("server of adapters lost", server=member.name, why=error.why)
            member.lost()

    async def _reconcile(self, base: AdapterBase, member: _Member) -> None:
        for name in [name for name in member.names() if name not in self._versions]:
            await self._unload(member, name)
        now = self._clock.monotonic()
        member.refused = {
            name: at for name, at in member.refused.items() if now - at < _AGAIN_SECONDS
        }
        missing = [
            version
            for version in self._serving.values()
            if version.base_model == base.model
            and version.served_name not in member
            and version.served_name not in member.refused
        ]
        missing.sort(key=lambda version: -self._used.get(version.served_name, 0.0))
        room = max(base.per_replica - len(member), 0)
        for version in missing[:room]:
            try:
                await self._load(base, member, version, make_room=False)
            except ReplicaRefused as error:
                member.refused[version.served_name] = now
                _log.warning("adapter not loaded", server=member.name, why=error.why)
            except AdapterFolderUnavailable as error:
                _log.warning("adapter not loaded", server=member.name, why=str(error))
            except ReplicaUnreachable:
                member.lost()
                return

    async def _load(
        self, base: AdapterBase, member: _Member, version: HeldVersion, *, make_room: bool = True
    ) -> None:
        name = version.served_name
        async with member.changing:
            if member.touch(name):
                return
            # There was room when a check looked, and a call may have taken it since: what is in
            # use does not go for what nobody has asked for.
            if not make_room and len(member) >= base.per_replica:
                return
            while len(member) >= base.per_replica:
                oldest = member.oldest
                await member.replica.unload(oldest)
                member.drop(oldest)
            folder = await base.folders.put(version)
            try:
                async with asyncio.timeout(_LOAD_SECONDS):
                    await member.replica.load(name, folder)
            except TimeoutError as error:
                why = f"it took longer than {_LOAD_SECONDS:g} s to load it"
                raise ReplicaUnreachable(why) from error
            member.add(name)

    async def _unload(self, member: _Member, name: str) -> None:
        async with member.changing:
            member.drop(name)
            try:
                await member.replica.unload(name)
            except (ReplicaUnreachable, ReplicaRefused) as error:
                # Gone with the server, or tried again by the next check.
                _log.info("adapter not unloaded", server=member.name, why=error.why)
