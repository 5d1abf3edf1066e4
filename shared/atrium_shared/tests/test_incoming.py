from collections.abc import AsyncIterator, Callable
from hashlib import sha256
from pathlib import Path

import pytest

from atrium_shared.blobs import BlobStore
from atrium_shared.incoming import IncomingFile


class Empty(Exception):
    pass


class TooLarge(Exception):
    pass


class HungUp(Exception):
    pass


async def parts(*sent: bytes, fail: bool = False) -> AsyncIterator[bytes]:
    for part in sent:
        yield part
    if fail:
        raise HungUp


@pytest.fixture
def incoming() -> Callable[..., IncomingFile]:
    def make(sent: AsyncIterator[bytes], limit: int = 10) -> IncomingFile:
        return IncomingFile(sent, limit_bytes=limit, empty=Empty, too_large=TooLarge)

    return make


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(f"file://{tmp_path}")


async def test_a_file_is_stored_with_its_size_and_hash(incoming, store):
    file = incoming(parts(b"", b"abc", b"", b"defghij"))
    await file.open()
    await file.save(store, "f/original")
    assert await store.get("f/original") == b"abcdefghij"
    assert (file.size_bytes, file.hash) == (10, sha256(b"abcdefghij").hexdigest())


@pytest.mark.parametrize("sent", [(), (b"", b"")])
async def test_a_file_without_bytes_is_refused_before_anything_is_stored(incoming, sent):
    with pytest.raises(Empty):
        await incoming(parts(*sent)).open()


async def test_a_first_part_over_the_limit_is_refused_at_once(incoming):
    with pytest.raises(TooLarge):
        await incoming(parts(b"x" * 11)).open()


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (parts(b"x", b"x" * 10), TooLarge),
        (parts(b"x" * 9, b"xx", fail=True), TooLarge),
        (parts(b"x" * 9, fail=True), HungUp),
    ],
)
async def test_what_ends_a_file_is_raised_and_nothing_is_left(
    incoming, store, tmp_path, sent, error
):
    file = incoming(sent)
    await file.open()
    with pytest.raises(error):
        await file.save(store, "f/original")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
