"""compose/issue on a real Engine: agents get a secret_id without a file, and no other process gets one."""

import json

import pytest
import yaml

from e2e.compose import AGENT, LESSEE, fingerprint
from e2e.issue import ASK, OTHER_ROLE, PYTHON, ROLE, answers, secret_ids, services, texts_on_disk, wrapped
from lessee.core.errors import AgentUnavailableError
from support.paths import ROOT
from support.programs.sidecar import eventually

pytestmark = pytest.mark.docker

NAME = "lessee-e2e-issue"
TRIES = "20"


@pytest.fixture(scope="module")
def stack(images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("issue")
    folder.chmod(0o755)
    with images.up("issue", services(folder / "issuer", NAME, images.engine.socket)) as project:
        yield project


def is_ready(project):
    try:
        return project.status()["ready"]
    except (AgentUnavailableError, FileNotFoundError):
        return False


def accessors(project):
    """The secret_ids of the app that are valid."""
    return json.loads(project.run("openbao", "bao", "list", "-format=json", f"auth/approle/role/{ROLE}/secret-id"))


def issued(project):
    return [json.loads(line) for line in project.lines("issuer", '"secret_id issued"')]


def in_container(stack, *, volume="issue", user="0:0", labels=(), tries=TRIES, role=ROLE):
    """What another container gets at the socket."""
    marks = [word for label in labels for word in ("--label", label)]
    output = stack.docker(
        *("run", "--rm", "--network=none", "--entrypoint", PYTHON, f"--user={user}", *marks),
        *(f"--volume={NAME}_{volume}:/run/lessee-issue:ro", AGENT, "-c", ASK, tries, role),
    )
    return answers(output)


def test_the_agent_gets_its_secret_id_from_the_socket_and_the_app_its_file(stack):
    value = stack.rotate()
    eventually(lambda: value in stack.read("agent", "/run/secrets/app/app.env"), "the new secret")
    text = fingerprint(stack.read("agent", "/run/secrets/app/app.env"))
    eventually(lambda: stack.lines("app", text), "the notification")
    [event] = issued(stack)
    assert (event["role"], event["place"], event["uid"]) == (ROLE, f"container {NAME}-agent-1", 0)
    assert len(accessors(stack)) == 1


def test_no_other_process_gets_a_secret_id_in_twenty_tries(stack):
    before = len(accessors(stack))
    attacks = {
        "another uid in the agent's container": stack.run("agent", PYTHON, "-c", ASK, TRIES, ROLE, user="1000"),
    }
    got = {name: answers(output) for name, output in attacks.items()}
    got["another process of the agent's user, while the agent runs"] = answers(
        stack.run("agent", PYTHON, "-c", ASK, TRIES, ROLE)
    )
    got["the role of another app"] = answers(stack.run("agent", PYTHON, "-c", ASK, TRIES, OTHER_ROLE))
    got["another container"] = in_container(stack)
    got["a container that claims the service, but not the project"] = in_container(
        stack, labels=["com.docker.compose.service=agent", f"lessee.role={ROLE}", "lessee.app=app"]
    )
    ours = [f"com.docker.compose.project={NAME}", "com.docker.compose.service=agent"]
    got["docker compose run"] = in_container(stack, labels=[*ours, "com.docker.compose.oneoff=True"])
    got["another user with all labels"] = in_container(stack, user="1000:1000", labels=ours)
    assert {name: (len(replies), wrapped(replies)) for name, replies in got.items()} == dict.fromkeys(got, (20, 0))
    assert len(accessors(stack)) == before
    refused = stack.lines("issuer", '"secret_id refused"')
    assert len(refused) >= 5
    assert len(refused) < 40, "a flood of requests must not flood the log"


def test_each_issue_is_in_the_audit_trail_which_verifies(stack):
    shown = stack.run("issuer", LESSEE, "status")
    assert shown.startswith("lessee issuer ")
    assert f"{ROLE}  Issued: {len(issued(stack))}" in shown
    assert "intact" in stack.run("issuer", LESSEE, "audit", "verify")
    trail = stack.run("issuer", "sh", "-c", "cat /var/lib/lessee/audit/*.jsonl")
    names = [json.loads(line)["action"]["name"] for line in trail.splitlines()]
    assert names.count("secret_id issued") == len(issued(stack))
    assert "secret_id refused" in names


def test_after_a_reboot_all_starts_by_itself_with_a_new_secret_id_and_none_is_on_a_disk(stack):
    before = len(accessors(stack))
    names = [stack.container(name) for name in ("holder", "app", "agent", "issuer", "openbao")]
    stack.docker("kill", *names, check=False)  # Without the holder, others have ended already.
    # As the Engine does: first what others join, then all at the same time.
    stack.docker("start", *names)
    eventually(lambda: is_ready(stack), "an agent with files")
    eventually(lambda: len(stack.lines("app", "start:")) >= 2, "the app's start")
    assert len(accessors(stack)) == before + 1
    folders = on_disk(stack)
    assert secret_ids(stack, texts_on_disk(folders)) == []
    # The search would find one.
    planted = stack.run(
        "openbao", "bao", "write", "-f", "-field=secret_id", f"auth/approle/role/{ROLE}/secret-id"
    ).strip()
    file = folders[0] / "planted"
    file.write_text(planted)
    assert secret_ids(stack, texts_on_disk(folders)) == [planted]
    file.unlink()


def on_disk(stack):
    """The volumes, layers and logs of the stack that are on a disk."""
    volumes = yaml.safe_load((ROOT / "compose/issue/compose.yaml").read_text())["volumes"]
    engine = stack._engine
    disks = [name for name, settings in volumes.items() if not settings.get("driver_opts")]
    folders = [
        engine.path(json.loads(stack.docker("volume", "inspect", f"{NAME}_{name}"))[0]["Mountpoint"]) for name in disks
    ]
    for service in ("app", "agent", "holder", "issuer", "openbao", "setup"):
        found = stack.inspect(service)
        folders += [engine.path(found["LogPath"]), engine.path(found["GraphDriver"]["Data"]["UpperDir"])]
    return folders
