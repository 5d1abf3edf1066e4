from __future__ import annotations

import pytest

from atrium_documents import BlockKind

from .conftest import Read, outline, texts


def test_lines_wrapped_by_width_become_one_paragraph(read: Read) -> None:
    document = read(
        "The probation period lasts three months, and either side may end the\n"
        "contract within it at two weeks' notice.\n\nAnother paragraph.\n",
        "policy.txt",
    )
    assert texts(document) == [
        "The probation period lasts three months, and either side may end the contract within it "
        "at two weeks' notice.",
        "Another paragraph.",
    ]


def test_chinese_lines_are_joined_without_spaces(read: Read) -> None:
    first = "员工应当遵守公司的各项规章制度，爱护公司财产，保守公司的商业秘密，维护公司的利益"
    document = read(f"{first}\n和声誉。\n", "policy.txt")
    assert texts(document) == [f"{first}和声誉。"]


def test_one_paragraph_a_line_stays_so(read: Read) -> None:
    document = read(
        "第一条 租赁物\n甲方将房屋出租给乙方。\n第二条 租金\n每月五千元。\n", "lease.txt"
    )
    assert outline(document) == [(1, "第一条 租赁物"), (1, "第二条 租金")]
    assert texts(document, BlockKind.PARAGRAPH) == ["甲方将房屋出租给乙方。", "每月五千元。"]
    assert [s.path for s in document.sections] == [("第一条 租赁物",), ("第二条 租金",)]


def test_chapters_and_articles_nest(read: Read) -> None:
    document = read("第一章 总则\n\n第一条 目的\n\n内容。\n\n第二章 附则\n\n生效。", "rules.txt")
    assert outline(document) == [(1, "第一章 总则"), (2, "第一条 目的"), (1, "第二章 附则")]
    assert document.sections[1].path == ("第一章 总则", "第一条 目的")


def test_underlined_lines_are_headings(read: Read) -> None:
    document = read("Leave\n=====\n\nThirty days.\n\nSick leave\n----------\n\nTen days.", "a.txt")
    assert outline(document) == [(1, "Leave"), (2, "Sick leave")]
    assert document.title == "Leave"


def test_list_items_lose_bullets_and_keep_numbers(read: Read) -> None:
    document = read("- apples\n- pears\n\n1. first\n2. second\n", "list.txt")
    assert texts(document, BlockKind.LIST_ITEM) == ["apples", "pears", "1. first", "2. second"]


def test_source_files_are_kept_line_by_line(read: Read) -> None:
    document = read("def f():\n    return 1\n\n\ndef g():\n    return 2\n", "a.py")
    assert texts(document, BlockKind.CODE) == ["def f():\n    return 1", "def g():\n    return 2"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030", "big5"])
def test_chinese_is_read_in_every_usual_encoding(read: Read, encoding: str) -> None:
    text = "本公司員工每年享有三十天帶薪年假，須提前兩週向主管提出申請，經批准後方可休假。"
    if encoding == "gb18030":
        text = "本公司员工每年享有三十天带薪年假，须提前两周向主管提出申请，经批准后方可休假。"
    document = read(text.encode(encoding), "a.txt")
    assert document.text == text
    assert document.language == "zh"


def test_western_text_without_unicode_is_read(read: Read) -> None:
    text = "Die Größe der Räume überprüft Herr Müller am Dienstag für die Behörde."
    assert read(text.encode("cp1252"), "a.txt").text == text


def test_text_cut_off_in_a_character_is_still_utf8(read: Read) -> None:
    data = "公司保留在法律允许范围内修订本手册的权利，修订内容将以书面形式通知。".encode()[:-1]
    document = read(data, "a.txt")
    assert document.text.startswith("公司保留在法律允许范围内")
    assert "not valid utf-8" in document.warnings[0]


def test_offsets_count_code_points(read: Read) -> None:
    document = read("😀 emoji\n\n𠮷野家 rare\n\nlast", "a.txt")
    assert [(b.start, b.end) for b in document.blocks] == [(0, 7), (9, 17), (19, 23)]
    assert texts(document)[1] == "𠮷野家 rare"


def test_invisible_characters_leave_the_text(read: Read) -> None:
    document = read("\ufeffa\u200bb\x00c\u00add \u202eevil\u202c👩\u200d💻", "a.txt", "text/plain")
    assert document.text == "abcd evil👩\u200d💻"
