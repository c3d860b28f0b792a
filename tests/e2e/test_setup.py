"""`lessee setup` makes environments on a bare server, once, and leaves what somebody changed by hand."""

import itertools
import subprocess
import sys

import pytest

from lessee.host.openbao import OpenBao
from support.environments.setup_namespace import AUDIT, CANARY, ENVIRONMENTS, Ground
from support.programs.sidecar import eventually
from support.programs.terminal import Terminal

_NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    folder = tmp_path_factory.mktemp("setup")
    with OpenBao(folder, config=AUDIT % (folder / "audit.log")) as bao:
        bao.audit = folder / "audit.log"
        yield bao


@pytest.fixture
def ground(audited, tmp_path):
    return Ground(audited, f"ground{next(_NUMBERS)}", tmp_path, audited.audit)


def everything(ground):
    """All that can be set up without another server."""
    template = 'P={{ secret("database/postgres").password }}\n'
    (ground.disk / "web.env.j2").write_text(template)
    ground.config["apps"] = {"web": {"directory": "/dev/shm/nowhere", "files": [{"template": "web.env.j2"}]}}
    roles = {"admin": "database/admin", "roles": ["simba_a", "simba_b"]}
    ground.config["rotation"] = {"postgres": {"kind": "postgres", "secret": "database/postgres", **roles}}
    roles = {"web": {"allowed_domains": ["simba.local"], "allow_subdomains": True, "max_ttl": "72h"}}
    ground.wanted["pki"] = {"common_name": "{environment} root", "roles": roles}


def test_three_environments_on_a_bare_server_and_a_second_run_writes_nothing(ground):
    everything(ground)
    assert "done: " in ground.run().stdout
    policies = ground.ask("GET", "sys/policies/acl?list=true")["data"]["keys"]
    roles = ground.ask("GET", "auth/approle/role?list=true")["data"]["keys"]
    names = {
        f"{name}-{of}" for name in ENVIRONMENTS for of in ("app", "database-admin", "security", "ci", "web", "rotator")
    }
    assert set(roles) == names <= set(policies)
    for name in ENVIRONMENTS:
        assert ground.ask("GET", f"auth/approle/role/{name}-app")["data"]["token_policies"] == [f"{name}-app"]
        made = ground.secret(f"{name}/database/postgres")
        assert made["username"] == "simba"
        assert len(made["password"]) == 32
        assert made["password"].isalnum()
        assert ground.secret(f"{name}/api-keys/openrouter")["api_key"] == f"{CANARY}-openrouter"
    passwords = {ground.secret(f"{name}/database/postgres")["password"] for name in ENVIRONMENTS}
    assert len(passwords) == 3
    before, writes = ground.dump(*ENVIRONMENTS), ground.writes()
    assert writes > 50
    again = ground.run()
    assert again.stdout == "done: nothing to do\n"
    assert ground.writes() == writes
    assert ground.dump(*ENVIRONMENTS) == before


def test_the_plan_is_what_is_then_done_and_changes_nothing(ground):
    everything(ground)
    planned = ground.run("--plan").stdout.splitlines()
    assert ground.writes() == 0
    assert planned[-1].startswith("plan: ")
    assert "      password: (new, 32 characters)" in planned
    done = ground.run().stdout.splitlines()
    assert done[:-1] == planned[:-1]
    assert ground.run("--plan").stdout == "plan: 0 changes (nothing to do)\n"


def test_what_somebody_changed_by_hand_is_shown_and_left_until_it_is_forced(ground):
    ground.run()
    path, text = "sys/policies/acl/testing-app", 'path "secret/data/testing/one" {\n  capabilities = ["read"]\n}\n'
    ground.ask("POST", path, {"policy": text})
    ground.ask("POST", "auth/approle/role/testing-ci", {"token_ttl": "5m"})
    ground.wanted["components"]["app"] = ["read"]
    assert ground.run("--plan").stdout.endswith("plan: 2 changes (2 changed, 2 changed by hand and left)\n")
    held = ground.run(code=75)
    assert "  ! policy testing-app: changed by hand, and left; --force overwrites it\n" in held.stdout
    assert '      -path "secret/data/testing/one" {\n' in held.stdout
    assert "      token_ttl: 5m → 1h\n" in held.stdout
    assert "2 things changed by hand, and left" in held.stderr
    assert ground.ask("GET", path)["data"]["policy"] == text
    # What was setup's own has followed the configuration.
    assert '"list"' not in ground.ask("GET", "sys/policies/acl/production-app")["data"]["policy"]
    ground.run(code=75)
    ground.run("--force")
    assert ground.ask("GET", "auth/approle/role/testing-ci")["data"]["token_ttl"] == 3600
    assert "secret/data/testing/*" in ground.ask("GET", path)["data"]["policy"]
    assert ground.run().stdout == "done: nothing to do\n"


def test_what_was_there_before_counts_as_by_hand(ground):
    ground.ask("POST", "sys/policies/acl/production-app", {"policy": "# ours\n"})
    held = ground.run(code=75)
    assert "policy production-app: changed by hand" in held.stdout
    assert ground.ask("GET", "sys/policies/acl/production-app")["data"]["policy"] == "# ours\n"


def test_what_is_not_in_the_configuration_any_more_goes(ground):
    ground.run()
    ground.ask("POST", "sys/policies/acl/testing-ci", {"policy": "# by hand\n"})
    del ground.wanted["components"]["ci"]
    held = ground.run(code=75)
    assert "  - role production-ci: it is not in the configuration any more\n" in held.stdout
    assert "policy testing-ci: not in the configuration any more, but changed by hand" in held.stdout
    assert not ground.has("GET", "auth/approle/role/testing-ci")
    assert not ground.has("GET", "sys/policies/acl/production-ci")
    assert ground.has("GET", "sys/policies/acl/testing-ci")
    ground.run("--force")
    assert not ground.has("GET", "sys/policies/acl/testing-ci")
    assert ground.run().stdout == "done: nothing to do\n"


def test_a_value_that_is_there_is_never_changed_and_a_key_that_is_not_is_added(ground):
    ground.ask("POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})
    eventually(lambda: ground.has("GET", "secret/config"), "the engine")
    ground.ask("POST", "secret/data/testing/database/postgres", {"data": {"password": "mine", "port": 5432}})
    ground.ask("POST", "secret/data/production/api-keys/openrouter", {"data": {"api_key": "old"}})
    ground.ask("DELETE", "secret/data/production/api-keys/openrouter")
    held = ground.run(code=75)
    assert ground.secret("testing/database/postgres") == {"password": "mine", "port": 5432, "username": "simba"}
    assert "  ~ secret secret/testing/database/postgres\n      username: (as configured)\n" in held.stdout
    assert "secret/production/api-keys/openrouter: its newest version was deleted" in held.stdout
    ground.run("--force")
    assert ground.secret("testing/database/postgres")["password"] == "mine"
    assert ground.secret("production/api-keys/openrouter")["api_key"] == f"{CANARY}-openrouter"


def test_a_version_that_will_be_deleted_one_day_is_there_until_then(ground):
    ground.ask("POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})
    eventually(lambda: ground.has("GET", "secret/config"), "the engine")
    ground.ask("POST", "secret/config", {"delete_version_after": "1h"})
    ground.ask("POST", "secret/data/testing/database/postgres", {"data": {"password": "mine"}})
    for words in ([], ["--force"]):
        ground.run(*words)
        assert ground.secret("testing/database/postgres") == {"password": "mine", "username": "simba"}


def test_values_come_from_files_variables_and_the_terminal_and_are_never_shown(ground):
    values = {
        "file": {"file": "{environment}.txt"},
        "env": {"env": "KEY_{environment}"},
        "typed": {"prompt": True},
        "pin": {"generate": 6, "alphabet": "01"},
    }
    ground.wanted.update(environments=["testing"], secrets={"a/b": values})
    (ground.disk / "testing.txt").write_text(f"{CANARY}-file\n")
    environ = ground.environ | {"KEY_testing": f"{CANARY}-env"}
    assert "      typed: (asked for)\n" in ground.run("--plan").stdout
    missing = ground.run(code=78).stderr
    assert "a/b: env: $KEY_testing is not set, or empty; set it for this command" in missing
    unfit = ground.environ | {"KEY_testing": "\udcff"}
    done = subprocess.run(ground.command("setup"), cwd=ground.disk, env=unfit, capture_output=True, check=False)
    assert b"a/b: env: the value is not UTF-8 text" in done.stderr
    assert "a/b: typed: it is asked for, and there is no terminal; run it at one" in missing
    for key, describe, code in (("\x04", "typed: nothing was typed", 78), ("\x03", None, 130)):
        terminal = Terminal(*ground.command("setup"), cwd=ground.disk, env=environ)
        try:
            terminal.until("secret/testing/a/b: typed = ")
            terminal.type(key)
            if describe is not None:
                terminal.until(describe)
            assert terminal.process.wait(10) == code
        finally:
            terminal.close()
    assert not ground.has("GET", "sys/policies/acl/testing-app")
    terminal = Terminal(*ground.command("setup"), cwd=ground.disk, env=environ)
    try:
        terminal.until("secret/testing/a/b: typed = ")
        terminal.type(f"{CANARY}-typed\n")
        shown = terminal.until("done: ")
        assert terminal.process.wait(10) == 0
    finally:
        terminal.close()
    assert CANARY not in shown
    made = ground.secret("testing/a/b")
    assert set(made.pop("pin")) <= {"0", "1"}
    assert made == {key: f"{CANARY}-{key}" for key in ("file", "env", "typed")}


def test_a_terminal_that_cannot_spell_what_it_is_told_stops_nothing(ground):
    ground.run()
    ground.wanted["components"]["ci"] = {"rights": ["read"], "token_ttl": "5m"}
    assert "token_ttl: 1h \\u2192 5m\n" in ground.run(PYTHONIOENCODING="latin-1").stdout
    assert ground.run().stdout == "done: nothing to do\n"


def test_no_value_is_in_anything_that_is_said(ground):
    everything(ground)
    ground.wanted["secrets"]["given"] = {"key": {"file": "given"}}
    (ground.disk / "given").write_text(f"{CANARY}-given")
    said = [
        ground.run("--plan"),
        ground.run("--output", "out"),
        ground.run("--force"),
        ground.run("--remove", "testing", "--yes"),
    ]
    values = {CANARY}
    for name in ("development", "production"):
        values.add(ground.secret(f"{name}/database/postgres")["password"])
        for file in (ground.disk / "out" / name).rglob("secret_id"):
            values.add(file.read_text())
    assert len(values) == 15
    text = "".join(one.stdout + one.stderr for one in said)
    assert len(text) > 10_000
    assert not [value for value in values if value in text]


def test_what_rotation_writes_wants_check_and_set(ground):
    ground.config["rotation"] = {
        "postgres": {"kind": "redis", "secret": "database/postgres", "admin": "database/admin"},
        "later": {"kind": "s3", "secret": "storage/minio", "admin": "storage/admin", "user": "simba"},
    }
    ground.run()
    path = "secret/{}/testing/database/postgres"
    assert ground.ask("GET", path.format("metadata"))["data"]["cas_required"]
    with pytest.raises(RuntimeError, match="400"):
        ground.ask("POST", path.format("data"), {"data": {"password": "blind"}})
    for target in ("postgres", "later"):
        assert ground.ask("GET", f"secret/metadata/testing/lessee/rotation/{target}")["data"]["cas_required"]
    assert not ground.has("GET", "secret/metadata/testing/storage/minio")
    ground.ask("POST", "secret/data/testing/storage/minio", {"data": {"a": "b"}})
    ground.run()
    assert ground.ask("GET", "secret/metadata/testing/storage/minio")["data"]["cas_required"]


def test_one_may_set_up_a_part_alone(ground):
    ground.run("--only", "environment=testing", "policies")
    assert set(ground.ask("GET", "sys/policies/acl?list=true")["data"]["keys"]) >= {"testing-app", "testing-ci"}
    assert not ground.has("GET", "sys/policies/acl/production-app")
    assert not ground.has("GET", "auth/approle/role/testing-app")
    ground.run("--only", "environment=testing")
    assert ground.has("GET", "auth/approle/role/testing-app")
    assert not ground.has("GET", "secret/metadata/production/lessee/setup")
    unknown = ground.run("--only", "environment=staging", code=64).stderr
    assert "there are: mounts, audit, policies," in unknown


def test_a_start_of_the_sidecar_loads_nothing_of_it():
    program = "import sys, lessee.cli.commands.run; print([name for name in sys.modules if '.setup' in name])"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert said.stdout == "['lessee.config.grammar.setup']\n"
