"""What the learned score and the rules find together."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import numpy as np

from atrium_meeting.domain.analysis.acts import PLACES, hashed, weights
from atrium_meeting.domain.analysis.meeting import analyse, people_of
from atrium_meeting.domain.analysis.reading import Reading
from atrium_meeting.domain.analysis.sentences import sentences_of
from atrium_meeting.domain.transcript import Transcript

Talk = Callable[..., Transcript]
MONDAY = date(2026, 3, 9)


def _reading(transcript: Transcript) -> Reading:
    sentences = sentences_of(transcript)
    return Reading(sentences, people_of(transcript, sentences), MONDAY)


def test_the_shipped_weights_have_a_place_for_every_feature(talk: Talk) -> None:
    learned = weights()
    rows = list(hashed(_reading(talk("Anna: Then we take the blue one.", "Ben: Fine by me."))))
    assert learned.decision.shape == learned.action.shape == (PLACES,)
    assert np.isfinite(learned.decision).all()
    assert np.isfinite(learned.action).all()
    assert len(rows) == 2
    assert all(0 <= place < PLACES for row in rows for place in row)


def test_names_days_and_numbers_are_read_as_what_they_are(talk: Talk) -> None:
    reading = _reading(talk("Anna: Ben sends twenty five letters by Friday.", "Ben: Okay."))
    assert reading.words(0) == ["NAME", "sends", "NUMBER", "letters", "DAY"]


def test_what_the_meeting_decides_is_nobodys_action(talk: Talk) -> None:
    found = analyse(
        talk(
            "Anna: Which hall do we take for the concert?",
            "Ben: The one by the river.",
            "Carl: I like that one too.",
            "Anna: So we go with the hall by the river.",
            "Ben: Agreed.",
        ),
        day=MONDAY,
    )
    assert len(found.decisions) == 1
    assert found.actions == ()


def test_what_was_refused_is_no_action(talk: Talk) -> None:
    found = analyse(
        talk("Anna: Ben, could you call the plumber by Friday?", "Ben: Sorry, I can't."),
        day=MONDAY,
    )
    assert found.actions == ()
