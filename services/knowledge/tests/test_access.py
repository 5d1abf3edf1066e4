import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atrium_knowledge.app.access_classes import AccessClasses
from atrium_knowledge.domain.access import EVERYONE, AccessRule
from atrium_knowledge.domain.documents import SectionLabels, access_rule
from atrium_shared.principal import AllowSet, Effect, Grant
from atrium_shared.testing import make_principal

LABELS = st.sampled_from(["hr", "hr/pay", "finance", "board"])
CLAUSES = st.lists(st.frozensets(LABELS, max_size=3), max_size=4)


@given(CLAUSES, st.frozensets(LABELS))
def test_a_rule_means_what_its_clauses_mean(clauses: list[frozenset[str]], held: frozenset[str]):
    allow_set = AllowSet([Grant(f"labels/{label}", "read", Effect.ALLOW) for label in held])
    expected = all(allow_set.may_read(clause) for clause in clauses)
    assert AccessRule.of(clauses).met_by(allow_set.may_read) == expected


@given(CLAUSES, st.randoms())
def test_equal_rights_are_one_rule(clauses: list[frozenset[str]], chance: random.Random):
    shuffled = [*clauses, *chance.sample(clauses, len(clauses) // 2), frozenset()]
    chance.shuffle(shuffled)
    assert AccessRule.of(shuffled) == AccessRule.of(clauses)


def test_a_clause_that_another_implies_is_left_out():
    assert AccessRule.of([{"hr", "finance"}, {"hr"}]) == AccessRule.of([{"hr"}])
    assert AccessRule.of([set()]) == EVERYONE


def test_only_the_sections_on_the_way_count():
    sections = [
        SectionLabels("Pay", frozenset({"hr/pay"})),
        SectionLabels("Board", frozenset({"board"})),
    ]
    rule = access_rule(frozenset({"staff"}), sections, ("Guide", "Pay", "Grades"))
    assert rule == AccessRule.of([{"staff"}, {"hr/pay"}])
    assert access_rule(frozenset(), sections, ("Guide",)) == EVERYONE


class FakeRules:
    """The access classes of one collection, and how often they were looked up."""

    def __init__(self) -> None:
        self.rules: dict[int, AccessRule] = {}

    async def access_rules(self, uid: str, after: int) -> dict[int, AccessRule]:
        return {number: rule for number, rule in self.rules.items() if number > after}


@pytest.fixture
def rules() -> FakeRules:
    return FakeRules()


async def test_classes_that_appear_later_are_seen(rules: FakeRules):
    classes = AccessClasses(rules)
    reader = make_principal(labels=["hr/*"])
    assert await classes.permitted(reader, "c") == frozenset()
    rules.rules[1] = EVERYONE
    rules.rules[2] = AccessRule.of([{"board"}])
    assert await classes.permitted(reader, "c") == {1}
    rules.rules[3] = AccessRule.of([{"hr/pay", "board"}])
    assert await classes.permitted(reader, "c") == {1, 3}


async def test_another_policy_has_other_classes_at_once(rules: FakeRules):
    classes = AccessClasses(rules)
    rules.rules = {1: EVERYONE, 2: AccessRule.of([{"hr/pay"}])}
    assert await classes.permitted(make_principal(labels=["hr/*"]), "c") == {1, 2}
    assert await classes.permitted(make_principal(), "c") == {1}


async def test_collections_have_classes_of_their_own(rules: FakeRules):
    classes = AccessClasses(rules)
    rules.rules = {1: EVERYONE}
    reader = make_principal()
    assert await classes.permitted(reader, "a") == {1}
    rules.rules = {1: AccessRule.of([{"board"}])}
    assert await classes.permitted(reader, "b") == frozenset()
