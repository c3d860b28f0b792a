"""A secret is restored as saved, from any state of the server, also after interruptions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.core.immutable import replace
from lessee.ops.backup.policy.comparison import differences, is_newer_than
from lessee.ops.backup.policy.records import Secret, Version, fingerprint
from lessee.ops.backup.policy.secret_restore import (
    DeleteVersions,
    DestroyVersions,
    SecretStatus,
    WriteSettings,
    WriteVersion,
    plan,
)

KEY, MOUNT, PATH = b"k" * 32, "secret/", "a"
DEFAULTS = {"max_versions": 0, "cas_required": False, "delete_version_after": "0s"}
WRITTEN = "2026-01-01T00:00:00Z"


class KvSecret:
    """A secret of KV version 2 in memory, by the rules of its documentation."""

    def __init__(self):
        self.current, self.versions, self.settings = 0, {}, dict(DEFAULTS)
        self.exists = False

    def put(self, data, cas=None):
        assert cas in {None, self.current}
        self.exists = True
        self.current += 1
        self.versions[self.current] = "live", data
        most = self.settings["max_versions"] or 10
        self.versions = {n: v for n, v in self.versions.items() if n > self.current - most}

    def mark(self, numbers, how):
        for number in numbers:
            if number in self.versions and self.versions[number][0] != "destroyed":
                self.versions[number] = how, None

    def do(self, step):
        match step:
            case WriteSettings(settings=settings):
                self.exists = True
                self.settings |= settings
            case WriteVersion(data=data, cas=cas):
                self.put(data, cas)
            case DeleteVersions(versions=versions):
                self.mark(versions, "deleted")
            case DestroyVersions(versions=versions):
                self.mark(versions, "destroyed")

    def secret(self, created=WRITTEN):
        if not self.exists:
            return None
        versions = [version(n, *self.versions[n], created=created) for n in sorted(self.versions)]
        return Secret(MOUNT, PATH, 2, self.current, dict(self.settings), tuple(versions))


def version(number, state, data, created=WRITTEN):
    print_ = "" if data is None else fingerprint(KEY, MOUNT, PATH, data)
    deleted = WRITTEN if state == "deleted" else ""
    return Version(number, data, print_, created, deleted, destroyed=state == "destroyed")


actions = st.one_of(
    st.tuples(st.just("put"), st.sampled_from([{}, {"v": 1}, {"v": 2}, {"v": 3}])),
    st.tuples(st.sampled_from(["deleted", "destroyed"]), st.integers(1, 14)),
    st.tuples(st.just("settle"), st.sampled_from([{"max_versions": 1}, {"max_versions": 3}, {"cas_required": True}])),
)


def with_history(history):
    stored = KvSecret()
    for action, detail in history:
        match action:
            case "put":
                stored.put(detail)
            case "settle":
                stored.do(WriteSettings(detail))
            case _:
                stored.mark([detail], action)
    return stored


histories = st.lists(actions, max_size=16)


@given(histories.filter(bool), histories, st.integers(0, 20), st.integers(0, 20))
def test_a_restore_interrupted_at_any_step_is_completed(before, since, first, second):
    saved = with_history(before).secret()
    if saved is None:
        return
    stored = with_history(since)
    for most in (first, second, 1000):
        for step in plan(saved, stored.secret()).steps[:most]:
            stored.do(step)
    assert plan(saved, stored.secret()).steps == ()
    found = stored.secret()
    if saved.newest is not None:
        assert found.newest.fingerprint == saved.newest.fingerprint
    assert all((found.settings.get(name) or None) == (value or None) for name, value in saved.settings.items())


@given(histories.filter(bool), st.integers(0, 20))
def test_without_an_existing_secret_all_versions_are_restored_with_their_numbers(before, first):
    saved = with_history(before).secret()
    if saved is None:
        return
    stored = KvSecret()
    for most in (first, 1000):
        for step in plan(saved, stored.secret()).steps[:most]:
            stored.do(step)
    assert list(differences(saved, stored.secret())) == []
    assert plan(saved, saved).status is SecretStatus.EQUAL


def saved_of(*data, **settings):
    stored = KvSecret()
    stored.settings |= settings
    for one in data:
        stored.put(one)
    return stored.secret()


def test_version_numbers_stay_and_deleted_versions_are_placeholders():
    stored = with_history([("put", {"v": 1}), ("put", {"v": 2}), ("put", {"v": 3}), ("deleted", 1), ("destroyed", 2)])
    found = plan(stored.secret(), None)
    assert found.status is SecretStatus.NEW
    assert found.steps == (
        WriteVersion({}, 0),
        WriteVersion({}, 1),
        WriteVersion({"v": 3}, 2),
        DestroyVersions((2,)),
        DeleteVersions((1,)),
    )


def test_a_different_secret_gets_the_saved_value_as_a_new_version():
    saved, other = saved_of({"v": 1}), saved_of({"v": 2}, {"v": 3})
    found = plan(saved, other)
    assert (found.status, found.steps, found.overwrites_newer) == (
        SecretStatus.CHANGED,
        (WriteVersion({"v": 1}, 2),),
        False,
    )
    assert plan(
        saved, replace(other, versions=(*other.versions[:1], version(2, "live", {"v": 3}, "2026-01-01T00:00:00.5Z")))
    ).overwrites_newer
    assert plan(saved, saved_of({"v": 2}, {"v": 1})).status is SecretStatus.EQUAL


@pytest.mark.parametrize(
    ("saved_at", "written_at", "newer"),
    [(".5Z", ".25Z", False), (".25Z", ".5Z", True), (".5Z", ".500000000Z", False), ("Z", ".1Z", True)],
)
def test_times_are_compared_with_the_zeros_that_vault_omits(saved_at, written_at, newer):
    saved, written = (
        replace(saved_of({"v": value}), versions=(version(1, "live", {"v": value}, f"2026-01-01T00:00:00{fraction}"),))
        for value, fraction in ((1, saved_at), (2, written_at))
    )
    assert plan(saved, written).overwrites_newer is newer


def test_a_deleted_newest_version_is_deleted_again():
    saved = with_history([("put", {"v": 1}), ("deleted", 1)]).secret()
    assert plan(saved, saved_of({"v": 5}, {"v": 6})).steps == (DeleteVersions((2,)),)
    assert plan(saved, with_history([("put", {"v": 5}), ("put", {"v": 6}), ("deleted", 2)]).secret()).steps == ()
    bare = with_history([("settle", {"max_versions": 3})]).secret()
    assert plan(bare, saved_of({"v": 5})).steps == (WriteSettings(bare.settings),)
    pruned = replace(saved_of({"v": 5}, {"v": 6}), versions=())
    assert plan(saved, pruned).steps == ()


def test_an_unversioned_secret_is_written_where_it_differs():
    saved = Secret("old/", PATH, 1, 0, {}, (version(0, "live", {"v": 1}),))
    assert plan(saved, None).steps == (WriteVersion({"v": 1}, 0),)
    assert plan(saved, saved).status is SecretStatus.EQUAL
    other = replace(saved, versions=(version(0, "live", {"v": 2}),))
    assert plan(saved, other).overwrites_newer


def test_differences_are_described_without_values():
    saved = saved_of({"v": 1}, {"v": "canary"}, cas_required=True)
    assert list(differences(saved, None)) == ["secret/a: missing"]
    other = replace(saved_of({"v": 1}), settings={"cas_required": False})
    assert list(differences(saved, other)) == [
        "secret/a: its newest version is 1, not 2",
        "secret/a: version 2 differs",
        "secret/a: its cas_required differs",
        "secret/a: its delete_version_after differs",
    ]
    assert all("canary" not in text for text in differences(saved, other))


@pytest.mark.parametrize(
    ("moment", "newer"), [("2025-12-31T23:59:59+00:00", True), ("2026-01-01T00:00:01+00:00", False)]
)
def test_a_secret_written_after_a_moment_is_newer(moment, newer):
    assert is_newer_than(saved_of({"v": 1}), moment) == newer
    assert not is_newer_than(with_history([("settle", {})]).secret(), moment)
