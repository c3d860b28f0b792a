"""Rotations as a service runs them: of the same targets repeatedly, and next to other rotators."""

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
from support.environments.rotation_targets import RotationTarget
from support.servers.fault_proxy import Proxy, Status
from support.systems import SYSTEMS


@pytest.fixture
def proxy(bao):
    with Proxy(bao.port) as proxy:
        yield proxy


@pytest.fixture
def target(bao, proxy, tmp_path):
    with SYSTEMS["vault"].started(tmp_path) as new:
        target = RotationTarget(bao, tmp_path, new())
        target.config["vault"]["address"] = proxy.address
        target.write_config()
        yield target


@pytest.fixture
def project(target):
    path, environ = target.folder / "lessee.yaml", {"VAULT_TOKEN": ROOT_TOKEN}
    return Project(read(path, environ, blocks=("rotation",)), path, environ, Redactor())


@contextmanager
def rotator(project, name):
    with (
        admin_client(project.config.vault, project.environ, time.monotonic) as client,
        open_rotation(project, "target", client, owner_id=name) as rotation,
    ):
        yield rotation


def test_two_rotators_that_want_the_next_rotation_make_one(project):
    with rotator(project, "a") as first, rotator(project, "b") as second:
        assert first.run(last_rotation=0.0) is Outcome.ROTATED
        assert second.run(last_rotation=0.0) is Outcome.ALREADY_ROTATED
        last = second.journal.rotated_at
        assert second.run(last_rotation=last) is Outcome.ROTATED
        assert first.run(last_rotation=last) is Outcome.ALREADY_ROTATED
        assert first.journal.count == 2


def test_a_lock_owner_continues_its_own_rotation_and_others_wait(project, proxy, target):
    proxy.on_path(f"metadata/{target.environment}/{target.secret_path}", Status(503))
    with rotator(project, "a") as rotation, pytest.raises(VaultUnreachableError):
        rotation.run(last_rotation=0.0)
    proxy.clear()
    assert target.journal.step is Step.CREATED
    with rotator(project, "b") as other, pytest.raises(BusyError):
        other.run(last_rotation=0.0, timeout=0.0)
    with rotator(project, "a") as rotation:
        rotation.run(finish_only=True, timeout=0.0)
    assert target.journal.step is Step.IDLE
    assert target.fields()["rotation_count"] == 1


def test_many_rotations_do_not_grow_the_redactor(project, target):
    published = []
    for _ in range(7):
        with rotator(project, "a") as rotation:
            rotation.run(force=True)
        published.append(target.fields()["secret"])
        assert project.redactor.clean(published[-1]) == "***"
    # A source that no later rotation uses again would keep its values.
    assert [project.redactor.clean(value) for value in published[:3]] == published[:3]


@pytest.mark.parametrize("marker", [{}, {"rotation_count": 1}], ids=["unmarked", "marked as rotated"])
def test_the_first_confirmation_of_an_unmarked_secret_does_not_count_for_all_consumers(target, marker):
    """An unmarked secret: the first rotation, or a user has written the secret without the key `rotation_count`."""
    target.put(target.secret_path, secret="a" * 32, **marker)
    target.config["rotation"]["target"]["confirmation_timeout"] = "1h"
    target.write_config()
    target.rotate(wait=False)
    target.confirm()
    outcome = target.rotate(finish_only=True, wait=False, force=False)
    assert outcome is (Outcome.NOTHING if marker else Outcome.WAITING)
    assert target.journal.consumers_known == bool(marker)
