"""Read one file, in this process: find its kind, run its reader, assemble the document.

Only the worker process calls this on files from outside: parsers are large, and some are in C.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Final

from atrium_documents.builder import DocumentBuilder
from atrium_documents.detection import FileKind, detect
from atrium_documents.limits import ParseLimits, check_size
from atrium_documents.model import ParsedDocument
from atrium_documents.ocr import OcrReader
from atrium_documents.reading import Budget, Reading

_READERS: Final = {
    FileKind.PDF: "pdf_file",
    FileKind.DOCX: "docx_file",
    FileKind.PPTX: "pptx_file",
    FileKind.XLSX: "xlsx_file",
    FileKind.HTML: "html_file",
    FileKind.MARKDOWN: "markdown_file",
    FileKind.TEXT: "text_file",
    FileKind.CSV: "csv_file",
    FileKind.EML: "eml_file",
    FileKind.MSG: "msg_file",
    FileKind.IMAGE: "image_file",
}


def load_readers() -> dict[FileKind, Callable[[Reading], None]]:
    """Import every reader, which takes about a second."""
    return {
        kind: importlib.import_module(f"atrium_documents.formats.{name}").read
        for kind, name in _READERS.items()
    }


class DocumentReader:
    """Reads files one after another; keeps the readers and the OCR models in memory."""

    def __init__(self) -> None:
        self._readers = load_readers()
        self._ocr = OcrReader()

    def read(
        self,
        data: bytes,
        filename: str,
        media_type: str,
        limits: ParseLimits,
        before_ocr: Callable[[], None] = lambda: None,
    ) -> ParsedDocument:
        """Read a file.

        Raises:
            DocumentError: The file cannot be read; the subclass says why.
        """
        check_size(len(data), limits)
        detected = detect(data, filename, media_type)
        builder = DocumentBuilder(limits)
        budget = Budget(limits, before_ocr)
        self._readers[detected.kind](
            Reading(data, filename, builder, budget, self._ocr.recognize, self._nested)
        )
        return builder.build(detected.media_type)

    def _nested(self, data: bytes, name: str, media_type: str, outer: Reading) -> DocumentBuilder:
        limits = outer.builder.limits
        check_size(len(data), limits)
        detected = detect(data, name, media_type)
        builder = DocumentBuilder(limits)
        self._readers[detected.kind](
            Reading(
                data, name, builder, outer.budget, outer.recognize, self._nested, outer.depth + 1
            )
        )
        return builder
