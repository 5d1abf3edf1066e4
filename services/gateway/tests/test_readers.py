"""What every reader does, run on each backend; and how the local one cuts texts into tokens."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from cachetools import LRUCache
from onnx import TensorProto, helper, numpy_helper

from atrium_gateway.adapters.fair_threads import FairThreads
from atrium_gateway.adapters.onnx_backend import OnnxReaderBackend
from atrium_gateway.adapters.onnx_files import TextNotUnicode
from atrium_gateway.adapters.onnx_reader import OnnxReader
from atrium_gateway.adapters.scripted_backend import ScriptedBackend
from atrium_gateway.app.ports import ReaderBackend, Reading
from atrium_gateway.domain.errors import EncoderQueueFull, ModelUnavailable
from atrium_gateway.domain.models import ModelState
from atrium_gateway.domain.reading import CUT_OFF, PassageReading, ReadPassage, Relation, Segment

WORDS = ["[unk]", "leave", "days", "pay", "how", "many", ":", "secret"]
MEANS = {"leave": 3.0, "days": 5.0, "pay": -4.0}
"""What a word adds to the mean of its unit; others add nothing."""
LASTS = {"days": 1.0}
"""What it adds when it is the last one of its unit."""
NOTHING = 0.5
SECRET = 2.0
"""What this word, wherever it stands in a passage, adds to "nothing answers"."""
MAX_TOKENS = 24
MAX_QUESTION_TOKENS = 12


def write_reader(folder: Path, *, broken: bool = False) -> Path:
    """A real graph that looks each word's numbers up, and sums up what it kept of a passage.

    The question's number, which the colon at its end has, is 1.
    """
    table = np.zeros((len(WORDS), 4), np.float32)
    kept = np.zeros((len(WORDS), 1), np.float16)
    for word, value in MEANS.items():
        table[WORDS.index(word), 1] = np.nan if broken else value
    for word, value in LASTS.items():
        table[WORDS.index(word), 2] = value
    table[WORDS.index(":")] = (1, 0, 0, NOTHING)
    kept[WORDS.index("secret")] = SECRET
    nodes = [
        helper.make_node("Gather", ["kept", "input_ids"], ["new"]),
        helper.make_node("Unsqueeze", ["new", "second"], ["states"]),
        helper.make_node("Concat", ["past", "states"], ["present"], axis=2),
        helper.make_node("ReduceSum", ["past"], ["sum"], keepdims=0),
        helper.make_node("Cast", ["sum"], ["more"], to=TensorProto.FLOAT),
        helper.make_node("Gather", ["table", "input_ids"], ["own"]),
        helper.make_node("Mul", ["more", "nothing"], ["row"]),
        helper.make_node("Add", ["own", "row"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "reader",
        [
            helper.make_tensor_value_info("input_ids", TensorProto.INT64, [1, "tokens"]),
            helper.make_tensor_value_info("past", TensorProto.FLOAT16, [1, 1, None, 1]),
        ],
        [
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, "tokens", 4]),
            helper.make_tensor_value_info("present", TensorProto.FLOAT16, [1, 1, None, 1]),
        ],
        [
            numpy_helper.from_array(table, "table"),
            numpy_helper.from_array(kept, "kept"),
            numpy_helper.from_array(np.array([0, 0, 0, 1], np.float32), "nothing"),
            numpy_helper.from_array(np.array([1], np.int64), "second"),
        ],
    )
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 21)])
    properties = {
        "atrium.max_tokens": str(MAX_TOKENS),
        "atrium.max_question_tokens": str(MAX_QUESTION_TOKENS),
    }
    helper.set_model_props(model, properties)
    folder.mkdir(exist_ok=True)
    onnx.save(model, folder / "model.int8.onnx")
    tokenizer = {
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [{"type": "WhitespaceSplit"}, {"type": "Punctuation"}],
        },
        "model": {
            "type": "WordLevel",
            "vocab": {word: number for number, word in enumerate(WORDS)},
            "unk_token": "[unk]",
        },
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    return folder


@pytest.fixture
async def threads() -> AsyncIterator[FairThreads]:
    threads = FairThreads(2)
    yield threads
    await threads.close()


@pytest.fixture
async def onnx_reader(tmp_path: Path, threads: FairThreads) -> OnnxReader:
    return await OnnxReader.load(write_reader(tmp_path / "reader"), threads)


@pytest.fixture(params=["scripted", "onnx"])
async def reader(
    request: pytest.FixtureRequest, tmp_path: Path, threads: FairThreads
) -> AsyncIterator[ReaderBackend]:
    if request.param == "scripted":
        yield ScriptedBackend("models/tiny")
        return
    folder = write_reader(tmp_path / "tiny")
    backend = OnnxReaderBackend("models/tiny", "tiny", lambda: folder, threads=threads)
    yield backend
    await backend.close()


def passage(*units: str, heading: str = "rules") -> ReadPassage:
    """A passage of these units with a space between."""
    segments, at = [], 0
    for unit in units:
        segments.append(Segment(at, at + len(unit)))
        at += len(unit) + 1
    return ReadPassage(heading, " ".join(units), tuple(segments))


async def read(
    reader: ReaderBackend | OnnxReader,
    question: str,
    passages: Sequence[ReadPassage],
    relation: Relation = Relation.ANSWERS,
    scope: str = "tenants/acme",
) -> Reading:
    return await reader.read(question, passages, relation, scope)


QUESTION = "how many days leave"
ANSWERS, SAYS_LITTLE, SAYS_NOTHING = "leave days.", "leave x.", "pay y."


async def test_the_unit_that_answers_has_the_highest_log_odds(reader: ReaderBackend) -> None:
    made = await read(reader, QUESTION, [passage(SAYS_NOTHING, ANSWERS, SAYS_LITTLE)])
    nothing, answers, little = made.passages[0].segment_scores
    assert answers > little > nothing
    assert made.tokens > 0


async def test_a_passage_scores_what_its_units_score_together(reader: ReaderBackend) -> None:
    made = await read(reader, QUESTION, [passage(ANSWERS, SAYS_LITTLE), passage(SAYS_NOTHING)])
    for reading in made.passages:
        whole = math.log(sum(math.exp(score) for score in reading.segment_scores))
        assert reading.score == pytest.approx(whole)
        assert not reading.truncated
    assert made.passages[0].score > made.passages[1].score


async def test_a_reading_depends_on_its_own_pair_alone(reader: ReaderBackend) -> None:
    alone = await read(reader, QUESTION, [passage(ANSWERS, SAYS_LITTLE)])
    others = [passage(SAYS_NOTHING), passage("pay " * 60)] * 10
    beside = await read(reader, QUESTION, [*others, passage(ANSWERS, SAYS_LITTLE), *others])
    assert beside.passages[20] == alone.passages[0]


async def test_what_lies_behind_the_window_is_marked_as_unread(reader: ReaderBackend) -> None:
    long = passage(ANSWERS, "pay " * 600 + ".", ANSWERS)
    (reading,) = (await read(reader, QUESTION, [long])).passages
    assert reading.truncated
    assert reading.segment_scores[2] == CUT_OFF
    assert reading.segment_scores[0] > reading.segment_scores[1] > CUT_OFF


async def test_a_passage_without_units_has_no_score(reader: ReaderBackend) -> None:
    (reading,) = (await read(reader, QUESTION, [ReadPassage("", "", ())])).passages
    assert reading == PassageReading((), CUT_OFF, False)


async def test_the_reader_is_ready_once_it_was_used(reader: ReaderBackend) -> None:
    await read(reader, QUESTION, [passage(ANSWERS)])
    assert (await reader.status()).state is ModelState.READY


async def test_log_odds_compare_a_units_tokens_with_nothing(onnx_reader: OnnxReader) -> None:
    given = [passage("leave days", "pay.", heading="leave")]
    made = await read(onnx_reader, "how many", given)
    (reading,) = made.passages
    assert reading.segment_scores == pytest.approx([(3 + 5) / 2 + 1 - NOTHING, -4 / 2 - NOTHING])
    # leave leave days pay . / Question : how many Answer in :
    assert made.tokens == 5 + 7


async def test_a_question_sees_the_passage_that_stands_before_it(onnx_reader: OnnxReader) -> None:
    given = [passage("days", heading="leave"), passage("days", heading="secret")]
    open_, closed = (await read(onnx_reader, "how many", given)).passages
    assert open_.score - closed.score == pytest.approx(SECRET)


class Counting:
    """A session that remembers how many tokens it was given at a time."""

    def __init__(self, session: Any) -> None:
        self.session = session
        self.tokens: list[int] = []

    def run(self, names: list[str], feeds: dict[str, Any]) -> list[Any]:
        self.tokens.append(feeds["input_ids"].size)
        result: list[Any] = self.session.run(names, feeds)
        return result


@pytest.fixture
def ran(onnx_reader: OnnxReader, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    counting = Counting(onnx_reader._session)
    monkeypatch.setattr(onnx_reader, "_session", counting)
    return counting.tokens


async def test_a_passage_is_read_once_for_all_questions(
    onnx_reader: OnnxReader, ran: list[int]
) -> None:
    given = [passage("days secret", "pay", heading="leave")]
    first = await read(onnx_reader, "how many", given)
    again = await read(onnx_reader, "how many", given)
    assert ran == [4, 7, 7]
    assert again == first
    await read(onnx_reader, "how", given, Relation.STATES)
    assert ran == [4, 7, 7, 6]


@pytest.mark.parametrize(
    ("other", "scope"),
    [
        (passage("days", "pay"), "tenants/other"),
        (passage("days", "pay", heading="pay"), "tenants/acme"),
        (ReadPassage("rules", "days pay", (Segment(0, 8),)), "tenants/acme"),
    ],
)
async def test_what_is_kept_serves_the_same_tenant_and_text_alone(
    onnx_reader: OnnxReader, ran: list[int], other: ReadPassage, scope: str
) -> None:
    await read(onnx_reader, "how", [passage("days", "pay")])
    await read(onnx_reader, "how", [other], scope=scope)
    assert ran == [3, 6, 3, 6]


async def test_what_is_kept_has_a_bound(
    onnx_reader: OnnxReader, ran: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    room = 3 * 2 + 4  # three tokens in two bytes each, one unit in four
    monkeypatch.setattr(onnx_reader, "_states", LRUCache(room, getsizeof=lambda one: one.bytes))
    one, other, large = passage("days"), passage("pay"), passage("pay " * 9)
    made = [await read(onnx_reader, "how", [each]) for each in (one, other, one, large, large)]
    assert ran == [2, 6, 2, 6, 2, 6, 10, 6, 10, 6]
    assert made[0] == made[2]
    assert made[3] == made[4]


async def test_units_are_ranges_of_code_points_after_the_heading(onnx_reader: OnnxReader) -> None:
    text = "😀 leave 👩‍👩‍👧 days pay"
    at = text.index("days")
    given = ReadPassage("😀 标题", text, (Segment(0, at), Segment(at, at + 4)))
    (reading,) = (await read(onnx_reader, "how", [given])).passages
    assert reading.segment_scores[1] == pytest.approx(5 + 1 - NOTHING)


async def test_the_window_cuts_the_end_of_a_passage(onnx_reader: OnnxReader) -> None:
    room = MAX_TOKENS
    segments = (Segment(0, 3), Segment(4 * room - 4, 4 * room - 1))
    fits = ReadPassage("", "pay " * room, segments)
    over = ReadPassage("", fits.text + "days", (*segments, Segment(4 * room, 4 * room + 4)))
    made = await read(onnx_reader, "how many", [fits, over])
    assert made.passages[0].segment_scores == pytest.approx([-4 - NOTHING] * 2)
    assert not made.passages[0].truncated
    assert made.passages[1].segment_scores == (*made.passages[0].segment_scores, CUT_OFF)
    assert made.passages[1].truncated
    assert made.tokens == 2 * (MAX_TOKENS + 7)


@pytest.mark.parametrize("words", [MAX_QUESTION_TOKENS - 5, MAX_QUESTION_TOKENS - 4, 5000])
async def test_a_long_question_loses_its_end_and_not_what_is_asked_of_it(
    onnx_reader: OnnxReader, ran: list[int], words: int
) -> None:
    (reading,) = (await read(onnx_reader, "how " * words, [passage("days pay")])).passages
    assert reading.segment_scores == pytest.approx([0.5 - NOTHING])
    assert reading.truncated == (words > MAX_QUESTION_TOKENS - 5)
    assert ran == [3, MAX_QUESTION_TOKENS]


async def test_a_unit_without_a_token_of_its_own_is_not_scored(onnx_reader: OnnxReader) -> None:
    segments = (Segment(0, 4), Segment(4, 6), Segment(6, 9))
    given = ReadPassage("", "days  pay", segments)
    (reading,) = (await read(onnx_reader, "how", [given])).passages
    assert reading.segment_scores == pytest.approx((6 - NOTHING, CUT_OFF, -4 - NOTHING))
    assert not reading.truncated


@pytest.mark.parametrize(
    ("question", "given", "field", "metadata"),
    [
        ("a\ud800", passage("days"), "question", {"index": "0", "position": "1"}),
        ("a", passage("days", heading="\udc00"), "passages[1].heading", {"index": "1"}),
        ("a", passage("day\ud800s"), "passages[1].text", {"index": "1", "position": "3"}),
    ],
)
async def test_half_a_character_is_refused_by_its_place(
    onnx_reader: OnnxReader,
    question: str,
    given: ReadPassage,
    field: str,
    metadata: dict[str, str],
) -> None:
    with pytest.raises(TextNotUnicode) as caught:
        await read(onnx_reader, question, [passage("pay"), given])
    assert caught.value.field == field
    assert metadata.items() <= caught.value.metadata.items()


async def test_scores_that_are_no_numbers_are_not_passed_on(
    tmp_path: Path, threads: FairThreads
) -> None:
    reader = await OnnxReader.load(write_reader(tmp_path / "broken", broken=True), threads)
    with pytest.raises(ModelUnavailable, match="no numbers"):
        await read(reader, "how", [passage("days")])


@pytest.mark.parametrize("background", [True, False])
async def test_a_reading_need_not_wait_for_all_of_a_large_call(
    tmp_path: Path, background: bool
) -> None:
    threads = FairThreads(1)
    reader = await OnnxReader.load(write_reader(tmp_path / "reader"), threads)
    work = threads.run("other", lambda _: time.sleep(0.005), range(200), background=background)
    large = asyncio.create_task(work)
    await asyncio.sleep(0)
    await read(reader, "how", [passage("days")])
    assert not large.done()
    await large
    await threads.close()


async def test_a_full_queue_refuses_all_passages_and_recovers(tmp_path: Path) -> None:
    threads = FairThreads(1, queue_limit=20)
    reader = await OnnxReader.load(write_reader(tmp_path / "reader"), threads)
    work = threads.run("other", lambda _: time.sleep(0.005), range(20), background=True)
    first = asyncio.create_task(work)
    await asyncio.sleep(0)
    with pytest.raises(EncoderQueueFull) as caught:
        await read(reader, "how", [passage("days")] * 20)
    assert caught.value.metadata["model"] == "reader"
    await first
    assert len((await read(reader, "how", [passage("days")])).passages) == 1
    await threads.close()


async def test_a_reader_that_was_closed_refuses(tmp_path: Path, threads: FairThreads) -> None:
    reader = await OnnxReader.load(write_reader(tmp_path / "reader"), threads)
    await reader.close()
    with pytest.raises(ModelUnavailable, match="closed"):
        await read(reader, "how", [passage("days")])


@pytest.mark.models
async def test_real_reader_gives_finite_log_odds_that_do_not_depend_on_neighbours() -> None:
    from atrium_models import ModelStore

    threads = FairThreads(2)
    reader = await OnnxReader.load(ModelStore.from_environment().path("atrium-reader"), threads)
    units = ["Employees may take fifteen days of leave a year.", "差旅报销须在三十天内提交。"]
    given = [passage(*units, heading="Leave"), passage("word " * 1000), passage("?")]
    together = await read(reader, "我每年有多少天年假？", given)
    for one, expected in zip(given, together.passages, strict=True):
        (alone,) = (await read(reader, "我每年有多少天年假？", [one])).passages
        assert alone == expected
        assert all(math.isfinite(score) for score in alone.segment_scores)
    assert [reading.truncated for reading in together.passages] == [False, True, False]
    await threads.close()
