"""Personal data is found however it is written, and put back however a model writes it."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atrium_gateway.domain.pii import Detector, Found, PiiKind, Redaction
from atrium_gateway.domain.pii.detect import without_overlaps

ID_CARD, CREDIT_CODE = "11010519491231002X", "91350100M000100Y43"
BANK_CARD, IBAN, MOBILE = "6222020200112230", "DE89370400440532013000", "13800138000"

DETECTOR = Detector()


def found_in(text: str) -> list[tuple[str, str]]:
    return [(each.kind.value, text[each.start : each.end]) for each in DETECTOR.find(text)]


def hidden(*texts: str) -> tuple[list[str], Redaction]:
    redaction = Redaction(texts)
    return [redaction.hide(text, DETECTOR.find(text)) for text in texts], redaction


def full_width(text: str) -> str:
    return "".join(chr(ord(each) + 0xFEE0) if each.isalnum() else each for each in text)


# What is found


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("ID_CARD", ID_CARD),
        ("ID_CARD", ID_CARD.lower()),
        ("ID_CARD", "531-21-7351"),
        ("CREDIT_CODE", CREDIT_CODE),
        ("CREDIT_CODE", CREDIT_CODE.lower()),
        ("BANK_CARD", BANK_CARD),
        ("BANK_CARD", "4111 1111 1111 1111"),
        ("BANK_CARD", "3782-822463-10005"),
        ("IBAN", IBAN),
        ("IBAN", "GB29 NWBK 6016 1331 9268 19"),
        ("PHONE", MOBILE),
        ("PHONE", "+86 138 0013 8000"),
        ("PHONE", "1 3 8 0 0 1 3 8 0 0 0"),
        ("PHONE", "一三八零零一三八零零零"),
        ("PHONE", "010-62345678-802"),
        ("PHONE", "(0755)26001234"),
        ("PHONE", "+1 415 555 0132"),
        ("PHONE", "986.291.2294x751"),
        ("PHONE", "0044 20 7946 0018"),
        ("EMAIL", "li.na+work@mail.example.com.cn"),
        ("EMAIL", "li.na (at) example (dot) com"),
        ("IP_ADDRESS", "192.168.10.254"),
        ("IP_ADDRESS", "2001:db8::8a2e:370:7334"),
        ("PASSPORT", "E12345678"),
        ("PLATE", "京A·12345"),
        ("PLATE", "粤B D12345"),
        ("PLATE", "沪AD12345"),
        ("PLATE", "浙A1234学"),
        ("ADDRESS", "浙江省杭州市西湖区文三路138号东方大厦3栋2单元501室"),
        ("ADDRESS", "1600 Pennsylvania Avenue NW, Washington, DC 20500"),
        ("ADDRESS", "221B Baker Street"),
    ],
)
def test_each_kind_is_found_in_chinese_and_english(kind: str, value: str) -> None:
    assert found_in(f"资料：{value}。") == [(kind, value)]
    assert found_in(f"It is {value}, they said.") == [(kind, value)]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("联系人：王小明，男", "王小明"),
        ("请欧阳娜娜老师确认", "欧阳娜娜"),
        ("我叫张伟的同事", "张伟"),
        ("参加者有李静、赵敏、欧阳锋", "李静"),
        ("Please ask Dr. Jane O'Neill about it", "Jane O'Neill"),
        ("My name is anna schmidt.", "anna schmidt"),
        ("Yesterday Laura K. Meier-Lang came", "Laura K. Meier-Lang"),
        ("Customer: Anna M. Schmidt, Berlin", "Anna M. Schmidt"),
    ],
)
def test_a_name_is_found_by_the_words_around_it(text: str, name: str) -> None:
    assert ("PERSON", name) in found_in(text)


def test_a_name_told_once_is_found_again() -> None:
    text = "联系人：王小明。会后王小明把材料带走。"
    assert found_in(text) == [("PERSON", "王小明"), ("PERSON", "王小明")]


@pytest.mark.parametrize("value", [ID_CARD, CREDIT_CODE, BANK_CARD, MOBILE])
@pytest.mark.parametrize(
    "spell",
    [
        full_width,
        lambda text: "\u200b".join(text),
        lambda text: "\u2060".join(text) + "\ufe0f",
        lambda text: f"{text[:3]} {text[3:7]} {text[7:]}",
        lambda text: f"{text[:6]}-{text[6:]}",
        lambda text: f"{text[:3]}－{text[3:7]}—{text[7:]}",
        lambda text: " ".join(text),
        lambda text: "".join(chr(0x1D7CE + int(each)) if each.isdigit() else each for each in text),
    ],
)
def test_no_spelling_hides_a_number(value: str, spell: object) -> None:
    spelled = spell(value)  # type: ignore[operator]
    text = f"号码是{spelled}，请保密"
    (only,) = DETECTOR.find(text)
    assert text[only.start : only.end].strip("\ufe0f") == spelled.strip("\ufe0f")


@pytest.mark.parametrize(
    "text",
    [
        "订单20260315123456789已完成",
        "2026-03-15 14:30:05 到 2026/04/01",
        "金额1,234,567.89元，合计6811829324元",
        "版本v1.2.3.4，固件 version 10.0.1.2",
        "快递SF1234567890123，书号978-7-111-12345-6",
        "依据GB 11643-1999与GB/T 19001-2016",
        "6222020200112231",  # Luhn does not hold
        "11010519491331002X",  # no such month
        "91350100M000100Y44",
        "DE89370400440532013001",
        "高兴，安全、方法、时间；严格执行",
        "周总结了一下，任何方案都可以",
        "std::vector<a::b> 12:30:45",
        "Order 300 974 04/01/2015, then 12 more",
        "各党组织和管委会的老师，全体经理，客户管理部",
        "Contact Locations and Customer Components",
        "See Section 2.3.3.4 and 第2.3.3.4条",
        "Dear all, please see chapter 12 of the road map.",
    ],
)
def test_what_only_looks_like_personal_data_stays(text: str) -> None:
    assert found_in(text) == []


def test_the_longest_of_what_overlaps_wins_and_nothing_of_the_others_is_left() -> None:
    inside, longest = Found(PiiKind.PHONE, 2, 13), Found(PiiKind.BANK_CARD, 0, 16)
    beside = Found(PiiKind.PERSON, 14, 18)
    assert without_overlaps([inside, beside, longest]) == [Found(PiiKind.BANK_CARD, 0, 18)]
    same = [Found(PiiKind.BANK_CARD, 0, 18), Found(PiiKind.ID_CARD, 0, 18)]
    assert without_overlaps(same) == [Found(PiiKind.ID_CARD, 0, 18)]


def test_what_lies_across_two_parts_of_a_long_text_is_found() -> None:
    for before in range(1_980, 2_002):
        text = "字" * before + f" {ID_CARD} " + "字" * 3_000
        assert found_in(text) == [("ID_CARD", ID_CARD)]


@pytest.mark.parametrize(
    "piece",
    ["1", "1 ", "1-", "6", "1.", "A", "a@", "a.", "(0", "+1", "王", "路1号", "省", "1:", "DE89"],
)
def test_no_text_takes_more_than_time_in_proportion(piece: str) -> None:
    # Backtracking would not come back from this.
    DETECTOR.find(piece * (40_000 // len(piece)))


# Placeholders


def test_the_same_value_has_the_same_placeholder_in_every_text() -> None:
    (first, second), redaction = hidden(
        f"电话{MOBILE}或15912345678", f"还是{MOBILE}，也就是138 0013 8000"
    )
    assert first == "电话⟦PHONE_1⟧或⟦PHONE_2⟧"
    assert second == "还是⟦PHONE_1⟧，也就是⟦PHONE_1⟧"
    assert redaction.restoration().values == 2


def test_what_looks_like_a_placeholder_in_the_input_is_left_alone() -> None:
    text = f"字面的⟦PHONE_1⟧和 phone 2 不是{MOBILE}"
    (sent,), redaction = hidden(text)
    assert sent == "字面的⟦PHONE_1⟧和 phone 2 不是⟦PHONE_3⟧"
    assert redaction.restoration().whole(sent) == text


@pytest.mark.parametrize(
    "written",
    [
        "⟦PHONE_1⟧",
        "⟦phone_1⟧",
        "⟦ PHONE_1 ⟧",
        "⟦PHONE 1⟧",
        "⟦Phone-1⟧",
        "⟦PHONE1⟧",
        "⟦PHONE_01⟧",
        "〚PHONE_1〛",
        "[[PHONE_1]]",
        "【PHONE_1】",
        "PHONE_1",
        "phone_1",
        "\\u27e6PHONE_1\\u27e7",
    ],
)
def test_a_placeholder_that_a_model_wrote_carelessly_is_undone(written: str) -> None:
    _, redaction = hidden(MOBILE)
    restoration = redaction.restoration()
    assert restoration.whole(f"请拨打{written}。") == f"请拨打{MOBILE}。"
    assert restoration.whole(f"[call {written}](tel)") == f"[call {MOBILE}](tel)"


@pytest.mark.parametrize(
    "text",
    ["⟦PHONE_2⟧", "⟦EMAIL_1⟧", "⟦NOTE_1⟧", "PHONE_12", "MY_PHONE_1", "phone 1", "⟦PHONE⟧", "⟦"],
)
def test_what_was_never_given_stays_as_it_is(text: str) -> None:
    _, redaction = hidden(MOBILE)
    assert redaction.restoration().whole(text) == text


def streamed(redaction: Redaction, pieces: list[str], *, in_json: bool = False) -> str:
    restorer = redaction.restoration().restorer(in_json=in_json)
    return "".join([*map(restorer.feed, pieces), restorer.end()])


def test_a_placeholder_is_undone_wherever_a_stream_is_cut() -> None:
    _, redaction = hidden(f"{MOBILE} 联系人：王小明 a@b.example.com")
    restoration = redaction.restoration()
    for text in (
        "打⟦PHONE_1⟧给⟦ person 1 ⟧, or ⟦EMAIL_1⟧.",
        "a[[PHONE_1]]b\\u27e6EMAIL_1\\u27e7c ⟦PHONE_1",
        "PHONE_1 PHONE_1x ⟦PHONE_10⟧ [1] {{x}} p pe per",
        "XPHONE_1 ⟦⟦PHONE_1⟧⟧",
    ):
        whole = restoration.whole(text)
        assert streamed(redaction, list(text)) == whole
        for cut in range(len(text) + 1):
            assert streamed(redaction, [text[:cut], text[cut:]]) == whole


def test_a_stream_holds_back_nothing_but_what_may_be_a_placeholder() -> None:
    _, redaction = hidden(MOBILE)
    restorer = redaction.restoration().restorer(in_json=False)
    assert restorer.feed("一共三项：") == "一共三项："
    assert restorer.feed("⟦PHO") == ""
    assert restorer.feed("TO⟧ ") == "⟦PHOTO⟧ "
    assert restorer.feed("⟦PHONE_1⟧") == MOBILE
    assert restorer.feed("⟦") == ""
    assert restorer.end() == "⟦"


def test_values_stand_escaped_in_json() -> None:
    redaction = Redaction()
    value = 'Dr. "O\'Neill"\n\\x'
    sent = redaction.hide(value, [Found(PiiKind.PERSON, 0, len(value))])
    written = json.dumps({"to": f"{sent}!"})
    assert "\\u27e6" in written
    restored = redaction.restoration().whole(written, in_json=True)
    assert json.loads(restored) == {"to": f"{value}!"}
    assert json.loads(streamed(redaction, list(written), in_json=True)) == {"to": f"{value}!"}


_PIECES = st.one_of(
    st.sampled_from(
        [ID_CARD, MOBILE, BANK_CARD, IBAN, "a@b.example.com", "联系人：王小明，", "⟦PHONE_1⟧"]
    ),
    st.sampled_from(["\u200b", "⟦", "1", " ", "-", "PHONE_2", "[[", "\\u27e6", "省", "路8号", "x"]),
    st.text(max_size=8),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(_PIECES, max_size=12), st.integers(0, 2**32))
def test_hiding_and_undoing_gives_back_any_text(pieces: list[str], seed: int) -> None:
    text = "".join(pieces)
    (sent,), redaction = hidden(text)
    restored = redaction.restoration().whole(sent)
    if redaction.restoration().values == len(DETECTOR.find(text)):  # no value in two spellings
        assert restored == text
    dice = random.Random(seed)
    cuts = sorted(dice.randrange(len(sent) + 1) for _ in range(4))
    parts = [sent[a:b] for a, b in zip([0, *cuts], [*cuts, len(sent)], strict=True)]
    assert streamed(redaction, parts) == restored
