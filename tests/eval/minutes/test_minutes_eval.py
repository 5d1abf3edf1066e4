"""A small run of the evaluation of minutes, with the check and without it."""

import json

import pytest

from atrium_meeting.app.analyse_meeting import EMBED_TASK
from atrium_shared.rpc.models import GatewayEmbedder
from tests.eval.meeting_scripts import load
from tests.figures import Figures

from .run import run_extractive, run_scripted, small_models
from .scripting import sabotage


def two_meetings():
    """One of each language, of the part that is for tuning."""
    meetings = load("dev")
    return [next(one for one in meetings if one.language == language) for language in ("en", "zh")]


@pytest.fixture
def figures(tmp_path):
    return Figures("eval", "minutes", folder=tmp_path)


async def test_what_a_generator_makes_up_is_not_published_and_what_is_right_is(figures):
    records = await run_scripted(two_meetings(), figures)
    invented = [one for one in records if one["kind"]]
    faithful = [one for one in records if not one["kind"]]
    assert len(invented) >= 6
    assert not [one for one in invented if one["published"]]
    assert sum(one["published"] for one in faithful) >= 0.95 * len(faithful)
    assert figures.missed == []


async def test_without_the_check_inventions_are_published_and_the_run_fails(figures):
    with sabotage(True):
        records = await run_scripted(two_meetings(), figures)
    assert [one for one in records if one["kind"] and one["published"]]
    assert "minutes.scripted.invented_published" in figures.missed


@pytest.mark.models
async def test_the_encoder_behind_the_gateway_helps_to_find_decisions_and_actions(tmp_path):
    figures = Figures("eval", "minutes", folder=tmp_path)
    async with small_models() as (principal, channel):
        embedder = GatewayEmbedder(channel, EMBED_TASK)
        await run_extractive(
            load("dev"), figures, "encoder", principal=principal, embedder=embedder
        )
    lines = (tmp_path / "minutes.jsonl").read_text(encoding="utf-8").splitlines()
    value = {one["name"]: one["value"] for one in map(json.loads, lines)}
    # The score has learned from these meetings: that it finds them says that it is wired right.
    assert value["minutes.encoder.decision_f1"] > 0.7
    assert value["minutes.encoder.action_f1"] > 0.9
    assert value["minutes.encoder.cites_valid_spans"] == 1
