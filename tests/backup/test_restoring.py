"""What is restored is what was looked at."""

import io
from contextlib import closing
from datetime import UTC, datetime

import pyrage
import pytest

from lessee.backup import archive
from lessee.backup.gathering import gathered
from lessee.backup.keys import Keys
from lessee.backup.restoring import Restoring, Wish
from lessee.core.backup.problems import ArchiveError
from lessee.host.openbao import ROOT_TOKEN, OpenBao
from lessee.vault.door import Address, Door
from lessee.vault.operator import Operator

WISH = Wish(force=False, only="", seal_expected=True)


@pytest.fixture
def asking(tmp_path):
    with OpenBao(tmp_path) as server, closing(Door(Address(server.address))) as door:
        server.put("a", value=1)
        yield Operator(door, ROOT_TOKEN)


@pytest.fixture
def keys():
    identity = pyrage.x25519.Identity.generate()
    return Keys((str(identity),), (str(identity.to_public()),))


def saved(asking, keys, tmp_path, *, by=None):
    out = io.BytesIO()
    with gathered(asking, datetime.now(UTC), tmp_path, None) as found:
        archive.write(found.manifest, found.spools, out, [pyrage.x25519.Recipient.from_str(keys.publics[0])], by)
    return out


def test_a_file_that_is_changed_after_it_was_looked_at_is_refused(asking, keys, tmp_path):
    file = saved(asking, keys, tmp_path, by=keys)
    restoring = Restoring(file, "here", keys, asking, WISH)
    asking.write("secret/data/b", {"data": {"value": "mine"}})
    forged = saved(asking, keys, tmp_path)
    asking.delete("secret/metadata/b")
    file.seek(0)
    file.truncate()
    file.write(forged.getvalue())
    with pytest.raises(ArchiveError, match="here: it is another one than a moment ago"):
        restoring.act()
    assert asking.read("secret/data/b") is None


def test_a_file_that_stays_is_restored(asking, keys, tmp_path):
    restoring = Restoring(saved(asking, keys, tmp_path, by=keys), "here", keys, asking, WISH)
    asking.delete("secret/metadata/a")
    assert restoring.look().writes == 1
    assert restoring.act() == 1
    assert asking.read("secret/data/a")["data"] == {"value": 1}
