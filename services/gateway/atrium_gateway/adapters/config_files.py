"""The operator's YAML files: routes, and further model servers."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import Annotated, TypeVar

import yaml
from pydantic import (
    AnyHttpUrl,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from atrium_gateway.domain.generation import CacheMode, Grounding
from atrium_gateway.domain.models import Capability, Location, Price, Tier
from atrium_gateway.domain.routes import (
    DEFAULT_MAX_TOKENS,
    DEFAULT_TIMEOUT_SECONDS,
    Candidate,
    Route,
    RouteOrigin,
)
from atrium_gateway.domain.similarity import PLAIN_SCALE
from atrium_shared.settings import SettingsInvalid

SHIPPED_ROUTES = Path(__file__).parent.parent / "routes.yaml"

ModelName = Annotated[str, StringConstraints(pattern=r"^models/[A-Za-z0-9._:/-]+$", max_length=256)]
Task = Annotated[
    str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]*([.][a-z0-9_-]+)*$", max_length=64)
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _CandidateEntry(_Strict):
    model: ModelName
    timeout_seconds: float = Field(DEFAULT_TIMEOUT_SECONDS, gt=0, le=3600)
    max_tokens: int = Field(DEFAULT_MAX_TOKENS, ge=1, le=131_072)
    optional: bool = False
    weight: int = Field(0, ge=0, le=10_000)


class _RouteEntry(_Strict):
    candidates: Annotated[list[_CandidateEntry], Field(min_length=1, max_length=16)]
    grounding: Grounding = Grounding.TOLERANT
    cache: CacheMode = CacheMode.OFF

    @model_validator(mode="before")
    @classmethod
    def _candidates_alone(cls, value: object) -> object:
        return {"candidates": value} if isinstance(value, list) else value

    @field_validator("cache", mode="before")
    @classmethod
    def _off_is_a_word(cls, value: object) -> object:
        return CacheMode.OFF if value is False else value  # YAML reads a bare `off` as false


class _RoutesFile(_Strict):
    routes: dict[Task, _RouteEntry]


PricePart = Annotated[Decimal, Field(ge=0, max_digits=18, decimal_places=9)]


class PriceEntry(_Strict):
    """What a million tokens cost.

    Attributes:
        currency: ISO 4217 code.
        prompt: Read by a generator.
        completion: Written by it.
        encoder: Read by an encoder.
    """

    currency: Annotated[str, StringConstraints(pattern="^[A-Z]{3}$")]
    prompt: PricePart = Decimal(0)
    completion: PricePart = Decimal(0)
    encoder: PricePart = Decimal(0)

    @field_validator("prompt", "completion", "encoder", mode="before")
    @classmethod
    def _as_written(cls, value: object) -> object:
        # YAML reads 0.8 as a binary fraction; its shortest form is what the operator wrote.
        return repr(value) if isinstance(value, float) else value

    def price(self) -> Price:
        """Return it as the domain knows it."""
        return Price(self.currency, self.prompt, self.completion, self.encoder)


class AdaptersEntry(_Strict):
    """How a model of vLLM takes tenants' adapters.

    Attributes:
        dir: Folder to which the gateway copies adapters.
        seen_as: The same folder as the servers see it; None: under the same path.
        per_replica: Most adapters that a replica holds; the least recently used goes first.
        trained_as: Further names by which adapters' configurations call the model; only the last
            part of a path counts.
        hidden_size: Numbers between its layers, to refuse adapters of another size; 0: not known.
    """

    dir: Path
    seen_as: PurePosixPath | None = None
    per_replica: Annotated[int, Field(ge=1, le=100_000)] = 64
    trained_as: tuple[str, ...] = ()
    hidden_size: Annotated[int, Field(ge=0)] = 0


class ServedByServer(_Strict):
    """A model of a server.

    Attributes:
        name: Resource name here, ``"models/qwen2.5-7b"``.
        upstream_model: Its name at the server.
        capability: ``generate``, ``embed`` or ``rerank``.
        context_tokens: Its context or window; 0: not known.
        concurrent: Calls that run at once, on all replicas together.
        tier: How special it is.
        million_parameters: Its size. 0: not known.
        price: What it costs; None: nothing is charged for.
        version: Of the model; say another when its weights change. Empty: not known.
        adapters: How it takes tenants' adapters; None: not at all. vLLM alone does.
        query_prefix: What an encoder wants before a question.
        passage_prefix: What an encoder wants before a passage.
        unrelated_cosine: Cosine that an encoder gives to unrelated texts.
        same_cosine: Cosine that it gives to texts that say the same.
    """

    name: ModelName
    upstream_model: str = Field(min_length=1)
    capability: Capability = Capability.GENERATE
    context_tokens: int = Field(0, ge=0)
    concurrent: int = Field(64, ge=1)
    tier: Tier = Tier.GENERAL
    million_parameters: Annotated[int, Field(ge=0)] = 0
    price: PriceEntry | None = None
    version: Annotated[str, Field(max_length=128)] = ""
    adapters: AdaptersEntry | None = None
    query_prefix: str = ""
    passage_prefix: str = ""
    unrelated_cosine: float = PLAIN_SCALE.unrelated
    same_cosine: float = PLAIN_SCALE.same

    @model_validator(mode="after")
    def _check(self) -> ServedByServer:
        if self.capability not in (Capability.GENERATE, Capability.EMBED, Capability.RERANK):
            raise ValueError("capability: expected generate, embed or rerank")
        if self.unrelated_cosine >= self.same_cosine:
            raise ValueError("unrelated_cosine: expected less than same_cosine")
        if self.adapters is not None and self.capability is not Capability.GENERATE:
            raise ValueError("adapters: expected a model with capability generate")
        return self


class ServerEntry(_Strict):
    """An OpenAI-compatible server, or several that serve the same.

    Attributes:
        url: Base URL, with ``/v1`` where the server wants it.
        replicas: Base URLs of several servers that serve the same, in place of ``url``.
        api_key_file: File with the key, such as a mounted secret; None sends none.
        location: Whether it stands inside of the installation; ``outside`` when nothing is said.
        concurrent: Calls that each replica works on at once, all models together; None: no limit
            but those of the models.
        models: What it serves.
    """

    url: AnyHttpUrl | None = None
    replicas: Annotated[list[AnyHttpUrl], Field(max_length=256)] = []
    api_key_file: Path | None = None
    location: Location = Location.OUTSIDE
    concurrent: int | None = Field(None, ge=1)
    models: Annotated[list[ServedByServer], Field(min_length=1)]

    @model_validator(mode="after")
    def _one_kind_of_url(self) -> ServerEntry:
        if (self.url is None) == (not self.replicas):
            raise ValueError("expected either url or replicas")
        if len(set(self.urls)) < len(self.urls):
            raise ValueError("replicas: expected different URLs")
        return self

    @property
    def urls(self) -> list[str]:
        """Base URLs of all replicas."""
        urls = self.replicas if self.url is None else [self.url]
        return [str(url).rstrip("/") for url in urls]

    def api_key(self) -> str | None:
        """Return the key.

        Raises:
            SettingsInvalid: The file cannot be read.
        """
        if self.api_key_file is None:
            return None
        try:
            return self.api_key_file.read_text().strip()
        except OSError as error:
            raise SettingsInvalid(
                f"  GATEWAY_SERVERS_FILE: api_key_file {str(self.api_key_file)!r} cannot be read "
                f"({error.strerror})"
            ) from error


class _ServersFile(_Strict):
    servers: list[ServerEntry]

    @model_validator(mode="after")
    def _one_currency(self) -> _ServersFile:
        prices = [model.price for server in self.servers for model in server.models]
        currencies = sorted({price.currency for price in prices if price is not None})
        if len(currencies) > 1:
            raise ValueError(f"price: expected one currency, not {' and '.join(currencies)}")
        return self


def read_routes(path: Path | None) -> tuple[Route, ...]:
    """Return the operator's routes.

    Args:
        path: The file; None for the one that ships.

    Raises:
        SettingsInvalid: The file cannot be read, or something in it is wrong.
    """
    entries = _read(path or SHIPPED_ROUTES, _RoutesFile, "GATEWAY_ROUTES_FILE").routes
    return tuple(
        Route(
            task,
            tuple(Candidate(**candidate.model_dump()) for candidate in entry.candidates),
            RouteOrigin.FILE,
            entry.grounding,
            entry.cache,
        )
        for task, entry in entries.items()
    )


def read_servers(path: Path | None) -> list[ServerEntry]:
    """Return the further servers; none without a file.

    Raises:
        SettingsInvalid: The file cannot be read, or something in it is wrong.
    """
    return [] if path is None else _read(path, _ServersFile, "GATEWAY_SERVERS_FILE").servers


F = TypeVar("F", bound=BaseModel)


def _read(path: Path, form: type[F], variable: str) -> F:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(content, Mapping):
            raise SettingsInvalid(f"  {variable}: {path} holds no mapping")
        return form.model_validate(content)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsInvalid(f"  {variable}: {path} cannot be read ({error})") from error
    except yaml.YAMLError as error:
        raise SettingsInvalid(f"  {variable}: {path} is no YAML: {error}") from error
    except ValidationError as error:
        lines = "\n".join(
            f"  {variable}: {path}: {'.'.join(map(str, problem['loc']))}: {problem['msg']}"
            for problem in error.errors(include_url=False)
        )
        raise SettingsInvalid(lines) from error
