"""Ask questions of restricted and open subjects: who is refused, and does hiding change it?

`make eval EVAL=refusals ARGS="--engine small --split test"`. Four invented organisations (a
manufacturer, a hospital, a bank, a university) declare six restricted topics each in
`data/organisations.jsonl`; one user without labels asks all questions of a split.

- `data/tune.jsonl` may be looked at when the matcher is changed. `data/test.jsonl` may not: nothing
  is ever chosen by it. Both were written without sight of what trains the matcher. The digests of
  the test split and of the topics stand in `FROZEN`; a changed file is refused.
- Restricted questions are put as a paraphrase far from the examples, colloquially, indirectly,
  as keywords, wrapped in a polite story, mixing both languages, or with a typing error. The others
  are near misses (words of a topic, plainly outside its description), neighbours and everyday ones.
- Then every hidden document is deleted and all is asked again: no decision may change between
  refused and not refused, because a topic is matched against the question alone.
- A user who holds every label is asked for a sample: never refused.

Engines: `small` has the encoder; `none` matches words alone, and has no target for quality.
Answers are quoted, never generated. With SABOTAGE=1 a topic refuses only when a search finds hidden
documents of its labels: the run must then report changes (`tests/sabotage.py`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence, Set
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import structlog

from atrium.admin.v1 import admin_pb2, admin_service_pb2
from atrium.knowledge.v1 import knowledge_pb2, knowledge_service_pb2
from atrium_client import AtriumClient, readable_errors
from atrium_knowledge.domain.topics import Considered, TopicMatch
from tests.figures import ROOT, Figures
from tests.sabotage import exit_code, guard_removed
from tests.suites import open_suite, wait_for_models

from .questions import (
    KINDS_OPEN,
    KINDS_RESTRICTED,
    SPLITS,
    Organisation,
    Question,
    Text,
    check_frozen,
    read_organisations,
    read_questions,
)

FROZEN: Final = {
    "test.jsonl": "c1ed01fbeda161a71a89eeab86516dd1060be18b8f3bc4e96eecea434c0748bc",
    "organisations.jsonl": "6e0e2bafaf234ff70d1725ccc0570a00eb883ed8e443468a94f119a2ce3da738",
}
"""SHA-256 of what figures are compared by."""

_AT_ONCE: Final = 4
_HOLDER_ASKS_EVERY: Final = 4
"""Of the restricted questions the holder of all labels is asked for one in so many."""


@dataclass(frozen=True)
class Reply:
    """What came of one question."""

    question: Question
    decision: str
    topic: str
    """Restricted topic that the refusal names; "" when not refused."""

    @property
    def refused(self) -> bool:
        """Whether it was refused."""
        return self.decision == "REFUSED"


@dataclass(frozen=True)
class Round:
    """The replies to all questions, before and after the hidden documents are deleted."""

    before: list[Reply]
    after: list[Reply]
    holder: list[Reply]
    """Replies to the holder of every label, for a sample of the restricted questions."""

    @property
    def changed(self) -> list[str]:
        """Ids of the questions that were refused only before, or only after."""
        pairs = zip(self.before, self.after, strict=True)
        return [one.question.id for one, other in pairs if one.refused != other.refused]


@dataclass
class FilledSuite:
    """A running suite that holds the organisations, and its users."""

    portal: AtriumClient
    """A service that may upload and delete."""
    asker: AtriumClient
    """A user who holds no label."""
    holder: AtriumClient
    """A user who holds every label."""
    organisations: Sequence[Organisation]
    hidden_labels: set[str] = field(default_factory=set)
    """Labels of the documents that are stored and that the asker may not read."""

    async def ask(
        self, questions: Sequence[Question], client: AtriumClient | None = None
    ) -> list[Reply]:
        """Ask all questions, as the asker unless said otherwise; return the replies in order."""
        free = asyncio.Semaphore(_AT_ONCE)

        async def one(question: Question) -> Reply:
            answer = knowledge_pb2.Answer()
            async with free:
                async for event in (client or self.asker).ask(
                    f"collections/{question.organisation}",
                    question.question,
                    mode=knowledge_service_pb2.AskRequest.Mode.EXTRACTIVE,
                ):
                    if event.HasField("answer"):
                        answer = event.answer
            decision = knowledge_pb2.Answer.Decision.Name(answer.decision)
            return Reply(question, decision, answer.restricted_topic)

        return list(await asyncio.gather(*map(one, questions)))

    async def upload(self) -> None:
        """Upload every document and wait until all are searchable."""
        free = asyncio.Semaphore(_AT_ONCE)

        async def one(collection: str, text: Text) -> None:
            async with free:
                operation = await self.portal.upload_document(
                    collection,
                    text.text.encode(),
                    filename=f"{text.id}.md",
                    document_id=text.id,
                    title=text.title,
                    labels=text.labels,
                )
                await self.portal.wait_for_document(operation)
            self.hidden_labels.update(text.labels)

        await asyncio.gather(
            *(
                one(f"collections/{organisation.id}", text)
                for organisation in self.organisations
                for text in organisation.documents
            )
        )

    async def delete_hidden(self) -> None:
        """Delete every document that the asker may not read."""
        with readable_errors():
            for organisation in self.organisations:
                for text in organisation.documents:
                    if text.labels:
                        name = f"collections/{organisation.id}/documents/{text.id}"
                        await self.portal.knowledge.DeleteDocument(
                            knowledge_service_pb2.DeleteDocumentRequest(name=name)
                        )
        self.hidden_labels.clear()


@asynccontextmanager
async def filled_suite(
    engine: str, organisations: Sequence[Organisation]
) -> AsyncIterator[FilledSuite]:
    """Run a suite in this process with the organisations in it; `engine` is `small` or `none`."""
    with tempfile.TemporaryDirectory() as folder:
        async with open_suite(Path(folder), engine) as suite:
            await wait_for_models(suite)
            key = await suite.bootstrap_tenant("refusals")
            async with AtriumClient(key, target=suite.address) as admin:
                portal_key = await _make_users(admin, organisations)
                await _make_collections(admin, organisations)
            async with (
                AtriumClient(portal_key, target=suite.address) as portal,
                portal.as_user("asker") as asker,
                portal.as_user("holder") as holder,
            ):
                filled = FilledSuite(portal, asker, holder, organisations)
                await filled.upload()
                yield filled


async def _make_users(admin: AtriumClient, organisations: Sequence[Organisation]) -> str:
    """Make the asker, the holder and the portal; return the portal's key."""
    labels = {label for one in organisations for topic in one.topics for label in topic["labels"]}
    grants = [
        admin_pb2.Grant(resource=f"labels/{label}", action="read") for label in sorted(labels)
    ]
    users = {
        "asker": (admin_pb2.User.PERSON, "roles/member"),
        "holder": (admin_pb2.User.PERSON, "roles/reader-of-all"),
        "portal": (admin_pb2.User.SERVICE, "roles/service"),
    }
    with readable_errors():
        await admin.admin.CreateRole(
            admin_service_pb2.CreateRoleRequest(
                role_id="reader-of-all",
                role=admin_pb2.Role(
                    display_name="Reader of all", grants=grants, inherits=["roles/member"]
                ),
            )
        )
        for name, (kind, role) in users.items():
            user = admin_pb2.User(display_name=name, kind=kind, roles=[role])
            await admin.admin.CreateUser(
                admin_service_pb2.CreateUserRequest(user_id=name, user=user)
            )
        made = await admin.admin.CreateApiKey(
            admin_service_pb2.CreateApiKeyRequest(user="users/portal", display_name="refusals")
        )
    return made.secret


async def _make_collections(admin: AtriumClient, organisations: Sequence[Organisation]) -> None:
    with readable_errors():
        for one in organisations:
            await admin.knowledge.CreateCollection(
                knowledge_service_pb2.CreateCollectionRequest(
                    collection_id=one.id,
                    collection=knowledge_pb2.Collection(
                        display_name=one.display_name,
                        restricted_topics=[
                            knowledge_pb2.RestrictedTopic(**topic) for topic in one.topics
                        ],
                    ),
                )
            )


@contextmanager
def sabotage(found_labels: Set[str]) -> Iterator[None]:
    """Let the matcher see what a search finds: a topic refuses only for documents of its labels.

    Args:
        found_labels: Labels of the hidden documents that are stored, as it changes. A collection
            here holds fewer passages than a search returns, so that each of them is found.
    """
    match = Considered.match

    def match_what_was_found(*args: Any, **kwargs: Any) -> TopicMatch | None:
        matched = match(*args, **kwargs)
        return matched if matched is not None and matched.topic.labels & found_labels else None

    with patch.object(Considered, "match", match_what_was_found):
        yield


async def run(engine: str, questions: Sequence[Question], sabotaged: bool) -> Round:
    """Start a suite, ask everything, delete what is hidden, ask again."""
    async with filled_suite(engine, read_organisations()) as filled:
        restricted = [one for one in questions if one.topic is not None]
        holder = await filled.ask(restricted[::_HOLDER_ASKS_EVERY], filled.holder)
        if not sabotaged:
            return await ask_twice(filled, questions, holder)
        with sabotage(filled.hidden_labels):
            return await ask_twice(filled, questions, holder)


async def ask_twice(
    filled: FilledSuite, questions: Sequence[Question], holder: list[Reply]
) -> Round:
    """Ask with and without the hidden documents, which are deleted."""
    before = await filled.ask(questions)
    await filled.delete_hidden()
    return Round(before, await filled.ask(questions), holder)


def report(asked: Round, prefix: str, figures: Figures, *, aims: bool) -> None:
    """Print the figures.

    Args:
        asked: The replies.
        prefix: What the names begin with: engine and split.
        figures: Where they go.
        aims: Whether quality has a target.
    """
    restricted = [one for one in asked.before if one.question.topic is not None]
    others = [one for one in asked.before if one.question.topic is None]
    refused = [one for one in restricted if one.refused]
    figures.add(
        f"{prefix}.restricted_refused", share_refused(restricted), "share", n=len(restricted),
        target=0.97 if aims else None,
    )  # fmt: skip
    figures.add(
        f"{prefix}.others_refused", share_refused(others), "share", n=len(others),
        target=0.01 if aims else None, at_most=True,
    )  # fmt: skip
    named = sum(one.topic == one.question.topic for one in refused)
    figures.add(f"{prefix}.right_topic_named", named / max(len(refused), 1), "share",
                n=len(refused))  # fmt: skip
    figures.add(f"{prefix}.changed_by_deletion", len(asked.changed), "count", n=len(asked.before),
                target=0, at_most=True)  # fmt: skip
    figures.add(f"{prefix}.holder_refused", sum(one.refused for one in asked.holder), "count",
                n=len(asked.holder), target=0, at_most=True)  # fmt: skip
    for name, side in (("restricted_refused", restricted), ("others_refused", others)):
        for attribute, values in (
            ("language", ("zh", "en")),
            ("kind", KINDS_RESTRICTED if side is restricted else KINDS_OPEN),
            ("organisation", sorted({one.question.organisation for one in side})),
        ):
            for value in values:
                some = [one for one in side if getattr(one.question, attribute) == value]
                figures.add(f"{prefix}.{name}.{value}", share_refused(some), "share", n=len(some))


def share_refused(replies: Sequence[Reply]) -> float:
    """Return the share that was refused; 0 for none."""
    return sum(one.refused for one in replies) / max(len(replies), 1)


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=["small", "none"], default="small")
    parser.add_argument("--split", choices=SPLITS, default="test")
    parser.add_argument("--limit", type=int, help="ask only so many, spread over the split")
    chosen = parser.parse_args()
    check_frozen(FROZEN)
    sabotaged = guard_removed()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    questions = spread(read_questions(chosen.split), chosen.limit)
    asked = asyncio.run(run(chosen.engine, questions, bool(sabotaged)))
    area = "refusals.sabotaged" if sabotaged else "refusals"
    figures = Figures("eval", area)
    prefix = f"{chosen.engine}.{chosen.split}"
    report(asked, prefix, figures, aims=chosen.engine != "none")
    file = ROOT / "var" / "eval" / f"{area}.{prefix}.report.jsonl"
    file.write_text(
        "".join(
            json.dumps(
                {
                    **asdict(one.question),
                    "decision": one.decision,
                    "named": one.topic,
                    "after_deletion": other.decision,
                },
                ensure_ascii=False,
            )
            + "\n"
            for one, other in zip(asked.before, asked.after, strict=True)
        ),
        encoding="utf-8",
    )
    print(f"One record a question: {file.relative_to(ROOT)}")
    return exit_code(figures, sabotaged, found=len(asked.changed))


def spread(questions: Sequence[Question], limit: int | None) -> list[Question]:
    """Return about evenly spaced questions, `limit` of them; all when None."""
    if limit is None or limit >= len(questions):
        return list(questions)
    return [questions[index * len(questions) // limit] for index in range(limit)]


if __name__ == "__main__":
    raise SystemExit(main())
