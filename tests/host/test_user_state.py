"""The key that lessee keeps for a user."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from lessee.core.errors import WriteError
from lessee.host.user_state import KEY_SIZE, user_key, user_state


def test_the_folder_is_below_the_state_of_the_user():
    assert str(user_state({"HOME": "/home/simba"})) == "/home/simba/.local/state/lessee"
    assert str(user_state({"HOME": "/home/simba", "XDG_STATE_HOME": "/state"})) == "/state/lessee"


def test_a_key_is_made_once_and_only_if_it_is_needed(tmp_path):
    path = tmp_path / "lessee/adopt/key"
    assert user_key(path, make=False) is None
    assert list(tmp_path.iterdir()) == []
    with ThreadPoolExecutor(8) as threads:
        keys = set(threads.map(lambda _: user_key(path, make=True), range(8)))
    (key,) = keys
    assert len(key) == KEY_SIZE
    assert user_key(path, make=False) == key
    assert [one.stat().st_mode & 0o777 for one in (path.parent, path)] == [0o700, 0o600]


def test_a_key_of_a_run_that_was_killed_is_replaced(tmp_path):
    path = tmp_path / "key"
    path.write_bytes(b"half")
    assert user_key(path, make=False) is None
    assert len(user_key(path, make=True)) == KEY_SIZE


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_key_that_others_may_write_or_have_made_is_refused(tmp_path):
    path = tmp_path / "folder/key"
    user_key(path, make=True)
    os.chown(path, 12345, -1)
    with pytest.raises(WriteError, match="belongs to another user"):
        user_key(path, make=False)
    path.parent.chmod(0o777)
    with pytest.raises(WriteError, match="every user may write"):
        user_key(path, make=True)
