"""hvac's methods over lessee's transport, against a real OpenBao."""

from urllib.parse import quote

import pytest
import requests

from lessee.core.errors import DeniedError, VaultUnreachableError
from lessee.core.failures import Kind
from lessee.host.openbao import ROOT_TOKEN
from lessee.vault.admin import AdminClient
from lessee.vault.transport import Address, Transport
from support.servers.fault_proxy import Proxy

CANARY = "canary-in-an-error-text"


@pytest.fixture
def proxy(bao):
    with Proxy(bao.port) as proxy:
        yield proxy


@pytest.fixture
def client(proxy, monkeypatch):
    monkeypatch.setenv("VAULT_TOKEN", "from-the-environment")
    monkeypatch.setenv("VAULT_ADDR", "http://127.0.0.1:1")
    # A session of requests would send past the transport.
    monkeypatch.setattr(requests, "Session", None)
    transport = Transport(Address(proxy.address))
    yield AdminClient(transport, ROOT_TOKEN)
    transport.close()


@pytest.fixture
def approle(client):
    """hvac's AppRole methods, and the arguments that name a role under a mount of two parts."""
    mount = "hvac/roles"
    client.hvac.sys.enable_auth_method("approle", path=mount)
    name = {"role_name": "web", "mount_point": mount}
    methods = client.hvac.auth.approle
    methods.create_or_update_approle(**name, token_policies=["default"], secret_id_num_uses=9)
    yield methods, name
    client.hvac.sys.disable_auth_method(mount)


def sent(proxy):
    return [(request.method, request.path) for request in proxy.requests]


def test_a_method_sends_its_one_request_and_returns_what_hvac_does(client, proxy):
    answer = client.hvac.sys.list_mounted_secrets_engines()
    assert answer["data"]["secret/"]["type"] == "kv"
    assert (answer["lease_id"], answer["wrap_info"]) == ("", None)
    assert client.hvac.sys.read_seal_status()["sealed"] is False
    assert client.hvac.sys.is_initialized() is True
    assert "root" in client.hvac.sys.list_acl_policies()["data"]["keys"]
    assert sent(proxy) == [
        ("GET", "/v1/sys/mounts"),
        ("GET", "/v1/sys/seal-status"),
        ("GET", "/v1/sys/init"),
        ("GET", "/v1/sys/policies/acl?list=true"),
    ]
    assert {request.headers["X-Vault-Token"] for request in proxy.requests} == {ROOT_TOKEN}


def test_odd_names_reach_the_secret_that_they_name(client, bao):
    name = "odd/a b%41ü?x=1#a"
    bao.put(quote(name), name=name)
    found = client.hvac.secrets.kv.v2.read_secret_version(name, mount_point="secret", raise_on_deleted_version=True)
    assert found["data"]["data"] == {"name": name}


def test_a_secret_id_is_generated_looked_up_wrapped_and_destroyed(approle, bao):
    methods, name = approle
    made = methods.generate_secret_id(**name, metadata={"by": "test"})["data"]
    accessor = made["secret_id_accessor"]
    assert methods.read_secret_id(**name, secret_id=made["secret_id"])["data"]["secret_id_accessor"] == accessor
    assert methods.read_secret_id_accessor(**name, secret_id_accessor=accessor)["data"]["metadata"] == {"by": "test"}
    wrapped = methods.generate_secret_id(**name, wrap_ttl=60.0)
    assert bao.ask("POST", "sys/wrapping/unwrap", token=wrapped["wrap_info"]["token"])["data"]["secret_id"]
    methods.destroy_secret_id_accessor(**name, secret_id_accessor=accessor)
    assert methods.read_secret_id(**name, secret_id=made["secret_id"]) == {}


def test_a_login_sends_no_token_and_leaves_the_clients_own(approle, client, proxy):
    methods, name = approle
    credentials = {
        "role_id": methods.read_role_id(**name)["data"]["role_id"],
        "secret_id": methods.generate_secret_id(**name)["data"]["secret_id"],
        "mount_point": name["mount_point"],
    }
    proxy.requests.clear()
    token = methods.login(**credentials, use_token=False)["auth"]["client_token"]
    assert "X-Vault-Token" not in proxy.requests[-1].headers
    login = client.with_token(token)
    assert login.hvac.auth.token.lookup_self()["data"]["id"] == token
    login.hvac.auth.token.revoke_self()
    assert client.hvac.auth.token.lookup_self()["data"]["id"] == ROOT_TOKEN
    with pytest.raises(NotImplementedError):
        methods.login(**credentials)


def test_an_error_is_ours_with_a_kind_and_without_hvacs_text(client):
    with pytest.raises(DeniedError) as caught:
        client.hvac.sys.enable_secrets_engine(CANARY, path=CANARY)
    assert (caught.value.kind, caught.value.where) == (Kind.INVALID, f"sys/mounts/{CANARY}")
    assert CANARY not in caught.value.what
    assert caught.value.__suppress_context__
    with pytest.raises(DeniedError) as caught:
        client.hvac.sys.read_acl_policy("never-written")
    assert caught.value.kind is Kind.NOT_FOUND
    with pytest.raises(DeniedError) as caught:
        client.with_token("invalid").hvac.sys.list_auth_methods()
    assert caught.value.kind is Kind.DENIED


def test_an_unavailable_server_is_unavailable_for_hvac_too():
    client = AdminClient(Transport(Address("http://127.0.0.1:1")), ROOT_TOKEN)
    with pytest.raises(VaultUnreachableError) as caught:
        client.hvac.sys.list_auth_methods()
    assert (caught.value.kind, caught.value.what) == (Kind.UNAVAILABLE, "connection refused")


def test_a_post_that_reads_uses_the_open_connection(client, proxy):
    accessor = client.hvac.auth.token.lookup_self()["data"]["accessor"]
    before = proxy.connections
    client.hvac.auth.token.lookup_accessor(accessor)
    client.hvac.sys.get_capabilities(["secret/data/x"], accessor=accessor)
    client.hvac.sys.list_auth_methods()
    assert proxy.connections == before


@pytest.mark.parametrize("call", ["take_raft_snapshot", "read_health_status"])
def test_a_request_that_would_bypass_the_transport_is_refused(client, call):
    with pytest.raises(NotImplementedError):
        getattr(client.hvac.sys, call)()
