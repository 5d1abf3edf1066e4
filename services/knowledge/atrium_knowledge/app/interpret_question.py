"""Make a question of a conversation stand alone.

By rules, or by one short call of a model where there is one. What a model writes counts only if
each of its content words comes from the conversation's questions; else the rules decide. Neither
ever sees an answer: only what the asker asked is carried over.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final, cast

import structlog

from atrium_grounding import tokens
from atrium_grounding.languages import detect_language
from atrium_knowledge.domain.conversations import Turn
from atrium_knowledge.domain.errors import MAX_QUESTION_CHARS
from atrium_knowledge.domain.follow_ups import depends, stand_alone
from atrium_shared.errors import AtriumError
from atrium_shared.models import ChatMessage, Generated, Generator, Role
from atrium_shared.principal import Principal

TASK: Final = "knowledge.interpret"
_MAX_TOKENS: Final = 80
_LONGEST_FOLLOW_UP: Final = 200
"""Code points; what is longer says itself what it is about."""
_PATIENCE_SECONDS: Final = 8.0
_ASK: Final = {
    "zh": (
        "把最后一个问题改写成不依赖前文、意思完整的一个问题。只用对话中出现过的词，不要回答，"
        "只输出改写后的问题。"
    ),
    "en": (
        "Rewrite the last question as one complete question that can be understood without the "
        "questions before it. Use only words of the conversation. Do not answer. Write the "
        "question and nothing else."
    ),
}

_log = structlog.get_logger(__name__)


class InterpretQuestion:
    """Says what a question means in its conversation.

    Args:
        generator: Writes.
    """

    def __init__(self, generator: Generator) -> None:
        self._generator = generator

    async def __call__(
        self, principal: Principal, question: str, turns: Sequence[Turn], *, write: bool
    ) -> str:
        """Return the question that is to be answered, of at most 4,000 code points.

        Args:
            principal: Who asks.
            question: As it was asked.
            turns: The latest turns of the conversation, oldest first.
            write: Whether a model may be asked.
        """
        if not turns or len(question) > _LONGEST_FOLLOW_UP:
            return question
        earlier = [turn.interpreted for turn in reversed(turns)]
        if not await asyncio.to_thread(depends, question):
            return question
        by_rules = await asyncio.to_thread(stand_alone, question, earlier)
        understood = by_rules
        if write:
            written = await self._written(principal, question, turns)
            understood = written or by_rules
        return understood if len(understood) <= MAX_QUESTION_CHARS else question

    async def _written(self, principal: Principal, question: str, turns: Sequence[Turn]) -> str:
        """Return what a model makes of it, "" when there is none or it made up something."""
        asked = [turn.interpreted for turn in turns]
        language = detect_language(question)
        messages = [
            ChatMessage(Role.SYSTEM, _ASK[language]),
            ChatMessage(Role.USER, "\n".join([*asked[-2:], question])),
        ]
        stream = cast(
            "AsyncGenerator[str | Generated, None]",
            self._generator.stream(principal, TASK, messages, _MAX_TOKENS),
        )
        text = ""
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS), aclosing(stream):
                async for part in stream:
                    text = part.text if isinstance(part, Generated) else text + part
        except (AtriumError, TimeoutError) as error:
            # The rules do without a model.
            _log.info("question interpreted by rules", reason=getattr(error, "reason", "TIMEOUT"))
            return ""
        lines = text.strip().splitlines()
        line = lines[0].strip() if len(lines) == 1 else ""
        return line if await asyncio.to_thread(_made_of, line, question, asked) else ""


def _made_of(text: str, question: str, asked: Sequence[str]) -> bool:
    """Say whether a text adds nothing to the conversation and keeps all that was asked."""
    words = set(tokens.words(text))
    new = set(tokens.words(question))
    known = new.union(*(tokens.words(one) for one in asked))
    return bool(words - new) and words <= known and new <= words
