"""The whole suite, as its callers see it: who asks decides what is answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import httpx
import jwt
import pytest

from atrium.admin.v1 import admin_pb2, admin_service_pb2, directory_service_pb2
from atrium.gateway.v1 import gateway_service_pb2
from atrium.knowledge.v1 import knowledge_pb2, knowledge_service_pb2
from atrium_admin.adapters import httpx_key_sets
from atrium_client import AtriumCallError, AtriumClient, readable_errors
from atrium_gateway.app.caller import Caller
from atrium_gateway.app.generation_names import GenerationNames
from atrium_shared.clock import SystemClock
from atrium_shared.testing import make_principal
from atrium_shared.testing_issuer import AUDIENCE, TestIssuer, running_issuer
from atrium_suite.bootstrap import build
from atrium_suite.demo.facts import mentions
from atrium_suite.demo.steps import COLLECTION, ask_as
from atrium_suite.errors import AddressInUse, StateDirInUse
from atrium_suite.settings import SuiteSettings

from .conftest import Filled
from .running_suite import TENANT, UNKNOWN_KEY, RunningSuite

Answer = knowledge_pb2.Answer


async def refusal_of(call: Callable[[], Awaitable[Any]]) -> AtriumCallError:
    with pytest.raises(AtriumCallError) as caught, readable_errors():
        await call()
    return caught.value


def list_documents(client: AtriumClient) -> Awaitable[Any]:
    request = knowledge_service_pb2.ListDocumentsRequest(parent=COLLECTION)
    return client.knowledge.ListDocuments(request)


@pytest.mark.parametrize("language", ["zh", "en"])
async def test_four_people_are_answered_from_what_each_may_read(
    filled: Filled, language: str
) -> None:
    for person in filled.handbook.people:
        async with filled.running.client(filled.portal_key, person.id) as client:
            for question in filled.handbook.questions:
                asked = await ask_as(
                    client, filled.handbook, question, person, language,
                    generate=False, encoder=False,
                )  # fmt: skip
                assert asked.verdict.faults == (), (person.id, question.id, asked.answer.text)


async def test_the_same_question_gets_different_answers_with_sources(filled: Filled) -> None:
    questions = {"chen.cn": "每年有多少天年假？", "anna.de": "How many days of annual leave?"}
    answers = {}
    for user in questions:
        async with filled.running.client(filled.portal_key, user) as client:
            answers[user] = await client.answer(COLLECTION, questions[user])
    for user, document in (("chen.cn", "leave-china"), ("anna.de", "leave-germany")):
        answer = answers[user]
        assert answer.decision == Answer.ANSWERED
        assert "[1]" in answer.text
        cited = [each.passage.document.rpartition("/")[2] for each in answer.citations]
        assert cited[0] == document
        assert not ({"leave-china", "leave-germany"} - {document}) & set(cited)
        for citation in answer.citations:
            passage = citation.passage
            begin = citation.start - passage.start
            assert passage.text[begin : begin + len(citation.quote)] == citation.quote
    assert answers["chen.cn"].text != answers["anna.de"].text


async def test_pay_is_told_to_hr_and_refused_in_words_to_the_others(filled: Filled) -> None:
    question = "What is the salary range of grade P5?"
    refusal = next(topic for topic in filled.handbook.topics if topic.id == "pay").refusals["en"]
    for person in filled.handbook.people:
        async with filled.running.client(filled.portal_key, person.id) as client:
            answer = await client.answer(COLLECTION, question)
        if person.id == "lin.hr":
            assert answer.decision == Answer.ANSWERED
            continue
        assert answer.decision == Answer.REFUSED
        assert answer.restricted_topic == "pay"
        assert answer.text == refusal
        assert not answer.citations


async def test_lists_and_searches_hold_nothing_that_the_asker_may_not_read(filled: Filled) -> None:
    async with filled.running.client(filled.portal_key, "chen.cn") as client:
        listed = {each.name.rpartition("/")[2] for each in (await list_documents(client)).documents}
        found = await client.knowledge.Search(
            knowledge_service_pb2.SearchRequest(
                parent=COLLECTION, query="salary band P5 Sandbar skiff rollback", page_size=100
            )
        )
        hidden = f"{COLLECTION}/documents/pay-bands"
        denied = await refusal_of(
            lambda: client.knowledge.GetDocument(
                knowledge_service_pb2.GetDocumentRequest(name=hidden)
            )
        )
        absent = await refusal_of(
            lambda: client.knowledge.GetDocument(
                knowledge_service_pb2.GetDocumentRequest(name=f"{COLLECTION}/documents/none")
            )
        )
    held = filled.handbook.labels_of("chen.cn")
    readable = {
        each.id for each in filled.handbook.documents if not each.labels or held & set(each.labels)
    }
    assert listed == readable
    shown = "\n".join(each.passage.text for each in found.results)
    assert not mentions(shown, "skiff rollback")
    assert not mentions(shown, "30400")
    assert {each.passage.document.rpartition("/")[2] for each in found.results} <= readable
    assert denied.reason == absent.reason == "DOCUMENT_NOT_FOUND"
    assert denied.message.replace("pay-bands", "none") == absent.message


async def test_a_section_with_labels_is_hidden_inside_an_open_document(filled: Filled) -> None:
    query = knowledge_service_pb2.SearchRequest(
        parent=COLLECTION, query="salary adjustment after the review", page_size=100
    )
    sections: dict[str, set[str]] = {}
    for user in ("lin.hr", "anna.de"):
        async with filled.running.client(filled.portal_key, user) as client:
            results = (await client.knowledge.Search(query)).results
        sections[user] = {each.passage.section_path[-1] for each in results
                          if each.passage.section_path
                          and each.passage.document.endswith("/performance-review")}  # fmt: skip
    assert "Salary adjustment after the review" in sections["lin.hr"]
    assert "Salary adjustment after the review" not in sections["anna.de"]


async def test_another_tenant_sees_nothing(filled: Filled) -> None:
    async with filled.running.client(filled.admin_key) as operator:
        made = await operator.admin.CreateTenant(
            admin_service_pb2.CreateTenantRequest(
                tenant_id="other", tenant=admin_pb2.Tenant(display_name="Other")
            )
        )
    async with filled.running.client(made.secret) as other:
        collections = await other.knowledge.ListCollections(
            knowledge_service_pb2.ListCollectionsRequest()
        )
        assert not collections.collections
        foreign = await refusal_of(lambda: list_documents(other))
        assert foreign.reason == "COLLECTION_NOT_FOUND"
        question = await refusal_of(lambda: other.answer(COLLECTION, "How long is probation?"))
        assert question.reason == "COLLECTION_NOT_FOUND"
        users = await other.admin.ListUsers(admin_service_pb2.ListUsersRequest())
        assert [each.name for each in users.users] == ["users/admin"]
        events = await other.admin.ListAuditEvents(admin_service_pb2.ListAuditEventsRequest())
        assert all(COLLECTION not in each.resource or each.decision != 1 for each in events.events)


async def test_only_a_valid_key_opens_the_door(filled: Filled) -> None:
    running = filled.running
    async with running.client(filled.admin_key) as admin:
        soon = admin_service_pb2.CreateApiKeyRequest(user="users/portal", display_name="short")
        soon.expire_time.FromDatetime(datetime.now(UTC) + timedelta(seconds=1.5))
        expiring = (await admin.admin.CreateApiKey(soon)).secret
        made = await admin.admin.CreateApiKey(
            admin_service_pb2.CreateApiKeyRequest(user="users/portal")
        )
        async with running.client(made.secret) as client:
            await list_documents(client)
            revoke = admin_service_pb2.RevokeApiKeyRequest(name=made.api_key.name)
            await admin.admin.RevokeApiKey(revoke)
            revoked = await refusal_of(lambda: list_documents(client))
    async with running.client(expiring) as client:
        await list_documents(client)
        await asyncio.sleep(1.6)
        expired = await refusal_of(lambda: list_documents(client))
    async with running.client(UNKNOWN_KEY) as client:
        unknown = await refusal_of(lambda: list_documents(client))
    assert revoked.reason == "API_KEY_REVOKED"
    assert expired.reason == "API_KEY_EXPIRED"
    assert unknown.reason == "API_KEY_UNKNOWN"


async def test_who_may_not_act_for_others_may_not_ask_for_them(filled: Filled) -> None:
    async with filled.running.client(filled.admin_key) as admin:
        made = await admin.admin.CreateApiKey(
            admin_service_pb2.CreateApiKeyRequest(user="users/anna.de")
        )
    async with filled.running.client(made.secret, "lin.hr") as anna:
        denied = await refusal_of(lambda: list_documents(anna))
    assert denied.reason == "IMPERSONATION_DENIED"


@pytest.fixture
async def issuer(filled: Filled) -> AsyncIterator[TestIssuer]:
    """An issuer that the tenant trusts; its groups hr and berlin hold roles of the handbook."""
    name = "identityProviders/okta"
    async with running_issuer() as issuer, filled.running.client(filled.admin_key) as admin:
        await admin.directory.CreateIdentityProvider(
            directory_service_pb2.CreateIdentityProviderRequest(
                identity_provider_id="okta",
                identity_provider={
                    "issuer": issuer.url,
                    "audiences": [AUDIENCE],
                    "provision_users": True,
                    "groups_claim": "groups",
                    "group_mappings": [
                        {"claim_value": "hr", "roles": ["roles/hr-partner"]},
                        {"claim_value": "berlin", "roles": ["roles/employee-germany"]},
                    ],
                },
            )
        )
        try:
            yield issuer
        finally:
            await admin.directory.DeleteIdentityProvider(
                directory_service_pb2.DeleteIdentityProviderRequest(name=name)
            )


async def ask(filled: Filled, credential: str, question: str) -> knowledge_pb2.Answer:
    async with filled.running.client(credential) as client:
        return await client.answer(COLLECTION, question)


PAY_QUESTION = "What is the salary range of grade P5?"
LEAVE_QUESTION = "How many days of annual leave?"


async def test_a_token_of_the_issuer_is_answered_from_what_its_groups_may_read(
    filled: Filled, issuer: TestIssuer
) -> None:
    now = datetime.now(UTC)
    mira = issuer.token(now, sub="mira", name="Mira", groups=["hr", "climbing"])
    jonas = issuer.token(now, sub="jonas", groups=["berlin"])
    guest = issuer.token(now, sub="guest", groups=[])

    pay = await ask(filled, mira, PAY_QUESTION)
    assert pay.decision == Answer.ANSWERED
    assert pay.citations
    for token in (jonas, guest):
        refused = await ask(filled, token, PAY_QUESTION)
        assert (refused.decision, refused.restricted_topic) == (Answer.REFUSED, "pay")
        assert not refused.citations
    leave = await ask(filled, jonas, LEAVE_QUESTION)
    assert leave.decision == Answer.ANSWERED
    cited = {each.passage.document.rpartition("/")[2] for each in leave.citations}
    assert "leave-germany" in cited
    assert "leave-china" not in cited
    documents = {}
    for subject, token in (("mira", mira), ("jonas", jonas), ("guest", guest)):
        async with filled.running.client(token) as client:
            listed = (await list_documents(client)).documents
        documents[subject] = {each.name.rpartition("/")[2] for each in listed}
    assert documents["guest"] < documents["jonas"] < documents["mira"]
    assert "pay-bands" in documents["mira"] - documents["jonas"]

    # Who leaves the group at the issuer has lost its documents with the next token.
    left = issuer.token(now + timedelta(seconds=1), sub="mira", groups=["berlin"])
    assert (await ask(filled, left, PAY_QUESTION)).decision == Answer.REFUSED
    assert (await ask(filled, mira, PAY_QUESTION)).decision == Answer.REFUSED


async def test_a_token_is_verified_by_the_keys_that_the_issuer_has_now(
    filled: Filled, issuer: TestIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Else the new key would be fetched ten seconds later.
    monkeypatch.setattr(httpx_key_sets, "SECONDS_BETWEEN_FETCHES", 0.0)
    now = datetime.now(UTC)
    assert (
        await ask(filled, issuer.token(now, sub="rosa", groups=["hr"]), PAY_QUESTION)
    ).decision == Answer.ANSWERED
    fetched = issuer.requests.count("/jwks")
    withheld = issuer.token(now, sub="anton", groups=["hr"])
    issuer.add_key("k2", "RS256")
    issuer.remove_key("k1")
    rotated = issuer.token(now, kid="k2", sub="rosa", groups=["hr"])
    assert (await ask(filled, rotated, PAY_QUESTION)).decision == Answer.ANSWERED
    assert issuer.requests.count("/jwks") == fetched + 1
    error = await refusal_of(lambda: ask(filled, withheld, PAY_QUESTION))
    assert (error.code, error.reason) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_KEY_UNKNOWN")


async def test_a_token_that_is_not_good_opens_nothing_and_makes_nobody(
    filled: Filled, issuer: TestIssuer
) -> None:
    now = datetime.now(UTC)
    claims = {"sub": "mallory", "groups": ["hr"]}
    good = jwt.decode(issuer.token(now, **claims), options={"verify_signature": False})
    forger = TestIssuer()
    forger.url = issuer.url
    forger.add_key("k1")
    forger.add_key("k7")
    stranger = TestIssuer()
    stranger.url = "https://login.elsewhere.example"
    stranger.add_key("k1")
    earlier = now - timedelta(hours=2)
    tokens = {
        "TOKEN_AUDIENCE_WRONG": issuer.token(now, aud="another-product", **claims),
        "TOKEN_ALGORITHM_REFUSED": jwt.encode(good, None, algorithm="none"),
        "TOKEN_EXPIRED": issuer.token(earlier, **claims),
        "TOKEN_NOT_YET_VALID": issuer.token(now + timedelta(hours=1), **claims),
        "TOKEN_KEY_UNKNOWN": forger.token(now, kid="k7", **claims),
        "TOKEN_INVALID": forger.token(now, **claims),
        "TOKEN_CLAIM_INVALID": issuer.token(now, sub="mallory"),
        "ISSUER_UNKNOWN": stranger.token(now, **claims),
    }
    for reason, token in tokens.items():
        error = await refusal_of(lambda token=token: ask(filled, token, PAY_QUESTION))
        assert (error.code, error.reason) == (grpc.StatusCode.UNAUTHENTICATED, reason)
    async with filled.running.client(filled.admin_key) as admin:
        users = (await admin.admin.ListUsers(admin_service_pb2.ListUsersRequest())).users
    assert "users/mallory" not in {each.name for each in users}


async def test_readiness_health_and_metrics_are_served_over_http(filled: Filled) -> None:
    async with httpx.AsyncClient(base_url=f"http://{filled.running.suite.http_address}") as http:
        ready = await http.get("/readyz")
        assert (ready.status_code, ready.json()["ready"]) == (200, True)
        assert (await http.get("/healthz")).status_code == 200
        metrics = (await http.get("/metrics")).text
    assert 'atrium_rpc_total{code="OK",method="CreateCollection"' in metrics


def test_a_second_suite_on_the_same_folder_does_not_start(filled: Filled) -> None:
    with pytest.raises(StateDirInUse):
        RunningSuite(filled.running.suite.state_dir)


async def test_a_second_suite_on_the_same_port_does_not_start(
    filled: Filled, tmp_path: Path
) -> None:
    suite = build(
        SuiteSettings(
            state_dir=tmp_path, address=filled.running.target, http_address="127.0.0.1:0",
            models="none",
        )
    )  # fmt: skip
    with pytest.raises(AddressInUse, match="--address"):
        await suite.start()


async def test_a_reply_is_named_with_a_key_that_nobody_can_guess(filled: Filled) -> None:
    forged = GenerationNames(bytes(32), SystemClock()).new(
        Caller(make_principal(tenant=TENANT), "default"), "models/qwen2.5-0.5b"
    )
    request = gateway_service_pb2.RecordOutcomeRequest(
        generation=forged, outcome=gateway_service_pb2.RecordOutcomeRequest.ACCEPTED
    )
    async with filled.running.client(filled.admin_key) as client:
        error = await refusal_of(lambda: client.gateway.RecordOutcome(request))
    assert error.reason == "GENERATION_NOT_FOUND"
