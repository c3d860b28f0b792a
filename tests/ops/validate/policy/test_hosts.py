"""What the kernel reports about the host is parsed."""

from math import inf

import pytest

from lessee.core.severity import Level
from lessee.ops.validate.policy.hosts import (
    FileMode,
    core_file_limit,
    is_noswap,
    mount_options,
    space_level,
    swap_devices,
)

MOUNTINFO = r"""22 1 0:20 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:25 / /run rw,nosuid - tmpfs tmpfs rw,size=1024k,mode=755
31 30 0:26 / /run/a\040b rw - tmpfs tmpfs rw,noswap
32 30 0:27 / /run/twice rw - tmpfs tmpfs rw
33 30 0:28 / /run/twice rw - ramfs ramfs rw
"""
LIMITS = """Limit                     Soft Limit           Hard Limit           Units
Max cpu time              unlimited            unlimited            seconds
Max core file size        {}                    0                    bytes
"""


@pytest.mark.parametrize(
    ("path", "begins"),
    [("/etc", "ext4,"), ("/run", "tmpfs,"), ("/run/x", "tmpfs,"), ("/runner", "ext4,"), ("/run/twice/x", "ramfs,")],
)
def test_the_file_system_of_a_path_is_its_last_mount(path, begins):
    assert mount_options(path, MOUNTINFO).startswith(begins)


def test_a_tmpfs_may_have_noswap():
    assert is_noswap(mount_options("/run/a b/x", MOUNTINFO))
    mount = r"34 30 0:29 / /run/\011\012\134 rw - tmpfs tmpfs rw,noswap"
    assert is_noswap(mount_options("/run/\t\n\\/x", mount))
    assert not is_noswap(mount_options("/run", MOUNTINFO))
    assert mount_options("/run", "") == ""


def test_swap_devices_do_not_include_zram():
    head = "Filename\t\t\t\tType\t\tSize\tUsed\tPriority\n"
    assert swap_devices(head) == ()
    assert swap_devices(f"{head}/dev/zram0 partition 1 0 5\n/swapfile file 2097148 0 -2\n\n") == ("/swapfile",)


@pytest.mark.parametrize(("soft", "limit"), [("0", 0), ("1024", 1024), ("unlimited", inf)])
def test_the_limit_of_core_files_is_parsed(soft, limit):
    assert core_file_limit(LIMITS.format(soft)) == limit


def test_a_missing_limit_of_core_files_is_unknown():
    assert core_file_limit("") is None


@pytest.mark.parametrize(
    ("free", "total", "level"),
    [(10, 100, None), (9, 100, Level.WARNING), (0, 100, Level.CRITICAL), (0, 0, None)],
)
def test_too_little_free_space_has_a_level(free, total, level):
    assert space_level(free, total) is level


def test_wrong_modes_and_owners_are_problems():
    mode = FileMode("/run/x", 0o100646, 1000, 1001)
    assert list(mode.problems(allowed=0o600, uid=0, gid=0)) == [
        "/run/x has mode 0646, which allows its group to read, all users to read, all users to write",
        "/run/x belongs to uid 1000, not 0",
        "/run/x belongs to gid 1001, not 0",
    ]
    assert list(mode.problems(allowed=0o646, uid=None, gid=None)) == []
    assert list(FileMode("/run/x", 0o700, 0, 0).problems(allowed=0o700, uid=0, gid=0)) == []
