"""A sidecar runs next to every app: it imports what it uses, and never the operators' libraries, hvac and requests."""

import subprocess
import sys

import pytest

from lessee.host.openbao import ROOT_TOKEN, OpenBao, free_port
from support.programs.sidecar import Sidecar, eventually
from support.servers.certificate_authority import Authority
from support.servers.jwt_signer import Signer
from support.servers.token_reviews import TokenReviews, service_account_token

LISTENER = """
listener "tcp" {{
  address       = "127.0.0.1:{port}"
  tls_cert_file = "{folder}/server.pem"
  tls_key_file  = "{folder}/server.pem"
}}
"""
POLICY = 'path "secret/*" { capabilities = ["read", "list"] }'
ROLE = {"token_policies": "reader"}
METHODS = ("token", "approle", "jwt", "kubernetes", "cert", "userpass")
OPERATORS = {"hvac", "requests", "urllib3", "psutil"}
UNUSED = {
    "anyio", "asyncio", "concurrent", "cryptography", "dataclasses", "docker", "email", "http", "importlib.metadata",
    "multiprocessing", "prometheus_client", "ssl", "tomllib", "unicodedata", "unittest", "urllib.request",
    "watchfiles", "xml",
}  # fmt: skip
"""What a start without TLS does not use, and what takes half a millisecond or more each."""
OWN_MODULES = 191
"""How many modules of lessee a start imports at most. Each takes 0.1 ms; a tenth of them confine it."""


@pytest.fixture(scope="module")
def logins(tmp_path_factory):
    """A server, and a `vault:` block for each auth method."""
    folder, port = tmp_path_factory.mktemp("openbao-tls"), free_port()
    authority = Authority(folder / "ca.pem")
    for name in "server", "client":
        authority.issue(folder / f"{name}.pem", days=1)
    with OpenBao(folder, config=LISTENER.format(port=port, folder=folder)) as bao, TokenReviews() as reviews:
        bao.put("testing/it", value="one")
        bao.ask("PUT", "sys/policies/acl/reader", {"policy": POLICY})
        for method in METHODS[1:]:
            if method != "approle":
                bao.ask("POST", f"sys/auth/{method}", {"type": method})
        files = credentials(bao, reviews, folder)
        auth = {
            "token": {"token_file": files["token"]},
            "approle": {"role_id_file": files["role_id"], "secret_id_file": files["secret_id"]},
            "jwt": {"jwt_file": files["jwt"], "role": "web"},
            "kubernetes": {"jwt_file": files["service_account"], "role": "web"},
            "cert": {"cert_file": str(folder / "client.pem"), "key_file": str(folder / "client.pem"), "role": "web"},
            "userpass": {"username": "web", "password_file": files["password"]},
        }
        where = {"address": f"https://127.0.0.1:{port}", "ca_file": str(folder / "ca.pem")}
        yield {method: {**where, "auth": {"method": method, **auth[method]}} for method in METHODS}


def credentials(bao, reviews, folder):
    """The files to log in with, by name; each method has a role or user `web`."""
    signer = Signer()
    role_id, secret_id = bao.approle("web", POLICY)
    token = bao.ask("POST", "auth/token/create", {"policies": ["reader"]})["auth"]["client_token"]
    contents = {
        "token": token,
        "role_id": role_id,
        "secret_id": secret_id,
        "jwt": signer.sign(sub="web", aud=["vault"]),
        "service_account": service_account_token(signer, pod="web"),
        "password": "right",
    }
    bao.ask("POST", "auth/jwt/config", {"jwt_validation_pubkeys": [signer.public_key]})
    bao.ask(
        "POST", "auth/jwt/role/web", {"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["vault"], **ROLE}
    )
    reviews.known.append(contents["service_account"])
    reviews.mount(bao, "kubernetes")
    bound = {"bound_service_account_names": "web", "bound_service_account_namespaces": "default"}
    bao.ask("POST", "auth/kubernetes/role/web", {**bound, **ROLE})
    bao.ask("POST", "auth/cert/certs/web", {"certificate": (folder / "ca.pem").read_text(), **ROLE})
    bao.ask("POST", "auth/userpass/users/web", {"password": "right", **ROLE})
    files = {name: folder / f"{name}.txt" for name in contents}
    for name, file in files.items():
        file.write_text(contents[name])
    return {name: str(file) for name, file in files.items()}


@pytest.fixture
def sidecar(tmp_path, memory):
    agent = Sidecar("", tmp_path, memory)
    del agent.environ["VAULT_TOKEN"]
    agent.template("it.txt.j2", '{{ secret("it").value }}\n')
    yield agent
    agent.close()


def imported(sidecar, *arguments, until=None):
    """The names of all modules that a real `lessee …` imported, by Python's own account of its imports."""
    sidecar.write_config()
    log = sidecar.disk / "imports.log"
    command = [sys.executable, "-X", "importtime", "-m", "lessee", *arguments]
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            command, cwd=sidecar.disk, env=sidecar.environ, stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr
        )
    try:
        if until is not None:
            eventually(until, "the published files")
            process.terminate()
        assert process.wait(30) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()
    lines = (line for line in log.read_text().splitlines() if line.startswith("import time:"))
    return {line.rpartition("|")[2].strip() for line in lines}


def assert_lean(modules):
    assert {"lessee.vault.transport", "lessee.vault.wire"} <= modules
    assert {name for name in modules if name.partition(".")[0] in OPERATORS} == set()


@pytest.mark.thorough(each=3)
@pytest.mark.parametrize("method", METHODS)
def test_a_sidecar_that_renders_kv_secrets_imports_no_operators_library(sidecar, logins, method):
    sidecar.config["vault"] = logins[method]
    assert_lean(imported(sidecar, "render"))
    assert (sidecar.directory / "it.txt").read_text() == "one\n"
    assert_lean(imported(sidecar, "exec", "--app", "web", "--", "true"))


def test_a_running_sidecar_with_all_logins_imports_no_operators_library(sidecar, logins):
    web = sidecar.config["apps"].pop("web")
    for method in METHODS:
        directory = str(sidecar.memory / method)
        sidecar.config["apps"][method] = {**web, "directory": directory, "vault": logins[method]}
    sidecar.config["vault"] = logins["token"]
    files = [sidecar.memory / method / "it.txt" for method in METHODS]
    assert_lean(imported(sidecar, "run", until=lambda: all(file.exists() for file in files)))


@pytest.mark.parametrize("method", ["gcp", "azure", "okta", "github", "ldap"])
def test_a_login_by_path_and_body_or_by_a_metadata_server_imports_no_library(bao, sidecar, method):
    password = {"username": "web", "password_file": str(sidecar.disk / "password")}
    auth = {"okta": password, "ldap": password, "github": {"token_file": str(sidecar.disk / "password")}}
    machine = {"role": "web", "metadata_address": "http://127.0.0.1:1"}
    (sidecar.disk / "password").write_text("right")
    sidecar.config["vault"] = {"address": bao.address, "auth": {"method": method, **auth.get(method, machine)}}
    # No login succeeds, but each was tried.
    modules = imported(
        sidecar, "run", until=lambda: "login failed" in log_of(sidecar) or "unavailable" in log_of(sidecar)
    )
    assert_lean(modules)
    assert {name for name in modules if name.partition(".")[0] in {"botocore", "cryptography", "gssapi"}} == set()


def log_of(sidecar):
    return (sidecar.disk / "imports.log").read_text()


def test_a_start_imports_what_it_uses(bao, sidecar):
    bao.put("testing/it", value="one")
    (sidecar.disk / "token").write_text(ROOT_TOKEN)
    sidecar.config["vault"] = {
        "address": bao.address,
        "auth": {"method": "token", "token_file": str(sidecar.disk / "token")},
    }
    modules = imported(sidecar, "run", until=(sidecar.directory / "it.txt").exists)
    found = {name for name in modules if not {name, name.partition(".")[0]}.isdisjoint(UNUSED | {"subprocess"})}
    assert found == set()
    own = {name for name in modules if name.partition(".")[0] == "lessee"}
    assert len(own) <= OWN_MODULES, sorted(own)
    modules = imported(sidecar, "exec", "--app", "web", "--", "true")
    assert {name for name in modules if not {name, name.partition(".")[0]}.isdisjoint(UNUSED)} == set()
