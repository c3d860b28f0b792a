"""A restore writes exactly the planned archive."""

import io
from contextlib import closing
from datetime import UTC, datetime

import pyrage
import pytest

from lessee.core.errors import DeniedError
from lessee.host.openbao import ROOT_TOKEN, OpenBao
from lessee.ops.backup import archive
from lessee.ops.backup.collector import collect
from lessee.ops.backup.keys import Keys
from lessee.ops.backup.policy.archive_format import ArchiveError
from lessee.ops.backup.restore import Restore, RestoreOptions
from lessee.vault.admin import AdminClient
from lessee.vault.transport import Address, Transport

OPTIONS = RestoreOptions(force=False, only="", authentication_expected=True)


@pytest.fixture
def client(tmp_path):
    with OpenBao(tmp_path) as server, closing(Transport(Address(server.address))) as transport:
        server.put("a", value=1)
        yield AdminClient(transport, ROOT_TOKEN)


@pytest.fixture
def keys():
    identity = pyrage.x25519.Identity.generate()
    return Keys((str(identity),), (str(identity.to_public()),))


def saved(client, keys, tmp_path, *, by=None):
    out = io.BytesIO()
    with collect(client, datetime.now(UTC), tmp_path, None) as found:
        archive.write(found.manifest, found.contents, out, [pyrage.x25519.Recipient.from_str(keys.public_keys[0])], by)
    return out


def test_an_archive_that_changed_after_its_inspection_is_refused(client, keys, tmp_path):
    file = saved(client, keys, tmp_path, by=keys)
    restore = Restore(file, "here", keys, client, OPTIONS)
    client.write("secret/data/b", {"data": {"value": "mine"}})
    forged = saved(client, keys, tmp_path)
    client.delete("secret/metadata/b")
    file.seek(0)
    file.truncate()
    file.write(forged.getvalue())
    with pytest.raises(ArchiveError, match="here: the archive changed since it was inspected"):
        restore.apply()
    assert client.read("secret/data/b") is None


def test_an_unchanged_archive_is_restored(client, keys, tmp_path):
    restore = Restore(saved(client, keys, tmp_path, by=keys), "here", keys, client, OPTIONS)
    client.delete("secret/metadata/a")
    assert restore.plan().writes == 1
    assert restore.apply() == 1
    assert client.read("secret/data/a")["data"] == {"value": 1}


def test_a_secret_changed_since_the_plan_is_overwritten_only_with_force(client, keys, tmp_path):
    file = saved(client, keys, tmp_path, by=keys)
    client.delete("secret/metadata/a")
    restore = Restore(file, "here", keys, client, OPTIONS)
    restore.check_overwrites(restore.plan())
    client.write("secret/data/a", {"data": {"value": "mine"}})
    with pytest.raises(DeniedError, match="secret/a: another client changed the secret since the plan"):
        restore.apply()
    assert client.read("secret/data/a")["data"] == {"value": "mine"}
    Restore(file, "here", keys, client, RestoreOptions(force=True, only="", authentication_expected=True)).apply()
    assert client.read("secret/data/a")["data"] == {"value": 1}


def test_a_partial_restore_leaves_the_settings_of_mounts_and_loses_no_version(client, keys, tmp_path):
    client.write("secret/config", {"max_versions": 20})
    for number in range(14):
        client.write("secret/data/a", {"data": {"value": number}})
    client.write("sys/mounts/secret/tune", {"description": "then"})
    client.write("sys/mounts/seal", {"type": "pki"})
    file = saved(client, keys, tmp_path, by=keys)
    client.delete("secret/metadata/a")
    client.delete("sys/mounts/seal")
    client.write("secret/config", {"max_versions": 10})
    client.write("sys/mounts/secret/tune", {"description": "now"})
    restore = Restore(file, "here", keys, client, RestoreOptions(force=False, only="se", authentication_expected=True))
    assert restore.plan().changes == ()
    restore.apply()
    assert client.read("sys/mounts/secret/tune")["description"] == "now"
    assert client.read("secret/data/a", {"version": "1"})["data"] == {"value": 1}
    assert len(client.read("secret/metadata/a")["versions"]) == 15
    assert restore.apply() == 0
