from __future__ import annotations

import pytest

from atrium_documents import BlockKind, DocumentBroken, DocumentHasNoText

from .conftest import Read, outline, texts

PAGE = """<!DOCTYPE html><html><head><title>Leave | Intranet</title>
<script>steal()</script><style>p{}</style></head><body>
<header><a href="/">Home</a></header><nav><ul><li>Menu</li></ul></nav>
<div class="sidebar">Related</div><div style="display: none">hidden</div>
<h1>Leave</h1><p>Thirty days,<br>not more.</p><!-- note -->
<h2>How</h2><ol start="3"><li>Ask<ul><li>in writing</li></ul></li><li>Wait</li></ol>
<pre>a
  b</pre>
<footer>Imprint</footer></body></html>"""


def test_page_is_read_without_its_furniture(read: Read) -> None:
    document = read(PAGE, "leave.html")
    assert outline(document) == [(1, "Leave"), (2, "How")]
    assert document.title == "Leave"
    assert texts(document, BlockKind.PARAGRAPH) == ["Thirty days,\nnot more."]
    assert texts(document, BlockKind.LIST_ITEM) == ["3. Ask", "in writing", "4. Wait"]
    assert texts(document, BlockKind.CODE) == ["a\n  b"]
    for word in ("steal", "Menu", "Related", "hidden", "Imprint", "Home", "note"):
        assert word not in document.text


def test_header_of_an_article_stays(read: Read) -> None:
    document = read(
        "<html><body><article><header><p>By Ann</p></header><p>Text.</p></article></body></html>",
        "a.html",
    )
    assert texts(document) == ["By Ann", "Text."]


def test_merged_cells_are_understood(read: Read) -> None:
    document = read(
        "<table><thead><tr><th rowspan=2>Region</th><th colspan=2>Leave</th></tr>"
        "<tr><th>Paid</th><th>Sick</th></tr></thead>"
        "<tr><td rowspan=2>Berlin</td><td>30</td><td>42</td></tr>"
        "<tr><td>31</td><td>43</td></tr><tr><td colspan=3>All others: ask</td></tr></table>",
        "a.html",
    )
    assert texts(document) == [
        "Region | Leave",
        "Region | Paid | Sick",
        "Region: Berlin | Leave / Paid: 30 | Leave / Sick: 42",
        "Region: Berlin | Leave / Paid: 31 | Leave / Sick: 43",
        "All others: ask",
    ]


def test_table_for_layout_is_read_as_text(read: Read) -> None:
    document = read(
        "<table role=presentation><tr><td><h1>Hello</h1><p>World.</p></td></tr></table>", "a.html"
    )
    assert outline(document) == [(1, "Hello")]
    assert texts(document, BlockKind.PARAGRAPH) == ["World."]


def test_chinese_lines_in_source_get_no_spaces(read: Read) -> None:
    document = read("<p>员工每年享有\n    三十天年假，use\n the portal</p>", "a.html")
    assert document.text == "员工每年享有三十天年假，use the portal"


def test_stated_encoding_is_used(read: Read) -> None:
    page = '<html><head><meta charset="gb2312"></head><body><p>员工守则与假期</p></body></html>'
    assert read(page.encode("gb18030"), "a.html").text == "员工守则与假期"


def test_title_is_used_where_no_heading_is(read: Read) -> None:
    document = read("<html><head><title> Leave  rules </title></head><p>Text</p></html>", "a.html")
    assert document.title == "Leave rules"


def test_entities_from_outside_are_not_read(read: Read) -> None:
    document = read(
        '<!DOCTYPE html [<!ENTITY x SYSTEM "file:///etc/hostname">]><p>before &x; after</p>',
        "a.html",
    )
    assert "before &x; after" in document.text


def test_absurd_nesting_is_refused(read: Read) -> None:
    with pytest.raises(DocumentBroken, match="nests elements deeper"):
        read("<div>" * 5000 + "x", "a.html")


def test_absurd_table_is_refused(read: Read) -> None:
    with pytest.raises(DocumentBroken, match="columns"):
        read("<table>" + "<tr><td colspan=1000>a<td>b</tr>" * 3, "a.html")


def test_page_of_comments_has_no_text(read: Read) -> None:
    with pytest.raises(DocumentHasNoText):
        read("<html><!-- nothing --></html>", "a.html")
