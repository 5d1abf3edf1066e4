"""What permissions cost at 110,000 rules: compiling, following changes, deciding, memory.

`make bench BENCH=authz`. A thousand roles of 110 rules and 10,000 users of three roles each lie in
the admin service's database. Measured are the first compilation, what one changed grant of one role
costs after it, one question's decision (who is it, may they, which labels), and the allow-sets of
all users, in the admin service and as another process keeps them. Beside them, in the same process,
one `enforce()` of Casbin over the same rules.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import gc
import logging
import os
import random
import tempfile
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import structlog
from sqlalchemy import insert, update
from sqlalchemy.ext.asyncio import AsyncSession

from atrium.admin.v1 import admin_pb2, admin_service_pb2, identity_service_pb2
from atrium_admin.adapters.casbin_enforcer import CasbinEnforcer
from atrium_admin.adapters.sql_storage import SqlStorage
from atrium_admin.adapters.tables import role_grants, roles, tenants, user_roles, users
from atrium_admin.app.compile_policy import CompilePolicy
from atrium_admin.app.create_tenant import TenantDraft
from atrium_admin.bootstrap import MIGRATIONS, AdminApp, build
from atrium_admin.domain.users import Memberships
from atrium_admin.settings import AdminSettings
from atrium_client import AtriumClient, readable_errors
from atrium_shared.database import Database
from atrium_shared.identity import allow_set_from_proto, allow_set_to_proto
from atrium_shared.principal import RuleBlock
from atrium_shared.testing import TEST_SECRET, make_principal, running_server
from tests.figures import Figures

TENANT = "acme"
GRANTS_OF_A_ROLE = 110
ROLES_OF_A_USER = 3
QUESTIONS = 50_000
CLASSES_ASKED = 5
CHANGES = 20
ENFORCED = 20

DECISION_TARGET_MS = 1.0
MEMORY_TARGET_MB = 500.0
_ROWS_AT_ONCE = 5_000


def resident_mb() -> float:
    """Return this process's resident memory, after what is free was given back, in MB."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def label(number: int, position: int) -> str:
    """Return the label that the rule at a position of a role is about."""
    return f"labels/area{number % 40}/team{number}/topic{position}"


def settings(folder: Path) -> AdminSettings:
    """Return settings whose database lies in ``folder``."""
    return AdminSettings(
        ATRIUM_SECRET=TEST_SECRET.hex(), database_url=f"sqlite+aiosqlite:///{folder}/admin.db"
    )


async def found(folder: Path) -> str:
    """Make the tenant and return its administrator's key."""
    app = build(settings(folder))
    await app.service_app.start()
    principal = make_principal(tenant="", actor="services/suite")
    made = await app.bootstrap(principal, TenantDraft(TENANT))
    await app.service_app.stop()
    return made.credential


async def fill(database: Database, role_count: int, user_count: int) -> None:
    """Put roles with their rules, and users with their roles, straight into the database."""
    rng = random.Random(7)
    now = datetime.now(UTC)
    async with database.write() as session:
        await _insert(
            session,
            roles,
            (
                {"tenant_id": TENANT, "id": f"r{n}", "display_name": "", "built_in": False,
                 "create_time": now}
                for n in range(role_count)
            ),
        )  # fmt: skip
        await _insert(
            session,
            role_grants,
            (
                {"tenant_id": TENANT, "role_id": f"r{n}", "position": position,
                 "resource": label(n, position) + ("/*" if position % 10 == 0 else ""),
                 "action": "read", "effect": "deny" if position % 50 == 49 else "allow"}
                for n in range(role_count)
                for position in range(GRANTS_OF_A_ROLE)
            ),
        )  # fmt: skip
        await _insert(
            session,
            users,
            (
                {"tenant_id": TENANT, "id": f"u{n}", "display_name": "", "kind": "person",
                 "email": "", "disabled": False, "create_time": now}
                for n in range(user_count)
            ),
        )  # fmt: skip
        await _insert(
            session,
            user_roles,
            (
                {"tenant_id": TENANT, "user_id": f"u{n}", "role_id": role}
                for n in range(user_count)
                for role in (
                    "member",
                    *(f"r{number}" for number in rng.sample(range(role_count), ROLES_OF_A_USER)),
                )
            ),
        )
        await session.execute(update(tenants).values(policy_version=tenants.c.policy_version + 1))


async def _insert(session: AsyncSession, table: object, rows: Iterable[dict[str, object]]) -> None:
    batch: list[dict[str, object]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == _ROWS_AT_ONCE:
            await session.execute(insert(table), batch)  # type: ignore[call-overload]
            batch = []
    if batch:
        await session.execute(insert(table), batch)  # type: ignore[call-overload]


async def measure(figures: Figures, folder: Path, rules: int, user_count: int) -> None:
    """Measure everything over one database."""
    role_count = rules // GRANTS_OF_A_ROLE
    key = await found(folder)
    database = Database(settings(folder).database_url, migrations=MIGRATIONS, name="admin")
    await database.start()
    await fill(database, role_count, user_count)

    before = resident_mb()
    storage, enforcer = SqlStorage(database), CasbinEnforcer()
    compile_policy = CompilePolicy(storage, lambda: enforcer)
    begun = time.perf_counter()
    await compile_policy(TENANT, "u0", 0)
    cold = time.perf_counter() - begun
    figures.add("cold_compile", cold, "s", n=rules)
    figures.add("policy_rss", resident_mb() - before, "MB", n=rules)

    app = build(settings(folder))
    async with running_server(
        [app.service_app], authenticator=app.authenticator, audit=app.audit
    ) as server:
        async with AtriumClient(key, target=server.target) as admin:
            await _follow_changes(figures, admin, compile_policy, cold, role_count)
            reader = await _key_of(admin, "u1")
        async with storage.read() as uow:
            memberships = await uow.users.memberships(TENANT, "u1")
        assert memberships is not None
        await _decide(figures, app, reader, enforcer, memberships)
    await _keep_all(figures, compile_policy, user_count)
    await database.close()


async def _key_of(admin: AtriumClient, user: str) -> str:
    request = admin_service_pb2.CreateApiKeyRequest(user=f"users/{user}")
    with readable_errors():
        return (await admin.admin.CreateApiKey(request)).secret


async def _follow_changes(
    figures: Figures,
    admin: AtriumClient,
    compile_policy: CompilePolicy,
    cold: float,
    role_count: int,
) -> None:
    """Take a grant from a role and give it back, and ask about somebody who holds the role."""
    calls, follows, others = [], [], []
    holder, role = "holder", f"r{role_count - 1}"
    with readable_errors():
        user = admin_pb2.User(roles=["roles/member", f"roles/{role}"])
        await admin.admin.CreateUser(admin_service_pb2.CreateUserRequest(user_id=holder, user=user))
        full = await admin.admin.GetRole(admin_service_pb2.GetRoleRequest(name=f"roles/{role}"))
        for number in range(CHANGES):
            await compile_policy(TENANT, holder, 1 << 40)
            await compile_policy(TENANT, "u0", 1 << 40)
            changed = admin_pb2.Role(
                name=full.name, grants=full.grants[1:] if number % 2 == 0 else full.grants
            )
            request = admin_service_pb2.UpdateRoleRequest(role=changed)
            request.update_mask.paths.append("grants")
            begun = time.perf_counter()
            await admin.admin.UpdateRole(request)
            called = time.perf_counter()
            allow_set = await compile_policy(TENANT, holder, 1 << 40)
            followed = time.perf_counter()
            await compile_policy(TENANT, "u0", 1 << 40)
            others.append(time.perf_counter() - followed)
            calls.append(called - begun)
            follows.append(followed - called)
            lacks = not allow_set.permits(full.grants[0].resource.rstrip("*") + "x", "read")
            assert lacks is (number % 2 == 0)
    figures.add("change.update_role_p50", _at(calls, 0.5) * 1e3, "ms", n=CHANGES)
    for name, values in (("holder", follows), ("somebody_else", others)):
        for share in (0.5, 0.99):
            figures.add(
                f"change.compile_for_{name}_p{share * 100:.0f}",
                _at(values, share) * 1e3,
                "ms",
                n=CHANGES,
                baseline=cold * 1e3,
            )


async def _decide(
    figures: Figures,
    app: AdminApp,
    key: str,
    enforcer: CasbinEnforcer,
    memberships: Memberships,
) -> None:
    """Time one question: who calls, may they ask, which of some passages may they read."""
    rng = random.Random(3)
    authenticate = app.authenticator.authenticate
    allow_set = (await authenticate(key, None)).allow_set
    mine = [grant.resource.removeprefix("labels/") for grant in allow_set.grants]
    spent = []
    for _ in range(QUESTIONS):
        asked = [
            rng.choice(mine) if rng.random() < 0.5 else f"area1/team{rng.randrange(900)}/topic3"
            for _ in range(CLASSES_ASKED)
        ]
        begun = time.perf_counter()
        principal = await authenticate(key, None)
        principal.may("knowledge.answers:ask")
        for one in asked:
            principal.allow_set.may_read((one,))
        spent.append(time.perf_counter() - begun)
    enforcer.enforce("users/u1", memberships, "labels/none", "read")  # lists its rules once
    enforced = []
    for _ in range(ENFORCED):
        resource = f"labels/{rng.choice(mine)}"
        begun = time.perf_counter()
        allowed = enforcer.enforce("users/u1", memberships, resource, "read")
        enforced.append(time.perf_counter() - begun)
        assert allowed is allow_set.permits(resource, "read")
    baseline = _at(enforced, 0.5) * 1e3
    figures.add("enforce_p50", baseline, "ms", n=ENFORCED)
    figures.add("decision_p50", _at(spent, 0.5) * 1e3, "ms", n=QUESTIONS, baseline=baseline)
    figures.add(
        "decision_p99",
        _at(spent, 0.99) * 1e3,
        "ms",
        n=QUESTIONS,
        target=DECISION_TARGET_MS,
        at_most=True,
        baseline=baseline,
    )
    ratio = baseline / (_at(spent, 0.5) * 1e3)
    figures.add("enforce_over_decision", ratio, "ratio", n=QUESTIONS)


async def _keep_all(figures: Figures, compile_policy: CompilePolicy, user_count: int) -> None:
    """Compile the allow-sets of all users, and keep them as another process does."""
    before = resident_mb()
    begun = time.perf_counter()
    kept = [await compile_policy(TENANT, f"u{n}", 0) for n in range(user_count)]
    spent = time.perf_counter() - begun
    figures.add("users.compile", spent / user_count * 1e3, "ms", n=user_count)
    _add_memory(figures, "users.admin_rss", resident_mb() - before, user_count)

    before = resident_mb()
    known: dict[bytes, RuleBlock] = {}
    there = []
    begun = time.perf_counter()
    for allow_set in kept:
        sent = allow_set_to_proto(allow_set).SerializeToString()
        there.append(allow_set_from_proto(identity_service_pb2.AllowSet.FromString(sent), known))
    spent = time.perf_counter() - begun
    figures.add("users.send_and_receive", spent / user_count * 1e3, "ms", n=user_count)
    _add_memory(figures, "users.replica_rss", resident_mb() - before, user_count)
    assert len({id(block) for one in there for block in one.blocks}) == len(known)


def _add_memory(figures: Figures, name: str, megabytes: float, n: int) -> None:
    figures.add(name, megabytes, "MB", n=n, target=MEMORY_TARGET_MB, at_most=True)


def _at(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="make bench BENCH=authz", description=__doc__)
    parser.add_argument("--rules", type=int, default=110_000)
    parser.add_argument("--users", type=int, default=10_000)
    chosen = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(Figures("bench", "authz"), Path(folder), chosen.rules, chosen.users))


if __name__ == "__main__":
    main()
