"""What can go wrong with recordings, transcripts and minutes."""

from __future__ import annotations

from collections.abc import Mapping

from atrium_meeting.domain.transcript import clock
from atrium_shared.errors import Conflict, Denied, Exhausted, Invalid, NotFound, Unavailable

RECORDING_FIELD = "recording"


class MeetingNotFound(NotFound):
    """There is no such meeting, or the caller may not read it: the two read the same."""

    reason = "MEETING_NOT_FOUND"

    def __init__(self, meeting: str) -> None:
        super().__init__(f"Meeting {meeting!r} does not exist.", meeting=meeting)


class MeetingExists(Conflict):
    """The id is taken."""

    reason = "MEETING_EXISTS"

    def __init__(self, meeting: str) -> None:
        super().__init__(
            f"Meeting {meeting!r} exists already. Choose another id, or leave it empty.",
            field="meeting_id",
            meeting=meeting,
        )


class MeetingIdReserved(Denied):
    """Who does not manage meetings does not choose ids: a taken one would tell what there is."""

    reason = "MEETING_ID_RESERVED"

    def __init__(self) -> None:
        super().__init__(
            "Only who manages meetings (meeting.meetings:manage) chooses their ids. Leave "
            "`meeting_id` empty; the reply names the meeting.",
            field="meeting_id",
        )


class MeetingNotYours(Denied):
    """Only who created a meeting, or manages meetings, changes it."""

    reason = "MEETING_NOT_YOURS"

    def __init__(self, meeting: str) -> None:
        super().__init__(
            f"Only who created {meeting!r}, or holds meeting.meetings:manage, may change it.",
            meeting=meeting,
        )


class LabelNotHeld(Denied):
    """Nobody puts a meeting under a label that they do not hold, unless they manage meetings."""

    reason = "LABEL_NOT_HELD"

    def __init__(self, label: str) -> None:
        super().__init__(
            f"You do not hold the label {label!r}. Set labels that you hold, or ask somebody with "
            "meeting.meetings:manage.",
            field="meeting.labels",
            label=label,
        )


class MeetingHasTranscript(Conflict):
    """A meeting has one transcript, which is edited and not replaced."""

    reason = "MEETING_HAS_TRANSCRIPT"

    def __init__(self, meeting: str) -> None:
        super().__init__(
            f"Meeting {meeting!r} has a transcript already. Create another meeting.",
            meeting=meeting,
        )


class MeetingBusy(Conflict):
    """A recording of it is being worked on, or it is live."""

    reason = "MEETING_BUSY"

    def __init__(self, meeting: str) -> None:
        super().__init__(
            f"Meeting {meeting!r} is being transcribed. Wait until that is done, or cancel it.",
            meeting=meeting,
        )


class MeetingHasNoTranscript(Conflict):
    """Nothing was said or recognised, or not yet.

    Args:
        meeting: Its name.
        state: How far it is: "empty", "transcribing", "live", "ready" or "failed".
        failure: Why it failed, in plain words.
    """

    reason = "MEETING_HAS_NO_TRANSCRIPT"

    def __init__(self, meeting: str, state: str = "empty", failure: str = "") -> None:
        super().__init__(_no_transcript(meeting, state, failure), meeting=meeting)


def _no_transcript(meeting: str, state: str, failure: str) -> str:
    match state:
        case "transcribing":
            return f"Meeting {meeting!r} is being transcribed. Wait until that is done."
        case "live":
            return f"Nothing was said in meeting {meeting!r} so far. Wait until somebody speaks."
        case "ready":
            return (
                f"Nobody was heard in the recording of meeting {meeting!r}: it is silent, or holds "
                "no speech. Check the microphone and upload another recording to a new meeting, or "
                "import a transcript."
            )
        case "failed":
            why = f": {failure.rstrip('. ')}" if failure else ""
            return (
                f"The recording of meeting {meeting!r} could not be transcribed{why}. Upload a "
                "recording again, or import a transcript."
            )
    return f"Meeting {meeting!r} has no transcript yet. Upload a recording or import a transcript."


class TranscriptVersionNotFound(NotFound):
    """The transcript has no such version."""

    reason = "TRANSCRIPT_VERSION_NOT_FOUND"

    def __init__(self, meeting: str, version: int) -> None:
        super().__init__(
            f"The transcript of {meeting!r} has no version {version}.",
            field="version",
            meeting=meeting,
            version=version,
        )


class TranscriptChanged(Conflict):
    """Somebody edited the transcript meanwhile."""

    reason = "TRANSCRIPT_CHANGED"

    def __init__(self, meeting: str, version: int) -> None:
        super().__init__(
            f"The transcript of {meeting!r} is at version {version} now. Read it again and repeat "
            "the change.",
            meeting=meeting,
            version=version,
        )


class SpeakerNotFound(NotFound):
    """Nobody of this id speaks in the meeting."""

    reason = "SPEAKER_NOT_FOUND"

    def __init__(
        self, meeting: str, speaker: str, known: Mapping[str, str], *, field: str = "speaker"
    ) -> None:
        who = ", ".join(f"{one} ({name})" if name else one for one, name in known.items())
        super().__init__(
            f"Nobody speaks as {speaker!r} in {meeting!r}. Expected one of: {who or 'nobody yet'}.",
            field=field,
            meeting=meeting,
            speaker=speaker,
        )


class UtteranceNotFound(NotFound):
    """The transcript has no such utterance now."""

    reason = "UTTERANCE_NOT_FOUND"

    def __init__(self, meeting: str, utterance: str) -> None:
        super().__init__(
            f"The transcript of {meeting!r} has no utterance {utterance!r} now.",
            field="utterance",
            meeting=meeting,
            utterance=utterance,
        )


class WordsInvalid(Invalid):
    """A text cannot be cut into words that a transcript can hold."""

    reason = "WORDS_INVALID"

    def __init__(self, problem: str) -> None:
        super().__init__(f"The text cannot be taken: {problem}.", field="text", problem=problem)


class UploadHeaderMissing(Invalid):
    """The first message of an upload is no header."""

    reason = "UPLOAD_HEADER_MISSING"

    def __init__(self) -> None:
        super().__init__(
            "The upload begins without a header. Send the header first, then the bytes.",
            field="header",
        )


class UploadHeaderRepeated(Invalid):
    """A later message of an upload is a header again."""

    reason = "UPLOAD_HEADER_REPEATED"

    def __init__(self) -> None:
        super().__init__(
            "The upload has a second header. Send the header once; each file is its own call.",
            field="header",
        )


class RecordingTooLarge(Exhausted):
    """The file is larger than the tenant allows."""

    reason = "RECORDING_TOO_LARGE"

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(
            f"The recording is larger than {limit_bytes} bytes, which is the most for this tenant. "
            "Compress it (Opus or AAC at 32 kbit/s is plenty for speech), or split it.",
            field=RECORDING_FIELD,
            limit_bytes=limit_bytes,
        )


class UploadCancelled(Conflict):
    """Whoever uploaded the recording cancelled its operation."""

    reason = "UPLOAD_CANCELLED"

    def __init__(self) -> None:
        super().__init__("The upload was cancelled before its transcript was there.")


class TranscriptionFailed(Unavailable):
    """Something unexpected; the log of the service says what."""

    reason = "TRANSCRIPTION_FAILED"

    def __init__(self, meeting: str) -> None:
        super().__init__(
            f"{meeting!r} could not be transcribed: an unexpected error. Upload the recording "
            "again; if it stays, the operator's log says more.",
            meeting=meeting,
        )


class RecordingRefused(Invalid):
    """A recording that cannot be used; the same bytes will be refused again."""

    reason = "RECORDING_UNREADABLE"

    def __init__(self, message: str, **metadata: object) -> None:
        super().__init__(message, field=RECORDING_FIELD, **metadata)


class RecordingEmpty(RecordingRefused):
    """0 bytes."""

    reason = "RECORDING_EMPTY"

    def __init__(self) -> None:
        super().__init__("The recording has 0 bytes. Send a file with sound.")


class RecordingNotAudio(RecordingRefused):
    """The bytes are of no format that carries sound."""

    reason = "RECORDING_NOT_AUDIO"

    def __init__(self) -> None:
        super().__init__(
            "The recording is not in a format for audio or video. Send WAV, MP3, M4A, FLAC, OGG, "
            "WebM, MP4 or another usual format."
        )


class RecordingHasNoSound(RecordingRefused):
    """A video without an audio track, or a track without a single sample."""

    reason = "RECORDING_HAS_NO_SOUND"

    def __init__(self, container: str) -> None:
        super().__init__(
            f"The recording ({container}) has no sound: no audio track, or an empty one. Send a "
            "file with an audio track.",
            container=container,
        )


class RecordingEncrypted(RecordingRefused):
    """Rights management protects it."""

    reason = "RECORDING_ENCRYPTED"

    def __init__(self, container: str) -> None:
        super().__init__(
            f"The recording ({container}) is encrypted (DRM). Send a copy without protection.",
            container=container,
        )


class RecordingCodecUnknown(RecordingRefused):
    """The container is known, the way in which its sound is coded is not."""

    reason = "RECORDING_CODEC_UNKNOWN"

    def __init__(self, container: str, codec: str) -> None:
        super().__init__(
            f"The sound of the recording ({container}) is coded in {codec!r}, which cannot be "
            "read. Convert it to AAC, MP3, Opus, FLAC or PCM.",
            container=container,
            codec=codec,
        )


class RecordingTooLong(RecordingRefused):
    """It lasts longer than one recording may."""

    reason = "RECORDING_TOO_LONG"

    def __init__(self, seconds: float, limit_seconds: float) -> None:
        super().__init__(
            f"The recording lasts {seconds / 3600:.1f} h or more; a recording may last "
            f"{limit_seconds / 3600:g} h. Split it.",
            seconds=round(seconds),
            limit_seconds=round(limit_seconds),
        )


class RecordingBroken(RecordingRefused):
    """It claims a format whose rules it breaks, and nothing of it can be heard."""

    reason = "RECORDING_BROKEN"


class FrameBroken(Invalid):
    """A frame of live audio that cannot be decoded."""

    reason = "AUDIO_FRAME_BROKEN"

    def __init__(self, codec: str) -> None:
        super().__init__(
            f"A frame of audio is not valid {codec}. Send whole frames in the encoding that the "
            "first message names.",
            field="audio",
            codec=codec,
        )


class LiveConfigMissing(Invalid):
    """A live stream that begins with something else than its config."""

    reason = "LIVE_CONFIG_MISSING"

    def __init__(self) -> None:
        super().__init__(
            "The first message is no config. Send `config` first: which meeting, how sound is "
            "written.",
            field="config",
        )


class LiveConfigRepeated(Invalid):
    """A live stream with a second config."""

    reason = "LIVE_CONFIG_REPEATED"

    def __init__(self) -> None:
        super().__init__(
            "A second config came. Send `config` once, first; open another stream to change it.",
            field="config",
        )


class LiveFrameInvalid(Invalid):
    """Sound that cannot be used, or has no place."""

    reason = "LIVE_FRAME_INVALID"

    def __init__(self, problem: str) -> None:
        super().__init__(
            f"A frame cannot be used: {problem}. Open the stream again with the last "
            "`resume_token`, and go on from `started.expected_offset_ms`.",
            field="frame",
        )


class LiveStalled(Unavailable):
    """A client that sends nothing, or takes nothing, for too long."""

    reason = "LIVE_STALLED"

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"For {seconds:g} s no sound came, or no result was taken. Send silence while nobody "
            "speaks; open the stream again with the last `resume_token` to go on.",
            seconds=seconds,
        )


class LiveBusy(Conflict):
    """Another live stream is open for the meeting."""

    reason = "LIVE_BUSY"

    def __init__(self, meeting: str) -> None:
        super().__init__(
            f"Another live stream is open for {meeting!r}. Close it, or go on in its place with "
            "its last `resume_token`.",
            meeting=meeting,
        )


class LiveTakenOver(Conflict):
    """Another live stream has gone on in this one's place."""

    reason = "LIVE_TAKEN_OVER"

    def __init__(self, meeting: str) -> None:
        super().__init__(
            f"Another live stream goes on with {meeting!r} in place of this one.",
            meeting=meeting,
        )


class LiveResumeInvalid(Invalid):
    """A resume token that is none, is another meeting's, or whose meeting is over."""

    reason = "LIVE_RESUME_INVALID"

    def __init__(self, meeting: str) -> None:
        super().__init__(
            f"The resume token is not of the live stream of {meeting!r}, or that is over: "
            "`GetMeeting` tells. Send the last `resume_token` that was received, unchanged.",
            field="resume_token",
            meeting=meeting,
        )


class LiveTooLong(Exhausted):
    """A live meeting as long as any may be; what was said until then is kept."""

    reason = "LIVE_TOO_LONG"

    def __init__(self, hours: float) -> None:
        super().__init__(
            f"A live meeting is at most {hours:g} h long. What was said until then is kept, and "
            "the meeting is ready; go on in another one.",
            hours=hours,
        )


class RecognitionUnavailable(Unavailable):
    """There is no speech recognition model, or it cannot be loaded."""

    reason = "RECOGNITION_UNAVAILABLE"


class DiarizationUnavailable(Unavailable):
    """What tells speakers apart is missing, cannot be loaded, or failed."""

    reason = "DIARIZATION_UNAVAILABLE"


class DecoderUnavailable(Unavailable):
    """The process that decodes recordings cannot be started."""

    reason = "DECODER_UNAVAILABLE"


class MinutesFailed(Unavailable):
    """Something unexpected; the log of the service says what."""

    reason = "MINUTES_FAILED"

    def __init__(self, meeting: str) -> None:
        super().__init__(
            f"The minutes of {meeting!r} could not be written: an unexpected error. Ask for them "
            "again; if it stays, the operator's log says more.",
            meeting=meeting,
        )


class MinutesNotFound(NotFound):
    """There are no such minutes, or their meeting is not the caller's to read."""

    reason = "MINUTES_NOT_FOUND"

    def __init__(self, minutes: str) -> None:
        super().__init__(f"Minutes {minutes!r} do not exist.", field="name", minutes=minutes)


class SentenceNotFound(NotFound):
    """The minutes have no such sentence."""

    reason = "SENTENCE_NOT_FOUND"

    def __init__(self, minutes: str, sentence: str) -> None:
        super().__init__(
            f"Minutes {minutes!r} have no sentence {sentence!r}. Use the `id` of one of their "
            "sentences, or leave it empty for the minutes as a whole.",
            field="feedback.sentence",
            minutes=minutes,
            sentence=sentence,
        )


class QuestionTooLong(Invalid):
    """A question has a limit."""

    reason = "QUESTION_TOO_LONG"

    def __init__(self, length: int, limit: int) -> None:
        super().__init__(
            f"The question has {length} code points; at most {limit} are taken. Shorten it.",
            field="question",
            length=length,
            limit=limit,
        )


class TextTooLong(Invalid):
    """A text to be cleaned has a limit."""

    reason = "TEXT_TOO_LONG"

    def __init__(self, length: int, limit: int) -> None:
        super().__init__(
            f"The text has {length} code points; at most {limit} are taken. Send it in parts.",
            field="text",
            length=length,
            limit=limit,
        )


class NothingMissed(Invalid):
    """Who was there all the time has nothing to catch up on."""

    reason = "NOTHING_MISSED"

    def __init__(self, known_until_ms: int) -> None:
        super().__init__(
            "Nothing was said while they were away. Say when they came or when they left, counted "
            "from the beginning of the meeting (`joined_at_ms`, `left_at_ms`; --joined and --left "
            f"of the command). The meeting is known up to {clock(known_until_ms)}.",
            field="joined_at_ms",
            known_until_ms=known_until_ms,
        )


class LanguageNeedsGenerator(Unavailable):
    """Sentences in another language than the meeting's have to be written, and nothing writes."""

    reason = "LANGUAGE_NEEDS_GENERATOR"

    def __init__(self, language: str, spoken: str) -> None:
        super().__init__(
            f"The meeting was held in {spoken!r} and its sentences can only be taken over as they "
            f"were said: {language!r} needs a generator, and none answers. Ask for {spoken!r}, or "
            "try again when a model is there.",
            language=language,
            spoken=spoken,
        )


class TranscriptRefused(Invalid):
    """A transcript file that cannot be taken in; the same bytes will be refused again."""

    reason = "TRANSCRIPT_BROKEN"

    def __init__(self, message: str, **metadata: object) -> None:
        super().__init__(message, field="content", **metadata)


class TranscriptFormatUnknown(TranscriptRefused):
    """The text is of no known format."""

    reason = "TRANSCRIPT_FORMAT_UNKNOWN"

    def __init__(self) -> None:
        super().__init__(
            "The file is neither WebVTT (it begins with WEBVTT), nor SubRip (times such as "
            "00:00:01,000 --> 00:00:02,500), nor JSON as ExportMeeting writes it. Convert it."
        )


class TranscriptBroken(TranscriptRefused):
    """It claims a format whose rules it breaks.

    Args:
        kind: Name of the format, "WebVTT".
        problem: What is wrong, as a clause: "line 12 holds no time".
    """

    reason = "TRANSCRIPT_BROKEN"

    def __init__(self, kind: str, problem: str) -> None:
        super().__init__(
            f"The {kind} file is broken: {problem}. Mend it and send it again.",
            kind=kind,
            problem=problem,
        )


class TranscriptEmpty(TranscriptRefused):
    """Nobody says anything in it."""

    reason = "TRANSCRIPT_EMPTY"

    def __init__(self) -> None:
        super().__init__("The transcript holds no words. Check that the right file was sent.")


class TranscriptTimesReversed(TranscriptRefused):
    """Something ends before it begins."""

    reason = "TRANSCRIPT_TIMES_REVERSED"

    def __init__(self, number: int, start_ms: int, end_ms: int) -> None:
        super().__init__(
            f"Entry {number} of the transcript ends at {end_ms} ms, before it begins at "
            f"{start_ms} ms. Each entry must end when it begins or later.",
            entry=number,
            start_ms=start_ms,
            end_ms=end_ms,
        )


class TranscriptTooLong(TranscriptRefused):
    """More words, or more time, than one meeting may have."""

    reason = "TRANSCRIPT_TOO_LONG"

    def __init__(self, what: str, count: float, limit: float) -> None:
        super().__init__(
            f"The transcript has {count:g} {what}; a meeting may have {limit:g}. Split it.",
            what=what,
            count=count,
            limit=limit,
        )


class SpeakersTooMany(TranscriptRefused):
    """More different speakers than one meeting may have."""

    reason = "SPEAKERS_TOO_MANY"

    def __init__(self, count: int, limit: int) -> None:
        super().__init__(
            f"The transcript names {count} different speakers; a meeting may have {limit}. Check "
            "that the names stand where the format wants them.",
            count=count,
            limit=limit,
        )
