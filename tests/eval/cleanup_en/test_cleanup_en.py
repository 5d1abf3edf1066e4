"""The evaluation tells a cleanup that keeps what must stay from one that does not."""

from __future__ import annotations

from atrium_meeting.adapters.tagger_cleaner import TaggerCleaner

from . import make, run

TEXTS = {
    "own": [
        "The board will meet on Tuesday to look at the budget of 2026.",
        "We did not accept the offer that Marta sent us in March.",
        "Our office in Lisbon has twelve people and needs three more.",
        "Nobody told the customers that the prices would change.",
        "I want to see the numbers before we decide anything.",
        "The new release never reached the second data centre.",
        "Henrik and Paula are writing the report about the outage.",
        "It takes about forty minutes to copy everything to Oslo.",
        "They cannot sign the contract without a lawyer.",
        "Please send me the slides when you have them.",
        "The warehouse was closed because of the heavy snow.",
        "Somebody should answer the questions of the auditors today.",
    ]
}


def test_the_rows_are_the_same_every_time() -> None:
    assert make.fingerprint(list(make.disfluent(TEXTS))) == make.fingerprint(
        list(make.disfluent(TEXTS))
    )


def test_what_should_go_taken_out_gives_the_fluent_words() -> None:
    fluent = [[make._core(word) for word in text.split()] for text in TEXTS["own"]]
    for row, words in zip(make.disfluent(TEXTS), fluent, strict=True):
        if "trap" not in row.kinds:
            kept = [w for w, gone in zip(row.words, row.gone, strict=True) if not gone]
            assert [make._core(word) for word in kept] == words
            assert not any(a and b for a, b in zip(row.gone, row.protected, strict=True))


def test_names_numbers_and_negations_are_known() -> None:
    words = make.read_words("The board did not pay Marta 20 euros, and I don't know two of them.")
    assert [make._core(word.text) for word in words if word.protected] == [
        "not", "marta", "20", "don't", "two",
    ]  # fmt: skip


def test_the_tagger_that_ships_finds_most_and_changes_nothing() -> None:
    rows = list(make.disfluent({"own": TEXTS["own"] * 15}))
    score = run.judge(rows, TaggerCleaner())
    assert score.f1 > 0.9
    assert score.false_deletions < 0.02
    assert score.changed == []


def test_without_the_guard_rails_something_changes() -> None:
    rows = list(make.disfluent({"own": TEXTS["own"] * 15}))
    assert run.judge(rows, TaggerCleaner(guarded=False)).changed


def test_order_counts() -> None:
    assert run.keeps_order(["a", "b"], ["a", "a", "c", "b"])
    assert not run.keeps_order(["a", "b"], ["b", "a"])
    assert not run.keeps_order(["a", "a"], ["a"])


def test_sounds_of_real_meetings_are_counted() -> None:
    found, total = run.sound_recall([["Um", ",", "yes"], ["Mm."], ["Hmm?"]], TaggerCleaner())
    assert (found, total) == (3, 3)


def test_only_fluent_utterances_of_meetings_are_taken() -> None:
    assert make.is_fluent("Maybe the committee could look at those figures again.")
    assert not make.is_fluent("Maybe the the committee could look at those figures again.")
    assert not make.is_fluent("Um , maybe the committee could look at those figures again.")
    assert make.tidy("That 's it , isn't it ?") == "That's it, isn't it?"
