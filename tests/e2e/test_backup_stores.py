"""Where `lessee backup` keeps archives, how many, and when it saves the next one."""

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

from lessee.host.openbao import OpenBao
from support.environments.backups import Backups, canary
from support.programs.sidecar import eventually
from support.servers.s3_server import BUCKET, S3Store

KEYS = {f"AWS_{name.upper()}": value for name, value in S3Store.user.items()}


@pytest.fixture(scope="module")
def vault(tmp_path_factory):
    with OpenBao(tmp_path_factory.mktemp("vault")) as server:
        server.put("one", value=canary("one"))
        yield server


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    with S3Store(tmp_path_factory.mktemp("s3")) as store:
        yield store


@pytest.fixture
def make(vault, tmp_path, memory):
    def make(**block):
        backups = Backups(vault.address, tmp_path, memory, **block)
        backups.environ |= KEYS
        return backups

    return make


def bucket(s3, prefix, **more):
    return {"endpoint": s3.endpoint, "bucket": BUCKET, "prefix": prefix, **more}


def test_an_archive_goes_to_the_folder_and_to_the_bucket(s3, make, tmp_path):
    for name, value in zip(("access", "secret"), S3Store.user.values(), strict=True):
        (tmp_path / name).write_text(f"{value}\n")
    files = {"access_key_file": str(tmp_path / "access"), "secret_key_file": str(tmp_path / "secret")}
    backups = make(s3=bucket(s3, "both/", **files))
    archive = backups.save(env=dict.fromkeys(KEYS, ""))
    assert s3.names() == [f"both/{archive.name}"]
    assert s3.get(f"both/{archive.name}") == archive.read_bytes()


def test_with_vault_and_the_folder_gone_the_bucket_is_enough(s3, make):
    backups = make(s3=bucket(s3, "gone/"))
    archive = backups.save()
    shutil.rmtree(backups.archives)
    backups.config["backup"].pop("directory")
    backups.config["vault"]["address"] = "http://127.0.0.1:9"
    for name in ("latest", archive.name):
        assert f"s3://{BUCKET}/gone/{archive.name}: all came back" in backups.backup("verify", name)


def test_one_place_that_fails_is_told_and_the_other_one_has_the_archive(s3, make):
    backups = make(s3=bucket(s3, "one/") | {"endpoint": "http://127.0.0.1:9"})
    text = backups.backup("save", code=73)
    assert f"s3://{BUCKET}/one/lessee-" in text
    assert "it cannot be stored: EndpointConnectionError" in text
    assert len(backups.found()) == 1
    backups.config["backup"] |= {"s3": bucket(s3, "other/"), "directory": "/proc/no/folder"}
    text = backups.backup("save", code=73)
    assert "the folder cannot be made" in text
    assert len([name for name in s3.names() if name.startswith("other/")]) == 1


def test_a_bucket_without_a_key_is_told_and_the_folder_has_the_archive(s3, make):
    backups = make(s3=bucket(s3, "none/"))
    text = backups.backup("save", code=78, env={"AWS_SECRET_ACCESS_KEY": ""})
    assert "backup.s3.secret_key_file: there is no key" in text
    assert len(backups.found()) == 1


def test_with_the_folder_lost_the_latest_is_that_of_the_bucket(s3, make):
    backups = make(s3=bucket(s3, "lost/"))
    archive = backups.save()
    shutil.rmtree(backups.archives)
    assert f"s3://{BUCKET}/lost/{archive.name}: all came back" in backups.backup("verify", "latest")


@pytest.mark.parametrize("every", ["0s", "999ms", "999999999d"])
def test_a_schedule_that_makes_no_sense_is_refused(make, every):
    backups = make()
    backups.backup("save", "--every", every, code=64, text="--every is from 1s to 365d")
    assert not backups.archives.exists()


def test_a_wrong_key_of_the_bucket_is_told_without_it(s3, make):
    backups = make(s3=bucket(s3, "wrong/"))
    text = backups.backup("save", code=73, env={"AWS_SECRET_ACCESS_KEY": canary("wrong")})
    assert "SignatureDoesNotMatch" in text


@pytest.mark.parametrize("store", ["folder", "bucket"])
def test_a_save_keeps_seven_days_and_four_weeks_and_nothing_of_others(request, make, store):
    """The oldest are of 40 days in a row, three times a day."""
    s3 = request.getfixturevalue("s3") if store == "bucket" else None
    backups = make()
    own = backups.save()
    cluster = re.fullmatch(r"lessee-(.*)-\d{8}T\d{6}Z\.age", own.name)[1]
    days = [f"202601{day:02}" for day in range(1, 32)] + [f"202602{day:02}" for day in range(1, 10)]
    names = [f"lessee-{cluster}-{day}T{hour:02}0000Z.age" for day in days for hour in (1, 9, 23)]
    foreign = ["notes.txt", "lessee-other-cluster-20260101T010000Z.age", f"lessee-{cluster}-20260101T010000Z.age.bak"]
    if s3 is not None:
        own.unlink()
        backups.config["backup"] = {"s3": bucket(s3, "kept/")}
    for name in (*names, *foreign):
        if s3 is not None:
            s3.put(f"kept/{name}", b"x")
        else:
            (backups.archives / name).write_bytes(b"x")
    eventually(lambda: time.time() % 1 < 0.5, "a new second")
    backups.backup("save")
    if s3 is not None:
        there = [name.removeprefix("kept/") for name in s3.names() if name.startswith("kept/")]
    else:
        there = [path.name for path in backups.archives.iterdir()]
    assert set(foreign) <= set(there)
    kept = [name for name in there if name.startswith(f"lessee-{cluster}-2026") and name in names]
    # Today's counts as one of the days and one of the weeks.
    last = {f"202602{day:02}T23" for day in (9, 8, 7, 6, 5, 4)} | {"20260208T23", "20260201T23"}
    assert {re.search(r"-(\d{8}T\d{2})", name)[1] for name in kept} == last
    today = [name for name in there if name not in (*names, *foreign) and name.endswith(".age")]
    assert len(today) == 1


def test_the_next_one_is_saved_in_time_and_sigterm_ends_it(make):
    backups = make()
    process = start(backups, "--every", "1s")
    try:
        eventually(lambda: len(backups.found()) >= 1, "the first archive")
        first = backups.found()[0].name
        # All are of today: the newest is enough.
        eventually(lambda: first not in {path.name for path in backups.found()}, "the second archive alone")
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=15)
    finally:
        end(process)
    assert (process.returncode, err) == (0, "")
    assert out.count("saved ") >= 1  # The second may be there and not told yet.
    assert first not in {path.name for path in backups.found()}
    assert not list(backups.archives.glob(".lessee-backup-*"))


def test_one_that_failed_is_told_and_tried_again(make):
    backups = make()
    process = start(backups, "--every", "1s", env={"VAULT_TOKEN": "none"})
    try:
        said = [process.stderr.readline() for _ in range(2)]
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=15)
    finally:
        end(process)
    assert all("permission denied (403)" in line for line in said)
    assert process.returncode == 0


def test_two_do_not_save_at_once(make):
    backups = make()
    backups.save()
    with (backups.archives / ".lessee-backup.lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        backups.backup("save", code=73, text="another `lessee backup save` is at work")
    backups.backup("save")


def test_what_a_killed_one_has_left_is_swept_and_links_are_not_followed(make, tmp_path):
    backups = make()
    backups.archives.mkdir(mode=0o700)
    (backups.archives / ".lessee-backup-77.part").write_bytes(b"left")
    victim = tmp_path / "victim"
    victim.write_text("mine")
    backups.save()
    assert not list(backups.archives.glob("*.part"))
    (backups.archives / ".lessee-backup.lock").unlink()
    (backups.archives / ".lessee-backup.lock").symlink_to(victim)
    backups.backup("save", code=73, text="the lock cannot be made")
    assert victim.read_text() == "mine"


def test_without_a_place_it_says_what_to_write(make):
    backups = make()
    backups.config["backup"].pop("directory")
    backups.backup("save", code=78, text="write `backup: {directory: DIR}`, or `s3:`")
    backups.config.pop("backup")
    backups.backup("verify", "latest", code=78, text="there is no place for archives")


def test_a_sidecar_imports_nothing_of_it():
    names = "[name for name in sys.modules if 'backup' in name or 'pyrage' in name]"
    code = f"import sys, lessee.cli.commands.run; print({names})"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() in {"[]", "['lessee.config.grammar.backup']"}


def start(backups, *arguments, env=None):
    backups.write_config()
    return subprocess.Popen(
        [sys.executable, "-m", "lessee", "backup", "save", *arguments],
        cwd=backups.disk,
        env=backups.environ | (env or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process):
    if process.poll() is None:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    process.stdout.close()
    process.stderr.close()
