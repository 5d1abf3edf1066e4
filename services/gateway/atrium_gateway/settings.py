"""What an operator can set."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated

from pydantic import AnyHttpUrl, Field, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from atrium_gateway.adapters.local_models import (
    LOCAL_ENCODERS,
    LOCAL_GENERATORS,
    LOCAL_READERS,
    SMALL,
)
from atrium_gateway.domain.models import Location
from atrium_gateway.domain.web_pages import AllowedHosts
from atrium_shared.settings import InstallationSecret, Settings

_MODEL = re.compile(r"[A-Za-z0-9._:/-]+")


class GatewaySettings(Settings):
    """Settings of the gateway, read once when it starts."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_")

    address: str = "127.0.0.1:7401"
    """Where the gateway listens when it runs alone, host:port."""

    http_address: str = ""
    """Where it serves the OpenAI API over HTTP when it runs alone, host:port. Empty: nowhere."""

    database_url: str = "sqlite+aiosqlite:///var/gateway.db"
    """Database of routes and usage: sqlite+aiosqlite:///FILE or postgresql+asyncpg://HOST/NAME."""

    models: str = "small"
    """Models of the store to run: `small`, `none`, or names with commas between."""

    models_dir: Annotated[Path, Field(validation_alias="ATRIUM_MODELS_DIR")] = Path(
        "~/.cache/atrium/models"
    )
    """Folder of the model store."""

    encoder_threads: Annotated[int, Field(ge=0, le=256)] = 0
    """Texts that encoder and reader work on at the same time. 0: one a core."""

    calculation_processes: Annotated[int, Field(ge=1, le=64)] = 2
    """Programs of calculations that run at the same time, each in a process of its own."""

    adapter_memory_mib: Annotated[int, Field(ge=0, le=1 << 20)] = 1024
    """Most memory for tenants' adapters of one encoder; the least recently used are read again."""

    generator_threads: Annotated[int, Field(ge=0, le=256)] = 0
    """Threads of the local generator. 0: one a core."""

    generator_parallel: Annotated[int, Field(ge=1, le=64)] = 1
    """Replies that the local generator writes at the same time; each needs memory of its own."""

    generator_context_tokens: Annotated[int, Field(ge=512, le=131_072)] = 8192
    """Prompt plus reply of the local generator, in tokens."""

    peft_model: Path | None = None
    """Folder of a generator as transformers saves it, to be run with transformers and peft in a
    process of its own; the folder's name is the model's. Not set: none."""

    peft_python: Path | None = None
    """Python that has torch, transformers, peft and this package; needed with the folder."""

    queue_capacity: Annotated[int, Field(ge=0, le=100_000)] = 64
    """Calls that may wait for one generator; more get GENERATOR_QUEUE_FULL."""

    cache_megabytes: Annotated[int, Field(ge=0, le=65_536)] = 64
    """Memory for replies that routes or requests let be kept, in MiB. 0: none are kept."""

    cache_seconds: Annotated[float, Field(gt=0, le=604_800)] = 3600.0
    """Longest use of a kept reply, in seconds."""

    routes_file: Path | None = None
    """YAML file of the operator's routes. Not set: the routes that ship with the gateway."""

    servers_file: Path | None = None
    """YAML file of further OpenAI-compatible servers. Not set: none."""

    idle_seconds: Annotated[float, Field(gt=0, le=3600)] = 60.0
    """Longest pause of a remote server between two parts of a reply, in seconds."""

    web_hosts: str = ""
    """Hosts that web pages may be read from, with commas between: exact names, and `*.` before a
    name for all below it; punycode for names beyond ASCII. Empty: no pages are read."""

    web_http: bool = False
    """True reads pages without TLS, too (http://); anyone on the way may then change them."""
    blob_url: str = f"file://{Path.cwd()}/var/gateway-files"
    """Files of adapters: file:///FOLDER or s3://BUCKET/PREFIX."""

    jobs_url: str = "sqlite:///var/gateway-jobs.db"
    """Database of jobs when it runs alone: sqlite:///FILE or postgresql+psycopg://HOST/NAME."""

    replica: Annotated[str, Field(min_length=1, max_length=100)] = "gateway"
    """Name of this process, the same after a restart and unique among its peers."""

    max_lora_rank: Annotated[int, Field(ge=1, le=512)] = 64
    """Largest rank of an adapter; vLLM needs a --max-lora-rank that is not smaller."""

    max_adapter_bytes: Annotated[int, Field(ge=1024)] = 1 << 30
    """Largest file of an adapter's weights, in bytes."""

    adapter_dir: Path = Path("var/gateway-adapters")
    """Folder to which adapters of encoders and of `peft_model` are copied."""

    adapter_check_seconds: Annotated[float, Field(gt=0, le=3600)] = 5.0
    """How often servers are asked which adapters they hold, in seconds."""

    adapter_rollout_seconds: Annotated[float, Field(gt=0, le=86_400)] = 300.0
    """Longest wait for a server that does not answer while an adapter is rolled out, in seconds."""

    scripted: bool = False
    """True adds models/scripted, which needs no weights and answers by rule: for tests."""

    llm_url: Annotated[AnyHttpUrl | None, Field(validation_alias="LLM_URL")] = None
    """OpenAI-compatible server to prefer over the local generator; /v1 is added to a bare host."""

    llm_model: Annotated[str, Field(validation_alias="LLM_MODEL")] = ""
    """Name of the model at LLM_URL; needed with it."""

    llm_api_key: Annotated[SecretStr | None, Field(validation_alias="LLM_API_KEY")] = None
    """Key for LLM_URL. Not set: none is sent."""

    llm_context_tokens: Annotated[int, Field(ge=0, validation_alias="LLM_CONTEXT_TOKENS")] = 0
    """Prompt plus reply of LLM_MODEL, in tokens. 0: not known, the server decides."""

    redaction_seconds: Annotated[float, Field(gt=0, le=600)] = 30.0
    """How long personal data may be searched for in one call before the call is refused."""

    llm_location: Annotated[Location, Field(validation_alias="LLM_LOCATION")] = Location.OUTSIDE
    """Where LLM_URL is: `resident` inside of the installation, `outside` when texts leave it."""

    admin_target: Annotated[str, Field(validation_alias="ATRIUM_ADMIN_TARGET")] = "127.0.0.1:7407"
    """The admin service, host:port; asked who calls when the gateway runs alone."""

    secret: Annotated[InstallationSecret | None, Field(validation_alias="ATRIUM_SECRET")] = None
    """Secret that all services of the installation share; needed when the gateway runs alone."""

    log_json: bool = False
    """True writes logs as JSON, one object a line."""

    @field_validator("models")
    @classmethod
    def _known_models(cls, value: str) -> str:
        names = [name.strip() for name in value.split(",")]
        known = {*LOCAL_GENERATORS, *LOCAL_ENCODERS, *LOCAL_READERS}
        if value not in ("small", "none") and not known.issuperset(names):
            raise ValueError(f"expected small, none, or names among {', '.join(sorted(known))}")
        return ",".join(names)

    @field_validator("web_hosts")
    @classmethod
    def _host_names(cls, value: str) -> str:
        AllowedHosts(_names(value))
        return value

    @model_validator(mode="after")
    def _llm_model_named(self) -> GatewaySettings:
        if self.llm_url is not None and not self.llm_model:
            raise ValueError(
                "LLM_MODEL: needed with LLM_URL; the server's /models path lists its models"
            )
        if self.llm_model and not _MODEL.fullmatch(self.llm_model):
            raise ValueError("LLM_MODEL: expected letters, digits and . _ : / -")
        return self

    @model_validator(mode="after")
    def _peft_whole(self) -> GatewaySettings:
        if self.peft_model is None:
            return self
        if not _MODEL.fullmatch(self.peft_model.name):
            raise ValueError(
                "GATEWAY_PEFT_MODEL: expected a folder whose name has letters, digits and . _ : -"
            )
        if self.peft_python is None:
            raise ValueError(
                "GATEWAY_PEFT_PYTHON: needed with GATEWAY_PEFT_MODEL, a Python that has torch, "
                "transformers and peft"
            )
        return self

    @property
    def web_host_names(self) -> list[str]:
        """The hosts that web pages may be read from."""
        return _names(self.web_hosts)

    @property
    def running_models(self) -> frozenset[str]:
        """Ids of the models of the store to run."""
        if self.models == "none":
            return frozenset()
        return SMALL if self.models == "small" else frozenset(self.models.split(","))

    @property
    def llm_base_url(self) -> str:
        """``llm_url`` with ``/v1`` where it names a bare host."""
        url = str(self.llm_url).rstrip("/")
        return url if (self.llm_url and (self.llm_url.path or "/") != "/") else f"{url}/v1"

    def threads(self, wanted: int) -> int:
        """Return a number of threads, 0 taken as one a core."""
        return wanted or os.cpu_count() or 1


def _names(value: str) -> list[str]:
    return [name.strip() for name in value.split(",") if name.strip()]
