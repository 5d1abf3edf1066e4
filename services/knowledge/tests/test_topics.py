import numpy as np
import pytest

from atrium_knowledge.domain.topics import CompiledTopic, TopicMatcher

EXAMPLES = (
    "P4 的工资范围是多少？",
    "今年的奖金怎么计算？",
    "我的同事工资多少？",
    "What is the salary range of grade P4?",
    "How is the annual bonus calculated?",
    "How much do my colleagues earn?",
)
COUNTERS = ("每个月几号发工资？", "On which day of the month are salaries paid?")


def topic(vectors=None, counter_vectors=None, **changes) -> CompiledTopic:
    values = {
        "id": "pay",
        "description": "Amounts of salaries and bonuses 工资和奖金的数额",
        "labels": frozenset({"hr/compensation"}),
        "refusals": {"en": "Pay questions go to HR.", "zh": "薪酬问题请联系人力资源部。"},
        "examples": EXAMPLES,
        "counter_examples": COUNTERS,
        "vectors": vectors,
        "counter_vectors": counter_vectors,
    }
    return CompiledTopic(**{**values, **changes})


@pytest.mark.parametrize(
    "question",
    [
        "What is the salary range of grade P6?",
        "P6 的工资范围是多少？",
        "How is my bonus calculated?",
        "奖金怎么计算？",
    ],
)
def test_words_alone_tell_a_restricted_question(question):
    match = TopicMatcher().match(question, None, [topic()])
    assert match is not None
    assert match.topic.id == "pay"
    assert 0 < match.score <= 1


@pytest.mark.parametrize(
    "question",
    [
        "每个月几号发工资？",
        "On which day of the month are salaries paid?",
        "How many days of annual leave do I have?",
        "会议室怎么预订？",
        "?",
    ],
)
def test_other_questions_and_counter_examples_are_not_restricted(question):
    assert TopicMatcher().match(question, None, [topic()]) is None


def axis(*values: float) -> np.ndarray:
    vector = np.array(values, dtype=np.float32)
    return vector / np.linalg.norm(vector)


def test_vectors_find_a_paraphrase_that_shares_no_word():
    examples = np.stack([axis(1, 0.1 * i, 0) for i in range(7)])
    counters = np.stack([axis(0.2, 0, 1), axis(0.1, 0.2, 1)])
    taught = topic(examples, counters)
    matcher = TopicMatcher()
    assert matcher.match("Wieviel Geld?", axis(1, 0.2, 0), [taught]) is not None
    assert matcher.match("Wieviel Geld?", axis(0, -1, 0.1), [taught]) is None


def test_a_question_nearer_to_a_counter_example_is_not_restricted():
    examples = np.stack([axis(1, 0.1 * i, 0) for i in range(7)])
    counters = np.stack([axis(0.9, 0.3, 0.5)])
    question = axis(0.9, 0.3, 0.5)
    assert TopicMatcher().match("salary", question, [topic(examples, counters)]) is None


def test_the_surest_topic_wins():
    other = topic(
        id="layoffs",
        description="Layoffs 裁员",
        examples=("Will there be layoffs?", "公司会裁员吗？"),
        counter_examples=(),
    )
    match = TopicMatcher().match("Will there be layoffs?", None, [topic(), other])
    assert match is not None
    assert match.topic.id == "layoffs"


def test_a_topic_without_counter_examples_works_with_vectors():
    examples = np.stack([axis(1, 0.1 * i, 0) for i in range(7)])
    taught = topic(examples, None, counter_examples=())
    assert TopicMatcher().match(EXAMPLES[0], axis(1, 0.2, 0), [taught]) is not None


def test_the_refusal_speaks_the_language_of_the_question_else_english_else_any():
    assert topic().refusal("zh").startswith("薪酬")
    assert topic(refusals={"en": "No."}).refusal("zh") == "No."
    assert topic(refusals={"de": "Nein."}).refusal("zh") == "Nein."
