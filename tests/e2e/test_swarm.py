"""The stack of compose/swarm on a real Swarm of one node: two tasks, each with its own agent."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing, contextmanager

import pytest

from e2e.compose import AGENT_THIEF, EXEC_APP, LESSEE, OPENBAO, Images, fingerprint
from e2e.engine import missing_requirement, shared_engine
from lessee.core.generation import File, Generation
from lessee.publishing.publication import Publisher
from support.needs import need
from support.paths import ROOT

pytestmark = pytest.mark.docker

STACK, SERVICE, NETWORK, SERVER = "lessee-e2e", "lessee-e2e_app", "vault", "lessee-e2e-openbao"
SETTINGS = {"APP_IMAGE": EXEC_APP["image"], "VAULT_ADDR": f"http://{SERVER}:8200"}
BAO = {"BAO_ADDR": "http://127.0.0.1:8200", "BAO_TOKEN": "swarm-e2e"}
SERVICE_LABEL = f"label=com.docker.swarm.service.name={SERVICE}"
UPDATE = "{{if .UpdateStatus}}{{.UpdateStatus.State}}{{end}}"
LIMITS = "{{.MemoryLimit}} {{.PidsLimit}}"
TIMEOUT = 90
POLICY = """
path "secret/data/production/*" { capabilities = ["read"] }
path "secret/metadata/production/*" { capabilities = ["read", "list"] }
path "secret/detailed-metadata/production/*" { capabilities = ["list"] }
"""


PUSHED = """
environment: testing
state_dir: {folder}/state
apps:
  web:
    directory: {folder}/web
    files: [{{template: password.j2}}, {{template: password.j2, name: plain}}]
"""

# The user, the capabilities and the privileges of the app that lessee has started.
APPS = """
from pathlib import Path
for folder in Path("/proc").glob("[0-9]*"):
    words = (folder / "cmdline").read_bytes().split(b"\\0")
    if b"/app/app.py" in words and b"/opt/lessee/bin/lessee" not in words:
        lines = (folder / "status").read_text().splitlines()
        status = dict(line.split(":\\t", 1) for line in lines if ":\\t" in line)
        print(status["Uid"].split()[0], status["CapEff"], status["NoNewPrivs"])
"""


class Stack:
    """The deployed stack, with a Vault server."""

    def __init__(self, engine):
        self._engine = engine
        self.values = []

    @property
    def environ(self):
        return self._engine.environ

    def docker(self, *arguments, **settings):
        return self._engine.docker(*arguments, **settings)

    def bao(self, *arguments, **settings):
        environ = [argument for name, value in BAO.items() for argument in ("--env", f"{name}={value}")]
        return self.docker("exec", "-i", *environ, SERVER, "bao", *arguments, **settings)

    def issue_secret_id(self, version):
        """Store a new secret_id as a secret of Swarm."""
        data = json.loads(self.bao("write", "-f", "-format=json", "auth/approle/role/app/secret-id"))["data"]
        self.values.append(data["secret_id"])
        self.docker("secret", "create", f"lessee-secret-id-{version}", "-", text=data["secret_id"])

    def rotate(self, value):
        self.values.append(value)
        self.bao("kv", "put", "secret/production/database", "username=app", "password=-", text=value)

    def deploy(self, version, **settings):
        """Deploy the stack as the README says."""
        settings = SETTINGS | {"VERSION": version} | settings
        file = f"{ROOT}/compose/swarm/stack.yaml"
        self.docker("stack", "deploy", "--resolve-image=never", "-c", file, STACK, **settings)

    def tasks(self):
        """The ids of the healthy containers of the tasks."""
        return self.docker(
            "ps", "--quiet", "--no-trunc", "--filter", SERVICE_LABEL, "--filter", "health=healthy"
        ).split()

    def is_settled(self):
        """Whether the update is complete, and nothing of the service runs but its pair of healthy tasks.

        Before that, Swarm replaces healthy tasks too: its update continues after a task has died.
        """
        update = self.docker("service", "inspect", "--format", UPDATE, SERVICE).strip()
        running = self.docker("ps", "--quiet", "--no-trunc", "--filter", SERVICE_LABEL).split()
        return update in {"", "completed"} and len(running) == 2 and set(running) == set(self.tasks())

    def wait_for(self, check, what):
        deadline = time.monotonic() + TIMEOUT
        while not check():
            if time.monotonic() > deadline:
                states = self.docker("service", "ps", "--no-trunc", SERVICE, check=False)
                logs = self.docker("service", "logs", SERVICE, check=False)
                pytest.fail(f"no {what} within {TIMEOUT} s:\n{states}\n{logs}")
            time.sleep(0.2)  # Each check starts a program.

    def starts(self, container):
        """The lines that the app logged at its starts, each with a fingerprint of its secret."""
        return [line for line in self.docker("logs", container).splitlines() if line.startswith("start: ")]

    def status(self, container):
        return json.loads(self.docker("exec", container, LESSEE, "status", "--json"))

    def tokens(self):
        return set(json.loads(self.bao("list", "-format=json", "auth/token/accessors")))


@pytest.fixture(scope="module")
def swarm_images(images, tmp_path_factory, request):
    """The images, on an Engine that no other program uses, because the whole Engine joins the Swarm."""
    if images.engine.is_ours:
        yield images
        return
    missing = missing_requirement(own=True)
    need(missing is None, f"needs {missing}")
    folder = tmp_path_factory.mktemp("swarm")
    with shared_engine(folder, own=True) as engine:
        yield Images(engine, folder, request.getfixturevalue("built") / "wheels")


@pytest.fixture(scope="module")
def stack(swarm_images):
    engine = swarm_images.engine
    swarm_images.make("exec", {"app": EXEC_APP})
    with swarm(engine):
        stack = Stack(engine)
        engine.docker("network", "create", "--driver", "overlay", "--attachable", NETWORK)
        serve = ("server", "-dev", "-dev-no-store-token", "-dev-listen-address=0.0.0.0:8200")
        token = f"-dev-root-token-id={BAO['BAO_TOKEN']}"
        engine.docker("run", "--detach", "--name", SERVER, "--network", NETWORK, OPENBAO, *serve, token)
        stack.wait_for(lambda: "max_versions" in stack.bao("read", "secret/config", check=False), "server")
        stack.bao("auth", "enable", "approle")
        stack.bao("policy", "write", "app", "-", text=POLICY)
        stack.bao("write", "auth/approle/role/app", "token_policies=app", "token_ttl=1h")
        role_id = stack.bao("read", "-field=role_id", "auth/approle/role/app/role-id")
        engine.docker("secret", "create", "lessee-role-id", "-", text=role_id)
        stack.rotate("canary-swarm-first")
        stack.issue_secret_id("1")
        stack.deploy("1")
        stack.wait_for(stack.is_settled, "pair of healthy tasks")
        yield stack


@contextmanager
def swarm(engine):
    """Make the Engine a Swarm of one node, and remove the stack at the end.

    The Engine stays in the Swarm. When it leaves, it forgets the names of the services of all other networks, which
    belong to other workers' tests.
    """
    engine.docker("swarm", "init", "--advertise-addr", "127.0.0.1")
    try:
        yield
    finally:
        engine.docker("stack", "rm", STACK)
        engine.remove(SERVER)


@pytest.mark.thorough
def test_each_task_has_the_secret_and_its_own_login(stack):
    tasks = stack.tasks()
    assert [stack.starts(task) for task in tasks] == [[f"start: {fingerprint('canary-swarm-first')}"]] * 2
    accessors = {stack.status(task)["token"]["accessor"] for task in tasks}
    assert len(accessors) == 2
    assert accessors < stack.tokens()


def test_a_rotation_reaches_both_tasks_without_a_new_container(stack):
    tasks = stack.tasks()
    stack.rotate("canary-swarm-second")
    line = f"start: {fingerprint('canary-swarm-second')}"
    stack.wait_for(lambda: all(line in stack.starts(task) for task in tasks), "new secret in both tasks")
    assert stack.tasks() == tasks


def test_a_rolling_update_uses_the_new_secret_id_and_revokes_the_tokens_of_the_old_tasks(stack):
    before = stack.tasks()
    old = {stack.status(task)["token"]["accessor"] for task in before}
    stack.issue_secret_id("2")
    stack.deploy("2")

    def replaced():
        tasks = stack.tasks()
        assert len(tasks) >= 2  # Swarm starts each new task before it stops an old one.
        return not set(tasks) & set(before) and stack.is_settled()

    stack.wait_for(replaced, "pair of new tasks")
    lines = [f"start: {fingerprint('canary-swarm-second')}"]
    assert [stack.starts(task) for task in stack.tasks()] == [lines] * 2
    stack.wait_for(lambda: not old & stack.tokens(), "revocation of the old tokens")


@pytest.mark.thorough
def test_a_killed_task_is_replaced_by_one_with_its_own_login(stack):
    victim, other = stack.tasks()
    accessor = stack.status(victim)["token"]["accessor"]
    os.kill(int(stack.docker("inspect", "--format", "{{.State.Pid}}", victim)), signal.SIGKILL)
    stack.wait_for(lambda: victim not in stack.tasks() and stack.is_settled(), "new task")
    (new,) = set(stack.tasks()) - {victim, other}
    assert stack.starts(new) == [f"start: {fingerprint('canary-swarm-second')}"]
    assert stack.status(new)["token"]["accessor"] != accessor


def test_a_task_has_only_the_privileges_that_it_needs_and_writes_only_to_memory(stack):
    for task in stack.tasks():
        container = json.loads(stack.docker("inspect", task))[0]
        assert container["Config"]["User"] == "0:0"
        assert container["HostConfig"]["ReadonlyRootfs"]
        limits = container["HostConfig"]["Memory"], container["HostConfig"]["PidsLimit"]
        assert limits == (512 << 20, 128) or "true true" not in stack.docker("info", "--format", LIMITS)
        status = stack.docker("exec", task, "cat", "/proc/1/status")
        capabilities = dict(line.split() for line in status.splitlines() if line.startswith("Cap"))
        assert {capabilities[name] for name in ("CapEff:", "CapPrm:", "CapBnd:")} == {"00000000000000e0"}
        assert {capabilities[name] for name in ("CapInh:", "CapAmb:")} == {"0" * 16}
        kinds = stack.docker(
            "exec", task, "stat", "--file-system", "--format=%T", "/run/lessee", "/run/secrets/secret_id"
        )
        assert kinds.split() == ["tmpfs"] * 2
        assert "uid 0 400" in stack.docker("exec", task, "stat", "--format=uid %u %a", "/run/secrets/secret_id")


def test_an_app_of_a_task_reads_nothing_of_its_agent_and_cannot_signal_it(stack):
    for task in stack.tasks():
        output = stack.docker("exec", "--user", "1000:1000", task, "python3", "-c", AGENT_THIEF)
        found = json.loads(output)
        assert (found["agents"], found["folders"], found["stolen"]) == (2, ["/run/lessee/agent"], [])
        assert {*found["Uid"], *found["Gid"]} == {"1000"}
        # The app that the agent has started is this user's, with no more than the thief has.
        users = stack.docker("exec", "--user", "1000:1000", task, "python3", "-c", APPS).split()
        assert users == ["1000", "0" * 16, "1"]


def test_a_push_updates_services_and_rolls_back_what_does_not_become_healthy(stack, memory):
    with closing(Publisher(memory / "web", owner=(None, None), mode=0o440, allow_disk=False)) as publisher:

        def publish(value):
            generation = Generation("web", (File("password", value.encode(), 0o440), File("plain", b"plain", 0o440)))
            publisher.publish(publisher.stage(generation))

        publish("canary-swarm-push-1")
        (memory / "lessee.yaml").write_text(PUSHED.format(folder=memory))
        (memory / "password.j2").touch()
        (memory / "state").mkdir(mode=0o700)
        assert push(stack, memory) == (0, ["created web-password-1", "created web-plain-1"])
        assert push(stack, memory) == (0, [])
        refused = push(stack, memory, "lessee-e2e_app")
        assert (refused[0], "uses no secret that lessee has created for web" in refused[1][0]) == (64, True)
        for name, on_failure in (("pauses", "pause"), ("returns", "rollback")):
            create_service(stack, name, on_failure)
        publish("canary-swarm-push-2")
        code, lines = push(stack, memory, "pauses", "returns")
        assert (code, lines) == (
            0, ["created web-password-2", "updated pauses", "updated returns", "removed web-password-1"],
        )  # fmt: skip
        assert running(stack, "pauses") == running(stack, "returns") == ["web-password-2", "canary-swarm-push-2"]
        assert push(stack, memory, "pauses") == (0, ["unchanged pauses"])
        # As a command of the agent, without a configuration.
        places = ("--directory", str(memory / "web"), "--key-file", str(memory / "state/push.key"))
        assert push(stack, memory, "returns", places=places) == (0, ["unchanged returns"])
        # The new value keeps the program from starting, as a wrong one may.
        publish("broken canary-swarm-push")
        for name in "pauses", "returns":
            code, lines = push(stack, memory, name, timeout="20s")
            assert (code, lines[:-1]) == (75, ["created web-password-3", "removed web-password-3"])
            assert f"the service {name} did not become healthy" in lines[-1]
            assert running(stack, name) == ["web-password-2", "canary-swarm-push-2"]
        assert (memory / "state/push.key").stat().st_mode & 0o777 == 0o600
        secrets = stack.docker("secret", "inspect", "web-password-2", "web-plain-1")
        assert "canary" not in secrets
        for name in "pauses", "returns":
            stack.docker("service", "rm", name)


def push(stack, folder, *services, timeout="2m", places=()):
    """The exit code, and the lines of the output, in which no value may be."""
    words = [word for service in services for word in ("--service", service)]
    command = [sys.executable, "-m", "lessee", "push", "swarm", "web", *words, *places, f"--timeout={timeout}"]
    environ = stack.environ | ({} if places else {"LESSEE_CONFIG": str(folder / "lessee.yaml")})
    output = subprocess.PIPE
    done = subprocess.run(command, env=environ, stdout=output, stderr=subprocess.STDOUT, text=True, check=False)
    assert "canary" not in done.stdout
    return done.returncode, done.stdout.splitlines()


def create_service(stack, name, on_failure):
    options = [
        *("--detach", "--quiet", "--no-resolve-image", "--endpoint-mode=dnsrr", "--entrypoint=sh", f"--name={name}"),
        *("--secret=source=web-password-1,target=password", f"--update-failure-action={on_failure}"),
        *("--update-monitor=1s", "--update-order=start-first", "--stop-grace-period=0s"),
    ]
    program = "case $(cat /run/secrets/password) in broken*) exit 1 ;; esac; exec sleep 10000"
    stack.docker("service", "create", *options, EXEC_APP["image"], "-c", program)


def running(stack, name):
    """The secret of the service, and the value that its only task has."""
    secret = "{{range .Spec.TaskTemplate.ContainerSpec.Secrets}}{{.SecretName}}{{end}}"
    by_name = ("--filter", f"label=com.docker.swarm.service.name={name}")
    values = []

    def has_one_task():
        tasks = stack.docker("ps", "--quiet", *by_name).split()
        # The task may be one that ends.
        values[:] = [stack.docker("exec", task, "cat", "/run/secrets/password", check=False) for task in tasks]
        return len(values) == 1 and values[0].startswith("canary")

    stack.wait_for(has_one_task, f"task of {name}")
    found = stack.docker("service", "inspect", "--format", secret, name).strip()
    return [found, *values]


def test_no_value_is_in_the_output_of_swarm_or_the_engine(stack):
    outputs = [
        stack.docker("service", "inspect", SERVICE),
        stack.docker("service", "logs", SERVICE),
        stack.docker("config", "inspect", *stack.docker("config", "ls", "--quiet").split()),
        stack.docker("secret", "inspect", *stack.docker("secret", "ls", "--quiet").split()),
        *(stack.docker(kind, task) for task in stack.tasks() for kind in ("inspect", "diff")),
    ]
    assert len(stack.values) == 4
    for value in stack.values:
        assert not [text for text in outputs if value in text]
