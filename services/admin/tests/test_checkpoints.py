from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from sqlalchemy import Executable, delete, func, insert, select, update

from atrium.admin.v1 import admin_pb2, audit_service_pb2, identity_service_pb2
from atrium.admin.v1 import admin_service_pb2 as pb
from atrium_admin.adapters import tables
from atrium_admin.adapters.aesgcm_vault import AesGcmVault
from atrium_admin.app.audit_checkpoints import SignCheckpoints
from atrium_admin.app.ports import SealedKey
from atrium_admin.app.signing import Signing
from atrium_admin.domain.audit import AuditEvent, AuditHead, AuditLine, Decision, extend
from atrium_admin.domain.checkpoints import (
    STATEMENT_KIND,
    AuditVerdict,
    Checkpoint,
    LogCheck,
    Problem,
    checkpoint_of,
)
from atrium_shared.identity import TokenSigner
from atrium_shared.statements import StatementSigner, StatementVerifier
from atrium_shared.testing import TEST_SECRET, FixedClock, SequentialIds

from .house import House, refused

Verdict = pb.VerifyAuditLogResponse
LINES, HEADS, CHECKPOINTS = tables.audit_lines, tables.audit_heads, tables.audit_checkpoints


async def append(house: House, count: int) -> None:
    entries = [
        identity_service_pb2.AppendAuditEventsRequest.Entry(
            tenant="acme",
            event=admin_pb2.AuditEvent(
                actor="users/portal",
                on_behalf_of=f"users/u{number}",
                action="knowledge.Ask",
                resource=f"collections/c{number}",
                decision=admin_pb2.AuditEvent.ALLOWED,
            ),
        )
        for number in range(count)
    ]
    request = identity_service_pb2.AppendAuditEventsRequest(entries=entries)
    await house.identity().AppendAuditEvents(request)


async def checkpoints(
    house: House, **fields: Any
) -> audit_service_pb2.ListAuditCheckpointsResponse:
    found: audit_service_pb2.ListAuditCheckpointsResponse = (
        await house.auditing().ListAuditCheckpoints(
            audit_service_pb2.ListAuditCheckpointsRequest(**fields)
        )
    )
    return found


async def verify(house: House, kept: str = "") -> pb.VerifyAuditLogResponse:
    found: pb.VerifyAuditLogResponse = await house.admin().VerifyAuditLog(
        pb.VerifyAuditLogRequest(checkpoint=kept)
    )
    return found


async def signed(house: House) -> str:
    """Sign the log of acme as it stands, and return the statement."""
    await house.app.sign_checkpoints.sign("acme")
    (row,) = await house.tamper(
        select(CHECKPOINTS.c.statement).order_by(CHECKPOINTS.c.sequence.desc()).limit(1)
    )
    return str(row.statement)


def signer_of(house: House, **settings: Any) -> SignCheckpoints:
    own = house.app.sign_checkpoints
    limits = {"events": 10, "seconds": 60.0, **settings}
    return SignCheckpoints(own._storage, own._signing, house.clock, **limits)


# A log against its checkpoints, in memory

NOW = datetime(2030, 1, 1, tzinfo=UTC)
EVENT = AuditEvent(NOW, "users/~a", "", "admin.GetUser", "", Decision.ALLOWED)


def log_of(size: int, detail: str = "") -> list[AuditLine]:
    return extend(
        "acme", AuditHead(), [replace(EVENT, tokens=n, detail=detail) for n in range(size)]
    )


def at(line: AuditLine) -> Checkpoint:
    return Checkpoint("acme", line.sequence, line.hash, NOW)


def judge(lines: list[AuditLine], *against: Checkpoint) -> AuditVerdict:
    check = LogCheck("acme")
    check.expect(against)
    check.follow(lines)
    return check.finish(AuditHead(lines[-1].sequence, lines[-1].hash) if lines else AuditHead())


def test_a_log_that_was_signed_and_grew_is_sound() -> None:
    lines = log_of(9)
    assert judge(lines, at(lines[2]), at(lines[8])) == AuditVerdict(9, 0, 2, frozenset())


def test_a_tail_that_was_cut_off_with_its_head_shows_against_a_checkpoint() -> None:
    lines = log_of(9)
    verdict = judge(lines[:5], at(lines[2]), at(lines[6]))
    assert verdict == AuditVerdict(5, 6, 1, frozenset({Problem.LINES_MISSING}))
    assert judge([], at(lines[6])).first_broken_sequence == 1


def test_a_chain_made_anew_shows_from_the_last_checkpoint_that_fits() -> None:
    lines = log_of(4)
    tail = [replace(EVENT, detail="forged", tokens=n) for n in range(6)]
    forged = [*lines, *extend("acme", AuditHead(4, lines[3].hash), tail)]
    true = log_of(10)
    verdict = judge(forged, at(true[1]), at(true[3]), at(true[7]))
    assert verdict == AuditVerdict(10, 5, 2, frozenset({Problem.CHECKPOINT_MISFIT}))


def test_a_checkpoint_of_another_tenant_says_nothing_about_this_log() -> None:
    lines = log_of(3)
    verdict = judge(lines, replace(at(lines[1]), tenant="globex"))
    assert verdict.problems == {Problem.CHECKPOINT_FORGED}


@pytest.mark.parametrize(
    "change", [{"hash": "00"}, {"sequence": "3"}, {"tenant": None}, {"time": 3}, {"time": "x"}]
)
def test_other_claims_are_no_checkpoint(change: dict[str, object]) -> None:
    claims: dict[str, object] = dict(at(log_of(1)[0]).claims())
    assert checkpoint_of(claims) == at(log_of(1)[0])
    with pytest.raises(ValueError, match=r"checkpoint|isoformat"):
        checkpoint_of({**claims, **change})


# Signing


async def test_a_log_is_signed_when_it_grew_enough_or_for_long_enough(house: House) -> None:
    sign = signer_of(house)
    await sign.sign("acme")

    async def last() -> int:
        (row,) = await house.tamper(select(func.max(CHECKPOINTS.c.sequence)))
        return int(row[0])

    start = await last()
    await sign.due()
    assert await last() == start
    await append(house, 9)
    await sign.due()
    assert await last() == start
    await append(house, 1)
    await sign.due()
    assert await last() == start + 10
    await append(house, 1)
    house.clock.advance(61)
    await sign.due()
    assert await last() == start + 11
    house.clock.advance(61)
    await sign.due()
    assert await last() == start + 11


async def test_every_tenant_is_signed_however_many(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atrium_admin.app.audit_checkpoints._TENANTS_AT_ONCE", 1)
    globex = await house.second_tenant()
    await house.admin(globex).GetTenant(pb.GetTenantRequest(name="tenants/-"))
    house.clock.advance(1_000)
    await append(house, 1)
    await signer_of(house).due()
    rows = await house.tamper(select(HEADS.c.tenant_id).where(
        HEADS.c.sequence > HEADS.c.checkpoint_sequence))  # fmt: skip
    assert rows == []


async def test_checkpoints_are_listed_with_the_keys_that_verify_them(house: House) -> None:
    for _ in range(3):
        await append(house, 2)
        await signed(house)
        house.clock.advance(5)
    first = await checkpoints(house, page_size=2)
    rest = await checkpoints(house, page_token=first.next_page_token)
    found = [*first.checkpoints, *rest.checkpoints]
    assert len(found) >= 3
    assert [c.sequence for c in found] == sorted((c.sequence for c in found), reverse=True)
    events = await house.admin().ListAuditEvents(pb.ListAuditEventsRequest(page_size=1000))
    hashes = {event.sequence: event.hash for event in events.events}
    verifier = StatementVerifier(first.jwks)
    for checkpoint in found:
        claims = verifier.verify(STATEMENT_KIND, checkpoint.statement)
        assert claims["tenant"] == "acme"
        assert claims["sequence"] == checkpoint.sequence
        assert checkpoint.hash == hashes[checkpoint.sequence]
        assert checkpoint.time.ToDatetime(UTC) <= house.clock.now()
    assert '"d"' not in first.jwks
    wrong = await refused(
        house.auditing().SearchAuditEvents(
            audit_service_pb2.SearchAuditEventsRequest(page_token=first.next_page_token)
        )
    )
    assert wrong.reason == "PAGE_TOKEN_INVALID"


# Verifying


async def test_a_sound_log_fits_its_checkpoints_and_the_one_that_was_kept(house: House) -> None:
    await append(house, 20)
    kept = await signed(house)
    await append(house, 5)
    verdict = await verify(house, kept)
    assert (verdict.intact, verdict.first_broken_sequence, list(verdict.problems)) == (True, 0, [])
    assert verdict.checkpoints >= 1


def cut_to(sequence: int, digest: bytes) -> list[Executable]:
    """Cut the tail off and let the head say so, as who holds the database can."""
    return [
        delete(LINES).where(LINES.c.tenant_id == "acme", LINES.c.sequence > sequence),
        update(HEADS)
        .where(HEADS.c.tenant_id == "acme")
        .values(sequence=sequence, hash=digest, checkpoint_sequence=sequence),
    ]


async def hash_of(house: House, sequence: int) -> bytes:
    (row,) = await house.tamper(
        select(LINES.c.hash).where(LINES.c.tenant_id == "acme", LINES.c.sequence == sequence)
    )
    return bytes(row.hash)


async def test_a_truncated_tail_shows_by_the_checkpoints_that_are_left(house: House) -> None:
    await append(house, 20)
    await signed(house)
    await house.tamper(*cut_to(8, await hash_of(house, 8)))
    verdict = await verify(house)
    assert not verdict.intact
    assert Verdict.EVENTS_MISSING in verdict.problems
    # The events that the check itself made since stand where the cut ones stood.
    assert verdict.first_broken_sequence >= 9


async def test_a_truncated_tail_without_its_checkpoints_shows_by_the_one_kept_elsewhere(
    house: House,
) -> None:
    await append(house, 20)
    kept = await signed(house)
    await house.tamper(
        *cut_to(8, await hash_of(house, 8)), delete(CHECKPOINTS).where(CHECKPOINTS.c.sequence > 8)
    )
    assert (await verify(house)).intact
    verdict = await verify(house, kept)
    assert not verdict.intact
    assert list(verdict.problems) == [Verdict.EVENTS_MISSING]


async def test_a_chain_that_was_made_anew_shows(house: House) -> None:
    await append(house, 20)
    await signed(house)
    rows = await house.tamper(select(LINES).order_by(LINES.c.sequence))
    forged = extend(
        "acme",
        AuditHead(),
        [
            AuditEvent(
                row.time, row.actor, row.on_behalf_of, row.action,
                "collections/other" if row.sequence == 6 else row.resource, Decision(row.decision),
                row.detail, row.policy_version, row.model, row.tokens,
            )
            for row in rows
        ],
    )  # fmt: skip
    await house.tamper(
        *(
            update(LINES)
            .where(LINES.c.sequence == line.sequence)
            .values(resource=line.event.resource, hash=line.hash)
            for line in forged
        ),
        update(HEADS).values(hash=forged[-1].hash),
    )
    verdict = await verify(house)
    assert Verdict.CHECKPOINT_MISFIT in verdict.problems
    assert 0 < verdict.first_broken_sequence <= 6


async def test_a_tampered_row_shows_at_its_place(house: House) -> None:
    await append(house, 20)
    await signed(house)
    await house.tamper(update(LINES).where(LINES.c.sequence == 12).values(tokens=9))
    verdict = await verify(house)
    assert (verdict.intact, verdict.first_broken_sequence) == (False, 12)
    assert list(verdict.problems) == [Verdict.CHAIN_BROKEN]


async def test_a_stored_checkpoint_that_somebody_else_signed_shows(house: House) -> None:
    await append(house, 5)
    await signed(house)
    own = TokenSigner.generate("s9")
    claims = Checkpoint("acme", 3, await hash_of(house, 3), house.clock.now()).claims()
    statement = StatementSigner(own.private_pem(), "s9").sign(STATEMENT_KIND, claims)
    sealed = AesGcmVault(b"x" * 32).seal(json.dumps(own.jwk()).encode(), "checkpoint key s9")
    await house.tamper(
        insert(CHECKPOINTS).values(tenant_id="acme", sequence=3, statement=statement),
        # Even with a public key slipped in: the installation did not seal it.
        insert(tables.checkpoint_keys).values(
            kid="s9", sealed=sealed, create_time=house.clock.now()
        ),
    )
    verdict = await verify(house)
    assert (verdict.intact, list(verdict.problems)) == (False, [Verdict.CHECKPOINT_FORGED])
    again = Signing(
        house.app.sign_checkpoints._storage, AesGcmVault(TEST_SECRET), house.clock, SequentialIds()
    )
    await again.start()
    assert again.checkpoint_in(statement) is None
    listed = (await checkpoints(house)).checkpoints
    (forged,) = [checkpoint for checkpoint in listed if checkpoint.sequence == 3]
    assert not forged.hash
    assert not forged.HasField("time")


async def test_a_pseudonym_that_was_turned_to_another_user_shows(house: House) -> None:
    await append(house, 3)
    assert (await verify(house)).intact
    names = tables.audit_pseudonyms
    await house.tamper(
        update(names).where(names.c.user_id == "u1").values(user_id="x"),
        update(names).where(names.c.user_id == "u2").values(user_id="u1"),
        update(names).where(names.c.user_id == "x").values(user_id="u2"),
    )
    verdict = await verify(house)
    assert (verdict.intact, list(verdict.problems)) == (False, [Verdict.PSEUDONYM_FORGED])
    assert verdict.first_broken_sequence == 0


async def test_a_kept_checkpoint_that_is_forged_or_foreign_is_refused(house: House) -> None:
    await house.second_tenant()
    await append(house, 3)
    kept = await signed(house)
    await house.app.sign_checkpoints.sign("globex")
    await house.admin(await foreign_key(house)).GetTenant(pb.GetTenantRequest(name="tenants/-"))
    await house.app.sign_checkpoints.sign("globex")
    (foreign,) = await house.tamper(
        select(CHECKPOINTS.c.statement).where(CHECKPOINTS.c.tenant_id == "globex").limit(1)
    )
    own = StatementSigner(TokenSigner.generate("s9").private_pem(), "s9")
    claims = Checkpoint("acme", 1, bytes(32), house.clock.now()).claims()
    cases = {
        kept[:-8] + "AAAAAAAA": "its signature does not fit",
        own.sign(STATEMENT_KIND, claims): "it is signed with an unknown key",
        own.sign("receipt", claims): "its type is not atrium-checkpoint+jwt",
        "x": "it cannot be read",
        foreign.statement: "it is of another tenant",
    }
    for statement, problem in cases.items():
        failure = await refused(verify(house, statement))
        assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
        assert (failure.reason, failure.field) == ("CHECKPOINT_INVALID", "checkpoint")
        assert failure.metadata == {"problem": problem}


async def foreign_key(house: House) -> str:
    _, key = await house.app.issue_key("globex", "admin")
    return key


async def test_checkpoints_verify_after_their_key_was_taken_out_of_use(
    house: House, clock: FixedClock
) -> None:
    await append(house, 3)
    kept = await signed(house)
    storage, vault = house.app.sign_checkpoints._storage, AesGcmVault(TEST_SECRET)
    fresh = TokenSigner.generate("s2", clock)
    sealed = vault.seal(fresh.private_pem(), "signing key s2")
    clock.advance(60)
    async with storage.write() as uow:
        await uow.signing_keys.add(SealedKey("s2", sealed, clock.now()))
    await house.tamper(delete(tables.signing_keys).where(tables.signing_keys.c.kid != "s2"))
    rotated = Signing(storage, vault, clock, SequentialIds())
    await rotated.start()
    assert "s2" in rotated.jwks
    assert rotated.jwks.count('"kid"') == 1
    assert rotated.verify_checkpoint(kept).tenant == "acme"
    newer = rotated.sign_checkpoint(Checkpoint("acme", 9, bytes(32), clock.now()))
    assert rotated.verify_checkpoint(newer).sequence == 9
    assert rotated.checkpoint_jwks.count('"kid"') == 2


# Exporting


async def test_an_export_holds_pseudonyms_and_ends_with_a_checkpoint_of_its_last_event(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atrium_admin.app.search_audit_log._LINES_AT_ONCE", 4)
    await append(house, 6)
    await signed(house)
    await append(house, 7)
    parts = [
        part
        async for part in house.auditing().ExportAuditLog(audit_service_pb2.ExportAuditLogRequest())
    ]
    header = parts[0].header
    events = [part.event for part in parts if part.WhichOneof("part") == "event"]
    assert header.tenant == "acme"
    assert [event.sequence for event in events] == list(range(1, header.sequence + 1))
    assert events[-1].hash == header.hash
    assert events[-1].action == "admin.ExportAuditLog"
    assert "users/u1" not in str(parts)
    verifier = StatementVerifier(header.jwks)
    last = checkpoint_of(verifier.verify(STATEMENT_KIND, parts[-1].checkpoint))
    assert (last.sequence, last.hash) == (header.sequence, header.hash)
    later = [
        part
        async for part in house.auditing().ExportAuditLog(
            audit_service_pb2.ExportAuditLogRequest(after=header.sequence)
        )
    ]
    assert [part.WhichOneof("part") for part in later] == ["header", "event", "checkpoint"]


async def test_an_export_of_a_cut_log_holds_the_checkpoints_of_what_is_missing(
    house: House,
) -> None:
    await append(house, 20)
    kept = await signed(house)
    await house.tamper(*cut_to(8, await hash_of(house, 8)))
    parts = [
        part
        async for part in house.auditing().ExportAuditLog(audit_service_pb2.ExportAuditLogRequest())
    ]
    assert kept in [part.checkpoint for part in parts if part.WhichOneof("part") == "checkpoint"]


async def test_the_history_is_kept_for_its_days_and_the_policy_in_force_then_stays(
    house: House,
) -> None:
    start = house.clock.now()
    for user in ("lin", "kim"):
        await house.admin().CreateUser(pb.CreateUserRequest(user_id=user, user={"email": ""}))
        house.clock.advance(timedelta(days=1_000).total_seconds())
    await house.admin().DeleteUser(pb.DeleteUserRequest(name="users/lin"))
    await house.app.forget_old_policies()

    async def readers(days: int) -> list[str]:
        request = audit_service_pb2.ListReadersRequest()
        request.read_time.FromDatetime(start + timedelta(days=days))
        found = await house.auditing().ListReaders(request)
        return [reader.user for reader in found.readers]

    # Now is day 2000; five years back, only the founding and lin were there.
    assert await readers(500) == ["users/admin", "users/lin"]
    house.clock.advance(timedelta(days=900).total_seconds())
    # As several replicas do.
    await asyncio.gather(*(house.app.forget_old_policies() for _ in range(4)))
    with pytest.raises(grpc.aio.AioRpcError):
        await readers(500)
    assert await readers(1_500) == ["users/admin", "users/kim", "users/lin"]
    assert await readers(2_100) == ["users/admin", "users/kim"]
    (row,) = await house.tamper(select(func.count()).select_from(tables.policy_versions))
    assert row[0] == 2
