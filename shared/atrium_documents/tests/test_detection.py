from __future__ import annotations

import pytest

from atrium_documents import DocumentBroken, DocumentEncrypted, DocumentTypeUnknown
from atrium_documents.detection import FileKind, detect

from .making import PdfPage, archive, msg, ole, paragraph_xml, pdf, raw_docx

PDF = pdf([PdfPage().text(72, 90, "x")])
MAIL = b"From: a@example.com\nTo: b@example.com\nMIME-Version: 1.0\nSubject: x\n\nhello"


@pytest.mark.parametrize(
    ("data", "filename", "kind"),
    [
        (PDF, "a.txt", FileKind.PDF),
        (b"\r\n junk " + PDF, "a", FileKind.PDF),
        (raw_docx(paragraph_xml("x")), "a.pdf", FileKind.DOCX),
        (msg("x", "y"), "a", FileKind.MSG),
        (b"\x89PNG\r\n\x1a\n", "a.docx", FileKind.IMAGE),
        (b"<!DOCTYPE html><p>x", "a.txt", FileKind.HTML),
        (b"<?xml version='1.0'?>\n<html><p>x</p></html>", "a.pdf", FileKind.HTML),
        (MAIL, "a.txt", FileKind.EML),
        (b"Subject: notes\nDate: today\n\nWe met.", "a.txt", FileKind.TEXT),
        (b"# Leave", "a.MD", FileKind.MARKDOWN),
        (b"# Leave", "C:\\docs\\a.markdown", FileKind.MARKDOWN),
        (b"a,b\n1,2", "a.csv", FileKind.CSV),
        (b"plain", "a.unknown", FileKind.TEXT),
        (b"BMW builds cars.", "a.txt", FileKind.TEXT),
        (b"MZ is a prefix", "a.txt", FileKind.TEXT),
        ("年假三十天".encode("utf-16"), "a.txt", FileKind.TEXT),
    ],
)
def test_content_decides_before_the_name(data: bytes, filename: str, kind: FileKind) -> None:
    assert detect(data, filename).kind is kind


def test_declared_type_counts_where_name_and_content_are_silent() -> None:
    assert detect(b"# x", "upload", "text/markdown; charset=utf-8").kind is FileKind.MARKDOWN
    assert detect(b"# x", "a.csv", "text/markdown").kind is FileKind.CSV


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (ole({"WordDocument": b"x"}), "Word 97-2003"),
        (ole({"Workbook": b"x"}), "Excel 97-2003"),
        (ole({"Something": b"x"}), "OLE container"),
        (b"{\\rtf1 hello}", "RTF"),
        (b"\x1f\x8b\x08\0\0", "gzip"),
        (b"MZ\x90\0\x03\0\0\0\x04\0", "program"),
        (b"\0\1\2\3" * 100, "binary type"),
        (archive({"a.txt": "x"}), "ZIP archive"),
        (archive({"mimetype": "application/vnd.oasis.opendocument.text"}), "OpenDocument"),
        (archive({"mimetype": "application/epub+zip"}), "EPUB"),
        (archive({"[Content_Types].xml": "", "xl/workbook.bin": ""}), "XLSB"),
    ],
)
def test_types_without_a_reader_are_named_with_advice(data: bytes, what: str) -> None:
    with pytest.raises(DocumentTypeUnknown, match=what) as caught:
        detect(data, "file")
    assert "readable are PDF, DOCX" in caught.value.message
    assert caught.value.reason == "DOCUMENT_TYPE_UNKNOWN"
    assert caught.value.field == "document"


def test_protected_office_files_are_named_so() -> None:
    with pytest.raises(DocumentEncrypted, match="protected"):
        detect(ole({"EncryptedPackage": b"x", "EncryptionInfo": b"y"}), "a.docx")


@pytest.mark.parametrize("filename", ["a.pdf", "a.docx", "a.xlsx", "a.png", "a.msg"])
def test_text_under_a_binary_name_is_broken(filename: str) -> None:
    with pytest.raises(DocumentBroken, match="does not begin as"):
        detect(b"just some words", filename)


@pytest.mark.parametrize("data", [raw_docx(paragraph_xml("x"))[:200], msg("x", "y")[:600]])
def test_containers_that_are_cut_off_are_broken(data: bytes) -> None:
    with pytest.raises(DocumentBroken):
        detect(data, "a")
