import pytest

from atrium_meeting.domain.analysis.people import People


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("王总负责跟进", ["王总"]),
        ("让李工下周给方案", ["李工"]),
        ("请张老师看一下", ["张老师"]),
        ("小王来做", ["小王"]),
        ("工会总部开会", []),
        ("高工作效率", []),
        ("方总体来说还可以", []),
        ("任总结一下", []),
    ],
)
def test_a_surname_before_a_title_names_somebody(text: str, names: list[str]):
    found = People([]).mentions(text)
    assert [text[mention.start : mention.end] for mention in found] == names
