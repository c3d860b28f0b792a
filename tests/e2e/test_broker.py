"""Apps behind nginx as a broker: no call fails while the key of their API is rotated, and no app sees a key."""

import secrets

import pytest

from support.models.template_library import TEMPLATES
from support.programs.broker_clients import BrokerClients
from support.programs.sidecar import Sidecar, eventually
from support.servers.api_upstream import Upstream
from support.servers.broker import HOSTS, Broker, template
from support.servers.certificate_authority import Authority

CLIENTS = 4
ROTATIONS = 3


@pytest.fixture
def upstream(tmp_path):
    Authority(tmp_path / "ca.crt").issue(tmp_path / "pair", 9, names=HOSTS)
    with Upstream(tmp_path / "pair") as upstream:
        yield upstream


@pytest.fixture
def sidecar(bao, upstream, tmp_path, memory):
    agent = Sidecar(bao.address, tmp_path, memory, environment=f"broker-{secrets.token_hex(4)}")
    agent.is_forked = True
    agent.template("clients.nginx.conf.j2", (TEMPLATES / "broker/clients.nginx.conf.j2").read_text())
    agent.template("api-openai.nginx.conf.j2", template("api-openai", upstream.port))
    agent.web["notify"] = {"process": {"cmdline": f"nginx.*{tmp_path}"}}
    yield agent
    agent.close()


def test_no_call_fails_while_a_key_is_rotated_and_no_client_sees_a_key(bao, sidecar, upstream, tmp_path):
    environment = sidecar.environ["LESSEE_ENVIRONMENT"]
    keys, token = [f"sk-{secrets.token_urlsafe(30)}"], secrets.token_hex(16)
    bao.put(f"{environment}/api-keys/openai", api_key=keys[0])
    bao.put(f"{environment}/broker/clients", app=token)
    upstream.accepted = set(keys)
    sidecar.start()
    with Broker(tmp_path, sidecar.directory) as broker:
        clients = BrokerClients(broker, token, CLIENTS)
        clients.keys = keys
        with clients.calling():
            eventually(lambda: last_key(upstream) == keys[0], "a call")
            for _ in range(ROTATIONS):
                old = broker.workers()
                keys.append(f"sk-{secrets.token_urlsafe(30)}")
                upstream.accepted.add(keys[-1])
                bao.put(f"{environment}/api-keys/openai", api_key=keys[-1])
                eventually(lambda: last_key(upstream) == keys[-1], "a call with it")
                # As `revoke_delay`: what the old workers have begun ends with the old key.
                eventually(lambda old=old: not old & broker.workers(), "the end of the old workers")
                upstream.accepted.discard(keys[-2])
                count = clients.calls
                eventually(lambda count=count: clients.calls > count + 5 * CLIENTS, "calls without the old key")
    assert (clients.failed, clients.seen) == ([], 0)
    assert {dict(headers)["Authorization"] for _, _, headers, _ in upstream.calls} == {f"Bearer {key}" for key in keys}
    logged = "".join(file.read_text() for file in (broker.log, broker.errors, sidecar.log))
    assert not [value for value in (*keys, token) if value in logged]


def last_key(upstream):
    """The key of the last call."""
    return dict(upstream.calls[-1][2])["Authorization"].removeprefix("Bearer ") if upstream.calls else ""
