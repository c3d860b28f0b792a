"""What goes wrong with one target stops no other, even if the error is unexpected."""

import os
import time

import pytest

from lessee.core.redaction import Redactor
from lessee.host.openbao import ROOT_TOKEN
from lessee.host.project import read
from lessee.ops.rotate.command.context import OutageRetry
from lessee.ops.rotate.command.rotate import RotationRunner, RunOptions
from lessee.ops.rotate.kinds.vault import RandomValues
from lessee.ops.rotate.policy.journal import Step
from lessee.ops.rotate.targets import Project
from lessee.vault.admin import admin_client
from support.environments.rotation_targets import Rotated
from support.systems.vault import VaultValues as System

OPTIONS = RunOptions(due_only=False, force=True, wait=True, timeout=1.0, requested_at=time.time())


@pytest.fixture
def runner(bao, tmp_path):
    rotated = Rotated(bao, tmp_path, System(tmp_path))
    rotated.config["rotation"]["other"] = {**rotated.config["rotation"]["target"], "secret": "auth/other"}
    rotated.write_config()
    environ = {"VAULT_TOKEN": ROOT_TOKEN, "PATH": os.environ["PATH"]}
    path = rotated.folder / "lessee.yaml"
    project = Project(read(path, environ, blocks=("rotation",)), path, environ, Redactor())
    with admin_client(project.config.vault, environ, time.monotonic) as client:
        yield RotationRunner(project, client, OPTIONS, OutageRetry(1.0)), rotated


def test_an_error_of_a_kind_s_own_stops_no_other_target_and_tells_no_value(runner, monkeypatch, capsys):
    runner, rotated = runner
    create = RandomValues.create

    def fails(kind, case):
        if case.secret.get("issuer"):  # The first target's alone has one.
            raise ValueError(case.secret["secret"])
        return create(kind, case)

    monkeypatch.setattr(RandomValues, "create", fails)
    value = rotated.fields()["secret"]
    assert runner.run(["target", "other"]) == 70
    said = capsys.readouterr()
    assert said.err == "lessee: target: internal error: ValueError; please report it\n"
    assert said.out.startswith("other: rotated; version 1; ")
    assert value not in said.err
    assert rotated.journal.step is Step.IDLE
