import numpy as np
import pytest

from atrium_knowledge.domain.answering.questions import understand
from atrium_knowledge.domain.topics import CompiledTopic, TopicMatcher, topic_texts

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
    match = TopicMatcher().consider(understand(question), None, [topic()]).match(None)
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
    assert TopicMatcher().consider(understand(question), None, [topic()]).match(None) is None


def axis(*values: float) -> np.ndarray:
    vector = np.array(values, dtype=np.float32)
    return vector / np.linalg.norm(vector)


def test_vectors_find_a_paraphrase_that_shares_no_word():
    examples = np.stack([axis(1, 0.1 * i, 0) for i in range(7)])
    counters = np.stack([axis(0.2, 0, 1), axis(0.1, 0.2, 1)])
    taught = topic(examples, counters)
    matcher = TopicMatcher()
    assert (
        matcher.consider(understand("Wieviel Geld?"), axis(1, 0.2, 0), [taught]).match(None)
        is not None
    )
    assert (
        matcher.consider(understand("Wieviel Geld?"), axis(0, -1, 0.1), [taught]).match(None)
        is None
    )


def test_a_question_nearer_to_a_counter_example_is_not_restricted():
    examples = np.stack([axis(1, 0.1 * i, 0) for i in range(7)])
    counters = np.stack([axis(0.9, 0.3, 0.5)])
    question = axis(0.9, 0.3, 0.5)
    assert (
        TopicMatcher()
        .consider(understand("salary"), question, [topic(examples, counters)])
        .match(None)
        is None
    )


def test_the_surest_topic_wins():
    other = topic(
        id="layoffs",
        description="Layoffs 裁员",
        examples=("Will there be layoffs?", "公司会裁员吗？"),
        counter_examples=(),
    )
    match = (
        TopicMatcher()
        .consider(understand("Will there be layoffs?"), None, [topic(), other])
        .match(None)
    )
    assert match is not None
    assert match.topic.id == "layoffs"


def test_a_topic_without_counter_examples_works_with_vectors():
    examples = np.stack([axis(1, 0.1 * i, 0) for i in range(7)])
    taught = topic(examples, None, counter_examples=())
    assert (
        TopicMatcher().consider(understand(EXAMPLES[0]), axis(1, 0.2, 0), [taught]).match(None)
        is not None
    )


def test_a_reader_finds_a_paraphrase_that_neither_words_nor_vectors_find():
    taught = topic(np.stack([axis(1, 0.1 * i, 0) for i in range(7)]), None, counter_examples=())
    considered = TopicMatcher().consider(understand("Wieviel Geld?"), axis(0.2, 0.5, 1), [taught])
    assert considered.topics == [taught]
    assert considered.match(None) is None
    assert considered.match([8.0]) is not None
    assert considered.match([-8.0]) is None


def test_a_reader_sees_the_description_with_a_few_examples_at_a_time():
    first, second = topic_texts(topic())
    counters = [f"not: {text}" for text in COUNTERS]
    assert first.split("\n") == [topic().description, *EXAMPLES[:4], *counters]
    assert second.split("\n") == [topic().description, *EXAMPLES[4:], *counters]
    assert topic_texts(topic(examples=(), counter_examples=())) == [topic().description]


def test_a_reader_is_asked_about_the_likeliest_of_very_many_topics():
    many = [topic(id=f"t{i}", examples=(f"Question {i}?",)) for i in range(40)]
    considered = TopicMatcher().consider(
        understand("What is the salary range?"), None, [*many, topic()]
    )
    assert len(considered.topics) == 16
    assert considered.topics[0].id == "pay"


def test_the_refusal_speaks_the_language_of_the_question_else_english_else_any():
    assert topic().refusal("zh").startswith("薪酬")
    assert topic(refusals={"en": "No."}).refusal("zh") == "No."
    assert topic(refusals={"de": "Nein."}).refusal("zh") == "Nein."
