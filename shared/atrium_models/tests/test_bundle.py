from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import pytest

from atrium_models import (
    ModelBundleInvalid,
    ModelChecksumMismatch,
    ModelNotPulled,
    ModelSourcesUnreachable,
)


@pytest.fixture
def bundle(world: Any, tmp_path: Path) -> Path:
    """A bundle with both models; their store is elsewhere than ``world.root``."""
    store = world.store(root=tmp_path / "source", mirror=str(world.mirror()))
    store.pull(["both"])
    archive = tmp_path / "carried" / "models.tar"
    assert store.bundle(["both"], archive) == archive.stat().st_size
    return archive


def test_bundle_carries_models_to_a_machine_without_network(world: Any, bundle: Path) -> None:
    store = world.store()
    assert len(store.import_bundle(bundle)) == 2
    assert world.holds(store, "ears")
    assert world.holds(store, "voice")


def test_bundle_serves_as_the_mirror(world: Any, bundle: Path, steps: Any) -> None:
    store = world.store(mirror=str(bundle))
    store.pull(["voice"], steps)
    assert world.holds(store, "voice")
    assert steps[-1].source == "bundle"


def test_same_models_give_the_same_bundle(world: Any, bundle: Path, tmp_path: Path) -> None:
    store = world.store()
    store.import_bundle(bundle)
    store.bundle(["ears", "voice"], tmp_path / "again.tar")
    assert (tmp_path / "again.tar").read_bytes() == bundle.read_bytes()


def test_model_that_is_not_here_is_not_bundled(world: Any, tmp_path: Path) -> None:
    with pytest.raises(ModelNotPulled):
        world.store().bundle(["both"], tmp_path / "models.tar")
    assert not (tmp_path / "models.tar").exists()


def test_changed_file_is_not_bundled(world: Any, tmp_path: Path) -> None:
    store = world.store(mirror=str(world.mirror()))
    store.pull(["voice"])
    (world.root / "voice" / "voice.bin").write_bytes(b"LA" * 1000)
    with pytest.raises(ModelChecksumMismatch, match=r"voice\.bin from the store"):
        store.bundle(["voice"], tmp_path / "models.tar")
    assert list(tmp_path.glob("models.tar*")) == []


def test_model_that_the_bundle_lacks_is_named(world: Any, tmp_path: Path) -> None:
    source = world.store(root=tmp_path / "source", mirror=str(world.mirror()))
    source.pull(["voice"])
    source.bundle(["voice"], tmp_path / "models.tar")
    with pytest.raises(ModelSourcesUnreachable, match="does not hold this model"):
        world.store().import_bundle(tmp_path / "models.tar", ["ears"])


def rewritten(bundle: Path, change: Any) -> Path:
    """``bundle`` with every entry passed through ``change``, which may return several."""
    other = bundle.with_name("other.tar")
    with tarfile.open(bundle) as old, tarfile.open(other, "w") as new:
        for entry in old:
            stream = old.extractfile(entry)
            assert stream
            for changed, content in change(entry, stream.read()):
                changed.size = len(content)
                new.addfile(changed, io.BytesIO(content))
    return other


def entry_named(name: str, **attributes: Any) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    for attribute, value in attributes.items():
        setattr(entry, attribute, value)
    return entry


@pytest.mark.parametrize(
    "hostile",
    [
        entry_named("../escaped"),
        entry_named("voice/../../escaped"),
        entry_named("/tmp/escaped"),
        entry_named("voice\\..\\escaped"),
        entry_named("voice/voice.bin", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        entry_named("voice/voice.bin", type=tarfile.LNKTYPE, linkname="/etc/passwd"),
        entry_named("voice", type=tarfile.DIRTYPE),
        entry_named("voice/voice.bin", type=tarfile.CHRTYPE),
    ],
    ids=lambda entry: f"{entry.name} {entry.type!r}",
)
def test_hostile_entry_is_refused_and_nothing_is_stored(
    world: Any, bundle: Path, hostile: tarfile.TarInfo
) -> None:
    def change(entry: tarfile.TarInfo, content: bytes) -> Any:
        if entry.name == "ears/model.bin":
            yield hostile, b""
        yield entry, content

    store = world.store()
    with pytest.raises(ModelBundleInvalid, match="is not a plain file inside the bundle") as caught:
        store.import_bundle(rewritten(bundle, change), ["voice"])
    assert caught.value.reason == "MODEL_BUNDLE_INVALID"
    assert not (world.root / "voice").exists()
    assert not [p for p in world.folder.rglob("*") if p.name == "escaped"]


def test_wrong_file_in_a_bundle_is_rejected(world: Any, bundle: Path) -> None:
    def change(entry: tarfile.TarInfo, content: bytes) -> Any:
        yield entry, content.replace(b"la", b"LA") if entry.name == "voice/voice.bin" else content

    with pytest.raises(ModelChecksumMismatch, match=r"voice\.bin from the bundle"):
        world.store().import_bundle(rewritten(bundle, change), ["voice"])
    assert not (world.root / "voice").exists()


def test_file_larger_than_expected_is_not_read_to_its_end(world: Any, bundle: Path) -> None:
    def change(entry: tarfile.TarInfo, content: bytes) -> Any:
        yield entry, content * 3000 if entry.name == "voice/voice.bin" else content

    with pytest.raises(ModelChecksumMismatch, match="got more than 2000 bytes"):
        world.store().import_bundle(rewritten(bundle, change), ["voice"])


def test_missing_file_in_a_bundle_is_named(world: Any, bundle: Path) -> None:
    def change(entry: tarfile.TarInfo, content: bytes) -> Any:
        if entry.name != "voice/voice.bin":
            yield entry, content

    with pytest.raises(ModelSourcesUnreachable, match=r"lacks voice\.bin"):
        world.store().import_bundle(rewritten(bundle, change), ["voice"])


@pytest.mark.parametrize("part", [0.0, 0.3, 0.9])
def test_bundle_cut_short_is_refused(world: Any, bundle: Path, part: float) -> None:
    content = bundle.read_bytes()
    bundle.write_bytes(content[: int(len(content) * part)])
    with pytest.raises((ModelBundleInvalid, ModelChecksumMismatch)):
        world.store().import_bundle(bundle, ["ears"])
    assert not (world.root / "ears").exists()


@pytest.mark.parametrize("content", [b"PK\x03\x04 a zip file", b"\0" * 4096])
def test_other_archive_is_refused(world: Any, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "models.zip").write_bytes(content)
    with pytest.raises(ModelBundleInvalid):
        world.store().import_bundle(tmp_path / "models.zip")


def test_absent_archive_is_named(world: Any, tmp_path: Path) -> None:
    with pytest.raises(ModelBundleInvalid, match="there is no such file"):
        world.store().import_bundle(tmp_path / "models.tar")
