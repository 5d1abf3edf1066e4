"""Scripts."""

from __future__ import annotations

import pytest

from atrium_grounding.scripts import Script, in_script, script_of


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("How much leave do I have?", Script.EN),
        ("我们有多少天年假？", Script.ZH),
        ("我們有多少天年假？", Script.ZH_HANT),
        ("年假", Script.ZH),  # the same in both
        ("P5 的 bonus 是多少", Script.ZH),
        ("", Script.EN),
    ],
)
def test_the_script_of_a_text_is_told_by_its_characters(text: str, script: Script) -> None:
    assert script_of(text) is script


def test_a_text_is_put_into_the_other_script() -> None:
    assert (
        in_script("我们的会议后天开，干杯！ OK 3", Script.ZH_HANT)
        == "我們的會議後天開，乾杯！ OK 3"
    )
    assert in_script("我們的會議後天開", Script.ZH) == "我们的会议后天开"
    assert in_script("our meeting", Script.EN) == "our meeting"
