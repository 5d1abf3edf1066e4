"""What kind of file is it? The content decides; name and declared type only where it cannot."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Final

import olefile

from atrium_documents.containers import open_archive
from atrium_documents.decoding import looks_binary
from atrium_documents.errors import DocumentBroken, DocumentEncrypted, DocumentTypeUnknown


class FileKind(StrEnum):
    """A kind of file that has a reader."""

    PDF = "pdf"
    DOCX = "docx"
    PPTX = "pptx"
    XLSX = "xlsx"
    HTML = "html"
    MARKDOWN = "markdown"
    TEXT = "text"
    CSV = "csv"
    EML = "eml"
    MSG = "msg"
    IMAGE = "image"


@dataclass(frozen=True, slots=True)
class Detected:
    """The kind of a file, and the media type to store with it."""

    kind: FileKind
    media_type: str


READABLE: Final = (
    "PDF, DOCX, PPTX, XLSX, HTML, Markdown, plain text, CSV, e-mail (EML, MSG) and pictures of "
    "text (PNG, JPEG, TIFF, WebP, BMP, GIF)"
)
_OFFICE: Final = "application/vnd.openxmlformats-officedocument."
MEDIA_TYPES: Final = {
    FileKind.PDF: "application/pdf",
    FileKind.DOCX: f"{_OFFICE}wordprocessingml.document",
    FileKind.PPTX: f"{_OFFICE}presentationml.presentation",
    FileKind.XLSX: f"{_OFFICE}spreadsheetml.sheet",
    FileKind.HTML: "text/html",
    FileKind.MARKDOWN: "text/markdown",
    FileKind.TEXT: "text/plain",
    FileKind.CSV: "text/csv",
    FileKind.EML: "message/rfc822",
    FileKind.MSG: "application/vnd.ms-outlook",
}
_IMAGES: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"BM", "image/bmp"),
)
_KNOWN_UNREADABLE: Final = (
    (b"{\\rtf", "an RTF document", "Save it as DOCX or PDF"),
    (b"\x1f\x8b", "a gzip archive", "Unpack it and send the files inside"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "Unpack it and send the files inside"),
    (b"Rar!", "a RAR archive", "Unpack it and send the files inside"),
    (b"BZh", "a bzip2 archive", "Unpack it and send the files inside"),
    (b"\xfd7zXZ", "an xz archive", "Unpack it and send the files inside"),
    (b"\x7fELF", "a program", "Send a document"),
    (b"MZ", "a program", "Send a document"),
    (b"%!PS", "a PostScript file", "Save it as PDF"),
)
_BY_SUFFIX: Final = {
    ".md": FileKind.MARKDOWN,
    ".markdown": FileKind.MARKDOWN,
    ".mdown": FileKind.MARKDOWN,
    ".html": FileKind.HTML,
    ".htm": FileKind.HTML,
    ".xhtml": FileKind.HTML,
    ".csv": FileKind.CSV,
    ".tsv": FileKind.CSV,
    ".eml": FileKind.EML,
}
_BY_TYPE: Final = {
    "text/markdown": FileKind.MARKDOWN,
    "text/x-markdown": FileKind.MARKDOWN,
    "text/html": FileKind.HTML,
    "application/xhtml+xml": FileKind.HTML,
    "text/csv": FileKind.CSV,
    "text/tab-separated-values": FileKind.CSV,
    "message/rfc822": FileKind.EML,
}
_BINARY_SUFFIXES: Final = {
    ".pdf": "PDF",
    ".docx": "DOCX",
    ".pptx": "PPTX",
    ".xlsx": "XLSX",
    ".msg": "MSG",
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
_HTML_START: Final = re.compile(
    rb"^(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*(?:<!doctype\s+html|<html[\s>]"
    rb"|<head[\s>]|<body[\s>])",
    re.IGNORECASE | re.DOTALL,
)
_MAIL_HEADER: Final = re.compile(rb"^([A-Za-z][A-Za-z0-9-]{1,40}):[ \t\r\n]", re.MULTILINE)
_MAIL_MARKS: Final = frozenset(
    b"received return-path message-id mime-version delivered-to dkim-signature".split()
)
_MAIL_PARTIES: Final = frozenset(b"from to subject date".split())


def detect(data: bytes, filename: str, media_type: str = "") -> Detected:
    """Return the kind of a file.

    Raises:
        DocumentBroken: The name promises a binary type that the content is not.
        DocumentEncrypted: Office's encrypted container.
        DocumentTypeUnknown: A type that has no reader.
    """
    head = data[:4096]
    suffix = PurePosixPath(filename.replace("\\", "/")).suffix.lower()
    if b"%PDF-" in head[:1024]:
        return _of(FileKind.PDF)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")):
        return _of(_office_kind(data, filename))
    if head.startswith(olefile.MAGIC):
        return _of(_ole_kind(data, filename))
    image = _image_type(head)
    if image:
        return Detected(FileKind.IMAGE, image)
    for magic, name, advice in _KNOWN_UNREADABLE:
        if head.startswith(magic) and (len(magic) > 2 or looks_binary(data)):
            raise _unknown(filename, name, advice)
    if looks_binary(data):
        if suffix in _BINARY_SUFFIXES:
            raise _mislabelled(filename, suffix)
        raise _unknown(filename, "of a binary type without a reader", "Save it as PDF")
    if _HTML_START.match(head):
        return _of(FileKind.HTML)
    if _is_mail(head):
        return _of(FileKind.EML)
    if suffix in _BINARY_SUFFIXES:
        raise _mislabelled(filename, suffix)
    declared = media_type.partition(";")[0].strip().lower()
    return _of(_BY_SUFFIX.get(suffix) or _BY_TYPE.get(declared) or FileKind.TEXT)


def _of(kind: FileKind) -> Detected:
    return Detected(kind, MEDIA_TYPES[kind])


def _unknown(filename: str, what: str, advice: str) -> DocumentTypeUnknown:
    return DocumentTypeUnknown(
        f"The file {filename[:120]!r} is {what}, which is not read. {advice}; "
        f"readable are {READABLE}.",
        filename=filename[:120],
    )


def _mislabelled(filename: str, suffix: str) -> DocumentBroken:
    expected = _BINARY_SUFFIXES[suffix]
    return DocumentBroken(
        f"The file {filename[:120]!r} is named {suffix} but does not begin as {expected} does. "
        "It may be cut off or wrongly named. Send the original file.",
        expected=expected,
    )


def _image_type(head: bytes) -> str | None:
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    for magic, media_type in _IMAGES:
        if head.startswith(magic) and (magic != b"BM" or _is_bitmap(head)):
            return media_type
    return None


def _is_bitmap(head: bytes) -> bool:
    """Text may begin with "BM"; a bitmap's reserved fields are zero and its header has a size."""
    return len(head) > 26 and head[6:10] == b"\0\0\0\0" and head[14] in (12, 40, 52, 56, 108, 124)


def _office_kind(data: bytes, filename: str) -> FileKind:
    with open_archive(data) as archive:
        names = archive.namelist()
        mimetype = b""
        if "mimetype" in names and archive.getinfo("mimetype").file_size < 200:
            mimetype = archive.read("mimetype")
    for folder, kind in (
        ("word/", FileKind.DOCX),
        ("ppt/", FileKind.PPTX),
        ("xl/", FileKind.XLSX),
    ):
        if "[Content_Types].xml" in names and any(name.startswith(folder) for name in names):
            if kind is FileKind.XLSX and "xl/workbook.bin" in names:
                raise _unknown(filename, "a binary Excel workbook (XLSB)", "Save it as XLSX")
            return kind
    if b"opendocument" in mimetype:
        raise _unknown(filename, "an OpenDocument file", "Save it as DOCX, XLSX, PPTX or PDF")
    if b"epub" in mimetype:
        raise _unknown(filename, "an EPUB book", "Save it as PDF or HTML")
    raise _unknown(filename, "a ZIP archive", "Unpack it and send the files inside")


def _ole_kind(data: bytes, filename: str) -> FileKind:
    try:
        with olefile.OleFileIO(io.BytesIO(data)) as container:
            streams = {entry[0] for entry in container.listdir(streams=True, storages=True)}
    except (OSError, ValueError, IndexError, TypeError) as error:
        raise DocumentBroken(
            f"The file {filename[:120]!r} starts as an Office or Outlook file, but its directory "
            f"cannot be read ({error}). Send it again, or save it anew."
        ) from error
    if "EncryptedPackage" in streams:
        raise DocumentEncrypted(
            f"The file {filename[:120]!r} is protected by a password or by rights management. "
            "Remove the protection and send it again."
        )
    if "__properties_version1.0" in streams:
        return FileKind.MSG
    for stream, what, advice in (
        ("WordDocument", "a Word 97-2003 document", "Save it as DOCX or PDF"),
        ("Workbook", "an Excel 97-2003 workbook", "Save it as XLSX"),
        ("Book", "an Excel 5 workbook", "Save it as XLSX"),
        ("PowerPoint Document", "a PowerPoint 97-2003 presentation", "Save it as PPTX or PDF"),
    ):
        if stream in streams:
            raise _unknown(filename, what, advice)
    raise _unknown(filename, "an OLE container of an unknown program", "Save it as PDF")


def _is_mail(head: bytes) -> bool:
    """A block of header lines with a party and a mark that only mail programs write."""
    block = re.split(rb"\r?\n\r?\n", head.lstrip(), maxsplit=1)[0]
    first = block[:200]
    if not re.match(rb"[A-Za-z][A-Za-z0-9-]{1,40}:[ \t]", first):
        return False
    found = {name.lower() for name in _MAIL_HEADER.findall(block)}
    return bool(found & _MAIL_PARTIES) and bool(found & _MAIL_MARKS)
