"""One tenant tries to see, use or change what is another's; each kind of probe in its own way."""

from __future__ import annotations

import base64
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from atrium_gateway.app.caller import Caller
from atrium_gateway.app.page import Page
from atrium_gateway.domain.adapters import ADAPTER_MODEL_PREFIX, HeldVersion, VersionState
from atrium_gateway.domain.adapters import served_name as name_of
from atrium_gateway.domain.errors import (
    GenerationNotFound,
    QuotaExhausted,
    QuotaNotFound,
    RouteModelUnknown,
    RouteNotFound,
    TaskHasNoModel,
)
from atrium_gateway.domain.generation import (
    CacheMode,
    ChatMessage,
    FinishReason,
    Generated,
    Prompt,
    Role,
)
from atrium_gateway.domain.models import Capability
from atrium_gateway.domain.outcomes import Outcome
from atrium_gateway.domain.quotas import Quota
from atrium_gateway.domain.routes import Candidate, Route, RouteOrigin
from atrium_shared.engines import Engine, EngineKind, Usage
from atrium_shared.errors import AtriumError
from atrium_shared.paging import PageTokenInvalid
from atrium_shared.principal import Principal, QuotaUnit, QuotaWindow

from .house import BASE, House
from .worlds import PERMISSIONS, TOPICS, Partition, Tally, World, canaries_in, principal_of

SHARES = {
    "cache": 380,
    "adapters": 330,
    "outcomes": 225,
    "calls": 25,
    "routes": 20,
    "quotas": 17,
    "usage": 3,
}
"""How many of a thousand probes are of each kind; those that ask the database are fewer."""
_ENGINE = Engine(EngineKind.GENERATIVE, "openai", "m")
_SHARED = "clause"
_STOLEN = "docs.steal"
_SCARCE, _SCARCE_LIMIT = "docs.scarce", 500
_TOKENS, _DAY = QuotaUnit.TOKENS, QuotaWindow.DAY

PageOf = Callable[[Principal, int, str], Awaitable[Page[Any]]]


def _prompt(text: str) -> Prompt:
    return Prompt((ChatMessage(Role.USER, text),), max_tokens=20)


class Probes:
    """Probes of all kinds in one world.

    Args:
        world: Whose word is whose.
        house: What is probed.
    """

    def __init__(self, world: World, house: House) -> None:
        self.tally = Tally()
        self._world = world
        self._house = house
        self._chance = world.chance
        self._principals = {
            tenant: replace(
                principal_of(tenant, key=f"k{place}"), actor=f"users/{world.canary(tenant)}"
            )
            for place, tenant in enumerate(world.tenants)
        }
        self._kept: dict[tuple[Partition, str], str] = {}
        self._adapters: dict[str, str] = {}
        self._serving: dict[str, str] = {}
        """Whose adapter a server holds under a name."""
        self._served: dict[str, list[str]] = {tenant: [] for tenant in world.tenants}
        self._tasks: dict[str, str] = {}
        self._quotas: dict[str, str] = {}
        self._names: dict[str, list[str]] = {}
        self._prompts: dict[str, list[str]] = {}
        self._tokens: dict[str, dict[str, list[str]]] = {}
        self._used: Counter[str] = Counter()
        self._scarce: Counter[str] = Counter()
        self._told: dict[str, set[str]] = {tenant: set() for tenant in world.tenants}
        self._calls = 0

    async def fill(self) -> None:
        """Give every tenant something of each kind."""
        await self._fill_cache()
        for place, tenant in enumerate(self._world.tenants):
            self._fill_adapters(tenant)
            await self._fill_quotas(tenant, place)
        await self._house.fleet.check()
        for tenant in self._world.tenants:
            await self._fill_routes(tenant)
            self._fill_usage(tenant)
        lists: dict[str, PageOf] = {
            "usage": self._usage_page,
            "routes": self._house.list_routes,
            "quotas": self._house.list_quotas,
        }
        for kind, pages in lists.items():
            self._tokens[kind] = {
                tenant: await self._all_tokens(pages, tenant) for tenant in self._world.tenants
            }

    async def _fill_cache(self) -> None:
        # Half of the partitions stay empty: whatever is found there is another's.
        for partition in self._world.partitions[::2]:
            for topic, text in TOPICS.items():
                word = self._kept[partition, topic] = self._world.canary(partition)
                await self._keep(partition, text, word, CacheMode.SEMANTIC)

    async def _keep(self, partition: Partition, text: str, word: str, mode: CacheMode) -> None:
        reply = Generated(f"It is {word}.", FinishReason.STOP, _ENGINE, Usage(5, 5))
        await self._house.cache.keep(partition.caller, partition.model, _prompt(text), mode, reply)

    def _fill_adapters(self, tenant: str) -> None:
        self._adapters[tenant] = f"only-{self._world.canary(tenant)}"
        for adapter in (_SHARED, self._adapters[tenant]):
            version = HeldVersion(
                tenant, adapter, BASE, 1, secrets.token_hex(8), VersionState.SERVING
            )
            self._house.versions.versions.append(version)
            self._serving[version.served_name] = tenant
            self._served[tenant].append(version.served_name)
            self._house.server.says[version.served_name] = self._world.canary(tenant)

    async def _fill_quotas(self, tenant: str, place: int) -> None:
        principal, update = self._principals[tenant], self._house.update_quota
        self._quotas[tenant] = f"quotas/{self._world.canary(tenant)}"
        await update(principal, Quota(self._quotas[tenant], "", _TOKENS, _DAY, 10**12))
        await update(
            principal, Quota("quotas/scarce", f"tasks/{_SCARCE}", _TOKENS, _DAY, _SCARCE_LIMIT)
        )
        # What would stop the others if a subject were looked up without its tenant.
        for other in range(len(self._world.tenants)):
            if other != place:
                subject = f"apiKeys/k{other}"
                await update(principal, Quota(f"quotas/stop-k{other}", subject, _TOKENS, _DAY, 0))

    async def _fill_routes(self, tenant: str) -> None:
        self._tasks[tenant] = f"docs.{self._world.canary(tenant)}"
        other = self._another(tenant)
        for task, adapter in (
            ("docs.ask", _SHARED),
            (self._tasks[tenant], self._adapters[tenant]),
            (_STOLEN, self._adapters[other]),
        ):
            route = Route(
                task,
                (Candidate(ADAPTER_MODEL_PREFIX + adapter),),
                RouteOrigin.TENANT,
                cache=CacheMode.EXACT,
            )
            # The store takes what UpdateRoute refuses.
            await self._house.routes_store.put_route(tenant, route)
        words = [self._world.canary(("prompt", tenant)) for _ in range(20)]
        self._prompts[tenant] = [f"What is said of {word}?" for word in words]

    def _fill_usage(self, tenant: str) -> None:
        principal = self._principals[tenant]
        for _ in range(12):
            caller = Caller(principal, f"docs.{self._world.canary(tenant)}")
            self._house.meter.answered(caller, BASE, Usage(3, 4))
            self._names.setdefault(tenant, []).append(self._house.names.new(caller, BASE))

    def _another(self, tenant: str) -> str:
        return self._chance.choice([each for each in self._world.tenants if each != tenant])

    async def _usage_page(self, principal: Principal, size: int, token: str) -> Page[Any]:
        return await self._house.list_usage(principal, None, None, size, token)

    async def _all_tokens(self, pages: PageOf, tenant: str) -> list[str]:
        tokens, token = [], ""
        while token := (await pages(self._principals[tenant], 2, token)).next_page_token:
            tokens.append(token)
        return tokens

    async def run(self, probes: int) -> None:
        """Probe so often, kinds by chance."""
        tenants = self._world.tenants
        kinds: dict[str, Callable[[str], Awaitable[None]]] = {
            "cache": self._probe_cache,
            "adapters": self._probe_adapters,
            "outcomes": self._probe_outcomes,
            "calls": self._probe_calls,
            "routes": self._probe_routes,
            "quotas": self._probe_quotas,
            "usage": self._probe_usage,
        }
        for kind in self._chance.choices(list(SHARES), list(SHARES.values()), k=probes):
            self.tally.probes[kind] += 1
            await kinds[kind](self._chance.choice(tenants))

    async def finish(self) -> None:
        """Look at what was kept of all probes."""
        await self._house.calls.stop()
        for event in self._house.audit.events:
            for word in self._world.foreign(repr(event), event.tenant):
                self.tally.leak("audit", (word, event))
        seen = sum(event.action == "gateway.Generate" for event in self._house.audit.events)
        self.tally.sought["audit"] += self._calls
        self.tally.found["audit"] += seen
        self._expect("audit", seen <= self._calls, seen)
        for tenant, told in self._told.items():
            report = await self._house.report_costs(self._principals[tenant], None, None)
            outcomes = sum(model.outcomes.total for task in report.tasks for model in task.models)
            self._expect("outcomes", outcomes == len(told), (tenant, outcomes, len(told)))

    def _look(self, kind: str, what: object, owner: object) -> None:
        for word in self._world.foreign(repr(what), owner):
            self.tally.leak(kind, (owner, word))

    def _expect(self, kind: str, holds: bool, what: object) -> None:
        if not holds:
            self.tally.leak(kind, what)

    async def _refused(
        self, kind: str, call: Awaitable[object], error: type[AtriumError], owner: str
    ) -> None:
        """Count a leak unless a call is refused with the error of what never was."""
        try:
            got = await call
        except error:
            return
        self.tally.leak(kind, (owner, got))

    async def _probe_cache(self, _: str) -> None:
        chance, cache = self._chance, self._house.cache
        partition = chance.choice(self._world.partitions)
        topic = chance.choice(list(TOPICS))
        mode = chance.choice([CacheMode.EXACT, CacheMode.SEMANTIC])
        text, sought = TOPICS[topic], (partition, topic) in self._kept
        way = chance.random()
        if way < 0.4:
            text = chance.choice(self._world.paraphrases[topic])
            sought = sought and mode is CacheMode.SEMANTIC
        elif way < 0.6:
            text = self._world.hostile(chance.choice(self._world.partitions), text)
            sought = False
        found = await cache.find(partition.caller, partition.model, _prompt(text), mode)
        if found is not None:
            self._look("cache", found.text, partition)
        if sought:
            right = found is not None and self._kept[partition, topic] in found.text
            self.tally.own("cache", right)
        # What imitates another's key is kept, too, for the other to find.
        if way >= 0.4 and not sought and found is None and chance.random() < 0.05:
            word, mode = self._world.canary(partition), CacheMode.EXACT
            if text == TOPICS[topic]:
                self._kept[partition, topic], mode = word, CacheMode.SEMANTIC
            await self._keep(partition, text, word, mode)

    async def _probe_adapters(self, tenant: str) -> None:
        chance, other = self._chance, self._another(tenant)
        theirs = self._adapters[other]
        served = chance.choice(self._served[other])
        own = chance.random() < 0.3
        adapter = chance.choice([_SHARED, self._adapters[tenant]]) if own else chance.choice(
            [theirs, theirs.upper(), served, f"{other}/{theirs}", f"../{other}/{_SHARED}",
             f"{_SHARED}\0{other}", f"{theirs}@1", f"{theirs} ", ""]
        )  # fmt: skip
        prefix = ADAPTER_MODEL_PREFIX
        if not own:
            prefix = chance.choice([prefix, prefix, "models/", ""])
        name = prefix + adapter
        found = self._house.catalog.find(name, tenant)
        if own:
            self.tally.own("adapters", found is not None)
        if found is not None:
            whose = self._serving.get(found.adapter)
            self._expect("adapters", whose == tenant, (tenant, name, whose))
        # No choice of an adapter's id makes a name that a server holds for somebody else.
        guessed = name_of(tenant, chance.choice([_SHARED, theirs, served]), 1, served)
        self._expect("adapters", guessed not in self._serving, (tenant, guessed))
        if chance.random() < 0.1:
            self._look("adapters", self._house.catalog.names(tenant), tenant)

    async def _probe_outcomes(self, tenant: str) -> None:
        chance, principal = self._chance, self._principals[tenant]
        outcome = chance.choice(list(Outcome))
        record = self._house.record_outcome
        mine = chance.choice(self._names[tenant])
        theirs = chance.choice(self._names[self._another(tenant)])
        if chance.random() < 0.01:
            await record(principal, mine, outcome)
            self._told[tenant].add(mine)
            self.tally.own("outcomes", True)
            return
        raw, base = _decoded(theirs), _decoded(mine)
        place = chance.randrange(len(base))
        flipped = bytearray(base)
        flipped[place] ^= 1 << chance.randrange(8)
        name = chance.choice(
            [
                theirs,
                theirs,
                _encoded(bytes(flipped)),
                _encoded(base[: chance.randrange(len(base))]),
                _encoded(base[:16] + raw[16:]),
                _encoded(raw[:16] + base[16:]),
                _encoded(chance.randbytes(16) + raw[16:]),
                theirs.removeprefix("generations/"),
                theirs + "=",
                f"{mine}\n{theirs}",
            ]
        )
        await self._refused(
            "outcomes", record(principal, name, outcome), GenerationNotFound, tenant
        )

    async def _probe_calls(self, tenant: str) -> None:
        chance = self._chance
        principal = replace(
            self._principals[tenant],
            allow_set=chance.choice(_ALLOWED),
        )
        task = chance.choice(["docs.ask", self._tasks[tenant], _STOLEN])
        prompt = _prompt(chance.choice(self._prompts[tenant]))
        caller = Caller(principal, task, outside=True)
        self._calls += 1
        if task == _STOLEN:
            call = self._house.generate.whole(caller, prompt)
            await self._refused("calls", call, TaskHasNoModel, tenant)
            return
        reply = await self._house.generate.whole(caller, prompt)
        self._look("calls", reply.text, tenant)
        self.tally.own("calls", bool(canaries_in(reply.text)))
        self._used[tenant] += reply.usage.total_tokens
        names = self._names[tenant]
        if len(names) < 200:
            names.append(reply.generation)

    async def _probe_page(self, kind: str, pages: PageOf, tenant: str) -> None:
        """List with an own page token, or with another's, which must be refused."""
        chance, principal = self._chance, self._principals[tenant]
        if chance.random() < 0.5:
            token = chance.choice(self._tokens[kind][self._another(tenant)])
            await self._refused(kind, pages(principal, 5, token), PageTokenInvalid, tenant)
            return
        page = await pages(principal, 1000, "")
        self._look(kind, page.items, tenant)
        self.tally.own(kind, bool(canaries_in(repr(page.items))))
        token = chance.choice(self._tokens[kind][tenant])
        self._look(kind, (await pages(principal, 5, token)).items, tenant)

    async def _probe_routes(self, tenant: str) -> None:
        chance, principal, house = self._chance, self._principals[tenant], self._house
        other = self._another(tenant)
        way = chance.random()
        if way < 0.4:
            await self._probe_page("routes", self._own_routes, tenant)
        elif way < 0.7:
            call = house.routes.route(tenant, self._tasks[other], Capability.GENERATE)
            await self._refused("routes", call, TaskHasNoModel, tenant)
        elif way < 0.85:
            name = f"routes/{self._tasks[other]}"
            await self._refused(
                "routes", house.delete_route(principal, name), RouteNotFound, tenant
            )
        else:
            candidate = Candidate(ADAPTER_MODEL_PREFIX + self._adapters[other])
            route = Route("docs.more", (candidate,), RouteOrigin.TENANT)
            updated = house.update_route(principal, route)
            await self._refused("adapters", updated, RouteModelUnknown, tenant)

    async def _own_routes(self, principal: Principal, size: int, token: str) -> Page[Any]:
        page = await self._house.list_routes(principal, size, token)
        # The route that was put there names another's adapter: the tenant wrote that itself.
        return replace(page, items=[route for route in page.items if route.task != _STOLEN])

    async def _probe_quotas(self, tenant: str) -> None:
        chance, principal, house = self._chance, self._principals[tenant], self._house
        way, need = chance.random(), chance.randrange(1, 50)
        if way < 0.9:
            # Near their own limit on one task all are refused sooner or later, each for itself.
            scarce = chance.random() < 0.1
            fits = not scarce or self._scarce[tenant] + need <= _SCARCE_LIMIT
            try:
                reserved = await house.budgets.reserve(
                    Caller(principal, _SCARCE if scarce else "docs.ask"), need
                )
            except QuotaExhausted as error:
                self._expect("quotas", not fits, (tenant, need, error.metadata))
                return
            used = chance.randrange(need + 1)
            reserved.settle(used)
            self._used[tenant] += used
            self._scarce[tenant] += used if scarce else 0
            self.tally.own("quotas", fits)
        elif way < 0.93:
            shown, expected = await self._shown(tenant)
            if shown != expected:
                # A lease that ended between the two looks of a list is shown up to its mark, once.
                shown, expected = await self._shown(tenant)
            self._expect("quotas", shown == expected, (tenant, shown, expected))
        elif way < 0.96:
            await self._probe_page("quotas", house.list_quotas, tenant)
        else:
            name = self._quotas[self._another(tenant)]
            await self._refused(
                "quotas", house.delete_quota(principal, name), QuotaNotFound, tenant
            )

    async def _shown(self, tenant: str) -> tuple[list[int], list[int]]:
        """Return what a tenant is shown of the use of its quotas, and what it used itself."""
        views = (await self._house.list_quotas(self._principals[tenant], 1000, "")).items
        used = {view.quota.name: view.used for view in views}
        shown = [used[self._quotas[tenant]], used["quotas/scarce"]]
        return shown, [self._used[tenant], self._scarce[tenant]]

    async def _probe_usage(self, tenant: str) -> None:
        if self._chance.random() < 0.8:
            await self._probe_page("usage", self._usage_page, tenant)
            return
        report = await self._house.report_costs(self._principals[tenant], None, None)
        self._look("usage", report, tenant)
        self.tally.own("usage", bool(canaries_in(repr(report))))


_ALLOWED = [principal_of("", grants).allow_set for grants in PERMISSIONS]


def _decoded(name: str) -> bytes:
    text = name.removeprefix("generations/")
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _encoded(token: bytes) -> str:
    return "generations/" + base64.urlsafe_b64encode(token).rstrip(b"=").decode()
