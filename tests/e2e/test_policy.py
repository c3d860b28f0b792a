"""The policy of `lessee check --policy` suffices for a real agent, and the agent needs each of its rules."""

import json
import os
import re
import signal
import tempfile
import threading
from collections import defaultdict
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import pytest

from lessee.config.parsing import parse
from lessee.host.openbao import ROOT_TOKEN, OpenBao
from lessee.ops.access.policy.least_privilege import ASSUMED, Engine, identities, policy, text_of
from lessee.rendering.app_templates import compile_apps, path_scope_of
from lessee.rendering.templates import Compiler
from support.needs import need
from support.programs.sidecar import Sidecar, eventually
from support.servers.fault_proxy import Proxy

FORKED_AGENTS = True
AUDIT = 'audit "file" "tests" { options { file_path = "%s" } }'
TOKEN = {"token_no_default_policy": True, "token_ttl": "5s"}
RULE = re.compile(r'^path "(.*)" \{\n  capabilities = \["(.*)"\]\n\}$', re.MULTILINE)
SHORT = {"default_ttl": "5s", "max_ttl": "1h"}
MEMORY = "/dev/shm"


class Situation(NamedTuple):
    """A configuration: templates by app (`other` has its own identity), and the properties of its mount."""

    mount: str
    engine: Engine
    apps: dict


SITUATIONS = {
    "all": Situation(
        "secret",
        Engine(2, detailed=True),
        {
            "web": {
                "kv.txt.j2": (
                    '{{ secret("database/one").value }} {{ secret("database/two").value }} '
                    '{{ secret("alone/x").value }} {{ secret("pinned/y", version=1).value }}'
                    ' {{ secret("shared/z").value }}'
                    ' {{ secrets("api-keys/") | join(",") }}\n'
                ),
                "db.txt.j2": '{% set db = dynamic("database/creds/simba") %}{{ db.username }} {{ db.password }}\n',
                "retained.txt.j2": '{{ dynamic("database/creds/retained").username }}\n',
                "static.txt.j2": '{{ dynamic("database/static-creds/simba_policy").password }}\n',
                "tls.txt.j2": (
                    '{{ certificate("pki/issue/web", common_name="web.local").certificate }}\n'
                    '{{ certificate("pki/issue/own", common_name="web.local", key="local").private_key }}\n'
                ),
            },
            "other": {"other.txt.j2": '{{ secret("alone/x").value }}\n'},
        },
    ),
    "assumed": Situation(
        "secret",
        ASSUMED,
        {"web": {"kv.txt.j2": '{{ secret("database/one").value }} {{ secrets("api-keys/") | join(",") }}\n'}},
    ),
    "old": Situation(
        "old",
        Engine(1, detailed=False),
        {"web": {"kv.txt.j2": '{{ secret("one").value }} {{ secrets("api-keys/") | join(",") }}\n'}},
    ),
}


def configuration(situation, auths):
    """The lessee.yaml for the tests' environment."""
    return {
        "environment": "testing",
        "vault": {"auth": auths["web"]},
        "secrets": {"mount": situation.mount, "shared_prefixes": ["shared/"]},
        "apps": {
            app: {
                "directory": f"/run/{app}",
                "refresh_interval": "200ms",
                "files": [{"template": name} for name in templates],
                "notify": {"command": ["true"]},
            }
            | ({"vault": {"auth": auths[app]}} if app == "other" else {})
            for app, templates in situation.apps.items()
        },
        # Of a secret that no app reads: without the block, another file may rotate what they read.
        "rotation": {"unread": {"kind": "vault", "secret": "unread", "keys": {"value": {}}}},
    }


def rules():
    """All rules of all situations: the situation, the identity's app, and the path."""
    auth = {"method": "approle", "role_id_file": "/role_id"}
    for name, situation in SITUATIONS.items():
        auths = {"web": auth, "other": auth | {"role_id_file": "/other"}}
        config = parse(json.dumps(configuration(situation, auths)), source="lessee.yaml", environ={})
        texts = {template: text for templates in situation.apps.values() for template, text in templates.items()}
        compiled_apps = compile_apps(config, Compiler(texts.__getitem__, path_scope_of(config)))
        for vault, some in identities(compiled_apps.values(), config.vault).items():
            for rule in policy(vault, some, situation.engine).rules:
                yield name, some[0].app.name, rule.path


ALL = list(rules())
# Rules that do not depend on the mount are tested once.
NEEDED = [one for one in ALL if one[0] == "all" or one[2].startswith(("old/", "secret/metadata/"))]


def is_optional(path):
    """Whether an app gets its files without this rule, with more requests. A folder needs its list rule."""
    listed = path.endswith("api-keys/")
    return path.startswith(("auth/token/", "sys/leases/")) or ("metadata/" in path and not listed)


class Audit:
    """The requests to the server by policy, from its audit log."""

    def __init__(self, file):
        self._log, self._rest, self._lock = file.open(), "", threading.Lock()
        self._asked = defaultdict(list)

    def asked(self, role):
        """The requests with this role: operations, paths and errors."""
        with self._lock:
            *lines, self._rest = (self._rest + self._log.read()).split("\n")
            for line in lines:
                if '"type":"response"' in line:
                    entry = json.loads(line)
                    asked = entry["request"]["operation"], entry["request"]["path"], entry.get("error", "")
                    for policy in entry.get("auth", {}).get("policies", ()):
                        self._asked[policy].append(asked)
            return list(self._asked[role])

    def refused(self, role):
        return [path for _, path, error in self.asked(role) if error]

    def close(self):
        self._log.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory, postgres):
    need(os.access(MEMORY, os.W_OK), f"needs a writable tmpfs at {MEMORY}")
    folder = tmp_path_factory.mktemp("audited")
    with OpenBao(folder, config=AUDIT % (folder / "audit.log")) as bao, closing(Audit(folder / "audit.log")) as audit:
        bao.audit = audit
        postgres.attach(bao, **SHORT)
        postgres.attach(bao, role="retained", default_ttl="1h")
        postgres.static_role(bao, "simba_policy")
        bao.ask("POST", "sys/mounts/pki", {"type": "pki"})
        bao.ask("POST", "pki/root/generate/internal", {"common_name": "test CA", "ttl": "24h", "key_type": "ec"})
        for role in ("web", "own"):
            bao.ask("POST", f"pki/roles/{role}", {"allow_any_name": True, "ttl": "1h", "key_type": "ec"})
        bao.ask("POST", "sys/mounts/old", {"type": "kv", "options": {"version": "1"}})
        for path in ("database/one", "database/two", "alone/x", "pinned/y", "pinned/y", "api-keys/a", "api-keys/sub/b"):
            bao.put(f"testing/{path}", value=path)
        bao.put("shared/z", value="shared/z")
        for path in ("one", "api-keys/a", "api-keys/sub/b"):
            bao.ask("POST", f"old/testing/{path}", {"value": path})
        yield bao
        bao.ask("POST", "sys/leases/revoke-prefix/database/creds", {"sync": True})


class Life:
    """A real agent whose identities have one role each; `grant` sets their policies."""

    def __init__(self, server, name, situation):
        self.server, self.name = server, name
        self._home = tempfile.TemporaryDirectory(prefix="lessee-test-", dir=MEMORY)
        home = Path(self._home.name)
        (home / "memory").mkdir()
        self.agent = agent = Sidecar(server.address, home, home / "memory")
        auths = {}
        for app in ("web", "other"):
            files = {key: str(home / f"{app}.{key}") for key in ("role_id_file", "secret_id_file")}
            auths[app] = {"method": "approle", **files}
        agent.config |= configuration(SITUATIONS[situation], auths)
        agent.config["vault"]["address"] = server.address
        for app, templates in SITUATIONS[situation].apps.items():
            agent.config["apps"][app]["directory"] = str(agent.memory / app)
            for template, text in templates.items():
                (home / template).write_text(text)
        agent.write_config()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.agent.close()
        self._home.cleanup()

    def role(self, app):
        return f"{self.name}-{app}"

    def check(self, *options, env=None):
        return self.agent.command("check", "--policy", *options, env=env)

    def printed(self, *options, env=None):
        """The policy of each identity, by its first app."""
        said = self.check(*options, env=env)
        assert (said.returncode, said.stderr) == (0, "")
        texts = re.split(r"^(?=# Policy for )", said.stdout, flags=re.MULTILINE)[1:]
        return {re.match(r"# Policy for (\w+)", text)[1]: text for text in texts}

    def grant(self, policies, **token):
        for app, text in policies.items():
            role_id, secret_id = self.server.approle(self.role(app), text, **TOKEN | token)
            (self.agent.disk / f"{app}.role_id_file").write_text(role_id)
            (self.agent.disk / f"{app}.secret_id_file").write_text(secret_id)

    def refused(self, app):
        return self.server.audit.refused(self.role(app))

    def reads(self, app, name):
        return (self.agent.memory / app / name).read_text()


@pytest.fixture(scope="module")
def printed(server):
    """The printed policies of each situation."""
    found = {}
    for name, situation in SITUATIONS.items():
        with Life(server, f"printed-{name}", name) as life:
            found[name] = life.printed(*(["--online"] if situation.engine is not ASSUMED else []))
    return found


@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_printed_rules_are_those_tested_below(printed, situation):
    found = [(app, *rule) for app, text in printed[situation].items() for rule in RULE.findall(text)]
    assert [(situation, app, path) for app, path, _ in found] == [one for one in ALL if one[0] == situation]
    assert {capability for _, _, capability in found} <= {"read", "list", "update"}  # One each.


def is_long(seconds):
    return seconds is None or seconds > 60


@contextmanager
def long_lived(server, postgres, role):
    """Tokens and leases that are renewed from now on outlive any restart."""
    server.ask("POST", f"auth/approle/role/{role}", {"token_ttl": "1h"})
    postgres.attach(server, default_ttl="1h", max_ttl="1h")
    try:
        yield
    finally:
        postgres.attach(server, **SHORT)


def test_the_policy_suffices_for_everything_an_agent_does_with_few_requests(server, postgres, printed):
    with Life(server, "suffices", "all") as life:
        life.grant(printed["all"])
        agent, role = life.agent, life.role("web")
        agent.start("--revoke")
        lines = "database/one database/two alone/x pinned/y shared/z a\n"
        eventually(lambda: life.reads("web", "kv.txt") == lines, "the secrets")
        assert life.reads("other", "other.txt") == "alone/x\n"
        username = life.reads("web", "retained.txt")

        def times(operation, path):
            return [asked[:2] for asked in server.audit.asked(role)].count((operation, path))

        listing = "list", "secret/detailed-metadata/testing/database/"
        looks = times(*listing)
        server.put("testing/database/two", value="changed")
        server.put("testing/api-keys/a2", value="another")
        server.put("testing/alone/x", value="changed too")
        lines = "database/one changed changed too pinned/y shared/z a,a2\n"
        eventually(lambda: life.reads("web", "kv.txt") == lines, "the changes")
        eventually(lambda: life.reads("other", "other.txt") == "changed too\n", "the other's change")
        assert times(*listing) > looks
        assert times("read", "secret/data/testing/database/one") == 1
        assert times("read", "secret/data/testing/database/two") == 2
        for path in ("auth/token/renew-self", "sys/leases/renew"):
            eventually(lambda path=path: times("update", path), path)
        with long_lived(server, postgres, role):
            agent.until(lambda s: s["leases"] and all(is_long(one["expires_in"]) for one in s["leases"]))
        agent.stop(signal.SIGKILL)
        agent.start("--revoke")
        eventually(lambda: times("update", "sys/leases/lookup") >= 2, "the look at the leases")
        assert times("read", "auth/token/lookup-self")
        assert life.reads("web", "retained.txt") == username
        (agent.disk / "retained.txt.j2").write_text("none\n")
        eventually(lambda: times("update", "sys/leases/revoke"), "the revocation")
        assert agent.stop() == 0
        assert times("update", "auth/token/revoke-self")
        for app in ("web", "other"):
            assert life.refused(app) == []
        assert not times("read", "secret/metadata/testing/database/one")


@pytest.mark.parametrize("situation", ["assumed", "old"])
def test_the_policy_suffices_for_any_kind_of_mount(server, printed, situation):
    mount = SITUATIONS[situation].mount
    with Life(server, f"suffices-{situation}", situation) as life:
        life.grant(printed[situation])
        life.agent.start()
        path = "testing/api-keys/z"
        if mount == "secret":
            server.put(path, value="last")
        else:
            server.ask("POST", f"old/{path}", {"value": "last"})
        eventually(lambda: life.reads("web", "kv.txt").endswith(",z\n"), "the change")
        # The agent has tried detailed metadata once for each folder.
        refused = {path for path in life.refused("web") if not path.startswith("secret/detailed-metadata/")}
        assert refused == set()
        assert len(life.refused("web")) <= 2


RESTART = ("auth/token/lookup-self", "sys/leases/lookup")
"""Paths that an agent reads only after it was killed."""
REVOKE = "sys/leases/revoke"
END = "auth/token/revoke-self"


class Crowd:
    """An agent with an app for each of these rules, whose identity has all rules of its policy except that one."""

    def __init__(self, life, policies, rules):
        self._life, self.agent = life, life.agent
        self._apps = {rule: f"app{number}" for number, rule in enumerate(rules)}
        config = self.agent.config
        of_situation = config.pop("apps")
        config["apps"] = {}
        for (_, app, path), name in self._apps.items():
            files = {key: str(self.agent.disk / f"{name}.{key}") for key in ("role_id_file", "secret_id_file")}
            auth = {"method": "approle", **files}
            directory = str(self.agent.memory / name)
            own = {"directory": directory, "refresh_interval": "1s", "vault": {"auth": auth}}
            config["apps"][name] = of_situation[app] | own
            config["vault"]["auth"] = auth
            if path == REVOKE:
                (self.agent.disk / "revoked.txt.j2").write_text((self.agent.disk / "retained.txt.j2").read_text())
                kept = [file for file in of_situation[app]["files"] if file["template"] != "retained.txt.j2"]
                config["apps"][name]["files"] = [*kept, {"template": "revoked.txt.j2"}]
            (lacking,) = (block for block in policies[app].split("\n\n") if f'path "{path}" {{' in block)
            # Only where it is renewed soon may a token be short: it would expire during a slow restart.
            ttl = "5s" if path == "auth/token/renew-self" else "1h"
            life.grant({name: policies[app].replace(lacking, "")}, token_ttl=ttl)
        self.agent.write_config()

    def is_refused(self, rule):
        # `+` is one segment; the rest is literal.
        path = re.compile(re.escape(rule[2]).replace(r"\+", "[^/]+"))
        return any(path.fullmatch(asked) for asked in self._life.refused(self._apps[rule]))

    def have_files(self, status):
        """Whether the app of each rule has its files."""
        return {rule: status["apps"][app]["generation"] is not None for rule, app in self._apps.items()}

    def wait(self, *paths):
        """Wait until the requests for these paths were refused."""
        rules = [rule for rule in self._apps if rule[2] in paths]
        eventually(lambda: all(map(self.is_refused, rules)), f"the refusal of {paths}")

    def is_over(self, status):
        """Whether each app has its files or reports the refusal of what it needs."""
        return all(self._is_over(status, *item) for item in self._apps.items())

    def _is_over(self, status, rule, app):
        if rule[2] in {*RESTART, REVOKE, END}:
            return status["apps"][app]["generation"] is not None
        if not self.is_refused(rule):
            return False
        if is_optional(rule[2]):
            return status["apps"][app]["generation"] is not None
        return any(line.startswith(f"{app}: ") and "403" in line for line in status["problems"])


@pytest.fixture(scope="module")
def lives(server, printed):
    """Whether the app without the rule has its files, for each rule; its request was refused."""
    found = {}
    for situation in SITUATIONS:
        rules = [rule for rule in NEEDED if rule[0] == situation]
        with Life(server, f"without-{situation}", situation) as life:
            crowd = Crowd(life, printed[situation], rules)
            crowd.agent.start("--revoke", wait=False)
            found |= crowd.have_files(crowd.agent.until(crowd.is_over))
            if situation == "all":
                (crowd.agent.disk / "revoked.txt.j2").write_text("none\n")
                crowd.wait(REVOKE)
                crowd.agent.stop(signal.SIGKILL)
                crowd.agent.start("--revoke", wait=False)
                crowd.wait(*RESTART)
                after = crowd.have_files(crowd.agent.until(crowd.is_over))
                found |= {rule: has_files for rule, has_files in after.items() if rule[2] in RESTART}
            crowd.agent.stop()
            crowd.wait(END)
    return found


@pytest.mark.parametrize(("situation", "app", "path"), NEEDED)
def test_without_a_rule_the_agent_is_refused(lives, situation, app, path):
    assert lives[situation, app, path] == is_optional(path)


def test_online_without_a_token_it_logs_in_as_the_agent_and_revokes_the_token(server, printed):
    with Life(server, "online", "old") as life:
        life.grant(printed["old"])
        life.agent.config["vault"]["auth"]["remove_secret_id_file_after_reading"] = True
        life.agent.write_config()
        before = server.ask("LIST", "auth/token/accessors")["data"]["keys"]
        said = life.printed("--online", env={"VAULT_TOKEN": ""})["web"]
        assert RULE.findall(said) == RULE.findall(printed["old"]["web"])
        assert server.ask("LIST", "auth/token/accessors")["data"]["keys"] == before
        assert (life.agent.disk / "web.secret_id_file").exists()
        assert life.refused("web") == []


def test_online_an_operator_s_token_is_not_sent_to_another_server(server, printed):
    with Life(server, "elsewhere", "all") as life, Proxy(server.port) as proxy:
        life.grant(printed["all"])
        life.agent.config["apps"]["other"]["vault"]["address"] = proxy.address
        life.agent.write_config()
        said = life.printed("--online")["other"]
        assert RULE.findall(said) == RULE.findall(printed["all"]["other"])
        assert proxy.count("sys/internal/ui/mounts")
        assert ROOT_TOKEN not in {request.headers.get("X-Vault-Token") for request in proxy.requests}


@pytest.mark.parametrize(
    ("block", "token", "code", "words"),
    [
        ({"auth": {"wrapped": True}}, "", 77, "would use up the agent's wrapping token"),
        ({}, "", 77, "there is no such mount, or the token's policy grants nothing below it; set $VAULT_TOKEN"),
        ({}, "no-token", 77, "set $VAULT_TOKEN"),
        ({"address": "http://127.0.0.1:9"}, ROOT_TOKEN, 69, "connection refused"),
    ],
    ids=["wrapped", "no rights", "no token", "away"],
)
def test_online_it_reports_why_it_cannot_read_the_mount(server, block, token, code, words):
    with Life(server, "cannot", "assumed") as life:
        life.grant({"web": 'path "elsewhere" { capabilities = ["read"] }'})
        vault = life.agent.config["vault"]
        life.agent.config["vault"] = vault | block | {"auth": vault["auth"] | block.get("auth", {})}
        life.agent.write_config()
        said = life.check("--online", env={"VAULT_TOKEN": token})
        assert (said.returncode, said.stdout) == (code, "")
        assert words in said.stderr


def test_in_a_namespace_the_policy_suffices_there(server):
    server.ask("POST", "sys/namespaces/team")
    server.ask("POST", "team/sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})
    server.ask("POST", "team/sys/auth/approle", {"type": "approle"})
    for path in ("database/one", "api-keys/a"):
        eventually(lambda path=path: _is_written(server, f"team/secret/data/testing/{path}"), "the mount")
    with Life(server, "namespaced", "assumed") as life:
        life.agent.config["vault"]["namespace"] = "team"
        life.agent.write_config()
        text = life.printed("--online")["web"]
        assert "# Namespace: team;" in text
        server.ask("PUT", "team/sys/policies/acl/web", {"policy": text})
        server.ask("POST", "team/auth/approle/role/web", {"token_policies": ["web"], **TOKEN})
        role_id = server.ask("GET", "team/auth/approle/role/web/role-id")["data"]["role_id"]
        secret_id = server.ask("POST", "team/auth/approle/role/web/secret-id")["data"]["secret_id"]
        (life.agent.disk / "web.role_id_file").write_text(role_id)
        (life.agent.disk / "web.secret_id_file").write_text(secret_id)
        life.agent.start()
        assert life.reads("web", "kv.txt") == "value a\n"
        assert not [line for line in life.agent.events() if "(403)" in str(line)]


def _is_written(server, path):
    try:
        return server.ask("POST", path, {"data": {"value": "value"}})
    except RuntimeError:
        return None  # a new mount of KV is being made ready


NAMES = ["a*b", "a+b", "+b", "x*/y", 'a"b', "a\\b", "a${b", "${b}", "a{b}", "\u00fc \u2603", "a#b", "a\\u0041"]


@pytest.mark.parametrize("name", NAMES)
def test_a_rule_grants_only_its_own_path(server, name):
    app = {"directory": "/run/web", "files": [{"template": "a"}]}
    said = {"environment": "testing", "secrets": {"mount": "old"}, "apps": {"web": app}}
    config = parse(json.dumps(said), source="lessee.yaml", environ={})
    template = f"{{{{ secret({json.dumps(name)}) | length }}}}"
    compiled_apps = compile_apps(config, Compiler(lambda _: template, path_scope_of(config)))
    made = policy(config.vault, tuple(compiled_apps.values()), Engine(1, detailed=False))
    server.ask("PUT", "sys/policies/acl/odd", {"policy": text_of(made)})
    created = server.ask("POST", "auth/token/create", {"policies": ["odd"], "no_default_policy": True})
    token, path = created["auth"]["client_token"], f"old/testing/{name}"
    server.ask("POST", quote(path), {"value": name})
    assert server.ask("GET", quote(path), token=token)["data"] == {"value": name}
    for sign in "*+$":
        if sign in name:
            with pytest.raises(RuntimeError, match="403"):
                server.ask("GET", quote(path.replace(sign, "other")), token=token)
