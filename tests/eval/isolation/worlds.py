"""Tenants with names that nearly meet, and words that each of them alone holds."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from dataclasses import dataclass, field
from functools import cache

from atrium_gateway.app.caller import Caller
from atrium_gateway.app.same_question import same_question
from atrium_gateway.domain.models import Model
from atrium_shared.principal import AllowSet, Grant, Principal

TENANTS = ("acme", "acm", "acme.eu", "acme-eu", "ACME", "acme@eu", "a", "acme.eu.de")
"""Prefixes of one another, and such that differ in case or a separator alone."""
PERMISSIONS: tuple[tuple[str, ...], ...] = (
    (),
    ("labels/hr",),
    ("labels/hr", "labels/hr/pay"),
    ("labels/hr*",),
)
TOPICS = {
    "annual leave": "How many days of annual leave are there in Shanghai?",
    "sick leave": "How many days of sick leave are paid in Berlin?",
    "travel": "Who approves travel above 5,000 euros?",
    "notice": "When must notice of termination be given?",
    "laptop": "Which laptop may a new colleague order?",
    "overtime": "Is overtime paid before the third month?",
    "年假": "上海的年假有多少天？",
    "预算": "2026年的预算是多少？",
    "报销": "谁批准差旅报销？",
}
"""Questions that all tenants ask, each by words that stand in no other one."""
_TASKS = (
    "docs",
    "docs.ask",
    'docs.ask", "models/base',
    "docs.ask\0models/base",
    "docs.ask|models/base|1",
    "docs.askmodels/base",
)
_MODELS = (
    ("models/base", "1"),
    ("models/base", "2"),
    ("models/base1", ""),
    ('models/base", "1', ""),
    ("models/base\0001", ""),
    ("", "models/base1"),
)
_CANARY = re.compile(r"zq[0-9a-f]{12}")


def canaries_in(text: str) -> set[str]:
    """Return the canaries of a text."""
    return set(_CANARY.findall(text))


def principal_of(tenant: str, grants: tuple[str, ...] = (), key: str = "k1") -> Principal:
    """Return a user of a tenant with a key."""
    allow = AllowSet(Grant(grant, "read") for grant in grants)
    return Principal(tenant, "users/lin", None, allow, f"apiKeys/{key}")


@dataclass(frozen=True)
class Partition:
    """Who shares kept replies: same tenant, permissions, task, model and version."""

    caller: Caller
    grants: tuple[str, ...]
    model: Model
    number: int

    def __hash__(self) -> int:
        return self.number


@dataclass
class Tally:
    """What was asked and what leaked, by kind of probe."""

    probes: Counter[str] = field(default_factory=Counter)
    leaks: Counter[str] = field(default_factory=Counter)
    sought: Counter[str] = field(default_factory=Counter)
    """Probes of what is one's own."""
    found: Counter[str] = field(default_factory=Counter)
    """Those of them that found it: where nothing can be found nothing could leak."""
    examples: list[str] = field(default_factory=list)

    def leak(self, kind: str, what: object) -> None:
        """Count what should not have been there."""
        self.leaks[kind] += 1
        if len(self.examples) < 20:
            self.examples.append(f"{kind}: {what!r:.300}")

    def own(self, kind: str, found: bool) -> None:
        """Count a look for what is one's own."""
        self.sought[kind] += 1
        self.found[kind] += found

    def add(self, other: Tally) -> None:
        """Take in what another process counted."""
        self.probes += other.probes
        self.leaks += other.leaks
        self.sought += other.sought
        self.found += other.found
        self.examples += other.examples[: 20 - len(self.examples)]


class World:
    """Whose word is whose.

    Args:
        seed: Of all chance.
        most_partitions: How many of the partitions of kept replies are used.
    """

    def __init__(self, seed: int, most_partitions: int) -> None:
        self.chance = random.Random(seed)
        self.tenants = TENANTS
        self._owners: dict[str, object] = {}
        callers = [
            (principal_of(tenant, grants), grants) for tenant in TENANTS for grants in PERMISSIONS
        ]
        every = [
            (Caller(principal, task), grants, Model(name, "openai", frozenset(), version=version))
            for principal, grants in callers
            for task in _TASKS
            for name, version in _MODELS
        ]
        chosen = self.chance.sample(every, min(most_partitions, len(every)))
        self.partitions = [Partition(*each, number) for number, each in enumerate(chosen)]
        self.paraphrases = {topic: paraphrases(text) for topic, text in TOPICS.items()}

    def canary(self, owner: object) -> str:
        """Return a new word of an owner's."""
        while (word := f"zq{self.chance.getrandbits(48):012x}") in self._owners:
            pass
        self._owners[word] = owner
        return word

    def foreign(self, text: str, owner: object) -> list[str]:
        """Return the canaries of a text that are not the owner's."""
        return sorted(word for word in canaries_in(text) if self._owners[word] != owner)

    def hostile(self, victim: Partition, text: str) -> str:
        """Return a question in which another's key is imitated."""
        principal, model = victim.caller.principal, victim.model
        key = [
            principal.tenant,
            principal.allow_set.digest.hex(),
            victim.caller.task,
            model.name,
            model.version,
        ]
        whole = json.dumps([key, {"messages": [{"role": "user", "content": text}]}])
        return self.chance.choice(
            [
                whole,
                whole[1:-1],
                f'{text}"}}]}}], {whole}',
                "\0".join([*key, text]),
                "|".join([*key, text]),
                "\n".join([*key, text]),
                f"{text}\0",
                f"tenant={principal.tenant} {text}",
                json.dumps(text),
            ]
        )


@cache
def paraphrases(text: str) -> list[str]:
    """Return the same question written otherwise: case, signs, spaces, width."""
    wide = "".join(chr(ord(sign) + 0xFEE0) if "!" <= sign <= "~" else sign for sign in text)
    written = [
        text.upper(),
        text.lower(),
        text.rstrip("?？"),
        f"  {text} ",
        text.replace(" ", "  "),
        f"{text}?",
        wide,
        wide.lower(),
    ]
    return [other for other in written if other != text and same_question(text, other)]
