"""`lessee emergency` revokes all access to an environment, and other environments keep theirs."""

import json
import os
import pty
import re
import signal
import stat
import subprocess
import time
from contextlib import suppress

import psycopg
import pytest

from lessee.host.openbao import ROOT_TOKEN
from lessee.ops.rotate.policy import journal
from lessee.ops.rotate.policy.journal import Journal, Step
from support.environments.leak import CANARY, ENVIRONMENTS, LeakScenario, attack, is_alive
from support.full_disk import starting_with_a_full_disk
from support.paths import ROOT
from support.programs.sidecar import Sidecar, eventually, pass_by
from support.programs.terminal import as_by_a_person
from support.servers.fault_proxy import Delay, Fault, Proxy

PAGE = ROOT / "docs/how-to/operations/new-server.md"
NOTHING = ([], 0, 0, [])


@pytest.fixture
def scenario(tmp_path, postgres):
    with LeakScenario(tmp_path, postgres) as scenario:
        yield scenario


@pytest.mark.thorough
def test_an_emergency_revokes_all_access_to_one_environment_only(scenario):
    for environment in ENVIRONMENTS:
        scenario.database(environment)
    held = {environment: attack(scenario, environment) for environment in ENVIRONMENTS}
    leased = {environment: scenario.leased(environment, held[environment][1]["token"]) for environment in ENVIRONMENTS}
    both = scenario.token("production-app", "testing-app")
    static = {environment: scenario.static(environment) for environment in ENVIRONMENTS}
    result = scenario.emergency("--yes")
    secret_id, tokens = held["production"]
    assert {name: is_alive(scenario, token) for name, token in tokens.items()} == dict.fromkeys(tokens, False)
    assert not is_alive(scenario, both)
    with pytest.raises(RuntimeError, match="400"):
        scenario.log_in("production-app", secret_id)
    assert scenario.left() == NOTHING
    assert not scenario.postgres.can_log_in(leased["production"]["username"], leased["production"]["password"])
    assert scenario.static("production") != static["production"]
    for environment in ENVIRONMENTS[1:]:
        secret_id, tokens = held[environment]
        assert all(is_alive(scenario, token) for token in tokens.values())
        assert scenario.reads(tokens["child"], environment)
        assert scenario.log_in(f"{environment}-app", secret_id)
        assert scenario.users(environment) == [leased[environment]["username"]]
        assert scenario.static(environment) == static[environment]
    assert "NOT DONE" not in result.stdout
    assert re.search(r"secret_ids destroyed: 1\n +approle/production-app: 1\n", result.stdout)
    assert "leases revoked, below: 1\n" in result.stdout
    assert "secret/production/api-keys/openrouter: version 1, from today" in result.stdout
    assert re.search(r"token \S+ \(token\): it is your own token", result.stdout)


def test_root_credentials_are_rotated(scenario):
    admin = scenario.database("production")
    url = scenario.postgres.admin_url
    psycopg.connect(url, user=admin, password="the-first-password").close()
    scenario.emergency("--yes")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url, user=admin, password="the-first-password")
    assert scenario.leased("production")["username"]


@pytest.mark.parametrize(
    "form", ["postgresql://{{{{username}}}}:{{{{password}}}}@{}/testing", "postgresql://{1}:{2}@{0}"]
)
def test_a_root_credential_shared_with_another_environment_is_reported_instead_of_rotated(scenario, form):
    admin = scenario.database("production")
    address, password = f"127.0.0.1:{scenario.postgres.port}", "the-first-password"
    connection = {"plugin_name": "postgresql-database-plugin", "username": admin, "password": password}
    connection["connection_url"] = form.format(address, admin, password)
    if "{{" not in connection["connection_url"]:
        del connection["username"], connection["password"]
    scenario.bao.ask("POST", "sys/mounts/testing/database", {"type": "database"})
    scenario.bao.ask("POST", "testing/database/config/simba", {**connection, "verify_connection": False})
    output = scenario.emergency("--yes").stdout
    psycopg.connect(scenario.postgres.admin_url, user=admin, password=password).close()
    assert "production/database/simba: not rotated, since testing/database/simba uses the same user" in output
    assert "root credential of production/database/simba\n" not in output


def test_a_second_run_finds_nothing_and_a_dry_run_changes_nothing(scenario):
    attack(scenario)
    before = scenario.left(), len(scenario.audit.read_text().splitlines())
    result = scenario.emergency("--dry-run")
    assert scenario.writes(before[1]) == []
    assert scenario.left() == before[0]
    assert scenario.records() == []
    assert "  secret_ids to destroy: 1\n" in result.stdout
    assert "  tokens to revoke: 3\n" in result.stdout
    scenario.emergency("--yes")
    assert scenario.left() == NOTHING
    since = len(scenario.audit.read_text().splitlines())
    result = scenario.emergency("--yes", "--record", "again.json")
    assert scenario.writes(since) == []
    assert "  tokens revoked: 0\n" in result.stdout


def test_the_record_lists_all_changes_and_no_value(scenario):
    scenario.database("production")
    secret_id, tokens = attack(scenario)
    leased = scenario.leased("production", tokens["token"])
    result = scenario.emergency("--yes", "--record", "record.json")
    file = scenario.folder / "record.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    events = [json.loads(line) for line in file.read_text().splitlines()]
    assert [event["event"] for event in events if event["event"] != "done"][:2] == ["started", "rechecked"]
    started, finished = events[0], events[-1]
    assert started["operator"]["display_name"] in {"root", "token"}
    assert started["policies"] == ["production-app"]
    assert started["leases"] == {"production/database/": 1}
    assert finished == {"at": finished["at"], "event": "finished", "not_done": []}
    done = [event["change"] for event in events if event["event"] == "done"]
    assert sorted(done) == sorted(what for some in started["planned"].values() for what in some)
    written = result.stdout + result.stderr + file.read_text()
    for value in (CANARY, ROOT_TOKEN, secret_id, *tokens.values(), *leased.values(), scenario.static("production")):
        assert value not in written
    # An existing record is never overwritten, and nothing is changed without a record.
    attack(scenario)
    since = len(scenario.audit.read_text().splitlines())
    result = scenario.emergency("--yes", "--record", "record.json", code=73)
    assert "the record exists already" in result.stderr
    assert scenario.writes(since) == []


def test_a_full_disk_stops_the_record_but_not_the_response(scenario):
    _, tokens = attack(scenario)
    line, where = scenario.command("--yes")
    limited = [*starting_with_a_full_disk(300), *line]
    result = subprocess.run(limited, **where, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 75, result.stdout + result.stderr
    assert "is incomplete: File too large" in result.stdout
    assert not any(is_alive(scenario, token) for token in tokens.values())
    result = scenario.emergency("--yes", "--record", "no/such/folder.json", code=73)
    assert "cannot write the record: No such file or directory" in result.stderr
    result = scenario.emergency("--dry-run", "--record", "x.json", code=64)
    assert "--record and --dry-run exclude each other" in result.stderr


def test_a_path_limits_the_response_to_clients_with_access_to_it(scenario):
    scenario.database("production")
    scenario.policy("keys", 'path "secret/data/+/api-keys/*" { capabilities = ["read"] }')
    scenario.policy("passwords", 'path "secret/data/production/database/+" { capabilities = ["read"] }')
    scenario.policy("creds", 'path "production/database/creds/simba" { capabilities = ["read"] }')
    tokens = {name: scenario.token(name) for name in ("keys", "passwords", "creds")}
    scenario.leased("production", tokens["creds"])

    def alive():
        return [name for name, token in tokens.items() if is_alive(scenario, token)]

    static = scenario.static("production")
    scenario.emergency("--yes", "--path", "api-keys/openrouter", "--record", "1.json")
    assert alive() == ["passwords", "creds"]
    assert len(scenario.users("production")) == 1
    scenario.emergency("--yes", "--path", "database/", "--record", "2.json")
    assert alive() == ["creds"]
    assert len(scenario.users("production")) == 1
    scenario.emergency("--yes", "--path", "production/database/creds/simba", "--record", "3.json")
    assert alive() == []
    assert scenario.users("production") == []
    assert scenario.static("production") == static
    scenario.emergency("--yes", "--path", "production/database/static-creds/static", "--record", "4.json")
    assert scenario.static("production") != static
    result = scenario.emergency("--yes", "--path", "api-keys/typo", code=64)
    assert "no such path in production" in result.stderr


STEPS = ("secret-id-accessor/destroy", "revoke-accessor", "revoke-prefix", "rotate-role", "rotate-root")


@pytest.mark.thorough(each=4)
@pytest.mark.parametrize("fault", [Fault.HANG, Fault.LOST], ids=["before it was done", "after it was done"])
@pytest.mark.parametrize("step", STEPS)
def test_a_second_run_completes_a_killed_one(scenario, step, fault):
    scenario.database("production")
    secret_id, tokens = attack(scenario)
    scenario.leased("production", tokens["token"])
    static = scenario.static("production")
    with Proxy(scenario.bao.port) as proxy:
        scenario.config({"setup": {"environments": list(ENVIRONMENTS)}}, proxy.address)
        proxy.on_path(step, fault)
        line, where = scenario.command("--yes", "--record", "killed.json")
        process = subprocess.Popen(line, **where, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        eventually(lambda: proxy.count(step), step)
        process.kill()
        process.wait()
        proxy.clear()
        first = [json.loads(line) for line in (scenario.folder / "killed.json").read_text().splitlines()]
        assert first[0]["event"] == "started"
        assert first[-1]["event"] != "finished"
        scenario.emergency("--yes", "--record", "again.json")
    assert scenario.left() == NOTHING
    assert not any(is_alive(scenario, token) for token in tokens.values())
    assert scenario.static("production") != static
    with pytest.raises(RuntimeError, match="400"):
        scenario.log_in("production-app", secret_id)


class ActionAtRequest(list):
    """The requests of a proxy; at the first one with these words, `action` runs once."""

    def __init__(self, words, action):
        super().__init__()
        self.words, self.action, self.results = words, action, []

    def append(self, request):
        super().append(request)
        if self.words in request.path and not self.results:
            self.results.append(None)
            self.results[0] = self.action()


def test_access_that_is_created_during_the_response_is_revoked(scenario):
    attack(scenario)

    def make():
        scenario.policy("new", 'path "secret/data/*" { capabilities = ["read"] }')
        return scenario.secret_id(), scenario.token("production-app"), scenario.token("new")

    with Proxy(scenario.bao.port) as proxy:
        scenario.config({"setup": {"environments": list(ENVIRONMENTS)}}, proxy.address)
        proxy.requests = requests = ActionAtRequest("revoke-accessor", make)
        result = scenario.emergency("--yes")
    ((secret_id, *tokens),) = requests.results
    assert [is_alive(scenario, token) for token in tokens] == [False, False]
    with pytest.raises(RuntimeError, match="400"):
        scenario.log_in("production-app", secret_id)
    assert scenario.left() == NOTHING
    assert "secret_ids destroyed: 2\n" in result.stdout


@pytest.mark.parametrize("words", ["secret-id-accessor/destroy", "revoke-accessor"])
def test_access_that_ends_before_its_revocation_counts_as_done(scenario, words):
    attack(scenario)
    secret_id = scenario.secret_id()

    def revoke():
        for token in tokens:
            scenario.bao.ask("POST", "auth/token/revoke", {"token": token})
        body = {"secret_id": secret_id}
        with suppress(RuntimeError):
            scenario.bao.ask("POST", "auth/approle/role/production-app/secret-id/destroy", body)

    tokens = [scenario.token("production-app") for _ in range(4)]
    with Proxy(scenario.bao.port) as proxy:
        scenario.config({"setup": {"environments": list(ENVIRONMENTS)}}, proxy.address)
        proxy.requests = ActionAtRequest(words, revoke)
        result = scenario.emergency("--yes", "--record", "record.json")
    events = [json.loads(line) for line in (scenario.folder / "record.json").read_text().splitlines()]
    assert [event for event in events if event["event"] == "failed"] == []
    assert events[-1]["not_done"] == []
    assert "NOT DONE" not in result.stdout
    assert "secret_ids destroyed: 2\n" in result.stdout


def test_a_failed_change_is_reported_and_the_others_are_made(scenario):
    scenario.database("production")
    _, tokens = attack(scenario)
    scenario.leased("production", tokens["token"])
    with Proxy(scenario.bao.port) as proxy:
        scenario.config({"setup": {"environments": list(ENVIRONMENTS)}}, proxy.address)
        proxy.on_path("rotate-role", Fault.DROP)
        result = scenario.emergency("--yes", code=75)
    assert (
        "NOT DONE\n  static role production/database/static: production/database/rotate-role/static: " in result.stdout
    )
    assert "root credential of production/database/simba" in result.stdout
    assert scenario.left() == NOTHING


@pytest.mark.thorough
def test_leases_of_an_unavailable_system_are_reported_with_the_remedy(scenario):
    admin = scenario.database("production")
    _, tokens = attack(scenario)
    user = scenario.leased("production", tokens["token"])["username"]
    scenario.postgres.sql(f"ALTER ROLE {admin} NOLOGIN")
    scenario.postgres.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", admin)
    result = scenario.emergency("--yes", code=75)
    assert "leases of production/database/: 1 lease left" in result.stdout
    assert "bao lease revoke -force -prefix production/database/" in result.stdout
    assert not any(is_alive(scenario, token) for token in tokens.values())
    scenario.postgres.sql(f'DROP ROLE "{user}"')


@pytest.mark.thorough
def test_leases_that_the_token_may_not_revoke_are_reported_with_the_reason(scenario):
    scenario.database("production")
    scenario.leased("production")
    page = PAGE.read_text().partition("```hcl\n# operator.hcl")[2].partition("```")[0]
    scenario.policy("incident", f'{page}\npath "sys/leases/revoke-prefix/*" {{ capabilities = ["deny"] }}')
    result = scenario.emergency("--yes", token=scenario.token("incident", no_parent=True), code=75)
    prefix = "sys/leases/revoke-prefix/production/database"
    assert f"leases of production/database/: 1 lease left ({prefix}: permission denied (403)" in result.stdout


@pytest.mark.thorough
def test_an_agent_with_a_new_secret_id_gets_new_credentials(scenario, memory):
    scenario.database("production")
    disk = scenario.folder / "agent"
    disk.mkdir()
    agent = Sidecar(scenario.bao.address, disk, memory, environment="production")
    agent.template("db.txt.j2", '{{ dynamic("production/database/creds/simba").username }}')
    (disk / "role_id").write_text(scenario.role_id())
    (disk / "secret_id").write_text(scenario.secret_id())
    files = {"role_id_file": str(disk / "role_id"), "secret_id_file": str(disk / "secret_id")}
    agent.config["vault"]["auth"] = {"method": "approle", **files}
    try:
        agent.start()
        old = (agent.directory / "db.txt").read_text()
        assert scenario.users("production") == [old]
        scenario.emergency("--yes")
        assert scenario.users("production") == []
        (disk / "secret_id").write_text(scenario.secret_id())
        new = eventually(lambda: [name for name in scenario.users("production") if name != old], "a new user", 60)
        agent.until_file("db.txt", new[0])
    finally:
        agent.close()


def test_the_operator_s_own_token_and_its_possible_parents_are_not_revoked(scenario):
    scenario.policy("admin", 'path "*" { capabilities = ["create", "read", "update", "delete", "list", "sudo"] }')
    grandparent = scenario.token("admin", no_parent=True, display_name="grandparent")
    parent = scenario.token("admin", parent=grandparent, display_name="parent")
    operator = scenario.token("admin", parent=parent, display_name="operator")
    pass_by(1.1)  # Vault reports whole seconds, and a token as old as the operator's may be its parent.
    victim = scenario.token("production-app")
    result = scenario.emergency("--yes", token=operator)
    assert not is_alive(scenario, victim)
    assert all(is_alive(scenario, token) for token in (grandparent, parent, operator, ROOT_TOKEN))
    assert "(token-operator): it is your own token" in result.stdout
    for name in ("parent", "grandparent"):
        assert f"(token-{name}): it may be a parent of your own token" in result.stdout


def test_the_documented_policy_is_enough_for_the_operator(scenario):
    scenario.database("production")
    scenario.bao.ask("POST", "sys/auth/userpass", {"type": "userpass"})
    scenario.bao.ask("POST", "auth/userpass/users/eve", {"password": CANARY, "token_policies": ["production-app"]})
    scenario.bao.ask("POST", "identity/group", {"name": "ops", "policies": ["production-app"]})
    _, tokens = attack(scenario)
    scenario.leased("production", tokens["token"])
    scenario.policy("incident", PAGE.read_text().partition("```hcl\n# operator.hcl")[2].partition("```")[0])
    output = scenario.emergency("--yes", token=scenario.token("incident", no_parent=True)).stdout
    assert scenario.left() == NOTHING
    assert "users/eve grants production-app" in output
    assert "identity group ops grants production-app" in output
    assert "secret/production/api-keys/openrouter: version 1, from today" in output
    assert "they expire with their parent, or within 768 h" in output


def test_a_stale_accessor_is_ignored(scenario):
    accessor = scenario.leave_accessor(scenario.token("production-app"))
    output = scenario.emergency("--yes").stdout
    assert accessor not in output
    assert "NOT DONE" not in output
    assert "cannot be read" not in output


def test_a_token_that_cannot_be_looked_up_is_reported_with_the_missing_capability(scenario):
    accessor = scenario.leave_accessor(scenario.token("production-app"))
    page = PAGE.read_text().partition("```hcl\n# operator.hcl")[2].partition("```")[0]
    scenario.policy("incident", f'{page}\npath "sys/capabilities-accessor" {{ capabilities = ["deny"] }}')
    output = scenario.emergency("--yes", token=scenario.token("incident", no_parent=True), code=75).stdout
    assert f"NOT DONE\n  token {accessor}: auth/token/lookup-accessor: permission denied (403); " in output
    assert "sys/capabilities-accessor" in output


def test_other_logins_are_reported(scenario):
    scenario.role("bare", "production-app", bind_secret_id=False, token_bound_cidrs=["127.0.0.1/32"])
    scenario.role("batch", "production-app", token_type="batch", token_ttl="90s")
    scenario.bao.ask("POST", "sys/auth/userpass", {"type": "userpass"})
    scenario.bao.ask("POST", "auth/userpass/users/eve", {"password": CANARY, "token_policies": ["production-app"]})
    scenario.bao.ask("POST", "auth/userpass/users/joe", {"password": CANARY, "token_policies": ["testing-app"]})
    scenario.bao.ask("POST", "identity/group", {"name": "ops", "policies": ["production-app"]})
    scenario.policy("deployer", 'path "auth/approle/role/+/secret-id" { capabilities = ["update"] }')
    eve = scenario.bao.ask("POST", "auth/userpass/login/eve", {"password": CANARY})["auth"]["client_token"]
    output = scenario.emergency("--yes").stdout
    assert not is_alive(scenario, eve)
    assert "approle/bare needs no secret_id" in output
    assert "approle/batch issues batch tokens, which have no accessor: they expire within 90 s" in output
    assert "auth/userpass/users/eve grants production-app" in output
    assert "users/joe" not in output
    assert "identity group ops grants production-app" in output
    assert "policy deployer may create secret_ids of approle/bare, approle/batch, approle/production-app" in output


def test_an_affected_default_policy_affects_all_clients_that_have_it(scenario):
    scenario.role("bystander", "testing-app")
    scenario.role("without", "testing-app", token_no_default_policy=True)
    secret_ids = {name: scenario.secret_id(name) for name in ("bystander", "without")}
    default = scenario.bao.ask("GET", "sys/policies/acl/default")["data"]["policy"]
    scenario.policy("default", f'{default}\npath "secret/data/production/*" {{ capabilities = ["read"] }}')
    scenario.emergency("--yes")
    with pytest.raises(RuntimeError, match="400"):
        scenario.log_in("bystander", secret_ids["bystander"])
    assert scenario.log_in("without", secret_ids["without"])


def test_wrapping_tokens_with_affected_secrets_are_revoked(scenario):
    wrapping = {env: scenario.wrapped(f"secret/data/{env}/api-keys/openrouter") for env in ENVIRONMENTS[:2]}
    scenario.emergency("--yes")
    with pytest.raises(RuntimeError, match="400"):
        scenario.bao.ask("POST", "sys/wrapping/unwrap", {}, token=wrapping["production"])
    assert scenario.bao.ask("POST", "sys/wrapping/unwrap", {}, token=wrapping["testing"])


def test_secrets_of_kv_version_1_and_certificates_are_reported(scenario):
    ask = scenario.bao.ask
    ask("POST", "sys/mounts/old", {"type": "kv", "options": {"version": "1"}})
    ask("POST", "old/production/a/b", {"value": CANARY})
    ask("POST", "old/testing/a/c", {"value": CANARY})
    ask("POST", "sys/mounts/production/pki", {"type": "pki"})
    ask("POST", "production/pki/root/generate/internal", {"common_name": "ca", "key_type": "ec"})
    scenario.policy("old", 'path "old/production/*" { capabilities = ["read"] }')
    scenario.policy("older", 'path "old/testing/*" { capabilities = ["read"] }')
    affected, other = scenario.token("old"), scenario.token("older")
    scenario.config({"setup": {"environments": list(ENVIRONMENTS)}, "secrets": {"mount": "old"}})
    output = scenario.emergency("--yes").stdout
    assert [is_alive(scenario, token) for token in (affected, other)] == [False, True]
    assert "     old/production/a/b: age unknown\n" in output
    assert "old/testing" not in output
    assert "production/pki/: 1 issued" in output


def test_a_templated_policy_that_may_grant_access_is_affected_and_reported(scenario):
    scenario.policy("own", 'path "secret/data/{{identity.entity.name}}/*" { capabilities = ["read"] }')
    scenario.policy("home", 'path "secret/data/homes/{{identity.entity.name}}/*" { capabilities = ["read"] }')
    own, home = scenario.token("own"), scenario.token("home")
    output = scenario.emergency("--yes").stdout
    assert [is_alive(scenario, token) for token in (own, home)] == [False, True]
    assert "own: its {{…}} depends on the client; access of all clients that have it was revoked" in output


def test_identity_policies_of_a_token_count(scenario):
    scenario.bao.ask("POST", "sys/auth/userpass", {"type": "userpass"})
    scenario.bao.ask("POST", "auth/userpass/users/ann", {"password": CANARY, "token_policies": ["testing-app"]})
    accessor = scenario.bao.ask("GET", "sys/auth")["data"]["userpass/"]["accessor"]
    entity = scenario.bao.ask("POST", "identity/entity", {"name": "ann", "policies": ["production-app"]})["data"]["id"]
    alias = {"name": "ann", "canonical_id": entity, "mount_accessor": accessor}
    scenario.bao.ask("POST", "identity/entity-alias", alias)
    token = scenario.bao.ask("POST", "auth/userpass/login/ann", {"password": CANARY})["auth"]["client_token"]
    assert scenario.reads(token)
    scenario.emergency("--yes")
    assert not is_alive(scenario, token)


def test_rotation_targets_come_first_in_the_manual_steps(scenario):
    rotation = {"keys": {"kind": "manual", "secret": "api-keys/openrouter", "keys": ["api_key"]}}
    scenario.config({"setup": {"environments": list(ENVIRONMENTS)}, "rotation": rotation})
    lines = [line.strip() for line in scenario.emergency("--dry-run").stdout.splitlines()]
    at = lines.index("secret/production/api-keys/openrouter (rotation target keys): version 1, from today")
    assert lines[at + 1] == "secret/production/database/postgres: version 1, from today"


def configure_targets(scenario, **more):
    """Configure two targets, and a consumer that never confirms."""
    slow = {"kind": "vault", "confirmation_timeout": "1h"}
    rotation = {
        "jwt": {**slow, "secret": "web/jwt", "keys": {"jwt": {"previous_key": "old"}}},
        "key": {**slow, "secret": "api-keys/openrouter", "keys": {"api_key": {}}},
        **more,
    }
    scenario.config({"setup": {"environments": list(ENVIRONMENTS)}, "rotation": rotation})
    for environment in ENVIRONMENTS:
        scenario.bao.put(f"{environment}/web/jwt", jwt=CANARY, old=CANARY, api_key=CANARY)
    body = {"custom_metadata": {"web/jwt": "1", "api-keys/openrouter": "1"}}
    scenario.bao.ask("POST", "secret/metadata/production/lessee/consumers/simba/host-1", body)


def fields(scenario, path, environment="production"):
    return scenario.bao.ask("GET", f"secret/data/{environment}/{path}")["data"]["data"]


def journal_of(scenario, name):
    return journal.parse(fields(scenario, f"{journal.FOLDER}{name}"))


def test_targets_are_rotated_without_waiting_for_confirmations(scenario):
    configure_targets(scenario)
    secret_id, tokens = attack(scenario)
    result = scenario.emergency("--yes", "--record", "record.json")
    jwt = fields(scenario, "web/jwt")
    # The previous value, which apps still accept, is not one that the attacker knows either.
    assert CANARY not in {jwt["jwt"], jwt["old"], fields(scenario, "api-keys/openrouter")["api_key"]}
    assert len(jwt["old"]) == 48
    assert jwt["old"] != jwt["jwt"]
    for name in ("jwt", "key"):
        assert journal_of(scenario, name).step is Step.IDLE
    consumers = scenario.bao.ask("GET", "secret/metadata/production/lessee/consumers/simba/?list=true")
    assert consumers["data"]["keys"] == ["host-1"]
    assert fields(scenario, "web/jwt", "testing")["jwt"] == CANARY
    assert not any(is_alive(scenario, token) for token in tokens.values())
    assert (
        "  rotated in their systems; old credentials revoked: 2\n"
        "    target jwt, secret/production/web/jwt\n"
        "    target key, secret/production/api-keys/openrouter\n"
    ) in result.stdout
    left = result.stdout.partition("MANUAL STEPS")[2]
    assert "secret/production/api-keys/openrouter" not in left
    assert "secret/production/lessee/" not in left
    assert "secret/production/web/jwt: rotated, except its keys api_key\n" in left
    assert "secret/production/database/postgres: version 1, from today" in left
    record = (scenario.folder / "record.json").read_text()
    done = [event["change"] for event in map(json.loads, record.splitlines()) if event["event"] == "done"]
    assert done[-2:] == ["target jwt, secret/production/web/jwt", "target key, secret/production/api-keys/openrouter"]
    values = {CANARY, secret_id, jwt["jwt"], jwt["old"], fields(scenario, "api-keys/openrouter")["api_key"]}
    assert not [value for value in values if value in result.stdout + result.stderr + record]


def test_a_pending_value_of_an_open_rotation_is_replaced_too(scenario):
    configure_targets(scenario)
    pending = {"api_key": "an-attacker-read-it-in-the-journal"}
    open_journal = Journal(step=Step.CREATED, id="a1", current={"api_key": CANARY}, pending=pending, started_at=1.0)
    scenario.bao.put(f"production/{journal.FOLDER}key", **journal.serialize(open_journal))
    scenario.emergency("--yes")
    assert fields(scenario, "api-keys/openrouter")["api_key"] not in {CANARY, *pending.values()}
    assert journal_of(scenario, "key").count == 2


def test_a_dry_run_lists_the_targets(scenario):
    configure_targets(scenario)
    since = len(scenario.audit.read_text().splitlines())
    output = scenario.emergency("--dry-run").stdout
    heading = "to rotate in their systems; old credentials are revoked immediately, even while apps use them"
    assert f"  {heading}: 2\n" in output
    assert "    target jwt, secret/production/web/jwt\n" in output
    assert "secret/production/web/jwt:" not in output
    assert scenario.writes(since) == []
    output = scenario.emergency("--dry-run", "--path", "web/jwt").stdout
    assert "target jwt" in output
    assert "target key" not in output


@pytest.mark.thorough
@pytest.mark.parametrize("fault", [Fault.HANG, Fault.LOST], ids=["before it was done", "after it was done"])
@pytest.mark.parametrize("place", ["data/production/lessee/rotation/jwt", "data/production/web/jwt"])
def test_a_second_run_completes_a_killed_rotation(scenario, place, fault):
    configure_targets(scenario)
    file = scenario.folder / "lessee.yaml"
    with Proxy(scenario.bao.port) as proxy:
        file.write_text(file.read_text().replace(scenario.bao.address, proxy.address))
        proxy.requests = posts = Posts(proxy, place, fault)
        line, where = scenario.command("--yes", "--record", "killed.json")
        process = subprocess.Popen(line, **where, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        eventually(lambda: posts.reached, "the write")
        if fault is Fault.LOST:
            pass_by(0.3)  # Until then Vault has written it, which nothing reports.
        process.kill()
        process.wait()
    file.write_text(file.read_text().replace(proxy.address, scenario.bao.address))
    scenario.emergency("--yes", "--record", "again.json")
    assert CANARY not in (fields(scenario, "web/jwt")["jwt"], fields(scenario, "api-keys/openrouter")["api_key"])
    assert {journal_of(scenario, name).step for name in ("jwt", "key")} == {Step.IDLE}


class Posts(list):
    """The requests of a proxy; the first write to a path has this fault."""

    def __init__(self, proxy, place, fault):
        super().__init__()
        self.proxy, self.place, self.fault, self.reached = proxy, place, fault, False

    def append(self, request):
        super().append(request)
        if request.method == "POST" and request.path.endswith(self.place) and not self.reached:
            self.proxy.on_path(self.place, self.fault)
            self.reached = True


def test_a_target_that_cannot_be_rotated_becomes_a_manual_step(scenario):
    cache = {"kind": "redis", "secret": "database/postgres", "admin_secret": "database/missing", "user": "app"}
    configure_targets(scenario, cache=cache)
    output = scenario.emergency("--yes", code=75).stdout
    assert "NOT DONE\n  target cache, secret/production/database/postgres: " in output
    assert "the admin's secret does not exist" in output
    assert "secret/production/database/postgres (rotation target cache): version 1, from today" in output
    assert "rotated in their systems; old credentials revoked: 2\n" in output


def test_leases_of_dynamic_paths_in_templates_are_revoked(scenario):
    scenario.database("shared")
    (scenario.folder / "a.j2").write_text('{{ dynamic("shared/database/creds/simba").username }}')
    apps = {"web": {"directory": "/run/web", "files": [{"template": "a.j2"}]}}
    scenario.config({"setup": {"environments": list(ENVIRONMENTS)}, "apps": apps})
    scenario.leased("shared")
    static = scenario.static("shared")
    scenario.emergency("--yes")
    assert scenario.users("shared") == []
    assert scenario.static("shared") == static
    (scenario.folder / "a.j2").write_text("{{ broken")
    result = scenario.emergency("--dry-run", code=75)
    assert "  cannot be read: cannot determine what templates read: " in result.stdout
    result = scenario.emergency("--yes", "--record", "2.json", code=75)
    assert "NOT DONE\n  cannot determine what templates read: " in result.stdout


@pytest.mark.parametrize(
    ("token", "environment", "code", "words"),
    [
        (ROOT_TOKEN, "staging", 64, "unknown environment 'staging'; the environments of `setup.environments` are"),
        (ROOT_TOKEN, "production", 64, "no terminal to ask for confirmation; add --yes"),
        ("no-token", "production", 77, "permission denied"),
    ],
)
def test_an_emergency_fails_before_any_change(scenario, token, environment, code, words):
    attack(scenario)
    since = len(scenario.audit.read_text().splitlines())
    result = scenario.emergency(token=token, environment=environment, code=code)
    assert words in result.stderr
    assert scenario.writes(since) == []
    assert scenario.records() == []


def test_an_unavailable_server_exits_with_69(scenario):
    scenario.config({"setup": {"environments": list(ENVIRONMENTS)}}, "http://127.0.0.1:9")
    scenario.emergency("--yes", code=69)


@pytest.mark.thorough
@pytest.mark.parametrize(("typed", "code"), [("production", 0), ("prod", 64)])
def test_at_a_terminal_the_operator_confirms_with_the_environment_s_name(scenario, typed, code):
    _, tokens = attack(scenario)
    line, where = scenario.command()
    parent, child = pty.openpty()
    try:
        with subprocess.Popen(line, **where, stdin=child, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            os.write(parent, f"{typed}\n".encode())
            output = process.communicate(timeout=30)[0].decode()
    finally:
        os.close(parent)
        os.close(child)
    assert process.returncode == code, output
    assert "Type production to continue: " in output
    assert is_alive(scenario, tokens["token"]) == (code != 0)


def test_with_closed_stdin_nothing_is_changed(scenario):
    _, tokens = attack(scenario)
    line, where = scenario.command()
    closed = ["sh", "-c", 'exec "$@" <&-', "sh", *line]
    result = subprocess.run(closed, **where, capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, "no terminal to ask for confirmation" in result.stderr) == (64, True), result.stderr
    assert is_alive(scenario, tokens["token"])


def test_a_terminal_with_a_limited_charset_stops_nothing(scenario):
    tokens = [scenario.token("production-app") for _ in range(12)]  # Ten are printed, and an ellipsis.
    line, where = scenario.command("--yes")
    where["env"]["PYTHONIOENCODING"] = "iso-8859-1"
    result = subprocess.run(line, **where, capture_output=True, encoding="iso-8859-1", timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    assert "    \\u2026 and 2 more\n" in result.stdout
    assert "record: " in result.stdout
    assert not any(is_alive(scenario, token) for token in tokens)


def test_an_interrupted_response_names_its_record(scenario):
    attack(scenario)
    with Proxy(scenario.bao.port) as proxy:
        scenario.config({"setup": {"environments": list(ENVIRONMENTS)}}, proxy.address)
        proxy.on_path("revoke-accessor", Delay(2.0))
        line, where = scenario.command("--yes", "--record", "half.json")
        process = subprocess.Popen(as_by_a_person(*line), **where, stderr=subprocess.PIPE, text=True)
        eventually(lambda: proxy.count("revoke-accessor"), "the first token")
        process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=60)[1]
    assert process.returncode == 130, output
    assert "interrupted: not complete; run it again; record: half.json" in output
    events = [json.loads(line)["event"] for line in (scenario.folder / "half.json").read_text().splitlines()]
    assert (events[0], events[-1]) == ("started", "interrupted")


@pytest.mark.thorough
def test_five_hundred_tokens_are_revoked_in_seconds(scenario):
    tokens = [scenario.token("production-app") for _ in range(500)]
    started = time.monotonic()
    result = scenario.emergency("--yes")
    assert time.monotonic() - started < 30
    assert "tokens revoked: 500\n" in result.stdout
    assert not any(is_alive(scenario, token) for token in tokens[::50])
    assert scenario.left() == NOTHING
