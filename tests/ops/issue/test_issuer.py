"""What `lessee issue` asks of a real OpenBao: a wrapped secret_id for whom it is, and with its policy nothing else."""

import gc
import os
from contextlib import closing

import pytest

from lessee.config.parsing import parse
from lessee.core.errors import DeniedError
from lessee.host import procfs
from lessee.host.clock import boot_time
from lessee.ops.access.policy.issuer_policy import of_issuer
from lessee.ops.issue.issuer import Issuer
from lessee.ops.issue.metrics import exposition
from lessee.ops.issue.peer import Peer
from lessee.ops.issue.policy import status_fields
from lessee.ops.issue.record import Record
from lessee.ops.issue.status import IssuerStatus
from lessee.telemetry.logs import log_listener
from lessee.vault.admin import admin_client
from lessee.vault.auth.approle import AppRoleLogin
from lessee.vault.transport import Address, RequestFailedError, Transport
from support.reference.status import undeclared

UNIT = "0::/system.slice/lessee@web.service\n"
CONFIG = """
environment: testing
vault: {{address: "{address}", auth: {{method: approle, role_id_file: {at}/role_id, secret_id_file: {at}/secret_id}}}}
issue:
  roles:
    issued-web: {{units: [lessee@web.service]}}
    issued-two: {{units: [two.service]}}
    issued-also-two: {{units: [two.service]}}
"""
READER = 'path "secret/data/testing/*" { capabilities = ["read"] }'


class Service:
    """An issuer with what it logs and delivers."""

    def __init__(self, bao, folder, *, address=None, trail=lambda: None):
        text = CONFIG.format(address=address or bao.address, at=folder)
        self.config = parse(text, source="lessee.yaml", environ={}, blocks=("issue",))
        self.record = Record(folder / "state")
        self.events = []
        self.issuer = Issuer(self.config, {}, self.record, trail)
        self.status = IssuerStatus(self.config, None)

    def ask(self, *, cgroup=UNIT, uid=0, pid=None, wanted="", leaves=False):
        """The reply that a process gets. `pid`: by default, one that has ended."""
        started = procfs.stat(pid).started if pid else 1.0
        replies = []

        def deliver(reply):
            replies.append(reply)
            return not leaves

        def hear(event, fields):
            self.events.append((event, fields))
            self.status.hear(event, fields)

        with log_listener(hear):
            self.issuer.issue(Peer(pid or 2**22 + 1, uid, started, cgroup, wanted), deliver)
        [reply] = replies
        return reply

    def names(self):
        return [event for event, _ in self.events]


@pytest.fixture
def folder(bao, tmp_path):
    config = parse(CONFIG.format(address=bao.address, at="/x"), source="x", environ={}, blocks=("issue",))
    role_id, secret_id = bao.approle("testing-issuer", of_issuer("testing-issuer", config.issue))
    (tmp_path / "role_id").write_text(role_id)
    (tmp_path / "secret_id").write_text(secret_id)
    for role in config.issue.roles:
        bao.approle(role, READER)
    return tmp_path


@pytest.fixture
def service(bao, folder):
    service = Service(bao, folder)
    with closing(service.record):
        yield service


def log_in(bao, token):
    """Log in as an agent does that got this wrapping token."""

    class Socket:
        def wrapping_token(self):
            return token

        def state(self):
            return ""

    role_id = bao.ask("GET", "auth/approle/role/issued-web/role-id")["data"]["role_id"]
    way = Transport(Address(bao.address))
    with closing(way):
        method = AppRoleLogin(
            mount="approle",
            role_id=role_id,
            role_id_file=None,
            secret_id_file=None,
            wrapping_path="auth/approle/role/*/secret-id",
            remove=False,
            socket=Socket(),
        )
        first = method.login(way, boot_time)
        assert method.login(way, boot_time).value != first.value  # From memory.
        return first


def test_an_agent_logs_in_with_what_it_gets_and_no_other_client_can_unwrap_it(bao, service):
    reply = service.ask()
    assert "issued-web" in str(bao.ask("POST", "auth/token/lookup", {"token": log_in(bao, reply.wrapping_token).value}))
    with pytest.raises(RequestFailedError, match="has been used or has expired"):
        log_in(bao, reply.wrapping_token)
    [(event, fields)] = service.events
    assert (event, fields["role"], fields["place"]) == ("secret_id issued", "issued-web", "unit lessee@web.service")
    assert reply.wrapping_token not in str(service.events) + repr(reply) + str(service.record.issued)


def test_the_issuers_policy_grants_wrapped_secret_ids_of_its_roles_and_nothing_else(bao, service):
    bao.put("testing/database", password="p")
    bao.approle("issued-other", READER)
    own = "auth/approle/role/issued-web"
    with admin_client(service.config.vault, {}, boot_time) as client:
        assert client.write(f"{own}/secret-id", wrap_ttl=60).wrapping_token
        assert client.write(f"{own}/secret-id", wrap_ttl=1).wrapping_token
        attempts = {
            "not wrapped": lambda: client.write(f"{own}/secret-id"),
            "wrapped for longer": lambda: client.write(f"{own}/secret-id", wrap_ttl=61),
            "its own choice": lambda: client.write(f"{own}/custom-secret-id", {"secret_id": "a"}, wrap_ttl=60),
            "another role": lambda: client.write("auth/approle/role/issued-other/secret-id", wrap_ttl=60),
            "the issuer's own role": lambda: client.write("auth/approle/role/testing-issuer/secret-id", wrap_ttl=60),
            "the role itself": lambda: client.write(own, {"token_policies": "root"}),
            "a list": lambda: client.request("GET", f"{own}/secret-id", params={"list": "true"}),
            "a secret": lambda: client.request("GET", "secret/data/testing/database"),
            "a policy": lambda: client.write("sys/policies/acl/testing-issuer", {"policy": ""}),
            "a token": lambda: client.write("auth/token/create", {"policies": ["root"]}),
        }
        granted = []
        for name, attempt in attempts.items():
            try:
                attempt()
                granted.append(name)
            except DeniedError:
                pass
    assert granted == []


def test_a_second_process_gets_none_while_the_first_one_runs(service, folder, bao):
    assert service.ask(pid=os.getpid()).wrapping_token
    replies = [service.ask(pid=os.getppid()) for _ in range(20)]
    assert [reply.wrapping_token for reply in replies] == [""] * 20
    assert f"process {os.getpid()} has got the secret_id" in replies[0].refused
    assert "this process has got one 0 s ago" in service.ask(pid=os.getpid()).unavailable
    # Nor after a restart of the service.
    again = Service(bao, folder)
    with closing(again.record):
        assert again.ask(pid=os.getppid()).refused
    # One line of the log is enough.
    assert service.names() == ["secret_id issued", "secret_id refused", "secret_id refused"]


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"uid": 1000}, "no role in issue.roles is for uid 1000"),
        ({"cgroup": "0::/user.slice/session-1.scope\n"}, "in no container and in no unit of the system"),
        ({"cgroup": "0::/system.slice/other.service\n"}, "no role in issue.roles is for unit other.service"),
        ({"wanted": "issued-two"}, "the role issued-two is not for unit lessee@web.service"),
        ({"cgroup": "0::/system.slice/two.service\n"}, "may have several roles, issued-two, issued-also-two"),
    ],
)
def test_another_process_gets_none_and_vault_is_not_asked(service, request_, reason, monkeypatch):
    monkeypatch.setattr(service.issuer, "_reply", None)
    assert reason in service.ask(**request_).refused
    assert service.names() == ["secret_id refused"]


def test_a_refused_cgroup_named_like_that_of_a_container_does_not_refuse_the_container(service, monkeypatch):
    container, asked = "c" * 64, []
    own = f"0::/user.slice/user-990.slice/user@990.service/{container}\n"

    def place(peer):
        asked.append(peer.cgroup)
        return service.issuer._refusal(peer, None, "no such container")

    monkeypatch.setattr(service.issuer, "_place", place)
    real = f"0::/system.slice/docker-{container}.scope\n"
    for cgroup in (own, own, real):
        assert service.ask(cgroup=cgroup).refused
    assert asked == [own, real]


def test_an_outage_of_vault_is_no_refusal_and_uses_nothing_up(bao, folder):
    service = Service(bao, folder, address="http://127.0.0.1:1")
    with closing(service.record):
        assert service.ask(pid=os.getpid()).unavailable
        assert service.record.issued == {("issued-web", "unit lessee@web.service"): ()}
    there = Service(bao, folder)
    with closing(there.record):
        assert there.ask(pid=os.getpid()).wrapping_token


def test_what_a_process_did_not_receive_is_not_its_secret_id(service):
    assert service.ask(pid=os.getpid(), leaves=True).wrapping_token
    assert service.names() == ["secret_id issued", "secret_id not issued"]
    assert service.ask(pid=os.getpid()).wrapping_token


def test_nothing_is_issued_that_a_required_audit_trail_would_not_have(bao, folder):
    service = Service(bao, folder, trail=lambda: "disk full")
    with closing(service.record):
        assert service.ask().unavailable == "the service cannot write its audit trail"
    assert service.names() == ["secret_id not issued"]


def test_the_status_counts_what_was_issued_and_refused(service):
    service.ask()
    service.ask(uid=1000)
    status = service.status.status()
    assert (status["roles"]["issued-web"]["issued"], status["refused"], status["problems"]) == (1, 1, [])
    assert undeclared(status, status_fields, "IssuerStatus") == []
    text = exposition(status).decode()
    assert 'lessee_issuer_issued_total{role="issued-web"} 1.0' in text
    assert "lessee_issuer_refused_total 1.0" in text
    service.issuer._trail_problem = lambda: "disk full"
    service.ask(pid=os.getpid())
    assert service.status.status()["problems"] == ["secret_id not issued: disk full"]


@pytest.fixture
def no_engine():
    """Collect garbage here: the SDK does not close a socket that could not connect, and another test would warn."""
    yield
    gc.collect()


@pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("no_engine")
def test_what_would_keep_it_from_issuing_is_a_problem_from_the_start(bao, folder, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{folder}/gone.sock")
    there, away = Service(bao, folder), Service(bao, folder, address="http://127.0.0.1:1")
    for service in (there, away):
        with log_listener(service.status.hear):
            service.issuer.try_out()
    assert there.status.status()["problems"] == []
    [problem] = away.status.status()["problems"]
    assert "http://127.0.0.1:1" in problem
    text = CONFIG.format(address=bao.address, at=folder) + "    c: {containers: [{label: a=b}]}\n"
    config = parse(text, source="lessee.yaml", environ={}, blocks=("issue",))
    with log_listener(there.status.hear):
        Issuer(config, {}, there.record, lambda: None).try_out()
    [problem] = there.status.status()["problems"]
    assert "no engine listens here" in problem
