"""Transcripts that were made elsewhere, through the running service."""

from __future__ import annotations

import json

import pytest

from atrium.meeting.v1 import meeting_pb2, meeting_service_pb2
from atrium_meeting.testing_service import House
from atrium_shared.testing import error_of

VTT = b"""WEBVTT

00:00:01.000 --> 00:00:04.000
<v Lin Wei>Good morning um everybody.

00:00:04.000 --> 00:00:06.000
<v Ana>Hello.
"""


async def imported(house: House, name: str, content: bytes, who: str = "member"):
    request = meeting_service_pb2.ImportTranscriptRequest(meeting=name, content=content)
    return await house.as_(who).ImportTranscript(request)


async def test_who_says_their_name_in_an_imported_transcript_has_it_suggested(house: House):
    meeting = await house.meeting()
    content = b"WEBVTT\n\n00:00:01.000 --> 00:00:04.000\nGood morning, I'm Ana.\n"

    made = await imported(house, meeting.name, content)

    assert [(one.display_name, one.suggested_name) for one in made.speakers] == [("", "Ana")]


async def test_an_imported_transcript_is_cleaned_up_and_names_its_speakers(house: House):
    meeting = await house.meeting()

    made = await imported(house, meeting.name, VTT)

    assert made.state == meeting_pb2.Meeting.READY
    assert [speaker.display_name for speaker in made.speakers] == ["Lin Wei", "Ana"]
    clean = await house.transcript(meeting.name, view=meeting_pb2.Transcript.CLEAN)
    assert [one.text for one in clean.utterances] == ["Good morning everybody.", "Hello."]
    assert clean.origin.cleanup_model == "scripted-cleaner"
    assert not clean.origin.recognition_model


async def test_marks_that_a_file_brings_are_kept(house: House):
    meeting = await house.meeting()
    words = [
        {"text": "Well", "start_ms": 0, "end_ms": 5, "disfluency": "false_start"},
        {"text": "um", "start_ms": 5, "end_ms": 9},
    ]
    file = {"utterances": [{"start_ms": 0, "end_ms": 9, "words": words}]}

    await imported(house, meeting.name, json.dumps(file).encode())

    raw = await house.transcript(meeting.name, view=meeting_pb2.Transcript.RAW)
    marks = [word.disfluency for word in raw.utterances[0].words]
    assert marks == [meeting_pb2.FALSE_START, meeting_pb2.DISFLUENCY_UNSPECIFIED]


async def test_a_transcript_survives_a_cleaner_that_fails(house: House):
    house.fakes.cleaner.failure = RuntimeError("broken model")
    meeting = await house.meeting()

    await imported(house, meeting.name, VTT)

    raw = await house.transcript(meeting.name, view=meeting_pb2.Transcript.RAW)
    assert raw.utterances[0].text == "Good morning um everybody."
    assert raw.origin.degraded


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x00\x01\x02\x03", "TRANSCRIPT_FORMAT_UNKNOWN"),
        (b"nothing of the kind", "TRANSCRIPT_FORMAT_UNKNOWN"),
        (b"WEBVTT\n\n", "TRANSCRIPT_EMPTY"),
        (b"{", "TRANSCRIPT_BROKEN"),
        (
            b"WEBVTT\n\n00:00:05.000 --> 00:00:01.000\nhi\n",
            "TRANSCRIPT_TIMES_REVERSED",
        ),
    ],
)
async def test_a_file_that_cannot_be_read_leaves_the_meeting_empty(
    house: House, content: bytes, reason: str
):
    meeting = await house.meeting()

    error = await error_of(imported(house, meeting.name, content))

    assert error.reason == reason
    request = meeting_service_pb2.GetMeetingRequest(name=meeting.name)
    assert (await house.as_().GetMeeting(request)).state == meeting_pb2.Meeting.EMPTY


async def test_a_meeting_with_a_transcript_takes_no_second_one(house: House):
    meeting = await house.meeting()
    await imported(house, meeting.name, VTT)

    error = await error_of(imported(house, meeting.name, VTT))

    assert error.reason == "MEETING_HAS_TRANSCRIPT"


async def test_text_in_the_encoding_of_chinese_windows_is_read(house: House):
    meeting = await house.meeting()
    text = "1\r\n00:00:01,000 --> 00:00:04,000\r\n大家好，我们开始今天的会议吧。\r\n"

    await imported(house, meeting.name, text.encode("gb18030"))

    raw = await house.transcript(meeting.name, view=meeting_pb2.Transcript.RAW)
    assert raw.utterances[0].text == "大家好，我们开始今天的会议吧。"
    assert raw.utterances[0].language == "zh"
