"""Root credentials of Vault's database engine: lost passwords and answers, and clients during the rotation."""

import json
import secrets
import threading

import pytest

from lessee.core.errors import ConfigError, VaultUnreachableError
from lessee.ops.rotate import targets
from lessee.ops.rotate.kinds import database_root
from lessee.ops.rotate.kinds.kind import SystemRefusedError, SystemUnavailableError
from lessee.ops.rotate.policy import journal
from lessee.ops.rotate.policy.decision import Outcome
from support.environments.rotation_targets import SUSPENSION, RotationTarget, rotate
from support.programs.sidecar import eventually
from support.servers.fault_proxy import Fault, Proxy
from support.systems.database_root import FIRST_PASSWORD, RootCredential

ROTATIONS = 5


@pytest.fixture
def target(bao, tmp_path, postgres):
    new = RotationTarget(bao, tmp_path, RootCredential(postgres))
    yield new
    new.system.remove()


@pytest.fixture
def system(target):
    return target.system


def configure(target, **settings):
    target.config["rotation"]["target"].update(settings)
    target.write_config()


def test_a_password_that_vault_has_lost_is_repaired_by_the_admin(target, system, caplog):
    system.lose_password()
    assert not system.accepts(target.fields())
    assert target.rotate() is Outcome.ROTATED
    assert system.accepts(target.fields())
    assert "root credential repaired" in caplog.text


def test_a_password_that_is_lost_by_the_rotation_itself_is_repaired(target, system, monkeypatch):
    """As OpenBao loses it where it is killed between the change in the database and in its own storage."""
    inner, done = database_root.RootCredential._connects, []

    def connects(self, **settings):
        if settings and not done:
            done.append(True)
            system.lose_password()
        return inner(self, **settings)

    monkeypatch.setattr(database_root.RootCredential, "_connects", connects)
    assert target.rotate() is Outcome.ROTATED
    assert done
    assert system.accepts(target.fields())


def test_without_an_admin_a_lost_password_is_reported_and_a_person_repairs_it(target, system):
    del target.config["rotation"]["target"]["admin_secret"]
    target.write_config()
    assert target.rotate() is Outcome.ROTATED
    system.lose_password()
    with pytest.raises(SystemRefusedError, match=r"bao write database-\w+/config/simba password=-; or name an"):
        target.rotate()
    system.postgres.sql(f"ALTER ROLE \"{system.root}\" PASSWORD 'by a person'")
    target.bao.ask("POST", f"{system.mount}/config/simba", {"password": "by a person"})
    assert target.rotate(force=False, finish_only=True) is Outcome.ROTATED
    assert system.accepts(target.fields())
    assert not system.postgres.can_log_in(system.root, "by a person")


@pytest.mark.thorough
@pytest.mark.parametrize("fault", [Fault.LOST, Fault.DROP])
@pytest.mark.parametrize("path", ["rotate-root/", "config/simba"])
def test_after_a_lost_answer_the_next_attempt_finishes(target, system, fault, path, monkeypatch):
    monkeypatch.setattr(targets, "time", target.clock())
    address = target.bao.address
    with Proxy(int(address.rpartition(":")[2])) as proxy:
        proxy.on_path(f"{system.mount}/{path}", fault)
        target.config["vault"]["address"] = proxy.address
        target.write_config()
        with pytest.raises(VaultUnreachableError):
            rotate(target.folder, proxy.address, target.name, {})
    target.config["vault"]["address"] = address
    target.write_config()
    assert system.accepts(target.fields())
    target.clock_offset += SUSPENSION + database_root.RootCredential.traits.timeout  # Its lock has expired.
    target.recover()
    target.rotate()
    assert not target.journal.is_open
    assert not system.postgres.can_log_in(system.root, FIRST_PASSWORD)


@pytest.mark.thorough
def test_no_login_of_a_client_fails_while_the_root_credential_is_rotated(target, system):
    """OpenBao answers 500 while it changes its connection, and clients ask again. What it issues always works."""
    failed, issued, over = [], [], threading.Event()

    def issue():
        while not over.is_set():
            lease = eventually(system.issue, "a lease")
            (issued if system.can_log_in(lease) else failed).append(lease["username"])

    clients = [threading.Thread(target=issue) for _ in range(2)]
    for client in clients:
        client.start()
    for _ in range(ROTATIONS):
        target.rotate()
    over.set()
    for client in clients:
        client.join()
    assert issued
    assert not failed


def test_an_outage_of_the_database_changes_nothing(target, system, postgres):
    before = target.fields()
    postgres.sql("CHECKPOINT")  # Otherwise a stop would lose the new roles.
    postgres.stop()
    try:
        with pytest.raises(SystemUnavailableError, match="PostgreSQL does not answer"):
            target.rotate()
    finally:
        postgres.start()
    assert target.fields() == before
    assert target.rotate(force=False, finish_only=True) is Outcome.ROTATED
    assert system.accepts(target.fields())


def test_the_root_user_is_no_admin_of_itself(target, system):
    admin = target.fields("database/admin")
    target.put("database/admin", **admin | {"username": system.root})
    with pytest.raises(ConfigError, match=r"rotation\.target\.admin_secret: it has the root user of the connection"):
        target.rotate()
    assert system.accepts(target.fields())


def test_an_admin_without_the_right_is_named_and_nothing_is_lost(target, system):
    system.lose_password()
    admin = target.fields("database/admin")
    target.put("database/admin", **admin | {"password": "wrong"})
    with pytest.raises(SystemRefusedError, match="PostgreSQL rejects the admin's login"):
        target.rotate()
    target.put("database/admin", **admin)
    system.postgres.sql(f'ALTER ROLE "{system.admin}" NOCREATEROLE')
    with pytest.raises(SystemRefusedError, match="PostgreSQL rejects a statement"):
        target.rotate()
    system.postgres.sql(f'ALTER ROLE "{system.admin}" CREATEROLE')
    target.recover()


def test_a_user_that_another_connection_has_is_not_rotated(target, system):
    system.connect("reports")
    with pytest.raises(SystemRefusedError, match=r"config/simba: the connection reports has the same user, and would"):
        target.rotate()
    assert system.accepts(target.fields())
    assert system.postgres.can_log_in(system.root, FIRST_PASSWORD)
    target.bao.ask("DELETE", f"{system.mount}/config/reports")
    target.rotate()


def test_an_unknown_connection_is_named(target, system):
    configure(target, connection="unknown")
    with pytest.raises(SystemRefusedError, match=rf"{system.mount}/config/unknown: the connection does not exist"):
        target.rotate()


def test_no_password_is_in_a_document_or_a_log(target, system, caplog, monkeypatch):
    caplog.set_level("DEBUG", logger="lessee")
    made, inner = [], secrets.choice
    monkeypatch.setattr(secrets, "choice", lambda letters: made.append(inner(letters)) or made[-1])
    system.lose_password()
    target.rotate()
    password = "".join(made)
    assert len(password) == 40
    text = json.dumps([target.fields(), journal.serialize(target.journal)]) + caplog.text
    assert password not in text
    assert system.postgres.can_log_in(system.root, password)  # It is the one that Vault has now.
    target.rotate()
    assert not system.postgres.can_log_in(system.root, password)
