"""One contract for every index: what the plain one in memory does, the real one does too."""

import asyncio
import random
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from atrium_knowledge.adapters.memory_index import MemoryIndex
from atrium_knowledge.adapters.qdrant_edge_index import IndexUnavailable, QdrantEdgeIndex
from atrium_knowledge.app.ports import IndexPoint, PassageIndex, View
from atrium_knowledge.domain.collections import VectorSpace
from atrium_knowledge.domain.fusion import Scored

SPACE = VectorSpace("encoder-1", 16)
OTHER_SPACE = VectorSpace("encoder-2", 8)
DEPTH = 50


@pytest.fixture(params=["memory", "qdrant_edge"])
async def index(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[PassageIndex]:
    made = MemoryIndex() if request.param == "memory" else QdrantEdgeIndex(tmp_path / "index")
    yield made
    await made.close()


def unit(random_numbers: np.random.Generator, dimensions: int = 16) -> np.ndarray:
    vector = random_numbers.standard_normal(dimensions).astype(np.float32)
    return vector / np.linalg.norm(vector)


def point(
    number: int,
    terms: dict[int, float],
    *,
    access_class: int = 1,
    revision: int = 1,
    vector: np.ndarray | None = None,
) -> IndexPoint:
    return IndexPoint(number, revision, access_class, terms, vector)


def points_of(hits: list[Scored]) -> list[int]:
    return [hit.point for hit in hits]


def folders_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def view(*classes: int, hidden: tuple[int, ...] = ()) -> View:
    return View(frozenset(classes), frozenset(hidden))


async def test_nothing_is_found_in_a_collection_without_points(index: PassageIndex):
    assert await index.find_keywords("empty", {1: 1.0}, view(1), DEPTH) == []
    query = unit(np.random.default_rng(1))
    assert await index.find_vectors("empty", query, SPACE, view(1), DEPTH) == []
    assert await index.revisions("empty") == {}


async def test_points_are_ranked_by_rarity_and_weight_of_their_terms(index: PassageIndex):
    await index.upsert(
        "c", [point(1, {7: 1.0}), point(2, {7: 2.0}), point(3, {8: 1.0}), point(4, {9: 1.0})], None
    )
    assert points_of(await index.find_keywords("c", {7: 1.0, 8: 1.0}, view(1), DEPTH)) == [2, 3, 1]


async def test_points_are_ranked_by_cosine(index: PassageIndex):
    numbers = np.random.default_rng(2)
    vectors = {number: unit(numbers) for number in range(1, 30)}
    await index.upsert(
        "c", [point(number, {}, vector=vector) for number, vector in vectors.items()], SPACE
    )
    query = unit(numbers)
    expected = sorted(vectors, key=lambda number: -float(vectors[number] @ query))
    assert points_of(await index.find_vectors("c", query, SPACE, view(1), DEPTH)) == expected


async def test_classes_that_are_not_permitted_are_as_if_absent(index: PassageIndex):
    await index.upsert("c", [point(1, {7: 1.0}), point(2, {8: 1.0})], None)
    before = await index.find_keywords("c", {7: 1.0, 8: 0.5}, view(1), DEPTH)
    await index.upsert("c", [point(n, {7: 3.0}, access_class=2) for n in range(10, 40)], None)
    assert await index.find_keywords("c", {7: 1.0, 8: 0.5}, view(1), DEPTH) == before
    assert len(await index.find_keywords("c", {7: 1.0}, view(1, 2), DEPTH)) == 31
    assert await index.find_keywords("c", {7: 1.0}, view(), DEPTH) == []


async def test_vectors_of_other_classes_change_nothing_however_small_a_part_is_left(
    index: PassageIndex,
):
    numbers = np.random.default_rng(7)
    query = unit(numbers)
    mine = [point(n, {}, revision=1 + n % 2, vector=unit(numbers)) for n in range(1, 21)]
    await index.upsert("c", mine, SPACE)
    seen = view(1, hidden=(2,))
    before = await index.find_vectors("c", query, SPACE, seen, DEPTH)
    assert len(before) == 10
    others = [point(n, {}, access_class=2, vector=query) for n in range(100, 600)]
    await index.upsert("c", others, SPACE)
    assert await index.find_vectors("c", query, SPACE, seen, DEPTH) == before


async def test_scores_of_words_do_not_tell_what_else_the_index_holds(tmp_path: Path):
    chance = random.Random(6)

    def words(count: int) -> dict[int, float]:
        return {chance.randrange(200): chance.uniform(0.3, 2.0) for _ in range(count)}

    mine = [point(n, words(40)) for n in range(1000, 1400)]
    # They come first, so that the shard meets the words in another order, and are many.
    foreign = [point(n, words(40), access_class=2) for n in range(1, 1000)]
    alone, beside = QdrantEdgeIndex(tmp_path / "alone"), QdrantEdgeIndex(tmp_path / "beside")
    await beside.upsert("c", foreign, None)
    for index in (alone, beside):
        await index.upsert("c", mine, None)
    for _ in range(20):
        query = {term: float(chance.randrange(1, 4)) for term in words(12)}
        expected = await alone.find_keywords("c", query, view(1), DEPTH)
        assert await beside.find_keywords("c", query, view(1), DEPTH) == expected
    await alone.close()
    await beside.close()


async def test_hidden_revisions_are_as_if_absent(index: PassageIndex):
    await index.upsert("c", [point(1, {7: 1.0}), point(2, {8: 1.0})], None)
    before = await index.find_keywords("c", {7: 1.0, 8: 1.0}, view(1), DEPTH)
    await index.upsert("c", [point(n, {7: 3.0}, revision=5) for n in range(10, 40)], None)
    found = await index.find_keywords("c", {7: 1.0, 8: 1.0}, view(1, hidden=(5,)), DEPTH)
    assert found == before


async def test_equal_points_stand_in_the_order_of_their_numbers_at_any_depth(index: PassageIndex):
    numbers = list(range(1, 301))
    random.Random(3).shuffle(numbers)
    same = unit(np.random.default_rng(3))
    await index.upsert("c", [point(n, {7: 1.0}, vector=same) for n in numbers], SPACE)
    for depth in (1, 2, 50, 299, 300, 400):
        expected = list(range(1, min(depth, 300) + 1))
        assert points_of(await index.find_keywords("c", {7: 1.0}, view(1), depth)) == expected
        assert points_of(await index.find_vectors("c", same, SPACE, view(1), depth)) == expected


async def test_a_point_that_is_written_again_is_there_once(index: PassageIndex):
    await index.upsert("c", [point(1, {7: 1.0})], None)
    await index.upsert("c", [point(1, {8: 1.0})], None)
    assert await index.find_keywords("c", {7: 1.0}, view(1), DEPTH) == []
    assert points_of(await index.find_keywords("c", {8: 1.0}, view(1), DEPTH)) == [1]


async def test_a_changed_class_holds_at_once(index: PassageIndex):
    await index.upsert("c", [point(1, {7: 1.0}), point(2, {7: 1.0})], None)
    await index.set_classes("c", {1: 2, 99: 2})
    assert points_of(await index.find_keywords("c", {7: 1.0}, view(1), DEPTH)) == [2]
    assert points_of(await index.find_keywords("c", {7: 1.0}, view(2), DEPTH)) == [1]


async def test_removed_revisions_leave_no_trace_in_scores(index: PassageIndex):
    await index.upsert("c", [point(1, {7: 1.0}), point(2, {8: 1.0})], None)
    before = await index.find_keywords("c", {7: 1.0, 8: 1.0}, view(1), DEPTH)
    await index.upsert("c", [point(n, {7: 1.0}, revision=2) for n in range(10, 20)], None)
    assert await index.revisions("c") == {1: 2, 2: 10}
    await index.remove_revisions("c", [2, 3])
    assert await index.revisions("c") == {1: 2}
    assert await index.find_keywords("c", {7: 1.0, 8: 1.0}, view(1), DEPTH) == before


async def test_vectors_of_two_encoders_stand_side_by_side(index: PassageIndex):
    numbers = np.random.default_rng(4)
    first = {n: unit(numbers) for n in (1, 2, 3)}
    second = {n: unit(numbers, 8) for n in (1, 2)}
    await index.upsert("c", [point(n, {}, vector=v) for n, v in first.items()], SPACE)
    await index.set_vectors("c", {**second, 99: unit(numbers, 8)}, OTHER_SPACE)
    old = await index.find_vectors("c", first[3], SPACE, view(1), DEPTH)
    new = await index.find_vectors("c", second[2], OTHER_SPACE, view(1), DEPTH)
    assert (points_of(old)[0], len(old)) == (3, 3)
    assert (points_of(new)[0], len(new)) == (2, 2)
    await index.remove_space("c", SPACE)
    assert await index.find_vectors("c", first[3], SPACE, view(1), DEPTH) == []
    assert await index.find_vectors("c", second[2], OTHER_SPACE, view(1), DEPTH) == new


async def test_collections_do_not_see_each_other(index: PassageIndex):
    await index.upsert("a", [point(1, {7: 1.0})], None)
    await index.upsert("b", [point(2, {7: 1.0})], None)
    assert points_of(await index.find_keywords("a", {7: 1.0}, view(1), DEPTH)) == [1]
    await index.drop("a")
    assert await index.find_keywords("a", {7: 1.0}, view(1), DEPTH) == []
    assert points_of(await index.find_keywords("b", {7: 1.0}, view(1), DEPTH)) == [2]


async def test_a_dropped_collection_can_be_made_again(index: PassageIndex):
    await index.upsert("a", [point(1, {7: 1.0})], None)
    await index.drop("a")
    await index.upsert("a", [point(2, {7: 1.0})], None)
    assert points_of(await index.find_keywords("a", {7: 1.0}, view(1), DEPTH)) == [2]


async def test_the_real_index_agrees_with_the_plain_one(tmp_path: Path):
    chance, numbers = random.Random(5), np.random.default_rng(5)
    plain, real = MemoryIndex(), QdrantEdgeIndex(tmp_path / "index")
    points = [
        point(
            n,
            {chance.randrange(60): chance.uniform(0.5, 2.0) for _ in range(8)},
            access_class=chance.randrange(1, 21),
            revision=n // 20,
            vector=unit(numbers),
        )
        for n in range(1, 400)
    ]
    for index in (plain, real):
        for start in range(0, len(points), 64):
            await index.upsert("c", points[start : start + 64], SPACE)
    for _ in range(40):
        seen = view(
            *chance.sample(range(1, 21), chance.choice([1, 2, 3, 10, 20])),
            hidden=tuple(chance.sample(range(20), chance.randrange(0, 4))),
        )
        terms = {chance.randrange(60): float(chance.randrange(1, 3)) for _ in range(5)}
        depth, query = chance.choice([1, 5, 50]), unit(numbers)
        keywords = await real.find_keywords("c", terms, seen, depth)
        assert_same(keywords, await plain.find_keywords("c", terms, seen, 400), depth)
        nearest = await real.find_vectors("c", query, SPACE, seen, depth)
        assert_same(nearest, await plain.find_vectors("c", query, SPACE, seen, 400), depth)
    await real.close()


def assert_same(real: list[Scored], everything: list[Scored], depth: int) -> None:
    """The same scores in the same places; sums in other precision may swap near neighbours."""
    expected = {hit.point: hit.score for hit in everything}
    close = pytest.approx([hit.score for hit in everything[:depth]], rel=1e-5, abs=1e-5)
    assert [hit.score for hit in real] == close
    for hit in real:
        assert hit.score == pytest.approx(expected[hit.point], rel=1e-5, abs=1e-5)


async def test_what_was_flushed_is_there_after_a_restart(tmp_path: Path):
    first = QdrantEdgeIndex(tmp_path)
    vector = unit(np.random.default_rng(6))
    await first.upsert("c", [point(1, {7: 1.0}, vector=vector)], SPACE)
    await first.flush("c")
    await first.close()
    second = QdrantEdgeIndex(tmp_path)
    assert points_of(await second.find_keywords("c", {7: 1.0}, view(1), DEPTH)) == [1]
    assert points_of(await second.find_vectors("c", vector, SPACE, view(1), DEPTH)) == [1]
    await second.close()


async def test_each_flush_brings_what_was_written_since_the_last_one_to_the_disk(tmp_path: Path):
    index = QdrantEdgeIndex(tmp_path / "index")
    for number in (1, 2):
        await index.upsert("c", [point(number, {7: 1.0})], None)
        await index.flush("c")
    # What a machine that stops at this moment may lose is the log of writes.
    shutil.copytree(tmp_path / "index", tmp_path / "left")
    shutil.rmtree(tmp_path / "left" / "c" / "wal")
    left = QdrantEdgeIndex(tmp_path / "left")
    assert points_of(await left.find_keywords("c", {7: 1.0}, view(1), DEPTH)) == [1, 2]
    await left.close()
    await index.close()


async def test_more_collections_than_may_be_open_are_served_in_turn(tmp_path: Path):
    index = QdrantEdgeIndex(tmp_path, max_open=2, threads=2)
    shards = [f"c{n}" for n in range(6)]
    await asyncio.gather(*(index.upsert(shard, [point(1, {7: 1.0})], None) for shard in shards))
    for _ in range(3):
        found = await asyncio.gather(
            *(index.find_keywords(shard, {7: 1.0}, view(1), DEPTH) for shard in shards)
        )
        assert [points_of(hits) for hits in found] == [[1]] * 6
    await index.close()


async def test_a_second_process_is_told_that_the_folder_is_in_use(tmp_path: Path):
    first, second = QdrantEdgeIndex(tmp_path), QdrantEdgeIndex(tmp_path)
    await first.upsert("c", [point(1, {7: 1.0})], None)
    with pytest.raises(IndexUnavailable) as caught:
        await second.find_keywords("c", {7: 1.0}, view(1), DEPTH)
    assert caught.value.reason == "INDEX_UNAVAILABLE"
    assert caught.value.metadata == {"shard": "c"}
    await first.close()
    await second.close()


async def test_a_shard_that_a_crash_left_half_made_is_made_anew(tmp_path: Path):
    folder = tmp_path / "index"
    (folder / "c.new" / "segments").mkdir(parents=True)
    (folder / "c.new" / "segments" / "rubbish").write_text("cut off")
    index = QdrantEdgeIndex(folder)
    await index.upsert("c", [point(1, {7: 1.0})], None)
    assert points_of(await index.find_keywords("c", {7: 1.0}, view(1), DEPTH)) == [1]
    assert folders_in(folder) == ["c"]
    await index.close()
