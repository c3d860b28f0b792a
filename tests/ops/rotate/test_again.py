"""What a service needs that rotates the same targets again and again, and beside others."""

import time
from contextlib import contextmanager

import pytest

from lessee.core.errors import VaultUnreachableError
from lessee.core.redaction import Redactor
from lessee.host.openbao import ROOT_TOKEN
from lessee.host.project import read
from lessee.ops.rotate.policy.decision import Outcome
from lessee.ops.rotate.policy.journal import Step
from lessee.ops.rotate.ports import BusyError
from lessee.ops.rotate.targets import Project, open_rotation
from lessee.vault.admin import admin_client
from support.environments.rotation_targets import Rotated
from support.servers.fault_proxy import Proxy, Status
from support.systems import SYSTEMS


@pytest.fixture
def proxy(bao):
    with Proxy(bao.port) as proxy:
        yield proxy


@pytest.fixture
def rotated(bao, proxy, tmp_path):
    with SYSTEMS["vault"].started(tmp_path) as new:
        one = Rotated(bao, tmp_path, new())
        one.config["vault"]["address"] = proxy.address
        one.write_config()
        yield one


@pytest.fixture
def project(rotated):
    path, environ = rotated.folder / "lessee.yaml", {"VAULT_TOKEN": ROOT_TOKEN}
    return Project(read(path, environ, blocks=("rotation",)), path, environ, Redactor())


@contextmanager
def one_of(project, name):
    with (
        admin_client(project.config.vault, project.environ, time.monotonic) as client,
        open_rotation(project, "target", client, owner_id=name) as one,
    ):
        yield one


def test_who_wishes_for_the_next_one_gets_it_once_whoever_makes_it(project):
    with one_of(project, "a") as one, one_of(project, "b") as other:
        assert one.run(seen=0.0) is Outcome.ROTATED
        assert other.run(seen=0.0) is Outcome.ALREADY_ROTATED
        seen = other.journal.rotated_at
        assert other.run(seen=seen) is Outcome.ROTATED
        assert one.run(seen=seen) is Outcome.ALREADY_ROTATED
        assert one.journal.count == 2


def test_what_the_same_holder_has_left_in_the_middle_is_his_own_and_another_s_is_not(project, proxy, rotated):
    proxy.on_path(f"metadata/{rotated.environment}/{rotated.secret_path}", Status(503))
    with one_of(project, "a") as one, pytest.raises(VaultUnreachableError):
        one.run(seen=0.0)
    proxy.clear()
    assert rotated.journal.step is Step.CREATED
    with one_of(project, "b") as other, pytest.raises(BusyError):
        other.run(seen=0.0, timeout=0.0)
    with one_of(project, "a") as one:
        one.run(finish_only=True, timeout=0.0)
    assert rotated.journal.step is Step.IDLE
    assert rotated.fields()["rotation_count"] == 1


def test_many_rotations_do_not_let_the_redactor_grow(project, rotated):
    with one_of(project, "a") as one:
        one.run(force=True)
    known = len(project.redactor._forms)
    for _ in range(6):
        with one_of(project, "a") as one:
            one.run(force=True)
        assert project.redactor.clean(rotated.fields()["secret"]) == "***"
    assert len(project.redactor._forms) <= known + 3


@pytest.mark.parametrize("leaves", [{}, {"rotation_count": 1}], ids=["nobody could know", "its readers knew"])
def test_the_first_who_confirms_what_said_nothing_of_rotation_is_not_taken_for_all(rotated, leaves):
    """Be it the first rotation, or be it that somebody has written the secret anew, without that key."""
    rotated.put(rotated.secret_path, secret="a" * 32, **leaves)
    rotated.config["rotation"]["target"]["confirmation_timeout"] = "1h"
    rotated.write_config()
    rotated.rotate(wait=False)
    rotated.confirm()
    came = rotated.rotate(finish_only=True, wait=False, force=False)
    assert came is (Outcome.NOTHING if leaves else Outcome.WAITING)
    assert rotated.journal.consumers_known == bool(leaves)
