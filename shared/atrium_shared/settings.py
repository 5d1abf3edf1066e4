"""Typed settings from environment variables; a bad value stops the start and says what is wrong."""

from __future__ import annotations

import argparse
import base64
import binascii
import os
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar, get_args

from pydantic import AfterValidator, Field, SecretBytes, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

__all__ = [
    "InstallationSecret",
    "Settings",
    "SettingsInvalid",
    "load_settings",
    "secret_bytes",
    "take_no_arguments",
]

_MIN_SECRET_BYTES = 32


class SettingsInvalid(Exception):
    """Variables of the environment are missing or wrong.

    The message has a line for each: its name, what was expected, what was given.
    """


def _decode_secret(text: str) -> bytes:
    for decode in (bytes.fromhex, base64.b64decode):
        try:
            return decode(text.strip())
        except (ValueError, binascii.Error):
            continue
    raise ValueError("expected hexadecimal digits or base64")


def _check_secret(value: SecretStr) -> SecretStr:
    size = len(_decode_secret(value.get_secret_value()))
    if size < _MIN_SECRET_BYTES:
        raise ValueError(f"expected at least {_MIN_SECRET_BYTES} bytes, these are {size}")
    return value


InstallationSecret = Annotated[SecretStr, AfterValidator(_check_secret)]
"""At least 32 random bytes as base64 or hexadecimal digits, such as from `openssl rand -hex 32`."""


def secret_bytes(value: SecretStr) -> bytes:
    """Return the bytes behind an :data:`InstallationSecret`."""
    return _decode_secret(value.get_secret_value())


def take_no_arguments(module: str, summary: str, arguments: Sequence[str] | None = None) -> None:
    """Answer ``--help`` of ``python -m module``, and end on any other argument.

    Args:
        module: Its name.
        summary: What it does, a sentence.
        arguments: Of the command line; None takes those of this process.
    """
    argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=f"{summary} Variables of the environment set it up; README.md lists them.",
    ).parse_args(arguments)


class Settings(BaseSettings):
    """Base of every service's settings: frozen, read once, from the environment alone.

    A subclass sets ``env_prefix`` in its ``model_config`` and writes a docstring with the unit
    under each field. A field with a ``validation_alias`` is read under that very name. Lists and
    mappings are JSON. A variable that is set but empty counts as not set.
    """

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", validate_default=True, use_attribute_docstrings=True
    )

    otlp_endpoint: str | None = Field(
        default=None, validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT", pattern="^https?://"
    )
    """Collector that traces go to (OTLP over gRPC), such as "http://collector:4317". Not set: no
    traces."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take values from the constructor alone; :func:`load_settings` reads the environment."""
        return (init_settings,)


S = TypeVar("S", bound=Settings)


class _Variables(EnvSettingsSource):
    """Reads given variables instead of those of the process."""

    def __init__(self, cls: type[Settings], variables: Mapping[str, str]) -> None:
        super().__init__(cls)
        self.env_vars = {name.lower(): value for name, value in variables.items() if value}

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """Return the JSON value, or the text itself for the model to refuse with the rest."""
        try:
            return super().decode_complex_value(field_name, field, value)
        except ValueError:
            return value


def load_settings(cls: type[S], environ: Mapping[str, str] | None = None) -> S:
    """Read the settings of a service.

    Args:
        cls: Which settings.
        environ: Variables to read; those of the process when ``None``.

    Raises:
        SettingsInvalid: Names every variable that is missing or wrong.
    """
    values = _Variables(cls, os.environ if environ is None else environ)()
    try:
        return cls(**values)
    except ValidationError as error:
        lines = "\n".join(_line(cls, problem) for problem in error.errors(include_url=False))
        raise SettingsInvalid(f"These settings are missing or wrong:\n{lines}") from None


def _line(cls: type[Settings], problem: ErrorDetails) -> str:
    what = problem["msg"].removeprefix("Value error, ")
    if not problem["loc"]:
        return f"  {what}"
    # A field with an alias is located by its alias.
    place = str(problem["loc"][0])
    name, field = next(
        (name, field)
        for name, field in cls.model_fields.items()
        if place in (name, field.validation_alias)
    )
    prefix = cls.model_config.get("env_prefix", "")
    variable = str(field.validation_alias or f"{prefix}{name}".upper())
    about = f" ({' '.join(field.description.split())})" if field.description else ""
    if problem["type"] == "missing":
        return f"  {variable}: needed and not set{about}"
    given = "a value not shown here" if _is_secret(field.annotation) else repr(problem["input"])
    return f"  {variable}: {what}; given was {given}{about}"


def _is_secret(annotation: Any) -> bool:
    return annotation in (SecretStr, SecretBytes) or any(map(_is_secret, get_args(annotation)))
