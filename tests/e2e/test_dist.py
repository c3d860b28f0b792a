"""The files of `make dist`, installed as their users do it: verified, started, upgraded and removed."""

import email
import os
import shutil
import stat
import subprocess
import tarfile
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from e2e.engine import PYTHON
from lessee import __version__
from lessee.host.openbao import find_bao
from support.needs import need
from support.paths import ROOT
from support.programs.distribution import MACHINE, PACKAGING, system_python
from support.thorough import THOROUGH

VERSION = f"lessee {__version__}\n"
OTHER_USER = 65534
CONFIG = """
environment: production
vault: {address: "https://vault.example:8200", auth: {method: token, token_file: token}}
state_dir: /run/lessee
apps: {app: {directory: /run/app, files: [{template: app.env.j2}]}}
"""


def run(*command, check=True, **environ):
    done = subprocess.run(
        list(map(str, command)),
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"} | environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert not check or done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}"
    return done.stdout if check else (done.returncode, done.stdout)


def test_each_file_has_its_sum(dist):
    run("sh", "-c", f"cd {dist} && sha256sum --strict --quiet --check SHA256SUMS")
    listed = {line.split()[1] for line in (dist / "SHA256SUMS").read_text().splitlines()}
    assert listed == {file.name for file in dist.iterdir()} - {"SHA256SUMS"}


# Wheel


@pytest.fixture(scope="module")
def wheel(dist):
    [wheel] = dist.glob("*.whl")
    return wheel


def test_the_wheel_has_the_package_its_data_and_its_license_and_no_test(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        [metadata] = [name for name in names if name.endswith(".dist-info/METADATA")]
        about = email.message_from_bytes(archive.read(metadata))
    tops = {name.partition("/")[0] for name in names}
    assert tops == {"lessee", f"lessee-{__version__}.dist-info"}
    source = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "agent/lessee"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout.split()
    assert {name.removeprefix("agent/") for name in source if (ROOT / name).exists()} <= set(names)
    assert any(name.endswith("LICENSE") for name in names)
    assert (about["Version"], about["License-Expression"]) == (__version__, "Apache-2.0")


# The folder that someone with a network fills for a machine without one.
DOWNLOAD = """
import shutil, sys
from pathlib import Path
import tree
folder, machine, python = Path(sys.argv[1]), *sys.argv[2:]
for wheel in tree.download(tree.requirements((), folder), Path(sys.prefix) / "wheels", machine, [python]):
    shutil.copy(wheel, folder)
"""


def test_a_machine_without_network_installs_the_wheel_from_a_folder_and_checks_a_configuration(wheel, tmp_path):
    need(os.geteuid() == 0, "needs root, to take the network away")
    folder, venv = tmp_path / "wheels", tmp_path / "venv"
    folder.mkdir()
    (ROOT / ".venv/packaging/wheels").mkdir(exist_ok=True)
    download = [PACKAGING, "-c", DOWNLOAD, folder, MACHINE, system_python()]
    subprocess.run(download, cwd=ROOT / ".ci/packaging", check=True)

    def offline(*command):
        return run("unshare", "--net", "--", *command, HOME=str(tmp_path))

    run(PYTHON, "-m", "venv", venv)
    shutil.copy(wheel, folder)
    offline(venv / "bin/pip", "install", "--no-index", f"--find-links={folder}", "lessee")
    assert "No broken requirements found" in offline(venv / "bin/pip", "check")
    assert offline(venv / "bin/lessee", "--version") == VERSION
    (tmp_path / "lessee.yaml").write_text(CONFIG)
    (tmp_path / "app.env.j2").write_text('PASSWORD={{ secret("database").password }}\n')
    assert "secret/production/database" in offline(venv / "bin/lessee", "check", "--config", tmp_path / "lessee.yaml")


def test_the_source_distribution_has_what_builds_the_wheel(dist):
    [sdist] = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
        assert {(member.uid, member.uname) for member in archive} == {(0, "")}
    assert {"pyproject.toml", "README.md", "LICENSE", "PKG-INFO", "agent/lessee/__init__.py"} <= names


# lessee.pyz


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def unpacked(dist, tmp_path_factory):
    """A cache after the first start."""
    cache = tmp_path_factory.mktemp("cache") / "lessee"
    assert run(PYTHON, dist / "lessee.pyz", "--version", LESSEE_CACHE_DIR=str(cache)) == VERSION
    return cache


@pytest.mark.thorough
def test_the_single_file_runs_and_unpacks_once_into_a_private_folder(dist, unpacked):
    [folder] = unpacked.iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.lstat().st_mode) & 0o77 for file in folder.rglob("*") if not file.is_symlink()} == {0}
    before = folder.stat().st_ctime_ns, (folder / "lib/any/lessee/__init__.py").stat().st_ctime_ns
    for start in ([dist / "lessee.pyz"], [PYTHON, "-I", dist / "lessee.pyz"], [folder / "bin/lessee"]):
        assert run(*start, "--version", LESSEE_CACHE_DIR=str(unpacked)) == VERSION
    assert [folder] == list(unpacked.iterdir())
    assert before == (folder.stat().st_ctime_ns, (folder / "lib/any/lessee/__init__.py").stat().st_ctime_ns)
    # What starts itself again finds its modules, in each folder.
    assert run(folder / "bin/python", "-I", "-m", "lessee", "--version") == VERSION


def test_arguments_signals_and_exit_codes_are_the_ones_of_lessee(dist, unpacked, tmp_path):
    environ = {"LESSEE_CACHE_DIR": str(unpacked)}
    assert run(dist / "lessee.pyz", "no such command", check=False, **environ)[0] == 64
    code, output = run(dist / "lessee.pyz", "check", "--config", tmp_path / "lacks.yaml", check=False, **environ)
    assert code == 78
    assert "lacks.yaml" in output


def test_the_single_file_runs_the_demo(dist, unpacked):
    bao = Path(find_bao())
    output = run(dist / "lessee.pyz", "demo", LESSEE_CACHE_DIR=str(unpacked), PATH=f"{bao.parent}:/usr/bin:/bin")
    assert "SIGHUP" in output


def test_another_python_on_the_path_is_used_and_without_one_the_error_says_which(dist, unpacked, tmp_path):
    environ = {"LESSEE_CACHE_DIR": str(unpacked)}
    # A Python that is too old, and the file of the tests is for the system's Python alone.
    script = f"""
import runpy, sys
sys.version_info, sys.argv = (3, 9, 1, "final", 0), ["{dist}/lessee.pyz", "--version"]
runpy.run_path(sys.argv[0])
"""
    assert run(PYTHON, "-c", script, **environ) == VERSION
    code, output = run(PYTHON, "-c", script, check=False, PATH=str(tmp_path), **environ)
    assert code == 69
    oldest, newest = ("3.11", "3.14") if os.environ.get("DIST") else [system_python()] * 2
    assert f"needs Python {oldest} to {newest}, and this is 3.9; install" in output


def test_a_folder_that_another_user_could_change_is_refused(dist, tmp_path):
    need(os.geteuid() == 0, "needs root, to own files as another user")

    def refused(cache):
        code, output = run(PYTHON, dist / "lessee.pyz", "--version", check=False, LESSEE_CACHE_DIR=str(cache))
        assert code == 69, output
        return output

    planted = tmp_path / "planted"
    planted.mkdir()
    os.chown(planted, OTHER_USER, OTHER_USER)
    assert "belongs to user 65534" in refused(planted)
    assert "belongs to user 65534" in refused(planted / "below")
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    assert f"other users may write to {shared}" in refused(shared)
    # Nor as in /tmp, where others cannot replace a folder of this user: the cache itself has no other writer.
    shared.chmod(0o1777)
    assert f"other users may write to {shared}" in refused(shared)
    (tmp_path / "link").symlink_to(planted)
    assert "belongs to user 65534" in refused(tmp_path / "link")
    assert "is relative" in refused("cache")
    assert not [*planted.rglob("*.py"), *shared.rglob("*.py")]


def test_an_unpacked_folder_that_is_not_private_any_more_is_refused(dist, unpacked, cache):
    [name] = [folder.name for folder in unpacked.iterdir()]

    def refused():
        code, output = run(PYTHON, dist / "lessee.pyz", "--version", check=False, LESSEE_CACHE_DIR=str(cache))
        assert code == 69
        return f"{cache}/{name} is not a private folder of this user" in output

    (cache / name).mkdir(parents=True)
    (cache / name).chmod(0o755)
    assert refused()
    (cache / name).rmdir()
    (cache / name).symlink_to(unpacked / name)
    assert refused()


def test_a_folder_without_programs_or_without_permission_is_reported(dist, memory):
    need(os.geteuid() == 0, "needs root, to mount")
    command = 'mount -t tmpfs -o noexec tmpfs "$0" && exec "$@"'
    start = ("unshare", "--mount", "sh", "-c", command, memory, PYTHON, dist / "lessee.pyz", "--version")
    code, output = run(*start, check=False, LESSEE_CACHE_DIR=str(memory / "cache"))
    assert code == 69
    assert "is mounted with noexec; set $LESSEE_CACHE_DIR" in output


def test_a_kill_while_unpacking_and_starts_at_the_same_time_leave_one_complete_folder(dist, cache):
    environ = {"LESSEE_CACHE_DIR": str(cache), "PATH": "/usr/bin:/bin"}
    killed = subprocess.Popen([PYTHON, dist / "lessee.pyz", "--version"], env=environ, stdout=subprocess.PIPE)
    while not list(cache.glob(".unpacking-*/lib/any/*")):
        assert killed.poll() is None
        time.sleep(0.001)
    killed.kill()
    killed.communicate()
    assert not complete(cache)
    # Each of them unpacks, which takes some seconds of CPU time.
    with ThreadPoolExecutor() as starts:
        results = list(starts.map(lambda _: run(dist / "lessee.pyz", "--version", **environ), range(1 + THOROUGH)))
    assert set(results) == {VERSION}
    assert len(complete(cache)) == 1


def complete(cache):
    return [folder for folder in cache.iterdir() if not folder.name.startswith(".")]
