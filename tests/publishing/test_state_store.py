"""Tokens, leases and records survive the agent, and no other user can read them."""

import base64
import json
import os
import signal
import stat
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lessee.core.errors import WriteError
from lessee.core.immutable import replace
from lessee.core.leases import FOREVER, Lease
from lessee.core.paths import DynamicSecret
from lessee.core.secrets import Secret, VersionMetadata
from lessee.core.tokens import Token
from lessee.host.clock import boot_time
from lessee.host.directories import entries
from lessee.publishing import state_store
from lessee.publishing.publication_record import AppRecord
from lessee.publishing.state_store import StateStore

CANARY = "CANARY-81c4"
ONE, TWO = "1" * 64, "2" * 64
TOKEN = Token("accessor", 100.5, 3600.0, renewable=True, id="a1", ours=False)
LEASE = Lease(
    id="b2",
    need=DynamicSecret("aws/sts/deploy", (("force", True), ("region", "eu"), ("ttl", 900)), "POST"),
    secret=Secret({"password": CANARY, "list": [1, 2.5, None]}, VersionMetadata(1, "now")),
    lease_id="aws/sts/deploy/xyz",
    token="a1",
    issued_at=100.0,
    sent_at=250.25,
    ttl=900.0,
    renewable=True,
    apps=frozenset({"web", "worker"}),
)
APP = AppRecord(
    pending_notifications=(7,),
    published=7,
    published_at=250.25,
    fingerprint="f7",
    awaiting_readiness=7,
    rollback_to=5,
    rejected="f6",
)


@pytest.fixture
def state(memory):
    return memory / "state"


@pytest.fixture
def opened(state):
    """Open the store, as each start of the agent does."""
    stores = []

    def start():
        for store in stores:
            store.close()
        stores[:] = [StateStore(state, allow_disk=False)]
        return stores[0]

    yield start
    for store in stores:
        store.close()


def files(state, prefix):
    return sorted(path.name for path in state.iterdir() if path.name.startswith(prefix))


# -- after a restart of the agent ----------------------------------------------------------------------------------


def test_stored_entries_survive_a_restart(opened):
    store = opened()
    store.store_identity(ONE, b'{"address": "x"}')
    store.store_token(ONE, TOKEN, "t1")
    store.store_lease(ONE, LEASE)
    store.store_app("web", APP)
    store = opened()
    assert store.identities() == {ONE: b'{"address": "x"}'}
    assert store.tokens(ONE) == [(TOKEN, "t1")]
    assert store.leases(ONE) == [LEASE]
    assert replace(store.app("web"), boot="") == APP


def test_forgotten_entries_are_deleted_and_forgetting_them_twice_is_no_error(opened, state):
    store = opened()
    store.store_identity(ONE, b"{}")
    store.store_token(ONE, TOKEN, "t1")
    store.store_lease(ONE, LEASE)
    for _ in range(2):
        store.forget_lease(ONE, LEASE.id)
        store.forget_token(ONE, TOKEN.id)
        store.forget_identity(ONE)
    assert (store.identities(), store.tokens(ONE), store.leases(ONE)) == ({}, [], [])
    assert files(state, "") == ["lock"]


def test_storing_again_replaces_the_entry(opened):
    store = opened()
    for ttl in (1.0, 2.0):
        store.store_token(ONE, replace(TOKEN, ttl=ttl), f"t{ttl}")
        store.store_lease(ONE, replace(LEASE, ttl=ttl))
        store.store_identity(ONE, b"%f" % ttl)
    assert store.tokens(ONE) == [(replace(TOKEN, ttl=2.0), "t2.0")]
    assert store.leases(ONE) == [replace(LEASE, ttl=2.0)]
    assert store.identities() == {ONE: b"2.000000"}


def test_identities_are_separate_even_with_equal_ids(opened):
    store = opened()
    for identity, value in ((ONE, "t1"), (TWO, "t2")):
        store.store_token(identity, TOKEN, value)
        store.store_lease(identity, replace(LEASE, lease_id=value))
    store.forget_lease(TWO, LEASE.id)
    assert (store.tokens(ONE), store.tokens(TWO)) == ([(TOKEN, "t1")], [(TOKEN, "t2")])
    assert (store.leases(ONE), store.leases(TWO)) == ([replace(LEASE, lease_id="t1")], [])


def test_an_identity_with_the_same_prefix_is_another_one(opened):
    store = opened()
    store.store_token(ONE, TOKEN, "t1")
    store.store_lease(ONE, LEASE)
    assert store.tokens(ONE[:-1] + "0") == []
    assert store.leases(ONE[:-1] + "0") == []


def test_the_newest_token_comes_last(opened):
    store = opened()
    for name, sent_at in (("x", 30.0), ("y", 10.0), ("z", 20.0)):
        store.store_token(ONE, replace(TOKEN, id=name, sent_at=sent_at), name)
    assert [value for _, value in store.tokens(ONE)] == ["y", "z", "x"]


texts = st.text(st.characters(exclude_categories=["Cs"]))
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
)


def test_any_secret_is_restored_unchanged(opened):
    store = opened()

    @given(st.dictionaries(texts, values), texts, st.binary())
    @settings(max_examples=30)
    def check(data, value, block):
        store.store_lease(ONE, replace(LEASE, secret=Secret(data)))
        store.store_token(ONE, TOKEN, value)
        store.store_identity(ONE, block)
        assert store.leases(ONE)[0].secret.data == data
        assert store.tokens(ONE) == [(TOKEN, value)]
        assert store.identities() == {ONE: block}

    check()


# -- after a reboot --------------------------------------------------------------------------------


def reboot(state):
    """Make the entries look as if they were from an earlier boot."""
    for path in state.iterdir():
        if path.name.startswith(("token-", "lease-", "app-")):
            entry = json.loads(path.read_bytes()) | {"boot": "an earlier one"}
            if "record" in entry:
                entry["record"]["boot"] = "an earlier one"
            path.write_text(json.dumps(entry))


def test_after_a_reboot_tokens_and_leases_expire_until_the_server_is_asked(opened, state):
    store = opened()
    store.store_token(ONE, replace(TOKEN, sent_at=1e9), "t1")
    store.store_lease(ONE, replace(LEASE, sent_at=1e9))
    store.store_lease(ONE, replace(LEASE, id="c3", ttl=0.0))
    reboot(state)
    before = boot_time()
    ((token, value),) = opened().tokens(ONE)
    lease, endless = store.leases(ONE)
    after = boot_time()
    assert value == "t1"
    assert before < token.ends_at <= after + 1
    assert before <= lease.ends_at <= after
    assert lease.secret == LEASE.secret
    assert endless.ends_at == float("inf")
    assert lease.issued_at <= lease.sent_at <= after


@pytest.mark.parametrize(
    ("expiration", "lease_id", "expected"),
    [(600, "", 600), (7200, "", 900), (-600, "", 0), (None, "", 0), (600, "pki/issue/web/xyz", 0)],
)
def test_after_a_reboot_a_certificate_without_a_lease_is_valid_until_its_end(
    opened, state, expiration, lease_id, expected
):
    store = opened()
    data = {} if expiration is None else {"expiration": int(time.time()) + expiration}
    store.store_lease(ONE, replace(LEASE, lease_id=lease_id, secret=Secret(data), sent_at=1e9))
    reboot(state)
    before = boot_time()
    (lease,) = store.leases(ONE)
    assert before + expected - 2 < lease.ends_at <= boot_time() + expected


def test_after_a_reboot_a_token_that_says_its_end_is_valid_until_then_and_what_has_no_end_stays(opened, state):
    claims = base64.urlsafe_b64encode(json.dumps({"exp": int(time.time()) + 600}).encode()).decode().rstrip("=")
    store = opened()
    for name, token, ttl in (("a", f"x.{claims}.x", 900.0), ("b", "opaque", 900.0), ("c", "opaque", 0.0)):
        lease = replace(LEASE, id=name, lease_id="", secret=Secret({"token": token}), sent_at=1e9, ttl=ttl)
        store.store_lease(ONE, lease)
    reboot(state)
    before = boot_time()
    valid, ended, endless = store.leases(ONE)
    assert before + 598 < valid.ends_at <= boot_time() + 600
    assert ended.ends_at <= boot_time()
    assert endless.ends_at == FOREVER


def test_tokens_of_an_earlier_boot_are_older_whatever_their_clock_said(opened, state):
    store = opened()
    for name, sent_at in (("x", 2e9), ("y", 1e9)):
        store.store_token(ONE, replace(TOKEN, id=name, sent_at=sent_at), name)
    reboot(state)
    store.store_token(ONE, replace(TOKEN, id="z", sent_at=5.0), "z")
    assert [value for _, value in store.tokens(ONE)] == ["y", "x", "z"]


# -- private -------------------------------------------------------------------------------------------------


def test_only_the_agent_itself_can_read_it(opened, state):
    umask = os.umask(0)
    try:
        store = opened()
        store.store_identity(ONE, b"{}")
        store.store_token(ONE, TOKEN, CANARY)
        store.store_lease(ONE, LEASE)
    finally:
        os.umask(umask)
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in state.iterdir()} == {0o600}
    assert len(list(state.iterdir())) == 4


def test_no_file_name_and_no_warning_shows_a_value(opened, state, caplog):
    store = opened()
    store.store_token(ONE, TOKEN, CANARY)
    store.store_lease(ONE, LEASE)
    assert not any(CANARY in path.name for path in state.iterdir())
    for path in state.iterdir():
        path.write_bytes(path.read_bytes()[:-2])
    assert (store.tokens(ONE), store.leases(ONE)) == ([], [])
    assert CANARY not in "".join(f"{record.getMessage()} {record.fields}" for record in caplog.records)
    assert len(caplog.records) == 2


def test_a_link_planted_in_its_place_is_not_followed(opened, state, memory):
    store = opened()
    target = memory / "victim"
    target.write_text("untouched")
    (state / "new").symlink_to(target)
    store.store_token(ONE, TOKEN, "t1")
    assert target.read_text() == "untouched"
    assert store.tokens(ONE) == [(TOKEN, "t1")]
    (stored,) = files(state, "token-")
    (state / stored).rename(memory / "moved")
    (state / stored).symlink_to(memory / "moved")
    assert store.tokens(ONE) == []


# -- whole ---------------------------------------------------------------------------------------------------

KILLED = """
import json, os, signal, sys
from contextlib import closing
from itertools import count
from pathlib import Path
from lessee.core.tokens import Token
from lessee.publishing.state_store import StateStore

state = Path(sys.argv[1])
token = Token("accessor", 100.5, 3600.0, True, "a1")

def keep(value):
    with closing(StateStore(state, allow_disk=False)) as store:
        store.store_token("1" * 64, token, value)

def kill_at(step):
    left = [step]
    def trace(frame, event, _):
        if not frame.f_code.co_filename.endswith("/publishing/state_store.py"):
            return None
        left[0] -= event == "line"
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace
    sys.settrace(trace)

found = []
for step in count(1):
    keep("old")
    pid = os.fork()
    if pid == 0:
        kill_at(step)
        keep("new" * 1000)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with closing(StateStore(state, allow_disk=False)) as store:
        found.append((code, [value for _, value in store.tokens("1" * 64)], sorted(os.listdir(state))))
    if code == 0:
        break
print(json.dumps(found))
"""


def test_a_write_killed_at_any_step_leaves_the_old_record_or_the_new_one_and_nothing_else(state):
    done = subprocess.run([sys.executable, "-c", KILLED, state], check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    assert all(names == ["lock", f"token-{ONE[:16]}-a1"] for _, _, names in found)
    stored = [values for _, values, _ in found]
    old, new = ["old"], ["new" * 1000]
    assert stored == [old] * stored.count(old) + [new] * stored.count(new)
    assert {code for code, _, _ in found[:-1]} == {-signal.SIGKILL}
    assert stored.count(old) > 20
    assert stored.count(new) > 2


@pytest.mark.parametrize(
    "damage",
    [b"", b"\x00{", b"[1,", b"\xff\xfe", b"null", b"{}", b'"\xff"', b"[" * 100_000],
    ids=["empty", "NUL", "half", "bytes", "null", "no fields", "bad text", "deep"],
)
def test_a_damaged_record_is_ignored_and_logged_once(opened, state, caplog, damage):
    store = opened()
    store.store_token(ONE, TOKEN, "t1")
    names = [f"token-{ONE[:16]}-x", f"lease-{ONE[:16]}-x", f"identity-{TWO[:16]}", "app-web"]
    for name in names:
        (state / name).write_bytes(damage)
    for _ in range(2):
        assert store.tokens(ONE) == [(TOKEN, "t1")]
        assert store.leases(ONE) == []
        assert store.identities() == {}
        assert replace(store.app("web"), boot="") == AppRecord()
    assert sorted(record.fields["file"] for record in caplog.records) == sorted(str(state / name) for name in names[:3])


def test_entries_that_are_no_records_are_ignored(opened, state):
    store = opened()
    store.store_token(ONE, TOKEN, "t1")
    os.mkfifo(state / f"token-{ONE[:16]}-fifo")
    (state / f"token-{ONE[:16]}-folder").mkdir()
    (state / f"token-{ONE[:16]}-copy").write_bytes((state / f"token-{ONE[:16]}-a1").read_bytes())
    before = len(list(Path("/proc/self/fd").iterdir()))
    assert store.tokens(ONE) == [(TOKEN, "t1")]
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_token_file_of_an_earlier_version_is_removed(opened, state):
    opened()
    (state / "token").write_text(f'{{"identity":"{ONE}","value":"{CANARY}"}}')
    store = opened()
    assert store.tokens(ONE) == []
    assert files(state, "") == ["lock"]


# -- of each app -------------------------------------------------------------------------------------------


def test_an_apps_record_is_replaced_as_a_whole_and_an_empty_one_deletes_it(opened, state):
    store = opened()
    store.store_app("web", APP)
    store.store_app("worker", replace(APP, rejected="f2"))
    store.store_app("web", AppRecord(rejected="f1"))
    assert replace(store.app("web"), boot="") == AppRecord(rejected="f1")
    assert store.app("worker").rejected == "f2"
    for _ in range(2):  # idempotent
        store.store_app("web", AppRecord(boot="whichever"))
    assert files(state, "app-") == ["app-worker"]
    assert replace(store.app("web"), boot="") == AppRecord()


def test_after_a_reboot_the_time_of_a_publication_is_unknown(opened, state):
    opened().store_app("web", APP)
    reboot(state)
    assert replace(opened().app("web"), boot="") == replace(APP, published_at=None)


# -- where it lies -------------------------------------------------------------------------------------------


def test_only_one_agent_at_a_time_may_use_it(opened, state):
    opened()
    with pytest.raises(WriteError, match="another lessee uses this state directory"):
        StateStore(state, allow_disk=False)


def test_state_on_a_disk_is_refused_unless_it_is_allowed(tmp_path):
    with pytest.raises(WriteError, match="tmpfs"):
        StateStore(tmp_path / "state", allow_disk=False)
    with closing(StateStore(tmp_path / "state", allow_disk=True)) as store:
        store.store_token(ONE, TOKEN, "t1")
        assert store.tokens(ONE) == [(TOKEN, "t1")]


def test_many_identities_are_read_with_one_listing(memory, monkeypatch):
    with closing(StateStore(memory, allow_disk=False)) as store:
        identities = [f"{number:016x}{'0' * 48}" for number in range(200)]
        for identity in identities:
            store.store_identity(identity, b"{}")
            store.store_token(identity, TOKEN, identity)
            store.store_lease(identity, LEASE)
        listings = []
        monkeypatch.setattr(state_store, "entries", lambda fd: listings.append(fd) or entries(fd))
        with store.listed():
            assert list(store.identities()) == identities
            for identity in identities:
                assert [value for _, value in store.tokens(identity)] == [identity]
                assert len(store.leases(identity)) == 1
        assert len(listings) == 1
        # Afterwards, it sees what was written since.
        store.store_token(identities[0], replace(TOKEN, id="a2"), "second")
        assert len(store.tokens(identities[0])) == 2
