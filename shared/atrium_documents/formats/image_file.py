"""Pictures of text: scans, photographs and screenshots, read by OCR."""

from __future__ import annotations

import io
import re
import zipfile
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, ImageSequence, UnidentifiedImageError

from atrium_documents.errors import DocumentBroken, DocumentTooLarge
from atrium_documents.layout import Page, add_pages
from atrium_documents.ocr import ENGINE
from atrium_documents.reading import Reading

_FORMATS: Final = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF")
_MOST_PIXELS: Final = 120_000_000
_LONGEST_SIDE: Final = 2400
"""Pixels; an A4 page at 200 dots per inch. More slows OCR and reads no better."""
_SMALLEST_SIDE: Final = 24
# Pillow's own guard against huge pictures knows no message for people; `_read_frame` has one.
Image.MAX_IMAGE_PIXELS = None
_READABLE_PART: Final = re.compile(r"\.(?:png|jpe?g|tiff?|bmp|webp|gif)$", re.IGNORECASE)


def read(reading: Reading) -> None:
    """Read a picture; each frame of a TIFF file is a page."""
    try:
        with Image.open(io.BytesIO(reading.data), formats=_FORMATS) as image:
            frames = getattr(image, "n_frames", 1) if image.format == "TIFF" else 1
            reading.builder.count_pages(frames)
            pages: list[Page] = []
            for number, frame in enumerate(ImageSequence.Iterator(image), 1):
                if number > frames or not reading.budget.take_ocr_page():
                    break
                pages.append(_read_frame(reading, frame, number))
    except DocumentTooLarge:
        raise
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, EOFError) as error:
        raise DocumentBroken(
            f"The picture cannot be opened ({type(error).__name__}). It may be cut off. Send it "
            "again, or save it anew as PNG or JPEG."
        ) from error
    reading.builder.used(ENGINE)
    reading.builder.warn("The text was read from a picture by OCR and may contain errors.")
    if len(pages) < frames:
        reading.builder.warn(
            f"Only the first {len(pages)} of {frames} pages were read: OCR is limited to "
            f"{reading.builder.limits.ocr_max_pages} pages a file."
        )
    add_pages(reading.builder, pages)


def read_pictures(reading: Reading, archive: bytes, folder: str) -> None:
    """Read the pictures of an Office file that holds no other text."""
    pages: list[Page] = []
    with zipfile.ZipFile(io.BytesIO(archive)) as container:
        names = [n for n in container.namelist() if n.startswith(folder)]
        for name in sorted(filter(_READABLE_PART.search, names), key=_natural):
            try:
                with Image.open(io.BytesIO(container.read(name)), formats=_FORMATS) as image:
                    if not reading.budget.take_ocr_page():
                        break
                    pages.append(_read_frame(reading, image, None))
            except (UnidentifiedImageError, OSError, ValueError, SyntaxError, EOFError):
                reading.builder.warn(f"The picture {name.rpartition('/')[2]!r} cannot be opened.")
    if pages:
        reading.builder.used(ENGINE)
        reading.builder.warn(
            "The file holds pictures only; their text was read by OCR and may contain errors."
        )
        add_pages(reading.builder, pages)


def _natural(name: str) -> list[Any]:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def _read_frame(reading: Reading, frame: Image.Image, number: int | None) -> Page:
    width, height = frame.size
    if width * height > _MOST_PIXELS:
        raise DocumentTooLarge(
            f"The picture has {width:,} x {height:,} pixels; at most {_MOST_PIXELS:,} are read. "
            "Make it smaller: 200 dots per inch are enough for text.",
            limit=_MOST_PIXELS,
        )
    pixels = to_pixels(frame)
    if min(width, height) < _SMALLEST_SIDE:
        return Page(number, width, height, [], by_ocr=True)
    found = reading.recognize(pixels)
    return Page(number, found.width, found.height, found.lines, by_ocr=True)


def to_pixels(image: Image.Image) -> NDArray[Any]:
    """Return RGB pixels (height, width, 3), upright by EXIF, transparent parts white, bounded."""
    if image.width > 2 * _LONGEST_SIDE and image.format == "JPEG":
        image.draft("RGB", (_LONGEST_SIDE, _LONGEST_SIDE))
    image = ImageOps.exif_transpose(image)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        image = Image.new("RGB", rgba.size, "white")
        image.paste(rgba, mask=rgba.getchannel("A"))
    elif image.mode != "RGB":
        image = image.convert("RGB")
    image.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE), Image.Resampling.LANCZOS)
    return np.asarray(image)
