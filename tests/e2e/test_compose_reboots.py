"""Containers restarted, shot and all stopped: the app never starts without its file, and nothing is issued twice."""

import json

import pytest

from e2e.compose import LESSEE, PATIENCE, up
from support.paths import ROOT
from support.programs.sidecar import eventually

pytestmark = pytest.mark.docker

PATH = "pki/issue/nginx"
# Reads its file when it starts, and looks only once.
APP = """
import signal
try:
    print("start:", open("/run/secrets/app/serial").read().strip(), flush=True)
except OSError:
    raise SystemExit("no file")
signal.pause()
"""
# What of compose/README.md concerns all of this: the app waits for its files, and the holder for all others to end.
WAITS = ["sh", "-c", 'until [ -e /run/secrets/app/..data ]; do sleep 0.1; done; exec "$$@"', "sh"]
STOPS_LAST = """
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
# So that each certificate is a lease, and may be revoked.
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


@pytest.fixture(scope="module", params=STATES)
def stack(request, pytestconfig, tmp_path_factory):
    """The quickstart's layout with a dynamic secret, and an identity that stays, as with a Vault of one's own."""
    folder = tmp_path_factory.mktemp(request.param)
    settings, volumes = STATES[request.param]
    for name in ("app", "lessee"):
        (folder / name).mkdir()
    (folder / "app/app.py").write_text(APP)
    (folder / "lessee/lessee.yaml").write_text(json.dumps(SETTINGS | settings))
    (folder / "lessee/serial.j2").write_text(TEMPLATE)
    identity = "disk-identity:/run/identity"
    services = {
        "agent": {"volumes": [f"{folder}/lessee:/etc/lessee:ro", identity, *volumes]},
        "app": {"volumes": [f"{folder}/app:/app:ro"], "entrypoint": WAITS},
        "holder": {"entrypoint": ["sh", "-c", STOPS_LAST]},
        "setup": {
            "entrypoint": ["sh", "-c", SETUP],
            "volumes": [f"{ROOT}/compose/nginx/pki.sh:/pki.sh:ro", identity],
        },
    }
    with up(pytestconfig, "quickstart", services, ["disk-identity", "disk-state"]) as project:
        project.state = request.param
        # Asked for once: they are many looks.
        project.ids = {service: project.container(service) for service in ("holder", "app", "agent")}
        settled(project)
        eventually(lambda: read_by_app(project), "the app's start")
        yield project


def restart_the_app(stack):
    stack.docker("restart", stack.ids["app"])


def restart_the_agent(stack):
    stack.docker("restart", stack.ids["agent"])


def restart_both(stack):
    stack.docker("restart", stack.ids["app"], stack.ids["agent"])


def kill_the_app(stack):
    assert killed(stack, "/app/app.py") == 1


def kill_the_agent(stack):
    assert killed(stack, LESSEE) == 1


def kill_both(stack):
    assert killed(stack, "/app/app.py", LESSEE) == 2


def killed(stack, *programs):
    return len(stack.kill(*programs))


@pytest.mark.parametrize(
    ("event", "services"),
    [
        (restart_the_app, {"app"}),
        (restart_the_agent, {"agent"}),
        (restart_both, {"app", "agent"}),
        (kill_the_app, {"app"}),
        (kill_the_agent, {"agent"}),
        (kill_both, {"app", "agent"}),
    ],
)
def test_a_restart_finds_the_files_and_issues_nothing_again(stack, event, services):
    serial, logins = read_by_app(stack)[-1], said(stack, "logged in")
    through(stack, event, services)
    assert read_by_app(stack)[-1] == serial
    assert said(stack, "logged in") == logins
    assert len(leases(stack)) == 1


def stop_and_start_all(stack):
    # As the Engine itself does: all are stopped together, and the app is started before the agent.
    stack.docker("stop", *stack.ids.values())
    stack.docker("start", *stack.ids.values())


def test_after_a_reboot_the_app_waits_for_its_file_and_one_lease_is_valid_if_state_or_login_survived(
    stack,
):
    serial, logins = read_by_app(stack)[-1], said(stack, "logged in")
    through(stack, stop_and_start_all, {"app", "agent"})
    survived = stack.state == "disk"
    assert (read_by_app(stack)[-1] == serial) == survived
    assert said(stack, "logged in") == logins + (not survived)
    # Without either, the agent no longer knows what was issued; it expires with its TTL.
    assert len(leases(stack)) == (2 if stack.state == "keep" else 1)


def through(stack, event, services):
    """Until all that it stops runs again, and the app was notified as needed."""
    before, read = started(stack), len(read_by_app(stack))
    event(stack)
    eventually(lambda: {name for name, at in started(stack).items() if at != before[name]} >= services, "the restart")
    settled(stack)
    # Where it waited for its file it is older than that, and is notified once more.
    eventually(lambda: len(read_by_app(stack)) >= read + ("app" in services), "the app's start")
    assert "no file" not in stack.docker("logs", stack.ids["app"])


def started(stack):
    ids = (stack.ids["app"], stack.ids["agent"])
    return dict(
        zip(("app", "agent"), stack.docker("inspect", "--format={{.State.StartedAt}}", *ids).split(), strict=True)
    )


def settled(stack):
    def seen():
        answer = stack.docker("exec", stack.ids["agent"], LESSEE, "status", "--json", fine=False)
        try:
            status = json.loads(answer)
        except ValueError:  # It does not run yet.
            return False
        return status["ready"] and not status["apps"]["app"]["notify"]["pending"]

    eventually(seen, "an agent without pending notifications", patience=PATIENCE)


def said(stack, event):
    return stack.docker("logs", stack.ids["agent"]).count(f'"{event}"')


def read_by_app(stack):
    """The serial at each of its starts."""
    lines = stack.docker("logs", stack.ids["app"]).splitlines()
    return [line.removeprefix("start: ") for line in lines if line.startswith("start: ")]


def leases(stack):
    """That are valid at the server."""
    return json.loads(stack.run("openbao", "bao", "list", "-format=json", f"sys/leases/lookup/{PATH}"))
