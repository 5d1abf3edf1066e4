"""Transcripts and minutes in a terminal, Chinese and English."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from atrium.meeting.v1 import meeting_pb2, meeting_service_pb2, minutes_pb2
from atrium_suite.terminal.answers import engine_in_words, tokens_in_words
from atrium_suite.terminal.output import add_row, make_table, plain, printable, wrap

STAGES: Final = {
    meeting_service_pb2.UploadRecordingMetadata.STAGE_UNSPECIFIED: "排队 waiting",
    meeting_service_pb2.UploadRecordingMetadata.DECODING: "解码 decoding",
    meeting_service_pb2.UploadRecordingMetadata.RECOGNIZING: "识别 recognising words",
    meeting_service_pb2.UploadRecordingMetadata.DIARIZING: "分辨发言人 telling speakers apart",
    meeting_service_pb2.UploadRecordingMetadata.CLEANING: "去除口头语 cleaning up",
    meeting_service_pb2.UploadRecordingMetadata.WRITING: "撰写纪要 writing minutes",
    meeting_service_pb2.UploadRecordingMetadata.DONE: "完成 done",
}
"""What is being done with a recording, in words."""

TYPES: Final = {
    minutes_pb2.Minutes.TYPE_UNSPECIFIED: "",
    minutes_pb2.Minutes.AGENDA: "议程会议 agenda",
    minutes_pb2.Minutes.BRAINSTORM: "头脑风暴 brainstorm",
    minutes_pb2.Minutes.STANDUP: "站会 stand-up",
    minutes_pb2.Minutes.INTERVIEW: "访谈 interview",
    minutes_pb2.Minutes.DECISION: "决策会议 decision",
}
"""What kind of meeting it was, in words."""

_ROLES: Final = {
    minutes_pb2.CitedSentence.DONE: "已完成 done",
    minutes_pb2.CitedSentence.NEXT: "接下来 next",
    minutes_pb2.CitedSentence.BLOCKED: "受阻 blocked",
    minutes_pb2.CitedSentence.QUESTION: "问 question",
    minutes_pb2.CitedSentence.ANSWER: "答 answer",
    minutes_pb2.CitedSentence.IDEA: "想法 idea",
    minutes_pb2.CitedSentence.OPTION: "方案 option",
    minutes_pb2.CitedSentence.ARGUMENT: "理由 argument",
    minutes_pb2.CitedSentence.DECISION: "决定 decided",
}
_LONGEST_NAME: Final = 20
_TIMES_AT_THE_END: Final = re.compile(r"\[[^\[]*\]$")
_COLOURS: Final = ("cyan", "magenta", "green", "yellow", "blue", "red")


def clock(milliseconds: int) -> str:
    """Return a time of a meeting: "4:07", "1:04:07"."""
    seconds = milliseconds // 1000
    if seconds < 3600:
        return f"{seconds // 60}:{seconds % 60:02d}"
    return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def milliseconds(text: str) -> int:
    """Return the time that somebody wrote as "4:07", "1:04:07" or "90" seconds.

    Raises:
        ValueError: It is no time.
    """
    parts = [int(part) for part in text.split(":")]
    if len(parts) > 3 or any(part < 0 for part in parts) or any(part > 59 for part in parts[1:]):
        raise ValueError(text)
    seconds = 0
    for part in parts:
        seconds = seconds * 60 + part
    return seconds * 1000


def called(speaker: meeting_pb2.Speaker) -> str:
    """Return a speaker's name, or their identifier with what they are probably called."""
    if speaker.suggested_name and not speaker.display_name:
        return f"{speaker.id} ({speaker.suggested_name}?)"
    return speaker.display_name or speaker.id


def people(speakers: Iterable[meeting_pb2.Speaker]) -> str:
    """Return who speaks, with the ids that commands take: "S1 Anna, S2 (Tom?), S3"."""
    return ", ".join(
        f"{one.id} {one.display_name}" if one.display_name else called(one) for one in speakers
    )


class SpeakerNames:
    """Names and colours of who speaks."""

    def __init__(self, speakers: Iterable[meeting_pb2.Speaker]) -> None:
        self._names = {speaker.id: called(speaker) for speaker in speakers}

    def of(self, speaker: str) -> str:
        """Return somebody's name, or their identifier."""
        return self._names.get(speaker, speaker)

    def shown(self, speaker: str) -> Text:
        """Return somebody's name in their colour."""
        number = list(self._names).index(speaker) if speaker in self._names else 0
        return plain(self.of(speaker), f"bold {_COLOURS[number % len(_COLOURS)]}")


def print_utterance(
    console: Console, utterance: meeting_pb2.Utterance, names: SpeakerNames
) -> None:
    """Print what somebody said; what the clean view leaves out is struck out."""
    when = Text(f"{clock(utterance.start_ms):>7}", "dim")
    who = names.shown(utterance.speaker)
    said, position = Text(), 0
    for word in utterance.words:
        # The text tells where words touch; the words tell which of them are struck out.
        at = utterance.text.index(word.text, position)
        said.append_text(plain(utterance.text[position:at]))
        said.append_text(plain(word.text, "strike dim red" if word.disfluency else ""))
        position = at + len(word.text)
    said.append_text(plain(utterance.text[position:]))
    if not console.is_terminal:
        console.print(Text("  ").join([when, who, said]), soft_wrap=True)
        return
    # Words stand below words, not below the time.
    line = Table.grid(padding=(0, 2, 0, 0))
    line.add_column(no_wrap=True)
    line.add_column(no_wrap=True, max_width=_LONGEST_NAME, overflow="ellipsis")
    line.add_column(overflow="fold")
    line.add_row(when, who, said)
    console.print(line)


def print_minutes(
    console: Console, minutes: minutes_pb2.Minutes, speakers: Iterable[meeting_pb2.Speaker]
) -> None:
    """Print minutes: each sentence with the times at which it was said."""
    names = SpeakerNames(speakers)
    facts = [TYPES[minutes.type], f"{engine_in_words(minutes.engine)}"]
    if minutes.engine.kind == minutes.engine.GENERATIVE:
        facts.append(tokens_in_words(minutes.usage))
    if minutes.sentences_dropped:
        facts.append(f"{minutes.sentences_dropped} unsupported sentences dropped")
    console.print(Text.assemble(("会议纪要 Minutes", "bold"), ("  " + " · ".join(facts), "dim")))
    if minutes.engine.degraded:
        console.print(plain(f"降级 degraded: {minutes.engine.degraded_reason}", "yellow"))
    _print_sentences(console, "概要 Overview", minutes.overview)
    print_outcome(console, minutes.decisions, minutes.actions, names)
    for section in minutes.sections:
        times = ", ".join(f"{clock(s.start_ms)}-{clock(s.end_ms)}" for s in section.stretches)
        title = names.of(section.speaker) if section.speaker else section.title
        _print_sentences(console, f"{title}  {times}", section.sentences)


def print_catch_up(
    console: Console, reply: minutes_pb2.CatchUpReply, speakers: Iterable[meeting_pb2.Speaker]
) -> None:
    """Print what somebody missed."""
    times = ", ".join(f"{clock(part.start_ms)}-{clock(part.end_ms)}" for part in reply.missed)
    made = engine_in_words(reply.engine)
    console.print(Text.assemble(("错过的部分 Missed", "bold"), (f"  {times} · {made}", "dim")))
    _print_sentences(console, "", reply.sentences)
    print_outcome(console, reply.decisions, reply.actions, SpeakerNames(speakers))


def print_outcome(
    console: Console,
    decisions: Sequence[minutes_pb2.Decision],
    actions: Sequence[minutes_pb2.ActionItem],
    names: SpeakerNames,
) -> None:
    """Print decisions and actions."""
    _print_sentences(
        console, "决定 Decisions", [each.sentence for each in decisions], with_roles=False
    )
    if not actions:
        return
    console.print(Text("\n待办 Actions", "bold"))
    table = make_table("事项 what", "负责人 who", "期限 due", "出处 said at")
    for action in actions:
        date = action.due_date
        due = f"{date.year}-{date.month:02d}-{date.day:02d}" if date.year else ""
        add_row(
            table,
            action.sentence.text,
            names.of(action.owner_speaker) if action.owner_speaker else action.owner or "-",
            " ".join(filter(None, (due, f"({action.due_text})" if action.due_text else ""))) or "-",
            _times(action.sentence),
        )
    console.print(table)


def _print_sentences(
    console: Console,
    title: str,
    sentences: Sequence[minutes_pb2.CitedSentence],
    *,
    with_roles: bool = True,
) -> None:
    if not sentences:
        return
    if title:
        console.print(Text.assemble("\n", plain(title, "bold")))
    for sentence in sentences:
        print_sentence(console, sentence, with_role=with_roles)


def print_sentence(
    console: Console, sentence: minutes_pb2.CitedSentence, *, with_role: bool = True
) -> None:
    """Print a sentence with the times at which it was said, and what it is to the meeting."""
    role = _ROLES.get(sentence.role) if with_role else None
    label, times = f"{role}: " if role else "", f"[{_times(sentence)}]"
    said = f"{label}{printable(sentence.text)}  {times}"
    if console.is_terminal:
        said = "\n  ".join(wrap(said, console.width - 2))
    line = Text(said)
    line.stylize("italic", 0, len(label))
    line.highlight_regex(_TIMES_AT_THE_END, "dim")
    console.print(Text("- ").append_text(line), soft_wrap=True)


def _times(sentence: minutes_pb2.CitedSentence) -> str:
    return ", ".join(dict.fromkeys(clock(citation.start_ms) for citation in sentence.citations))
