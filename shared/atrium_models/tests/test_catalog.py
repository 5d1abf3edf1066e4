from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from atrium_models import Catalog, CatalogInvalid, ModelUnknown
from atrium_models.catalog import Derived, Hub, Mirror, Packages


def test_shipped_catalogue_names_every_model_with_its_licence_and_sizes() -> None:
    catalog = Catalog.load()
    assert list(catalog.models) == [
        "whisper-base",
        "multilingual-e5-small",
        "qwen2.5-0.5b",
        "atrium-reader",
        "qwen2.5-1.5b",
        "whisper-tiny.en",
        "speakers",
        "kokoro",
    ]
    assert [spec.name for spec in catalog.resolve(["small"])] == [
        "whisper-base",
        "multilingual-e5-small",
        "qwen2.5-0.5b",
        "atrium-reader",
    ]
    assert catalog.resolve(["none"]) == []
    for spec in catalog.models.values():
        assert spec.licence
        assert spec.title
        assert spec.download_bytes > 10_000_000 or spec.base == "qwen2.5-0.5b"
        assert spec.disk_bytes > 10_000_000


def test_shipped_catalogue_tries_mirror_then_hub_then_packages() -> None:
    order = {Mirror: 0, Hub: 1, Packages: 2, Derived: 2}
    for spec in Catalog.load().models.values():
        kinds = [order[type(source)] for source in spec.sources]
        assert kinds == sorted(kinds)
        assert {0, 2} <= set(kinds)


def test_shipped_catalogue_names_no_host() -> None:
    text = (Path(__file__).parents[1] / "models.yaml").read_text(encoding="utf-8")
    assert "://" not in text


def test_names_of_sets_and_models_resolve_once_each() -> None:
    names = [spec.name for spec in Catalog.load().resolve(["qwen2.5-0.5b", "small", "kokoro"])]
    assert names == [
        "qwen2.5-0.5b",
        "whisper-base",
        "multilingual-e5-small",
        "atrium-reader",
        "kokoro",
    ]


def test_unknown_name_is_refused() -> None:
    with pytest.raises(ModelUnknown, match="'large'"):
        Catalog.load().resolve(["small", "large"])


def _set(*path: str | int) -> Callable[[dict[str, Any], Any], None]:
    def change(content: dict[str, Any], value: Any) -> None:
        place: Any = content
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value

    return change


WRONG = {
    "file outside the folder": (_set("models", "ears", "files", "../x"), {"bytes": 1}),
    "absolute file": (_set("models", "ears", "files", "/etc/x"), {"bytes": 1}),
    "hidden file": (_set("models", "ears", "files", ".complete"), {"bytes": 1}),
    "short digest": (_set("models", "ears", "files", "model.bin", "sha256"), "abc"),
    "no size": (_set("models", "ears", "files", "model.bin", "bytes"), 0),
    "misspelt field": (_set("models", "ears", "license"), "MIT"),
    "unknown source": (_set("models", "ears", "sources", 0, "kind"), "torrent"),
    "moving revision": (_set("models", "ears", "sources", 1, "revision"), "main"),
    "hub without a file": (_set("models", "ears", "sources", 1, "files"), {}),
    "unpinned package": (
        _set("models", "ears", "sources", 2, "wheels", 0, "requirement"),
        "fake-ears-1>=1",
    ),
    "option in place of a package": (
        _set("models", "ears", "sources", 2, "wheels", 0, "requirement"),
        "--index-url==x",
    ),
    "piece of no package": (
        _set("models", "ears", "sources", 2, "files", "model.bin"),
        ["other:x"],
    ),
    "package without a file": (_set("models", "ears", "sources", 2, "files"), {}),
    "unknown conversion": (_set("models", "ears", "sources", 2, "conversion"), "magic"),
    "made from an unknown model": (
        _set("models", "ears", "sources", 0),
        {"kind": "derived", "model": "eyes", "conversion": "e5"},
    ),
    "made from itself": (
        _set("models", "ears", "sources", 0),
        {"kind": "derived", "model": "ears", "conversion": "e5"},
    ),
    "made by an unknown conversion": (
        _set("models", "ears", "sources", 0),
        {"kind": "derived", "model": "voice", "conversion": "magic"},
    ),
    "set of an unknown model": (_set("sets", "both"), ["eyes"]),
    "set with the name of a model": (_set("sets", "ears"), ["voice"]),
    "model name that is a path": (_set("models", "../ears"), {}),
    "no models": (_set("models"), None),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_entry_is_refused(world: Any, wrong: str) -> None:
    change, value = WRONG[wrong]
    path = world.catalog_file(packages=True)
    Catalog.load(path)
    content = yaml.safe_load(path.read_text())
    change(content, value)
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(CatalogInvalid) as caught:
        Catalog.load(path)
    assert caught.value.reason == "MODEL_CATALOG_INVALID"


def test_file_that_is_no_yaml_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "models.yaml"
    path.write_text("models: [")
    with pytest.raises(CatalogInvalid, match="cannot be read"):
        Catalog.load(path)
    with pytest.raises(CatalogInvalid, match="cannot be read"):
        Catalog.load(tmp_path / "absent.yaml")
