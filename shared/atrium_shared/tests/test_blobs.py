from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from atrium_shared.blobs import BlobNotFound, BlobStore


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(f"file://{tmp_path}/with space/blobs".replace(" ", "%20"))


async def parts(*sizes: int, fail: bool = False) -> AsyncIterator[bytes]:
    for size in sizes:
        yield b"x" * size
    if fail:
        raise ConnectionResetError("the client went away")


async def test_a_stored_blob_reads_back_whole_and_in_parts(store):
    assert await store.put("t/a.bin", parts(3_000_000, 3_000_000, 1)) == 6_000_001
    assert await store.get("t/a.bin") == b"x" * 6_000_001
    assert sum([len(part) async for part in store.stream("t/a.bin")]) == 6_000_001
    path = store.open_path("t/a.bin")
    assert path is not None
    assert path.stat().st_size == 6_000_001


async def test_an_interrupted_upload_leaves_nothing(store, tmp_path):
    with pytest.raises(ConnectionResetError):
        await store.put("t/half.bin", parts(6_000_000, fail=True))
    assert not await store.exists("t/half.bin")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


async def test_a_second_put_replaces_the_first(store):
    await store.put("k", b"old")
    await store.put("k", b"new")
    assert await store.get("k") == b"new"


async def test_deleting_a_folder_leaves_its_neighbours_and_nothing_half_written(store, tmp_path):
    for key in ("a/1", "a/2/3", "ab/1"):
        await store.put(key, b"1")
    folder = store.open_path("a")
    assert folder is not None
    (folder / "4#1").write_bytes(b"what a crash left")
    await store.delete_folder("a")
    assert await store.keys() == ["ab/1"]
    assert not folder.exists()
    await store.delete_folder("never/was")
    await store.delete("never/was")


@pytest.mark.parametrize("folder", ["", "/"])
async def test_the_whole_store_is_not_deleted_by_an_empty_name(store, folder):
    await store.put("a/1", b"1")
    with pytest.raises(ValueError, match="folder"):
        await store.delete_folder(folder)
    assert await store.keys() == ["a/1"]


async def test_an_absent_blob_is_named(store):
    with pytest.raises(BlobNotFound) as caught:
        await store.get("nope")
    assert caught.value.metadata == {"key": "nope"}
    with pytest.raises(BlobNotFound):
        [part async for part in store.stream("nope")]
    assert not await store.exists("nope")
