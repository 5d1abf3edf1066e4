"""``atrium admin audit``: what was done, who could do it, and whether the log is whole."""

from __future__ import annotations

import json
from datetime import UTC
from pathlib import Path
from typing import Annotated, Any

import typer
from google.protobuf.json_format import MessageToJson, Parse, ParseError
from rich.text import Text

from atrium.admin.v1 import admin_pb2, admin_service_pb2, audit_service_pb2
from atrium_admin.domain.audit import AuditHead, AuditLine
from atrium_admin.domain.checkpoints import (
    STATEMENT_KIND,
    AuditVerdict,
    Checkpoint,
    LogCheck,
    Problem,
    checkpoint_of,
)
from atrium_admin.rpc.convert import audit_event
from atrium_shared.statements import StatementInvalid, StatementVerifier
from atrium_suite.cli.calls import (
    DEFAULT_TARGET,
    AsJson,
    Key,
    OptionInvalid,
    Target,
    connect,
    parse_time,
    run,
)
from atrium_suite.terminal.names import full_name, moment, short_name
from atrium_suite.terminal.output import make_console, plain, print_json, print_rows

audit_app = typer.Typer(no_args_is_help=True, help="The audit log, and who could do what.")

User = Annotated[str, typer.Option(help="Only of this actor, or on this user's behalf.")]
Action = Annotated[str, typer.Option(help="Only this action, such as knowledge.Ask.")]
Last = Annotated[int, typer.Option(min=1, help="How many lines.")]
When = Annotated[
    str, typer.Option("--at", help="At this time (UTC), such as 2030-01-31T09:00. Empty: now.")
]
Kept = Annotated[
    Path | None,
    typer.Option("--checkpoint", help="File with a checkpoint that was kept elsewhere."),
]

_COLUMNS = ("#", "time (UTC)", "actor", "for", "action", "resource", "decision", "detail")
_PROBLEMS = {
    Problem.CHAIN_BROKEN: "an event was changed, or one in the middle is missing",
    Problem.LINES_MISSING: "the end was cut off",
    Problem.CHECKPOINT_MISFIT: "the chain was made anew since a checkpoint was signed",
    Problem.CHECKPOINT_FORGED: "a checkpoint was not signed by this installation for this log",
    Problem.PSEUDONYM_FORGED: "a pseudonym was turned to another user",
}
_PROBLEM_OF = {
    admin_service_pb2.VerifyAuditLogResponse.CHAIN_BROKEN: Problem.CHAIN_BROKEN,
    admin_service_pb2.VerifyAuditLogResponse.EVENTS_MISSING: Problem.LINES_MISSING,
    admin_service_pb2.VerifyAuditLogResponse.CHECKPOINT_MISFIT: Problem.CHECKPOINT_MISFIT,
    admin_service_pb2.VerifyAuditLogResponse.CHECKPOINT_FORGED: Problem.CHECKPOINT_FORGED,
    admin_service_pb2.VerifyAuditLogResponse.PSEUDONYM_FORGED: Problem.PSEUDONYM_FORGED,
}


@audit_app.command("list")
def list_audit(
    last: Last = 20,
    user: User = "",
    action: Action = "",
    target: Target = DEFAULT_TARGET,
    key: Key = "",
    as_json: AsJson = False,
) -> None:
    """Show the last lines of the audit log, newest first."""

    async def work() -> None:
        async with connect(target, key) as client:
            request = admin_service_pb2.ListAuditEventsRequest(
                user=full_name("users", user) if user else "", action=action
            )
            found = await _newest(client.admin.ListAuditEvents, request, last)
        _show_events(found, as_json=as_json)

    run(work())


@audit_app.command("search")
def search_audit(
    last: Last = 20,
    user: User = "",
    action: Action = "",
    resource: Annotated[str, typer.Option(help="Only resources that begin so.")] = "",
    decision: Annotated[
        str, typer.Option(help="Only allowed, denied, refused, not_found or failed.")
    ] = "",
    detail: Annotated[str, typer.Option(help="Only this detail or error reason.")] = "",
    since: Annotated[str, typer.Option(help="Only at or after this time (UTC).")] = "",
    until: Annotated[str, typer.Option(help="Only before this time (UTC).")] = "",
    version: Annotated[int, typer.Option(min=0, help="Only under this policy version.")] = 0,
    target: Target = DEFAULT_TARGET,
    key: Key = "",
    as_json: AsJson = False,
) -> None:
    """Find lines of the audit log, newest first."""

    async def work() -> None:
        request = audit_service_pb2.SearchAuditEventsRequest(
            user=full_name("users", user) if user else "",
            action=action,
            resource_prefix=resource,
            detail=detail,
            policy_version=version,
        )
        if decision:
            if decision.upper() not in admin_pb2.AuditEvent.Decision.keys():  # noqa: SIM118 - no dict
                raise OptionInvalid(
                    "--decision is allowed, denied, refused, not_found or failed; not "
                    f"{decision!r}."
                )
            request.decision = admin_pb2.AuditEvent.Decision.Value(decision.upper())
        if since:
            request.start_time.FromDatetime(parse_time(since, "--since"))
        if until:
            request.end_time.FromDatetime(parse_time(until, "--until"))
        async with connect(target, key) as client:
            found = await _newest(client.audit.SearchAuditEvents, request, last)
        _show_events(found, as_json=as_json)

    run(work())


@audit_app.command("readers")
def list_readers(
    labels: Annotated[
        list[str] | None,
        typer.Option(
            "--label",
            help="Labels of which a reader holds one, comma-separated: hr/pay,board. Repeat it for "
            "further labels of which one is needed too.",
            metavar="LABELS",
        ),
    ] = None,
    at: When = "",
    target: Target = DEFAULT_TARGET,
    key: Key = "",
    as_json: AsJson = False,
) -> None:
    """List who could read what carries certain labels, and through which grants."""

    async def work() -> None:
        request = audit_service_pb2.ListReadersRequest(
            clauses=[
                audit_service_pb2.LabelSet(labels=[label.strip() for label in some.split(",")])
                for some in labels or ()
            ],
            page_size=1000,
        )
        if at:
            request.read_time.FromDatetime(parse_time(at, "--at"))
        found: list[audit_service_pb2.Reader] = []
        async with connect(target, key) as client:
            while True:
                page = await client.audit.ListReaders(request)
                found += page.readers
                if not page.next_page_token:
                    break
                request.page_token = page.next_page_token
        if as_json:
            print_json(found)
            return
        print_rows(
            ("user", "opens", "through", "grant"),
            [
                (
                    short_name(reader.user) if first else "",
                    through.permission,
                    " -> ".join(through.via),
                    f"{through.grant.resource}:{through.grant.action}",
                )
                for reader in found
                for first, through in _first_marked(list(reader.grants))
            ],
            empty="Nobody could read it.",
        )

    run(work())


@audit_app.command("replay")
def replay(
    sequence: Annotated[int, typer.Argument(min=1, help="Number of the event.", metavar="EVENT")],
    target: Target = DEFAULT_TARGET,
    key: Key = "",
    as_json: AsJson = False,
) -> None:
    """Say whether an event would be decided so again: under the policy of its time, and today."""

    async def work() -> None:
        async with connect(target, key) as client:
            found = await client.audit.ReplayDecision(
                audit_service_pb2.ReplayDecisionRequest(sequence=sequence)
            )
        if as_json:
            print_json(found)
            return
        decision = admin_pb2.AuditEvent.Decision.Name(found.event.decision)
        console = make_console()
        console.print(plain(f"{found.event.action} needs {found.permission}; it was {decision}."))
        for when, replayed in (("then", found.then), ("today", found.now)):
            console.print(
                plain(
                    f"  {when}: {'' if replayed.allowed else 'not '}permitted under policy version "
                    f"{replayed.policy_version}"
                ),
                style="green" if replayed.same else "bold yellow",
            )

    run(work())


@audit_app.command("checkpoint")
def show_checkpoint(
    output: Annotated[
        Path | None, typer.Option("--output", help="File to keep the newest checkpoint in.")
    ] = None,
    keys: Annotated[Path | None, typer.Option(help="File to keep the public keys in.")] = None,
    target: Target = DEFAULT_TARGET,
    key: Key = "",
    as_json: AsJson = False,
) -> None:
    """Show the newest signed checkpoints of the log. Keep one elsewhere, with the keys."""

    async def work() -> None:
        async with connect(target, key) as client:
            found = await client.audit.ListAuditCheckpoints(
                audit_service_pb2.ListAuditCheckpointsRequest(page_size=20)
            )
        if output is not None:
            if not found.checkpoints:
                raise OptionInvalid("There is no checkpoint yet. Try again in a minute.")
            output.write_text(found.checkpoints[0].statement + "\n")
        if keys is not None:
            keys.write_text(found.jwks + "\n")
        if as_json:
            print_json(found)
            return
        print_rows(
            ("event", "signed (UTC)", "hash"),
            [
                (str(each.sequence), moment(each.time), each.hash.hex()[:16])
                for each in found.checkpoints
            ],
            empty="There is no checkpoint yet.",
        )

    run(work())


@audit_app.command("export")
def export_audit(
    file: Annotated[Path, typer.Argument(help="File to write, JSON Lines.")],
    after: Annotated[int, typer.Option(min=0, help="Only events after this one.")] = 0,
    target: Target = DEFAULT_TARGET,
    key: Key = "",
) -> None:
    """Write the log as it was sealed, with its signed checkpoints."""

    async def work() -> None:
        events = 0
        # Whole or not at all: a file that was cut short would read as a log that was cut short.
        unfinished = file.with_name(f"{file.name}.part")
        async with connect(target, key) as client:
            request = audit_service_pb2.ExportAuditLogRequest(after=after)
            with unfinished.open("w", encoding="utf-8") as lines:
                async for part in client.audit.ExportAuditLog(request):
                    lines.write(MessageToJson(part, indent=None, ensure_ascii=False) + "\n")
                    events += part.WhichOneof("part") == "event"
        unfinished.replace(file)
        make_console().print(f"Wrote {events} events to {file}.", markup=False)

    run(work())


@audit_app.command("verify")
def verify_audit(
    file: Annotated[
        Path | None, typer.Option("--file", help="Verify this export, without any server.")
    ] = None,
    keys: Annotated[
        Path | None,
        typer.Option(help="File with public keys that were kept elsewhere; for --file."),
    ] = None,
    kept: Kept = None,
    target: Target = DEFAULT_TARGET,
    key: Key = "",
    as_json: AsJson = False,
) -> None:
    """Recompute the hash chain and hold it against checkpoints. Exit 1 when it is broken."""

    async def work() -> None:
        if keys is not None and file is None:
            raise OptionInvalid("--keys goes with --file: a server verifies with its own keys.")
        statement = _read(kept).strip() if kept is not None else ""
        if file is not None:
            verdict = verify_export(file, None if keys is None else _read(keys), statement)
        else:
            async with connect(target, key) as client:
                found = await client.admin.VerifyAuditLog(
                    admin_service_pb2.VerifyAuditLogRequest(checkpoint=statement)
                )
            verdict = AuditVerdict(
                found.events,
                found.first_broken_sequence,
                found.checkpoints,
                frozenset(_PROBLEM_OF[problem] for problem in found.problems),
            )
        _show_verdict(verdict, as_json=as_json)
        if file is not None and keys is None and not as_json:
            make_console().print(
                "The signatures were checked with the keys in the file itself. Give --keys to "
                "check them with keys that you kept.",
                style="yellow",
            )
        if verdict.problems:
            raise typer.Exit(1)

    run(work())


def verify_export(file: Path, jwks: str | None, kept: str) -> AuditVerdict:
    """Verify an export without any server.

    Args:
        file: What ``export`` wrote.
        jwks: Public keys that were kept elsewhere; None takes those in the file.
        kept: A signed checkpoint that was kept elsewhere, or "".

    Raises:
        OptionInvalid: A file cannot be read or is something else.
    """
    parts = _parts(file)
    if not parts or parts[0].WhichOneof("part") != "header":
        raise OptionInvalid(f"{file} is no export of an audit log: its header is missing.")
    header = parts[0].header
    try:
        verifier = StatementVerifier(header.jwks if jwks is None else jwks)
    except ValueError as error:
        raise OptionInvalid(f"The public keys cannot be used: {error}") from error
    check = LogCheck(header.tenant)
    if kept:
        checkpoint = _checkpoint(verifier, kept)
        if checkpoint is None or checkpoint.tenant != header.tenant:
            raise OptionInvalid("The checkpoint that was kept is forged, or of another tenant.")
        check.expect([checkpoint])
    for part in parts:
        if part.WhichOneof("part") == "checkpoint":
            stored = _checkpoint(verifier, part.checkpoint)
            if stored is None:
                check.note(Problem.CHECKPOINT_FORGED)
            else:
                check.expect([stored])
    check.follow(
        AuditLine(
            part.event.sequence,
            audit_event(part.event, part.event.time.ToDatetime(UTC)),
            part.event.hash,
        )
        for part in parts
        if part.WhichOneof("part") == "event"
    )
    return check.finish(AuditHead(header.sequence, header.hash))


def _parts(file: Path) -> list[audit_service_pb2.ExportAuditLogResponse]:
    parts = []
    for number, line in enumerate(_read(file).splitlines(), start=1):
        try:
            part = Parse(line, audit_service_pb2.ExportAuditLogResponse())
        except ParseError as error:
            raise OptionInvalid(
                f"{file} is no export of an audit log: line {number} cannot be read."
            ) from error
        event = part.event
        if part.WhichOneof("part") == "event" and not (event.decision and event.HasField("time")):
            raise OptionInvalid(f"{file}, line {number}: the event has no decision or no time.")
        parts.append(part)
    return parts


def _checkpoint(verifier: StatementVerifier, statement: str) -> Checkpoint | None:
    try:
        return checkpoint_of(verifier.verify(STATEMENT_KIND, statement))
    except (StatementInvalid, ValueError):
        return None


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise OptionInvalid(f"{file} cannot be read: {error}") from error


def _show_verdict(verdict: AuditVerdict, *, as_json: bool) -> None:
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "events": verdict.events,
                    "intact": not verdict.problems,
                    "first_broken_sequence": verdict.first_broken_sequence,
                    "checkpoints": verdict.checkpoints,
                    "problems": sorted(problem.value for problem in verdict.problems),
                }
            )
        )
        return
    console = make_console()
    if not verdict.problems:
        console.print(
            f"{verdict.events} events, the chain is intact; {verdict.checkpoints} checkpoints fit.",
            style="green",
        )
        return
    for problem in sorted(verdict.problems):
        console.print(f"Broken: {_PROBLEMS[problem]}.", style="bold red")
    if verdict.first_broken_sequence:
        console.print(
            f"The chain breaks at event {verdict.first_broken_sequence}. Compare with a backup.",
            style="bold red",
        )


def _show_events(found: list[admin_pb2.AuditEvent], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    print_rows(_COLUMNS, [audit_row(each) for each in found], empty="No such events.")


async def _newest(method: Any, request: Any, last: int) -> list[admin_pb2.AuditEvent]:
    """Return the newest events that a method lists, at most ``last``."""
    found: list[admin_pb2.AuditEvent] = []
    while len(found) < last:
        request.page_size = min(last - len(found), 1000)
        page = await method(request)
        found += page.events
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    return found


def _first_marked(
    grants: list[audit_service_pb2.Reader.Through],
) -> list[tuple[bool, audit_service_pb2.Reader.Through]]:
    return [(index == 0, grant) for index, grant in enumerate(grants)]


def audit_row(event: admin_pb2.AuditEvent) -> tuple[str | Text, ...]:
    """Return what stands in one line of the audit log."""
    decision = admin_pb2.AuditEvent.Decision.Name(event.decision)
    colour = {"ALLOWED": "green", "DENIED": "red", "FAILED": "red", "REFUSED": "yellow"}
    return (
        str(event.sequence),
        event.time.ToDatetime(UTC).strftime("%Y-%m-%d %H:%M:%S"),
        short_name(event.actor),
        short_name(event.on_behalf_of),
        event.action,
        event.resource,
        Text(decision, colour.get(decision, "")),
        event.detail,
    )
