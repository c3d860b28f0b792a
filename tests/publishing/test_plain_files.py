"""Plain files for a build, each written atomically."""

import os
import stat
import subprocess
import sys

import pytest

from lessee.core.errors import WriteError
from lessee.core.generation import Generation
from lessee.core.immutable import replace
from lessee.publishing.plain_files import PlainPublicationStore, write_plain_files
from support.full_disk import no_file_may_grow_beyond
from support.models.generations import contents, generation
from support.paths import TESTS


def test_plain_files_are_written_on_any_disk_with_their_mode(tmp_path):
    write_plain_files(tmp_path / "out" / "simba", generation("one", mode=0o400))
    out = tmp_path / "out" / "simba"
    assert {path.name: path.read_bytes() for path in out.iterdir()} == contents(generation("one"))
    assert {stat.S_IMODE(path.lstat().st_mode) for path in out.iterdir()} == {0o400}
    assert stat.S_IMODE(out.stat().st_mode) == 0o700


def test_a_plain_file_replaces_a_link_and_leaves_its_target_alone(tmp_path):
    (tmp_path / "target").write_text("untouched")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "app.env").symlink_to("../target")
    write_plain_files(tmp_path / "out", generation("one"))
    assert (tmp_path / "target").read_text() == "untouched"
    assert not (tmp_path / "out" / "app.env").is_symlink()


def test_plain_files_that_cannot_be_written_leave_nothing(tmp_path):
    with pytest.raises(WriteError):
        write_plain_files(tmp_path, generation("one", ("app.env", "app.env/below")))
    (tmp_path / "key.pem").mkdir()
    with pytest.raises(WriteError, match=r"key\.pem is a directory"):
        write_plain_files(tmp_path, generation("one"))
    assert [path.name for path in tmp_path.iterdir()] == ["key.pem"]


def test_a_failed_write_of_plain_files_leaves_the_old_ones_complete(tmp_path):
    write_plain_files(tmp_path, generation("one"))
    first, *others = generation("two").files
    with no_file_may_grow_beyond(len(first.content)), pytest.raises(WriteError, match="File too large"):
        write_plain_files(tmp_path, Generation("simba", (first, replace(others[0], content=bytes(100_000)))))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == contents(generation("one"))


# -- before a check has judged them --------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path):
    return PlainPublicationStore(tmp_path, by_app=True)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith("..")}


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_staged_files_are_complete_and_separate_from_the_published_ones(store, tmp_path):
    store.publish(generation("one"), notify=False, probe=False)
    staged = store.stage(generation("two"))
    assert staged.parent == tmp_path / "simba"
    assert files(staged) == contents(generation("two"))
    assert files(store.directory_of("simba")) == contents(generation("one"))
    store.publish(generation("two"), notify=False, probe=False)
    assert files(store.directory_of("simba")) == contents(generation("two"))
    assert names(store.directory_of("simba")) == contents(generation("two")).keys()


def test_files_that_a_check_refused_leave_nothing(store):
    store.publish(generation("one"), notify=False, probe=False)
    for tag in ("two", "three"):
        store.stage(generation(tag))
    store.discard("simba")
    store.discard("simba")  # idempotent
    assert files(store.directory_of("simba")) == contents(generation("one"))
    assert names(store.directory_of("simba")) == contents(generation("one")).keys()


STAGED_AND_LEFT = """
import sys
from pathlib import Path
from support.models.generations import generation
from lessee.publishing.plain_files import PlainPublicationStore

store = PlainPublicationStore(Path(sys.argv[1]), by_app=False)
print(store.stage(generation("one")).is_dir())
"""


def test_staged_files_are_removed_when_the_process_exits(tmp_path):
    environ = os.environ | {"PYTHONPATH": str(TESTS)}
    command = [sys.executable, "-c", STAGED_AND_LEFT, tmp_path]
    said = subprocess.run(command, check=True, capture_output=True, text=True, env=environ).stdout
    assert said == "True\n"
    assert list(tmp_path.iterdir()) == []
