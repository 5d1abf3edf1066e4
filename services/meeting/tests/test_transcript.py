from hypothesis import given
from hypothesis import strategies as st

from atrium_meeting.domain.transcript import (
    Disfluency,
    Utterance,
    Word,
    join,
    offsets,
    split_words,
)


def test_english_and_chinese_are_cut_into_words_with_their_punctuation() -> None:
    assert split_words("Hello, world. It's 3.5% of GDP-2") == [
        "Hello,", "world.", "It's", "3.5%", "of", "GDP-2",
    ]  # fmt: skip
    assert split_words("用Kubernetes部署，花了3.5万元。“好的”，他说") == [
        "用", "Kubernetes", "部", "署，",
        "花", "了", "3.5", "万", "元。", "“好", "的”，", "他", "说",
    ]  # fmt: skip


@given(st.text(alphabet="ab 中文，。(“”)3.5\n\t'é", max_size=40))
def test_cutting_and_joining_loses_nothing_but_space(text: str) -> None:
    words = split_words(text)

    assert "".join(words) == "".join(text.split())
    assert all(word and not any(character.isspace() for character in word) for word in words)
    assert split_words(join(words)) == words


@given(st.lists(st.sampled_from(["a", "it's", "中", "文。", "3.5", "OK,"]), max_size=12))
def test_offsets_point_at_each_word(words: list[str]) -> None:
    text = join(words)

    assert [text[o : o + len(w)] for o, w in zip(offsets(words), words, strict=True)] == words


def test_the_clean_view_begins_a_sentence_with_the_capital_that_was_left_out() -> None:
    gone = Disfluency.FILLER
    words = [
        Word("Um,", 0, 10, disfluency=gone), Word("we", 10, 20), Word("met.", 20, 30),
        Word("So", 30, 40, disfluency=gone), Word("i", 40, 50), Word("um", 50, 60, disfluency=gone),
        Word("left.", 60, 70),
    ]  # fmt: skip
    utterance = Utterance("u1", "S1", "en", tuple(words))

    assert utterance.clean_text == "We met. I left."
    assert utterance.text == "Um, we met. So i um left."
