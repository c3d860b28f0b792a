"""Files in folders of an app's directory, such as `tls/server.pem`: whole, private and removed like all others."""

import json
import os
import shutil
import signal
import stat
import sys

import pytest

from support.needs import need
from support.programs.sidecar import Sidecar, eventually
from support.servers.fault_proxy import Fault, Proxy

FORKED_AGENTS = True
NAMES = ("app.env", "tls/server.pem", "tls/private/key.pem")
ONE, TWO = "canary-7d1", "canary-8e2"


def add_files(agent, folder):
    """A file of the same secret at each depth."""
    for name in NAMES:
        agent.template(f"{name.replace('/', '-')}.j2", f'{{{{ secret("{folder}db").password }}}}', format="text")
        agent.web["files"][-1]["name"] = name


@pytest.fixture
def agent(bao, sidecar, folder):
    bao.put(f"testing/{folder}/db", password=ONE)
    add_files(sidecar, f"{folder}/")
    sidecar.write_config()
    return sidecar


def below(folder):
    """The files in a folder and in those below it, whatever links lead to them; without lessee's own entries."""
    found = {}
    for path in folder.iterdir():
        if path.is_dir() and not path.name.startswith(".."):
            found |= {f"{path.name}/{name}": text for name, text in below(path).items()}
        elif path.is_file():
            found[path.name] = path.read_text()
    return found


def generations(agent):
    return [path.name for path in agent.directory.iterdir() if path.name.startswith("..lessee-")]


def test_files_in_folders_are_published_replaced_read_and_removed(bao, agent, folder):
    agent.start()
    assert below(agent.directory) == dict.fromkeys(NAMES, ONE)
    assert str((agent.directory / "tls").readlink()) == "..data/tls"
    assert agent.status()["sandbox"]["landlock"] == "on"
    bao.put(f"testing/{folder}/db", password=TWO)
    agent.until(lambda status: status["apps"]["web"]["generation"] == 2)
    assert below(agent.directory) == dict.fromkeys(NAMES, TWO)
    read = agent.command("read", "web", *NAMES)
    assert json.loads(read.stdout) == dict.fromkeys(NAMES, TWO), read.stderr
    missing = agent.command("read", "web", "tls/../app.env")
    assert (missing.returncode, missing.stdout) == (64, "")
    assert "published are: app.env, tls/private/key.pem, tls/server.pem" in missing.stderr
    assert agent.stop() == 0
    assert agent.command("clean").returncode == 0
    assert not agent.directory.exists()


def test_a_restart_after_a_sigkill_publishes_the_same_files_in_folders_no_second_time(agent):
    agent.start()
    live = (agent.directory / "..data").readlink()
    agent.stop(signal.SIGKILL)
    leftover = agent.directory / "..lessee-99-deadbeef" / "tls" / "private"
    leftover.mkdir(parents=True)
    (leftover / "key.pem").write_text("half")
    agent.start()
    assert below(agent.directory) == dict.fromkeys(NAMES, ONE)
    eventually(lambda: generations(agent) == [str(live)], "the end of the leftover")
    assert agent.status()["apps"]["web"]["generation"] == 1


def test_a_folder_becomes_a_file_and_an_app_is_removed_while_the_agent_runs(agent, folder, memory):
    files = [{"template": "app.env.j2", "name": "a/b", "format": "text"}]
    agent.config["apps"]["other"] = {"directory": str(memory / "other"), "files": files}
    agent.start()
    agent.web["files"] = [agent.web["files"][0], agent.web["files"][1] | {"name": "tls"}]
    agent.write_config()
    eventually(lambda: below(agent.directory) == {"app.env": ONE, "tls": ONE}, "the file")
    add_files(agent, f"{folder}/")
    agent.write_config()
    eventually(lambda: below(agent.directory) == dict.fromkeys(NAMES, ONE), "the folder")
    del agent.config["apps"]["other"]
    agent.write_config()
    agent.until(lambda status: list(status["apps"]) == ["web"])
    assert below(agent.directory) == dict.fromkeys(NAMES, ONE)
    assert below(memory / "other") == {"a/b": ONE}  # Its reader may still run.


def test_a_check_sees_the_staged_files_in_folders(bao, agent, folder):
    script = (
        "import sys; from pathlib import Path; texts = {Path(sys.argv[1], name).read_text() for name in sys.argv[2:]}\n"
        f"sys.exit(texts != {{'{ONE}'}})"
    )
    agent.web["check"] = [sys.executable, "-c", script, "{directory}", *NAMES]
    agent.start()
    bao.put(f"testing/{folder}/db", password=TWO)
    agent.until(lambda status: any("its check" in line for line in status["problems"]))
    assert below(agent.directory) == dict.fromkeys(NAMES, ONE)


@pytest.mark.thorough
def test_an_apps_user_reads_its_files_in_folders_and_what_it_plants_there_is_replaced(bao, agent, folder, memory):
    need(os.geteuid() == 0, "needs root, to give files to another user")
    agent.web.update(owner="1000:1001", mode="0440")
    outside = memory / "outside"
    outside.mkdir()
    (outside / "server.pem").write_text("theirs")
    agent.start()
    status = (agent.directory / "tls" / "private").stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (1000, 1001, 0o750)
    live = agent.directory / (agent.directory / "..data").readlink()
    shutil.rmtree(live / "tls")
    (live / "tls").symlink_to(outside)
    bao.put(f"testing/{folder}/db", password=TWO)
    eventually(lambda: below(agent.directory) == dict.fromkeys(NAMES, TWO), "the files")
    eventually(lambda: len(generations(agent)) == 1, "the end of the old generation")
    assert {path.name: path.read_text() for path in outside.iterdir()} == {"server.pem": "theirs"}


@pytest.mark.thorough
def test_a_snapshot_restores_files_in_folders_while_vault_is_away(bao, folder, tmp_path, memory):
    bao.put(f"{folder}/db", password=ONE)
    with Proxy(bao.port) as proxy:
        agent = Sidecar(proxy.address, tmp_path, memory, environment=folder)
        try:
            add_files(agent, "")
            snapshot = tmp_path / "snapshots" / "web"
            agent.environ["LESSEE_HOST_KEY_FILE"] = str(tmp_path / "host.key")
            agent.web["fallback"] = {"last_known_good": str(snapshot)}
            agent.start()
            eventually(snapshot.exists, "the snapshot")
            agent.stop()
            shutil.rmtree(agent.directory)
            shutil.rmtree(agent.state)
            proxy.fault = Fault.REFUSE
            agent.start()
            assert agent.status()["apps"]["web"]["degraded"] == "last_known_good"
            found = below(agent.directory)
            assert json.loads(found.pop(".degraded"))["from"] == "last_known_good"
            assert found == dict.fromkeys(NAMES, ONE)
        finally:
            agent.close()


def test_render_writes_plain_files_in_folders_and_a_diff_names_them(bao, agent, folder, tmp_path):
    done = agent.command("render", "--output", "out")
    assert done.stdout.splitlines() == [f"{tmp_path}/out/web/{name}" for name in NAMES], done.stderr
    assert below(tmp_path / "out" / "web") == dict.fromkeys(NAMES, ONE)
    new = agent.command("render", "--diff").stdout
    assert all(f"+ {agent.directory}/{name} (new)" in new for name in NAMES)
    assert agent.command("render").returncode == 0
    bao.put(f"testing/{folder}/db", password=TWO)
    agent.web["files"][1]["name"] = "tls/private/server.pem"
    agent.web["files"][0]["name"] = "app.env/below"
    agent.write_config()
    changed = agent.command("render", "--diff").stdout
    for line in (
        "~ {}/tls/private/key.pem (changed)",
        "+ {}/tls/private/server.pem (new)",
        "- {}/tls/server.pem (would be removed)",
        "+ {}/app.env/below (new)",
        "- {}/app.env (would be removed)",
    ):
        assert line.format(agent.directory) in changed
    assert below(agent.directory) == dict.fromkeys(NAMES, ONE)


def test_check_names_files_in_folders_and_refuses_names_that_cannot_be(agent, memory):
    checked = agent.command("check")
    assert checked.returncode == 0, checked.stderr
    assert all(f"  {name}  text  0440" in checked.stdout for name in NAMES)
    agent.web["files"][0]["name"] = "tls"
    nested = {"template": "app.env.j2", "format": "text"}
    agent.config["apps"]["nested"] = {"directory": f"{memory}/web/tls/a", "files": [nested]}
    agent.write_config()
    refused = agent.command("check")
    assert refused.returncode == 78
    assert "apps.web.files[0] is a file named tls, which cannot be a directory too" in refused.stdout + refused.stderr
    agent.web["files"][0]["name"] = "app.env"
    agent.write_config()
    refused = agent.command("check")
    assert refused.returncode == 78
    assert (
        f"apps.nested.directory: another app publishes tls/server.pem in {memory}/web"
        in refused.stdout + refused.stderr
    )
