"""`lessee clean`: removes the apps' files, and revokes tokens and leases."""

import json
import shutil
import subprocess
import sys

import pytest

from support.programs.sidecar import Sidecar, eventually
from support.servers.fault_proxy import Proxy
from support.servers.vault_server import MEMORY, Server, certificate, ports

FORKED_AGENTS = True


@pytest.fixture
def project(bao, sidecar, folder):
    bao.put(f"testing/{folder}/db", password="canary-1c3")
    sidecar.template("app.txt.j2", f'{{{{ secret("{folder}/db").password }}}}')
    sidecar.log_in_by_approle(bao, f'path "secret/data/testing/{folder}/*" {{ capabilities = ["read"] }}')
    sidecar.write_config()
    return sidecar


def tokens(bao, project):
    """The number of valid tokens of this test's role."""
    found = 0
    for key in bao.ask("LIST", "auth/token/accessors")["data"]["keys"]:
        try:
            about = bao.ask("POST", "auth/token/lookup-accessor", {"accessor": key})["data"]
        except RuntimeError:
            continue
        found += project.disk.name in about["policies"]
    return found


def test_files_and_token_of_render_are_removed_without_a_login_and_other_files_stay(bao, project):
    assert project.command("render").returncode == 0
    (project.directory / "theirs").write_text("theirs")
    assert tokens(bao, project) == 1
    done = project.command("clean", "--log-level", "debug")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "logged in" not in done.stderr
    assert tokens(bao, project) == 0
    assert [path.name for path in project.directory.iterdir()] == ["theirs"]
    assert not project.state.exists()
    again = project.command("clean")
    assert (again.returncode, "nothing to clean" in again.stderr) == (0, True)


def test_files_are_removed_without_a_state_directory_and_the_missing_token_is_reported(project):
    assert project.command("render").returncode == 0
    shutil.rmtree(project.state)
    done = project.command("clean")
    assert (done.returncode, "saved token not found" in done.stderr) == (0, True), done.stderr
    assert not project.directory.exists()
    assert not project.state.exists()


def test_an_impossible_pid_counts_as_exited(project):
    assert project.command("render").returncode == 0
    done = project.command("clean", "--after", "9" * 20)
    assert (done.returncode, "process already exited" in done.stderr) == (0, True), done.stderr
    assert not project.state.exists()


def test_files_are_removed_without_vault_and_unrevoked_tokens_are_reported(bao, project):
    with Proxy(bao.port) as proxy:
        project.config["vault"]["address"] = proxy.address
        project.write_config()
        assert project.command("render").returncode == 0
    done = project.command("clean", "--timeout", "1s")
    assert (done.returncode, "not revoked: connection refused" in done.stderr) == (69, True), done.stderr
    assert not project.directory.exists()
    assert not project.state.exists()


def test_a_running_agent_s_files_are_not_removed(project):
    project.start()
    done = project.command("clean")
    assert (done.returncode, "another lessee uses this state directory; stop that agent first" in done.stderr) == (
        73,
        True,
    )
    assert (project.directory / "app.txt").read_text() == "canary-1c3"


def test_in_the_background_it_waits_for_the_process_and_for_a_running_agent(bao, project):
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    project.start()
    done = project.command("clean", "--after", str(other.pid))
    assert (done.returncode, done.stdout) == (0, "")
    other.communicate(b"\n")
    assert (project.directory / "app.txt").exists()
    project.stop()
    eventually(lambda: not project.state.exists(), "the removal", 60)
    assert not project.directory.exists()
    assert tokens(bao, project) == 0


def test_in_the_background_relative_paths_stay_valid(tmp_path, memory):
    certificate(tls := tmp_path / "tls")
    [port] = ports(1)
    text = MEMORY.format(port=port).replace("http:", "https:")
    text = text.replace("tls_disable = true", f'tls_cert_file = "{tls}/tls.crt"\n tls_key_file = "{tls}/tls.key"')
    with Server(tmp_path, port, text, ca=tls / "ca.crt") as server:
        token = initialize(server)
        (tmp_path / "password").write_text("canary-user")
        server.ask("POST", "secret/testing/db", {"password": "canary-1c3"}, token=token)
        sidecar = Sidecar(server.address, tmp_path, memory)
        auth = {"method": "userpass", "username": "build", "password_file": "password"}
        sidecar.config["vault"] |= {"ca_file": "tls/ca.crt", "auth": auth}
        sidecar.template("app.txt.j2", '{{ secret("db").password }}')
        sidecar.write_config()
        done = sidecar.command("render")
        assert done.returncode == 0, done.stderr
        before = server.ask("LIST", "auth/token/accessors", token=token)["data"]["keys"]
        other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        assert sidecar.command("clean", "--after", str(other.pid)).returncode == 0
        other.communicate(b"\n")
        eventually(lambda: not sidecar.state.exists(), "the removal", 60)
        after = server.ask("LIST", "auth/token/accessors", token=token)["data"]["keys"]
        assert len(before) - len(after) == 1


def test_render_with_output_revokes_its_token(bao, project):
    assert project.command("render", "--output", "out").returncode == 0
    assert tokens(bao, project) == 0


def test_exec_once_with_on_stop_revoke_revokes_the_token_before_the_program_starts(bao, project):
    project.config["leases"] = {"on_stop": "revoke"}
    project.write_config()
    assert project.command("render").returncode == 0
    [token] = [json.loads(path.read_bytes())["value"] for path in project.state.glob("token-*")]
    done = project.command("exec", "--app", "web", "--once", "--", "sh", "-c", f"ls {project.state}")
    assert (done.returncode, "lock" in done.stdout, "token-" in done.stdout) == (0, True, False), done.stderr
    with pytest.raises(RuntimeError, match="403"):
        bao.ask("GET", "auth/token/lookup-self", token=token)


def initialize(server):
    """Initialize and unseal a server with a secret engine and a user that may read it; return the root token."""
    answer = server.ask("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
    server.ask("PUT", "sys/unseal", {"key": answer["keys"][0]})
    token = answer["root_token"]
    eventually(lambda: not server.ask("GET", "sys/seal-status")["sealed"], "the unsealing")
    server.ask("POST", "sys/mounts/secret", {"type": "kv"}, token=token)
    policy = 'path "secret/testing/*" { capabilities = ["read"] }'
    server.ask("PUT", "sys/policies/acl/build", {"policy": policy}, token=token)
    server.ask("POST", "sys/auth/userpass", {"type": "userpass"}, token=token)
    user = {"password": "canary-user", "token_policies": ["build"], "token_ttl": "1h"}
    server.ask("POST", "auth/userpass/users/build", user, token=token)
    return token


@pytest.fixture
def moved(project):
    """A project whose agent published in one directory, and now has another one for the same app."""
    project.start()
    project.until_file("app.txt", "canary-1c3")
    project.stop()
    earlier = project.directory
    project.directory = project.memory / "elsewhere"
    project.web["directory"] = str(project.directory)
    project.write_config()
    return earlier


def warnings(project, event):
    return [line for line in project.events() if line["event"] == event]


def test_files_in_the_earlier_directory_of_an_app_are_reported_at_each_start_and_removed_on_request(project, moved):
    (moved / "theirs").write_text("theirs")
    for starts in (1, 2):
        project.start()
        project.until_file("app.txt", "canary-1c3")
        project.stop()
        found = warnings(project, "unused files found")[-1]
        assert len(warnings(project, "unused files found")) == starts
        assert (found["app"], found["directory"]) == ("web", str(moved))
        assert "`lessee clean --unused`" in found["todo"]
        # No other program has removed anything.
        assert warnings(project, "files missing") == []
    done = project.command("clean", "--unused")
    assert (done.returncode, str(moved) in done.stderr) == (0, True), done.stderr
    assert [path.name for path in moved.iterdir()] == ["theirs"]
    assert (project.directory / "app.txt").read_text() == "canary-1c3"
    assert tokens_of_state(project), "the agent's token stays"
    again = project.command("clean", "--unused")
    assert (again.returncode, "nothing to clean" in again.stderr) == (0, True), again.stderr


def tokens_of_state(project):
    return [path for path in project.state.iterdir() if path.name.startswith("token-")]


def test_clean_removes_the_earlier_directory_of_an_app_too(project, moved):
    assert project.command("render").returncode == 0
    done = project.command("clean")
    assert done.returncode == 0, done.stderr
    assert not moved.exists()
    assert not project.directory.exists()
    assert not project.state.exists()


def test_the_directory_of_an_app_that_was_removed_from_the_configuration_is_cleaned(project):
    project.config["apps"]["other"] = project.web | {"directory": str(project.memory / "other")}
    project.write_config()
    assert project.command("render").returncode == 0
    del project.config["apps"]["other"]
    project.write_config()
    assert (project.memory / "other" / "app.txt").read_text() == "canary-1c3"
    assert project.command("clean", "--unused").returncode == 0
    assert not (project.memory / "other").exists()
    assert (project.directory / "app.txt").exists()


def test_a_changed_directory_is_reported_when_the_agent_reads_it(project):
    project.start()
    project.until_file("app.txt", "canary-1c3")
    earlier, project.directory = project.directory, project.memory / "web" / "below"
    project.web["directory"] = str(project.directory)
    project.write_config()
    project.until_file("app.txt", "canary-1c3")
    eventually(lambda: warnings(project, "unused files found"), "the warning")
    assert warnings(project, "unused files found")[0]["directory"] == str(earlier)
    project.stop()
    # What is below it stays.
    assert project.command("clean", "--unused").returncode == 0
    assert [path.name for path in earlier.iterdir()] == ["below"]
    assert (project.directory / "app.txt").read_text() == "canary-1c3"


def test_a_directory_that_another_agent_uses_now_stays(project, moved, bao, tmp_path):
    other = Sidecar(bao.address, tmp_path / "other", project.memory / "others")
    other.disk.mkdir()
    other.memory.mkdir()
    other.directory, other.environ = moved, project.environ
    other.config = project.config | {"state_dir": str(other.state)}
    other.config["apps"] = {"web": project.web | {"directory": str(moved)}}
    (other.disk / "app.txt.j2").write_text((project.disk / "app.txt.j2").read_text())
    other.write_config()
    other.start()
    try:
        other.until(lambda status: status["ready"])
        done = project.command("clean", "--unused")
        assert (done.returncode, "another lessee uses this directory" in done.stderr) == (73, True), done.stderr
        assert (moved / "app.txt").read_text() == "canary-1c3"
    finally:
        other.close()
