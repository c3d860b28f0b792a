"""What lessee 0.1.0 stored is read: by its own code, which writes the records here, and back."""

import json
import signal
import subprocess
import sys
from contextlib import closing

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.config import Vault
from lessee.config.grammar.vault import AppRole
from lessee.core.immutable import replace
from lessee.core.leases import Lease
from lessee.core.paths import DynamicSecret
from lessee.core.secrets import Secret, VersionMetadata
from lessee.core.tokens import Token
from lessee.publishing import state_format_1, state_records
from lessee.publishing.app_record_format_1 import AppRecord1, format_1_fields, upgrade_app
from lessee.publishing.publication_record import AppRecord
from lessee.publishing.state_records import (
    FORMAT,
    StoredDirectory,
    StoredIdentity,
    decode,
    decode_app,
    encode_app,
    key_of,
    why_ignored,
)
from lessee.publishing.state_store import StateStore
from support.released import run

CANARY = "CANARY-51f0"
WRITES = """
import hashlib, json, sys
from pathlib import Path
import msgspec
from lessee.core.config import Vault
from lessee.core.config.grammar.vault import AppRole
from lessee.core.leases import Lease
from lessee.core.machine.events import Token
from lessee.core.noted import AppRecord
from lessee.core.paths import Dynamic
from lessee.core.secrets import Marker, Secret
from lessee.host.clock import boot_time
from lessee.host.ledger import Ledger
auth = AppRole(role_id="r", secret_id_file="/s", wrapped=True, wrapped_path="auth/approle/role/r/secret-id")
vault = Vault(address="https://vault:8200", addresses=(), namespace="team", ca_file=None, server_name="vault.example",
              client_cert_file=None, client_key_file=None, insecure=True, auth=auth)
key = hashlib.sha256(msgspec.json.encode(vault)).hexdigest()
ledger = Ledger(Path(sys.argv[1]), allow_disk=False)
ledger.keep_identity(key, msgspec.json.encode(vault))
ledger.keep_token(key, Token("accessor", 100.5, 3600.0, renewable=True, id="a1", ours=False), "CANARY-51f0")
ledger.keep_lease(key, Lease(
    id="b2", need=Dynamic("aws/sts/deploy", (("force", True), ("region", "eu"), ("ttl", 900)), "POST"),
    secret=Secret({"password": "CANARY-51f0"}, Marker(3, "then", "now")), lease_id="aws/sts/deploy/xyz", token="a1",
    issued_at=100.0, sent_at=250.25, ttl=900.0, renewable=True, apps=frozenset({"web", "worker"})))
ledger.keep_app("web", AppRecord(owed=(6, 7), shown=7, shown_at=250.25, fingerprint="f7", unproved=7, good=5, bad="f6",
                                 fallen_back=((7, "last_good"), (6, "env"))))
print(key)
"""
READS = """
import sys
from pathlib import Path
import msgspec
from lessee.host.ledger import Ledger
ledger = Ledger(Path(sys.argv[1]), allow_disk=False)
print(msgspec.json.encode(ledger.app("web")).decode())
print(msgspec.json.encode([list(ledger.identities()), ledger.tokens(sys.argv[2]), ledger.leases(sys.argv[2])]).decode())
"""
KILLED = """
import os, signal, sys
from pathlib import Path
from lessee.publishing.state_store import StateStore
steps = 0
def counted(original):
    def call(*arguments, **settings):
        global steps
        steps += 1
        if steps == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        original(*arguments, **settings)
    return call
os.rename, os.unlink = counted(os.rename), counted(os.unlink)
StateStore(Path(sys.argv[1]), allow_disk=False).close()
"""
VAULT = Vault(
    address="https://vault:8200",
    addresses=(),
    namespace="team",
    ca_file=None,
    tls_server_name="vault.example",
    client_cert_file=None,
    client_key_file=None,
    tls_skip_verify=True,
    auth=AppRole(
        role_id="r",
        secret_id_file="/s",
        wrapped=True,
        secret_id_response_wrapping_path="auth/approle/role/r/secret-id",
    ),
)
TOKEN = Token("accessor", 100.5, 3600.0, renewable=True, id="a1", ours=False)
LEASE = Lease(
    id="b2",
    need=DynamicSecret("aws/sts/deploy", (("force", True), ("region", "eu"), ("ttl", 900)), "POST"),
    secret=Secret({"password": CANARY}, VersionMetadata(3, "then", "now")),
    lease_id="aws/sts/deploy/xyz",
    token="a1",
    issued_at=100.0,
    sent_at=250.25,
    ttl=900.0,
    renewable=True,
    apps=frozenset({"web", "worker"}),
)
APP = AppRecord(
    pending_notifications=(6, 7),
    published=7,
    published_at=250.25,
    fingerprint="f7",
    awaiting_readiness=7,
    rollback_to=5,
    rejected="f6",
    fallbacks=((7, "last_known_good"), (6, "env")),
)
numbers, texts = st.integers(0, 9), st.text(max_size=3)
app_records = st.builds(
    AppRecord,
    pending_notifications=st.lists(numbers, max_size=2).map(tuple),
    published=st.none() | numbers,
    published_at=st.none() | st.floats(0, 1e9),
    fingerprint=st.none() | texts,
    awaiting_readiness=st.none() | numbers,
    rollback_to=st.none() | numbers,
    rejected=st.none() | texts,
    fallbacks=st.lists(st.tuples(numbers, st.sampled_from(["env", "last_known_good"])), max_size=2).map(tuple),
    boot=texts,
)


@pytest.fixture
def state(memory):
    return memory / "state"


@pytest.fixture
def old_key(state):
    """The key of the identity that 0.1.0 stored with its token, lease and app."""
    return run("0.1.0", WRITES, state).strip()


def names(state):
    return sorted(path.name for path in state.iterdir())


def test_the_records_of_0_1_0_are_taken_over_under_the_identity_s_present_key(state, old_key, caplog):
    caplog.set_level("INFO")
    key = key_of(VAULT)
    for _ in range(2):
        with closing(StateStore(state, allow_disk=False)) as store:
            assert {name: json.loads(block) for name, block in store.identities().items()} == {
                key: json.loads(msgspec.json.encode(VAULT))
            }
            assert store.tokens(key) == [(TOKEN, CANARY)]
            assert store.leases(key) == [LEASE]
            assert replace(store.app("web"), boot="") == APP
    assert names(state) == ["app-web", f"identity-{key[:16]}", f"lease-{key[:16]}-b2", "lock", f"token-{key[:16]}-a1"]
    assert [(record.message, record.fields["records"]) for record in caplog.records] == [
        ("state of an earlier version read", 2)
    ]
    assert old_key != key


@pytest.mark.no_cover
@pytest.mark.usefixtures("old_key")
def test_a_kill_at_any_step_of_the_upgrade_loses_nothing(state):
    ended = []
    while ended[-1:] != [0]:
        command = [sys.executable, "-c", KILLED, state, str(len(ended) + 1)]
        ended.append(subprocess.run(command, check=False).returncode)
    assert ended[:-1] == [-signal.SIGKILL] * (len(ended) - 1)
    assert len(ended) > 2
    with closing(StateStore(state, allow_disk=False)) as store:
        assert (store.tokens(key_of(VAULT)), store.leases(key_of(VAULT))) == ([(TOKEN, CANARY)], [LEASE])
    assert len(names(state)) == 5


@pytest.mark.no_cover
def test_0_1_0_reads_a_pending_notification_after_a_downgrade_and_no_token_of_this_version(state, old_key):
    with closing(StateStore(state, allow_disk=False)) as store:
        store.store_app("web", APP)
    app, rest = run("0.1.0", READS, state, old_key).splitlines()
    assert json.loads(app) | {"boot": ""} == json.loads(msgspec.json.encode(AppRecord1(**format_1_fields(APP))))
    assert json.loads(rest) == [[key_of(VAULT)], [], []]


@pytest.mark.usefixtures("old_key")
def test_what_0_1_0_cannot_have_written_is_ignored_and_reported(state, caplog):
    old = {name.partition("-")[0]: state / name for name in names(state) if name not in {"lock", "app-web"}}
    token, lease = json.loads(old["token"].read_bytes()), json.loads(old["lease"].read_bytes())
    old["token"].write_text(json.dumps(token | {"identity": "0" * 64}))
    old["lease"].write_text(json.dumps(lease | {"lease": {"id": "b2"}}))
    with closing(StateStore(state, allow_disk=False)) as store:
        assert (store.tokens(key_of(VAULT)), store.leases(key_of(VAULT))) == ([], [])
    assert [record.fields["reason"] for record in caplog.records if record.message == "state record ignored"] == [
        "it is damaged, or not this agent's"
    ] * 2
    assert old["token"].exists()


@pytest.mark.parametrize("damage", [b"{}", b'{"identity": "x", "block": ""}', b"\xff", b"["])
@pytest.mark.usefixtures("old_key")
def test_a_damaged_identity_stays_where_it_is(state, caplog, damage):
    [file] = state.glob("identity-*")
    file.write_bytes(damage)
    with closing(StateStore(state, allow_disk=False)) as store:
        assert store.identities() == {}
    assert file.read_bytes() == damage
    assert [record.message for record in caplog.records] == ["state record ignored"]


def test_a_record_of_a_newer_format_is_ignored_and_the_log_says_so(state, caplog):
    key = key_of(VAULT)
    with closing(StateStore(state, allow_disk=False)) as store:
        store.store_token(key, TOKEN, CANARY)
        store.store_app("web", APP)
        for path in (state / f"token-{key[:16]}-a1", state / "app-web"):
            path.write_text(json.dumps(json.loads(path.read_bytes()) | {"format": 3}))
        assert store.tokens(key) == []
        assert replace(store.app("web"), boot="") == AppRecord()
    reason = "a newer version of lessee wrote it, in format 3; this one reads 2"
    assert [record.fields["reason"] for record in caplog.records] == [reason, reason]


# -- the pure parts --------------------------------------------------------------------------------------------


@pytest.mark.no_cover
@given(app_records)
def test_an_app_s_record_is_the_same_in_both_formats(record):
    encoded = encode_app(record)
    assert decode_app(encoded) == record
    # 0.1.0 ignores the fields that it does not know, and writes none of them.
    old = json.loads(encoded)
    del old["format"], old["record"]
    assert upgrade_app(json.dumps(old).encode()) == decode_app(json.dumps(old).encode()) == record


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b'{"format": 3}', b'{"format": 2}', b'{"owed": 1}'])
def test_a_damaged_or_newer_record_of_an_app_is_none(content):
    assert decode_app(content) is None


def test_a_record_of_another_format_is_no_record():
    stored = StoredIdentity("1" * 64, b"{}", FORMAT)
    assert decode(msgspec.json.encode(stored), StoredIdentity) == stored
    assert decode(msgspec.json.encode(replace(stored, format=1)), StoredIdentity) is None
    assert decode(b"{", StoredIdentity) is None
    assert why_ignored(b"{") == "it is damaged, or not this agent's"
    assert stored.file == "identity-1111111111111111"
    assert StoredDirectory("/run/web", "web").file != StoredDirectory("/run/api", "web").file
    assert state_records.file_name("token", "2" * 64, "") == "token-2222222222222222-"


def test_an_identity_under_a_foreign_name_is_none():
    block = msgspec.json.encode(VAULT)
    stored = msgspec.json.encode({"identity": "1" * 64, "block": block})
    assert state_format_1.upgrade_identity("identity-2222222222222222", stored) is None
    # A block without the keys that have another name now, and one with an auth block that is none.
    assert state_format_1.upgrade_identity("identity-1111111111111111", stored) == (
        "1" * 64,
        StoredIdentity(key_of(VAULT), block, FORMAT),
    )
    odd = msgspec.json.encode({"identity": "1" * 64, "block": b'{"auth": 1}'})
    with pytest.raises(msgspec.ValidationError):
        state_format_1.upgrade_identity("identity-1111111111111111", odd)


@pytest.mark.parametrize("secret", [{"data": {}}, {"data": {}, "marker": None}])
def test_a_lease_without_a_version_is_taken_over(secret):
    lease = msgspec.to_builtins(replace(LEASE, apps=frozenset())) | {"secret": secret}
    stored = msgspec.json.encode({"identity": "1" * 64, "boot": "b", "lease": lease})
    read = state_format_1.upgrade_lease("lease-1111111111111111-b2", stored, "1" * 64, "2" * 64)
    assert (read.identity, read.boot, read.format) == ("2" * 64, "b", FORMAT)
    assert read.lease == replace(LEASE, secret=Secret({}), apps=frozenset())
    assert state_format_1.upgrade_lease("lease-1111111111111111-c3", stored, "1" * 64, "2" * 64) is None


def test_a_lease_without_a_secret_raises():
    stored = msgspec.json.encode({"identity": "1" * 64, "boot": "b", "lease": {"secret": 1}})
    with pytest.raises(msgspec.ValidationError):
        state_format_1.upgrade_lease("lease-1111111111111111-b2", stored, "1" * 64, "2" * 64)
