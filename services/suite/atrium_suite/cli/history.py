"""``atrium knowledge versions`` and ``explain``: what was there, and who could read it."""

from __future__ import annotations

from typing import Annotated

import typer
from google.protobuf.timestamp_pb2 import Timestamp

from atrium.knowledge.v1 import access_pb2, versions_pb2
from atrium_suite.cli.calls import (
    DEFAULT_TARGET,
    AsJson,
    AsUser,
    Key,
    OptionInvalid,
    Target,
    all_pages,
    connect,
    parse_time,
    run,
)
from atrium_suite.terminal.output import make_console, megabytes, plain, print_json, print_rows

Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="COLLECTION/DOCUMENT, COLLECTION/DOCUMENT/PASSAGE, or a whole resource name.",
    ),
]
DocumentName = Annotated[
    str, typer.Argument(metavar="NAME", help="COLLECTION/DOCUMENT, or a whole resource name.")
]
_ORIGINS = {
    access_pb2.AccessClause.DOCUMENT: "document 文档",
    access_pb2.AccessClause.SECTION: "section 章节",
}


def versions(
    name: DocumentName,
    target: Target = DEFAULT_TARGET,
    key: Key = "",
    as_user: AsUser = None,
    as_json: AsJson = False,
) -> None:
    """List the versions of a document with the labels that were in force."""

    async def work() -> None:
        async with connect(target, key, as_user) as client:
            found: list[versions_pb2.DocumentVersion] = await all_pages(
                client.knowledge.ListDocumentVersions,
                versions_pb2.ListDocumentVersionsRequest(parent=resource_name(name)),
                "versions",
            )
        if as_json:
            print_json(found)
        else:
            _print_versions(found)

    run(work())


def explain(
    name: Name,
    at: Annotated[
        str, typer.Option(help="At which time, as 2026-03-01T09:30 (UTC unless it says). Now.")
    ] = "",
    target: Target = DEFAULT_TARGET,
    key: Key = "",
    as_user: AsUser = None,
    as_json: AsJson = False,
) -> None:
    """Say who could read a document or a passage at a time, and through which grants."""

    async def work() -> None:
        request = access_pb2.ExplainAccessRequest(name=resource_name(name), page_size=1000)
        if at:
            request.read_time.FromDatetime(parse_time(at, "--at"))
        async with connect(target, key, as_user) as client:
            found = await client.knowledge.ExplainAccess(request)
            page = found
            while page.next_page_token:
                request.page_token = page.next_page_token
                page = await client.knowledge.ExplainAccess(request)
                found.readers.extend(page.readers)
        found.next_page_token = ""
        if as_json:
            print_json(found)
        else:
            _print_explanation(found)

    run(work())


def resource_name(name: str) -> str:
    """Accept "handbook/leave/12" for "collections/handbook/documents/leave/passages/12".

    Raises:
        OptionInvalid: It is neither short nor whole.
    """
    if name.startswith("collections/"):
        return name
    kinds = ("collections", "documents", "passages")
    parts = name.split("/")
    if not 2 <= len(parts) <= len(kinds) or not all(parts):
        raise OptionInvalid(
            f"NAME is COLLECTION/DOCUMENT or COLLECTION/DOCUMENT/PASSAGE; given was {name!r}."
        )
    return "/".join(f"{kind}/{part}" for kind, part in zip(kinds, parts, strict=False))


def _print_versions(found: list[versions_pb2.DocumentVersion]) -> None:
    state = versions_pb2.DocumentVersion.State
    rows = []
    for each in found:
        by = f"{each.actor} for {each.on_behalf_of}" if each.on_behalf_of else each.actor
        periods = [
            f"{', '.join(period.labels) or 'everyone'}"
            + "".join(f"; {one.heading}: {', '.join(one.labels)}" for one in period.section_labels)
            + f" ({_time(period.start_time)} – "
            + f"{_time(period.end_time) if period.HasField('end_time') else 'now'})"
            for period in each.label_periods
        ]
        rows.append(
            (
                str(each.version),
                state.Name(each.state).lower(),
                _time(each.create_time),
                by,
                megabytes(each.size_bytes),
                each.content_hash[:12],
                "yes" if each.text_kept else "no",
                each.error_message or "\n".join(periods),
            )
        )
    print_rows(
        ("version", "state", "uploaded", "by", "size", "SHA-256", "text kept", "labels in force"),
        rows,
        empty="There are no versions.",
    )


def _print_explanation(found: access_pb2.ExplainAccessResponse) -> None:
    console = make_console()
    console.print(plain(found.name, "bold"))
    console.print(
        f"At {_time(found.read_time)} UTC: version {found.version}, labels since "
        f"{_time(found.labels_time)}, policy {found.policy_version} since "
        f"{_time(found.policy_time)}"
    )
    console.print()
    print_rows(
        ("labels of", "a reader held one of"),
        [(_ORIGINS.get(one.origin, ""), ", ".join(one.labels)) for one in found.clauses],
        empty="No labels: everyone of the tenant could read it. 无标签：本租户所有人可读。",
    )
    if found.labelled_sections:
        console.print(
            f"{found.labelled_sections} of its sections had labels of their own and fewer readers."
        )
    console.print()
    rows = []
    for reader in found.readers:
        user = reader.user
        for one in reader.grants:
            rows.append((user, " → ".join(one.via), one.grant, one.permission))
            user = ""
        if not reader.grants:
            rows.append((user, "", "", ""))
    print_rows(
        ("reader 读者", "through 途径", "grant 授权", "opened 放行"),
        rows,
        empty="Nobody could read it. 无人可读。",
    )
    if found.readers:
        console.print(f"{len(found.readers)} in all.")


def _time(stamp: Timestamp) -> str:
    return stamp.ToDatetime().strftime("%Y-%m-%d %H:%M:%S")
