"""The promises to a reader of an app's directory."""

import json
import os
import shutil
import stat
import subprocess
import sys

import pytest

from lessee.core.errors import WriteError
from lessee.core.generation import Generation
from lessee.core.immutable import replace
from lessee.publishing.publication import Publisher
from support.models.generations import (
    CANARY,
    NEW,
    OLD,
    assert_one_change,
    assert_tidy,
    contents,
    generation,
    killed_at_every_step,
    readers,
    shown,
    shown_after_a_kill,
)
from support.needs import need

ALL = range(10**9)


@pytest.fixture
def app(memory):
    return memory / "app"


@pytest.fixture
def publisher(app):
    publisher = Publisher(app, owner=(None, None), mode=0o440, allow_disk=False)
    yield publisher
    publisher.close()


def publish(publisher, wanted):
    staged = publisher.stage(wanted)
    assert staged is not None
    return publisher.publish(staged)


def in_own_mounts(script, *arguments):
    """Run `script` in a mount namespace of its own."""
    enter = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
    probe = subprocess.run([*enter, "true"], check=False, capture_output=True)
    need(probe.returncode == 0, "needs util-linux's unshare, and root or user namespaces")
    command = [*enter, sys.executable, "-c", script, *map(str, arguments)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


# -- whole ---------------------------------------------------------------------------------------------------


def test_a_generation_appears_as_kubernetes_lays_out_a_volume(publisher, app):
    live = publish(publisher, generation("one"))
    assert live.number == 1
    assert_tidy(app, OLD)
    assert str((app / "..data").readlink()) == live.folder
    assert shown(app) == (contents(generation("one")),) * 2


def test_a_staged_generation_is_complete_and_not_visible(publisher, app):
    publish(publisher, generation("one"))
    staged = publisher.stage(generation("two", NEW))
    assert {path.name: path.read_bytes() for path in staged.path.iterdir()} == contents(generation("two", NEW))
    assert shown(app) == (contents(generation("one")),) * 2


def test_a_generations_names_appear_and_disappear_with_it(publisher, app):
    publish(publisher, generation("one", OLD))
    publish(publisher, generation("two", NEW))
    publisher.prune(ALL)
    assert_tidy(app, NEW)
    assert shown(app) == (contents(generation("two", NEW)),) * 2


def test_an_old_generation_stays_for_its_readers_until_it_is_pruned(publisher, app):
    publish(publisher, generation("one"))
    held = os.open(app / "..data", os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert publish(publisher, generation("two")).number == 2
        with os.fdopen(os.open("app.env", os.O_RDONLY, dir_fd=held), "rb") as stream:
            assert stream.read() == contents(generation("one"))["app.env"]
        publisher.prune(ALL)
        with pytest.raises(FileNotFoundError):
            os.open("app.env", os.O_RDONLY, dir_fd=held)
    finally:
        os.close(held)
    assert_tidy(app, OLD)


def test_pruning_keeps_a_staged_generation(publisher, app):
    publish(publisher, generation("one"))
    staged = publisher.stage(generation("two"))
    publisher.prune([1])
    publisher.publish(staged)
    assert shown(app) == (contents(generation("two")),) * 2


def test_a_discarded_generation_leaves_nothing(publisher, app):
    publish(publisher, generation("one"))
    publisher.discard(publisher.stage(generation("two")))
    assert_tidy(app, OLD)
    assert publisher.read() == contents(generation("one"))


def test_a_withdrawn_generation_leaves_nothing_and_the_next_one_is_published(publisher, app):
    publish(publisher, generation("one"))
    publish(publisher, generation("two"))
    (app / "foreign").symlink_to("/etc/hostname")
    publisher.withdraw()
    publisher.withdraw()  # idempotent
    assert [path.name for path in app.iterdir()] == ["foreign"]
    assert (publisher.live(), publisher.read()) == (None, {})
    (app / "foreign").unlink()
    publish(publisher, generation("three", NEW))
    assert_tidy(app, NEW)


def test_a_live_link_of_another_program_is_not_withdrawn(publisher, app):
    app.mkdir(exist_ok=True)
    (app / "..2025_01_01").mkdir()
    (app / "..data").symlink_to("..2025_01_01")
    with pytest.raises(WriteError, match=r"\.\.data does not belong to lessee"):
        publisher.withdraw()
    assert (app / "..data").exists()


def test_a_removed_generation_cannot_be_published(publisher, app):
    publish(publisher, generation("one"))
    staged = publisher.stage(generation("two", NEW))
    publisher.discard(staged)
    with pytest.raises(WriteError):
        publisher.publish(staged)
    assert_tidy(app, OLD)
    assert publisher.read() == contents(generation("one"))


def assert_nothing_torn(seen):
    assert {seen["descriptor"][key] for key in ("mixed", "missing", "partial")} == {0}
    assert {seen["path"][key] for key in ("missing", "partial")} == {0}


def test_readers_during_three_hundred_publishes_never_see_a_partial_or_missing_file_or_two_generations(publisher, app):
    publish(publisher, generation("000"))
    with readers(app, len(contents(generation("000"))["app.env"]), OLD) as both:
        for number in range(1, 301):
            publish(publisher, generation(f"{number:03}"))
            if number % 10 == 0:  # Neither reader may get ahead: both read during the publishes.
                both.wait()
        seen = both.end()
    assert all(counts["tags"] > 10 for counts in seen.values())
    assert_nothing_torn(seen)


def test_readers_during_two_hundred_rollbacks_never_see_a_partial_or_missing_file_or_two_generations(publisher, app):
    publish(publisher, generation("one", OLD))
    publish(publisher, generation("two", NEW))
    both_have = sorted(set(OLD) & set(NEW))
    with readers(app, len(contents(generation("one"))["app.env"]), both_have) as both:
        for turn in range(200):
            publisher.roll_back(1 + turn % 2)
            if turn % 5 == 0:  # An odd number, so that they read both.
                both.wait()
        seen = both.end()
    assert [counts["tags"] for counts in seen.values()] == [2, 2]
    assert_nothing_torn(seen)


# -- killed at any point -------------------------------------------------------------------------------------

PUBLISH = """
from support.models.generations import NEW, generation
from lessee.publishing.publication import Publisher

def begin(directory):
    return Publisher(directory, owner=(None, None), mode=0o440, allow_disk=False)

def act(publisher):
    publisher.recover()
    staged = publisher.stage(generation("two", NEW))
    publisher.publish(staged)
    publisher.prune(range(10**9))
"""
WITHDRAW = """
from lessee.publishing.publication import Publisher

def begin(directory):
    return Publisher(directory, owner=(None, None), mode=0o440, allow_disk=False)

def act(publisher):
    publisher.recover()
    publisher.withdraw()
"""


@pytest.mark.parametrize("first", [generation("one", OLD), None], ids=["over an old one", "the very first"])
def test_killed_at_any_step_it_leaves_one_complete_generation_and_cleans_up_at_the_next_start(memory, first):
    old = contents(first) if first else {}
    new = contents(generation("two", NEW))
    codes, is_new = [], []
    for code, app in killed_at_every_step(PUBLISH, memory, lambda app: _prepare(app, first), at_least=100):
        found, held = shown_after_a_kill(app)
        assert held in (old, new), app
        assert all(found[name] == held[name] for name in held if name in set(OLD) & set(NEW)), app
        _assert_recovers(app, held)
        codes.append(code)
        is_new.append(held == new)
    assert codes[-1] == 0
    assert_one_change(is_new)


def test_a_withdrawal_killed_at_any_step_leaves_the_complete_generation_or_nothing(memory):
    old = contents(generation("one", OLD))
    codes, is_gone = [], []
    for code, app in killed_at_every_step(WITHDRAW, memory, lambda app: _prepare(app, generation("one", OLD))):
        found, held = shown_after_a_kill(app)
        assert (found, held) in ((old, old), ({}, {})), app
        _assert_recovers(app, held)
        codes.append(code)
        is_gone.append(not held)
    assert codes[-1] == 0
    assert is_gone.count(True) > 5
    assert_one_change(is_gone)


def _prepare(app, first):
    """An app's directory as an agent that was killed before may have left it."""
    publisher = Publisher(app, owner=(None, None), mode=0o440, allow_disk=False)
    if first:
        publish(publisher, first)
    publisher.close()
    (app / "..lessee-7-0badcafe").mkdir()
    (app / "..lessee-7-0badcafe" / "app.env").write_text(CANARY)
    (app / "..lessee-link").symlink_to("..lessee-7-0badcafe")


def _assert_recovers(app, live):
    publisher = Publisher(app, owner=(None, None), mode=0o440, allow_disk=False)
    try:
        assert bool(publisher.recover()) == bool(live)
        assert publisher.read() == live
        if live:
            assert_tidy(app, live)
        else:
            assert list(app.iterdir()) == []
        publish(publisher, generation("three", NEW))
        publisher.prune(ALL)
        assert_tidy(app, NEW)
    finally:
        publisher.close()


def test_missing_links_are_repaired(publisher, app):
    live = publish(publisher, generation("one"))
    (app / "app.env").unlink()
    (app / "stray").symlink_to("..data/stray")
    (app / "foreign").symlink_to("/etc/hostname")
    assert publisher.recover() == live
    assert (app / "foreign").is_symlink()
    (app / "foreign").unlink()
    assert_tidy(app, OLD)


def test_a_live_link_without_a_target_is_no_generation(publisher, app):
    live = publish(publisher, generation("one"))
    shutil.rmtree(app / live.folder)
    assert publisher.recover() is None
    assert publisher.read() == {}
    assert [path.name for path in app.iterdir()] == ["..data"]
    publish(publisher, generation("two"))
    assert_tidy(app, OLD)


# -- rolled back ----------------------------------------------------------------------------------------------


def test_a_rollback_publishes_the_complete_earlier_generation_with_its_own_names(publisher, app):
    first = publish(publisher, generation("one", OLD))
    publish(publisher, generation("two", NEW))
    assert publisher.roll_back(1) == first == publisher.live()
    assert_tidy(app, OLD, kept=[2])
    assert shown(app) == (contents(generation("one", OLD)),) * 2
    publisher.roll_back(2)
    assert_tidy(app, NEW, kept=[1])
    assert shown(app) == (contents(generation("two", NEW)),) * 2


def test_there_is_no_rollback_to_a_pruned_generation_and_the_live_one_stays(publisher, app):
    publish(publisher, generation("one", OLD))
    publish(publisher, generation("two", NEW))
    publisher.prune([1])
    with pytest.raises(WriteError, match="generation 1 no longer exists"):
        publisher.roll_back(1)
    assert_tidy(app, NEW)


def test_a_failed_rollback_leaves_both_generations_complete(publisher, app):
    publish(publisher, generation("one", OLD))
    publish(publisher, generation("two", NEW))
    (app / "gone.txt").mkdir()
    with pytest.raises(WriteError, match=r"gone\.txt is a directory"):
        publisher.roll_back(1)
    (app / "gone.txt").rmdir()
    assert_tidy(app, NEW, kept=[1])
    publisher.roll_back(1)
    assert shown(app) == (contents(generation("one", OLD)),) * 2


def test_recovery_keeps_the_generation_to_roll_back_to(publisher, app):
    for tag in ("one", "two", "three"):
        publish(publisher, generation(tag))
    publisher.stage(generation("four"))
    assert publisher.recover(keep={1}).number == 3
    assert_tidy(app, OLD, kept=[1])
    assert publisher.recover().number == 3
    assert_tidy(app, OLD)


def test_no_number_is_used_twice_after_rollbacks_discards_and_pruning(publisher):
    given = [publish(publisher, generation("one")).number, publish(publisher, generation("two")).number]
    publisher.roll_back(1)
    given.append(publish(publisher, generation("three")).number)
    staged = publisher.stage(generation("four"))
    publisher.discard(staged)
    given.append(staged.number)
    publisher.roll_back(1)
    publisher.prune(ALL)
    given.append(publish(publisher, generation("five")).number)
    assert given == [1, 2, 3, 4, 5]


def test_no_number_is_used_that_a_folder_of_an_earlier_agent_has(publisher, app):
    publish(publisher, generation("one"))
    publish(publisher, generation("two"))
    publisher.roll_back(1)
    again = Publisher(app, owner=(None, None), mode=0o440, allow_disk=False)
    try:
        assert publish(again, generation("three")).number == 3
        assert again.numbers() == {1, 2, 3}
    finally:
        again.close()


def test_only_the_numbers_that_are_named_are_pruned_and_never_the_live_one(publisher, app):
    for tag in ("one", "two", "three", "four"):
        publish(publisher, generation(tag))
    publisher.prune([2, 4, 9])
    assert_tidy(app, OLD, kept=[1, 3])


# -- no needless change --------------------------------------------------------------------------------------


def test_the_same_generation_is_not_staged_again(publisher, app):
    publish(publisher, generation("one"))
    assert publisher.stage(generation("one")) is None
    assert_tidy(app, OLD)


@pytest.mark.parametrize(
    "changed",
    [generation("two"), generation("one", mode=0o400), generation("one", OLD[:2]), generation("one", NEW)],
    ids=["bytes", "mode", "fewer names", "other names"],
)
def test_a_change_of_bytes_names_or_mode_alone_is_staged(publisher, changed):
    publish(publisher, generation("one"))
    assert publisher.stage(changed) is not None


def test_a_change_of_owner_alone_is_staged(publisher):
    need(os.geteuid() == 0, "needs root")
    publish(publisher, generation("one"))
    first, *others = generation("one").files
    assert publisher.stage(Generation("simba", (replace(first, gid=1234), *others))) is not None


@pytest.mark.parametrize("plant", [os.mkfifo, lambda path: path.symlink_to("/etc/hostname")], ids=["FIFO", "link"])
def test_an_entry_that_an_app_puts_in_place_of_its_file_is_replaced(publisher, app, plant):
    publish(publisher, generation("one"))
    planted = (app / "app.env").resolve()
    planted.unlink()
    plant(planted)
    publish(publisher, generation("one"))
    assert shown(app) == (contents(generation("one")),) * 2


# -- private -------------------------------------------------------------------------------------------------


def test_mode_and_owner_are_right_before_the_first_byte(app):
    gid = 1234 if os.geteuid() == 0 else os.getegid()
    publisher = Publisher(app, owner=(None, gid), mode=0o440, allow_disk=False)
    wanted = Generation("simba", tuple(replace(file, gid=gid) for file in generation("one").files))
    seen = set()
    folders = set()

    def look(frame, _event, _argument):
        if not any(part in frame.f_code.co_filename for part in ("/lessee/host/", "/lessee/publishing/")):
            return None
        for folder in app.glob("..lessee-*"):
            files = [path.lstat() for path in folder.iterdir()]
            seen.update((file.st_size > 0, stat.S_IMODE(file.st_mode), file.st_gid) for file in files)
            if sum(file.st_size > 0 for file in files) < len(OLD):
                folders.add(stat.S_IMODE(folder.lstat().st_mode))
        return look

    previous = sys.gettrace()
    sys.settrace(look)
    try:
        staged = publisher.stage(wanted)
    finally:
        sys.settrace(previous)
        publisher.close()
    assert (False, 0, os.getegid()) in seen
    assert {(mode, group) for has_bytes, mode, group in seen if has_bytes} == {(0o440, gid)}
    assert folders == {0o700}
    final = staged.path.stat()
    assert (stat.S_IMODE(final.st_mode), final.st_gid) == (0o750, gid)


@pytest.mark.parametrize(
    ("mode", "folder"), [(0o440, 0o750), (0o444, 0o755), (0o400, 0o700), (0o640, 0o750), (0o600, 0o700)]
)
def test_only_users_who_may_read_the_files_may_enter_the_directory(app, mode, folder):
    umask = os.umask(0o077)
    try:
        publisher = Publisher(app, owner=(None, None), mode=mode, allow_disk=False)
        live = publish(publisher, generation("one", mode=mode))
        publisher.close()
    finally:
        os.umask(umask)
    assert stat.S_IMODE(app.stat().st_mode) == folder
    assert stat.S_IMODE((app / live.folder).stat().st_mode) == folder
    assert {stat.S_IMODE((app / name).stat().st_mode) for name in OLD} == {mode}


def test_a_file_with_more_readers_than_its_app_can_be_reached_by_them(publisher, app):
    first, *others = generation("one").files
    live = publish(publisher, Generation("simba", (replace(first, mode=0o444), *others)))
    assert stat.S_IMODE((app / live.folder).stat().st_mode) == 0o755


def test_a_created_directory_belongs_to_the_app(memory):
    need(os.geteuid() == 0, "needs root")
    Publisher(memory / "a" / "app", owner=(1000, 1001), mode=0o440, allow_disk=False).close()
    status = (memory / "a" / "app").stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (1000, 1001, 0o750)
    assert (memory / "a").stat().st_uid == 0


def test_an_existing_directory_keeps_its_mode(app):
    app.mkdir()
    app.chmod(0o710)
    Publisher(app, owner=(None, None), mode=0o444, allow_disk=False).close()
    assert stat.S_IMODE(app.stat().st_mode) == 0o710


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o702])
def test_a_directory_that_every_user_may_write_is_refused(app, mode):
    app.mkdir()
    app.chmod(mode)
    with pytest.raises(WriteError, match=r"every user may write.*chmod o-w"):
        Publisher(app, owner=(None, None), mode=0o440, allow_disk=False)


def test_a_directory_that_another_group_may_write_is_refused_but_not_for_the_apps_own_group(app):
    need(os.geteuid() == 0, "needs root")
    app.mkdir()
    os.chown(app, 0, 1000)
    app.chmod(0o2770)
    Publisher(app, owner=(0, 1000), mode=0o440, allow_disk=False).close()
    with pytest.raises(WriteError, match=r"group 1000 may write.*chmod g-w"):
        Publisher(app, owner=(0, 1001), mode=0o440, allow_disk=False)


def test_a_directory_of_another_user_is_refused(app):
    need(os.geteuid() == 0, "needs root")
    app.mkdir()
    os.chown(app, 1000, 0)
    Publisher(app, owner=(1000, 0), mode=0o440, allow_disk=False).close()
    with pytest.raises(WriteError, match="its owner, uid 1000, may write"):
        Publisher(app, owner=(0, 0), mode=0o440, allow_disk=False)


def test_a_disk_is_refused_unless_it_is_allowed(tmp_path):
    on_disk = tmp_path / "app"
    with pytest.raises(WriteError, match=r"tmpfs.*allow_disk: true"):
        Publisher(on_disk, owner=(None, None), mode=0o440, allow_disk=False)
    publisher = Publisher(on_disk, owner=(None, None), mode=0o440, allow_disk=True)
    publish(publisher, generation("one"))
    publisher.close()
    assert shown(on_disk) == (contents(generation("one")),) * 2


INVALID = ["", ".", "..", "..data", "a//b", "a/", "a/./b", "a/../../b", "a/..data", "/etc/passwd", "a\0b", "x" * 256]


@pytest.mark.parametrize("name", [*INVALID, f"a/{'x' * 256}", "a/" * 32 + "b"])
def test_an_invalid_file_name_is_refused(publisher, app, name):
    with pytest.raises(WriteError, match="not a valid file name"):
        publisher.stage(generation("one", (name,)))
    assert list(app.iterdir()) == []


@pytest.mark.parametrize(
    "plant",
    [
        os.mkfifo,
        lambda path: path.write_text("mine"),
        lambda path: path.symlink_to("../target"),
        lambda path: path.symlink_to("/nowhere"),
    ],
    ids=["FIFO", "file", "link", "dangling link"],
)
def test_an_existing_entry_is_replaced_and_never_written_through(publisher, app, memory, plant):
    (memory / "target").write_text("untouched")
    plant(app / "app.env")
    publish(publisher, generation("one"))
    assert (memory / "target").read_text() == "untouched"
    assert_tidy(app, OLD)
    assert shown(app) == (contents(generation("one")),) * 2


def test_a_directory_with_the_name_of_a_file_is_refused_before_any_write(publisher, app):
    publish(publisher, generation("one", ("app.env",)))
    (app / "key.pem").mkdir()
    with pytest.raises(WriteError, match=r"key.pem is a directory; remove it"):
        publisher.stage(generation("two", OLD))
    (app / "key.pem").rmdir()
    assert_tidy(app, ("app.env",))


def test_a_directory_that_appears_meanwhile_is_refused_before_the_publish(publisher, app):
    publish(publisher, generation("one", ("app.env",)))
    staged = publisher.stage(generation("two", OLD))
    (app / "key.pem").mkdir()
    with pytest.raises(WriteError, match=r"key.pem is a directory"):
        publisher.publish(staged)
    (app / "key.pem").rmdir()
    assert_tidy(app, ("app.env",))
    assert publisher.read() == contents(generation("one", ("app.env",)))


@pytest.mark.parametrize("target", ["..2026_11_25_12_00_00.123", "/tmp", "..lessee-1-0badcafe/.."])
def test_a_volume_of_another_publisher_is_refused(publisher, app, target):
    (app / "..data").symlink_to(target)
    for call in (publisher.recover, publisher.read, lambda: publisher.stage(generation("one"))):
        with pytest.raises(WriteError, match=r"\.\.data does not belong to lessee"):
            call()
    assert [path.name for path in app.iterdir()] == ["..data"]


def test_a_data_entry_that_is_not_a_link_is_refused(publisher, app):
    (app / "..data").mkdir()
    with pytest.raises(WriteError, match=r"\.\.data does not belong to lessee"):
        publisher.stage(generation("one"))


def test_an_error_quotes_no_value(publisher, app):
    shutil.rmtree(app)
    with pytest.raises(WriteError) as caught:
        publisher.stage(generation("one"))
    assert CANARY not in repr(caught.value)
    assert str(app) in str(caught.value)
    assert caught.value.__cause__ is None


# -- when it cannot ------------------------------------------------------------------------------------------

FULL = """
import json, os, subprocess, sys
from pathlib import Path
from lessee.core.errors import WriteError
from lessee.core.generation import File, Generation
from lessee.publishing.publication import Publisher

mount, first, second = Path(sys.argv[1]), sys.argv[2].split(), sys.argv[3].split()

def tree():
    return sorted(str(path) for path in mount.rglob("*"))

def generation(tag, names, size=10):
    return Generation("simba", tuple(File(name, tag * size, 0o440) for name in names))

def attempt(options, size):
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", mount], check=True)
    publisher = Publisher(mount / "app", owner=(None, None), mode=0o440, allow_disk=False)
    try:
        return outcome(publisher, size)
    finally:
        publisher.close()
        subprocess.run(["umount", mount], check=True)

def outcome(publisher, size):
    try:
        publisher.publish(publisher.stage(generation(b"1", first)))
    except WriteError:
        return "no room for the first" if not os.listdir(mount / "app") else "leavings"
    before = tree()
    try:
        publisher.publish(publisher.stage(generation(b"2", second, size)))
    except WriteError as problem:
        whole = publisher.read() == {name: b"1" * 10 for name in first} and (mount / "app" / first[-1]).exists()
        explained = "No space left" in str(problem) and "size=" in str(problem) and problem.exit_code == 73
        return "old" if whole and explained and before == tree() else str(problem)
    whole = publisher.read() == {name: b"2" * size for name in second}
    return "new" if whole else "broken"

by_inodes = [attempt(f"size=1m,nr_inodes={n}", 10) for n in range(3, 28)]
by_bytes = attempt("size=64k", 100_000)
print(json.dumps({"inodes": by_inodes, "bytes": by_bytes}))
"""


@pytest.mark.parametrize(("first", "second"), [("a b", "a c d"), ("a b/c", "a d/e d/f/g")], ids=["flat", "in folders"])
def test_without_space_at_any_step_the_old_generation_stays_and_nothing_is_left(tmp_path, first, second):
    found = in_own_mounts(FULL, tmp_path, first, second)
    assert found["bytes"] == "old"
    assert set(found["inodes"]) == {"no room for the first", "old", "new"}
    assert found["inodes"].count("old") > 3


READ_ONLY = """
import json, os, subprocess, sys
from pathlib import Path
from lessee.core.errors import WriteError
from lessee.core.generation import File, Generation
from lessee.publishing.publication import Publisher

mount = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "tmpfs", mount], check=True)
publisher = Publisher(mount / "app", owner=(None, None), mode=0o440, allow_disk=False)
publisher.publish(publisher.stage(Generation("simba", (File("a", b"1", 0o440),))))
staged = publisher.stage(Generation("simba", (File("a", b"2", 0o440),)))
subprocess.run(["mount", "-o", "remount,bind,ro", mount], check=True)
said = []
another = Generation("simba", (File("a", b"3", 0o440),))
for call in (lambda: publisher.stage(another), lambda: publisher.publish(staged)):
    try:
        call()
    except WriteError as problem:
        said.append(str(problem))
print(json.dumps({"said": said, "a": (mount / "app/a").read_text()}))
"""


def test_on_a_read_only_mount_the_old_generation_stays_and_the_error_says_what_to_do(tmp_path):
    found = in_own_mounts(READ_ONLY, tmp_path)
    assert found["a"] == "1"
    assert len(found["said"]) == 2
    assert all("Read-only" in said and "mount it writable" in said for said in found["said"])


UNPRIVILEGED = """
import os, sys
from pathlib import Path
from lessee.core.errors import WriteError
from lessee.core.generation import File, Generation
from lessee.publishing.publication import Publisher

if os.geteuid() == 0:
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
directory = Path(sys.argv[1]) / "app"
own = Publisher(directory, owner=(os.geteuid(), os.getegid()), mode=0o440, allow_disk=False)
own.publish(own.stage(Generation("simba", (File("a", b"1", 0o440, os.geteuid(), None),))))
try:
    own.stage(Generation("simba", (File("a", b"2", 0o440, 0, 0),)))
except WriteError as problem:
    print(problem)
print(sorted(name[:9] for name in os.listdir(directory)))
"""


def test_an_owner_that_cannot_be_set_is_reported_and_the_own_uid_needs_no_capability(memory):
    if os.geteuid() == 0:
        os.chown(memory, 65534, 65534)
    command = [sys.executable, "-c", UNPRIVILEGED, memory]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert "may not give files to 0:0" in said[0]
    assert "CAP_CHOWN, or leave out `owner`" in said[0]
    assert said[1] == "['..data', '..lessee-', 'a']"
