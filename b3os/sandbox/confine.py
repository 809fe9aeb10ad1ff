"""Give up everything that a process which runs foreign code does not need. Best effort beyond the resource limits.

The limits hold on every system; Linux adds: no new privileges, death with the parent, no core, and on x86-64 and arm64
a system call filter that lets memory, clocks and the two open pipes through and refuses everything else with EPERM.
"""

import ctypes
import platform
import resource
import signal
import struct
from pathlib import Path

#: Address space beyond what the interpreter has at the start: QuickJS keeps its own limit far below it.
SPACE = 256 << 20
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 4, 22, 38
_SECCOMP_FILTER = 2
_ALLOW, _EPERM, _KILL = 0x7FFF0000, 0x00050001, 0x80000000
#: Audit number of the machine, and its numbers of: read write close fstat lseek mmap mprotect munmap brk rt_sigaction
#: rt_sigprocmask rt_sigreturn madvise mremap futex exit exit_group clock_gettime gettimeofday getrandom sigaltstack
#: getrusage sched_yield times.
_MACHINES = {
    "x86_64": (0xC000003E, (0, 1, 3, 5, 8, 9, 10, 11, 12, 13, 14, 15, 28, 25, 202, 60, 231, 228, 96, 318, 131, 98, 24,
                            100)),
    "aarch64": (0xC00000B7, (63, 64, 57, 80, 62, 222, 226, 215, 214, 134, 135, 139, 233, 216, 98, 93, 94, 113, 169, 278,
                             132, 165, 124, 153)),
}  # fmt: skip


def confine() -> None:
    """Apply every limit to this process, for good. Call after the last import."""
    for limit, most in (
        (resource.RLIMIT_AS, _space_now() + SPACE),
        (resource.RLIMIT_NOFILE, 3),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (most, most))
    if platform.system() == "Linux":
        _confine_linux(ctypes.CDLL(None, use_errno=True))


def _space_now() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:
        return 512 << 20


def _confine_linux(libc: ctypes.CDLL) -> None:
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        return
    program = _filter(*machine)
    code = ctypes.create_string_buffer(program, len(program))
    head = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    libc.prctl(_PR_SET_SECCOMP, _SECCOMP_FILTER, ctypes.create_string_buffer(head, len(head)), 0, 0)


def _filter(audit: int, allowed: tuple[int, ...]) -> bytes:
    """Return the BPF program: another machine's calls kill, the allowed ones pass, the rest fail with EPERM."""
    load, equal, answer = 0x20, 0x15, 0x06
    steps = [(load, 0, 0, 4), (equal, 1, 0, audit), (answer, 0, 0, _KILL), (load, 0, 0, 0)]
    steps += [(equal, len(allowed) - n, 0, number) for n, number in enumerate(allowed)]
    steps += [(answer, 0, 0, _EPERM), (answer, 0, 0, _ALLOW)]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)
