"""Publications, pending notifications and rejected generations survive the agent."""

import shutil
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from json import loads
from pathlib import Path

import msgspec
import pytest

from lessee.core.errors import WriteError
from lessee.core.immutable import replace
from lessee.host.clock import boot_time
from lessee.protocol.events import AppRecovered
from lessee.publishing.publication_record import before_rollback
from lessee.publishing.publication_store import PublicationStore
from lessee.publishing.state_store import StateStore
from support.models.generations import (
    CANARY,
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

ONE, TWO, THREE = generation("one", OLD), generation("two", NEW), generation("three", OLD)


@contextmanager
def life(folder, *apps):
    """The life of an agent: its publication store, and what it recovered of the app."""
    state_store = StateStore(folder / "state", allow_disk=False)
    store = PublicationStore(state_store)
    try:
        recovered = store.open(apps or [app_at(folder / "app")])
        yield store, recovered.get("simba")
    finally:
        store.open([])
        state_store.close()


def live_folder(folder):
    return folder / "app" / (folder / "app" / "..data").readlink()


def publish_new(store, wanted, *, notified=False, ready=False):
    number, changed = store.publish(wanted, notify=True, probe=True)
    assert changed
    if notified:
        store.mark_notified("simba")
    if ready:
        store.mark_ready("simba")
    return number


# -- staged, checked, published ----------------------------------------------------------------------------------


def test_readers_see_the_files_that_the_check_read(memory):
    with life(memory) as (store, _):
        publish_new(store, ONE)
        staged = store.stage(TWO)
        assert {path.name: path.read_bytes() for path in staged.iterdir()} == contents(TWO)
        assert shown(memory / "app") == (contents(ONE),) * 2
        assert store.publish(TWO, notify=True, probe=False) == (2, True)
        assert live_folder(memory) == staged
        assert shown(memory / "app") == (contents(TWO),) * 2


def test_superseded_staged_files_are_removed(memory):
    with life(memory) as (store, _):
        publish_new(store, ONE)
        first, second = store.stage(TWO), store.stage(THREE)
        assert (first.exists(), second.exists()) == (False, True)
        store.publish(generation("four"), notify=False, probe=False)
        assert not second.exists()
        refused = store.stage(TWO)
        for _ in range(2):  # idempotent
            store.discard("simba")
        assert not refused.exists()
        store.discard("stranger")
        store.prune("simba", [1])
        assert_tidy(memory / "app", OLD)


def test_staged_files_of_a_removed_app_are_removed(memory):
    with life(memory) as (store, _):
        publish_new(store, ONE)
        staged = store.stage(TWO)
        assert store.open([]) == {}
        assert not staged.exists()
        assert_tidy(memory / "app", OLD)


def test_an_equal_generation_is_neither_published_nor_recorded_again(memory):
    with life(memory) as (store, _):
        publish_new(store, ONE, notified=True, ready=True)
        assert store.stage(ONE) is None
        assert store.publish(ONE, notify=True, probe=True) == (1, False)
        assert_tidy(memory / "app", OLD)
    with life(memory) as (_, found):
        assert (found.number, found.notification_pending, found.readiness_pending) == (1, False, False)


def test_a_changed_environment_is_another_generation_and_is_never_stored(memory):
    a, b = (replace(ONE, environ=(("PASSWORD", f"{CANARY} in the environment {tag}"),)) for tag in "ab")
    with life(memory) as (store, _):
        publish_new(store, a)
        assert store.publish(a, notify=True, probe=True) == (1, False)
        assert store.stage(b) is not None
        assert store.publish(b, notify=True, probe=True) == (2, True)
    with life(memory) as (store, _):
        assert store.publish(b, notify=True, probe=True) == (2, False)
    written = b"".join(path.read_bytes() for path in memory.rglob("*") if path.is_file())
    assert CANARY.encode() in written
    assert b"in the environment" not in written


def test_without_a_record_nothing_is_published_and_nothing_is_left(memory):
    with life(memory) as (store, _):
        publish_new(store, ONE)
        (memory / "state").rename(memory / "elsewhere")
        shutil.copytree(memory / "elsewhere", memory / "state")
        shutil.rmtree(memory / "elsewhere")
        with pytest.raises(WriteError, match="state"):
            store.publish(TWO, notify=True, probe=False)
        assert_tidy(memory / "app", OLD)
        assert store.read("simba") == contents(ONE)


# -- the next agent -------------------------------------------------------------------------------------------


def test_the_next_agent_recovers_what_is_published_and_since_when(memory):
    before = boot_time()
    with life(memory) as (store, found):
        assert found == AppRecovered("simba", None, notification_pending=False)
        publish_new(store, ONE, notified=True, ready=True)
        publish_new(store, TWO)
    after = boot_time()
    with life(memory) as (_, found):
        assert before < found.published_at < after
        wanted = AppRecovered(
            "simba", 2, notification_pending=True, readiness_pending=True, rollback_to=1, fingerprint=TWO.fingerprint
        )
        assert replace(found, published_at=None, old_generations=()) == wanted
    assert_tidy(memory / "app", NEW, kept=[1])


def test_the_next_agent_recovers_that_the_app_was_notified_and_ready(memory):
    with life(memory) as (store, _):
        publish_new(store, ONE, notified=True, ready=True)
        publish_new(store, TWO, notified=True, ready=True)
    with life(memory) as (_, found):
        assert replace(found, published_at=None, old_generations=()) == AppRecovered(
            "simba", 2, notification_pending=False, fingerprint=TWO.fingerprint
        )


def test_there_is_no_rollback_to_a_generation_that_was_never_ready(memory):
    with life(memory) as (store, _):
        publish_new(store, ONE, ready=True)
        publish_new(store, TWO)
        publish_new(store, THREE)
    with life(memory) as (_, found):
        assert (found.number, found.readiness_pending, found.rollback_to) == (3, True, 1)


def test_the_generation_to_roll_back_to_is_not_pruned(memory):
    with life(memory) as (store, _):
        publish_new(store, ONE, ready=True)
        publish_new(store, TWO)
        publish_new(store, THREE)
        store.prune("simba", range(100))
        assert_tidy(memory / "app", OLD, kept=[1])
        store.mark_ready("simba")
        store.prune("simba", [1])
        assert_tidy(memory / "app", OLD)


def test_a_reload_with_the_same_settings_reopens_and_removes_nothing(memory):
    with life(memory) as (store, _):
        publish_new(store, ONE)
        staged = store.stage(TWO)
        assert store.open([app_at(memory / "app", refresh_interval=5.0)]) == {}
        assert staged.exists()
        found = store.open([app_at(memory / "app", mode=0o444)])
        assert (found["simba"].number, found["simba"].notification_pending) == (1, True)
        assert not staged.exists()
        assert store.publish(TWO, notify=True, probe=True) == (2, True)


def test_if_one_directory_cannot_be_opened_the_open_ones_stay_and_no_other_is_opened(memory):
    (memory / "other").mkdir(mode=0o700)
    (memory / "other").chmod(0o777)
    with life(memory) as (store, _):
        publish_new(store, ONE)
        before = len(list(Path("/proc/self/fd").iterdir()))
        with pytest.raises(WriteError, match="every user may write"):
            store.open([app_at(memory / "new"), app_at(memory / "other", name="other")])
        assert len(list(Path("/proc/self/fd").iterdir())) == before
        assert store.read("simba") == contents(ONE)


def test_a_withdrawn_app_leaves_no_record(memory):
    with life(memory) as (store, _):
        publish_new(store, ONE, ready=True)
        publish_new(store, TWO)
        store.roll_back("simba", 1, failed_fingerprint=TWO.fingerprint, notify=True)
        store.withdraw("simba")
        assert list((memory / "app").iterdir()) == []
    with life(memory) as (store, found):
        assert found == AppRecovered("simba", None, notification_pending=False)
        assert publish_new(store, TWO) == 1


# -- rolled back ----------------------------------------------------------------------------------------------


def test_after_a_rollback_notification_and_readiness_are_pending_and_the_rejected_generation_is_remembered(memory):
    with life(memory) as (store, _):
        publish_new(store, ONE, notified=True, ready=True)
        publish_new(store, TWO, notified=True)
        store.roll_back("simba", 1, failed_fingerprint=TWO.fingerprint, notify=True)
        assert live_folder(memory).name.startswith("..lessee-1-")
        assert shown(memory / "app") == (contents(ONE),) * 2
    wanted = AppRecovered(
        "simba", 1, notification_pending=True, readiness_pending=True, failed_fingerprint=TWO.fingerprint
    )
    with life(memory) as (store, found):
        assert replace(found, published_at=None, old_generations=()) == wanted
        assert found.published_at <= boot_time()
        store.mark_notified("simba")
        store.mark_ready("simba")
    with life(memory) as (store, found):
        assert replace(found, published_at=None, old_generations=()) == replace(
            wanted, notification_pending=False, readiness_pending=False
        )
        store.allow_retry("simba")
    with life(memory) as (_, found):
        assert replace(found, published_at=None, old_generations=()) == replace(
            wanted, notification_pending=False, readiness_pending=False, failed_fingerprint=None
        )


def test_a_generation_that_was_rolled_back_to_is_the_next_rollback_target(memory):
    with life(memory) as (store, _):
        publish_new(store, ONE, ready=True)
        publish_new(store, TWO)
        store.roll_back("simba", 1, failed_fingerprint=TWO.fingerprint, notify=True)
        assert publish_new(store, THREE) == 3
    with life(memory) as (_, found):
        assert (found.number, found.readiness_pending, found.rollback_to, found.failed_fingerprint) == (
            3,
            True,
            1,
            None,
        )


def test_the_rejected_generation_is_forgotten_when_the_live_one_is_rendered_again(memory):
    with life(memory) as (store, _):
        publish_new(store, ONE, ready=True)
        publish_new(store, TWO)
        store.roll_back("simba", 1, failed_fingerprint=TWO.fingerprint, notify=True)
        assert store.publish(ONE, notify=True, probe=True) == (1, False)
    with life(memory) as (_, found):
        assert (found.failed_fingerprint, found.notification_pending, found.readiness_pending) == (None, True, True)


def test_a_failed_rollback_is_finished_by_the_next_agent_and_the_notification_stays_pending(memory):
    with life(memory) as (store, _):
        publish_new(store, ONE, notified=True, ready=True)
        publish_new(store, TWO)
        (memory / "app" / "gone.txt").mkdir()
        with pytest.raises(WriteError, match="is a directory"):
            store.roll_back("simba", 1, failed_fingerprint=TWO.fingerprint, notify=True)
        assert store.read("simba") == contents(TWO)
        store.mark_notified("simba")
    (memory / "app" / "gone.txt").rmdir()
    with life(memory) as (_, found):
        assert (found.number, found.notification_pending, found.readiness_pending, found.failed_fingerprint) == (
            1,
            True,
            True,
            TWO.fingerprint,
        )
    assert_tidy(memory / "app", OLD)


def test_there_is_no_rollback_to_a_removed_generation_and_the_agent_still_starts(memory):
    with life(memory) as (store, _):
        publish_new(store, ONE, ready=True)
        first = live_folder(memory)
        publish_new(store, TWO)
        shutil.rmtree(first)
        with pytest.raises(WriteError, match="generation 1 no longer exists"):
            store.roll_back("simba", 1, failed_fingerprint=TWO.fingerprint, notify=True)
        assert store.read("simba") == contents(TWO)
    with life(memory) as (_, found):
        assert (found.number, found.rollback_to, found.readiness_pending, found.failed_fingerprint) == (
            2,
            None,
            True,
            TWO.fingerprint,
        )


# -- killed at any point -------------------------------------------------------------------------------------

BEGIN = """
from support.models.generations import NEW, OLD, app_at, generation
from lessee.publishing.state_store import StateStore
from lessee.publishing.publication_store import PublicationStore

app_at("/")  # read once

def begin(folder):
    store = PublicationStore(StateStore(folder / "state", allow_disk=False))
    store.open([app_at(folder / "app")])
    return store
"""
ROLLBACK = f"""{BEGIN}
def act(store):
    store.roll_back("simba", 1, failed_fingerprint=generation("two", NEW).fingerprint, notify=True)
"""
NEXT = f"""{BEGIN}
def act(store):
    store.publish(generation("three", OLD), notify=True, probe=True)
"""
RECOVER = f"""{BEGIN}
def begin(folder):
    return folder

def act(folder):
    PublicationStore(StateStore(folder / "state", allow_disk=False)).open([app_at(folder / "app")])
"""


def prepare(folder, *, notified):
    """Two generations: the first one was ready, the second one is not yet."""
    folder.mkdir()
    with life(folder) as (store, _):
        publish_new(store, ONE, notified=True, ready=True)
        publish_new(store, TWO, notified=notified)


def prepare_ready(folder):
    folder.mkdir()
    with life(folder) as (store, _):
        publish_new(store, ONE, notified=True, ready=True)


def assert_goes_on(folder, names, kept):
    """Everything exists, and the next generation gets an unused number."""
    assert_tidy(folder / "app", names, kept=kept)
    with life(folder) as (store, found):
        last = generation("last", NEW)
        assert publish_new(store, last) > max([found.number, *kept])
        assert shown(folder / "app") == (contents(last),) * 2


def prepare_rollback(folder):
    """Killed after the record was written, and before the rollback."""
    prepare(folder, notified=True)
    with closing(StateStore(folder / "state", allow_disk=False)) as state_store:
        record = state_store.app("simba")
        state_store.store_app("simba", before_rollback(record, 2, 1, rejected=TWO.fingerprint, notify=True))


@pytest.mark.parametrize("notified", [True, False], ids=["notified", "pending"])
def test_a_rollback_killed_at_any_step_happens_or_not_and_the_record_is_right(memory, notified):
    codes, rolled_back, seen = [], [], set()
    killed = killed_at_every_step(ROLLBACK, memory, lambda folder: prepare(folder, notified=notified), at_least=100)
    for code, folder in killed:
        found, held = shown_after_a_kill(folder / "app")
        assert held in (contents(ONE), contents(TWO)), folder
        assert all(found[name] == held[name] for name in held if name in set(OLD) & set(NEW)), folder
        with life(folder) as (store, recovered):
            rolled_back.append(recovered.number == 1)
            if rolled_back[-1]:
                wanted = AppRecovered(
                    "simba", 1, notification_pending=True, readiness_pending=True, failed_fingerprint=TWO.fingerprint
                )
            else:
                wanted = AppRecovered(
                    "simba",
                    2,
                    notification_pending=not notified,
                    readiness_pending=True,
                    rollback_to=1,
                    fingerprint=TWO.fingerprint,
                )
            assert replace(recovered, published_at=None, old_generations=()) == wanted, folder
            assert store.read("simba") == contents(ONE if rolled_back[-1] else TWO)
        seen.add((held == contents(ONE), rolled_back[-1]))
        assert_goes_on(folder, *((OLD, []) if rolled_back[-1] else (NEW, [1])))
        codes.append(code)
    assert codes[-1] == 0
    # Some kills came between the record and the rollback, which the next start finished.
    assert seen == {(False, False), (False, True), (True, True)}
    assert_one_change(rolled_back)


def test_a_rollback_killed_at_any_step_of_its_recovery_is_finished_the_next_time(memory):
    codes, rolled_back = [], []
    for code, folder in killed_at_every_step(RECOVER, memory, prepare_rollback):
        rolled_back.append(shown_after_a_kill(folder / "app")[1] == contents(ONE))
        with life(folder) as (store, recovered):
            wanted = AppRecovered(
                "simba", 1, notification_pending=True, readiness_pending=True, failed_fingerprint=TWO.fingerprint
            )
            assert replace(recovered, published_at=None, old_generations=()) == wanted, folder
            assert store.read("simba") == contents(ONE)
        assert_tidy(folder / "app", OLD)
        codes.append(code)
    assert codes[-1] == 0
    assert_one_change(rolled_back)


@pytest.mark.parametrize(
    ("prepare", "before"),
    [
        (
            lambda folder: prepare(folder, notified=False),
            AppRecovered("simba", 2, notification_pending=True, readiness_pending=True, rollback_to=1),
        ),
        (prepare_ready, AppRecovered("simba", 1, notification_pending=False)),
    ],
    ids=["readiness and notification pending", "ready and notified"],
)
def test_a_publish_killed_at_any_step_leaves_pending_notification_and_readiness_as_they_were(memory, prepare, before):
    number = before.number + 1
    after = AppRecovered(
        "simba", number, notification_pending=True, readiness_pending=True, rollback_to=1, fingerprint=THREE.fingerprint
    )
    codes, is_new = [], []
    for code, folder in killed_at_every_step(NEXT, memory, prepare):
        with life(folder) as (store, recovered):
            is_new.append(recovered.number == number)
            if is_new[-1]:
                assert replace(recovered, published_at=None, old_generations=()) == after, folder
                assert store.read("simba") == contents(THREE)
            else:
                assert replace(recovered, published_at=None, old_generations=(), fingerprint=None) == before, folder
        names = OLD if is_new[-1] or number == 2 else NEW
        assert_goes_on(folder, names, range(1, number if is_new[-1] else number - 1))
        codes.append(code)
    assert codes[-1] == 0
    assert_one_change(is_new)


def test_an_old_generation_survives_the_agents_restart_until_it_is_pruned(memory):
    with life(memory) as (store, _):
        publish_new(store, ONE, notified=True, ready=True)
        held = memory / "app" / (memory / "app" / "..data").readlink()
        publish_new(store, TWO, notified=True, ready=True)
    with life(memory) as (store, found):
        assert [number for number, _ in found.old_generations] == [1]
        assert {path.name: path.read_bytes() for path in held.iterdir()} == contents(ONE)
        store.prune("simba", (1,))
        assert not held.exists()


def test_users_who_may_read_one_file_may_enter_the_directory(memory):
    app = app_at(memory / "app")
    file = app.files[0]
    with life(memory, replace(app, files=(file, replace(file, name="public", mode=0o444)))):
        assert (memory / "app").stat().st_mode & 0o777 == 0o755


# -- from a fallback --------------------------------------------------------------------------------------------


def fall_back(store, wanted, by="env"):
    return store.publish(wanted, notify=True, probe=True, fallback=by)


def marker(folder):
    return folder / "app" / ".degraded"


def test_a_fallback_has_a_marker_until_another_generation_replaces_it(memory):
    with life(memory) as (store, found):
        assert found.fallback is None
        fall_back(store, ONE)
        content = loads(marker(memory).read_text())
        assert content["from"] == "env"
        assert datetime.now(UTC) - datetime.fromisoformat(content["since"]) < timedelta(minutes=1)
        assert marker(memory).stat().st_mode & 0o777 == 0o444
        fall_back(store, ONE)
        assert loads(marker(memory).read_text()) == content
        publish_new(store, TWO)
        assert not marker(memory).exists()
    with life(memory) as (_, found):
        assert (found.number, found.fallback) == (2, None)


def test_the_next_agent_recovers_that_a_generation_came_from_a_fallback_and_never_rolls_back_to_it(memory):
    with life(memory) as (store, _):
        fall_back(store, ONE, "last_known_good")
        store.mark_ready("simba")
    marker(memory).unlink()
    with life(memory) as (store, found):
        assert (found.number, found.fallback) == (1, "last_known_good")
        assert loads(marker(memory).read_text())["from"] == "last_known_good"
        publish_new(store, TWO)
    with life(memory) as (_, found):
        assert (found.number, found.rollback_to, found.readiness_pending) == (2, None, True)


def test_a_fallback_equal_to_vaults_values_only_loses_its_marker(memory):
    with life(memory) as (store, _):
        fall_back(store, ONE)
        live = live_folder(memory)
        assert store.publish(ONE, notify=True, probe=True) == (1, False)
        assert live_folder(memory) == live
        assert not marker(memory).exists()
    with life(memory) as (_, found):
        assert (found.number, found.fallback, found.notification_pending) == (1, None, True)


def test_the_marker_says_from_which_fallback_the_files_are_now(memory):
    with life(memory) as (store, _):
        fall_back(store, ONE)
        fall_back(store, ONE, "last_known_good")
        assert loads(marker(memory).read_text())["from"] == "last_known_good"
        fall_back(store, TWO)
        assert loads(marker(memory).read_text())["from"] == "env"
    marker(memory).unlink()
    marker(memory).write_text("left")
    with life(memory):
        assert loads(marker(memory).read_text())["from"] == "env"


def test_a_stale_marker_is_removed_at_the_next_start_and_a_directory_of_its_name_stays(memory):
    with life(memory) as (store, _):
        publish_new(store, ONE)
    marker(memory).write_text("left")
    with life(memory):
        assert not marker(memory).exists()
    marker(memory).mkdir()
    with life(memory) as (store, _):
        assert marker(memory).is_dir()
        store.withdraw("simba")
        with pytest.raises(WriteError, match=r"\.degraded is a directory"):
            fall_back(store, ONE)


def test_a_withdrawn_app_has_no_marker(memory):
    with life(memory) as (store, _):
        fall_back(store, ONE)
        store.withdraw("simba")
        assert not marker(memory).exists()
    with life(memory) as (_, found):
        assert found == AppRecovered("simba", None, notification_pending=False)


FALL_BACK = f"""{BEGIN}
def act(store):
    store.publish(generation("one", OLD), notify=True, probe=True, fallback="env")
"""
REPLACE = f"""{BEGIN}
def act(store):
    store.publish(generation("three", OLD), notify=True, probe=True)
"""


def prepare_nothing(folder):
    folder.mkdir()
    with life(folder):
        pass


def prepare_fallback(folder):
    folder.mkdir()
    with life(folder) as (store, _):
        fall_back(store, ONE)


@pytest.mark.parametrize(
    ("act", "prepare", "names"),
    [(FALL_BACK, prepare_nothing, []), (REPLACE, prepare_fallback, [1])],
    ids=["to", "from"],
)
def test_killed_at_any_step_no_fallback_is_published_without_its_marker(memory, act, prepare, names):
    codes, seen = [], set()
    for code, folder in killed_at_every_step(act, memory, prepare, at_least=50):
        _, held = shown_after_a_kill(folder / "app")
        from_fallback = held == contents(ONE)
        assert marker(folder).exists() or not from_fallback, folder
        with life(folder) as (_, recovered):
            assert recovered.fallback == ("env" if from_fallback else None), folder
            assert marker(folder).exists() == from_fallback, folder
        marker(folder).unlink(missing_ok=True)
        seen.add((bool(held), from_fallback))
        if held:
            assert_tidy(folder / "app", OLD, kept=[] if from_fallback else names)
        codes.append(code)
    assert codes[-1] == 0
    assert len(seen) == 2


# -- refused directories ---------------------------------------------------------------------------------------------


def test_a_refused_directory_leaves_others_open_and_is_opened_once_it_can_be_used(memory):
    good, bad = replace_name(app_at(memory / "good"), "good"), app_at(memory / "bad")
    (memory / "bad").touch()
    with life(memory, good) as (store, _):
        assert store.open([good, bad], strict=False).keys() == set()
        assert list(store.refused) == ["simba"]
        for call in (lambda: store.reopen("simba"), lambda: store.stage(ONE), lambda: store.mark_ready("simba")):
            with pytest.raises(WriteError, match="is not a directory"):
                call()
        assert store.reopen("good") is None
        (memory / "bad").unlink()
        assert store.reopen("simba") == AppRecovered("simba", None, notification_pending=False)
        assert store.refused == {}
        assert publish_new(store, ONE) == 1


def test_an_app_with_a_refused_new_directory_publishes_to_its_old_one(memory):
    with life(memory) as (store, _):
        publish_new(store, ONE)
        (memory / "new").touch()
        assert store.open([app_at(memory / "new")], strict=False) == {}
        assert list(store.refused) == ["simba"]
        assert store.reopen("simba") is None
        publish_new(store, TWO)
        assert shown(memory / "app")[0] == contents(TWO)
        (memory / "new").unlink()
        assert store.reopen("simba").number is None
        publish_new(store, THREE)
        assert shown(memory / "new")[0] == contents(THREE)
        assert shown(memory / "app")[0] == contents(TWO)


def test_if_every_directory_is_refused_the_first_reason_is_raised(memory):
    with life(memory) as (store, _):
        store.open([])
        (memory / "bad").touch()
        with pytest.raises(WriteError, match="is not a directory"):
            store.open([app_at(memory / "bad")], strict=False)


def replace_name(app, name):
    return msgspec.structs.replace(app, name=name)
