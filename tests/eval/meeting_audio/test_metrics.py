from __future__ import annotations

import random

import pytest

from tests.eval.meeting_audio.metrics import (
    Errors,
    count_errors,
    error_rate,
    error_rate_by_speaker,
    hotword_recall,
    units,
)


def test_what_only_looks_different_is_the_same() -> None:
    for one, other in [
        ("Okay, we'll meet at 3.", "OK we will meet at three"),
        ("It costs $120 a seat.", "it costs one hundred and twenty dollars a seat"),
        ("the 23rd of March", "the twenty third of march"),
        ("in 2026", "in twenty twenty six"),
        ("30%", "thirty percent"),
        ("我們用了3個月。", "我们用了三个月"),
        ("三月二十三号", "3月23号"),
        ("每个账号90块", "每个账号九十块"),
        ("二零二六年", "2026年"),
        ("一共12500块", "一共一万二千五百块"),
        ("涨了30%", "涨了百分之三十"),
    ]:
        assert units(one) == units(other), (one, other)


def test_units_are_words_and_characters() -> None:
    assert units("我们用 Kubernetes 部署") == ["我", "们", "用", "kubernetes", "部", "署"]
    assert units("um, 嗯, yes", fillers=False) == ["yes"]


def test_errors_are_told_apart() -> None:
    assert error_rate("a b c d", "a x c d") == Errors(1, 0, 0, 4)
    assert error_rate("a b c d", "a c d") == Errors(0, 1, 0, 4)
    assert error_rate("a b c d", "a b b c d") == Errors(0, 0, 1, 4)
    assert error_rate("", "a").rate == 1.0
    assert error_rate("", "").rate == 0.0
    assert (Errors(1, 0, 0, 4) + Errors(0, 1, 1, 6)).rate == pytest.approx(0.3)


def test_errors_are_the_least_number_of_edits() -> None:
    chance = random.Random(1)

    def edits(one: str, other: str) -> int:
        row = list(range(len(other) + 1))
        for i, a in enumerate(one, 1):
            before, row[0] = row[0], i
            for j, b in enumerate(other, 1):
                before, row[j] = row[j], min(before + (a != b), row[j] + 1, row[j - 1] + 1)
        return row[-1]

    for _ in range(200):
        one = "".join(chance.choices("abc", k=chance.randrange(12)))
        other = "".join(chance.choices("abc", k=chance.randrange(12)))
        errors = count_errors(list(one), list(other))
        assert errors.substituted + errors.deleted + errors.inserted == edits(one, other)
        assert len(one) - errors.deleted + errors.inserted == len(other)


def test_speakers_are_paired_as_suits_best() -> None:
    said = {"Ann": ["good morning all", "we begin"], "Ben": ["thank you"]}
    found = {"S2": ["good morning all we begin"], "S1": ["thank you"]}
    assert error_rate_by_speaker(said, found).rate == 0
    swapped = {"S1": ["good morning all", "thank you"], "S2": ["we begin"]}
    assert error_rate_by_speaker(said, swapped).rate == pytest.approx(4 / 7)
    assert error_rate_by_speaker(said, {"S1": ["good morning all we begin"]}) == Errors(0, 2, 0, 7)
    assert error_rate_by_speaker({"A": ["yes"]}, {"1": ["yes"], "2": ["no"]}) == Errors(0, 0, 1, 1)
    assert error_rate_by_speaker({}, {}).rate == 0


def test_hotwords_are_counted_once_for_each_mention() -> None:
    said = "Nimbus is live. Priya runs Nimbus. 王芳来了"
    assert hotword_recall(["Nimbus", "Priya", "王芳"], said, "nimbus is live pria 王芳来了") == (
        2,
        4,
    )
    assert hotword_recall(["Ann"], "Annabel", "Annabel") == (0, 0)
    assert hotword_recall(["Go Live"], "we go live", "we go live go live") == (1, 1)
