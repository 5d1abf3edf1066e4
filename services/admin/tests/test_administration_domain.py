from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from atrium_admin.domain.administration import (
    REQUIRED,
    Administration,
    covering_actions,
    covering_resources,
)
from atrium_admin.domain.roles import closure
from atrium_shared.principal import AllowSet, Effect, Grant

_ROLES = ("a", "b", "c", "d")
_grants = st.builds(
    Grant,
    st.sampled_from(
        ["*", "admin.*", "admin.users", "admin.roles", "admin.u*", "admin.user", "labels/*", "ad*"]
    ),
    st.sampled_from(["manage", "read", "*"]),
    st.sampled_from(list(Effect)),
)
_policies = st.fixed_dictionaries({role: st.lists(_grants, max_size=3) for role in _ROLES})
# Each role inherits from later ones alone, so there is no circle.
_edges = st.fixed_dictionaries(
    {
        role: st.lists(st.sampled_from(_ROLES[index + 1 :] or ("d",)), max_size=2, unique=True)
        for index, role in enumerate(_ROLES[:-1])
    }
)


@given(_policies, _edges, st.sets(st.sampled_from(_ROLES), max_size=3))
def test_the_small_part_of_a_policy_tells_an_administrator_like_the_whole(
    policy: dict[str, list[Grant]], edges: dict[str, list[str]], held: set[str]
) -> None:
    part = {
        role: [
            grant
            for grant in grants
            if grant.resource in covering_resources() and grant.action in covering_actions()
        ]
        for role, grants in policy.items()
    }
    administration = Administration({r: g for r, g in part.items() if g}, edges)
    whole = AllowSet(grant for role in closure(held, edges) for grant in policy[role])
    expected = all(whole.permits(resource, action) for resource, action in REQUIRED)
    assert administration.suffices(held) == expected
    if expected:
        assert held & administration.carriers()


def test_both_permissions_may_come_from_two_roles() -> None:
    administration = Administration(
        {"u": [Grant("admin.users", "manage")], "r": [Grant("admin.roles", "*")]}, {}
    )
    assert administration.suffices({"u", "r"})
    assert not administration.suffices({"u"})
