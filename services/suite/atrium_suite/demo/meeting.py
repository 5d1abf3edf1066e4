"""The meeting of the demo: from a recording to minutes, and what somebody missed who left."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from google.protobuf.timestamp_pb2 import Timestamp

from atrium.meeting.v1 import meeting_pb2, meeting_service_pb2, minutes_pb2
from atrium_client import AtriumClient, readable_errors

_SAMPLES: Final = Path(__file__).parent.parent / "samples" / "meetings"
_EXPORTS: Final = {
    ".docx": meeting_service_pb2.ExportMeetingRequest.DOCX,
    ".md": meeting_service_pb2.ExportMeetingRequest.MD,
    ".vtt": meeting_service_pb2.ExportMeetingRequest.VTT,
}


@dataclass(frozen=True)
class SampleMeeting:
    """A recording whose words, decisions and actions are known.

    Args:
        language: "zh" or "en".
        audio: The recording.
        script: What is said in it, by whom and when.
    """

    language: str
    audio: Path
    script: Mapping[str, Any]

    @property
    def title(self) -> str:
        """Its title."""
        return str(self.script["title"])

    @property
    def left(self) -> Mapping[str, Any]:
        """Who was away from when to when."""
        return dict(self.script["left"])

    def times_of(self, utterances: Iterable[str]) -> tuple[int, int]:
        """Return from when to when some utterances last, in milliseconds."""
        chosen = set(utterances)
        said = [each for each in self.script["utterances"] if each["id"] in chosen]
        return min(each["start_ms"] for each in said), max(each["end_ms"] for each in said)


@dataclass(frozen=True)
class MeetingShown:
    """What came of a sample meeting.

    Args:
        meeting: The meeting, with its transcript.
        transcript: All words as said, with what the clean view leaves out.
        minutes: Minutes.
        catch_up: What somebody missed who was away.
        seconds: How long transcribing took, minutes included.
        files: What was exported.
    """

    meeting: meeting_pb2.Meeting
    transcript: meeting_pb2.Transcript
    minutes: minutes_pb2.Minutes
    catch_up: minutes_pb2.CatchUpReply
    seconds: float
    files: Sequence[Path]


def load_samples() -> list[SampleMeeting]:
    """Return the sample meetings, Chinese first."""
    return [
        SampleMeeting(
            language,
            _SAMPLES / language / "meeting.ogg",
            json.loads((_SAMPLES / language / "meeting.json").read_text(encoding="utf-8")),
        )
        for language in ("zh", "en")
    ]


async def run_meeting(
    client: AtriumClient,
    sample: SampleMeeting,
    folder: Path,
    *,
    recognise: bool,
    generate: bool,
) -> MeetingShown:
    """Transcribe a sample, write minutes, catch up who was away, export.

    Args:
        client: Calls on behalf of somebody who may make meetings.
        sample: The meeting.
        folder: Gets the exported files.
        recognise: Whether there is a model for speech; else the script is imported as captions.
        generate: Whether minutes are written by a generator; else they are taken word for word.

    Raises:
        AtriumCallError: A step failed.
    """
    day = datetime.fromisoformat(sample.script["date"]).replace(hour=10, tzinfo=UTC)
    start_time = Timestamp()
    start_time.FromDatetime(day)
    with readable_errors():
        meeting = await client.meetings.CreateMeeting(
            meeting_service_pb2.CreateMeetingRequest(
                meeting=meeting_pb2.Meeting(
                    title=sample.title,
                    start_time=start_time,
                    hotwords=sample.script["hotwords"],
                    agenda=sample.script["agenda"],
                )
            )
        )
        begun = time.monotonic()
        if recognise:
            operation = await client.upload_recording(meeting.name, sample.audio)
            meeting = await client.wait_for_transcript(operation)
        else:
            meeting = await client.meetings.ImportTranscript(
                meeting_service_pb2.ImportTranscriptRequest(
                    meeting=meeting.name, content=_as_captions(sample).encode()
                )
            )
        modes = meeting_service_pb2.WriteMinutesRequest.Mode
        minutes = await client.write_minutes(
            meeting_service_pb2.WriteMinutesRequest(
                meeting=meeting.name,
                mode=modes.MODE_UNSPECIFIED if generate else modes.EXTRACTIVE,
            )
        )
        seconds = time.monotonic() - begun
        catch_up = await client.meetings.CatchUp(
            meeting_service_pb2.CatchUpRequest(
                meeting=meeting.name,
                left_at_ms=sample.left["left_at_ms"],
                joined_at_ms=sample.left["joined_at_ms"],
                mode=modes.EXTRACTIVE,
            )
        )
    files = []
    for suffix, kind in _EXPORTS.items():
        request = meeting_service_pb2.ExportMeetingRequest(
            meeting=meeting.name, format=kind, view=meeting_pb2.Transcript.RAW
        )
        file = folder / f"meeting-{sample.language}{suffix}"
        file.write_bytes((await client.export_meeting(request))[1])
        files.append(file)
    return MeetingShown(
        meeting,
        await client.transcript(meeting.name, view=meeting_pb2.Transcript.RAW),
        minutes,
        catch_up,
        seconds,
        files,
    )


def found_of(
    sample: SampleMeeting,
    planted: Sequence[Mapping[str, Any]],
    found: Sequence[minutes_pb2.CitedSentence],
) -> int:
    """Return how many of the planted decisions or actions are cited by something that was found."""
    return sum(
        any(_touches(sentence, *sample.times_of(item["utterances"])) for sentence in found)
        for item in planted
    )


def outside(sample: SampleMeeting, reply: minutes_pb2.CatchUpReply) -> list[str]:
    """Return the sentences of a catch-up that tell what was said before or after."""
    begin, end = sample.left["left_at_ms"], sample.left["joined_at_ms"]
    told = [
        *reply.sentences,
        *(each.sentence for each in reply.decisions),
        *(each.sentence for each in reply.actions),
    ]
    return [sentence.text for sentence in told if not _touches(sentence, begin, end)]


def _touches(sentence: minutes_pb2.CitedSentence, begin: int, end: int) -> bool:
    return any(cited.start_ms < end and cited.end_ms > begin for cited in sentence.citations)


def _as_captions(sample: SampleMeeting) -> str:
    names = {each["id"]: each["name"] for each in sample.script["speakers"]}
    cues = [
        f"{_clock(said['start_ms'])} --> {_clock(said['end_ms'])}\n"
        f"<v {names[said['speaker']]}>{said['text']}"
        for said in sample.script["utterances"]
    ]
    return "\n\n".join(["WEBVTT", *cues]) + "\n"


def _clock(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{rest:03d}"
