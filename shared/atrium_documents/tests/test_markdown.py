from __future__ import annotations

import itertools

from atrium_documents import BlockKind

from .conftest import Read, of, outline, texts

HANDBOOK = """---
title: "Employee Handbook"
tags: [hr]
---
# Leave

Employees have **thirty** days of
[paid leave](https://example.com).

## Pay bands

| Grade | Min    | Max    |
|-------|-------:|-------:|
| P5    | 40,000 | 55,000 |
| P6    | 50,000 | 70,000 |

1. Ask your manager
   - in writing
2. Wait

```sh
leave --days 3

leave --list
```

> Quoted *text*.
"""


def test_structure_of_markdown_is_found(read: Read) -> None:
    document = read(HANDBOOK, "handbook.md")
    assert document.title == "Employee Handbook"
    assert document.media_type == "text/markdown"
    assert outline(document) == [(1, "Leave"), (2, "Pay bands")]
    assert texts(document, BlockKind.PARAGRAPH) == [
        "Employees have thirty days of paid leave.",
        "Quoted text.",
    ]
    assert texts(document, BlockKind.CODE) == ["leave --days 3\n\nleave --list"]
    assert texts(document, BlockKind.LIST_ITEM) == ["1. Ask your manager", "in writing", "2. Wait"]
    assert document.sections[1].path == ("Leave", "Pay bands")


def test_table_rows_carry_their_column_names(read: Read) -> None:
    rows = texts(read(HANDBOOK, "handbook.md"), BlockKind.TABLE_ROW)
    assert rows == [
        "Grade | Min | Max",
        "Grade: P5 | Min: 40,000 | Max: 55,000",
        "Grade: P6 | Min: 50,000 | Max: 70,000",
    ]


def test_rows_of_one_table_stand_on_neighbouring_lines(read: Read) -> None:
    document = read(HANDBOOK, "handbook.md")
    rows = [b for b in document.blocks if b.kind is BlockKind.TABLE_ROW]
    assert [b.start - a.end for a, b in itertools.pairwise(rows)] == [1, 1]
    assert of(document, rows[-1]) in document.text.split("\n")


def test_chinese_source_lines_are_joined_without_spaces(read: Read) -> None:
    document = read("员工每年享有\n三十天年假。\nUse the portal\nto apply.", "a.md")
    assert document.text == "员工每年享有三十天年假。Use the portal to apply."


def test_html_inside_markdown_is_read_without_its_tags(read: Read) -> None:
    document = read("# T\n\n<table><tr><th>A</th><th>B</th></tr><tr><td>1</td><td>2</td></tr>"
                    "</table>\n\n<script>alert(1)</script>\n\nEnd<br>line.", "a.md")  # fmt: skip
    assert "A: 1 | B: 2" in texts(document)
    assert "alert" not in document.text
    assert texts(document)[-1] == "End\nline."


def test_deep_lists_keep_their_text(read: Read) -> None:
    lines = [f"{'  ' * depth}- level {depth}" for depth in range(25)]
    assert len(texts(read("\n".join(lines), "a.md"), BlockKind.LIST_ITEM)) == 25


def test_text_before_the_first_heading_has_its_own_section(read: Read) -> None:
    document = read("Preface.\n\n# One\n\nText.", "a.md")
    assert [(s.level, s.title, s.path) for s in document.sections] == [
        (0, "One", ("One",)),
        (1, "One", ("One",)),
    ]


def test_document_without_headings_is_one_section(read: Read) -> None:
    document = read("Only text.\n\nMore.", "a.md")
    assert [(s.level, s.title, s.path, s.start, s.end) for s in document.sections] == [
        (0, "", (), 0, len(document.text))
    ]
    assert document.title is None


def test_sections_end_at_the_next_heading_of_their_level(read: Read) -> None:
    document = read("# A\n\na\n\n### A1\n\nb\n\n## A2\n\nc\n\n# B\n\nd", "a.md")
    bodies = {s.title: document.text[s.start : s.end].split() for s in document.sections}
    assert bodies == {
        "A": ["A", "a", "A1", "b", "A2", "c"],
        "A1": ["A1", "b"],
        "A2": ["A2", "c"],
        "B": ["B", "d"],
    }
