import pytest

from atrium_knowledge.domain.answering.prompting import SentenceStream, cited_numbers, prompt
from atrium_knowledge.domain.passages import Passage


def make_passage(text: str) -> Passage:
    name = "collections/c/documents/d"
    return Passage(f"{name}/passages/1", name, "Rules", ("One",), text, 0, len(text), 0, 1, 1, "en")


def cut(text: str, size: int) -> list[str]:
    stream, found = SentenceStream(), []
    for at in range(0, len(text), size):
        found += stream.feed(text[at : at + size])
    return found + stream.end()


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_sentences_come_out_whole_however_the_text_arrives(size):
    text = "You have 30.5 days [1]. Ask HR first. [2] Done!"
    assert cut(text, size) == ["You have 30.5 days [1].", "Ask HR first. [2]", "Done!"]


@pytest.mark.parametrize("size", [1, 2, 1000])
def test_chinese_sentences_keep_their_marks(size):
    assert cut("年假 15 天。[1]病假须提交证明【2】。还有", size) == [
        "年假 15 天。[1]",
        "病假须提交证明【2】。",
        "还有",
    ]


def test_a_sentence_is_sent_as_soon_as_the_next_one_begins():
    stream = SentenceStream()
    assert stream.feed("You have 30 days. [1]") == []
    assert stream.feed(" Ask") == ["You have 30 days. [1]"]


def test_numbers_of_sources_are_read_from_marks_alone():
    assert cited_numbers("30 days [2], see 1. [1, 3]【2】") == [2, 1, 3]


def test_a_prompt_numbers_its_sources_and_ends_with_the_question():
    passages = [make_passage("Thirty days."), make_passage("Fifteen days.")]
    asked = prompt("How many?", passages, [0, 0], "en")
    assert asked.user.index("[1]") < asked.user.index("Thirty") < asked.user.index("[2]")
    assert asked.user.endswith("Question: How many?")
    assert "中文" in prompt("几天？", passages, [0, 0], "zh").system


def test_a_long_passage_is_cut_around_what_matters():
    lines = [f"Line {number} says something about rule {number}." for number in range(200)]
    text = "\n".join(lines)
    at = text.index("Line 150")
    asked = prompt("Rule 150?", [make_passage(text)], [at], "en")
    assert "Line 150 says" in asked.user
    assert len(asked.user) < 1300
