"""What an app's readers see, what it is owed, and what did not work outlive the agent."""

import shutil
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from json import loads
from pathlib import Path

import pytest

from lessee.agent.machine.protocol.events import Recovered
from lessee.core.errors import WriteError
from lessee.core.immutable import replace
from lessee.host.clock import boot_time
from lessee.publishing.publication_record import going_back
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
    """An agent's: its shelf, and what it found of the app."""
    ledger = StateStore(folder / "state", allow_disk=False)
    shelf = PublicationStore(ledger)
    try:
        found = shelf.open(apps or [app_at(folder / "app")])
        yield shelf, found.get("simba")
    finally:
        shelf.open([])
        ledger.close()


def live_folder(folder):
    return folder / "app" / (folder / "app" / "..data").readlink()


def show(shelf, wanted, *, told=False, works=False):
    number, changed = shelf.publish(wanted, owe=True, prove=True)
    assert changed
    if told:
        shelf.settle("simba")
    if works:
        shelf.confirm("simba")
    return number


# -- staged, checked, shown ----------------------------------------------------------------------------------


def test_what_a_check_saw_is_what_readers_see(memory):
    with life(memory) as (shelf, _):
        show(shelf, ONE)
        staged = shelf.stage(TWO)
        assert {path.name: path.read_bytes() for path in staged.iterdir()} == contents(TWO)
        assert shown(memory / "app") == (contents(ONE),) * 2
        assert shelf.publish(TWO, owe=True, prove=False) == (2, True)
        assert live_folder(memory) == staged
        assert shown(memory / "app") == (contents(TWO),) * 2


def test_what_was_staged_and_is_not_wanted_any_more_is_removed(memory):
    with life(memory) as (shelf, _):
        show(shelf, ONE)
        first, second = shelf.stage(TWO), shelf.stage(THREE)
        assert (first.exists(), second.exists()) == (False, True)
        shelf.publish(generation("four"), owe=False, prove=False)
        assert not second.exists()
        refused = shelf.stage(TWO)
        for _ in range(2):  # a second time is no error
            shelf.discard("simba")
        assert not refused.exists()
        shelf.discard("stranger")
        shelf.prune("simba", [1])
        assert_tidy(memory / "app", OLD)


def test_what_is_staged_for_an_app_that_is_served_no_more_is_removed(memory):
    with life(memory) as (shelf, _):
        show(shelf, ONE)
        staged = shelf.stage(TWO)
        assert shelf.open([]) == {}
        assert not staged.exists()
        assert_tidy(memory / "app", OLD)


def test_what_readers_see_already_is_not_shown_again_and_nothing_is_noted(memory):
    with life(memory) as (shelf, _):
        show(shelf, ONE, told=True, works=True)
        assert shelf.stage(ONE) is None
        assert shelf.publish(ONE, owe=True, prove=True) == (1, False)
        assert_tidy(memory / "app", OLD)
    with life(memory) as (_, found):
        assert (found.number, found.owed, found.unproved) == (1, False, False)


def test_an_environment_alone_is_another_generation_and_is_never_written_down(memory):
    a, b = (replace(ONE, environ=(("PASSWORD", f"{CANARY} in the environment {tag}"),)) for tag in "ab")
    with life(memory) as (shelf, _):
        show(shelf, a)
        assert shelf.publish(a, owe=True, prove=True) == (1, False)
        assert shelf.stage(b) is not None
        assert shelf.publish(b, owe=True, prove=True) == (2, True)
    with life(memory) as (shelf, _):
        assert shelf.publish(b, owe=True, prove=True) == (2, False)
    written = b"".join(path.read_bytes() for path in memory.rglob("*") if path.is_file())
    assert CANARY.encode() in written
    assert b"in the environment" not in written


def test_where_it_cannot_be_noted_nothing_is_shown_and_nothing_is_left(memory):
    with life(memory) as (shelf, _):
        show(shelf, ONE)
        (memory / "state").rename(memory / "elsewhere")
        shutil.copytree(memory / "elsewhere", memory / "state")
        shutil.rmtree(memory / "elsewhere")
        with pytest.raises(WriteError, match="state"):
            shelf.publish(TWO, owe=True, prove=False)
        assert_tidy(memory / "app", OLD)
        assert shelf.read("simba") == contents(ONE)


# -- the next life -------------------------------------------------------------------------------------------


def test_the_next_life_is_told_what_stands_there_and_since_when(memory):
    before = boot_time()
    with life(memory) as (shelf, found):
        assert found == Recovered("simba", None, owed=False)
        show(shelf, ONE, told=True, works=True)
        show(shelf, TWO)
    after = boot_time()
    with life(memory) as (_, found):
        assert before < found.published_at < after
        wanted = Recovered("simba", 2, owed=True, unproved=True, good=1, fingerprint=TWO.fingerprint)
        assert replace(found, published_at=None, old=()) == wanted
    assert_tidy(memory / "app", NEW, kept=[1])


def test_what_was_told_and_works_is_so_in_the_next_life_too(memory):
    with life(memory) as (shelf, _):
        show(shelf, ONE, told=True, works=True)
        show(shelf, TWO, told=True, works=True)
    with life(memory) as (_, found):
        assert replace(found, published_at=None, old=()) == Recovered(
            "simba", 2, owed=False, fingerprint=TWO.fingerprint
        )


def test_what_never_worked_is_nothing_to_go_back_to(memory):
    with life(memory) as (shelf, _):
        show(shelf, ONE, works=True)
        show(shelf, TWO)
        show(shelf, THREE)
    with life(memory) as (_, found):
        assert (found.number, found.unproved, found.good) == (3, True, 1)


def test_what_may_be_gone_back_to_is_not_pruned(memory):
    with life(memory) as (shelf, _):
        show(shelf, ONE, works=True)
        show(shelf, TWO)
        show(shelf, THREE)
        shelf.prune("simba", range(100))
        assert_tidy(memory / "app", OLD, kept=[1])
        shelf.confirm("simba")
        shelf.prune("simba", [1])
        assert_tidy(memory / "app", OLD)


def test_a_reload_with_the_same_settings_opens_nothing_anew_and_sweeps_nothing(memory):
    with life(memory) as (shelf, _):
        show(shelf, ONE)
        staged = shelf.stage(TWO)
        assert shelf.open([app_at(memory / "app", refresh=5.0)]) == {}
        assert staged.exists()
        found = shelf.open([app_at(memory / "app", mode=0o444)])
        assert (found["simba"].number, found["simba"].owed) == (1, True)
        assert not staged.exists()
        assert shelf.publish(TWO, owe=True, prove=True) == (2, True)


def test_where_one_directory_cannot_be_opened_no_other_is_and_those_that_were_open_stay(memory):
    (memory / "other").mkdir(mode=0o700)
    (memory / "other").chmod(0o777)
    with life(memory) as (shelf, _):
        show(shelf, ONE)
        before = len(list(Path("/proc/self/fd").iterdir()))
        with pytest.raises(WriteError, match="everybody may write"):
            shelf.open([app_at(memory / "new"), app_at(memory / "other", name="other")])
        assert len(list(Path("/proc/self/fd").iterdir())) == before
        assert shelf.read("simba") == contents(ONE)


def test_a_withdrawn_app_owes_and_remembers_nothing(memory):
    with life(memory) as (shelf, _):
        show(shelf, ONE, works=True)
        show(shelf, TWO)
        shelf.roll_back("simba", 1, bad=TWO.fingerprint, owe=True)
        shelf.withdraw("simba")
        assert list((memory / "app").iterdir()) == []
    with life(memory) as (shelf, found):
        assert found == Recovered("simba", None, owed=False)
        assert show(shelf, TWO) == 1


# -- back again ----------------------------------------------------------------------------------------------


def test_a_generation_that_was_gone_back_to_is_owed_and_waits_for_its_proof_and_the_bad_one_is_remembered(memory):
    with life(memory) as (shelf, _):
        show(shelf, ONE, told=True, works=True)
        show(shelf, TWO, told=True)
        shelf.roll_back("simba", 1, bad=TWO.fingerprint, owe=True)
        assert live_folder(memory).name.startswith("..lessee-1-")
        assert shown(memory / "app") == (contents(ONE),) * 2
    wanted = Recovered("simba", 1, owed=True, unproved=True, bad=TWO.fingerprint)
    with life(memory) as (shelf, found):
        assert replace(found, published_at=None, old=()) == wanted
        assert found.published_at <= boot_time()
        shelf.settle("simba")
        shelf.confirm("simba")
    with life(memory) as (shelf, found):
        assert replace(found, published_at=None, old=()) == replace(wanted, owed=False, unproved=False)
        shelf.forgive("simba")
    with life(memory) as (_, found):
        assert replace(found, published_at=None, old=()) == replace(wanted, owed=False, unproved=False, bad=None)


def test_what_was_gone_back_to_is_what_to_go_back_to_from_the_next_one(memory):
    with life(memory) as (shelf, _):
        show(shelf, ONE, works=True)
        show(shelf, TWO)
        shelf.roll_back("simba", 1, bad=TWO.fingerprint, owe=True)
        assert show(shelf, THREE) == 3
    with life(memory) as (_, found):
        assert (found.number, found.unproved, found.good, found.bad) == (3, True, 1, None)


def test_inputs_that_are_as_the_live_ones_again_make_the_bad_one_forgotten(memory):
    with life(memory) as (shelf, _):
        show(shelf, ONE, works=True)
        show(shelf, TWO)
        shelf.roll_back("simba", 1, bad=TWO.fingerprint, owe=True)
        assert shelf.publish(ONE, owe=True, prove=True) == (1, False)
    with life(memory) as (_, found):
        assert (found.bad, found.owed, found.unproved) == (None, True, True)


def test_a_way_back_that_is_barred_is_gone_in_the_next_life_and_the_debt_is_not_lost(memory):
    with life(memory) as (shelf, _):
        show(shelf, ONE, told=True, works=True)
        show(shelf, TWO)
        (memory / "app" / "gone.txt").mkdir()
        with pytest.raises(WriteError, match="a directory stands"):
            shelf.roll_back("simba", 1, bad=TWO.fingerprint, owe=True)
        assert shelf.read("simba") == contents(TWO)
        shelf.settle("simba")
    (memory / "app" / "gone.txt").rmdir()
    with life(memory) as (_, found):
        assert (found.number, found.owed, found.unproved, found.bad) == (1, True, True, TWO.fingerprint)
    assert_tidy(memory / "app", OLD)


def test_there_is_no_way_back_to_what_somebody_removed_and_the_agent_starts_all_the_same(memory):
    with life(memory) as (shelf, _):
        show(shelf, ONE, works=True)
        first = live_folder(memory)
        show(shelf, TWO)
        shutil.rmtree(first)
        with pytest.raises(WriteError, match="generation 1 is not there"):
            shelf.roll_back("simba", 1, bad=TWO.fingerprint, owe=True)
        assert shelf.read("simba") == contents(TWO)
    with life(memory) as (_, found):
        assert (found.number, found.good, found.unproved, found.bad) == (2, None, True, TWO.fingerprint)


# -- killed at any point -------------------------------------------------------------------------------------

BEGIN = """
from support.models.generations import NEW, OLD, app_at, generation
from lessee.publishing.state_store import StateStore
from lessee.publishing.publication_store import PublicationStore

app_at("/")  # read once

def begin(folder):
    shelf = PublicationStore(StateStore(folder / "state", allow_disk=False))
    shelf.open([app_at(folder / "app")])
    return shelf
"""
BACK = f"""{BEGIN}
def act(shelf):
    shelf.roll_back("simba", 1, bad=generation("two", NEW).fingerprint, owe=True)
"""
ON = f"""{BEGIN}
def act(shelf):
    shelf.publish(generation("three", OLD), owe=True, prove=True)
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
    with life(folder) as (shelf, _):
        show(shelf, ONE, told=True, works=True)
        show(shelf, TWO, told=told)


def prepare_proved(folder):
    folder.mkdir()
    with life(folder) as (shelf, _):
        show(shelf, ONE, told=True, works=True)


def assert_goes_on(folder, names, kept):
    """It is all there, and the next generation has a number that no other has."""
    assert_tidy(folder / "app", names, kept=kept)
    with life(folder) as (shelf, found):
        last = generation("last", NEW)
        assert show(shelf, last) > max([found.number, *kept])
        assert shown(folder / "app") == (contents(last),) * 2


def prepare_going_back(folder):
    """Killed after the note, before the moment."""
    prepare(folder, told=True)
    with closing(StateStore(folder / "state", allow_disk=False)) as ledger:
        record = ledger.app("simba")
        ledger.keep_app("simba", going_back(record, 2, 1, bad=TWO.fingerprint, owe=True))


@pytest.mark.parametrize("told", [True, False], ids=["told", "untold"])
def test_killed_at_any_step_of_going_back_it_is_done_with_or_not_begun_and_the_debt_and_the_verdict_stand(memory, told):
    codes, is_back, seen = [], [], set()
    for code, folder in killed_at_every_step(BACK, memory, lambda folder: prepare(folder, told=told)):
        found, held = shown_after_a_kill(folder / "app")
        assert held in (contents(ONE), contents(TWO)), folder
        assert all(found[name] == held[name] for name in held if name in set(OLD) & set(NEW)), folder
        with life(folder) as (shelf, recovered):
            is_back.append(recovered.number == 1)
            if is_back[-1]:
                wanted = Recovered("simba", 1, owed=True, unproved=True, bad=TWO.fingerprint)
            else:
                wanted = Recovered("simba", 2, owed=not told, unproved=True, good=1, fingerprint=TWO.fingerprint)
            assert replace(recovered, published_at=None, old=()) == wanted, folder
            assert shelf.read("simba") == contents(ONE if is_back[-1] else TWO)
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
        with life(folder) as (shelf, recovered):
            wanted = Recovered("simba", 1, owed=True, unproved=True, bad=TWO.fingerprint)
            assert replace(recovered, published_at=None, old=()) == wanted, folder
            assert shelf.read("simba") == contents(ONE)
        assert_tidy(folder / "app", OLD)
        codes.append(code)
    assert codes[-1] == 0
    assert_once_and_for_all(is_back)


@pytest.mark.parametrize(
    ("prepare", "before"),
    [
        (lambda folder: prepare(folder, told=False), Recovered("simba", 2, owed=True, unproved=True, good=1)),
        (prepare_proved, Recovered("simba", 1, owed=False)),
    ],
    ids=["unproved and owed", "proved and told"],
)
def test_killed_at_any_step_of_showing_the_next_one_what_is_live_is_owed_and_proved_as_it_was(memory, prepare, before):
    number = before.number + 1
    after = Recovered("simba", number, owed=True, unproved=True, good=1, fingerprint=THREE.fingerprint)
    codes, is_new = [], []
    for code, folder in killed_at_every_step(ON, memory, prepare):
        with life(folder) as (shelf, recovered):
            is_new.append(recovered.number == number)
            if is_new[-1]:
                assert replace(recovered, published_at=None, old=()) == after, folder
                assert shelf.read("simba") == contents(THREE)
            else:
                assert replace(recovered, published_at=None, old=(), fingerprint=None) == before, folder
        names = OLD if is_new[-1] or number == 2 else NEW
        assert_goes_on(folder, names, range(1, number if is_new[-1] else number - 1))
        codes.append(code)
    assert codes[-1] == 0
    assert_once_and_for_all(is_new)


def test_what_a_reader_has_just_opened_stays_over_the_agent_s_start_until_it_is_pruned(memory):
    with life(memory) as (shelf, _):
        show(shelf, ONE, told=True, works=True)
        held = memory / "app" / (memory / "app" / "..data").readlink()
        show(shelf, TWO, told=True, works=True)
    with life(memory) as (shelf, found):
        assert [number for number, _ in found.old] == [1]
        assert {path.name: path.read_bytes() for path in held.iterdir()} == contents(ONE)
        shelf.prune("simba", (1,))
        assert not held.exists()


def test_who_may_read_one_of_the_files_may_enter_the_directory(memory):
    app = app_at(memory / "app")
    [file] = app.files
    with life(memory, replace(app, files=(file, replace(file, name="public", mode=0o444)))):
        assert (memory / "app").stat().st_mode & 0o777 == 0o755


# -- fallen back to --------------------------------------------------------------------------------------------


def fall_back(shelf, wanted, by="env"):
    return shelf.publish(wanted, owe=True, prove=True, fallback=by)


def marker(folder):
    return folder / "app" / ".degraded"


def test_what_comes_from_a_fallback_is_marked_until_another_takes_its_place(memory):
    with life(memory) as (shelf, found):
        assert found.fallback is None
        fall_back(shelf, ONE)
        told = loads(marker(memory).read_text())
        assert told["from"] == "env"
        assert datetime.now(UTC) - datetime.fromisoformat(told["since"]) < timedelta(minutes=1)
        assert marker(memory).stat().st_mode & 0o777 == 0o444
        fall_back(shelf, ONE)
        assert loads(marker(memory).read_text()) == told
        show(shelf, TWO)
        assert not marker(memory).exists()
    with life(memory) as (_, found):
        assert (found.number, found.fallback) == (2, None)


def test_the_next_life_knows_what_comes_from_a_fallback_and_does_not_take_it_for_good(memory):
    with life(memory) as (shelf, _):
        fall_back(shelf, ONE, "last_good")
        shelf.confirm("simba")
    marker(memory).unlink()
    with life(memory) as (shelf, found):
        assert (found.number, found.fallback) == (1, "last_good")
        assert loads(marker(memory).read_text())["from"] == "last_good"
        show(shelf, TWO)
    with life(memory) as (_, found):
        assert (found.number, found.good, found.unproved) == (2, None, True)


def test_where_it_was_right_all_along_it_is_marked_no_more_and_nothing_is_shown_anew(memory):
    with life(memory) as (shelf, _):
        fall_back(shelf, ONE)
        live = live_folder(memory)
        assert shelf.publish(ONE, owe=True, prove=True) == (1, False)
        assert live_folder(memory) == live
        assert not marker(memory).exists()
    with life(memory) as (_, found):
        assert (found.number, found.fallback, found.owed) == (1, None, True)


def test_the_marker_says_from_which_fallback_the_files_are_now(memory):
    with life(memory) as (shelf, _):
        fall_back(shelf, ONE)
        fall_back(shelf, ONE, "last_good")
        assert loads(marker(memory).read_text())["from"] == "last_good"
        fall_back(shelf, TWO)
        assert loads(marker(memory).read_text())["from"] == "env"
    marker(memory).unlink()
    marker(memory).write_text("left")
    with life(memory):
        assert loads(marker(memory).read_text())["from"] == "env"


def test_a_marker_of_nothing_goes_at_the_next_start_and_a_folder_of_its_name_stays(memory):
    with life(memory) as (shelf, _):
        show(shelf, ONE)
    marker(memory).write_text("left")
    with life(memory):
        assert not marker(memory).exists()
    marker(memory).mkdir()
    with life(memory) as (shelf, _):
        assert marker(memory).is_dir()
        shelf.withdraw("simba")
        with pytest.raises(WriteError, match=r"a directory stands at \.degraded"):
            fall_back(shelf, ONE)


def test_a_withdrawn_app_is_not_marked(memory):
    with life(memory) as (shelf, _):
        fall_back(shelf, ONE)
        shelf.withdraw("simba")
        assert not marker(memory).exists()
    with life(memory) as (_, found):
        assert found == Recovered("simba", None, owed=False)


FALL = f"""{BEGIN}
def act(shelf):
    shelf.publish(generation("one", OLD), owe=True, prove=True, fallback="env")
"""
REPLACE = f"""{BEGIN}
def act(shelf):
    shelf.publish(generation("three", OLD), owe=True, prove=True)
"""


def prepare_nothing(folder):
    folder.mkdir()
    with life(folder):
        pass


def prepare_fallen(folder):
    folder.mkdir()
    with life(folder) as (shelf, _):
        fall_back(shelf, ONE)


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
