"""A text in, a clean text and what was left out of it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from atrium_meeting.app.clean_text import CleanText, Removal, clean, language_of
from atrium_meeting.app.workers import Workers
from atrium_meeting.domain.errors import TextTooLong
from atrium_meeting.domain.transcript import Disfluency, split_words


class Scripted:
    """Marks "um", 嗯, and whatever is said twice; remembers what it was asked."""

    model = "scripted"

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[str]]] = []

    def mark(
        self, language: str, utterances: Sequence[Sequence[str]]
    ) -> list[list[Disfluency | None]]:
        self.asked += [(language, list(words)) for words in utterances]
        return [
            [
                Disfluency.FILLER
                if word.strip(",.").lower() in {"um", "嗯", "嗯，"}
                else Disfluency.REPETITION
                if words[place + 1 : place + 2] == [word]
                else None
                for place, word in enumerate(words)
            ]
            for words in utterances
        ]


def test_removals_cut_out_give_the_clean_text() -> None:
    text = "Um, we we  should\tgo. 嗯，我我们  走。\n\nYes um."
    cleaned = clean(Scripted(), text)
    rest = text
    for removal in reversed(cleaned.removals):
        rest = rest[: removal.start] + rest[removal.end :]
    assert rest == "we  should\tgo. 我们  走。\n\nYes "
    assert cleaned.clean_text == rest.replace("we", "We")  # it began with a capital
    assert cleaned.removals[:2] == (
        Removal(0, 4, Disfluency.FILLER),
        Removal(4, 7, Disfluency.REPETITION),
    )
    assert cleaned.model == "scripted"


def test_a_sentence_keeps_the_capital_it_began_with() -> None:
    for text, expected in (
        ("Um, it works. Um um, then we left, um, early.", "It works. Then we left, early."),
        ("um, it works.", "it works."),
        ("Um, iPhones sell.", "iPhones sell."),
        ('Um, "yes" it is.', '"Yes" it is.'),
    ):
        assert clean(Scripted(), text).clean_text == expected


def test_each_sentence_is_of_its_own_language() -> None:
    cleaner = Scripted()
    clean(cleaner, "We met 王伟 there. 我们用 Redis 存。")
    assert {language: words[-1] for language, words in cleaner.asked} == {
        "en": "there.",
        "zh": "存。",
    }


def test_a_language_that_is_given_holds() -> None:
    cleaner = Scripted()
    clean(cleaner, "We go. 我们走。", "zh")
    assert {language for language, _ in cleaner.asked} == {"zh"}


@pytest.mark.parametrize("text", ["", " \n\t", "...", "？！"])
def test_a_text_that_says_nothing_comes_back(text: str) -> None:
    cleaned = clean(Scripted(), text)
    assert cleaned.clean_text == text
    assert not cleaned.removals


def test_characters_of_other_planes_keep_their_places() -> None:
    cleaned = clean(Scripted(), "🙂 um 𠀀𠀀好")
    assert cleaned.clean_text == "🙂 𠀀好"


def test_the_language_is_that_of_most_words() -> None:
    assert language_of(split_words("我们用 Kubernetes")) == "zh"
    assert language_of(split_words("we met 王伟 at the station")) == "en"


async def test_a_text_that_is_too_long_is_refused() -> None:
    workers = Workers(1, "test")
    use_case = CleanText(Scripted(), workers)
    assert (await use_case("um " * 60_000)).clean_text == ""
    with pytest.raises(TextTooLong, match="200001 code points"):
        await use_case("a" * 200_001)
    await workers.close()
