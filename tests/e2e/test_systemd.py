"""The units of compose/systemd under systemd's own checks, and run by a real systemd on a machine of the test."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from e2e.compose import fingerprint
from e2e.issue import ASK, answers, wrapped
from e2e.systemd_units import AGENT, APP, DB, DB_AGENT, DB_SOCKET, DRILL, FOLDER, ISSUER, POLICY, STATUS, Installed
from lessee.host.openbao import OpenBao, free_port
from support.needs import need
from support.paths import ROOT
from support.programs.system_install import install_lessee
from support.programs.systemd_machine import Machine, missing_requirement
from support.servers.certificate_authority import Authority
from support.servers.jwt_signer import Signer

pytestmark = pytest.mark.timeout(300)

EXPOSURE = 1.8
"""The highest accepted exposure level. systemd gives 10 to a service without any restriction."""


@pytest.fixture(scope="module")
def installed(tmp_path_factory, built):
    missing = missing_requirement()
    need(missing is None, f"needs {missing}")
    with OpenBao(tmp_path_factory.mktemp("openbao")) as server, Machine() as machine:
        install_lessee(machine, built / "wheels")
        installed = Installed(machine, server)
        installed.install()
        yield installed


def test_systemd_verifies_the_units_without_a_warning(installed):
    assert installed.run("systemd-analyze", "verify", "--man=no", AGENT, APP, DB_SOCKET, DB, *DRILL) == ""


def test_systemd_reports_a_misspelled_key(tmp_path):
    need(shutil.which("systemd-analyze"), "needs systemd-analyze: apt install systemd")
    unit = tmp_path / AGENT
    unit.write_text((FOLDER / "lessee@.service").read_text().replace("ProtectSystem=strict", "ProtectSystm=strict"))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False)
    assert "ProtectSystm" in done.stderr


@pytest.mark.parametrize(
    "unit", [FOLDER / "lessee@.service", ROOT / "compose/issue" / ISSUER], ids=lambda path: path.stem
)
def test_the_exposure_of_the_agents_and_the_issuers_unit_does_not_increase(unit):
    need(shutil.which("systemd-analyze"), "needs systemd-analyze: apt install systemd")
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", FOLDER.parent / unit]
    output = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    score = re.search(r"Overall exposure level for .*: ([0-9.]+)", output)
    assert float(score[1]) <= EXPOSURE, output


def test_the_app_starts_once_its_files_exist_and_is_notified_of_a_rotation(installed):
    installed.run("systemctl", "start", "--no-block", APP)
    installed.wait_for(
        lambda: '"ready": false' in installed.run(*STATUS, check=False), "agent that waits for its secret"
    )
    assert installed.run("systemctl", "is-active", AGENT, APP, check=False).split() == ["activating", "inactive"]
    installed.rotate("canary-systemd-first")
    installed.wait_for(lambda: "start: app.env" in installed.journal(), "start of the app")
    assert f"start: app.env {fingerprint(installed.file())}" in installed.journal()
    assert installed.run("systemctl", "is-active", AGENT, APP).split() == ["active", "active"]
    check_that_a_rotation_reaches_the_app(installed, "canary-systemd-second")


@pytest.mark.thorough
def test_a_killed_agent_restarts_with_its_token_and_the_app_keeps_running(installed):
    token, app, agent = installed.status()["token"]["accessor"], installed.pid(APP), installed.pid(AGENT)
    installed.run("kill", "-KILL", str(agent))
    installed.wait_for(lambda: installed.pid(AGENT) not in {0, agent}, "new agent")
    installed.wait_for(lambda: '"ready": true' in installed.run(*STATUS, check=False), "published files")
    installed.wait_for(lambda: installed.status()["token"], "token")
    assert installed.status()["token"]["accessor"] == token
    assert installed.pid(APP) == app
    check_that_a_rotation_reaches_the_app(installed, "canary-systemd-third")


def test_a_stopped_agent_leaves_the_files_and_a_reload_does_not_restart_it(installed):
    before, app = installed.file(), installed.pid(APP)
    installed.run("systemctl", "stop", AGENT)
    assert installed.file() == before
    installed.run("systemctl", "start", AGENT)
    agent = installed.pid(AGENT)
    template = (FOLDER / "app/app.env.j2").read_text()
    installed.machine.put("/etc/lessee/app/app.env.j2", f"# canary of a template\n{template}")
    installed.run("systemctl", "reload", AGENT)
    installed.wait_for(lambda: "# canary of a template" in installed.file(), "file of the new template")
    assert (installed.pid(AGENT), installed.pid(APP)) == (agent, app)


def test_agent_and_app_have_only_the_privileges_that_they_need(installed):
    agent, app = installed.pid(AGENT), installed.pid(APP)
    capabilities = {pid: field(installed, pid, "CapEff") for pid in (agent, app)}
    assert capabilities == {agent: f"{1 << 5:016x}", app: "0" * 16}  # CAP_KILL
    assert field(installed, agent, "NoNewPrivs") == "1"
    assert field(installed, agent, "Seccomp") == "2"
    inside = ("nsenter", f"--target={app}", "--mount", "--")
    assert installed.run(*inside, "ls", "-A", "/run/lessee") == ""
    assert installed.run(*inside, "cat", "/run/secrets/app/app.env") == installed.file()
    assert "Read-only" in installed.run(*inside, "touch", "/run/secrets/app/x", check=False)
    as_app = ("setpriv", "--reuid=app", "--regid=app", "--clear-groups", "--")
    for path in f"/proc/{agent}/environ", "/run/lessee/app/agent/status.sock", "/run/credentials/lessee@app.service":
        assert "Permission denied" in installed.run(*as_app, "ls" if "run" in path else "cat", path, check=False)
    assert "not permitted" in installed.run(*as_app, "kill", "-0", str(agent), check=False)


def test_a_unit_waits_at_boot_for_its_credential_and_restarts_with_a_changed_one(installed):
    need(Path("/usr/lib/polkit-1/polkitd").exists(), "needs polkitd: apt install polkitd")
    # At boot, there is a socket and no agent. The secret does not exist yet either.
    installed.run("systemctl", "start", "--no-block", DB)
    installed.wait_for(lambda: "secret not read" in installed.journal(DB_AGENT), "agent that the unit has started")
    assert installed.run("systemctl", "is-active", DB, check=False).strip() == "activating"
    installed.run("kill", "-KILL", str(installed.pid(DB_AGENT)))  # The unit waits for the next one.
    installed.rotate("canary-systemd-db-first", "db")
    installed.wait_for(lambda: len(starts(installed)) == 1, "start of the unit")
    installed.wait_for(lambda: "app notified" in installed.journal(DB_AGENT), "notification")
    assert starts(installed) == [f"start: password {fingerprint('canary-systemd-db-first')}"]
    credential = "/run/credentials/db.service/password"
    assert installed.machine.path(credential).read_text() == "canary-systemd-db-first"
    # systemd reads no credential again at a reload.
    installed.rotate("canary-systemd-db-second", "db")
    second = f"start: password {fingerprint('canary-systemd-db-second')}"
    installed.wait_for(lambda: starts(installed)[-1:] == [second], "restart of the unit")
    assert installed.machine.path(credential).read_text() == "canary-systemd-db-second"
    assert len(starts(installed)) == 2


@pytest.mark.parametrize(
    ("unit", "credential", "reason"),
    [
        ("other.service", "password", "the configuration does not name this unit"),
        ("db.service", "missing", "no file of the app has this name"),
    ],
)
def test_a_unit_without_a_right_or_with_a_wrong_name_does_not_start(installed, unit, credential, reason):
    """An empty credential would start it."""
    text = (
        f"[Service]\nType=exec\nRestart=no\nLoadCredential={credential}:/run/lessee/db.sock\nExecStart=/bin/sleep 99\n"
    )
    if unit == DB:
        installed.machine.put(
            "/run/systemd/system/db.service.d/wrong.conf", text.replace("ExecStart", "ExecStart=\nExecStart")
        )
    else:
        installed.machine.put(f"/run/systemd/system/{unit}", text)
    installed.run("systemctl", "daemon-reload")
    assert "control process exited" in installed.run("systemctl", "restart", unit, check=False)
    assert "ExecMainStatus=243" in installed.run("systemctl", "show", "--property=ExecMainStatus", unit)
    installed.wait_for(lambda: reason in installed.journal(DB_AGENT), "refusal")


def test_root_in_another_unit_cannot_take_the_credential_by_the_name_of_the_unit(installed):
    program = (
        "import socket, sys\n"
        "client = socket.socket(socket.AF_UNIX)\n"
        "client.bind('\\0forged/unit/db.service/password')\n"
        "client.connect('/run/lessee/db.sock')\n"
        "text = b''.join(iter(lambda: client.recv(65536), b''))\n"
        "print('bytes', len(text), b'canary' in text)\n"
    )
    forger = ("systemd-run", "--quiet", "--pipe", "--wait", "/usr/bin/python3", "-c", program)
    assert installed.run(*forger).split() == ["bytes", str(1 << 20), "False"]
    refusal = "the client is not in the cgroup of this unit"
    installed.wait_for(lambda: refusal in installed.journal(DB_AGENT), "refusal")
    as_app = ("setpriv", "--reuid=app", "--regid=app", "--clear-groups", "/usr/bin/python3", "-c", program)
    assert "PermissionError" in installed.run(*as_app, check=False)


def test_the_secret_id_is_encrypted_on_disk_and_no_value_is_in_the_output_of_systemd(installed):
    outputs = [
        installed.run("systemctl", "show", AGENT, APP, DB_AGENT, DB),
        installed.run("systemctl", "cat", AGENT, APP, DB_AGENT, DB),
        installed.run("journalctl", "--no-pager", "--output=json"),
        installed.run("grep", "--recursive", "--binary-files=text", "", "/etc/lessee"),
    ]
    assert installed.machine.path("/run/credentials/lessee@app.service/secret_id").read_text() == installed.secret_id
    for value in (installed.secret_id, "canary-systemd"):
        assert not [text for text in outputs if value in text]


def starts(installed):
    return [line for line in installed.journal(DB).splitlines() if line.startswith("start: ")]


def check_that_a_rotation_reaches_the_app(installed, value):
    installed.rotate(value)
    installed.wait_for(lambda: value in installed.file(), "new file")
    installed.wait_for(lambda: f"SIGHUP: app.env {fingerprint(installed.file())}" in installed.journal(), "signal")


def field(installed, pid, name):
    status = installed.machine.path(f"/proc/{pid}/status").read_text()
    return dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)[name]


@pytest.mark.thorough
def test_an_agent_gets_its_secret_id_by_the_name_of_its_unit_and_no_other_process_does(installed):
    run, server, machine = installed.run, installed.server, installed.machine
    uid = int(run("id", "-u", "lessee"))
    config = {
        "environment": "production",
        "vault": {
            "address": server.address,
            "auth": {"method": "userpass", "username": "issuer", "password_file": "${CREDENTIALS_DIRECTORY}/login"},
        },
        "issue": {"roles": {"app": {"units": [AGENT], "uid": uid}}},
    }
    machine.put("/etc/lessee/issue/lessee.yaml", json.dumps(config))
    policy = run(
        *("/opt/lessee/bin/lessee", "check", "--policy", "--issuer", "--config", "/etc/lessee/issue/lessee.yaml"),
        CREDENTIALS_DIRECTORY="/run",
    )
    server.ask("PUT", "sys/policies/acl/production-issuer", {"policy": policy})
    server.ask("POST", "sys/auth/userpass", {"type": "userpass"})
    login = {"password": "canary-systemd-issuer", "token_policies": ["production-issuer"]}
    server.ask("POST", "auth/userpass/users/issuer", login)
    encrypt = ("systemd-creds", "encrypt", "--with-key=host", "--name=login", "-")
    run(*encrypt, "/etc/lessee/issue/login.cred", text=login["password"])
    # The agent waits for the service.
    agent = yaml.safe_load(machine.path("/etc/lessee/app/lessee.yaml").read_text())
    agent["vault"]["auth"] = {
        "method": "approle",
        "role_id_file": "/etc/lessee/app/role_id",
        "secret_id_socket": "/run/lessee-issue/issue.sock",
    }
    machine.put("/etc/lessee/app/lessee.yaml", json.dumps(agent))
    run("systemctl", "stop", AGENT)
    shutil.rmtree(machine.path("/run/lessee/app/agent"), ignore_errors=True)
    run("systemctl", "start", "--no-block", AGENT)
    installed.wait_for(lambda: "start `lessee issue` on the host" in installed.journal(AGENT), "agent that waits")
    run("systemctl", "start", ISSUER)
    issued = f'"secret_id issued", "role": "app", "place": "unit {AGENT}", "uid": {uid}, "pid": '
    installed.wait_for(lambda: issued in installed.journal(ISSUER), "secret_id of the agent")
    # Its user outside of the unit, in another unit, and root in a unit.
    asks = ("python3", "-c", ASK, "20", "app")
    other = ("systemd-run", "--quiet", "--pipe", "--wait", "--collect", "--unit=stranger")
    got = [
        answers(run("setpriv", "--reuid=lessee", "--regid=lessee", "--clear-groups", "--", *asks)),
        answers(run(*other, "--uid=lessee", "--", *asks)),
        answers(run(*other, "--", *asks)),
    ]
    assert [(len(replies), wrapped(replies)) for replies in got] == [(20, 0)] * 3
    assert "no role in issue.roles is for unit stranger.service" in got[1][0]["refused"]
    # A restart of the service forgets no process that has one.
    run("systemctl", "restart", ISSUER)
    check_that_a_rotation_reaches_the_app(installed, "canary-systemd-issued")
    assert "canary-systemd-issuer" not in installed.journal(ISSUER) + run("systemctl", "cat", ISSUER)


LISTENER = """
listener "tcp" {{
  address       = "127.0.0.1:{port}"
  tls_cert_file = "{folder}/server.pem"
  tls_key_file  = "{folder}/server.pem"
}}
"""
# Each method with the keys that name its files, of which all are credentials of the unit.
LOGINS = {
    "token": {"token_file": "token"},
    "approle": {"role_id_file": "role_id", "secret_id_file": "secret_id"},
    "jwt": {"jwt_file": "jwt"},
    "userpass": {"username": "web", "password_file": "password"},
    "cert": {"cert_file": "client.pem", "key_file": "client.pem"},
}


@pytest.mark.thorough
def test_every_file_of_a_login_can_be_a_credential_that_systemd_decrypts_for_one_unit(installed, tmp_path):
    run, machine, signer = installed.run, installed.machine, Signer()
    authority, port = Authority(tmp_path / "ca.pem"), free_port()
    for name in ("server", "client"):
        authority.issue(tmp_path / f"{name}.pem", 9, common_name=name)
    with OpenBao(tmp_path, config=LISTENER.format(port=port, folder=tmp_path)) as server:
        server.put("production/database", username="app", password="canary-of-all-logins")
        role_id, secret_id = server.approle("app", POLICY)
        policies = {"token_policies": ["app"]}
        for method in ("jwt", "userpass", "cert"):
            server.ask("POST", f"sys/auth/{method}", {"type": method})
        server.ask("POST", "auth/jwt/config", {"jwt_validation_pubkeys": [signer.public_key], "default_role": "web"})
        jwt_role = {"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["vault"]}
        server.ask("POST", "auth/jwt/role/web", jwt_role | policies)
        server.ask("POST", "auth/userpass/users/web", {"password": "canary-of-a-password"} | policies)
        ca = (tmp_path / "ca.pem").read_text()
        server.ask("POST", "auth/cert/certs/web", {"certificate": ca, "allowed_common_names": ["client"]} | policies)
        files = {
            "token": server.ask("POST", "auth/token/create", {"policies": ["app"]})["auth"]["client_token"],
            "role_id": role_id,
            "secret_id": secret_id,
            "jwt": signer.sign(sub="web", aud="vault"),
            "password": "canary-of-a-password",
            "client.pem": (tmp_path / "client.pem").read_text(),
            "ca.pem": ca,
        }
        for name, text in files.items():
            machine.put(f"/etc/lessee/logins/{name}.cred", "")
            encrypt = ("systemd-creds", "encrypt", "--with-key=host", f"--name={name}", "-")
            run(*encrypt, f"/etc/lessee/logins/{name}.cred", text=text)
        for method, keys in LOGINS.items():
            place = "${CREDENTIALS_DIRECTORY}"
            auth = {key: f"{place}/{value}" if key.endswith("_file") else value for key, value in keys.items()}
            config = {
                "environment": "production",
                "vault": {
                    "address": f"https://127.0.0.1:{port}",
                    "ca_file": f"{place}/ca.pem",
                    "auth": {"method": method, **auth},
                },
                "state_dir": "/run/logins/state",
                "template_dir": "/etc/lessee/app",
                "apps": {"app": {"directory": "/run/logins/app", "files": [{"template": "app.env.j2"}]}},
            }
            machine.put(f"/etc/lessee/logins/{method}.yaml", json.dumps(config))
        script = """
            for method in "$@"; do
                /opt/lessee/bin/lessee render --config /etc/lessee/logins/$method.yaml --output /run/logins/$method
                echo $method: $(grep -c canary-of-all-logins /run/logins/$method/app/app.env)
            done
        """
        properties = [f"--property=LoadCredentialEncrypted={name}:/etc/lessee/logins/{name}.cred" for name in files]
        unit = ("systemd-run", "--quiet", "--pipe", "--wait", "--collect", "--uid=lessee", *properties)
        output = run(*unit, "--property=RuntimeDirectory=logins", "sh", "-euc", script, "sh", *LOGINS)
    for method in LOGINS:
        assert f"{method}: 1" in output.splitlines(), output
    # Neither the folder of the credentials nor an encrypted file has one in plain text.
    stored = run("grep", "--recursive", "--binary-files=text", "", "/etc/lessee/logins")
    assert not [name for name, text in files.items() if text.strip() in stored]
