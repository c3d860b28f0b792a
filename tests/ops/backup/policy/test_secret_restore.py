"""A secret comes back as it was saved, from whatever is there, however often it is begun anew."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.core.immutable import replace
from lessee.ops.backup.policy.comparison import differences, is_newer_than
from lessee.ops.backup.policy.records import Secret, Version, fingerprint
from lessee.ops.backup.policy.secret_restore import (
    SecretStatus,
    DeleteVersions,
    DestroyVersions,
    WriteVersion,
    WriteSettings,
    plan,
)

KEY, MOUNT, PATH = b"k" * 32, "secret/", "a"
DEFAULTS = {"max_versions": 0, "cas_required": False, "delete_version_after": "0s"}
WRITTEN = "2026-01-01T00:00:00Z"


class Kept:
    """What KV version 2 keeps of one secret, by the rules of its documentation."""

    def __init__(self):
        self.current, self.versions, self.settings = 0, {}, dict(DEFAULTS)
        self.there = False

    def put(self, data, cas=None):
        assert cas in {None, self.current}
        self.there = True
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
                self.there = True
                self.settings |= settings
            case WriteVersion(data=data, cas=cas):
                self.put(data, cas)
            case DeleteVersions(versions=versions):
                self.mark(versions, "deleted")
            case DestroyVersions(versions=versions):
                self.mark(versions, "destroyed")

    def secret(self, created=WRITTEN):
        if not self.there:
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


def lived(history):
    kept = Kept()
    for action, detail in history:
        match action:
            case "put":
                kept.put(detail)
            case "settle":
                kept.do(WriteSettings(detail))
            case _:
                kept.mark([detail], action)
    return kept


histories = st.lists(actions, max_size=16)


@given(histories.filter(bool), histories, st.integers(0, 20), st.integers(0, 20))
def test_begun_anew_wherever_it_was_interrupted_it_comes_to_the_same_end(before, since, first, second):
    saved = lived(before).secret()
    if saved is None:
        return
    kept = lived(since)
    for most in (first, second, 1000):
        for step in plan(saved, kept.secret()).steps[:most]:
            kept.do(step)
    assert plan(saved, kept.secret()).steps == ()
    found = kept.secret()
    if saved.newest is not None:
        assert found.newest.fingerprint == saved.newest.fingerprint
    assert all((found.settings.get(name) or None) == (value or None) for name, value in saved.settings.items())


@given(histories.filter(bool), st.integers(0, 20))
def test_where_nothing_is_in_the_way_all_versions_come_back_with_their_numbers(before, first):
    saved = lived(before).secret()
    if saved is None:
        return
    kept = Kept()
    for most in (first, 1000):
        for step in plan(saved, kept.secret()).steps[:most]:
            kept.do(step)
    assert list(differences(saved, kept.secret())) == []
    assert plan(saved, saved).course is SecretStatus.EQUAL


def saved_of(*data, **settings):
    kept = Kept()
    kept.settings |= settings
    for one in data:
        kept.put(one)
    return kept.secret()


def test_numbers_stay_and_deleted_versions_are_placeholders():
    kept = lived([("put", {"v": 1}), ("put", {"v": 2}), ("put", {"v": 3}), ("deleted", 1), ("destroyed", 2)])
    found = plan(kept.secret(), None)
    assert found.course is SecretStatus.NEW
    assert found.steps == (
        WriteVersion({}, 0),
        WriteVersion({}, 1),
        WriteVersion({"v": 3}, 2),
        DestroyVersions((2,)),
        DeleteVersions((1,)),
    )


def test_what_is_there_and_differs_gets_the_saved_value_on_top():
    saved, other = saved_of({"v": 1}), saved_of({"v": 2}, {"v": 3})
    found = plan(saved, other)
    assert (found.course, found.steps, found.overwrites_newer) == (
        SecretStatus.CHANGED,
        (WriteVersion({"v": 1}, 2),),
        False,
    )
    assert plan(
        saved, replace(other, versions=(*other.versions[:1], version(2, "live", {"v": 3}, "2026-01-01T00:00:00.5Z")))
    ).overwrites_newer
    assert plan(saved, saved_of({"v": 2}, {"v": 1})).course is SecretStatus.EQUAL


def test_what_was_deleted_last_is_deleted_again():
    saved = lived([("put", {"v": 1}), ("deleted", 1)]).secret()
    assert plan(saved, saved_of({"v": 5}, {"v": 6})).steps == (DeleteVersions((2,)),)
    assert plan(saved, lived([("put", {"v": 5}), ("put", {"v": 6}), ("deleted", 2)]).secret()).steps == ()
    bare = lived([("settle", {"max_versions": 3})]).secret()
    assert plan(bare, saved_of({"v": 5})).steps == (WriteSettings(bare.settings),)
    pruned = replace(saved_of({"v": 5}, {"v": 6}), versions=())
    assert plan(saved, pruned).steps == ()


def test_without_versions_a_value_is_written_where_it_differs():
    saved = Secret("old/", PATH, 1, 0, {}, (version(0, "live", {"v": 1}),))
    assert plan(saved, None).steps == (WriteVersion({"v": 1}, 0),)
    assert plan(saved, saved).course is SecretStatus.EQUAL
    other = replace(saved, versions=(version(0, "live", {"v": 2}),))
    assert plan(saved, other).overwrites_newer


def test_comparing_names_what_differs_and_no_value():
    saved = saved_of({"v": 1}, {"v": "canary"}, cas_required=True)
    assert list(differences(saved, None)) == ["secret/a: it is not there"]
    other = replace(saved_of({"v": 1}), settings={"cas_required": False})
    assert list(differences(saved, other)) == [
        "secret/a: its newest version is 1, not 2",
        "secret/a: version 2 differs",
        "secret/a: its cas_required differs",
        "secret/a: its delete_version_after differs",
    ]
    assert all("canary" not in text for text in differences(saved, other))


@pytest.mark.parametrize(
    ("moment", "younger"), [("2025-12-31T23:59:59+00:00", True), ("2026-01-01T00:00:01+00:00", False)]
)
def test_what_was_written_after_a_moment_is_younger(moment, younger):
    assert is_newer_than(saved_of({"v": 1}), moment) == younger
    assert not is_newer_than(lived([("settle", {})]).secret(), moment)
