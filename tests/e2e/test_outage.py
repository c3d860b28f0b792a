"""Outages of Vault, during which the apps have their files."""

import json
import os
import re
import subprocess
import time
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from itertools import pairwise
from types import SimpleNamespace

import pytest

from lessee.host.openbao import free_port
from support.needs import need
from support.programs.sidecar import Sidecar, eventually
from support.servers.fault_proxy import Fault, Proxy, Status

FORKED_AGENTS = True
APP = 'PASSWORD={{ secret("db").password }}\n'
READ = 'path "secret/*" { capabilities = ["read", "list"] }\n'
DENY = """
path "secret/data/testing/far/*"     { capabilities = ["deny"] }
path "secret/metadata/testing/far/*" { capabilities = ["deny"] }
"""
RETRY = 5.5
"""Seconds until the next try, after trouble of seconds: five and its jitter."""


@pytest.fixture
def sidecar(bao, folder, tmp_path, memory):
    """Its environment is its own."""
    agent = Sidecar(bao.address, tmp_path, memory, environment=folder)
    yield agent
    agent.close()


@pytest.fixture
def own(server, tmp_path, memory):
    """A sidecar of a server that may be broken."""
    agent = Sidecar(server.address, tmp_path, memory)
    yield agent
    agent.close()


@pytest.fixture
def proxy(bao):
    with Proxy(bao.port) as proxy:
        yield proxy


@pytest.fixture
def put(bao, folder):
    """Write a secret of the sidecar's environment."""
    return lambda path, **fields: bao.put(f"{folder}/{path}", **fields)


@pytest.fixture
def proxied(put, proxy, sidecar):
    """One app of one secret, and the proxy on its way to Vault."""
    put("db", password="first")
    sidecar.config["vault"]["address"] = proxy.address
    sidecar.template("app.env.j2", APP)
    return sidecar


def is_back(sidecar, value="second"):
    """All is as if nothing had been."""
    sidecar.until_file("app.env", f"PASSWORD='{value}'\n")
    sidecar.until(lambda s: s["fresh"] and s["vault"]["reachable"] and not s["problems"])


def is_tried_soon(sidecar):
    """Whether the plan says so: how long the try takes is up to the machine."""

    def is_soon(status):
        at = status["vault"]["next_retry_at"]
        return at and (datetime.fromisoformat(at) - datetime.now(UTC)).total_seconds() < RETRY

    return sidecar.until(is_soon)


FAULTS = {
    **{fault.name: fault for fault in (Fault.REFUSE, Fault.DROP, Fault.CUT, Fault.RUBBISH, Fault.HANG)},
    **{str(code): Status(code) for code in (429, 500, 502, 503)},
}


@pytest.fixture(scope="module")
def outages(bao, tmp_path_factory, module_memory):
    """One agent, whose apps reach Vault by proxies with one fault each: the status and files during them and after."""
    disk, folder = tmp_path_factory.mktemp("outages"), module_memory.name
    bao.put(f"{folder}/db", password="first")
    agent = Sidecar(bao.address, disk, module_memory, environment=folder)
    agent.template("app.env.j2", APP)
    app = agent.config["apps"].pop("web")
    with ExitStack() as stack:
        stack.callback(agent.close)
        proxies = {name: stack.enter_context(Proxy(bao.port)) for name in FAULTS}
        for name, proxy in proxies.items():
            vault = {"address": proxy.address}
            agent.config["apps"][name] = app | {"directory": str(module_memory / name), "vault": vault}
        agent.start()
        for name, proxy in proxies.items():
            proxy.fault = FAULTS[name]
        bao.put(f"{folder}/db", password="second")
        during = agent.until(
            lambda s: (
                not any(vault["reachable"] for vault in vaults(s).values())
                and not any(app["fresh"] for app in s["apps"].values())
            )
        )
        files = env_files(agent)
        for proxy in proxies.values():
            proxy.clear()
        after = agent.until(lambda s: s["fresh"] and not s["problems"] and "'first'" not in str(env_files(agent)))
        yield SimpleNamespace(agent=agent, during=during, files=files, after=after, later_files=env_files(agent))


def vaults(status):
    """The connection of each app."""
    return {name: one["vault"] for one in status["identities"] for name in one["apps"]}


def env_files(agent):
    return {name: (agent.memory / name / "app.env").read_text() for name in agent.config["apps"]}


@pytest.mark.thorough(each=3)
@pytest.mark.parametrize("name", FAULTS)
def test_in_an_outage_the_files_remain_and_its_start_and_end_are_logged(outages, name):
    assert outages.during["ready"]
    vault = vaults(outages.during)[name]
    assert vault["since"] < vault["next_retry_at"]
    assert any(f"{name}: vault is unavailable" in line for line in outages.during["problems"])
    assert outages.files[name] == "PASSWORD='first'\n"
    assert outages.later_files[name] == "PASSWORD='second'\n"
    assert vaults(outages.after)[name]["reachable"]
    said = [event["event"] for event in outages.agent.events()]
    assert said.count("vault available") == len(FAULTS)  # an outage is logged once per reason


def test_a_server_that_hangs_is_a_problem_within_seconds_and_detected_when_available(outages):
    assert any("no answer in time" in line for line in outages.during["problems"] if line.startswith("HANG: "))
    assert outages.later_files["HANG"] == "PASSWORD='second'\n"


def test_a_sealed_server_causes_no_new_login_and_no_new_lease(server, own):
    server.put("testing/db", password="first")
    own.log_in_by_approle(server, READ)
    own.template("app.env.j2", APP)
    own.start()
    server.ask("PUT", "sys/seal")
    status = own.until(lambda s: not s["vault"]["reachable"])
    assert "sealed" in status["problems"][0]
    key = re.search(r"Unseal Key: (\S+)", server.log.read_text())[1]
    server.ask("PUT", "sys/unseal", {"key": key})
    eventually(lambda: is_written(server, password="second"), "a write after the unsealing")
    is_back(own)
    assert own.status()["totals"]["logins"] == 1


def test_a_remounted_kv_engine_is_detected_and_costs_one_list_per_check_again(server, own):
    server.put("testing/db", password="first")
    server.put("testing/more", password="more")
    own.template("app.env.j2", APP)
    own.template("more.env.j2", 'PASSWORD={{ secret("more").password }}\n')
    own.start()
    assert own.status()["vault"]["polling"] == {"secret/testing/": "list"}
    server.ask("DELETE", "sys/mounts/secret")
    status = own.until(lambda s: s["problems"])
    assert status["vault"]["reachable"]
    assert (own.directory / "app.env").read_text() == "PASSWORD='first'\n"
    mount_again(server)
    server.put("testing/more", password="more")
    is_back(own)
    assert own.until(lambda s: s["vault"]["polling"])["vault"]["polling"] == {"secret/testing/": "list"}


def mount_again(server):
    """As it was, but for what it held."""
    server.ask("POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})
    eventually(lambda: is_written(server, password="second"), "a write after the mounting")


def is_written(server, **fields):
    """Whether the server takes a write: it may be getting ready."""
    with suppress(RuntimeError):
        return server.put("testing/db", **fields)


FAILURES = {
    "429": Status(429), "500": Status(500), "503": Status(503), "dropped": Fault.DROP, "cut": Fault.CUT
}  # fmt: skip


def test_one_failing_path_does_not_affect_the_others(bao, put, sidecar):
    """Each failure on the way to Vault of two apps of their own: the path of one fails."""
    put("db", password="first")
    sidecar.template("app.env.j2", APP)
    app = sidecar.config["apps"].pop("web")
    with ExitStack() as stack:
        proxies = {name: stack.enter_context(Proxy(bao.port)) for name in FAILURES}
        for name, proxy in proxies.items():
            add_other_app(put, sidecar, name)
            near = {**app, "directory": str(sidecar.memory / f"near{name}")}
            sidecar.config["apps"] |= {f"near{name}": near}
            for one in (name, f"near{name}"):
                sidecar.config["apps"][one]["vault"] = {"address": proxy.address}
        sidecar.start()
        for name, fault in FAILURES.items():
            proxies[name].on_path(f"/{name}/", fault)
            put(f"{name}/db", password="second")
        since = time.monotonic()
        for number in range(12):
            put("db", password=f"p{number}")
            for name in FAILURES:
                file = sidecar.memory / f"near{name}" / "app.env"
                wanted = f"PASSWORD='p{number}'\n"
                eventually(lambda file=file, wanted=wanted: file.read_text() == wanted, "the update")
        sidecar.until(lambda s: all(any(f"/{name}/" in line for line in s["problems"]) for name in FAILURES))
        for name, proxy in proxies.items():
            assert other_file(sidecar, name) == "PASSWORD='first'\n"
            # So no update waited for the next try of the other path.
            assert proxy.count(f"/{name}/", since) <= 10
        assert not any(event["event"] == "vault unavailable" for event in sidecar.events())
        for name, proxy in proxies.items():
            proxy.clear()
            eventually(lambda name=name: other_file(sidecar, name) == "PASSWORD='second'\n", "the other's file")


def test_a_path_that_is_denied_for_a_while_costs_no_login(bao, put, sidecar, folder):
    put("db", password="first")
    sidecar.log_in_by_approle(bao, READ)
    sidecar.template("app.env.j2", APP)
    add_other_app(put, sidecar, "far")
    sidecar.start()
    policy = f"sys/policies/acl/{sidecar.disk.name}"
    bao.ask("PUT", policy, {"policy": READ + DENY.replace("testing", folder)})
    sidecar.until(lambda s: any("403" in line for line in s["problems"]))
    put("far/db", password="second")
    put("db", password="second")
    sidecar.until_file("app.env", "PASSWORD='second'\n")
    assert other_file(sidecar, "far") == "PASSWORD='first'\n"
    bao.ask("PUT", policy, {"policy": READ})
    eventually(lambda: other_file(sidecar, "far") == "PASSWORD='second'\n", "the other's file")
    is_back(sidecar)
    assert sidecar.status()["totals"]["logins"] == 1


def add_other_app(put, sidecar, name):
    """An app with a secret in a folder of this name."""
    put(f"{name}/db", password="first")
    (sidecar.disk / f"{name}.env.j2").write_text(f'PASSWORD={{{{ secret("{name}/db").password }}}}\n')
    sidecar.config["apps"][name] = {
        "directory": str(sidecar.memory / name),
        "refresh_interval": "200ms",
        "files": [{"template": f"{name}.env.j2"}],
    }


def other_file(sidecar, name):
    return (sidecar.memory / name / f"{name}.env").read_text()


@pytest.mark.thorough
def test_hanging_reads_delay_no_lease_renewal(bao, put, proxy, proxied, postgres, folder):
    postgres.attach(bao, role=f"short_{folder}", default_ttl="7s", max_ttl="1h")
    proxied.template("db.txt.j2", f'{{{{ dynamic("database/creds/short_{folder}").username }}}}\n')
    for name in "abcd":  # more than there are threads to read
        put(f"{name}/x", y="1")
        proxied.template(f"{name}.txt.j2", f'{{{{ secret("{name}/x").y }}}}\n')
    proxied.start()
    proxy.on_path("/secret/", Fault.HANG)
    hung = time.monotonic()
    proxied.until(lambda s: not s["fresh"])
    # Each happens at 0.5-0.7 of the ttl, and so before its end, at which another lease would be issued.
    eventually(lambda: proxy.count("sys/leases/renew", since=hung) >= 2, "two renewals")
    assert proxied.status()["totals"]["leases_issued"] == 1


def test_an_agent_that_starts_before_vault_waits_for_it(proxy, proxied):
    proxy.fault = Fault.REFUSE
    proxied.start(wait=False)
    status = proxied.until(lambda s: s["problems"] and s["vault"]["next_retry_at"])
    assert not status["ready"]
    assert "connection refused" in status["problems"][0]
    assert is_tried_soon(proxied)
    proxy.clear()
    is_back(proxied, "first")


def test_an_unresolvable_name_is_a_problem_until_an_edit(proxy, proxied):
    proxied.config["vault"]["address"] = f"http://vault.invalid:{free_port()}"
    proxied.start(wait=False)
    proxied.until(lambda s: any("name cannot be resolved" in line for line in s["problems"]))
    proxied.config["vault"]["address"] = proxy.address
    proxied.write_config()
    is_back(proxied, "first")


def test_render_exits_with_69_after_its_timeout_if_vault_hangs(proxy, proxied):
    proxy.fault = Fault.HANG
    proxied.write_config()
    begun = time.monotonic()
    done = proxied.command("render", "--timeout", "1s")
    assert done.returncode == 69
    assert "did not provide its secrets in time" in done.stderr
    assert 1 < time.monotonic() - begun < 15


def test_a_redirect_to_another_host_is_a_problem_and_not_followed(bao, proxy, proxied, folder):
    proxied.log_in_by_approle(bao, READ)
    proxied.start()
    with Proxy(bao.port) as other:
        proxy.fault = Status(307, {"Location": f"{other.address}/v1/secret/data/{folder}/db"})
        status = proxied.until(lambda s: not s["vault"]["reachable"])
        assert "redirect" in status["problems"][0]
        seen = proxy.count()
        eventually(lambda: proxy.count() >= seen + 2, "more tries")
        assert other.connections == 0


@pytest.mark.thorough
def test_retry_after_is_respected_with_little_jitter(proxy, proxied, folder):
    proxied.start()
    proxy.on_path(f"{folder}/db", Status(429, {"Retry-After": "2"}))
    begun = time.monotonic()
    secret = proxied.until(lambda s: s["apps"]["web"]["secrets"][0]["error"])["apps"]["web"]["secrets"][0]
    wait = datetime.fromisoformat(secret["next_retry_at"]) - datetime.fromisoformat(secret["since"])
    assert 1.99 < wait.total_seconds() < 2 * 1.1 + 0.01
    eventually(lambda: proxy.count(f"{folder}/db", since=begun) >= 4, "four requests")
    asked = [request.at for request in list(proxy.requests) if request.at >= begun][:4]
    gaps = [after - before for before, after in pairwise(asked)]
    assert all(gap >= 2 for gap in gaps[:2]), gaps


@pytest.fixture
def small():
    """Mount a tmpfs of 256 KiB at a folder."""
    need(os.geteuid() == 0, "needs root, to mount a tmpfs")
    mounted = []

    def mount(folder):
        folder.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k,mode=0700", "tmpfs", folder], check=True)
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.parametrize("which", ["directory", "state"])
def test_a_full_tmpfs_delays_the_whole_generation_until_there_is_room(put, proxied, small, which):
    folder = small(getattr(proxied, which))
    # The pending notification is recorded in the state directory before the publication.
    proxied.web["notify"] = {"process": {"name": "no-process-of-this-name"}}
    proxied.start()
    with suppress(OSError):
        (folder / "filler").write_bytes(b"x" * 2**20)
    put("db", password="second")
    status = proxied.until(lambda s: any("not published" in line for line in s["problems"]))
    assert "No space left" in str(status["problems"])
    assert status["apps"]["web"]["next_retry_at"]
    assert (status["ready"], status["fresh"], status["apps"]["web"]["fresh"]) == (True, False, False)
    assert proxied.get("/readyz?fresh")[0] == 503
    assert "not published" in proxied.get("/readyz")[1]
    report = json.loads(proxied.command("validate", "--component", "web", "--format", "json").stdout)
    found = {result["check"]: result for result in report["results"]}["newest-published"]
    assert (found["passed"], found["level"], "No space left" in found["text"]) == (False, "critical", True)
    assert (proxied.directory / "app.env").read_text() == "PASSWORD='first'\n"
    (folder / "filler").unlink()
    proxied.until_file("app.env", "PASSWORD='second'\n")
    proxied.until(lambda s: s["fresh"])


def test_a_read_only_directory_retains_the_old_files_until_it_is_writable(put, proxied, small):
    folder = small(proxied.directory)
    proxied.start()
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
    put("db", password="second")
    proxied.until(lambda s: any("not published" in line for line in s["problems"]))
    assert (proxied.directory / "app.env").read_text() == "PASSWORD='first'\n"
    subprocess.run(["mount", "-o", "remount,rw", folder], check=True)
    is_back(proxied)


def test_a_vault_that_restarts_empty_is_used_once_it_is_filled_again(server, own):
    server.put("testing/db", password="first")
    own.template("app.env.j2", 'PASSWORD={{ secret("db").password }}\n')
    own.start()

    server.stop()
    status = own.until(lambda s: not s["vault"]["reachable"])
    assert (status["ready"], status["vault"]["next_retry_at"] is not None) == (True, True)
    assert any("vault is unavailable" in line for line in status["problems"])
    assert (own.directory / "app.env").read_text() == "PASSWORD='first'\n"

    server.start()  # empty: the secret is gone, but the old file stays
    status = own.until(lambda s: s["vault"]["reachable"] and s["apps"]["web"]["secrets"][0]["error"])
    assert not status["fresh"]
    assert (own.directory / "app.env").read_text() == "PASSWORD='first'\n"

    server.put("testing/db", password="second")
    own.command("refresh")  # or it would be found within a minute
    own.until_file("app.env", "PASSWORD='second'\n")
    own.until(lambda s: s["fresh"] and not s["problems"])


def test_a_revoked_token_is_replaced_and_the_files_are_fresh_again(bao, put, sidecar):
    put("db", password="first")
    sidecar.log_in_by_approle(bao, 'path "secret/*" { capabilities = ["read", "list"] }')
    sidecar.template("app.env.j2", 'PASSWORD={{ secret("db").password }}\n')
    sidecar.start()
    accessor = sidecar.status()["token"]["accessor"]
    bao.ask("POST", "auth/token/revoke-accessor", {"accessor": accessor})
    put("db", password="second")
    sidecar.until_file("app.env", "PASSWORD='second'\n")
    status = sidecar.until(lambda s: s["fresh"])
    assert status["token"]["accessor"] != accessor
    assert status["totals"]["logins"] == 2


def test_without_metadata_rights_the_data_is_polled(bao, put, sidecar, folder):
    put("db", password="first")
    sidecar.log_in_by_approle(bao, f'path "secret/data/{folder}/*" {{ capabilities = ["read"] }}')
    sidecar.template("app.env.j2", 'PASSWORD={{ secret("db").password }}\n')
    sidecar.start()
    status = sidecar.until(lambda s: set(s["vault"]["polling"].values()) == {"data"})
    assert status["problems"] == []
    put("db", password="second")
    sidecar.until_file("app.env", "PASSWORD='second'\n")


def test_a_folder_costs_one_list_per_check_and_includes_new_secrets(bao, put, sidecar, folder):
    for name in ("a", "b"):
        put(f"keys/{name}", key=name)
    sidecar.template("keys.json.j2", '{{ secrets("keys/") }}\n')
    sidecar.start()
    sidecar.until_file("keys.json", '{"a":{"key":"a"},"b":{"key":"b"}}\n')
    assert sidecar.status()["vault"]["polling"] == {f"secret/{folder}/keys/": "list"}
    put("keys/c", key="c")
    bao.ask("DELETE", f"secret/metadata/{folder}/keys/a")
    sidecar.until_file("keys.json", '{"b":{"key":"b"},"c":{"key":"c"}}\n')


def test_kv_version_one_is_read_and_followed(bao, sidecar, folder):
    bao.ask("POST", f"sys/mounts/old-{folder}", {"type": "kv", "options": {"version": "1"}})
    bao.ask("POST", f"old-{folder}/{folder}/db", {"password": "first"})
    sidecar.config["secrets"] = {"mount": f"old-{folder}"}
    sidecar.template("app.env.j2", 'PASSWORD={{ secret("db").password }}\n')
    sidecar.start()
    sidecar.until_file("app.env", "PASSWORD='first'\n")
    bao.ask("POST", f"old-{folder}/{folder}/db", {"password": "second"})
    sidecar.until_file("app.env", "PASSWORD='second'\n")


ABOUT_TOKEN = {
    "lookup-self": Status(503),
    "renew-self": Status(503),
    "lookup-self hangs": Fault.HANG,
}


@pytest.mark.thorough(each=3)
@pytest.mark.parametrize("what", ABOUT_TOKEN)
def test_an_outage_ends_although_one_path_about_the_token_is_broken_alone(server, postgres, own, what):
    postgres.attach(server, default_ttl="5s", max_ttl="1h")
    server.put("testing/db", password="first")
    policy = 'path "database/*" { capabilities = ["read"] }\npath "sys/leases/revoke" { capabilities = ["update"] }\n'
    own.log_in_by_approle(server, READ + policy)
    server.ask("POST", f"auth/approle/role/{own.disk.name}", {"token_ttl": "10m"})
    own.template("app.env.j2", APP)
    own.template("db.txt.j2", '{% set db = dynamic("database/creds/simba") %}{{ db.username }} {{ db.password }}\n')
    with Proxy(server.port) as proxy:
        own.config["vault"]["address"] = proxy.address
        own.start()
        proxy.on_path(f"auth/token/{what.partition(' ')[0]}", ABOUT_TOKEN[what])
        proxy.fault = Fault.DROP
        own.until(lambda s: not s["vault"]["reachable"])
        proxy.fault = None
        is_kept_fresh(own, server, proxy, postgres, "second")
        own.process.kill()
        own.process.wait()
        own.start(wait=False)
        is_kept_fresh(own, server, proxy, postgres, "third")
        own.stop()
    server.ask("POST", "sys/leases/revoke-prefix/database/creds", {"sync": True})


def is_kept_fresh(agent, server, proxy, postgres, value):
    """The agent reads the new value, and its lease of seconds is renewed and not replaced."""
    server.put("testing/db", password=value)
    agent.until_file("app.env", f"PASSWORD='{value}'\n")
    agent.until(lambda s: s["fresh"] and s["vault"]["reachable"])
    credentials = (agent.directory / "db.txt").read_text()
    wanted = proxy.count("sys/leases/renew") + 2
    eventually(lambda: proxy.count("sys/leases/renew") >= wanted, "the next renewals")
    assert (agent.directory / "db.txt").read_text() == credentials
    assert postgres.can_log_in(*credentials.split())


# -- a person who asks for a check meanwhile -----------------------------------------------------------------


@pytest.mark.parametrize("fault", [Fault.REFUSE, Status(503)], ids=["refused", "503"])
def test_refresh_fails_while_vault_is_away_and_says_what_will_be_checked_when(proxied, proxy, fault, folder):
    proxied.web["refresh_interval"] = "1h"  # Nothing but the request itself finds the outage.
    proxied.write_config()
    proxied.start()
    proxied.until(lambda status: status["fresh"])
    assert proxied.command("refresh", "db").returncode == 0
    proxy.fault = fault
    for paths in ([], ["db"], [f"secret/{folder}/db"]):
        done = proxied.command("refresh", *paths)
        assert (done.returncode, done.stdout) == (69, ""), done.stderr
        assert f"{proxy.address}: nothing is checked, because Vault is unavailable since" in done.stderr
        assert "the agent checks all secrets once Vault answers" in done.stderr
    proxy.clear()
    eventually(lambda: proxied.command("refresh").returncode == 0, "Vault's return")


def test_refresh_names_a_sealed_vault(server, own):
    server.put("testing/db", password="first")
    own.web["refresh_interval"] = "1h"
    own.template("app.env.j2", APP)
    own.write_config()
    own.start()
    own.until(lambda status: status["fresh"])
    server.ask("PUT", "sys/seal")
    done = own.command("refresh")
    assert done.returncode == 69, done.stdout
    assert "sealed" in done.stderr
