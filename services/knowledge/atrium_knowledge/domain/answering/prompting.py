"""What a model is asked, and how its text is cut into sentences while it comes.

Passages are data: they stand between marks, and whatever they say to a model is checked afterwards
like every other sentence. The instructions come first and never change, and passages before the
question, so that a server that keeps prompts reads each only once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from atrium_grounding.languages import Language
from atrium_knowledge.domain.passages import Passage

MAX_ANSWER_TOKENS: Final = 160
_PASSAGE_CHARS: Final = {"zh": 420, "en": 1000}
"""Code points of a passage that a prompt shows: about 280 tokens in either language."""

_INSTRUCTIONS: Final = {
    "en": (
        "You answer an employee's question from the numbered sources below. Use only what the "
        "sources say; copy numbers, dates and names exactly. Answer in English, in one or two "
        "complete sentences, and end each with the number of its source, like [1]."
    ),
    "zh": (
        "请根据下面带编号的资料回答员工的问题。只能使用资料中的内容，数字、日期和名称必须与资料完全一致。"
        "请用中文回答，写一到两个完整的句子，不要照抄标题，每句末尾标出所依据的资料编号，例如 [1]。"
    ),
}
_QUESTION: Final = {"en": "Question", "zh": "问题"}
_SOURCES: Final = {"en": "Sources", "zh": "资料"}
_SENTENCE: Final = re.compile(
    r".*?(?:[。！？!?]|\.(?=\s|$|\s*\[)|\n)[\"'”’」）)]*(?:\s*[\[【]\d[\d\s,，、]*[\]】])*[。.]?",
    re.DOTALL,
)
_TAIL_MARK: Final = re.compile(r"\s*[\[【][\d\s,，、]*$")
_CITED: Final = re.compile(r"[\[【]([\d\s,，、]+)[\]】]")


@dataclass(frozen=True, slots=True)
class Prompt:
    """Instructions and what they are about."""

    system: str
    user: str


def prompt(
    question: str, passages: Sequence[Passage], focus: Sequence[int], language: Language
) -> Prompt:
    """Return the prompt of a question.

    Args:
        question: As asked.
        passages: Permitted passages in the order of their numbers.
        focus: For each passage the code point within its text that matters most; a long passage
            is cut around it.
        language: Of the answer.
    """
    parts = [f"{_SOURCES[language]}:"]
    for number, (passage, at) in enumerate(zip(passages, focus, strict=True), 1):
        parts.append(f"[{number}] {heading_of(passage)}\n{_window(passage, at)}")
    parts.append(f"{_QUESTION[language]}: {question}")
    return Prompt(_INSTRUCTIONS[language], "\n\n".join(parts))


def heading_of(passage: Passage) -> str:
    """Return the line that stands above a passage; models copy it, though it tells nothing."""
    path = passage.section_path
    named = path[:1] == (passage.document_title,)  # many a document's first heading is its title
    return " › ".join(path if named else (passage.document_title, *path))


def _window(passage: Passage, at: int) -> str:
    room = _PASSAGE_CHARS["zh" if passage.language == "zh" else "en"]
    text = passage.text
    if len(text) <= room:
        return text
    start = max(0, min(at - room // 3, len(text) - room))
    end = start + room
    # Whole lines, where there is a break near the edge.
    if start:
        start = max(text.rfind("\n", 0, start + room // 4) + 1, start)
    if end < len(text):
        line_end = text.rfind("\n", start + room // 2, end)
        end = line_end if line_end > 0 else end
    return text[start:end].strip()


class SentenceStream:
    """Cuts a text into sentences as it grows; a source mark stays with the sentence before it."""

    def __init__(self) -> None:
        self._rest = ""

    def feed(self, part: str) -> list[str]:
        """Return the sentences that are complete now."""
        self._rest += part
        done: list[str] = []
        while True:
            match = _SENTENCE.match(self._rest)
            # What follows may still belong to it: a mark, a closing quote, more digits.
            if match is None or len(self._rest) - match.end() < 1:
                return done
            rest = self._rest[match.end() :]
            if _TAIL_MARK.fullmatch(rest) or rest.isspace():
                return done
            done.append(match.group().strip())
            self._rest = rest

    def end(self, *, cut: bool = False) -> list[str]:
        """Return what is left, complete or not.

        Args:
            cut: The text was broken off: half a sentence at its end is left out.
        """
        rest, self._rest = self._rest, ""
        done = []
        while match := _SENTENCE.match(rest):
            done.append(match.group().strip())
            rest = rest[match.end() :]
        return [sentence for sentence in (*done, "" if cut else rest.strip()) if sentence]


def cited_numbers(sentence: str) -> list[int]:
    """Return the source numbers of a sentence in order, each once."""
    found = [int(n) for marks in _CITED.findall(sentence) for n in re.findall(r"\d+", marks)]
    return list(dict.fromkeys(found))
