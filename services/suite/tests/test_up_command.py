from __future__ import annotations

from pathlib import Path

import pytest

from atrium_client import DEFAULT_TARGET
from atrium_suite.cli.suite import bootstrap_command
from atrium_suite.settings import SuiteSettings


def test_the_first_key_is_asked_for_where_this_suite_listens_and_keeps_its_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SUITE_STATE_DIR", raising=False)
    plain = bootstrap_command(DEFAULT_TARGET, SuiteSettings())
    assert plain == "atrium admin bootstrap --tenant acme"
    folder = tmp_path / "my state"
    elsewhere = bootstrap_command("127.0.0.1:17400", SuiteSettings(state_dir=folder))
    assert elsewhere == f"{plain} --state '{folder}' --target 127.0.0.1:17400"
