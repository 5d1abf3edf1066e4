from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atrium_admin.domain.errors import FieldInvalid, RoleCycle
from atrium_admin.domain.roles import (
    BUILT_IN_ROLES,
    closure,
    covers,
    require_no_cycle,
    unique_grants,
)
from atrium_shared.principal import AllowSet, Effect, Grant


def test_a_circle_is_named_from_the_role_back_to_itself() -> None:
    edges = {"b": ["c"], "c": ["d"], "d": ["a"]}
    with pytest.raises(RoleCycle) as caught:
        require_no_cycle("a", ["b"], edges, field="role.inherits")
    assert caught.value.metadata["circle"] == "roles/a -> roles/b -> roles/c -> roles/d -> roles/a"
    assert caught.value.field == "role.inherits"


def test_a_role_cannot_inherit_from_itself() -> None:
    with pytest.raises(RoleCycle) as caught:
        require_no_cycle("a", ["a"], {}, field="role.inherits")
    assert caught.value.metadata["circle"] == "roles/a -> roles/a"


def test_what_a_role_inherits_now_does_not_count_when_it_is_replaced() -> None:
    require_no_cycle("a", ["c"], {"a": ["b"], "b": [], "c": []}, field="role.inherits")


def test_roles_may_meet_again_without_a_circle() -> None:
    require_no_cycle("a", ["b", "c"], {"b": ["d"], "c": ["d"]}, field="role.inherits")


_edges = st.dictionaries(
    st.sampled_from("abcdef"), st.lists(st.sampled_from("abcdef"), max_size=3), max_size=6
)


@given(_edges, st.sampled_from("abcdef"), st.lists(st.sampled_from("abcdef"), max_size=3))
def test_a_circle_is_refused_exactly_when_the_role_would_reach_itself(
    edges: dict[str, list[str]], role: str, inherits: list[str]
) -> None:
    others = {name: parents for name, parents in edges.items() if name != role}
    reaches_itself = role in closure(inherits, others)
    try:
        require_no_cycle(role, inherits, edges, field="role.inherits")
    except RoleCycle as error:
        assert reaches_itself
        circle = [name.removeprefix("roles/") for name in error.metadata["circle"].split(" -> ")]
        assert circle[0] == circle[-1] == role
        after = {**others, role: inherits}
        assert all(parent in after[child] for child, parent in pairwise(circle))
    else:
        assert not reaches_itself


_resources = st.text(alphabet="ab/.*", max_size=5)


@given(
    st.lists(st.tuples(_resources, st.sampled_from(["read", "write", "*"])), max_size=4),
    _resources,
    st.sampled_from(["read", "write"]),
)
def test_one_grant_covers_what_an_allow_set_of_it_permits(
    rules: list[tuple[str, str]], resource: str, action: str
) -> None:
    for rule_resource, rule_action in rules:
        grant = Grant(rule_resource, rule_action)
        assert covers(grant, resource, action) == AllowSet([grant]).permits(resource, action)


def test_grants_are_kept_once_and_in_their_order() -> None:
    first, second = Grant("b", "read"), Grant("a", "read", Effect.DENY)
    assert unique_grants([first, second, first], field="role.grants") == (first, second)


def test_a_grant_with_a_control_character_is_refused_with_its_place() -> None:
    grants = [Grant("a", "read"), Grant("a\x00b", "read")]
    with pytest.raises(FieldInvalid) as caught:
        unique_grants(grants, field="role.grants")
    assert caught.value.field == "role.grants[1].resource"


def test_no_built_in_role_opens_a_labelled_document() -> None:
    for built_in in BUILT_IN_ROLES:
        for grant in built_in.role(create_time=None).grants:  # type: ignore[arg-type]
            assert not covers(grant, "labels/hr/compensation", "read")


def test_built_in_roles_inherit_from_built_in_roles_alone() -> None:
    names = {built_in.id for built_in in BUILT_IN_ROLES}
    assert all(set(built_in.inherits) <= names for built_in in BUILT_IN_ROLES)
