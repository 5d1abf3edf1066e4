"""The demo from beginning to end, as a newcomer runs it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

DECISIONS_ASKED = 32


def run_demo(folder: Path, models: str, seconds: float) -> subprocess.CompletedProcess[str]:
    # A process of its own: one process runs one suite, and the demo's terminal is a pipe here.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SUITE_")}
    command = [sys.executable, "-c", "from atrium_suite.cli.main import main; main()"]
    return subprocess.run(
        [*command, "demo", "--models", models, "--folder", "var/demo"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def check_demo(folder: Path, result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr
    # The terminal's width, which the environment sets, decides where lines are broken.
    said = " ".join(result.stdout.split())
    assert f"{DECISIONS_ASKED} of {DECISIONS_ASKED} as expected" in said
    assert "the pay question was refused to anna.de, chen.cn, max.eng" in said
    assert "the hash chain is intact" in said
    assert "\x1b" not in result.stdout
    transcript = (folder / "var/demo/transcript.md").read_text(encoding="utf-8")
    for words in ("每年有多少天年假", "pay-bands.xlsx", "hr@lumenharbor.example", "skiff rollback"):
        assert words in transcript
    key = folder / "var/demo/env"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert key.read_text().split("=")[1].strip() not in transcript + result.stdout
    return result.stdout


def test_the_demo_runs_without_models_and_again_on_a_fresh_state(tmp_path: Path) -> None:
    for _ in range(2):
        output = check_demo(tmp_path, run_demo(tmp_path, "none", 100))
        assert "qwen" not in output


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    state = tmp_path / "var/demo/state"
    state.mkdir(parents=True)
    (state / "thesis.txt").write_text("years of work")
    result = run_demo(tmp_path, "none", 100)
    assert result.returncode == 1
    assert "STATE_DIR_UNUSABLE" in result.stderr
    assert (state / "thesis.txt").read_text() == "years of work"


@pytest.mark.models
@pytest.mark.timeout(400)
def test_the_demo_runs_with_the_small_models(tmp_path: Path) -> None:
    output = check_demo(tmp_path, run_demo(tmp_path, "small", 380))
    assert "qwen2.5-0.5b" in output
