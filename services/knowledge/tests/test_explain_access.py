from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest

from atrium.knowledge.v1 import access_pb2, knowledge_pb2, knowledge_service_pb2
from atrium_knowledge.testing import FakeReaders, House, open_house
from atrium_shared.audit import Decision
from atrium_shared.clock import FixedClock
from atrium_shared.errors import Unavailable
from atrium_shared.testing import error_of

TEXT = "# Guide\n\nIntro words.\n\n## Pay\n\nGrade 5 earns 30,000.\n\n## Leave\n\n25 days of leave."
NAME = "collections/handbook/documents/guide"
DOCUMENT, SECTION = access_pb2.AccessClause.DOCUMENT, access_pb2.AccessClause.SECTION


class Admin(Unavailable):
    reason = "ADMIN_AWAY"

    def __init__(self) -> None:
        super().__init__("The admin service does not answer.")


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
async def guide(tmp_path: Path, clock: FixedClock) -> AsyncIterator[House]:
    """A document for staff with a section that needs more, searchable since the first minute."""
    readers = FakeReaders(
        {
            "users/lin": ["staff", "hr/pay"],
            "users/wang": ["staff"],
            "users/zhao": ["hr/pay"],
        }
    )
    async with open_house(tmp_path, clock=clock, readers=readers) as house:
        await house.collection()
        clock.advance(60)
        await house.add(
            TEXT,
            document_id="guide",
            labels=["staff"],
            section_labels=[knowledge_pb2.SectionLabels(heading="Pay", labels=["hr/pay"])],
        )
        yield house


async def explain(
    house: House,
    name: str = NAME,
    at: datetime | None = None,
    who: str = "auditor",
    **page: object,
) -> access_pb2.ExplainAccessResponse:
    request = access_pb2.ExplainAccessRequest(name=name, **page)
    if at is not None:
        request.read_time.FromDatetime(at)
    return await house.as_(who).ExplainAccess(request)


async def label(house: House, *labels: str, sections: dict[str, list[str]] | None = None) -> None:
    await house.as_("editor").SetDocumentLabels(
        knowledge_service_pb2.SetDocumentLabelsRequest(
            name=NAME,
            labels=labels,
            section_labels=[
                knowledge_pb2.SectionLabels(heading=heading, labels=needed)
                for heading, needed in (sections or {}).items()
            ],
        )
    )


def clauses(found: access_pb2.ExplainAccessResponse) -> list[tuple[int, list[str]]]:
    return [(one.origin, list(one.labels)) for one in found.clauses]


def users(found: access_pb2.ExplainAccessResponse) -> list[str]:
    return [one.user for one in found.readers]


async def test_a_document_is_explained_by_its_labels_and_their_holders(guide: House):
    found = await explain(guide)
    assert (found.name, found.version, found.labelled_sections) == (NAME, 1, 1)
    assert clauses(found) == [(DOCUMENT, ["staff"])]
    assert users(found) == ["users/lin", "users/wang"]
    through = found.readers[0].grants[0]
    assert (through.role, list(through.via)) == ("roles/r", ["roles/r"])
    assert (through.grant, through.permission) == ("labels/staff:read", "labels/staff:read")
    assert found.policy_version == 7


async def test_a_passage_needs_the_labels_of_its_section_besides(guide: House):
    inside = await explain(guide, f"{NAME}/passages/2")
    assert clauses(inside) == [(DOCUMENT, ["staff"]), (SECTION, ["hr/pay"])]
    assert users(inside) == ["users/lin"]
    outside = await explain(guide, f"{NAME}/passages/3")
    assert clauses(outside) == [(DOCUMENT, ["staff"])]
    assert users(outside) == ["users/lin", "users/wang"]


async def test_a_document_without_labels_has_no_clause(guide: House):
    await label(guide)
    found = await explain(guide)
    assert clauses(found) == []
    assert users(found) == ["users/lin", "users/wang", "users/zhao"]
    assert guide.readers.asked[-1][0] == []


async def test_the_past_is_explained_by_the_labels_of_then(guide: House, clock: FixedClock):
    before = clock.now()
    clock.advance(60)
    await label(guide, "board", sections={"Leave": ["hr/pay"]})
    change = clock.now()
    clock.advance(60)
    await guide.add("# New\n\nOther words.", document_id="guide", labels=["all"])
    clock.advance(60)
    for moment, version, document, second, third in (
        (before, 1, ["staff"], [["hr/pay"]], []),
        (change, 1, ["board"], [], [["hr/pay"]]),
    ):
        found = await explain(guide, at=moment)
        assert (found.version, clauses(found)) == (version, [(DOCUMENT, document)])
        for ordinal, sections in ((2, second), (3, third)):
            passage = await explain(guide, f"{NAME}/passages/{ordinal}", moment)
            assert [list(one.labels) for one in passage.clauses[1:]] == sections
        assert guide.readers.asked[-1][1] == moment
    now = await explain(guide)
    assert (now.version, clauses(now)) == (2, [(DOCUMENT, ["all"])])
    assert now.labels_time.seconds == int(change.timestamp()) + 60


async def test_labels_hold_to_the_moment_that_others_replace_them(guide: House, clock: FixedClock):
    clock.advance(1)
    await label(guide, "board")
    found = await explain(guide, at=clock.now())
    assert clauses(found) == [(DOCUMENT, ["board"])]


async def test_the_reply_holds_no_text_of_the_document(guide: House):
    for name in (NAME, f"{NAME}/passages/2"):
        found = str(await explain(guide, name))
        for secret in ("Pay", "Guide", "Grade", "file.md"):
            assert secret not in found


async def test_readers_come_in_pages_that_show_one_moment(guide: House, clock: FixedClock):
    first = await explain(guide, page_size=1)
    clock.advance(60)
    await label(guide, "board")
    second = await explain(guide, page_size=1, page_token=first.next_page_token)
    assert (users(first), users(second)) == (["users/lin"], ["users/wang"])
    assert (second.read_time, clauses(second)) == (first.read_time, clauses(first))
    assert second.next_page_token == ""


async def test_a_page_token_of_another_question_is_refused(guide: House):
    first = await explain(guide, page_size=1)
    error = await error_of(
        explain(guide, f"{NAME}/passages/1", page_size=1, page_token=first.next_page_token)
    )
    assert (error.code, error.reason) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "PAGE_TOKEN_INVALID",
    )


async def test_a_time_before_the_document_is_refused_and_tells_since_when(
    guide: House, clock: FixedClock
):
    early = datetime(2030, 1, 1, tzinfo=UTC)
    error = await error_of(explain(guide, at=early))
    assert (error.code, error.reason) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "READ_TIME_BEFORE_DOCUMENT",
    )
    assert error.metadata == {
        "document": NAME,
        "read_time": early.isoformat(),
        "first_time": clock.now().isoformat(),
    }


async def test_a_document_that_was_never_searchable_has_had_no_reader(guide: House):
    await guide.done(await guide.upload("broken", document_id="torn"))
    error = await error_of(explain(guide, "collections/handbook/documents/torn"))
    assert (error.reason, error.metadata["first_time"]) == ("READ_TIME_BEFORE_DOCUMENT", "")


async def test_a_time_in_the_future_is_refused(guide: House, clock: FixedClock):
    now = clock.now()
    error = await error_of(explain(guide, at=datetime(2031, 1, 1, tzinfo=UTC)))
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "READ_TIME_AHEAD")
    assert error.metadata == {"read_time": "2031-01-01T00:00:00+00:00", "now": now.isoformat()}


async def test_a_malformed_time_is_refused(guide: House):
    request = access_pb2.ExplainAccessRequest(name=NAME)
    request.read_time.seconds = 10**15
    error = await error_of(guide.as_("auditor").ExplainAccess(request))
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("collections/handbook/documents/absent", "DOCUMENT_NOT_FOUND"),
        ("collections/handbook/documents/absent/passages/1", "PASSAGE_NOT_FOUND"),
        (f"{NAME}/passages/4", "PASSAGE_NOT_FOUND"),
        ("collections/handbook", "DOCUMENT_NOT_FOUND"),
    ],
)
async def test_what_does_not_exist_is_not_found(guide: House, name: str, reason: str):
    error = await error_of(explain(guide, name))
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, reason)
    assert name in error.metadata.values()


async def test_others_than_auditors_may_not_ask(guide: House):
    error = await error_of(explain(guide, who="editor"))
    assert (error.code, error.reason) == (
        grpc.StatusCode.PERMISSION_DENIED,
        "PERMISSION_DENIED",
    )


async def test_another_tenant_sees_no_document(guide: House):
    error = await error_of(explain(guide, who="stranger"))
    assert error.reason == "DOCUMENT_NOT_FOUND"


async def test_the_question_is_audited(guide: House):
    await explain(guide)
    event = next(one for one in guide.audit.events if one.action == "knowledge.ExplainAccess")
    assert (event.resource, event.decision) == (NAME, Decision.ALLOWED)


async def test_an_admin_service_that_is_away_is_said_to_be(guide: House):
    guide.readers.failure = Admin()
    error = await error_of(explain(guide))
    assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "ADMIN_AWAY")
