"""`lessee setup` creates environments on a bare server, once, and leaves manual changes in place."""

import itertools
import subprocess
import sys

import pytest

from lessee.host.openbao import OpenBao
from support.environments.setup_namespace import AUDIT, CANARY, ENVIRONMENTS, SetupNamespace
from support.programs.forks import run_lessee
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
    return SetupNamespace(audited, f"ground{next(_NUMBERS)}", tmp_path, audited.audit)


def everything(ground):
    """Everything that setup creates without another server."""
    template = 'P={{ secret("database/postgres").password }}\n'
    (ground.disk / "web.env.j2").write_text(template)
    ground.config["apps"] = {"web": {"directory": "/dev/shm/nowhere", "files": [{"template": "web.env.j2"}]}}
    roles = {"admin_secret": "database/admin", "roles": ["simba_a", "simba_b"]}
    ground.config["rotation"] = {"postgres": {"kind": "postgres", "secret": "database/postgres", **roles}}
    roles = {"web": {"allowed_domains": ["simba.local"], "allow_subdomains": True, "max_ttl": "72h"}}
    ground.wanted["pki"] = {"common_name": "{environment} root", "roles": roles}


def test_setup_creates_three_environments_and_a_second_run_writes_nothing(ground):
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
        created = ground.secret(f"{name}/database/postgres")
        assert created["username"] == "simba"
        assert len(created["password"]) == 32
        assert created["password"].isalnum()
        assert ground.secret(f"{name}/api-keys/openrouter")["api_key"] == f"{CANARY}-openrouter"
    passwords = {ground.secret(f"{name}/database/postgres")["password"] for name in ENVIRONMENTS}
    assert len(passwords) == 3
    before, writes = ground.dump(*ENVIRONMENTS), ground.writes()
    assert writes > 50
    again = ground.run()
    assert again.stdout == "done: nothing to do\n"
    assert ground.writes() == writes
    assert ground.dump(*ENVIRONMENTS) == before


def test_the_plan_equals_the_later_changes_and_changes_nothing(ground):
    everything(ground)
    planned = ground.run("--plan").stdout.splitlines()
    assert ground.writes() == 0
    assert planned[-1].startswith("plan: ")
    assert "      password: (generated, 32 characters)" in planned
    done = ground.run().stdout.splitlines()
    assert done[:-1] == planned[:-1]
    assert ground.run("--plan").stdout == "plan: 0 changes (nothing to do)\n"


def test_manual_changes_are_printed_and_stay_until_forced(ground):
    ground.run()
    path, text = "sys/policies/acl/testing-app", 'path "secret/data/testing/one" {\n  capabilities = ["read"]\n}\n'
    ground.ask("POST", path, {"policy": text})
    ground.ask("POST", "auth/approle/role/testing-ci", {"token_ttl": "5m"})
    ground.wanted["components"]["app"] = ["read"]
    assert ground.run("--plan").stdout.endswith("plan: 2 changes (2 changed, 2 manually changed, left in place)\n")
    result = ground.run(code=75)
    assert "  ! policy testing-app: manually changed, left in place; --force overwrites it\n" in result.stdout
    assert '      -path "secret/data/testing/one" {\n' in result.stdout
    assert "      token_ttl: 5m → 1h\n" in result.stdout
    assert "2 manual changes left in place" in result.stderr
    assert ground.ask("GET", path)["data"]["policy"] == text
    # The objects that setup wrote follow the configuration.
    assert '"list"' not in ground.ask("GET", "sys/policies/acl/production-app")["data"]["policy"]
    ground.run(code=75)
    ground.run("--force")
    assert ground.ask("GET", "auth/approle/role/testing-ci")["data"]["token_ttl"] == 3600
    assert "secret/data/testing/*" in ground.ask("GET", path)["data"]["policy"]
    assert ground.run().stdout == "done: nothing to do\n"


def test_objects_older_than_setup_count_as_manual_changes(ground):
    ground.ask("POST", "sys/policies/acl/production-app", {"policy": "# ours\n"})
    result = ground.run(code=75)
    assert "policy production-app: manually changed" in result.stdout
    assert ground.ask("GET", "sys/policies/acl/production-app")["data"]["policy"] == "# ours\n"


def test_objects_no_longer_configured_are_removed_once_confirmed(ground):
    ground.run()
    ground.ask("POST", "sys/policies/acl/testing-ci", {"policy": "# manual\n"})
    del ground.wanted["components"]["ci"]
    result = ground.run("--yes", code=75)
    assert "  - role production-ci: no longer in the configuration\n" in result.stdout
    assert "policy testing-ci: no longer in the configuration, but manually changed" in result.stdout
    assert not ground.has("GET", "auth/approle/role/testing-ci")
    assert not ground.has("GET", "sys/policies/acl/production-ci")
    assert ground.has("GET", "sys/policies/acl/testing-ci")
    ground.run("--force", code=75)
    assert ground.has("GET", "sys/policies/acl/testing-ci")
    ground.run("--force", "--yes")
    assert not ground.has("GET", "sys/policies/acl/testing-ci")
    assert ground.run().stdout == "done: nothing to do\n"


def test_a_second_configuration_removes_nothing_of_the_first_one(ground):
    """An operator who runs setup with another service's file must not take the logins of running apps."""
    ground.run()
    before = ground.dump(*ENVIRONMENTS)
    first = ground.config
    second = {"environments": ["production"], "components": {"reports": ["read"]}}
    ground.config = {"vault": first["vault"], "setup": second}
    planned = ground.run("--plan").stdout
    assert "  ! role production-app: not in this configuration, left in place; --yes removes it\n" in planned
    assert planned.endswith("plan: 2 changes (2 new, 8 not in this configuration, left in place)\n")
    done = ground.run(code=75)
    what = "8 objects that this configuration does not have left in place (marked with !)"
    assert f"{what}; run setup with the file that has them, or use --yes to remove them" in done.stderr
    after = ground.dump(*ENVIRONMENTS)
    assert before["roles"].items() <= after["roles"].items()
    assert before["policies"].items() <= after["policies"].items()
    assert "production-reports" in after["roles"]
    # The first one continues to own what it created, and leaves the second one's.
    ground.config = first
    assert "role production-reports: not in this configuration" in ground.run(code=75).stdout
    assert ground.dump(*ENVIRONMENTS)["roles"] == after["roles"]


@pytest.mark.thorough
def test_at_a_terminal_the_removal_is_asked_for_with_its_list(ground):
    ground.run()
    del ground.wanted["components"]["ci"]
    for typed, stays in (("no", True), ("yes", False)):
        terminal = Terminal(*ground.command("setup"), cwd=ground.disk, env=ground.environ)
        try:
            listed = terminal.until("type yes to remove all of them")
            terminal.type(f"{typed}\n")
            terminal.until("done: ")
            assert terminal.end() == (75 if stays else 0)
        finally:
            terminal.close()
        assert "role testing-ci: no longer in the configuration" in listed
        assert bool(ground.has("GET", "auth/approle/role/testing-ci")) is stays


def test_after_a_first_rotation_that_creates_its_secrets_there_is_nothing_to_do(ground):
    soon = {"confirmation_timeout": "1s", "revoke_delay": "0s"}
    ground.config["environment"] = "testing"
    ground.config["rotation"] = {
        "own": {"kind": "vault", "secret": "auth/own", "keys": {"key": {}}, **soon},
        "ssh": {"kind": "ssh-key", "secret": "ssh/deploy", "verifier_secret": "ssh/servers", **soon},
    }
    ground.run()
    rotator = ground.environ | {"VAULT_TOKEN": ground.log_in("testing-rotator")}
    done = run_lessee("rotate", "--all", cwd=ground.disk, env=rotator)
    assert done.returncode == 0, done.stderr
    assert ground.secret("testing/ssh/servers")["authorized_keys"]
    assert ground.run().stdout == "done: nothing to do\n"


def test_a_file_without_the_block_sets_up_nothing(ground):
    """Its environments would be the four defaults."""
    del ground.config["setup"]
    for words in ([], ["--plan"]):
        said = ground.run(*words, code=78).stderr
        assert "it has no `setup:` block, so it does not say which environments to set up; name the file" in said
    assert ground.writes() == 0


def test_a_placeholder_is_warned_of_without_its_value(ground):
    for words in (["--plan"], []):
        said = ground.run(*words, OPENROUTER_API_KEY="your_openrouter_key")
        what = "secret/testing/api-keys/openrouter: api_key is a placeholder; `lessee validate` reports it until"
        assert f"lessee: warning: {what} `lessee set` replaces it" in said.stderr
        assert "your_openrouter_key" not in said.stdout + said.stderr
    assert "warning" not in ground.run().stderr


def test_existing_values_never_change_and_missing_keys_are_added(ground):
    ground.ask("POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})
    eventually(lambda: ground.has("GET", "secret/config"), "the engine")
    ground.ask("POST", "secret/data/testing/database/postgres", {"data": {"password": "mine", "port": 5432}})
    ground.ask("POST", "secret/data/production/api-keys/openrouter", {"data": {"api_key": "old"}})
    ground.ask("DELETE", "secret/data/production/api-keys/openrouter")
    result = ground.run(code=75)
    assert ground.secret("testing/database/postgres") == {"password": "mine", "port": 5432, "username": "simba"}
    assert "  ~ secret secret/testing/database/postgres\n      username: (from the configuration)\n" in result.stdout
    assert "secret/production/api-keys/openrouter: its newest version is deleted" in result.stdout
    ground.run("--force")
    assert ground.secret("testing/database/postgres")["password"] == "mine"
    assert ground.secret("production/api-keys/openrouter")["api_key"] == f"{CANARY}-openrouter"


def test_a_version_with_a_future_deletion_time_counts_as_existing(ground):
    ground.ask("POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})
    eventually(lambda: ground.has("GET", "secret/config"), "the engine")
    ground.ask("POST", "secret/config", {"delete_version_after": "1h"})
    ground.ask("POST", "secret/data/testing/database/postgres", {"data": {"password": "mine"}})
    for words in ([], ["--force"]):
        ground.run(*words)
        assert ground.secret("testing/database/postgres") == {"password": "mine", "username": "simba"}


def test_numbers_and_structures_keep_their_types(ground):
    values = {
        "port": {"value": "5432", "json": True},
        "hosts": {"env": "HOSTS", "json": True},
        "text": {"value": "5432"},
    }
    ground.wanted.update(environments=["testing"], secrets={"a/b": values})
    ground.environ["HOSTS"] = '["canary-a",'
    for words in (["--plan"], []):
        wrong = ground.run(*words, code=78)
        assert "a/b: hosts: the value is not JSON, line 1 column 13" in wrong.stderr
        assert "canary" not in wrong.stdout + wrong.stderr
    assert not ground.has("GET", "sys/policies/acl/testing-app")
    ground.environ["HOSTS"] = '["a", {"b": 1.5}]'
    ground.run()
    assert ground.secret("testing/a/b") == {"port": 5432, "hosts": ["a", {"b": 1.5}], "text": "5432"}


def test_a_folder_that_cannot_be_written_is_an_error_before_the_first_write(ground):
    ground.wanted.update(environments=["testing"])
    (ground.disk / "file").write_text("")
    refused = ground.run("--output", "file/logins", code=73)
    assert "file" in refused.stderr
    assert not ground.has("GET", "sys/policies/acl/testing-app")


def test_values_from_files_variables_and_the_terminal_are_never_printed(ground):
    values = {
        "file": {"file": "{environment}.txt"},
        "env": {"env": "KEY_{environment}"},
        "typed": {"prompt": True},
        "pin": {"generate": 6, "charset": "01"},
    }
    ground.wanted.update(environments=["testing"], secrets={"a/b": values})
    (ground.disk / "testing.txt").write_text(f"{CANARY}-file\n")
    environ = ground.environ | {"KEY_testing": f"{CANARY}-env"}
    planned = ground.run("--plan", code=78)
    assert "      typed: (typed at a prompt)\n" in planned.stdout
    assert "a/b: env: $KEY_testing is not set or empty; set it for this command" in planned.stderr
    assert "a/b: typed" not in planned.stderr, "nothing is asked for"
    missing = ground.run(code=78).stderr
    assert "a/b: env: $KEY_testing is not set or empty; set it for this command" in missing
    unfit = ground.environ | {"KEY_testing": "\udcff"}
    done = subprocess.run(ground.command("setup"), cwd=ground.disk, env=unfit, capture_output=True, check=False)
    assert b"a/b: env: the value is not UTF-8 text" in done.stderr
    assert "a/b: typed: the value must be typed, and there is no terminal; run it in a terminal" in missing
    for is_interrupted in (False, True):
        terminal = Terminal(*ground.command("setup"), cwd=ground.disk, env=environ)
        try:
            terminal.until("secret/testing/a/b: typed = ")
            if is_interrupted:
                assert terminal.interrupt() == 130
            else:
                terminal.type("\x04")
                terminal.until("typed: no value was typed")
                assert terminal.end() == 78
        finally:
            terminal.close()
    assert not ground.has("GET", "sys/policies/acl/testing-app")
    terminal = Terminal(*ground.command("setup"), cwd=ground.disk, env=environ)
    try:
        terminal.until("secret/testing/a/b: typed = ")
        terminal.type(f"{CANARY}-typed\n")
        printed = terminal.until("done: ")
        assert terminal.end() == 0
    finally:
        terminal.close()
    assert CANARY not in printed
    created = ground.secret("testing/a/b")
    assert set(created.pop("pin")) <= {"0", "1"}
    assert created == {key: f"{CANARY}-{key}" for key in ("file", "env", "typed")}


def test_characters_that_the_terminal_cannot_encode_are_escaped(ground):
    ground.run()
    ground.wanted["components"]["ci"] = {"capabilities": ["read"], "token_ttl": "5m"}
    assert "token_ttl: 1h \\u2192 5m\n" in ground.run(PYTHONIOENCODING="latin-1").stdout
    assert ground.run().stdout == "done: nothing to do\n"


def test_no_output_contains_a_value(ground):
    everything(ground)
    ground.wanted["secrets"]["given"] = {"key": {"file": "given"}}
    (ground.disk / "given").write_text(f"{CANARY}-given")
    output = [
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
    text = "".join(done.stdout + done.stderr for done in output)
    assert len(text) > 10_000
    assert not [value for value in values if value in text]


def test_rotated_secrets_require_check_and_set(ground):
    ground.config["rotation"] = {
        "postgres": {"kind": "redis", "secret": "database/postgres", "admin_secret": "database/admin", "user": "app"},
        "later": {"kind": "s3", "secret": "storage/minio", "admin_secret": "storage/admin", "user": "simba"},
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


def test_only_sets_up_a_part(ground):
    ground.run("--only", "environment=testing", "policies")
    assert set(ground.ask("GET", "sys/policies/acl?list=true")["data"]["keys"]) >= {"testing-app", "testing-ci"}
    assert not ground.has("GET", "sys/policies/acl/production-app")
    assert not ground.has("GET", "auth/approle/role/testing-app")
    ground.run("--only", "environment=testing")
    assert ground.has("GET", "auth/approle/role/testing-app")
    assert not ground.has("GET", "secret/metadata/production/lessee/setup")
    unknown = ground.run("--only", "environment=staging", code=64).stderr
    assert "use one of: mounts, audit, policies," in unknown


def test_the_sidecar_does_not_import_setup():
    program = (
        "import sys, lessee.cli.commands.run; print([name for name in sys.modules if name.startswith('lessee.ops')])"
    )
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert output.stdout == "[]\n"
