"""What a monitor keeps is whole, whatever becomes of the disk."""

import resource
from contextlib import closing, contextmanager

import pytest

from lessee.core.errors import WriteError
from lessee.ops.monitor.checkpoint import Keeper, Kept, Saver


@contextmanager
def no_file_may_grow_beyond(size):
    """A disk that is full, as far as this process can see; Python has SIGXFSZ ignored."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_on_a_full_disk_the_last_state_stays_and_no_half_of_a_new_one(tmp_path):
    with closing(Keeper(tmp_path / "state")) as keeper:
        keeper.save(b"{}")
        with no_file_may_grow_beyond(100), pytest.raises(WriteError, match="File too large"):
            keeper.save(b" " * 200)
        assert sorted(file.name for file in (tmp_path / "state").iterdir()) == ["lock", "state.json"]
        assert (tmp_path / "state" / "state.json").read_bytes() == b"{}"


def test_what_could_not_be_saved_is_saved_once_there_is_room(tmp_path):
    with closing(Keeper(tmp_path / "state")) as keeper:
        saver = Saver(keeper)
        kept = Kept(sinks={"one": "x" * 200})
        with no_file_may_grow_beyond(100):
            saver.save(kept)
            saver.wait()
            assert "cannot be kept" in saver.trouble
        saver.save(kept)
        saver.wait()
        assert saver.trouble is None
        saver.close()
        assert keeper.load() == kept
