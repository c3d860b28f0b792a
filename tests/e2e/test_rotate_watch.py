"""`lessee rotate --watch` rotates on time, survives faults, and publishes its status."""

import os
import shutil
import signal
import subprocess
import time
import urllib.request
from contextlib import suppress
from datetime import datetime
from itertools import pairwise

import pytest

from lessee.ops.rotate.policy.journal import Step
from lessee.status.client import request_status
from support.needs import need
from support.programs.rotator import POLICY, Service
from support.programs.sidecar import eventually
from support.servers.fault_proxy import Fault, Status
from support.servers.vault_server import Server, ports

FILE = """
api_addr     = "http://127.0.0.1:{port}"
cluster_addr = "http://127.0.0.1:{cluster}"
listener "tcp" {{
  address         = "127.0.0.1:{port}"
  cluster_address = "127.0.0.1:{cluster}"
  tls_disable     = true
}}
storage "raft" {{
  path = "{folder}/data"
}}
"""


@pytest.fixture
def service(bao, tmp_path, memory):
    service = Service(bao, tmp_path, memory, environment=f"env-{os.urandom(4).hex()}")
    yield service
    service.close()


@pytest.fixture
def proxied(server, proxy, tmp_path, memory):
    """A service whose requests to Vault go through a proxy."""
    service = Service(server, tmp_path, memory, environment="testing", address=proxy.address)
    yield service
    service.close()


def count(status, name="one"):
    return status["targets"][name]["rotation_count"]


def accessors(server):
    return set(server.ask("GET", "auth/token/accessors?list=true")["data"]["keys"])


def published(service):
    with suppress(RuntimeError):  # It does not exist yet.
        return service.fields().get("rotation_count")


def test_the_service_rotates_on_time_and_publishes_its_status(service):
    before = accessors(service.server)
    service.target("one", rotation_period="1s", jitter="0s")
    service.target("two", secret="app/two", rotation_period="30d", jitter="0s")
    service.start("--log-level", "debug")
    service.until(lambda status: count(status) >= 4 and count(status, "two") == 1)
    history = service.journal().history
    assert all(later.at - earlier.at >= 1.0 for earlier, later in pairwise(history))
    status = service.status()
    assert status["ready"]
    assert status["problems"] == []
    assert (
        datetime.fromisoformat(status["targets"]["two"]["next_rotation_at"]).timestamp() > history[-1].at + 29 * 86400
    )
    assert service.get("/healthz") == (200, "ok\n")
    assert service.get("/readyz?fresh")[0] == 200
    assert service.stop() == 0
    assert not service.socket.exists()
    # It revoked the token of each login.
    assert accessors(service.server) - before == set()
    log = service.log.read_text()
    for version in service.versions():
        assert service.fields(version=int(version))["password"] not in log


def test_metrics_have_a_label_for_each_target(service):
    need(shutil.which("promtool"), "needs promtool: apt install prometheus")
    service.target("one", rotation_period="1h", jitter="0s", consumers=["simba"], confirmation_timeout="1m")
    service.target("two", secret="app/two")
    service.confirm(0)
    service.start()
    service.until(lambda status: status["targets"]["one"]["unconfirmed_consumers"])
    text = service.get("/metrics")[1]
    assert 'lessee_rotation_unconfirmed_consumers{target="one"} 1.0' in text
    assert 'lessee_rotation_step{step="published",target="one"} 1.0' in text
    assert 'lessee_rotation_last_success_timestamp_seconds{target="two"}' not in text
    service.confirm(1)
    service.until(lambda status: status["targets"]["one"]["step"] == "idle")
    text = service.get("/metrics")[1]
    check = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (check.returncode, check.stdout + check.stderr) == (0, "")
    metrics = {line.split(" ")[0]: float(line.split(" ")[1]) for line in text.splitlines() if not line.startswith("#")}
    assert metrics['lessee_rotation_published_total{target="one"}'] == 1.0
    assert metrics['lessee_rotation_published_total{target="two"}'] == 0.0
    assert metrics['lessee_rotation_consecutive_failures{target="one"}'] == 0.0
    assert metrics['lessee_rotation_failing{target="one"}'] == 0.0
    assert metrics['lessee_rotation_period_seconds{target="one"}'] == 3600.0
    assert 'lessee_rotation_period_seconds{target="two"}' not in metrics
    assert metrics['lessee_rotation_unconfirmed_consumers{target="one"}'] == 0.0
    assert metrics['lessee_rotation_open_seconds{target="one"}'] == 0.0
    assert 0.0 < metrics['lessee_rotation_propagation_seconds{target="one"}'] < 60.0
    last = metrics['lessee_rotation_last_success_timestamp_seconds{target="one"}']
    assert metrics['lessee_rotation_next_rotation_timestamp_seconds{target="one"}'] == pytest.approx(last + 3600.0)


def test_a_target_that_waits_for_consumers_delays_no_other(service):
    service.target("one", rotation_period="1h", jitter="0s", consumers=["simba"], confirmation_timeout="1h")
    service.target("two", secret="app/two", rotation_period="1s", jitter="0s")
    slow = {"rotation_period": "1h", "jitter": "0s", "consumers": ["simba"], "confirmation_timeout": "1h"}
    service.target("three", secret="app/three", **slow)
    service.start()
    status = service.until(lambda status: count(status, "two") >= 3)
    for name in ("one", "three"):
        assert status["targets"][name]["step"] == "published"
        assert status["targets"][name]["unconfirmed_consumers"] == ["simba"]
    service.confirm(1)
    service.until(lambda status: status["targets"]["one"]["step"] == "idle")


def test_a_target_that_waits_for_servers_delays_no_other(service):
    for name in ("one", "two"):
        service.config["rotation"][name] = {
            "kind": "totp",
            "secret": f"app/{name}",
            "verifier_secret": f"app/{name}-servers",
            "rotation_period": "1h",
            "jitter": "0s",
            "verifiers": ["simba"],
            "confirmation_timeout": "1h",
            "revoke_delay": "0s",
        }
    service.target("three", secret="app/three", rotation_period="1s", jitter="0s")
    service.start()
    status = service.until(lambda status: count(status, "three") >= 3)
    for name in ("one", "two"):
        assert (status["targets"][name]["step"], count(status, name)) == ("created", 0)
        assert status["targets"][name]["consecutive_failures"] == 0
    (seed,) = service.fields("app/one-servers")["seeds"]
    service.confirm(1, "app/one-servers")
    service.until(lambda status: count(status) == 1)
    assert service.fields()["seed"] == seed


def test_a_consumer_that_was_away_does_not_end_the_schedule(service):
    """It confirmed one rotation later than the period, and all others in time."""
    service.put(password="the first", rotation_count=0)
    service.target("one", rotation_period="1s", jitter="0s", confirmation_timeout="1h")
    service.confirm(1)
    service.start()
    service.until(lambda status: (status["targets"]["one"]["open_seconds"] or 0.0) > 1.5)
    service.confirm(10**6)
    service.until(lambda status: count(status) >= 3 and not status["problems"])
    assert max(service.journal().propagation_times) > 1.5
    [warning] = [event for event in service.events() if event["event"] == "rotation period short"]
    assert "is shorter than `confirmation_timeout` (1h)" in warning["reason"]


def test_the_service_survives_a_restart_of_vault(tmp_path, memory):
    port, cluster = ports(2)
    (tmp_path / "data").mkdir()
    with Server(tmp_path, port, FILE.format(port=port, cluster=cluster, folder=tmp_path)) as server:
        unsealed = PersistentServer(server)
        service = Service(unsealed, tmp_path, memory, environment="testing")
        try:
            service.target("one", rotation_period="1s", jitter="0s")
            service.start()
            service.until(lambda status: count(status) >= 1)
            server.stop()
            service.until(lambda status: not status["vault"]["reachable"])
            assert service.get("/readyz")[0] == 503
            assert service.get("/healthz")[0] == 200
            server.start()
            unsealed.unseal()
            before = service.journal().count
            service.until(lambda status: count(status) >= before + 2)
            assert service.fields()["rotation_count"] >= before
            assert service.status()["vault"]["reachable"]
        finally:
            service.close()


class PersistentServer:
    """A server whose data survives a restart, with the methods that `Service` needs."""

    def __init__(self, server):
        self._server, self.address = server, server.address
        answer = server.ask("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
        self._key, self._token = answer["keys"][0], answer["root_token"]
        self.unseal()
        self.ask("POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})
        self.ask("POST", "sys/auth/approle", {"type": "approle"})

    def unseal(self):
        self._server.ask("PUT", "sys/unseal", {"key": self._key})
        eventually(self._is_active, "an active node")

    def _is_active(self):
        with suppress(RuntimeError):
            return self._server.ask("GET", "sys/health")

    def ask(self, method, path, body=None):
        return self._server.ask(method, path, body, token=self._token)

    def approle(self, name, policy):
        self.ask("PUT", f"sys/policies/acl/{name}", {"policy": policy})
        self.ask("POST", f"auth/approle/role/{name}", {"token_policies": [name], "token_ttl": "1h"})
        role_id = self.ask("GET", f"auth/approle/role/{name}/role-id")["data"]["role_id"]
        return role_id, self.ask("POST", f"auth/approle/role/{name}/secret-id", {})["data"]["secret_id"]


def test_the_next_start_finishes_a_killed_rotation(proxied, proxy):
    proxied.put(password="the first")
    proxied.target("one", rotation_period="1h", jitter="0s", consumers=["simba"], confirmation_timeout="1h")
    # The rotation is published, but not yet recorded.
    proxy.on_path("secret/metadata/testing/app/one", Fault.HANG)
    proxied.start()
    eventually(lambda: proxied.fields().get("rotation_count") == 1, "the publishing")
    recorded = proxied.journal()
    assert recorded.step is Step.CREATED
    proxied.stop(signal.SIGKILL)
    proxy.clear()
    proxied.start()
    proxied.until(lambda status: status["targets"]["one"]["step"] == "published")
    proxied.confirm(2)
    proxied.until(lambda status: status["targets"]["one"]["step"] == "idle" and count(status) == 1)
    assert proxied.fields()["password"] == recorded.pending["password"]
    assert len(proxied.versions()) == 2
    assert proxied.journal().id == ""


@pytest.mark.thorough
def test_writes_that_vault_rejects_temporarily_are_retried(proxied, proxy):
    proxied.target("one", rotation_period="1s", jitter="0s")
    proxied.start()
    proxied.until(lambda status: count(status) >= 1)
    proxy.on_path("secret/data/testing/app/one", Status(503))
    status = proxied.until(lambda status: status["targets"]["one"]["consecutive_failures"] >= 2)
    assert status["problems"] == []
    proxy.clear()
    proxied.until(lambda status: count(status) >= 3 and not status["problems"])


def test_an_invalid_change_is_reported_and_the_old_configuration_stays_in_use(service):
    service.target("one", rotation_period="1s", jitter="0s")
    service.start()
    service.until(lambda status: count(status) >= 1)
    valid = service.file.read_text()
    service.file.write_text(valid.replace("1s", "1 second"))
    status = service.until(lambda status: status["problems"])
    assert "lessee.yaml" in status["problems"][0]
    before = count(status)
    service.until(lambda status: count(status) > before)
    service.target("two", secret="app/two", rotation_period="1h", jitter="0s")
    service.write_config()
    service.until(lambda status: not status["problems"] and count(status, "two") == 1)
    del service.config["rotation"]["one"]
    service.write_config()
    service.process.send_signal(signal.SIGHUP)
    service.until(lambda status: status["targets"].keys() == {"two"})


def test_repeated_failures_are_reported_and_end_after_a_repair(service):
    service.put(password="the first")
    service.allow(
        POLICY.format(service.environment).replace(
            'app/*" { capabilities = ["create", "read", "update"]', 'app/*" { capabilities = ["read"]'
        )
    )
    service.target("one", rotation_period="1s", jitter="0s")
    service.start()
    status = service.until(lambda status: status["problems"])
    assert status["targets"]["one"]["consecutive_failures"] >= 3
    assert "the old credential stays valid" in status["problems"][0]
    assert f"secret/{service.environment}/app/one" in status["problems"][0]
    assert not status["fresh"]
    assert service.fields()["password"] == "the first"
    events = [event for event in service.events() if event["event"] == "rotation failed repeatedly"]
    assert [(event["level"], event["target"]) for event in events] == [("error", "one")]
    service.allow(POLICY.format(service.environment))
    service.until(lambda status: count(status) >= 1 and not status["problems"])


@pytest.mark.thorough
def test_a_refused_login_is_not_repeated_until_it_locks_the_role(proxied, proxy):
    """Five refusals in fifteen minutes would lock it, also for the right secret_id."""
    right = (proxied.disk / "secret_id").read_text()
    (proxied.disk / "secret_id").write_text("wrong")
    for name in ("one", "two", "three"):
        proxied.target(name, secret=f"app/{name}", rotation_period="1s", jitter="0s")
    proxied.start()
    status = proxied.until(lambda status: status["problems"])
    assert "Vault refuses the login" in status["problems"][0]
    eventually(lambda: proxy.count("/login") > 1, "the second login")
    first, second = (request.at for request in proxy.requests if request.path.endswith("/login"))
    assert second - first >= 15.0
    (proxied.disk / "secret_id").write_text(right)
    proxied.until(lambda status: count(status) >= 1 and not status["problems"])
    assert [event["event"] for event in proxied.events()].count("login failed") == 1


@pytest.mark.thorough
def test_a_secret_id_that_becomes_invalid_pauses_all_rotations_until_another_is_there(proxied, proxy):
    for name in ("one", "two", "three"):
        proxied.target(name, secret=f"app/{name}", rotation_period="1s", jitter="0s")
    proxied.start()
    proxied.until(lambda status: all(count(status, name) for name in ("one", "two", "three")))
    right = (proxied.disk / "secret_id").read_text()
    body = {"secret_id": right}
    proxied.server.ask("POST", f"auth/approle/role/{proxied.name}/secret-id/destroy", body)
    proxied.until(lambda status: any("Vault refuses the login" in text for text in status["problems"]))
    since = time.monotonic()
    new = proxied.server.ask("POST", f"auth/approle/role/{proxied.name}/secret-id", {})["data"]["secret_id"]
    (proxied.disk / "secret_id").write_text(new)
    status = proxied.until(lambda status: not status["problems"])
    before = count(status)
    proxied.until(lambda status: count(status) > before)
    # One refusal by the login that found it, and no second one: the new secret_id was sent next.
    refused = [one for one in proxy.requests if one.path.endswith("/login") and right.encode() in one.body]
    assert sum(one.at > since for one in refused) == 0


@pytest.mark.thorough
def test_the_service_rotates_its_own_secret_id(service):
    """It logs in for each rotation, and no login fails."""
    role = f"auth/approle/role/{service.name}"
    own = f"""
    path "{role}" {{ capabilities = ["read"] }}
    path "{role}/role-id" {{ capabilities = ["read"] }}
    path "{role}/secret-id" {{ capabilities = ["list", "update"] }}
    path "{role}/secret-id/lookup" {{ capabilities = ["update"] }}
    path "{role}/secret-id-accessor/lookup" {{ capabilities = ["update"] }}
    path "{role}/secret-id-accessor/destroy" {{ capabilities = ["update"] }}
    """
    service.allow(POLICY.format(service.environment) + own)
    file = service.disk / "secret_id"
    first = file.read_text()
    service.target("one", rotation_period="1s", jitter="0s")
    service.config["rotation"]["own"] = {
        "kind": "secret-id",
        "secret": "app/own",
        "approle": service.name,
        "secret_id_file": str(file),
        "rotation_period": "3s",
        "jitter": "0s",
        "revoke_delay": "1s",
    }
    service.start()
    service.until(lambda status: count(status, "own") >= 3 and count(status) >= 3)
    assert service.stop() == 0
    assert not [event for event in service.events() if event["event"] in {"login failed", "rotation failed"}]
    login = {"role_id": (service.disk / "role_id").read_text(), "secret_id": first}
    with pytest.raises(RuntimeError, match="400"):
        service.server.ask("POST", "auth/approle/login", login)
    before = service.journal("own").count
    service.start()
    service.until(lambda status: count(status, "own") > before and status["targets"]["own"]["step"] == "idle")
    assert file.read_text() not in service.log.read_text()


def test_a_revoked_token_is_replaced(service):
    before = accessors(service.server)
    service.target("one")
    service.start()
    service.until(lambda status: status["ready"])
    [accessor] = eventually(lambda: (new := accessors(service.server) - before) and len(new) == 1 and new)
    service.server.ask("POST", "auth/token/revoke-accessor", {"accessor": accessor})
    checked = service.status()["vault"]["last_checked_at"]
    assert request_status(service.socket, "POST", "/refresh", []) == {"refreshing": True, "unknown": []}
    assert request_status(service.socket, "POST", "/refresh", ["seven"]) == {"refreshing": False, "unknown": ["seven"]}
    status = service.until(lambda status: status["vault"]["last_checked_at"] != checked)
    assert status["problems"] == []
    assert accessor not in accessors(service.server)


@pytest.mark.thorough
def test_two_services_make_one_rotation_per_period(service, tmp_path, memory):
    second = Service(service.server, tmp_path, memory, environment=service.environment, name="second")
    try:
        services = (service, second)
        for each in services:
            each.target("one", rotation_period="1s", jitter="0s")
            each.start()
        for each in services:
            each.until(lambda status: count(status) >= 4)
        created = [datetime.fromisoformat(version["created_time"]) for version in service.versions().values()]
        assert min((later - earlier).total_seconds() for earlier, later in pairwise(sorted(created))) >= 0.9
        assert [each.stop() for each in services] == [0, 0]
        for each in services:
            assert not [event for event in each.events() if event["level"] == "error"]
    finally:
        second.close()


def test_a_service_finishes_the_rotation_of_another_only_after_its_end(proxied, proxy, server, tmp_path, memory):
    second = Service(server, tmp_path, memory, environment="testing", name="second")
    try:
        for each in (proxied, second):
            each.target("one", rotation_period="1h", jitter="0s")
        proxy.on_path("secret/metadata/testing/app/one", Fault.HANG)
        proxied.start()
        eventually(lambda: published(proxied), "the publishing")
        recorded = proxied.journal()
        second.start()
        second.until(lambda status: status["targets"]["one"]["step"] == "created")
        # The second was rejected: the first still has the lock.
        second.until(lambda status: not status["targets"]["one"]["in_progress"])
        assert second.journal().fence == recorded.fence
        proxied.stop(signal.SIGKILL)
        second.until(lambda status: status["targets"]["one"]["step"] == "idle" and count(status) == 1)
        assert second.fields()["password"] == recorded.pending["password"]
        assert second.status()["targets"]["one"]["consecutive_failures"] == 0
        assert second.stop() == 0
    finally:
        second.close()


@pytest.mark.thorough
def test_a_hanging_request_does_not_delay_the_stop(proxied, proxy):
    proxied.target("one", rotation_period="1h", jitter="0s")
    proxy.on_path("secret/data/testing/app/one", Fault.HANG)
    proxied.start()
    proxied.until(lambda status: status["targets"]["one"]["in_progress"])
    assert proxied.stop(signal.SIGINT) == 0
    [event] = [event for event in proxied.events() if event["event"] == "rotation interrupted"]
    assert event["target"] == "one"


def test_the_status_block_sets_socket_and_address(service):
    [port] = ports(1)
    socket = service.disk / "custom.sock"
    service.config["status"] = {"socket": str(socket), "listen": f"127.0.0.1:{port}", "allow_unauthenticated": True}
    service.target("one")
    service.start()
    eventually(socket.exists, "the socket")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
        assert answer.read() == b"ok\n"
    assert service.stop() == 0


def test_in_a_configuration_with_apps_the_status_block_is_the_agent_s(service):
    service.config["status"] = {"socket": str(service.disk / "agent.sock")}
    service.config["apps"] = {
        "web": {"directory": str(service.state.parent / "web"), "files": [{"template": "web.env.j2"}]}
    }
    service.target("one")
    service.start()
    service.until(lambda status: status["ready"])
    assert not (service.disk / "agent.sock").exists()


def test_a_second_service_with_the_same_state_dir_is_rejected(service):
    service.target("one", rotation_period="1h")
    service.start()
    service.until(lambda status: status["ready"])
    first = service.process
    second = service.start().process
    assert second.wait(15.0) == 73
    service.process = first
    assert service.status()["ready"]
    assert "another service answers on this socket" in service.log.read_text()


def test_a_service_without_targets_does_not_start(service):
    service.start()
    assert service.process.wait(15.0) == 78
    assert "no rotation targets" in service.log.read_text()
