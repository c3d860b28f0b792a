"""No name of a file or a key shows a value that was found, and the number of values costs nothing."""

from hypothesis import given
from hypothesis import strategies as st

from lessee.ops.scan.policy.findings import Finding
from lessee.ops.scan.policy.mask import Mask, is_distinctive


class CountedName(str):
    """A name that counts how often a part of it is looked at."""

    __slots__ = ("looks",)

    def __new__(cls, text):
        name = super().__new__(cls, text)
        name.looks = 0
        return name

    def __getitem__(self, key):
        self.looks += 1
        return super().__getitem__(key)

    def __contains__(self, part):
        self.looks += 1
        return super().__contains__(part)


def test_names_that_contain_a_value_are_masked():
    finding = Finding("plugin", "00", "hunter2!/a", 1, 1, "A_hunter2!")
    masked = Mask(["none", "hunter2!"]).clean_finding(finding)
    assert (masked.file, masked.name) == ("[value]/a", "A_[value]")
    assert Mask(["none", "hunter3!"]).clean_finding(finding) is finding
    assert is_distinctive("hunter2!")
    assert not is_distinctive("postgres")
    assert not is_distinctive("a1")


def test_values_that_overlap_or_contain_each_other_are_hidden_whole():
    mask = Mask(["hunter2", "hunter2!", "2!horse", "hunter2!battery"])
    assert mask.clean("a-hunter2-b") == "a-[value]-b"
    assert mask.clean("a-hunter2!-b") == "a-[value]-b"
    assert mask.clean("a-hunter2!horse-b") == "a-[value]-b"
    assert mask.clean("hunter2hunter2!") == "[value][value]"
    assert mask.clean("hunter2!batter") == "[value]batter"


def test_a_value_that_the_mask_completes_is_hidden_too():
    assert Mask(["hunter2!", "value]/a1"]).clean("x/hunter2!/a1") == "[value]"


@given(st.lists(st.text("ab1", min_size=6, max_size=9), max_size=20), st.text("ab1/", max_size=30))
def test_no_value_is_in_a_clean_name(values, name):
    clean = Mask(values).clean(name)
    assert not any(value in clean for value in values if is_distinctive(value))
    assert (clean == name) == (not any(value in name for value in values if is_distinctive(value)))


def test_the_work_for_a_name_does_not_grow_with_the_number_of_values():
    def looks(count):
        name = CountedName("hunter2-/config/hunter2-production.ini")
        Mask(f"hunter2-{number:09}" for number in range(count)).clean(name)
        return name.looks

    assert 0 < looks(10) == looks(10_000)


def test_each_name_is_cleaned_once():
    name, mask = CountedName("config.ini"), Mask(["hunter2!"])
    mask.clean(name)
    once = name.looks
    mask.clean(name)
    assert name.looks == once > 0
