"""The tagger that ships, and the rules that it cannot overrule."""

from __future__ import annotations

import time
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from atrium_meeting.adapters.onnx_tagger import SETTINGS, agree
from atrium_meeting.adapters.tagger_cleaner import ModelUnreadable, TaggerCleaner
from atrium_meeting.domain.cleanup.features import repetition_sizes, repetitions
from atrium_meeting.domain.cleanup.guards import EDIT, FILLER, KEEP, chinese, english, guard
from atrium_meeting.domain.cleanup.network import decide
from atrium_meeting.domain.cleanup.reading import FEATURE_SIZES
from atrium_meeting.domain.cleanup.tokens import BEGIN, END, MARKS, stretches, tokens
from atrium_meeting.domain.cleanup.units import Case, Mark, read_word
from atrium_meeting.domain.transcript import Disfluency, join, split_words


@pytest.fixture(scope="module")
def cleaner() -> TaggerCleaner:
    return TaggerCleaner()


def clean(cleaner: TaggerCleaner, text: str, language: str) -> str:
    words = split_words(text)
    (labels,) = cleaner.mark(language, [words])
    return join(word for word, label in zip(words, labels, strict=True) if label is None)


def kinds(cleaner: TaggerCleaner, text: str, language: str) -> list[str]:
    words = split_words(text)
    (labels,) = cleaner.mark(language, [words])
    return [label.value for label in labels if label]


def guarded(text: str, language: str, gone: str) -> str:
    """Return what the rules leave when the network wants every word with a mark in ``gone`` out."""
    words = split_words(text)
    units = [read_word(word) for word in words]
    rules = chinese() if language == "zh" else english(frozenset(COMMON.split()))
    labels = [{"x": EDIT, "f": FILLER}.get(sign, KEEP) for sign in gone]
    assert len(labels) == len(words), words
    left = guard(units, labels, rules)
    return join(word for word, label in zip(words, left, strict=True) if label == KEEP)


COMMON = (
    "the a we at meet is it to go and then on with us call you know like that not of in will sign "
    "i could should red blue house had was people came mean very time from what is did"
)


# What goes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Um, we should uh start now.", "we should start now."),
        ("We we should start with the budget.", "we should start with the budget."),
        ("I think we need, we need a new plan.", "I think we need a new plan."),
        ("so we uh we really want that", "so we really want that"),
        ("She said the rep- the report is ready.", "She said the report is ready."),
    ],
)
def test_english_disfluencies_go(cleaner: TaggerCleaner, text: str, expected: str) -> None:
    assert clean(cleaner, text, "en") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("嗯我们今天讨论预算", "我们今天讨论预算"),
        ("我我觉得这个方案可以", "我觉得这个方案可以"),
        ("他们他们已经完成了测试", "他们已经完成了测试"),
        ("这部电影的音质呃音质比较高", "这部电影的音质比较高"),
    ],
)
def test_chinese_disfluencies_go(cleaner: TaggerCleaner, text: str, expected: str) -> None:
    assert clean(cleaner, text, "zh") == expected


def test_traditional_chinese_is_read_like_simplified(cleaner: TaggerCleaner) -> None:
    for simplified, traditional in (
        ("我们我们觉得这个问题很重要", "我們我們覺得這個問題很重要"),
        ("嗯时间时间不够", "嗯時間時間不夠"),
    ):
        (one,) = cleaner.mark("zh", [split_words(simplified)])
        (other,) = cleaner.mark("zh", [split_words(traditional)])
        assert one == other
        assert any(one)


@pytest.mark.parametrize(
    "text",
    [
        "The committee approved the plan for the new office.",
        "I like the idea, and did you know that they like it too?",
        "From time to time we look at what it costs.",
        "Well done, everybody.",
        "I had had enough of it.",
    ],
)
def test_fluent_english_stays(cleaner: TaggerCleaner, text: str) -> None:
    assert clean(cleaner, text, "en") == text


@pytest.mark.parametrize(
    "text",
    [
        "我们明天下午开会讨论预算",
        "请大家看一看这个报告",
        "天天都要写日报",
        "妈妈说那个项目已经结束",
    ],
)
def test_fluent_chinese_stays(cleaner: TaggerCleaner, text: str) -> None:
    assert clean(cleaner, text, "zh") == text


@pytest.mark.parametrize(
    "text",
    [
        "谢谢大家。",
        "好的，谢谢。",
        "我们试试看吧。",
        "先看看数据再说。",
        "让我想想。",
        "人人都要参加。",
        "我们聊聊这个项目。",
        "常常迟到不好。",
    ],
)
def test_a_word_that_is_a_character_twice_stays_whole(cleaner: TaggerCleaner, text: str) -> None:
    assert clean(cleaner, text, "zh") == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("你想想要什么颜色", "你想要什么颜色"),  # 想要
        ("我看看到了那个结果", "我看到了那个结果"),
        ("这个人人物很重要", "这个人物很重要"),
        ("我我看看", "我看看"),
        ("谢谢谢谢", "谢谢"),
    ],
)
def test_a_character_said_twice_on_the_way_to_a_word_goes(
    cleaner: TaggerCleaner, text: str, expected: str
) -> None:
    assert clean(cleaner, text, "zh") == expected


@pytest.mark.parametrize("text", ["我写不了，我不了解情况。", "我做不了，我不了解这个系统。"])
def test_a_refusal_does_not_come_again_in_another_word(cleaner: TaggerCleaner, text: str) -> None:
    assert clean(cleaner, text, "zh") == text


def test_a_refusal_goes_only_where_all_of_it_follows() -> None:
    assert guarded("我写不了，我不了解", "zh", "xxxx....") == "我写不了，我不了解"
    assert guarded("I can't wait, we can't wait here", "en", "xxx....") == (
        "I can't wait, we can't wait here"
    )
    assert guarded("I don't, I don't know", "en", "xx...") == "I don't know"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I like it, like a lot.", "I like it, a lot."),
        ("They like tea, like very much.", "They like tea, very much."),
    ],
)
def test_a_filler_that_was_a_word_before_gives_nothing_up(
    cleaner: TaggerCleaner, text: str, expected: str
) -> None:
    assert clean(cleaner, text, "en") == expected


def test_each_kind_is_called_by_its_name(cleaner: TaggerCleaner) -> None:
    assert kinds(cleaner, "Um, we should start now.", "en") == ["filler"]
    assert kinds(cleaner, "We need, we need a new plan.", "en") == ["repetition"] * 2
    assert kinds(cleaner, "She said the rep- the report is ready.", "en") == ["repair"] * 2
    assert kinds(cleaner, "他们他们已经完成了测试", "zh") == ["repetition"] * 2


@pytest.mark.parametrize("after", ["Um, so the next point is the budget.", "uh, what about desks?"])
@pytest.mark.parametrize(
    "text",
    [
        "Sure, I'll ask them.",
        "Yes, I will send it.",
        "Okay, let me ask her.",
        "Of course. We'll write the report.",
        "No problem, I can do that.",
        "All right, I'll call the supplier.",
    ],
)
def test_an_answer_and_a_promise_survive_what_follows(
    cleaner: TaggerCleaner, text: str, after: str
) -> None:
    assert clean(cleaner, f"{text} {after}", "en").startswith(text)


# What never goes


@pytest.mark.parametrize(
    ("text", "gone", "expected"),
    [
        # another name, number or negation follows: both stay, and so does what announces it
        ("meet at three, I mean, four", "xxxxx0", "meet at three, I mean, four"),
        ("call Maria, call Marta", "xx00", "call Maria, call Marta"),
        ("call maria call marta", "xx00", "call maria call marta"),
        ("on monday on tuesday", "xx00", "on monday on tuesday"),
        ("we will not sign we will sign", "xxxx000", "we will not sign we will sign"),
        ("we couldn't go we could go", "xxx000", "we couldn't go we could go"),
        ("it is never it is red", "xxx000", "it is never it is red"),
        ("in 2024 in 2025", "xx00", "in 2024 in 2025"),
        ("the first the second house", "xx000", "the first the second house"),
        ("call Qubit we go", "xx00", "call Qubit we go"),
        # two numbers are not one said twice
        ("in twenty twenty we had it", "0x0000", "in twenty twenty we had it"),
        ("call five five five", "0xx0", "call five five five"),
        ("it is 5 5", "00x0", "it is 5 5"),
        ("five six five six", "xx00", "five six five six"),
        # the same words follow and stay
        ("the three the three people", "xx000", "the three people"),
        ("two hundred, two hundred people", "xx000", "two hundred people"),
        ("we can't we can't go", "xx000", "we can't go"),
        ("Maria, um Maria came", "xf00", "Maria came"),
        ("in March in March we go", "xx0000", "in March we go"),
        (
            "we didn't call we came and didn't call",
            "xxx00000",
            "we didn't call we came and didn't call",
        ),
        ("call the Budget- the house", "0xx00", "call the Budget- the house"),
        ("call the hou- the house", "0xx00", "call the house"),
        # a negation that only takes back
        ("the red no wait the blue house", "xxxx000", "the blue house"),
        ("the red no the blue house", "xxx000", "the red no the blue house"),
        # one of what is said several times stays
        ("we go we go with us", "xxxx00", "we go with us"),
        ("the red no wait, the house, the blue house", "xxxxxx000", "the blue house"),
        # given up without a trace: only where a sign says so, never a sentence that was ended
        ("we could go um what is red", "xxxf000", "what is red"),
        ("the red- we could go", "xx000", "we could go"),
        ("we could go what is red", "xxx000", "we could go what is red"),
        ("we could go. um what is red", "xxxf000", "we could go. what is red"),
        # nor a promise
        ("I'll call us um what is red", "xxxf000", "I'll call us what is red"),
        ("we will call us um what is red", "xxxxf000", "we will call us what is red"),
        ("I'll sign the house um what is red", "00xxf000", "I'll sign the house what is red"),
        ("I'll call us- what is red", "xxx000", "what is red"),
        # a capital where a sentence begins makes no name
        ("and um She came- what is red", "0fxx000", "and what is red"),
        # whole copies go, and a copy does not come after other words
        ("we go to we go to we go in", "xxxxxxx00", "we go in"),
        ("go to sign the house go to us", "xx000000", "go to sign the house go to us"),
        # other repairs go
        ("the red I mean the blue house", "xxxx000", "the blue house"),
        # a measure is no sound
        ("it is 5 mm", "000f", "it is 5 mm"),
        # nothing would be left
        ("we go", "xx", "we go"),
        ("you know", "ff", "you know"),
        # no filler at all, or half of one
        ("the budget is red", "0f00", "the budget is red"),
        ("and you know it", "00f0", "and you know it"),
        # phrases that mean what they say
        ("did you know it", "0ff0", "did you know it"),
        ("what I mean is that", "0ff00", "what I mean is that"),
        # what people say twice on purpose
        ("we had had it", "0x00", "we had had it"),
        ("very very red", "x00", "very very red"),
        ("from time to time we go", "0xx000", "from time to time we go"),
    ],
)
def test_the_rules_of_english_stand_over_the_network(text: str, gone: str, expected: str) -> None:
    assert guarded(text, "en", gone) == expected


@pytest.mark.parametrize(
    ("text", "gone", "expected"),
    [
        ("我要三个四个", "00xx00"[:6], "我要三个四个"),
        ("我不去我要去", "xxx000", "我不去我要去"),
        ("没有来有来", "xxx00", "没有来有来"),
        ("别走我走", "xx00", "别走我走"),
        ("他未签他签", "xxx000"[:5], "他未签他签"),
        ("王伟说李娜说", "xxx000", "王伟说李娜说"),
        ("找小刘找小陈", "xxx000", "找小刘找小陈"),
        ("请陈总请林总", "xxx000", "请陈总请林总"),
        ("去北京去上海", "xxx000", "去北京去上海"),
        ("周一去周二去", "xxx000", "周一去周二去"),
        ("用Redis用Kafka", "xx00", "用Redis用Kafka"),
        ("二二年的事", "x0000", "二二年的事"),
        ("拨三三八", "0x00", "拨三三八"),
        ("有2023有2024", "xx00", "有2023有2024"),
        # the same words follow and stay
        ("千万不要不要去", "00xx000", "千万不要去"),
        ("一一个人", "x000", "一个人"),
        ("三百三百五十块", "xx00000"[:7], "三百五十块"),
        ("王伟呃王伟说", "xxf000", "王伟说"),
        # a negation that only takes back
        ("红的不对蓝的房子", "xxxx0000", "蓝的房子"),
        ("红的不是蓝的房子", "xxxx0000", "红的不是蓝的房子"),
        ("就是", "ff", "就是"),
    ],
)
def test_the_rules_of_chinese_stand_over_the_network(text: str, gone: str, expected: str) -> None:
    assert guarded(text, "zh", gone) == expected


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "Meet me at three, I mean, four on Friday."),
        ("en", "we will not, we will sign the contract"),
        ("en", "ask maria, uh, ask marta for it"),
        ("en", "the year twenty twenty was hard"),
        ("zh", "我们周三呃周四开会"),
        ("zh", "预算是三百万四百万"),
        ("zh", "我不同意我同意这个方案"),
        ("zh", "交给王伟交给李娜负责"),
    ],
)
def test_names_numbers_and_negations_survive(
    cleaner: TaggerCleaner, language: str, text: str
) -> None:
    words = split_words(text)
    (labels,) = cleaner.mark(language, [words])
    for word, label in zip(words, labels, strict=True):
        if read_word(word).core in {
            *"三四不王伟李娜百万周", "three", "four", "friday", "not", "maria", "marta", "twenty",
        }:  # fmt: skip
            assert label is None, (word, labels)


# Whatever comes in


def test_the_words_are_all_there_and_in_order(cleaner: TaggerCleaner) -> None:
    words = split_words("Um, we we, uh, should go 嗯 to 北京北京 now.")
    (labels,) = cleaner.mark("en", [words])
    assert len(labels) == len(words)
    assert join(words) == "Um, we we, uh, should go嗯to北京北京now."


def test_nothing_in_nothing_out(cleaner: TaggerCleaner) -> None:
    assert cleaner.mark("zh", []) == []
    assert cleaner.mark("en", [[], ["Yes."], []]) == [[], [None], []]


def test_another_language_comes_back_as_it_is(cleaner: TaggerCleaner) -> None:
    assert cleaner.mark("fr", [["euh", "oui"]]) == [[None, None]]
    assert cleaner.mark("", [["um"]]) == [[None]]
    assert cleaner.mark("en-GB", [["um", "yes"]]) == [[Disfluency.FILLER, None]]


@pytest.mark.parametrize("language", ["zh", "en"])
def test_signs_without_letters_stay(cleaner: TaggerCleaner, language: str) -> None:
    words = ["...", "—", "\u0000", "🙂", "\u0301", "１２", "ﬁ"]
    assert cleaner.mark(language, [words]) == [[None] * len(words)]


def test_an_utterance_is_marked_alike_alone_and_among_others(cleaner: TaggerCleaner) -> None:
    texts = ["我我觉得可以", "嗯", "他们他们都来了", "我觉得我觉得不错", "好"] * 20
    words = [split_words(text) for text in texts]
    together = cleaner.mark("zh", words)
    assert together[:5] == [cleaner.mark("zh", [own])[0] for own in words[:5]]
    assert together[:5] == together[-5:]


def test_mixed_languages_are_taken(cleaner: TaggerCleaner) -> None:
    assert clean(cleaner, "嗯我们用 Kubernetes 部署", "zh") == "我们用Kubernetes部署"
    assert clean(cleaner, "um we met 王伟 there", "en") == "we met王伟there"


@pytest.mark.parametrize(("language", "count"), [("zh", 10_000), ("en", 100_000)])
def test_an_utterance_of_a_hundred_thousand_words_is_taken(
    cleaner: TaggerCleaner, language: str, count: int
) -> None:
    piece = split_words("嗯我我觉得这个方案可以" if language == "zh" else "um we we should go")
    words = (piece * (count // len(piece) + 1))[:count]
    began = time.thread_time()
    (labels,) = cleaner.mark(language, [words])
    assert len(labels) == count
    assert sum(label is not None for label in labels) > count / 20
    assert time.thread_time() - began < 60


def test_the_same_word_a_thousand_times_leaves_one(cleaner: TaggerCleaner) -> None:
    for language, word in (("en", "we"), ("zh", "我"), ("en", "no"), ("zh", "一")):
        (labels,) = cleaner.mark(language, [[word] * 1000])
        assert None in labels


def test_a_broken_model_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelUnreadable, match=r"zh\.npz"):
        TaggerCleaner(tmp_path)
    (tmp_path / "zh.npz").write_bytes(b"PK\x03\x04 not an archive")
    with pytest.raises(ModelUnreadable, match="train-cleanup"):
        TaggerCleaner(tmp_path)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (None, "zh.onnx is not an encoder"),
        ("{}", "lacks"),
        (
            '{"format": 99, "threshold": 0.5, "low": 0.5, "share": 0.5, "vocabulary": "a"}',
            "of format 99",
        ),
    ],
)
def test_a_broken_encoder_is_named(tmp_path: Path, settings: str | None, reason: str) -> None:
    shipped = resources.files("atrium_meeting.domain.cleanup") / "models"
    for name in ("zh.npz", "en.npz"):
        (tmp_path / name).write_bytes((shipped / name).read_bytes())
    (tmp_path / "zh.onnx").write_bytes(b"no graph" if settings is None else graph(settings))
    with pytest.raises(ModelUnreadable) as caught:
        TaggerCleaner(tmp_path)
    assert reason in f"{caught.value} {caught.value.__cause__}"
    assert "train-cleanup" in str(caught.value)


def graph(settings: str) -> bytes:
    """Return a graph that gives back what it is given."""
    value = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("given", "same")
    ]
    nodes = [helper.make_node("Identity", ["given"], ["same"])]
    model = helper.make_model(
        helper.make_graph(nodes, "same", value[:1], value[1:]),
        ir_version=10,
        opset_imports=[helper.make_opsetid("", 21)],
    )
    helper.set_model_props(model, {SETTINGS: settings})
    data: bytes = model.SerializeToString()
    return data


# How words are read


def test_the_encoder_reads_a_token_a_character_and_one_a_pause() -> None:
    units = [read_word(word) for word in split_words("我，用 Redis 在 2024？")]
    names = [BEGIN, END, "<other>", "<digits>", "<latin>", *MARKS.values(), "我", "用"]
    columns = np.arange(1, len(units) + 1)[:, None] * np.ones((1, len(FEATURE_SIZES)), np.int64)
    ids, spread, places = tokens(
        units, columns.astype(np.int64), {n: i for i, n in enumerate(names)}
    )
    assert [names[row] for row in ids] == [
        BEGIN, "我", ",", "用", "<latin>", "<other>", "<digits>", "?", END,
    ]  # fmt: skip
    assert places.tolist() == [1, 3, 4, 5, 6]
    assert spread[:, 0].tolist() == [0, 1, 0, 2, 3, 4, 5, 0, 0]


def test_long_utterances_are_cut_at_a_pause_where_there_is_one() -> None:
    words = ["我"] * 400
    words[149] = "我，"
    words[50] = "我。"  # too early
    cuts = stretches([read_word(word) for word in words])
    assert cuts == [(0, 150), (150, 310), (310, 400)]
    assert stretches([]) == [(0, 0)]


def test_words_beside_one_that_surely_goes_go_more_easily() -> None:
    gone = np.array([0.5, 0.9, 0.5, 0.3, 0.5, 0.9], np.float32)
    rows = np.stack([1 - gone, gone * 0.4, gone * 0.6], axis=1)
    assert decide(rows, 0.8, 0.4) == [2, 2, 2, 0, 2, 2]
    assert decide(rows, 0.8, 1.0) == [0, 2, 0, 0, 0, 2]
    assert decide(rows[2:5], 0.8, 0.4) == [0, 0, 0]
    assert decide(rows[:0], 0.8, 0.4) == []


def test_two_opinions_are_weighed() -> None:
    one = np.array([[0.9, 0.05, 0.05], [1.0, 0.0, 0.0]], np.float32)
    other = np.array([[0.1, 0.85, 0.05], [0.0, 1.0, 0.0]], np.float32)
    assert agree(one, other, 0.0) == pytest.approx(one, abs=1e-6)
    assert agree(one, other, 1.0) == pytest.approx(other, abs=1e-6)
    both = agree(one, other, 0.5)
    assert both.sum(axis=1) == pytest.approx([1, 1])
    assert both[0, 0] == pytest.approx(0.3 / (0.3 + 0.0425**0.5 + 0.05), abs=1e-4)
    assert both[1].tolist() == pytest.approx([0.5, 0.5, 0], abs=1e-3)


def test_words_are_read_without_case_and_punctuation() -> None:
    assert read_word("Hello,")[:3] == ("hello", Mark.COMMA, Case.CAPITAL)
    assert read_word("con-")[:3] == ("con", Mark.BREAK, Case.BROKEN)
    assert read_word("wait...")[:3] == ("wait", Mark.BREAK, Case.PLAIN)
    assert read_word("(“Don’t")[:3] == ("don't", Mark.NONE, Case.CAPITAL)
    assert read_word("2019-20?")[:3] == ("2019-20", Mark.QUESTION, Case.DIGITS)
    assert read_word("好，")[:3] == ("好", Mark.COMMA, Case.PLAIN)
    assert read_word("…")[:3] == ("…", Mark.BREAK, Case.PLAIN)


def test_what_is_said_again_is_seen_from_both_sides() -> None:
    keys = np.array([1, 2, 3, 1, 2, 4, 4])
    found = repetitions(keys, np.zeros(7, dtype=np.bool_))
    assert found[:, 0].tolist() == [2, 2, 0, 0, 0, 1, 0]  # words said again ahead
    assert found[:, 1].tolist() == [3, 3, 0, 0, 0, 1, 0]  # how far
    assert found[:, 3].tolist() == [0, 0, 0, 3, 3, 0, 1]
    assert found[:, 4].tolist() == [0, 0, 0, 0, 0, 1, 0]  # at once
    assert found[:, 5].tolist() == [3, 3, 3, 0, 0, 1, 0]  # up to the second time
    assert (found.max(axis=0) < np.array(repetition_sizes())).all()


def test_sounds_between_do_not_hide_what_is_said_again() -> None:
    keys = np.array([1, 9, 1])
    found = repetitions(keys, np.array([False, True, False]))
    half = len(repetition_sizes()) // 2
    assert found[0, 1] == 2
    assert found[0, half + 1] == 1
    assert not found[1, half:].any()
