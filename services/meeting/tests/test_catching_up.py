"""What somebody missed, and answers to questions about a meeting."""

import asyncio
import re

import pytest

from atrium_meeting.app.analyse_meeting import AnalyseMeeting
from atrium_meeting.app.ask_meeting import Answer, AskMeeting, Outcome, Told
from atrium_meeting.app.catch_up import CatchUp, missed_stretches
from atrium_meeting.app.write_modes import WriteMode
from atrium_meeting.app.write_sentences import WriteSentences
from atrium_meeting.domain.errors import (
    LanguageNeedsGenerator,
    MeetingHasNoTranscript,
    NothingMissed,
    QuestionTooLong,
    SpeakerNotFound,
)
from atrium_meeting.domain.minutes import Stretch
from atrium_meeting.testing_minutes import OneMeeting, ScriptedWriter, talk
from atrium_shared.audit import MemoryAuditSink
from atrium_shared.audit_trail import AuditTrail
from atrium_shared.engines import EngineKind
from atrium_shared.testing import make_principal
from atrium_shared.testing_models import NoEmbedder, NoGenerator, NoModel

LIN = make_principal()
MEETING = talk(
    ("Anna", "Good morning, we begin with the colour of the walls in the hall."),
    ("Ben", "Then it's settled, the walls of the hall become yellow."),
    ("Lena", "Agreed."),
    ("Anna", "Next is the summer party, the band costs nine hundred euros."),
    ("Lena", "I think the band is too loud, and I would rather hire a singer."),
    ("Anna", "Then we decided, the party takes place in the garden on the sixth of June."),
    ("Lena", "Fine, agreed."),
    ("Ben", "I'll order the tables for the party by Friday."),
    ("Lena", "And I'll ask the singer for her price tomorrow."),
    ("Anna", "Last, the printer in the office is broken again."),
    ("Ben", "Then it's settled, we buy a new printer."),
    ("Lena", "Agreed."),
)
AT = [one.start_ms for one in MEETING.transcript.utterances]


def catching_up(generator=None, seconds=4.0) -> CatchUp:
    return CatchUp(
        OneMeeting(MEETING),
        AnalyseMeeting(),
        WriteSentences(generator or NoGenerator()),
        AuditTrail(MemoryAuditSink(), "meeting"),
        seconds=seconds,
    )


def asking(generator=None) -> AskMeeting:
    return AskMeeting(
        OneMeeting(MEETING),
        AnalyseMeeting(),
        NoEmbedder(),
        generator or NoGenerator(),
        AuditTrail(MemoryAuditSink(), "meeting"),
    )


async def ask(question: str, generator=None, **more) -> tuple[list[str], Answer]:
    events = [one async for one in asking(generator)(LIN, "meetings/m1", question, **more)]
    assert isinstance(events[-1], Answer)
    told = [one.sentence.text for one in events[:-1] if isinstance(one, Told)]
    assert told == [one.text for one in events[-1].sentences]
    return told, events[-1]


async def test_who_left_in_between_is_told_of_that_time_alone():
    found = await catching_up()(LIN, "meetings/m1", left_at_ms=AT[3] - 10, joined_at_ms=AT[9] - 10)
    assert [one.sentence.text for one in found.decisions] == [
        "Then we decided, the party takes place in the garden on the sixth of June."
    ]
    cited = {
        span.utterance
        for one in (*found.sentences, *(action.sentence for action in found.actions))
        for span in one.spans
    }
    assert cited <= {"u4", "u5", "u6", "u7", "u8", "u9"}
    assert found.stretches == (Stretch(AT[3] - 10, AT[9] - 10),)
    assert found.engine.kind is EngineKind.EXTRACTIVE
    assert found.engine.degraded


async def test_what_the_caller_is_to_do_comes_first():
    found = await catching_up()(
        LIN, "meetings/m1", left_at_ms=AT[3] - 10, joined_at_ms=AT[9] - 10, speaker="S3"
    )
    assert [one.owner_name for one in found.actions] == ["Lena", "Ben"]


async def test_who_came_late_missed_the_beginning_and_who_left_early_the_end():
    late = await catching_up()(LIN, "meetings/m1", joined_at_ms=AT[3], left_at_ms=None)
    early = await catching_up()(LIN, "meetings/m1", joined_at_ms=None, left_at_ms=AT[9])
    assert ["yellow" in one.sentence.text for one in late.decisions] == [True]
    assert ["printer" in one.sentence.text for one in early.decisions] == [True]
    assert early.stretches == (Stretch(AT[9], MEETING.known_until_ms),)


def test_stretches_end_where_the_meeting_is_known_to():
    assert missed_stretches(500, None, 300) == (Stretch(0, 300),)
    assert missed_stretches(100, 200, 300) == (Stretch(0, 100), Stretch(200, 300))
    assert missed_stretches(200, 100, 300) == (Stretch(100, 200),)


@pytest.mark.parametrize(("joined", "left"), [(None, None), (0, None), (None, 300), (100, 100)])
def test_who_was_there_missed_nothing(joined, left):
    if (joined, left) == (100, 100):
        assert missed_stretches(joined, left, 300) == (Stretch(0, 100), Stretch(100, 300))
        return
    with pytest.raises(NothingMissed) as caught:
        missed_stretches(joined, left, 300)
    assert caught.value.reason == "NOTHING_MISSED"


async def test_a_model_that_is_too_slow_does_not_keep_anybody_waiting():
    class Slow(ScriptedWriter):
        async def generate(self, *args, **more):
            await asyncio.sleep(30)
            return await super().generate(*args, **more)

    slow = Slow(lambda *_: [])
    found = await catching_up(slow, 0.05)(LIN, "meetings/m1", joined_at_ms=AT[3], left_at_ms=None)
    assert found.engine.degraded
    assert found.sentences


async def test_catching_up_in_another_language_needs_a_model():
    with pytest.raises(LanguageNeedsGenerator):
        await catching_up()(LIN, "meetings/m1", joined_at_ms=AT[3], left_at_ms=None, language="zh")


async def test_who_nobody_knows_cannot_catch_up():
    with pytest.raises(SpeakerNotFound) as caught:
        await catching_up()(LIN, "meetings/m1", joined_at_ms=AT[3], left_at_ms=None, speaker="S9")
    assert "S1 (Anna), S2 (Ben), S3 (Lena)" in caught.value.message


async def test_when_somebody_was_there_is_told_as_people_read_a_time():
    with pytest.raises(NothingMissed) as caught:
        await catching_up()(LIN, "meetings/m1", joined_at_ms=None, left_at_ms=None)
    assert re.search(r"up to \d+:\d\d\.", caught.value.message)


@pytest.mark.parametrize(
    ("state", "failure", "expected"),
    [
        ("ready", "", "silent"),
        ("failed", "The file holds no sound.", "The file holds no sound. Upload"),
        ("transcribing", "", "Wait until that is done"),
        ("empty", "", "Upload a recording or import"),
    ],
)
def test_a_meeting_without_words_says_why(state, failure, expected):
    message = MeetingHasNoTranscript("meetings/m1", state, failure).message
    assert expected in message
    assert ("Wait" in message) is (state == "transcribing")


async def test_a_question_is_answered_in_the_words_of_the_meeting():
    told, answer = await ask("How much does the band cost?", mode=WriteMode.EXTRACTIVE)
    assert answer.outcome is Outcome.ANSWERED
    assert "the band costs nine hundred euros" in told[0]
    assert answer.sentences[0].spans[0].utterance == "u4"


async def test_a_question_may_be_in_another_language_than_the_meeting():
    told, answer = await ask("乐队要花多少钱？", mode=WriteMode.EXTRACTIVE)
    assert answer.outcome is Outcome.ANSWERED
    assert any("nine hundred" in text for text in told)


async def test_what_somebody_said_is_answered_from_their_words_alone():
    _, answer = await ask("What did Lena say about the band?", mode=WriteMode.EXTRACTIVE)
    assert {one.speaker for one in answer.sentences} == {"S3"}
    assert "too loud" in answer.sentences[0].text


async def test_a_question_for_a_task_finds_who_does_it_and_when():
    told, _ = await ask("Who orders the tables?", mode=WriteMode.EXTRACTIVE)
    assert told == ["I'll order the tables for the party by Friday."]
    told, _ = await ask("What does Lena have to do?", mode=WriteMode.EXTRACTIVE)
    assert told == ["And I'll ask the singer for her price tomorrow."]


async def test_a_question_for_decisions_lists_them():
    told, _ = await ask("What was decided?", mode=WriteMode.EXTRACTIVE)
    assert len(told) == 3


@pytest.mark.parametrize(
    "question",
    ["Which airline flies to Peru?", "How much does the roof cost?", "谁买飞机票？", "?"],
)
async def test_what_nobody_spoke_of_is_not_found(question):
    told, answer = await ask(question)
    assert (told, answer.outcome) == ([], Outcome.NOT_FOUND)


PLACES = talk(
    ("Anna", "Good morning. Today we talk about the move to the new office."),
    ("Ben", "When do they move? The finance team, I mean."),
    ("Anna", "They move on the third of May. The movers come at eight."),
    ("Lena", "How much does Northgate cost?"),
    ("Ben", "Four thousand two hundred euros a month. Southside is cheaper, but it is far away."),
    ("Anna", "Does Northgate have parking?"),
    ("Lena", "Yes, ten places."),
    ("Ben", "Northgate would be nice for the designers, they like the light there."),
    ("Anna", "And the chairs, how much do they cost?"),
    ("Ben", "The chairs are lovely."),
    ("Lena", "Do we need a new printer?"),
)
PLACES_ZH = talk(
    ("王芳", "大家好，今天讨论搬家和供应商。"),
    ("李明", "财务部什么时候搬？"),
    ("王芳", "五月三号搬。搬家公司八点来。"),
    ("陈静", "北门大厦一个月多少钱？"),
    ("李明", "一个月四万二。南边便宜一些，但是太远了。"),
    ("王芳", "北门大厦的采光很好，设计师会喜欢。"),
    ("陈静", "我们需要新的打印机吗？"),
)


@pytest.mark.parametrize(
    ("meeting", "question", "expected"),
    [
        (PLACES, "When do they move?", ["They move on the third of May."]),
        (PLACES, "When does the finance team move?", ["They move on the third of May."]),
        (PLACES, "How much does Northgate cost?", ["Four thousand two hundred euros"]),
        (PLACES, "Does Northgate have parking?", ["Yes, ten places."]),
        (PLACES, "How much do the chairs cost?", ["The chairs are lovely."]),
        (PLACES, "Do we need a new printer?", []),
        (PLACES_ZH, "财务部什么时候搬？", ["五月三号搬。"]),
        (PLACES_ZH, "北门大厦一个月多少钱？", ["一个月四万二。"]),
        (PLACES_ZH, "我们需要新的打印机吗？", []),
    ],
)
async def test_a_question_is_no_answer_and_what_is_said_to_it_is(meeting, question, expected):
    audit = AuditTrail(MemoryAuditSink(), "meeting")
    ask = AskMeeting(OneMeeting(meeting), AnalyseMeeting(), NoEmbedder(), NoGenerator(), audit)
    told = [one async for one in ask(LIN, "meetings/m1", question)]
    texts = [one.sentence.text for one in told if isinstance(one, Told)]
    assert len(texts) == len(expected)
    assert all(text.startswith(begin) for text, begin in zip(texts, expected, strict=True))


async def test_what_somebody_asked_may_be_asked_for():
    audit = AuditTrail(MemoryAuditSink(), "meeting")
    ask = AskMeeting(OneMeeting(PLACES), AnalyseMeeting(), NoEmbedder(), NoGenerator(), audit)
    told = [one async for one in ask(LIN, "meetings/m1", "What did Lena ask about Northgate?")]
    texts = [one.sentence.text for one in told if isinstance(one, Told)]
    assert "How much does Northgate cost?" in texts


async def test_a_model_reads_an_answer_with_its_question():
    def reply(task, shown, messages):
        texts = [line.text for line in shown]
        assert texts.index("Does Northgate have parking?") + 1 == texts.index("Yes, ten places.")
        return []

    audit = AuditTrail(MemoryAuditSink(), "meeting")
    writer = ScriptedWriter(reply)
    ask = AskMeeting(OneMeeting(PLACES), AnalyseMeeting(), NoEmbedder(), writer, audit)
    assert [one async for one in ask(LIN, "meetings/m1", "Does Northgate have parking?")]


async def test_a_written_answer_is_checked_sentence_by_sentence():
    def reply(task, shown, messages):
        number = next(line.number for line in shown if "nine hundred" in line.text)
        return [
            ("The band costs nine hundred euros.", [number]),
            ("The band costs eight hundred euros.", [number]),
        ]

    told, answer = await ask("How much does the band cost?", ScriptedWriter(reply))
    assert told == ["The band costs nine hundred euros."]
    assert answer.engine.kind is EngineKind.GENERATIVE
    assert answer.usage.prompt_tokens == 100


async def test_where_nothing_written_holds_the_words_as_said_answer():
    def reply(task, shown, messages):
        return [("The band costs eight hundred euros.", [line.number]) for line in shown]

    told, answer = await ask("How much does the band cost?", ScriptedWriter(reply))
    assert "nine hundred" in told[0]
    assert (answer.engine.kind, answer.engine.degraded) == (EngineKind.EXTRACTIVE, True)


async def test_a_generated_answer_needs_a_model():
    with pytest.raises(NoModel):
        await ask("How much does the band cost?", mode=WriteMode.GENERATIVE)


async def test_a_question_has_a_limit():
    with pytest.raises(QuestionTooLong) as caught:
        await ask("why " * 1001)
    assert caught.value.reason == "QUESTION_TOO_LONG"
