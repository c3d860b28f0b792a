"""`lessee rotate --watch` rotates when it is time, outlasts what befalls it, and says how it is."""

import os
import shutil
import signal
import subprocess
import urllib.request
from contextlib import suppress
from datetime import datetime
from itertools import pairwise

import pytest

from lessee.ops.rotate.policy.journal import Step
from lessee.status.server import request_status
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
    one = Service(bao, tmp_path, memory, environment=f"env-{os.urandom(4).hex()}")
    yield one
    one.close()


@pytest.fixture
def behind(server, proxy, tmp_path, memory):
    """One whose server's weather can be changed."""
    one = Service(server, tmp_path, memory, environment="testing", address=proxy.address)
    yield one
    one.close()


def count(status, name="one"):
    return status["targets"][name]["rotation_count"]


def accessors(server):
    return set(server.ask("GET", "auth/token/accessors?list=true")["data"]["keys"])


def published(service):
    with suppress(RuntimeError):  # It is not there yet.
        return service.fields().get("rotation_count")


def test_it_rotates_on_time_and_says_how_it_is(service):
    before = accessors(service.server)
    service.target("one", rotation_period="1s", jitter="0s")
    service.target("two", secret="app/two", rotation_period="30d", jitter="0s")
    service.start("--log-level", "debug")
    service.until(lambda status: count(status) >= 4 and count(status, "two") == 1)
    past = service.journal().history
    assert all(later.at - earlier.at >= 1.0 for earlier, later in pairwise(past))
    status = service.status()
    assert status["ready"]
    assert status["problems"] == []
    assert datetime.fromisoformat(status["targets"]["two"]["next_rotation_at"]).timestamp() > past[-1].at + 29 * 86400
    assert service.get("/healthz") == (200, "ok\n")
    assert service.get("/readyz?fresh")[0] == 200
    assert service.stop() == 0
    assert not service.socket.exists()
    # Each login's token ended with it.
    assert accessors(service.server) - before == set()
    said = service.log.read_text()
    for version in service.versions():
        assert service.fields(version=int(version))["password"] not in said


def test_metrics_can_be_scraped_by_target(service):
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
    told = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (told.returncode, told.stdout + told.stderr) == (0, "")
    found = {line.split(" ")[0]: float(line.split(" ")[1]) for line in text.splitlines() if not line.startswith("#")}
    assert found['lessee_rotation_published_total{target="one"}'] == 1.0
    assert found['lessee_rotation_published_total{target="two"}'] == 0.0
    assert found['lessee_rotation_consecutive_failures{target="one"}'] == 0.0
    assert found['lessee_rotation_failing{target="one"}'] == 0.0
    assert found['lessee_rotation_period_seconds{target="one"}'] == 3600.0
    assert 'lessee_rotation_period_seconds{target="two"}' not in found
    assert found['lessee_rotation_unconfirmed_consumers{target="one"}'] == 0.0
    assert found['lessee_rotation_open_seconds{target="one"}'] == 0.0
    assert 0.0 < found['lessee_rotation_propagation_seconds{target="one"}'] < 60.0
    last = found['lessee_rotation_last_success_timestamp_seconds{target="one"}']
    assert found['lessee_rotation_next_rotation_timestamp_seconds{target="one"}'] == pytest.approx(last + 3600.0)


def test_one_that_waits_for_an_app_keeps_no_other_from_its_time(service):
    service.target("one", rotation_period="1h", jitter="0s", consumers=["simba"], confirmation_timeout="1h")
    service.target("two", secret="app/two", rotation_period="1s", jitter="0s")
    service.target("three", secret="app/three", rotation_period="1h", jitter="0s", consumers=["simba"], confirmation_timeout="1h")
    service.start()
    status = service.until(lambda status: count(status, "two") >= 3)
    for name in ("one", "three"):
        assert status["targets"][name]["step"] == "published"
        assert status["targets"][name]["unconfirmed_consumers"] == ["simba"]
    service.confirm(1)
    service.until(lambda status: status["targets"]["one"]["step"] == "idle")


def test_vault_may_be_killed_and_come_back(tmp_path, memory):
    port, cluster = ports(2)
    (tmp_path / "data").mkdir()
    with Server(tmp_path, port, FILE.format(port=port, cluster=cluster, folder=tmp_path)) as server:
        unsealed = Persistent(server)
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
            service.until(lambda status: count(status) >= before + 2, patience=60.0)
            assert service.fields()["rotation_count"] >= before
            assert service.status()["vault"]["reachable"]
        finally:
            service.close()


class Persistent:
    """A server whose data outlasts its process, as far as a service's harness asks for it."""

    def __init__(self, server):
        self._server, self.address = server, server.address
        made = server.ask("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
        self._key, self._token = made["keys"][0], made["root_token"]
        self.unseal()
        self.ask("POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})
        self.ask("POST", "sys/auth/approle", {"type": "approle"})

    def unseal(self):
        self._server.ask("PUT", "sys/unseal", {"key": self._key})
        eventually(self._leads, "a leader")

    def _leads(self):
        with suppress(RuntimeError):
            return self._server.ask("GET", "sys/health")

    def ask(self, method, path, body=None):
        return self._server.ask(method, path, body, token=self._token)

    def approle(self, name, policy):
        self.ask("PUT", f"sys/policies/acl/{name}", {"policy": policy})
        self.ask("POST", f"auth/approle/role/{name}", {"token_policies": [name], "token_ttl": "1h"})
        role_id = self.ask("GET", f"auth/approle/role/{name}/role-id")["data"]["role_id"]
        return role_id, self.ask("POST", f"auth/approle/role/{name}/secret-id", {})["data"]["secret_id"]


def test_killed_in_the_middle_the_next_start_finishes_what_was_begun(behind, proxy):
    behind.put(password="the first")
    behind.target("one", rotation_period="1h", jitter="0s", consumers=["simba"], confirmation_timeout="1h")
    # It is published, and that is not yet noted.
    proxy.on_path("secret/metadata/testing/app/one", Fault.HANG)
    behind.start()
    eventually(lambda: behind.fields().get("rotation_count") == 1, "the publishing")
    noted = behind.journal()
    assert noted.step is Step.CREATED
    behind.stop(signal.SIGKILL)
    proxy.clear()
    behind.start()
    behind.until(lambda status: status["targets"]["one"]["step"] == "published")
    behind.confirm(2)
    behind.until(lambda status: status["targets"]["one"]["step"] == "idle" and count(status) == 1)
    assert behind.fields()["password"] == noted.pending["password"]
    assert len(behind.versions()) == 2
    assert behind.journal().id == ""


def test_a_server_that_takes_no_writes_for_a_while_is_waited_for(behind, proxy):
    behind.target("one", rotation_period="1s", jitter="0s")
    behind.start()
    behind.until(lambda status: count(status) >= 1)
    proxy.on_path("secret/data/testing/app/one", Status(503))
    status = behind.until(lambda status: status["targets"]["one"]["consecutive_failures"] >= 2)
    assert status["problems"] == []
    proxy.clear()
    behind.until(lambda status: count(status) >= 3 and not status["problems"])


def test_a_broken_edit_is_told_and_the_old_configuration_stays_in_force(service):
    service.target("one", rotation_period="1s", jitter="0s")
    service.start()
    service.until(lambda status: count(status) >= 1)
    good = service.file.read_text()
    service.file.write_text(good.replace("1s", "1 second"))
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


def test_what_keeps_failing_is_told_and_goes_on_when_it_is_mended(service):
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
    told = [event for event in service.events() if event["event"] == "rotation failed repeatedly"]
    assert [(event["level"], event["target"]) for event in told] == [("error", "one")]
    service.allow(POLICY.format(service.environment))
    service.until(lambda status: count(status) >= 1 and not status["problems"])


def test_a_token_that_somebody_revokes_is_replaced(service):
    before = accessors(service.server)
    service.target("one")
    service.start()
    service.until(lambda status: status["ready"])
    [mine] = eventually(lambda: (found := accessors(service.server) - before) and len(found) == 1 and found)
    service.server.ask("POST", "auth/token/revoke-accessor", {"accessor": mine})
    looked = service.status()["vault"]["last_checked_at"]
    assert request_status(service.socket, "POST", "/refresh", []) == {"refreshing": True, "unknown": []}
    assert request_status(service.socket, "POST", "/refresh", ["seven"]) == {"refreshing": False, "unknown": ["seven"]}
    status = service.until(lambda status: status["vault"]["last_checked_at"] != looked)
    assert status["problems"] == []
    assert mine not in accessors(service.server)


def test_two_services_beside_each_other_make_one_rotation_a_period(service, tmp_path, memory):
    second = Service(service.server, tmp_path, memory, environment=service.environment, name="second")
    try:
        for one in (service, second):
            one.target("one", rotation_period="1s", jitter="0s")
            one.start()
        for one in (service, second):
            one.until(lambda status: count(status) >= 4)
        made = [datetime.fromisoformat(one["created_time"]).timestamp() for one in service.versions().values()]
        assert min(later - earlier for earlier, later in pairwise(sorted(made))) >= 0.9
        assert [one.stop() for one in (service, second)] == [0, 0]
        for one in (service, second):
            assert not [event for event in one.events() if event["level"] == "error"]
    finally:
        second.close()


def test_what_one_leaves_in_the_middle_the_other_finishes_and_not_before(behind, proxy, server, tmp_path, memory):
    second = Service(server, tmp_path, memory, environment="testing", name="second")
    try:
        for one in (behind, second):
            one.target("one", rotation_period="1h", jitter="0s")
        proxy.on_path("secret/metadata/testing/app/one", Fault.HANG)
        behind.start()
        eventually(lambda: published(behind), "the publishing")
        noted = behind.journal()
        second.start()
        second.until(lambda status: status["targets"]["one"]["step"] == "created")
        # It has been turned away, for the first is still there.
        second.until(lambda status: not status["targets"]["one"]["in_progress"])
        assert second.journal().fence == noted.fence
        behind.stop(signal.SIGKILL)
        second.until(lambda status: status["targets"]["one"]["step"] == "idle" and count(status) == 1)
        assert second.fields()["password"] == noted.pending["password"]
        assert second.status()["targets"]["one"]["consecutive_failures"] == 0
        assert second.stop() == 0
    finally:
        second.close()


def test_what_hangs_does_not_keep_it_from_ending(behind, proxy):
    behind.target("one", rotation_period="1h", jitter="0s")
    proxy.on_path("secret/data/testing/app/one", Fault.HANG)
    behind.start()
    behind.until(lambda status: status["targets"]["one"]["in_progress"])
    assert behind.stop(signal.SIGINT) == 0
    [left] = [event for event in behind.events() if event["event"] == "rotation interrupted"]
    assert left["target"] == "one"


def test_an_operators_file_says_where_it_is_asked(service):
    [port] = ports(1)
    socket = service.disk / "asked.sock"
    service.config["status"] = {"socket": str(socket), "listen": f"127.0.0.1:{port}", "allow_unauthenticated": True}
    service.target("one")
    service.start()
    eventually(socket.exists, "the socket")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
        assert answer.read() == b"ok\n"
    assert service.stop() == 0


def test_beside_apps_the_status_block_is_the_agents(service):
    service.config["status"] = {"socket": str(service.disk / "agent.sock")}
    service.config["apps"] = {
        "web": {"directory": str(service.state.parent / "web"), "files": [{"template": "web.env.j2"}]}
    }
    service.target("one")
    service.start()
    service.until(lambda status: status["ready"])
    assert not (service.disk / "agent.sock").exists()


def test_a_second_service_of_one_state_is_refused(service):
    service.target("one", rotation_period="1h")
    service.start()
    service.until(lambda status: status["ready"])
    first = service.process
    second = service.start().process
    assert second.wait(15.0) == 73
    service.process = first
    assert service.status()["ready"]
    assert "another service answers there" in service.log.read_text()


def test_a_configuration_without_targets_is_refused_at_the_start(service):
    service.start()
    assert service.process.wait(15.0) == 78
    assert "it has nothing to rotate" in service.log.read_text()
