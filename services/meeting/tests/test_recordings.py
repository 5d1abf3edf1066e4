"""From an upload to a transcript, through the running service."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.longrunning import operations_pb2
from google.rpc import error_details_pb2

from atrium.meeting.v1 import meeting_pb2, meeting_service_pb2
from atrium_meeting.adapters.sql_recordings import SqlRecordings
from atrium_meeting.adapters.stored_transcriber import NoTranscriber, StoredTranscriber
from atrium_meeting.domain.audio import AudioPiece, Region
from atrium_meeting.domain.errors import (
    RecognitionUnavailable,
    RecordingEncrypted,
    RecordingHasNoSound,
    RecordingTooLong,
)
from atrium_meeting.domain.transcript import SpeakerTurn
from atrium_meeting.testing import FakeDiarizer, FakeTranscriber, silence, tone
from atrium_meeting.testing_service import (
    PEOPLE,
    FakeCleaner,
    FakeDecoder,
    FakeDelegation,
    Fakes,
    House,
    away,
    recording_of,
    speech,
    upload_requests,
)
from atrium_models import ModelNotPulled
from atrium_shared.testing import error_of, eventually, make_principal

Opened = Callable[..., AbstractAsyncContextManager[House]]
Get = meeting_service_pb2.GetMeetingRequest


def progress_of(operation: operations_pb2.Operation) -> Any:
    progress = meeting_service_pb2.UploadRecordingMetadata()
    operation.metadata.Unpack(progress)
    return progress


def reason_of(operation: operations_pb2.Operation) -> str:
    info = error_details_pb2.ErrorInfo()
    for detail in operation.error.details:
        if detail.Is(info.DESCRIPTOR):
            detail.Unpack(info)
    return str(info.reason)


class WaitingDecoder(FakeDecoder):
    """Decodes when it is told to; a test sees how far the job came."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = threading.Event()
        self.go = threading.Event()

    def decode(self, path: Path) -> Iterator[AudioPiece]:
        self.begun.set()
        assert self.go.wait(20)
        yield from super().decode(path)


async def test_a_recording_becomes_a_transcript_with_speakers_and_marks(house_at: Opened):
    diarizer = FakeDiarizer([SpeakerTurn("S1", 0, 3000), SpeakerTurn("S2", 3500, 8000)])
    async with house_at(fakes=Fakes(diarizer=diarizer)) as house:
        meeting = await house.transcribed("Good morning um everybody.", "Thank you all.")
        assert (meeting.state, meeting.transcript_version) == (meeting_pb2.Meeting.READY, 1)
        assert [one.id for one in meeting.speakers] == ["S1", "S2"]
        assert meeting.duration.ToMilliseconds() == 6000
        raw = await house.transcript(meeting.name)
        assert [(one.id, one.speaker, one.text) for one in raw.utterances] == [
            ("u1", "S1", "Good morning um everybody."),
            ("u2", "S2", "Thank you all."),
        ]
        clean = await house.transcript(meeting.name, view=meeting_pb2.Transcript.CLEAN)
        assert clean.utterances[0].text == "Good morning everybody."
        times = {(word.text, word.start_ms, word.end_ms) for word in raw.utterances[0].words}
        assert {(w.text, w.start_ms, w.end_ms) for w in clean.utterances[0].words} < times
        origin = raw.origin
        assert (origin.recognition_model, origin.cleanup_model) == ("scripted", "scripted-cleaner")
        assert origin.diarization_model == diarizer.model
        assert not origin.degraded


async def test_the_operation_tells_progress_and_the_time_of_each_stage(house: House):
    meeting = await house.meeting()
    operation = await house.done(await house.upload(meeting.name, speech(2, 3, 9)))
    progress = progress_of(operation)
    assert progress.stage == progress.DONE
    assert (progress.pieces_done, progress.pieces_total) == (2, 2)
    assert (progress.duration_ms, progress.speech_ms) == (20_000, 14_000)
    stages = [one.stage for one in progress.stage_times]
    assert stages == [1, 2, 3, 4]
    assert all(one.seconds >= 0 for one in progress.stage_times)


async def test_once_the_transcript_is_there_only_the_recording_is_kept(house: House):
    meeting = await house.meeting()
    await house.done(await house.upload(meeting.name, speech(2)))
    (file,) = house.stored_files()
    assert file.endswith("/original")
    assert house.stored_rows("purges") == house.stored_rows("uploads") == []


async def test_recognition_hears_the_meetings_hotwords_and_then_the_tenants(house: House):
    words = meeting_service_pb2.Hotwords(words=["Atrium", "Qdrant"])
    change = meeting_service_pb2.UpdateHotwordsRequest(hotwords=words)
    await house.as_("admin").UpdateHotwords(change)
    await house.transcribed(
        "Hello.", hotwords=["林薇", "Atrium"], languages=["zh"], chinese_script=2
    )
    transcriber = house.fakes.transcriber
    assert isinstance(transcriber, FakeTranscriber)
    (_, regions, hints) = transcriber.calls[0]
    assert regions == (Region(0, 2000),)
    assert hints.hotwords == ("林薇", "Atrium", "Qdrant")
    assert (hints.languages, hints.script) == (("zh",), "traditional")


async def test_a_recording_without_speech_gives_an_empty_transcript(house: House):
    meeting = await house.meeting()
    operation = await house.done(
        await house.upload(meeting.name, recording_of(silence(25)), write_minutes=True)
    )
    assert not operation.HasField("error")
    found = await house.as_().GetMeeting(Get(name=meeting.name))
    assert (found.state, found.transcript_version) == (found.READY, 1)
    assert not (await house.transcript(meeting.name)).utterances
    transcriber = house.fakes.transcriber
    assert isinstance(transcriber, FakeTranscriber)
    assert transcriber.calls == []


async def test_words_of_all_pieces_stand_at_their_times(house_at: Opened):
    async with house_at(fakes=Fakes(diarizer=None)) as house:
        meeting = await house.meeting()
        sound = np.concatenate([silence(9), tone(2), silence(12), tone(1)])
        await house.done(await house.upload(meeting.name, recording_of(sound)))
        found = await house.transcript(meeting.name)
        starts = [(one.start_ms, one.end_ms) for one in found.utterances]
        # The first lies on both sides of a cut between two pieces.
        assert starts == [(9_000, 11_000), (23_000, 24_000)]


async def test_a_recording_whose_end_is_missing_says_so(house_at: Opened):
    class Truncated(FakeDecoder):
        def decode(self, path: Path) -> Iterator[AudioPiece]:
            pieces = list(super().decode(path))
            yield from pieces[:-1]
            yield AudioPiece(pieces[-1].offset_ms, pieces[-1].samples, truncated=True)

    async with house_at(fakes=Fakes(decoder=Truncated())) as house:
        assert (await house.transcribed("Hello.")).truncated


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (None, "RECORDING_NOT_AUDIO"),
        (RecordingHasNoSound("mp4"), "RECORDING_HAS_NO_SOUND"),
        (RecordingEncrypted("mp4"), "RECORDING_ENCRYPTED"),
        (RecordingTooLong(72_000, 21_600), "RECORDING_TOO_LONG"),
        (RuntimeError("a bug"), "TRANSCRIPTION_FAILED"),
    ],
)
async def test_a_recording_that_cannot_be_used_leaves_the_reason_and_no_file(
    house_at: Opened, failure: Exception | None, reason: str
):
    class Refusing(FakeDecoder):
        def decode(self, path: Path) -> Iterator[AudioPiece]:
            if failure is not None:
                raise failure
            return super().decode(path)

    async with house_at(fakes=Fakes(decoder=Refusing())) as house:
        meeting = await house.meeting()
        operation = await house.done(await house.upload(meeting.name, b"no sound at all"))
        assert reason_of(operation) == reason
        found = await house.as_().GetMeeting(Get(name=meeting.name))
        assert (found.state, found.failure_reason) == (found.FAILED, reason)
        assert found.failure_message == operation.error.message
        assert house.stored_files() == []
        # A failed meeting takes another recording.
        refusing = house.fakes.decoder
        refusing.decode = FakeDecoder().decode  # type: ignore[method-assign]
        await house.done(await house.upload(meeting.name, speech(2)))
        found = await house.as_().GetMeeting(Get(name=meeting.name))
        assert (found.state, found.failure_reason) == (found.READY, "")


async def test_an_upload_without_header_with_two_or_empty_is_refused(house: House):
    meeting = await house.meeting()
    upload = house.as_().UploadRecording
    header = meeting_service_pb2.UploadRecordingRequest.Header(meeting=meeting.name)

    async def twice() -> Any:
        for _ in range(2):
            async for part in upload_requests(header, b"data"):
                yield part

    assert (await error_of(upload(upload_requests(None, b"x")))).reason == "UPLOAD_HEADER_MISSING"
    assert (await error_of(upload(upload_requests(None, b"")))).reason == "UPLOAD_HEADER_MISSING"
    assert (await error_of(upload(twice()))).reason == "UPLOAD_HEADER_REPEATED"
    assert (await error_of(house.upload(meeting.name, b""))).reason == "RECORDING_EMPTY"
    assert (
        await error_of(house.upload(meeting.name, b"x", filename="\x00"))
    ).reason == "TEXT_UNSTORABLE"
    assert house.stored_files() == house.stored_rows("uploads") == []
    found = await house.as_().GetMeeting(Get(name=meeting.name))
    assert found.state == found.EMPTY


async def test_a_recording_larger_than_the_tenant_allows_is_refused_as_soon_as_it_is(house: House):
    meeting = await house.meeting("small")
    error = await error_of(house.upload(meeting.name, b"x" * 2000, "small", chunk_bytes=100))
    assert (error.reason, error.code) == (
        "RECORDING_TOO_LARGE",
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    )
    assert error.metadata == {"limit_bytes": "1000"}
    assert house.stored_files() == []


async def test_a_caller_who_hangs_up_leaves_nothing(house: House):
    meeting = await house.meeting()
    header = meeting_service_pb2.UploadRecordingRequest.Header(meeting=meeting.name)
    sent = asyncio.Event()

    async def parts() -> Any:
        async for part in upload_requests(header, b"x" * 500_000):
            yield part
        sent.set()
        await asyncio.sleep(30)

    call = house.as_().UploadRecording(parts())
    await sent.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await eventually(lambda: not (house.stored_files() or house.stored_rows("uploads")))
    assert house.stored_rows("recordings") == []


async def test_a_caller_who_hangs_up_while_the_note_of_a_file_is_written_leaves_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
):
    meeting = await house.meeting()
    noted, note = asyncio.Event(), SqlRecordings.begin_upload

    async def held(self: SqlRecordings, uid: str, folder: str) -> None:
        await note(self, uid, folder)
        noted.set()
        await asyncio.sleep(60)

    monkeypatch.setattr(SqlRecordings, "begin_upload", held)
    header = meeting_service_pb2.UploadRecordingRequest.Header(meeting=meeting.name)
    call = house.as_().UploadRecording(upload_requests(header, b"x" * 1_000))
    await noted.wait()
    assert len(house.stored_rows("uploads")) == 1
    call.cancel()
    await eventually(lambda: not (house.stored_files() or house.stored_rows("uploads")))
    assert house.stored_rows("recordings") == []


async def test_a_repeated_upload_gets_the_first_ones_operation(house: House):
    meeting = await house.meeting()
    first = await house.upload(meeting.name, speech(2), request_id="r1")
    again = await house.upload(meeting.name, speech(3), request_id="r1")
    assert again.name == first.name
    await house.done(first)
    assert (await house.upload(meeting.name, b"other", request_id="r1")).name == first.name
    assert len(house.stored_rows("recordings")) == 1


async def test_a_meeting_takes_one_recording(house_at: Opened):
    decoder = WaitingDecoder()
    async with house_at(fakes=Fakes(decoder=decoder)) as house:
        meeting = await house.meeting()
        operation = await house.upload(meeting.name, speech(2))
        error = await error_of(house.upload(meeting.name, speech(2)))
        assert error.reason == "MEETING_BUSY"
        decoder.go.set()
        await house.done(operation)
        error = await error_of(house.upload(meeting.name, speech(2)))
        assert error.reason == "MEETING_HAS_TRANSCRIPT"
        assert len(house.stored_files()) == 1


async def test_without_a_model_an_upload_says_what_to_do(house_at: Opened, tmp_path: Path):
    def missing() -> Path:
        raise ModelNotPulled("whisper-base", str(tmp_path), "is not")

    for transcriber in (
        NoTranscriber(),
        StoredTranscriber("whisper-base", missing, lambda folder: FakeTranscriber()),
    ):
        async with house_at(fakes=Fakes(transcriber=transcriber)) as house:
            meeting = await house.meeting()
            error = await error_of(house.upload(meeting.name, speech(2)))
            assert (error.reason, error.code) == (
                "RECOGNITION_UNAVAILABLE",
                grpc.StatusCode.UNAVAILABLE,
            )
            assert "atrium models pull" in error.message
            assert house.stored_files() == []


async def test_a_model_that_is_pulled_while_the_service_runs_is_used(house_at: Opened):
    there = False

    def locate() -> Path:
        if not there:
            raise ModelNotPulled("whisper-base", "models", "is not")
        return Path("models")

    stored = StoredTranscriber("whisper-base", locate, lambda folder: FakeTranscriber("Hello."))
    async with house_at(fakes=Fakes(transcriber=stored)) as house:
        meeting = await house.meeting()
        await error_of(house.upload(meeting.name, speech(2)))
        there = True
        await house.done(await house.upload(meeting.name, speech(2)))
        found = await house.transcript(meeting.name)
        assert [one.text for one in found.utterances] == ["Hello."]
        assert found.origin.recognition_model == "whisper-base"


async def test_a_model_that_goes_meanwhile_fails_the_recording_at_once(house_at: Opened):
    transcriber = FakeTranscriber()
    decoder = WaitingDecoder()
    async with house_at(fakes=Fakes(transcriber=transcriber, decoder=decoder)) as house:
        meeting = await house.meeting()
        operation = await house.upload(meeting.name, speech(2))
        transcriber.failure = RecognitionUnavailable("The model is gone.")
        decoder.go.set()
        assert reason_of(await house.done(operation)) == "RECOGNITION_UNAVAILABLE"
        found = await house.as_().GetMeeting(Get(name=meeting.name))
        assert found.failure_reason == "RECOGNITION_UNAVAILABLE"


async def test_speakers_or_marks_that_fail_leave_a_transcript_that_says_so(house_at: Opened):
    class Broken(FakeDiarizer):
        def assign(self, pieces: Any, speakers: int = 0) -> list[SpeakerTurn]:
            raise RuntimeError("a bug")

    cleaner = FakeCleaner()
    cleaner.failure = RuntimeError("a bug")
    async with house_at(fakes=Fakes(diarizer=Broken(), cleaner=cleaner)) as house:
        meeting = await house.transcribed("Good um morning.", "Thanks.")
        transcript = await house.transcript(meeting.name, view=meeting_pb2.Transcript.CLEAN)
        assert [one.text for one in transcript.utterances] == ["Good um morning.", "Thanks."]
        assert [one.id for one in meeting.speakers] == ["S1"]
        origin = transcript.origin
        assert origin.degraded
        assert origin.degraded_reason == (
            "speakers could not be told apart; disfluencies could not be marked"
        )
        assert (origin.diarization_model, origin.cleanup_model) == ("", "")


async def test_without_diarizer_and_cleaner_there_is_one_speaker(house_at: Opened):
    async with house_at(fakes=Fakes(diarizer=None, cleaner=None)) as house:
        meeting = await house.transcribed("Good um morning.", "Thanks.")
        assert [one.id for one in meeting.speakers] == ["S1"]
        origin = (await house.transcript(meeting.name)).origin
        assert (origin.diarization_model, origin.cleanup_model, origin.degraded) == ("", "", False)


async def test_a_cancelled_operation_ends_the_work_and_the_files(house_at: Opened):
    decoder = WaitingDecoder()
    async with house_at(fakes=Fakes(decoder=decoder)) as house:
        meeting = await house.meeting()
        operation = await house.upload(meeting.name, speech(2))
        assert await asyncio.to_thread(decoder.begun.wait, 20)
        await house.operations().CancelOperation(
            operations_pb2.CancelOperationRequest(name=operation.name)
        )
        decoder.go.set()
        found = await house.as_().GetMeeting(Get(name=meeting.name))
        assert (found.state, found.failure_reason) == (found.FAILED, "UPLOAD_CANCELLED")
        assert (await house.done(operation)).error.code == grpc.StatusCode.CANCELLED.value[0]
        assert house.stored_files() == []


async def test_a_meeting_deleted_while_it_is_transcribed_leaves_nothing(house_at: Opened):
    decoder = WaitingDecoder()
    async with house_at(fakes=Fakes(decoder=decoder)) as house:
        meeting = await house.meeting()
        operation = await house.upload(meeting.name, speech(2))
        assert await asyncio.to_thread(decoder.begun.wait, 20)
        delete = meeting_service_pb2.DeleteMeetingRequest(name=meeting.name)
        await house.as_().DeleteMeeting(delete)
        decoder.go.set()
        assert reason_of(await house.done(operation)) == "MEETING_NOT_FOUND"
        assert house.stored_files() == []
        for table in ("meetings", "recordings", "utterances", "purges"):
            assert house.stored_rows(table) == []


async def test_a_deleted_meeting_takes_everything_with_it(house: House):
    meeting = await house.transcribed("Hello.", "Bye.")
    await house.as_().DeleteMeeting(meeting_service_pb2.DeleteMeetingRequest(name=meeting.name))
    assert house.stored_files() == []
    for table in ("meetings", "recordings", "transcript_versions", "utterances", "purges"):
        assert house.stored_rows(table) == []


@pytest.mark.parametrize(
    "now",
    [
        make_principal("meeting.meetings:read", actor="users/partner", labels=["hr/*"]),
        None,
    ],
)
async def test_who_may_not_any_more_is_not_transcribed_for(house_at: Opened, now: Any):
    decoder = WaitingDecoder()
    delegation = FakeDelegation(list(PEOPLE.values()))
    async with house_at(fakes=Fakes(decoder=decoder), delegation=delegation) as house:
        meeting = await house.meeting("partner", labels=["hr/pay"])
        operation = await house.upload(meeting.name, speech(2), "partner")
        assert await asyncio.to_thread(decoder.begun.wait, 20)
        if now is None:
            del delegation.principals["acme", "users/partner"]
        else:
            delegation.principals["acme", "users/partner"] = now
        decoder.go.set()
        reason = reason_of(await house.done(operation, "partner"))
        assert reason == ("USER_NOT_FOUND" if now is None else "PERMISSION_DENIED")
        assert house.stored_files() == []


async def test_a_manager_whose_label_is_revoked_is_not_transcribed_for(house_at: Opened):
    manager = make_principal("meeting.meetings:*", labels=["hr/*"], actor="users/manager")
    people = {**PEOPLE, "manager": manager}
    decoder = WaitingDecoder()
    delegation = FakeDelegation(list(people.values()))
    async with house_at(
        fakes=Fakes(decoder=decoder), delegation=delegation, people=people
    ) as house:
        meeting = await house.meeting("partner", labels=["hr/pay"])
        operation = await house.upload(meeting.name, speech(2), "manager")
        assert await asyncio.to_thread(decoder.begun.wait, 20)
        delegation.principals["acme", "users/manager"] = make_principal(
            "meeting.meetings:*", actor="users/manager"
        )
        decoder.go.set()
        assert reason_of(await house.done(operation, "manager")) == "PERMISSION_DENIED"


async def test_the_event_loop_runs_while_recognition_computes(house_at: Opened):
    class Slow(FakeTranscriber):
        def transcribe(self, samples: Any, speech: Any, hints: Any) -> Any:
            assert release.wait(20)
            return super().transcribe(samples, speech, hints)

    release = threading.Event()
    async with house_at(fakes=Fakes(transcriber=Slow("Hello."))) as house:
        meetings = [await house.meeting() for _ in range(3)]
        operations = [await house.upload(one.name, speech(2)) for one in meetings]
        await house.as_().GetMeeting(Get(name=meetings[0].name))
        release.set()
        for operation in operations:
            assert not (await house.done(operation)).HasField("error")


async def test_a_recording_waits_while_the_database_is_away(house_at: Opened):
    decoder = WaitingDecoder()
    async with house_at(fakes=Fakes(decoder=decoder)) as house:
        house.fakes.transcriber.enqueue("Good morning everybody.")
        meeting = await house.meeting()
        operation = await house.upload(meeting.name, speech(2))
        await asyncio.to_thread(decoder.begun.wait, 20)
        with away(house.settings.database_url):
            decoder.go.set()
            failure = await error_of(house.as_().GetMeeting(Get(name=meeting.name)))
            assert (failure.code, failure.reason) == (
                grpc.StatusCode.UNAVAILABLE,
                "DATABASE_UNAVAILABLE",
            )
            await asyncio.sleep(0.5)
        assert not (await house.done(operation)).HasField("error")
        transcript = await house.transcript(meeting.name)
        assert [one.text for one in transcript.utterances] == ["Good morning everybody."]


async def test_an_upload_that_is_repeated_after_its_operation_was_deleted_is_judged_anew(
    house: House,
):
    meeting = await house.meeting()
    first = await house.done(await house.upload(meeting.name, speech(2), request_id="r"))
    delete = operations_pb2.DeleteOperationRequest(name=first.name)
    await house.operations().DeleteOperation(delete)
    error = await error_of(house.upload(meeting.name, speech(2), request_id="r"))
    anew = await error_of(house.upload(meeting.name, speech(2), request_id="other"))
    assert (error.code, error.reason) == (anew.code, anew.reason)
    assert error.reason != "OPERATION_NOT_FOUND"
