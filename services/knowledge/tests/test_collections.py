import grpc
import pytest
from google.protobuf import field_mask_pb2

from atrium.knowledge.v1 import knowledge_pb2, knowledge_service_pb2
from atrium_knowledge.testing import House
from atrium_shared.audit import Decision
from atrium_shared.testing import error_of

PAY = knowledge_pb2.RestrictedTopic(
    id="pay",
    description="What people earn.",
    examples=["What does grade 5 earn?", "五级的工资是多少?"],
    counter_examples=["When is pay day?"],
    labels=["hr/pay"],
    refusals={"en": "Pay questions go to HR.", "zh": "薪酬问题请联系人力资源部。"},
)


def get(name: str) -> knowledge_service_pb2.GetCollectionRequest:
    return knowledge_service_pb2.GetCollectionRequest(name=name)


async def test_a_collection_can_be_made_read_and_listed(house: House):
    made = await house.collection(restricted_topics=[PAY])
    assert (made.name, made.display_name) == ("collections/handbook", "Handbook")
    assert list(made.restricted_topics) == [PAY]
    assert await house.as_("admin").GetCollection(get(made.name)) == made
    listed = await house.as_("admin").ListCollections(
        knowledge_service_pb2.ListCollectionsRequest()
    )
    assert list(listed.collections) == [made]


async def test_restricted_topics_are_shown_to_managers_only(house: House):
    made = await house.collection(restricted_topics=[PAY])
    seen = await house.as_("employee").GetCollection(get(made.name))
    assert (seen.display_name, list(seen.restricted_topics)) == ("Handbook", [])
    listed = await house.as_("employee").ListCollections(
        knowledge_service_pb2.ListCollectionsRequest()
    )
    assert not listed.collections[0].restricted_topics


async def test_pages_hold_every_collection_once(house: House):
    for number in range(5):
        await house.collection(f"c{number}")
    names, token = [], ""
    while True:
        page = await house.as_("admin").ListCollections(
            knowledge_service_pb2.ListCollectionsRequest(page_size=2, page_token=token)
        )
        names += [one.name for one in page.collections]
        token = page.next_page_token
        if not token:
            break
    assert names == [f"collections/c{number}" for number in range(5)]


async def test_a_page_token_of_another_request_is_refused(house: House):
    error = await error_of(
        house.as_("admin").ListCollections(
            knowledge_service_pb2.ListCollectionsRequest(page_token="made-up")
        )
    )
    assert (error.code, error.reason) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "PAGE_TOKEN_INVALID",
    )
    assert error.violations[0][0] == "page_token"


async def test_an_id_is_given_once(house: House):
    await house.collection()
    error = await error_of(house.collection())
    assert (error.code, error.reason) == (grpc.StatusCode.ALREADY_EXISTS, "COLLECTION_EXISTS")
    assert error.metadata == {"collection": "collections/handbook"}


async def test_a_topic_id_stands_once(house: House):
    error = await error_of(house.collection(restricted_topics=[PAY, PAY]))
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "TOPIC_REPEATED")
    assert error.metadata == {"topic": "pay"}
    assert error.violations[0][0] == "collection.restricted_topics[1].id"
    absent = await error_of(house.as_("admin").GetCollection(get("collections/handbook")))
    assert absent.reason == "COLLECTION_NOT_FOUND"


async def test_a_topic_without_examples_is_refused(house: House):
    topic = knowledge_pb2.RestrictedTopic()
    topic.CopyFrom(PAY)
    topic.ClearField("examples")
    error = await error_of(house.collection(restricted_topics=[topic]))
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")


@pytest.mark.parametrize("name", ["collections/none", "collections/Not A Name", "collections/"])
async def test_a_name_of_nothing_is_not_found(house: House, name: str):
    error = await error_of(house.as_("admin").GetCollection(get(name)))
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "COLLECTION_NOT_FOUND")


async def test_another_tenants_collection_reads_as_absent(house: House):
    await house.collection()
    for name in ("collections/handbook", "collections/none"):
        error = await error_of(house.as_("stranger").GetCollection(get(name)))
        assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "COLLECTION_NOT_FOUND")
        assert error.message == f"Collection {name!r} does not exist."


async def test_an_update_takes_the_fields_of_its_mask(house: House):
    made = await house.collection(restricted_topics=[PAY])
    updated = await house.as_("admin").UpdateCollection(
        knowledge_service_pb2.UpdateCollectionRequest(
            collection=knowledge_pb2.Collection(name=made.name, display_name="New"),
            update_mask=field_mask_pb2.FieldMask(paths=["display_name"]),
        )
    )
    assert (updated.display_name, list(updated.restricted_topics)) == ("New", [PAY])
    assert updated.etag != made.etag


async def test_an_update_without_a_mask_takes_all_fields(house: House):
    made = await house.collection(restricted_topics=[PAY])
    updated = await house.as_("admin").UpdateCollection(
        knowledge_service_pb2.UpdateCollectionRequest(
            collection=knowledge_pb2.Collection(name=made.name, display_name="New")
        )
    )
    assert (updated.display_name, list(updated.restricted_topics)) == ("New", [])


async def test_an_unknown_field_in_the_mask_is_refused(house: House):
    made = await house.collection()
    error = await error_of(
        house.as_("admin").UpdateCollection(
            knowledge_service_pb2.UpdateCollectionRequest(
                collection=made, update_mask=field_mask_pb2.FieldMask(paths=["name"])
            )
        )
    )
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "UPDATE_MASK_UNKNOWN")
    assert error.metadata["path"] == "name"
    assert "keep_questions" in error.metadata["allowed"]


async def test_a_field_that_the_mask_leaves_out_need_not_be_given(house: House):
    made = await house.collection(display_name="Handbook")
    changed = knowledge_pb2.Collection(name=made.name, versions_kept=4)
    mask = field_mask_pb2.FieldMask(paths=["versions_kept"])
    updated = await house.as_("admin").UpdateCollection(
        knowledge_service_pb2.UpdateCollectionRequest(collection=changed, update_mask=mask)
    )
    assert (updated.display_name, updated.versions_kept) == (made.display_name, 4)


async def test_an_update_of_an_older_state_is_refused(house: House):
    made = await house.collection()
    request = knowledge_service_pb2.UpdateCollectionRequest(collection=made)
    updated = await house.as_("admin").UpdateCollection(request)
    error = await error_of(house.as_("admin").UpdateCollection(request))
    assert (error.code, error.reason) == (grpc.StatusCode.ABORTED, "COLLECTION_CHANGED")
    assert error.metadata["etag"] == updated.etag


async def test_members_may_not_manage_collections(house: House):
    error = await error_of(
        house.as_("employee").DeleteCollection(
            knowledge_service_pb2.DeleteCollectionRequest(name="collections/handbook")
        )
    )
    assert (error.code, error.reason) == (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED")


async def test_a_deleted_collection_is_gone_and_its_id_is_free(house: House):
    await house.collection()
    await house.add("# Leave\n\nEveryone has 25 days.", document_id="leave")
    await house.as_("admin").DeleteCollection(
        knowledge_service_pb2.DeleteCollectionRequest(name="collections/handbook")
    )
    error = await error_of(house.search("days"))
    assert error.reason == "COLLECTION_NOT_FOUND"
    assert house.stored_files() == []
    await house.collection()
    assert await house.find("days") == []


async def test_calls_are_audited_without_their_text(house: House):
    await house.collection()
    await house.search("a very private question")
    await error_of(house.search("another private question", parent="collections/none"))
    made, found, missed = house.audit.events
    assert (made.action, made.resource) == ("knowledge.CreateCollection", "collections/handbook")
    assert (found.action, found.decision) == ("knowledge.Search", Decision.ALLOWED)
    assert (missed.decision, missed.detail) == (Decision.NOT_FOUND, "COLLECTION_NOT_FOUND")
    assert "private" not in repr(house.audit.events)
