"""The filter of system calls, run by a machine of our own: the kernel of this computer has one architecture only."""

import re
import struct
from pathlib import Path
from types import SimpleNamespace

import pytest

from lessee.process import system_calls
from support.needs import need

ALLOW, EPERM, ENOSYS = 0x7FFF0000, 0x00050001, 0x00050026
ARCHES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}
CLONE = {"x86_64": 56, "aarch64": 220}


def result(machine, number, *, arch=None, flags=0, command=0, assemble=system_calls._assemble):
    """What the filter returns for a call, by the rules of linux/filter.h."""
    data = struct.pack("=IIQ6Q", number, arch or ARCHES[machine], 0, flags, command, 0, 0, 0, 0)
    program = [struct.unpack("HBBI", one) for one in assemble(machine)]
    assert all(len(one) == 8 for one in assemble(machine))
    at = accumulator = 0
    while True:
        code, then, otherwise, value = program[at]
        at += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, value)
        elif code == 0x06:
            return value
        else:
            holds = {0x15: accumulator == value, 0x35: accumulator >= value, 0x45: bool(accumulator & value)}[code]
            at += then if holds else otherwise


@pytest.mark.parametrize("machine", ARCHES)
def test_each_call_of_the_list_fails_with_eperm_and_every_other_is_allowed(machine):
    denied = {
        number for table in (system_calls._MACHINES[machine][1], system_calls._COMMON) for number in table.values()
    }
    results = {number: result(machine, number) for number in range(470)}
    assert {number for number, found in results.items() if found == EPERM} == denied
    assert {number for number, found in results.items() if found == ENOSYS} == {435}
    assert {found for number, found in results.items() if number not in {*denied, 435}} == {ALLOW}


@pytest.mark.parametrize("machine", ARCHES)
def test_a_clone_with_a_new_namespace_is_refused_and_a_thread_or_a_fork_is_not(machine):
    thread, fork, user, mount = 0x3D0F00, 0x1200011, 0x10000000, 0x20000
    found = [result(machine, CLONE[machine], flags=flags) for flags in (thread, fork, user | 17, mount | 17)]
    assert found == [ALLOW, ALLOW, EPERM, EPERM]


@pytest.mark.parametrize("machine", ARCHES)
def test_calls_by_the_numbers_of_another_architecture_are_refused(machine):
    assert result(machine, 0, arch=0x40000003) == EPERM  # i386
    assert result(machine, 0x40000000 + 101) == EPERM  # x32


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("machine", "arch", "ioctls"),
    [
        ("x86_64", ARCHES["x86_64"], {16, 514, 0x40000010, 0x40000202}),  # The last two are those of x32.
        ("x86_64", 0x40000003, {54}),  # i386
        ("aarch64", ARCHES["aarch64"], {29}),
        ("aarch64", 0x40000028, {54}),  # 32-bit ARM
    ],
)
def test_no_program_of_the_machine_pushes_input_into_a_terminal_and_all_else_is_allowed(machine, arch, ioctls):
    def denied(command):
        numbers = {*range(600), *range(0x40000000, 0x40000258)}
        results = {
            number: result(machine, number, arch=arch, command=command, assemble=system_calls._assemble_terminal)
            for number in numbers
        }
        assert set(results.values()) <= {ALLOW, EPERM}
        return {number for number, found in results.items() if found == EPERM}

    for command in 0x5412, 0x541C, 0xFFFFFFFF00005412, 1 << 32 | 0x541C:
        assert denied(command) == ioctls
    for command in 0, 0x5401, 0x540E, 0x5410, 0x5411, 0x5413, 0x541B, 0x541D, 0x5412 << 32, 0x80005412:
        assert denied(command) == set()


@pytest.mark.parametrize("machine", ARCHES)
def test_programs_of_an_architecture_without_a_number_of_ioctl_run_no_call(machine):
    assert result(machine, 0, arch=0x40000008, assemble=system_calls._assemble_terminal) == EPERM  # MIPS


def test_a_machine_without_a_filter_says_so(monkeypatch):
    monkeypatch.setattr(system_calls.os, "uname", lambda: SimpleNamespace(machine="riscv64"))
    assert system_calls.deny_terminal_input() == system_calls.deny() == "there is no filter for riscv64"


@pytest.mark.parametrize("machine", ARCHES)
def test_the_numbers_are_those_of_the_kernels_headers(machine):
    need(HEADERS[machine].exists(), "needs linux-libc-dev")
    text = HEADERS[machine].read_text()
    known = {name: int(number) for name, number in re.findall(r"define __NR(?:3264)?_(\w+)\s+(\d+)", text)}
    table = {**system_calls._MACHINES[machine][1], **system_calls._COMMON}
    assert {name: number for name, number in table.items() if known.get(name, number) != number} == {}
    assert len(known.keys() & table.keys()) > len(table) - 4
