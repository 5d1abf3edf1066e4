"""Meetings: making, finding, listing, changing and removing them, and who may."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from google.protobuf import field_mask_pb2, timestamp_pb2

from atrium.meeting.v1 import meeting_pb2, meeting_service_pb2
from atrium_meeting.testing_service import House, open_house
from atrium_shared.audit import Decision
from atrium_shared.testing import FixedClock, error_of

Get = meeting_service_pb2.GetMeetingRequest
Update = meeting_service_pb2.UpdateMeetingRequest
Delete = meeting_service_pb2.DeleteMeetingRequest
List = meeting_service_pb2.ListMeetingsRequest


async def test_a_meeting_keeps_what_is_said_of_it(house: House):
    start = timestamp_pb2.Timestamp(seconds=1_900_000_000)
    made = await house.meeting(
        start_time=start,
        languages=["zh", "en"],
        chinese_script=meeting_pb2.TRADITIONAL,
        hotwords=["Atrium", "林薇"],
        agenda=["Budget", "Hiring"],
        speaker_count=3,
    )
    found = await house.as_("reader").GetMeeting(Get(name=made.name))
    assert found == made
    assert (found.title, found.start_time, found.state) == ("Weekly", start, found.EMPTY)
    assert list(found.hotwords) == ["Atrium", "林薇"]
    assert found.chinese_script == meeting_pb2.TRADITIONAL
    assert (found.transcript_version, found.duration.ToMilliseconds()) == (0, 0)


async def test_a_repeated_request_makes_one_meeting(house: House):
    first = await house.meeting(request_id="r1")
    again = await house.meeting(request_id="r1", title="Another title")
    assert again == first
    assert (await house.meeting("admin", request_id="r1")).name != first.name


async def test_only_who_manages_meetings_chooses_ids(house: House):
    made = await house.meeting("admin", meeting_id="board-2026")
    assert made.name == "meetings/board-2026"
    refused = [
        await error_of(house.meeting("member", meeting_id=one)) for one in ("board-2026", "free")
    ]
    assert [one.reason for one in refused] == ["MEETING_ID_RESERVED"] * 2
    assert refused[0].code is grpc.StatusCode.PERMISSION_DENIED
    taken = await error_of(house.meeting("admin", meeting_id="board-2026"))
    assert (taken.reason, taken.metadata) == ("MEETING_EXISTS", {"meeting": made.name})


async def test_who_holds_no_label_sees_a_meeting_as_absent(house: House):
    hidden = await house.meeting("partner", labels=["hr/pay"])
    for who in ("member", "reader", "stranger"):
        error = await error_of(house.as_(who).GetMeeting(Get(name=hidden.name)))
        assert error.reason == "MEETING_NOT_FOUND"
        absent = await error_of(house.as_(who).GetMeeting(Get(name="meetings/none")))
        assert error.message.replace(hidden.name, "") == absent.message.replace("meetings/none", "")
    for who in ("partner", "admin"):
        assert (await house.as_(who).GetMeeting(Get(name=hidden.name))).name == hidden.name


async def test_who_created_a_meeting_may_read_it_whatever_its_labels(house: House):
    made = await house.meeting("member")
    labelled = meeting_pb2.Meeting(name=made.name, labels=["hr/pay"])
    await house.as_("admin").UpdateMeeting(Update(meeting=labelled))
    assert (await house.as_("member").GetMeeting(Get(name=made.name))).labels == ["hr/pay"]
    error = await error_of(house.as_("reader").GetMeeting(Get(name=made.name)))
    assert error.reason == "MEETING_NOT_FOUND"


async def test_nobody_sets_a_label_that_they_do_not_hold(house: House):
    error = await error_of(house.meeting("member", labels=["hr/pay"]))
    assert (error.reason, error.metadata) == ("LABEL_NOT_HELD", {"label": "hr/pay"})
    made = await house.meeting("member")
    change = Update(meeting=meeting_pb2.Meeting(name=made.name, labels=["board"]))
    assert (await error_of(house.as_().UpdateMeeting(change))).reason == "LABEL_NOT_HELD"
    await house.as_("admin").UpdateMeeting(change)
    # A label that is there already may stay.
    kept = Update(meeting=meeting_pb2.Meeting(name=made.name, title="New", labels=["board"]))
    assert (await house.as_().UpdateMeeting(kept)).title == "New"


async def test_another_tenants_meeting_is_absent_for_every_call(house: House):
    meeting = (await house.meeting()).name
    stranger = house.as_("stranger")
    calls = [
        stranger.GetMeeting(Get(name=meeting)),
        stranger.UpdateMeeting(Update(meeting=meeting_pb2.Meeting(name=meeting, title="x"))),
        stranger.DeleteMeeting(Delete(name=meeting)),
        stranger.GetTranscript(meeting_service_pb2.GetTranscriptRequest(meeting=meeting)),
        stranger.ListTranscriptVersions(
            meeting_service_pb2.ListTranscriptVersionsRequest(meeting=meeting)
        ),
        stranger.EditUtterance(
            meeting_service_pb2.EditUtteranceRequest(meeting=meeting, utterance="u1")
        ),
        stranger.NameSpeaker(
            meeting_service_pb2.NameSpeakerRequest(
                meeting=meeting, speaker="S1", display_name="Lin"
            )
        ),
        house.upload(meeting, b"data", "stranger"),
    ]
    for call in calls:
        assert (await error_of(call)).reason == "MEETING_NOT_FOUND"
    assert not (await stranger.ListMeetings(List())).meetings


async def test_lists_are_newest_first_in_pages_of_what_one_may_read(state: Path):
    clock = FixedClock()
    async with open_house(state, clock=clock) as house:
        names = []
        for number in range(7):
            hidden = number % 2 == 1
            made = await house.meeting("partner", labels=["hr/pay"] if hidden else [])
            names.append(made.name)
            clock.advance(1)
        for who, expected in (("partner", names[::-1]), ("reader", names[::-2])):
            found, token = [], ""
            while True:
                page = await house.as_(who).ListMeetings(List(page_size=2, page_token=token))
                found += [one.name for one in page.meetings]
                token = page.next_page_token
                if not token:
                    break
                assert len(page.meetings) == 2
            assert found == expected
        page = await house.as_("partner").ListMeetings(List(page_size=2))
        wrong = List(page_token=page.next_page_token + "x")
        assert (await error_of(house.as_().ListMeetings(wrong))).reason == "PAGE_TOKEN_INVALID"


async def test_an_update_takes_the_fields_of_its_mask_or_those_that_are_set(house: House):
    made = await house.meeting(agenda=["Budget"], hotwords=["Atrium"])
    change = meeting_pb2.Meeting(name=made.name, title="Monthly")
    found = await house.as_().UpdateMeeting(Update(meeting=change))
    assert (found.title, list(found.agenda)) == ("Monthly", ["Budget"])
    mask = field_mask_pb2.FieldMask(paths=["agenda", "speaker_count"])
    change = meeting_pb2.Meeting(name=made.name, speaker_count=2)
    found = await house.as_().UpdateMeeting(Update(meeting=change, update_mask=mask))
    assert (found.title, list(found.agenda), found.speaker_count) == ("Monthly", [], 2)
    assert list(found.hotwords) == ["Atrium"]
    mask = field_mask_pb2.FieldMask(paths=["state"])
    error = await error_of(house.as_().UpdateMeeting(Update(meeting=change, update_mask=mask)))
    assert (error.reason, error.metadata["path"]) == ("UPDATE_MASK_UNKNOWN", "state")


async def test_only_the_creator_and_who_manages_change_a_meeting(house: House):
    made = await house.meeting("member")
    change = Update(meeting=meeting_pb2.Meeting(name=made.name, title="Mine"))
    for call in (
        house.as_("partner").UpdateMeeting(change),
        house.as_("partner").DeleteMeeting(Delete(name=made.name)),
        house.upload(made.name, b"data", "partner"),
    ):
        error = await error_of(call)
        assert (error.reason, error.code) == (
            "MEETING_NOT_YOURS",
            grpc.StatusCode.PERMISSION_DENIED,
        )
    assert (await error_of(house.as_("reader").UpdateMeeting(change))).reason == "PERMISSION_DENIED"
    await house.as_("admin").DeleteMeeting(Delete(name=made.name))
    error = await error_of(house.as_("member").GetMeeting(Get(name=made.name)))
    assert error.reason == "MEETING_NOT_FOUND"


@pytest.mark.parametrize(
    "fields",
    [{"title": "a\x00b"}, {"title": "a\nb"}, {"hotwords": ["\u2028"]}, {"agenda": [" "]}],
)
async def test_a_name_is_one_line(house: House, fields: dict[str, object]):
    error = await error_of(house.meeting(**fields))
    assert (error.reason, error.code) == ("FIELD_INVALID", grpc.StatusCode.INVALID_ARGUMENT)
    assert "one line" in error.message


async def test_a_time_outside_of_the_calendar_is_refused(house: House):
    start = timestamp_pb2.Timestamp(seconds=-(10**14))
    assert (await error_of(house.meeting(start_time=start))).reason == "FIELD_INVALID"


async def test_hotwords_of_a_tenant_are_its_own(house: House):
    words = meeting_service_pb2.Hotwords(words=["Atrium", "陈工"])
    change = meeting_service_pb2.UpdateHotwordsRequest(hotwords=words)
    assert await house.as_("admin").UpdateHotwords(change) == words
    get = meeting_service_pb2.GetHotwordsRequest()
    assert await house.as_("reader").GetHotwords(get) == words
    assert not (await house.as_("stranger").GetHotwords(get)).words
    assert (
        await error_of(house.as_("member").UpdateHotwords(change))
    ).reason == "PERMISSION_DENIED"
    broken = meeting_service_pb2.UpdateHotwordsRequest(
        hotwords=meeting_service_pb2.Hotwords(words=["a\x00"])
    )
    assert (await error_of(house.as_("admin").UpdateHotwords(broken))).reason == "FIELD_INVALID"


async def test_calls_are_audited_with_their_decision_and_no_word(house: House):
    made = await house.meeting("partner", title="Secret title", labels=["hr/pay"])
    await error_of(house.as_("member").GetMeeting(Get(name=made.name)))
    events = {event.action: event for event in house.audit.events}
    assert events["meeting.CreateMeeting"].decision is Decision.ALLOWED
    refused = events["meeting.GetMeeting"]
    assert (refused.decision, refused.detail) == (Decision.NOT_FOUND, "MEETING_NOT_FOUND")
    assert refused.resource == made.name
    assert not any("Secret" in str(event) for event in house.audit.events)
