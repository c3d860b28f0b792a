"""The cgroup of a process says its container or unit, and no name that a user chose is taken for one."""

import pytest

from lessee.core.cgroups import container_of, is_inside, unit_of

A, B = "a" * 64, "b" * 64
V1 = f"12:memory:/docker/{A}\n5:cpu,cpuacct:/docker/{A}\n1:name=systemd:/docker/{A}\n0::/\n"


@pytest.mark.parametrize(
    ("text", "container"),
    [
        (V1, A),
        (f"0::/system.slice/docker-{A}.scope\n", A),
        (f"0::/../docker-{A}.scope\n", A),
        (f"0::/machine.slice/libpod-{A}.scope/container\n", A),
        (f"0::/docker/{A}/docker/{B}\n", B),
        (f"0::/machine.slice/libpod-conmon-{A}.scope\n", None),
        ("0::/system.slice/web.service\n", None),
        ("0::/\n", None),
        ("", None),
        ("nonsense", None),
        (f"2:memory:/docker/{A}\n1:pids:/docker/{B}\n", None),
        (f"0::/docker/{A}f\n", None),
    ],
)
def test_the_container_is_the_innermost_that_all_hierarchies_name(text, container):
    assert container_of(text) == container


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("0::/system.slice/web.service\n", "web.service"),
        ("0::/system.slice/system-lessee.slice/lessee@web.service\n", "lessee@web.service"),
        ("0::/system.slice/web.service/supervised\n", "web.service"),
        ("3:memory:/\n1:name=systemd:/system.slice/web.service\n0::/\n", "web.service"),
        ("1:name=systemd:/\n0::/system.slice/web.service\n", "web.service"),
        ("1:name=systemd:/system.slice/web.service\n0::/system.slice/web.service\n", "web.service"),
        ("1:name=systemd:/system.slice/web.service\n0::/system.slice/other.service\n", None),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/web.service\n", None),
        ("0::/user.slice/system.slice/web.service\n", None),
        ("0::/../system.slice/web.service\n", None),
        (f"0::/system.slice/web.service/libpod-payload-{A}\n", None),
        ("0::/system.slice/web.scope\n", None),
        ("3:memory:/system.slice/web.service\n", None),
        ("0::/\n", None),
    ],
)
def test_a_unit_is_a_service_of_the_system_alone(text, unit):
    assert unit_of(text) == unit


@pytest.mark.parametrize(
    ("own", "first", "inside"),
    [
        (V1, V1, True),
        (f"0::/system.slice/docker-{A}.scope/work\n", f"0::/system.slice/docker-{A}.scope/init.scope\n", True),
        # A user with a subtree of its own has made a cgroup with this name.
        (f"0::/user.slice/user-1000.slice/user@1000.service/docker-{A}.scope\n", f"0::/docker/{A}\n", False),
        (f"0::/docker/{A}-fake\n", f"0::/docker/{A}\n", False),
        (f"2:memory:/docker/{A}\n1:pids:/\n", f"2:memory:/docker/{A}\n1:pids:/docker/{A}\n", False),
        (V1, "", False),
        ("0::/\n", "0::/\n", False),
    ],
)
def test_a_process_is_in_a_container_if_its_cgroup_is_below_the_one_of_the_containers_first_process(own, first, inside):
    assert is_inside(own, A, first) is inside
