"""Reading, editing and naming, through the running service."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from atrium.meeting.v1 import meeting_pb2, meeting_service_pb2
from atrium_meeting.domain.transcript import SpeakerTurn
from atrium_meeting.testing import FakeDiarizer
from atrium_meeting.testing_service import FakeCleaner, Fakes, House
from atrium_shared.testing import error_of

Opened = Callable[..., AbstractAsyncContextManager[House]]
GetTranscript = meeting_service_pb2.GetTranscriptRequest
Edit = meeting_service_pb2.EditUtteranceRequest
Name = meeting_service_pb2.NameSpeakerRequest
Versions = meeting_service_pb2.ListTranscriptVersionsRequest


def texts_of(transcript: meeting_pb2.Transcript) -> list[str]:
    return [one.text for one in transcript.utterances]


async def three(house: House, who: str = "member", **fields: Any) -> meeting_pb2.Meeting:
    return await house.transcribed("Good um morning.", "Um.", "早上好呃大家。", who=who, **fields)


async def test_the_clean_view_leaves_out_marked_words_and_what_has_no_others(house: House):
    meeting = await three(house)
    raw = await house.transcript(meeting.name)
    assert texts_of(raw) == ["Good um morning.", "Um.", "早上好呃大家。"]
    assert [one.language for one in raw.utterances] == ["en", "en", "zh"]
    assert raw.utterances[0].words[1].disfluency == meeting_pb2.FILLER
    clean = await house.transcript(meeting.name, view=0)
    assert texts_of(clean) == ["Good morning.", "早上好大家。"]
    assert clean.view == meeting_pb2.Transcript.CLEAN
    assert [one.id for one in clean.utterances] == ["u1", "u3"]


async def test_pages_follow_each_other_and_keep_to_one_version(house: House):
    meeting = await three(house)
    request = GetTranscript(meeting=meeting.name, view=1, page_size=2)
    first = await house.as_().GetTranscript(request)
    await house.as_().EditUtterance(Edit(meeting=meeting.name, utterance="u3", text="Changed."))
    request.page_token = first.next_page_token
    second = await house.as_().GetTranscript(request)
    assert texts_of(second.transcript) == ["早上好呃大家。"]
    assert (second.transcript.version, second.next_page_token) == (1, "")
    request.version = 2
    assert (await error_of(house.as_().GetTranscript(request))).reason == "PAGE_TOKEN_INVALID"
    request.version = 1
    assert (await house.as_().GetTranscript(request)).transcript.version == 1
    other = GetTranscript(meeting=meeting.name, page_token="x" + first.next_page_token)
    assert (await error_of(house.as_().GetTranscript(other))).reason == "PAGE_TOKEN_INVALID"


async def test_a_page_holds_no_more_words_than_fit_into_a_message(
    house: House, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("atrium_meeting.app.get_transcript.WORDS_A_PAGE", 4)
    meeting = await house.transcribed(
        "One two three.", "Four.", "Five six seven eight nine.", "Ten."
    )
    sizes, token = [], ""
    while True:
        request = GetTranscript(meeting=meeting.name, view=1, page_token=token)
        page = await house.as_().GetTranscript(request)
        sizes.append(len(page.transcript.utterances))
        token = page.next_page_token
        if not token:
            break
    assert sizes == [2, 1, 1]


async def test_a_transcript_or_version_that_is_not_there_is_told(house: House):
    empty = await house.meeting()
    get = house.as_().GetTranscript
    assert (await error_of(get(GetTranscript(meeting=empty.name)))).reason == (
        "MEETING_HAS_NO_TRANSCRIPT"
    )
    for call in (
        house.as_().EditUtterance(Edit(meeting=empty.name, utterance="u1", text="x")),
        house.as_().NameSpeaker(Name(meeting=empty.name, speaker="S1", display_name="x")),
    ):
        assert (await error_of(call)).reason == "MEETING_HAS_NO_TRANSCRIPT"
    meeting = await three(house)
    error = await error_of(get(GetTranscript(meeting=meeting.name, version=2)))
    assert (error.reason, error.metadata["version"]) == ("TRANSCRIPT_VERSION_NOT_FOUND", "2")
    assert not (await house.as_().ListTranscriptVersions(Versions(meeting=empty.name))).versions


async def test_an_edit_makes_the_next_version_and_keeps_the_one_before(house: House):
    meeting = await three(house)
    edited = await house.as_().EditUtterance(
        Edit(meeting=meeting.name, utterance="u1", text="Good um evening all.", version=1)
    )
    before = (await house.transcript(meeting.name, version=1)).utterances[0]
    assert edited.text == "Good um evening all."
    assert [word.start_ms for word in edited.words[:2]] == [w.start_ms for w in before.words[:2]]
    assert edited.words[1].disfluency == meeting_pb2.FILLER
    assert edited.words[2].confidence == 1.0
    assert before.text == "Good um morning."
    now = await house.transcript(meeting.name)
    assert (now.version, texts_of(now)[0]) == (2, "Good um evening all.")
    assert now.utterances[1:] == (await house.transcript(meeting.name, version=1)).utterances[1:]
    found = await house.as_("reader").GetMeeting(
        meeting_service_pb2.GetMeetingRequest(name=meeting.name)
    )
    assert found.transcript_version == 2


async def test_an_edit_that_changes_nothing_makes_no_version(house: House):
    meeting = await three(house)
    same = Edit(meeting=meeting.name, utterance="u1", text=" Good  um morning. ", speaker="S1")
    await house.as_().EditUtterance(same)
    assert (await house.transcript(meeting.name)).version == 1


async def test_an_utterance_can_be_removed_and_given_to_another_speaker(house_at: Opened):
    diarizer = FakeDiarizer([SpeakerTurn("A", 0, 3000), SpeakerTurn("B", 3500, 20_000)])
    async with house_at(fakes=Fakes(diarizer=diarizer)) as house:
        meeting = await three(house)
        edit = Edit(meeting=meeting.name, utterance="u1", text="Good um morning.", speaker="S2")
        assert (await house.as_().EditUtterance(edit)).speaker == "S2"
        found = await house.transcript(meeting.name)
        assert [one.id for one in found.speakers] == ["S2"]
        gone = Edit(meeting=meeting.name, utterance="u2", text="")
        assert (await house.as_().EditUtterance(gone)).text == "Um."
        assert [one.id for one in (await house.transcript(meeting.name)).utterances] == ["u1", "u3"]
        again = await error_of(house.as_().EditUtterance(gone))
        assert again.reason == "UTTERANCE_NOT_FOUND"
        nobody = Edit(meeting=meeting.name, utterance="u3", text="x", speaker="S9")
        assert (await error_of(house.as_().EditUtterance(nobody))).reason == "SPEAKER_NOT_FOUND"


@pytest.mark.parametrize("utterance", ["u9", "x1", "u", "u01", "u１", "u99999999999"])
async def test_an_utterance_that_is_not_there_is_told(house: House, utterance: str):
    meeting = await house.transcribed("Hello.")
    edit = Edit(meeting=meeting.name, utterance=utterance, text="x")
    assert (await error_of(house.as_().EditUtterance(edit))).reason == "UTTERANCE_NOT_FOUND"


async def test_a_change_of_an_old_version_is_refused(house: House):
    meeting = await three(house)
    edit = Edit(meeting=meeting.name, utterance="u1", text="Good evening.", version=1)
    await house.as_().EditUtterance(edit)
    error = await error_of(house.as_().EditUtterance(edit))
    assert (error.reason, error.metadata["version"]) == ("TRANSCRIPT_CHANGED", "2")
    name = Name(meeting=meeting.name, speaker="S1", display_name="Lin", version=1)
    assert (await error_of(house.as_().NameSpeaker(name))).reason == "TRANSCRIPT_CHANGED"


async def test_edits_at_the_same_time_all_come_to_pass(house: House):
    meeting = await three(house)
    client = house.as_()
    await asyncio.gather(
        *(
            client.EditUtterance(Edit(meeting=meeting.name, utterance=f"u{number}", text="New."))
            for number in (1, 2, 3)
        ),
        client.NameSpeaker(Name(meeting=meeting.name, speaker="S1", display_name="Lin")),
    )
    found = await house.transcript(meeting.name)
    assert (found.version, texts_of(found)) == (5, ["New.", "New.", "New."])
    assert found.speakers[0].display_name == "Lin"


@pytest.mark.parametrize(
    ("text", "reason"),
    [("a" * 500, "WORDS_INVALID"), (" \n", "WORDS_INVALID"), ("nul\x00", "TEXT_UNSTORABLE")],
)
async def test_words_that_cannot_be_kept_are_refused(house: House, text: str, reason: str):
    meeting = await house.transcribed("Hello.")
    edit = Edit(meeting=meeting.name, utterance="u1", text=text)
    assert (await error_of(house.as_().EditUtterance(edit))).reason == reason


async def test_an_edit_is_not_lost_when_marking_fails(house_at: Opened):
    cleaner = FakeCleaner()
    async with house_at(fakes=Fakes(cleaner=cleaner)) as house:
        meeting = await house.transcribed("Good um morning.")
        cleaner.failure = RuntimeError("a bug")
        edit = Edit(meeting=meeting.name, utterance="u1", text="Good um evening.")
        edited = await house.as_().EditUtterance(edit)
        assert [word.disfluency for word in edited.words] == [0, 0, 0]


async def test_speakers_get_names_that_history_remembers(house: House):
    meeting = await three(house)
    name = Name(meeting=meeting.name, speaker="S1", display_name=" Lin Wei ")
    named = await house.as_().NameSpeaker(name)
    assert (named.speakers[0].id, named.speakers[0].display_name) == ("S1", "Lin Wei")
    assert (await house.as_().NameSpeaker(name)).transcript_version == 2
    await house.as_("admin").EditUtterance(Edit(meeting=meeting.name, utterance="u2", text=""))
    found = await house.as_("reader").ListTranscriptVersions(Versions(meeting=meeting.name))
    assert [(one.version, one.author, one.change) for one in found.versions] == [
        (3, "users/admin", "u2 removed"),
        (2, "users/member", "S1 named Lin Wei"),
        (1, "users/member", "transcribed"),
    ]
    page = await house.as_().ListTranscriptVersions(Versions(meeting=meeting.name, page_size=2))
    token = page.next_page_token
    page = await house.as_().ListTranscriptVersions(
        Versions(meeting=meeting.name, page_size=2, page_token=token)
    )
    assert ([one.version for one in page.versions], page.next_page_token) == ([1], "")
    old = await house.transcript(meeting.name, version=1)
    assert not any(one.display_name for one in old.speakers)


async def test_two_speakers_become_one(house_at: Opened):
    diarizer = FakeDiarizer([SpeakerTurn("A", 0, 3000), SpeakerTurn("B", 3500, 20_000)])
    async with house_at(fakes=Fakes(diarizer=diarizer)) as house:
        meeting = await three(house)
        await house.as_().NameSpeaker(
            Name(meeting=meeting.name, speaker="S2", display_name="Lin Wei")
        )
        merged = await house.as_().NameSpeaker(
            Name(meeting=meeting.name, speaker="S2", same_as="S1")
        )
        assert [(one.id, one.display_name) for one in merged.speakers] == [("S1", "Lin Wei")]
        assert merged.speakers[0].speaking_time.ToMilliseconds() == 6000
        now, old = [await house.transcript(meeting.name, version=number) for number in (3, 2)]
        assert [one.speaker for one in now.utterances] == ["S1", "S1", "S1"]
        assert [one.speaker for one in old.utterances] == ["S1", "S2", "S2"]
        same = Name(meeting=meeting.name, speaker="S1", same_as="S1")
        assert (await house.as_().NameSpeaker(same)).transcript_version == 3


async def introduced(house: House) -> meeting_pb2.Meeting:
    """Two speakers, of whom each says who they are."""
    return await house.transcribed("Hello, I'm Tom.", "My name is Anna.", "Good morning.")


TWO = (SpeakerTurn("A", 0, 3000), SpeakerTurn("B", 3500, 20_000))


def suggestions(meeting: meeting_pb2.Meeting | meeting_pb2.Transcript) -> list[tuple[str, str]]:
    return [(one.display_name, one.suggested_name) for one in meeting.speakers]


async def test_who_says_their_name_has_it_suggested_until_people_name_them(house_at: Opened):
    async with house_at(fakes=Fakes(diarizer=FakeDiarizer(list(TWO)))) as house:
        meeting = await introduced(house)
        assert suggestions(meeting) == [("", "Tom"), ("", "Anna")]
        assert suggestions(await house.transcript(meeting.name)) == [("", "Tom"), ("", "Anna")]
        edit = Edit(meeting=meeting.name, utterance="u3", text="Good evening.")
        await house.as_().EditUtterance(edit)
        name = Name(meeting=meeting.name, speaker="S1", display_name="Thomas Hardy")
        named = await house.as_().NameSpeaker(name)
        assert suggestions(named) == [("Thomas Hardy", ""), ("", "Anna")]
        assert suggestions(await house.transcript(meeting.name, version=1)) == [
            ("", "Tom"),
            ("", "Anna"),
        ]


async def test_a_name_that_people_gave_to_another_is_suggested_no_more(house_at: Opened):
    async with house_at(fakes=Fakes(diarizer=FakeDiarizer(list(TWO)))) as house:
        meeting = await introduced(house)
        name = Name(meeting=meeting.name, speaker="S1", display_name="Anna")
        assert suggestions(await house.as_().NameSpeaker(name)) == [("Anna", ""), ("", "")]


async def test_one_speaker_who_was_two_has_a_suggestion_only_where_both_agree(house_at: Opened):
    async with house_at(fakes=Fakes(diarizer=FakeDiarizer(list(TWO)))) as house:
        same = await introduced(house)
        merge = Name(meeting=same.name, speaker="S2", same_as="S1")
        assert suggestions(await house.as_().NameSpeaker(merge)) == [("", "")]
        meeting = await house.transcribed("Hello, I'm Tom.", "Hello.", "Good morning.")
        merge = Name(meeting=meeting.name, speaker="S1", same_as="S2")
        assert suggestions(await house.as_().NameSpeaker(merge)) == [("", "Tom")]


async def test_a_speaker_who_does_not_speak_cannot_be_named(house: House):
    meeting = await house.transcribed("Hello.")
    for request in (
        Name(meeting=meeting.name, speaker="S2", display_name="x"),
        Name(meeting=meeting.name, speaker="S1", same_as="S2"),
    ):
        error = await error_of(house.as_().NameSpeaker(request))
        assert (error.reason, error.metadata["speaker"]) == ("SPEAKER_NOT_FOUND", "S2")
        assert error.field == ("same_as" if request.same_as else "speaker")
    nothing = Name(meeting=meeting.name, speaker="S1")
    assert (await error_of(house.as_().NameSpeaker(nothing))).reason == "FIELD_INVALID"
    broken = Name(meeting=meeting.name, speaker="S1", display_name="a\nb")
    assert (await error_of(house.as_().NameSpeaker(broken))).reason == "FIELD_INVALID"


async def test_any_text_is_cleaned(house_at: Opened):
    request = meeting_service_pb2.CleanTextRequest(text="Good um morning. 早上好呃大家。")
    async with house_at() as house:
        found = await house.as_("reader").CleanText(request)
        assert "um" not in found.clean_text
        assert [request.text[one.start : one.end].strip() for one in found.removals] == ["um", "呃"]
        assert {one.disfluency for one in found.removals} == {meeting_pb2.FILLER}
        assert found.engine.model == "scripted-cleaner"
    async with house_at(fakes=Fakes(cleaner=None)) as house:
        found = await house.as_("reader").CleanText(request)
        assert (found.clean_text, list(found.removals)) == (request.text, [])


async def test_only_who_may_change_the_meeting_edits_it(house: House):
    meeting = await three(house)
    for call in (
        house.as_("partner").EditUtterance(Edit(meeting=meeting.name, utterance="u1", text="x")),
        house.as_("partner").NameSpeaker(
            Name(meeting=meeting.name, speaker="S1", display_name="x")
        ),
    ):
        assert (await error_of(call)).reason == "MEETING_NOT_YOURS"


async def test_a_reader_whose_label_is_revoked_reads_no_more(house: House):
    meeting = await three(house, "admin", labels=["hr/pay"])
    get = GetTranscript(meeting=meeting.name)
    assert (await house.as_("partner").GetTranscript(get)).transcript.utterances
    change = meeting_pb2.Meeting(name=meeting.name, labels=["board"])
    await house.as_("admin").UpdateMeeting(meeting_service_pb2.UpdateMeetingRequest(meeting=change))
    for call in (
        house.as_("partner").GetTranscript(get),
        house.as_("partner").ListTranscriptVersions(Versions(meeting=meeting.name)),
    ):
        assert (await error_of(call)).reason == "MEETING_NOT_FOUND"
