"""Capabilities have the names of linux/capability.h."""

from lessee.process.capabilities import Capability, name


def test_each_capability_has_its_name_and_a_newer_one_its_number():
    assert all(name(one) == one.name for one in Capability)
    assert [name(number) for number in (19, 21, 40)] == ["SYS_PTRACE", "SYS_ADMIN", "CHECKPOINT_RESTORE"]
    assert name(41) == "41"
