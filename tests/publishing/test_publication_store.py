"""What an app's readers see, what it is owed, and what did not work outlive the agent."""

import shutil
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from json import loads
from pathlib import Path

import pytest

from lessee.agent.machine.protocol.events import AppRecovered
from lessee.core.errors import WriteError
from lessee.core.immutable import replace
from lessee.host.clock import boot_time
from lessee.publishing.publication_record import before_rollback
from lessee.publishing.publication_store import PublicationStore
from lessee.publishing.state_store import StateStore
from support.models.generations import (
    CANARY,
    NEW,
    OLD,
    app_at,
    assert_once_and_for_all,
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


def show(store, wanted, *, told=False, works=False):
    number, changed = store.publish(wanted, notify=True, probe=True)
    assert changed
    if told:
        store.mark_notified("simba")
    if works:
        store.mark_ready("simba")
    return number


# -- staged, checked, shown ----------------------------------------------------------------------------------


def test_what_a_check_saw_is_what_readers_see(memory):
    with life(memory) as (store, _):
        show(store, ONE)
        staged = store.stage(TWO)
        assert {path.name: path.read_bytes() for path in staged.iterdir()} == contents(TWO)
        assert shown(memory / "app") == (contents(ONE),) * 2
        assert store.publish(TWO, notify=True, probe=False) == (2, True)
        assert live_folder(memory) == staged
        assert shown(memory / "app") == (contents(TWO),) * 2


def test_what_was_staged_and_is_not_wanted_any_more_is_removed(memory):
    with life(memory) as (store, _):
        show(store, ONE)
        first, second = store.stage(TWO), store.stage(THREE)
        assert (first.exists(), second.exists()) == (False, True)
        store.publish(generation("four"), notify=False, probe=False)
        assert not second.exists()
        refused = store.stage(TWO)
        for _ in range(2):  # a second time is no error
            store.discard("simba")
        assert not refused.exists()
        store.discard("stranger")
        store.prune("simba", [1])
        assert_tidy(memory / "app", OLD)


def test_what_is_staged_for_an_app_that_is_served_no_more_is_removed(memory):
    with life(memory) as (store, _):
        show(store, ONE)
        staged = store.stage(TWO)
        assert store.open([]) == {}
        assert not staged.exists()
        assert_tidy(memory / "app", OLD)


def test_what_readers_see_already_is_not_shown_again_and_nothing_is_noted(memory):
    with life(memory) as (store, _):
        show(store, ONE, told=True, works=True)
        assert store.stage(ONE) is None
        assert store.publish(ONE, notify=True, probe=True) == (1, False)
        assert_tidy(memory / "app", OLD)
    with life(memory) as (_, found):
        assert (found.number, found.owed, found.unproved) == (1, False, False)


def test_an_environment_alone_is_another_generation_and_is_never_written_down(memory):
    a, b = (replace(ONE, environ=(("PASSWORD", f"{CANARY} in the environment {tag}"),)) for tag in "ab")
    with life(memory) as (store, _):
        show(store, a)
        assert store.publish(a, notify=True, probe=True) == (1, False)
        assert store.stage(b) is not None
        assert store.publish(b, notify=True, probe=True) == (2, True)
    with life(memory) as (store, _):
        assert store.publish(b, notify=True, probe=True) == (2, False)
    written = b"".join(path.read_bytes() for path in memory.rglob("*") if path.is_file())
    assert CANARY.encode() in written
    assert b"in the environment" not in written


def test_where_it_cannot_be_noted_nothing_is_shown_and_nothing_is_left(memory):
    with life(memory) as (store, _):
        show(store, ONE)
        (memory / "state").rename(memory / "elsewhere")
        shutil.copytree(memory / "elsewhere", memory / "state")
        shutil.rmtree(memory / "elsewhere")
        with pytest.raises(WriteError, match="state"):
            store.publish(TWO, notify=True, probe=False)
        assert_tidy(memory / "app", OLD)
        assert store.read("simba") == contents(ONE)


# -- the next life -------------------------------------------------------------------------------------------


def test_the_next_life_is_told_what_stands_there_and_since_when(memory):
    before = boot_time()
    with life(memory) as (store, found):
        assert found == AppRecovered("simba", None, owed=False)
        show(store, ONE, told=True, works=True)
        show(store, TWO)
    after = boot_time()
    with life(memory) as (_, found):
        assert before < found.published_at < after
        wanted = AppRecovered("simba", 2, owed=True, unproved=True, good=1, fingerprint=TWO.fingerprint)
        assert replace(found, published_at=None, old=()) == wanted
    assert_tidy(memory / "app", NEW, kept=[1])


def test_what_was_told_and_works_is_so_in_the_next_life_too(memory):
    with life(memory) as (store, _):
        show(store, ONE, told=True, works=True)
        show(store, TWO, told=True, works=True)
    with life(memory) as (_, found):
        assert replace(found, published_at=None, old=()) == AppRecovered(
            "simba", 2, owed=False, fingerprint=TWO.fingerprint
        )


def test_what_never_worked_is_nothing_to_go_back_to(memory):
    with life(memory) as (store, _):
        show(store, ONE, works=True)
        show(store, TWO)
        show(store, THREE)
    with life(memory) as (_, found):
        assert (found.number, found.unproved, found.good) == (3, True, 1)


def test_what_may_be_gone_back_to_is_not_pruned(memory):
    with life(memory) as (store, _):
        show(store, ONE, works=True)
        show(store, TWO)
        show(store, THREE)
        store.prune("simba", range(100))
        assert_tidy(memory / "app", OLD, kept=[1])
        store.mark_ready("simba")
        store.prune("simba", [1])
        assert_tidy(memory / "app", OLD)


def test_a_reload_with_the_same_settings_opens_nothing_anew_and_sweeps_nothing(memory):
    with life(memory) as (store, _):
        show(store, ONE)
        staged = store.stage(TWO)
        assert store.open([app_at(memory / "app", refresh=5.0)]) == {}
        assert staged.exists()
        found = store.open([app_at(memory / "app", mode=0o444)])
        assert (found["simba"].number, found["simba"].owed) == (1, True)
        assert not staged.exists()
        assert store.publish(TWO, notify=True, probe=True) == (2, True)


def test_where_one_directory_cannot_be_opened_no_other_is_and_those_that_were_open_stay(memory):
    (memory / "other").mkdir(mode=0o700)
    (memory / "other").chmod(0o777)
    with life(memory) as (store, _):
        show(store, ONE)
        before = len(list(Path("/proc/self/fd").iterdir()))
        with pytest.raises(WriteError, match="every user may write"):
            store.open([app_at(memory / "new"), app_at(memory / "other", name="other")])
        assert len(list(Path("/proc/self/fd").iterdir())) == before
        assert store.read("simba") == contents(ONE)


def test_a_withdrawn_app_owes_and_remembers_nothing(memory):
    with life(memory) as (store, _):
        show(store, ONE, works=True)
        show(store, TWO)
        store.roll_back("simba", 1, bad=TWO.fingerprint, notify=True)
        store.withdraw("simba")
        assert list((memory / "app").iterdir()) == []
    with life(memory) as (store, found):
        assert found == AppRecovered("simba", None, owed=False)
        assert show(store, TWO) == 1


# -- back again ----------------------------------------------------------------------------------------------


def test_a_generation_that_was_gone_back_to_is_owed_and_waits_for_its_proof_and_the_bad_one_is_remembered(memory):
    with life(memory) as (store, _):
        show(store, ONE, told=True, works=True)
        show(store, TWO, told=True)
        store.roll_back("simba", 1, bad=TWO.fingerprint, notify=True)
        assert live_folder(memory).name.startswith("..lessee-1-")
        assert shown(memory / "app") == (contents(ONE),) * 2
    wanted = AppRecovered("simba", 1, owed=True, unproved=True, bad=TWO.fingerprint)
    with life(memory) as (store, found):
        assert replace(found, published_at=None, old=()) == wanted
        assert found.published_at <= boot_time()
        store.mark_notified("simba")
        store.mark_ready("simba")
    with life(memory) as (store, found):
        assert replace(found, published_at=None, old=()) == replace(wanted, owed=False, unproved=False)
        store.allow_retry("simba")
    with life(memory) as (_, found):
        assert replace(found, published_at=None, old=()) == replace(wanted, owed=False, unproved=False, bad=None)


def test_what_was_gone_back_to_is_what_to_go_back_to_from_the_next_one(memory):
    with life(memory) as (store, _):
        show(store, ONE, works=True)
        show(store, TWO)
        store.roll_back("simba", 1, bad=TWO.fingerprint, notify=True)
        assert show(store, THREE) == 3
    with life(memory) as (_, found):
        assert (found.number, found.unproved, found.good, found.bad) == (3, True, 1, None)


def test_inputs_that_are_as_the_live_ones_again_make_the_bad_one_forgotten(memory):
    with life(memory) as (store, _):
        show(store, ONE, works=True)
        show(store, TWO)
        store.roll_back("simba", 1, bad=TWO.fingerprint, notify=True)
        assert store.publish(ONE, notify=True, probe=True) == (1, False)
    with life(memory) as (_, found):
        assert (found.bad, found.owed, found.unproved) == (None, True, True)


def test_a_way_back_that_is_barred_is_gone_in_the_next_life_and_the_debt_is_not_lost(memory):
    with life(memory) as (store, _):
        show(store, ONE, told=True, works=True)
        show(store, TWO)
        (memory / "app" / "gone.txt").mkdir()
        with pytest.raises(WriteError, match="is a directory"):
            store.roll_back("simba", 1, bad=TWO.fingerprint, notify=True)
        assert store.read("simba") == contents(TWO)
        store.mark_notified("simba")
    (memory / "app" / "gone.txt").rmdir()
    with life(memory) as (_, found):
        assert (found.number, found.owed, found.unproved, found.bad) == (1, True, True, TWO.fingerprint)
    assert_tidy(memory / "app", OLD)


def test_there_is_no_way_back_to_what_somebody_removed_and_the_agent_starts_all_the_same(memory):
    with life(memory) as (store, _):
        show(store, ONE, works=True)
        first = live_folder(memory)
        show(store, TWO)
        shutil.rmtree(first)
        with pytest.raises(WriteError, match="generation 1 no longer exists"):
            store.roll_back("simba", 1, bad=TWO.fingerprint, notify=True)
        assert store.read("simba") == contents(TWO)
    with life(memory) as (_, found):
        assert (found.number, found.good, found.unproved, found.bad) == (2, None, True, TWO.fingerprint)


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
BACK = f"""{BEGIN}
def act(store):
    store.roll_back("simba", 1, bad=generation("two", NEW).fingerprint, notify=True)
"""
ON = f"""{BEGIN}
def act(store):
    store.publish(generation("three", OLD), notify=True, probe=True)
"""
AGAIN = f"""{BEGIN}
def begin(folder):
    return folder

def act(folder):
    PublicationStore(StateStore(folder / "state", allow_disk=False)).open([app_at(folder / "app")])
"""


def prepare(folder, *, told):
    """The second one is not known to work; the first one did."""
    folder.mkdir()
    with life(folder) as (store, _):
        show(store, ONE, told=True, works=True)
        show(store, TWO, told=told)


def prepare_proved(folder):
    folder.mkdir()
    with life(folder) as (store, _):
        show(store, ONE, told=True, works=True)


def assert_goes_on(folder, names, kept):
    """It is all there, and the next generation has a number that no other has."""
    assert_tidy(folder / "app", names, kept=kept)
    with life(folder) as (store, found):
        last = generation("last", NEW)
        assert show(store, last) > max([found.number, *kept])
        assert shown(folder / "app") == (contents(last),) * 2


def prepare_going_back(folder):
    """Killed after the note, before the moment."""
    prepare(folder, told=True)
    with closing(StateStore(folder / "state", allow_disk=False)) as state_store:
        record = state_store.app("simba")
        state_store.store_app("simba", before_rollback(record, 2, 1, rejected=TWO.fingerprint, notify=True))


@pytest.mark.parametrize("told", [True, False], ids=["told", "untold"])
def test_killed_at_any_step_of_going_back_it_is_done_with_or_not_begun_and_the_debt_and_the_verdict_stand(memory, told):
    codes, is_back, seen = [], [], set()
    for code, folder in killed_at_every_step(BACK, memory, lambda folder: prepare(folder, told=told)):
        found, held = shown_after_a_kill(folder / "app")
        assert held in (contents(ONE), contents(TWO)), folder
        assert all(found[name] == held[name] for name in held if name in set(OLD) & set(NEW)), folder
        with life(folder) as (store, recovered):
            is_back.append(recovered.number == 1)
            if is_back[-1]:
                wanted = AppRecovered("simba", 1, owed=True, unproved=True, bad=TWO.fingerprint)
            else:
                wanted = AppRecovered("simba", 2, owed=not told, unproved=True, good=1, fingerprint=TWO.fingerprint)
            assert replace(recovered, published_at=None, old=()) == wanted, folder
            assert store.read("simba") == contents(ONE if is_back[-1] else TWO)
        seen.add((held == contents(ONE), is_back[-1]))
        assert_goes_on(folder, *((OLD, []) if is_back[-1] else (NEW, [1])))
        codes.append(code)
    assert codes[-1] == 0
    assert len(codes) > 100
    # Some kills came between the note and the moment, and it was finished afterwards.
    assert seen == {(False, False), (False, True), (True, True)}
    assert_once_and_for_all(is_back)


def test_killed_at_any_step_of_finishing_a_going_back_it_is_finished_the_next_time(memory):
    codes, is_back = [], []
    for code, folder in killed_at_every_step(AGAIN, memory, prepare_going_back):
        is_back.append(shown_after_a_kill(folder / "app")[1] == contents(ONE))
        with life(folder) as (store, recovered):
            wanted = AppRecovered("simba", 1, owed=True, unproved=True, bad=TWO.fingerprint)
            assert replace(recovered, published_at=None, old=()) == wanted, folder
            assert store.read("simba") == contents(ONE)
        assert_tidy(folder / "app", OLD)
        codes.append(code)
    assert codes[-1] == 0
    assert_once_and_for_all(is_back)


@pytest.mark.parametrize(
    ("prepare", "before"),
    [
        (lambda folder: prepare(folder, told=False), AppRecovered("simba", 2, owed=True, unproved=True, good=1)),
        (prepare_proved, AppRecovered("simba", 1, owed=False)),
    ],
    ids=["unproved and owed", "proved and told"],
)
def test_killed_at_any_step_of_showing_the_next_one_what_is_live_is_owed_and_proved_as_it_was(memory, prepare, before):
    number = before.number + 1
    after = AppRecovered("simba", number, owed=True, unproved=True, good=1, fingerprint=THREE.fingerprint)
    codes, is_new = [], []
    for code, folder in killed_at_every_step(ON, memory, prepare):
        with life(folder) as (store, recovered):
            is_new.append(recovered.number == number)
            if is_new[-1]:
                assert replace(recovered, published_at=None, old=()) == after, folder
                assert store.read("simba") == contents(THREE)
            else:
                assert replace(recovered, published_at=None, old=(), fingerprint=None) == before, folder
        names = OLD if is_new[-1] or number == 2 else NEW
        assert_goes_on(folder, names, range(1, number if is_new[-1] else number - 1))
        codes.append(code)
    assert codes[-1] == 0
    assert_once_and_for_all(is_new)


def test_what_a_reader_has_just_opened_stays_over_the_agent_s_start_until_it_is_pruned(memory):
    with life(memory) as (store, _):
        show(store, ONE, told=True, works=True)
        held = memory / "app" / (memory / "app" / "..data").readlink()
        show(store, TWO, told=True, works=True)
    with life(memory) as (store, found):
        assert [number for number, _ in found.old] == [1]
        assert {path.name: path.read_bytes() for path in held.iterdir()} == contents(ONE)
        store.prune("simba", (1,))
        assert not held.exists()


def test_who_may_read_one_of_the_files_may_enter_the_directory(memory):
    app = app_at(memory / "app")
    [file] = app.files
    with life(memory, replace(app, files=(file, replace(file, name="public", mode=0o444)))):
        assert (memory / "app").stat().st_mode & 0o777 == 0o755


# -- fallen back to --------------------------------------------------------------------------------------------


def fall_back(store, wanted, by="env"):
    return store.publish(wanted, notify=True, probe=True, fallback=by)


def marker(folder):
    return folder / "app" / ".degraded"


def test_what_comes_from_a_fallback_is_marked_until_another_takes_its_place(memory):
    with life(memory) as (store, found):
        assert found.fallback is None
        fall_back(store, ONE)
        told = loads(marker(memory).read_text())
        assert told["from"] == "env"
        assert datetime.now(UTC) - datetime.fromisoformat(told["since"]) < timedelta(minutes=1)
        assert marker(memory).stat().st_mode & 0o777 == 0o444
        fall_back(store, ONE)
        assert loads(marker(memory).read_text()) == told
        show(store, TWO)
        assert not marker(memory).exists()
    with life(memory) as (_, found):
        assert (found.number, found.fallback) == (2, None)


def test_the_next_life_knows_what_comes_from_a_fallback_and_does_not_take_it_for_good(memory):
    with life(memory) as (store, _):
        fall_back(store, ONE, "last_known_good")
        store.mark_ready("simba")
    marker(memory).unlink()
    with life(memory) as (store, found):
        assert (found.number, found.fallback) == (1, "last_known_good")
        assert loads(marker(memory).read_text())["from"] == "last_known_good"
        show(store, TWO)
    with life(memory) as (_, found):
        assert (found.number, found.good, found.unproved) == (2, None, True)


def test_where_it_was_right_all_along_it_is_marked_no_more_and_nothing_is_shown_anew(memory):
    with life(memory) as (store, _):
        fall_back(store, ONE)
        live = live_folder(memory)
        assert store.publish(ONE, notify=True, probe=True) == (1, False)
        assert live_folder(memory) == live
        assert not marker(memory).exists()
    with life(memory) as (_, found):
        assert (found.number, found.fallback, found.owed) == (1, None, True)


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


def test_a_marker_of_nothing_goes_at_the_next_start_and_a_folder_of_its_name_stays(memory):
    with life(memory) as (store, _):
        show(store, ONE)
    marker(memory).write_text("left")
    with life(memory):
        assert not marker(memory).exists()
    marker(memory).mkdir()
    with life(memory) as (store, _):
        assert marker(memory).is_dir()
        store.withdraw("simba")
        with pytest.raises(WriteError, match=r"\.degraded is a directory"):
            fall_back(store, ONE)


def test_a_withdrawn_app_is_not_marked(memory):
    with life(memory) as (store, _):
        fall_back(store, ONE)
        store.withdraw("simba")
        assert not marker(memory).exists()
    with life(memory) as (_, found):
        assert found == AppRecovered("simba", None, owed=False)


FALL = f"""{BEGIN}
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


def prepare_fallen(folder):
    folder.mkdir()
    with life(folder) as (store, _):
        fall_back(store, ONE)


@pytest.mark.parametrize(
    ("act", "prepare", "names"), [(FALL, prepare_nothing, []), (REPLACE, prepare_fallen, [1])], ids=["to", "from"]
)
def test_killed_at_any_step_of_falling_back_or_of_replacing_that_no_fallback_is_without_its_marker(
    memory, act, prepare, names
):
    codes, seen = [], set()
    for code, folder in killed_at_every_step(act, memory, prepare):
        _, held = shown_after_a_kill(folder / "app")
        fallen = held == contents(ONE)
        assert marker(folder).exists() or not fallen, folder
        with life(folder) as (_, recovered):
            assert recovered.fallback == ("env" if fallen else None), folder
            assert marker(folder).exists() == fallen, folder
        marker(folder).unlink(missing_ok=True)
        seen.add((bool(held), fallen))
        if held:
            assert_tidy(folder / "app", OLD, kept=[] if fallen else names)
        codes.append(code)
    assert codes[-1] == 0
    assert len(codes) > 50
    assert len(seen) == 2
