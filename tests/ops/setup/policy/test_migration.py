"""The steps that make an equal copy of a secret, from whatever beginning of it is there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.core.immutable import replace
from lessee.core.paths import Folder
from lessee.ops.setup.policy.kv_versions import fingerprint
from lessee.ops.setup.policy.migration import (
    DeleteVersion,
    DestroyVersion,
    Mismatch,
    KvSecret,
    Move,
    Settings,
    WriteSettings,
    Version,
    WriteVersion,
    most_of,
    plan,
    settings_for,
)

NOW = 1_000_000.0
KEY = b"of one run"
MOST = 10
DELETED = Version(ends=NOW - 500)
DESTROYED = Version(destroyed=True)


def live(value, ends=None):
    data = {} if value is None else {"value": value}
    return Version(data, fingerprint(KEY, data), ends)


def kept(*versions, settings=Settings(), first=1):  # noqa: B008  # It is never changed.
    numbered = dict(enumerate(versions, first))
    return KvSecret(max(numbered, default=0), numbered, settings)


def steps(source, target=None, most=MOST):
    return plan(source, target, most=most, now=NOW)


class Copy:
    """What KV v2 makes of the steps; the real one does the same in tests/e2e/test_setup_migrate.py."""

    def __init__(self, most=MOST):
        self.kept, self.most = None, most

    def take(self, step):
        there = self.kept or KvSecret(0, {})
        versions = dict(there.versions)
        match step:
            case WriteSettings(settings):
                there = replace(there, settings=settings)
            case WriteVersion(number, data):
                assert number == there.current + 1
                after = there.settings.delete_after
                versions[number] = Version(data, fingerprint(KEY, data), NOW + after if after else None)
                there = replace(there, current=number)
                versions = {one: version for one, version in versions.items() if one > number - self.most}
            case DeleteVersion(number):
                versions[number] = DELETED
            case DestroyVersion(number):
                versions[number] = DESTROYED
        self.kept = replace(there, versions=versions)


VERSIONS = st.one_of(
    st.builds(live, st.sampled_from([None, "a", "b"]), st.sampled_from([None, NOW + 20, NOW + 90, NOW + 7200])),
    st.sampled_from([DELETED, DESTROYED, replace(DESTROYED, ends=NOW - 1)]),
)
SETTINGS = st.builds(
    Settings,
    max_versions=st.just(0),
    cas_required=st.booleans(),
    delete_after=st.sampled_from([0.0, 7200.0, 100.0]),
    custom_metadata=st.sampled_from([{}, {"owner": "a team"}]),
)


@given(st.lists(VERSIONS, max_size=5), st.integers(0, 4), SETTINGS, st.integers(0, 30), st.integers(2, 5))
def test_broken_off_after_any_step_it_ends_in_an_equal_copy(versions, gone, settings, broken, most):
    source = kept(*versions[-most:], settings=settings, first=gone + 1)
    copy = Copy(most)
    for step in steps(source, None, most)[:broken]:
        copy.take(step)
    rest = steps(source, copy.kept, most)
    assert not isinstance(rest, Mismatch)
    for step in rest:
        copy.take(step)
    if copy.kept is None:
        assert source == KvSecret(0, {})
        return
    assert steps(source, copy.kept, most) == ()
    assert (copy.kept.current, copy.kept.settings) == (source.current, source.settings)
    for number, version in source.versions.items():
        copied = copy.kept.versions[number]
        assert copied.is_live(NOW) == version.is_live(NOW)
        assert (copied.fingerprint, copied.destroyed) == (version.fingerprint, version.destroyed)
        assert (copied.ends is None) == (version.ends is None or version.destroyed)
    readable = {number for number, version in copy.kept.versions.items() if version.is_live(NOW)}
    assert readable == {number for number, version in source.versions.items() if version.is_live(NOW)}


def test_what_cannot_be_read_keeps_its_number_and_nothing_else():
    source = kept(DELETED, DESTROYED, live("c"))
    data = {"value": "c"}
    assert steps(source) == (
        WriteVersion(1, {}),
        DeleteVersion(1),
        WriteVersion(2, {}),
        DestroyVersion(2),
        WriteVersion(3, data),
    )
    assert steps(kept(live("c"), first=3), most=1) == (WriteVersion(1, {}), WriteVersion(2, {}), WriteVersion(3, data))
    assert steps(kept(live("c"), first=3), most=2) == (
        WriteVersion(1, {}),
        WriteVersion(2, {}),
        DestroyVersion(2),
        WriteVersion(3, data),
    )


def test_an_equal_copy_needs_no_step():
    source = kept(live("a"), live("b", NOW + 3600), DELETED, DESTROYED)
    there = kept(live("a"), live("b", NOW + 3630), replace(DELETED, ends=NOW), DESTROYED)
    assert steps(source, there) == ()


@pytest.mark.parametrize(
    ("source", "there", "why"),
    [
        (kept(live("a")), kept(live("b")), "version 1 has other values"),
        (kept(live("a")), kept(live("a"), live("b")), "it has 2 versions, and the source 1"),
        (kept(live("a")), kept(DELETED), "version 1 is deleted, and not so in the source"),
        (kept(DESTROYED), kept(DELETED), "version 1 is deleted, and not so in the source"),
        (kept(live("a")), kept(DESTROYED), "version 1 is destroyed, and not in the source"),
        (kept(DELETED), kept(DESTROYED), "version 1 is destroyed, and not in the source"),
        (kept(live("a")), KvSecret(1, {}), "version 1 is destroyed, and not in the source"),
        (kept(DELETED), kept(live("a")), "version 1 can be read, and not in the source"),
        (kept(DESTROYED), kept(live("a")), "version 1 can be read, and not in the source"),
        (kept(live("a")), kept(live("a", NOW + 9)), "version 1 ends at another time"),
        (kept(live("a", NOW + 900)), kept(live("a")), "version 1 ends at another time"),
        (kept(live("a", NOW + 900)), kept(live("a", NOW + 990)), "version 1 ends at another time"),
        (kept(live("a")), kept(settings=Settings(cas_required=True)), "its max_versions, cas_required or custom"),
        (kept(live("a")), kept(live("a"), settings=Settings(custom_metadata={"a": "b"})), "its max_versions, cas_req"),
    ],
)
def test_anything_else_that_is_there_is_refused(source, there, why):
    assert steps(source, there).why.startswith(why)


def test_a_copy_keeps_no_fewer_versions():
    assert most_of(Settings(), 0) == 10
    assert most_of(Settings(max_versions=3), 5) == most_of(Settings(max_versions=5), 3) == 5

    def limit(own, source_most, target_most):
        return settings_for(Settings(max_versions=own), source_most=source_most, target_most=target_most).max_versions

    assert limit(0, 0, 0) == 0
    assert limit(0, 20, 0) == 20
    assert limit(0, 20, 20) == 0
    assert limit(0, 0, 5) == 10
    assert limit(3, 0, 0) == 3
    assert limit(3, 20, 5) == 20


def test_values_do_not_show():
    assert "hidden-value" not in repr(steps(kept(live("hidden-value"))))
    assert "hidden-value" not in repr(kept(live("hidden-value")))


MOVE = Move(
    source=Folder("secret", ""),
    target=Folder("secret", "of/development/"),
    environments=frozenset({"development", "production"}),
    prefixes=("of/development/", "of/production/"),
    shared=("shared/",),
)


@pytest.mark.parametrize("path", ["development/", "production", "production/x", "of/development/", "of/production/x"])
def test_an_environment_s_own_stays(path):
    assert MOVE.skip_reason(path) == "an environment's own"


def test_so_does_what_is_lessee_s_or_shared():
    assert MOVE.skip_reason("lessee/") == "lessee's own"
    assert MOVE.skip_reason("shared/") == "shared: it is read without a prefix"
    below = Move(Folder("kv", "lessee/"), Folder("secret", "development/"), frozenset({"development"}), ())
    assert below.skip_reason("x") == "lessee's own"


@pytest.mark.parametrize(
    "path", ["x", "developments/x", "of/", "of/other/x", "apps/production/x", "lessees/", "lessee"]
)
def test_all_else_is_moved(path):
    assert MOVE.skip_reason(path) is None
