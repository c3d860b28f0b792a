"""Sources besides Vault: files of a Kubernetes Secret and of SOPS, as fresh and as walled in as Vault's secrets."""

from contextlib import closing

import pytest

from lessee.status.client import UnixConnection
from support.programs.sidecar import Sidecar, eventually
from support.servers.sops import Sops

FORKED_AGENTS = True
NO_VAULT = "http://127.0.0.1:1"
SECRET = 'key={{ secret("db", source="files").password }}\n'


def publish(volume, number, password):
    """Replace a Secret as kubelet does: by one rename of `..data`."""
    (volume / f"..{number}").mkdir(parents=True)
    (volume / f"..{number}/password").write_text(password)
    (volume / "..tmp").symlink_to(f"..{number}")
    (volume / "..tmp").rename(volume / "..data")
    if not (volume / "password").is_symlink():
        (volume / "password").symlink_to("..data/password")


@pytest.fixture
def files(tmp_path):
    directory = tmp_path / "files"
    publish(directory / "db", 1, "first-canary")
    return directory


@pytest.fixture
def alone(tmp_path, memory, files):
    """A sidecar with sources alone: no Vault answers at its address."""
    agent = Sidecar(NO_VAULT, tmp_path, memory)
    agent.config["sources"] = {"files": {"kind": "directory", "directory": str(files)}}
    yield agent
    agent.close()


def test_an_agent_without_vault_follows_a_secret_of_kubernetes_through_an_outage(alone, files):
    alone.template("web.txt.j2", SECRET)
    alone.web["socket"] = str(alone.memory / "web.sock")
    alone.start()
    alone.until_file("web.txt", "key=first-canary\n")
    with closing(UnixConnection(alone.memory / "web.sock", 10.0)) as connection:
        connection.request("GET", "/secret/db?source=files&key=password")
        assert connection.getresponse().read() == b"first-canary"
    publish(files / "db", 2, "second-canary")
    alone.until_file("web.txt", "key=second-canary\n")
    status = alone.until(lambda status: status["fresh"])
    assert [secret["path"] for secret in status["apps"]["web"]["secrets"]] == ["files::db"]
    assert 'lessee_source_reachable{source="files"} 1.0' in alone.get("/metrics")[1]
    files.rename(files.with_name("away"))
    status = alone.until(lambda status: any("source files is unavailable" in line for line in status["problems"]))
    assert 'lessee_source_reachable{source="files"} 0.0' in alone.get("/metrics")[1]
    assert (alone.directory / "web.txt").read_text() == "key=second-canary\n"
    files.with_name("away").rename(files)
    publish(files / "db", 3, "third-canary")
    alone.until_file("web.txt", "key=third-canary\n")
    log = alone.log.read_text()
    assert "canary" not in log
    assert "vault unavailable" not in log
    assert not [event for event in alone.events() if event["event"] == "logged in"]


def test_commands_that_run_once_read_sources_and_say_what_is_away(alone, files):
    alone.template("web.txt.j2", SECRET)
    alone.web["env_template"] = "env.j2"
    (alone.disk / "env.j2").write_text('KEY={{ secret("db", source="files").password }}\n')
    alone.write_config()
    assert "reads files::db" in alone.command("check").stdout
    assert alone.command("render").returncode == 0
    assert (alone.directory / "web.txt").read_text() == "key=first-canary\n"
    done = alone.command("exec", "--app", "web", "--once", "--", "sh", "-c", "echo $KEY")
    assert done.stdout == "first-canary\n", done.stderr
    (alone.disk / "env.j2").write_text('{{ secret("a/none", source="files").x }}')
    done = alone.command("exec", "--app", "web", "--once", "--", "true")
    assert "files::a/none: it does not exist" in done.stderr
    files.rename(files.with_name("away"))
    done = alone.command("render", "--timeout", "1s")
    assert done.returncode == 69
    assert "source files: the directory cannot be opened: No such file or directory" in done.stderr


def test_no_template_reads_another_environment_or_outside_of_a_source(alone):
    alone.config |= {"environment": "testing", "setup": {"environments": ["testing", "production"]}}
    alone.config["sources"]["files"]["prefix"] = "{environment}/"
    for path, what in (("production/db", "another environment"), ("../db", "is not a path")):
        alone.template("web.txt.j2", f'{{{{ secret("{path}", source="files").password }}}}')
        alone.write_config()
        done = alone.command("check")
        assert done.returncode == 65
        assert what in done.stderr


def test_an_app_reads_vault_and_a_file_of_sops_and_each_keeps_the_other_fresh(bao, tmp_path, memory):
    sops = Sops(tmp_path / "secrets")
    sops.write("testing/keys.yaml", "stripe: first-canary\n")
    bao.put("testing/sources/db", password="first")
    agent = Sidecar(bao.address, tmp_path, memory)
    agent.config["sources"] = {
        "repo": {"kind": "sops", "directory": "secrets", "age_key_file": "secrets/age.txt", "refresh_interval": "300ms"}
    }
    text = '{{ secret("sources/db").password }} {{ secret("keys", source="repo").stripe }}\n'
    agent.template("web.txt.j2", text)
    try:
        agent.start()
        agent.until_file("web.txt", "first first-canary\n")
        sops.write("testing/keys.yaml", "stripe: second-canary\n")
        agent.until_file("web.txt", "first second-canary\n")
        changed = sops.directory / "testing/keys.yaml"
        changed.write_text(changed.read_text().replace("stripe:", "other:", 1))
        agent.until(lambda status: any("repo::testing/keys" in line for line in status["problems"]))
        bao.put("testing/sources/db", password="second")
        agent.until(lambda status: not status["fresh"])
        sops.write("testing/keys.yaml", "stripe: third-canary\n")
        agent.until_file("web.txt", "second third-canary\n")
        eventually(lambda: agent.status()["fresh"], "fresh files")
        assert "canary" not in agent.log.read_text()
        (agent.disk / "stolen.txt.j2").symlink_to("secrets/age.txt")
        agent.web["files"].append({"template": "stolen.txt.j2"})
        agent.write_config()
        assert "credential of the agent" in agent.command("check").stderr
    finally:
        agent.close()
