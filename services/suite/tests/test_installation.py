from __future__ import annotations

import errno
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from atrium_shared.settings import SettingsInvalid, load_settings
from atrium_suite.cli.calls import report
from atrium_suite.errors import (
    AddressInUse,
    AddressUnusable,
    SecretBroken,
    StateDirInUse,
    StateDirUnusable,
)
from atrium_suite.installation import StateDir, read_secret
from atrium_suite.listening import address_of, listen
from atrium_suite.settings import SuiteSettings


def test_a_second_suite_on_the_same_folder_is_told_who_has_it(tmp_path: Path) -> None:
    with StateDir(tmp_path / "state"):
        with pytest.raises(StateDirInUse) as caught:
            StateDir(tmp_path / "state").lock()
        assert caught.value.reason == "STATE_DIR_IN_USE"
        assert "--state" in caught.value.message
    with StateDir(tmp_path / "state"):
        pass


def test_the_lock_goes_with_a_process_that_was_killed(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path;"
        "from atrium_suite.installation import StateDir;"
        "StateDir(Path(sys.argv[1])).lock(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    with StateDir(tmp_path):
        pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateDirUnusable, match="file"):
        StateDir(tmp_path / "file" / "state").lock()


def test_a_folder_that_takes_no_more_bytes_is_named(tmp_path: Path) -> None:
    code = (
        "import resource, sys; from pathlib import Path;"
        "from atrium_suite.errors import StateDirUnusable;"
        "from atrium_suite.installation import StateDir;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "try: StateDir(Path(sys.argv[1])).lock()\n"
        "except StateDirUnusable as error: print(error.message)"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], check=True, capture_output=True, text=True
    )
    assert f"{tmp_path} cannot be used: File too large." in told.stdout


def test_a_full_disk_is_told_in_plain_words(capsys: pytest.CaptureFixture[str]) -> None:
    report(OSError(errno.ENOSPC, "No space left on device"))
    report(OSError(errno.ENOSPC, "No space left on device", "minutes.docx"))
    assert capsys.readouterr().err == (
        "error: The disk is full. Free some space, then repeat the command.\n"
        "error: minutes.docx: the disk is full. Free some space, then repeat the command.\n"
    )


def test_the_secret_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    with StateDir(tmp_path) as state:
        made = state.secret()
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600
    with StateDir(tmp_path) as state:
        assert state.secret() == made
    assert read_secret(tmp_path) == made
    assert made.get_secret_value() not in repr(made)


@pytest.mark.parametrize("content", ["", "abcd", "%" * 64, "\x00\xff"])
def test_a_broken_secret_stops_the_start(tmp_path: Path, content: str) -> None:
    (tmp_path / "secret").write_bytes(content.encode("latin-1"))
    with pytest.raises(SecretBroken) as caught:
        read_secret(tmp_path)
    assert content == "" or content not in caught.value.message


def test_a_folder_without_a_secret_is_no_installation(tmp_path: Path) -> None:
    with pytest.raises(StateDirUnusable):
        read_secret(tmp_path)


def test_a_taken_port_is_named_with_the_way_to_choose_another() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = address_of(taken)
        with pytest.raises(AddressInUse) as caught:
            listen(address, "--address", "SUITE_ADDRESS")
    assert address in caught.value.message
    assert "--address" in caught.value.message
    assert "SUITE_ADDRESS" in caught.value.message


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(AddressUnusable, match=r"192\.0\.2\.1"):
        listen("192.0.2.1:7400", "--address", "SUITE_ADDRESS")


def test_port_0_takes_a_free_one() -> None:
    with listen("127.0.0.1:0", "--address", "SUITE_ADDRESS") as listener:
        assert not address_of(listener).endswith(":0")


@pytest.mark.parametrize("value", ["7400", "127.0.0.1", "127.0.0.1:70000", ":7400", "host:x"])
def test_a_malformed_address_names_its_variable(value: str) -> None:
    with pytest.raises(SettingsInvalid, match="SUITE_ADDRESS"):
        load_settings(SuiteSettings, {"SUITE_ADDRESS": value})


def test_an_unknown_model_set_is_refused() -> None:
    with pytest.raises(SettingsInvalid, match="SUITE_MODELS"):
        load_settings(SuiteSettings, {"SUITE_MODELS": "huge"})
