"""A reply equals that of an index which holds only what the asker may read.

The same questions are asked of a world whole, and of the world cut down to what one user may read:
hidden documents were never uploaded, hidden sections never written. What is told must be the same,
but for what counts in the whole text: versions, offsets, and the numbers of passages; and for
documents of which every section is hidden: they are listed by their title and hold no passage,
while a document that consists of a title would hold that.
"""

from __future__ import annotations

import random
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from atrium.knowledge.v1 import knowledge_service_pb2 as pb
from atrium_shared.principal import Principal

from .running import PARENT, RunningWorld
from .worlds import Document, Question, World, canaries_in

_COUNTED_IN_THE_WHOLE = {"name", "start", "end", "page", "version", "paragraph"}
_OF_THE_WHOLE_FILE = {"createTime", "updateTime", "sizeBytes", "pageCount", "version", "language"}


def readable_world(world: World, user: str) -> list[Document]:
    """Return the documents as a user knows them, in the order of their uploads."""
    documents = list(world.documents.values())
    readable = world.policy.readable(user, documents)
    parts = [one.readable_part(readable) for one in documents if canaries_in(one.title) <= readable]
    return [part for part in parts if part.sections]


async def told(
    running: RunningWorld, principal: Principal, questions: list[Question], seed: int
) -> list[Any]:
    """Return all that a user is told who asks the questions and lists the documents."""
    chance = random.Random(seed)
    replies: list[Any] = []
    # The first question of a service sends it to the encoder for the centre of each language.
    await running.ask(principal, questions[0].text, pb.AskRequest.EXTRACTIVE)
    for question in questions:
        mode = chance.choice([pb.AskRequest.EXTRACTIVE, pb.AskRequest.MODE_UNSPECIFIED])
        asked = await running.ask(principal, question.text, mode)
        replies.append(
            {
                "search": plain(asked.search),
                "events": [plain(event) for event in asked.events],
                "prompts": asked.prompts,
                "encoded": sorted(asked.encoded),
            }
        )
    listed = await running.loop.call(
        principal, "ListDocuments", pb.ListDocumentsRequest(parent=PARENT)
    )
    replies.append(
        [
            {
                key: value
                for key, value in MessageToDict(one).items()
                if key not in {*_OF_THE_WHOLE_FILE, "sectionLabels"}
            }
            for one in listed.documents
            if one.passage_count
        ]
    )
    return replies


def plain(message: Message) -> Any:
    """Return a message without what counts in the whole text, its scores rounded to 1e-6."""
    return _plain(MessageToDict(message))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items() if k not in _COUNTED_IN_THE_WHOLE}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return round(value, 6) if isinstance(value, float) else value
