"""Monitors that respond to the alerts of a real server, and what people run and receive then."""

import os
import shutil
import subprocess

import pytest

from support.needs import need
from support.programs.forks import run_lessee
from support.programs.monitor import Audited
from support.programs.responses import READER, Client, Responder
from support.programs.sidecar import eventually
from support.servers.alert_receivers import Hook

RULE = "consecutive-denials"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Audited(tmp_path_factory.mktemp("audited")) as one:
        one.put("production/database/postgres", password="canary-postgres")
        one.ask("POST", "sys/auth/approle", {"type": "approle"})
        yield one


@pytest.fixture
def hook():
    with Hook() as one:
        yield one


@pytest.fixture
def responder(server, hook, tmp_path, memory):
    def make(*actions, **responses):
        responses["actions"] = list(actions)
        made.append(Responder(server, tmp_path / "monitor", memory / "monitor", hook, **responses))
        return made[-1]

    made = []
    yield make
    for one in made:
        one.close()


def revoke(**settings):
    return {"rule": RULE, "action": "revoke-token", **settings}


def disable(**settings):
    return {"rule": RULE, "action": "disable-role", **settings}


def texts(hook, subject, rule=RULE):
    return [one["text"] for one in hook.alerts() if (one["rule"], one["subject"]) == (rule, subject)]


def reported(hook, subject, rule=RULE):
    eventually(lambda: texts(hook, subject, rule), f"the alert of {subject}")
    return texts(hook, subject, rule)[-1]


def client_of(server, name, policy=READER):
    return Client(server, server.approle(name, policy))


def lessee(monitor, *arguments, token=None):
    """The exit code and the output of a command with the monitor's configuration."""
    environ = {"PATH": os.environ["PATH"], "HOME": str(monitor.disk), **({"VAULT_TOKEN": token} if token else {})}
    result = run_lessee(*arguments, cwd=monitor.disk, env=environ)
    return result.returncode, result.stdout + result.stderr


@pytest.fixture
def approvals(tmp_path):
    """The keys of an approver and of a stranger, made by ssh-keygen."""
    need(shutil.which("ssh-keygen"), "needs ssh-keygen: apt install openssh-client")
    folder = tmp_path / "approvals"
    folder.mkdir()
    for name in ("alice", "mallory"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"{name}@example.org", "-f", tmp_path / name]
        subprocess.run(command, check=True)
    key = (tmp_path / "alice.pub").read_text().strip()
    return {"approvers": {"alice": key}, "approvals_dir": str(folder)}


def pending(monitor):
    eventually(lambda: monitor.status()["responses"]["pending"], "a request")
    [one] = monitor.status()["responses"]["pending"]
    return one["id"], one["request"]
