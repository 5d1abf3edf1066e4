"""The suite's settings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, Field
from pydantic_settings import SettingsConfigDict

from atrium_shared.settings import InstallationSecret, Settings, load_settings

S = TypeVar("S", bound=Settings)


def _check_address(value: str) -> str:
    host, _, port = value.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise ValueError("expected HOST:PORT with a port from 0 to 65535, such as 127.0.0.1:7400")
    return value


Address = Annotated[str, AfterValidator(_check_address)]


def _default_state_dir() -> Path:
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data).expanduser() / "atrium"


class SuiteSettings(Settings):
    """What ``atrium up`` reads from the environment; its options come before."""

    model_config = SettingsConfigDict(env_prefix="SUITE_")

    state_dir: Path = Field(default_factory=_default_state_dir)
    """Folder of databases, files, index and secret. One suite at a time."""
    address: Address = "127.0.0.1:7400"
    """Where gRPC listens; port 0 takes any free one. No encryption: keep it on the loopback."""
    http_address: Address = "127.0.0.1:7480"
    """Where HTTP listens (health, metrics); port 0 takes any free one."""
    models: Literal["small", "none"] = "small"
    """Set of local models to run: "small" or "none"."""
    log_json: bool = False
    """Log lines as JSON objects instead of readable text."""
    drain_seconds: float = Field(default=10.0, ge=0, le=600)
    """How long calls under way may go on after a signal to stop, in seconds."""
    secret: InstallationSecret | None = Field(default=None, validation_alias="ATRIUM_SECRET")
    """The installation's secret. Not set: made once and kept in the state folder."""


def load_service_settings(
    cls: type[S], chosen: Mapping[str, str], *, defaults: Mapping[str, str] | None = None
) -> S:
    """Read a service's settings from the environment.

    Args:
        cls: Which settings.
        chosen: Variables that the suite sets, whatever the environment says.
        defaults: Variables that it sets where the environment says nothing.

    Raises:
        SettingsInvalid: Names every variable that is wrong.
    """
    return load_settings(cls, {**(defaults or {}), **os.environ, **chosen})
