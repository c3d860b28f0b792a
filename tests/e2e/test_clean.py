"""`lessee clean`: the files of the apps and what stands behind them are no more."""

import base64
import json
import shutil
import subprocess
import sys

import pytest

from lessee.host.openbao import free_port
from support.programs.sidecar import Sidecar, eventually
from support.servers.vault_server import MEMORY, Server, certificate, ports


@pytest.fixture
def project(bao, sidecar, folder):
    bao.put(f"testing/{folder}/db", password="canary-1c3")
    sidecar.template("app.txt.j2", f'{{{{ secret("{folder}/db").password }}}}')
    sidecar.log_in_by_approle(bao, f'path "secret/data/testing/{folder}/*" {{ capabilities = ["read"] }}')
    sidecar.write_config()
    return sidecar


def tokens(bao, project):
    """How many are valid that this test's role has got."""
    found = 0
    for key in bao.ask("LIST", "auth/token/accessors")["data"]["keys"]:
        try:
            about = bao.ask("POST", "auth/token/lookup-accessor", {"accessor": key})["data"]
        except RuntimeError:
            continue
        found += project.disk.name in about["policies"]
    return found


def test_what_render_has_left_is_removed_and_revoked_without_a_login_and_what_is_not_ours_stays(bao, project):
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


def test_the_files_go_though_the_state_has_gone_before_and_that_no_token_is_known_is_told(project):
    assert project.command("render").returncode == 0
    shutil.rmtree(project.state)
    done = project.command("clean")
    assert (done.returncode, "no token is known" in done.stderr) == (0, True), done.stderr
    assert not project.directory.exists()
    assert not project.state.exists()


def test_a_process_that_cannot_be_is_one_that_has_gone(project):
    assert project.command("render").returncode == 0
    done = project.command("clean", "--after", "9" * 20)
    assert (done.returncode, "it is gone already" in done.stderr) == (0, True), done.stderr
    assert not project.state.exists()


def test_the_files_go_though_vault_is_away_and_what_is_left_there_is_told(project):
    assert project.command("render").returncode == 0
    kept = project.config["vault"]["address"]
    [record] = project.state.glob("identity-*")
    away = f"127.0.0.1:{free_port()}"
    record.write_bytes(_moved(record.read_bytes(), kept, f"http://{away}"))
    done = project.command("clean", "--timeout", "1s")
    assert (done.returncode, "not all was revoked: connection refused" in done.stderr) == (69, True), done.stderr
    assert not project.directory.exists()
    assert not project.state.exists()


def test_a_running_agent_is_not_cleaned_away_under_its_app(project):
    project.start()
    done = project.command("clean")
    assert (done.returncode, "another lessee holds this state; end it first" in done.stderr) == (73, True)
    assert (project.directory / "app.txt").read_text() == "canary-1c3"


def test_in_the_background_it_waits_for_the_process_and_for_an_agent_that_outlives_it(bao, project):
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


def test_in_the_background_a_path_that_is_relative_means_what_it_meant(tmp_path, memory):
    certificate(tls := tmp_path / "tls")
    [port] = ports(1)
    text = MEMORY.format(port=port).replace("http:", "https:")
    text = text.replace("tls_disable = true", f'tls_cert_file = "{tls}/tls.crt"\n tls_key_file = "{tls}/tls.key"')
    with Server(tmp_path, port, text, ca=tls / "ca.crt") as server:
        token = opened(server)
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


def test_a_build_into_a_folder_ends_its_token_with_itself(bao, project):
    assert project.command("render", "--output", "out").returncode == 0
    assert tokens(bao, project) == 0


def test_where_it_is_wished_the_token_is_revoked_before_a_program_begins_that_could_look_for_it(bao, project):
    project.config["leases"] = {"on_stop": "revoke"}
    project.write_config()
    assert project.command("render").returncode == 0
    [token] = [json.loads(path.read_bytes())["value"] for path in project.state.glob("token-*")]
    done = project.command("exec", "--app", "web", "--once", "--", "sh", "-c", f"ls {project.state}")
    assert (done.returncode, "lock" in done.stdout, "token-" in done.stdout) == (0, True, False), done.stderr
    with pytest.raises(RuntimeError, match="403"):
        bao.ask("GET", "auth/token/lookup-self", token=token)


def opened(server):
    """Initialise and unseal it, with a secret engine and a user that reads it; the root token."""
    made = server.ask("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
    server.ask("PUT", "sys/unseal", {"key": made["keys"][0]})
    token = made["root_token"]
    eventually(lambda: not server.ask("GET", "sys/seal-status")["sealed"], "the unsealing")
    server.ask("POST", "sys/mounts/secret", {"type": "kv"}, token=token)
    policy = 'path "secret/testing/*" { capabilities = ["read"] }'
    server.ask("PUT", "sys/policies/acl/build", {"policy": policy}, token=token)
    server.ask("POST", "sys/auth/userpass", {"type": "userpass"}, token=token)
    user = {"password": "canary-user", "token_policies": ["build"], "token_ttl": "1h"}
    server.ask("POST", "auth/userpass/users/build", user, token=token)
    return token


def _moved(record, kept, away):
    """The ledger's record of an identity, whose Vault has another address now."""
    said = json.loads(record)
    block = base64.b64decode(said["block"])
    assert kept.encode() in block
    return json.dumps(
        {**said, "block": base64.b64encode(block.replace(kept.encode(), away.encode())).decode()}
    ).encode()
