"""What is found in a meeting with an encoder, and when it is asked."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pytest

from atrium_meeting.app.analyse_meeting import AnalysedMeeting, AnalyseMeeting
from atrium_meeting.app.ask_meeting import AskMeeting
from atrium_meeting.domain.analysis.acts import ENCODER
from atrium_meeting.testing_minutes import OneMeeting, talk
from atrium_shared.audit import MemoryAuditSink
from atrium_shared.audit_trail import AuditTrail
from atrium_shared.engines import Engine, EngineKind
from atrium_shared.models import Embedding
from atrium_shared.principal import Principal
from atrium_shared.testing import make_principal
from atrium_shared.testing_models import NoGenerator, NoModel

LIN = make_principal()
SAID = (
    ("Anna", "Good morning, we begin with the colour of the walls in the hall."),
    ("Ben", "Then it's settled, the walls of the hall become yellow. I like that."),
    ("Lena", "Agreed."),
)


class Encoder:
    """Makes the same vector of any text.

    Args:
        model: What it says it is.
        dimensions: Of its vectors.
        fails_from: The call from which on it is not there.
    """

    def __init__(
        self, model: str = ENCODER, *, dimensions: int = 384, fails_from: int = 99
    ) -> None:
        self._model = model
        self._dimensions = dimensions
        self._fails_from = fails_from
        self.texts: list[list[str]] = []

    async def embed(
        self, principal: Principal, texts: Sequence[str], kind: Literal["query", "passage"]
    ) -> Embedding:
        """Return vectors of length 1."""
        self.texts.append(list(texts))
        if len(self.texts) >= self._fails_from:
            raise NoModel
        rows = np.zeros((len(texts), self._dimensions), np.float32)
        rows[:, 7] = 1
        engine = Engine(EngineKind.ENCODER, "onnxruntime", self._model)
        return Embedding(rows, 10 * len(texts), engine)


async def test_sentences_are_embedded_once_and_counted():
    encoder, meeting = Encoder(), AnalysedMeeting(talk(*SAID))
    await meeting.embed(LIN, encoder)
    await meeting.embed(LIN, encoder)
    blocks, sentences = encoder.texts
    assert sentences == [
        "Good morning, we begin with the colour of the walls in the hall.",
        "Then it's settled, the walls of the hall become yellow.",
        "I like that.",
        "Agreed.",
    ]
    assert meeting.encoder_tokens == 10 * (len(blocks) + len(sentences))


async def test_what_was_found_without_vectors_is_found_anew_with_them():
    meeting = AnalysedMeeting(talk(*SAID))
    before = meeting.analysis
    assert meeting.analysis is before
    await meeting.embed(LIN, Encoder())
    assert meeting.analysis is not before


@pytest.mark.parametrize(("model", "dimensions"), [("another-encoder", 384), (ENCODER, 768)])
async def test_vectors_that_the_weights_do_not_know_are_not_asked_for(model: str, dimensions: int):
    encoder = Encoder(model, dimensions=dimensions)
    meeting = AnalysedMeeting(talk(*SAID))
    await meeting.embed(LIN, encoder)
    assert len(encoder.texts) == 1
    assert meeting.decisions == AnalysedMeeting(talk(*SAID)).decisions


@pytest.mark.parametrize("fails_from", [1, 2])
async def test_without_an_encoder_words_must_do(fails_from: int):
    meeting = AnalysedMeeting(talk(*SAID))
    await meeting.embed(LIN, Encoder(fails_from=fails_from))
    assert meeting.encoder_tokens == 0
    assert meeting.decisions == AnalysedMeeting(talk(*SAID)).decisions


async def test_nobody_waits_for_the_vectors_of_a_long_meeting():
    encoder = Encoder()
    meeting = AnalysedMeeting(talk(*SAID, *[("Anna", "It rains a lot here.")] * 1_500))
    await meeting.embed(LIN, encoder, while_waited_for=True)
    assert encoder.texts == []
    await meeting.embed(LIN, encoder)
    assert len(encoder.texts) == 2


@pytest.mark.parametrize(
    ("question", "decided"),
    [("What was decided?", True), ("How do the walls look?", False)],
)
async def test_decisions_that_are_asked_for_are_those_of_the_minutes(question: str, decided: bool):
    meeting, analyse = talk(*SAID), AnalyseMeeting()
    audit = AuditTrail(MemoryAuditSink(), "meeting")
    ask = AskMeeting(OneMeeting(meeting), analyse, Encoder(), NoGenerator(), audit)
    assert [one async for one in ask(LIN, "meetings/m1", question)]
    analysed = await analyse(LIN, meeting)
    assert (analysed.encoder_tokens > 0) is decided
