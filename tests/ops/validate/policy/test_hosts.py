"""What a kernel says of its host is read as it is meant."""

from math import inf

import pytest

from lessee.core.severity import Level
from lessee.ops.validate.policy.hosts import Mode, core_limit, is_noswap, options_of, room, swaps

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
def test_the_file_system_of_a_path_is_the_last_that_holds_it(path, begins):
    assert options_of(path, MOUNTINFO).startswith(begins)


def test_a_tmpfs_that_keeps_to_memory_says_so():
    assert is_noswap(options_of("/run/a b/x", MOUNTINFO))
    assert not is_noswap(options_of("/run", MOUNTINFO))
    assert options_of("/run", "") == ""


def test_swap_on_a_disk_is_told_and_swap_in_memory_is_not():
    head = "Filename\t\t\t\tType\t\tSize\tUsed\tPriority\n"
    assert swaps(head) == ()
    assert swaps(f"{head}/dev/zram0 partition 1 0 5\n/swapfile file 2097148 0 -2\n\n") == ("/swapfile",)


@pytest.mark.parametrize(("soft", "limit"), [("0", 0), ("1024", 1024), ("unlimited", inf)])
def test_the_limit_of_core_files_is_read(soft, limit):
    assert core_limit(LIMITS.format(soft)) == limit


def test_limits_that_do_not_speak_of_core_files_say_nothing():
    assert core_limit("") is None


@pytest.mark.parametrize(
    ("free", "total", "level"),
    [(10, 100, None), (9, 100, Level.WARNING), (0, 100, Level.CRITICAL), (0, 0, None)],
)
def test_a_file_system_that_fills_up_is_told(free, total, level):
    assert room(free, total) is level


def test_modes_and_owners_that_are_not_as_they_should_be_are_told():
    mode = Mode("/run/x", 0o100646, 1000, 1001)
    assert list(mode.faults(allowed=0o600, uid=0, gid=0)) == [
        "/run/x has the mode 0646, of which its group's reading, everybody's reading, everybody's writing is too much",
        "/run/x belongs to uid 1000 and not to 0",
        "/run/x belongs to gid 1001 and not to 0",
    ]
    assert list(mode.faults(allowed=0o646, uid=None, gid=None)) == []
    assert list(Mode("/run/x", 0o700, 0, 0).faults(allowed=0o700, uid=0, gid=0)) == []
