"""Random tenants: documents with a canary in every passage, policies, and who may read what.

What a user may read is worked out here from the roles and labels as they were written down, by the
plainest loops there are, and with none of the code that is judged by it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace

# Long enough that no random id looks like one.
CANARY = re.compile(rb"zqzqzq[a-y]{8}")
"""What a canary looks like, in UTF-8; nothing else looks so."""

LABELS = (
    "hr/pay", "hr/leave", "hr/reviews", "hr/reviews/managers", "finance/budget", "finance/audit",
    "board/minutes", "legal/deals", "engineering/operations", "engineering/security", "region/cn",
    "region/de", "sales", "sales-partners",
)  # fmt: skip
RESOURCES = (
    *(f"labels/{label}" for label in LABELS),
    "labels/*", "labels/hr/*", "labels/hr/reviews*", "labels/finance/*", "labels/region/*",
    "labels/engineering/*", "labels/sales*", "labels/board/*",
)  # fmt: skip

_ADJECTIVES = "amber birch cobalt dusty early frosty golden hazel ivory jade lunar maple".split()
_NOUNS = "falcon harbour lantern meadow orchard pavilion quarry river summit tunnel".split()
_ZH_SUBJECTS = [f"{a}{b}项目" for a in "青松白鹭金桥银杏红枫" for b in "湖山港城园"]
_ATTRIBUTES = {
    "en": [
        ("travel allowance", "euros"), ("notice period", "days"), ("review deadline", "days"),
        ("training budget", "euros"), ("delivery time", "weeks"), ("warranty period", "months"),
        ("parking fee", "euros"), ("meal allowance", "euros"), ("overtime rate", "euros"),
        ("probation period", "months"), ("storage quota", "gigabytes"), ("response time", "hours"),
        ("audit interval", "months"), ("visitor limit", "people"), ("insurance cover", "euros"),
        ("relocation grant", "euros"), ("laptop budget", "euros"), ("holiday allowance", "days"),
    ],
    "zh": [
        ("差旅补贴", "元"), ("通知期", "天"), ("审核期限", "天"), ("培训预算", "元"),
        ("交货时间", "周"), ("保修期", "个月"), ("停车费", "元"), ("餐费补贴", "元"),
        ("试用期", "个月"), ("存储配额", "GB"), ("响应时间", "小时"), ("访客上限", "人"),
        ("保险额度", "元"), ("搬迁补助", "元"), ("设备预算", "元"), ("年假额度", "天"),
    ],
}  # fmt: skip
_SENTENCES = {
    "en": [
        "The {attribute} for the {subject} is {value} {unit}. It is filed under {canary}.",
        "For the {subject} we set the {attribute} at {value} {unit} ({canary}).",
        "File {canary}: the {attribute} of the {subject} comes to {value} {unit}.",
    ],
    "zh": [
        "{subject}的{attribute}是{value}{unit}。档案编号为{canary}。",
        "按照规定，{subject}的{attribute}为{value}{unit}（{canary}）。",
        "编号{canary}：{subject}的{attribute}定为{value}{unit}。",
    ],
}
_QUESTIONS = {
    "en": ["What is the {attribute} for the {subject}?", "{attribute} {subject}"],
    "zh": ["{subject}的{attribute}是多少？", "{attribute} {subject}"],
}
_CANARY_QUESTIONS = ["What does {canary} refer to?", "{canary}是什么？", "{canary}"]


@dataclass(frozen=True)
class Fact:
    """What one passage says."""

    subject: str
    attribute: str
    value: int
    unit: str
    language: str
    canary: str
    pattern: int

    @property
    def text(self) -> str:
        return _SENTENCES[self.language][self.pattern].format(**vars(self))

    def question(self, chance: random.Random) -> str:
        return chance.choice(_QUESTIONS[self.language]).format(**vars(self))


@dataclass(frozen=True)
class Section:
    """A heading, its labels, one passage, and what lies under it."""

    heading: str
    labels: frozenset[str]
    fact: Fact
    children: tuple[Section, ...] = ()


@dataclass(frozen=True)
class Document:
    """A document as it stands in the collection."""

    id: str
    title: str
    labels: frozenset[str]
    sections: tuple[Section, ...]

    def text(self) -> str:
        lines = [f"# {self.title}"]
        for level, section in _walk(self.sections):
            lines += [f"{'#' * level} {section.heading}", section.fact.text]
        return "\n\n".join(lines)

    def section_labels(self) -> dict[str, frozenset[str]]:
        return {one.heading: one.labels for _, one in _walk(self.sections) if one.labels}

    def canaries(self) -> Iterator[tuple[str, tuple[frozenset[str], ...]]]:
        """Yield each canary with the clauses that its reader has to meet."""
        for canary in canaries_in(self.title):
            yield canary, (self.labels,)
        yield from _canaries(self.sections, (self.labels,))

    def facts(self) -> Iterator[Fact]:
        for _, section in _walk(self.sections):
            yield section.fact

    def readable_part(self, readable: Collection[str]) -> Document:
        """Return the document without the sections whose canary is not ``readable``."""
        return replace(self, sections=_readable_part(self.sections, readable))


def _walk(sections: Iterable[Section], level: int = 2) -> Iterator[tuple[int, Section]]:
    for section in sections:
        yield level, section
        yield from _walk(section.children, level + 1)


def _canaries(
    sections: Iterable[Section], above: tuple[frozenset[str], ...]
) -> Iterator[tuple[str, tuple[frozenset[str], ...]]]:
    for section in sections:
        clauses = (*above, section.labels)
        yield section.fact.canary, clauses
        for canary in canaries_in(section.heading):
            yield canary, clauses
        yield from _canaries(section.children, clauses)


def _readable_part(sections: Iterable[Section], readable: Collection[str]) -> tuple[Section, ...]:
    return tuple(
        replace(one, children=_readable_part(one.children, readable))
        for one in sections
        if one.fact.canary in readable
    )


def canaries_in(text: str | bytes) -> set[str]:
    """Return the canaries in a text or in a serialized message."""
    data = text.encode() if isinstance(text, str) else text
    return {found.decode() for found in CANARY.findall(data)}


@dataclass(frozen=True)
class Rule:
    """A grant as it is written down."""

    resource: str
    action: str
    allow: bool


@dataclass
class Policy:
    """Roles, groups and users of a tenant."""

    rules: dict[str, list[Rule]]
    inherits: dict[str, list[str]]
    groups: dict[str, tuple[list[str], list[str]]]
    """Members and roles."""
    users: dict[str, list[str]]

    def rules_of(self, user: str) -> list[Rule]:
        """Return every rule that holds for a user."""
        waiting = list(self.users[user])
        for members, roles in self.groups.values():
            if user in members:
                waiting += roles
        held: set[str] = set()
        while waiting:
            role = waiting.pop()
            if role not in held:
                held.add(role)
                waiting += self.inherits[role]
        return [rule for role in sorted(held) for rule in self.rules[role]]

    def readable_labels(self, user: str) -> frozenset[str]:
        """Return the labels that a user may read: some rule allows it and none denies it."""
        rules = self.rules_of(user)
        return frozenset(
            label
            for label in LABELS
            if any(_speaks(rule, label) for rule in rules if rule.allow)
            and not any(_speaks(rule, label) for rule in rules if not rule.allow)
        )

    def readable(self, user: str, documents: Iterable[Document]) -> frozenset[str]:
        """Return the canaries that a user may see."""
        labels = self.readable_labels(user)
        return frozenset(
            canary
            for document in documents
            for canary, clauses in document.canaries()
            if all(not clause or clause & labels for clause in clauses)
        )


def _speaks(rule: Rule, label: str) -> bool:
    if rule.action not in ("read", "*"):
        return False
    resource = f"labels/{label}"
    if rule.resource.endswith("*"):
        return resource.startswith(rule.resource[:-1])
    return resource == rule.resource


@dataclass(frozen=True)
class Question:
    """A question, and the passage that it was made from."""

    text: str
    fact: Fact | None
    """``None``: no passage says anything about it."""
    asked: frozenset[str] = frozenset()
    """Canaries in the question itself."""


@dataclass
class World:
    """A tenant at one time; :meth:`change` leads to the next.

    Args:
        seed: Worlds of one seed and size are the same.
        documents: How many.
        users: How many.
    """

    seed: int
    size: int
    people: int
    documents: dict[str, Document] = field(init=False)
    policy: Policy = field(init=False)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)
        self._used: set[tuple[str, str]] = set()
        self.documents = {}
        for number in range(self.size):
            document = self._document(f"d{number}")
            self.documents[document.id] = document
        self.policy = self._policy()

    def fact(self) -> Fact:
        """Return a fact that no other passage states."""
        chance = self._chance
        while True:
            language = chance.choice(["en", "en", "zh"])
            if language == "en":
                subject = f"{chance.choice(_ADJECTIVES)} {chance.choice(_NOUNS)}"
            else:
                subject = chance.choice(_ZH_SUBJECTS)
            attribute, unit = chance.choice(_ATTRIBUTES[language])
            if (subject, attribute) not in self._used:
                self._used.add((subject, attribute))
                value, pattern = chance.randrange(2, 900), chance.randrange(3)
                canary = self._canary()
                return Fact(subject, attribute, value, unit, language, canary, pattern)

    def change(self) -> tuple[list[Document], list[Document], list[str]]:
        """Relabel, replace and delete some documents, and change the policy.

        Returns:
            Documents with other labels, documents with another text, ids that are gone.
        """
        chance = self._chance
        ids = chance.sample(sorted(self.documents), max(3, len(self.documents) // 3))
        gone, replaced = ids[: len(ids) // 6], ids[len(ids) // 6 : len(ids) // 2]
        relabelled = ids[len(ids) // 2 :]
        for one in gone:
            del self.documents[one]
        for one in replaced:
            # The order of a dictionary is that of the uploads. A version without any labels would
            # take those of the version before.
            del self.documents[one]
            self.documents[one] = self._document(one, share_without=0.0)
        for one in relabelled:
            before = self.documents[one]
            sections = tuple(self._relabelled(section) for section in before.sections)
            self.documents[one] = replace(before, labels=self._labels(2, 0.4), sections=sections)
        for role in chance.sample(sorted(self.policy.rules), 2):
            self.policy.rules[role] = self._rules()
        for user in chance.sample(sorted(self.policy.users), max(1, self.people // 4)):
            self.policy.users[user] = self._roles()
        return (
            [self.documents[one] for one in relabelled],
            [self.documents[one] for one in replaced],
            gone,
        )

    def ask_about(self, fact: Fact) -> str:
        """Return a question that a passage with this fact answers."""
        return fact.question(self._chance)

    def questions(self, count: int) -> list[Question]:
        """Return questions about passages, about passages by their canary, and about nothing."""
        chance = self._chance
        facts = [fact for one in self.documents.values() for fact in one.facts()]
        made: list[Question] = []
        for _ in range(count):
            draw = chance.random()
            if draw < 0.12:
                made.append(Question(self.fact().question(chance), None))
            elif draw < 0.18:
                fact = chance.choice(facts)
                text = chance.choice(_CANARY_QUESTIONS).format(canary=fact.canary)
                made.append(Question(text, fact, frozenset([fact.canary])))
            else:
                fact = chance.choice(facts)
                made.append(Question(fact.question(chance), fact))
        return made

    def _canary(self) -> str:
        return "zqzqzq" + "".join(self._chance.choices("abcdefghijklmnoprstuvwxy", k=8))

    def _document(self, document_id: str, share_without: float = 0.4) -> Document:
        title = f"{self._chance.choice(_NOUNS)} {self._canary()}"
        sections = tuple(self._section() for _ in range(self._chance.randrange(2, 5)))
        return Document(document_id, title, self._labels(2, share_without), sections)

    def _section(self, depth: int = 0) -> Section:
        fact = self.fact()
        deeper = depth == 0 and self._chance.random() < 0.25
        children = (self._section(depth + 1),) if deeper else ()
        heading = f"{self._chance.choice(_ADJECTIVES)} {self._canary()}"
        return Section(heading, self._labels(2, 0.65), fact, children)

    def _relabelled(self, section: Section) -> Section:
        children = tuple(self._relabelled(child) for child in section.children)
        return replace(section, labels=self._labels(2, 0.65), children=children)

    def _labels(self, most: int, share_without: float) -> frozenset[str]:
        if self._chance.random() < share_without:
            return frozenset()
        return frozenset(self._chance.sample(LABELS, self._chance.randrange(1, most + 1)))

    def _policy(self) -> Policy:
        chance = self._chance
        roles = [f"r{number}" for number in range(12)]
        users = [f"u{number}" for number in range(self.people)]
        policy = Policy({}, {}, {}, {})
        for number, role in enumerate(roles):
            policy.rules[role] = self._rules()
            later = roles[number + 1 :]
            policy.inherits[role] = chance.sample(later, min(len(later), chance.randrange(2)))
        for number in range(4):
            members = chance.sample(users, chance.randrange(1, len(users)))
            policy.groups[f"g{number}"] = (members, chance.sample(roles, chance.randrange(2)))
        for user in users:
            policy.users[user] = self._roles()
        return policy

    def _roles(self) -> list[str]:
        roles = [f"r{number}" for number in range(12)]
        return self._chance.sample(roles, self._chance.randrange(4))

    def _rules(self) -> list[Rule]:
        chance = self._chance
        rules = [
            Rule(chance.choice(RESOURCES), chance.choice(["read", "read", "*", "write"]), True)
            for _ in range(chance.randrange(1, 4))
        ]
        if chance.random() < 0.3:
            rules.append(Rule(chance.choice(RESOURCES), chance.choice(["read", "*"]), False))
        return rules
