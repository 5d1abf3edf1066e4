"""Hostile and broken files through the real parser: refused by name, and nothing of them stays."""

import io
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from google.rpc import error_details_pb2

from atrium.knowledge.v1 import knowledge_pb2
from atrium_documents import DocumentParser
from atrium_knowledge.testing import House, open_house

FILES = Path(__file__).parent / "files"
ENCRYPTED = (FILES / "encrypted.pdf").read_bytes()
READABLE = (FILES / "leave.pdf").read_bytes()
MIB = 1 << 20


def archive(parts: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
        for name, data in parts.items():
            target.writestr(name, data)
    return out.getvalue()


def bomb() -> bytes:
    """A Word file of a few hundred kB that unpacks to 300 MB."""
    types = b'<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/'
    types += b'content-types"/>'
    return archive({"[Content_Types].xml": types, "word/document.xml": b" " * (300 * MIB)})


@pytest.fixture
async def real_house(tmp_path: Path) -> AsyncIterator[House]:
    async with DocumentParser(workers=1) as parser, open_house(tmp_path, parser=parser) as house:
        await house.collection()
        yield house


async def test_bad_files_fail_by_name_and_a_good_one_after_them_is_read(real_house: House):
    bad = {
        "DOCUMENT_ENCRYPTED": ("a.pdf", ENCRYPTED),
        "DOCUMENT_BROKEN": ("b.pdf", READABLE[: len(READABLE) // 5]),
        "DOCUMENT_UNPACKS_TOO_LARGE": ("c.docx", bomb()),
        "DOCUMENT_HAS_NO_TEXT": ("d.txt", b" \n\t \n"),
        "DOCUMENT_TYPE_UNKNOWN": ("e.bin", bytes(range(256)) * 8),
    }
    for reason, (filename, data) in bad.items():
        operation = await real_house.done(await real_house.upload(data, filename=filename))
        info = error_details_pb2.ErrorInfo()
        operation.error.details[0].Unpack(info)
        assert info.reason == reason
        assert operation.error.message
        # The job goes on after the answer: it removes the file.
        await real_house.jobs.wait(operation.name.rpartition(".")[2])
    assert real_house.stored_files() == []
    document = await real_house.add(READABLE, filename="leave.pdf")
    assert document.state == knowledge_pb2.Document.READY
    assert (document.media_type, document.page_count) == ("application/pdf", 2)
    found = (await real_house.search("days of leave")).results[0].passage
    assert "25 days" in found.text
    assert found.page == 2
