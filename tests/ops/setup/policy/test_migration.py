"""The steps that make an equal copy of a secret, from any partial copy."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.core.immutable import replace
from lessee.core.paths import Folder
from lessee.ops.setup.policy.kv_versions import fingerprint
from lessee.ops.setup.policy.migration import (
    DeleteVersion,
    DestroyVersion,
    KvSecret,
    Mismatch,
    Move,
    Settings,
    Version,
    WriteSettings,
    WriteVersion,
    kept_versions,
    plan,
    settings_for,
)

NOW = 1_000_000.0
KEY = b"of one run"
MAX_VERSIONS = 10
DELETED = Version(deletes_at=NOW - 500)
DESTROYED = Version(destroyed=True)


def live(value, deletes_at=None):
    data = {} if value is None else {"value": value}
    return Version(data, fingerprint(KEY, data), deletes_at)


def kv(*versions, settings=Settings(), first=1):  # noqa: B008  # It is never changed.
    numbered = dict(enumerate(versions, first))
    return KvSecret(max(numbered, default=0), numbered, settings)


def steps(source, target=None, max_versions=MAX_VERSIONS):
    return plan(source, target, max_versions=max_versions, now=NOW)


class Copy:
    """KV v2 in memory; the real one is tested in tests/e2e/test_setup_migrate.py."""

    def __init__(self, max_versions=MAX_VERSIONS):
        self.secret, self.max_versions = None, max_versions

    def take(self, step):
        there = self.secret or KvSecret(0, {})
        versions = dict(there.versions)
        match step:
            case WriteSettings(settings):
                there = replace(there, settings=settings)
            case WriteVersion(number, data):
                assert number == there.current + 1
                after = there.settings.delete_version_after
                versions[number] = Version(data, fingerprint(KEY, data), NOW + after if after else None)
                there = replace(there, current=number)
                versions = {one: version for one, version in versions.items() if one > number - self.max_versions}
            case DeleteVersion(number):
                versions[number] = DELETED
            case DestroyVersion(number):
                versions[number] = DESTROYED
        self.secret = replace(there, versions=versions)


VERSIONS = st.one_of(
    st.builds(live, st.sampled_from([None, "a", "b"]), st.sampled_from([None, NOW + 20, NOW + 90, NOW + 7200])),
    st.sampled_from([DELETED, DESTROYED, replace(DESTROYED, deletes_at=NOW - 1)]),
)
SETTINGS = st.builds(
    Settings,
    max_versions=st.just(0),
    cas_required=st.booleans(),
    delete_version_after=st.sampled_from([0.0, 7200.0, 100.0]),
    custom_metadata=st.sampled_from([{}, {"owner": "a team"}]),
)


@given(st.lists(VERSIONS, max_size=5), st.integers(0, 4), SETTINGS, st.integers(0, 30), st.integers(2, 5))
def test_a_copy_interrupted_at_any_step_is_completed(versions, gone, settings, broken, max_versions):
    source = kv(*versions[-max_versions:], settings=settings, first=gone + 1)
    copy = Copy(max_versions)
    for step in steps(source, None, max_versions)[:broken]:
        copy.take(step)
    rest = steps(source, copy.secret, max_versions)
    assert not isinstance(rest, Mismatch)
    for step in rest:
        copy.take(step)
    if copy.secret is None:
        assert source == KvSecret(0, {})
        return
    assert steps(source, copy.secret, max_versions) == ()
    assert (copy.secret.current, copy.secret.settings) == (source.current, source.settings)
    for number, version in source.versions.items():
        copied = copy.secret.versions[number]
        assert copied.is_live(NOW) == version.is_live(NOW)
        assert (copied.fingerprint, copied.destroyed) == (version.fingerprint, version.destroyed)
        assert (copied.deletes_at is None) == (version.deletes_at is None or version.destroyed)
    readable = {number for number, version in copy.secret.versions.items() if version.is_live(NOW)}
    assert readable == {number for number, version in source.versions.items() if version.is_live(NOW)}


def test_an_unreadable_version_keeps_only_its_number():
    source = kv(DELETED, DESTROYED, live("c"))
    data = {"value": "c"}
    assert steps(source) == (
        WriteVersion(1, {}),
        DeleteVersion(1),
        WriteVersion(2, {}),
        DestroyVersion(2),
        WriteVersion(3, data),
    )
    assert steps(kv(live("c"), first=3), max_versions=1) == (
        WriteVersion(1, {}),
        WriteVersion(2, {}),
        WriteVersion(3, data),
    )
    assert steps(kv(live("c"), first=3), max_versions=2) == (
        WriteVersion(1, {}),
        WriteVersion(2, {}),
        DestroyVersion(2),
        WriteVersion(3, data),
    )


def test_an_equal_copy_needs_no_step():
    source = kv(live("a"), live("b", NOW + 3600), DELETED, DESTROYED)
    there = kv(live("a"), live("b", NOW + 3630), replace(DELETED, deletes_at=NOW), DESTROYED)
    assert steps(source, there) == ()


@pytest.mark.parametrize(
    ("source", "there", "why"),
    [
        (kv(live("a")), kv(live("b")), "version 1 has different values"),
        (kv(live("a")), kv(live("a"), live("b")), "it has 2 versions, and the source 1"),
        (kv(live("a")), kv(DELETED), "version 1 is deleted, but not in the source"),
        (kv(DESTROYED), kv(DELETED), "version 1 is deleted, but not in the source"),
        (kv(live("a")), kv(DESTROYED), "version 1 is destroyed, but not in the source"),
        (kv(DELETED), kv(DESTROYED), "version 1 is destroyed, but not in the source"),
        (kv(live("a")), KvSecret(1, {}), "version 1 is destroyed, but not in the source"),
        (kv(DELETED), kv(live("a")), "version 1 is readable, but not in the source"),
        (kv(DESTROYED), kv(live("a")), "version 1 is readable, but not in the source"),
        (kv(live("a")), kv(live("a", NOW + 9)), "version 1 has a different deletion time"),
        (kv(live("a", NOW + 900)), kv(live("a")), "version 1 has a different deletion time"),
        (kv(live("a", NOW + 900)), kv(live("a", NOW + 990)), "version 1 has a different deletion time"),
        (kv(live("a")), kv(settings=Settings(cas_required=True)), "its max_versions, cas_required or custom"),
        (kv(live("a")), kv(live("a"), settings=Settings(custom_metadata={"a": "b"})), "its max_versions, cas_req"),
    ],
)
def test_a_different_secret_in_the_target_is_refused(source, there, why):
    assert steps(source, there).why.startswith(why)


def test_a_copy_stores_no_fewer_versions():
    assert kept_versions(Settings(), 0) == 10
    assert kept_versions(Settings(max_versions=3), 5) == kept_versions(Settings(max_versions=5), 3) == 5

    def limit(own, source_max_versions, target_max_versions):
        return settings_for(
            Settings(max_versions=own), source_max_versions=source_max_versions, target_max_versions=target_max_versions
        ).max_versions

    assert limit(0, 0, 0) == 0
    assert limit(0, 20, 0) == 20
    assert limit(0, 20, 20) == 0
    assert limit(0, 0, 5) == 10
    assert limit(3, 0, 0) == 3
    assert limit(3, 20, 5) == 20


def test_values_are_hidden_in_reprs():
    assert "hidden-value" not in repr(steps(kv(live("hidden-value"))))
    assert "hidden-value" not in repr(kv(live("hidden-value")))


MOVE = Move(
    source=Folder("secret", ""),
    target=Folder("secret", "of/development/"),
    environments=frozenset({"development", "production"}),
    prefixes=("of/development/", "of/production/"),
    shared=("shared/",),
)


@pytest.mark.parametrize("path", ["development/", "production", "production/x", "of/development/", "of/production/x"])
def test_secrets_of_an_environment_are_skipped(path):
    assert MOVE.skip_reason(path) == "belongs to an environment"


def test_secrets_of_lessee_and_shared_secrets_are_skipped():
    assert MOVE.skip_reason("lessee/") == "belongs to lessee"
    assert MOVE.skip_reason("shared/") == "shared: apps read it without a prefix"
    below = Move(Folder("kv", "lessee/"), Folder("secret", "development/"), frozenset({"development"}), ())
    assert below.skip_reason("x") == "belongs to lessee"


@pytest.mark.parametrize(
    "path", ["x", "developments/x", "of/", "of/other/x", "apps/production/x", "lessees/", "lessee"]
)
def test_all_other_secrets_are_migrated(path):
    assert MOVE.skip_reason(path) is None
