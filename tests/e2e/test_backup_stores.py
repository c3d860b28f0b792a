"""The stores, the retention and the schedule of `lessee backup`."""

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime

import pytest

from lessee.config.grammar.backup import S3Bucket as Block
from lessee.core.errors import WriteError
from lessee.host.openbao import OpenBao
from lessee.ops.backup.s3 import S3Store
from lessee.ops.backup.stores import save_lock
from support.environments.backups import Backups, canary
from support.inputs.forged_archives import Forger
from support.needs import need
from support.programs.sidecar import eventually
from support.servers.s3_server import BUCKET, S3Bucket

KEYS = {f"AWS_{name.upper()}": value for name, value in S3Bucket.user.items()}


@pytest.fixture(scope="module")
def vault(tmp_path_factory):
    with OpenBao(tmp_path_factory.mktemp("vault")) as server:
        server.put("one", value=canary("one"))
        yield server


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    with S3Bucket(tmp_path_factory.mktemp("s3")) as store:
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


@pytest.mark.thorough
def test_an_archive_is_written_to_the_directory_and_the_bucket(s3, make, tmp_path):
    for name, value in zip(("access", "secret"), S3Bucket.user.values(), strict=True):
        (tmp_path / name).write_text(f"{value}\n")
    files = {"access_key_file": str(tmp_path / "access"), "secret_key_file": str(tmp_path / "secret")}
    backups = make(s3=bucket(s3, "both/", **files))
    archive = backups.save(env=dict.fromkeys(KEYS, ""))
    assert s3.names() == [f"both/{archive.name}"]
    assert s3.get(f"both/{archive.name}") == archive.read_bytes()


def test_without_vault_and_the_directory_the_bucket_suffices(s3, make):
    backups = make(s3=bucket(s3, "gone/"))
    archive = backups.save()
    shutil.rmtree(backups.archives)
    backups.config["backup"].pop("directory")
    backups.config["vault"]["address"] = "http://127.0.0.1:9"
    for name in ("latest", archive.name):
        assert f"s3://{BUCKET}/gone/{archive.name}: restored and equal" in backups.backup("verify", name)


def test_a_failing_store_is_reported_and_the_other_gets_the_archive(s3, make):
    backups = make(s3=bucket(s3, "one/") | {"endpoint": "http://127.0.0.1:9"})
    text = backups.backup("save", code=73)
    assert f"s3://{BUCKET}/one/lessee-" in text
    assert "cannot store the archive: EndpointConnectionError" in text
    assert len(backups.found()) == 1
    backups.config["backup"] |= {"s3": bucket(s3, "other/"), "directory": "/proc/no/folder"}
    text = backups.backup("save", code=73)
    assert "cannot create the directory" in text
    assert len([name for name in s3.names() if name.startswith("other/")]) == 1


def test_a_bucket_without_a_key_is_reported_and_the_directory_gets_the_archive(s3, make):
    backups = make(s3=bucket(s3, "none/"))
    text = backups.backup("save", code=78, env={"AWS_SECRET_ACCESS_KEY": ""})
    assert "backup.s3.secret_key_file: no key" in text
    assert len(backups.found()) == 1


def test_with_the_directory_lost_latest_is_in_the_bucket(s3, make):
    backups = make(s3=bucket(s3, "lost/"))
    archive = backups.save()
    shutil.rmtree(backups.archives)
    assert f"s3://{BUCKET}/lost/{archive.name}: restored and equal" in backups.backup("verify", "latest")


@pytest.mark.parametrize("interval", ["0s", "999ms", "999999999d"])
def test_an_invalid_interval_is_refused(make, interval):
    backups = make()
    backups.backup("save", "--interval", interval, code=64, text="--interval must be from 1s to 365d")
    assert not backups.archives.exists()


def test_a_wrong_key_of_the_bucket_is_reported_without_its_value(s3, make):
    backups = make(s3=bucket(s3, "wrong/"))
    text = backups.backup("save", code=73, env={"AWS_SECRET_ACCESS_KEY": canary("wrong")})
    assert "SignatureDoesNotMatch" in text


@pytest.mark.thorough
@pytest.mark.parametrize("store", ["folder", "bucket"])
def test_retention_leaves_seven_days_and_four_weeks_and_ignores_other_files(request, make, store):
    """Archives of 40 consecutive days, three each day."""
    s3 = request.getfixturevalue("s3") if store == "bucket" else None
    backups = make()
    own = backups.save()
    forger = Forger(backups.key, own)
    cluster = re.fullmatch(r"lessee-(.*)-\d{8}T\d{6}Z\.age", own.name)[1]
    days = [f"202601{day:02}" for day in range(1, 32)] + [f"202602{day:02}" for day in range(1, 10)]
    names = [f"lessee-{cluster}-{day}T{hour:02}0000Z.age" for day in days for hour in (1, 9, 23)]
    foreign = ["notes.txt", "lessee-other-cluster-20260101T010000Z.age", f"lessee-{cluster}-20260101T010000Z.age.bak"]
    if s3 is not None:
        own.unlink()
        backups.config["backup"] = {"s3": bucket(s3, "retained/")}
    for name in (*names, *foreign):
        content = b"x"
        if name in names:
            created = datetime.strptime(name[-20:], "%Y%m%dT%H%M%SZ.age").replace(tzinfo=UTC)
            content = forger.with_manifest(forger.manifest(created=created.isoformat()), authenticated=True)
        if s3 is not None:
            s3.put(f"retained/{name}", content)
        else:
            (backups.archives / name).write_bytes(content)
    eventually(lambda: time.time() % 1 < 0.5, "a new second")
    backups.config["backup"]["keep"] = {"within": "0s", "last": 1}
    backups.backup("save")
    if s3 is not None:
        stored = [name.removeprefix("retained/") for name in s3.names() if name.startswith("retained/")]
    else:
        stored = [path.name for path in backups.archives.iterdir()]
    assert set(foreign) <= set(stored)
    retained = [name for name in stored if name.startswith(f"lessee-{cluster}-2026") and name in names]
    # Today's archive counts as one of the days and one of the weeks.
    last = {f"202602{day:02}T23" for day in (9, 8, 7, 6, 5, 4)} | {"20260208T23", "20260201T23"}
    assert {re.search(r"-(\d{8}T\d{2})", name)[1] for name in retained} == last
    today = [name for name in stored if name not in (*names, *foreign) and name.endswith(".age")]
    assert len(today) == 1


def test_save_repeats_at_the_interval_until_sigterm(make):
    backups = make(keep={"within": "0s", "last": 1})
    process = start(backups, "--interval", "1s")
    try:
        eventually(lambda: len(backups.found()) >= 1, "the first archive")
        first = backups.found()[0].name
        # All are of today: only the newest stays.
        eventually(lambda: first not in {path.name for path in backups.found()}, "the second archive alone")
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=15)
    finally:
        end(process)
    assert (process.returncode, err) == (0, "")
    assert out.count("saved ") >= 1  # The second may be saved but not printed yet.
    assert first not in {path.name for path in backups.found()}
    assert not list(backups.archives.glob(".lessee-backup-*"))


def test_a_failed_save_is_reported_and_retried(make):
    backups = make()
    process = start(backups, "--interval", "1s", env={"VAULT_TOKEN": "none"})
    try:
        said = [process.stderr.readline() for _ in range(2)]
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=15)
    finally:
        end(process)
    assert all("permission denied (403)" in line for line in said)
    assert process.returncode == 0


@pytest.mark.thorough
def test_two_saves_do_not_run_concurrently(make):
    backups = make()
    backups.save()
    with (backups.archives / ".lessee-backup.lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        backups.backup("save", code=73, text="another `lessee backup save` is running")
    backups.backup("save")


@pytest.mark.thorough
def test_a_lock_that_another_user_made_and_holds_is_named(make):
    need(os.geteuid() == 0, "needs root, to change owners")
    backups = make()
    backups.save()
    path = backups.archives / ".lessee-backup.lock"
    os.chown(path, 12345, 12345)
    with path.open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        backups.backup("save", code=73, text="uid 12345 made the lock file, and holds it")


@pytest.mark.thorough
def test_another_user_s_lock_in_the_temporary_directory_stops_no_save(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "own").mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "own"))
    here, elsewhere = ([S3Store(Block(bucket="archives", endpoint=f"http://127.0.0.1:{port}"), {})] for port in (9, 10))
    with save_lock(here), save_lock(elsewhere):
        names = [path.name for path in (tmp_path / "own").iterdir()]
        with pytest.raises(WriteError, match="another `lessee backup save` is running"), save_lock(here):
            pass
    assert len(names) == 2
    with ExitStack() as stack:
        for name in names:
            fcntl.flock(stack.enter_context((tmp_path / name).open("w")), fcntl.LOCK_EX)
        with save_lock(here), save_lock(elsewhere):
            pass


def test_leftovers_of_a_killed_save_are_removed_and_links_not_followed(make, tmp_path):
    backups = make()
    backups.archives.mkdir(mode=0o700)
    (backups.archives / ".lessee-backup-77.part").write_bytes(b"left")
    victim = tmp_path / "victim"
    victim.write_text("mine")
    backups.save()
    assert not list(backups.archives.glob("*.part"))
    (backups.archives / ".lessee-backup.lock").unlink()
    (backups.archives / ".lessee-backup.lock").symlink_to(victim)
    backups.backup("save", code=73, text="cannot create the lock file")
    assert victim.read_text() == "mine"


def test_without_a_store_the_error_says_what_to_configure(make):
    backups = make()
    backups.config["backup"].pop("directory")
    backups.backup("save", code=78, text="write `backup: {directory: DIR}`, or `s3:`")
    backups.config.pop("backup")
    backups.backup("verify", "latest", code=78, text="no store for archives")


def test_the_sidecar_does_not_import_backup():
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
