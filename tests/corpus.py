"""Documents to measure with: the sample handbook by format, and larger ones made from its text."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from email.message import EmailMessage
from html import escape
from pathlib import Path

import docx
import openpyxl
import pptx
import pypdfium2

from atrium_suite.demo.handbook import SampleDocument, load_handbook

FORMATS = ("docx", "pdf", "pptx", "xlsx", "html", "md", "eml", "scanned")
"""Formats that are measured; `scanned` is a PDF that holds pictures of its pages."""


class Corpus:
    """Writes the documents of each format into a folder.

    Args:
        folder: Where they go.
        sections: Sections of a larger document; about 80 tokens each.
        seed: Chooses how the text is mixed.
    """

    def __init__(self, folder: Path, *, sections: int = 60, seed: int = 7) -> None:
        self._folder = folder
        self._sections = sections
        self._documents = load_handbook().documents
        self._random = random.Random(seed)
        self._sentences = list(_sentences(self._documents))

    def files(self, kind: str) -> list[Path]:
        """Return the handbook's documents of a format and two larger ones."""
        own = [each.path for each in self._documents if _kind_of(each) == kind]
        return own + [self._make(kind, number) for number in (1, 2)]

    def texts(self, count: int) -> list[str]:
        """Return texts of the length of passages, for the encoder alone."""
        return ["\n".join(self._paragraph() for _ in range(4)) for _ in range(count)]

    def _make(self, kind: str, number: int) -> Path:
        path = self._folder / f"{kind}-large-{number}.{'pdf' if kind == 'scanned' else kind}"
        if kind in ("pdf", "scanned"):
            self._repeat_pages(kind, path)
            return path
        sections = [(f"Section {at + 1}", self._paragraph()) for at in range(self._sections)]
        getattr(self, f"_write_{kind}")(path, sections)
        return path

    def _paragraph(self) -> str:
        return " ".join(self._random.sample(self._sentences, 3))

    def _repeat_pages(self, kind: str, path: Path) -> None:
        # Reading by OCR costs seconds a page, so scans stay short.
        wanted = 4 if kind == "scanned" else 20
        pages = pypdfium2.PdfDocument.new()
        while len(pages) < wanted:
            for each in self._documents:
                if _kind_of(each) == kind and len(pages) < wanted:
                    source = pypdfium2.PdfDocument(each.path)
                    pages.import_pages(source, [self._random.randrange(len(source))])
                    source.close()
        pages.save(path)
        pages.close()

    def _write_docx(self, path: Path, sections: Sequence[tuple[str, str]]) -> None:
        document = docx.Document()
        for heading, text in sections:
            document.add_heading(heading, level=2)
            document.add_paragraph(text)
        document.save(str(path))

    def _write_pptx(self, path: Path, sections: Sequence[tuple[str, str]]) -> None:
        deck = pptx.Presentation()
        for heading, text in sections:
            slide = deck.slides.add_slide(deck.slide_layouts[1])
            slide.shapes.title.text = heading
            slide.placeholders[1].text = text
        deck.save(str(path))

    def _write_xlsx(self, path: Path, sections: Sequence[tuple[str, str]]) -> None:
        book = openpyxl.Workbook()
        sheet = book.active
        sheet.append(["Number", "Section", "Amount", "Text"])
        for number, (heading, text) in enumerate(sections):
            sheet.append([number, heading, self._random.randrange(100_000), text])
        book.save(path)

    def _write_html(self, path: Path, sections: Sequence[tuple[str, str]]) -> None:
        body = "\n".join(f"<h2>{head}</h2>\n<p>{escape(text)}</p>" for head, text in sections)
        path.write_text(
            f"<!doctype html><html><head><meta charset='utf-8'><title>Large</title></head>"
            f"<body><main><h1>Large</h1>{body}</main></body></html>",
            encoding="utf-8",
        )

    def _write_md(self, path: Path, sections: Sequence[tuple[str, str]]) -> None:
        text = "\n\n".join(f"## {heading}\n\n{text}" for heading, text in sections)
        path.write_text(f"# Large\n\n{text}\n", encoding="utf-8")

    def _write_eml(self, path: Path, sections: Sequence[tuple[str, str]]) -> None:
        mail = EmailMessage()
        mail["From"] = "office@lumenharbor.example"
        mail["To"] = "all@lumenharbor.example"
        mail["Subject"] = "Large"
        mail.set_content("\n\n".join(text for _, text in sections))
        path.write_bytes(bytes(mail))


def _kind_of(document: SampleDocument) -> str:
    if document.path.suffix == ".pdf" and document.scanned:
        return "scanned"
    return document.path.suffix.removeprefix(".")


def _sentences(documents: Sequence[SampleDocument]) -> Iterator[str]:
    for document in documents:
        if document.source.suffix in (".md", ".html"):
            text = re.sub(r"<[^>]+>|[#*`|]", " ", document.source.read_text(encoding="utf-8"))
            for sentence in re.split(r"(?<=[.。！？!?])\s+|\n", text):
                if len(sentence.strip()) > 30:
                    yield " ".join(sentence.split())
