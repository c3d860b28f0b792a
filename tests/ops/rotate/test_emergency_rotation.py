"""After a leak the old credential ends with the publication: nobody is waited for, and nothing is kept."""

import os
import time

import pytest

from lessee.core.redaction import Redactor
from lessee.host.openbao import ROOT_TOKEN
from lessee.host.project import read
from lessee.ops.incident.rotation import rotate_at_once
from lessee.ops.rotate.kinds.vault import RandomValues
from lessee.ops.rotate.policy.decision import Outcome, Traits
from lessee.ops.rotate.policy.journal import Step
from lessee.ops.rotate.targets import Project, open_rotation
from lessee.vault.admin import admin_client
from support.environments.rotation_targets import Rotated
from support.systems.vault import VaultValues as System


@pytest.fixture
def rotated(bao, tmp_path):
    return Rotated(bao, tmp_path, System(tmp_path), confirmation_timeout="1h")


@pytest.fixture
def project(rotated):
    environ = {"VAULT_TOKEN": ROOT_TOKEN, "PATH": os.environ["PATH"]}
    path = rotated.folder / "lessee.yaml"
    return Project(read(path, environ, blocks=("rotation",)), path, environ, Redactor())


@pytest.fixture
def client(project):
    with admin_client(project.config.vault, project.environ, time.monotonic) as client:
        yield client


@pytest.fixture
def removed(monkeypatch):
    """A kind that keeps the old one for an hour; what has been removed."""
    done = []
    monkeypatch.setattr(RandomValues, "traits", Traits(delete_delay=3600.0))
    monkeypatch.setattr(RandomValues, "delete", lambda _, case: done.append(dict(case.current)))
    return done


def test_what_is_kept_otherwise_is_removed_at_once(rotated, project, client, removed):
    rotated.confirm(version=2)
    before = rotated.fields()
    with open_rotation(project, "target", client) as one:
        assert one.run(force=True) is Outcome.ROTATED
    assert (rotated.journal.step, removed) == (Step.RETAINING, [])
    rotate_at_once(project, "target", client)
    assert rotated.journal.step is Step.IDLE
    assert removed[0] == {"secret": before["secret"]}
    assert len(removed) == 3  # What was kept, what leaked, and what stood in its place as the one before.


def test_who_could_not_confirm_so_soon_is_still_known(rotated, project, client):
    rotated.confirm(version=1)
    rotate_at_once(project, "target", client)
    assert rotated.journal.missing == ("simba/host-1",)
    with open_rotation(project, "target", client) as one:
        one.run(force=True, wait=False)
        assert one.confirmation.missing == ("simba/host-1",)


def test_it_tells_which_keys_stayed(rotated, project, client):
    rotated.put("auth/jwt", **rotated.fields(), password="stays", host="db")  # It opens nothing.
    assert rotate_at_once(project, "target", client) == ("password",)


def test_a_rotation_since_the_wish_is_what_was_wished_for(rotated, project, client):
    rotated.confirm(version=9)
    requested_at = time.time()
    with open_rotation(project, "target", client) as one:
        assert one.run(force=True, requested_at=requested_at) is Outcome.ROTATED
        assert one.has_published
        assert one.run(force=True, requested_at=requested_at) is Outcome.ALREADY_ROTATED
        assert not one.has_published
        assert one.run(force=True) is Outcome.ROTATED
