"""What must outlive the agent, does; and nothing else can be read from it."""

import stat

import pytest

from lessee.core.errors import CannotWrite
from lessee.host.ledger import Ledger


@pytest.fixture
def opened(memory):
    ledgers = []

    def start():
        ledgers.append(Ledger(memory / "state", allow_disk=False))
        return ledgers[-1]

    yield start
    for ledger in ledgers:
        ledger.close()


def test_a_token_is_kept_for_its_identity_alone_and_only_its_owner_reads_it(opened, memory):
    opened().keep_token("one", "canary-token")
    assert stat.S_IMODE((memory / "state").stat().st_mode) == 0o700
    assert stat.S_IMODE((memory / "state" / "token").stat().st_mode) == 0o600


def test_what_was_kept_is_there_in_the_next_life(memory):
    first = Ledger(memory / "state", allow_disk=False)
    first.keep_token("one", "t1")
    first.owe("web", 7)
    first.close()
    second = Ledger(memory / "state", allow_disk=False)
    assert second.token("one") == "t1"
    assert second.token("two") is None
    assert second.is_owed("web", 7)
    second.close()


def test_a_generation_that_never_came_to_be_owes_nothing_and_the_live_one_stays_owed(opened):
    ledger = opened()
    ledger.owe("web", 1)
    ledger.owe("web", 2)  # killed before generation 2 was shown
    assert ledger.is_owed("web", 1)
    assert ledger.is_owed("web", 2)
    assert not ledger.is_owed("web", 3)
    assert not ledger.is_owed("web", None)
    ledger.settle("web")
    assert not ledger.is_owed("web", 1)
    ledger.settle("web")  # a second time is no error


def test_one_agent_at_a_time_holds_it(opened):
    opened()
    with pytest.raises(CannotWrite, match="another lessee holds this state"):
        opened()


def test_rubbish_in_it_is_as_nothing(opened, memory):
    ledger = opened()
    (memory / "state" / "token").write_bytes(b"\x00{")
    (memory / "state" / "owed-web").write_bytes(b"[1,")
    assert ledger.token("one") is None
    assert not ledger.is_owed("web", 1)


def test_a_link_planted_in_its_place_is_not_followed(opened, memory):
    ledger = opened()
    target = memory / "victim"
    target.write_text("untouched")
    (memory / "state" / "token.new").symlink_to(target)
    ledger.keep_token("one", "t1")
    assert target.read_text() == "untouched"
    assert ledger.token("one") == "t1"


def test_state_on_a_disk_is_refused_unless_it_is_allowed(tmp_path):
    with pytest.raises(CannotWrite, match="tmpfs"):
        Ledger(tmp_path / "state", allow_disk=False)
    Ledger(tmp_path / "state", allow_disk=True).close()
