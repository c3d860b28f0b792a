"""What an agent published where no app uses it is found again, and nothing else is ever removed."""

import os
from contextlib import closing, contextmanager

import pytest

from lessee.publishing.leftovers import find_leftovers, remove_leftovers
from lessee.publishing.publication_store import PublicationStore
from lessee.publishing.state_store import StateStore
from support.models.generations import OLD, app_at, generation

ONE = generation("one", OLD)


def publish(folder, directory, *, state="state"):
    """A generation of an agent with this state directory."""
    with closing(StateStore(folder / state, allow_disk=False)) as state_store:
        store = PublicationStore(state_store)
        store.open([app_at(directory)])
        store.publish(ONE, notify=False, probe=False)
        store.open([])
    return {path: path.lstat().st_ino for path in directory.rglob("*")}


@contextmanager
def agent(folder, state="state"):
    with closing(StateStore(folder / state, allow_disk=False)) as state_store:
        yield state_store


def removal(folder, *apps):
    """Remove what no app uses; return what is said of what stays."""
    with agent(folder) as state_store:
        found = list(find_leftovers(state_store, {app.name: app for app in apps}))
        return found, [str(error) for error in remove_leftovers(found, state_store)]


def test_only_a_directory_that_no_app_uses_is_found(memory):
    publish(memory, memory / "old")
    publish(memory, memory / "app")
    (memory / "link").symlink_to("old")
    with agent(memory) as state_store:
        assert [leftover.directory for leftover in find_leftovers(state_store, {"simba": app_at(memory / "app")})] == [
            memory / "old"
        ]
        assert not [*find_leftovers(state_store, {"a": app_at(memory / "app"), "b": app_at(memory / "link")})]
        assert not [*find_leftovers(state_store, {"other": app_at(memory / "x")}, refused={"simba"})]


def test_what_lessee_did_not_write_stays(memory):
    publish(memory, memory / "old")
    (memory / "old" / "theirs").write_text("theirs")
    (memory / "old" / "link").symlink_to("theirs")
    found, problems = removal(memory, app_at(memory / "app"))
    assert (len(found), problems) == (1, [])
    assert sorted(path.name for path in (memory / "old").iterdir()) == ["link", "theirs"]
    assert removal(memory, app_at(memory / "app")) == ([], [])


def test_a_directory_that_was_removed_is_forgotten(memory):
    publish(memory, memory / "old")
    (memory / "old").rename(memory / "moved")
    assert removal(memory, app_at(memory / "app")) == ([], [])
    with agent(memory) as state_store:
        assert state_store.directories() == {}
    assert (memory / "moved" / "..data").is_symlink()


def other_agent(memory):
    publish(memory, memory / "victim", state="other")


def kubernetes(memory):
    (memory / "victim" / "..2026_11_30").mkdir(parents=True)
    (memory / "victim" / "..data").symlink_to("..2026_11_30")


def linked(memory):
    publish(memory, memory / "target", state="other")
    (memory / "victim").symlink_to("target")


def forged(memory):
    (memory / "victim" / "..lessee-1-0badcafe0123456789abcdef").mkdir(parents=True)
    (memory / "victim" / "..data").symlink_to("..lessee-1-0badcafe0123456789abcdef")


def unsigned(memory):
    (memory / "victim" / "..lessee-1-0badcafe").mkdir(parents=True)
    (memory / "victim" / "..data").symlink_to("..lessee-1-0badcafe")


def led_outside(memory):
    (memory / "victim").mkdir()
    (memory / "victim" / "..data").symlink_to("../outside")


@pytest.mark.parametrize("planted", [other_agent, kubernetes, linked, forged, unsigned, led_outside])
@pytest.mark.parametrize("spelling", ["victim", "state/../victim"])
def test_a_record_of_a_directory_that_this_agent_did_not_publish_removes_nothing(memory, planted, spelling):
    publish(memory, memory / "app")
    planted(memory)
    with agent(memory) as state_store:
        state_store.store_directory(f"{memory}/{spelling}", "simba")
    before = {path: os.lstat(path).st_ino for path in memory.rglob("*") if "state" not in str(path)}
    found, problems = removal(memory, app_at(memory / "app"))
    assert (len(found), len(problems)) == (1, 1)
    assert {path: os.lstat(path).st_ino for path in memory.rglob("*") if "state" not in str(path)} == before


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to act as another user")
def test_another_user_s_link_leads_the_removal_nowhere(memory):
    publish(memory, memory / "old")
    (memory / "old").rename(memory / "elsewhere")
    (memory / "old").symlink_to("elsewhere")
    os.lchown(memory / "old", 12345, 12345)
    found, problems = removal(memory, app_at(memory / "app"))
    assert len(found) == len(problems) == 1
    assert "symbolic link that uid 12345 made" in problems[0]
    assert (memory / "elsewhere" / "..data").is_symlink()


def test_a_record_under_a_wrong_name_is_not_believed(memory):
    publish(memory, memory / "old")
    [record] = (memory / "state").glob("directory-*")
    record.rename(record.with_name("directory-0badcafe"))
    assert removal(memory, app_at(memory / "app")) == ([], [])
    assert (memory / "old" / "..data").is_symlink()


def test_without_the_key_of_the_state_directory_nothing_is_removed(memory):
    publish(memory, memory / "old")
    (memory / "state" / "key").write_bytes(b"short")
    found, problems = removal(memory, app_at(memory / "app"))
    assert len(found) == 1
    assert "another agent published these files" in problems[0]


def test_a_directory_that_another_agent_holds_stays(memory):
    publish(memory, memory / "old")
    with agent(memory, "other") as state_store:
        store = PublicationStore(state_store)
        store.open([app_at(memory / "old")])
        _, problems = removal(memory, app_at(memory / "app"))
        assert "another lessee uses this directory" in problems[0]
        store.open([])
    assert removal(memory, app_at(memory / "app"))[1] == []
    assert not (memory / "old").exists()
