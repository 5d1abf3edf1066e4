import pytest

from atrium_meeting.domain.speaker_names import still_suggested, suggest_names
from atrium_meeting.domain.transcript import Speaker, Transcript, Utterance, Word, split_words


def talk(*lines: str, names: dict[str, str] | None = None) -> Transcript:
    """A transcript of lines such as "1 Hello."; a second between two of them."""
    utterances = []
    for number, line in enumerate(lines):
        speaker, text = line.split(" ", 1)
        start = 4_000 * number
        words = split_words(text)
        step = 3_000 // len(words)
        utterances.append(
            Utterance(
                f"u{number + 1}",
                f"S{speaker}",
                "zh" if any(c > "\u4e00" for c in text) else "en",
                tuple(
                    Word(word, start + place * step, start + (place + 1) * step)
                    for place, word in enumerate(words)
                ),
            )
        )
    speakers = dict.fromkeys(one.speaker for one in utterances)
    known = names or {}
    return Transcript(
        1, tuple(Speaker(id_, known.get(id_, "")) for id_ in speakers), tuple(utterances)
    )


def suggested(*lines: str, names: dict[str, str] | None = None) -> dict[str, str]:
    found = suggest_names(talk(*lines, names=names)).speakers
    return {one.id: one.suggested_name for one in found if one.suggested_name}


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("Hello everyone, I'm Maria, I look after the park.", "Maria"),
        ("Good morning. My name is Maria Lopez.", "Maria Lopez"),
        ("Hi, this is Maria speaking.", "Maria"),
        ("Hello, this is Maria from personnel.", "Maria"),
        ("Hello, Maria here, can you hear me?", "Maria"),
        ("大家好，我是王芳，今天我来主持。", "王芳"),
        ("我叫李雷。", "李雷"),
        ("大家好我是王芳，负责预算。", "王芳"),
    ],
)
def test_who_introduces_themselves_is_suggested_by_that_name(line, name):
    assert suggested(f"1 {line}", "2 Okay.") == {"S1": name}


@pytest.mark.parametrize(
    "line",
    [
        "And this is Maria, she is from personnel.",
        "Welcome back. You've met Ben, and this is Maria from the platform team.",
        "He said I'm Maria.",
        "I'm Maria's assistant.",
        "I'm Canadian and he is not.",
        "I'm not Maria.",
        "If I'm Maria, what do I do?",
        "I'm Sorry.",
        "Maria here said that we have a plan.",
        "Maria from marketing said that.",
        "Check here.",
        "Technically speaking, it does the job.",
        "我是顾问，不是会计。",
        "我是张部长。",
        "我是王师傅。",
        "我是党员。",
        "我是王芳的同事。",
        "我是同意的。",
        "她说她是王芳。",
        "谢谢，谢谢大家。",
    ],
)
def test_other_words_about_oneself_suggest_nothing(line):
    assert suggested(f"1 {line}", "2 Okay.", f"1 {line}") == {}


def test_two_addresses_that_are_answered_suggest_a_name():
    assert suggested(
        "1 Good morning. And Tom, can you tell us about the budget?",
        "2 Yes, it is done.",
        "3 It took long.",
        "1 What do you think, Tom?",
        "2 I think so too.",
    ) == {"S2": "Tom"}
    assert suggested(
        "1 第一项，预算。李雷，你说一下好吗？",
        "2 已经做完了。",
        "1 谢谢李雷。那么下一项。",
        "3 下一项是搬家。",
    ) == {"S2": "李雷"}


def test_who_is_thanked_has_just_spoken():
    assert suggested(
        "2 The offer came yesterday.",
        "1 Thanks, Tom. What else?",
        "2 Nothing else.",
        "1 Thank you, Tom.",
        "3 Shall we go on?",
    ) == {"S2": "Tom"}


def test_an_office_is_no_name():
    assert (
        suggested(
            "1 Good morning. Thank you, Chair. Can we begin, Chair?",
            "2 Yes.",
            "1 Is this the last item, Chair?",
            "2 It is.",
        )
        == {}
    )


def test_one_address_is_not_enough():
    assert suggested("1 And Tom, can you tell us?", "2 Yes.", "1 Good.") == {}


def test_who_is_only_spoken_of_is_nobody():
    assert (
        suggested(
            "1 I met Tom yesterday.",
            "2 Yes.",
            "1 I like Tom.",
            "2 Yes.",
            "1 Ask Tom about it.",
            "2 Yes.",
        )
        == {}
    )


def test_what_contradicts_leaves_no_suggestion():
    asked_twice = ("1 And Tom, can you tell us?", "2 Yes.", "1 What do you think, Tom?", "2 Fine.")

    assert suggested(*asked_twice) == {"S2": "Tom"}
    # Somebody else answers to the name.
    assert suggested(*asked_twice, "1 Is it done, Tom?", "3 It is.") == {}
    # They are called by another name.
    assert suggested(*asked_twice, "1 Thanks, Anna. And Anna, anything else?", "2 No.") == {}
    # They speak of Tom themselves.
    assert suggested(*asked_twice, "2 But I will ask Tom again.") == {}
    # Two introduce themselves by one name.
    assert suggested("1 I'm Tom.", "2 Hello, I'm Tom.") == {}


def test_an_answer_that_comes_late_says_nothing():
    lines = ["1 And Tom, can you tell us?", "2 Yes.", "1 What do you think, Tom?", "2 Fine."]
    quiet = talk(*lines)
    late = Transcript(
        1,
        quiet.speakers,
        tuple(
            Utterance(u.id, u.speaker, u.language, tuple(w.moved(20_000 * n) for w in u.words))
            for n, u in enumerate(quiet.utterances)
        ),
    )

    assert not any(one.suggested_name for one in suggest_names(late).speakers)


def test_a_name_that_people_gave_stands():
    introduced = ("1 Hello, I'm Tom.", "2 Hello, I'm Anna.")

    assert suggested(*introduced, names={"S1": "Thomas"}) == {"S2": "Anna"}
    assert suggested(*introduced, names={"S2": "Tom"}) == {}
    assert suggest_names(talk(*introduced, names={"S1": "A", "S2": "B"})).speakers == (
        Speaker("S1", "A"),
        Speaker("S2", "B"),
    )


def test_a_suggestion_ends_where_people_name_that_speaker_or_give_the_name_to_another():
    speakers = (Speaker("S1", "", "Tom"), Speaker("S2", "", "Anna"), Speaker("S3"))

    assert still_suggested(speakers) == speakers
    assert still_suggested((Speaker("S1", "Thomas", "Tom"), *speakers[1:])) == (
        Speaker("S1", "Thomas"),
        *speakers[1:],
    )
    assert still_suggested((*speakers[:2], Speaker("S3", "tom"))) == (
        Speaker("S1"),
        speakers[1],
        Speaker("S3", "tom"),
    )
    twice = (Speaker("S1", "", "Tom"), Speaker("S2", "", "Tom"))
    assert still_suggested(twice) == (Speaker("S1"), Speaker("S2"))
