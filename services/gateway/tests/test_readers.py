"""What every reader does, run on each backend; and how the local one cuts texts into tokens."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from atrium_gateway.adapters.fair_threads import FairThreads
from atrium_gateway.adapters.onnx_backend import OnnxReaderBackend
from atrium_gateway.adapters.onnx_files import TextNotUnicode
from atrium_gateway.adapters.onnx_reader import OnnxReader
from atrium_gateway.adapters.scripted_backend import ScriptedBackend
from atrium_gateway.app.ports import ReaderBackend
from atrium_gateway.domain.errors import EncoderQueueFull, ModelUnavailable
from atrium_gateway.domain.models import ModelState
from atrium_gateway.domain.reading import CUT_OFF, PassageReading, ReadPassage, Segment

WORDS = ["[unk]", "<s>", "</s>", "leave", "days", "pay", "how", "many"]
SCORES = {"leave": 3.0, "days": 5.0, "pay": -4.0}
"""What a word says for its unit; others say nothing."""
NOTHING = 0.5
MAX_TOKENS = 24


def write_reader(folder: Path, *, broken: bool = False) -> Path:
    """A real graph that looks each word's scores up."""
    table = np.zeros((len(WORDS), 2), np.float32)
    for word, score in SCORES.items():
        table[WORDS.index(word), 0] = np.nan if broken else score
    table[WORDS.index("<s>"), 1] = NOTHING
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["scores"])]
    graph = helper.make_graph(
        nodes,
        "reader",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, [1, "tokens"])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, "tokens", 2])],
        [numpy_helper.from_array(table, "table")],
    )
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 21)])
    helper.set_model_props(model, {"atrium.max_tokens": str(MAX_TOKENS)})
    folder.mkdir(exist_ok=True)
    onnx.save(model, folder / "model.int8.onnx")
    mark = {name: {"SpecialToken": {"id": name, "type_id": 0}} for name in ("<s>", "</s>")}
    first, second = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    end = mark["</s>"]
    tokenizer = {
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [{"type": "WhitespaceSplit"}, {"type": "Punctuation"}],
        },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [mark["<s>"], first, end],
            "pair": [mark["<s>"], first, end, end, second, end],
            "special_tokens": {
                name: {"id": name, "ids": [WORDS.index(name)], "tokens": [name]} for name in mark
            },
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
    return ReadPassage(heading, " ".join(units), segments)


QUESTION = "how many days leave"
ANSWERS, SAYS_LITTLE, SAYS_NOTHING = "leave days.", "leave x.", "pay y."


async def test_the_unit_that_answers_has_the_highest_log_odds(reader: ReaderBackend) -> None:
    made = await reader.read(QUESTION, [passage(SAYS_NOTHING, ANSWERS, SAYS_LITTLE)])
    nothing, answers, little = made.passages[0].segment_scores
    assert answers > little > nothing
    assert made.tokens > 0


async def test_a_passage_scores_what_its_units_score_together(reader: ReaderBackend) -> None:
    made = await reader.read(QUESTION, [passage(ANSWERS, SAYS_LITTLE), passage(SAYS_NOTHING)])
    for reading in made.passages:
        whole = math.log(sum(math.exp(score) for score in reading.segment_scores))
        assert reading.score == pytest.approx(whole)
        assert not reading.truncated
    assert made.passages[0].score > made.passages[1].score


async def test_a_reading_depends_on_its_own_pair_alone(reader: ReaderBackend) -> None:
    alone = await reader.read(QUESTION, [passage(ANSWERS, SAYS_LITTLE)])
    others = [passage(SAYS_NOTHING), passage("pay " * 60)] * 10
    beside = await reader.read(QUESTION, [*others, passage(ANSWERS, SAYS_LITTLE), *others])
    assert beside.passages[20] == alone.passages[0]


async def test_what_lies_behind_the_window_is_marked_as_unread(reader: ReaderBackend) -> None:
    long = passage(ANSWERS, "pay " * 600 + ".", ANSWERS)
    (reading,) = (await reader.read(QUESTION, [long])).passages
    assert reading.truncated
    assert reading.segment_scores[2] == CUT_OFF
    assert reading.segment_scores[0] > reading.segment_scores[1] > CUT_OFF


async def test_a_passage_without_units_has_no_score(reader: ReaderBackend) -> None:
    (reading,) = (await reader.read(QUESTION, [ReadPassage("", "", [])])).passages
    assert reading == PassageReading((), CUT_OFF, False)


async def test_the_reader_is_ready_once_it_was_used(reader: ReaderBackend) -> None:
    await reader.read(QUESTION, [passage(ANSWERS)])
    assert (await reader.status()).state is ModelState.READY


async def test_log_odds_are_the_mean_of_a_units_tokens_against_nothing(
    onnx_reader: OnnxReader,
) -> None:
    made = await onnx_reader.read("how many", [passage("leave days.", "pay.", heading="leave")])
    (reading,) = made.passages
    assert reading.segment_scores == pytest.approx([(3 + 5 + 0) / 3 - NOTHING, -4 / 2 - NOTHING])
    # <s> how many </s></s> leave leave days . pay . </s>
    assert made.tokens == 12


async def test_units_are_ranges_of_code_points_after_the_heading(onnx_reader: OnnxReader) -> None:
    text = "😀 leave 👩‍👩‍👧 days pay"
    at = text.index("days")
    given = ReadPassage("😀 标题", text, [Segment(0, at), Segment(at, at + 4)])
    (reading,) = (await onnx_reader.read("how", [given])).passages
    assert reading.segment_scores[1] == pytest.approx(5 - NOTHING)


async def test_the_window_cuts_the_passage_and_not_the_question(onnx_reader: OnnxReader) -> None:
    room = MAX_TOKENS - 4 - 2  # marks, question; the heading is empty
    fits = ReadPassage("", "pay " * room, [Segment(0, 3), Segment(4 * room - 4, 4 * room - 1)])
    over = ReadPassage("", fits.text + "days", [*fits.segments, Segment(4 * room, 4 * room + 4)])
    made = await onnx_reader.read("how many", [fits, over])
    assert made.passages[0].segment_scores == pytest.approx([-4 - NOTHING] * 2)
    assert not made.passages[0].truncated
    assert made.passages[1].segment_scores == (*made.passages[0].segment_scores, CUT_OFF)
    assert made.passages[1].truncated
    assert made.tokens == 2 * MAX_TOKENS


async def test_a_question_leaves_half_of_the_window_to_the_passage(onnx_reader: OnnxReader) -> None:
    made = await onnx_reader.read("how " * 500, [passage("days pay")])
    (reading,) = made.passages
    assert reading.segment_scores == pytest.approx([0.5 - NOTHING])
    assert reading.truncated


async def test_a_unit_without_a_token_of_its_own_is_not_scored(onnx_reader: OnnxReader) -> None:
    given = ReadPassage("", "days  pay", [Segment(0, 4), Segment(4, 6), Segment(6, 9)])
    (reading,) = (await onnx_reader.read("how", [given])).passages
    assert reading.segment_scores == pytest.approx((5 - NOTHING, CUT_OFF, -4 - NOTHING))
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
        await onnx_reader.read(question, [passage("pay"), given])
    assert caught.value.field == field
    assert metadata.items() <= caught.value.metadata.items()


async def test_scores_that_are_no_numbers_are_not_passed_on(
    tmp_path: Path, threads: FairThreads
) -> None:
    reader = await OnnxReader.load(write_reader(tmp_path / "broken", broken=True), threads)
    with pytest.raises(ModelUnavailable, match="no numbers"):
        await reader.read("how", [passage("days")])


@pytest.mark.parametrize("background", [True, False])
async def test_a_reading_need_not_wait_for_all_of_a_large_call(
    tmp_path: Path, background: bool
) -> None:
    threads = FairThreads(1)
    reader = await OnnxReader.load(write_reader(tmp_path / "reader"), threads)
    work = threads.run("other", lambda _: time.sleep(0.005), range(200), background=background)
    large = asyncio.create_task(work)
    await asyncio.sleep(0)
    await reader.read("how", [passage("days")])
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
        await reader.read("how", [passage("days")] * 20)
    assert caught.value.metadata["model"] == "reader"
    await first
    assert len((await reader.read("how", [passage("days")])).passages) == 1
    await threads.close()


async def test_a_reader_that_was_closed_refuses(tmp_path: Path, threads: FairThreads) -> None:
    reader = await OnnxReader.load(write_reader(tmp_path / "reader"), threads)
    await reader.close()
    with pytest.raises(ModelUnavailable, match="closed"):
        await reader.read("how", [passage("days")])


@pytest.mark.models
async def test_real_reader_gives_finite_log_odds_that_do_not_depend_on_neighbours() -> None:
    from atrium_models import ModelStore

    threads = FairThreads(2)
    reader = await OnnxReader.load(ModelStore.from_environment().path("atrium-reader"), threads)
    units = ["Employees may take fifteen days of leave a year.", "差旅报销须在三十天内提交。"]
    given = [passage(*units, heading="Leave"), passage("word " * 1000), passage("?")]
    together = await reader.read("我每年有多少天年假？", given)
    for one, expected in zip(given, together.passages, strict=True):
        (alone,) = (await reader.read("我每年有多少天年假？", [one])).passages
        assert alone == expected
        assert all(math.isfinite(score) for score in alone.segment_scores)
    assert [reading.truncated for reading in together.passages] == [False, True, False]
    await threads.close()
