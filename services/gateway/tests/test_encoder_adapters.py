"""Adapters of an encoder in the gateway's process: deployed, called, replaced, over gRPC."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atrium.engine.v1 import engine_pb2
from atrium.gateway.v1 import adapter_service_pb2, gateway_pb2
from atrium.gateway.v1.gateway_service_pb2_grpc import ModelGatewayStub
from atrium_gateway.domain.adapters import ADAPTER_FILES
from atrium_gateway.testing import refusal, serve_gateway
from atrium_gateway.testing_vllm import AdapterDesk
from tests.encoder_adapters import HIDDEN, adapter_tensors, write_adapter, write_encoder

ENCODER = "multilingual-e5-small"
BASE = f"models/{ENCODER}"
RISK = "models/adapters/clause-risk"
TASK = "contract.clause"
TEXTS = ["red green", "blue 红", "1 2 3"]


class Desk(AdapterDesk):
    """What administrators of tenants do with adapters of the encoder."""

    def model(self, who: str = "acme") -> Any:
        return ModelGatewayStub(self.gateway.open_channel(who))

    async def embed(self, who: str = "acme", task: str = TASK) -> bytes:
        request = gateway_pb2.EmbedRequest(
            task=task, texts=TEXTS, kind=gateway_pb2.EmbedRequest.QUERY
        )
        return bytes((await self.model(who).Embed(request)).vectors)

    def classify(self, *labels: str, who: str = "acme") -> Any:
        request = gateway_pb2.ClassifyRequest(task=TASK, texts=TEXTS)
        for label in labels:
            request.labels.add(id=label)
        return self.model(who).Classify(request)


def files(folder: Path, seed: int = 0, **more: Any) -> dict[str, bytes]:
    tensors = more.pop("tensors", None) or adapter_tensors(seed=seed, rank=more.get("rank", 4))
    written = write_adapter(folder / f"written-{seed}", tensors, **{"base": ENCODER, **more})
    return {file: (written / file).read_bytes() for file in ADAPTER_FILES}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("store") / ENCODER)


@pytest.fixture
async def desk(tmp_path: Path, encoder: Path) -> AsyncIterator[Desk]:
    routes = {"default": [{"model": BASE}]}
    async with serve_gateway(
        tmp_path,
        routes=routes,
        with_scripted=False,
        locate=lambda _: encoder,
        GATEWAY_MODELS=ENCODER,
        GATEWAY_MAX_LORA_RANK="8",
        GATEWAY_ADAPTER_CHECK_SECONDS="0.05",
    ) as served:
        yield Desk(served)


NAN = adapter_tensors()
NAN["base_model.model.encoder.layer.1.attention.self.value.lora_B.weight"][0, 0] = np.nan
OTHER_MODULE = adapter_tensors() | {
    "base_model.model.encoder.layer.0.output.dense.lora_A.weight": np.zeros((4, HIDDEN), np.float32)
}


@pytest.mark.parametrize(
    ("more", "reason", "words"),
    [
        ({"base": "bge-m3"}, "ADAPTER_INVALID", ["bge-m3", ENCODER]),
        ({"r": 2}, "ADAPTER_INVALID", ["rank 2"]),
        ({"rank": 16}, "ADAPTER_RANK_TOO_LARGE", ["16", "8"]),
        ({"tensors": NAN}, "ADAPTER_INVALID", ["no numbers"]),
        ({"tensors": OTHER_MODULE}, "ADAPTER_INVALID", ["output.dense", "query and value"]),
        ({"tensors": adapter_tensors(hidden=32)}, "ADAPTER_INVALID", ["32", "width 64"]),
        ({"tensors": adapter_tensors(layers=3)}, "ADAPTER_INVALID", ["layer 2"]),
        ({"task_type": "SEQ_CLS"}, "ADAPTER_INVALID", ["task_type"]),
        ({"labels": ["a", "b"], "head": False}, "ADAPTER_INVALID", ["2 labels"]),
    ],
)
async def test_what_does_not_fit_is_refused_before_anything_is_stored(
    desk: Desk, tmp_path: Path, more: dict[str, Any], reason: str, words: list[str]
) -> None:
    error = await refusal(desk.deploy(files(tmp_path, **more), base_model=BASE))
    assert error.reason == reason
    for word in words:
        assert word in str(error)
    listed = await desk.adapters().ListAdapters(adapter_service_pb2.ListAdaptersRequest())
    assert not listed.adapters
    assert not any(found for _, _, found in os.walk(tmp_path / "files"))


async def test_weights_that_give_no_numbers_fail_the_roll_out_and_the_one_before_goes_on(
    desk: Desk, tmp_path: Path
) -> None:
    await desk.deployed(files(tmp_path), base_model=BASE)
    await desk.route(RISK)
    before = await desk.embed()
    huge = {name: values * np.float32(1e30) for name, values in adapter_tensors().items()}
    ended = await desk.done(await desk.deploy(files(tmp_path, 1, tensors=huge), base_model=BASE))
    assert "holds no numbers" in ended.error.message
    assert await desk.embed() == before
    assert (await desk.get()).serving_version == 1


async def test_each_tenant_has_its_own_adapter_under_the_same_name(
    desk: Desk, tmp_path: Path
) -> None:
    base = await desk.embed()
    for seed, who in enumerate(("acme", "globex")):
        made = await desk.deployed(files(tmp_path, seed), who, base_model=BASE)
        assert (made.serving_version, made.replicas, made.versions[0].rank) == (1, 1, 4)
        await desk.route(RISK, who=who)
    acme, globex = await desk.embed("acme"), await desk.embed("globex")
    assert len({base, acme, globex}) == 3
    assert await desk.embed(task="other.task") == base
    beside = await asyncio.gather(*(desk.embed(who) for who in ("acme", "globex") * 20))
    assert beside == [acme, globex] * 20


async def test_a_deployed_classifier_knows_its_labels(desk: Desk, tmp_path: Path) -> None:
    await desk.deployed(files(tmp_path, labels=["high", "low"]), base_model=BASE)
    await desk.route(RISK)
    made = await desk.classify("high", "low")
    assert made.engine.kind == engine_pb2.Engine.ENCODER
    assert made.engine.model == "adapters/clause-risk"
    assert not made.engine.degraded
    for result in made.results:
        assert sum(score.score for score in result.scores) == pytest.approx(1, abs=1e-5)
    error = await refusal(desk.classify("high", "huge"))
    assert error.reason == "LABEL_UNKNOWN"
    assert error.field == "labels[1].id"
    globex = await refusal(desk.classify("high", "low", who="globex"))
    assert globex.reason == "LABEL_WITHOUT_MEANING"


async def test_a_new_version_answers_and_the_one_before_comes_back(
    desk: Desk, tmp_path: Path
) -> None:
    await desk.deployed(files(tmp_path, 0), base_model=BASE)
    await desk.route(RISK)
    first = await desk.embed()
    await desk.deployed(files(tmp_path, 1), base_model=BASE)
    second = await desk.embed()
    assert first != second
    await desk.served(await desk.rollback())
    assert await desk.embed() == first


async def test_adapters_are_there_again_after_a_restart(tmp_path: Path, encoder: Path) -> None:
    async def served() -> AsyncIterator[Desk]:
        async with serve_gateway(
            tmp_path, routes={"default": [{"model": BASE}]}, with_scripted=False,
            locate=lambda _: encoder, GATEWAY_MODELS=ENCODER,
        ) as gateway:  # fmt: skip
            yield Desk(gateway)

    async for desk in served():
        await desk.deployed(files(tmp_path, labels=["high", "low"]), base_model=BASE)
        await desk.route(RISK)
        before, scores = await desk.embed(), (await desk.classify("high", "low")).results
    shutil.rmtree(tmp_path / "encoder-adapters")
    async for desk in served():
        assert (await desk.classify("high", "low")).results == scores
        assert await desk.embed() == before
