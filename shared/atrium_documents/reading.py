"""What every format reader gets: the bytes, the limits, and where to put what it finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from atrium_documents.builder import DocumentBuilder
from atrium_documents.errors import DocumentUnpacksTooLarge
from atrium_documents.limits import MIB, ParseLimits

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from atrium_documents.ocr import Recognized


@dataclass(slots=True)
class Budget:
    """What one upload may still use, shared with everything nested in it."""

    limits: ParseLimits
    before_ocr: Callable[[], None] = lambda: None
    """Called before each picture is read, so that the clock can be extended."""
    ocr_pages: int = 0
    unpacked: int = 0

    def take_ocr_page(self) -> bool:
        """Reserve one page of OCR; ``False`` when the limit is reached."""
        if self.ocr_pages >= self.limits.ocr_max_pages:
            return False
        self.ocr_pages += 1
        self.before_ocr()
        return True

    def take_unpacked(self, size: int) -> None:
        """Count bytes that came out of a container.

        Raises:
            DocumentUnpacksTooLarge: More than ``limits.max_unpacked_bytes`` in total.
        """
        self.unpacked += size
        if self.unpacked > self.limits.max_unpacked_bytes:
            raise DocumentUnpacksTooLarge(
                "The attachments unpack to more than "
                f"{self.limits.max_unpacked_bytes / MIB:,.0f} MiB, the most that is opened.",
                limit=self.limits.max_unpacked_bytes,
            )


@dataclass(slots=True)
class Reading:
    """One file being read."""

    data: bytes
    filename: str
    builder: DocumentBuilder
    budget: Budget
    recognize: Callable[[NDArray[Any]], Recognized]
    """OCR of an RGB picture (height, width, 3)."""
    read_nested: Callable[[bytes, str, str, Reading], DocumentBuilder] = field(repr=False)
    """Reads an attachment (bytes, name, declared media type) one level deeper."""
    depth: int = 0
