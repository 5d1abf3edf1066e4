"""Answers, sources and engines in words, Chinese and English."""

from __future__ import annotations

from rich.cells import cell_len

from atrium.engine.v1 import engine_pb2
from atrium.knowledge.v1 import knowledge_pb2
from atrium_suite.terminal.output import wrap

_SHORTEST_TITLE = 12

DECISIONS = {
    knowledge_pb2.Answer.DECISION_UNSPECIFIED: ("UNDECIDED", "未决定 undecided", "red"),
    knowledge_pb2.Answer.ANSWERED: ("ANSWERED", "已回答 answered", "green"),
    knowledge_pb2.Answer.REFUSED: ("REFUSED", "已拒绝 refused", "yellow"),
    knowledge_pb2.Answer.NOT_FOUND: ("NOT_FOUND", "未找到 not found", "cyan"),
}
"""Decision to its name, its words and its colour."""


def place_of(passage: knowledge_pb2.Passage, *, cells: int | None = None) -> str:
    """Return document, sections and page: ``Leave Rules › Sick leave › p. 2``.

    Args:
        passage: The passage.
        cells: Room for it. In too little room the title is cut, since the rest tells more.
    """
    title = passage.document_title or passage.document
    # Many documents carry their title as their first heading.
    inside = [each for each in passage.section_path if each != passage.document_title]
    if passage.page:
        inside.append(f"p. {passage.page}")
    place = " › ".join([title, *inside])
    if cells is None or cell_len(place) <= cells:
        return place
    room = max(_SHORTEST_TITLE, cell_len(title) - (cell_len(place) - cells))
    return " › ".join([*wrap(title, room, lines=1), *inside])


def engine_in_words(engine: engine_pb2.Engine) -> str:
    """Return what made a text: ``extractive``, or the model's name."""
    if engine.kind == engine_pb2.Engine.GENERATIVE:
        return engine.model or "generative"
    if engine.kind == engine_pb2.Engine.EXTRACTIVE:
        return "extractive"
    return "rules"


def tokens_in_words(usage: engine_pb2.Usage) -> str:
    """Return what an answer cost, such as ``912 + 64 tokens, 12 encoded``."""
    parts = []
    if usage.prompt_tokens or usage.completion_tokens:
        parts.append(f"{usage.prompt_tokens} + {usage.completion_tokens} tokens")
    if usage.encoder_tokens:
        parts.append(f"{usage.encoder_tokens} encoded")
    return ", ".join(parts) or "0 tokens"
