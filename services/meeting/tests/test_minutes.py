"""Minutes, catch-up, answers and feedback, through the running service."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from google.longrunning import operations_pb2
from google.rpc import error_details_pb2

from atrium.meeting.v1 import meeting_pb2, meeting_service_pb2, minutes_pb2
from atrium_meeting.testing_service import PEOPLE, FakeDelegation, House, away, speech
from atrium_shared.models import Embedding
from atrium_shared.principal import Principal
from atrium_shared.testing import error_of, make_principal
from atrium_shared.testing_models import NoEmbedder

Opened = Callable[..., AbstractAsyncContextManager[House]]
Write = meeting_service_pb2.WriteMinutesRequest
Get = meeting_service_pb2.GetMinutesRequest
List = meeting_service_pb2.ListMinutesRequest
CatchUp = meeting_service_pb2.CatchUpRequest
Ask = meeting_service_pb2.AskMeetingRequest
Give = meeting_service_pb2.GiveFeedbackRequest

SAID = (
    "Welcome everybody, let us begin with the budget of the new office.",
    "So we go with the second floor from March.",
    "Anna will send the contract to the landlord by Friday.",
    "The next topic is hiring, we have three open positions.",
)


async def spoken(house: House, who: str = "member", **fields: Any) -> meeting_pb2.Meeting:
    return await house.transcribed(*SAID, who=who, seconds=5.0, **fields)


async def written(
    house: House, meeting: str, who: str = "member", **fields: Any
) -> minutes_pb2.Minutes:
    operation = await house.done(
        await house.as_(who).WriteMinutes(Write(meeting=meeting, **fields)), who
    )
    assert not operation.HasField("error"), operation.error
    minutes = minutes_pb2.Minutes()
    operation.response.Unpack(minutes)
    return minutes


def reason_of(operation: operations_pb2.Operation) -> str:
    info = error_details_pb2.ErrorInfo()
    for detail in operation.error.details:
        if detail.Is(info.DESCRIPTOR):
            detail.Unpack(info)
    return str(info.reason)


class GatedEmbedder(NoEmbedder):
    """Is asked once minutes are being written, and waits to be let on."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.go = asyncio.Event()

    async def embed(self, principal: Principal, texts: Sequence[str], kind: Any) -> Embedding:
        self.asked.set()
        await self.go.wait()
        return await super().embed(principal, texts, kind)


async def test_minutes_are_written_stored_and_cite_words(house: House):
    meeting = await spoken(house)
    minutes = await written(house, meeting.name)
    assert minutes.name.startswith(f"{meeting.name}/minutes/n")
    assert (minutes.transcript_version, minutes.language) == (1, "en")
    assert minutes.type_detected
    assert await house.as_("reader").GetMinutes(Get(name=minutes.name)) == minutes
    (action,) = minutes.actions
    assert "Anna" in (action.owner + action.sentence.text)
    raw = {one.id: one for one in (await house.transcript(meeting.name)).utterances}
    everything = [*minutes.overview, *(one.sentence for one in minutes.decisions)]
    for section in minutes.sections:
        everything += section.sentences
    assert everything
    for sentence in everything:
        assert sentence.citations
        for citation in sentence.citations:
            words = raw[citation.utterance].words[citation.start_word : citation.end_word]
            assert words
            assert citation.start_ms == words[0].start_ms
            assert citation.quote


async def test_a_recording_can_be_uploaded_with_minutes_wanted(house: House):
    meeting = await house.meeting()
    house.fakes.transcriber.enqueue(*SAID)
    upload = await house.upload(meeting.name, speech(5, 5, 5, 5), write_minutes=True)
    operation = await house.done(upload)
    progress = meeting_service_pb2.UploadRecordingMetadata()
    operation.metadata.Unpack(progress)
    assert progress.stage_times[-1].stage == progress.WRITING
    minutes = await house.as_().GetMinutes(Get(name=progress.minutes))
    assert minutes.actions
    assert house.stored_rows("minutes_parts") == []


async def test_minutes_are_listed_newest_first_without_sections(house: House):
    meeting = await spoken(house)
    names = [(await written(house, meeting.name)).name for _ in range(3)]
    page = await house.as_("reader").ListMinutes(List(parent=meeting.name, page_size=2))
    assert [one.name for one in page.minutes] == names[:0:-1]
    assert not page.minutes[0].sections
    assert page.minutes[0].actions
    page = await house.as_("reader").ListMinutes(
        List(parent=meeting.name, page_size=2, page_token=page.next_page_token)
    )
    assert ([one.name for one in page.minutes], page.next_page_token) == (names[:1], "")
    wrong = List(parent=meeting.name, page_token="x")
    assert (await error_of(house.as_().ListMinutes(wrong))).reason == "PAGE_TOKEN_INVALID"


async def test_a_repeated_request_writes_minutes_once(house: House):
    meeting = await spoken(house)
    request = Write(meeting=meeting.name, request_id="r1")
    first = await house.as_().WriteMinutes(request)
    again = await house.as_().WriteMinutes(request)
    await house.done(first)
    assert again.name == first.name
    assert (await house.as_().WriteMinutes(request)).name == first.name
    assert len((await house.as_().ListMinutes(List(parent=meeting.name))).minutes) == 1


async def test_minutes_tell_the_version_that_they_were_asked_of(house_at: Opened):
    embedder = GatedEmbedder()
    async with house_at(embedder=embedder) as house:
        meeting = await spoken(house)
        operation = await house.as_().WriteMinutes(Write(meeting=meeting.name))
        await embedder.asked.wait()
        edit = meeting_service_pb2.EditUtteranceRequest(
            meeting=meeting.name, utterance="u3", text="Nobody will do anything."
        )
        await house.as_().EditUtterance(edit)
        embedder.go.set()
        minutes = minutes_pb2.Minutes()
        (await house.done(operation)).response.Unpack(minutes)
        assert minutes.transcript_version == 1
        assert minutes.actions
        assert (await house.as_().GetMinutes(Get(name=minutes.name))) == minutes
        assert (await written(house, meeting.name)).transcript_version == 2


async def test_minutes_wait_while_the_database_is_away(house_at: Opened):
    embedder = GatedEmbedder()
    async with house_at(embedder=embedder) as house:
        meeting = await spoken(house)
        operation = await house.as_().WriteMinutes(Write(meeting=meeting.name))
        await embedder.asked.wait()
        with away(house.settings.database_url):
            embedder.go.set()
            await asyncio.sleep(0.5)
        minutes = minutes_pb2.Minutes()
        assert (await house.done(operation)).response.Unpack(minutes)
        assert minutes.actions


@pytest.mark.parametrize("stop", ["cancel", "delete", "revoke"])
async def test_minutes_that_are_not_wanted_or_permitted_any_more_are_not_kept(
    house_at: Opened, stop: str
):
    embedder, delegation = GatedEmbedder(), FakeDelegation(list(PEOPLE.values()))
    async with house_at(embedder=embedder, delegation=delegation) as house:
        meeting = await spoken(house, "partner", labels=["hr/pay"])
        operation = await house.as_("admin").WriteMinutes(Write(meeting=meeting.name))
        await embedder.asked.wait()
        if stop == "cancel":
            cancel = operations_pb2.CancelOperationRequest(name=operation.name)
            await house.operations("admin").CancelOperation(cancel)
        elif stop == "delete":
            delete = meeting_service_pb2.DeleteMeetingRequest(name=meeting.name)
            await house.as_("partner").DeleteMeeting(delete)
        else:
            delegation.principals["acme", "users/admin"] = make_principal(
                "meeting.meetings:*", actor="users/admin"
            )
        embedder.go.set()
        ended = await house.done(operation, "admin")
        expected = {"cancel": "", "delete": "MEETING_NOT_FOUND", "revoke": "MEETING_NOT_FOUND"}
        assert ended.HasField("error")
        assert reason_of(ended) == expected[stop]
        assert house.stored_rows("minutes") == []


async def test_minutes_of_what_one_may_not_read_are_absent(house: House):
    meeting = await spoken(house, "partner", labels=["hr/pay"])
    minutes = await written(house, meeting.name, "partner")
    feedback = meeting_service_pb2.Feedback(minutes=minutes.name, rating=1)
    for who in ("member", "stranger"):
        client = house.as_(who)
        for call, reason in (
            (client.GetMinutes(Get(name=minutes.name)), "MINUTES_NOT_FOUND"),
            (client.GiveFeedback(Give(feedback=feedback)), "MINUTES_NOT_FOUND"),
            (client.ListMinutes(List(parent=meeting.name)), "MEETING_NOT_FOUND"),
            (client.WriteMinutes(Write(meeting=meeting.name)), "MEETING_NOT_FOUND"),
            (client.CatchUp(CatchUp(meeting=meeting.name, joined_at_ms=9)), "MEETING_NOT_FOUND"),
            (_answer(house, who, meeting.name, "Who?"), "MEETING_NOT_FOUND"),
        ):
            assert (await error_of(call)).reason == reason


async def test_what_is_not_there_yet_is_told(house: House):
    meeting = await house.meeting()
    for call in (
        house.as_().WriteMinutes(Write(meeting=meeting.name)),
        house.as_().CatchUp(CatchUp(meeting=meeting.name, joined_at_ms=9)),
        _answer(house, "member", meeting.name, "Who?"),
    ):
        assert (await error_of(call)).reason == "MEETING_HAS_NO_TRANSCRIPT"
    for name in (f"{meeting.name}/minutes/n1", "meetings/none/minutes/n1", "meetings/x/y"):
        assert (await error_of(house.as_().GetMinutes(Get(name=name)))).reason == (
            "MINUTES_NOT_FOUND"
        )


async def test_generated_minutes_need_a_generator(house: House):
    meeting = await spoken(house)
    operation = await house.done(
        await house.as_().WriteMinutes(Write(meeting=meeting.name, mode=Write.GENERATIVE))
    )
    assert reason_of(operation) == "TASK_HAS_NO_MODEL"
    minutes = await written(house, meeting.name)
    assert minutes.engine.degraded
    assert not (await written(house, meeting.name, mode=Write.EXTRACTIVE)).engine.degraded
    operation = await house.done(
        await house.as_().WriteMinutes(Write(meeting=meeting.name, language="zh"))
    )
    assert reason_of(operation) == "LANGUAGE_NEEDS_GENERATOR"


async def test_catching_up_tells_the_missed_stretch_alone(house: House):
    meeting = await spoken(house)
    found = await house.as_("reader").CatchUp(CatchUp(meeting=meeting.name, joined_at_ms=10_000))
    assert (found.missed[0].start_ms, found.missed[-1].end_ms) == (0, 10_000)
    assert len(found.decisions) == 1
    assert not found.actions
    assert found.known_until_ms == meeting.duration.ToMilliseconds()
    nothing = CatchUp(meeting=meeting.name)
    assert (await error_of(house.as_().CatchUp(nothing))).reason == "NOTHING_MISSED"


async def test_a_question_is_answered_from_what_was_said(house: House):
    meeting = await spoken(house)
    events = await _answer(house, "reader", meeting.name, "Who sends the contract?")
    answer = events[-1].answer
    assert answer.decision == answer.ANSWERED
    assert list(answer.sentences) == [one.sentence for one in events[:-1]]
    assert any("Anna" in one.citations[0].quote for one in answer.sentences)
    nothing = (await _answer(house, "reader", meeting.name, "Is there any whale?"))[-1].answer
    assert nothing.decision == nothing.NOT_FOUND
    error = await error_of(_answer(house, "reader", meeting.name, "x" * 4001))
    assert error.reason == "QUESTION_TOO_LONG"


async def test_feedback_of_a_user_on_a_sentence_replaces_their_first(house: House):
    meeting = await spoken(house)
    minutes = await written(house, meeting.name)
    sentence = minutes.actions[0].sentence.id
    feedback = meeting_service_pb2.Feedback(
        minutes=minutes.name, sentence=sentence, rating=1, comment="right"
    )
    first = await house.as_("reader").GiveFeedback(Give(feedback=feedback))
    feedback.rating, feedback.correction = feedback.NOT_HELPFUL, "Bea sends it."
    again = await house.as_("reader").GiveFeedback(Give(feedback=feedback))
    other = await house.as_("member").GiveFeedback(Give(feedback=feedback))
    assert again.name == first.name != other.name
    assert (again.rating, again.correction) == (feedback.NOT_HELPFUL, "Bea sends it.")
    assert len(house.stored_rows("feedback")) == 2
    feedback.sentence = "s999"
    error = await error_of(house.as_().GiveFeedback(Give(feedback=feedback)))
    assert error.reason == "SENTENCE_NOT_FOUND"
    await house.as_().DeleteMeeting(meeting_service_pb2.DeleteMeetingRequest(name=meeting.name))
    for table in ("minutes", "feedback", "minutes_requests", "minutes_parts"):
        assert house.stored_rows(table) == []


async def test_a_meeting_is_exported_with_its_minutes(house: House):
    meeting = await spoken(house)
    await written(house, meeting.name)
    request = meeting_service_pb2.ExportMeetingRequest(meeting=meeting.name, format=1)
    parts = [part async for part in house.as_("reader").ExportMeeting(request)]
    assert parts[0].header.filename.endswith(".md")
    text = b"".join(part.chunk for part in parts).decode()
    assert "Anna will send the contract" in text


async def _answer(house: House, who: str, meeting: str, question: str) -> list[Any]:
    call = house.as_(who).AskMeeting(Ask(meeting=meeting, question=question))
    return [event async for event in call]


async def test_minutes_asked_for_again_after_their_operation_was_deleted_are_new_ones(
    house: House,
):
    meeting = await spoken(house)
    write = Write(meeting=meeting.name, request_id="r")
    first = await house.done(await house.as_().WriteMinutes(write))
    delete = operations_pb2.DeleteOperationRequest(name=first.name)
    await house.operations().DeleteOperation(delete)
    again = await house.done(await house.as_().WriteMinutes(write))
    assert again.name != first.name
    assert not again.HasField("error")
