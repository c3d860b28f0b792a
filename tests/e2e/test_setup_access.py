"""What `lessee setup` grants, tried with real tokens: each capability grants its operations, and no others."""

import itertools

import pytest

from lessee.host.openbao import free_port
from support.environments.setup_namespace import CANARY, ENVIRONMENTS, SetupNamespace
from support.programs.sidecar import Sidecar

_NUMBERS = itertools.count()


@pytest.fixture
def ground(bao, tmp_path):
    name = f"access{next(_NUMBERS)}"
    yield SetupNamespace(bao, name, tmp_path)
    bao.ask("DELETE", f"sys/namespaces/{name}")


OPERATIONS = {
    "read": ("GET", "secret/data/{}/old", None),
    "look": ("GET", "secret/metadata/{}/old", None),
    "list": ("GET", "secret/metadata/{}?list=true", None),
    "list with versions": ("GET", "secret/detailed-metadata/{}?list=true", None),
    "create": ("POST", "secret/data/{}/new", {"data": {"a": 1}}),
    "update": ("POST", "secret/data/{}/old", {"data": {"a": 2}}),
    "delete": ("DELETE", "secret/data/{}/old", None),
    "delete a version": ("POST", "secret/delete/{}/old", {"versions": [1]}),
    "undelete": ("POST", "secret/undelete/{}/old", {"versions": [1]}),
    "settings": ("POST", "secret/metadata/{}/old", {"max_versions": 9}),
    "destroy": ("POST", "secret/destroy/{}/old", {"versions": [1]}),
    "delete all": ("DELETE", "secret/metadata/{}/old", None),
}
DELETE = {"delete", "delete a version", "undelete", "destroy", "delete all"}
CAPABILITIES = {
    "read": {"read", "look"},
    "list": {"list", "list with versions"},
    "create": {"create"},
    "update": {"update"},
    "delete": DELETE,
    "all": set(OPERATIONS),
}


def allowed_operations(ground, token, folder):
    """The operations that a token may do in a folder, which is created again for each one."""
    allowed = set()
    for name, (method, path, body) in OPERATIONS.items():
        for secret in ("old", "new"):
            ground.ask("DELETE", f"secret/metadata/{folder}/{secret}")
        ground.ask("POST", f"secret/data/{folder}/old", {"data": {"a": 0}})
        if ground.is_allowed(method, path.format(folder), body, token):
            allowed.add(name)
    return allowed


@pytest.mark.thorough(each=2)
@pytest.mark.parametrize("capability", CAPABILITIES)
def test_a_capability_grants_only_its_operations(ground, capability):
    ground.wanted.update(environments=["testing", "production"], components={"one": [capability]}, secrets={})
    ground.run()
    token = ground.log_in("testing-one")
    assert allowed_operations(ground, token, "testing/database") == CAPABILITIES[capability]
    assert allowed_operations(ground, token, "testing") == CAPABILITIES[capability]
    assert allowed_operations(ground, token, "production/database") == set()
    assert allowed_operations(ground, token, "shared") == set()


MATRIX = {
    "app": CAPABILITIES["read"] | CAPABILITIES["list"],
    "database-admin": set(OPERATIONS),
    "security": set(OPERATIONS),
    "ci": CAPABILITIES["read"],
}


@pytest.mark.thorough
def test_each_component_can_do_exactly_its_row_of_the_matrix_in_its_own_environment(ground):
    ground.wanted["secrets"] = {}
    ground.run()
    for environment, (component, row) in itertools.product(ENVIRONMENTS, MATRIX.items()):
        token = ground.log_in(f"{environment}-{component}")
        assert allowed_operations(ground, token, f"{environment}/database") == row
        elsewhere = set() if component == "database-admin" else row
        assert allowed_operations(ground, token, f"{environment}/api-keys") == elsewhere
        for other in ENVIRONMENTS:
            if other != environment:
                assert allowed_operations(ground, token, f"{other}/database") == set()
        for path in ("sys/policies/acl/testing-app", "sys/mounts", "auth/approle/role/testing-app"):
            assert not ground.is_allowed("GET", path, token=token)


def test_a_component_is_restricted_to_its_prefixes(ground):
    ground.wanted.update(components={"one": {"capabilities": ["read"], "prefixes": ["api-keys", "mcp/"]}}, secrets={})
    ground.run()
    token = ground.log_in("testing-one")
    allowed = {
        folder: "read" in allowed_operations(ground, token, f"testing/{folder}")
        for folder in ("api-keys", "mcp", "mcp2")
    }
    assert allowed == {"api-keys": True, "mcp": True, "mcp2": False}


def test_a_role_with_bound_cidrs_refuses_other_addresses(ground):
    near, far = ({"capabilities": ["read"], "bound_cidrs": [cidr]} for cidr in ("127.0.0.1", "10.0.0.0/8"))
    ground.wanted["components"] = {"near": near, "far": far}
    ground.run()
    assert ground.log_in("testing-near")
    with pytest.raises(RuntimeError, match=r"40[03]"):
        ground.log_in("testing-far")
    assert ground.run().stdout == "done: nothing to do\n"


def test_ttls_and_uses_are_as_configured(ground):
    times = {"token_ttl": "10m", "token_max_ttl": "1h", "secret_id_ttl": "24h", "secret_id_num_uses": 1}
    ground.wanted["components"] = {"ci": {"capabilities": ["read"], **times}}
    ground.run("--output", "out")
    folder = ground.disk / "out/testing/testing-ci"
    body = {name: (folder / name).read_text() for name in ("role_id", "secret_id")}
    auth = ground.ask("POST", "auth/approle/login", body, token="")["auth"]
    assert auth["lease_duration"] == 600
    assert ground.ask("GET", "auth/token/lookup-self", token=auth["client_token"])["data"]["explicit_max_ttl"] == 0
    with pytest.raises(RuntimeError, match="400"):
        ground.ask("POST", "auth/approle/login", body, token="")


def test_credentials_are_written_once_to_files_that_only_the_owner_may_read(ground):
    planned = ground.run("--plan", "--output", "out").stdout
    assert not (ground.disk / "out").exists()
    done = ground.run("--output", "out").stdout
    assert planned.splitlines()[:-1] == done.splitlines()[:-1]
    assert planned.endswith(", credential files of 12 roles)\n")
    assert ground.run("--output", "out").stdout == "done: nothing to do\n"
    assert ground.run("--plan", "--output", "out").stdout == "plan: 0 changes (nothing to do)\n"
    paths = list((ground.disk / "out").rglob("*"))
    assert len(paths) == 3 + 12 + 24
    assert {path.stat().st_mode & 0o777 for path in paths if path.is_file()} == {0o600}
    assert {path.stat().st_mode & 0o777 for path in (ground.disk / "out", *paths) if path.is_dir()} == {0o700}
    files = {path: path.read_text() for path in paths if path.is_file()}
    (ground.disk / "out/testing/testing-ci/secret_id").unlink()
    again = ground.run("--output", "out").stdout
    written = f"  + {ground.disk}/out/testing/testing-ci: secret_id"
    assert again == f"files:\n{written}\ndone: credential files of 1 role\n"
    changed = [str(path) for path, text in files.items() if path.read_text() != text]
    assert changed == [f"{ground.disk}/out/testing/testing-ci/secret_id"]


def test_files_of_a_recreated_role_are_reported(ground):
    ground.run("--output", "out")
    ground.run("--remove", "testing", "--yes")
    messages = ground.run("--output", "out").stderr
    assert messages.count("the role was created again since; remove this file and its secret_id") == 4
    assert f"{ground.disk}/out/testing/testing-app/role_id: " in messages


def test_a_wrapped_secret_id_unwraps_once(ground):
    ground.run("--output", "out", "--wrap-ttl", "5m")
    token = (ground.disk / "out/production/production-app/secret_id").read_text()
    secret_id = ground.ask("POST", "sys/wrapping/unwrap", {}, token=token)["data"]["secret_id"]
    role_id = (ground.disk / "out/production/production-app/role_id").read_text()
    login = {"role_id": role_id, "secret_id": secret_id}
    assert ground.ask("POST", "auth/approle/login", login, token="")["auth"]["client_token"]
    with pytest.raises(RuntimeError, match=r"40[03]"):
        ground.ask("POST", "sys/wrapping/unwrap", {}, token=token)


@pytest.mark.thorough
@pytest.mark.parametrize("wrapped", [False, True])
def test_an_agent_logs_in_with_the_files_and_renders_its_environment_s_secrets(ground, memory, wrapped):
    (ground.disk / "web.env.j2").write_text(
        'PASSWORD={{ secret("database/postgres").password }}\n'
        'KEYS={{ secrets("api-keys/") | join(",") }}\n'
        'NAME={{ certificate("{environment}/pki/issue/web", common_name="a.simba.local").serial_number }}\n'
    )
    files = {"role_id_file": "role_id", "secret_id_file": "secret_id"}
    app = {"directory": str(memory / "web"), "files": [{"template": "web.env.j2"}]}
    ground.config |= {"state_dir": str(memory / "state"), "apps": {"web": app}}
    ground.wanted["pki"] = {
        "common_name": "root",
        "roles": {"web": {"allowed_domains": ["simba.local"], "allow_subdomains": True}},
    }
    ground.run("--output", "out", *(["--wrap-ttl", "5m"] if wrapped else []))
    for environment in ENVIRONMENTS:
        place = ground.disk / "out" / environment / f"{environment}-web"
        auth = {"method": "approle", "wrapped": wrapped} | {key: str(place / name) for key, name in files.items()}
        agent = Sidecar(ground.bao.address, ground.disk, memory, environment=environment)
        agent.config = ground.config | {
            "vault": {"address": ground.bao.address, "namespace": ground.name, "auth": auth}
        }
        agent.environ.pop("VAULT_TOKEN")
        agent.write_config()
        done = agent.command("render", "--output", f"made/{environment}")
        assert done.returncode == 0, done.stderr
        text = (ground.disk / f"made/{environment}/web/web.env").read_text()
        assert ground.secret(f"{environment}/database/postgres")["password"] in text
        assert "KEYS='openrouter'\n" in text


def test_each_environment_s_root_issues_its_certificates(ground):
    roles = {"web": {"allowed_domains": ["{environment}.local"], "allow_subdomains": True, "max_ttl": "72h"}}
    ground.wanted["pki"] = {"common_name": "{environment} root", "ttl": "87600h", "roles": roles}
    ground.run()
    roots = set()
    for environment in ENVIRONMENTS:
        path = f"{environment}/pki/issue/web"
        made = ground.ask("POST", path, {"common_name": f"a.{environment}.local", "ttl": "1h"})["data"]
        roots.add(made["issuing_ca"])
        with pytest.raises(RuntimeError, match="400"):
            ground.ask("POST", path, {"common_name": "a.other.local"})
    assert len(roots) == 3
    assert ground.run().stdout == "done: nothing to do\n"
    ground.wanted["pki"]["ttl"] = "8760h"
    assert "  ~ engine production/pki\n      max_lease_ttl: 3650d → 365d\n" in ground.run().stdout
    assert ground.ask("GET", "sys/mounts/production/pki/tune")["data"]["max_lease_ttl"] == 8760 * 3600


def database(ground, postgres, **settings):
    ground.wanted["database"] = {
        "connections": {
            "simba": {
                "connection_url": f"postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{postgres.port}/postgres?sslmode=disable",
                "username": "postgres",
                "password": {"env": "ADMIN_PASSWORD"},
                "roles": {"simba": {"creation_statements": ["CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}'"]}},
            }
            | settings
        }
    }


@pytest.mark.thorough
def test_vault_creates_database_users_with_the_configured_connection(ground, postgres):
    database(ground, postgres)
    password = postgres.admin_url.split(":")[2].split("@")[0]
    planned = ground.run("--plan", code=78)
    assert "      password: (from $ADMIN_PASSWORD)\n" in planned.stdout
    assert "$ADMIN_PASSWORD is not set or empty" in planned.stderr
    done = ground.run(ADMIN_PASSWORD=password)
    assert password not in done.stdout + done.stderr
    for environment in ENVIRONMENTS:
        user = ground.ask("GET", f"{environment}/database/creds/simba")["data"]
        rows = postgres.sql("SELECT count(*) FROM pg_roles WHERE rolname = %s", user["username"])
        assert rows == [(1,)]
    # The password is no longer needed: changes of other fields are written without it.
    assert ground.run().stdout == "done: nothing to do\n"
    ground.wanted["database"]["connections"]["simba"]["roles"]["other"] = {
        "creation_statements": ["SELECT 1"],
        "max_ttl": "2h",
    }
    changed = ground.run().stdout
    assert '      allowed_roles: ["simba"] → ["other", "simba"]\n' in changed
    assert ground.ask("GET", "testing/database/creds/simba")["data"]["username"]
    for environment in ENVIRONMENTS:
        ground.ask("POST", f"sys/leases/revoke-prefix/{environment}/database/creds", {"sync": True})


def test_a_wrong_database_login_is_reported_during_setup(ground, postgres):
    database(ground, postgres)
    errors = ground.run(code=77, ADMIN_PASSWORD=f"{CANARY}-wrong").stderr
    assert "development/database/config/simba: Vault could not log in to the database; check its url" in errors
    assert CANARY not in errors
    # With the right password, setup continues from there.
    password = postgres.admin_url.split(":")[2].split("@")[0]
    assert "  + policy development-app\n" not in ground.run(ADMIN_PASSWORD=password).stdout
    assert ground.run().stdout == "done: nothing to do\n"
    url = f"postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{free_port()}/postgres"
    database(ground, postgres, connection_url=url)
    assert "could not log in to the database" in ground.run(code=77, ADMIN_PASSWORD=password).stderr
    assert ground.ask("GET", "testing/database/config/simba")["data"]["connection_details"]["connection_url"] != url


ADMIN = """
path "sys/mounts"               { capabilities = ["read"] }
path "sys/mounts/*"             { capabilities = ["create", "read", "update", "delete"] }
path "sys/auth"                 { capabilities = ["read"] }
path "sys/auth/approle"         { capabilities = ["create", "update", "sudo"] }
path "sys/policies/acl/*"       { capabilities = ["create", "read", "update", "delete"] }
path "auth/approle/role/*"      { capabilities = ["create", "read", "update", "delete"] }
path "secret/*"                 { capabilities = ["create", "read", "update", "delete", "list"] }
path "+/database/*"             { capabilities = ["create", "read", "update", "delete"] }
path "+/pki/*"                  { capabilities = ["create", "read", "update", "delete", "list"] }
"""


def test_no_root_token_is_needed(ground, postgres):
    database(ground, postgres)
    ground.wanted["pki"] = {"common_name": "root", "roles": {"web": {"allowed_domains": ["simba.local"]}}}
    ground.ask("POST", "sys/policies/acl/admin", {"policy": ADMIN})
    token = ground.ask("POST", "auth/token/create", {"policies": ["admin"]})["auth"]["client_token"]
    password = postgres.admin_url.split(":")[2].split("@")[0]
    ground.run("--output", "out", VAULT_TOKEN=token, ADMIN_PASSWORD=password)
    assert ground.run(VAULT_TOKEN=token).stdout == "done: nothing to do\n"
    ground.run("--remove", "testing", "--yes", VAULT_TOKEN=token)
    assert not ground.has("GET", "auth/approle/role/testing-app")
