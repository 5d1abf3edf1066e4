import pytest

from atrium_grounding.lexicon import lexicon
from atrium_grounding.verification import SentenceVerifier, Source, plain


def source(text: str, title: str = "Leave rules", section: str = "Annual leave") -> Source:
    return Source(text, (title, section))


GERMANY = source(
    "Employees in Berlin have 30 working days of paid annual leave. "
    "Up to 5 days may be carried over until 31 March of the next year. "
    "Unused days are not paid out.",
    title="Leave Rules for Germany",
)
CHINA = source(
    "员工每年享有 15 个工作日的带薪年假。未休完的年假不能折算为现金。病假须在 2 天内提交证明。",
    title="中国区休假管理办法",
    section="年休假",
)


def verifier(question: str = "How much leave do I have?") -> SentenceVerifier:
    return SentenceVerifier(question, [GERMANY, CHINA], lexicon())


@pytest.mark.parametrize(
    "sentence",
    [
        "You have 30 working days of paid annual leave [1].",
        "Up to five days may be carried over until 31 March [1].",
        "Unused days are not paid out [1].",
        "员工每年有 15 天带薪年假。[2]",
        "十五个工作日的带薪年假。[2]",
        "Employees have 15 working days of paid annual leave [2].",
    ],
)
def test_what_a_source_says_is_supported_in_either_language(sentence):
    assert verifier().support(sentence, [0 if "[1]" in sentence else 1]) is not None


@pytest.mark.parametrize(
    ("why", "sentence"),
    [
        ("number", "You have 28 working days of paid annual leave [1]."),
        ("date", "Up to 5 days may be carried over until 30 June [1]."),
        ("negation", "Unused days are paid out [1]."),
        ("negation", "未休完的年假可以折算为现金。[2]"),
        ("name", "Employees in Rotterdam have 30 working days of paid annual leave [1]."),
        ("code", "Grade P7 has 30 working days of paid annual leave [1]."),
        ("invented", "The sabbatical must be approved by the works council [1]."),
        ("merged", "Employees in Berlin have 30 working days and submit a certificate in 2 days."),
        ("bare", "30 [1]"),
        ("heading", "Annual leave [1]."),
        ("nothing", "[1]"),
    ],
)
def test_what_no_single_source_says_is_not(why, sentence):
    assert verifier().support(sentence, [0]) is None, why


def test_the_cited_source_is_tried_first_and_another_one_found():
    support = verifier().support("You have 15 working days of paid leave [1].", [0])
    assert support is not None
    assert support.source == 1


def test_the_quote_is_the_sentence_that_supports():
    support = verifier().support("Up to 5 days may be carried over [1].", [0])
    assert support is not None
    quote = GERMANY.text[support.unit.start : support.unit.end]
    assert quote.startswith("Up to 5 days may be carried over")


def test_marks_and_list_numbers_are_no_part_of_a_sentence():
    assert plain("1. You have 30 days. [1][2]") == "You have 30 days."
    assert plain("- 年假 15 天【1】。") == "年假 15 天。"


def test_all_sources_that_support_a_sentence_are_named() -> None:
    twice = SentenceVerifier("", [CHINA, GERMANY, CHINA], lexicon())
    assert twice.supporters("员工每年享有 15 天带薪年假。") == [0, 2]
    assert twice.supporters("员工每年享有 16 天带薪年假。") == []
