"""An app's trouble is its own: whatever is in its directory or its settings, other apps are served and stay fresh."""

import itertools
import multiprocessing
import os
import shutil
import signal
import stat
import subprocess
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from support.programs.forks import run_lessee
from support.programs.sidecar import eventually

FORKED_AGENTS = True
APP_USER = 12345
STRANGER = 54321
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to act as another user")


@pytest.fixture
def web(sidecar, bao, folder):
    """A sidecar with an app that has done nothing wrong; `change` writes its secret."""

    def change(value):
        bao.put(f"testing/{folder}/db", password=value)

    sidecar.secret, sidecar.change = f"{folder}/db", change
    change("first")
    sidecar.template("app.txt.j2", f'{{{{ secret("{folder}/db").password }}}}')
    yield sidecar
    sidecar.close()
    # Python cannot remove what is nested so deep.
    subprocess.run(["rm", "-rf", sidecar.memory], check=True)


def add(sidecar, name, **settings):
    """Another app that reads the same secret, and its directory."""
    directory = sidecar.memory / name
    sidecar.config["apps"][name] = {
        "directory": str(directory),
        "refresh_interval": "200ms",
        "files": [{"template": "app.txt.j2"}],
        **settings,
    }
    return directory


def add_owned(sidecar, name):
    """An app whose user owns its directory, and so may put anything there."""
    directory = add(sidecar, name, owner=f"{APP_USER}:{APP_USER}")
    directory.mkdir()
    os.chown(directory, APP_USER, APP_USER)
    return directory


def shows(directory, value):
    file = directory / "app.txt"
    eventually(lambda: file.exists() and file.read_text() == value, f"{value} in {directory}")


def is_fresh_after_a_change(sidecar, value):
    sidecar.change(value)
    shows(sidecar.directory, value)


def refused(sidecar):
    """Why apps are refused or not published, by name."""
    return {event["app"]: event["reason"] for event in sidecar.events() if event["event"] in REFUSALS}


REFUSALS = {"app refused", "generation not published"}


# -- directories ----------------------------------------------------------------------------------------------------

OLD = "..lessee-1-aaaaaaaa"


def link_in_a_generation_s_place(directory):
    (directory / OLD).symlink_to("/etc")
    (directory / "..data").symlink_to(OLD)


def file_in_a_generation_s_place(directory):
    (directory / OLD).write_text("x")
    (directory / "..data").symlink_to(OLD)


def fifo_in_a_generation_s_place(directory):
    os.mkfifo(directory / OLD)
    (directory / "..data").symlink_to(OLD)


def fifos_in_the_live_generation(directory):
    (directory / OLD).mkdir()
    os.mkfifo(directory / OLD / "app.txt")
    (directory / "..data").symlink_to(OLD)


def nested_folders(directory):
    fd = os.open(directory, os.O_RDONLY)
    for name in (OLD, *["a"] * 3000):
        os.mkdir(name, dir_fd=fd)
        below = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)


def nested_folders_that_are_live(directory):
    nested_folders(directory)
    (directory / "..data").symlink_to(OLD)


def many_old_generations(directory):
    for number in range(3000):
        (directory / f"..lessee-{number}-aaaaaaaa").mkdir()
        (directory / f"..lessee-{number}-aaaaaaaa" / "x").touch()


def a_full_generation(directory):
    (directory / OLD).mkdir()
    fill(directory / OLD)
    (directory / "..data").symlink_to(OLD)


def the_largest_number(directory):
    for number in ("9" * 15, "9" * 200):
        (directory / f"..lessee-{number}-aaaaaaaa").mkdir()


def a_huge_marker(directory):
    with (directory / ".degraded").open("wb") as file:
        file.truncate(1 << 40)


def a_folder_as_temporary_link(directory):
    (directory / "..lessee-link" / "a" / "b").mkdir(parents=True)


def strange_names(directory):
    for name in (b"..lessee-\xff\xfe", b"..lessee-1-\n\x1b[2J", b"\xff"):
        Path(directory, os.fsdecode(name)).mkdir()


REPAIRED = [
    link_in_a_generation_s_place,
    file_in_a_generation_s_place,
    fifo_in_a_generation_s_place,
    fifos_in_the_live_generation,
    nested_folders,
    nested_folders_that_are_live,
    many_old_generations,
    a_full_generation,
    the_largest_number,
    a_huge_marker,
    a_folder_as_temporary_link,
    strange_names,
]


def too_many_entries(directory):
    fill(directory, 20_000)


def a_folder_in_the_place_of_the_live_link(directory):
    (directory / "..data").mkdir()


def a_live_link_with_control_characters(directory):
    (directory / "..data").symlink_to(os.fsdecode(b"\x1b[2J\xff\n"))


def a_folder_with_the_name_of_a_file(directory):
    (directory / "app.txt").mkdir()


def a_directory_of_another_user(directory):
    os.chown(directory, 54321, 54321)


def a_file_instead_of_the_directory(directory):
    directory.rmdir()
    directory.touch()


def a_link_of_another_user(directory):
    directory.rmdir()
    directory.symlink_to("/etc")
    os.lchown(directory, 54321, 54321)


def a_directory_that_every_user_may_write(directory):
    directory.chmod(0o777)


REFUSED = {
    too_many_entries: "more than 10000 entries",
    a_folder_in_the_place_of_the_live_link: "..data does not belong to lessee",
    a_live_link_with_control_characters: r"..data does not belong to lessee (\x1b[2J\udcff\n)",
    a_folder_with_the_name_of_a_file: "app.txt is a directory",
    a_directory_of_another_user: "its owner, uid 54321, may write",
    a_file_instead_of_the_directory: "is not a directory",
    a_link_of_another_user: "a symbolic link that uid 54321 made",
    a_directory_that_every_user_may_write: "every user may write",
}


def fill(directory, count=300_000):
    fd = os.open(directory, os.O_RDONLY)
    os.mknod("0", stat.S_IFREG | 0o600, dir_fd=fd)
    for number in range(1, count):
        os.link("0", str(number), src_dir_fd=fd, dst_dir_fd=fd)
    os.close(fd)


def name_of(plant):
    return plant.__name__.replace("_", "-")


def clear(directory):
    if directory.is_symlink() or directory.is_file():
        directory.unlink()
    else:
        os.chown(directory, APP_USER, APP_USER)
        directory.chmod(0o750)
        for entry in list(directory.iterdir()):
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)


@pytest.mark.thorough
def test_whatever_is_planted_in_a_directory_before_the_start_concerns_its_app_alone(web):
    for plant in (*REPAIRED, *REFUSED):
        plant(add_owned(web, name_of(plant)))
    web.start(wait=False)
    shows(web.directory, "first")
    is_fresh_after_a_change(web, "second")
    for plant in REPAIRED:
        shows(web.memory / name_of(plant), "second")
    status = web.until(lambda s: s["apps"]["web"]["generation"] and not s["ready"])
    for plant, reason in REFUSED.items():
        assert reason in refused(web)[name_of(plant)]
        assert any(line.startswith(name_of(plant)) for line in status["problems"]), status["problems"]
    # What was refused is served as soon as the directory is the app's alone.
    for plant in REFUSED:
        clear(web.memory / name_of(plant))
        shows(web.memory / name_of(plant), "second")
    web.until(lambda s: s["ready"] and s["fresh"])
    # What no reader may have open is gone, however deep it was.
    for plant in (nested_folders, a_folder_as_temporary_link, strange_names):
        eventually(lambda plant=plant: only_generations(web.memory / name_of(plant)), f"the end of {name_of(plant)}")
    assert web.stop() == 0


def only_generations(directory):
    return all([entry.name for entry in folder.iterdir()] == ["app.txt"] for folder in directory.glob("..lessee-*"))


@pytest.mark.thorough
def test_swaps_and_floods_while_it_runs_concern_the_app_alone(web):
    directory = add_owned(web, "evil")
    web.start()
    over = threading.Event()

    def attack():
        turn = 0
        while not over.is_set():
            turn += 1
            for entry in list(directory.glob("..lessee-*")):
                try:
                    entry.rename(directory / f"..lessee-{turn}-bbbbbbbb")
                    entry.symlink_to("/etc")
                    (directory / f"..lessee-{turn}-cccccccc" / "a" / "b").mkdir(parents=True)
                except OSError:
                    pass  # The agent was faster.
            for name in ("app.txt", "..data", "..lessee-link"):
                try:
                    (directory / f"planted-{turn}").mkdir()
                    (directory / f"planted-{turn}").rename(directory / name)
                except OSError:
                    pass

    attacker = threading.Thread(target=attack)
    attacker.start()
    try:
        for turn in range(20):
            is_fresh_after_a_change(web, f"turn {turn}")
    finally:
        over.set()
        attacker.join()
    web.until(lambda s: s["apps"]["web"]["fresh"] and s["apps"]["web"]["error"] is None)
    clear(directory)
    is_fresh_after_a_change(web, "last")
    shows(directory, "last")
    assert web.stop() == 0


def swap(parent, victim):
    """What the owner of a directory's parent does: links, and directories of its own, in the directory's place."""
    os.chdir(parent)
    os.setgroups([])
    os.setgid(STRANGER)
    os.setuid(STRANGER)
    Path("own/..lessee-1-aaaaaaaa").mkdir(parents=True)
    Path("own/..data").symlink_to("..lessee-1-aaaaaaaa")
    for turn in itertools.count():
        for call, *arguments in (
            (os.rename, "evil", f"away-{turn}"),
            (os.symlink, victim, "evil"),
            (os.unlink, "evil"),
            (os.rename, "own", "evil"),
            (os.rename, "evil", "own"),
            (os.rename, f"away-{turn}", "evil"),
        ):
            with suppress(OSError):
                call(*arguments)


def everything_in(directory):
    """Each entry with its owner, mode, time of change and content."""
    found = {}
    for path in (directory, *sorted(directory.rglob("*"))):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() else None
        found[path] = status.st_uid, status.st_gid, status.st_mode, status.st_mtime_ns, content
    return found


@pytest.mark.thorough
@pytest.mark.parametrize("owner", [None, f"{APP_USER}:{APP_USER}"])
def test_the_owner_of_a_parent_has_nothing_written_given_away_or_removed_elsewhere(web, owner):
    victim, parent = web.memory / "victim", web.memory / "theirs"
    (victim / "..lessee-1-aaaaaaaa").mkdir(parents=True)
    (victim / "..lessee-1-aaaaaaaa" / "app.txt").write_text("of root")
    (victim / "..lessee-2-bbbbbbbb").mkdir()
    (victim / "..data").symlink_to("..lessee-1-aaaaaaaa")
    parent.mkdir()
    add(web, "evil", directory=str(parent / "evil"), **({"owner": owner} if owner else {}))
    directory = parent / "evil"
    os.chown(parent, STRANGER, STRANGER)
    web.start()
    shows(directory, "first")
    before = everything_in(victim)
    attacker = multiprocessing.get_context("fork").Process(target=swap, args=(parent, victim))
    attacker.start()
    try:
        for turn in range(20):
            # Other settings of the directory: the agent opens or creates it once more, by its path.
            web.config["apps"]["evil"]["mode"] = ("0600", "0640")[turn % 2]
            web.write_config()
            os.kill(web.process.pid, signal.SIGHUP)
            is_fresh_after_a_change(web, f"turn {turn}")
            assert attacker.is_alive()
    finally:
        attacker.kill()
        attacker.join()
    assert everything_in(victim) == before
    stolen = [path for path in parent.rglob("*") if path.is_file() and path.stat().st_uid == STRANGER]
    assert stolen == []
    # In a parent of its own, the app is served again.
    subprocess.run(["rm", "-rf", *parent.iterdir()], check=True)
    os.chown(parent, 0, 0)
    web.config["apps"]["evil"]["mode"] = "0644"
    web.write_config()
    is_fresh_after_a_change(web, "last")
    shows(directory, "last")
    assert web.stop() == 0


def test_an_edit_that_names_a_refused_directory_leaves_the_app_with_its_previous_one(web):
    directory = add_owned(web, "evil")
    web.start()
    web.config["apps"]["evil"]["directory"] = str(web.disk / "not-in-memory")
    web.template("more.txt.j2", "more")
    web.write_config()
    web.until_file("more.txt", "more")
    is_fresh_after_a_change(web, "second")
    shows(directory, "second")
    status = web.until(lambda s: s["problems"])
    assert any(line.startswith("evil: refused: ") and "not in memory" in line for line in status["problems"])
    assert (status["ready"], status["fresh"]) == (True, False)


# -- settings and templates -----------------------------------------------------------------------------------------


def bad_key(app, _):
    app["refresh_intervall"] = "1s"


def bad_value(app, _):
    app["mode"] = "rwx"


def missing_directory(app, _):
    del app["directory"]


def missing_template(app, _):
    app["files"] = [{"template": "absent.j2"}]


def broken_template(app, sidecar):
    (sidecar.disk / "broken.j2").write_text("{{ nonsense(")
    app["files"] = [{"template": "broken.j2", "name": "app.txt"}]


def foreign_path(app, sidecar):
    (sidecar.disk / "foreign.j2").write_text('{{ secret("../other/db").x }}')
    app["files"] = [{"template": "foreign.j2", "name": "app.txt"}]


def child_to_notify(app, _):
    app["notify"] = {"child": True, "action": "restart"}


BROKEN = (bad_key, bad_value, missing_directory, missing_template, broken_template, foreign_path, child_to_notify)


def break_all(sidecar):
    for how in BROKEN:
        how(sidecar.config["apps"][name_of(how)], sidecar)


def repair_all(sidecar):
    for how in BROKEN:
        add(sidecar, name_of(how))


def test_settings_and_templates_that_are_wrong_at_the_start_concern_their_app_alone(web):
    repair_all(web)
    break_all(web)
    web.start(wait=False)
    shows(web.directory, "first")
    is_fresh_after_a_change(web, "second")
    status = web.until(lambda s: s["apps"]["web"]["fresh"])
    assert list(status["apps"]) == ["web"]
    assert (status["ready"], status["fresh"]) == (False, False)
    for how in BROKEN:
        assert name_of(how) in refused(web)
        assert any(line.startswith(f"{name_of(how)}: refused: ") for line in status["problems"]), status["problems"]
    repair_all(web)
    web.write_config()
    for how in BROKEN:
        shows(web.memory / name_of(how), "second")
    web.until(lambda s: s["ready"] and s["fresh"] and not s["problems"])


def test_settings_and_templates_that_an_edit_breaks_concern_their_app_alone(web):
    repair_all(web)
    web.start()
    break_all(web)
    web.template("more.txt.j2", "more")
    web.write_config()
    web.until_file("more.txt", "more")
    # They go on as before the edit.
    is_fresh_after_a_change(web, "second")
    for how in BROKEN:
        shows(web.memory / name_of(how), "second")
    status = web.until(lambda s: s["problems"])
    for how in BROKEN:
        assert any(line.startswith(f"{name_of(how)}: refused: ") for line in status["problems"]), status["problems"]
    repair_all(web)
    web.write_config()
    web.until(lambda s: s["ready"] and s["fresh"] and not s["problems"])


def test_a_template_that_is_repaired_without_an_edit_of_the_configuration_is_served(web):
    add(web, "evil")
    missing_template(web.config["apps"]["evil"], web)
    web.start(wait=False)
    shows(web.directory, "first")
    (web.disk / "absent.j2").write_text("now it is there")
    file = web.memory / "evil" / "absent"
    eventually(lambda: file.exists() and file.read_text() == "now it is there", "the repaired app")
    web.until(lambda s: s["ready"] and not s["problems"])


def test_a_refused_app_s_leases_are_neither_revoked_nor_issued_again(web, bao, folder, postgres):
    postgres.attach(bao, role=folder, default_ttl="1h", max_ttl="24h")
    (web.disk / "db.j2").write_text(f'{{{{ dynamic("database/creds/{folder}").username }}}}')
    directory = add(web, "db", files=[{"template": "db.j2", "name": "app.txt"}])
    web.start()
    name = (directory / "app.txt").read_text()
    web.stop()
    (web.disk / "db.j2").write_text("{{ nonsense(")
    web.start(wait=False)
    web.until(lambda s: s["apps"]["web"]["fresh"] and any("db: refused" in line for line in s["problems"]))
    (web.disk / "db.j2").write_text(f'{{{{ dynamic("database/creds/{folder}").username }}}}')
    web.until(lambda s: s["ready"] and s["fresh"] and not s["problems"])
    assert (directory / "app.txt").read_text() == name
    assert web.status()["totals"]["leases_issued"] == 0


# -- what ends the agent --------------------------------------------------------------------------------------------


def run(sidecar, *arguments):
    sidecar.write_config()
    return run_lessee("run", *arguments, cwd=sidecar.disk, env=sidecar.environ)


@pytest.mark.parametrize(("how", "code"), [(bad_key, 78), (broken_template, 65), (child_to_notify, 78)])
def test_a_strict_agent_ends_at_the_first_refusal(web, how, code):
    add(web, "evil")
    how(web.config["apps"]["evil"], web)
    assert run(web, "--strict").returncode == code


def test_a_strict_agent_ends_where_a_directory_is_refused(web):
    a_directory_that_every_user_may_write(add_owned(web, "evil"))
    done = run(web, "--strict")
    assert (done.returncode, "every user may write" in done.stderr) == (73, True), done.stderr


@pytest.mark.parametrize("how", [bad_key, broken_template])
def test_a_strict_agent_ends_at_a_refusal_after_an_edit(web, how):
    add(web, "evil")
    web.start("--strict")
    how(web.config["apps"]["evil"], web)
    web.write_config()
    assert web.process.wait(150) in {65, 78}
    assert (web.directory / "app.txt").read_text() == "first"


def test_an_agent_whose_apps_are_all_refused_ends_with_all_reasons(web):
    add(web, "evil")
    bad_key(web.config["apps"]["evil"], web)
    bad_key(web.config["apps"]["web"], web)
    done = run(web)
    assert done.returncode == 78
    assert "apps.evil.refresh_intervall" in done.stderr
    assert "apps.web.refresh_intervall" in done.stderr


def test_a_setting_that_concerns_all_ends_the_agent(web):
    add(web, "evil")
    bad_key(web.config["apps"]["evil"], web)
    web.config["vault"]["adress"] = "x"
    done = run(web)
    assert done.returncode == 78
    assert "vault.adress" in done.stderr
    assert "apps.evil.refresh_intervall" in done.stderr


def test_a_child_starts_although_another_app_is_wrong(web):
    add(web, "evil")
    bad_key(web.config["apps"]["evil"], web)
    web.write_config()
    for name, code, text in (("web", 0, ""), ("evil", 78, "apps.evil.refresh_intervall: unknown key")):
        done = web.command("exec", "--app", name, "--once", "--", "true")
        assert (done.returncode, text in done.stderr) == (code, True), done.stderr
