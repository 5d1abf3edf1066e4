"""What the learned score and the rules find together."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import numpy as np
import pytest

from atrium_meeting.domain.analysis.acts import (
    PLACES,
    around,
    centres,
    has_context,
    hashed,
    score,
    weights,
)
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


def test_the_weights_for_vectors_know_those_of_the_encoder_that_they_name() -> None:
    learned, dimensions = weights(with_vectors=True), 384
    assert learned.decision.shape == learned.action.shape == (PLACES + 5 * dimensions,)
    assert {name: one.shape for name, one in centres().items()} == {
        "zh": (dimensions,),
        "en": (dimensions,),
    }


def test_a_sentence_has_the_vectors_of_its_neighbours_beside_its_own(talk: Talk) -> None:
    sentences = sentences_of(talk("Anna: One thing.", "Ben: Another.", "Anna: A third."))
    vectors = np.array([[3, 0], [0, 2], [1, 1]], np.float32)
    found = around(sentences, vectors, {"en": np.array([1, 1], np.float32)})
    own, before, after, long_before, long_after = found.reshape(3, 5, 2).transpose(1, 0, 2)
    directions = own / np.linalg.norm(own[0])
    assert np.allclose(directions[0], np.array([2, -1]) / np.sqrt(5))
    assert np.allclose(directions[2], 0)
    assert np.allclose(before[0], 0)
    assert np.allclose(before[1:] / 2.8, own[:2] / 4)
    assert np.allclose(after[:2] / 2.8, own[1:] / 4)
    assert np.allclose(long_before[2] / 2, own[0] / 4)
    assert np.allclose(long_before[:2], 0)
    assert np.allclose(long_after[0] / 2, own[2] / 4)
    assert np.allclose(long_after[1:], 0)


def test_a_vector_too_few_is_refused(talk: Talk) -> None:
    reading = _reading(talk("Anna: Then we take the blue one.", "Ben: Fine by me."))
    with pytest.raises(ValueError, match="1 vectors for 2 sentences"):
        score(reading, np.zeros((1, 384), np.float32))


def test_vectors_change_how_sure_it_is(talk: Talk) -> None:
    reading = _reading(talk("Anna: Then we take the blue one.", "Ben: Fine by me."))
    chance = np.random.default_rng(0).normal(size=(2, 2, 384)).astype(np.float32)
    one, other = (score(reading, vectors).decision for vectors in chance)
    assert not np.allclose(one, other)
    assert score(reading).decision == score(reading).decision


@pytest.mark.parametrize("sentences", [23, 24])
def test_neighbours_count_from_two_dozen_sentences_on(talk: Talk, sentences: int) -> None:
    lines = ["Anna: Then we take the blue one."] + ["Ben: It rains here."] * (sentences - 1)
    reading = _reading(talk(*lines))
    learned = weights()
    scores = score(reading)
    alone = [
        sum(float(learned.decision[place]) * value for place, value in row.items())
        for row in hashed(reading)
    ]
    assert has_context(reading) is (sentences == 24)
    assert np.allclose(scores.decision, alone, atol=1e-4) is (sentences == 23)


def test_a_short_talk_is_read_as_such_and_as_any_other(talk: Talk) -> None:
    short = ["Anna: Then we take the blue one.", "Ben: Fine by me."]
    [row, *_] = hashed(_reading(talk(*short)))
    [longer, *_] = hashed(_reading(talk(*short, *["Anna: It rains a lot here."] * 20)))
    assert len(row) > 1.5 * len(longer)


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


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (
            (
                "Anna: Let's move the launch to Friday.",
                "Ben: No, sorry, I'm on holiday.",
                "Anna: Okay, then let's do it on Monday.",
                "Ben: Fine by me.",
                "Lena: Agreed.",
            ),
            ["Okay, then let's do it on Monday."],
        ),
        (("王芳: 我们把发布推迟到周五。", "李明: 不同意。", "陈静: 不同意。", "王芳: 好吧。"), []),
        (
            (
                "王芳: 那就定在周五发布。",
                "陈静: 不同意。",
                "李明: 我也不同意。",
                "王芳: 好，那就改到下周一发布。",
                "陈静: 可以。",
                "李明: 同意。",
            ),
            ["好，那就改到下周一发布。"],
        ),
    ],
)
def test_nothing_is_decided_by_a_refusal_nor_by_what_is_refused(
    talk: Talk, lines: tuple[str, ...], expected: list[str]
) -> None:
    analysis = analyse(talk(*lines), day=MONDAY)
    said = [one.text for one in analysis.sentences]
    assert [said[one.main] for one in analysis.decisions] == expected
    cited = [said[i] for one in analysis.decisions for i in one.sentences]
    assert not [text for text in cited if "不同意" in text or "sorry" in text or "周五" in text]


@pytest.mark.parametrize(
    "lines",
    [
        (
            "Anna: Then it's settled, we paint the walls yellow.",
            "Ben: Agreed.",
            "Anna: And we buy a new printer for the second floor.",
            "Ben: Agreed.",
            "Lena: Fine.",
            "Anna: So we also cancel the summer party.",
            "Ben: Okay.",
        ),
        (
            "王芳: 墙刷成黄色，就这么定了。",
            "李明: 同意。",
            "王芳: 打印机买新的，定了。",
            "陈静: 同意。",
            "王芳: 年会取消，定了。",
            "李明: 好。",
        ),
    ],
)
def test_decisions_beside_each_other_stay_apart(talk: Talk, lines: tuple[str, ...]) -> None:
    analysis = analyse(talk(*lines), day=MONDAY)
    assert len(analysis.decisions) == 3
    first = analysis.sentences[0].speaker
    for one in analysis.decisions:
        assert len([i for i in one.sentences if analysis.sentences[i].speaker == first]) == 1


def test_a_decision_that_is_changed_later_no_longer_stands(talk: Talk) -> None:
    lines = (
        "Anna: Then it's settled, we launch the shop on Friday.",
        "Ben: Agreed.",
        "Lena: The warehouse cannot deliver before the weekend.",
        "Ben: That is bad news.",
        "Anna: How long do they need?",
        "Lena: Until Monday at least.",
        "Anna: Okay, then it's settled, we launch the shop on Tuesday instead.",
        "Ben: Agreed.",
    )
    analysis = analyse(talk(*lines), day=MONDAY)
    (decision,) = analysis.decisions
    assert analysis.sentences[decision.main].text == lines[6].removeprefix("Anna: ")
    assert 0 not in decision.sentences
    assert len(analyse(talk(*lines[:2]), day=MONDAY).decisions) == 1
