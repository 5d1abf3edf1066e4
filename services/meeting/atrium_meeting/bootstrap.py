"""Wires the meeting service: what there is, and what it is made of."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

from atrium.meeting.v1 import meeting_service_pb2_grpc
from atrium_meeting.adapters.late_diarizer import LateDiarizer, LateSpeakerEncoder
from atrium_meeting.adapters.no_cleaner import NoCleaner
from atrium_meeting.adapters.onnx_diarizer import OnnxDiarizer
from atrium_meeting.adapters.onnx_speaker_models import OnnxSpeakerEncoder
from atrium_meeting.adapters.pcm_frames import PcmFrames
from atrium_meeting.adapters.pyannote_diarizer import PyannoteDiarizer
from atrium_meeting.adapters.pyav_audio import OpusFrames, PyavDecoder
from atrium_meeting.adapters.silero_activity import SileroActivity
from atrium_meeting.adapters.sql_hotwords import SqlHotwords
from atrium_meeting.adapters.sql_live import SqlLive
from atrium_meeting.adapters.sql_meetings import SqlMeetings
from atrium_meeting.adapters.sql_minutes import SqlFeedback, SqlMinutes
from atrium_meeting.adapters.sql_minutes_requests import SqlMinutesRequests
from atrium_meeting.adapters.sql_recordings import SqlRecordings
from atrium_meeting.adapters.sql_transcripts import SqlTranscripts
from atrium_meeting.adapters.stored_transcriber import NoTranscriber, StoredTranscriber
from atrium_meeting.adapters.tagger_cleaner import TaggerCleaner
from atrium_meeting.adapters.transcript_files import TranscriptFiles
from atrium_meeting.app.analyse_meeting import AnalyseMeeting
from atrium_meeting.app.ask_meeting import AskMeeting
from atrium_meeting.app.catch_up import CatchUp
from atrium_meeting.app.clean_text import CleanText
from atrium_meeting.app.clean_up import CleanUp
from atrium_meeting.app.compose_minutes import ComposeMinutes
from atrium_meeting.app.create_meeting import CreateMeeting
from atrium_meeting.app.delete_meeting import DeleteMeeting
from atrium_meeting.app.edit_utterance import EditUtterance
from atrium_meeting.app.end_abandoned import EndAbandoned
from atrium_meeting.app.export_meeting import ExportMeeting
from atrium_meeting.app.find_meeting import FindMeeting
from atrium_meeting.app.get_meeting import GetMeeting
from atrium_meeting.app.get_minutes import GetMinutes
from atrium_meeting.app.get_transcript import GetTranscript
from atrium_meeting.app.give_feedback import GiveFeedback
from atrium_meeting.app.import_transcript import ImportTranscript
from atrium_meeting.app.keep_hotwords import KeepHotwords
from atrium_meeting.app.list_meetings import ListMeetings
from atrium_meeting.app.list_transcript_versions import ListTranscriptVersions
from atrium_meeting.app.live_ear import Encoding, LiveEngines
from atrium_meeting.app.live_session import LiveLimits, LiveTools
from atrium_meeting.app.locks import MeetingLocks
from atrium_meeting.app.name_speaker import NameSpeaker
from atrium_meeting.app.piece_files import PieceFiles
from atrium_meeting.app.ports import Delegation, Diarizer, FrameDecoder, Transcriber
from atrium_meeting.app.read_meeting import ReadMeeting
from atrium_meeting.app.recover import Recover
from atrium_meeting.app.request_minutes import MINUTES_JOB, RequestMinutes
from atrium_meeting.app.rewrite_minutes import RewriteMinutes
from atrium_meeting.app.transcribe_live import TranscribeLive
from atrium_meeting.app.transcribe_recording import Engines, TranscribeRecording
from atrium_meeting.app.turns import Turns
from atrium_meeting.app.update_meeting import UpdateMeeting
from atrium_meeting.app.upload_recording import TRANSCRIBE_JOB, UploadRecording
from atrium_meeting.app.workers import Workers
from atrium_meeting.app.write_minutes import WriteMinutes
from atrium_meeting.app.write_sentences import WriteSentences
from atrium_meeting.domain.activity import ActivityLimits
from atrium_meeting.rpc import convert, convert_minutes
from atrium_meeting.rpc.servicer import MeetingServicer, UseCases
from atrium_meeting.settings import MeetingSettings
from atrium_models import ModelStore
from atrium_shared.audit import AuditSink
from atrium_shared.audit_trail import AuditTrail
from atrium_shared.blobs import BlobStore
from atrium_shared.clock import Clock, Ids, RandomIds, SystemClock
from atrium_shared.database import Database
from atrium_shared.jobs import JobRunner
from atrium_shared.models import Embedder, WholeTextGenerator
from atrium_shared.operations import OperationStore
from atrium_shared.rpc.server import ServiceApp
from atrium_shared.settings import SettingsInvalid
from atrium_shared.tasks import cancel_and_wait

MIGRATIONS = Path(__file__).parent / "migrations"


@dataclass(frozen=True)
class Patience:
    """How long a recording waits for what is away, in seconds; tests wait less."""

    seconds: float = 6 * 3600.0


def build(
    settings: MeetingSettings,
    *,
    audit: AuditSink,
    jobs: JobRunner,
    delegation: Delegation,
    engines: Engines,
    embedder: Embedder,
    generator: WholeTextGenerator,
    clock: Clock | None = None,
    ids: Ids | None = None,
    patience: Patience = Patience(),
) -> ServiceApp:
    """Return the meeting service, ready to be served.

    Args:
        settings: What the operator set.
        audit: Where calls are recorded.
        jobs: Runs transcription. The caller starts it after all services of the process are built
            and before they start, and closes it after they have stopped.
        delegation: Says who the uploader of a recording is while it is worked on.
        engines: What turns sound into words with speakers; `open_engines` opens the real ones.
        embedder: Makes sentence vectors.
        generator: Writes texts.
        clock: Tells the time.
        ids: Makes identifiers.
        patience: How long a recording waits for what is away.
    """
    clock, ids = clock or SystemClock(), ids or RandomIds()
    database = Database(settings.database_url, migrations=MIGRATIONS, name="meeting")
    operations = OperationStore(database, "meeting", clock=clock)
    blobs = BlobStore(settings.blob_url)
    workers = Workers(settings.recognition_threads, "recordings")
    # Somebody waits for these, and must not stand behind minutes of recognition.
    quick = Workers(settings.call_threads, "calls")
    meetings = SqlMeetings(database, operations)
    transcripts = SqlTranscripts(database, clock)
    hotwords = SqlHotwords(database, clock)
    recordings = SqlRecordings(
        database,
        operations,
        progress_message=convert.progress_to_proto,
        meeting_message=convert.meeting_to_proto,
        clock=clock,
        ids=ids,
        replica=settings.replica,
    )

    files = TranscriptFiles()
    trail = AuditTrail(audit, "meeting")
    locks = MeetingLocks()
    find = FindMeeting(meetings)
    clean_up = CleanUp(recordings, blobs, locks)

    minutes, read = SqlMinutes(database), ReadMeeting(find, transcripts)
    requests = SqlMinutesRequests(
        database,
        operations,
        progress_message=convert_minutes.minutes_progress_to_proto,
        minutes_message=convert_minutes.minutes_to_proto,
        clock=clock,
    )
    analyse, sentences = AnalyseMeeting(), WriteSentences(generator)
    write = WriteMinutes(read, minutes, analyse, embedder, RewriteMinutes(sentences), clock)
    compose = ComposeMinutes(find, read, write, minutes, requests)
    request_minutes = RequestMinutes(
        find, requests, compose, jobs, delegation, trail, ids, patience_seconds=patience.seconds
    )
    transcribe = TranscribeRecording(
        meetings,
        recordings,
        hotwords,
        blobs,
        PieceFiles(recordings, blobs, locks),
        engines,
        workers,
        compose,
        clean_up,
        delegation,
        clock,
        patience_seconds=patience.seconds,
    )
    upload = UploadRecording(
        find,
        recordings,
        blobs,
        engines.transcriber,
        jobs,
        trail,
        ids,
        max_bytes=settings.max_recording_bytes,
    )
    live_recognition = Workers(settings.live_threads, "live recognition")
    live_hearing = Workers(1, "live hearing")
    live_store = SqlLive(database, clock)
    end_abandoned = EndAbandoned(live_store, clock, timedelta(hours=settings.live_abandoned_hours))
    transcribe_live = TranscribeLive(
        find,
        hotwords,
        engines.live,
        LiveTools(
            transcriber=engines.transcriber,
            cleaner=engines.cleaner,
            voices=engines.live.voices,
            store=live_store,
            turns=Turns(settings.live_threads),
            recognition=live_recognition,
            hearing=live_hearing,
        ),
        LiveLimits(
            partial_ms=round(settings.live_partial_seconds * 1000),
            buffer_ms=round(settings.live_buffer_seconds * 1000),
            stall_seconds=settings.live_stall_seconds,
            keep_seconds=settings.live_keep_seconds,
            limit_ms=round(settings.max_live_hours * 3_600_000),
        ),
        trail,
    )
    recover = Recover(recordings, blobs, jobs, clean_up)
    servicer = MeetingServicer(
        UseCases(
            create_meeting=CreateMeeting(meetings, trail, clock, ids),
            get_meeting=GetMeeting(find, trail),
            list_meetings=ListMeetings(meetings, trail),
            update_meeting=UpdateMeeting(meetings, find, trail),
            delete_meeting=DeleteMeeting(meetings, find, jobs, clean_up, trail),
            upload_recording=upload,
            hotwords=KeepHotwords(hotwords, trail),
            get_transcript=GetTranscript(find, transcripts, trail),
            list_transcript_versions=ListTranscriptVersions(find, transcripts, trail),
            edit_utterance=EditUtterance(find, transcripts, engines.cleaner, quick, trail),
            name_speaker=NameSpeaker(find, transcripts, trail),
            transcribe_live=transcribe_live,
            clean_text=CleanText(engines.cleaner or NoCleaner(), quick),
            import_transcript=ImportTranscript(
                find, transcripts, files, engines.cleaner, quick, trail
            ),
            export_meeting=ExportMeeting(find, transcripts, minutes, files, quick, trail),
            write_minutes=request_minutes,
            get_minutes=GetMinutes(find, minutes, transcripts, trail),
            catch_up=CatchUp(read, analyse, sentences, trail),
            ask_meeting=AskMeeting(read, analyse, embedder, generator, trail),
            give_feedback=GiveFeedback(read, minutes, SqlFeedback(database), trail, clock, ids),
        )
    )

    async def cancel(operation: str) -> None:
        operation_id = operation.rpartition(".")[2]
        await jobs.cancel(operation_id)
        await transcribe.cancel(operation_id)
        await request_minutes.cancel(operation_id)

    operations.on_cancel(cancel)
    jobs.register(
        TRANSCRIBE_JOB,
        transcribe.handle,
        concurrency=settings.recordings_concurrency,
        soon=False,
    )
    jobs.register(MINUTES_JOB, request_minutes.handle, concurrency=settings.minutes_concurrency)
    running = AsyncExitStack()

    async def start() -> None:
        async with AsyncExitStack() as stack:
            await database.start()
            stack.push_async_callback(database.close)
            if isinstance(engines.diarizer, PyannoteDiarizer):
                stack.push_async_callback(asyncio.to_thread, engines.diarizer.close)
            stack.push_async_callback(workers.close)
            stack.push_async_callback(quick.close)
            stack.push_async_callback(live_recognition.close)
            stack.push_async_callback(live_hearing.close)
            stack.push_async_callback(transcribe_live.close)
            stack.push_async_callback(upload.close)
            await recover()
            await request_minutes.resume()
            transcribe.gate.open()
            stack.push_async_callback(transcribe.gate.close)
            request_minutes.gate.open()
            stack.push_async_callback(request_minutes.gate.close)
            ending = asyncio.create_task(end_abandoned.run(), name="meeting end abandoned")
            stack.push_async_callback(cancel_and_wait, ending)
            running.push_async_exit(stack.pop_all())

    return ServiceApp(
        name="meeting",
        services={
            "atrium.meeting.v1.MeetingService": partial(
                meeting_service_pb2_grpc.add_MeetingServiceServicer_to_server, servicer
            ),
        },
        start=start,
        stop=running.aclose,
        operations=operations,
    )


def open_engines(settings: MeetingSettings) -> Engines:
    """Return the engines that the operator chose; the recognition model is opened when needed.

    Raises:
        SettingsInvalid: An engine is chosen without what it needs.
    """
    return Engines(
        decoder=PyavDecoder(
            limit_ms=round(settings.max_recording_hours * 3_600_000),
            piece_ms=round(settings.piece_minutes * 60_000),
        ),
        activity=SileroActivity(),
        transcriber=_transcriber(settings),
        diarizer=_diarizer(settings),
        cleaner=TaggerCleaner(),
        live=_live_engines(settings),
    )


def _transcriber(settings: MeetingSettings) -> Transcriber:
    if settings.recognition_model == "none" and settings.recognition_model_dir is None:
        return NoTranscriber()
    chosen = settings.recognition_model_dir
    name = chosen.name if chosen is not None else settings.recognition_model

    def open_model(folder: Path) -> Transcriber:
        # Importing it takes a second, and many installations import transcripts only.
        from atrium_meeting.adapters.whisper_transcriber import WhisperOptions, WhisperTranscriber

        options = WhisperOptions(
            compute_type=settings.recognition_compute_type,
            threads=settings.threads_per_recognition,
        )
        return WhisperTranscriber(folder, name, options)

    if chosen is not None:
        return StoredTranscriber(name, lambda: chosen.expanduser(), open_model)
    store = ModelStore(settings.models_dir.expanduser())
    return StoredTranscriber(name, lambda: store.path(name), open_model)


def _live_engines(settings: MeetingSettings) -> LiveEngines:
    activity = SileroActivity(ActivityLimits(min_silence_ms=settings.live_silence_ms))

    def open_decoder(encoding: Encoding, rate: int) -> FrameDecoder:
        return OpusFrames() if encoding is Encoding.OPUS else PcmFrames(rate)

    voices = LateSpeakerEncoder(OnnxSpeakerEncoder.model, OnnxSpeakerEncoder)
    return LiveEngines(
        open_decoder,
        activity.stream,
        voices=None if settings.diarization == "none" else voices,
    )


def _diarizer(settings: MeetingSettings) -> Diarizer | None:
    if settings.diarization == "none":
        return None
    if settings.diarization == "pyannote":
        if settings.pyannote_python is None or settings.pyannote_dir is None:
            raise SettingsInvalid(
                "  MEETING_PYANNOTE_PYTHON, MEETING_PYANNOTE_DIR: needed with "
                "MEETING_DIARIZATION=pyannote; a Python that has pyannote.audio, and the folder of "
                "a pipeline with its config.yaml"
            )
        return PyannoteDiarizer(settings.pyannote_python, settings.pyannote_dir)
    return LateDiarizer(OnnxDiarizer.model, lambda: OnnxDiarizer(settings.threads_per_recognition))
