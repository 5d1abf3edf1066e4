"""Casbin as it comes, our enforcer, and the compiled allow-set answer alike."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from casbin import Enforcer
from hypothesis import given, settings
from hypothesis import strategies as st

from atrium_admin.adapters.casbin_enforcer import MODEL, CasbinEnforcer
from atrium_admin.domain.users import Memberships
from atrium_shared.principal import AllowSet, Effect, Grant

RESOURCES = [
    "labels/hr", "labels/hr/pay", "labels/hr/pay/2030", "labels/it", "labels/", "labels",
    "knowledge.documents", "knowledge.answers", "admin.users", "users/lin", "users/li", "*", "l",
    "labels/*", "LABELS/HR", "labels/hr ", "",
]  # fmt: skip
PATTERNS = [
    *[resource for resource in RESOURCES if resource], "labels/hr*", "labels/hr/*", "labels*",
    "lab*", "k*", "knowledge.*", "users/*", "users/li*", "*", "labels/*", "labels/hr*",
]  # fmt: skip
ACTIONS = ["read", "write", "manage", "*", "rea", "reads"]


@dataclass
class Policy:
    """A random policy: roles inherit from later roles alone, so there is no circle."""

    rules: dict[str, list[Grant]] = field(default_factory=dict)
    edges: dict[str, list[str]] = field(default_factory=dict)
    groups: dict[str, list[str]] = field(default_factory=dict)
    users: dict[str, Memberships] = field(default_factory=dict)


def random_policy(rng: random.Random, *, roles: int, grants: int) -> Policy:
    policy = Policy()
    names = [f"r{number}" for number in range(roles)]
    for index, name in enumerate(names):
        policy.rules[name] = [
            Grant(
                rng.choice(PATTERNS),
                rng.choice(ACTIONS),
                rng.choices(list(Effect), weights=[2, 1])[0],
            )
            for _ in range(rng.randint(0, grants))
        ]
        later = names[index + 1 :]
        policy.edges[name] = rng.sample(later, min(len(later), rng.randint(0, 2)))
    for number in range(3):
        policy.groups[f"g{number}"] = rng.sample(names, min(roles, rng.randint(0, 2)))
    for number in range(4):
        policy.users[f"u{number}"] = Memberships(
            frozenset(rng.sample(names, min(roles, rng.randint(0, 2)))),
            frozenset(rng.sample(sorted(policy.groups), rng.randint(0, 2))),
        )
    return policy


def stock_casbin(policy: Policy) -> Enforcer:
    """Casbin with its own role manager, filled through its own methods."""
    enforcer = Enforcer(Enforcer.new_model(text=MODEL))
    for role, grants in policy.rules.items():
        for grant in dict.fromkeys(grants):
            enforcer.add_policy(f"roles/{role}", grant.resource, grant.action, grant.effect.value)
        for parent in policy.edges[role]:
            enforcer.add_grouping_policy(f"roles/{role}", f"roles/{parent}")
    for group, roles in policy.groups.items():
        for role in roles:
            enforcer.add_grouping_policy(f"groups/{group}", f"roles/{role}")
    for user, memberships in policy.users.items():
        for role in memberships.roles:
            enforcer.add_grouping_policy(f"users/{user}", f"roles/{role}")
        for group in memberships.groups:
            enforcer.add_grouping_policy(f"users/{user}", f"groups/{group}")
    return enforcer


def our_enforcer(policy: Policy) -> CasbinEnforcer:
    enforcer = CasbinEnforcer()
    enforcer.set_roles(
        (role, list(dict.fromkeys(grants)), policy.edges[role])
        for role, grants in policy.rules.items()
    )
    for group, roles in policy.groups.items():
        enforcer.set_group(group, roles)
    return enforcer


def compiled(enforcer: CasbinEnforcer, memberships: Memberships) -> AllowSet:
    roles = enforcer.roles_of(memberships)
    return AllowSet(grant for role in roles for grant in enforcer.grants_of(role))


def questions(rng: random.Random, policy: Policy, count: int) -> Iterator[tuple[str, str, str]]:
    for _ in range(count):
        user = rng.choice(sorted(policy.users))
        yield user, rng.choice(RESOURCES), rng.choice(ACTIONS)


def test_compiled_sets_agree_with_casbin_on_thousands_of_random_cases() -> None:
    rng = random.Random(20300102)
    asked = allowed = denied = 0
    for _ in range(100):
        policy = random_policy(rng, roles=rng.randint(1, 8), grants=5)
        stock, ours = stock_casbin(policy), our_enforcer(policy)
        sets = {user: compiled(ours, member) for user, member in policy.users.items()}
        for user, resource, action in questions(rng, policy, 40):
            expected = stock.enforce(f"users/{user}", resource, action)
            name, member = f"users/{user}", policy.users[user]
            assert ours.enforce(name, member, resource, action) == expected
            assert sets[user].permits(resource, action) == expected, (user, resource, action)
            asked += 1
            allowed += expected
            denied += not expected and any(
                grant.effect is Effect.ALLOW and AllowSet([grant]).permits(resource, action)
                for grant in sets[user].grants
            )
    # The cases must reach what they are for: permissions, and denies that win over allows.
    assert asked == 4_000
    assert allowed > 500
    assert denied > 100


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.builds(
            Grant,
            st.from_regex(r"([ab/]{1,4}\*?|\*)", fullmatch=True),
            st.sampled_from(["read", "write", "*"]),
            st.sampled_from(list(Effect)),
        ),
        max_size=6,
    ),
    st.text(alphabet="ab/*", max_size=5),
    st.sampled_from(["read", "write", "manage"]),
)
def test_wildcards_mean_the_same_to_casbin_and_to_an_allow_set(
    grants: list[Grant], resource: str, action: str
) -> None:
    policy = Policy(
        rules={"r": grants},
        edges={"r": []},
        users={"u": Memberships(frozenset({"r"}), frozenset())},
    )
    expected = stock_casbin(policy).enforce("users/u", resource, action)
    assert AllowSet(grants).permits(resource, action) == expected
    enforcer = our_enforcer(policy)
    assert enforcer.enforce("users/u", policy.users["u"], resource, action) == expected


def test_inheritance_reaches_further_than_ten_steps() -> None:
    # Casbin's own role manager stops at ten.
    chain = [f"r{number}" for number in range(40)]
    policy = Policy(
        rules={name: [] for name in chain} | {"r39": [Grant("labels/deep", "read")]},
        edges={name: chain[index + 1 : index + 2] for index, name in enumerate(chain)},
        users={"u": Memberships(frozenset({"r0"}), frozenset())},
    )
    enforcer = our_enforcer(policy)
    assert enforcer.enforce("users/u", policy.users["u"], "labels/deep", "read")
    assert compiled(enforcer, policy.users["u"]).permits("labels/deep", "read")


def test_changes_one_by_one_lead_to_the_same_as_loading_anew() -> None:
    rng = random.Random(7)
    policy = random_policy(rng, roles=8, grants=4)
    enforcer = our_enforcer(policy)
    for _ in range(120):
        other = random_policy(rng, roles=8, grants=4)
        role, group = f"r{rng.randrange(8)}", f"g{rng.randrange(3)}"
        match rng.randrange(4):
            case 0:
                policy.rules[role], policy.edges[role] = other.rules[role], other.edges[role]
                grants = list(dict.fromkeys(policy.rules[role]))
                enforcer.set_roles([(role, grants, policy.edges[role])])
            case 1:
                policy.rules[role], policy.edges[role] = [], []
                enforcer.remove_role(role)
            case 2:
                policy.groups[group] = other.groups[group]
                enforcer.set_group(group, policy.groups[group])
            case 3:
                policy.groups[group] = []
                enforcer.remove_group(group)
        fresh = our_enforcer(policy)
        for member in policy.users.values():
            assert enforcer.roles_of(member) - {role} == fresh.roles_of(member) - {role}
            assert compiled(enforcer, member) == compiled(fresh, member)
        for user, resource, action in questions(rng, policy, 5):
            name, member = f"users/{user}", policy.users[user]
            assert enforcer.enforce(name, member, resource, action) == fresh.enforce(
                name, member, resource, action
            )
