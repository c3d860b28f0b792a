"""The monitor's state file is always whole, even on a full disk."""

from contextlib import closing

import pytest

from lessee.core.errors import LesseeError, WriteError
from lessee.ops.monitor.checkpoint import Checkpoint, CheckpointStore, CheckpointWriter
from support.full_disk import no_file_may_grow_beyond


def test_on_a_full_disk_the_last_state_stays_without_half_a_new_one(tmp_path):
    with closing(CheckpointStore(tmp_path / "state")) as store:
        store.save(b"{}")
        with no_file_may_grow_beyond(100), pytest.raises(WriteError, match="File too large"):
            store.save(b" " * 200)
        assert sorted(file.name for file in (tmp_path / "state").iterdir()) == ["lock", "state.json"]
        assert (tmp_path / "state" / "state.json").read_bytes() == b"{}"


def test_a_state_that_was_not_saved_is_saved_when_there_is_space(tmp_path):
    with closing(CheckpointStore(tmp_path / "state")) as store:
        writer = CheckpointWriter(store)
        checkpoint = Checkpoint(sinks={"one": "x" * 200})
        with no_file_may_grow_beyond(100):
            writer.save(checkpoint)
            writer.wait()
            assert "was not saved" in writer.error
        writer.save(checkpoint)
        writer.wait()
        assert writer.error is None
        writer.close()
        assert store.load() == checkpoint


@pytest.mark.parametrize(
    "damage", [b"{", b'{"sinks":"\xff"}', b'{"sinks":' + b"[" * 100_000], ids=["half", "text", "deep"]
)
def test_a_damaged_state_is_refused_with_what_to_do(tmp_path, damage):
    with closing(CheckpointStore(tmp_path / "state")) as store:
        (tmp_path / "state" / "state.json").write_bytes(damage)
        with pytest.raises(
            LesseeError, match="this is not the state of a monitor; use the version of lessee that wrote it"
        ):
            store.load()
