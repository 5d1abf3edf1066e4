"""The index is kept complete: with the vectors of the encoder there is, and with every passage."""

import asyncio
import shutil
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from atrium.knowledge.v1 import knowledge_pb2
from atrium_knowledge.app.ports import IndexPoint
from atrium_knowledge.testing import PEOPLE, FakeDelegation, HashEmbedder, House, away
from atrium_shared.testing import eventually
from atrium_shared.testing_models import NoModel

TEXT = "# Leave\n\nEveryone has 25 days of leave."
OTHER = "# Trips\n\nFlights are booked by the office."
At = Callable[..., AbstractAsyncContextManager[House]]


def without_encoder() -> HashEmbedder:
    embedder = HashEmbedder()
    embedder.failure = NoModel()
    return embedder


async def found_by_vector(house: House) -> int:
    found = await house.search("leave days office")
    return sum(one.vector_rank > 0 for one in found.results)


async def test_documents_without_vectors_get_them_when_there_is_an_encoder(house_at: At):
    async with house_at(embedder=without_encoder()) as house:
        await house.collection()
        await house.add(TEXT)
        await house.add(OTHER)
        assert await found_by_vector(house) == 0
    async with house_at() as house:

        async def complete() -> bool:
            return await found_by_vector(house) == 2

        await eventually(complete)


async def test_an_encoder_that_comes_later_is_noticed_without_a_restart(house_at: At):
    embedder = without_encoder()
    async with house_at(embedder=embedder, upkeep_seconds=0.05) as house:
        await house.collection()
        await house.add(TEXT)
        embedder.failure = None

        async def complete() -> bool:
            return await found_by_vector(house) == 1

        await eventually(complete)


async def test_upkeep_outlives_an_outage_of_the_database(house_at: At):
    embedder = without_encoder()
    async with house_at(embedder=embedder, upkeep_seconds=0.05) as house:
        await house.collection()
        await house.add(TEXT)
        with away(house.settings.database_url):
            await asyncio.sleep(0.3)
        embedder.failure = None

        async def complete() -> bool:
            return await found_by_vector(house) == 1

        await eventually(complete)


async def test_one_collection_that_fails_keeps_no_other_from_being_looked_after(
    house_at: At, monkeypatch: pytest.MonkeyPatch
):
    embedder = without_encoder()
    async with house_at(embedder=embedder, upkeep_seconds=0.05) as house:
        broken = await house.collection("a-broken")
        await house.collection()
        await house.add(TEXT)
        uid = next(row[0] for row in house.stored_rows("collections") if "a-broken" in row)
        flush = house.index.flush

        async def fail(collection_uid: str) -> None:
            if collection_uid == uid:
                raise RuntimeError(f"{broken.name} is damaged")
            await flush(collection_uid)

        monkeypatch.setattr(house.index, "flush", fail)
        embedder.failure = None

        async def complete() -> bool:
            return await found_by_vector(house) == 1

        await eventually(complete)


async def test_points_that_were_lost_come_back_although_users_are_unknown_at_the_start(
    house_at: At, tmp_path: Path
):
    delegation = FakeDelegation(list(PEOPLE.values()))
    async with house_at() as house:
        await house.collection()
        await house.add(TEXT)
    shutil.rmtree(tmp_path / "index")
    delegation.failure = NoModel()
    async with house_at(delegation=delegation, upkeep_seconds=0.05) as house:
        assert await house.find("days") == []
        await asyncio.sleep(0.2)
        delegation.failure = None

        async def restored() -> bool:
            return len(await house.find("days")) == 1

        await eventually(restored)


async def test_another_encoder_replaces_all_vectors(house_at: At):
    async with house_at() as house:
        await house.collection()
        await house.add(TEXT)
        await house.add(OTHER)
    async with house_at(embedder=HashEmbedder("models/hash-2", dimensions=48)) as house:

        async def complete() -> bool:
            return await found_by_vector(house) == 2

        await eventually(complete)
        await house.add("# More\n\nMore days in the office.")
        assert await found_by_vector(house) == 3


async def test_an_encoder_changed_under_way_is_noticed_by_a_search(house_at: At):
    async with house_at() as house:
        await house.collection()
        await house.add(TEXT)
    async with house_at() as house:

        async def looked_after() -> bool:
            return "encoder" in house.embedder.texts  # What the first look asks for.

        await eventually(looked_after)
        house.embedder.encoder = "models/hash-2"
        found = await house.search("leave")
        assert [one.keyword_rank for one in found.results] == [1]
        assert [one.vector_rank for one in found.results] == [0]

        async def complete() -> bool:
            return await found_by_vector(house) == 1

        await eventually(complete)


async def test_topics_get_vectors_when_there_is_an_encoder(house_at: At):
    topic = knowledge_pb2.RestrictedTopic(
        id="pay",
        description="Pay",
        examples=["What do people earn?"],
        labels=["hr/pay"],
        refusals={"en": "Ask HR."},
    )
    async with house_at(embedder=without_encoder()) as house:
        await house.collection(restricted_topics=[topic])
        assert house.stored_rows("topic_vectors") == []
    async with house_at() as house:

        async def complete() -> bool:
            return len(house.stored_rows("topic_vectors")) == 1

        await eventually(complete)


async def test_topics_are_encoded_when_they_are_set(house: House):
    topic = knowledge_pb2.RestrictedTopic(
        id="pay",
        description="Pay",
        examples=["What do people earn?"],
        counter_examples=["When is pay day?"],
        labels=["hr/pay"],
        refusals={"en": "Ask HR."},
    )
    await house.collection(restricted_topics=[topic])
    assert house.embedder.texts[:3] == ["Pay", "What do people earn?", "When is pay day?"]
    assert len(house.stored_rows("topic_vectors")) == 1


async def test_a_lost_index_is_made_again_from_the_records(house_at: At, tmp_path: Path):
    async with house_at() as house:
        await house.collection()
        await house.add(TEXT)
        await house.add(OTHER)
    shutil.rmtree(tmp_path / "index")
    async with house_at() as house:

        async def complete() -> bool:
            found = await house.search("leave days office")
            return sum(one.vector_rank > 0 and one.keyword_rank > 0 for one in found.results) == 2

        await eventually(complete)
        assert len(house.parser.parsed) == 0


async def test_points_that_the_records_do_not_know_are_removed(house_at: At):
    async with house_at() as house:
        await house.collection()
        await house.add(TEXT)
        uid = house.stored_rows("collections")[0][0]
        await house.index.upsert(uid, [IndexPoint(77 << 20, 77, 1, {1: 1.0}, None)], None)
    async with house_at() as house:

        async def complete() -> bool:
            return await house.index.revisions(uid) == {1: 1}

        await eventually(complete)
