"""``atrium meeting``: recordings, transcripts, minutes."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Annotated, Final, TypeVar

import grpc
import typer
from google.longrunning import operations_pb2
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from atrium.meeting.v1 import meeting_pb2, meeting_service_pb2, minutes_pb2
from atrium_client import AtriumCallError, AtriumClient
from atrium_shared.errors import AtriumError, NotFound
from atrium_suite.cli.calls import (
    DEFAULT_TARGET,
    AsJson,
    AsUser,
    Key,
    OptionInvalid,
    Target,
    all_pages,
    connect,
    run,
    until_stopped,
)
from atrium_suite.terminal.meetings import (
    STAGES,
    SpeakerNames,
    clock,
    milliseconds,
    people,
    print_catch_up,
    print_minutes,
    print_sentence,
    print_utterance,
)
from atrium_suite.terminal.names import full_name, moment, short_name
from atrium_suite.terminal.output import (
    make_console,
    plain,
    print_json,
    print_rows,
    printable,
    to_dict,
)
from atrium_suite.terminal.sound import PipedSound, PlayedSound, open_sound

app = typer.Typer(
    no_args_is_help=True, help="Meetings: from a recording to clean words and minutes."
)

MeetingId = Annotated[
    str,
    typer.Argument(
        metavar="MEETING", help="As `list` shows it, or `latest`: the newest that may be read."
    ),
]
Language = Annotated[str, typer.Option(help="zh or en. Empty: the meeting's.", metavar="LANGUAGE")]
Mode = Annotated[
    str, typer.Option(help="auto, extractive (word for word) or generative.", metavar="MODE")
]
Title = Annotated[str, typer.Option(help="Title. Empty: the name of the file.")]
Labels = Annotated[
    list[str] | None,
    typer.Option(
        "--label", help="Who reads it holds one of the labels; repeatable. None: everyone.",
        metavar="LABEL",
    ),
]  # fmt: skip
Agenda = Annotated[
    list[str] | None,
    typer.Option("--agenda", help="An item of the agenda; repeatable.", metavar="ITEM"),
]

Choice = TypeVar("Choice")

_LATEST: Final = "latest"

_MODES = {
    "auto": meeting_service_pb2.WriteMinutesRequest.MODE_UNSPECIFIED,
    "extractive": meeting_service_pb2.WriteMinutesRequest.EXTRACTIVE,
    "generative": meeting_service_pb2.WriteMinutesRequest.GENERATIVE,
}
_TYPES = {
    "auto": minutes_pb2.Minutes.TYPE_UNSPECIFIED,
    "agenda": minutes_pb2.Minutes.AGENDA,
    "brainstorm": minutes_pb2.Minutes.BRAINSTORM,
    "standup": minutes_pb2.Minutes.STANDUP,
    "interview": minutes_pb2.Minutes.INTERVIEW,
    "decision": minutes_pb2.Minutes.DECISION,
}
_GROUPINGS = {
    "auto": minutes_pb2.Minutes.GROUPING_UNSPECIFIED,
    "chapter": minutes_pb2.Minutes.BY_CHAPTER,
    "speaker": minutes_pb2.Minutes.BY_SPEAKER,
    "topic": minutes_pb2.Minutes.BY_TOPIC,
}
_FORMATS = {
    ".md": meeting_service_pb2.ExportMeetingRequest.MD,
    ".docx": meeting_service_pb2.ExportMeetingRequest.DOCX,
    ".srt": meeting_service_pb2.ExportMeetingRequest.SRT,
    ".vtt": meeting_service_pb2.ExportMeetingRequest.VTT,
    ".json": meeting_service_pb2.ExportMeetingRequest.JSON,
}
_IMPORTS = {
    ".vtt": meeting_service_pb2.ImportTranscriptRequest.VTT,
    ".srt": meeting_service_pb2.ImportTranscriptRequest.SRT,
    ".json": meeting_service_pb2.ImportTranscriptRequest.JSON,
}
_STATES = {
    meeting_pb2.Meeting.EMPTY: "空 empty",
    meeting_pb2.Meeting.TRANSCRIBING: "转写中 transcribing",
    meeting_pb2.Meeting.LIVE: "进行中 live",
    meeting_pb2.Meeting.READY: "就绪 ready",
    meeting_pb2.Meeting.FAILED: "失败 failed",
}


class NoMeetings(NotFound):
    """There is no newest meeting."""

    reason = "NO_MEETINGS"

    def __init__(self) -> None:
        super().__init__(
            "There are no meetings that you may read. Make one: atrium meeting transcribe FILE"
        )


@app.command()
def transcribe(
    recording: Annotated[
        Path, typer.Argument(metavar="FILE", help="A file with sound: audio or video.")
    ],
    title: Title = "",
    minutes: Annotated[bool, typer.Option(help="Write minutes too.")] = True,
    languages: Annotated[
        list[str] | None,
        typer.Option(
            "--language", help="Spoken: zh, en; repeatable. None: found out.", metavar="LANGUAGE"
        ),
    ] = None,
    hotwords: Annotated[
        list[str] | None,
        typer.Option("--hotword", help="A name or term to expect; repeatable.", metavar="WORD"),
    ] = None,
    agenda: Agenda = None,
    speakers: Annotated[
        int, typer.Option(min=0, max=100, help="How many speak. 0: found out.")
    ] = 0,
    traditional: Annotated[
        bool, typer.Option("--traditional", help="Write Chinese in traditional characters.")
    ] = False,
    labels: Labels = None,
    target: Target = DEFAULT_TARGET,
    key: Key = "",
    as_user: AsUser = None,
    as_json: AsJson = False,
) -> None:
    """Transcribe a recording; print what was said, with what is struck out, and minutes."""

    async def work() -> None:
        wanted = meeting_pb2.Meeting(
            title=title or recording.stem,
            languages=languages or (),
            hotwords=hotwords or (),
            agenda=agenda or (),
            labels=labels or (),
            speaker_count=speakers,
            chinese_script=meeting_pb2.TRADITIONAL if traditional else meeting_pb2.SIMPLIFIED,
        )
        if not recording.is_file():
            raise OptionInvalid(f"{recording} is no file. Name a recording.")
        async with connect(target, key, as_user) as client:
            async with _new_meeting(client, wanted) as meeting:
                operation = await client.upload_recording(
                    meeting.name, recording, write_minutes=minutes
                )
            try:
                done, written = await follow_upload(client, operation, quiet=as_json)
            except asyncio.CancelledError:
                make_console(stderr=True).print(
                    f"It is transcribed without this command: atrium meeting show "
                    f"{short_name(meeting.name)}",
                    soft_wrap=True,
                )
                raise
            await _show(client, done, written, as_json=as_json)

    run(work())


@app.command()
def live(
    source: Annotated[
        str,
        typer.Argument(help="A .wav file, or - for 16-bit mono samples of 16 kHz from a recorder."),
    ],
    title: Title = "",
    speed: Annotated[
        float, typer.Option(min=0.1, max=20, help="How much faster than life a file is played.")
    ] = 1.0,
    labels: Labels = None,
    target: Target = DEFAULT_TARGET,
    key: Key = "",
    as_user: AsUser = None,
) -> None:
    """Transcribe while people speak: arecord -f S16_LE -r 16000 -t raw | atrium meeting live -."""

    async def work() -> None:
        wanted = meeting_pb2.Meeting(
            title=title or (Path(source).stem if source != "-" else ""), labels=labels or ()
        )
        console, status = make_console(), make_console(stderr=True)
        with open_sound(source, stdin=sys.stdin, speed=speed) as sound:
            async with (
                connect(target, key, as_user) as client,
                _new_meeting(client, wanted) as meeting,
            ):
                console.print(plain(meeting.name, "bold"))
                parts = _LiveParts(meeting.name, sound)
                with status.status("… (Ctrl-C 结束 ends)") as hearing:
                    async for heard in client.meetings.TranscribeLive(parts.requests()):
                        if heard.HasField("partial"):
                            hearing.update(plain(heard.partial.utterance.text, "dim"))
                        elif heard.HasField("final"):
                            hearing.update("…")
                            print_utterance(console, heard.final.utterance, SpeakerNames(()))
                parts.reraise()
                _go_on(console, meeting)

    run(work())


@app.command(name="import")
def import_(
    transcript: Annotated[Path, typer.Argument(metavar="FILE", help="A .vtt, .srt or .json file.")],
    title: Title = "",
    agenda: Agenda = None,
    labels: Labels = None,
    target: Target = DEFAULT_TARGET,
    key: Key = "",
    as_user: AsUser = None,
    as_json: AsJson = False,
) -> None:
    """Take a transcript that was made elsewhere."""

    async def work() -> None:
        content = transcript.read_bytes()
        wanted = meeting_pb2.Meeting(
            title=title or transcript.stem, agenda=agenda or (), labels=labels or ()
        )
        async with (
            connect(target, key, as_user) as client,
            _new_meeting(client, wanted) as meeting,
        ):
            done = await client.meetings.ImportTranscript(
                meeting_service_pb2.ImportTranscriptRequest(
                    meeting=meeting.name,
                    format=_IMPORTS.get(
                        transcript.suffix.lower(),
                        meeting_service_pb2.ImportTranscriptRequest.FORMAT_UNSPECIFIED,
                    ),
                    content=content,
                )
            )
        if as_json:
            print_json(done)
        else:
            console = make_console()
            console.print(plain(f"Made {done.name}: {_facts(done)}."), soft_wrap=True)
            _go_on(console, done)

    run(work())


@app.command(name="list")
def list_(
    target: Target = DEFAULT_TARGET,
    key: Key = "",
    as_user: AsUser = None,
    as_json: AsJson = False,
) -> None:
    """List the meetings that may be read, newest first."""

    async def work() -> None:
        async with connect(target, key, as_user) as client:
            meetings: list[meeting_pb2.Meeting] = await all_pages(
                client.meetings.ListMeetings,
                meeting_service_pb2.ListMeetingsRequest(),
                "meetings",
            )
        if as_json:
            print_json(meetings)
            return
        print_rows(
            ("meeting", "title", "made", "length", "speakers", "state"),
            [
                (
                    short_name(each.name),
                    each.title,
                    moment(each.create_time),
                    clock(each.duration.ToMilliseconds()) if each.transcript_version else "",
                    ", ".join(speaker.display_name or speaker.id for speaker in each.speakers),
                    _STATES.get(each.state, ""),
                )
                for each in meetings
            ],
            empty="There are no meetings. Make one: atrium meeting transcribe FILE",
        )

    run(work())


@app.command()
def show(
    meeting: MeetingId,
    clean: Annotated[
        bool, typer.Option("--clean", help="Leave out what is struck out otherwise.")
    ] = False,
    version: Annotated[int, typer.Option(min=0, help="Version. 0: the newest.")] = 0,
    target: Target = DEFAULT_TARGET,
    key: Key = "",
    as_user: AsUser = None,
    as_json: AsJson = False,
) -> None:
    """Print what was said."""

    async def work() -> None:
        async with connect(target, key, as_user) as client:
            found = await client.transcript(
                await _named(client, meeting),
                view=meeting_pb2.Transcript.CLEAN if clean else meeting_pb2.Transcript.RAW,
                version=version,
            )
        if as_json:
            print_json(found)
        else:
            console = make_console()
            print_transcript(console, found)
            if any(one.display_name for one in found.speakers):
                # Their names stand above, and commands take their ids.
                console.print(plain(people(found.speakers), "dim"))

    run(work())


@app.command()
def minutes(
    meeting: MeetingId,
    kind: Annotated[
        str, typer.Option("--type", help=f"{', '.join(_TYPES)}.", metavar="TYPE")
    ] = "auto",
    by: Annotated[str, typer.Option(help=f"{', '.join(_GROUPINGS)}.", metavar="GROUPING")] = "auto",
    mode: Mode = "auto",
    language: Language = "",
    target: Target = DEFAULT_TARGET,
    key: Key = "",
    as_user: AsUser = None,
    as_json: AsJson = False,
) -> None:
    """Write minutes; every sentence cites when it was said."""

    async def work() -> None:
        request = meeting_service_pb2.WriteMinutesRequest(
            type=_chosen("--type", _TYPES, kind),
            grouping=_chosen("--by", _GROUPINGS, by),
            mode=_chosen("--mode", _MODES, mode),
            language=language,
        )
        async with connect(target, key, as_user) as client:
            request.meeting = await _named(client, meeting)
            with make_console(stderr=True).status("撰写 writing ..."):
                written = await client.write_minutes(request)
            found = await client.meetings.GetMeeting(
                meeting_service_pb2.GetMeetingRequest(name=request.meeting)
            )
        if as_json:
            print_json(written)
        else:
            print_minutes(make_console(), written, found.speakers)

    run(work())


@app.command()
def catchup(
    meeting: MeetingId,
    joined: Annotated[str, typer.Option(help="When they came, such as 4:07.")] = "",
    left: Annotated[str, typer.Option(help="When they left, such as 1:04:07.")] = "",
    speaker: Annotated[
        str, typer.Option(help="Who asks, such as S2: what they are to do comes first.")
    ] = "",
    mode: Mode = "auto",
    language: Language = "",
    target: Target = DEFAULT_TARGET,
    key: Key = "",
    as_user: AsUser = None,
    as_json: AsJson = False,
) -> None:
    """Tell what somebody missed who came late or left early; also while it goes on."""

    async def work() -> None:
        request = meeting_service_pb2.CatchUpRequest(
            joined_at_ms=_time("--joined", joined),
            left_at_ms=_time("--left", left),
            speaker=speaker,
            mode=_chosen("--mode", _MODES, mode),
            language=language,
        )
        async with connect(target, key, as_user) as client:
            request.meeting = await _named(client, meeting)
            reply = await client.meetings.CatchUp(request)
            found = await client.meetings.GetMeeting(
                meeting_service_pb2.GetMeetingRequest(name=request.meeting)
            )
        if as_json:
            print_json(reply)
        else:
            print_catch_up(make_console(), reply, found.speakers)

    run(work())


@app.command()
def ask(
    meeting: MeetingId,
    question: Annotated[str, typer.Argument(help="In Chinese or English.")],
    mode: Mode = "auto",
    language: Annotated[
        str, typer.Option(help="Language of the answer, zh or en. Empty: the question's.")
    ] = "",
    target: Target = DEFAULT_TARGET,
    key: Key = "",
    as_user: AsUser = None,
    as_json: AsJson = False,
) -> None:
    """Ask what was said; the answer cites when."""

    async def work() -> None:
        request = meeting_service_pb2.AskMeetingRequest(
            question=question,
            mode=_chosen("--mode", _MODES, mode),
            language=language,
        )
        console = make_console()
        answer = meeting_service_pb2.AskMeetingResponse.Answer()
        async with connect(target, key, as_user) as client:
            request.meeting = await _named(client, meeting)
            async for event in client.meetings.AskMeeting(request):
                if event.HasField("answer"):
                    answer = event.answer
                elif not as_json:
                    print_sentence(console, event.sentence)
        if as_json:
            print_json(answer)
        elif answer.decision != meeting_service_pb2.AskMeetingResponse.Answer.ANSWERED:
            console.print("未找到 Nothing that was said answers it.")

    run(work())


@app.command()
def name(
    meeting: MeetingId,
    speaker: Annotated[str, typer.Argument(help="Who, such as S2.")],
    display_name: Annotated[str, typer.Argument(metavar="NAME", help="Their name.")] = "",
    same_as: Annotated[
        str, typer.Option("--same-as", help="The speaker that they are the same as.")
    ] = "",
    clear: Annotated[bool, typer.Option("--clear", help="Take their name away.")] = False,
    target: Target = DEFAULT_TARGET,
    key: Key = "",
    as_user: AsUser = None,
    as_json: AsJson = False,
) -> None:
    """Name a speaker, or make two speakers one."""

    async def work() -> None:
        if sum((bool(display_name.strip()), bool(same_as), clear)) != 1:
            raise OptionInvalid(
                f"Expected one of a name, --same-as and --clear: `atrium meeting name {meeting} "
                f'{speaker} "Anna"` names {speaker}, `--same-as S1` makes them one with S1, and '
                "`--clear` takes their name away."
            )
        request = meeting_service_pb2.NameSpeakerRequest(speaker=speaker)
        if same_as:
            request.same_as = same_as
        else:
            request.display_name = display_name
        async with connect(target, key, as_user) as client:
            request.meeting = await _named(client, meeting)
            changed = await client.meetings.NameSpeaker(request)
        if as_json:
            print_json(changed)
        else:
            make_console().print(plain(_facts(changed)))

    run(work())


@app.command()
def edit(
    meeting: MeetingId,
    utterance: Annotated[str, typer.Argument(help="Which, such as u12; `show --json` tells.")],
    text: Annotated[str, typer.Argument(help="Its new words. Empty: it is removed.")],
    target: Target = DEFAULT_TARGET,
    key: Key = "",
    as_user: AsUser = None,
    as_json: AsJson = False,
) -> None:
    """Replace the words of an utterance; words that stay keep their times."""

    async def work() -> None:
        request = meeting_service_pb2.EditUtteranceRequest(utterance=utterance, text=text)
        async with connect(target, key, as_user) as client:
            request.meeting = await _named(client, meeting)
            changed = await client.meetings.EditUtterance(request)
        if as_json:
            print_json(changed)
        elif not changed.words:
            make_console().print(f"Removed {utterance}.", markup=False)
        else:
            print_utterance(make_console(), changed, SpeakerNames(()))

    run(work())


@app.command()
def clean(
    text: Annotated[str, typer.Argument(help="Text; - reads it from the standard input.")],
    target: Target = DEFAULT_TARGET,
    key: Key = "",
    as_user: AsUser = None,
    as_json: AsJson = False,
) -> None:
    """Show what a text holds of fillers, repetitions, repairs and false starts."""

    async def work() -> None:
        raw = sys.stdin.read() if text == "-" else text
        async with connect(target, key, as_user) as client:
            found = await client.meetings.CleanText(meeting_service_pb2.CleanTextRequest(text=raw))
        if as_json:
            print_json(found)
            return
        console = make_console()
        if not console.is_terminal:
            console.print(plain(found.clean_text), soft_wrap=True)
            return
        line, position = Text(), 0
        for removal in found.removals:
            line.append_text(plain(raw[position : removal.start]))
            line.append_text(plain(raw[removal.start : removal.end], "strike dim red"))
            position = removal.end
        console.print(line.append_text(plain(raw[position:])))

    run(work())


@app.command()
def export(
    meeting: MeetingId,
    out: Annotated[
        Path, typer.Argument(metavar="FILE", help="File to write: .md .docx .srt .vtt .json.")
    ],
    raw: Annotated[
        bool, typer.Option("--raw", help="With all words, as said; the clean view otherwise.")
    ] = False,
    language: Annotated[
        str, typer.Option(help="Of headings, zh or en. Empty: the meeting's.")
    ] = "",
    target: Target = DEFAULT_TARGET,
    key: Key = "",
    as_user: AsUser = None,
) -> None:
    """Write a meeting to a file."""

    async def work() -> None:
        kind = _FORMATS.get(out.suffix.lower())
        if kind is None:
            raise OptionInvalid(f"A file ends in one of {', '.join(_FORMATS)}; not {out.name!r}.")
        async with connect(target, key, as_user) as client:
            _, content = await client.export_meeting(
                meeting_service_pb2.ExportMeetingRequest(
                    meeting=await _named(client, meeting),
                    format=kind,
                    view=meeting_pb2.Transcript.RAW if raw else meeting_pb2.Transcript.CLEAN,
                    language=language,
                )
            )
        out.write_bytes(content)
        make_console().print(plain(f"Wrote {out}."))

    run(work())


@app.command()
def delete(
    meeting: MeetingId,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    target: Target = DEFAULT_TARGET,
    key: Key = "",
    as_user: AsUser = None,
) -> None:
    """Delete a meeting with its recording, transcript and minutes."""

    async def work() -> None:
        async with connect(target, key, as_user) as client:
            found = await client.meetings.GetMeeting(
                meeting_service_pb2.GetMeetingRequest(name=await _named(client, meeting))
            )
            which = f"{short_name(found.name)} “{printable(found.title)}”"
            if not yes:
                typer.confirm(f"Delete meeting {which} for good?", abort=True)
            await client.meetings.DeleteMeeting(
                meeting_service_pb2.DeleteMeetingRequest(name=found.name)
            )
        make_console().print(plain(f"Deleted meeting {which}."), soft_wrap=True)

    run(work())


async def _named(client: AtriumClient, given: str) -> str:
    """Return the full name of a meeting; ``latest`` stands for the newest that may be read."""
    if given != _LATEST:
        return full_name("meetings", given)
    request = meeting_service_pb2.ListMeetingsRequest(page_size=1)
    while True:
        page = await client.meetings.ListMeetings(request)
        if page.meetings:
            return str(page.meetings[0].name)
        if not page.next_page_token:
            raise NoMeetings
        request.page_token = page.next_page_token


@asynccontextmanager
async def _new_meeting(
    client: AtriumClient, wanted: meeting_pb2.Meeting
) -> AsyncIterator[meeting_pb2.Meeting]:
    """Yield a new meeting; it goes again where what was to come into it was refused."""
    meeting = await client.meetings.CreateMeeting(
        meeting_service_pb2.CreateMeetingRequest(meeting=wanted)
    )
    try:
        yield meeting
    except (AtriumCallError, AtriumError, grpc.aio.AioRpcError, OSError, asyncio.CancelledError):
        # What cannot be asked or done now leaves an empty meeting, which harms nobody.
        with suppress(grpc.aio.AioRpcError):
            now = await client.meetings.GetMeeting(
                meeting_service_pb2.GetMeetingRequest(name=meeting.name)
            )
            if now.state == meeting_pb2.Meeting.EMPTY:
                await client.meetings.DeleteMeeting(
                    meeting_service_pb2.DeleteMeetingRequest(name=meeting.name)
                )
        raise


def _go_on(console: Console, meeting: meeting_pb2.Meeting) -> None:
    """Say what can be done with a meeting, to people."""
    if console.is_terminal:
        name = short_name(meeting.name)
        console.print("\nGo on 继续:", style="dim")
        for command in (f'ask {name} "..."', f"minutes {name}", f"export {name} minutes.docx"):
            console.print(plain(f"  atrium meeting {command}", "dim"), soft_wrap=True)


class _LiveParts:
    """What is sent of a live stream: its config, frames until the sound or Ctrl-C ends, the end.

    Args:
        meeting: ``meetings/m1``.
        sound: What is heard.
    """

    def __init__(self, meeting: str, sound: PipedSound | PlayedSound) -> None:
        self._meeting, self._sound = meeting, sound
        self._error: Exception | None = None

    def reraise(self) -> None:
        """Raise what made the sound end early.

        Raises:
            AtriumError: It is no sound.
            OSError: It could not be read.
        """
        if self._error is not None:
            raise self._error

    async def requests(self) -> AsyncIterator[meeting_service_pb2.TranscribeLiveRequest]:
        """Yield all of it."""
        yield meeting_service_pb2.TranscribeLiveRequest(
            config=meeting_service_pb2.TranscribeLiveRequest.Config(
                meeting=self._meeting,
                encoding=meeting_service_pb2.TranscribeLiveRequest.Config.PCM_S16LE,
                sample_rate_hertz=self._sound.hertz,
                partial_results=True,
            )
        )
        # An error in here would only cancel the call: it is kept, and what was heard is ended well.
        try:
            async for audio in until_stopped(self._sound.frames()):
                yield meeting_service_pb2.TranscribeLiveRequest(
                    frame=meeting_service_pb2.TranscribeLiveRequest.Frame(audio=audio)
                )
        except (AtriumError, OSError) as error:
            self._error = error
        yield meeting_service_pb2.TranscribeLiveRequest(
            end=meeting_service_pb2.TranscribeLiveRequest.End()
        )


async def follow_upload(
    client: AtriumClient, operation: operations_pb2.Operation, *, quiet: bool
) -> tuple[meeting_pb2.Meeting, str]:
    """Wait for a transcript with a progress bar; return the meeting and the name of its minutes."""
    minutes_name = ""
    console = make_console(stderr=True)
    with Progress(
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=quiet or not console.is_terminal,
    ) as progress:
        task = progress.add_task(
            STAGES[meeting_service_pb2.UploadRecordingMetadata.STAGE_UNSPECIFIED], total=None
        )

        def tell(made: meeting_service_pb2.UploadRecordingMetadata) -> None:
            nonlocal minutes_name
            minutes_name = made.minutes
            progress.update(
                task,
                description=STAGES[made.stage],
                total=made.pieces_total or None,
                completed=made.pieces_done,
            )

        meeting = await client.wait_for_transcript(operation, tell)
    return meeting, minutes_name


def print_transcript(console: Console, transcript: meeting_pb2.Transcript) -> None:
    """Print what was said; what the clean view leaves out is struck out."""
    names = SpeakerNames(transcript.speakers)
    if not transcript.utterances:
        console.print(
            plain("没有听到有人说话 Nobody was heard: it is silent, or holds no speech.", "yellow")
        )
    for utterance in transcript.utterances:
        print_utterance(console, utterance, names)
    if transcript.origin.degraded:
        console.print(plain(f"降级 degraded: {transcript.origin.degraded_reason}", "yellow"))


async def _show(
    client: AtriumClient, meeting: meeting_pb2.Meeting, minutes_name: str, *, as_json: bool
) -> None:
    transcript = await client.transcript(meeting.name, view=meeting_pb2.Transcript.RAW)
    written = None
    if minutes_name:
        written = await client.meetings.GetMinutes(
            meeting_service_pb2.GetMinutesRequest(name=minutes_name)
        )
    if as_json:
        print_json(
            {
                "meeting": to_dict(meeting),
                "transcript": to_dict(transcript),
                "minutes": to_dict(written) if written is not None else None,
            }
        )
        return
    console = make_console()
    console.print(plain(f"{meeting.name}: {_facts(meeting)}", "bold"))
    print_transcript(console, transcript)
    if written is not None:
        console.print()
        print_minutes(console, written, meeting.speakers)
    _go_on(console, meeting)


def _facts(meeting: meeting_pb2.Meeting) -> str:
    length = clock(meeting.duration.ToMilliseconds())
    return f"{length}, {people(meeting.speakers)}" if meeting.speakers else length


def _chosen(option: str, known: Mapping[str, Choice], given: str) -> Choice:
    if given not in known:
        raise OptionInvalid(f"{option} is one of {', '.join(known)}; given was {given!r}.")
    return known[given]


def _time(option: str, given: str) -> int | None:
    if not given:
        return None
    try:
        return milliseconds(given)
    except ValueError as error:
        raise OptionInvalid(
            f"{option} is a time of the meeting such as 4:07 or 1:04:07; given was {given!r}."
        ) from error
