"""A bad environment stops the start and says what to mend."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import SettingsConfigDict

from atrium_shared.settings import (
    InstallationSecret,
    Settings,
    SettingsInvalid,
    load_settings,
    secret_bytes,
)


class DemoSettings(Settings):
    model_config = SettingsConfigDict(env_prefix="DEMO_")

    port: int = Field(7400, ge=1, le=65535)
    """TCP port."""

    state_dir: Path
    """Folder for everything that is kept."""

    upload_seconds: float = 60.0
    """Longest upload, in seconds."""

    models: tuple[str, ...] = ()
    """Models to load."""

    password: SecretStr = SecretStr("")
    """Of the database."""

    secret: InstallationSecret = Field(validation_alias="ATRIUM_SECRET")
    """The installation's secret."""

    @model_validator(mode="after")
    def _check(self) -> DemoSettings:
        if self.port == 666:
            raise ValueError("DEMO_PORT 666 and DEMO_STATE_DIR do not go together")
        return self


SECRET = bytes(range(32))
GOOD = {"DEMO_STATE_DIR": "/var/lib/demo", "ATRIUM_SECRET": SECRET.hex()}


def problems(**changed: str | None) -> list[str]:
    environ = {key: value for key, value in {**GOOD, **changed}.items() if value is not None}
    with pytest.raises(SettingsInvalid) as caught:
        load_settings(DemoSettings, environ)
    head, *lines = str(caught.value).splitlines()
    assert head == "These settings are missing or wrong:"
    return [line.strip() for line in lines]


def test_settings_come_from_the_variables() -> None:
    settings = load_settings(
        DemoSettings, {**GOOD, "DEMO_PORT": "7403", "DEMO_MODELS": '["e5", "qwen"]'}
    )
    assert (settings.port, settings.state_dir) == (7403, Path("/var/lib/demo"))
    assert settings.models == ("e5", "qwen")
    assert settings.upload_seconds == 60.0


def test_given_variables_stand_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEMO_PORT", "1234")
    assert load_settings(DemoSettings, GOOD).port == 7400
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)
    assert load_settings(DemoSettings).port == 1234


def test_an_empty_variable_is_not_set() -> None:
    assert load_settings(DemoSettings, {**GOOD, "DEMO_PORT": ""}).port == 7400


def test_settings_do_not_change() -> None:
    settings = load_settings(DemoSettings, GOOD)
    with pytest.raises(ValidationError, match="frozen"):
        settings.port = 1


def test_a_missing_variable_is_named_with_what_it_is_for() -> None:
    assert problems(DEMO_STATE_DIR=None) == [
        "DEMO_STATE_DIR: needed and not set (Folder for everything that is kept.)"
    ]
    assert problems(ATRIUM_SECRET=None) == [
        "ATRIUM_SECRET: needed and not set (The installation's secret.)"
    ]


def test_every_wrong_variable_is_named_with_expectation_and_value() -> None:
    port, upload = problems(DEMO_PORT="70000", DEMO_UPLOAD_SECONDS="soon")
    assert port == (
        "DEMO_PORT: Input should be less than or equal to 65535; given was '70000' (TCP port.)"
    )
    assert upload.startswith("DEMO_UPLOAD_SECONDS: Input should be a valid number")
    assert "'soon'" in upload


def test_a_list_that_is_no_json_is_refused() -> None:
    (line,) = problems(DEMO_MODELS="e5,qwen")
    assert line.startswith("DEMO_MODELS: Input should be a valid tuple; given was 'e5,qwen'")


@pytest.mark.parametrize("value", ["00ff", "not base64!", base64.b64encode(b"short").decode()])
def test_a_bad_secret_is_refused_and_not_shown(value: str) -> None:
    (line,) = problems(ATRIUM_SECRET=value)
    assert line.startswith("ATRIUM_SECRET: expected ")
    assert "given was a value not shown here" in line
    assert value not in line


def test_what_does_not_go_together_is_said() -> None:
    assert problems(DEMO_PORT="666") == ["DEMO_PORT 666 and DEMO_STATE_DIR do not go together"]


@pytest.mark.parametrize("value", [SECRET.hex(), base64.b64encode(SECRET).decode()])
def test_a_secret_may_be_hexadecimal_or_base64(value: str) -> None:
    settings = load_settings(DemoSettings, {**GOOD, "ATRIUM_SECRET": value})
    assert secret_bytes(settings.secret) == SECRET
    assert value not in repr(settings)
