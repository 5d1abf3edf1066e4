from __future__ import annotations

from collections.abc import Callable
from datetime import date
from itertools import pairwise

import numpy as np
import pytest

from atrium_meeting.domain.analysis.meeting import analyse, texts_to_encode
from atrium_meeting.domain.analysis.sentences import sentences_of
from atrium_meeting.domain.analysis.summarize import catch_up, write_minutes
from atrium_meeting.domain.minutes import Grouping, Minutes, MinutesType, Role, Stretch
from atrium_meeting.domain.transcript import Transcript, join

Talk = Callable[..., Transcript]

STANDUP = (
    "Anna: Morning, two minutes each please.",
    "Ben: Yesterday I finished the login page, it is in review.",
    "Ben: Today I'll write the tests for the login page.",
    "Carla: My turn. I fixed the crash in the search index.",
    "Carla: I'm blocked because the certificate of the build server ended.",
    "Anna: I'll renew the certificate by tomorrow.",
    "Carla: Great.",
)


def _cited(transcript: Transcript, minutes: Minutes) -> None:
    texts = {u.id: u for u in transcript.utterances}
    for sentence in minutes.sentences():
        assert sentence.spans
        for span in sentence.spans:
            assert 0 <= span.start_word < span.end_word <= len(texts[span.utterance].words)
    ids = [sentence.id for sentence in minutes.sentences()]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("grouping", list(Grouping))
@pytest.mark.parametrize("kind", list(MinutesType))
def test_every_sentence_cites_words_that_exist(
    talk: Talk, grouping: Grouping, kind: MinutesType
) -> None:
    transcript = talk(*STANDUP)
    minutes = write_minutes(analyse(transcript, kind=kind), grouping)
    assert (minutes.type, minutes.grouping) == (kind, grouping)
    assert minutes.sections
    _cited(transcript, minutes)


def test_a_quote_is_the_clean_text_of_its_span(talk: Talk) -> None:
    transcript = talk(*STANDUP)
    words = {u.id: u.words for u in transcript.utterances}
    minutes = write_minutes(analyse(transcript))
    for section in minutes.sections:
        for sentence in section.sentences:
            [span] = sentence.spans
            said = words[span.utterance][span.start_word : span.end_word]
            assert sentence.text == join(word.text for word in said)


def test_a_standup_tells_of_each_speaker_what_is_done_next_and_in_the_way(talk: Talk) -> None:
    minutes = write_minutes(analyse(talk(*STANDUP)), Grouping.SPEAKER)
    assert minutes.type is MinutesType.STANDUP
    roles = {
        (section.title, sentence.role)
        for section in minutes.sections
        for sentence in section.sentences
    }
    assert {("Ben", Role.DONE), ("Ben", Role.NEXT), ("Carla", Role.BLOCKED)} <= roles


def test_chapters_leave_nothing_out(talk: Talk) -> None:
    transcript = talk(*STANDUP)
    chapters = write_minutes(analyse(transcript)).chapters
    assert chapters[0].start_ms == 0
    assert chapters[-1].end_ms == transcript.end_ms
    for before, after in pairwise(chapters):
        assert before.end_ms == after.start_ms


def test_a_transcript_without_words_gives_empty_minutes() -> None:
    minutes = write_minutes(analyse(Transcript(1, (), ())))
    assert list(minutes.sentences()) == []
    assert minutes.chapters == ()


def test_too_few_vectors_are_refused(talk: Talk) -> None:
    transcript = talk(*STANDUP)
    texts = texts_to_encode(transcript)
    with pytest.raises(ValueError, match="vectors"):
        analyse(transcript, vectors=np.zeros((len(texts) + 1, 4), np.float32))


def test_catch_up_holds_what_was_missed_and_nothing_else(talk: Talk) -> None:
    transcript = talk(
        "Anna: Then it's settled, we move the launch to June.",
        "Ben: Agreed.",
        "Anna: I'll tell the customers about the launch by Friday.",
        "Ben: Now the office plants.",
        "Anna: It's decided, we buy ten new plants for the office.",
        "Ben: Agreed.",
        "Ben: I'll order the plants tomorrow.",
        "Anna: And last, we agreed to close the office on Mondays.",
        "Ben: Fine with me.",
    )
    starts = [u.start_ms for u in transcript.utterances]
    result = catch_up(transcript, Stretch(starts[3], starts[7]), day=date(2026, 3, 9))
    assert [d.sentence.text for d in result.decisions] == [
        "It's decided, we buy ten new plants for the office."
    ]
    [action] = result.actions
    assert (action.owner_name, str(action.due_date)) == ("Ben", "2026-03-10")
    missed = {"u4", "u5", "u6", "u7"}
    assert {s.utterance for one in result.sentences for s in one.spans} <= missed
    assert {s.utterance for s in result.decisions[0].sentence.spans} <= missed


def test_unpunctuated_speech_is_cut_where_the_speaker_pauses(talk: Talk) -> None:
    text = "我们先看一下预算" * 20
    sentences = sentences_of(talk(f"王芳: {text}"))
    assert len(sentences) > 1
    assert "".join(s.text for s in sentences) == text
    assert all(len(s.text) <= 80 for s in sentences)
