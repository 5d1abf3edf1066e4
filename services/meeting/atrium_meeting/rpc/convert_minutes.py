"""Protos to domain and back: minutes, catch-up, answers, feedback."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from google.type import date_pb2

from atrium.meeting.v1 import meeting_pb2, meeting_service_pb2, minutes_pb2
from atrium_meeting.app.ask_meeting import Answer, AskEvent, Outcome, Told
from atrium_meeting.app.catch_up import Missed
from atrium_meeting.app.stores import WrittenMinutes
from atrium_meeting.app.write_minutes import MinutesWanted
from atrium_meeting.app.write_modes import WriteMode
from atrium_meeting.domain.minutes import (
    ActionItem,
    Chapter,
    CitedSentence,
    Decision,
    Grouping,
    MinutesType,
    Role,
    Section,
    Stretch,
)
from atrium_meeting.domain.minutes_records import Feedback, Rating
from atrium_meeting.domain.transcript import Span, Utterance, join, with_capitals
from atrium_meeting.rpc.convert import timestamp
from atrium_shared.rpc.engines import engine_to_proto, usage_to_proto

_TYPES: Final = {
    MinutesType.AGENDA: minutes_pb2.Minutes.AGENDA,
    MinutesType.BRAINSTORM: minutes_pb2.Minutes.BRAINSTORM,
    MinutesType.STANDUP: minutes_pb2.Minutes.STANDUP,
    MinutesType.INTERVIEW: minutes_pb2.Minutes.INTERVIEW,
    MinutesType.DECISION: minutes_pb2.Minutes.DECISION,
}
_TYPES_FROM_PROTO: Final = {number: type_ for type_, number in _TYPES.items()}
_GROUPINGS: Final = {
    Grouping.CHAPTER: minutes_pb2.Minutes.BY_CHAPTER,
    Grouping.SPEAKER: minutes_pb2.Minutes.BY_SPEAKER,
    Grouping.TOPIC: minutes_pb2.Minutes.BY_TOPIC,
}
_GROUPINGS_FROM_PROTO: Final = {number: grouping for grouping, number in _GROUPINGS.items()}
_ROLES: Final = {
    Role.POINT: minutes_pb2.CitedSentence.ROLE_UNSPECIFIED,
    Role.DONE: minutes_pb2.CitedSentence.DONE,
    Role.NEXT: minutes_pb2.CitedSentence.NEXT,
    Role.BLOCKED: minutes_pb2.CitedSentence.BLOCKED,
    Role.QUESTION: minutes_pb2.CitedSentence.QUESTION,
    Role.ANSWER: minutes_pb2.CitedSentence.ANSWER,
    Role.IDEA: minutes_pb2.CitedSentence.IDEA,
    Role.OPTION: minutes_pb2.CitedSentence.OPTION,
    Role.ARGUMENT: minutes_pb2.CitedSentence.ARGUMENT,
    Role.DECISION: minutes_pb2.CitedSentence.DECISION,
}
_MODES: Final = {
    meeting_service_pb2.WriteMinutesRequest.EXTRACTIVE: WriteMode.EXTRACTIVE,
    meeting_service_pb2.WriteMinutesRequest.GENERATIVE: WriteMode.GENERATIVE,
}
_OUTCOMES: Final = {
    Outcome.ANSWERED: meeting_service_pb2.AskMeetingResponse.Answer.ANSWERED,
    Outcome.NOT_FOUND: meeting_service_pb2.AskMeetingResponse.Answer.NOT_FOUND,
}
_RATINGS: Final = {
    meeting_service_pb2.Feedback.HELPFUL: Rating.HELPFUL,
    meeting_service_pb2.Feedback.NOT_HELPFUL: Rating.NOT_HELPFUL,
}
_RATINGS_TO_PROTO: Final = {rating: number for number, rating in _RATINGS.items()}


def mode_from_proto(
    mode: meeting_service_pb2.WriteMinutesRequest.Mode.ValueType,
) -> WriteMode:
    """Convert how sentences are to be made."""
    return _MODES.get(mode, WriteMode.AUTO)


def wanted_from_proto(request: meeting_service_pb2.WriteMinutesRequest) -> MinutesWanted:
    """Convert what minutes shall be like."""
    return MinutesWanted(
        type=_TYPES_FROM_PROTO.get(request.type),
        grouping=_GROUPINGS_FROM_PROTO.get(request.grouping),
        language=request.language,
        mode=mode_from_proto(request.mode),
    )


def minutes_progress_to_proto(
    meeting: str, done: int, total: int
) -> meeting_service_pb2.WriteMinutesMetadata:
    """Convert how far minutes are."""
    return meeting_service_pb2.WriteMinutesMetadata(
        meeting=meeting, parts_done=done, parts_total=total
    )


def minutes_to_proto(written: WrittenMinutes, *, sections: bool = True) -> minutes_pb2.Minutes:
    """Convert minutes, with their sections or without."""
    record, minutes, words = written.record, written.record.minutes, written.utterances
    return minutes_pb2.Minutes(
        name=record.name,
        transcript_version=minutes.transcript_version,
        type=_TYPES[minutes.type],
        type_detected=record.type_detected,
        grouping=_GROUPINGS[minutes.grouping],
        language=minutes.language,
        overview=_sentences(minutes.overview, words),
        sections=[_section(one, words) for one in minutes.sections] if sections else [],
        chapters=map(_chapter, minutes.chapters),
        decisions=_decisions(minutes.decisions, words),
        actions=_actions(minutes.actions, words),
        engine=engine_to_proto(minutes.engine),
        usage=usage_to_proto(record.usage),
        sentences_dropped=record.sentences_dropped,
        create_time=timestamp(record.create_time),
    )


def missed_to_proto(missed: Missed) -> minutes_pb2.CatchUpReply:
    """Convert what somebody missed."""
    words = missed.meeting.utterances
    return minutes_pb2.CatchUpReply(
        missed=[
            _stretch(stretch, title)
            for stretch, title in zip(missed.stretches, missed.titles, strict=True)
        ],
        sentences=_sentences(missed.sentences, words),
        decisions=_decisions(missed.decisions, words),
        actions=_actions(missed.actions, words),
        known_until_ms=missed.known_until_ms,
        engine=engine_to_proto(missed.engine),
        usage=usage_to_proto(missed.usage),
    )


def ask_event_to_proto(event: AskEvent) -> meeting_service_pb2.AskMeetingResponse:
    """Convert a part of an answer."""
    match event:
        case Told():
            return meeting_service_pb2.AskMeetingResponse(
                sentence=_sentence(event.sentence, event.meeting.utterances)
            )
        case Answer():
            return meeting_service_pb2.AskMeetingResponse(
                answer=meeting_service_pb2.AskMeetingResponse.Answer(
                    decision=_OUTCOMES[event.outcome],
                    sentences=_sentences(event.sentences, event.meeting.utterances),
                    engine=engine_to_proto(event.engine),
                    usage=usage_to_proto(event.usage),
                )
            )


def rating_from_proto(rating: meeting_service_pb2.Feedback.Rating.ValueType) -> Rating:
    """Convert a thumb."""
    return _RATINGS[rating]


def feedback_to_proto(feedback: Feedback) -> meeting_service_pb2.Feedback:
    """Convert feedback."""
    return meeting_service_pb2.Feedback(
        name=feedback.name,
        minutes=f"meetings/{feedback.meeting}/minutes/{feedback.minutes}",
        sentence=feedback.sentence,
        rating=_RATINGS_TO_PROTO[feedback.rating],
        comment=feedback.comment,
        correction=feedback.correction,
    )


def _sentences(
    sentences: Iterable[CitedSentence], words: Mapping[str, Utterance]
) -> list[minutes_pb2.CitedSentence]:
    return [_sentence(one, words) for one in sentences]


def _sentence(sentence: CitedSentence, words: Mapping[str, Utterance]) -> minutes_pb2.CitedSentence:
    return minutes_pb2.CitedSentence(
        id=sentence.id,
        text=sentence.text,
        citations=[_citation(span, words) for span in sentence.spans],
        role=_ROLES[sentence.role],
        speaker=sentence.speaker,
    )


def _citation(span: Span, words: Mapping[str, Utterance]) -> meeting_pb2.Citation:
    utterance = words[span.utterance]
    cited = with_capitals(utterance.words)[span.start_word : span.end_word]
    return meeting_pb2.Citation(
        utterance=span.utterance,
        start_word=span.start_word,
        end_word=span.end_word,
        speaker=utterance.speaker,
        start_ms=cited[0].start_ms,
        end_ms=max(word.end_ms for word in cited),
        quote=join(word.text for word in cited if word.disfluency is None),
    )


def _decisions(
    decisions: Iterable[Decision], words: Mapping[str, Utterance]
) -> list[minutes_pb2.Decision]:
    return [minutes_pb2.Decision(sentence=_sentence(one.sentence, words)) for one in decisions]


def _actions(
    actions: Iterable[ActionItem], words: Mapping[str, Utterance]
) -> list[minutes_pb2.ActionItem]:
    return [
        minutes_pb2.ActionItem(
            sentence=_sentence(one.sentence, words),
            owner=one.owner_name,
            owner_speaker=one.owner_speaker,
            due_text=one.due_text,
            due_date=(
                None
                if one.due_date is None
                else date_pb2.Date(
                    year=one.due_date.year, month=one.due_date.month, day=one.due_date.day
                )
            ),
        )
        for one in actions
    ]


def _section(section: Section, words: Mapping[str, Utterance]) -> minutes_pb2.Section:
    return minutes_pb2.Section(
        title=section.title,
        speaker=section.speaker,
        stretches=[_stretch(one, section.title) for one in section.stretches],
        sentences=_sentences(section.sentences, words),
    )


def _chapter(chapter: Chapter) -> minutes_pb2.Chapter:
    return minutes_pb2.Chapter(
        title=chapter.title, start_ms=chapter.start_ms, end_ms=chapter.end_ms
    )


def _stretch(stretch: Stretch, title: str) -> minutes_pb2.Chapter:
    return minutes_pb2.Chapter(title=title, start_ms=stretch.start_ms, end_ms=stretch.end_ms)
