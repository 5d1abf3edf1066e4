"""What the demo does, without how it looks: people, documents, questions."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from atrium.admin.v1 import admin_pb2, admin_service_pb2
from atrium.knowledge.v1 import knowledge_pb2, knowledge_service_pb2
from atrium_client import AtriumClient, readable_errors
from atrium_suite.demo.handbook import Handbook, Person, SampleQuestion
from atrium_suite.demo.verdicts import Shown, Verdict, judge
from atrium_suite.terminal.answers import DECISIONS
from atrium_suite.terminal.uploads import FileAdded, FileToAdd, add_files

COLLECTION = "collections/handbook"
PORTAL = "portal"


@dataclass(frozen=True)
class Asked:
    """One question by one person in one language, and what came of it."""

    question: SampleQuestion
    person: Person
    language: str
    answer: knowledge_pb2.Answer
    seconds: float
    verdict: Verdict


async def make_people(admin: AtriumClient, handbook: Handbook) -> str:
    """Make roles, users, groups and the service account of the portal.

    Returns:
        The portal's key. It may upload, and act on behalf of every user.
    """
    with readable_errors():
        for role, labels in handbook.roles.items():
            grants = [
                admin_pb2.Grant(resource=f"labels/{label}", action="read")
                for label in sorted(labels)
            ]
            await admin.admin.CreateRole(
                admin_service_pb2.CreateRoleRequest(
                    role_id=role,
                    role=admin_pb2.Role(
                        display_name=role, grants=grants, inherits=["roles/member"]
                    ),
                )
            )
        groups: dict[str, list[str]] = {}
        for person in handbook.people:
            await admin.admin.CreateUser(
                admin_service_pb2.CreateUserRequest(
                    user_id=person.id,
                    user=admin_pb2.User(display_name=person.name, roles=[f"roles/{person.role}"]),
                )
            )
            for group in person.groups:
                groups.setdefault(group, []).append(f"users/{person.id}")
        for group, members in groups.items():
            await admin.admin.CreateGroup(
                admin_service_pb2.CreateGroupRequest(
                    group_id=group, group=admin_pb2.Group(display_name=group, members=members)
                )
            )
        await admin.admin.CreateUser(
            admin_service_pb2.CreateUserRequest(
                user_id=PORTAL,
                user=admin_pb2.User(
                    display_name="Intranet portal",
                    kind=admin_pb2.User.SERVICE,
                    roles=["roles/service"],
                ),
            )
        )
        made = await admin.admin.CreateApiKey(
            admin_service_pb2.CreateApiKeyRequest(user=f"users/{PORTAL}", display_name="demo")
        )
    return made.secret


async def make_collection(admin: AtriumClient, handbook: Handbook) -> None:
    """Make the collection with its restricted topics."""
    collection = knowledge_pb2.Collection(
        display_name=" ".join(handbook.company.values()),
        restricted_topics=[
            knowledge_pb2.RestrictedTopic(
                id=topic.id,
                description=topic.description,
                labels=topic.labels,
                examples=topic.examples,
                counter_examples=topic.counter_examples,
                refusals=topic.refusals,
            )
            for topic in handbook.topics
        ],
    )
    with readable_errors():
        await admin.knowledge.CreateCollection(
            knowledge_service_pb2.CreateCollectionRequest(
                collection_id=COLLECTION.removeprefix("collections/"), collection=collection
            )
        )


async def add_documents(
    portal: AtriumClient, handbook: Handbook, on_change: Callable[[FileAdded], None]
) -> list[FileAdded]:
    """Upload every document with its labels and wait until all are searchable."""
    files = [
        FileToAdd(
            document.path,
            document.id,
            title=document.title,
            labels=document.labels,
            section_labels=document.section_labels,
        )
        for document in handbook.documents
    ]
    return await add_files(portal, COLLECTION, files, on_change=on_change)


async def ask_as(
    client: AtriumClient,
    handbook: Handbook,
    question: SampleQuestion,
    person: Person,
    language: str,
    *,
    generate: bool,
    encoder: bool,
) -> Asked:
    """Ask one question and judge what came back.

    Args:
        client: Calls on behalf of the person.
        handbook: What may be read by whom.
        question: The question.
        person: Who asks.
        language: In which language.
        generate: Whether the answer may be generated; else it is taken word for word.
        encoder: Whether an encoder searches across languages.
    """
    mode = knowledge_service_pb2.AskRequest.Mode
    answer = knowledge_pb2.Answer()
    seen: list[str] = []
    begun = time.monotonic()
    async for event in client.ask(
        COLLECTION,
        question.text[language],
        mode=mode.MODE_UNSPECIFIED if generate else mode.EXTRACTIVE,
    ):
        seen.append(event.delta)
        seen += [result.passage.text for result in event.sources.results]
        if event.HasField("answer"):
            answer = event.answer
    seconds = time.monotonic() - begun
    seen += [answer.text]
    for citation in answer.citations:
        seen += [citation.quote, citation.passage.text, citation.passage.document_title]
    shown = Shown(
        decision=DECISIONS[answer.decision][0],
        topic=answer.restricted_topic,
        text=answer.text,
        documents=tuple(
            dict.fromkeys(each.passage.document.rpartition("/")[2] for each in answer.citations)
        ),
        everything="\n".join(seen),
    )
    verdict = judge(handbook, question, person.id, language, shown, encoder=encoder)
    return Asked(question, person, language, answer, seconds, verdict)
