"""How a sidecar logs in, where the login itself is in trouble."""

import sys
import time
from importlib.util import find_spec

import pytest

from support.needs import need
from support.programs.sidecar import eventually
from support.programs.terminal import Terminal
from support.servers.cloud_vault import CloudVault
from support.servers.device_provider import DeviceProvider
from support.servers.fault_proxy import Status
from support.servers.kerberos_realm import REALM, SERVICE, KerberosRealm
from support.servers.ldap_server import LdapServer
from support.servers.metadata_service import MetadataService
from support.servers.older_openbao import older_openbao

FORKED_AGENTS = True
APP = 'PASSWORD={{ secret("db").password }}\n'
READ = 'path "secret/*" { capabilities = ["read", "list"] }\n'
FORBIDDEN = Status(403, body=b'{"errors":["permission denied"]}')


@pytest.fixture
def proxied(server, proxy, sidecar):
    """A sidecar with an AppRole, and the proxy on its way to Vault."""
    server.put("testing/db", password="first")
    sidecar.config["vault"]["address"] = proxy.address
    sidecar.log_in_by_approle(server, READ)
    sidecar.template("app.env.j2", APP)
    return sidecar


@pytest.mark.thorough(each=2)
@pytest.mark.parametrize("path", ["auth/approle/login", "auth/token/lookup-self"])
def test_403_for_everything_is_an_outage_after_which_the_agent_logs_in_by_itself(server, proxy, proxied, path):
    if "token" in path:
        del proxied.config["vault"]["auth"]
    proxied.start()
    proxy.fault, since = FORBIDDEN, time.monotonic()
    server.put("testing/db", password="second")
    # A wrong secret_id would be sent twice, and then once in five minutes.
    eventually(lambda: proxy.count(path, since) >= 5, "the fifth login")
    proxy.clear()
    proxied.until_file("app.env", "PASSWORD='second'\n")
    proxied.until(lambda status: status["fresh"] and not status["problems"])
    assert proxied.log.read_text().count('"login failed"') == 1


@pytest.mark.thorough
def test_a_token_with_a_number_of_uses_is_never_sent_once_too_often(server, proxy, proxied):
    server.ask("POST", f"auth/approle/role/{proxied.disk.name}", {"token_num_uses": 7})
    proxied.start()
    eventually(lambda: proxy.count("auth/approle/login") >= 3, "two more logins")
    server.put("testing/db", password="second")
    proxied.until_file("app.env", "PASSWORD='second'\n")
    proxied.process.kill()
    proxied.process.wait()
    proxied.start()
    proxied.until(lambda status: status["fresh"] and not status["problems"])
    assert proxied.stop() == 0
    assert [event["event"] for event in proxied.events() if event["level"] == "warning"] == []
    # Vault revokes a token with its last request: of all that the agent had, one is left.
    assert len(server.ask("LIST", "auth/token/accessors")["data"]["keys"]) <= 3


def test_a_program_makes_the_credential_of_each_login_and_what_it_prints_is_nowhere(server, sidecar):
    server.put("testing/db", password="first")
    sidecar.config["vault"]["address"] = server.address
    sidecar.log_in_by_approle(server, READ)
    auth = sidecar.config["vault"]["auth"]
    secret = sidecar.disk / "secret_id"
    value = secret.read_text()
    helper = sidecar.disk / "helper"
    helper.write_text(f"#!/bin/sh\necho canary-of-stderr >&2\nexec cat {secret}\n")
    helper.chmod(0o755)
    sidecar.config["vault"]["auth"] = {
        "method": "approle", "role_id_file": auth["role_id_file"], "secret_id_command": [str(helper)],
    }  # fmt: skip
    secret.rename(sidecar.disk / "later")
    sidecar.template("app.env.j2", APP)
    sidecar.start(wait=False)
    # The agent asks the program again, as it asks a server that does not answer.
    sidecar.until(lambda status: "it failed with status 1" in str(status["problems"]))
    (sidecar.disk / "later").rename(secret)
    sidecar.until_file("app.env", "PASSWORD='first'\n")
    status = sidecar.until(lambda status: status["fresh"] and not status["problems"])
    assert "vault.auth starts a program" in str(status["sandbox"])
    for text in (sidecar.log.read_text(), str(status)):
        assert value not in text
        assert "canary-of-stderr" not in text


@pytest.fixture
def metadata():
    with MetadataService() as service:
        yield service


@pytest.fixture
def cloud(server):
    """The server with logins that OpenBao does not have, and a policy to read the app's secret."""
    server.put("testing/db", password="first")
    server.ask("PUT", "sys/policies/acl/app", {"policy": READ})
    with CloudVault(server, ["app"]) as cloud:
        yield cloud


def log_in(sidecar, address, method, **auth):
    """Have the sidecar log in by this method, with one app."""
    mount = f"auth/team/{method}"
    sidecar.config["vault"] = {"address": address, "auth": {"method": method, "mount": mount, **auth}}
    sidecar.template("app.env.j2", APP)


def test_a_confined_agent_logs_in_by_the_metadata_service_of_aws_again_and_again(server, cloud, metadata, sidecar):
    arn = "arn:aws:sts::123456789012:assumed-role/web"
    metadata.aws = ("ASIAFIRST", "canary-first", "canary-session")
    cloud.aws_keys["ASIAFIRST"], cloud.aws_roles["web"] = ("canary-first", "canary-session", arn), arn
    log_in(sidecar, cloud.address, "aws", role="web", metadata_address=metadata.address)
    sidecar.start()
    sidecar.until_file("app.env", "PASSWORD='first'\n")
    metadata.aws = ("ASIANEXT", "canary-next", "canary-next-session")
    cloud.aws_keys = {"ASIANEXT": ("canary-next", "canary-next-session", arn)}
    for accessor in server.ask("LIST", "auth/token/accessors")["data"]["keys"]:
        if "app" in server.ask("POST", "auth/token/lookup-accessor", {"accessor": accessor})["data"]["policies"]:
            server.ask("POST", "auth/token/revoke-accessor", {"accessor": accessor})
    server.put("testing/db", password="second")
    sidecar.until_file("app.env", "PASSWORD='second'\n")
    assert not cloud.refusals
    assert "canary" not in sidecar.log.read_text()
    assert sidecar.log.read_text().count('"logged in"') == 2


def test_the_keys_of_a_login_are_in_no_child_s_environment(cloud, sidecar):
    arn = "arn:aws:iam::123456789012:user/web"
    keys = {"AWS_ACCESS_KEY_ID": "AKIAENV", "AWS_SECRET_ACCESS_KEY": "canary-env"}
    cloud.aws_keys["AKIAENV"], cloud.aws_roles["web"] = ("canary-env", None, arn), arn
    log_in(sidecar, cloud.address, "aws", role="web")
    sidecar.web["env_template"] = "app.env.j2"
    sidecar.write_config()
    ended = sidecar.command("exec", "--app", "web", "--", "env", env=keys)
    assert "PASSWORD=first\n" in ended.stdout, ended.stderr
    assert "canary" not in ended.stdout + ended.stderr


def test_a_confined_agent_logs_in_with_a_kerberos_ticket(tmp_path, sidecar):
    need(find_spec("gssapi"), "gssapi is not installed: make .venv/ready-logins, with libkrb5-dev")
    with older_openbao(tmp_path) as server, KerberosRealm("app") as realm, LdapServer(app="unused") as directory:
        headers = {"passthrough_request_headers": ["Authorization"]}
        server.ask("POST", "sys/auth/team/kerberos", {"type": "kerberos", "config": headers})
        realm.mount(server, "team/kerberos", directory)
        server.ask("POST", "auth/team/kerberos/config/ldap", {**directory.settings, "token_policies": ["app"]})
        server.ask("PUT", "sys/policies/acl/app", {"policy": READ})
        server.put("testing/db", password="first")
        settings = {"username": "app", "service": SERVICE, "realm": REALM, "keytab_file": str(realm.keytab("app"))}
        log_in(sidecar, server.address, "kerberos", **settings)
        sidecar.environ["KRB5_CONFIG"] = str(realm.config)
        sidecar.start()
        sidecar.until_file("app.env", "PASSWORD='first'\n")
        confined = sidecar.status()["sandbox"]
        assert (confined["seccomp"], confined["landlock"]) == ("on", "on")


@pytest.fixture
def provider(server, tmp_path):
    server.put("testing/db", password="first")
    server.ask("PUT", "sys/policies/acl/app", {"policy": READ})
    server.ask("POST", "sys/auth/team/oidc", {"type": "oidc"})
    with DeviceProvider(tmp_path) as provider:
        provider.mount(server, "team/oidc", token_policies=["app"])
        yield provider


@pytest.mark.thorough
@pytest.mark.parametrize("command", [("render", "--app", "web"), ("exec", "--app", "web", "--", "true")])
def test_a_person_at_a_terminal_logs_in_with_a_code_that_is_stored_nowhere(server, provider, sidecar, command):
    log_in(sidecar, server.address, "oidc")
    sidecar.write_config()
    terminal = Terminal(sys.executable, "-m", "lessee", *command, cwd=sidecar.disk, env=sidecar.environ)
    try:
        terminal.until(f"lessee: to log in, open {provider.url}/activate, and enter the code ")
        code = terminal.until("\n").strip()
        provider.decide(code, "confirmed")
        assert terminal.end() == 0
    finally:
        terminal.close()
    sidecar.until_file("app.env", "PASSWORD='first'\n")
    stored = [
        file.read_bytes() for file in (*sidecar.state.rglob("*"), *sidecar.directory.rglob("*")) if file.is_file()
    ]
    assert stored
    assert not any(code.encode() in content for content in stored)


def test_a_person_logs_in_for_an_operators_command(server, provider, sidecar):
    log_in(sidecar, server.address, "oidc")
    sidecar.write_config()
    del sidecar.environ["VAULT_TOKEN"]
    command = (sys.executable, "-m", "lessee", "check", "--policy", "--online")
    terminal = Terminal(*command, cwd=sidecar.disk, env=sidecar.environ)
    try:
        terminal.until("and enter the code ")
        provider.decide(terminal.until("\n").strip(), "confirmed")
        terminal.until("KV: secret, version 2 with")
        assert terminal.end() == 0
    finally:
        terminal.close()


def test_a_login_by_a_person_is_an_error_on_a_machine_without_a_terminal(server, provider, sidecar):
    log_in(sidecar, server.address, "oidc")
    sidecar.write_config()
    ended = sidecar.command("render", "--app", "web")
    assert ended.returncode != 0
    assert "method oidc needs a person at a terminal; use another method for a machine" in ended.stderr
    assert str(provider.url) not in ended.stderr + ended.stdout
