"""What a worker process may not do: reach the network, start programs, write files.

A parser that a hostile file takes over should find nothing to do. On Linux a seccomp filter (BPF,
see seccomp(2)) refuses the system calls for all threads; everywhere, limits refuse large files and
many descriptors, and an audit hook (PEP 578) stops Python code from opening sockets and starting
programs.
"""

from __future__ import annotations

import ctypes
import errno
import math
import os
import platform
import resource
import signal
import struct
import sys
from pathlib import Path
from typing import Final

_DESCRIPTORS: Final = 128
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38
_SET_MODE_FILTER: Final = 1
_FLAG_TSYNC: Final = 1
_LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_JUMP_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_JUMP_AT_LEAST: Final = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_RETURN: Final = 0x06  # BPF_RET | BPF_K
_ALLOW: Final = 0x7FFF0000
_KILL: Final = 0x80000000
_REFUSE: Final = 0x00050000 | errno.EPERM
_X32: Final = 0x40000000

# Per machine: AUDIT_ARCH, number of seccomp(2), and the numbers of the refused system calls.
# 1: socket socketpair bind listen accept accept4 connect sendto sendmsg sendmmsg.
# 2: execve execveat kill ptrace process_vm_readv process_vm_writev (and fork, vfork on x86).
# 3: unshare setns mount io_uring_setup bpf.
_MACHINES: Final[dict[str, tuple[int, int, tuple[tuple[int, ...], ...]]]] = {
    "x86_64": (
        0xC000003E,
        317,
        (
            (41, 53, 49, 50, 43, 288, 42, 44, 46, 307),
            (59, 322, 62, 101, 310, 311, 57, 58),
            (272, 308, 165, 425, 321),
        ),
    ),
    "aarch64": (
        0xC00000B7,
        277,
        (
            (198, 199, 200, 201, 202, 242, 203, 206, 211, 269),
            (221, 281, 129, 117, 270, 271),
            (97, 268, 40, 425, 280),
        ),
    ),
}
_REFUSED_EVENTS: Final = (
    "socket.", "subprocess.Popen", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn",
    "pty.spawn", "urllib.Request", "os.remove", "os.rename", "os.rmdir", "shutil.",
)  # fmt: skip


def confine() -> list[str]:
    """Confine this process for the rest of its life; return the means that hold here."""
    means = ["limits", "audit"]
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_NOFILE, _DESCRIPTORS)
    sys.dont_write_bytecode = True
    sys.addaudithook(_refuse_events)
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        # The worker must not outlive the process that waits for it.
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if _filter_system_calls(libc):
            means.append("seccomp")
    return means


def environment() -> dict[str, str]:
    """Return the environment for a process that will confine itself; it holds no secrets."""
    return {
        "PATH": os.defpath,
        "PYTHONPATH": os.pathsep.join(os.path.abspath(entry) for entry in sys.path),
        "PYTHONUTF8": "1",
        "LANG": "C.UTF-8",
        # Address space is limited: few arenas and threads keep it for the document.
        "MALLOC_ARENA_MAX": "2",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


def allow_memory(size: int) -> None:
    """Let the process take ``size`` bytes of address space more than it has now."""
    used = _address_space()
    if used is not None:
        _soft_limit(resource.RLIMIT_AS, used + size)


def allow_cpu(seconds: float) -> None:
    """Let the process use ``seconds`` more of processor time, all threads together.

    Its parent ends it by the clock; this ends it when the parent cannot.
    """
    usage = resource.getrusage(resource.RUSAGE_SELF)
    _soft_limit(resource.RLIMIT_CPU, math.ceil(usage.ru_utime + usage.ru_stime + seconds))


def resident_bytes() -> int:
    """Return how much memory the process holds now; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _address_space() -> int | None:
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except (OSError, IndexError, ValueError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def _limit(what: int, value: int) -> None:
    hard = resource.getrlimit(what)[1]
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(what, (value, value))


def _soft_limit(what: int, value: int) -> None:
    hard = resource.getrlimit(what)[1]
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(what, (value, hard))


def _refuse_events(event: str, _: object) -> None:
    if event.startswith(_REFUSED_EVENTS):
        raise PermissionError(errno.EPERM, f"{event} is not allowed while reading a file")


def _filter_system_calls(libc: ctypes.CDLL) -> bool:
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        return False
    architecture, seccomp, groups = machine
    refused = [number for group in groups for number in group]
    program = [
        _instruction(_LOAD, 0, 0, 4),
        _instruction(_JUMP_EQUAL, 1, 0, architecture),
        _instruction(_RETURN, 0, 0, _KILL),
        _instruction(_LOAD, 0, 0, 0),
        _instruction(_JUMP_AT_LEAST, 0, 1, _X32),
        _instruction(_RETURN, 0, 0, _KILL),
    ]
    for place, number in enumerate(refused):
        program.append(_instruction(_JUMP_EQUAL, len(refused) - place, 0, number))
    program.append(_instruction(_RETURN, 0, 0, _ALLOW))
    program.append(_instruction(_RETURN, 0, 0, _REFUSE))
    code = ctypes.create_string_buffer(b"".join(program))
    header = ctypes.create_string_buffer(
        struct.pack("HxxxxxxP", len(program), ctypes.addressof(code))
    )
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    return bool(libc.syscall(seccomp, _SET_MODE_FILTER, _FLAG_TSYNC, header) == 0)


def _instruction(code: int, if_true: int, if_false: int, operand: int) -> bytes:
    """One ``struct sock_filter``."""
    return struct.pack("HBBI", code, if_true, if_false, operand)
