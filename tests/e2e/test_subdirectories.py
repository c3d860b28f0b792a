"""Files in folders of an app's directory, such as `tls/server.pem`: whole, private and removed like all others."""

import json

import pytest

from support.programs.sidecar import eventually

NAMES = ("app.env", "tls/server.pem", "tls/private/key.pem")
ONE, TWO = "canary-7d1", "canary-8e2"


@pytest.fixture
def agent(bao, sidecar, folder):
    """An app with a file of the same secret at each depth."""
    bao.put(f"testing/{folder}/db", password=ONE)
    for name in NAMES:
        sidecar.template(f"{name.replace('/', '-')}.j2", f'{{{{ secret("{folder}/db").password }}}}', format="text")
        sidecar.web["files"][-1]["name"] = name
    sidecar.write_config()
    return sidecar


def contents(directory):
    """The files by their paths, as a reader finds them from the directory's entries on; without lessee's own."""
    found = {}
    for entry in directory.iterdir():
        if not entry.name.startswith(".."):
            below = [entry] if entry.is_file() else [path for path in entry.resolve().rglob("*") if path.is_file()]
            root = directory if entry.is_file() else entry.resolve().parent
            found |= {str(path.relative_to(root)): path.read_text() for path in below}
    return found


def all_have(agent, value, names=NAMES):
    return eventually(lambda: contents(agent.directory) == dict.fromkeys(names, value), f"{value} in {names}")


def folders(agent):
    """The generations on the disk."""
    return [path for path in agent.directory.iterdir() if path.name.startswith("..lessee-")]


def test_a_file_is_published_in_a_subdirectory_replaced_with_all_others_and_removed(bao, agent, folder):
    agent.start()
    assert contents(agent.directory) == dict.fromkeys(NAMES, ONE)
    assert str((agent.directory / "tls").readlink()) == "..data/tls"
    assert agent.status()["sandbox"]["landlock"] == "on"
    bao.put(f"testing/{folder}/db", password=TWO)
    agent.until(lambda status: status["apps"]["web"]["generation"] == 2)
    assert contents(agent.directory) == dict.fromkeys(NAMES, TWO)
    read = agent.command("read", "web", *NAMES)
    assert json.loads(read.stdout) == dict.fromkeys(NAMES, TWO), read.stderr
    assert agent.stop() == 0
    assert agent.command("clean").returncode == 0
    assert not agent.directory.exists()
