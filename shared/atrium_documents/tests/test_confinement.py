"""Each attempt runs in a process of its own, for confinement cannot be taken off again."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

ATTEMPTS = {
    "open a socket": "import socket; socket.socket()",
    "resolve a name": "import socket; socket.getaddrinfo('localhost', 80)",
    "start a program": "import subprocess; subprocess.run(['/bin/true'])",
    "fork": "import os; os.fork()",
    "run a shell": "import os; os.system('true')",
    "write a file": "f = open('out', 'wb', buffering=0); f.write(b'x')",
    "remove a file": "import os; os.remove('victim')",
}
# The same without Python's help, as machine code in a hijacked parser would.
SYSTEM_CALLS = {
    "open a socket": "libc.socket(2, 1, 0)",
    "start a program": "libc.execv(b'/bin/true', (ctypes.c_char_p * 2)(b'/bin/true', None))",
    "signal its parent": "libc.kill(os.getppid(), 0)",
}


def run(code: str, folder: Path) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=folder
    )
    assert result.stderr == ""
    return result.stdout.strip()


@pytest.mark.parametrize("what", ATTEMPTS)
def test_confined_python_cannot(what: str, tmp_path: Path) -> None:
    (tmp_path / "victim").touch()
    code = (
        "import socket, subprocess, os\nfrom atrium_documents.confinement import confine\n"
        f"confine()\ntry:\n    {ATTEMPTS[what]}\n"
        "except OSError as error:\n    print(type(error).__name__)"
    )
    assert run(code, tmp_path) in ("PermissionError", "OSError")
    assert (tmp_path / "victim").exists()


@pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"),
    reason="the filter is made of Linux system calls of two machines",
)
@pytest.mark.parametrize("what", SYSTEM_CALLS)
def test_system_calls_are_refused_below_python(what: str, tmp_path: Path) -> None:
    code = (
        "import ctypes, os\nfrom atrium_documents.confinement import confine\n"
        "libc = ctypes.CDLL(None, use_errno=True)\nassert 'seccomp' in confine()\n"
        f"print({SYSTEM_CALLS[what]}, ctypes.get_errno())"
    )
    assert run(code, tmp_path) == "-1 1"


def test_memory_can_be_allowed_anew_for_each_file(tmp_path: Path) -> None:
    code = (
        "from atrium_documents.confinement import allow_memory, confine\nconfine()\n"
        "for size in (10 << 20, 200 << 20):\n"
        "    allow_memory(size)\n"
        "    try:\n        bytearray(100 << 20)\n        print('fits')\n"
        "    except MemoryError:\n        print('refused')"
    )
    assert run(code, tmp_path).split() == ["refused", "fits"]
