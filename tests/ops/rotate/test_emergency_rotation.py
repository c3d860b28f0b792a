"""After a leak, a rotation revokes the old credential immediately, without confirmations and retention."""

import os
import time

import pytest

from lessee.core.redaction import Redactor
from lessee.host.openbao import ROOT_TOKEN
from lessee.host.project import read
from lessee.ops.incident.rotation import rotate_immediately
from lessee.ops.rotate.kinds.kind import SystemUnavailableError
from lessee.ops.rotate.kinds.secret_id_file import LocalSecretId as LocalSecretIdKind
from lessee.ops.rotate.kinds.vault import RandomValues
from lessee.ops.rotate.policy.decision import Outcome, Traits
from lessee.ops.rotate.policy.journal import Step
from lessee.ops.rotate.targets import Project, open_rotation
from lessee.vault.admin import admin_client
from support.environments.rotation_targets import RotationTarget
from support.systems.database_root import RootCredential
from support.systems.postgres_admins import AdminPair
from support.systems.s3_admin import AdminKeys
from support.systems.secret_id_file import LocalSecretId
from support.systems.vault import VaultValues as System


@pytest.fixture
def target(bao, tmp_path):
    return RotationTarget(bao, tmp_path, System(tmp_path), confirmation_timeout="1h")


@pytest.fixture
def project(target):
    environ = {"VAULT_TOKEN": ROOT_TOKEN, "PATH": os.environ["PATH"]}
    path = target.folder / "lessee.yaml"
    return Project(read(path, environ, blocks=("rotation",)), path, environ, Redactor())


@pytest.fixture
def client(project):
    with admin_client(project.config.vault, project.environ, time.monotonic) as client:
        yield client


@pytest.fixture
def deleted(monkeypatch):
    """The credentials that were deleted, of a kind that retains the old one for an hour."""
    fields = []
    monkeypatch.setattr(RandomValues, "traits", Traits(delete_delay=3600.0))
    monkeypatch.setattr(RandomValues, "revoke", lambda *_: True)
    monkeypatch.setattr(RandomValues, "delete", lambda _, case: fields.append(dict(case.current)))
    return fields


def test_a_retained_credential_is_deleted_immediately(target, project, client, deleted):
    target.confirm(version=2)
    before = target.fields()
    with open_rotation(project, "target", client) as rotation:
        assert rotation.run(force=True) is Outcome.ROTATED
    assert (target.journal.step, deleted) == (Step.RETAINING, [])
    rotate_immediately(project, "target", client)
    assert target.journal.step is Step.IDLE
    assert deleted[0] == {"secret": before["secret"]}
    assert len(deleted) == 3  # The retained one, the leaked one, and the previous value in the secret.


def test_a_consumer_without_time_to_confirm_is_not_removed(target, project, client):
    target.confirm(version=1)
    rotate_immediately(project, "target", client)
    assert target.journal.missing == ("simba/host-1",)
    with open_rotation(project, "target", client) as rotation:
        rotation.run(force=True, wait=False)
        assert rotation.confirmation.missing == ("simba/host-1",)


def test_it_returns_the_keys_that_were_not_rotated(target, project, client):
    target.put("auth/jwt", **target.fields(), password="stays", host="db")  # A host is not a credential.
    assert rotate_immediately(project, "target", client) == ("password",)


def test_a_rotation_since_the_request_fulfills_it(target, project, client):
    target.confirm(version=9)
    requested_at = time.time()
    with open_rotation(project, "target", client) as rotation:
        assert rotation.run(force=True, requested_at=requested_at) is Outcome.ROTATED
        assert rotation.has_published
        assert rotation.run(force=True, requested_at=requested_at) is Outcome.ALREADY_ROTATED
        assert not rotation.has_published
        assert rotation.run(force=True) is Outcome.ROTATED


@pytest.fixture
def of_admins(bao, tmp_path, postgres, store):
    """Targets of Vault's own admins, whose old credentials are valid for hours after a rotation."""

    def make(kind, *server):
        new = RotationTarget(bao, tmp_path, kind(*server), confirmation_timeout="1h", revoke_delay="1h")
        environ = {"VAULT_TOKEN": ROOT_TOKEN, "PATH": os.environ["PATH"]}
        path = new.folder / "lessee.yaml"
        return new, Project(read(path, environ, blocks=("rotation",)), path, environ, Redactor())

    return {
        "secret-id": lambda: make(LocalSecretId, tmp_path),
        "database-root": lambda: make(RootCredential, postgres),
        "postgres-admins": lambda: make(AdminPair, postgres),
        "s3-admin": lambda: make(AdminKeys, store),
    }


@pytest.mark.parametrize("kind", ["secret-id", "database-root", "postgres-admins", "s3-admin"])
def test_an_admin_s_old_credential_is_revoked_immediately(of_admins, kind):
    target, project = of_admins[kind]()
    before = target.fields()
    with admin_client(project.config.vault, project.environ, time.monotonic) as client:
        unchanged = rotate_immediately(project, "target", client)
    assert unchanged == ()
    assert target.journal.step is Step.IDLE
    assert target.system.accepts(target.fields())
    assert target.system.old_is_revoked(before)
    assert target.system.orphans(target.fields()) == set()
    if hasattr(target.system, "remove"):
        target.system.remove()


@pytest.mark.parametrize("step", [Step.CREATED, Step.PUBLISHED])
def test_a_rotation_is_started_again_if_the_emergency_has_revoked_its_credential(of_admins, step, monkeypatch):
    target, project = of_admins["secret-id"]()
    target.confirm(version=1)
    with admin_client(project.config.vault, project.environ, time.monotonic) as client:
        with open_rotation(project, "target", client) as rotation, monkeypatch.context() as broken:
            if step is Step.CREATED:
                broken.setattr(LocalSecretIdKind, "verify", unavailable)
                with pytest.raises(SystemUnavailableError):
                    rotation.run(force=True)
            else:
                rotation.run(force=True, wait=False)
        assert target.journal.step is step
        for accessor in target.system.accessors():
            path = f"auth/approle/role/{target.system.role}/secret-id-accessor/destroy"
            target.bao.ask("POST", path, {"secret_id_accessor": accessor})
        rotate_immediately(project, "target", client)
    assert target.journal.step is Step.IDLE
    assert target.system.accepts(target.fields())
    assert len(target.system.accessors()) == 1
    assert [path.name for path in target.system.file.parent.iterdir()] == [target.system.file.name]


def unavailable(*_):
    raise SystemUnavailableError("it is away")
