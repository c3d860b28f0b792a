"""Files in folders of an app's directory: no reader, kill or attack makes them less whole or private than others."""

import os
import shutil
import stat
import subprocess
import sys

import pytest

from lessee.core.errors import UsageError, WriteError
from lessee.core.generation import File, Generation
from lessee.core.immutable import replace
from lessee.publishing.plain_files import write_plain_files
from lessee.publishing.publication import Publisher
from lessee.publishing.reader import read_generation
from support.full_disk import no_file_may_grow_beyond
from support.models.generations import (
    assert_one_change,
    assert_tidy,
    contents,
    generation,
    killed_at_every_step,
    readers,
)
from support.needs import need
from support.paths import TESTS

DEEP_OLD = ("app.env", "tls/server.pem", "tls/private/key.pem", "gone/a", "turns")
DEEP_NEW = ("app.env", "tls/server.pem", "tls/private/key.pem", "new/a/b", "turns/into/folders")
BOTH = ("app.env", "tls/server.pem", "tls/private/key.pem")
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


def first_elements(wanted):
    return {file.name.partition("/")[0] for file in wanted.files}


def below(folder):
    """The files in a folder and in those below it, whatever links lead to them."""
    found = {}
    for path in folder.iterdir() if folder.exists() else ():
        if path.is_dir():
            found |= {f"{path.name}/{name}": content for name, content in below(path).items()}
        else:
            found[path.name] = path.read_bytes()
    return found


def by_path(app):
    """What a reader of the directory finds, who skips lessee's own names."""
    found = {}
    for path in app.iterdir():
        if not path.name.startswith("..") and path.exists():
            inside = {f"{path.name}/{name}": content for name, content in below(path).items()} if path.is_dir() else {}
            found |= inside or {path.name: path.read_bytes()}
    return found


# -- whole ---------------------------------------------------------------------------------------------------


def test_a_file_becomes_a_folder_and_a_file_again_in_one_step_each(publisher, app):
    for number, names in enumerate([("tls",), ("tls/a",), ("tls/a/b", "tls/c"), ("tls/a",), ("tls",)]):
        wanted = generation(str(number), names)
        publish(publisher, wanted)
        publisher.prune(ALL)
        assert_tidy(app, ["tls"])
        assert by_path(app) == publisher.read() == contents(wanted)


def test_a_rollback_publishes_the_folders_of_the_earlier_generation(publisher, app):
    publish(publisher, generation("one", DEEP_OLD))
    publish(publisher, generation("two", DEEP_NEW))
    for number, wanted in ((1, generation("one", DEEP_OLD)), (2, generation("two", DEEP_NEW))):
        publisher.roll_back(number)
        assert_tidy(app, first_elements(wanted), kept=[3 - number])
        assert by_path(app) == contents(wanted)


def test_readers_during_two_hundred_publishes_never_find_a_file_in_a_folder_missing_partial_or_mixed(publisher, app):
    publish(publisher, generation("000", DEEP_OLD))
    with readers(app, len(contents(generation("000"))["app.env"]), BOTH) as both:
        for number in range(1, 201):
            publish(publisher, generation(f"{number:03}", DEEP_NEW if number % 2 else DEEP_OLD))
            if number % 10 == 0:  # Neither reader may get ahead: both read during the publishes.
                both.wait()
        seen = both.end()
    assert all(counts["tags"] > 10 for counts in seen.values())
    assert {seen["descriptor"][key] for key in ("mixed", "missing", "partial")} == {0}
    assert {seen["path"][key] for key in ("missing", "partial")} == {0}


PUBLISH = f"""
from support.models.generations import generation
from lessee.publishing.publication import Publisher

def begin(directory):
    return Publisher(directory, owner=(None, None), mode=0o440, allow_disk=False)

def act(publisher):
    publisher.recover()
    publisher.publish(publisher.stage(generation("two", {DEEP_NEW})))
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


def prepare(app, *, first=True):
    """An app's directory as an agent that was killed before may have left it."""
    publisher = Publisher(app, owner=(None, None), mode=0o440, allow_disk=False)
    if first:
        publish(publisher, generation("one", DEEP_OLD))
    publisher.close()
    (app / "..lessee-7-0badcafe" / "tls" / "private").mkdir(parents=True)
    (app / "..lessee-7-0badcafe" / "tls" / "private" / "key.pem").write_text("half")


def assert_recovers(app, live):
    publisher = Publisher(app, owner=(None, None), mode=0o440, allow_disk=False)
    try:
        assert bool(publisher.recover()) == bool(live)
        assert publisher.read() == live
        if live:
            assert_tidy(app, {name.partition("/")[0] for name in live})
        else:
            assert list(app.iterdir()) == []
        publish(publisher, generation("three", DEEP_NEW))
        publisher.prune(ALL)
        assert_tidy(app, first_elements(generation("", DEEP_NEW)))
    finally:
        publisher.close()


@pytest.mark.thorough
@pytest.mark.parametrize("first", [True, False], ids=["over an old one", "the very first"])
def test_killed_at_any_step_it_leaves_one_complete_generation_of_files_in_folders(memory, first):
    old = contents(generation("one", DEEP_OLD)) if first else {}
    new = contents(generation("two", DEEP_NEW))
    codes, is_new = [], []
    killed = killed_at_every_step(
        PUBLISH, memory, lambda app: prepare(app, first=first), at_least=100, of=2, key=f"first {first}"
    )
    for code, app in killed:
        held = below(app / "..data")
        assert held in (old, new), app
        found = by_path(app)
        assert all(found[name] == held[name] for name in held if name in BOTH), app
        assert_recovers(app, held)
        codes.append(code)
        is_new.append(held == new)
    assert codes[-1] == 0
    assert_one_change(is_new)


def test_a_withdrawal_of_folders_killed_at_any_step_leaves_all_files_or_none(memory):
    old = contents(generation("one", DEEP_OLD))
    codes, is_gone = [], []
    for code, app in killed_at_every_step(WITHDRAW, memory, prepare):
        held = below(app / "..data")
        assert (by_path(app), held) in ((old, old), ({}, {})), app
        assert_recovers(app, held)
        codes.append(code)
        is_gone.append(not held)
    assert codes[-1] == 0
    assert_one_change(is_gone)


def test_a_failed_stage_leaves_no_folder(publisher, app):
    publish(publisher, generation("one", DEEP_OLD))
    first, *others = generation("two", DEEP_NEW).files
    with no_file_may_grow_beyond(len(first.content)), pytest.raises(WriteError, match="File too large"):
        publisher.stage(Generation("simba", (first, *others[:-1], replace(others[-1], content=bytes(100_000)))))
    assert_tidy(app, first_elements(generation("", DEEP_OLD)))
    assert by_path(app) == contents(generation("one", DEEP_OLD))


# -- no needless change --------------------------------------------------------------------------------------


def test_the_same_files_in_folders_are_not_staged_again(publisher):
    publish(publisher, generation("one", DEEP_OLD))
    assert publisher.stage(generation("one", DEEP_OLD)) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda tls: (tls / "private" / "key.pem").unlink(),
        lambda tls: (tls / "private" / "more.pem").touch(),
        lambda tls: (tls / "private" / "key.pem").chmod(0o644),
        lambda tls: (tls / "private" / "key.pem").write_text("other"),
        shutil.rmtree,
        lambda tls: shutil.rmtree(tls) or tls.touch(),
        lambda tls: tls.rename(tls.with_name("moved")) and tls.symlink_to("moved"),
    ],
    ids=["removed", "added", "mode", "text", "folder removed", "file for a folder", "link for a folder"],
)
def test_what_an_app_changes_in_its_folders_is_published_again(publisher, app, change):
    publish(publisher, generation("one", DEEP_OLD))
    change(app / "..data" / "tls")
    publish(publisher, generation("one", DEEP_OLD))
    publisher.prune(ALL)
    assert_tidy(app, first_elements(generation("", DEEP_OLD)))
    assert by_path(app) == contents(generation("one", DEEP_OLD))


# -- private -------------------------------------------------------------------------------------------------


def test_only_who_may_read_a_file_below_it_may_enter_a_folder(app):
    files = (
        File("tls/private/key.pem", b"k", 0o400),
        File("tls/server.pem", b"c", 0o440),
        File("public/ca.pem", b"a", 0o444),
    )
    umask = os.umask(0o077)
    try:
        publisher = Publisher(app, owner=(None, None), mode=0o444, allow_disk=False)
        live = publish(publisher, Generation("simba", files))
        publisher.close()
    finally:
        os.umask(umask)
    modes = {
        name: stat.S_IMODE((app / live.folder / name).stat().st_mode) for name in (".", "tls", "tls/private", "public")
    }
    assert modes == {".": 0o755, "tls": 0o750, "tls/private": 0o700, "public": 0o755}


def test_a_folder_belongs_to_the_app_and_no_user_enters_it_before_all_files_are_there(app):
    need(os.geteuid() == 0, "needs root")
    publisher = Publisher(app, owner=(1000, 1001), mode=0o440, allow_disk=False)
    seen = set()

    def look(frame, _event, _argument):
        if "/lessee/publishing/" not in frame.f_code.co_filename:
            return None
        for folder in app.glob("..lessee-*"):
            seen.add((stat.S_IMODE(folder.stat().st_mode), len(below(folder))))
        return look

    previous = sys.gettrace()
    sys.settrace(look)
    try:
        publish(publisher, generation("one", DEEP_OLD))
    finally:
        sys.settrace(previous)
        publisher.close()
    assert {mode for mode, files in seen if files < len(DEEP_OLD)} == {0o700}
    for name in ("tls", "tls/private", "gone"):
        status = (app / "..data" / name).stat()
        assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (1000, 1001, 0o750)


# -- attacked ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tls", "gone"])
def test_a_directory_with_the_name_of_a_folder_is_refused_before_any_write(publisher, app, name):
    publish(publisher, generation("one", ("app.env",)))
    (app / name).mkdir()
    with pytest.raises(WriteError, match=rf"{name} is a directory; remove it"):
        publisher.stage(generation("two", DEEP_OLD))
    (app / name).rmdir()
    assert_tidy(app, ("app.env",))


@pytest.mark.parametrize("target", ["../outside", "..data/other", "/etc"])
def test_a_link_with_the_name_of_a_folder_is_replaced_and_not_followed(publisher, app, memory, target):
    (memory / "outside").mkdir()
    (app / "tls").symlink_to(target)
    publish(publisher, generation("one", DEEP_OLD))
    assert_tidy(app, first_elements(generation("", DEEP_OLD)))
    assert by_path(app) == contents(generation("one", DEEP_OLD))
    assert list((memory / "outside").iterdir()) == []


@pytest.mark.parametrize("names", [("tls", "tls/key.pem"), ("tls/key.pem", "tls"), ("a/b/c", "a/b")])
def test_a_file_and_a_folder_of_one_name_are_refused_before_any_write(publisher, app, names):
    with pytest.raises(WriteError, match=r"is a file, so that .* cannot be in a directory of that name; rename one"):
        publisher.stage(generation("one", names))
    assert list(app.iterdir()) == []


def snapshot(folder):
    found = {}
    for path in (folder, *folder.rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        found[path] = (status.st_mode, status.st_uid, status.st_gid, content)
    return found


def test_a_link_that_an_app_plants_for_a_folder_leads_the_agent_nowhere(app, memory):
    need(os.geteuid() == 0, "needs root, to give the folders to an app")
    outside = memory / "outside"
    (outside / "private").mkdir(parents=True)
    for name in ("server.pem", "private/key.pem"):  # The same text, so that only the link tells them apart.
        (outside / name).write_bytes(contents(generation("one", DEEP_OLD))["tls/server.pem"])
        (outside / name).chmod(0o440)
    publisher = Publisher(app, owner=(1000, 1000), mode=0o440, allow_disk=False)
    try:
        live = publish(publisher, generation("one", DEEP_OLD))
        before = snapshot(outside)
        shutil.rmtree(app / live.folder / "tls")
        (app / live.folder / "tls").symlink_to(outside)
        with pytest.raises(WriteError):
            publisher.roll_back(9)
        with pytest.raises(UsageError, match="no such file"):
            read_generation(app, ["tls/server.pem"], timeout=0)
        publish(publisher, generation("one", DEEP_OLD))
        publisher.prune(ALL)
        assert_tidy(app, first_elements(generation("", DEEP_OLD)))
        assert snapshot(outside) == before
        publisher.withdraw()
        assert (list(app.iterdir()), snapshot(outside)) == ([], before)
    finally:
        publisher.close()


EXCHANGED = """
import os, sys
from pathlib import Path
from support.models.generations import generation
from lessee.core.errors import WriteError
from lessee.publishing.publication import Publisher

how, memory, *names = sys.argv[1:]
outside = Path(memory, "outside")

def watch(app, step):
    # What an app may do that owns its directory: exchange what is in it, at any moment. Its folder stays its own.
    left, own, busy = step, None, False
    def look(event, _):
        nonlocal left, own, busy
        if busy or not (event == "open" or event.startswith("os.")):
            return
        busy, left = True, left - 1
        if left <= 0 and not own:
            for path in app.glob("..lessee-2-*"):
                path.rename(app / "moved")
                own = path
                if how == "link":
                    path.symlink_to(outside)
                else:
                    path.mkdir()
                    os.chown(path, 1000, 1000)
        elif own and how == "folder" and (own / "tls").is_dir() and not (own / "tls").is_symlink():
            (own / "tls").rename(own / "elsewhere")
            (own / "tls").symlink_to(outside)
        busy = False
    sys.addaudithook(look)
    return lambda: left

def publish(step):
    app = Path(memory, f"app-{step}")
    publisher = Publisher(app, owner=(1000, 1000), mode=0o440, allow_disk=False)
    publisher.publish(publisher.stage(generation("one", names)))
    left = watch(app, step)
    try:
        publisher.publish(publisher.stage(generation("two", names)))
        publisher.prune(range(10**9))
    except WriteError:
        pass
    return left() > 0

step, has_ended = 0, False
while not has_ended:
    step += 1
    pid = os.fork()
    if pid == 0:
        os._exit(publish(step))
    has_ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
    assert sorted(os.listdir(outside)) == ["private", "theirs"] and os.listdir(outside / "private") == [], step
    assert [os.stat(path).st_uid for path in (outside, outside / "private", outside / "theirs")] == [0, 0, 0], step
print(step)
"""


@pytest.mark.parametrize("how", ["link", "folder"])
def test_an_app_that_exchanges_a_folder_while_it_is_filled_leads_the_agent_nowhere(memory, how):
    need(os.geteuid() == 0, "needs root, to give the folders to an app")
    (memory / "outside" / "private").mkdir(parents=True)
    (memory / "outside" / "theirs").touch()
    command = [sys.executable, "-c", EXCHANGED, how, memory, *DEEP_OLD]
    environ = os.environ | {"PYTHONPATH": str(TESTS)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environ)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 50


@pytest.mark.parametrize("name", ["..data", "..lessee-9-0badcafe", "..lessee-link"])
def test_an_entry_with_a_reserved_name_that_an_app_adds_to_its_files_is_never_linked(publisher, app, name):
    live = publish(publisher, generation("one", DEEP_OLD))
    (app / live.folder / name).mkdir()
    assert publisher.recover() == live
    assert_tidy(app, first_elements(generation("", DEEP_OLD)))
    publish(publisher, generation("two", DEEP_OLD))
    assert publisher.roll_back(live.number) == live
    assert_tidy(app, first_elements(generation("", DEEP_OLD)), kept=[2])
    assert by_path(app) == contents(generation("one", DEEP_OLD))


def test_a_backslash_is_an_ordinary_character_of_a_name_as_everywhere_on_linux(publisher, app):
    publish(publisher, generation("one", ("tls\\server.pem", "C:/app.env")))
    assert_tidy(app, ["tls\\server.pem", "C:"])


@pytest.mark.parametrize(
    "name",
    ["tls/../app.env", "tls/./server.pem", "tls//server.pem", "/tls", "tls/absent", "app.env/x", "../app/app.env"],
)
def test_no_name_that_was_not_published_is_read(publisher, app, name):
    publish(publisher, generation("one", DEEP_OLD))
    with pytest.raises(UsageError) as caught:
        read_generation(app, [name], timeout=0)
    assert f"no such file: {name}; published are: {', '.join(sorted(DEEP_OLD))}" in str(caught.value)


def test_files_in_folders_are_read_together(publisher, app):
    publish(publisher, generation("one", DEEP_OLD))
    assert read_generation(app, DEEP_OLD, timeout=0) == contents(generation("one", DEEP_OLD))


# -- plain files, for a build --------------------------------------------------------------------------------


def test_plain_files_are_written_in_folders_with_the_modes_of_their_readers(tmp_path):
    wanted = generation("one", DEEP_OLD, mode=0o400)
    write_plain_files(tmp_path / "out", wanted)
    write_plain_files(tmp_path / "out", generation("two", DEEP_OLD, mode=0o400))
    assert below(tmp_path / "out") == contents(generation("two", DEEP_OLD))
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "out").rglob("*/")} == {0o700}


def test_a_failed_write_of_plain_files_in_folders_leaves_neither_files_nor_new_folders(tmp_path):
    (tmp_path / "tls").mkdir()
    first, *others = generation("one", DEEP_OLD).files
    with no_file_may_grow_beyond(len(first.content)), pytest.raises(WriteError, match="File too large"):
        write_plain_files(
            tmp_path, Generation("simba", (first, *others[:-1], replace(others[-1], content=bytes(100_000))))
        )
    assert [path.name for path in tmp_path.rglob("*")] == ["tls"]


@pytest.mark.parametrize(
    "plant", [lambda path: path.symlink_to("../outside"), lambda path: path.touch()], ids=["link", "file"]
)
def test_a_link_or_file_in_place_of_a_folder_of_plain_files_is_refused(tmp_path, plant):
    (tmp_path / "outside").mkdir()
    (tmp_path / "out").mkdir()
    plant(tmp_path / "out" / "tls")
    with pytest.raises(WriteError, match=r"cannot write: Not a directory \(tls\).*remove the file or link"):
        write_plain_files(tmp_path / "out", generation("one", DEEP_OLD))
    assert list((tmp_path / "outside").iterdir()) == []
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["tls"]
