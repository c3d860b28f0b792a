"""What another program changes in an app's directory is found and restored, wherever the agent is killed meanwhile."""

import shutil
import signal
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from lessee.core.immutable import replace
from lessee.protocol.events import AppRecovered, FilesChecked
from lessee.publishing import files_watch
from lessee.publishing.files_watch import FilesWatch
from lessee.publishing.publication_store import PublicationStore
from lessee.publishing.state_store import StateStore
from support.models.generations import (
    IN_FOLDERS,
    NEW,
    OLD,
    app_at,
    assert_one_change,
    assert_tidy,
    contents,
    generation,
    killed_at_every_step,
    shown,
    shown_after_a_kill,
)
from support.programs.sidecar import PATIENCE, eventually

ONE, TWO = generation("one", OLD), generation("two", NEW)


class Life:
    """A publication store with the app `simba`, and how often its files were touched."""

    def __init__(self, folder, **settings):
        self.directory = folder / "app"
        self.state_store = StateStore(folder / "state", allow_disk=False)
        self.store = PublicationStore(self.state_store)
        self.recovered = self.store.open([app_at(self.directory, **settings)])["simba"]
        self.touched = threading.Semaphore(0)

    def publish(self, wanted, **settings):
        return self.store.publish(wanted, **{"notify": True, "probe": False} | settings)

    def check(self, *, notify=True):
        return self.store.check_files("simba", notify=notify, touched=self.touched.release)

    @property
    def live(self):
        return self.directory / (self.directory / "..data").readlink()

    @property
    def record(self):
        return self.state_store.app("simba")


@contextmanager
def life(folder, **settings):
    one = Life(folder, **settings)
    try:
        yield one
    finally:
        one.store.open([])
        one.state_store.close()


def altered(path):
    path.chmod(0o600)
    path.write_text("wrong")
    path.chmod(0o440)


def test_nothing_is_found_in_what_was_published_rolled_back_withdrawn_or_never_published(memory):
    with life(memory) as one:
        assert one.check() == FilesChecked("simba")
        assert one.store.check_files("stranger", notify=True, touched=print) == FilesChecked("stranger")
        for number, wanted in enumerate((ONE, TWO, ONE), start=1):
            one.publish(wanted, probe=True)
            one.store.mark_ready("simba")
            assert one.check() == FilesChecked("simba", number)
        one.publish(TWO, probe=True)
        one.store.roll_back("simba", 3, failed_fingerprint=TWO.fingerprint, notify=True)
        assert [one.check() for _ in range(2)] == [FilesChecked("simba", 3)] * 2
        one.store.withdraw("simba")
        assert one.check() == FilesChecked("simba")


@pytest.mark.parametrize("how", ["rolled back", "restarted"])
def test_files_that_only_the_disk_had_are_restored_as_they_were_when_the_agent_first_looked(memory, how):
    with life(memory) as one:
        one.publish(ONE, probe=True)
        one.store.mark_ready("simba")
        if how == "rolled back":
            one.publish(TWO, probe=True)
            one.store.roll_back("simba", 1, failed_fingerprint=TWO.fingerprint, notify=True)
            one.check()
            altered(one.live / OLD[0])
            found = one.check()
    if how == "restarted":
        with life(memory) as one:
            one.check()
            altered(one.live / OLD[0])
            found = one.check()
    assert found == FilesChecked("simba", 3 if how == "rolled back" else 2, (f"{OLD[0]}: altered",), changed=True)
    assert shown(memory / "app") == (contents(ONE),) * 2


def test_a_generation_that_was_removed_before_the_agent_first_looked_is_not_restored_until_it_is_rendered(memory):
    with life(memory) as one:
        one.publish(ONE)
    with life(memory) as one:
        shutil.rmtree(one.live)
        assert one.check().error.startswith(f"{memory / 'app'}: cannot write: No such file or directory")
        one.publish(ONE)
        assert one.check() == FilesChecked("simba", 2)


def test_a_pending_notification_a_probe_and_a_fallback_stay_pending_for_the_restored_generation(memory):
    with life(memory) as one:
        one.publish(ONE, probe=True)
        one.store.mark_ready("simba")
        one.publish(TWO, probe=True, fallback="env")
        one.live.chmod(0o700)
        found = one.check()
        assert (found.number, found.changed, found.error) == (3, False, None)
    with life(memory) as one:
        wanted = AppRecovered(
            "simba",
            3,
            notification_pending=True,
            readiness_pending=True,
            rollback_to=1,
            fingerprint=TWO.fingerprint,
            fallback="env",
        )
        assert replace(one.recovered, published_at=None, old_generations=()) == wanted
        (one.directory / ".degraded").unlink()
        assert one.check().found == (".degraded: removed or altered",)
        assert (one.directory / ".degraded").exists()


def test_what_was_staged_before_a_repair_is_published_after_it_with_a_higher_number(memory):
    with life(memory) as one:
        one.publish(ONE)
        one.store.stage(TWO)
        altered(one.live / OLD[0])
        assert one.check().number == 3
        assert one.publish(TWO) == (4, True)
        assert shown(one.directory) == (contents(TWO),) * 2
        one.store.prune("simba", [1, 3])
        assert_tidy(one.directory, NEW)


def test_an_owner_that_cannot_be_restored_does_not_keep_the_files_from_being_restored(memory, monkeypatch):
    with life(memory) as one:
        one.publish(ONE)
        one.check()
        (memory / "app").chmod(0o711)
        altered(one.live / OLD[0])

        def refused(*_):
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr("lessee.publishing.publication.os.fchown", refused)
        found = one.check()
        assert (found.number, found.changed) == (2, True)
        assert f"chmod 0750 {memory / 'app'}, or give the agent CAP_CHOWN" in found.error
        assert shown(memory / "app") == (contents(ONE),) * 2
        monkeypatch.undo()
        assert one.check() == FilesChecked("simba", 2, ("the directory: mode 0711 instead of 0750",))
        assert one.check() == FilesChecked("simba", 2)


def test_many_findings_are_named_in_part(memory):
    many = generation("many", [f"file{number}" for number in range(9)])
    with life(memory) as one:
        one.publish(many)
        for name in contents(many):
            (one.live / name).unlink()
        found = one.check()
        assert found.found == (*(f"file{number}: removed" for number in range(5)), "and 4 more")
        assert shown(one.directory) == (contents(many),) * 2


@pytest.mark.parametrize("what", ["empty", "of another app"])
def test_a_directory_that_replaced_the_first_one_gets_the_files_and_keeps_its_mode(memory, what):
    with life(memory) as one:
        one.publish(ONE)
        one.check()
        (memory / "app").rename(memory / "before")
        (memory / "app").mkdir(mode=0o711)
        if what == "of another app":
            (memory / "app/theirs").write_text("theirs")
        assert one.check() == FilesChecked("simba", 2, ("the directory: replaced",), changed=True)
        assert one.check() == FilesChecked("simba", 2)
        assert (memory / "app").stat().st_mode & 0o777 == 0o711
        found = shown(memory / "app")[0]
        assert {name: found[name] for name in OLD} == contents(ONE)
        assert one.publish(TWO) == (3, True)
        one.store.prune("simba", [2])
        assert [path.name for path in (memory / "app").glob("..lessee-*")] == [one.live.name]
        assert shown(memory / "before")[0] == contents(ONE)


def test_a_directory_with_generations_is_not_taken_for_the_app_s_own(memory):
    """The owner of the parent may have exchanged the directories of two apps."""
    with life(memory) as one:
        one.publish(ONE)
        one.check()
        (memory / "app").rename(memory / "before")
        shutil.copytree(memory / "before", memory / "app", symlinks=True)
        altered(one.live / OLD[0])
        before = shown(memory / "app")
        found = one.check()
        assert found.is_lost
        assert "another directory that holds generations, perhaps of another app, is in its place" in found.error
        assert shown(memory / "app") == before


def test_only_the_app_s_own_files_of_a_bounded_size_are_read_from_the_disk(memory):
    """An app that owns its directory may add files while no agent runs, or before a rollback."""
    with life(memory) as one:
        one.publish(ONE)
        (one.live / "planted").write_bytes(b"planted")
    with life(memory) as one:
        assert one.check() == FilesChecked("simba", 1)
    with life(memory) as one:
        with (one.live / OLD[0]).open("r+b") as file:
            file.truncate(65 << 20)
        assert "its files have more than 64 MiB" in one.check().error


def test_files_that_another_program_removed_while_no_agent_ran_are_missing_and_withdrawn_ones_are_not(memory):
    with life(memory) as one:
        assert not one.recovered.is_missing
        one.publish(ONE)
    with life(memory) as one:
        assert not one.recovered.is_missing
    shutil.rmtree(memory / "app")
    with life(memory) as one:
        assert one.recovered.is_missing
        one.publish(ONE)
        one.store.withdraw("simba")
    with life(memory) as one:
        assert not one.recovered.is_missing


def test_a_directory_that_others_may_write_to_is_not_used_in_the_place_of_the_first_one(memory):
    with life(memory) as one:
        one.publish(ONE)
        shutil.rmtree(memory / "app")
        (memory / "app").mkdir()
        (memory / "app").chmod(0o777)
        found = one.check()
        assert (found.number, found.is_lost) == (1, True)
        assert found.error.startswith(f"{memory / 'app'}: every user may write into this directory; chmod o-w ")
        (memory / "app").chmod(0o755)
        assert one.check().number == 2


RESTORE = """
import shutil
from support.models.generations import NEW, OLD, app_at, generation
from lessee.publishing.state_store import StateStore
from lessee.publishing.publication_store import PublicationStore

app_at("/")  # read once

def check(store):
    return store.check_files("simba", notify=True, touched=lambda: None)

def begin(folder):
    store = PublicationStore(StateStore(folder / "state", allow_disk=False))
    store.open([app_at(folder / "app")])
    check(store)
    live = folder / "app" / (folder / "app" / "..data").readlink()
    %s
    return store

act = check
"""
DAMAGES = {
    "file": '(live / OLD[0]).unlink(); (live / OLD[0]).write_text("wrong")',
    "generation": "shutil.rmtree(live)",
    "links": '[(folder / "app" / name).unlink() for name in (OLD[0], "..data")]',
    "directory": 'shutil.rmtree(folder / "app")',
}


@pytest.mark.thorough
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_repair_killed_at_any_step_happens_or_not_and_the_notification_is_pending(memory, damage):
    def prepare(folder):
        folder.mkdir()
        with life(folder) as one:
            one.publish(ONE)
            one.store.mark_notified("simba")

    codes, restored = [], []
    script = RESTORE % DAMAGES[damage]
    for code, folder in killed_at_every_step(script, memory, prepare, at_least=30, of=2, key=damage):
        seen = shown_after_a_kill(folder / "app") if (folder / "app").exists() else None
        restored.append(seen == (contents(ONE),) * 2)
        with life(folder) as one:
            # Whatever was left, the next rendering is whole; and readers may have read something else.
            assert one.recovered.notification_pending or not restored[-1], folder
            number, changed = one.publish(ONE)
            assert one.recovered.notification_pending or changed, folder
            assert one.check() == FilesChecked("simba", number)
            assert shown(folder / "app") == (contents(ONE),) * 2
            one.store.prune("simba", [each for each in (1, 2, 3) if each != number])
            assert_tidy(folder / "app", OLD)
        codes.append(code)
    assert codes[-1] == 0
    assert set(codes[:-1]) == {-signal.SIGKILL}
    assert_one_change(restored)


# -- inotify -------------------------------------------------------------------------------------------------


def is_touched(one):
    return one.touched.acquire(timeout=60)


def drain(one):
    """Until the events of a publication are over."""
    while one.touched.acquire(timeout=5 * files_watch.GATHERING_TIME):
        pass


def test_each_app_is_notified_of_its_own_directory_until_it_is_removed_from_the_configuration(memory):
    with life(memory) as one:
        other = app_at(memory / "other")
        other = replace(other, name="other")
        one.store.open([app_at(memory / "app"), other])
        one.publish(ONE)
        one.store.publish(replace(ONE, app="other"), notify=False, probe=False)
        other_touched = threading.Semaphore(0)
        one.check()
        one.store.check_files("other", notify=False, touched=other_touched.release)
        drain(one)
        altered(memory / "other" / "..data" / OLD[0])
        assert other_touched.acquire(timeout=60)
        assert not one.touched.acquire(blocking=False)
        # The parent of both directories is watched for both.
        shutil.rmtree(memory / "app")
        assert is_touched(one)
        one.store.open([other])
        while other_touched.acquire(blocking=False):
            pass
        shutil.rmtree(memory / "other")
        assert other_touched.acquire(timeout=60)
        assert one.touched.acquire(blocking=False) in {True, False}


def test_what_an_app_writes_next_to_its_files_wakes_nothing(memory):
    with life(memory) as one:
        one.publish(ONE)
        one.check()
        drain(one)
        for number in range(10):
            (one.directory / "app.log").write_text(str(number))
            (one.directory / f"other{number}").touch()
        assert not one.touched.acquire(timeout=5 * files_watch.GATHERING_TIME)
        (one.directory / OLD[0]).unlink()
        assert is_touched(one)


def test_an_app_that_floods_the_kernel_s_queue_has_all_apps_compared_now_and_then_and_not_all_the_time(
    memory, monkeypatch
):
    with life(memory) as one:
        one.publish(ONE)
        one.check()
        drain(one)
        watch = one.store._guard._watch
        # A real overflow takes 16,384 events in 0.1 s.
        overflow = [(-1, 0x4000, b"")]
        assert [len(watch._take(Events(overflow))) for _ in range(3)] == [1, 0, 0]
        monkeypatch.setattr(files_watch, "OVERFLOW_INTERVAL", 0.0)
        # What was dropped meanwhile is reported later, also without a further event.
        assert [len(watch._take(Events([]))) for _ in range(2)] == [1, 0]


class Events:
    """An inotify instance with these events."""

    def __init__(self, events):
        self.events = events

    def read_numbered(self):
        if not self.events:
            raise BlockingIOError
        return iter(self.events)


def test_without_inotify_files_are_restored_when_they_are_compared(memory, monkeypatch):
    def refused():
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(files_watch, "Inotify", refused)
    with life(memory) as one:
        one.publish(ONE)
        altered(one.live / OLD[0])
        assert one.check().found == (f"{OLD[0]}: altered",)
        one.store.open([])
    assert shown(memory / "app") == (contents(ONE),) * 2


def test_a_watch_that_the_kernel_refuses_leaves_the_others(memory, monkeypatch):
    with life(memory) as one:
        one.publish(ONE)
        watch = FilesWatch()
        refuse, add = [True], watch._inotify.watch

        def limited(path, mask):
            if refuse.pop() if refuse else False:
                raise OSError(28, "No space left on device")
            return add(path, mask)

        monkeypatch.setattr(watch._inotify, "watch", limited)
        directory = one.store._directories["simba"]
        watch.follow("simba", directory.publisher, directory.visible, one.touched.release)
        altered(one.live / OLD[0])
        assert is_touched(one)
        watch.forget("simba")
        watch.forget("simba")
        watch.close()


def test_the_thread_of_a_store_keeps_no_descriptor_of_a_closed_directory(memory):
    with life(memory) as one:
        count = len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(3):
            one.publish(ONE)
            one.check()
            shutil.rmtree(memory / "app")
            one.check()
        eventually(lambda: len(list(Path("/proc/self/fd").iterdir())) <= count + 1, "closed descriptors")


FOLDERS = generation("folders", IN_FOLDERS)


def replaced_by_directory(path):
    path.unlink()
    path.mkdir()


def replaced_by_link(path):
    other = path.with_name("elsewhere")
    path.rename(other)
    path.symlink_to(other.name)


@pytest.mark.parametrize(
    ("touch", "found"),
    [
        (lambda one: (one.live / "tls/server.pem").unlink(), "tls/server.pem: removed"),
        (lambda one: shutil.rmtree(one.live / "tls/private"), "tls/private: removed"),
        (lambda one: (one.live / "tls").chmod(0o700), "tls: mode 0700"),
        (lambda one: altered(one.live / "tls/private/key.pem"), "tls/private/key.pem: altered"),
        (lambda one: replaced_by_link(one.live / "tls"), "tls: replaced"),
        (lambda one: (one.directory / "tls").unlink(), "tls: removed"),
        (lambda one: replaced_by_directory(one.directory / "tls"), "tls: replaced"),
    ],
    ids=["file", "folder", "mode", "content", "folder's link", "link removed", "link replaced"],
)
def test_what_is_in_folders_is_watched_and_restored(memory, touch, found):
    with life(memory) as one:
        one.publish(FOLDERS)
        one.check()
        touch(one)
        assert one.touched.acquire(timeout=PATIENCE)
        restored = one.check()
        assert restored.error is None
        assert found in restored.found[0]
        assert one.check().found == ()
        read = {name: (one.directory / name).read_bytes() for name in contents(FOLDERS)}
        assert read == contents(FOLDERS)
