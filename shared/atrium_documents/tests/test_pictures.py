from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from atrium_documents import DocumentBroken, DocumentHasNoText, DocumentTooLarge, ParseLimits

from .conftest import Read
from .making import image_bytes, picture

DATA = Path(__file__).parent / "data"
LINES = ["Annual leave is thirty days.", "Ask your manager in advance."]


def test_picture_of_text_is_read(read: Read) -> None:
    document = read(image_bytes(picture(LINES)), "scan.png")
    assert document.media_type == "image/png"
    assert all(line in document.text for line in LINES)
    assert document.blocks[0].page == 1
    assert document.warnings == ("The text was read from a picture by OCR and may contain errors.",)


def test_chinese_picture_is_read(read: Read) -> None:
    document = read((DATA / "chinese.png").read_bytes(), "scan.png")
    assert "员工每年享有三十天带薪年假" in document.text
    assert document.language == "zh"


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_picture_on_its_side_or_head_is_turned(read: Read, degrees: int) -> None:
    turned = picture(LINES).rotate(degrees, expand=True)
    document = read(image_bytes(turned), "scan.png")
    places = [document.text.index(line) for line in LINES]
    assert places == sorted(places)


def test_each_frame_of_a_tiff_is_a_page(read: Read) -> None:
    out = io.BytesIO()
    first, second = picture(["The first page."]), picture(["The second page."])
    first.save(out, "TIFF", save_all=True, append_images=[second])
    document = read(out.getvalue(), "scan.tiff")
    assert [block.page for block in document.blocks] == [1, 2]
    assert document.page_count == 2


def test_frames_above_the_limit_are_left_out_and_named(read: Read) -> None:
    out = io.BytesIO()
    picture(["The first page."]).save(
        out, "TIFF", save_all=True, append_images=[picture(["The second page."])]
    )
    document = read(out.getvalue(), "scan.tiff", limits=ParseLimits(ocr_max_pages=1))
    assert "second" not in document.text
    assert "Only the first 1 of 2 pages" in document.warnings[1]


def test_transparent_picture_is_read_on_white(read: Read) -> None:
    page = picture(LINES, size=(1000, 400)).convert("L")
    ink = Image.new("RGBA", page.size, (0, 0, 0, 0))
    ink.putalpha(page.point(lambda value: 255 - value))
    assert LINES[0] in read(image_bytes(ink), "scan.png").text


def test_empty_picture_has_no_text(read: Read) -> None:
    with pytest.raises(DocumentHasNoText, match="holds no words"):
        read(image_bytes(Image.new("RGB", (300, 300), "white")), "blank.png")


def test_picture_that_is_cut_off_is_broken(read: Read) -> None:
    with pytest.raises(DocumentBroken, match="picture cannot be opened"):
        read(image_bytes(picture(LINES))[:500], "scan.png")


def test_picture_that_unfolds_to_a_billion_pixels_is_refused(read: Read) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 1, 0, 0, 0, 0)
    data = zlib.compress(b"\0" * (3751 * 30_000), 9)
    bomb = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )
    with pytest.raises(DocumentTooLarge, match="30,000 x 30,000 pixels"):
        read(bomb, "bomb.png")
