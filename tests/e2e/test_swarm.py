"""The stack on a real Swarm of one node: two tasks, each with an agent of its own."""

import json
import os
import signal
import time
from contextlib import contextmanager

import pytest

from e2e.compose import AGENT, LESSEE, OPENBAO, Images, fingerprint, images
from e2e.engine import Engine, shared, what_is_missing
from support.needs import need
from support.paths import ROOT

pytestmark = pytest.mark.docker

IMAGE = "lessee-e2e-swarm-app"
SERVICE, NETWORK, SERVER = "lessee-e2e_app", "vault", "lessee-e2e-openbao"
SETTINGS = {"APP_IMAGE": IMAGE, "VAULT_ADDR": f"http://{SERVER}:8200"}
BAO = {"BAO_ADDR": "http://127.0.0.1:8200", "BAO_TOKEN": "swarm-e2e"}
PATIENCE = 90
POLICY = """
path "secret/data/production/*" { capabilities = ["read"] }
path "secret/metadata/production/*" { capabilities = ["read", "list"] }
path "secret/detailed-metadata/production/*" { capabilities = ["list"] }
"""


class Stack:
    """The deployed stack, with a Vault server."""

    def __init__(self, engine):
        self._engine = engine
        self.values = []

    def docker(self, *arguments, **settings):
        return self._engine.docker(*arguments, **settings)

    def bao(self, *arguments, **settings):
        environ = [argument for name, value in BAO.items() for argument in ("--env", f"{name}={value}")]
        return self.docker("exec", "-i", *environ, SERVER, "bao", *arguments, **settings)

    def log_in(self, version):
        """A secret_id as a secret of Swarm's; the accessor by which Vault can destroy it."""
        made = json.loads(self.bao("write", "-f", "-format=json", "auth/approle/role/app/secret-id"))["data"]
        self.values.append(made["secret_id"])
        self.docker("secret", "create", f"lessee-secret-id-{version}", "-", text=made["secret_id"])
        return made["secret_id_accessor"]

    def rotate(self, value):
        self.values.append(value)
        self.bao("kv", "put", "secret/production/database", "username=app", "password=-", text=value)

    def deploy(self, version, **settings):
        """As the README says; until it is done."""
        settings = SETTINGS | {"VERSION": version} | settings
        file = f"{ROOT}/compose/swarm/stack.yaml"
        self.docker("stack", "deploy", "--resolve-image=never", "-c", file, "lessee-e2e", **settings)

    def tasks(self):
        """The containers of the tasks that are up and healthy."""
        labelled = ("--filter", f"label=com.docker.swarm.service.name={SERVICE}", "--filter", "health=healthy")
        return self.docker("ps", "--quiet", "--no-trunc", *labelled).split()

    def until(self, check, what):
        deadline = time.monotonic() + PATIENCE
        while not check():
            if time.monotonic() > deadline:
                states = self.docker("service", "ps", "--no-trunc", SERVICE, fine=False)
                logs = self.docker("service", "logs", SERVICE, fine=False)
                pytest.fail(f"{what} did not come to be within {PATIENCE} s:\n{states}\n{logs}")
            time.sleep(0.2)  # each look is a program of its own

    def starts(self, container):
        """What the app has said, which is a fingerprint of its secret."""
        return [line for line in self.docker("logs", container).splitlines() if line.startswith("start: ")]

    def status(self, container):
        return json.loads(self.docker("exec", container, LESSEE, "status", "--json"))

    def tokens(self):
        return set(json.loads(self.bao("list", "-format=json", "auth/token/accessors")))


@pytest.fixture(scope="module")
def made(pytestconfig, tmp_path_factory):
    """Images on an Engine that no other test uses, as the whole Engine joins the Swarm."""
    if shared(pytestconfig).is_ours:
        yield images(pytestconfig)
        return
    missing = what_is_missing(own=True)
    need(missing is None, f"needs {missing}")
    with Engine(own=True) as engine:
        made = Images(engine, tmp_path_factory.mktemp("images"))
        made.make()
        yield made


@pytest.fixture(scope="module")
def stack(made):
    engine = made.engine
    build = {"image": IMAGE, "build": {"additional_contexts": {"lessee": f"docker-image://{AGENT}"}}}
    made.project("exec", {"app": build}).compose("build", "app")
    with swarm(engine):
        stack = Stack(engine)
        engine.docker("network", "create", "--driver", "overlay", "--attachable", NETWORK)
        serve = ("server", "-dev", "-dev-no-store-token", "-dev-listen-address=0.0.0.0:8200")
        token = f"-dev-root-token-id={BAO['BAO_TOKEN']}"
        engine.docker("run", "--detach", "--name", SERVER, "--network", NETWORK, OPENBAO, *serve, token)
        stack.until(lambda: "max_versions" in stack.bao("read", "secret/config", fine=False), "the server")
        stack.bao("auth", "enable", "approle")
        stack.bao("policy", "write", "app", "-", text=POLICY)
        stack.bao("write", "auth/approle/role/app", "token_policies=app", "token_ttl=1h")
        role_id = stack.bao("read", "-field=role_id", "auth/approle/role/app/role-id")
        engine.docker("secret", "create", "lessee-role-id", "-", text=role_id)
        stack.rotate("canary-swarm-first")
        stack.log_in("1")
        stack.deploy("1")
        stack.until(lambda: len(stack.tasks()) == 2, "two healthy tasks")
        yield stack


@contextmanager
def swarm(engine):
    """One node, which is its own manager; the Engine has left again at the end."""
    engine.docker("swarm", "init", "--advertise-addr", "127.0.0.1")
    try:
        yield
    finally:
        engine.docker("rm", "--force", SERVER)
        engine.docker("swarm", "leave", "--force")
        engine.remove(IMAGE)


def test_each_task_has_the_secret_and_an_agent_and_a_login_of_its_own(stack):
    tasks = stack.tasks()
    assert [stack.starts(task) for task in tasks] == [[f"start: {fingerprint('canary-swarm-first')}"]] * 2
    accessors = {stack.status(task)["token"]["accessor"] for task in tasks}
    assert len(accessors) == 2
    assert accessors < stack.tokens()


def test_a_rotation_reaches_both_tasks_in_the_containers_that_they_have(stack):
    tasks = stack.tasks()
    stack.rotate("canary-swarm-second")
    wanted = f"start: {fingerprint('canary-swarm-second')}"
    stack.until(lambda: all(wanted in stack.starts(task) for task in tasks), "the new secret in both")
    assert stack.tasks() == tasks


def test_a_rolling_update_brings_a_new_secret_id_and_leaves_no_token_of_the_old_tasks(stack):
    before = stack.tasks()
    old = {stack.status(task)["token"]["accessor"] for task in before}
    stack.log_in("2")
    stack.deploy("2")

    def replaced():
        there = stack.tasks()
        assert len(there) >= 2  # one by one, the new one first
        return len(there) == 2 and not set(there) & set(before)

    stack.until(replaced, "two new tasks")
    wanted = [f"start: {fingerprint('canary-swarm-second')}"]
    assert [stack.starts(task) for task in stack.tasks()] == [wanted] * 2
    stack.until(lambda: not old & stack.tokens(), "the end of the old tokens")


def test_a_task_that_was_killed_is_replaced_by_one_that_logs_in_for_itself(stack):
    victim, other = stack.tasks()
    dead = stack.status(victim)["token"]["accessor"]
    os.kill(int(stack.docker("inspect", "--format", "{{.State.Pid}}", victim)), signal.SIGKILL)
    stack.until(lambda: len(set(stack.tasks()) - {victim}) == 2, "another task")
    (new,) = set(stack.tasks()) - {victim, other}
    assert stack.starts(new) == [f"start: {fingerprint('canary-swarm-second')}"]
    assert stack.status(new)["token"]["accessor"] != dead


def test_a_task_may_do_nothing_but_its_job_and_writes_to_memory_alone(stack):
    for task in stack.tasks():
        seen = json.loads(stack.docker("inspect", task))[0]
        assert seen["Config"]["User"] == "1000:1000"
        assert seen["HostConfig"]["ReadonlyRootfs"]
        status = stack.docker("exec", task, "cat", "/proc/1/status")
        assert {line.split()[1] for line in status.splitlines() if line.startswith("Cap")} == {"0" * 16}
        kinds = stack.docker(
            "exec", task, "stat", "--file-system", "--format=%T", "/run/lessee", "/run/secrets/secret_id"
        )
        assert kinds.split() == ["tmpfs"] * 2
        assert "uid 1000 400" in stack.docker("exec", task, "stat", "--format=uid %u %a", "/run/secrets/secret_id")


def test_no_value_is_in_what_swarm_and_the_engine_show(stack):
    shown = [
        stack.docker("service", "inspect", SERVICE),
        stack.docker("service", "logs", SERVICE),
        stack.docker("config", "inspect", *stack.docker("config", "ls", "--quiet").split()),
        stack.docker("secret", "inspect", *stack.docker("secret", "ls", "--quiet").split()),
        *(stack.docker(kind, task) for task in stack.tasks() for kind in ("inspect", "diff")),
    ]
    assert len(stack.values) == 4
    for value in stack.values:
        assert not [text for text in shown if value in text]
