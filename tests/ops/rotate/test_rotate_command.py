"""An error of one target stops no other target, even if the error is unexpected."""

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
from support.environments.rotation_targets import RotationTarget
from support.systems.vault import VaultValues as System

OPTIONS = RunOptions(due_only=False, force=True, wait=True, timeout=1.0, requested_at=time.time())


@pytest.fixture
def runner(bao, tmp_path):
    target = RotationTarget(bao, tmp_path, System(tmp_path))
    target.config["rotation"]["other"] = {**target.config["rotation"]["target"], "secret": "auth/other"}
    target.write_config()
    environ = {"VAULT_TOKEN": ROOT_TOKEN, "PATH": os.environ["PATH"]}
    path = target.folder / "lessee.yaml"
    project = Project(read(path, environ, blocks=("rotation",)), path, environ, Redactor())
    with admin_client(project.config.vault, environ, time.monotonic) as client:
        yield RotationRunner(project, client, OPTIONS, OutageRetry(1.0)), target


def test_an_unexpected_error_stops_no_other_target_and_prints_no_value(runner, monkeypatch, capsys):
    runner, target = runner
    create = RandomValues.create

    def fails(kind, case):
        if case.secret.get("issuer"):  # Only the first target's secret has one.
            raise ValueError(case.secret["secret"])
        return create(kind, case)

    monkeypatch.setattr(RandomValues, "create", fails)
    value = target.fields()["secret"]
    assert runner.run(["target", "other"]) == 70
    output = capsys.readouterr()
    assert output.err == "lessee: target: internal error: ValueError; please report it\n"
    assert output.out.startswith("other: rotated; version 1; ")
    assert value not in output.err
    assert target.journal.step is Step.IDLE
