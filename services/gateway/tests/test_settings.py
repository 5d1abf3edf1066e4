from __future__ import annotations

from pathlib import Path

import pytest

from atrium_gateway.adapters.config_files import read_routes, read_servers
from atrium_gateway.bootstrap import build
from atrium_gateway.domain.routes import Candidate, RouteOrigin
from atrium_gateway.settings import GatewaySettings
from atrium_shared.audit import MemoryAuditSink
from atrium_shared.settings import SettingsInvalid, load_settings


def load(**variables: str) -> GatewaySettings:
    return load_settings(GatewaySettings, variables)


def test_without_variables_the_small_models_run() -> None:
    settings = load()
    assert settings.address == "127.0.0.1:7401"
    assert settings.running_models == {
        "qwen2.5-0.5b",
        "multilingual-e5-small",
        "atrium-reader",
    }
    assert settings.threads(0) >= 1
    assert settings.threads(3) == 3


@pytest.mark.parametrize(
    ("models", "expected"),
    [
        ("none", set()),
        ("qwen2.5-1.5b, multilingual-e5-small", {"qwen2.5-1.5b", "multilingual-e5-small"}),
    ],
)
def test_models_can_be_chosen(models: str, expected: set[str]) -> None:
    assert load(GATEWAY_MODELS=models).running_models == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://host:8000", "http://host:8000/v1"),
        ("http://host:8000/", "http://host:8000/v1"),
        ("http://host:8000/v1/", "http://host:8000/v1"),
        ("https://host/api/paas/v4", "https://host/api/paas/v4"),
    ],
)
def test_a_bare_host_gets_the_usual_path(url: str, expected: str) -> None:
    assert load(LLM_URL=url, LLM_MODEL="m").llm_base_url == expected


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"GATEWAY_MODELS": "gpt-9"}, ["GATEWAY_MODELS", "expected small, none", "gpt-9"]),
        ({"GATEWAY_MODELS": "small,none"}, ["GATEWAY_MODELS", "small,none"]),
        ({"GATEWAY_WEB_HOSTS": "*"}, ["GATEWAY_WEB_HOSTS", "'*' is no host name"]),
        ({"GATEWAY_WEB_HOSTS": "a.example,*.com"}, ["GATEWAY_WEB_HOSTS", "'*.com' allows"]),
        ({"GATEWAY_WEB_HOSTS": "10.0.0.8"}, ["GATEWAY_WEB_HOSTS", "'10.0.0.8'"]),
        ({"LLM_URL": "http://h"}, ["LLM_MODEL", "needed with LLM_URL"]),
        ({"LLM_URL": "nonsense", "LLM_MODEL": "m"}, ["LLM_URL", "nonsense"]),
        ({"LLM_URL": "http://h", "LLM_MODEL": "a b"}, ["LLM_MODEL", "expected letters"]),
        ({"GATEWAY_PEFT_MODEL": "/m/x"}, ["GATEWAY_PEFT_PYTHON", "needed with"]),
        ({"GATEWAY_PEFT_MODEL": "/m/a b", "GATEWAY_PEFT_PYTHON": "p"}, ["GATEWAY_PEFT_MODEL"]),
        ({"GATEWAY_QUEUE_CAPACITY": "-1"}, ["GATEWAY_QUEUE_CAPACITY", "-1"]),
        ({"GATEWAY_ENCODER_THREADS": "many"}, ["GATEWAY_ENCODER_THREADS", "many"]),
        ({"GATEWAY_IDLE_SECONDS": "0"}, ["GATEWAY_IDLE_SECONDS"]),
    ],
)
def test_a_bad_value_names_variable_and_expectation(
    variables: dict[str, str], words: list[str]
) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        load(**variables)
    for word in words:
        assert word in str(caught.value)


def test_the_routes_that_ship_are_read() -> None:
    routes = {route.task: route for route in read_routes(None)}
    assert routes.keys() == {"default", "embed", "read"}
    assert routes["default"].candidates[-1] == Candidate("models/qwen2.5-0.5b")
    assert routes["default"].origin is RouteOrigin.FILE


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("routes: [", "no YAML"),
        ("- a", "holds no mapping"),
        ("", "holds no mapping"),
        ("routes: {Default: [{model: models/x}]}", "routes.Default"),
        ("routes: {default: []}", "routes.default.candidates: "),
        ("routes: {default: [{model: x}]}", "routes.default.candidates.0.model"),
        (
            "routes: {default: [{model: models/x, timeout: 3}]}",
            "routes.default.candidates.0.timeout",
        ),
        (
            "routes: {default: [{model: models/x, max_tokens: 0}]}",
            "routes.default.candidates.0.max_tokens",
        ),
        ("paths: {}", "paths"),
    ],
)
def test_a_wrong_routes_file_is_told_where(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text(content)
    with pytest.raises(SettingsInvalid) as caught:
        read_routes(path)
    assert "GATEWAY_ROUTES_FILE" in str(caught.value)
    assert str(path) in str(caught.value)
    assert words in str(caught.value)


def test_a_routes_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="cannot be read"):
        read_routes(tmp_path / "none.yaml")


def test_a_routes_file_that_names_an_unknown_model_stops_the_start(tmp_path: Path) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text("routes: {default: [{model: models/scripted, optional: true}]}")
    settings = load(GATEWAY_ROUTES_FILE=str(path))
    build(settings, audit=MemoryAuditSink())
    path.write_text("routes: {default: [{model: models/typo}]}")
    with pytest.raises(SettingsInvalid, match="'routes/default' names model 'models/typo'"):
        build(settings, audit=MemoryAuditSink())


def servers(folder: Path, content: str) -> Path:
    path = folder / "servers.yaml"
    path.write_text(content)
    return path


def test_a_servers_file_names_servers_keys_and_models(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("secret\n")
    path = servers(
        tmp_path,
        f"servers: [{{url: 'http://a/v1', api_key_file: '{tmp_path}/key', models: ["
        "{name: models/a, upstream_model: a, context_tokens: 9},"
        "{name: models/b, upstream_model: b, capability: embed, same_cosine: 0.9}]}]",
    )
    (server,) = read_servers(path)
    assert server.api_key() == "secret"
    assert [model.name for model in server.models] == ["models/a", "models/b"]
    assert read_servers(None) == []


@pytest.mark.parametrize(
    ("models", "words"),
    [
        ("[]", "servers.0.models"),
        ("[{name: a, upstream_model: a}]", "servers.0.models.0.name"),
        ("[{name: models/a, upstream_model: a, capability: read}]", "generate, embed or rerank"),
        ("[{name: models/a, upstream_model: a, unrelated_cosine: 2}]", "less than same_cosine"),
    ],
)
def test_a_wrong_servers_file_is_told_where(tmp_path: Path, models: str, words: str) -> None:
    path = servers(tmp_path, f"servers: [{{url: 'http://a', models: {models}}}]")
    with pytest.raises(SettingsInvalid) as caught:
        read_servers(path)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("api_key_file: /no/such/file, models: [{name: models/a, upstream_model: a}]", "no/such"),
        ("models: [{name: models/qwen2.5-0.5b, upstream_model: a}]", "is there twice"),
        ("models: [{name: models/m, upstream_model: a}]", "models/m is there twice"),
    ],
)
def test_servers_that_cannot_be_used_stop_the_start(tmp_path: Path, entry: str, words: str) -> None:
    path = servers(tmp_path, f"servers: [{{url: 'http://a', {entry}}}]")
    settings = load(GATEWAY_SERVERS_FILE=str(path), LLM_URL="http://h", LLM_MODEL="m")
    with pytest.raises(SettingsInvalid, match=words):
        build(settings, audit=MemoryAuditSink())
