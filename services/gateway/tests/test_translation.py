"""Translations: their language, what must be found in them, and what is said when it is not."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from atrium.engine.v1 import engine_pb2
from atrium.gateway.v1 import gateway_pb2
from atrium_gateway.domain.errors import UpstreamFailed
from atrium_gateway.domain.generation import Prompt
from atrium_gateway.domain.translation import LONGEST_PIECE, clean, not_kept, pieces
from atrium_gateway.testing import ServedGateway, refusal, serve_gateway

Term = gateway_pb2.TranslateRequest.Term


def ask(*texts: str, target: str = "en", **more: Any) -> gateway_pb2.TranslateRequest:
    return gateway_pb2.TranslateRequest(
        task="translate.zh-en", texts=texts, target_language=target, **more
    )


def reply_by_text(
    served: ServedGateway, monkeypatch: pytest.MonkeyPatch, reply: Callable[[str], str | None]
) -> None:
    """Let the model reply to each text by itself: texts of one call may reach it in any order.

    Where ``reply`` gives None, the model says what it says to everybody.
    """
    stream = served.scripted.stream

    async def stream_reply(prompt: Prompt) -> AsyncGenerator[Any, None]:
        said = reply(prompt.messages[-1].content)
        if said is not None:
            served.scripted.enqueue(said)
        async with aclosing(stream(prompt)) as parts:
            async for part in parts:
                yield part

    monkeypatch.setattr(served.scripted, "stream", stream_reply)


# Bad input


@pytest.mark.parametrize(
    ("more", "reason", "field"),
    [
        ({"target": "fr"}, "LANGUAGE_UNSUPPORTED", "target_language"),
        ({"source_language": "ja"}, "LANGUAGE_UNSUPPORTED", "source_language"),
        (
            {"terms": [Term(source="年假", target="leave"), Term(source="年假", target="rest")]},
            "TERM_REPEATED",
            "terms[1].source",
        ),
    ],
)
async def test_what_cannot_be_translated_is_refused(
    served: ServedGateway, more: dict[str, Any], reason: str, field: str
) -> None:
    error = await refusal(served.models.Translate(ask("你好", **more)))
    assert error.reason == reason
    assert not served.scripted.prompts


async def test_without_a_generator_the_call_says_so(tmp_path: Path) -> None:
    async with serve_gateway(tmp_path, with_scripted=False) as served:
        error = await refusal(served.models.Translate(ask("今天下午开会")))
        assert error.reason == "TASK_HAS_NO_MODEL"


async def test_a_failing_server_fails_the_call(served: ServedGateway) -> None:
    served.scripted.enqueue(*[UpstreamFailed("models/scripted", "gone")] * 3)
    error = await refusal(served.models.Translate(ask("今天下午开会", "明天放假", "后天上班")))
    assert error.reason == "UPSTREAM_FAILED"


async def test_a_text_that_the_model_cannot_take_fails_alone(
    served: ServedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    short, long = "今天下午开会。", "会" * 20_000
    known = {short: "The meeting is this afternoon."}
    reply_by_text(served, monkeypatch, known.get)
    reply = await served.models.Translate(ask(short, long))
    assert reply.translations[0].text == "The meeting is this afternoon."
    assert reply.translations[1].failure
    assert not reply.translations[1].text


# Languages


@pytest.mark.parametrize(
    ("text", "target", "said", "shown", "source"),
    [
        ("今天下午开会。", "en", "We meet this afternoon.", "We meet this afternoon.", "zh"),
        ("今天下午開會。", "en", "We meet this afternoon.", "We meet this afternoon.", "zh-Hant"),
        ("We meet on Monday.", "zh", "我们周一开会。", "我们周一开会。", "en"),
        ("We meet on Monday.", "zh-CN", "我們週一開會。", "我们周一开会。", "en"),
        ("We meet on Monday.", "zh-Hant", "我们周一开会。", "我們週一開會。", "en"),
        ("We meet on Monday.", "zh-TW", '"我们周一开会。"', "我們週一開會。", "en"),
    ],
)
async def test_a_text_comes_in_the_language_and_script_wanted(
    served: ServedGateway, text: str, target: str, said: str, shown: str, source: str
) -> None:
    served.scripted.enqueue(said)
    reply = await served.models.Translate(ask(text, target=target))
    assert (reply.translations[0].text, reply.translations[0].source_language) == (shown, source)
    assert reply.engine.model == "scripted"
    assert reply.usage.completion_tokens > 0


@pytest.mark.parametrize(
    ("text", "target", "shown"),
    [
        ("We meet on Monday.", "en", "We meet on Monday."),
        ("我们周一开会", "zh", "我们周一开会"),
        ("我们周一开会", "zh-Hant", "我們週一開會"),
        ("https://example.com/a", "zh", "https://example.com/a"),
        ("2026-03-02 15:00 {name}", "zh", "2026-03-02 15:00 {name}"),
    ],
)
async def test_no_model_is_asked_for_what_needs_none(
    served: ServedGateway, text: str, target: str, shown: str
) -> None:
    reply = await served.models.Translate(ask(text, target=target))
    assert reply.translations[0].text == shown
    assert reply.engine.kind == engine_pb2.Engine.RULES
    assert not served.scripted.prompts


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("今天下午开会。", "repeated the text"),
        ("今天下午开会！", "repeated the text"),
        ("会议时间是今天下午", "did not answer in English"),
        ("", "nothing"),
    ],
)
async def test_an_echo_or_the_wrong_language_is_a_failure(
    served: ServedGateway, said: str, why: str
) -> None:
    served.scripted.enqueue(said, said)
    reply = await served.models.Translate(ask("今天下午开会。"))
    assert why in reply.translations[0].failure
    assert not reply.translations[0].text
    assert len(served.scripted.prompts) == 2


# What must be found


TEXT = "请 {name} 在 2026 年 3 月 2 日前把 3 万元汇到 pay@example.com，详见 https://example.com/a?b=1。"
GOOD = (
    "{name} should transfer 30,000 yuan to pay@example.com by 2 March 2026, "
    "see https://example.com/a?b=1."
)


async def test_a_translation_that_lacks_something_is_mended_once(served: ServedGateway) -> None:
    served.scripted.enqueue("Please transfer 3 yuan to us by 2 March 2026.", GOOD)
    reply = await served.models.Translate(ask(TEXT))
    assert reply.translations[0].text == GOOD
    assert not reply.translations[0].missing
    told = served.scripted.prompts[-1].messages[-1].content
    assert "{name}" in told
    assert "pay@example.com" in told


async def test_what_still_lacks_is_named_and_the_better_translation_kept(
    served: ServedGateway,
) -> None:
    served.scripted.enqueue(GOOD.replace("{name}", "He"), "Please pay.")
    reply = await served.models.Translate(ask(TEXT))
    assert list(reply.translations[0].missing) == ["{name}"]
    assert "pay@example.com" in reply.translations[0].text


async def test_fixed_words_are_told_to_the_model_and_looked_for(served: ServedGateway) -> None:
    terms = [Term(source="年假", target="annual leave"), Term(source="病假", target="sick leave")]
    served.scripted.enqueue("I take a holiday.", "I take Annual Leave.")
    reply = await served.models.Translate(ask("我休年假。", terms=terms))
    assert reply.translations[0].text == "I take Annual Leave."
    assert "年假 = annual leave" in served.scripted.prompts[0].messages[0].content
    assert "病假" not in served.scripted.prompts[0].messages[0].content


@pytest.mark.parametrize(
    ("piece", "translation", "lacking"),
    [
        ("付 3 万元", "pay 30,000 yuan", ()),
        ("付 3 万元", "pay 3 yuan", ("3 万元",)),
        ("15 个工作日", "fifteen working days", ()),
        ("下午 3:30 开会", "we meet at 3:30 pm", ()),
        ("涨了 3.5%", "it rose by 3.5 per cent", ()),
        ("涨了 3.5%", "it rose by 35 %", ("3.5%",)),
        ("{a} {a}", "{a}", ("{a}",)),
        ("<b>重要</b>", "<b>important</b>", ()),
        ("%s 张 %(n)d", "sheet %s", ("%(n)d",)),
        ("访问 https://a.cn/x。谢谢", "visit https://a.cn/x. Thanks", ()),
    ],
)
def test_what_must_be_kept_is_looked_for_in_either_form(
    piece: str, translation: str, lacking: tuple[str, ...]
) -> None:
    assert not_kept(piece, translation, ()) == lacking


# Long texts, many texts


async def test_many_texts_come_in_their_order(
    served: ServedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def say(text: str) -> str:
        number = re.findall(r"\d+", text)[0]
        return f"我们在第 {number} 会议室开会。"

    reply_by_text(served, monkeypatch, say)
    texts = [f"We meet in room {number}." for number in range(12)]
    reply = await served.models.Translate(ask(*texts, target="zh"))
    assert [each.text for each in reply.translations] == [
        f"我们在第 {number} 会议室开会。" for number in range(12)
    ]


async def test_paragraphs_are_translated_alone_and_keep_their_gaps(served: ServedGateway) -> None:
    served.scripted.enqueue("第一。", "第二。")
    reply = await served.models.Translate(ask("  First.\n\n\nSecond.\n", target="zh"))
    assert reply.translations[0].text == "  第一。\n\n\n第二。\n"


@pytest.mark.parametrize(
    "text",
    ["", "  ", "One.", " One. Two.\n\nThree. ", "A sentence. " * 500, "无" * 5_000, "x\n\n" * 40],
)
def test_pieces_are_the_text_and_none_is_too_long(text: str) -> None:
    found = pieces(text)
    assert "".join(found) == text
    assert all(len(piece) <= LONGEST_PIECE for piece in found if not piece.isspace())


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        ("Translation: Hello.", "Hello."),
        ("译文：你好。", "你好。"),
        ('"Hello."', "Hello."),
        ('"A" and "B"', '"A" and "B"'),
        ("<text>Hi</text>", "Hi"),
        ('"', '"'),
    ],
)
def test_what_a_model_puts_around_a_translation_is_taken_off(reply: str, text: str) -> None:
    assert clean(reply) == text
