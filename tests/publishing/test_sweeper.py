"""Folders that an app filled are removed in bounded steps, in the background."""

import os
import subprocess
import sys
from contextlib import closing

import pytest

from lessee.core.generation import File, Generation
from lessee.publishing import publication, sweeper
from lessee.publishing.publication import Publisher
from lessee.publishing.sweeper import MAX_DEPTH, QUICK_ENTRIES, remove_quickly, sweep
from support.needs import need
from support.programs.sidecar import eventually


@pytest.fixture
def directory(memory):
    """An open directory on tmpfs."""
    fd = os.open(memory, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)
    # Python cannot remove what is nested so deep.
    subprocess.run(["rm", "-rf", memory], check=True)


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def nest(directory, name, depth):
    fd = os.dup(directory)
    for part in (name, *["a"] * depth):
        os.mkdir(part, dir_fd=fd)
        below = os.open(part, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)


def test_a_folder_of_few_files_is_removed_immediately(memory, directory):
    (memory / "few").mkdir()
    for number in range(QUICK_ENTRIES):
        (memory / "few" / str(number)).touch()
    assert remove_quickly("few", directory)
    assert not (memory / "few").exists()


def test_a_folder_with_few_files_in_folders_is_removed_immediately_and_a_link_is_not_followed(memory, directory):
    (memory / "target").mkdir()
    (memory / "target" / "x").touch()
    (memory / "few" / "tls" / "private").mkdir(parents=True)
    (memory / "few" / "tls" / "private" / "key.pem").touch()
    (memory / "few" / "tls" / "link").symlink_to(memory / "target")
    assert remove_quickly("few", directory)
    assert names(memory) == ["target"]
    assert (memory / "target" / "x").exists()


def test_many_files_in_few_folders_are_left_to_the_background(memory, directory):
    for folder in ("a", "b"):
        (memory / "many" / folder).mkdir(parents=True)
        for number in range(QUICK_ENTRIES // 2):
            (memory / "many" / folder / str(number)).touch()
    assert not remove_quickly("many", directory)
    assert (memory / "many").exists()


def test_other_folders_and_what_is_none_are_left_to_the_background(memory, directory):
    nest(directory, "deep", MAX_DEPTH + 1)
    (memory / "many").mkdir()
    for number in range(QUICK_ENTRIES + 1):
        (memory / "many" / str(number)).touch()
    (memory / "link").symlink_to(memory / "many")
    (memory / "file").touch()
    for name in ("deep", "many", "link", "file", "absent"):
        assert not remove_quickly(name, directory)
    assert len(names(memory / "many")) == QUICK_ENTRIES + 1


@pytest.mark.thorough
@pytest.mark.parametrize("depth", [0, MAX_DEPTH - 1, MAX_DEPTH, MAX_DEPTH + 1, 3000])
def test_nested_folders_are_removed_whatever_their_depth(memory, directory, depth):
    nest(directory, "deep", depth)
    sweep(["deep", "absent"], directory, memory)
    eventually(lambda: names(memory) == [], "an empty directory")


def test_links_are_removed_and_not_followed(memory, directory):
    (memory / "target").mkdir()
    (memory / "target" / "x").touch()
    (memory / "gone").mkdir()
    (memory / "gone" / "link").symlink_to(memory / "target")
    (memory / "top").symlink_to(memory / "target")
    sweep(["gone", "top"], directory, memory)
    eventually(lambda: names(memory) == ["target", "top"], "the end of it")
    assert (memory / "target" / "x").exists()


def test_what_takes_too_long_is_left_and_reported(memory, directory, monkeypatch, caplog):
    monkeypatch.setattr(sweeper, "TIMEOUT", 0.0)
    nest(directory, "deep", 3)
    sweep(["deep"], directory, memory)
    eventually(lambda: "leftovers not removed" in caplog.text, "a line in the log")
    assert (memory / "deep" / "a").exists()


def test_leftovers_that_take_long_are_removed_in_the_background(memory, monkeypatch):
    monkeypatch.setattr(publication, "_QUICK_SWEEP", 0.0)
    monkeypatch.setattr(sweeper, "_DELAY", 0.1)
    app = memory / "web"
    with closing(Publisher(app, owner=(None, None), mode=0o440, allow_disk=False)) as publisher:
        for number in range(3):
            (app / f"..lessee-{number}-0badcafe").mkdir()
        publisher.recover()
        eventually(lambda: names(app) == [], "an empty directory")


def test_what_another_user_owns_ends_the_attempt(memory):
    need(os.geteuid() == 0, "needs root, to act as another user")
    memory.chmod(0o755)
    (memory / "locked" / "below").mkdir(parents=True)
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from lessee.publishing.sweeper import _Sweep\n"
        "fd = os.open(sys.argv[1], os.O_RDONLY)\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "print(_Sweep(fd).remove(['locked']))\n"
    )
    command = [sys.executable, "-c", script, str(memory)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "False\n"
    assert (memory / "locked" / "below").exists()


def test_an_old_generation_that_its_app_filled_delays_no_pruning(memory, directory):
    def generation(text):
        return Generation("web", (File("a", text, 0o440),))

    with closing(Publisher(memory / "web", owner=(None, None), mode=0o440, allow_disk=False)) as publisher:
        publisher.publish(publisher.stage(generation(b"1")))
        (old,) = (memory / "web").glob("..lessee-*")
        nest(directory, "deep", 500)
        (memory / "deep").rename(old / "deep")
        publisher.publish(publisher.stage(generation(b"2")))
        publisher.prune([1])
        assert publisher.read() == {"a": b"2"}
        # All parts of it, which are moved up on the way.
        eventually(lambda: len(list((memory / "web").glob("..lessee-*"))) == 1, "the end of the old generation")
