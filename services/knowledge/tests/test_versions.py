import hashlib
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import grpc
from google.protobuf import field_mask_pb2

from atrium.knowledge.v1 import knowledge_pb2, knowledge_service_pb2, versions_pb2
from atrium_knowledge.testing import House, database_url_in, run_sql
from atrium_shared.clock import FixedClock
from atrium_shared.testing import error_of

TEXT = "# Guide\n\nIntro words.\n\n## Pay\n\nGrade 5 earns 30,000."
NAME = "collections/handbook/documents/guide"
State = versions_pb2.DocumentVersion


async def versions_of(
    house: House, name: str = NAME, who: str = "editor", **page: object
) -> list[versions_pb2.DocumentVersion]:
    listed = await house.as_(who).ListDocumentVersions(
        versions_pb2.ListDocumentVersionsRequest(parent=name, **page)
    )
    return list(listed.versions)


async def keep(house: House, number: int | None, *paths: str) -> knowledge_pb2.Collection:
    return await house.as_("admin").UpdateCollection(
        knowledge_service_pb2.UpdateCollectionRequest(
            collection=knowledge_pb2.Collection(
                name="collections/handbook", display_name="Handbook", versions_kept=number
            ),
            update_mask=field_mask_pb2.FieldMask(paths=paths) if paths else None,
        )
    )


async def test_every_upload_stays_listed_with_who_when_and_what(house: House):
    await house.collection()
    await house.add(TEXT, document_id="guide", filename="one.md", labels=["hr/pay"])
    await house.add("# Other", document_id="guide", filename="two.md", who="admin")
    newest, first = await versions_of(house)
    assert (newest.name, newest.version) == (f"{NAME}/versions/2", 2)
    assert (newest.state, first.state) == (State.CURRENT, State.SUPERSEDED)
    assert (newest.filename, first.filename) == ("two.md", "one.md")
    assert (newest.actor, first.actor) == ("users/admin", "users/editor")
    assert first.content_hash == hashlib.sha256(TEXT.encode()).hexdigest()
    assert first.size_bytes == len(TEXT)
    assert first.create_time.ToDatetime() < newest.create_time.ToDatetime()
    assert first.text_kept
    assert newest.text_kept
    assert first.label_periods[0].end_time == newest.label_periods[0].start_time
    assert list(newest.label_periods[0].labels) == ["hr/pay"]


async def test_labels_are_listed_with_the_times_they_were_in_force(
    house_at: Callable[..., AbstractAsyncContextManager[House]],
):
    clock = FixedClock()
    async with house_at(clock=clock) as house:
        await house.collection()
        await house.add(TEXT, document_id="guide")
        begun = clock.now()
        clock.advance(60)
        sections = [knowledge_pb2.SectionLabels(heading="Pay", labels=["hr/pay"])]
        for labels in (["staff"], ["staff"], ["board"]):
            await house.as_("editor").SetDocumentLabels(
                knowledge_service_pb2.SetDocumentLabelsRequest(
                    name=NAME, labels=labels, section_labels=sections
                )
            )
            clock.advance(60)
        periods = (await versions_of(house))[0].label_periods
    assert [list(one.labels) for one in periods] == [[], ["staff"], ["board"]]
    assert [one.start_time.seconds - int(begun.timestamp()) for one in periods] == [0, 60, 180]
    assert [one.HasField("end_time") for one in periods] == [True, True, False]
    assert [one.section_labels[0].heading for one in periods[1:]] == ["Pay", "Pay"]


async def test_versions_that_failed_or_were_never_current_have_no_labels_in_force(house: House):
    await house.collection()
    await house.done(await house.upload("broken", document_id="guide"))
    (version,) = await versions_of(house)
    assert (version.state, version.error_reason) == (State.FAILED, "DOCUMENT_BROKEN")
    assert not version.text_kept
    assert not version.label_periods


async def test_versions_come_in_full_pages_newest_first(house: House):
    await house.collection()
    for number in range(5):
        await house.add(f"# Guide {number}", document_id="guide")
    numbers: list[int] = []
    token = ""
    while True:
        page = await house.as_("editor").ListDocumentVersions(
            versions_pb2.ListDocumentVersionsRequest(parent=NAME, page_size=2, page_token=token)
        )
        numbers += [one.version for one in page.versions]
        token = page.next_page_token
        if not token:
            break
        assert len(page.versions) == 2
    assert numbers == [5, 4, 3, 2, 1]


async def test_a_page_token_of_another_document_is_refused(house: House):
    await house.collection()
    for document_id in ("guide", "other"):
        await house.add("# One", document_id=document_id)
        await house.add("# Two", document_id=document_id)
    page = await house.as_("editor").ListDocumentVersions(
        versions_pb2.ListDocumentVersionsRequest(
            parent="collections/handbook/documents/other", page_size=1
        )
    )
    error = await error_of(versions_of(house, page_token=page.next_page_token))
    assert (error.code, error.reason) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "PAGE_TOKEN_INVALID",
    )


async def test_versions_of_an_unknown_document_are_not_found(house: House):
    await house.collection()
    error = await error_of(versions_of(house))
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "DOCUMENT_NOT_FOUND")
    assert error.metadata == {"document": NAME}


async def test_versions_are_shown_to_managers_alone(house: House):
    await house.collection()
    await house.add(TEXT, document_id="guide")
    error = await error_of(versions_of(house, who="partner"))
    assert (error.code, error.reason) == (
        grpc.StatusCode.PERMISSION_DENIED,
        "PERMISSION_DENIED",
    )


async def test_texts_over_the_number_kept_go_and_their_versions_stay(house: House):
    await house.collection(versions_kept=1)
    for number in range(4):
        await house.add(f"# Guide {number}", document_id="guide")
    assert [one.text_kept for one in await versions_of(house)] == [True, True, False, False]
    assert len([name for name in house.stored_files() if name.endswith("original")]) == 2
    assert house.stored_rows("purges") == []


async def test_keeping_fewer_versions_removes_texts_of_every_document(house: House):
    made = await house.collection()
    assert made.versions_kept == 10
    for document_id in ("guide", "other"):
        for number in range(3):
            await house.add(f"# Guide {number}", document_id=document_id)
    await keep(house, 5)
    assert len(house.stored_files()) == 12
    changed = await keep(house, 0)
    assert changed.versions_kept == 0
    assert len(house.stored_files()) == 4
    other = await versions_of(house, "collections/handbook/documents/other")
    assert [one.text_kept for one in other] == [True, False, False]
    assert await house.find("Guide 2") != []


async def test_the_number_kept_changes_only_when_it_is_named(house: House):
    await house.collection(versions_kept=3)
    assert (await keep(house, None)).versions_kept == 3
    assert (await keep(house, 7, "display_name")).versions_kept == 3
    assert (await keep(house, 7, "versions_kept")).versions_kept == 7
    assert (await keep(house, None, "versions_kept")).versions_kept == 10


async def test_deleting_a_document_removes_every_version_everywhere(house: House):
    await house.collection()
    for number in range(3):
        await house.add(f"{TEXT} {number}", document_id="guide", labels=["staff"])
    await house.as_("editor").DeleteDocument(knowledge_service_pb2.DeleteDocumentRequest(name=NAME))
    for table in ("revisions", "passages", "sections", "label_periods", "purges", "uploads"):
        assert house.stored_rows(table) == [], table
    assert house.stored_files() == []
    collection_uid = next(row[0] for row in house.stored_rows("collections"))
    assert await house.index.revisions(collection_uid) == {}


async def test_documents_of_an_older_schema_open_with_their_labels_in_force(
    house_at: Callable[..., AbstractAsyncContextManager[House]], tmp_path: Path
):
    async with house_at() as house:
        await house.collection()
        await house.add(TEXT, document_id="guide", labels=["staff"])
    _downgrade(database_url_in(tmp_path))
    async with house_at() as house:
        (version,) = await versions_of(house)
        assert (version.content_hash, version.text_kept) == ("", True)
        assert [list(one.labels) for one in version.label_periods] == [["staff"]]
        assert version.label_periods[0].start_time.seconds > 0
        await house.add("# New", document_id="guide")
        newest, first = await versions_of(house)
        assert first.label_periods[0].HasField("end_time")
        assert newest.content_hash


def _downgrade(database_url: str) -> None:
    """Bring a database back to the schema before versions had labels in force."""
    for table in ("label_periods", "sync_items", "sync_sources"):
        run_sql(database_url, f"DROP TABLE {table}")
    for column in ("content_hash", "text_kept"):
        run_sql(database_url, f"ALTER TABLE revisions DROP COLUMN {column}")
    run_sql(database_url, "DROP INDEX ix_evaluation_results_regressed_from")
    run_sql(database_url, "ALTER TABLE evaluation_results DROP COLUMN regressed_from")
    for column in ("versions_kept", "keep_questions"):
        run_sql(database_url, f"ALTER TABLE collections DROP COLUMN {column}")
    run_sql(database_url, "UPDATE schema_version_knowledge SET version_num = '0004'")
