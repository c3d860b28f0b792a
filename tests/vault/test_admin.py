"""The admin client: its errors have a kind, its reads tell missing from deleted, against a real OpenBao."""

import json
import time

import pytest

from lessee.config.parsing import parse
from lessee.core.errors import DeniedError, VaultRequestError, VaultUnreachableError
from lessee.core.failures import Failure, Kind
from lessee.core.paths import Folder, Ref
from lessee.core.secrets import Secret, VersionMetadata
from lessee.host.openbao import ROOT_TOKEN
from lessee.vault.admin import AdminClient, admin_client, request_error, unauthenticated_client
from lessee.vault.transport import Address, Transport

CANARY = "canary-in-an-error-text"


@pytest.fixture
def transport(bao):
    way = Transport(Address(bao.address))
    yield way
    way.close()


@pytest.fixture
def client(transport):
    return AdminClient(transport, ROOT_TOKEN)


def failed(call, *arguments, **settings):
    with pytest.raises(VaultRequestError) as caught:
        call(*arguments, **settings)
    return caught.value


def test_an_error_has_a_kind_and_the_path_and_no_text_of_the_servers(client):
    denied = failed(client.with_token("invalid").read, "secret/data/x")
    assert (type(denied), denied.kind, denied.where) == (DeniedError, Kind.DENIED, "secret/data/x")
    invalid = failed(client.write, f"sys/mounts/{CANARY}", {"type": CANARY})
    assert (type(invalid), invalid.kind) == (DeniedError, Kind.INVALID)
    assert CANARY not in invalid.what
    assert failed(client.request, "GET", "secret/data/never").kind is Kind.NOT_FOUND


@pytest.mark.parametrize("kind", Kind)
def test_a_temporary_failure_has_another_type_than_a_lasting_one(kind):
    error = request_error(Failure(kind, "text"), "where")
    passes = kind in {Kind.UNAVAILABLE, Kind.RATE_LIMITED, Kind.PATH_ERROR}
    assert (type(error), error.kind) == (VaultUnreachableError if passes else DeniedError, kind)
    assert error.replace(todo="try again").kind is kind


def test_an_unavailable_server_is_named_by_its_address():
    client = AdminClient(Transport(Address("http://127.0.0.1:1")), ROOT_TOKEN)
    for call in client.seal_status, client.health:
        error = failed(call)
        assert (type(error), error.kind, error.where) == (VaultUnreachableError, Kind.UNAVAILABLE, client.address)


def test_reads_tell_missing_from_deleted(bao, client):
    bao.put("admin/it", value=1)
    ref = Ref("secret", "admin/it")
    assert client.read_secret(ref, 2) == Secret({"value": 1}, client.read_secret(ref, 2).metadata)
    assert client.list_secrets(Folder("secret", "admin/"), 2) == ("it",)
    client.delete("secret/data/admin/it")
    deleted = client.read_secret(ref, 2)
    assert (type(deleted), deleted.version) == (VersionMetadata, 1)
    assert client.read_version("secret/data/admin/it", 1)["metadata"]["deletion_time"]
    assert client.read("secret/data/admin/it") is None
    client.delete("secret/metadata/admin/it")
    assert client.read_secret(ref, 2) is None
    assert client.read_version("secret/data/admin/it", 1) == {}
    assert client.list("secret/metadata/admin") == ()
    client.delete("secret/metadata/admin/it")


def test_the_kv_engine_and_the_token_describe_themselves(client):
    assert client.kv_version("secret") == 2
    assert client.lists_kv_versions("secret")
    assert client.capabilities(["secret/data/x", "secret/data/y"]) == {
        "secret/data/x": ["root"],
        "secret/data/y": ["root"],
    }
    assert client.look_up_token(time.monotonic).ttl == 0
    health = client.unauthenticated.health()
    assert (health["initialized"], health["sealed"], health["standby"]) == (True, False, False)
    assert client.seal_status().data["sealed"] is False
    assert abs(client.seal_status().date - time.time()) < 5


def test_a_failed_stream_has_a_kind(client):
    with pytest.raises(VaultRequestError) as caught, client.stream("GET", "sys/storage/raft/snapshot"):
        pass
    assert caught.value.where == "sys/storage/raft/snapshot"


def test_the_token_of_a_login_ends_with_the_client(bao, tmp_path):
    role_id, secret_id = bao.approle("admin", 'path "secret/*" { capabilities = ["read"] }')
    (tmp_path / "secret_id").write_text(secret_id)
    auth = {"method": "approle", "role_id": role_id, "secret_id_file": str(tmp_path / "secret_id")}
    text = json.dumps({"vault": {"address": bao.address, "auth": auth}})
    vault = parse(text, source="lessee.yaml", environ={}).vault
    with admin_client(vault, {}, time.monotonic) as client:
        token = client.hvac.auth.token.lookup_self()["data"]["id"]
        assert bao.ask("GET", "auth/token/lookup-self", token=token)
    with unauthenticated_client(vault, {"VAULT_TOKEN": ROOT_TOKEN}) as client:
        assert failed(client.list, "sys/policies/acl").kind is Kind.DENIED
        assert failed(client.with_token(token).look_up_token, time.monotonic).kind is Kind.DENIED
