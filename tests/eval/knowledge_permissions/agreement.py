"""The allow-set says what Casbin's `enforce()` says, on random policies of any size.

Casbin, with its own role manager and its own matching, is the measure. Compared with it are
allow-sets compiled from our enforcer, also after changes that are applied one by one, and after the
way to another process. Labels, wildcards, denies, inheritance and groups are as in a company:
many roles with few rules each, few users with many roles.

Casbin looks at every rule for every question and walks the tree of its matcher for each: ten
milliseconds at 1,100 rules, a second at 110,000. So Python itself evaluates the matcher that
Casbin hands over, which is the whole difference, and Casbin as it comes is asked every fiftieth
question too: it must say the same.

    python -m tests.eval.knowledge_permissions.agreement --samples 100000 --rules 1100

With SABOTAGE=1 the denies are left out of the allow-sets: the run must report disagreements.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from casbin import Enforcer

from atrium.admin.v1 import identity_service_pb2
from atrium_admin.adapters.casbin_enforcer import MODEL, CasbinEnforcer
from atrium_admin.domain.users import Memberships
from atrium_shared.identity import allow_set_from_proto, allow_set_to_proto
from atrium_shared.principal import AllowSet, Effect, Grant, RuleBlock
from tests.figures import Figures
from tests.sabotage import exit_code, guard_removed

_GRANTS_OF_A_ROLE = 11
_QUESTIONS_OF_A_POLICY = 500
_CHANGES_OF_A_POLICY = 5
_STOCK_EVERY = 50
"""Questions of which one is asked of Casbin as it comes."""
_AREAS = ("hr", "it", "legal", "sales", "research", "board")
_PERMISSIONS = (
    ("knowledge.answers", "ask"), ("knowledge.documents", "read"),
    ("knowledge.documents", "write"), ("admin.users", "manage"), ("users/lin", "impersonate"),
)  # fmt: skip
_PATTERNS = ("knowledge.*", "users/*", "labels/*", "*", "admin.users", "knowledge.answers")
_ACTIONS = ("read", "write", "ask", "manage", "*")


@dataclass
class RandomPolicy:
    """A policy in which roles inherit from later roles alone, so that there is no circle."""

    rules: dict[str, list[Grant]] = field(default_factory=dict)
    edges: dict[str, list[str]] = field(default_factory=dict)
    groups: dict[str, list[str]] = field(default_factory=dict)
    users: dict[str, Memberships] = field(default_factory=dict)


def label(rng: random.Random) -> str:
    """Return a label such as ``labels/hr/3/7``."""
    depth = rng.randint(1, 3)
    steps = [rng.choice(_AREAS), *(str(rng.randrange(10)) for _ in range(depth - 1))]
    return "/".join(("labels", *steps))


def random_grant(rng: random.Random) -> Grant:
    """Return a rule: mostly about labels, sometimes a prefix, sometimes a deny."""
    effect = Effect.DENY if rng.random() < 0.15 else Effect.ALLOW
    if rng.random() < 0.2:
        return Grant(rng.choice(_PATTERNS), rng.choice(_ACTIONS), effect)
    resource = label(rng)
    if rng.random() < 0.2:
        resource = resource[: rng.randint(8, len(resource))] + "*"
    return Grant(resource, rng.choice(("read", "read", "read", "write", "*")), effect)


def random_policy(rng: random.Random, rules: int) -> RandomPolicy:
    """Return a policy of about ``rules`` rules, over roles of about eleven each."""
    policy = RandomPolicy()
    names = [f"r{number}" for number in range(max(2, rules // _GRANTS_OF_A_ROLE))]
    for index, name in enumerate(names):
        count = rng.randint(1, 2 * _GRANTS_OF_A_ROLE - 1)
        policy.rules[name] = list(dict.fromkeys(random_grant(rng) for _ in range(count)))
        # Casbin's own role manager follows ten steps: chains stay shorter than that.
        later = names[index + 1 : index + 40] if index % 4 == 0 else []
        policy.edges[name] = [other for other in later if int(other[1:]) % 4][: rng.randint(0, 2)]
    for number in range(max(2, len(names) // 10)):
        policy.groups[f"g{number}"] = rng.sample(names, min(len(names), rng.randint(0, 3)))
    for number in range(40):
        policy.users[f"u{number}"] = Memberships(
            frozenset(rng.sample(names, min(len(names), rng.choice((0, 1, 1, 2, 3, 8))))),
            frozenset(rng.sample(sorted(policy.groups), min(2, rng.randint(0, 2)))),
        )
    return policy


class _Compiled:
    """A matcher that Python compiles; Casbin's own evaluator walks its tree for every rule."""

    def __init__(self, expression: str, functions: dict[str, Any]) -> None:
        self._code = compile(expression.strip(), "matcher", "eval")
        self._functions = {**functions, "__builtins__": {}}

    def eval(self, names: dict[str, str]) -> Any:
        return eval(self._code, self._functions, names)


class QuickEnforcer(Enforcer):  # type: ignore[misc]  # Casbin ships no types
    """Casbin with its rules, roles, functions, effects and loop, and a compiled matcher."""

    @staticmethod
    def _get_expression(expr: str, functions: dict[str, Any] | None = None) -> _Compiled:
        # The three steps by which Casbin turns its operators into Python's.
        expr = expr.replace("&&", "and").replace("||", "or")
        return _Compiled(re.sub(r"!(?!=)", "not ", expr), functions or {})


def casbin_with(policy: RandomPolicy, kind: type[Enforcer] = Enforcer) -> Enforcer:
    """Return Casbin with a policy. Its ``add_policy`` would look for duplicates for hours."""
    enforcer = kind(kind.new_model(text=MODEL))
    model = enforcer.get_model()
    model["p"]["p"].policy = [
        [f"roles/{role}", grant.resource, grant.action, grant.effect.value]
        for role, grants in policy.rules.items()
        for grant in grants
    ]
    model["g"]["g"].policy = [
        *([f"roles/{role}", f"roles/{up}"] for role, ups in policy.edges.items() for up in ups),
        *([f"groups/{g}", f"roles/{role}"] for g, roles in policy.groups.items() for role in roles),
        *([f"users/{u}", f"roles/{role}"] for u, m in policy.users.items() for role in m.roles),
        *([f"users/{u}", f"groups/{g}"] for u, m in policy.users.items() for g in m.groups),
    ]
    enforcer.build_role_links()
    return enforcer


def our_enforcer(policy: RandomPolicy) -> CasbinEnforcer:
    """Return the service's enforcer with the same policy."""
    enforcer = CasbinEnforcer()
    enforcer.set_roles((role, grants, policy.edges[role]) for role, grants in policy.rules.items())
    for group, roles in policy.groups.items():
        enforcer.set_group(group, roles)
    return enforcer


def change(rng: random.Random, policy: RandomPolicy, enforcer: CasbinEnforcer) -> None:
    """Change one role, in the policy and, by itself, in our enforcer."""
    role = rng.choice(sorted(policy.rules))
    grants = policy.rules[role]
    if grants and rng.random() < 0.5:
        grants.pop(rng.randrange(len(grants)))
    else:
        policy.rules[role] = grants = list(dict.fromkeys([*grants, random_grant(rng)]))
    enforcer.set_roles([(role, list(grants), policy.edges[role])])


def compiled(enforcer: CasbinEnforcer, memberships: Memberships, *, sabotage: bool) -> AllowSet:
    """Return a user's allow-set as it arrives in another process."""
    blocks: list[RuleBlock] = [
        enforcer.block_of(role) for role in sorted(enforcer.roles_of(memberships))
    ]
    if sabotage:
        blocks = [
            RuleBlock(grant for grant in block.grants if grant.effect is Effect.ALLOW)
            for block in blocks
        ]
    sent = allow_set_to_proto(AllowSet.of_blocks(blocks)).SerializeToString()
    return allow_set_from_proto(identity_service_pb2.AllowSet.FromString(sent))


def question(rng: random.Random, policy: RandomPolicy, user: str) -> tuple[str, str]:
    """Return something to ask: half of the time about what one of the user's roles speaks of."""
    roles = sorted(policy.users[user].roles)
    if roles and rng.random() < 0.5 and (grants := policy.rules[rng.choice(roles)]):
        grant = rng.choice(grants)
        resource = grant.resource.removesuffix("*") + rng.choice(("", "/4", "x"))
        return resource, rng.choice((grant.action, "read"))
    if rng.random() < 0.2:
        return rng.choice(_PERMISSIONS)
    return label(rng), rng.choice(("read", "read", "write"))


def compare(part: int, questions: int, rules: int, *, seed: int, sabotage: bool) -> Counter[str]:
    """Compare on one random policy; return how often what was so.

    Args:
        part: Which policy; those of one seed differ by it.
        questions: How many to ask, spread over the changes of the policy.
        rules: Rules of the policy, about.
        seed: What the policies are drawn from.
        sabotage: Leave the denies out of the allow-sets, so that they must disagree.
    """
    rng = random.Random(f"{seed} {part}")
    policy = random_policy(rng, rules)
    enforcer = our_enforcer(policy)
    users = sorted(policy.users)
    counts = Counter(policies=1)
    for round_ in range(_CHANGES_OF_A_POLICY):
        if round_:
            change(rng, policy, enforcer)
        quick, stock = casbin_with(policy, QuickEnforcer), casbin_with(policy)
        sets = {user: compiled(enforcer, policy.users[user], sabotage=sabotage) for user in users}
        # What does not divide is asked in the first rounds.
        for _ in range(len(range(round_, questions, _CHANGES_OF_A_POLICY))):
            user = rng.choice(users)
            resource, action = question(rng, policy, user)
            expected = bool(quick.enforce(f"users/{user}", resource, action))
            if counts["asked"] % _STOCK_EVERY == 0:
                counts["asked of stock"] += 1
                same = bool(stock.enforce(f"users/{user}", resource, action)) is expected
                counts["stock disagreed"] += not same
            counts["asked"] += 1
            counts["allowed"] += expected
            counts["denied over an allow"] += not expected and any(
                block.allows.match(resource, action) for block in sets[user].blocks
            )
            counts["disagreed"] += sets[user].permits(resource, action) is not expected
    return counts


def main(
    samples: int,
    rules: int,
    *,
    sabotage: bool = False,
    seed: int = 20300102,
    processes: int = 1,
    figures: Figures | None = None,
) -> int:
    """Compare on random policies and print figures; return how often the two disagreed.

    Args:
        samples: Questions to compare on.
        rules: Rules of each policy, about.
        sabotage: Leave the denies out of the allow-sets, so that they must disagree.
        seed: What the policies are drawn from.
        processes: How many compare at a time. 1: this one.
        figures: Where the figures go.
    """
    figures = figures or Figures("eval", "knowledge_permissions")
    sizes = [
        min(_QUESTIONS_OF_A_POLICY, samples - done)
        for done in range(0, samples, _QUESTIONS_OF_A_POLICY)
    ]
    ask = partial(compare, rules=rules, seed=seed, sabotage=sabotage)
    counts: Counter[str] = Counter()
    begun = time.monotonic()
    for number, done in enumerate(_compared(ask, sizes, processes), 1):
        counts += done
        if processes > 1:
            print(
                f"policy {number} of {len(sizes)}: {counts['asked']} answers, "
                f"{counts['disagreed']} disagreements, {time.monotonic() - begun:.0f} s",
                flush=True,
            )
    asked, prefix = counts["asked"], f"agreement.rules_{rules}"
    figures.add(
        f"{prefix}.disagreements", counts["disagreed"], "answers", n=asked, target=0, at_most=True
    )
    figures.add(
        f"{prefix}.compiled_matcher_disagreements", counts["stock disagreed"], "answers",
        n=counts["asked of stock"], target=0, at_most=True,
    )  # fmt: skip
    figures.add(f"{prefix}.policies", counts["policies"], "policies", n=asked)
    figures.add(f"{prefix}.allowed_share", counts["allowed"] / asked, "share", n=asked)
    figures.add(
        f"{prefix}.denied_over_allow_share", counts["denied over an allow"] / asked, "share",
        n=asked,
    )  # fmt: skip
    return counts["disagreed"]


def _compared(
    ask: partial[Counter[str]], sizes: Sequence[int], processes: int
) -> Iterator[Counter[str]]:
    if processes == 1:
        yield from map(ask, range(len(sizes)), sizes)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        running = [pool.submit(ask, part, size) for part, size in enumerate(sizes)]
        for done in as_completed(running):
            yield done.result()


def run(arguments: Sequence[str] | None = None, folder: Path | None = None) -> int:
    """Compare as the command line says; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=100_000)
    parser.add_argument("--rules", type=int, default=1_100)
    parser.add_argument("--processes", type=int, default=2)
    chosen = parser.parse_args(arguments)
    sabotaged = guard_removed()
    area = "knowledge_permissions.sabotaged" if sabotaged else "knowledge_permissions"
    figures = Figures("eval", area, folder=folder)
    disagreed = main(
        chosen.samples,
        chosen.rules,
        sabotage=bool(sabotaged),
        processes=chosen.processes,
        figures=figures,
    )
    return exit_code(figures, sabotaged, found=disagreed)


if __name__ == "__main__":
    sys.exit(run())
