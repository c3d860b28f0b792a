"""What is restored is what was looked at."""

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

WISH = RestoreOptions(force=False, only="", authentication_expected=True)


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


def test_a_file_that_is_changed_after_it_was_looked_at_is_refused(client, keys, tmp_path):
    file = saved(client, keys, tmp_path, by=keys)
    restore_run = Restore(file, "here", keys, client, WISH)
    client.write("secret/data/b", {"data": {"value": "mine"}})
    forged = saved(client, keys, tmp_path)
    client.delete("secret/metadata/b")
    file.seek(0)
    file.truncate()
    file.write(forged.getvalue())
    with pytest.raises(ArchiveError, match="here: it is another one than a moment ago"):
        restore_run.act()
    assert client.read("secret/data/b") is None


def test_a_file_that_stays_is_restored(client, keys, tmp_path):
    restore_run = Restore(saved(client, keys, tmp_path, by=keys), "here", keys, client, WISH)
    client.delete("secret/metadata/a")
    assert restore_run.look().writes == 1
    assert restore_run.act() == 1
    assert client.read("secret/data/a")["data"] == {"value": 1}


def test_what_is_changed_while_somebody_is_asked_is_not_written_over_unless_forced(client, keys, tmp_path):
    file = saved(client, keys, tmp_path, by=keys)
    client.delete("secret/metadata/a")
    restore_run = Restore(file, "here", keys, client, WISH)
    restore_run.check_overwrites(restore_run.look())
    client.write("secret/data/a", {"data": {"value": "mine"}})
    with pytest.raises(DeniedError, match="secret/a: somebody has changed it since it was looked at"):
        restore_run.act()
    assert client.read("secret/data/a")["data"] == {"value": "mine"}
    Restore(file, "here", keys, client, RestoreOptions(force=True, only="", authentication_expected=True)).act()
    assert client.read("secret/data/a")["data"] == {"value": 1}


def test_with_a_part_no_settings_of_mounts_come_back_and_no_version_is_lost_for_want_of_them(client, keys, tmp_path):
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
    restore_run = Restore(
        file, "here", keys, client, RestoreOptions(force=False, only="se", authentication_expected=True)
    )
    assert restore_run.look().changes == ()
    restore_run.act()
    assert client.read("sys/mounts/secret/tune")["description"] == "now"
    assert client.read("secret/data/a", {"version": "1"})["data"] == {"value": 1}
    assert len(client.read("secret/metadata/a")["versions"]) == 15
    assert restore_run.act() == 0
