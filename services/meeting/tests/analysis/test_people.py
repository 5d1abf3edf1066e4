import pytest

from atrium_meeting.domain.analysis.people import People
from atrium_meeting.domain.faithfulness import people as people_of_minutes
from atrium_meeting.domain.titles import TITLES_ZH
from atrium_meeting.domain.transcript import Speaker


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("王总负责跟进", ["王总"]),
        ("让李工下周给方案", ["李工"]),
        ("请张老师看一下", ["张老师"]),
        ("小王来做", ["小王"]),
        ("对于女士们要礼貌", []),
        ("由于主管部门反对", []),
        ("工会总部开会", []),
        ("高工作效率", []),
        ("方总体来说还可以", []),
        ("任总结一下", []),
    ],
)
def test_a_surname_before_a_title_names_somebody(text: str, names: list[str]):
    found = People([]).mentions(text)
    assert [text[mention.start : mention.end] for mention in found] == names


@pytest.mark.parametrize("title", TITLES_ZH)
def test_a_speaker_is_meant_by_surname_and_title_wherever_minutes_ask_for_people(title: str):
    text = f"请王{title}来做"
    [mention] = People([Speaker("S1", "王建国"), Speaker("S2", "李娜")]).mentions(text)
    assert (text[mention.start : mention.end], mention.person.speaker) == (f"王{title}", "S1")
    [named] = people_of_minutes.People({"S1": "王建国", "S2": "李娜"}).find(text)
    assert (text[named.start : named.end], named.key) == (f"王{title}", "S1")


@pytest.mark.parametrize(
    ("speakers", "text", "name", "speaker"),
    [
        (("王建国", "王丽"), "王经理下周给方案", "王经理", ""),
        (("王建国", "王丽"), "建国下周给方案", "王建国", "S1"),
        (("王建国", "王丽"), "王丽下周给方案", "王丽", "S2"),
        (("Anna Weber", "Anna Koch"), "and Anna will ring them", "Anna", ""),
        (("Anna Weber", "Anna Koch"), "and Anna Koch will ring them", "Anna Koch", "S2"),
        (("Anna", "Anna Koch"), "and Anna will ring them", "Anna", "S1"),
    ],
)
def test_what_two_speakers_may_be_called_names_neither(
    speakers: tuple[str, str], text: str, name: str, speaker: str
):
    people = People([Speaker(f"S{i}", name) for i, name in enumerate(speakers, 1)])
    [mention] = people.mentions(text)
    assert (mention.person.name, mention.person.speaker) == (name, speaker)
