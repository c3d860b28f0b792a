"""`lessee setup` that is killed, refused or undone: what is left is known, and the next run goes on from there."""

import itertools
import subprocess
from functools import partial

import pytest

from support.environments.setup_namespace import ENVIRONMENTS, Ground
from support.programs.sidecar import eventually
from support.programs.terminal import Terminal
from support.servers.fault_proxy import Delay, Proxy, Sky

_NUMBERS = itertools.count()


@pytest.fixture
def ground(bao, tmp_path):
    name = f"ends{next(_NUMBERS)}"
    yield Ground(bao, name, tmp_path)
    bao.ask("DELETE", f"sys/namespaces/{name}")


class Killing(Proxy):
    """Kills a program at the so-manieth request that changes something, before it arrives.

    To the server that is as if it were killed when the one before was done.
    """

    def __init__(self, port, number=None):
        super().__init__(port)
        self.process, self.writes, self._number = None, 0, number

    def _befalls(self, path):
        self.writes += self.requests[-1].method != "GET"
        if self.process is None or self.writes != self._number:
            return super()._befalls(path)
        self.process.kill()
        return Sky.DROP


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
    """All that is there, but for what differs by chance and how often the record was written."""
    made = ground.dump("testing")
    records = {path: fields for path, (_, _, fields) in made["secrets"].items() if path.endswith("lessee/setup")}
    secrets = {
        path: (cas, len(versions), fields and {key: len(value) for key, value in fields.items()})
        for path, (cas, versions, fields) in made["secrets"].items()
        if path not in records
    }
    issuers = ground.ask("GET", "testing/pki/issuers?list=true")["data"]["keys"]
    role = ground.ask("GET", "testing/pki/roles/web")["data"]
    return made | {"secrets": secrets, "records": records, "issuers": len(issuers), "pki role": role}


def test_killed_at_any_step_the_next_run_ends_in_the_same_state(bao, tmp_path):
    number = next(_NUMBERS)
    whole = small(Ground(bao, f"whole{number}", tmp_path))
    with Killing(bao.port) as proxy:
        assert start(whole, proxy) == 0
        steps = proxy.writes
    assert steps >= 12
    for step in range(1, steps + 1):
        ground = small(Ground(bao, f"killed{number}-{step}", tmp_path))
        with Killing(bao.port, step) as proxy:
            assert start(ground, proxy) == -9
        ground.run()
        assert shape(ground) == shape(whole), step
        bao.ask("DELETE", f"sys/namespaces/{ground.name}")
    assert whole.run().stdout == "done: nothing to do\n"
    bao.ask("DELETE", f"sys/namespaces/{whole.name}")


def test_killed_while_it_changes_what_it_wrote_it_still_knows_its_own(ground):
    small(ground).run()
    ground.wanted["components"]["ci"] = ["list"]
    ground.wanted["pki"]["roles"]["web"]["allow_subdomains"] = True
    for step in itertools.count(1):
        with Killing(ground.bao.port, step) as proxy:
            if start(ground, proxy) == 0:
                break
    assert step >= 3
    assert "metadata" in ground.ask("GET", "sys/policies/acl/testing-ci")["data"]["policy"]
    assert ground.ask("GET", "testing/pki/roles/web")["data"]["allow_subdomains"]
    assert ground.run().stdout == "done: nothing to do\n"


def test_killed_while_it_hands_out_logins_the_next_run_hands_out_the_rest(ground):
    ground.run()
    for step in (1, 4):
        with Killing(ground.bao.port, step) as proxy:
            assert start(ground, proxy, "--output", "out") == -9
    ground.run("--output", "out")
    files = [path for path in (ground.disk / "out").rglob("*") if path.is_file()]
    assert {path.name for path in files} == {"role_id", "secret_id"}
    assert len(files) == 24
    for environment in ENVIRONMENTS:
        folder = ground.disk / "out" / environment / f"{environment}-app"
        body = {name: (folder / name).read_text() for name in ("role_id", "secret_id")}
        assert ground.ask("POST", "auth/approle/login", body, token="")["auth"]["client_token"]


def test_two_that_hand_out_logins_at_once_make_one_secret_id_each(ground):
    ground.wanted.update(environments=["testing"], components={"ci": ["read"], "app": ["read"]})
    ground.run()
    with Proxy(ground.bao.port) as proxy:
        proxy.over("/secret-id", Delay(1.5))
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


def test_an_environment_that_is_removed_leaves_the_others_as_they_were(ground):
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
    assert said.endswith("testing is gone\n")
    assert ground.dump("development", "production") == others
    gone = ground.dump("testing")
    assert (gone["policies"], gone["roles"]) == ({}, {})
    assert not [name for name in (*gone["mounts"], *gone["secrets"]) if name.startswith("testing/")]
    assert not ground.is_allowed("GET", "secret/data/testing/by/hand", token=token)
    assert (
        "setup has made nothing of the environment testing"
        in ground.run("--remove", "testing", "--yes", code=64).stderr
    )
    assert ground.run("--plan").stdout.splitlines()[0] == "testing:"
    ground.run()
    assert ground.dump("development", "production") == others


def test_a_removal_is_asked_for_and_only_the_environments_name_means_it(ground):
    ground.run()
    before = ground.dump(*ENVIRONMENTS)
    assert "there is no terminal; add --yes" in ground.run("--remove", "production", code=64).stderr
    command = ["sh", "-c", 'exec "$@" <&-', "sh", *ground.command("setup", "--remove", "production")]
    closed = subprocess.run(command, cwd=ground.disk, env=ground.environ, capture_output=True, text=True, check=False)
    assert (closed.returncode, "there is no terminal; add --yes" in closed.stderr) == (64, True), closed.stderr
    for typed, ended, left in (("testing\n", 64, True), ("\x04", 64, True), ("production\n", 0, False)):
        terminal = Terminal(*ground.command("setup", "--remove", "production"), cwd=ground.disk, env=ground.environ)
        try:
            describe = terminal.until("type production to remove it: ")
            assert "production: 4 roles, 4 policies, 2 secrets with all versions, below secret/production/" in describe
            terminal.type(typed)
            terminal.until("production is gone" if not left else "nothing was removed")
            assert terminal.process.wait(10) == ended
        finally:
            terminal.close()
        assert (ground.dump(*ENVIRONMENTS) == before) is left


def test_neither_a_neighbour_nor_what_a_record_was_made_to_say_is_removed(ground):
    ground.wanted["environments"] = ["test", "testing"]
    ground.run()
    neighbour = ground.dump("testing")
    record = ground.secret("test/lessee/setup")
    for path in ("sys/policies/acl/testing-app", "auth/approle/role/testing-app", "sys/mounts/secret"):
        kind = {"sys/policies": "POLICY", "auth/approle": "ROLE"}.get("/".join(path.split("/")[:2]), "ENGINE")
        record["objects"][path] = {"kind": kind, "keys": {}}
    body = {"data": record}
    ground.ask("POST", "secret/data/test/lessee/setup", body, token=ground.log_in("test-security"))
    ground.run("--remove", "test", "--yes")
    assert ground.dump("testing") == neighbour


def test_a_removal_that_is_killed_can_be_run_again(ground):
    ground.run()
    others = ground.dump("development", "production")
    for step in (1, 6, 11):
        with Killing(ground.bao.port, step) as proxy:
            assert start(ground, proxy, "--remove", "testing", "--yes") in {-9, 0}
    if ground.has("GET", "secret/metadata/testing/lessee/setup"):
        ground.run("--remove", "testing", "--yes")
    assert not ground.dump("testing")["policies"]
    assert ground.dump("development", "production") == others


def test_what_cannot_be_removed_or_set_up_is_told(ground):
    assert "made nothing of the environment production" in ground.run("--remove", "production", code=64).stderr
    for words in (["--remove", "../x", "--yes"], ["--remove", "testing", "--force"], ["--yes"], ["--wrap", "5m"]):
        ground.run(*words, code=64)
    ground.wanted["environments"] = ["prod", "prod-eu"]
    assert "`prod-eu` begins with `prod-`" in ground.run("--plan", code=78).stderr


def test_a_token_that_may_not_is_told_of(ground):
    ground.run()
    said = ground.run("--plan", code=77, VAULT_TOKEN=ground.log_in("testing-ci")).stderr
    assert said == "lessee: sys/mounts: permission denied (403); set $VAULT_TOKEN to a token whose policy grants this\n"


@pytest.mark.parametrize(
    ("engine", "told"),
    [
        (
            {"type": "kv", "options": {"version": "1"}},
            "secret: it is KV version 1, which keeps no versions and has no cas",
        ),
        ({"type": "transit"}, "secret: a mount of type transit is there, and kv is wanted"),
    ],
)
def test_another_engine_where_the_secrets_belong_is_refused(ground, engine, describe):
    ground.ask("POST", "sys/mounts/secret", engine)
    assert describe in ground.run(code=77).stderr
    assert ground.ask("GET", "auth/token/lookup-self")
    assert not ground.has("GET", "sys/policies/acl/testing-app")
