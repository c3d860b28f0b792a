"""Takes from this thread, and all that it starts, the system calls that no agent needs (seccomp(2)).

They are those with which an intruder leaves a container or reads other processes. A call that is denied fails with
EPERM, as without the capability that most of them need. The filter is a program for the kernel's BPF machine
(seccomp_data in linux/seccomp.h, instructions in linux/bpf_common.h).
"""

import os
import struct
from collections.abc import Iterator

from lessee.process.libc import address_of, call

_PR_SET_SECCOMP, _MODE_FILTER = 22, 2
_LOAD, _EQUALS, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_EPERM, _ENOSYS = 1, 38
_NUMBER, _ARCH, _FIRST_ARGUMENT, _SECOND_ARGUMENT = 0, 4, 16, 24  # Offsets in seccomp_data, on little-endian machines.
_X32 = 0x40000000
_NEW_NAMESPACES = 0x7E020000  # CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET.

# By asm/unistd.h. From number 424 on, all architectures have the same.
_COMMON = {
    "pidfd_getfd": 438, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428,
    "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433, "process_madvise": 440,
    "mount_setattr": 442, "quotactl_fd": 443, "open_tree_attr": 467,
}  # fmt: skip
_X86_64 = {
    "ptrace": 101, "syslog": 103, "personality": 135, "pivot_root": 155, "adjtimex": 159, "chroot": 161, "acct": 163,
    "settimeofday": 164, "mount": 165, "umount2": 166, "swapon": 167, "swapoff": 168, "reboot": 169,
    "sethostname": 170, "setdomainname": 171, "iopl": 172, "ioperm": 173, "init_module": 175, "delete_module": 176,
    "quotactl": 179, "lookup_dcookie": 212, "clock_settime": 227, "kexec_load": 246, "add_key": 248,
    "request_key": 249, "keyctl": 250, "migrate_pages": 256, "unshare": 272, "move_pages": 279,
    "perf_event_open": 298, "name_to_handle_at": 303, "open_by_handle_at": 304, "clock_adjtime": 305, "setns": 308,
    "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312, "finit_module": 313, "kexec_file_load": 320,
    "bpf": 321, "userfaultfd": 323,
}  # fmt: skip
_AARCH64 = {
    "lookup_dcookie": 18, "umount2": 39, "mount": 40, "pivot_root": 41, "chroot": 51, "quotactl": 60, "acct": 89,
    "personality": 92, "unshare": 97, "kexec_load": 104, "init_module": 105, "delete_module": 106,
    "clock_settime": 112, "syslog": 116, "ptrace": 117, "reboot": 142, "sethostname": 161, "setdomainname": 162,
    "settimeofday": 170, "adjtimex": 171, "add_key": 217, "request_key": 218, "keyctl": 219, "swapon": 224,
    "swapoff": 225, "migrate_pages": 238, "move_pages": 239, "perf_event_open": 241, "name_to_handle_at": 264,
    "open_by_handle_at": 265, "clock_adjtime": 266, "setns": 268, "process_vm_readv": 270, "process_vm_writev": 271,
    "kcmp": 272, "finit_module": 273, "bpf": 280, "userfaultfd": 282, "kexec_file_load": 294,
}  # fmt: skip
_MACHINES = {"x86_64": (0xC000003E, _X86_64, 56), "aarch64": (0xC00000B7, _AARCH64, 220)}
"""By architecture: its AUDIT_ARCH in linux/audit.h, its calls, and the number of clone(2)."""
_CLONE3 = 435
_TERMINAL_INPUT = (0x5412, 0x541C)  # TIOCSTI in asm-generic/ioctls.h, and TIOCLINUX: ioctl_tty(2), ioctl_console(2).
_IOCTL: dict[str, dict[int, tuple[int, ...]]] = {
    # Kernels before 5.4 run the calls of x32 by the numbers of x86_64, and the other way round.
    "x86_64": {0xC000003E: (16, 514, _X32 | 16, _X32 | 514), 0x40000003: (54,)},
    "aarch64": {0xC00000B7: (29,), 0x40000028: (54,)},
}
"""The numbers of ioctl(2) by machine, and by the AUDIT_ARCH of the programs that it runs: of 64 and of 32 bits."""


def denied(machine: str) -> tuple[str, ...]:
    """The names of the calls that the filter of this architecture denies, besides new namespaces."""
    return tuple(sorted({**_MACHINES[machine][1], **_COMMON}))


def deny() -> str:
    """Install the filter. Empty, or why the kernel has none; the thread needs no_new_privs."""
    machine = os.uname().machine
    if machine not in _MACHINES:
        return f"there is no filter for {machine}"
    return _install(b"".join(_assemble(machine)))


def deny_terminal_input() -> str:
    """Deny to push input into a terminal, as if it was typed. Empty, or why there is no such filter.

    The thread needs no_new_privs. CVE-2016-2779 and CVE-2023-28339 are such pushes, from a program that a user started
    as another one, into the shell that waits at the same terminal.
    """
    machine = os.uname().machine
    if machine not in _IOCTL:
        return f"there is no filter for {machine}"
    return _install(b"".join(_assemble_terminal(machine)))


def _install(program: bytes) -> str:
    pointer = struct.pack("HxxxxxxP", len(program) // 8, address_of(program))
    if call("prctl", _PR_SET_SECCOMP, _MODE_FILTER, pointer, 0, 0) != 0:
        return "the kernel refuses a filter"
    return ""


def _assemble(machine: str) -> Iterator[bytes]:
    arch, own, clone = _MACHINES[machine]
    numbers = sorted({**own, **_COMMON}.values())
    last = len(numbers)
    yield _instruction(_LOAD, _ARCH)
    # Another architecture's numbers mean other calls: no program of another one runs.
    yield _instruction(_EQUALS, arch, otherwise=last + 7)
    yield _instruction(_LOAD, _NUMBER)
    yield _instruction(_AT_LEAST, _X32, then=last + 5)
    # glibc calls clone(2) instead, whose flags lie in no memory, and can be seen here.
    yield _instruction(_EQUALS, _CLONE3, then=last + 5)
    for position, number in enumerate(numbers):
        yield _instruction(_EQUALS, number, then=last - position + 3)
    yield _instruction(_EQUALS, clone, otherwise=2)
    yield _instruction(_LOAD, _FIRST_ARGUMENT)
    yield _instruction(_ANY_BIT, _NEW_NAMESPACES, then=1)
    yield _instruction(_RETURN, _ALLOW)
    yield _instruction(_RETURN, _ERRNO | _EPERM)
    yield _instruction(_RETURN, _ERRNO | _ENOSYS)


def _assemble_terminal(machine: str) -> Iterator[bytes]:
    yield _instruction(_LOAD, _ARCH)
    for arch, numbers in _IOCTL[machine].items():
        parts = [_instruction(_LOAD, _NUMBER)]
        last = len(numbers) - 1
        parts += [_instruction(_EQUALS, number, then=last - at + 1) for at, number in enumerate(numbers)]
        parts.append(_instruction(_RETURN, _ALLOW))
        # The kernel takes the command as an unsigned int, and ignores the upper half.
        parts.append(_instruction(_LOAD, _SECOND_ARGUMENT))
        last = len(_TERMINAL_INPUT) - 1
        parts += [_instruction(_EQUALS, command, then=last - at + 1) for at, command in enumerate(_TERMINAL_INPUT)]
        parts += [_instruction(_RETURN, _ALLOW), _instruction(_RETURN, _ERRNO | _EPERM)]
        yield _instruction(_EQUALS, arch, otherwise=len(parts))
        yield from parts
    # No other architecture's programs run here.
    yield _instruction(_RETURN, _ERRNO | _EPERM)


def _instruction(code: int, value: int, *, then: int = 0, otherwise: int = 0) -> bytes:
    """A sock_filter: `then` and `otherwise` are how many instructions a comparison skips."""
    return struct.pack("HBBI", code, then, otherwise, value)
