"""The first rotation and its undo, with a real OpenBao and a real `lessee rotate` in the place of its container."""

import os
import subprocess
import sys
import time

import pytest
import yaml

from lessee.config.parsing import parse
from lessee.core.immutable import replace
from lessee.host.openbao import ROOT_TOKEN
from lessee.ops.adopt.policy.rotation import StoreTarget
from lessee.ops.adopt.record import Record
from lessee.ops.adopt.rotation import RotationFailedError, first_rotation, restore_rotated
from lessee.ops.adopt.store import Store
from lessee.vault.admin import admin_client

TARGET = StoreTarget("minio", "storage", "storage/minio", (("kind", "vault"),), ("storage",), restarts=True)
OLD = "fake-of-the-files"


class Adopted:
    """A project with a store that starts again for a new password."""

    def __init__(self, bao, folder, client, config, environ):
        self.bao, self.store, self._folder, self._environ = bao, Store(client, config), folder, environ
        self.environment = config.environment
        self.record = Record(id="1", project="p", environment=self.environment, address=bao.address, image="lessee")
        self.words, self.said, self.fails = [], [], {}
        version = bao.put(f"{self.environment}/{TARGET.path}", secret_key=OLD, rotation_count=0)
        self.record = replace(self.record, versions={TARGET.path: version})

    def compose(self, words, timeout):
        """`docker compose`; its rotator runs here."""
        assert timeout > 60
        name = "run" if "run" in words else words[0]
        self.words.append(name if name == "run" else " ".join(words))
        if name in self.fails:
            return subprocess.CompletedProcess(words, self.fails[name], b"", b"noise\nlessee: minio: it fails\nmore\n")
        if name != "run":
            return subprocess.CompletedProcess(words, 0, b"", b"")
        own = words[words.index("lessee-rotator") + 1 :]
        assert words[: words.index("lessee-rotator")] == ("--profile", "rotate", "run", "--rm", "--no-deps", "-T")
        command = [sys.executable, "-m", "lessee", *own]
        return subprocess.run(command, cwd=self._folder, env=self._environ, capture_output=True, check=False)

    def rotate(self):
        def save(rotated):
            others = tuple(one for one in self.record.rotated if one.name != rotated.name)
            self.record = replace(self.record, rotated=(*others, rotated))

        return first_rotation(self.store, self.compose, (TARGET,), self.record, save, self.said.append)

    def restore(self):
        def forget(rotated):
            self.record = replace(
                self.record, rotated=tuple(one for one in self.record.rotated if one != rotated)
            )  # fmt: skip

        restore_rotated(self.store, self.compose, self.record, forget, self.said.append)

    @property
    def password(self):
        return self.store.existing(TARGET.path)["secret_key"]


@pytest.fixture
def adopted(bao, tmp_path):
    environment = f"adopt-{os.urandom(4).hex()}"
    block = {"kind": "vault", "secret": TARGET.path, "keys": {"secret_key": {"generate": 40}}}
    block |= {"confirmation_timeout": "100ms", "revoke_delay": "0s"}
    text = {
        "environment": environment,
        "vault": {"address": bao.address, "insecure_http": True},
        "apps": {},
        "rotation": {"minio": block},
    }
    (tmp_path / "lessee.yaml").write_text(yaml.safe_dump(text))
    environ = {"PATH": os.environ["PATH"], "VAULT_TOKEN": ROOT_TOKEN, "LESSEE_CONFIG": str(tmp_path / "lessee.yaml")}
    config = parse(yaml.safe_dump(text), source="lessee.yaml", environ={}, blocks=("rotation",))
    with admin_client(config.vault, environ, time.monotonic) as client:
        yield Adopted(bao, tmp_path, client, config, environ)


def test_a_store_starts_again_with_its_new_password_and_later_with_the_old_one(adopted):
    assert adopted.rotate() == ()
    new = adopted.password
    assert new != OLD
    assert [(one.name, one.version, one.restarts) for one in adopted.record.rotated] == [("minio", 1, True)]
    assert adopted.words == ["run", "restart storage"]
    # It is rotated once.
    adopted.rotate()
    assert (adopted.password, len(adopted.words)) == (new, 2)
    adopted.restore()
    assert (adopted.password, adopted.record.rotated) == (OLD, ())
    assert adopted.words[2:] == ["run", "restart storage"]
    assert [value for value in (OLD, new) if value in "".join(adopted.said)] == []


def test_a_rotation_that_fails_is_recorded_before_and_continues(adopted):
    adopted.fails = {"run": 69}
    with pytest.raises(RotationFailedError, match="storage: minio: it fails; correct the cause, and run this command"):
        adopted.rotate()
    assert [one.name for one in adopted.record.rotated] == ["minio"]
    adopted.fails = {"restart": 1}
    with pytest.raises(RotationFailedError, match="run `docker compose restart storage`"):
        adopted.rotate()
    adopted.fails, adopted.words, new = {}, [], adopted.password
    adopted.rotate()
    assert (adopted.words, adopted.password) == (["restart storage"], new)
    adopted.restore()
    assert new != OLD
    assert adopted.password == OLD


def test_a_service_that_did_not_confirm_is_left_to_a_person(adopted):
    adopted.fails = {"run": 75}
    [step] = adopted.rotate()
    assert step.where == "storage"
    assert "docker compose run --rm lessee-rotator rotate minio" in step.todo


def test_an_old_password_that_vault_has_deleted_is_an_error_before_anything_changes(adopted):
    adopted.rotate()
    new, path = adopted.password, f"secret/destroy/{adopted.environment}/{TARGET.path}"
    adopted.bao.ask("PUT", path, {"versions": [1]})
    with pytest.raises(RotationFailedError, match=r"does not have version 1 of storage/minio any more"):
        adopted.restore()
    assert (adopted.password, len(adopted.record.rotated)) == (new, 1)
