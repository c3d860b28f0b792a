"""The latest archive is verified again and again, and metrics say when that last succeeded."""

import json
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
from support.inputs.forged_archives import Forger
from support.needs import need
from support.programs.sidecar import eventually

SAVED = "lessee_backup_last_save_timestamp_seconds"
SAVE_FAILED = "lessee_backup_last_save_failed"
VERIFIED = "lessee_backup_last_verification_timestamp_seconds"
VERIFICATION_FAILED = "lessee_backup_last_verification_failed"
ARCHIVE = "lessee_backup_verified_archive_timestamp_seconds"


@pytest.fixture(scope="module")
def vault(tmp_path_factory):
    with OpenBao(tmp_path_factory.mktemp("vault")) as server:
        server.put("one", value=canary("one"))
        yield server


@pytest.fixture
def backups(vault, tmp_path, memory):
    made = Backups(vault.address, tmp_path, memory, metrics_directory=str(tmp_path / "metrics"))
    made.metrics = tmp_path / "metrics"
    made.metrics.mkdir()
    made.environ.pop("LESSEE_ENVIRONMENT", None)
    return made


def samples(backups, kind, environment=""):
    """The values of a file of metrics, which promtool accepts."""
    path = backups.metrics / f"lessee_backup_{kind}{environment and f'_{environment}'}.prom"
    text = path.read_text()
    assert path.stat().st_mode & 0o777 == 0o644
    need(shutil.which("promtool"), "needs promtool: apt install --no-install-recommends prometheus")
    said = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout + said.stderr) == (0, "")
    found = re.findall(rf'^(\w+)\{{environment="{environment}"\}} (\S+)$', text, re.MULTILINE)
    return {name: float(value) for name, value in found}


def test_a_save_and_a_verification_leave_the_time_of_the_last_success(backups):
    before = time.time()
    backups.backup("save")
    saved = samples(backups, "save")
    assert saved.keys() == {SAVED, SAVE_FAILED}
    assert saved[SAVE_FAILED] == 0
    assert before <= saved[SAVED] <= time.time()
    backups.backup("verify", "latest")
    verified = samples(backups, "verification")
    assert verified.keys() == {VERIFIED, ARCHIVE, VERIFICATION_FAILED}
    assert verified[VERIFICATION_FAILED] == 0
    assert saved[SAVED] <= verified[VERIFIED] <= time.time()
    assert int(before) <= verified[ARCHIVE] <= saved[SAVED]
    assert sorted(path.name for path in backups.metrics.iterdir()) == [
        "lessee_backup_save.prom",
        "lessee_backup_verification.prom",
    ]


def test_a_failure_leaves_the_time_of_the_last_success(backups):
    archive = backups.save()
    backups.backup("verify", "latest")
    saved, verified = samples(backups, "save"), samples(backups, "verification")
    backups.backup("save", env={"VAULT_TOKEN": "none"}, code=77)
    assert samples(backups, "save") == saved | {SAVE_FAILED: 1}
    archive.write_bytes(archive.read_bytes()[:-20])
    backups.backup("verify", "latest", code=65)
    assert samples(backups, "verification") == verified | {VERIFICATION_FAILED: 1}


def test_a_backup_that_never_succeeded_has_no_time(backups):
    backups.backup("verify", "latest", code=65)
    assert samples(backups, "verification") == {VERIFICATION_FAILED: 1}


def test_differences_are_a_failure(backups):
    forger = Forger(backups.key, archive := backups.save())
    secret = json.loads(forger.members["kv.ndjson"])
    secret["settings"]["no_such_setting"] = 5  # The server accepts it, and does not return it.
    archive.write_bytes(forger.with_(kv=json.dumps(secret).encode() + b"\n", authenticated=True))
    assert "1 DIFFERENCES" in backups.backup("verify", "latest", code=1)
    assert samples(backups, "verification") == {VERIFICATION_FAILED: 1}


def test_a_named_archive_does_not_count_as_the_latest(backups):
    backups.backup("verify", str(backups.save()))
    assert not (backups.metrics / "lessee_backup_verification.prom").exists()


def test_environments_have_files_of_their_own(backups):
    backups.config["environment"] = "production"
    backups.backup("save")
    assert samples(backups, "save", "production")[SAVE_FAILED] == 0


def test_metrics_that_cannot_be_written_are_an_error_after_the_archive_is_saved(backups):
    backups.metrics.rmdir()
    backups.backup("save", code=73, text=f"{backups.metrics}: cannot write the metrics: No such file or directory")
    assert len(backups.found()) == 1


def test_a_file_that_is_not_ours_does_not_stop_a_save(backups, tmp_path):
    path = backups.metrics / "lessee_backup_save.prom"
    path.write_bytes(b"\xff{\n" * 10)
    backups.backup("save")
    assert samples(backups, "save")[SAVE_FAILED] == 0
    victim = tmp_path / "victim"
    victim.write_text("mine")
    path.unlink()
    path.symlink_to(victim)
    backups.backup("save")
    assert victim.read_text() == "mine"
    assert samples(backups, "save")[SAVE_FAILED] == 0


def test_verify_repeats_at_the_interval_until_sigterm(backups):
    """It also continues after an archive that cannot be read."""
    archive = backups.save()
    backups.write_config()
    process = subprocess.Popen(
        [sys.executable, "-m", "lessee", "backup", "verify", "latest", "--interval", "1s"],
        cwd=backups.disk,
        env=backups.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        lines = [process.stdout.readline() for _ in range(4)]
        assert [line.startswith(f"{archive}: restored and equal") for line in lines].count(True) == 2
        whole = archive.read_bytes()
        archive.write_bytes(whole[:-20])
        assert "the archive is truncated or altered" in process.stderr.readline()
        eventually(lambda: samples(backups, "verification")[VERIFICATION_FAILED] == 1, "the failure in the metrics")
        archive.write_bytes(whole)
        eventually(lambda: samples(backups, "verification")[VERIFICATION_FAILED] == 0, "the success in the metrics")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        process.stdout.close()
        process.stderr.close()
    assert process.returncode == 0


def test_only_the_latest_is_verified_again_and_again(backups):
    archive = backups.save()
    backups.backup("verify", str(archive), "--interval", "7d", code=64, text="--interval verifies the latest archive")
    backups.backup("verify", "latest", "--interval", "10ms", code=64, text="--interval must be from 1s to 365d")
