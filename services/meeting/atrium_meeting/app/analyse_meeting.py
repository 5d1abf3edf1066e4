"""What rules find in a meeting, found once for all who ask."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from atrium_meeting.app.ports import ReadableMeeting
from atrium_meeting.domain.analysis.acts import understands
from atrium_meeting.domain.analysis.chapters import Part
from atrium_meeting.domain.analysis.meeting import (
    Analysis,
    analyse,
    texts_to_encode,
    titles_of,
)
from atrium_meeting.domain.analysis.summarize import write_minutes
from atrium_meeting.domain.asking import Finder
from atrium_meeting.domain.minutes import (
    ActionItem,
    Decision,
    Grouping,
    Minutes,
    MinutesType,
    Stretch,
)
from atrium_meeting.domain.transcript import Span, Utterance
from atrium_meeting.domain.writing.meeting_text import MeetingText
from atrium_shared.errors import Unavailable
from atrium_shared.models import Embedder
from atrium_shared.principal import Principal

EMBED_TASK: Final = "meeting.embed"

_FITTING: Final = {
    MinutesType.STANDUP: Grouping.SPEAKER,
    MinutesType.BRAINSTORM: Grouping.TOPIC,
}
"""What sections are where nobody says; else chapters."""
_MOST_VECTORS: Final = 1_500
"""More lines are embedded in blocks, and more sentences not at all, while somebody waits."""


class AnalysedMeeting:
    """A meeting with what rules find in it, each when it is first asked for. Blocks.

    Args:
        meeting: The meeting.
    """

    def __init__(self, meeting: ReadableMeeting) -> None:
        self.meeting = meeting
        self.text = MeetingText(meeting.transcript, meeting.day, (meeting.title, *meeting.agenda))
        self.utterances: dict[str, Utterance] = {
            one.id: one for one in meeting.transcript.utterances
        }
        self.encoder_tokens = 0
        """Read for vectors of blocks and sentences."""
        self._blocks: npt.NDArray[np.float32] | None = None
        self._sentences: npt.NDArray[np.float32] | None = None
        # By whether there were vectors: threads that began without them may end later.
        self._analyses: dict[bool, Analysis] = {}
        self._plain: dict[bool, Minutes] = {}
        self._vectors: npt.NDArray[np.float32] | None = None
        self._embedding = asyncio.Lock()

    @cached_property
    def finder(self) -> Finder:
        """Finds lines that answer questions."""
        return Finder(self.text.lines, self.text.names)

    @property
    def analysis(self) -> Analysis:
        """What is found, by vectors as far as there are any."""
        encoded = self._blocks is not None
        if encoded not in self._analyses:
            self._analyses[encoded] = self._analysed(None)
        return self._analyses[encoded]

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """What was decided, in order of time."""
        return self._usual.decisions

    @property
    def actions(self) -> tuple[ActionItem, ...]:
        """What is to be done, in order of time."""
        return self._usual.actions

    @property
    def _usual(self) -> Minutes:
        encoded = self._blocks is not None
        if encoded not in self._plain:
            self._plain[encoded] = self.minutes(None, None)
        return self._plain[encoded]

    def minutes(self, kind: MinutesType | None, grouping: Grouping | None) -> Minutes:
        """Return minutes in the words that were said.

        Args:
            kind: What kind of meeting it was; ``None``: found out.
            grouping: What the sections are; ``None``: as fits the kind.
        """
        analysis = self.analysis if kind is None else self._analysed(kind)
        return write_minutes(analysis, grouping or _FITTING.get(analysis.type, Grouping.CHAPTER))

    def title_of(self, stretch: Stretch) -> str:
        """Return what a stretch is about, in its key phrases; empty where nothing was said."""
        inside = [
            one.index
            for one in self.text.sentences
            if stretch.start_ms <= one.start_ms < stretch.end_ms
        ]
        if not inside:
            return ""
        return titles_of(self.text.sentences, (Part(inside[0], inside[-1] + 1),))[0].text

    def _analysed(self, kind: MinutesType | None) -> Analysis:
        return analyse(
            self.meeting.transcript,
            day=self.meeting.day,
            agenda=self.meeting.agenda,
            title=self.meeting.title,
            vectors=self._blocks,
            sentence_vectors=self._sentences,
            kind=kind,
        )

    async def embed(
        self, principal: Principal, embedder: Embedder, *, while_waited_for: bool = False
    ) -> None:
        """Get the vectors by which chapters are told apart, and what is decided and to be done.

        Without an encoder words must do; with another one than the weights know, for the latter.

        Args:
            principal: On whose account.
            embedder: Makes vectors.
            while_waited_for: Somebody waits: leave it for a long meeting.
        """
        async with self._embedding:
            long = len(self.text.sentences) > _MOST_VECTORS
            if self._blocks is not None or (long and while_waited_for):
                return
            texts = await asyncio.to_thread(texts_to_encode, self.meeting.transcript)
            try:
                blocks = await embedder.embed(principal, texts, "passage")
                tokens, sentences = blocks.tokens, None
                if understands(blocks.engine.model, blocks.vectors.shape[1]):
                    texts = [one.text for one in self.text.sentences]
                    embedded = await embedder.embed(principal, texts, "passage")
                    tokens += embedded.tokens
                    sentences = embedded.vectors
            except Unavailable:
                return
            self._blocks, self._sentences = blocks.vectors, sentences
            self.encoder_tokens = tokens

    def start_of(self, span: Span) -> int:
        """Return when the first word of a span is said, in milliseconds."""
        return self.utterances[span.utterance].words[span.start_word].start_ms

    async def line_vectors(
        self, principal: Principal, embedder: Embedder
    ) -> npt.NDArray[np.float32] | None:
        """Return one vector a line, shape (lines, dimensions); ``None`` without an encoder."""
        async with self._embedding:
            if self._vectors is None:
                texts, owners = _embedded(self.text)
                try:
                    embedded = await embedder.embed(principal, texts, "passage")
                except Unavailable:
                    return None
                self._vectors = embedded.vectors[owners]
            return self._vectors


class AnalyseMeeting:
    """Keeps what was found in the meetings that were asked about last.

    Args:
        most: How many meetings are kept; a meeting of three hours takes some 20 MB.
    """

    def __init__(self, *, most: int = 8) -> None:
        self._most = most
        self._kept: OrderedDict[tuple[str, str, int, int, str], AnalysedMeeting] = OrderedDict()

    async def __call__(self, principal: Principal, meeting: ReadableMeeting) -> AnalysedMeeting:
        """Return a meeting with what is found in it, as far as it is known.

        Args:
            principal: Who asks; what is kept is of one tenant.
            meeting: A meeting that they may read.
        """
        transcript = meeting.transcript
        last = transcript.utterances[-1].id if transcript.utterances else ""
        key = (principal.tenant, meeting.id, transcript.version, meeting.known_until_ms, last)
        found = self._kept.get(key)
        if found is None or found.meeting != meeting:
            found = AnalysedMeeting(meeting)
            await asyncio.to_thread(lambda: found.text.lines)
            self._kept[key] = found
            # While a meeting is live, what was known before is of no use any more.
            for other in [one for one in self._kept if one[:2] == key[:2] and one != key]:
                del self._kept[other]
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(key)
        return found


def _embedded(text: MeetingText) -> tuple[list[str], list[int]]:
    """Return what is embedded, and for each line which of it is the line's."""
    each = -(-len(text.lines) // _MOST_VECTORS)
    texts = [
        "\n".join(line.text for line in text.lines[first : first + each])
        for first in range(0, len(text.lines), each)
    ]
    return texts, [number // each for number in range(len(text.lines))]
