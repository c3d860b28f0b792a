"""Rotations of secrets whose KV settings, metadata or consumers are unusual."""

from urllib.parse import quote

import pytest

from lessee.core.errors import DeniedError
from lessee.ops.rotate import targets
from lessee.ops.rotate.documents import DocumentStore
from lessee.ops.rotate.policy import journal
from lessee.ops.rotate.policy.decision import Outcome
from lessee.ops.rotate.policy.journal import Step
from support.environments.rotation_targets import RotationTarget
from support.systems.vault import VaultValues


@pytest.fixture
def target(bao, tmp_path):
    return RotationTarget(bao, tmp_path, VaultValues(tmp_path))


def set_metadata(target, path, **settings):
    target.bao.ask("POST", f"secret/metadata/{target.environment}/{path}", settings)


def test_a_secret_with_full_custom_metadata_is_rotated_without_a_history(target):
    full = {f"key-{number}": "x" * 512 for number in range(64)}
    set_metadata(target, target.secret_path, custom_metadata=full)
    assert target.rotate() is Outcome.ROTATED
    assert target.metadata()["custom_metadata"] == full
    assert target.fields()["rotation_count"] == 1


@pytest.mark.parametrize(
    "settings", [{"max_versions": 1}, {"delete_version_after": "1h"}, {"cas_required": True}], ids=str
)
def test_the_version_settings_of_a_secret_are_unchanged(target, settings):
    set_metadata(target, target.secret_path, **settings)
    before = target.metadata()
    for count in (1, 2):
        assert target.rotate() is Outcome.ROTATED
        assert target.fields()["rotation_count"] == count
    after = target.metadata()
    assert {key: after[key] for key in settings} == {key: before[key] for key in settings}


def test_a_journal_keeps_only_its_newest_version_also_after_a_failed_setting(target, monkeypatch):
    def refused(_, path):
        raise DeniedError("permission denied", where=path)

    with monkeypatch.context() as patch:
        patch.setattr(DocumentStore, "keep_newest_only", refused)
        with pytest.raises(DeniedError):
            target.rotate()
    assert target.journal.failures == 1
    target.rotate()
    assert target.metadata(f"{journal.FOLDER}{target.name}")["max_versions"] == 1


def test_a_rotator_s_own_absence_is_not_measured_as_propagation_time(target, monkeypatch):
    """Otherwise each later period would count as too short."""
    monkeypatch.setattr(targets, "time", target.clock())
    target.config["rotation"]["target"]["confirmation_timeout"] = "1h"
    target.write_config()
    target.confirm()
    for absence, measured in ((10.0, 1), (7200.0, 1), (20.0, 2)):
        assert target.rotate(wait=False) is Outcome.ROTATED
        target.clock_offset += absence
        target.confirm()
        target.rotate(finish_only=True)
        assert target.journal.missing == ()
        assert len(target.journal.propagation_times) == measured


@pytest.mark.parametrize("name", ["host/deeper", "a b%2F..", "ü", "-", "host-1?x#y"])
def test_unusual_consumer_names_do_not_stop_a_rotation(target, name):
    target.confirm()
    path = f"secret/metadata/{target.environment}/lessee/consumers/simba/{quote(name)}"
    target.bao.ask("POST", path, {"custom_metadata": {target.secret_path: "0"}})
    assert target.rotate() is Outcome.ROTATED
    assert target.journal.step is Step.IDLE
