"""Published files stay as they were published: what another program does to them is restored, counted and reported."""

import os
import shutil
import signal
import stat
import subprocess
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from lessee.agent.machine.apps.drift import MAX_REPAIRS
from support.inputs.touched_files import WAYS, is_right, live, relinked, replaced
from support.needs import need
from support.programs.sidecar import eventually, folders, pass_by

FORKED_AGENTS = True
SEEN_BY_INOTIFY = "1h"
"""A `refresh_interval` after which no test still runs: only inotify can have reported a change before."""


@pytest.fixture
def web(bao, sidecar, folder):
    """A sidecar whose app has two files, and a reader."""
    bao.put(f"testing/{folder}", value="right")
    sidecar.folder, sidecar.uid = folder, 0
    for name in "a.txt", "b.txt":
        sidecar.template(f"{name}.j2", f'{{{{ secret("{folder}").value }}}} {name}\n', mode="0640")
    sidecar.web["refresh_interval"] = SEEN_BY_INOTIFY
    # A program of its own: Landlock is off.
    sidecar.web["check"] = ["true"]
    return sidecar


@pytest.fixture
def watched(web, app, folder, request):
    """The same, watched, with an app that is notified."""
    if "directory's owner" in request.node.name:
        # Otherwise it has dropped what it takes to restore the owner.
        web.uid, web.web["owner"] = 4321, "4321:0"
    web.web["notify"] = {"process": {"name": folder}, "uid": 0}
    web.start(wait=False)
    web.until_file("b.txt", "right b.txt\n")
    web.app = app(folder, web.directory / "a.txt", web.directory / "b.txt")
    web.until(lambda status: status["apps"]["web"]["state"] == "notified")
    is_watched(web)
    return web


def is_watched(web):
    """By the descriptors of the agent: inotify lists what it watches there, by inode."""

    def look():
        inode = f"ino:{live(web.directory).stat().st_ino:x} "
        for file in Path(f"/proc/{web.pid}/fdinfo").iterdir():
            with suppress(FileNotFoundError):
                lines = file.read_text().splitlines()
                if any(line.startswith("inotify ") and inode in line for line in lines):
                    return True
        return False

    eventually(look, "a watch of the live generation")


def drift(web):
    return web.status()["apps"]["web"]["drift"]


@pytest.mark.thorough(each=9)
@pytest.mark.parametrize("way", WAYS)
def test_what_another_program_changes_is_restored_and_reported_and_the_app_notified_if_it_read_something_else(
    watched, way
):
    change, found, is_changed = WAYS[way]
    before = watched.status()
    change(watched.directory)
    eventually(lambda: is_right(watched.directory, watched.uid), "the published files")
    status = watched.until(lambda status: status["apps"]["web"]["drift"]["total"] > 0)
    assert found in status["apps"]["web"]["drift"]["found"]
    assert 'lessee_app_drift_total{app="web"} ' in watched.get("/metrics")[1]
    text = watched.command("status", "--socket", str(watched.socket)).stdout
    assert "files changed by another program" in text
    assert found in text
    assert "files changed by another program" in watched.get("/")[1]
    restored = [event for event in watched.events() if event["event"] == "files restored"]
    assert found in restored[0]["found"]
    if is_changed:
        assert watched.app.hears() == "right a.txt right b.txt"
    done = watched.until(lambda status: status["apps"]["web"]["drift"]["error"] is None)
    assert done["problems"] == []
    # Its own repair is no drift, and what is not changed is not notified.
    total = drift(watched)["total"]
    watched.command("refresh", "--socket", str(watched.socket))
    after = watched.until(lambda status: status["apps"]["web"]["notify"]["pending"] is False)
    assert (total, after["totals"]["notifications"] > before["totals"]["notifications"]) == (
        drift(watched)["total"],
        is_changed,
    )


def test_neither_a_publication_nor_an_added_file_is_drift(bao, watched):
    (watched.directory / "added.log").write_text("of the app")
    (watched.directory / "added").mkdir()
    for number in range(20):
        bao.put(f"testing/{watched.folder}", value=f"right {number}")
        watched.command("refresh", "--socket", str(watched.socket))
        watched.until_file("a.txt", f"right {number} a.txt\n")
    is_watched(watched)
    assert (drift(watched)["total"], (watched.directory / "added.log").read_text()) == (0, "of the app")


def test_readers_see_no_gap_while_files_are_restored(watched):
    """Once a change is restored, it stays so; and a change that leaves the content is not seen by content at all."""

    def looks(way):
        """What a reader sees of a change and its repair."""
        seen, stop = [], threading.Event()

        def read():
            while not stop.is_set():
                try:
                    content = (watched.directory / "a.txt").read_text()
                except OSError as exc:
                    content = type(exc).__name__
                if not seen or seen[-1] != content:
                    seen.append(content)

        reader = threading.Thread(target=read)
        reader.start()
        eventually(lambda: seen, "the first look")
        total = drift(watched)["total"]
        WAYS[way][0](watched.directory)
        watched.until(lambda status: status["apps"]["web"]["drift"]["total"] > total)
        eventually(lambda: is_right(watched.directory, watched.uid), "the published files")
        eventually(lambda: seen[-1] == "right a.txt\n", "the reader's next look")
        stop.set()
        reader.join()
        # A truncated file is empty for a moment, which is the other program's doing.
        return [content for content in seen if content]

    for way, expected in {
        "generation's mode": ["right a.txt\n"],
        "directory's mode": ["right a.txt\n"],
        "file's mode": ["right a.txt\n"],
        "link copied": ["right a.txt\n"],
        "file altered in one byte": ["right a.txt\n", "wrong a.txt\n", "right a.txt\n"],
        "generation renamed": ["right a.txt\n", "FileNotFoundError", "right a.txt\n"],
    }.items():
        found = looks(way)
        if found == expected[:1] != expected:  # The reader did not run in between.
            found = looks(way)
        assert found == expected, way


def test_a_program_that_changes_files_again_and_again_is_reported_and_not_fought_for_ever(watched):
    stop = threading.Event()

    def fight():
        while not stop.is_set():
            try:
                if (live(watched.directory) / "a.txt").read_text() != "mine":
                    (live(watched.directory) / "a.txt").write_text("mine")
            except OSError:
                continue

    fighter = threading.Thread(target=fight)
    fighter.start()
    try:
        status = watched.until(lambda status: status["apps"]["web"]["drift"]["error"])
        [problem] = status["problems"]
        assert "web: another program changes its files again and again, the last time a.txt: altered" in problem
        assert "run `lessee refresh`" in problem
        total = drift(watched)["total"]
        assert total >= MAX_REPAIRS
        eventually(lambda: (watched.directory / "a.txt").read_text() == "mine", "the other program's file")
        for _ in range(5):
            replaced(live(watched.directory) / "b.txt", "wrong")
            pass_by(0.2)
        assert drift(watched)["total"] == total
        assert len([event for event in watched.events() if event["event"] == "files restored"]) == total
    finally:
        stop.set()
        fighter.join()
    assert watched.command("refresh", "--socket", str(watched.socket)).returncode == 0
    eventually(lambda: is_right(watched.directory, watched.uid), "the published files")
    watched.until(lambda status: status["problems"] == [])


def test_without_inotify_the_look_of_each_refresh_interval_restores(web):
    """A write by mmap is not reported by inotify either."""
    web.web["refresh_interval"] = "300ms"
    web.start()
    is_watched(web)
    script = """
import mmap, sys
with open(sys.argv[1], "r+b") as file:
    mapped = mmap.mmap(file.fileno(), 0)
    mapped[:5] = b"wrong"
    mapped.flush()
"""
    before = live(web.directory)
    subprocess.run(["python3", "-c", script, str(before / "a.txt")], check=True)
    eventually(lambda: live(web.directory) != before and is_right(web.directory, web.uid), "the published files")
    assert web.until(lambda status: status["apps"]["web"]["drift"]["found"] == "a.txt: altered")


def test_a_change_while_vault_is_unavailable_after_a_restart_is_restored_from_what_the_disk_had(web, server):
    web.config["vault"]["address"] = f"http://127.0.0.1:{server.port}"
    server.put(f"testing/{web.folder}", value="right")
    web.start()
    web.process.kill()
    web.process.wait()
    server.stop()
    web.start(wait=False)
    web.until(lambda status: status["ready"])
    is_watched(web)
    (live(web.directory) / "a.txt").write_text("wrong")
    eventually(lambda: is_right(web.directory, web.uid), "the published files")


def test_what_cannot_be_restored_is_a_problem_that_says_what_to_do_and_is_restored_once_it_can(watched):
    (watched.directory / "a.txt").unlink()
    (watched.directory / "a.txt").mkdir()
    (watched.directory / "a.txt/full").touch()
    status = watched.until(lambda status: status["problems"])
    [problem] = status["problems"]
    assert problem.startswith("web: its files were changed (a.txt: replaced) and are not restored: ")
    assert problem.endswith("a.txt is a directory; remove it, or rename the file")
    assert drift(watched)["total"] == 1
    (watched.directory / "a.txt/full").unlink()
    eventually(lambda: is_right(watched.directory, watched.uid), "the published files")
    watched.until(lambda status: status["problems"] == [])
    assert len([event for event in watched.events() if event["event"] == "files not restored"]) == 1


def test_an_owner_that_the_agent_may_not_restore_is_a_problem_that_names_the_command(watched):
    os.chown(watched.directory, 4321, 0)
    [problem] = watched.until(lambda status: status["problems"])["problems"]
    assert f"; chown 0:0 {watched.directory} and chmod 0750 {watched.directory}, or give the agent CAP_CHOWN" in problem
    os.chown(watched.directory, 0, 0)
    watched.until(lambda status: status["problems"] == [])
    assert is_right(watched.directory, watched.uid)


def test_an_app_that_owns_its_directory_gets_no_other_file_or_directory(web, tmp_path):
    """Neither a link nor a hard link in the place of a file leads the agent to what is not its own."""
    need(os.geteuid() == 0, "needs root, to act as another user")
    foreign, folder = tmp_path / "foreign", tmp_path / "folder"
    foreign.write_text("root's")
    foreign.chmod(0o600)
    folder.mkdir(mode=0o700)
    web.web["owner"] = "4321:4321"
    # A hard link has to be on the same file system.
    linked = web.memory / "linked"
    linked.write_text("root's")
    linked.chmod(0o600)
    web.start()
    is_watched(web)

    def shows():
        try:
            status = (web.directory / "a.txt").stat()
            return (status.st_uid, (web.directory / "a.txt").read_text()) == (4321, "right a.txt\n")
        except OSError:
            return False

    def hard_link():
        (live(web.directory) / "a.txt").unlink()
        os.link(linked, live(web.directory) / "a.txt")

    def folder_in_place_of_generation():
        name = live(web.directory)
        name.rename(web.directory / "moved")
        name.symlink_to(folder)

    def data_to_folder():
        relinked(web.directory / "..data", str(folder))

    plots = (
        hard_link,
        lambda: relinked(live(web.directory) / "a.txt", str(foreign)),
        folder_in_place_of_generation,
        data_to_folder,
    )
    for number, plot in enumerate(plots, start=1):
        plot()
        web.until(lambda status, number=number: status["apps"]["web"]["drift"]["total"] >= number)
        eventually(shows, "the published file")
        for file in foreign, linked:
            status = file.stat()
            assert (file.read_text(), status.st_uid, stat.S_IMODE(status.st_mode)) == ("root's", 0, 0o600)
        assert (list(folder.iterdir()), folder.stat().st_uid, stat.S_IMODE(folder.stat().st_mode)) == ([], 0, 0o700)


@pytest.mark.parametrize("is_made_again", [False, True])
def test_a_confined_agent_restarts_in_place_for_a_directory_that_was_deleted(web, is_made_again):
    del web.web["check"]
    web.start()
    need(web.status()["sandbox"]["landlock"] == "on", "needs Landlock")
    is_watched(web)
    fork = web.pid
    shutil.rmtree(web.directory)
    if is_made_again:
        web.directory.mkdir(mode=0o750)
    eventually(lambda: is_right(web.directory, web.uid), "the published files")
    web.until(lambda status: status["ready"])
    [restarting] = [event for event in web.events() if event["event"] == "agent restarting"]
    assert restarting["reason"] == f"it writes to {web.directory}"
    [found] = [event for event in web.events() if event["event"] == "files not restored"]
    assert found["found"] == f"the directory: {'replaced' if is_made_again else 'removed'}"
    assert (web.pid != fork, web.process.poll()) == (True, None)
    assert (drift(web)["total"], drift(web)["found"]) == (1, "all files: removed")
    # A program that deletes it again and again does not have the agent restart all the time.
    is_watched(web)
    fork = web.pid
    shutil.rmtree(web.directory)
    status = web.until(lambda status: status["problems"])
    assert "the directory: removed" in status["problems"][0]
    assert web.pid == fork


@pytest.mark.thorough
def test_the_old_generation_of_a_restoration_is_removed(watched):
    (live(watched.directory) / "a.txt").write_text("wrong")
    assert watched.app.hears() == "right a.txt right b.txt"
    eventually(lambda: len(folders(watched.directory)) == 1, "the removal of the old generation")


def test_a_killed_agent_finds_one_whole_generation_whatever_was_changed_and_notifies(watched):
    watched.process.send_signal(signal.SIGSTOP)
    os.kill(watched.pid, signal.SIGSTOP)
    (live(watched.directory) / "a.txt").write_text("wrong")
    os.kill(watched.pid, signal.SIGKILL)
    watched.process.kill()
    watched.process.wait()
    watched.start(wait=False)
    eventually(lambda: is_right(watched.directory, watched.uid), "the published files")
    assert watched.app.hears() == "right a.txt right b.txt"
