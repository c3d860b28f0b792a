"""After `lessee emergency` nobody reads the environment, whatever they held; the other environments go on."""

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
from support.environments.leak import CANARY, ENVIRONMENTS, World, attack, is_alive
from support.paths import ROOT
from support.programs.sidecar import Sidecar, eventually, pass_by
from support.programs.terminal import as_by_a_person
from support.servers.fault_proxy import Delay, Fault, Proxy

PAGE = ROOT / "OPERATIONS.md"
NOTHING = ([], 0, 0, [])


@pytest.fixture
def world(tmp_path, postgres):
    with World(tmp_path, postgres) as world:
        yield world


def test_all_that_an_attacker_holds_is_dead_and_other_environments_go_on(world):
    for environment in ENVIRONMENTS:
        world.database(environment)
    held = {environment: attack(world, environment) for environment in ENVIRONMENTS}
    leased = {environment: world.leased(environment, held[environment][1]["token"]) for environment in ENVIRONMENTS}
    both = world.token("production-app", "testing-app")
    static = {environment: world.static(environment) for environment in ENVIRONMENTS}
    said = world.emergency("--yes")
    secret_id, tokens = held["production"]
    assert {name: is_alive(world, token) for name, token in tokens.items()} == dict.fromkeys(tokens, False)
    assert not is_alive(world, both)
    with pytest.raises(RuntimeError, match="400"):
        world.log_in("production-app", secret_id)
    assert world.left() == NOTHING
    assert not world.postgres.can_log_in(leased["production"]["username"], leased["production"]["password"])
    assert world.static("production") != static["production"]
    for environment in ENVIRONMENTS[1:]:
        secret_id, tokens = held[environment]
        assert all(is_alive(world, token) for token in tokens.values())
        assert world.reads(tokens["child"], environment)
        assert world.log_in(f"{environment}-app", secret_id)
        assert world.users(environment) == [leased[environment]["username"]]
        assert world.static(environment) == static[environment]
    assert "NOT DONE" not in said.stdout
    assert re.search(r"secret_ids destroyed: 1\n +approle/production-app: 1\n", said.stdout)
    assert "leases revoked, below: 1\n" in said.stdout
    assert "secret/production/api-keys/openrouter: version 1, of today" in said.stdout
    assert re.search(r"token \S+ \(token\): it is your own", said.stdout)


def test_root_credentials_are_rotated_too(world):
    admin = world.database("production")
    url = world.postgres.admin_url
    psycopg.connect(url, user=admin, password="the-first-password").close()
    world.emergency("--yes")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url, user=admin, password="the-first-password")
    assert world.leased("production")["username"]


@pytest.mark.parametrize(
    "form", ["postgresql://{{{{username}}}}:{{{{password}}}}@{}/testing", "postgresql://{1}:{2}@{0}"]
)
def test_a_root_credential_that_another_environment_needs_is_left_and_told(world, form):
    admin = world.database("production")
    address, password = f"127.0.0.1:{world.postgres.port}", "the-first-password"
    connection = {"plugin_name": "postgresql-database-plugin", "username": admin, "password": password}
    connection["connection_url"] = form.format(address, admin, password)
    if "{{" not in connection["connection_url"]:
        del connection["username"], connection["password"]
    world.bao.ask("POST", "sys/mounts/testing/database", {"type": "database"})
    world.bao.ask("POST", "testing/database/config/simba", {**connection, "verify_connection": False})
    said = world.emergency("--yes").stdout
    psycopg.connect(world.postgres.admin_url, user=admin, password=password).close()
    assert "production/database/simba: not rotated, for testing/database/simba logs in as the same user" in said
    assert "root credential of production/database/simba\n" not in said


def test_run_again_it_finds_nobody_and_a_dry_run_changes_nothing(world):
    attack(world)
    before = world.left(), len(world.audit.read_text().splitlines())
    said = world.emergency("--dry-run")
    assert world.writes(before[1]) == []
    assert world.left() == before[0]
    assert world.records() == []
    assert "  secret_ids to destroy: 1\n" in said.stdout
    assert "  tokens to revoke: 3\n" in said.stdout
    world.emergency("--yes")
    assert world.left() == NOTHING
    since = len(world.audit.read_text().splitlines())
    said = world.emergency("--yes", "--record", "again.json")
    assert world.writes(since) == []
    assert "  tokens revoked: 0\n" in said.stdout


def test_it_tells_what_it_did_in_a_record_without_a_value(world):
    world.database("production")
    secret_id, tokens = attack(world)
    leased = world.leased("production", tokens["token"])
    said = world.emergency("--yes", "--record", "what.json")
    file = world.folder / "what.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    events = [json.loads(line) for line in file.read_text().splitlines()]
    assert [event["event"] for event in events if event["event"] != "done"][:2] == ["begun", "looked again"]
    begun, ended = events[0], events[-1]
    assert begun["operator"]["display_name"] in {"root", "token"}
    assert begun["policies"] == ["production-app"]
    assert begun["leases"] == {"production/database/": 1}
    assert ended == {"at": ended["at"], "event": "ended", "undone": []}
    done = [event["what"] for event in events if event["event"] == "done"]
    assert sorted(done) == sorted(what for some in begun["intended"].values() for what in some)
    written = said.stdout + said.stderr + file.read_text()
    for value in (CANARY, ROOT_TOKEN, secret_id, *tokens.values(), *leased.values(), world.static("production")):
        assert value not in written
    # Another record is never written over, and nothing is done without one.
    attack(world)
    since = len(world.audit.read_text().splitlines())
    said = world.emergency("--yes", "--record", "what.json", code=73)
    assert "a record is there already" in said.stderr
    assert world.writes(since) == []


def test_a_record_that_cannot_be_written_on_stops_nothing_and_is_told(world):
    _, tokens = attack(world)
    line, where = world.command("--yes")
    limited = ["prlimit", "--fsize=300", *line]
    said = subprocess.run(limited, **where, capture_output=True, text=True, timeout=60, check=False)
    assert said.returncode == 75, said.stdout + said.stderr
    assert "is not complete: File too large" in said.stdout
    assert not any(is_alive(world, token) for token in tokens.values())
    said = world.emergency("--yes", "--record", "no/such/folder.json", code=73)
    assert "the record cannot be written: No such file or directory" in said.stderr
    said = world.emergency("--dry-run", "--record", "x.json", code=64)
    assert "--record says nothing with --dry-run" in said.stderr


def test_one_path_strikes_only_who_may_read_it(world):
    world.database("production")
    world.policy("keys", 'path "secret/data/+/api-keys/*" { capabilities = ["read"] }')
    world.policy("passwords", 'path "secret/data/production/database/+" { capabilities = ["read"] }')
    world.policy("creds", 'path "production/database/creds/simba" { capabilities = ["read"] }')
    tokens = {name: world.token(name) for name in ("keys", "passwords", "creds")}
    world.leased("production", tokens["creds"])

    def alive():
        return [name for name, token in tokens.items() if is_alive(world, token)]

    static = world.static("production")
    world.emergency("--yes", "--path", "api-keys/openrouter", "--record", "1.json")
    assert alive() == ["passwords", "creds"]
    assert len(world.users("production")) == 1
    world.emergency("--yes", "--path", "database/", "--record", "2.json")
    assert alive() == ["creds"]
    assert len(world.users("production")) == 1
    world.emergency("--yes", "--path", "production/database/creds/simba", "--record", "3.json")
    assert alive() == []
    assert world.users("production") == []
    assert world.static("production") == static
    world.emergency("--yes", "--path", "production/database/static-creds/static", "--record", "4.json")
    assert world.static("production") != static
    said = world.emergency("--yes", "--path", "api-keys/typo", code=64)
    assert "nothing is there in production" in said.stderr


STEPS = ("secret-id-accessor/destroy", "revoke-accessor", "revoke-prefix", "rotate-role", "rotate-root")


@pytest.mark.parametrize("fault", [Fault.HANG, Fault.LOST], ids=["before it was done", "after it was done"])
@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step_and_run_again_it_comes_to_the_same_end(world, step, fault):
    world.database("production")
    secret_id, tokens = attack(world)
    world.leased("production", tokens["token"])
    static = world.static("production")
    with Proxy(world.bao.port) as proxy:
        world.config({"setup": {"environments": list(ENVIRONMENTS)}}, proxy.address)
        proxy.on_path(step, fault)
        line, where = world.command("--yes", "--record", "killed.json")
        process = subprocess.Popen(line, **where, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        eventually(lambda: proxy.count(step), step)
        process.kill()
        process.wait()
        proxy.clear()
        first = [json.loads(line) for line in (world.folder / "killed.json").read_text().splitlines()]
        assert first[0]["event"] == "begun"
        assert first[-1]["event"] != "ended"
        world.emergency("--yes", "--record", "again.json")
    assert world.left() == NOTHING
    assert not any(is_alive(world, token) for token in tokens.values())
    assert world.static("production") != static
    with pytest.raises(RuntimeError, match="400"):
        world.log_in("production-app", secret_id)


class Hydra(list):
    """The requests that a proxy sees; at the first of a kind an attacker makes something new."""

    def __init__(self, words, make):
        super().__init__()
        self.words, self.make, self.made = words, make, []

    def append(self, request):
        super().append(request)
        if self.words in request.path and not self.made:
            self.made.append(None)
            self.made[0] = self.make()


def test_what_is_made_while_it_strikes_is_struck_too(world):
    attack(world)

    def make():
        world.policy("new", 'path "secret/data/*" { capabilities = ["read"] }')
        return world.secret_id(), world.token("production-app"), world.token("new")

    with Proxy(world.bao.port) as proxy:
        world.config({"setup": {"environments": list(ENVIRONMENTS)}}, proxy.address)
        proxy.requests = hydra = Hydra("revoke-accessor", make)
        said = world.emergency("--yes")
    ((secret_id, *made),) = hydra.made
    assert [is_alive(world, token) for token in made] == [False, False]
    with pytest.raises(RuntimeError, match="400"):
        world.log_in("production-app", secret_id)
    assert world.left() == NOTHING
    assert "secret_ids destroyed: 2\n" in said.stdout


@pytest.mark.parametrize("words", ["secret-id-accessor/destroy", "revoke-accessor"])
def test_what_is_gone_just_before_it_is_struck_is_done(world, words):
    attack(world)
    secret_id = world.secret_id()

    def end():
        for token in tokens:
            world.bao.ask("POST", "auth/token/revoke", {"token": token})
        body = {"secret_id": secret_id}
        with suppress(RuntimeError):
            world.bao.ask("POST", "auth/approle/role/production-app/secret-id/destroy", body)

    tokens = [world.token("production-app") for _ in range(4)]
    with Proxy(world.bao.port) as proxy:
        world.config({"setup": {"environments": list(ENVIRONMENTS)}}, proxy.address)
        proxy.requests = Hydra(words, end)
        said = world.emergency("--yes", "--record", "what.json")
    events = [json.loads(line) for line in (world.folder / "what.json").read_text().splitlines()]
    assert [event for event in events if event["event"] == "failed"] == []
    assert events[-1]["undone"] == []
    assert "NOT DONE" not in said.stdout
    assert "secret_ids destroyed: 2\n" in said.stdout


def test_what_cannot_be_done_is_told_and_the_rest_is_done(world):
    world.database("production")
    _, tokens = attack(world)
    world.leased("production", tokens["token"])
    with Proxy(world.bao.port) as proxy:
        world.config({"setup": {"environments": list(ENVIRONMENTS)}}, proxy.address)
        proxy.on_path("rotate-role", Fault.DROP)
        said = world.emergency("--yes", code=75)
    assert "NOT DONE\n  static role production/database/static: production/database/rotate-role/static: " in said.stdout
    assert "root credential of production/database/simba" in said.stdout
    assert world.left() == NOTHING


def test_leases_of_a_system_that_is_away_are_told_with_the_way_out(world):
    admin = world.database("production")
    _, tokens = attack(world)
    user = world.leased("production", tokens["token"])["username"]
    world.postgres.sql(f"ALTER ROLE {admin} NOLOGIN")
    world.postgres.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", admin)
    said = world.emergency("--yes", code=75)
    assert "leases of production/database/: 1 are left" in said.stdout
    assert "bao lease revoke -force -prefix production/database/" in said.stdout
    assert not any(is_alive(world, token) for token in tokens.values())
    world.postgres.sql(f'DROP ROLE "{user}"')


def test_leases_that_the_token_may_not_revoke_are_told_with_the_reason(world):
    world.database("production")
    world.leased("production")
    page = PAGE.read_text().partition("```hcl\n# operator.hcl")[2].partition("```")[0]
    world.policy("incident", f'{page}\npath "sys/leases/revoke-prefix/*" {{ capabilities = ["deny"] }}')
    said = world.emergency("--yes", token=world.token("incident", no_parent=True), code=75)
    prefix = "sys/leases/revoke-prefix/production/database"
    assert f"leases of production/database/: 1 are left ({prefix}: permission denied (403)" in said.stdout


def test_an_agent_gets_new_credentials_once_it_has_a_new_secret_id(world, memory):
    world.database("production")
    disk = world.folder / "agent"
    disk.mkdir()
    agent = Sidecar(world.bao.address, disk, memory, environment="production")
    agent.template("db.txt.j2", '{{ dynamic("production/database/creds/simba").username }}')
    (disk / "role_id").write_text(world.role_id())
    (disk / "secret_id").write_text(world.secret_id())
    files = {"role_id_file": str(disk / "role_id"), "secret_id_file": str(disk / "secret_id")}
    agent.config["vault"]["auth"] = {"method": "approle", **files}
    try:
        agent.start()
        old = (agent.directory / "db.txt").read_text()
        assert world.users("production") == [old]
        world.emergency("--yes")
        assert world.users("production") == []
        (disk / "secret_id").write_text(world.secret_id())
        new = eventually(lambda: [name for name in world.users("production") if name != old], "a new user", 60)
        agent.until_file("db.txt", new[0])
    finally:
        agent.close()


def test_the_operator_s_own_token_and_what_may_be_its_parent_live_on(world):
    world.policy("admin", 'path "*" { capabilities = ["create", "read", "update", "delete", "list", "sudo"] }')
    grandparent = world.token("admin", no_parent=True, display_name="grandparent")
    parent = world.token("admin", parent=grandparent, display_name="parent")
    operator = world.token("admin", parent=parent, display_name="operator")
    pass_by(1.1)  # Vault tells whole seconds, and what is as old as the operator's token may be its parent.
    victim = world.token("production-app")
    said = world.emergency("--yes", token=operator)
    assert not is_alive(world, victim)
    assert all(is_alive(world, token) for token in (grandparent, parent, operator, ROOT_TOKEN))
    assert "(token-operator): it is your own" in said.stdout
    for name in ("parent", "grandparent"):
        assert f"(token-{name}): it may be a parent of your own" in said.stdout


def test_the_policy_of_the_page_suffices_the_operator(world):
    world.database("production")
    world.bao.ask("POST", "sys/auth/userpass", {"type": "userpass"})
    world.bao.ask("POST", "auth/userpass/users/eve", {"password": CANARY, "token_policies": ["production-app"]})
    world.bao.ask("POST", "identity/group", {"name": "ops", "policies": ["production-app"]})
    _, tokens = attack(world)
    world.leased("production", tokens["token"])
    world.policy("incident", PAGE.read_text().partition("```hcl\n# operator.hcl")[2].partition("```")[0])
    said = world.emergency("--yes", token=world.token("incident", no_parent=True)).stdout
    assert world.left() == NOTHING
    assert "users/eve gives production-app" in said
    assert "identity group ops gives production-app" in said
    assert "secret/production/api-keys/openrouter: version 1, of today" in said
    assert "they end with their parent, or within 768 h" in said


def test_an_accessor_that_the_server_has_kept_of_a_token_that_is_gone_is_nobody(world):
    accessor = world.leave_accessor(world.token("production-app"))
    said = world.emergency("--yes").stdout
    assert accessor not in said
    assert "NOT DONE" not in said
    assert "cannot be looked at" not in said


def test_where_it_cannot_be_told_whether_a_token_is_there_it_is_said_what_the_operator_s_own_needs(world):
    accessor = world.leave_accessor(world.token("production-app"))
    page = PAGE.read_text().partition("```hcl\n# operator.hcl")[2].partition("```")[0]
    world.policy("incident", f'{page}\npath "sys/capabilities-accessor" {{ capabilities = ["deny"] }}')
    said = world.emergency("--yes", token=world.token("incident", no_parent=True), code=75).stdout
    assert f"NOT DONE\n  token {accessor}: auth/token/lookup-accessor: permission denied (403); " in said
    assert "sys/capabilities-accessor" in said


def test_other_ways_in_are_left_open_and_told(world):
    world.role("bare", "production-app", bind_secret_id=False, token_bound_cidrs=["127.0.0.1/32"])
    world.role("batch", "production-app", token_type="batch", token_ttl="90s")
    world.bao.ask("POST", "sys/auth/userpass", {"type": "userpass"})
    world.bao.ask("POST", "auth/userpass/users/eve", {"password": CANARY, "token_policies": ["production-app"]})
    world.bao.ask("POST", "auth/userpass/users/joe", {"password": CANARY, "token_policies": ["testing-app"]})
    world.bao.ask("POST", "identity/group", {"name": "ops", "policies": ["production-app"]})
    world.policy("deployer", 'path "auth/approle/role/+/secret-id" { capabilities = ["update"] }')
    eve = world.bao.ask("POST", "auth/userpass/login/eve", {"password": CANARY})["auth"]["client_token"]
    said = world.emergency("--yes").stdout
    assert not is_alive(world, eve)
    assert "approle/bare lets in without a secret_id" in said
    assert "approle/batch gives batch tokens, which have no accessor: they end by themselves within 90 s" in said
    assert "auth/userpass/users/eve gives production-app" in said
    assert "users/joe" not in said
    assert "identity group ops gives production-app" in said
    assert "policy deployer may make secret_ids of approle/bare, approle/batch, approle/production-app" in said


def test_where_the_default_policy_reaches_it_all_who_have_that_are_struck(world):
    world.role("bystander", "testing-app")
    world.role("without", "testing-app", token_no_default_policy=True)
    held = {name: world.secret_id(name) for name in ("bystander", "without")}
    default = world.bao.ask("GET", "sys/policies/acl/default")["data"]["policy"]
    world.policy("default", f'{default}\npath "secret/data/production/*" {{ capabilities = ["read"] }}')
    world.emergency("--yes")
    with pytest.raises(RuntimeError, match="400"):
        world.log_in("bystander", held["bystander"])
    assert world.log_in("without", held["without"])


def test_what_was_read_into_a_wrapping_token_is_gone_with_it(world):
    wrapping = {env: world.wrapped(f"secret/data/{env}/api-keys/openrouter") for env in ENVIRONMENTS[:2]}
    world.emergency("--yes")
    with pytest.raises(RuntimeError, match="400"):
        world.bao.ask("POST", "sys/wrapping/unwrap", {}, token=wrapping["production"])
    assert world.bao.ask("POST", "sys/wrapping/unwrap", {}, token=wrapping["testing"])


def test_an_engine_of_kv_version_1_and_certificates_are_told(world):
    ask = world.bao.ask
    ask("POST", "sys/mounts/old", {"type": "kv", "options": {"version": "1"}})
    ask("POST", "old/production/a/b", {"value": CANARY})
    ask("POST", "old/testing/a/c", {"value": CANARY})
    ask("POST", "sys/mounts/production/pki", {"type": "pki"})
    ask("POST", "production/pki/root/generate/internal", {"common_name": "ca", "key_type": "ec"})
    world.policy("old", 'path "old/production/*" { capabilities = ["read"] }')
    world.policy("older", 'path "old/testing/*" { capabilities = ["read"] }')
    struck, other = world.token("old"), world.token("older")
    world.config({"setup": {"environments": list(ENVIRONMENTS)}, "secrets": {"mount": "old"}})
    said = world.emergency("--yes").stdout
    assert [is_alive(world, token) for token in (struck, other)] == [False, True]
    assert "     old/production/a/b: age unknown\n" in said
    assert "old/testing" not in said
    assert "production/pki/: 1 issued" in said


def test_who_has_a_templated_policy_that_may_lead_there_is_struck_and_it_is_told(world):
    world.policy("own", 'path "secret/data/{{identity.entity.name}}/*" { capabilities = ["read"] }')
    world.policy("home", 'path "secret/data/homes/{{identity.entity.name}}/*" { capabilities = ["read"] }')
    own, home = world.token("own"), world.token("home")
    said = world.emergency("--yes").stdout
    assert [is_alive(world, token) for token in (own, home)] == [False, True]
    assert "own: what its {{…}} stands for depends on who asks; who has it was struck" in said


def test_what_identity_adds_to_a_token_strikes_it(world):
    world.bao.ask("POST", "sys/auth/userpass", {"type": "userpass"})
    world.bao.ask("POST", "auth/userpass/users/ann", {"password": CANARY, "token_policies": ["testing-app"]})
    accessor = world.bao.ask("GET", "sys/auth")["data"]["userpass/"]["accessor"]
    entity = world.bao.ask("POST", "identity/entity", {"name": "ann", "policies": ["production-app"]})["data"]["id"]
    alias = {"name": "ann", "canonical_id": entity, "mount_accessor": accessor}
    world.bao.ask("POST", "identity/entity-alias", alias)
    token = world.bao.ask("POST", "auth/userpass/login/ann", {"password": CANARY})["auth"]["client_token"]
    assert world.reads(token)
    world.emergency("--yes")
    assert not is_alive(world, token)


def test_rotation_targets_come_first_of_what_is_left_to_do(world):
    rotation = {"keys": {"kind": "manual", "secret": "api-keys/openrouter", "keys": ["api_key"]}}
    world.config({"setup": {"environments": list(ENVIRONMENTS)}, "rotation": rotation})
    lines = [line.strip() for line in world.emergency("--dry-run").stdout.splitlines()]
    at = lines.index("secret/production/api-keys/openrouter (rotation target keys): version 1, of today")
    assert lines[at + 1] == "secret/production/database/postgres: version 1, of today"


def targets(world, **more):
    """Two targets, and an agent that will not confirm."""
    slow = {"kind": "vault", "confirmation_timeout": "1h"}
    rotation = {
        "jwt": {**slow, "secret": "web/jwt", "keys": {"jwt": {"previous_key": "old"}}},
        "key": {**slow, "secret": "api-keys/openrouter", "keys": {"api_key": {}}},
        **more,
    }
    world.config({"setup": {"environments": list(ENVIRONMENTS)}, "rotation": rotation})
    for environment in ENVIRONMENTS:
        world.bao.put(f"{environment}/web/jwt", jwt=CANARY, old=CANARY, api_key=CANARY)
    body = {"custom_metadata": {"web/jwt": "1", "api-keys/openrouter": "1"}}
    world.bao.ask("POST", "secret/metadata/production/lessee/consumers/simba/host-1", body)


def fields(world, path, environment="production"):
    return world.bao.ask("GET", f"secret/data/{environment}/{path}")["data"]["data"]


def journal_of(world, name):
    return journal.read(fields(world, f"{journal.FOLDER}{name}"))


def test_targets_are_rotated_and_the_old_ones_end_whoever_has_not_confirmed(world):
    targets(world)
    secret_id, tokens = attack(world)
    said = world.emergency("--yes", "--record", "what.json")
    jwt = fields(world, "web/jwt")
    # What is still taken beside the new one is nothing that an attacker has seen, either.
    assert CANARY not in {jwt["jwt"], jwt["old"], fields(world, "api-keys/openrouter")["api_key"]}
    assert len(jwt["old"]) == 48
    assert jwt["old"] != jwt["jwt"]
    for name in ("jwt", "key"):
        assert journal_of(world, name).step is Step.IDLE
    consumers = world.bao.ask("GET", "secret/metadata/production/lessee/consumers/simba/?list=true")
    assert consumers["data"]["keys"] == ["host-1"]
    assert fields(world, "web/jwt", "testing")["jwt"] == CANARY
    assert not any(is_alive(world, token) for token in tokens.values())
    assert (
        "  rotated in their systems; the old ones have ended: 2\n"
        "    target jwt, secret/production/web/jwt\n"
        "    target key, secret/production/api-keys/openrouter\n"
    ) in said.stdout
    left = said.stdout.partition("BY HAND")[2]
    assert "secret/production/api-keys/openrouter" not in left
    assert "secret/production/lessee/" not in left
    assert "secret/production/web/jwt: rotated, but not its api_key\n" in left
    assert "secret/production/database/postgres: version 1, of today" in left
    record = (world.folder / "what.json").read_text()
    done = [one["what"] for one in map(json.loads, record.splitlines()) if one["event"] == "done"]
    assert done[-2:] == ["target jwt, secret/production/web/jwt", "target key, secret/production/api-keys/openrouter"]
    values = {CANARY, secret_id, jwt["jwt"], jwt["old"], fields(world, "api-keys/openrouter")["api_key"]}
    assert not [value for value in values if value in said.stdout + said.stderr + record]


def test_a_value_that_was_made_before_the_leak_was_stopped_is_not_what_stays(world):
    targets(world)
    known = {"api_key": "an-attacker-read-it-in-the-journal"}
    noted = Journal(step=Step.CREATED, id="a1", current={"api_key": CANARY}, pending=known, started_at=1.0)
    world.bao.put(f"production/{journal.FOLDER}key", **journal.written(noted))
    world.emergency("--yes")
    assert fields(world, "api-keys/openrouter")["api_key"] not in {CANARY, *known.values()}
    assert journal_of(world, "key").count == 2


def test_a_dry_run_names_the_targets_and_leaves_them(world):
    targets(world)
    since = len(world.audit.read_text().splitlines())
    said = world.emergency("--dry-run").stdout
    assert "  to rotate in their systems; the old ones end at once, whoever still uses them: 2\n" in said
    assert "    target jwt, secret/production/web/jwt\n" in said
    assert "secret/production/web/jwt:" not in said
    assert world.writes(since) == []
    said = world.emergency("--dry-run", "--path", "web/jwt").stdout
    assert "target jwt" in said
    assert "target key" not in said


@pytest.mark.parametrize("fault", [Fault.HANG, Fault.LOST], ids=["before it was done", "after it was done"])
@pytest.mark.parametrize("place", ["data/production/lessee/rotation/jwt", "data/production/web/jwt"])
def test_killed_while_a_target_is_rotated_and_run_again_it_comes_to_the_same_end(world, place, fault):
    targets(world)
    file = world.folder / "lessee.yaml"
    with Proxy(world.bao.port) as proxy:
        file.write_text(file.read_text().replace(world.bao.address, proxy.address))
        proxy.requests = posts = Posts(proxy, place, fault)
        line, where = world.command("--yes", "--record", "killed.json")
        process = subprocess.Popen(line, **where, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        eventually(lambda: posts.met, "the write")
        if fault is Fault.LOST:
            pass_by(0.3)  # It has been done by now; nothing would tell us so.
        process.kill()
        process.wait()
    file.write_text(file.read_text().replace(proxy.address, world.bao.address))
    world.emergency("--yes", "--record", "again.json")
    assert CANARY not in (fields(world, "web/jwt")["jwt"], fields(world, "api-keys/openrouter")["api_key"])
    assert {journal_of(world, name).step for name in ("jwt", "key")} == {Step.IDLE}


class Posts(list):
    """The requests that a proxy sees; the first write at a place meets this weather."""

    def __init__(self, proxy, place, fault):
        super().__init__()
        self.proxy, self.place, self.fault, self.met = proxy, place, fault, False

    def append(self, request):
        super().append(request)
        if request.method == "POST" and request.path.endswith(self.place) and not self.met:
            self.proxy.on_path(self.place, self.fault)
            self.met = True


def test_a_target_that_cannot_be_rotated_is_told_and_left_to_people(world):
    targets(world, cache={"kind": "redis", "secret": "database/postgres", "admin_secret": "database/nobody"})
    said = world.emergency("--yes", code=75).stdout
    assert "NOT DONE\n  target cache, secret/production/database/postgres: " in said
    assert "the admin's secret is not there" in said
    assert "secret/production/database/postgres (rotation target cache): version 1, of today" in said
    assert "rotated in their systems; the old ones have ended: 2\n" in said


def test_leases_that_templates_name_outside_the_environment_s_engines_are_revoked(world):
    world.database("shared")
    (world.folder / "a.j2").write_text('{{ dynamic("shared/database/creds/simba").username }}')
    apps = {"web": {"directory": "/run/web", "files": [{"template": "a.j2"}]}}
    world.config({"setup": {"environments": list(ENVIRONMENTS)}, "apps": apps})
    world.leased("shared")
    static = world.static("shared")
    world.emergency("--yes")
    assert world.users("shared") == []
    assert world.static("shared") == static
    (world.folder / "a.j2").write_text("{{ broken")
    said = world.emergency("--dry-run", code=75)
    assert "  cannot be looked at: what templates read is not known: " in said.stdout
    said = world.emergency("--yes", "--record", "2.json", code=75)
    assert "NOT DONE\n  what templates read is not known: " in said.stdout


@pytest.mark.parametrize(
    ("token", "environment", "code", "words"),
    [
        (ROOT_TOKEN, "staging", 64, "there is no environment 'staging'; there are: production, testing, development"),
        (ROOT_TOKEN, "production", 64, "nobody can be asked here; add --yes"),
        ("no-token", "production", 77, "permission denied"),
    ],
)
def test_it_refuses_before_anything_is_changed(world, token, environment, code, words):
    attack(world)
    since = len(world.audit.read_text().splitlines())
    said = world.emergency(token=token, environment=environment, code=code)
    assert words in said.stderr
    assert world.writes(since) == []
    assert world.records() == []


def test_a_server_that_is_away_is_69(world):
    world.config({"setup": {"environments": list(ENVIRONMENTS)}}, "http://127.0.0.1:9")
    world.emergency("--yes", code=69)


@pytest.mark.parametrize(("typed", "code"), [("production", 0), ("prod", 64)])
def test_at_a_terminal_the_environment_s_name_is_to_be_typed(world, typed, code):
    _, tokens = attack(world)
    line, where = world.command()
    ours, theirs = pty.openpty()
    try:
        with subprocess.Popen(line, **where, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            os.write(ours, f"{typed}\n".encode())
            said = process.communicate(timeout=30)[0].decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert process.returncode == code, said
    assert "Type production to go on: " in said
    assert is_alive(world, tokens["token"]) == (code != 0)


def test_where_stdin_is_closed_nobody_is_asked_and_nothing_is_changed(world):
    _, tokens = attack(world)
    line, where = world.command()
    closed = ["sh", "-c", 'exec "$@" <&-', "sh", *line]
    said = subprocess.run(closed, **where, capture_output=True, text=True, timeout=60, check=False)
    assert (said.returncode, "nobody can be asked here" in said.stderr) == (64, True), said.stderr
    assert is_alive(world, tokens["token"])


def test_a_terminal_that_cannot_say_all_characters_stops_nothing(world):
    tokens = [world.token("production-app") for _ in range(12)]  # Of which ten are shown, and an ellipsis.
    line, where = world.command("--yes")
    where["env"]["PYTHONIOENCODING"] = "iso-8859-1"
    said = subprocess.run(line, **where, capture_output=True, encoding="iso-8859-1", timeout=60, check=False)
    assert said.returncode == 0, said.stderr
    assert "    \\u2026 and 2 more\n" in said.stdout
    assert "record: " in said.stdout
    assert not any(is_alive(world, token) for token in tokens)


def test_interrupted_it_says_so_with_its_record(world):
    attack(world)
    with Proxy(world.bao.port) as proxy:
        world.config({"setup": {"environments": list(ENVIRONMENTS)}}, proxy.address)
        proxy.on_path("revoke-accessor", Delay(2.0))
        line, where = world.command("--yes", "--record", "half.json")
        process = subprocess.Popen(as_by_a_person(*line), **where, stderr=subprocess.PIPE, text=True)
        eventually(lambda: proxy.count("revoke-accessor"), "the first token")
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 130, said
    assert "interrupted: not all is done; run it again; record: half.json" in said
    events = [json.loads(line)["event"] for line in (world.folder / "half.json").read_text().splitlines()]
    assert (events[0], events[-1]) == ("begun", "interrupted")


def test_five_hundred_tokens_are_revoked_in_some_seconds(world):
    tokens = [world.token("production-app") for _ in range(500)]
    started = time.monotonic()
    said = world.emergency("--yes")
    assert time.monotonic() - started < 30
    assert "tokens revoked: 500\n" in said.stdout
    assert not any(is_alive(world, token) for token in tokens[::50])
    assert world.left() == NOTHING
