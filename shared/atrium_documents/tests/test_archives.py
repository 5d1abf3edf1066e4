from __future__ import annotations

import io
import struct
import zipfile

import pytest

from atrium_documents import (
    DocumentBroken,
    DocumentEncrypted,
    DocumentUnpacksTooLarge,
    DocumentUnsafe,
    ParseLimits,
)
from atrium_documents.containers import check_office_archive
from atrium_documents.limits import MIB

from .conftest import Read
from .making import archive, paragraph_xml, raw_docx

LIMITS = ParseLimits(max_unpacked_bytes=4 * MIB)


def test_honest_archive_passes_unchanged() -> None:
    data = raw_docx(paragraph_xml("x"))
    assert check_office_archive(data, LIMITS).data is data


def test_declared_size_above_the_limit_is_refused() -> None:
    data = raw_docx(paragraph_xml("x"), more={"word/media/a.bin": b"\0" * (5 * MIB)})
    with pytest.raises(DocumentUnpacksTooLarge, match="more than 4 MiB"):
        check_office_archive(data, LIMITS)


def test_ratio_that_only_a_bomb_has_is_refused() -> None:
    data = raw_docx(paragraph_xml("x"), more={"word/media/a.bin": b"\0" * (11 * MIB)})
    with pytest.raises(DocumentUnpacksTooLarge, match="times its size"):
        check_office_archive(data, ParseLimits())


def test_part_that_unpacks_to_more_than_it_states_is_refused() -> None:
    text = "".join(paragraph_xml(str(n)) for n in range(60_000))
    data = raw_docx(text)
    with zipfile.ZipFile(io.BytesIO(data)) as source:
        true_size = source.getinfo("word/document.xml").file_size
    assert true_size > MIB
    lying = data.replace(struct.pack("<I", true_size), struct.pack("<I", 100))
    with pytest.raises(DocumentUnpacksTooLarge, match="far more than the 100 bytes"):
        check_office_archive(lying, LIMITS)


def test_part_that_understates_its_size_a_little_is_broken() -> None:
    data = raw_docx(paragraph_xml("hello"))
    with zipfile.ZipFile(io.BytesIO(data)) as source:
        true_size = source.getinfo("word/document.xml").file_size
    lying = data.replace(struct.pack("<I", true_size), struct.pack("<I", 100))
    with pytest.raises(DocumentBroken, match="but the file states 100"):
        check_office_archive(lying, LIMITS)


def test_too_many_members_are_refused() -> None:
    with pytest.raises(DocumentUnpacksTooLarge, match="members"):
        check_office_archive(archive({f"{n}": b"" for n in range(20_001)}), LIMITS)


def test_corrupt_part_is_broken() -> None:
    data = bytearray(raw_docx(paragraph_xml("hello")))
    with zipfile.ZipFile(io.BytesIO(bytes(data))) as source:
        start = source.getinfo("word/document.xml").header_offset
    data[start + 60] ^= 0xFF
    with pytest.raises(DocumentBroken, match="corrupt"):
        check_office_archive(bytes(data), LIMITS)


def test_archive_with_a_password_is_named_so() -> None:
    data = bytearray(raw_docx(paragraph_xml("hello")))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = data.find(signature)
        while place >= 0:
            data[place + offset] |= 1
            place = data.find(signature, place + 1)
    with pytest.raises(DocumentEncrypted, match="password"):
        check_office_archive(bytes(data), LIMITS)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-be"])
@pytest.mark.parametrize(
    "prolog",
    [
        '<!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE d [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>',
    ],
)
def test_xml_entities_in_office_files_are_refused(encoding: str, prolog: str) -> None:
    part = f'<?xml version="1.0" encoding="{encoding}"?>{prolog}<d/>'.encode(encoding)
    with pytest.raises(DocumentUnsafe, match="XML entities") as caught:
        check_office_archive(raw_docx("", more={"word/styles.xml": part}), LIMITS)
    assert caught.value.reason == "DOCUMENT_UNSAFE"


def test_archives_inside_are_not_opened(read: Read) -> None:
    bomb = archive({"a": b"\0" * MIB})
    data = raw_docx(paragraph_xml("outer"), more={"word/embeddings/bomb.zip": bomb})
    assert read(data, "a.docx").text == "outer"
