"""`lessee setup --migrate-from`: copies existing secrets with all versions into an environment."""

import itertools
import os
from datetime import datetime
from urllib.parse import quote

import pytest
import yaml

from lessee.host.openbao import ROOT_TOKEN
from support.programs.forks import run_lessee
from support.programs.sidecar import Sidecar, eventually
from support.servers.fault_proxy import Fault, Proxy, Status

NAMES = ["a b", "a%20b", "ü☃", "a#b", "a?b=c", "a+b*", 'a"b', " lead", "deep/er/x", "deep/er", "deep"]
CANARY = "canary-of-a-migration"
_NUMBER = itertools.count()


class Mounts:
    """KV mounts of the test on the shared server, and `lessee setup` with one of them."""

    def __init__(self, server, folder):
        self.server, self.folder = server, folder
        self.made = []
        self.mount = self.make(2)
        self.config = {
            "vault": {"address": server.address},
            "secrets": {"mount": self.mount, "shared_prefixes": ["shared/"]},
            "setup": {"environments": ["development", "production"]},
        }

    def make(self, version, **config):
        name = f"migrated{next(_NUMBER)}"
        self.server.ask("POST", f"sys/mounts/{name}", {"type": "kv", "options": {"version": str(version)}})
        self.made.append(name)
        if version == 2:
            eventually(lambda: self.configure(name, **config), "the mount")
        return name

    def configure(self, name, **config):
        try:
            self.server.ask("POST", f"{name}/config", {"max_versions": 0, **config})
        except RuntimeError:
            return False  # Vault is still initializing the new KV mount.
        return True

    def close(self):
        for name in self.made:
            self.server.ask("DELETE", f"sys/mounts/{name}")

    def write(self, path, *values, mount=None):
        for value in values:
            self.ask("POST", "data", path, {"data": {"value": value, "canary": CANARY}}, mount=mount)

    def ask(self, method, part, path, body=None, *, mount=None):
        return self.server.ask(method, f"{mount or self.mount}/{part}/{quote(path)}", body)

    def metadata(self, path, mount=None):
        return self.ask("GET", "metadata", path, mount=mount)["data"]

    def value(self, path, version):
        target = f"{self.mount}/data/{quote(path)}?version={version}"
        return self.server.ask("GET", target)["data"]["data"]["value"]

    def tree(self, below="", mount=None):
        """All paths below a folder."""
        try:
            names = self.ask("LIST", "metadata", below, mount=mount)["data"]["keys"]
        except RuntimeError:
            return []
        paths = [below + name for name in names]
        return [one for path in paths for one in (self.tree(path, mount) if path.endswith("/") else [path])]

    def all(self, below="", mount=None):
        """All metadata and data below a folder, with times."""
        found = {}
        for path in self.tree(below, mount):
            found[path] = metadata = self.metadata(path, mount)
            for version, said in metadata["versions"].items():
                if not said["destroyed"] and not said["deletion_time"]:
                    target = f"{mount or self.mount}/data/{quote(path)}?version={version}"
                    said["data"] = self.server.ask("GET", target)["data"]
        return found

    def run(self, *options, source=None, to="development", token=ROOT_TOKEN, address=None):
        config = self.config | ({"vault": {"address": address}} if address else {})
        (self.folder / "lessee.yaml").write_text(yaml.safe_dump(config))
        target = ["--to", to] if to else []
        command = ("setup", "--migrate-from", source or f"{self.mount}/", *target, *options)
        said = run_lessee(*command, cwd=self.folder, env={"PATH": os.environ["PATH"], "VAULT_TOKEN": token})
        assert CANARY not in said.stdout + said.stderr
        return said


@pytest.fixture
def mounts(bao, tmp_path):
    mounts = Mounts(bao, tmp_path)
    yield mounts
    mounts.close()


def history(mounts, path, mount=None):
    """Five versions with a limit of four: dropped, deleted, destroyed, and two readable ones."""
    settings = {"max_versions": 4, "cas_required": True, "custom_metadata": {"owner": "a team"}}
    mounts.ask("POST", "metadata", path, settings, mount=mount)
    for number in range(5):
        data = {"value": f"v{number + 1}", "canary": CANARY}
        mounts.ask("POST", "data", path, {"options": {"cas": number}, "data": data}, mount=mount)
    mounts.ask("POST", "delete", path, {"versions": [2]}, mount=mount)
    mounts.ask("PUT", "destroy", path, {"versions": [3]}, mount=mount)


def states(metadata):
    return {
        number: "destroyed" if version["destroyed"] else "deleted" if version["deletion_time"] else "there"
        for number, version in metadata["versions"].items()
    }


def test_all_versions_are_copied_in_order_with_their_settings(mounts):
    history(mounts, "database/postgres")
    before = mounts.all()
    said = mounts.run()
    assert said.returncode == 0, said.stderr
    name = f"{mounts.mount}/development/database/postgres"
    assert f"+ {name}: 5 versions, 3 of them deleted, destroyed or no longer stored\n" in said.stdout
    assert "1 copied and verified (5 versions), 0 already copied, 0 refused; the source is unchanged" in said.stdout
    assert "3 versions are unreadable in the source" in said.stdout
    source, copy = before["database/postgres"], mounts.metadata("development/database/postgres")
    for key in ("current_version", "oldest_version", "max_versions", "cas_required", "custom_metadata"):
        assert copy[key] == source[key], key
    assert states(copy) == states(source) == {"2": "deleted", "3": "destroyed", "4": "there", "5": "there"}
    assert [mounts.value("development/database/postgres", version) for version in (4, 5)] == ["v4", "v5"]
    after = mounts.all()
    assert {path: after[path] for path in before} == before


def test_nested_folders_and_unusual_names_are_copied(mounts):
    for name in NAMES:
        mounts.write(name, f"one {name}", f"two {name}")
    said = mounts.run()
    assert said.returncode == 0, said.stderr
    assert sorted(mounts.tree("development/")) == sorted(f"development/{name}" for name in NAMES)
    for name in NAMES:
        assert [mounts.value(f"development/{name}", number) for number in (1, 2)] == [f"one {name}", f"two {name}"]


def test_secrets_of_environments_of_lessee_and_shared_ones_are_not_copied(mounts):
    for path in ("development/x", "production/x", "lessee/x", "shared/x", "productions/x", "apps/production/x"):
        mounts.write(path, path)
    said = mounts.run()
    assert said.returncode == 0, said.stderr
    assert sorted(mounts.tree("development/")) == [
        "development/apps/production/x",
        "development/productions/x",
        "development/x",
    ]
    for folder, why in {
        "development/": "belongs to an environment",
        "production/": "belongs to an environment",
        "lessee/": "belongs to lessee",
        "shared/": "shared: apps read it without a prefix",
    }.items():
        assert f"- {mounts.mount}/{folder}: skipped: {why}\n" in said.stdout


def test_environments_in_deeper_folders_are_skipped(mounts):
    mounts.config["secrets"]["prefix"] = "environments/{environment}/"
    for path in ("x", "environments/development/y", "environments/production/y", "environments/other/y"):
        mounts.write(path, path)
    assert mounts.run().returncode == 0
    assert mounts.tree("environments/development/") == [
        "environments/development/environments/other/y",
        "environments/development/x",
        "environments/development/y",
    ]


def test_a_second_run_changes_nothing(mounts):
    history(mounts, "database/postgres")
    mounts.write("plain", "one")
    assert mounts.run().returncode == 0
    before = mounts.all()
    said = mounts.run()
    assert (said.returncode, said.stdout.count("already copied")) == (0, 3)
    assert "0 copied" in said.stdout
    assert mounts.all() == before
    mounts.write("plain", "two")
    said = mounts.run()
    assert f"+ {mounts.mount}/development/plain: 1 version\n" in said.stdout
    assert [mounts.value("development/plain", number) for number in (1, 2)] == ["one", "two"]


def test_a_different_target_secret_is_reported_and_never_overwritten(mounts):
    for path in ("value", "longer", "metadata", "fine"):
        mounts.write(path, "one")
    mounts.write("development/value", "another")
    mounts.write("development/longer", "one", "two")
    mounts.ask("POST", "metadata", "development/metadata", {"custom_metadata": {"a": "b"}})
    before = mounts.all("development/")
    said = mounts.run()
    assert said.returncode == 73
    for path, why in {
        "value": "version 1 has different values",
        "longer": "it has 2 versions, and the source 1",
        "metadata": "its max_versions, cas_required or custom_metadata differ",
    }.items():
        assert f"! {mounts.mount}/development/{path}: a different secret exists there: {why}\n" in said.stdout
    assert "1 copied and verified (1 versions), 0 already copied, 3 refused" in said.stdout
    after = mounts.all("development/")
    assert {path: after[path] for path in before} == before
    assert mounts.value("development/fine", 1) == "one"


def test_a_migration_plan_changes_nothing_and_equals_the_later_copies(mounts):
    history(mounts, "database/postgres")
    mounts.write("lessee/x", "one")
    mounts.write("other", "one")
    mounts.write("development/other", "another")
    before = mounts.all()
    planned = mounts.run("--plan")
    assert mounts.all() == before
    done = mounts.run()
    assert (planned.returncode, done.returncode) == (73, 73)
    assert planned.stdout.replace("to copy", "copied and verified") == done.stdout


def test_secrets_of_kv_version_1_are_copied(mounts):
    old = mounts.make(1)
    for path in ("database/postgres", "a b"):
        mounts.server.ask("POST", f"{old}/{quote(path)}", {"value": path, "number": 1.5, "nested": {"a": [1, None]}})
    said = mounts.run(source=f"/{old}/")
    assert said.returncode == 0, said.stderr
    for path in ("database/postgres", "a b"):
        copy = mounts.ask("GET", "data", f"development/{path}")["data"]
        assert copy["data"] == {"value": path, "number": 1.5, "nested": {"a": [1, None]}}
        assert copy["metadata"]["version"] == 1
    assert "2 already copied" in mounts.run(source=old).stdout
    said = mounts.run(source=f"{old}/database", to="production")
    assert said.returncode == 0, said.stderr
    assert mounts.tree("production/") == ["production/postgres"]


def test_a_number_that_kv_version_2_would_round_is_refused(mounts):
    old = mounts.make(1)
    mounts.server.ask("POST", f"{old}/alike", {"one": 1.0, "more": [{"zero": -0.0, "large": 1e22}], "yes": True})
    mounts.server.ask("POST", f"{old}/long", {"more": [{"id": 12345678901234567890}]})
    for _ in range(2):
        said = mounts.run(source=old)
        assert said.returncode == 73
        assert "/long: it has an integer with more digits than KV version 2 stores; write it as a string" in said.stdout
        assert mounts.tree("development/") == ["development/alike"]
    assert "1 already copied, 1 refused" in said.stdout


def test_no_version_is_lost_where_the_target_mount_stores_fewer(mounts):
    source = mounts.make(2, max_versions=15)
    mounts.write("many", *map(str, range(12)), mount=source)
    said = mounts.run(source=source)
    assert said.returncode == 0, said.stderr
    assert [mounts.value("development/many", number) for number in range(1, 13)] == list(map(str, range(12)))
    assert mounts.metadata("development/many")["max_versions"] == 15
    assert "1 already copied" in mounts.run(source=source).stdout


def test_copies_have_the_deletion_times_of_the_source(mounts):
    mounts.ask("POST", "metadata", "ends", {"delete_version_after": "2h"})
    mounts.write("ends", "one")
    mounts.ask("POST", "metadata", "ends", {"delete_version_after": "0s"})
    mounts.write("ends", "two")
    mounts.ask("POST", "metadata", "ends", {"delete_version_after": "30m"})
    mounts.write("ends", "three")
    mounts.ask("POST", "metadata", "ends", {"delete_version_after": "1h"})
    assert mounts.run().returncode == 0
    source, copy = mounts.metadata("ends"), mounts.metadata("development/ends")
    assert copy["delete_version_after"] == source["delete_version_after"] == "1h0m0s"
    assert copy["versions"]["2"]["deletion_time"] == ""
    for number in ("1", "3"):
        moments = [datetime.fromisoformat(one["versions"][number]["deletion_time"]) for one in (source, copy)]
        assert abs((moments[0] - moments[1]).total_seconds()) < 5
    assert "1 already copied" in mounts.run().stdout


class DyingProxy(Proxy):
    """The server gets the first write, or not, and no response returns after it."""

    fault = Fault.CUT

    def fault_of(self, _):
        changes = [one for one in self.requests if one.method != "GET"]
        return None if not changes else self.fault if self.requests[-1] is changes[0] else Fault.DROP


@pytest.mark.parametrize("fault", [Fault.CUT, Fault.DROP], ids=["done", "not done"])
def test_a_migration_interrupted_at_any_step_continues(mounts, fault):
    history(mounts, "one")
    mounts.ask("POST", "metadata", "two", {"delete_version_after": "2h"})
    mounts.write("two", "first", "second")
    mounts.ask("POST", "metadata", "two", {"delete_version_after": "1h"})
    source = mounts.all()
    broken = 0
    with DyingProxy(mounts.server.port) as proxy:
        proxy.fault = fault
        if fault is Fault.DROP:
            said = mounts.run(address=proxy.address)
            assert said.returncode == 69, said.stdout
            assert mounts.all() == source
            proxy.requests.clear()
            proxy.fault = Fault.CUT
        while (said := mounts.run(address=proxy.address)).returncode == 69:
            broken += 1
            proxy.requests.clear()
            assert broken < 20
    assert said.returncode == 0, said.stdout + said.stderr
    # Settings, five versions, a deletion, a destruction; then settings twice and two versions.
    assert broken == 12
    assert "2 already copied" in said.stdout
    copies = mounts.all("development/")
    for path in ("one", "two"):
        assert states(copies[f"development/{path}"]) == states(source[path])
        assert copies[f"development/{path}"]["current_version"] == source[path]["current_version"]
    assert [mounts.value("development/one", number) for number in (4, 5)] == ["v4", "v5"]
    assert {path: mounts.all()[path] for path in source} == source


def test_a_copy_that_differs_when_read_back_is_reported(mounts):
    mounts.write("x", "one")
    mounts.write("y", "one")
    with Proxy(mounts.server.port) as proxy:
        proxy.on_path("/data/development/x", Status(200, body=b'{"data": {"version": 1}}'))
        said = mounts.run(address=proxy.address)
    assert said.returncode == 73
    assert f"! {mounts.mount}/development/x: the copy differs when read back: another client" in said.stdout
    assert "1 copied and verified (1 versions), 0 already copied, 1 refused" in said.stdout
    assert mounts.tree("development/") == ["development/y"]


def test_a_concurrent_write_is_not_overwritten(mounts):
    mounts.write("x", "one", "two")

    class Busy(Proxy):
        def fault_of(self, _):
            if [one.method for one in self.requests].count("POST") == 2 and self.requests[-1].method == "POST":
                mounts.write("development/x", "another's")

    with Busy(mounts.server.port) as proxy:
        said = mounts.run(address=proxy.address)
    assert said.returncode == 77
    assert f"{mounts.mount}/data/development/x: Vault refused the request (400)" in said.stderr
    assert [mounts.value("development/x", number) for number in (1, 2)] == ["one", "another's"]


def test_an_agent_of_the_environment_reads_the_copy(mounts, tmp_path, memory):
    mounts.write("database/postgres", "first", "second")
    assert mounts.run().returncode == 0
    agent = Sidecar(mounts.server.address, tmp_path, memory, environment="development")
    agent.config["secrets"] = mounts.config["secrets"]
    text = '{{ secret("database/postgres").value }} {{ secret("database/postgres", version=1).value }}'
    agent.template("web.txt", text)
    agent.write_config()
    assert agent.command("render", "--output", "out").returncode == 0
    assert (tmp_path / "out" / "web" / "web.txt").read_text() == "second first"


@pytest.mark.parametrize(
    ("options", "config", "code", "words"),
    [
        ({"to": ""}, {}, 64, "the target environment is missing; add --to"),
        (
            {"to": "staging"},
            {},
            64,
            "no environment 'staging' in the configuration; use one of: development, production",
        ),
        ({"source": "no-such-mount/"}, {}, 77, "no-such-mount: no such mount"),
        ({"source": "sys/"}, {}, 78, "sys: the path is not in a KV mount"),
        ({"source": "{mount}/nothing"}, {}, 64, "no secret below this path"),
        ({"source": "{mount}/development"}, {}, 64, "the path is already in an environment's folder"),
        ({"source": "{mount}/production/x"}, {}, 64, "the path is already in an environment's folder"),
        ({}, {"prefix": "fixed/"}, 78, "two environments have the same folder"),
        ({}, {"prefix": ""}, 78, "two environments have the same folder"),
        ({}, {"mount": "no-such-mount"}, 77, "no-such-mount: no such mount"),
        ({"token": "no-token"}, {}, 77, "set $VAULT_TOKEN"),
    ],
)
def test_impossible_migrations_are_reported_before_any_write(mounts, options, config, code, words):
    mounts.write("x", "one")
    before = mounts.all()
    mounts.config["secrets"] |= config
    options = {key: value.replace("{mount}", mounts.mount) for key, value in options.items()}
    said = mounts.run(**options)
    assert (said.returncode, said.stdout) == (code, "")
    assert words in said.stderr
    assert mounts.all() == before


def test_a_target_without_versions_is_refused(mounts):
    mounts.write("x", "one")
    mounts.config["secrets"] = {"mount": mounts.make(1)}
    said = mounts.run()
    assert (said.returncode, said.stdout) == (73, "")
    assert "has no versions; upgrade it" in said.stderr
    assert mounts.tree() == ["x"]
