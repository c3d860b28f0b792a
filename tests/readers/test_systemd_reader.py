"""systemd itself reads environment files of the format systemd."""

import ctypes
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lessee.core.errors import FormatError
from lessee.rendering.document import Document, Placeholder
from lessee.rendering.formats import systemd, write
from support.inputs.hostile_values import VALUES
from support.needs import need

NAME = re.compile("[A-Za-z_][A-Za-z0-9_]*")
LIBRARIES = ("usr/lib/*/systemd", "usr/lib64/systemd", "usr/lib/systemd")
REFUSED = {"a\0b", "\ufffe", "\U0010ffff"}
LINE_BREAKS = set("\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029")
HELD = [value for value in VALUES if value not in REFUSED]

PIECES = (
    "'",
    '"',
    "\\",
    "\n",
    "\r",
    "\r\n",
    " ",
    "\t",
    "#",
    ";",
    "=",
    "A=",
    "B='",
    'C="',
    "\\\n",
    "\\\r",
    "$",
    "`",
    "é",
)
text = st.lists(st.sampled_from([*PIECES, *"aB1_", "\ufeff", "\x0b", "\x0c", "\xa0", "export ", "\x7f"]), max_size=14)

# A manager in namespaces of its own: it sees its own processes and cgroups, and can write to no disk.
MANAGER = """\
set -e
mount --make-rprivate /
mount -t proc proc /proc
mount --bind /proc/sys /proc/sys
mount -o remount,ro,bind /proc/sys
umount -l /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system
cp "$1" /run/systemd/system/probe.service
mount -o remount,ro,bind /
exec env -i container=lessee /usr/lib/systemd/systemd --system --unit=probe.service --log-target=console
"""
ENTER = """\
echo $$ >"$0/cgroup.procs"
exec unshare --cgroup --fork --ipc --kill-child --mount --net --pid --uts sh -c "$1" sh "$2"
"""
UNIT = """\
[Unit]
DefaultDependencies=no
SuccessAction=exit-force
FailureAction=exit-force
[Service]
Type=oneshot
EnvironmentFile={folder}/app.env
ExecStart={env} -0
StandardOutput=file:{folder}/environ
"""


def document(*parts):
    """Marked text of strings and of values in lists."""
    return Document(
        "app.env", tuple(part if isinstance(part, str) else Placeholder(part[0], "db: password") for part in parts)
    )


def all_values():
    return document(*(part for index, value in enumerate(HELD) for part in (f"V{index}=", [value], "\n")))


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    """A function that parses a file with systemd: the `NAME=value` lines, or None if it reads nothing."""
    paths = [path for folder in LIBRARIES for path in Path("/").glob(f"{folder}/libsystemd-shared-*.so")]
    recent = [path for path in paths if int(re.search(r"\d+", path.stem)[0]) >= 254]
    need(recent, "needs systemd 254 or later (Debian: apt-get install systemd)")
    load = ctypes.CDLL(recent[0]).load_env_file
    load.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.POINTER(ctypes.POINTER(ctypes.c_char_p))]
    path = tmp_path_factory.mktemp("systemd") / "app.env"

    def read(text):
        path.write_bytes(text.encode())
        found = ctypes.POINTER(ctypes.c_char_p)()
        if load(None, bytes(path), ctypes.byref(found)) < 0:
            return None
        lines = []
        while found and found[len(lines)] is not None:
            lines.append(found[len(lines)])
        return [line.decode() for line in lines]

    return read


def test_every_value_is_unchanged_and_no_variable_is_added(read):
    assert read(write(all_values(), "systemd")) == [f"V{index}={value}" for index, value in enumerate(HELD)]


@pytest.mark.parametrize(
    ("before", "after", "meant"),
    [("'x", "y' z\n", "x{}yz"), ("x\\ ", " \\$  # c\n", "x {} $  # c"), ('"', '\\"\\n"\r\n', '{}"\\n')],
)
def test_every_value_is_unchanged_within_the_authors_text(read, before, after, meant):
    parts = [part for index, value in enumerate(HELD) for part in (f"V{index}={before}", [value], after)]
    lines = [f"V{index}={meant.format(value)}" for index, value in enumerate(HELD)]
    assert read(write(document(*parts), "systemd")) == lines


def test_no_value_ends_a_comment(read):
    values = [value for value in HELD if not LINE_BREAKS.intersection(value) and not value.endswith("\\")]
    lines = [part for value in values for part in ("#", [value], "\n ;", [value], "\n")]
    assert read(write(document(*lines, "A=1"), "systemd")) == ["A=1"]


def test_rejected_values_are_those_of_which_systemd_reads_nothing(read):
    for value in REFUSED:
        assert read(f'A=1\nB="{value}"\n') is None
        with pytest.raises(FormatError, match=r"contains a (NUL|Unicode noncharacter)"):
            write(document("B=", [value]), "systemd")


def test_every_character_that_systemd_rejects_is_known(read):
    planes = [chr(code) for code in range(0x110000) if code & 0xFFF0 in (0xFDC0, 0xFDD0, 0xFDE0, 0xFDF0, 0xFFF0)]
    for char in [*map(chr, range(1, 0x300)), *planes, *map(chr, range(0xE000, 0x110000, 4093))]:
        literal = f"\\{char}" if char in '"\\`$' else char
        assert (read(f'A="{literal}"') is None) == bool(systemd._NONCHARACTER.search(char))


@given(text.map("".join))
@example("A=\\\r\nB=1")
@example('A="x"\\\n # y \\ \t\n')
@example("A=x \\\n \\")
@example("#\\\nA=1")
def test_verification_reads_a_file_as_systemd_does(read, text):
    ours = {line.name: line.value for line in systemd._read(text) if line.name and NAME.fullmatch(line.name)}
    theirs = [line for line in read(text) if NAME.fullmatch(line.partition("=")[0])]
    assert [f"{name}={value}" for name, value in ours.items()] == theirs


@pytest.fixture
def manager():
    """The command that starts a separate systemd in its own cgroup; a unit follows."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    roots = [Path(mount[1]) for mount in mounts if mount[2] == "cgroup2"]
    there = os.geteuid() == 0 and roots and shutil.which("unshare") and Path("/usr/lib/systemd/systemd").exists()
    need(there, "needs root, cgroup2, util-linux's unshare and systemd (Debian: apt-get install systemd)")
    group = roots[0] / f"lessee-test-{os.getpid()}"
    group.mkdir()
    yield ["sh", "-c", ENTER, group, MANAGER]
    for folder in sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True):
        folder.rmdir()
    group.rmdir()


def test_a_service_gets_every_value_in_its_environment(manager, memory):
    (memory / "app.env").write_bytes(write(all_values(), "systemd").encode())
    unit = memory / "probe.service"
    unit.write_text(UNIT.format(folder=memory, env=shutil.which("env")))
    done = subprocess.run([*manager, unit], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout
    lines = (memory / "environ").read_bytes().decode().split("\0")[:-1]
    assert {line for line in lines if re.match(r"V\d", line)} == {
        f"V{index}={value}" for index, value in enumerate(HELD)
    }
    own = {
        "INVOCATION_ID",
        "LANG",
        "MEMORY_PRESSURE_WATCH",
        "MEMORY_PRESSURE_WRITE",
        "PATH",
        "SYSTEMD_EXEC_PID",
        "USER",
    }
    assert {line.partition("=")[0] for line in lines if not re.match(r"V\d", line)} <= own
