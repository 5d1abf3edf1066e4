"""Words and turns of speakers to utterances."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from atrium_meeting.domain.alignment import (
    LONGEST_MS,
    PAUSE_MS,
    SpokenWord,
    align,
    assign_speakers,
    written_language,
)
from atrium_meeting.domain.transcript import SpeakerTurn, Word


def spoken(*words: tuple[str, int, int], language: str = "en") -> list[SpokenWord]:
    return [SpokenWord(Word(text, start, end), language) for text, start, end in words]


def said(words: list[SpokenWord], turns: list[SpeakerTurn]) -> list[tuple[str, str]]:
    return [(one.speaker, one.text) for one in align(words, turns).utterances]


_WORDS = st.lists(
    st.builds(
        lambda text, start, length, language: SpokenWord(
            Word(text, start, start + length), language
        ),
        st.sampled_from(["a", "word.", "well,", "好", "吗？"]),
        st.integers(0, 90_000),
        st.integers(0, 4_000),
        st.sampled_from(["zh", "en"]),
    ),
    max_size=40,
)
_TURNS = st.lists(
    st.builds(
        lambda speaker, start, length: SpeakerTurn(speaker, start, start + length),
        st.sampled_from(["A", "B", "C"]),
        st.integers(0, 90_000),
        st.integers(1, 30_000),
    ),
    max_size=10,
)


@settings(max_examples=100, deadline=None)
@given(_WORDS, _TURNS)
def test_every_word_is_in_one_utterance_of_one_language(words: list[SpokenWord], turns: list):
    transcript = align(words, turns)
    found = Counter(
        SpokenWord(word, one.language) for one in transcript.utterances for word in one.words
    )
    assert found == Counter(words)
    assert [one.id for one in transcript.utterances] == [
        f"u{number}" for number in range(1, len(transcript.utterances) + 1)
    ]


@settings(max_examples=100, deadline=None)
@given(_WORDS, _TURNS)
def test_utterances_are_in_order_short_and_without_long_pauses(words: list, turns: list):
    utterances = align(words, turns).utterances
    starts = [one.start_ms for one in utterances]
    assert starts == sorted(starts)
    for one in utterances:
        assert one.words[-1].end_ms - one.start_ms <= LONGEST_MS or len(one.words) == 1
        for left, right in pairwise(one.words):
            assert right.start_ms - left.end_ms < PAUSE_MS


@settings(max_examples=100, deadline=None)
@given(_WORDS, _TURNS)
def test_speakers_are_numbered_in_order_of_their_first_words(words: list, turns: list):
    transcript = align(words, turns)
    order = list(dict.fromkeys(one.speaker for one in transcript.utterances))
    assert order == [one.id for one in transcript.speakers]
    assert order == [f"S{number}" for number in range(1, len(order) + 1)]
    spoke = {turn.speaker for turn in turns}
    assert len(order) <= max(1, len(spoke))


@settings(max_examples=100, deadline=None)
@given(_WORDS, _TURNS)
def test_a_word_goes_to_who_covers_most_of_it_or_is_nearest(words: list, turns: list):
    ordered = sorted((one.word for one in words), key=lambda word: (word.start_ms, word.end_ms))
    for word, speaker in zip(ordered, assign_speakers(ordered, turns), strict=True):
        if not turns:
            assert speaker == ""
            continue
        covered: Counter[str] = Counter()
        for turn in turns:
            inside = min(turn.end_ms, word.end_ms) - max(turn.start_ms, word.start_ms)
            covered[turn.speaker] += max(0, inside)
        if max(covered.values()) > 0:
            assert covered[speaker] == max(covered.values())
            continue
        away = {
            turn.speaker: max(turn.start_ms - word.end_ms, word.start_ms - turn.end_ms, 0)
            for turn in sorted(turns, key=lambda turn: -turn.start_ms)
        }
        assert speaker in away


def test_a_word_outside_of_every_turn_goes_to_the_nearest():
    turns = [SpeakerTurn("A", 0, 1000), SpeakerTurn("B", 5000, 6000)]
    words = [Word("near", 1500, 1800), Word("later", 4500, 4800), Word("last", 9000, 9100)]
    assert assign_speakers(words, turns) == ["A", "B", "B"]


def test_where_two_speak_at_once_whoever_spoke_goes_on():
    turns = [SpeakerTurn("A", 0, 4000), SpeakerTurn("B", 2000, 6000)]
    words = [Word("one", 0, 500), Word("both", 2500, 3000), Word("then", 5000, 5500)]
    assert assign_speakers(words, turns) == ["A", "A", "B"]


def test_a_change_of_speakers_is_moved_to_the_end_of_a_sentence():
    words = spoken(
        ("So", 0, 200),
        ("it", 200, 400),
        ("works.", 400, 800),
        ("Yes,", 850, 1100),
        ("it", 1100, 1300),
    )
    # The turn is told to change within "works.", 400 ms too early.
    turns = [SpeakerTurn("A", 0, 450), SpeakerTurn("B", 450, 2000)]
    assert said(words, turns) == [("S1", "So it works."), ("S2", "Yes, it")]


def test_a_short_reply_between_two_turns_stays_a_turn_of_its_own():
    words = spoken(("Shall", 0, 300), ("we?", 300, 600), ("Yes.", 700, 900), ("Good.", 1000, 1300))
    turns = [
        SpeakerTurn("A", 0, 650),
        SpeakerTurn("B", 680, 950),
        SpeakerTurn("A", 980, 1400),
    ]
    assert said(words, turns) == [("S1", "Shall we?"), ("S2", "Yes."), ("S1", "Good.")]


def test_a_pause_and_a_change_of_language_end_an_utterance():
    words = spoken(("One", 0, 300), ("two", 1400, 1700)) + spoken(("好", 1800, 2000), language="zh")
    found = align(words, [])
    assert [(one.text, one.language) for one in found.utterances] == [
        ("One", "en"),
        ("two", "en"),
        ("好", "zh"),
    ]


def test_letters_decide_where_recognition_takes_a_language_for_another():
    def language(said: str, *words: str) -> str:
        return written_language(said, [Word(word, 0, 1) for word in words])

    assert language("zh", "Good", "morning.") == "en"
    assert language("en", "早", "上", "好。") == "zh"
    assert language("zh", "用", "Python") == "zh"
    assert language("en", "Hello", "林", "薇") == "en"
    assert language("zh", "9,000") == "zh"
    assert language("de", "Guten") == "de"


def test_a_long_turn_is_cut_where_a_sentence_ends():
    words = spoken(
        *((f"w{n}{'.' if n in (30, 61) else ''}", n * 500, n * 500 + 450) for n in range(120))
    )
    found = align(words, [SpeakerTurn("A", 0, 60_000)])
    assert [one.words[-1].text for one in found.utterances] == ["w30.", "w61.", "w119"]


def test_hours_of_words_and_turns_are_aligned_in_a_moment():
    words = [SpokenWord(Word("好", n * 200, n * 200 + 150), "zh") for n in range(60_000)]
    turns = [SpeakerTurn(f"P{n % 500}", n * 3_000, n * 3_000 + 3_500) for n in range(4_000)]
    found = align(words, turns)
    assert sum(len(one.words) for one in found.utterances) == 60_000
    assert len(found.speakers) == 500
