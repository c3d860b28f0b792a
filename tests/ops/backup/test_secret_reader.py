"""A backup reads each secret as it was at one moment, with as few requests as the server allows."""

import json
from contextlib import closing

import pytest

from lessee.host.openbao import ROOT_TOKEN, OpenBao
from lessee.ops.backup import secret_reader
from lessee.ops.backup.secret_reader import secret, secrets
from lessee.vault.admin import AdminClient
from lessee.vault.transport import Address, Transport
from support.environments.backups import KEY, fill_secrets

MOUNTS = {"secret/": 2}


class Recorded(AdminClient):
    """It records what it reads, and calls `after` with each path."""

    def __init__(self, *arguments, after=lambda _: None):
        super().__init__(*arguments)
        self.paths, self.after = [], after

    def read(self, path, params=None):
        answer = super().read(path, params)
        self.paths.append(path)
        self.after(path)
        return answer

    def of(self, api):
        return [path for path in self.paths if path.startswith(f"secret/{api}/") and not path.endswith("/")]


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    with OpenBao(tmp_path_factory.mktemp("reader")) as server, closing(Transport(Address(server.address))) as transport:
        fill_secrets(server)
        yield server, transport


@pytest.fixture
def server(tmp_path):
    with OpenBao(tmp_path) as one, closing(Transport(Address(one.address))) as transport:
        yield one, transport


def one_by_one(transport, found):
    client = Recorded(transport, ROOT_TOKEN)
    return [secret(client, one.mount, one.path, one.engine, KEY) for one in found]


def test_the_metadata_of_a_folder_is_read_in_one_request(filled):
    _, transport = filled
    client = Recorded(transport, ROOT_TOKEN)
    found = list(secrets(client, MOUNTS, KEY))
    assert client.of("metadata") == ["secret/metadata/states/no-version"]  # The listing does not tell it from a folder.
    assert found == one_by_one(transport, found)
    assert len(found) > 10


def test_a_policy_without_that_listing_is_enough(filled):
    server, transport = filled
    rules = {"data/*": ["read"], "metadata/*": ["read", "list"], "metadata/": ["list"]}
    text = "".join(f'path "secret/{path}" {{ capabilities = {json.dumps(own)} }}\n' for path, own in rules.items())
    server.ask("PUT", "sys/policies/acl/reader", {"policy": text})
    token = server.ask("POST", "auth/token/create", {"policies": ["reader"]})["auth"]["client_token"]
    client = Recorded(transport, token)
    found = list(secrets(client, MOUNTS, KEY))
    assert len(client.of("metadata")) == len(found)
    assert found == one_by_one(transport, found)


def test_the_metadata_of_a_large_folder_is_not_held_in_memory(filled, monkeypatch):
    _, transport = filled
    monkeypatch.setattr(secret_reader, "LISTED", 1)
    client = Recorded(transport, ROOT_TOKEN)
    found = list(secrets(client, MOUNTS, KEY))
    assert found == one_by_one(transport, found)
    assert client.of("metadata")


def test_a_secret_that_changes_after_the_listing_is_read_as_it_is_then(server):
    bao, transport = server
    for name in ("rewritten", "dropped", "removed"):
        bao.put(name, value="1")
        bao.put(name, value="2")

    def change(path):
        if "detailed-metadata" in path:
            bao.put("rewritten", value="3")
            bao.ask("PUT", "secret/destroy/dropped", {"versions": [1]})
            bao.ask("DELETE", "secret/metadata/removed")

    client = Recorded(transport, ROOT_TOKEN, after=change)
    found = {one.path: one for one in secrets(client, MOUNTS, KEY)}
    assert found.keys() == {"rewritten", "dropped"}
    # A newer version is harmless; of the other one, the metadata is read again.
    assert [version.data for version in found["rewritten"].versions] == [{"value": "1"}, {"value": "2"}]
    assert [version.destroyed for version in found["dropped"].versions] == [True, False]
    assert "secret/metadata/dropped" in client.of("metadata")
