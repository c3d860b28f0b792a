"""The quadlets of compose/podman on a real Podman under a real systemd, on a machine that the test creates."""

import json
import shutil
import time
from pathlib import Path

import pytest

from e2e.compose import LESSEE, fingerprint
from e2e.engine import PYTHON, WITH_PYTHON, debian
from lessee.host.openbao import OpenBao
from support.needs import need
from support.paths import ROOT
from support.programs.system_install import install_lessee
from support.programs.systemd_machine import Machine, missing_requirement

pytestmark = pytest.mark.timeout(300)

FOLDER = ROOT / "compose/podman"
QUADLETS = ("app.pod", "app-agent.container", "app.container")
POD, AGENT, APP = "app-pod.service", "app-agent.service", "app.service"
BASE, IMAGE, APP_IMAGE = "localhost/base", "localhost/lessee", "docker.io/library/python:3.13-slim"
JOB, JOB_AGENT = "job.service", "lessee@job.service"
TIMEOUT = 90
POLICY = """
path "secret/data/production/*" { capabilities = ["read"] }
path "secret/metadata/production/*" { capabilities = ["read", "list"] }
path "secret/detailed-metadata/production/*" { capabilities = ["list"] }
"""
# This machine cannot give containers limits of v1 cgroups, sysctls, or a bridge without nftables.
CONTAINERS_CONF = "[containers]\npids_limit = 0\ndefault_sysctls = []\n"
MOUNTED = {"app-agent": {"/etc/lessee/app", "/run/lessee-app"}, "app": {"/opt/app", "/run/lessee-app/files"}}
TEST_SETTINGS = {"app-agent": "[Container]\nNetwork=host\n", "app": "[Container]\nNetwork=none\n"}


class Installed:
    """The quadlets and what they need, on a machine, and a Vault server."""

    def __init__(self, machine, server):
        self.machine, self.server = machine, server
        self.run = machine.run

    def make_images(self, built):
        self.machine.put("/etc/containers/containers.conf", CONTAINERS_CONF)
        self.machine.put("/etc/containers/policy.json", '{"default": [{"type": "insecureAcceptAnything"}]}')
        with debian(*WITH_PYTHON) as archive:
            self.machine.put("/srv/base.tar", Path(archive))
        self.run("podman", "import", "--quiet", "/srv/base.tar", BASE)
        self.run("podman", "tag", BASE, APP_IMAGE)
        for name in "wheels", "source":
            shutil.copytree(built / name, self.machine.path(f"/srv/{name}"))
        self.machine.put("/srv/source/Dockerfile", ROOT / "compose/Dockerfile")
        base = ("--network=none", f"--build-arg=BASE_IMAGE={BASE}", "--build-context=wheels=/srv/wheels")
        limits = (
            "--ulimit=nofile=1024:1024",
            "--ulimit=nproc=1024:1024",
        )  # Podman may be denied more than the test's own.
        self.run("podman", "build", "--quiet", *limits, *base, f"--tag={IMAGE}", "/srv/source")

    def install(self):
        """Install the quadlets as the README says."""
        for name in QUADLETS:
            self.machine.put(f"/etc/containers/systemd/{name}", FOLDER / name)
        for name, text in TEST_SETTINGS.items():
            self.machine.put(f"/etc/containers/systemd/{name}.container.d/test.conf", text)
        self.machine.put("/opt/app/app.py", ROOT / "compose/quickstart/app/app.py")
        config = (FOLDER / "lessee/lessee.yaml").read_text().replace("https://vault:8200", self.server.address)
        self.machine.put("/etc/lessee/app/lessee.yaml", config)
        self.machine.put("/etc/lessee/app/app.env.j2", FOLDER / "lessee/app.env.j2")
        role_id, self.secret_id = self.server.approle("app", POLICY)
        self.machine.put("/etc/lessee/app/role_id", role_id)
        self.run("podman", "secret", "create", "lessee-app-secret-id", "-", text=self.secret_id)
        self.run("systemctl", "daemon-reload")

    def install_secrets(self, built):
        """Install the agent on the machine, and Podman's secrets, as the README says."""
        install_lessee(self.machine, built / "wheels")
        folder = FOLDER / "secrets"
        self.machine.put("/etc/systemd/system/lessee@.service", ROOT / "compose/systemd/lessee@.service")
        self.machine.put("/etc/polkit-1/rules.d/50-lessee-job.rules", folder / "lessee.rules")
        self.machine.put("/etc/containers/containers.conf.d/lessee.conf", folder / "secrets.conf")
        self.machine.put("/usr/local/bin/lessee-secret", folder / "lessee-secret", mode=0o755)
        self.machine.put("/etc/containers/systemd/job.container", folder / "job.container")
        self.machine.put("/etc/containers/systemd/job.container.d/test.conf", TEST_SETTINGS["app"])
        config = (folder / "lessee/lessee.yaml").read_text().replace("https://vault:8200", self.server.address)
        self.machine.put("/etc/lessee/job/lessee.yaml", config)
        self.machine.put("/etc/lessee/job/token.j2", folder / "lessee/token.j2")
        role_id, secret_id = self.server.approle("job", POLICY)
        self.machine.put("/etc/lessee/job/role_id", role_id)
        self.machine.put("/usr/lib/sysusers.d/lessee.conf", "u lessee -\nu job -\n")
        self.run("systemd-sysusers")
        encrypt = ("systemd-creds", "encrypt", "--with-key=host", "--name=secret_id", "-")
        self.run(*encrypt, "/etc/lessee/job/secret_id.cred", text=secret_id)
        self.run("systemctl", "daemon-reload")

    def rotate(self, value):
        self.server.put("production/database", username="app", password=value)

    def journal(self, unit=APP):
        return self.run("journalctl", "--no-pager", "--output=cat", "--unit", unit)

    def starts(self, unit=APP):
        return [line for line in self.journal(unit).splitlines() if line.startswith("start:")]

    def file(self):
        return self.machine.path("/run/lessee-app/files/app.env").read_text()

    def pid(self, unit):
        """The pid of the container's first process."""
        return self.run("podman", "inspect", "--format={{.State.Pid}}", f"systemd-{unit}", check=False).strip()

    def status(self):
        socket = ("--socket", "/run/lessee/agent/status.sock")
        return self.run("podman", "exec", "systemd-app-agent", LESSEE, "status", "--json", *socket, check=False)

    def wait_for(self, check, what):
        deadline = time.monotonic() + TIMEOUT
        while not check():
            if time.monotonic() > deadline:
                states = self.run("systemctl", "status", "--no-pager", "--full", POD, AGENT, APP, JOB, check=False)
                pytest.fail(f"no {what} within {TIMEOUT} s:\n{states}\n{self.journal(AGENT)}{self.journal(JOB_AGENT)}")
            time.sleep(0.2)


@pytest.fixture(scope="module")
def installed(tmp_path_factory, built):
    missing = missing_requirement()
    need(missing is None, f"needs {missing}")
    programs = [Path("/usr/bin/podman"), Path("/usr/bin/crun"), Path("/usr/bin/catatonit"), Path(PYTHON)]
    need(all(map(Path.exists, programs)), "needs Podman: apt install podman crun catatonit")
    with OpenBao(tmp_path_factory.mktemp("openbao")) as server, Machine() as machine:
        installed = Installed(machine, server)
        installed.make_images(built)
        installed.install()
        yield installed


@pytest.mark.thorough
def test_podmans_generator_accepts_the_quadlets_without_a_warning(installed):
    output = installed.run("/usr/libexec/podman/quadlet", "-dryrun", "-no-kmsg-log")
    for unit in POD, AGENT, APP:
        assert f"---{unit}---" in output
    assert [
        line for line in output.splitlines() if line.startswith("quadlet-generator") and "Loading" not in line
    ] == []


def test_podmans_generator_reports_a_misspelled_key(installed):
    text = (FOLDER / "app.container").read_text().replace("ReadOnly=", "Readonly=")
    installed.machine.put("/srv/misspelled/app.container", text.replace("Pod=app.pod\n", ""))
    output = installed.run(
        "/usr/libexec/podman/quadlet", "-dryrun", "-no-kmsg-log", QUADLET_UNIT_DIRS="/srv/misspelled", check=False
    )
    assert "unsupported key 'Readonly'" in output


def test_the_app_starts_once_its_files_exist_and_is_notified_of_a_rotation(installed):
    installed.run("systemctl", "start", "--no-block", POD)
    installed.wait_for(lambda: '"ready": false' in installed.status(), "agent that waits for its secret")
    assert installed.run("systemctl", "is-active", AGENT, APP, check=False).split() == ["activating", "inactive"]
    installed.rotate("canary-podman-first")
    installed.wait_for(lambda: "start: app.env" in installed.journal(), "start of the app")
    assert f"start: app.env {fingerprint(installed.file())}" in installed.journal()
    assert installed.run("systemctl", "is-active", POD, AGENT, APP).split() == ["active"] * 3
    check_that_a_rotation_reaches_the_app(installed, "canary-podman-second")


def test_a_killed_agent_restarts_with_its_token_and_the_app_keeps_running(installed):
    token, app, agent = accessor(installed), installed.pid("app"), installed.pid("app-agent")
    installed.run("kill", "-KILL", agent)
    installed.wait_for(
        lambda: '"ready": true' in installed.status() and installed.pid("app-agent") != agent, "new agent"
    )
    assert accessor(installed) == token
    assert installed.pid("app") == app
    check_that_a_rotation_reaches_the_app(installed, "canary-podman-third")


def test_an_app_that_crashed_is_restarted_and_reads_the_current_files(installed):
    app, agent, starts = installed.pid("app"), installed.pid("app-agent"), len(installed.starts())
    installed.run("kill", "-KILL", app)
    installed.wait_for(lambda: len(installed.starts()) > starts, "new app")
    assert installed.starts()[-1] == f"start: app.env {fingerprint(installed.file())}"
    assert installed.pid("app-agent") == agent
    check_that_a_rotation_reaches_the_app(installed, "canary-podman-fourth")


@pytest.mark.thorough
def test_agent_and_app_restart_when_both_are_killed_together(installed):
    starts = len(installed.starts())
    installed.run("kill", "-KILL", installed.pid("app-agent"), installed.pid("app"))
    installed.wait_for(lambda: len(installed.starts()) > starts, "new app")
    installed.wait_for(lambda: '"ready": true' in installed.status(), "new agent")
    check_that_a_rotation_reaches_the_app(installed, "canary-podman-fifth")


@pytest.mark.parametrize(("name", "capabilities"), [("app-agent", 1 << 5), ("app", 0)])  # CAP_KILL
def test_a_container_has_only_the_privileges_that_it_needs(installed, name, capabilities):
    status = installed.machine.path(f"/proc/{installed.pid(name)}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert {int(fields[kind], 16) for kind in ("CapEff", "CapPrm", "CapBnd")} == {capabilities}
    assert fields["NoNewPrivs"] == "1"
    container = json.loads(installed.run("podman", "inspect", f"systemd-{name}"))[0]
    assert container["HostConfig"]["ReadonlyRootfs"]
    sources = {mount["Source"] for mount in container["Mounts"]}
    assert sources == MOUNTED[name]
    if name == "app":
        assert "Read-only" in installed.run("podman", "exec", "systemd-app", "touch", "/run/secrets/app/x", check=False)


def test_the_agents_container_is_below_its_unit_which_has_limits(installed):
    cgroup = installed.machine.path(f"/proc/{installed.pid('app-agent')}/cgroup").read_text()
    assert f"/{AGENT}/libpod-payload-" in cgroup
    limits = installed.run("systemctl", "show", "--property=MemoryMax,MemorySwapMax,TasksMax", AGENT)
    assert set(limits.split()) == {f"MemoryMax={256 << 20}", "MemorySwapMax=0", "TasksMax=64"}


def test_no_value_is_in_the_output_of_podman_or_systemd(installed):
    outputs = [
        installed.run("podman", "inspect", "systemd-app", "systemd-app-agent"),
        installed.run("podman", "pod", "inspect", "app"),
        installed.run("podman", "secret", "inspect", "lessee-app-secret-id"),
        installed.run("systemctl", "show", POD, AGENT, APP),
        installed.run("journalctl", "--no-pager", "--output=json"),
        *(installed.run("podman", "diff", f"systemd-{name}") for name in ("app", "app-agent")),
    ]
    for value in (installed.secret_id, "canary-podman"):
        assert not [text for text in outputs if value in text]


def test_a_secret_of_podman_is_read_from_the_agent_and_a_changed_one_restarts_the_container(installed, built):
    need(Path("/usr/lib/polkit-1/polkitd").exists(), "needs polkitd: apt install polkitd")
    need(shutil.which("curl"), "needs curl")
    installed.install_secrets(built)
    rejected = installed.run("podman", "secret", "create", "job-token", "-", text="canary of a value", check=False)
    assert "expected APP/FILE, and no secret" in rejected
    installed.run("podman", "secret", "create", "job-token", "-", text="job/token")
    installed.run("systemctl", "start", "--no-block", JOB)
    installed.wait_for(lambda: "secret not read" in installed.journal(JOB_AGENT), "agent that waits for its secret")
    values = ("canary-podman-job-first", "canary-podman-job-second")
    for number, value in enumerate(values, start=1):
        installed.server.put("production/job", token=value)
        line = f"start: token {fingerprint(value)}"
        installed.wait_for(lambda line=line: installed.starts(JOB)[-1:] == [line], "container with the secret")
        installed.wait_for(
            lambda number=number: f'"generation": {number}, "how"' in installed.journal(JOB_AGENT), "notification"
        )
    # Another user has no right to the socket, and nothing of the value is stored or printed.
    as_job = ("setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", "curl", "--silent", "--show-error")
    socket = ("--unix-socket", "/run/lessee/job/read.sock", "http://localhost/files/token")
    outputs = [
        installed.run(*as_job, *socket, check=False),
        installed.run("podman", "secret", "inspect", "job-token"),
        installed.run("podman", "inspect", "systemd-job"),
        installed.run("grep", "--recursive", "", "/var/lib/lessee-secrets"),
        installed.run("journalctl", "--no-pager", "--output=json"),
    ]
    assert not [text for text in outputs if "canary-podman-job" in text]
    installed.run("podman", "secret", "rm", "job-token")
    assert installed.run("ls", "/var/lib/lessee-secrets") == ""


def check_that_a_rotation_reaches_the_app(installed, value):
    installed.rotate(value)
    installed.wait_for(lambda: value in installed.file(), "new file")
    installed.wait_for(lambda: f"SIGHUP: app.env {fingerprint(installed.file())}" in installed.journal(), "signal")


def accessor(installed):
    return json.loads(installed.status())["token"]["accessor"]
