"""The AppRoles of `lessee setup` let the rotator rotate and agents confirm, and nothing more."""

import itertools
import time
from contextlib import closing

import pytest

from lessee.core.redaction import Redactor
from lessee.host.project import read
from lessee.ops.rotate.policy.decision import Outcome
from lessee.ops.rotate.targets import Project, open_rotation
from lessee.vault.admin import admin_client
from support.environments.setup_namespace import SetupNamespace
from support.programs.sidecar import Sidecar, eventually
from support.systems.database_root import RootCredential
from support.systems.postgres import LoginRoles

_NUMBERS = itertools.count()
WEB = "secret/metadata/testing/lessee/consumers/web"


@pytest.fixture
def namespace(bao, tmp_path):
    name = f"rotator{next(_NUMBERS)}"
    namespace = SetupNamespace(bao, name, tmp_path)
    namespace.wanted.update(environments=["testing", "production"], components={})
    namespace.config["rotation"] = {
        "jwt": {
            "kind": "vault",
            "secret": "auth/jwt",
            "keys": {"secret": {"previous_key": "old"}},
            "confirmation_timeout": "1s",
            "revoke_delay": "0s",
        },
        "own": {"kind": "vault", "secret": "auth/own", "approle": "worker"},
        "cache": {"kind": "redis", "secret": "cache/redis", "admin_secret": "cache/admin", "user": "app"},
    }
    (tmp_path / "web.env.j2").write_text('SECRET={{ secret("auth/jwt").secret }}\n')
    namespace.config["apps"] = {
        "web": {"directory": str(tmp_path / "web"), "allow_disk": True, "files": [{"template": "web.env.j2"}]}
    }
    namespace.run()
    for environment in ("testing", "production"):
        for path in ("auth/jwt", "cache/redis", "cache/admin"):
            namespace.ask(
                "POST", f"secret/data/{environment}/{path}", {"data": {"secret": "first"}, "options": {"cas": 0}}
            )
    yield namespace
    bao.ask("DELETE", f"sys/namespaces/{name}")


@pytest.fixture
def token(namespace):
    return namespace.log_in("testing-rotator")


def rotate(namespace, token, name="jwt"):
    path = namespace.disk / "lessee.yaml"
    environ = {"VAULT_TOKEN": token, "VAULT_NAMESPACE": namespace.name}
    config = read(path, environ, environment="testing", blocks=("rotation",))
    project = Project(config, path, environ, Redactor())
    with (
        admin_client(config.vault, environ, time.monotonic) as client,
        open_rotation(project, name, client) as rotation,
    ):
        return rotation.run(force=True)


def metadata(namespace, path):
    return namespace.ask("GET", f"secret/metadata/testing/{path}")["data"]


def consumers(namespace):
    found = namespace.has("GET", f"{WEB}?list=true")
    return found["data"]["keys"] if found else []


def test_the_rotator_s_policy_is_enough_and_setup_leaves_rotations_unchanged(namespace, token):
    namespace.run()  # Now it knows the new secrets.
    namespace.ask("POST", f"{WEB}/gone", {"custom_metadata": {"auth/jwt": "1"}})
    assert rotate(namespace, token) is Outcome.ROTATED
    secret = namespace.secret("testing/auth/jwt")
    assert (secret["old"], secret["rotation_count"], len(secret["secret"])) == ("first", 1, 48)
    assert metadata(namespace, "auth/jwt")["custom_metadata"]["rotation_count"] == "1"
    journal = metadata(namespace, "lessee/rotation/jwt")
    assert (journal["cas_required"], journal["max_versions"], len(journal["versions"])) == (True, 1, 1)
    assert consumers(namespace) == [], "the consumer that did not confirm is removed"
    assert rotate(namespace, token) is Outcome.ROTATED
    assert namespace.run().stdout == "done: nothing to do\n"
    assert metadata(namespace, "lessee/rotation/jwt")["max_versions"] == 1


@pytest.mark.thorough
def test_database_roles_are_rotated_with_the_rotator_s_policy(namespace, postgres):
    system = LoginRoles(postgres)
    namespace.config["rotation"]["database"] = {
        **system.target,
        "secret": "db/postgres",
        "admin_secret": "db/admin",
        "confirmation_timeout": "1s",
        "revoke_delay": "0s",
    }
    namespace.run()
    for path, fields in system.secrets().items():
        own = path.replace("database/", "db/")  # In the folder `database`, setup has created a secret.
        namespace.ask("POST", f"secret/data/testing/{own}", {"data": fields, "options": {"cas": 0}})
    token = namespace.log_in("testing-rotator")
    for count in (1, 2):
        before = namespace.secret("testing/db/postgres")
        assert rotate(namespace, token, "database") is Outcome.ROTATED
        after = namespace.secret("testing/db/postgres")
        assert (system.accepts(before), system.accepts(after), after["rotation_count"]) == (False, True, count)
        custom = metadata(namespace, "db/postgres")["custom_metadata"]
        assert len(custom["rotation_history"].split()) == count


def test_a_secret_id_is_rotated_with_the_rotator_s_policy(namespace, token):
    namespace.ask("POST", "auth/approle/role/worker", {"token_policies": []})
    role_id = namespace.ask("GET", "auth/approle/role/worker/role-id", token=token)["data"]["role_id"]
    namespace.config["rotation"]["own"] |= {"confirmation_timeout": "1s", "revoke_delay": "0s"}
    path = "testing/auth/own"
    namespace.ask("POST", f"secret/data/{path}", {"data": {"role_id": role_id}, "options": {"cas": 0}})
    namespace.run()
    for count in (1, 2):
        assert rotate(namespace, token, "own") is Outcome.ROTATED
        secret = namespace.secret(path)
        assert (secret["role_id"], secret["rotation_count"]) == (role_id, count)
        body = {"role_id": role_id, "secret_id": secret["secret_id"]}
        assert namespace.ask("POST", "auth/approle/login", body, token="")["auth"]["client_token"]
        assert len(namespace.ask("GET", "auth/approle/role/worker/secret-id?list=true")["data"]["keys"]) == 1
        custom = metadata(namespace, "auth/own")["custom_metadata"]
        assert len(custom["rotation_history"].split()) == count


@pytest.mark.thorough
def test_vault_s_own_admins_are_rotated_with_the_rotator_s_policy(namespace, postgres, tmp_path):
    """The rotator's own secret_id in its file, and a root credential of the database engine."""
    system, file = RootCredential(postgres), tmp_path / "secret_id"
    system.attach(namespace)
    role = "auth/approle/role/testing-rotator"
    target = {"kind": "secret-id", "secret": "admin/rotator", "approle": "testing-rotator", "secret_id_file": str(file)}
    root = system.target | {"secret": "admin/root", "admin_secret": "admin/database"}
    times = {"revoke_delay": "0s"}
    namespace.config["rotation"] |= {"own": target | times, "root": root | times}
    namespace.run()
    fields = {"data": system.secrets()["database/admin"], "options": {"cas": 0}}
    namespace.ask("POST", "secret/data/testing/admin/database", fields)
    token = namespace.log_in("testing-rotator")
    for count in (1, 2):
        old = namespace.ask("POST", f"{role}/secret-id", {})["data"]
        file.write_text(old["secret_id"])
        assert rotate(namespace, token, "own") is Outcome.ROTATED
        record = namespace.secret("testing/admin/rotator")
        accessors = namespace.ask("GET", f"{role}/secret-id?list=true")["data"]["keys"]
        assert record["secret_id_accessor"] in accessors
        assert old["secret_id_accessor"] not in accessors
        assert record["rotation_count"] == count
        assert rotate(namespace, token, "root") is Outcome.ROTATED
        assert system.accepts(namespace.secret("testing/admin/root"))
        system.lose_password()
    assert rotate(namespace, token, "root") is Outcome.ROTATED
    assert system.accepts(namespace.secret("testing/admin/root"))
    system.remove()


FORBIDDEN = [
    ("GET", "secret/data/production/auth/jwt", None),
    ("POST", "secret/data/production/auth/jwt", {"data": {}}),
    ("GET", "secret/data/production/lessee/rotation/jwt", None),
    ("GET", "secret/metadata/production/lessee/consumers/?list=true", None),
    ("GET", "secret/data/testing/database/postgres", None),
    ("GET", "secret/data/testing/auth/jwtx", None),
    ("GET", "secret/data/testing/lessee/setup", None),
    ("GET", "secret/metadata/testing/?list=true", None),
    ("GET", "secret/metadata/testing/lessee/?list=true", None),
    ("POST", "secret/data/testing/cache/admin", {"data": {}}),
    ("GET", "secret/metadata/testing/cache/admin", None),
    ("DELETE", "secret/data/testing/auth/jwt", None),
    ("DELETE", "secret/metadata/testing/auth/jwt", None),
    ("POST", "secret/destroy/testing/auth/jwt", {"versions": [1]}),
    ("DELETE", "secret/metadata/testing/lessee/rotation/jwt", None),
    ("POST", f"{WEB}/forged", {"custom_metadata": {"auth/jwt": "9"}}),
    ("GET", "auth/approle/role/testing-rotator", None),
    ("POST", "auth/approle/role/testing-rotator/secret-id", {}),
    ("POST", "auth/approle/role/worker", {"token_policies": ["testing-web"]}),
    ("POST", "auth/approle/role/worker/custom-secret-id", {"secret_id": "known"}),
    ("GET", "sys/policies/acl?list=true", None),
    ("POST", "sys/policies/acl/testing-rotator", {"policy": ""}),
    ("GET", "sys/mounts", None),
    ("GET", "sys/auth", None),
    ("POST", "auth/token/create", {}),
]


def test_the_rotator_is_denied_everything_else(namespace, token):
    namespace.ask("POST", "auth/approle/role/worker", {"token_policies": []})
    allowed = [request[:2] for request in FORBIDDEN if namespace.is_allowed(*request, token=token)]
    assert allowed == []


def test_the_rotator_may_read_the_admin_s_secret_and_manage_secret_ids_of_its_role(namespace, token):
    namespace.ask("POST", "auth/approle/role/worker", {"token_policies": []})
    role = "auth/approle/role/worker"
    assert namespace.ask("GET", "secret/data/testing/cache/admin", token=token)
    assert namespace.ask("GET", role, token=token)["data"]["secret_id_num_uses"] == 0
    assert namespace.ask("GET", f"{role}/role-id", token=token)["data"]["role_id"]
    new = namespace.ask("POST", f"{role}/secret-id", {"metadata": "{}"}, token=token)["data"]
    assert namespace.ask("GET", f"{role}/secret-id?list=true", token=token)["data"]["keys"] == [
        new["secret_id_accessor"]
    ]
    assert namespace.ask("POST", f"{role}/secret-id/lookup", {"secret_id": new["secret_id"]}, token=token)
    accessor = {"secret_id_accessor": new["secret_id_accessor"]}
    assert namespace.ask("POST", f"{role}/secret-id-accessor/lookup", accessor, token=token)
    namespace.ask("POST", f"{role}/secret-id-accessor/destroy", accessor, token=token)
    assert not namespace.has("GET", f"{role}/secret-id?list=true")


def test_an_agent_may_only_confirm_for_its_own_app_and_environment(namespace):
    namespace.ask("POST", f"{WEB}/old", {"custom_metadata": {"auth/jwt": "1"}})
    token, body = namespace.log_in("testing-web"), {"custom_metadata": {"auth/jwt": "2"}}
    for method in ("POST", "POST", "DELETE"):
        assert namespace.is_allowed(method, f"{WEB}/new", body, token)
    for method, path in (
        ("POST", WEB),
        ("POST", "secret/metadata/testing/lessee/consumers/other/old"),
        ("POST", "secret/metadata/production/lessee/consumers/web/old"),
        ("DELETE", "secret/metadata/production/lessee/consumers/web/old"),
        ("POST", "secret/metadata/testing/auth/jwt"),
        ("POST", "secret/metadata/testing/lessee/rotation/jwt"),
        ("GET", "secret/data/testing/lessee/rotation/jwt"),
        ("GET", f"{WEB}/old"),
        ("GET", f"{WEB}/?list=true"),
    ):
        assert not namespace.is_allowed(method, path, body if method == "POST" else None, token), (method, path)


def test_the_agent_and_the_rotator_of_setup_work_together(namespace, token, memory):
    namespace.run("--output", "out")
    agent = Sidecar(namespace.bao.address, namespace.disk / "agent", memory)
    agent.disk.mkdir()
    agent.environ["VAULT_NAMESPACE"] = namespace.name
    agent.template("web.env.j2", (namespace.disk / "web.env.j2").read_text())
    folder = namespace.disk / "out/testing/testing-web"
    files = {f"{name}_file": str(folder / name) for name in ("role_id", "secret_id")}
    agent.config["vault"]["auth"] = {"method": "approle", **files}
    assert rotate(namespace, token) is Outcome.ROTATED
    with closing(agent):
        agent.start()
        eventually(lambda: consumers(namespace), "the confirmation")
        # From here on the agent confirms, and the rotator waits for it.
        namespace.config["rotation"]["jwt"]["confirmation_timeout"] = "30s"
        namespace.command()
        assert rotate(namespace, token) is Outcome.ROTATED
        journal = namespace.secret("testing/lessee/rotation/jwt")
        assert journal["missing"] == []
        assert len(journal["propagation_times"]) == 1
        assert agent.status()["problems"] == []
        agent.stop()
    assert consumers(namespace) == []


def test_an_environment_is_removed_with_its_confirmations(namespace, token):
    rotate(namespace, token)
    namespace.ask("POST", f"{WEB}/one", {"custom_metadata": {"auth/jwt": "1"}})
    namespace.run("--remove", "testing", "--yes")
    assert not namespace.has("GET", "secret/metadata/testing/?list=true")
    assert not namespace.has("GET", "auth/approle/role/testing-rotator")
    assert not namespace.has("GET", "sys/policies/acl/testing-rotator")
    assert namespace.has("GET", "sys/policies/acl/production-rotator")


def check_policy(namespace, memory, *arguments, token=None):
    agent = Sidecar(namespace.bao.address, namespace.disk, memory)
    agent.config = {key: value for key, value in namespace.config.items() if key != "setup"}
    agent.write_config()
    environ = {"VAULT_NAMESPACE": namespace.name} | ({"VAULT_TOKEN": token} if token else {})
    return agent.command("check", *arguments, env=environ)


def test_check_prints_what_setup_grants(namespace, memory):
    printed = check_policy(namespace, memory, "--policy", "--rotator")
    assert printed.returncode == 0, printed.stderr
    assert printed.stdout == namespace.ask("GET", "sys/policies/acl/testing-rotator")["data"]["policy"]
    assert f'path "{WEB}/*"' in check_policy(namespace, memory, "--policy").stdout


def test_an_online_check_includes_rotations_of_other_configurations(namespace, token, memory):
    rotate(namespace, token)
    del namespace.config["rotation"]["jwt"], namespace.config["rotation"]["own"]
    assert "consumers" not in check_policy(namespace, memory, "--policy").stdout
    (namespace.disk / "web.env.j2").write_text('{{ secrets("auth/") | length }}\n')
    printed = check_policy(namespace, memory, "--policy", "--online")
    assert printed.returncode == 0, printed.stderr
    assert f'path "{WEB}/*"' in printed.stdout
    namespace.ask("POST", "sys/policies/acl/blind", {"policy": 'path "secret/data/*" { capabilities = ["read"] }'})
    blind = namespace.ask("POST", "auth/token/create", {"policies": ["blind"]})["auth"]["client_token"]
    printed = check_policy(namespace, memory, "--policy", "--online", token=blind)
    assert printed.returncode == 0, printed.stderr
    assert "consumers" not in printed.stdout


def test_without_a_rotation_block_agents_may_confirm_what_another_file_rotates(namespace, memory):
    """The printed policy is enough for an agent whose configuration does not name the rotation."""
    namespace.config["rotation"] = {}
    printed = check_policy(namespace, memory, "--policy")
    assert printed.returncode == 0, printed.stderr
    namespace.ask("POST", "sys/policies/acl/printed", {"policy": printed.stdout})
    own = namespace.ask("POST", "auth/token/create", {"policies": ["printed"]})["auth"]["client_token"]
    namespace.ask("POST", f"{WEB}/host-1", {"custom_metadata": {"auth/jwt": "1"}}, token=own)
    with pytest.raises(RuntimeError):
        namespace.ask("POST", f"{WEB.replace('web', 'api')}/host-1", {"custom_metadata": {"auth/jwt": "1"}}, token=own)


def test_a_rotator_policy_needs_rotation_targets(namespace, memory):
    namespace.config["rotation"] = {}
    rejected = check_policy(namespace, memory, "--policy", "--rotator")
    assert (rejected.returncode, rejected.stdout) == (78, "")
    assert "the configuration rotates nothing; " in rejected.stderr
    assert check_policy(namespace, memory, "--rotator").returncode == 64
