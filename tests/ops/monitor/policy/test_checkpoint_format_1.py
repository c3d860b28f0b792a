"""The positions of a monitor of 0.1.0 are taken over; the code of 0.1.0 saves them here."""

from contextlib import closing

import msgspec
import pytest

from lessee.core.errors import LesseeError
from lessee.ops.monitor.checkpoint import Checkpoint, CheckpointStore, SourceProgress
from lessee.ops.monitor.policy.checkpoint_format_1 import upgrade
from lessee.ops.monitor.policy.cursor import Position
from support.released import run

SAVES = """
import sys
from pathlib import Path
import msgspec
from lessee.core.monitor.cursor import Place
from lessee.monitor.keeping import Keeper, Kept, Standing
place = Place(1.5, 2, 3, 400, "tail", 50, 6.5, (0.5,))
kept = Kept(is_whole=False, sources={
    "file": Standing("/var/log/audit.log", place, number=7, accesses=8, lines=9, rubbish=1, gaps=2, last_at=6.5),
    "socket": Standing("unix:/run/audit.sock"),
}, sinks={"alerts": {"pending": [1]}})
Keeper(Path(sys.argv[1])).save(msgspec.json.encode(kept))
"""
LOADS = """
import sys
from pathlib import Path
from lessee.core.errors import LesseeError
from lessee.monitor.keeping import Keeper
try:
    Keeper(Path(sys.argv[1])).load()
except LesseeError as exc:
    print(exc)
"""


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state"


def test_the_positions_of_0_1_0_are_taken_over_and_its_counts_start_again(state, caplog):
    run("0.1.0", SAVES, state)
    with closing(CheckpointStore(state)) as store:
        assert store.load() == Checkpoint(
            is_final=False,
            sources={
                "file": SourceProgress(
                    "/var/log/audit.log",
                    Position(1.5, 2, 3, 400, "tail", 50, 6.5, (0.5,)),
                    number=7,
                    accesses=8,
                    lines=9,
                    invalid_lines=1,
                    gaps=2,
                    last_at=6.5,
                ),
                "socket": SourceProgress("unix:/run/audit.sock"),
            },
        )
    assert [record.message for record in caplog.records] == ["monitor state of an earlier version read"]


def test_0_1_0_refuses_the_state_of_this_version(state):
    with closing(CheckpointStore(state)) as store:
        store.save(msgspec.json.encode(Checkpoint()))
    assert "this is not what a monitor keeps" in run("0.1.0", LOADS, state)


def test_a_state_of_a_newer_format_is_named_as_such(state):
    with closing(CheckpointStore(state)) as store:
        store.save(msgspec.json.encode(Checkpoint(format=3)))
        with pytest.raises(LesseeError, match="in format 3; this one reads 2; use the version of lessee that wrote it"):
            store.load()


@pytest.mark.parametrize(
    "text", [b'{"format": 1, "sources": []}', b'{"format": 1, "sources": {"a": {"log": 5}}}', b'{"format": 0}', b"{}"]
)
def test_a_state_that_no_version_wrote_is_refused(state, text):
    with closing(CheckpointStore(state)) as store:
        store.save(text)
        with pytest.raises(LesseeError, match="this is not the state of a monitor"):
            store.load()


def test_what_0_1_0_has_not_saved_has_its_default():
    assert msgspec.json.decode(upgrade(b'{"format": 1}')) == {"format": 2, "is_final": True, "sources": {}}
