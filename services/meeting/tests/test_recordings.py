"""From an upload to a transcript, through the running service."""

from __future__ import annotations

from atrium.meeting.v1 import meeting_pb2
from atrium_meeting.testing_service import House


async def test_a_recording_becomes_a_transcript(house: House):
    meeting = await house.transcribed("Good morning um everybody.", "Thank you all.")
    assert meeting.state == meeting_pb2.Meeting.READY
    transcript = await house.transcript(meeting.name)
    assert [one.text for one in transcript.utterances] == [
        "Good morning um everybody.",
        "Thank you all.",
    ]
