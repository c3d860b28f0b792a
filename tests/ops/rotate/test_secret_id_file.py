"""The secret_id in a file: who owns it, what a person changes, and what a full or read-only folder does."""

import json
import os
import stat
from itertools import count

import pytest

from lessee.core.errors import LesseeError, WriteError
from lessee.ops.rotate.kinds.kind import SystemRefusedError
from lessee.ops.rotate.policy import journal
from lessee.ops.rotate.policy.decision import Outcome
from lessee.ops.rotate.policy.journal import Step
from support.environments.rotation_targets import RotationTarget, sampled_calls
from support.full_disk import no_file_may_grow_beyond
from support.systems.secret_id_file import MODE, LocalSecretId

UNPRIVILEGED = 65534


@pytest.fixture
def target(bao, tmp_path):
    return RotationTarget(bao, tmp_path, LocalSecretId(tmp_path))


@pytest.fixture
def system(target):
    return target.system


def content(system):
    return system.file.read_text().strip()


def test_the_new_file_has_the_mode_and_owner_of_the_old_one(target, system):
    if os.geteuid() == 0:
        os.chown(system.file, UNPRIVILEGED, UNPRIVILEGED)
    before = system.file.stat()
    target.rotate()
    after = system.file.stat()
    assert (stat.S_IMODE(after.st_mode), after.st_uid, after.st_gid) == (MODE, before.st_uid, before.st_gid)
    assert system.accepts(target.fields())


def test_a_link_stays_and_its_target_is_replaced(target, system):
    real = system.file.with_name("real")
    system.file.rename(real)
    system.file.symlink_to(real.name)
    target.rotate()
    assert system.file.is_symlink()
    assert system.logs_in(real.read_text().strip())


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_link_of_another_user_is_not_followed(target, system, tmp_path):
    other = tmp_path / "of-root"
    other.write_text("of root\n")
    system.file.unlink()
    system.file.symlink_to(other)
    os.lchown(system.file, UNPRIVILEGED, UNPRIVILEGED)
    with pytest.raises(WriteError, match="a symbolic link of uid 65534, which the rotator does not follow"):
        target.rotate()
    assert other.read_text() == "of root\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_link_of_another_user_in_the_path_is_not_followed(target, system, tmp_path):
    folder, other = system.file.parent, tmp_path / "of-root"
    folder.rename(other)
    folder.symlink_to(other)
    os.lchown(folder, UNPRIVILEGED, UNPRIVILEGED)
    with pytest.raises(WriteError, match="a symbolic link of uid 65534, which the rotator does not follow"):
        target.rotate()
    os.lchown(folder, 0, 0)
    target.rotate()
    assert system.accepts(target.fields())


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_folder_of_another_user_in_the_path_is_refused(target, system):
    """That user could put a file of its own there, and would get a secret_id with the owner of that file."""
    folder, accessors = system.file.parent, system.accessors()
    outer = folder.with_name("outer")
    outer.mkdir()
    folder.rename(outer / "inner")
    path = outer / "inner" / "secret_id"
    target.config["rotation"]["target"]["secret_id_file"] = str(path)
    target.write_config()
    for of_another in (outer, outer / "inner"):
        os.chown(of_another, UNPRIVILEGED, UNPRIVILEGED)
        (path.parent / "own").write_text("")
        os.chown(path.parent / "own", UNPRIVILEGED, UNPRIVILEGED)
        (path.parent / "own").replace(path)
        with pytest.raises(WriteError, match=f"{of_another}: it belongs to uid 65534, and so could put another file"):
            target.rotate()
        assert path.read_text() == ""
        assert system.accessors() == accessors
        os.chown(of_another, 0, 0)


@pytest.mark.parametrize(("mode", "text"), [(0o777, "every user"), (0o770, "group 65534")])
def test_a_folder_that_others_may_write_is_refused(target, system, mode, text):
    if os.geteuid() == 0:
        os.chown(system.file.parent, -1, UNPRIVILEGED)
    elif mode == 0o770:
        pytest.skip("needs root")
    system.file.parent.chmod(mode)
    with pytest.raises(WriteError, match=f"{text} may write into it, and so could put another file into the path"):
        target.rotate()
    system.file.parent.chmod(mode | stat.S_ISVTX)  # Only the owner of a file may replace it then.
    target.rotate()
    assert system.accepts(target.fields())


@pytest.mark.thorough
def test_no_secret_id_is_in_vault_in_a_log_or_left_in_the_folder(target, system, caplog):
    caplog.set_level("DEBUG", logger="lessee")
    values = {content(system)}
    documents = []
    for call_index in count():
        was_killed = target.rotate_and_kill(call_index, after=False)
        documents += [target.fields(), journal.serialize(target.journal)]
        values |= {path.read_text().strip() for path in system.file.parent.iterdir()}
        target.recover()
        if not was_killed:
            break
    assert len(values) > 5
    text = json.dumps(documents) + caplog.text
    assert not [value for value in values if value and value in text]
    assert [path.name for path in system.file.parent.iterdir()] == [system.file.name]


def test_the_old_secret_id_is_valid_until_the_delay_is_over(bao, tmp_path):
    target = RotationTarget(bao, tmp_path, LocalSecretId(tmp_path), revoke_delay="1h")
    old = content(target.system)
    assert target.rotate(wait=False) is Outcome.ROTATED
    assert target.journal.step is Step.PUBLISHED
    assert content(target.system) != old
    assert target.system.logs_in(old)
    assert target.system.accepts(target.fields())


@pytest.mark.thorough
def test_what_a_person_writes_during_a_rotation_stays(target, system):
    target.rotate()
    for call_index in sampled_calls("edited", of=3, least=LocalSecretId.min_calls):
        was_killed = target.rotate_and_kill(call_index, after=False)
        if not was_killed:
            break
        if target.journal.step in {Step.IDLE, Step.CREATING}:  # It has not read the file.
            target.recover()
            continue
        mine = system.new_secret_id()
        system.write(mine)
        target.rotate(finish_only=True)
        assert content(system) == mine
        assert system.logs_in(mine)
        assert system.logs_in(system.elsewhere)
        assert not target.journal.is_open
        target.rotate()  # And the next one replaces it.
        assert system.accepts(target.fields())
        assert not system.logs_in(mine)
        assert system.orphans(target.fields()) == set()
    assert call_index >= system.min_calls


def test_a_missing_folder_or_a_full_disk_creates_no_secret_id(target, system):
    before = system.accessors()
    with no_file_may_grow_beyond(0), pytest.raises(WriteError, match=r"cannot write: .*secret_id|File too large"):
        target.rotate()
    assert system.logs_in(content(system))
    target.config["rotation"]["target"]["secret_id_file"] = "/nowhere/secret_id"
    target.write_config()
    with pytest.raises(WriteError, match=r"/nowhere/secret_id"):
        target.rotate()
    assert system.accessors() == before
    assert not target.journal.is_open


def test_a_file_without_a_valid_secret_id_is_repaired(target, system):
    for text in ("", "not a secret_id"):
        system.write(text)
        target.rotate()
        assert system.accepts(target.fields())
    system.file.unlink()
    target.rotate()
    assert stat.S_IMODE(system.file.stat().st_mode) == 0o600


def test_a_role_that_refuses_the_new_secret_id_keeps_the_old_one(target, system):
    """Its new secret_ids may be used from another network only."""
    old = content(system)
    role = f"auth/approle/role/{system.role}"
    target.bao.ask("POST", role, {"secret_id_bound_cidrs": ["192.0.2.0/24"]})
    with pytest.raises(LesseeError):
        target.rotate()
    target.bao.ask("POST", role, {"secret_id_bound_cidrs": []})
    assert content(system) == old
    assert system.logs_in(old)
    target.rotate()
    assert system.accepts(target.fields())
    assert system.orphans(target.fields()) == set()


def test_a_role_that_does_not_exist_is_named(target):
    target.config["rotation"]["target"]["approle"] = "unknown"
    target.write_config()
    with pytest.raises(SystemRefusedError, match=r"auth/approle/role/unknown: the AppRole does not exist"):
        target.rotate()
