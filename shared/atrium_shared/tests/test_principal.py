"""What a set of rules permits, against the plain reading of the rules."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atrium_shared.principal import (
    AllowSet,
    Effect,
    Grant,
    PermissionDenied,
    Principal,
    RuleBlock,
)
from atrium_shared.testing import make_principal


def allow(resource: str, action: str = "read") -> Grant:
    return Grant(resource, action, Effect.ALLOW)


def deny(resource: str, action: str = "read") -> Grant:
    return Grant(resource, action, Effect.DENY)


@pytest.mark.parametrize(
    ("grants", "resource", "permitted"),
    [
        ([], "labels/hr", False),
        ([allow("labels/hr")], "labels/hr", True),
        ([allow("labels/hr")], "labels/hr/compensation", False),
        ([allow("labels/hr", "write")], "labels/hr", False),
        ([allow("labels/hr", "*")], "labels/hr", True),
        ([allow("labels/hr/*")], "labels/hr/compensation", True),
        ([allow("labels/hr/*")], "labels/hr", False),
        ([allow("labels/h*")], "labels/hr", True),
        ([allow("*")], "labels/hr", True),
        ([allow("*", "*")], "labels/hr", True),
        ([allow("*"), deny("labels/hr")], "labels/hr", False),
        ([allow("labels/hr"), deny("labels/*")], "labels/hr", False),
        ([allow("labels/hr"), deny("labels/hr", "write")], "labels/hr", True),
        ([allow("labels/hr"), deny("*", "*")], "labels/hr", False),
    ],
)
def test_a_deny_wins_and_a_star_matches_what_starts_so(
    grants: list[Grant], resource: str, permitted: bool
) -> None:
    assert AllowSet(grants).permits(resource, "read") is permitted


names = st.text("ab/", min_size=1, max_size=4)
resources = st.one_of(names, names.map(lambda name: name + "*"), st.just("*"))
actions = st.sampled_from(["read", "write"])
grants = st.builds(
    Grant, resources, st.one_of(actions, st.just("*")), st.sampled_from(list(Effect))
)


def read_plainly(rules: list[Grant], resource: str, action: str) -> bool:
    """Decide by looking at each rule in turn."""
    matching = [
        rule.effect
        for rule in rules
        if rule.action in (action, "*")
        and (
            rule.resource == resource
            or (rule.resource.endswith("*") and resource.startswith(rule.resource[:-1]))
        )
    ]
    return Effect.ALLOW in matching and Effect.DENY not in matching


@given(st.lists(grants, max_size=12), names, actions)
def test_the_compiled_rules_agree_with_the_rules(
    rules: list[Grant], resource: str, action: str
) -> None:
    assert AllowSet(rules).permits(resource, action) is read_plainly(rules, resource, action)


@given(st.lists(grants, max_size=12), st.randoms())
def test_the_digest_depends_on_the_rules_alone(rules: list[Grant], random: object) -> None:
    shuffled = [*rules, *rules[:1]]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = AllowSet(rules, 1), AllowSet(shuffled, 2)
    assert one.digest == other.digest
    assert len(one.digest) == 32
    assert AllowSet([*rules, allow("somewhere/else")]).digest != one.digest


def test_the_digest_stays_the_same_from_version_to_version() -> None:
    rules = [deny("labels/hr/*"), allow("knowledge.answers", "ask")]
    lines = "knowledge.answers\task\tallow\nlabels/hr/*\tread\tdeny\n"
    assert AllowSet(rules).digest == hashlib.sha256(lines.encode()).digest()


def test_allow_sets_are_equal_when_rules_and_version_are() -> None:
    assert AllowSet([allow("a"), allow("b")], 1) == AllowSet([allow("b"), allow("a")], 1)
    assert hash(AllowSet([allow("a")], 1)) == hash(AllowSet([allow("a")], 1))
    assert AllowSet([allow("a")], 1) != AllowSet([allow("a")], 2)
    assert AllowSet([allow("a")], 1) != AllowSet([deny("a")], 1)


@given(st.lists(st.lists(grants, max_size=6), max_size=4), names, actions)
def test_rules_in_blocks_are_the_same_as_all_rules_together(
    blocks: list[list[Grant]], resource: str, action: str
) -> None:
    apart = AllowSet.of_blocks(map(RuleBlock, blocks), 3)
    together = AllowSet([rule for block in blocks for rule in block], 3)
    assert apart.permits(resource, action) is together.permits(resource, action)
    assert apart.digest == together.digest
    assert apart == together
    assert apart.grants == together.grants


@given(st.lists(st.lists(grants, max_size=4), max_size=3), st.lists(grants, max_size=6))
def test_what_is_lost_is_found_block_by_block_too(
    before: list[list[Grant]], after: list[Grant]
) -> None:
    one, other = AllowSet.of_blocks(map(RuleBlock, before)), AllowSet(after)
    gone, new = one.grants - other.grants, other.grants - one.grants
    lost = any(rule.effect is Effect.ALLOW for rule in gone) or any(
        rule.effect is Effect.DENY for rule in new
    )
    assert one.loses_to(other) is lost
    shared = RuleBlock([allow("shared")])
    with_more = AllowSet.of_blocks([shared, *one.blocks])
    assert not AllowSet.of_blocks([shared]).loses_to(AllowSet.of_blocks([shared]))
    assert with_more.loses_to(AllowSet.of_blocks([shared, *other.blocks])) is (
        lost and one.loses_to(AllowSet.of_blocks([shared, *other.blocks]))
    )


def test_any_one_label_suffices_to_read() -> None:
    allow_set = AllowSet([allow("labels/hr/compensation"), deny("labels/legal")])
    assert allow_set.may_read(["legal", "hr/compensation"])
    assert not allow_set.may_read(["legal", "engineering"])


def test_what_has_no_label_is_for_everyone() -> None:
    assert AllowSet().may_read([])
    assert AllowSet().may_read(label for label in ())


def test_the_end_users_permissions_count() -> None:
    who = make_principal("knowledge.answers:ask", actor="users/portal", on_behalf_of="users/lin")
    assert who.subject == "users/lin"
    assert make_principal(actor="users/portal").subject == "users/portal"
    assert who.may("knowledge.answers:ask")
    assert not who.may("knowledge.documents:write")


def test_a_missing_permission_is_named_in_the_denial() -> None:
    who = make_principal("knowledge.answers:ask", on_behalf_of="users/lin")
    who.require("knowledge.answers:ask")
    with pytest.raises(PermissionDenied) as caught:
        who.require("knowledge.documents:write")
    assert caught.value.reason == "PERMISSION_DENIED"
    assert caught.value.metadata == {
        "subject": "users/lin",
        "permission": "knowledge.documents:write",
    }


def test_the_token_of_a_principal_is_not_printed() -> None:
    who = Principal("acme", "users/lin", None, AllowSet(), "apiKeys/k1", token="secret")
    assert "secret" not in repr(who)
