"""Where Vault has another value than the project's files, a person says which one is right."""

import os
import time

import pytest

from lessee.config.parsing import parse
from lessee.core.errors import WriteError
from lessee.host.openbao import ROOT_TOKEN
from lessee.ops.adopt.policy.model import StoredField
from lessee.ops.adopt.store import FILES, VAULT, Store
from lessee.vault.admin import admin_client

PATH = "storage/minio"
FIELDS = tuple(StoredField(PATH, name, f"{name} of the files", ()) for name in ("access_key", "secret_key"))


@pytest.fixture
def store_of(bao):
    environment = f"store-{os.urandom(4).hex()}"
    text = f"environment: {environment}\nvault:\n  address: {bao.address}\n  insecure_http: true\napps: {{}}\n"
    config = parse(text, source="lessee.yaml", environ={})
    bao.put(f"{environment}/{PATH}", access_key="other", mine="x")
    with admin_client(config.vault, {"VAULT_TOKEN": ROOT_TOKEN}, time.monotonic) as client:
        yield lambda prefer=None: Store(client, config, prefer)


def test_without_a_word_nothing_is_written_and_the_error_names_the_option(store_of):
    store = store_of()
    said = []
    with pytest.raises(WriteError, match="another value for access_key; nothing was changed; `lessee adopt --prefer v"):
        store.missing(FIELDS)
    with pytest.raises(WriteError, match="--prefer files"):
        store.save(FIELDS, said.append)
    assert store.existing(PATH) == {"access_key": "other", "mine": "x"}


@pytest.mark.parametrize(("prefer", "expected"), [(VAULT, "other"), (FILES, "access_key of the files")])
def test_a_person_chooses_the_value_and_the_old_one_stays_as_a_version(store_of, prefer, expected):
    store, said = store_of(prefer), []
    assert store.conflicts(FIELDS) == FIELDS[:1]
    assert store.missing(FIELDS) == ((PATH, "secret_key"),)
    store.save(FIELDS, said.append)
    assert store.existing(PATH) == {"access_key": expected, "mine": "x", "secret_key": "secret_key of the files"}
    assert store.has_version(PATH, 1)
    assert [value for value in ("other", "of the files") if value in "".join(said)] == []
    store.save(FIELDS, said.append)
    assert store.version(PATH) == 2
