"""How much one file may cost."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

from atrium_documents.errors import DocumentEmpty, DocumentTooLarge

MIB: Final = 1 << 20
GIB: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class ParseLimits:
    """How much a file may cost. A file over a limit is refused; nothing is cut off silently."""

    max_bytes: int = 50 * MIB
    """Size of the file."""
    max_unpacked_bytes: int = 200 * MIB
    """Size of all it contains once unpacked (Office files are archives; mails hold attachments)."""
    max_pages: int = 2000
    """Pages, slides or worksheets."""
    max_text_chars: int = 10_000_000
    """Code points of the extracted text."""
    timeout_seconds: float = 60
    """Wall-clock time for one file, not counting OCR."""
    memory_bytes: int = 2 * GIB
    """Address space that one file may add to its worker process."""
    ocr_max_pages: int = 100
    """Pages or pictures read by OCR; further ones are left out, with a warning."""
    ocr_page_seconds: float = 20
    """Wall-clock time added to ``timeout_seconds`` for each page read by OCR."""
    max_attachment_depth: int = 3
    """How deep mails within mails are opened."""

    def __post_init__(self) -> None:
        """Refuse limits that would let nothing through.

        Raises:
            ValueError: A limit is not positive.
        """
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in ("ocr_max_pages", "max_attachment_depth"):
                if value < 0:
                    raise ValueError(f"ParseLimits.{field.name} is {value}; expected 0 or more.")
            elif value <= 0:
                raise ValueError(f"ParseLimits.{field.name} is {value}; expected more than 0.")


def check_size(size: int, limits: ParseLimits) -> None:
    """Refuse files of no bytes and of too many.

    Raises:
        DocumentEmpty: 0 bytes.
        DocumentTooLarge: More than ``limits.max_bytes``.
    """
    if size == 0:
        raise DocumentEmpty(
            "The file has 0 bytes. Expected a document with text. Check that the upload was "
            "complete, and send it again."
        )
    if size > limits.max_bytes:
        raise DocumentTooLarge(
            f"The file has {size / MIB:,.1f} MiB; at most {limits.max_bytes / MIB:,.1f} MiB are "
            "read. Split it, or make its pictures smaller.",
            limit=limits.max_bytes,
            size=size,
        )
