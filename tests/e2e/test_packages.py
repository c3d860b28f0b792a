"""The .deb and .rpm: installed, upgraded, removed and purged, on a machine with systemd and in a clean root."""

import json
import os
import re
import shutil
import subprocess
import time

import pytest

from lessee import __version__
from lessee.host.openbao import OpenBao, find_bao
from support.needs import need
from support.paths import ROOT
from support.programs.distribution import MACHINE, PACKAGING, CleanRoot, older
from support.programs.systemd_machine import Machine, missing_requirement

pytestmark = pytest.mark.timeout(300)

AGENT = "lessee@app.service"
STATUS = ("lessee", "status", "--json", "--socket", "/run/lessee/app/agent/status.sock")
POLICY = """
path "secret/data/production/*" { capabilities = ["read"] }
path "secret/metadata/production/*" { capabilities = ["read", "list"] }
path "secret/detailed-metadata/production/*" { capabilities = ["list"] }
"""
VERSION = f"lessee {__version__}\n"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
PACK = """
import sys
from pathlib import Path
import tree
from system_packages import make
folder = Path(sys.argv[1])
(folder / "share/man").mkdir(parents=True)
(folder / "share/man/lessee.1.gz").write_bytes(b"a page")
(folder / "output").mkdir()
tree.lay_out([Path(sys.argv[2])], folder / "lessee", ["3.13"])
make(folder / "lessee", folder / "output", "1.0", sys.argv[3], folder / "share", 1_700_000_000)
"""


@pytest.fixture(scope="module")
def packages(dist, tmp_path_factory):
    """The packages of this commit and of an older version, which has a module more."""
    return dist, older(dist, tmp_path_factory.mktemp("packages") / "older")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with OpenBao(tmp_path_factory.mktemp("openbao")) as server:
        yield server


@pytest.fixture(scope="module")
def machine():
    missing = missing_requirement()
    need(missing is None, f"needs {missing}")
    with Machine() as machine:
        yield machine


def package_of(folder, kind):
    """The package for this machine."""
    [package] = folder.glob({"deb": f"*_{ARCHITECTURES[MACHINE]}.deb", "rpm": f"*.{MACHINE}.rpm"}[kind])
    return package


def put_package(machine, folder, kind):
    package = package_of(folder, kind)
    machine.put(f"/srv/{folder.name}.{kind}", package)
    return f"/srv/{folder.name}.{kind}"


def set_up_agent(machine, server):
    """An agent of the installed unit, as compose/systemd/README.md says."""
    folder = ROOT / "compose/systemd/app"
    config = (folder / "lessee.yaml").read_text().replace("https://vault:8200", server.address)
    config = re.sub(r"(?m)^    notify:\n(      .*\n)+", "", config)  # There is no app.
    machine.put("/etc/lessee/app/lessee.yaml", config)
    machine.put("/etc/lessee/app/app.env.j2", folder / "app.env.j2")
    role_id, secret_id = server.approle("app", POLICY)
    machine.put("/etc/lessee/app/role_id", role_id)
    machine.run("groupadd", "--system", "app")
    encrypt = ("systemd-creds", "encrypt", "--with-key=host", "--name=secret_id", "-")
    machine.run(*encrypt, "/etc/lessee/app/secret_id.cred", text=secret_id)
    server.put("production/database", username="app", password="canary-package-first")


def published(machine):
    return machine.path("/run/lessee/app/files/app.env").read_text()


def wait_for(check, what):
    deadline = time.monotonic() + 90
    while not check():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@pytest.mark.thorough
def test_a_deb_is_installed_upgraded_removed_and_purged_and_an_agent_and_its_state_survive(machine, server, packages):
    dist, before = packages
    # Installed: the example is valid, and the unit runs as a user with an id of its own.
    output = machine.run("dpkg", "--install", put_package(machine, before, "deb"))
    assert "not compiled" not in output
    assert machine.path("/opt/lessee/lib/any/lessee/vanishes.py").exists()
    assert machine.run("lessee", "--version") == VERSION
    assert "secret/production/database" in machine.run("lessee", "check")
    assert int(machine.run("id", "--user", "lessee")) not in {0, 65534}
    assert machine.run("systemctl", "is-enabled", "lessee-drill.timer", check=False).strip() == "disabled"
    assert list(machine.path("/opt/lessee/lib/any/lessee/__pycache__").glob("cli*.pyc")) == []
    assert list(machine.path("/opt/lessee/lib/any/lessee/cli/__pycache__").glob("dispatch*.pyc"))
    set_up_agent(machine, server)
    machine.run("systemctl", "start", AGENT)
    assert "canary-package-first" in published(machine)
    pid = machine.run("systemctl", "show", "--property=MainPID", "--value", AGENT)
    machine.put("/etc/lessee/lessee.yaml", "# edited\n")

    # Upgraded: the agent continues, and is named; configuration and state are as before.
    output = machine.run("dpkg", "--install", put_package(machine, dist, "deb"))
    assert f"systemctl restart {AGENT}" in output
    assert "warning" not in output
    assert machine.run("systemctl", "show", "--property=MainPID", "--value", AGENT) == pid
    assert not machine.path("/opt/lessee/lib/any/lessee/vanishes.py").exists()
    assert machine.path("/etc/lessee/lessee.yaml").read_text() == "# edited\n"
    server.put("production/database", username="app", password="canary-package-second")
    wait_for(lambda: "canary-package-second" in published(machine), "a rotation after the upgrade")
    issued = json.loads(machine.run(*STATUS))
    machine.run("systemctl", "restart", AGENT)
    again = json.loads(machine.run(*STATUS))
    assert (again["ready"], again["apps"]["app"]["generation"]) == (True, issued["apps"]["app"]["generation"])
    assert server_logins(server) == 1

    # Removed: no agent stops, and only the program is gone. Purged: what the operator made is there.
    output = machine.run("dpkg", "--remove", "lessee")
    assert f"systemctl stop {AGENT}" in output
    assert machine.run("systemctl", "is-active", AGENT, check=False).strip() == "active"
    assert not machine.path("/opt/lessee").exists()
    assert machine.path("/etc/lessee/lessee.yaml").read_text() == "# edited\n"
    machine.run("dpkg", "--purge", "lessee")
    assert not machine.path("/etc/lessee/lessee.yaml").exists()
    assert machine.path("/etc/lessee/app/lessee.yaml").exists()
    assert "canary-package-second" in published(machine)
    assert machine.path("/run/lessee/app/agent").is_dir()
    assert machine.run("id", "--user", "lessee")


def server_logins(server):
    """How many tokens of the agent there are."""
    accessors = server.ask("LIST", "auth/token/accessors")["data"]["keys"]
    about = [server.ask("POST", "auth/token/lookup-accessor", {"accessor": each})["data"] for each in accessors]
    return sum("app" in token["policies"] for token in about)


def test_a_deb_says_what_it_needs_and_what_is_configuration(packages):
    deb = package_of(packages[0], "deb")
    fields = subprocess.run(["dpkg-deb", "--field", deb], stdout=subprocess.PIPE, text=True, check=True).stdout
    assert "Depends: python3 (>= 3.11), python3 (<< 3.15), libc6 (>= 2.28)\n" in fields
    info = subprocess.run(
        ["dpkg-deb", "--info", deb, "conffiles"], stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    assert set(info.split()) == {"/etc/lessee/lessee.yaml", "/etc/lessee/app.env.j2"}
    listed = subprocess.run(["dpkg-deb", "--contents", deb], stdout=subprocess.PIPE, text=True, check=True).stdout
    assert {line.split()[1] for line in listed.splitlines()} == {"root/root"}
    share = {line.partition("./usr/share/")[2] for line in listed.splitlines()}
    assert {"man/man1/lessee-run.1.gz", "man/man5/lessee.yaml.5.gz", "zsh/vendor-completions/_lessee"} < share
    assert {"bash-completion/completions/lessee", "fish/vendor_completions.d/lessee.fish"} < share
    # Only root writes, and everyone reads.
    modes = {line[:10] for line in listed.splitlines() if not line.startswith("l")}
    assert modes == {"-rw-r--r--", "-rwxr-xr-x", "drwxr-xr-x"}


def test_packages_have_the_same_bytes_whatever_the_umask_name_zone_and_processors_of_the_machine(dist, tmp_path):
    need(os.geteuid() == 0, "needs root, to give the machine another name")
    [wheel] = dist.glob("*.whl")
    made = []
    for name, umask, zone in ("one", "022", "UTC"), ("two", "077", "Asia/Tokyo"):
        processors = "0" if name == "two" else f"0-{os.cpu_count() - 1}"
        script = f'hostname {name}; umask {umask}; exec taskset -c {processors} "$@"'
        program = (PACKAGING, "-c", PACK, tmp_path / name, wheel, MACHINE)
        command = ["unshare", "--uts", "sh", "-euc", script, "sh", *program]
        subprocess.run(command, cwd=ROOT / ".ci/packaging", env=os.environ | {"TZ": zone}, check=True)
        made.append({file.name: file.read_bytes() for file in (tmp_path / name / "output").iterdir()})
    assert len(made[0]) == 2
    assert [name for name in made[0] if made[0][name] != made[1][name]] == []


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    need(os.geteuid() == 0, "needs root, to enter another root directory")
    return CleanRoot(tmp_path_factory.mktemp("clean") / "root")


@pytest.mark.thorough
def test_an_rpm_runs_the_demo_in_a_clean_root_is_upgraded_and_leaves_the_configuration(clean, packages):
    need(shutil.which("rpm"), "needs rpm: apt install rpm")
    dist, before = packages

    def rpm(*arguments):
        # The packages of this root are Debian's, which rpm does not know.
        command = ["rpm", f"--root={clean.path}", *arguments]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        assert done.returncode == 0, done.stdout
        return done.stdout

    old, new = package_of(before, "rpm"), package_of(dist, "rpm")
    needed = rpm("--query", "--requires", "--package", new)
    assert {"python3 >= 3.11", "python3 < 3.15", "glibc >= 2.28"} <= set(needed.splitlines())
    assert "not compiled" not in rpm("--install", "--nodeps", old)
    assert clean.run("lessee", "--version") == VERSION
    clean.add_program(find_bao())
    assert "SIGHUP" in clean.run("lessee", "demo")
    (clean.path / "etc/lessee/lessee.yaml").write_text("# edited\n")
    (clean.path / "etc/lessee/app").mkdir()
    rpm("--upgrade", "--nodeps", new)
    assert not (clean.path / "opt/lessee/lib/any/lessee/vanishes.py").exists()
    assert list((clean.path / "opt/lessee/lib/any/lessee/cli/__pycache__").glob("dispatch*.pyc"))
    assert clean.run("lessee", "--version") == VERSION
    assert (clean.path / "etc/lessee/lessee.yaml").read_text() == "# edited\n"
    rpm("--erase", "lessee")
    assert not (clean.path / "opt/lessee").exists()
    assert [file.name for file in (clean.path / "etc/lessee").glob("lessee.yaml*")] == ["lessee.yaml.rpmsave"]
    assert (clean.path / "etc/lessee/app").is_dir()
