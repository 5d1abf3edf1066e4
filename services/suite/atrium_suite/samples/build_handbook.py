"""Builds the binary documents of the sample handbook from their authored sources.

Run it after editing a file under `handbook/sources`; the built files are committed, so that the
demo needs neither this script nor its tools. It needs LibreOffice (`soffice`) and the fonts
Liberation Sans and Noto Sans CJK SC. The same sources give the same bytes: every date inside a
file is fixed. Markdown and HTML documents are written by hand and are not touched.
"""

from __future__ import annotations

import io
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Any

import yaml
from docx import Document
from docx.oxml.ns import qn
from docx.shared import Cm, Pt
from markdown_it import MarkdownIt
from markdown_it.token import Token
from openpyxl import Workbook
from openpyxl.styles import Alignment, Font, PatternFill
from openpyxl.utils import get_column_letter
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from pptx import Presentation
from pptx.util import Inches
from pptx.util import Pt as SlidePt

HANDBOOK = Path(__file__).parent / "handbook"
SOURCES = HANDBOOK / "sources"
DOCUMENTS = HANDBOOK / "documents"

WRITTEN = datetime(2026, 5, 11, 9, 0, tzinfo=UTC)
"""The date that stands in the properties of every built file."""

ZIP_TIME = (2026, 5, 11, 9, 0, 0)
AUTHOR = "Lumen Harbor People Team"
LATIN_FONT = "Liberation Sans"
CHINESE_FONT = "Noto Sans CJK SC"

DPI = 150
PAGE_PIXELS = (1240, 1754)  # A4 at 150 dots an inch


@dataclass(frozen=True)
class Block:
    """One block of an authored text.

    Attributes:
        kind: `h1` to `h3`, `text`, `bullet`, `number`, `note` (a block quote) or `table`.
        text: The words without markup; empty for a table.
        rows: The cells of a table, header first; empty otherwise.
        level: Depth of a bullet, 0 for the outermost.
    """

    kind: str
    text: str = ""
    rows: tuple[tuple[str, ...], ...] = ()
    level: int = 0


def read_blocks(path: Path) -> list[Block]:
    """Returns the blocks of a Markdown file in reading order."""
    tokens = MarkdownIt("commonmark").enable("table").parse(path.read_text(encoding="utf-8"))
    return list(_blocks(tokens))


def _blocks(tokens: list[Token]) -> Iterator[Block]:
    lists: list[str] = []
    rows: list[list[str]] = []
    quoted = False
    holder = ""
    for token in tokens:
        if token.type in {"bullet_list_open", "ordered_list_open"}:
            lists.append("number" if token.type.startswith("ordered") else "bullet")
        elif token.type in {"bullet_list_close", "ordered_list_close"}:
            lists.pop()
        elif token.type in {"blockquote_open", "blockquote_close"}:
            quoted = token.type == "blockquote_open"
        elif token.type == "table_open":
            rows = []
        elif token.type == "tr_open":
            rows.append([])
        elif token.type == "table_close":
            yield Block("table", rows=tuple(tuple(row) for row in rows))
        elif token.type in {"heading_open", "paragraph_open", "th_open", "td_open"}:
            holder = token.tag
        elif token.type == "inline":
            text = _plain(token)
            if holder in {"th", "td"}:
                rows[-1].append(text)
            elif holder.startswith("h"):
                yield Block(holder, text)
            elif lists:
                yield Block(lists[-1], text, level=len(lists) - 1)
            else:
                yield Block("note" if quoted else "text", text)


def _plain(inline: Token) -> str:
    parts = []
    for child in inline.children or []:
        parts.append("\n" if child.type in {"softbreak", "hardbreak"} else child.content)
    return "".join(parts)


def build_docx(source: Path, target: Path) -> None:
    """Writes a Word document with real heading styles, lists and tables."""
    document = Document()
    section = document.sections[0]
    section.page_width, section.page_height = Cm(21), Cm(29.7)
    styles = ["Normal", "Title", "Heading 1", "Heading 2", "List Bullet", "List Number"]
    for name in styles:
        style = document.styles[name]
        style.font.name = LATIN_FONT
        fonts = style.element.get_or_add_rPr().get_or_add_rFonts()
        fonts.set(qn("w:eastAsia"), CHINESE_FONT)
        for theme in ("asciiTheme", "hAnsiTheme", "eastAsiaTheme", "cstheme"):
            fonts.attrib.pop(qn(f"w:{theme}"), None)
    document.styles["Normal"].font.size = Pt(10.5)
    wanted = {
        "h1": "Title",
        "h2": "Heading 1",
        "h3": "Heading 2",
        "bullet": "List Bullet",
        "number": "List Number",
    }
    for block in read_blocks(source):
        if block.kind == "table":
            table = document.add_table(len(block.rows), len(block.rows[0]), "Light Grid Accent 1")
            for row, cells in zip(table.rows, block.rows, strict=True):
                for cell, text in zip(row.cells, cells, strict=True):
                    cell.text = text
            document.add_paragraph()
        else:
            document.add_paragraph(block.text, style=wanted.get(block.kind, "Normal"))
    properties = document.core_properties
    properties.title = next(block.text for block in read_blocks(source) if block.kind == "h1")
    properties.author = properties.last_modified_by = AUTHOR
    properties.comments = ""
    properties.created = properties.modified = WRITTEN.replace(tzinfo=None)
    document.save(str(target))
    fix_zip_dates(target)


def build_pdf(source: Path, target: Path) -> None:
    """Prints the Word form of a text as PDF with LibreOffice.

    Raises:
        RuntimeError: LibreOffice is not installed or wrote no file.
    """
    office = shutil.which("soffice")
    if office is None:
        raise RuntimeError("soffice was not found: install libreoffice-writer-nogui")
    with tempfile.TemporaryDirectory() as folder:
        word = Path(folder) / f"{target.stem}.docx"
        build_docx(source, word)
        profile = f"-env:UserInstallation=file://{folder}/profile"
        command = [office, profile, "--headless", "--convert-to", "pdf", "--outdir", folder]
        environment = {**os.environ, "SOURCE_DATE_EPOCH": str(int(WRITTEN.timestamp()))}
        # Every argument is made here, none comes from outside.
        subprocess.run(  # noqa: S603
            [*command, str(word)], check=True, env=environment, capture_output=True, timeout=120
        )
        printed = word.with_suffix(".pdf")
        if not printed.exists():
            raise RuntimeError(f"LibreOffice wrote no PDF for {source.name}")
        target.write_bytes(fix_pdf_dates(printed.read_bytes()))


def fix_pdf_dates(data: bytes) -> bytes:
    """Returns the PDF with fixed dates and identifiers of the same length, so offsets hold."""
    stamp = WRITTEN.strftime("D:%Y%m%d%H%M%S").encode()
    data = re.sub(rb"D:\d{14}", stamp, data)

    def blank(match: re.Match[bytes]) -> bytes:
        return re.sub(rb"[0-9A-F]", b"0", match[0])

    data = re.sub(rb"/ID \[[^\]]*\]", blank, data)
    return re.sub(rb"/DocChecksum /[0-9A-F]{32}", lambda m: b"/DocChecksum /" + b"0" * 32, data)


def build_xlsx(source: Path, target: Path) -> None:
    """Writes a workbook: one sheet for each entry of the YAML source, header row first."""
    content: dict[str, Any] = yaml.safe_load(source.read_text(encoding="utf-8"))
    book = Workbook()
    book.remove(book.worksheets[0])
    for entry in content["sheets"]:
        sheet = book.create_sheet(entry["name"])
        for row in entry["rows"]:
            sheet.append([None if cell == "" else cell for cell in row])
        for cell in sheet[1]:
            cell.font = Font(bold=True)
            cell.fill = PatternFill("solid", fgColor="DDE8F0")
        for number, width in enumerate(entry["widths"], start=1):
            sheet.column_dimensions[get_column_letter(number)].width = width
        for row_cells in sheet.iter_rows():
            for cell in row_cells:
                cell.alignment = Alignment(wrap_text=True, vertical="top")
                if isinstance(cell.value, int) and cell.value >= 1000:
                    cell.number_format = "#,##0"
        sheet.freeze_panes = "A2"
    book.properties.title = content["title"]
    book.properties.creator = AUTHOR
    book.properties.created = WRITTEN.replace(tzinfo=None)
    book.save(target)
    fix_zip_dates(target)


def build_pptx(source: Path, target: Path) -> None:
    """Writes a deck: the title slide, then one slide for each second-level heading."""
    deck = Presentation()
    deck.slide_width, deck.slide_height = Inches(13.333), Inches(7.5)
    title_layout, text_layout = deck.slide_layouts[0], deck.slide_layouts[1]
    slide = deck.slides.add_slide(title_layout)
    _place(slide.shapes.title, 0.7, 2.2, 11.9, 1.6)
    _place(slide.placeholders[1], 0.7, 4.0, 11.9, 1.2)
    frame = None
    for block in read_blocks(source):
        if block.kind == "h1":
            slide.shapes.title.text = block.text
        elif block.kind == "h2":
            slide = deck.slides.add_slide(text_layout)
            _place(slide.shapes.title, 0.7, 0.4, 11.9, 1.0)
            _place(slide.placeholders[1], 0.7, 1.5, 11.9, 5.5)
            slide.shapes.title.text = block.text
            frame = slide.placeholders[1].text_frame
            frame.word_wrap = True
        elif block.kind == "bullet" and frame is not None:
            empty = not frame.paragraphs[0].runs
            paragraph = frame.paragraphs[0] if empty else frame.add_paragraph()
            paragraph.text = block.text
            paragraph.level = block.level
            paragraph.font.size = SlidePt(20 - 3 * block.level)
        elif block.kind == "note":
            slide.notes_slide.notes_text_frame.text = block.text
        elif block.kind == "text":
            slide.placeholders[1].text = block.text
    properties = deck.core_properties
    properties.title = "Onboarding 2026"
    properties.author = properties.last_modified_by = AUTHOR
    properties.created = properties.modified = WRITTEN.replace(tzinfo=None)
    deck.save(str(target))
    fix_zip_dates(target)


def _place(shape: Any, left: float, top: float, width: float, height: float) -> None:
    """Moves and sizes a shape; all values are inches."""
    shape.left, shape.top = Inches(left), Inches(top)
    shape.width, shape.height = Inches(width), Inches(height)


def build_eml(source: Path, target: Path) -> None:
    """Writes a mail with a plain and an HTML part, as a mail program would send it."""
    title, headers, body = source.read_text(encoding="utf-8").split("\n\n", maxsplit=2)
    message = EmailMessage(policy=SMTP)
    message["Subject"] = title.removeprefix("# ")
    for line in headers.splitlines():
        name, value = line.split(": ", maxsplit=1)
        message[name] = value
    message.set_content(body, charset="utf-8", cte="base64")
    paragraphs = "".join(
        "<hr>" if part == "---" else f"<p>{part.replace(chr(10), '<br>')}</p>\n"
        for part in body.strip().split("\n\n")
    )
    message.add_alternative(
        f"<html><body>\n{paragraphs}</body></html>\n", "html", charset="utf-8", cte="base64"
    )
    message.set_boundary("=_lumen-harbor-closure")
    target.write_bytes(message.as_bytes())


def build_scan(source: Path, target: Path) -> None:
    """Writes a PDF of one page that holds only a picture, like a notice from the copier.

    Raises:
        RuntimeError: The Chinese font is not installed.
    """
    finder = shutil.which("fc-match")
    if finder is None:
        raise RuntimeError("fc-match was not found: install fontconfig")
    # Every argument is made here, none comes from outside.
    found = subprocess.run(  # noqa: S603
        [finder, "-f", "%{file}\t%{index}", CHINESE_FONT], check=True, capture_output=True
    ).stdout.decode()
    file, index = found.split("\t")
    if "CJK" not in file:
        raise RuntimeError(f"{CHINESE_FONT} was not found: install fonts-noto-cjk")
    page = Image.new("L", PAGE_PIXELS, 250)
    draw = ImageDraw.Draw(page)
    big, small = (ImageFont.truetype(file, size, index=int(index)) for size in (44, 30))
    draw.text((150, 110), "澜港科技  LUMEN HARBOR", font=small, fill=90)
    draw.line((150, 165, 1090, 165), fill=110, width=3)
    top = 230
    for block in read_blocks(source):
        font = big if block.kind == "h1" else small
        for line in _wrap(block.text, font, 940):
            left = (PAGE_PIXELS[0] - font.getlength(line)) / 2 if font is big else 150
            draw.text((left, top), line, font=font, fill=25)
            top += 72 if font is big else 54
        top += 30
    dust = random.Random(20260511)  # noqa: S311 - specks on paper, nothing secret
    for _ in range(260):
        x, y = dust.randrange(PAGE_PIXELS[0]), dust.randrange(PAGE_PIXELS[1])
        draw.ellipse((x, y, x + dust.choice((1, 1, 2)), y + 1), fill=dust.randrange(120, 220))
    page = page.rotate(0.7, resample=Image.Resampling.BICUBIC, fillcolor=250)
    page = page.filter(ImageFilter.GaussianBlur(0.6))
    moment = time.gmtime(WRITTEN.timestamp())
    page.save(
        target, "PDF", resolution=DPI, quality=55, creationDate=moment, modDate=moment, title=""
    )


def _wrap(text: str, font: ImageFont.FreeTypeFont, width: int) -> Iterator[str]:
    """Yields lines no wider than `width` pixels; Latin words and numbers stay whole."""
    for paragraph in text.split("\n"):
        line = ""
        for piece in re.findall(r"[\x21-\x7e]+|.", paragraph):
            if font.getlength(line + piece) > width and piece not in "，。；：）、":
                yield line
                line = ""
            line += piece if line or piece != " " else ""
        yield line


def fix_zip_dates(path: Path) -> None:
    """Rewrites an Office file so that equal content gives equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "docProps/core.xml":
                stamp = WRITTEN.strftime("%Y-%m-%dT%H:%M:%SZ").encode()
                data = re.sub(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", stamp, data)
            entry = zipfile.ZipInfo(name, ZIP_TIME)
            new.writestr(entry, data, zipfile.ZIP_DEFLATED, 9)
    path.write_bytes(buffer.getvalue())


def build_handbook() -> list[Path]:
    """Builds every document that the manifest gives a source; returns the files written.

    Raises:
        RuntimeError: A tool or font is missing.
    """
    builders: dict[str, Callable[[Path, Path], None]] = {
        ".docx": build_docx,
        ".pdf": build_pdf,
        ".xlsx": build_xlsx,
        ".pptx": build_pptx,
        ".eml": build_eml,
    }
    manifest = yaml.safe_load((HANDBOOK / "manifest.yaml").read_text(encoding="utf-8"))
    written = []
    for entry in manifest["documents"]:
        target, source = HANDBOOK / entry["file"], HANDBOOK / entry["source"]
        if target == source:
            continue
        build = build_scan if entry.get("scanned") else builders[target.suffix]
        build(source, target)
        written.append(target)
    return written


if __name__ == "__main__":
    for built in build_handbook():
        sys.stdout.write(f"{built.stat().st_size:>8}  {built.name}\n")
