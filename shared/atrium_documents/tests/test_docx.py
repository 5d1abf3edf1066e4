from __future__ import annotations

import io
import re
import zipfile

import docx
import pytest
from docx.enum.text import WD_ALIGN_PARAGRAPH
from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls
from docx.shared import Pt

from atrium_documents import BlockKind, DocumentBroken

from .conftest import Read, outline, texts
from .making import archive, image_bytes, paragraph_xml, picture, raw_docx

NUMBERING = f"""<w:abstractNum {nsdecls("w")} w:abstractNumId="90">
<w:lvl w:ilvl="0"><w:start w:val="1"/><w:numFmt w:val="chineseCountingThousand"/>
<w:suff w:val="space"/><w:lvlText w:val="第%1条"/></w:lvl>
<w:lvl w:ilvl="1"><w:start w:val="1"/><w:numFmt w:val="decimal"/><w:isLgl/>
<w:lvlText w:val="%1.%2"/></w:lvl>
<w:lvl w:ilvl="2"><w:start w:val="1"/><w:numFmt w:val="lowerLetter"/>
<w:lvlText w:val="(%3)"/></w:lvl></w:abstractNum>"""


def saved(document: docx.document.Document) -> bytes:
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def numbered(
    document: docx.document.Document, text: str, level: int
) -> docx.text.paragraph.Paragraph:
    paragraph = document.add_paragraph(text)
    paragraph._p.get_or_add_pPr().append(
        parse_xml(
            f'<w:numPr {nsdecls("w")}><w:ilvl w:val="{level}"/><w:numId w:val="90"/></w:numPr>'
        )
    )
    return paragraph


def test_headings_lists_and_tables_stand_in_order(read: Read) -> None:
    document = docx.Document()
    document.add_heading("Handbook", 0)
    document.add_heading("Leave", 1)
    document.add_paragraph("Thirty days.")
    document.add_paragraph("Ask first.", style="List Bullet")
    document.add_paragraph("Wait.", style="List Number")
    document.add_heading("Pay", 2)
    table = document.add_table(rows=2, cols=3)
    for cell, text in zip(
        table._cells, ["Grade", "Min", "Max", "P5", "40,000", "55,000"], strict=True
    ):
        cell.text = text
    document.add_paragraph("Figure 1: bands", style="Caption")
    parsed = read(saved(document), "handbook.docx")
    assert outline(parsed) == [(1, "Handbook"), (1, "Leave"), (2, "Pay")]
    assert parsed.title == "Handbook"
    assert [(b.kind, t) for b, t in zip(parsed.blocks, texts(parsed), strict=True)][2:] == [
        (BlockKind.PARAGRAPH, "Thirty days."),
        (BlockKind.LIST_ITEM, "Ask first."),
        (BlockKind.LIST_ITEM, "1. Wait."),
        (BlockKind.HEADING, "Pay"),
        (BlockKind.TABLE_ROW, "Grade | Min | Max"),
        (BlockKind.TABLE_ROW, "Grade: P5 | Min: 40,000 | Max: 55,000"),
        (BlockKind.CAPTION, "Figure 1: bands"),
    ]


def test_headings_of_a_chinese_word_are_known(read: Read) -> None:
    document = docx.Document()
    style = document.styles.add_style("标题 2", 1)
    document.add_paragraph("休假", style=style)
    document.add_paragraph("三十天。")
    assert outline(read(saved(document), "a.docx")) == [(2, "休假")]


def test_automatic_numbers_are_counted_as_word_does(read: Read) -> None:
    document = docx.Document()
    part = document.part.numbering_part.element
    part.insert(0, parse_xml(NUMBERING))
    part.append(
        parse_xml(f'<w:num {nsdecls("w")} w:numId="90"><w:abstractNumId w:val="90"/></w:num>')
    )
    for text, level in [
        ("租赁物", 0), ("房屋出租。", 1), ("面积；", 2), ("用途。", 2), ("租期。", 1),
        ("租金", 0), ("五千元。", 1),
    ]:  # fmt: skip
        numbered(document, text, level)
    assert texts(read(saved(document), "lease.docx")) == [
        "第一条 租赁物", "1.1 房屋出租。", "(a) 面积；", "(b) 用途。", "1.2 租期。", "第二条 租金",
        "2.1 五千元。",
    ]  # fmt: skip


def test_headings_without_styles_are_told_by_their_looks(read: Read) -> None:
    document = docx.Document()
    title = document.add_paragraph()
    title.add_run("房屋租赁合同").bold = True
    title.alignment = WD_ALIGN_PARAGRAPH.CENTER
    document.add_paragraph("甲方与乙方经协商，订立本合同，双方共同遵守，承诺履行全部义务。")
    for name in ("第一条 租赁物", "第二条 租金"):
        document.add_paragraph(name)
        document.add_paragraph("内容由双方另行约定，并以书面形式确认，作为本合同不可分割的部分。")
    assert outline(read(saved(document), "a.docx")) == [
        (1, "房屋租赁合同"),
        (2, "第一条 租赁物"),
        (2, "第二条 租金"),
    ]


def test_insertions_are_in_and_deletions_out(read: Read) -> None:
    body = (
        "<w:p><w:r><w:t>Pay within </w:t></w:r>"
        '<w:del w:id="1"><w:r><w:delText>ten</w:delText></w:r></w:del>'
        '<w:ins w:id="2"><w:r><w:t>five</w:t></w:r></w:ins>'
        "<w:r><w:t> days</w:t></w:r><w:r><w:rPr><w:vanish/></w:rPr><w:t> secretly</w:t></w:r>"
        "<w:r><w:t>.</w:t><w:br/><w:t>New line</w:t><w:tab/><w:t>tab</w:t></w:r></w:p>"
    )
    assert read(raw_docx(body), "a.docx").text == "Pay within five days.\nNew line tab"


def test_merged_cells_and_deleted_rows(read: Read) -> None:
    def cell(text: str, properties: str = "") -> str:
        return f"<w:tc><w:tcPr>{properties}</w:tcPr>{paragraph_xml(text)}</w:tc>"

    header = "<w:trPr><w:tblHeader/></w:trPr>"
    begin, go_on = '<w:vMerge w:val="restart"/>', "<w:vMerge/>"
    deleted = '<w:trPr><w:del w:id="1"/></w:trPr>'
    wide = '<w:gridSpan w:val="3"/>'
    body = (
        f"<w:tbl><w:tr>{header}{cell('Region')}{cell('Kind')}{cell('Days')}</w:tr>"
        f"<w:tr>{cell('Berlin', begin)}{cell('paid')}{cell('30')}</w:tr>"
        f"<w:tr>{cell('', go_on)}{cell('sick')}{cell('42')}</w:tr>"
        f"<w:tr>{cell('Others ask', wide)}</w:tr>"
        f"<w:tr>{deleted}{cell('gone')}{cell('x')}{cell('1')}</w:tr></w:tbl>"
    )
    assert texts(read(raw_docx(body), "a.docx")) == [
        "Region | Kind | Days",
        "Region: Berlin | Kind: paid | Days: 30",
        "Region: Berlin | Kind: sick | Days: 42",
        "Others ask",
    ]


def test_frame_of_one_cell_is_read_as_text(read: Read) -> None:
    body = f"<w:tbl><w:tr><w:tc>{paragraph_xml('one')}{paragraph_xml('two')}</w:tc></w:tr></w:tbl>"
    parsed = read(raw_docx(body), "a.docx")
    assert texts(parsed, BlockKind.PARAGRAPH) == ["one", "two"]


def test_text_box_is_read_once_and_after_its_paragraph(read: Read) -> None:
    box = f"<w:txbxContent>{paragraph_xml('boxed')}</w:txbxContent>"
    compat = 'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"'
    body = (
        f"<w:p><w:r><w:t>before</w:t></w:r><w:r><mc:AlternateContent {compat}>"
        f"<mc:Choice><w:drawing>{box}</w:drawing></mc:Choice>"
        f"<mc:Fallback><w:pict>{box}</w:pict></mc:Fallback></mc:AlternateContent></w:r></w:p>"
        f"{paragraph_xml('after')}"
    )
    assert texts(read(raw_docx(body), "a.docx")) == ["before", "boxed", "after"]


def test_footnotes_follow_the_paragraph_that_refers_to_them(read: Read) -> None:
    word = nsdecls("w")
    notes = (
        f'<w:footnotes {word}><w:footnote w:id="0" w:type="separator">{paragraph_xml("-")}'
        f'</w:footnote><w:footnote w:id="2">{paragraph_xml("Except in May.")}</w:footnote>'
        "</w:footnotes>"
    )
    relations = (
        '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
        '<Relationship Id="r9" Type="http://schemas.openxmlformats.org/officeDocument/2006/'
        'relationships/footnotes" Target="footnotes.xml"/></Relationships>'
    )
    body = (
        '<w:p><w:r><w:t>Thirty days</w:t></w:r><w:r><w:footnoteReference w:id="2"/></w:r>'
        f"<w:r><w:t>.</w:t></w:r></w:p>{paragraph_xml('Next.')}"
    )
    data = raw_docx(
        body, more={"word/footnotes.xml": notes, "word/_rels/document.xml.rels": relations}
    )
    data = with_content_type(data, "/word/footnotes.xml", "application/xml")
    assert texts(read(data, "a.docx")) == ["Thirty days[1].", "[1] Except in May.", "Next."]


def members_of(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as source:
        return {name: source.read(name) for name in source.namelist()}


def with_content_type(data: bytes, part: str, content_type: str) -> bytes:
    members = members_of(data)
    override = f'<Override PartName="{part}" ContentType="{content_type}"/></Types>'.encode()
    members["[Content_Types].xml"] = members["[Content_Types].xml"].replace(b"</Types>", override)
    return archive(members)


def test_contents_table_is_left_out(read: Read) -> None:
    body = (
        "<w:sdt><w:sdtPr><w:docPartObj><w:docPartGallery w:val='Table of Contents'/>"
        f"</w:docPartObj></w:sdtPr><w:sdtContent>{paragraph_xml('Leave ... 3')}</w:sdtContent>"
        f"</w:sdt><w:sdt><w:sdtContent>{paragraph_xml('Kept')}</w:sdtContent></w:sdt>"
    )
    assert texts(read(raw_docx(body), "a.docx")) == ["Kept"]


def test_formula_is_written_on_one_line(read: Read) -> None:
    math = 'xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math"'
    body = (
        f"<w:p><w:r><w:t>Area </w:t></w:r><m:oMath {math}><m:f><m:num><m:r><m:t>a</m:t></m:r>"
        "</m:num><m:den><m:sSup><m:e><m:r><m:t>b</m:t></m:r></m:e><m:sup><m:r><m:t>2</m:t></m:r>"
        "</m:sup></m:sSup></m:den></m:f></m:oMath></w:p>"
    )
    assert read(raw_docx(body), "a.docx").text == "Area a/(b^2)"


def test_strict_office_files_are_read(read: Read) -> None:
    pattern = rb"http://schemas\.openxmlformats\.org/(wordprocessingml|officeDocument)/2006/"
    members = {
        name: re.sub(pattern, rb"http://purl.oclc.org/ooxml/\1/", part)
        for name, part in members_of(raw_docx(paragraph_xml("strict"))).items()
    }
    assert b"purl.oclc.org" in members["word/document.xml"]
    assert read(archive(members), "a.docx").text == "strict"


def test_macro_enabled_files_are_read(read: Read) -> None:
    members = members_of(raw_docx(paragraph_xml("macro")))
    members["[Content_Types].xml"] = members["[Content_Types].xml"].replace(
        b"application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml",
        b"application/vnd.ms-word.document.macroEnabled.main+xml",
    )
    assert read(archive(members), "a.docm").text == "macro"


def test_document_of_scans_only_is_read_by_ocr(read: Read) -> None:
    document = docx.Document()
    page = picture(["Annual leave is thirty days."], size=(900, 300))
    document.add_picture(io.BytesIO(image_bytes(page)), width=Pt(400))
    parsed = read(saved(document), "scan.docx")
    assert "Annual leave is thirty days" in parsed.text
    assert "rapidocr" in parsed.engine
    assert "read by OCR" in parsed.warnings[0]


@pytest.mark.parametrize(
    "data",
    [
        raw_docx("<w:sdt><w:sdtContent>" * 300 + "</w:sdtContent></w:sdt>" * 300),
        raw_docx("<w:p>"),
        archive({"[Content_Types].xml": "<Types/>", "word/document.xml": "<x/>"}),
    ],
)
def test_broken_word_files_are_named_so(read: Read, data: bytes) -> None:
    with pytest.raises(DocumentBroken, match="Word document cannot be read"):
        read(data, "a.docx")
