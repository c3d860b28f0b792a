"""The KV engine, against a real OpenBao."""

import json
from urllib.parse import quote

import pytest

from lessee.core.failures import Kind
from lessee.core.paths import Folder, Ref
from lessee.host.openbao import ROOT_TOKEN
from lessee.vault.engines import kv
from lessee.vault.transport import Address, RequestFailedError, Transport


@pytest.fixture
def transport(bao):
    way = Transport(Address(bao.address))
    yield way
    way.close()


@pytest.fixture(scope="module")
def version_one(bao):
    bao.ask("POST", "sys/mounts/old", {"type": "kv", "options": {"version": "1"}})
    bao.ask("POST", "old/app/one", {"password": "first"})
    return "old"


def failed(call, *args, **kwargs):
    with pytest.raises(RequestFailedError) as caught:
        call(*args, **kwargs)
    return caught.value


def test_the_version_of_a_mount_is_detected(transport, version_one):
    assert kv.detect_version(transport, ROOT_TOKEN, "secret") == 2
    assert kv.detect_version(transport, ROOT_TOKEN, version_one) == 1
    assert failed(kv.detect_version, transport, ROOT_TOKEN, "nowhere").failure.kind is Kind.DENIED
    assert "not a KV secrets engine" in failed(kv.detect_version, transport, ROOT_TOKEN, "sys").failure.text


def test_reads_of_data_metadata_and_listings_return_the_same_version(bao, transport):
    for number in (1, 2):
        bao.put("markers/here", password=f"p{number}")
    ref = Ref("secret", "markers/here")
    secret = kv.read(transport, ROOT_TOKEN, ref, 2)
    assert secret.data == {"password": "p2"}
    assert secret.metadata.version == 2
    assert kv.read_metadata(transport, ROOT_TOKEN, ref) == secret.metadata
    assert kv.list_folder(transport, ROOT_TOKEN, ref.folder, 2, detailed=True).secrets == {"here": secret.metadata}
    assert kv.list_folder(transport, ROOT_TOKEN, ref.folder, 2, detailed=False).secrets == {"here": None}


def test_a_pinned_version_is_read(bao, transport):
    for number in (1, 2, 3):
        bao.put("pinned/it", n=number)
    assert kv.read(transport, ROOT_TOKEN, Ref("secret", "pinned/it", 2), 2).data == {"n": 2}


def test_a_deleted_version_is_not_found_and_every_read_returns_its_metadata(bao, transport):
    bao.put("deleted/it", n=1)
    ref = Ref("secret", "deleted/it")
    before = kv.read_metadata(transport, ROOT_TOKEN, ref)
    bao.ask("DELETE", "secret/data/deleted/it")
    exc = failed(kv.read, transport, ROOT_TOKEN, ref, 2)
    assert exc.failure.kind is Kind.NOT_FOUND
    metadata = kv.deleted_version(exc)
    assert metadata.deletion_time
    assert metadata != before
    assert kv.read_metadata(transport, ROOT_TOKEN, ref) == metadata
    assert kv.list_folder(transport, ROOT_TOKEN, ref.folder, 2, detailed=True).secrets["it"] == metadata
    bao.ask("POST", "secret/undelete/deleted/it", {"versions": [1]})
    assert kv.read_metadata(transport, ROOT_TOKEN, ref) == before


def test_a_secret_that_is_created_again_has_other_metadata(bao, transport):
    ref = Ref("secret", "again/it")
    secrets = []
    for _ in range(2):
        bao.put("again/it", n=1)
        secrets.append(kv.read_metadata(transport, ROOT_TOKEN, ref))
        bao.ask("DELETE", "secret/metadata/again/it")
    assert secrets[0].version == secrets[1].version == 1
    assert secrets[0] != secrets[1]


def test_a_secret_that_never_existed_has_no_metadata(transport):
    exc = failed(kv.read, transport, ROOT_TOKEN, Ref("secret", "never/was"), 2)
    assert (exc.failure.kind, kv.deleted_version(exc)) == (Kind.NOT_FOUND, None)
    empty = failed(kv.list_folder, transport, ROOT_TOKEN, Folder("secret", "never/"), 2, detailed=True)
    assert empty.failure.kind is Kind.NOT_FOUND


def test_subfolders_are_not_listed_as_secrets(bao, transport):
    bao.put("tree/leaf", a=1)
    bao.put("tree/branch/leaf", a=1)
    assert set(kv.list_folder(transport, ROOT_TOKEN, Folder("secret", "tree/"), 2, detailed=True).secrets) == {"leaf"}


def test_kv_version_1_has_only_values_and_names(transport, version_one):
    secret = kv.read(transport, ROOT_TOKEN, Ref(version_one, "app/one"), 1)
    assert (secret.data, secret.metadata) == ({"password": "first"}, None)
    assert kv.list_folder(transport, ROOT_TOKEN, Folder(version_one, "app/"), 1, detailed=False).secrets == {
        "one": None
    }
    pinned = failed(kv.read, transport, ROOT_TOKEN, Ref(version_one, "app/one", 3), 1)
    assert pinned.failure.kind is Kind.INVALID


def test_a_token_without_rights_is_denied(bao, transport):
    token = bao.ask("POST", "auth/token/create", {"policies": ["default"], "ttl": "1h"})["auth"]["client_token"]
    for call in (kv.read_metadata, lambda *a: kv.read(*a, 2)):
        assert failed(call, transport, token, Ref("secret", "markers/here")).failure.kind is Kind.DENIED
    assert failed(kv.detect_version, transport, token, "secret").failure.kind is Kind.DENIED


@pytest.mark.parametrize("path", ["odd/a b", "odd/ü", "odd/a%2fb", "odd/q?x=1", "odd/h#a", "odd/a+b"])
def test_odd_names_reach_the_secret_that_they_name(bao, transport, path):
    bao.put(quote(path), name=path)
    assert kv.read(transport, ROOT_TOKEN, Ref("secret", path), 2).data == {"name": path}


def test_numbers_are_exact(bao, transport):
    bao.put("numbers/it", port=5432, big=2**53, ratio=1.5, yes=True, none=None)
    data = kv.read(transport, ROOT_TOKEN, Ref("secret", "numbers/it"), 2).data
    assert data == {"port": 5432, "big": 2**53, "ratio": 1.5, "yes": True, "none": None}
    assert isinstance(data["port"], int)


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("x" * 2**23, "it has more than 8 MiB"),
        ([0] * 30_000, "it has more than 20,000 items"),
        (json.loads("[" * 900 + "]" * 900), "it is nested more than 100 levels deep"),
    ],
    ids=["long", "many", "deep"],
)
def test_a_secret_that_is_too_large_is_rejected_by_name(bao, transport, value, what):
    bao.put("large/one", x=value)
    with pytest.raises(RequestFailedError) as caught:
        kv.read(transport, ROOT_TOKEN, Ref("secret", "large/one"), 2)
    failure = caught.value.failure
    assert (failure.kind, failure.text) == (
        Kind.INVALID,
        f"the secret is too large: {what}; split it into several",
    )


def test_a_folder_with_too_many_secrets_is_rejected(bao, transport, monkeypatch):
    for name in "abc":
        bao.put(f"crowded/{name}", x=1)
    folder = Folder("secret", "crowded/")
    monkeypatch.setattr(kv, "MAX_NAMES", 3)
    assert len(kv.list_folder(transport, ROOT_TOKEN, folder, 2, detailed=True).secrets) == 3
    monkeypatch.setattr(kv, "MAX_NAMES", 2)
    with pytest.raises(RequestFailedError, match="the folder has more than 2 secrets; distribute them"):
        kv.list_folder(transport, ROOT_TOKEN, folder, 2, detailed=True)
