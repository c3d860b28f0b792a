"""The rotator that `lessee setup` makes rotates what is configured, agents confirm it, and neither can do more."""

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
from support.systems.postgres import LoginRoles

_NUMBERS = itertools.count()
WEB = "secret/metadata/testing/lessee/consumers/web"


@pytest.fixture
def ground(bao, tmp_path):
    name = f"rotator{next(_NUMBERS)}"
    ground = SetupNamespace(bao, name, tmp_path)
    ground.wanted.update(environments=["testing", "production"], components={})
    ground.config["rotation"] = {
        "jwt": {
            "kind": "vault",
            "secret": "auth/jwt",
            "keys": {"secret": {"previous_key": "old"}},
            "confirmation_timeout": "1s",
            "revoke_delay": "0s",
        },
        "own": {"kind": "vault", "secret": "auth/own", "approle": "worker"},
        "cache": {"kind": "redis", "secret": "cache/redis", "admin_secret": "cache/admin"},
    }
    (tmp_path / "web.env.j2").write_text('SECRET={{ secret("auth/jwt").secret }}\n')
    ground.config["apps"] = {
        "web": {"directory": str(tmp_path / "web"), "allow_disk": True, "files": [{"template": "web.env.j2"}]}
    }
    ground.run()
    for environment in ("testing", "production"):
        for path in ("auth/jwt", "cache/redis", "cache/admin"):
            ground.ask(
                "POST", f"secret/data/{environment}/{path}", {"data": {"secret": "first"}, "options": {"cas": 0}}
            )
    yield ground
    bao.ask("DELETE", f"sys/namespaces/{name}")


@pytest.fixture
def token(ground):
    return ground.log_in("testing-rotator")


def rotate(ground, token, name="jwt"):
    path = ground.disk / "lessee.yaml"
    environ = {"VAULT_TOKEN": token, "VAULT_NAMESPACE": ground.name}
    config = read(path, environ, environment="testing", blocks=("rotation",))
    project = Project(config, path, environ, Redactor())
    with admin_client(config.vault, environ, time.monotonic) as client, open_rotation(project, name, client) as one:
        return one.run(force=True)


def metadata(ground, path):
    return ground.ask("GET", f"secret/metadata/testing/{path}")["data"]


def consumers(ground):
    found = ground.has("GET", f"{WEB}?list=true")
    return found["data"]["keys"] if found else []


def test_it_rotates_from_the_beginning_to_the_end_and_setup_has_nothing_to_say_to_that(ground, token):
    ground.run()  # Of the secrets that are there by now.
    ground.ask("POST", f"{WEB}/gone", {"custom_metadata": {"auth/jwt": "1"}})
    assert rotate(ground, token) is Outcome.ROTATED
    secret = ground.secret("testing/auth/jwt")
    assert (secret["old"], secret["rotation_count"], len(secret["secret"])) == ("first", 1, 48)
    assert metadata(ground, "auth/jwt")["custom_metadata"]["rotation_count"] == "1"
    journal = metadata(ground, "lessee/rotation/jwt")
    assert (journal["cas_required"], journal["max_versions"], len(journal["versions"])) == (True, 1, 1)
    assert consumers(ground) == [], "who did not answer is forgotten"
    assert rotate(ground, token) is Outcome.ROTATED
    assert ground.run().stdout == "done: nothing to do\n"
    assert metadata(ground, "lessee/rotation/jwt")["max_versions"] == 1


def test_a_database_s_roles_are_rotated_from_the_beginning_to_the_end(ground, postgres):
    system = LoginRoles(postgres)
    ground.config["rotation"]["database"] = {
        **system.target,
        "secret": "db/postgres",
        "admin_secret": "db/admin",
        "confirmation_timeout": "1s",
        "revoke_delay": "0s",
    }
    ground.run()
    for path, fields in system.secrets().items():
        own = path.replace("database/", "db/")  # In the other folder setup has made a secret.
        ground.ask("POST", f"secret/data/testing/{own}", {"data": fields, "options": {"cas": 0}})
    token = ground.log_in("testing-rotator")
    for count in (1, 2):
        before = ground.secret("testing/db/postgres")
        assert rotate(ground, token, "database") is Outcome.ROTATED
        after = ground.secret("testing/db/postgres")
        assert (system.accepts(before), system.accepts(after), after["rotation_count"]) == (False, True, count)
        told = metadata(ground, "db/postgres")["custom_metadata"]
        assert len(told["rotation_history"].split()) == count


def test_a_role_s_secret_id_is_rotated_from_the_beginning_to_the_end(ground, token):
    ground.ask("POST", "auth/approle/role/worker", {"token_policies": []})
    role_id = ground.ask("GET", "auth/approle/role/worker/role-id", token=token)["data"]["role_id"]
    ground.config["rotation"]["own"] |= {"confirmation_timeout": "1s", "revoke_delay": "0s"}
    path = "testing/auth/own"
    ground.ask("POST", f"secret/data/{path}", {"data": {"role_id": role_id}, "options": {"cas": 0}})
    ground.run()
    for count in (1, 2):
        assert rotate(ground, token, "own") is Outcome.ROTATED
        secret = ground.secret(path)
        assert (secret["role_id"], secret["rotation_count"]) == (role_id, count)
        body = {"role_id": role_id, "secret_id": secret["secret_id"]}
        assert ground.ask("POST", "auth/approle/login", body, token="")["auth"]["client_token"]
        assert len(ground.ask("GET", "auth/approle/role/worker/secret-id?list=true")["data"]["keys"]) == 1
        told = metadata(ground, "auth/own")["custom_metadata"]
        assert len(told["rotation_history"].split()) == count


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


def test_whatever_else_it_asks_for_is_refused(ground, token):
    ground.ask("POST", "auth/approle/role/worker", {"token_policies": []})
    allowed = [one[:2] for one in FORBIDDEN if ground.is_allowed(*one, token=token)]
    assert allowed == []


def test_it_may_read_the_admin_s_secret_and_make_and_end_secret_ids_of_the_named_role(ground, token):
    ground.ask("POST", "auth/approle/role/worker", {"token_policies": []})
    role = "auth/approle/role/worker"
    assert ground.ask("GET", "secret/data/testing/cache/admin", token=token)
    assert ground.ask("GET", role, token=token)["data"]["secret_id_num_uses"] == 0
    assert ground.ask("GET", f"{role}/role-id", token=token)["data"]["role_id"]
    made = ground.ask("POST", f"{role}/secret-id", {"metadata": "{}"}, token=token)["data"]
    assert ground.ask("GET", f"{role}/secret-id?list=true", token=token)["data"]["keys"] == [made["secret_id_accessor"]]
    assert ground.ask("POST", f"{role}/secret-id/lookup", {"secret_id": made["secret_id"]}, token=token)
    accessor = {"secret_id_accessor": made["secret_id_accessor"]}
    assert ground.ask("POST", f"{role}/secret-id-accessor/lookup", accessor, token=token)
    ground.ask("POST", f"{role}/secret-id-accessor/destroy", accessor, token=token)
    assert not ground.has("GET", f"{role}/secret-id?list=true")


def test_an_agent_may_confirm_for_its_own_app_in_its_own_environment_and_read_nothing_there(ground):
    ground.ask("POST", f"{WEB}/old", {"custom_metadata": {"auth/jwt": "1"}})
    token, body = ground.log_in("testing-web"), {"custom_metadata": {"auth/jwt": "2"}}
    for method in ("POST", "POST", "DELETE"):
        assert ground.is_allowed(method, f"{WEB}/new", body, token)
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
        assert not ground.is_allowed(method, path, body if method == "POST" else None, token), (method, path)


def test_agent_and_rotator_as_setup_made_them_work_together(ground, token, memory):
    ground.run("--output", "out")
    agent = Sidecar(ground.bao.address, ground.disk / "agent", memory)
    agent.disk.mkdir()
    agent.environ["VAULT_NAMESPACE"] = ground.name
    agent.template("web.env.j2", (ground.disk / "web.env.j2").read_text())
    folder = ground.disk / "out/testing/testing-web"
    files = {f"{name}_file": str(folder / name) for name in ("role_id", "secret_id")}
    agent.config["vault"]["auth"] = {"method": "approle", **files}
    assert rotate(ground, token) is Outcome.ROTATED
    with closing(agent):
        agent.start()
        eventually(lambda: consumers(ground), "the confirmation")
        # From here on somebody confirms, and is waited for.
        ground.config["rotation"]["jwt"]["confirmation_timeout"] = "30s"
        ground.command()
        assert rotate(ground, token) is Outcome.ROTATED
        journal = ground.secret("testing/lessee/rotation/jwt")
        assert journal["missing"] == []
        assert len(journal["propagation_times"]) == 1
        assert agent.status()["problems"] == []
        agent.stop()
    assert consumers(ground) == []


def test_an_environment_is_removed_with_what_was_confirmed_there(ground, token):
    rotate(ground, token)
    ground.ask("POST", f"{WEB}/one", {"custom_metadata": {"auth/jwt": "1"}})
    ground.run("--remove", "testing", "--yes")
    assert not ground.has("GET", "secret/metadata/testing/?list=true")
    assert not ground.has("GET", "auth/approle/role/testing-rotator")
    assert not ground.has("GET", "sys/policies/acl/testing-rotator")
    assert ground.has("GET", "sys/policies/acl/production-rotator")


def check(ground, memory, *arguments, token=None):
    agent = Sidecar(ground.bao.address, ground.disk, memory)
    agent.config = {key: value for key, value in ground.config.items() if key != "setup"}
    agent.write_config()
    environ = {"VAULT_NAMESPACE": ground.name} | ({"VAULT_TOKEN": token} if token else {})
    return agent.command("check", *arguments, env=environ)


def test_check_prints_what_setup_grants(ground, memory):
    printed = check(ground, memory, "--policy", "--rotator")
    assert printed.returncode == 0, printed.stderr
    assert printed.stdout == ground.ask("GET", "sys/policies/acl/testing-rotator")["data"]["policy"]
    assert f'path "{WEB}/*"' in check(ground, memory, "--policy").stdout


def test_online_it_knows_what_another_configuration_rotates(ground, token, memory):
    rotate(ground, token)
    ground.config["rotation"] = {}
    assert "consumers" not in check(ground, memory, "--policy").stdout
    (ground.disk / "web.env.j2").write_text('{{ secrets("auth/") | length }}\n')
    printed = check(ground, memory, "--policy", "--online")
    assert printed.returncode == 0, printed.stderr
    assert f'path "{WEB}/*"' in printed.stdout
    ground.ask("POST", "sys/policies/acl/blind", {"policy": 'path "secret/data/*" { capabilities = ["read"] }'})
    blind = ground.ask("POST", "auth/token/create", {"policies": ["blind"]})["auth"]["client_token"]
    printed = check(ground, memory, "--policy", "--online", token=blind)
    assert printed.returncode == 0, printed.stderr
    assert "consumers" not in printed.stdout


def test_it_says_what_to_do_where_nothing_is_rotated(ground, memory):
    ground.config["rotation"] = {}
    refused = check(ground, memory, "--policy", "--rotator")
    assert (refused.returncode, refused.stdout) == (78, "")
    assert "it rotates nothing; add `rotation:`, or leave --rotator out" in refused.stderr
    assert check(ground, memory, "--rotator").returncode == 64
