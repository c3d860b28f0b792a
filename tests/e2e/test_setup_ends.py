"""`lessee setup` that is killed, refused or reverted: the next run continues from the recorded state."""

import itertools
import subprocess
from functools import partial

import pytest

from support.environments.setup_namespace import ENVIRONMENTS, SetupNamespace
from support.programs.sidecar import eventually
from support.programs.terminal import Terminal
from support.servers.fault_proxy import Delay, Fault, Proxy

_NUMBERS = itertools.count()


@pytest.fixture
def ground(bao, tmp_path):
    name = f"ends{next(_NUMBERS)}"
    yield SetupNamespace(bao, name, tmp_path)
    bao.ask("DELETE", f"sys/namespaces/{name}")


class KillingProxy(Proxy):
    """Kills a program at its n-th write request, before the server gets it.

    To the server this looks like a kill after the write before.
    """

    def __init__(self, port, number=None):
        super().__init__(port)
        self.process, self.writes, self._number = None, 0, number

    def fault_of(self, path):
        self.writes += self.requests[-1].method != "GET"
        if self.process is None or self.writes != self._number:
            return super().fault_of(path)
        self.process.kill()
        return Fault.DROP


def start(ground, proxy, *arguments):
    """`lessee setup …` by way of the proxy."""
    address = ground.config["vault"]["address"]
    ground.config["vault"]["address"] = proxy.address
    command = ground.command("setup", *arguments)
    ground.config["vault"]["address"] = address
    quiet = subprocess.DEVNULL
    proxy.process = subprocess.Popen(
        command, cwd=ground.disk, env=ground.environ, stdin=quiet, stdout=quiet, stderr=quiet
    )
    return proxy.process.wait(30)


def small(ground):
    roles = {"web": {"allowed_domains": ["simba.local"]}}
    ground.wanted.update(
        environments=["testing"],
        components={"ci": ["read"]},
        secrets={"database/postgres": {"password": {"generate": 32}}},
        pki={"common_name": "root", "roles": roles},
    )
    roles = {"admin_secret": "database/admin", "roles": ["simba_a", "simba_b"]}
    ground.config["rotation"] = {"postgres": {"kind": "postgres", "secret": "database/postgres", **roles}}
    return ground


def shape(ground):
    """The server's state, except for random values and the number of writes of the record."""
    state = ground.dump("testing")
    records = {path: fields for path, (_, _, fields) in state["secrets"].items() if path.endswith("lessee/setup")}
    secrets = {
        path: (cas, len(versions), fields and {key: len(value) for key, value in fields.items()})
        for path, (cas, versions, fields) in state["secrets"].items()
        if path not in records
    }
    issuers = ground.ask("GET", "testing/pki/issuers?list=true")["data"]["keys"]
    role = ground.ask("GET", "testing/pki/roles/web")["data"]
    return state | {"secrets": secrets, "records": records, "issuers": len(issuers), "pki role": role}


@pytest.mark.thorough
def test_after_a_kill_at_any_step_the_next_run_reaches_the_same_state(bao, tmp_path):
    number = next(_NUMBERS)
    whole = small(SetupNamespace(bao, f"whole{number}", tmp_path))
    with KillingProxy(bao.port) as proxy:
        assert start(whole, proxy) == 0
        steps = proxy.writes
    assert steps >= 12
    for step in range(1, steps + 1):
        ground = small(SetupNamespace(bao, f"killed{number}-{step}", tmp_path))
        with KillingProxy(bao.port, step) as proxy:
            assert start(ground, proxy) == -9
        ground.run()
        assert shape(ground) == shape(whole), step
        bao.ask("DELETE", f"sys/namespaces/{ground.name}")
    assert whole.run().stdout == "done: nothing to do\n"
    bao.ask("DELETE", f"sys/namespaces/{whole.name}")


def test_after_a_kill_during_a_change_setup_still_knows_its_own_objects(ground):
    small(ground).run()
    ground.wanted["components"]["ci"] = ["list"]
    ground.wanted["pki"]["roles"]["web"]["allow_subdomains"] = True
    for step in itertools.count(1):
        with KillingProxy(ground.bao.port, step) as proxy:
            if start(ground, proxy) == 0:
                break
    assert step >= 3
    assert "metadata" in ground.ask("GET", "sys/policies/acl/testing-ci")["data"]["policy"]
    assert ground.ask("GET", "testing/pki/roles/web")["data"]["allow_subdomains"]
    assert ground.run().stdout == "done: nothing to do\n"


def test_after_a_kill_while_writing_credentials_the_next_run_writes_the_rest(ground):
    ground.run()
    for step in (1, 4):
        with KillingProxy(ground.bao.port, step) as proxy:
            assert start(ground, proxy, "--output", "out") == -9
    ground.run("--output", "out")
    files = [path for path in (ground.disk / "out").rglob("*") if path.is_file()]
    assert {path.name for path in files} == {"role_id", "secret_id"}
    assert len(files) == 24
    for environment in ENVIRONMENTS:
        folder = ground.disk / "out" / environment / f"{environment}-app"
        body = {name: (folder / name).read_text() for name in ("role_id", "secret_id")}
        assert ground.ask("POST", "auth/approle/login", body, token="")["auth"]["client_token"]


def test_two_concurrent_runs_create_one_secret_id_for_each_role(ground):
    ground.wanted.update(environments=["testing"], components={"ci": ["read"], "app": ["read"]})
    ground.run()
    with Proxy(ground.bao.port) as proxy:
        proxy.on_path("/secret-id", Delay(1.5))
        ground.config["vault"]["address"] = proxy.address
        command = ground.command("setup", "--output", "out")
        begin = partial(subprocess.Popen, command, cwd=ground.disk, env=ground.environ, stderr=subprocess.PIPE)
        first = begin()
        eventually(lambda: proxy.count("/secret-id"), "the first to write")
        second = begin()
        said = [one.communicate(timeout=60)[1] for one in (first, second)]
    assert (first.returncode, second.returncode, *said) == (0, 0, b"", b"")
    for role in ("testing-app", "testing-ci"):
        files = sorted(path.name for path in (ground.disk / "out" / "testing" / role).iterdir())
        assert files == ["role_id", "secret_id"]
        assert len(ground.ask("GET", f"auth/approle/role/{role}/secret-id?list=true")["data"]["keys"]) == 1


def test_removing_an_environment_leaves_the_others_unchanged(ground):
    ground.wanted["pki"] = {"common_name": "root"}
    ground.run()
    ground.ask("POST", "secret/data/testing/by/hand", {"data": {"a": "b"}})
    token = ground.log_in("testing-security")
    others = ground.dump("development", "production")
    planned = ground.run("--remove", "testing", "--plan").stdout
    assert planned == "testing: 4 roles, 4 policies, 1 engine, 3 secrets with all versions, below secret/testing/\n"
    assert ground.dump("testing")["policies"]
    said = ground.run("--remove", "testing", "--yes").stdout
    assert said.startswith(planned)
    assert said.endswith("testing removed\n")
    assert ground.dump("development", "production") == others
    removed = ground.dump("testing")
    assert (removed["policies"], removed["roles"]) == ({}, {})
    assert not [name for name in (*removed["mounts"], *removed["secrets"]) if name.startswith("testing/")]
    assert not ground.is_allowed("GET", "secret/data/testing/by/hand", token=token)
    assert (
        "setup has no record of the environment testing" in ground.run("--remove", "testing", "--yes", code=64).stderr
    )
    assert ground.run("--plan").stdout.splitlines()[0] == "testing:"
    ground.run()
    assert ground.dump("development", "production") == others


def test_a_removal_is_confirmed_by_typing_the_environment_s_name(ground):
    ground.run()
    before = ground.dump(*ENVIRONMENTS)
    assert "there is no terminal; add --yes" in ground.run("--remove", "production", code=64).stderr
    command = ["sh", "-c", 'exec "$@" <&-', "sh", *ground.command("setup", "--remove", "production")]
    closed = subprocess.run(command, cwd=ground.disk, env=ground.environ, capture_output=True, text=True, check=False)
    assert (closed.returncode, "there is no terminal; add --yes" in closed.stderr) == (64, True), closed.stderr
    for typed, ended, left in (("testing\n", 64, True), ("\x04", 64, True), ("production\n", 0, False)):
        terminal = Terminal(*ground.command("setup", "--remove", "production"), cwd=ground.disk, env=ground.environ)
        try:
            message = terminal.until("type production to remove it: ")
            assert "production: 4 roles, 4 policies, 2 secrets with all versions, below secret/production/" in message
            terminal.type(typed)
            terminal.until("production removed" if not left else "nothing was removed")
            assert terminal.end(10) == ended
        finally:
            terminal.close()
        assert (ground.dump(*ENVIRONMENTS) == before) is left


def test_neither_a_similar_environment_nor_a_forged_record_entry_is_removed(ground):
    ground.wanted["environments"] = ["test", "testing"]
    ground.run()
    similar = ground.dump("testing")
    record = ground.secret("test/lessee/setup")
    for path in ("sys/policies/acl/testing-app", "auth/approle/role/testing-app", "sys/mounts/secret"):
        kind = {"sys/policies": "POLICY", "auth/approle": "ROLE"}.get("/".join(path.split("/")[:2]), "ENGINE")
        record["objects"][path] = {"kind": kind, "keys": {}}
    body = {"data": record}
    ground.ask("POST", "secret/data/test/lessee/setup", body, token=ground.log_in("test-security"))
    ground.run("--remove", "test", "--yes")
    assert ground.dump("testing") == similar


def test_an_interrupted_removal_can_run_again(ground):
    ground.run()
    others = ground.dump("development", "production")
    for step in (1, 6, 11):
        with KillingProxy(ground.bao.port, step) as proxy:
            assert start(ground, proxy, "--remove", "testing", "--yes") in {-9, 0}
    if ground.has("GET", "secret/metadata/testing/lessee/setup"):
        ground.run("--remove", "testing", "--yes")
    assert not ground.dump("testing")["policies"]
    assert ground.dump("development", "production") == others


def test_invalid_environments_and_options_are_reported(ground):
    assert "no record of the environment production" in ground.run("--remove", "production", code=64).stderr
    wrong = (["--remove", "../x", "--yes"], ["--remove", "testing", "--force"], ["--unseal", "x", "--yes"])
    for words in (*wrong, ["--wrap-ttl", "5m"]):
        ground.run(*words, code=64)
    ground.wanted["environments"] = ["prod", "prod-eu"]
    assert "`prod-eu` begins with `prod-`" in ground.run("--plan", code=78).stderr


def test_a_token_without_permission_is_reported(ground):
    ground.run()
    said = ground.run("--plan", code=77, VAULT_TOKEN=ground.log_in("testing-ci")).stderr
    assert said == "lessee: sys/mounts: permission denied (403); set $VAULT_TOKEN to a token whose policy grants this\n"


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        (
            {"type": "kv", "options": {"version": "1"}},
            "secret: the mount is KV version 1, which has no versions and no check-and-set",
        ),
        ({"type": "transit"}, "secret: the mount has type transit, and the configuration needs kv"),
    ],
)
def test_a_secrets_mount_of_another_type_is_refused(ground, engine, message):
    ground.ask("POST", "sys/mounts/secret", engine)
    assert message in ground.run(code=77).stderr
    assert ground.ask("GET", "auth/token/lookup-self")
    assert not ground.has("GET", "sys/policies/acl/testing-app")
