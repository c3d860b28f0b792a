"""Restarts, kills and reboots on a real Engine: no app starts without its file, and no lease is issued twice."""

import json

import pytest

from e2e.compose import LESSEE
from lessee.core.errors import AgentUnavailableError
from support.paths import ROOT
from support.programs.sidecar import eventually
from support.thorough import THOROUGH

pytestmark = pytest.mark.docker

PATH = "pki/issue/nginx"
# Reads its file once, at its start.
APP = """
import signal
try:
    print("start:", open("/run/secrets/app/serial").read().strip(), flush=True)
except OSError:
    raise SystemExit("no file")
signal.pause()
"""
# As compose/README.md says: the app waits for its files, and the holder exits after all other processes.
WAIT_FOR_FILES = ["sh", "-c", 'until [ -e /run/secrets/app/..data ]; do sleep 0.1; done; exec "$$@"', "sh"]
STOP_LAST = """
trap : TERM
sleep infinity & wait
kill $$! && wait
until set -- /proc/[0-9]*; [ $$# -le 2 ]; do sleep 0.1; done
"""
SETTINGS = {
    "environment": "production",
    "vault": {
        "address": "http://openbao:8200",
        "auth": {
            "method": "approle",
            "role_id_file": "/run/identity/role_id",
            "secret_id_file": "/run/identity/secret_id",
        },
    },
    "apps": {
        "app": {
            "directory": "/run/secrets/app",
            "owner": "0:1000",
            "files": [{"template": "serial.j2"}],
            "notify": {"process": {"name": "app.py"}, "action": "restart"},
        }
    },
}
TEMPLATE = f'{{{{ certificate("{PATH}", common_name="nginx", ttl="1h").serial_number }}}}\n'
# With generate_lease each certificate has a lease, which can be revoked.
SETUP = """
sh /setup.sh && sh /pki.sh
bao write pki/roles/nginx generate_lease=true allowed_domains=nginx allow_bare_domains=true max_ttl=72h
bao policy write pki - <<END
path "pki/issue/nginx" { capabilities = ["update"] }
path "sys/leases/revoke" { capabilities = ["update"] }
END
"""


STATES = {
    "keep": ({}, []),
    "revoke-if-unused": ({"leases": {"on_stop": "revoke-if-unused"}}, []),
    "disk": ({"allow_disk": True}, ["disk-state:/run/lessee"]),
}


@pytest.fixture(scope="module")
def stack(request, images, tmp_path_factory):
    """The quickstart with a dynamic secret, and with an identity that survives a reboot, as with a real Vault."""
    folder = tmp_path_factory.mktemp(request.param)
    settings, state = STATES[request.param]
    for name in ("app", "lessee"):
        (folder / name).mkdir()
    (folder / "app/app.py").write_text(APP)
    (folder / "lessee/lessee.yaml").write_text(json.dumps(SETTINGS | settings))
    (folder / "lessee/serial.j2").write_text(TEMPLATE)
    identity = "disk-identity:/run/identity"
    services = {
        "agent": {"volumes": [f"{folder}/lessee:/etc/lessee:ro", identity, *state]},
        "app": {"volumes": [f"{folder}/app:/app:ro"], "entrypoint": WAIT_FOR_FILES},
        "holder": {"entrypoint": ["sh", "-c", STOP_LAST]},
        "setup": {
            "entrypoint": ["sh", "-c", SETUP],
            "volumes": [f"{ROOT}/compose/nginx/pki.sh:/pki.sh:ro", identity],
        },
    }
    name, volumes = f"reboots-{request.param}", ["disk-identity", "disk-state"]
    with images.up("quickstart", services, name=name, volumes=volumes) as project:
        project.state = request.param
        wait_until_settled(project)
        eventually(lambda: serials_of_app(project), "the app's start")
        yield project


def restart_the_app(stack):
    restart(stack, "app")


def restart_the_agent(stack):
    restart(stack, "agent")


def restart_both(stack):
    restart(stack, "app", "agent")


def restart(stack, *services):
    stack.docker("restart", *map(stack.container, services))


def kill_the_app(stack):
    assert len(stack.kill("/app/app.py")) == 1


def kill_the_agent(stack):
    assert len(stack.kill(LESSEE)) == 2  # The first process and its fork.


def kill_both(stack):
    assert len(stack.kill("/app/app.py", LESSEE)) == 3


EVENTS = (
    (restart_the_app, {"app"}),
    (restart_the_agent, {"agent"}),
    (restart_both, {"app", "agent"}),
    (kill_the_app, {"app"}),
    (kill_the_agent, {"agent"}),
    (kill_both, {"app", "agent"}),
)
CASES = [
    pytest.param(state, *case, id=f"{state}-{case[0].__name__}")
    for number, state in enumerate(STATES)
    for case in (EVENTS if THOROUGH else EVENTS[number :: len(STATES)])
]
"""Each event with each state, or a fixed sample that has each event and each state."""


@pytest.mark.thorough
@pytest.mark.parametrize(("stack", "event", "services"), CASES, indirect=["stack"])
def test_after_a_restart_the_files_are_unchanged_and_no_lease_is_issued(stack, event, services):
    serial, logins = serials_of_app(stack)[-1], count_in_log(stack, "logged in")
    apply_event(stack, event, services)
    assert serials_of_app(stack)[-1] == serial
    assert count_in_log(stack, "logged in") == logins
    assert len(leases(stack)) == 1


def stop_and_start_all(stack):
    # As the Engine does: it stops all containers together, and starts the app before the agent.
    containers = [stack.container(service) for service in ("holder", "app", "agent")]
    stack.docker("stop", *containers)
    stack.docker("start", *containers)


@pytest.mark.thorough
@pytest.mark.parametrize("stack", STATES, indirect=True)
def test_after_a_reboot_the_app_waits_for_its_file_and_one_lease_is_valid_if_state_or_login_survived(
    stack,
):
    serial, logins = serials_of_app(stack)[-1], count_in_log(stack, "logged in")
    apply_event(stack, stop_and_start_all, {"app", "agent"})
    survived = stack.state == "disk"
    assert (serials_of_app(stack)[-1] == serial) == survived
    assert count_in_log(stack, "logged in") == logins + (not survived)
    # Without either, the agent does not know the lease that it was issued before, which expires after its TTL.
    assert len(leases(stack)) == (2 if stack.state == "keep" else 1)


def apply_event(stack, event, services):
    """Cause the event, and wait until all services run again and the app was notified if necessary."""
    before, count = started_at(stack), len(serials_of_app(stack))
    event(stack)
    eventually(
        lambda: {name for name, at in started_at(stack).items() if at != before[name]} >= services, "the restart"
    )
    wait_until_settled(stack)
    # An app that waited for its file started before the publish, so it is notified once more.
    eventually(lambda: len(serials_of_app(stack)) >= count + ("app" in services), "the app's start")
    assert not stack.lines("app", "no file")


def started_at(stack):
    return {service: stack.inspect(service)["State"]["StartedAt"] for service in ("app", "agent")}


def wait_until_settled(stack):
    def is_settled():
        try:
            status = stack.status()
        except AgentUnavailableError:  # The agent does not run yet.
            return False
        return status["ready"] and not status["apps"]["app"]["notify"]["pending"]

    eventually(is_settled, "an agent without pending notifications")


def count_in_log(stack, event):
    return len(stack.lines("agent", f'"{event}"'))


def serials_of_app(stack):
    """The serial that the app read at each start."""
    return [line.removeprefix("start: ") for line in stack.lines("app", "start: ")]


def leases(stack):
    """The valid leases, according to the server."""
    return json.loads(stack.run("openbao", "bao", "list", "-format=json", f"sys/leases/lookup/{PATH}"))
