"""Resource names (AIP-122). A malformed name is the name of nothing: it reads as absent."""

from __future__ import annotations

import re
from dataclasses import dataclass

from atrium_knowledge.domain.errors import (
    AnswerNotFound,
    CollectionNotFound,
    ConversationNotFound,
    DocumentNotFound,
    EvaluationRunNotFound,
    PassageNotFound,
    QuestionSetNotFound,
)

_COLLECTION = r"collections/(?P<collection>[a-z][a-z0-9-]{0,62})"
_DOCUMENT = _COLLECTION + r"/documents/(?P<document>[a-z0-9][a-z0-9-]{0,62})"
_PASSAGE = _DOCUMENT + r"/passages/(?P<ordinal>[1-9][0-9]{0,5})"
_ANSWER = r"answers/(?P<answer>[A-Za-z0-9_-]{1,64})"
_CONVERSATION = r"conversations/(?P<conversation>[A-Za-z0-9_-]{1,64})"


@dataclass(frozen=True, slots=True)
class DocumentName:
    """Ids in "collections/handbook/documents/d3f9"."""

    collection: str
    document: str


@dataclass(frozen=True, slots=True)
class PassageName:
    """Ids in "collections/handbook/documents/d3f9/passages/12"."""

    collection: str
    document: str
    ordinal: int

    @property
    def document_name(self) -> str:
        """Name of its document."""
        return f"collections/{self.collection}/documents/{self.document}"


def collection_id(name: str) -> str:
    """Return the id in a collection's name.

    Raises:
        CollectionNotFound: It is no collection's name.
    """
    match = re.fullmatch(_COLLECTION, name)
    if match is None:
        raise CollectionNotFound(name)
    return match["collection"]


def document_name(name: str) -> DocumentName:
    """Return the ids in a document's name.

    Raises:
        DocumentNotFound: It is no document's name.
    """
    match = re.fullmatch(_DOCUMENT, name)
    if match is None:
        raise DocumentNotFound(name)
    return DocumentName(match["collection"], match["document"])


def passage_name(name: str) -> PassageName:
    """Return the ids in a passage's name.

    Raises:
        PassageNotFound: It is no passage's name.
    """
    match = re.fullmatch(_PASSAGE, name)
    if match is None:
        raise PassageNotFound(name)
    return PassageName(match["collection"], match["document"], int(match["ordinal"]))


def is_passage_name(name: str) -> bool:
    """Say whether a name has the form of a passage's."""
    return re.fullmatch(_PASSAGE, name) is not None


def answer_id(name: str) -> str:
    """Return the id in an answer's name.

    Raises:
        AnswerNotFound: It is no answer's name.
    """
    match = re.fullmatch(_ANSWER, name)
    if match is None:
        raise AnswerNotFound(name)
    return match["answer"]


def conversation_id(name: str) -> str:
    """Return the id in a conversation's name.

    Raises:
        ConversationNotFound: It is no conversation's name.
    """
    match = re.fullmatch(_CONVERSATION, name)
    if match is None:
        raise ConversationNotFound(name)
    return match["conversation"]


def question_set_id(name: str) -> str:
    """Return the id in the name of a set of questions.

    Raises:
        QuestionSetNotFound: It is no such name.
    """
    match = re.fullmatch(r"questionSets/([A-Za-z0-9_-]{1,64})", name)
    if match is None:
        raise QuestionSetNotFound(name)
    return match[1]


def evaluation_run_id(name: str) -> str:
    """Return the id in an evaluation run's name.

    Raises:
        EvaluationRunNotFound: It is no such name.
    """
    match = re.fullmatch(r"evaluationRuns/([A-Za-z0-9_-]{1,64})", name)
    if match is None:
        raise EvaluationRunNotFound(name)
    return match[1]
