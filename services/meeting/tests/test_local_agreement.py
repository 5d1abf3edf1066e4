import random
from difflib import SequenceMatcher

import pytest

from atrium_meeting.domain.local_agreement import LocalAgreement
from atrium_meeting.domain.transcript import Word


def words(text: str, begin_ms: int = 0) -> list[Word]:
    return [
        Word(one, begin_ms + 300 * place, begin_ms + 300 * place + 250)
        for place, one in enumerate(text.split())
    ]


def text_of(some: tuple[Word, ...]) -> str:
    return " ".join(word.text for word in some)


def test_what_two_hypotheses_agree_on_is_stable():
    agreement = LocalAgreement()
    agreement.accept(words("we meet on"))
    assert agreement.stable == ()
    agreement.accept(words("we meet on Monday"))
    assert text_of(agreement.stable) == "we meet on"
    assert text_of(agreement.words) == "we meet on Monday"


def test_what_differs_waits():
    agreement = LocalAgreement()
    agreement.accept(words("we meat on"))
    agreement.accept(words("we meet on"))
    assert text_of(agreement.stable) == "we"
    agreement.accept(words("we meet on time"))
    assert text_of(agreement.stable) == "we meet on"


@pytest.mark.parametrize(
    ("later", "expected"),
    [
        ("Well, let us begin now please", "well let us begin now please"),  # another spelling
        ("let us begin now please", "well let us begin now please"),  # a stable word went
        ("so well let us begin now please", "well let us begin now please"),  # one came before
        ("well lettuce begin now please", "well let us begin now please"),  # two became one
        ("", "well let us begin"),  # nothing was understood this time
    ],
)
def test_stable_words_stay_whatever_is_heard_later(later: str, expected: str):
    agreement = LocalAgreement()
    for _ in range(2):
        agreement.accept(words("well let us begin"))
    agreement.accept(words(later))
    assert text_of(agreement.words) == expected


def test_a_word_said_twice_is_not_taken_for_the_stable_one():
    agreement = LocalAgreement()
    for _ in range(2):
        agreement.accept(words("no no"))
    agreement.accept(words("no no no"))
    assert text_of(agreement.words) == "no no no"


def test_the_rest_goes_on_after_a_cut():
    agreement = LocalAgreement()
    for _ in range(2):
        agreement.accept(words("one two three four"))
    rest = agreement.after(2)
    assert text_of(rest.stable) == "three four"
    rest.accept(words("three four five", 600))
    rest.accept(words("three four five six", 600))
    assert text_of(rest.stable) == "three four five"
    unstable = LocalAgreement()
    unstable.accept(words("one two three"))
    assert text_of(unstable.after(1).words) == "two three"


@pytest.mark.parametrize("seed", range(40))
def test_stable_words_only_grow_and_never_go_back_in_time(seed: int):
    chance = random.Random(seed)
    truth = [f"w{chance.randrange(30)}" for _ in range(40)]
    agreement, before = LocalAgreement(), ()
    for heard in range(1, len(truth) + 1):
        hypothesis = []
        for place, word in enumerate(truth[:heard]):
            slip = chance.random()
            if slip < 0.05:
                continue
            text = f"x{chance.randrange(9)}" if slip < 0.15 else word + "." * (slip < 0.2)
            start = max(0, 300 * place + chance.randrange(-150, 150))
            hypothesis.append(Word(text, start, start + 250))
        agreement.accept(hypothesis)
        stable = agreement.stable
        assert stable[: len(before)] == before
        assert agreement.words[: len(stable)] == stable
        starts = [word.start_ms for word in stable]
        ends = [word.end_ms for word in stable]
        assert all(start >= end - 250 for start, end in zip(starts[1:], ends, strict=False))
        before = stable
    assert len(before) >= 20
    # Words that were heard wrong may stay; the right ones are there, once and in their order.
    right = [word.text.rstrip(".") for word in before]
    blocks = SequenceMatcher(None, right, truth, autojunk=False).get_matching_blocks()
    assert sum(block.size for block in blocks) >= 0.7 * len(right)
