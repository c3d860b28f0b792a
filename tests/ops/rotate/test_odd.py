"""What others have made of the places in KV that a rotation uses stops none."""

from urllib.parse import quote

import pytest

from lessee.core.errors import DeniedError
from lessee.ops.rotate import targets
from lessee.ops.rotate.documents import DocumentStore
from lessee.ops.rotate.policy import journal
from lessee.ops.rotate.policy.decision import Outcome
from lessee.ops.rotate.policy.journal import Step
from support.environments.rotation_targets import Rotated
from support.systems.vault import VaultValues


@pytest.fixture
def rotated(bao, tmp_path):
    return Rotated(bao, tmp_path, VaultValues(tmp_path))


def set_metadata(rotated, path, **said):
    rotated.bao.ask("POST", f"secret/metadata/{rotated.environment}/{path}", said)


def test_a_secret_whose_custom_metadata_are_full_is_rotated_without_a_history(rotated):
    full = {f"key-{number}": "x" * 512 for number in range(64)}
    set_metadata(rotated, rotated.secret_path, custom_metadata=full)
    assert rotated.rotate() is Outcome.ROTATED
    assert rotated.metadata()["custom_metadata"] == full
    assert rotated.fields()["rotation_count"] == 1


@pytest.mark.parametrize("said", [{"max_versions": 1}, {"delete_version_after": "1h"}, {"cas_required": True}], ids=str)
def test_how_a_secret_s_versions_are_kept_stays_as_it_was_said(rotated, said):
    set_metadata(rotated, rotated.secret_path, **said)
    before = rotated.metadata()
    for count in (1, 2):
        assert rotated.rotate() is Outcome.ROTATED
        assert rotated.fields()["rotation_count"] == count
    after = rotated.metadata()
    assert {key: after[key] for key in said} == {key: before[key] for key in said}


def test_of_a_journal_the_newest_version_alone_is_kept_though_that_could_not_be_said_at_first(rotated, monkeypatch):
    def refused(_, path):
        raise DeniedError("permission denied", where=path)

    with monkeypatch.context() as patch:
        patch.setattr(DocumentStore, "keep_newest_only", refused)
        with pytest.raises(DeniedError):
            rotated.rotate()
    assert rotated.journal.failures == 1
    rotated.rotate()
    assert rotated.metadata(f"{journal.FOLDER}{rotated.name}")["max_versions"] == 1


def test_a_rotator_s_own_absence_is_not_measured_as_its_consumers_slowness(rotated, monkeypatch):
    """Else the period would be too short for ever."""
    monkeypatch.setattr(targets, "time", rotated.clock())
    rotated.config["rotation"]["target"]["confirmation_timeout"] = "1h"
    rotated.write_config()
    rotated.confirm()
    for away, measured in ((10.0, 1), (7200.0, 1), (20.0, 2)):
        assert rotated.rotate(wait=False) is Outcome.ROTATED
        rotated.ahead += away
        rotated.confirm()
        rotated.rotate(finish_only=True)
        assert rotated.journal.missing == ()
        assert len(rotated.journal.propagation_times) == measured


@pytest.mark.parametrize("name", ["host/deeper", "a b%2F..", "ü", "-", "host-1?x#y"])
def test_an_odd_name_of_a_consumer_is_no_reason_to_stop(rotated, name):
    rotated.confirm()
    path = f"secret/metadata/{rotated.environment}/lessee/consumers/simba/{quote(name)}"
    rotated.bao.ask("POST", path, {"custom_metadata": {rotated.secret_path: "0"}})
    assert rotated.rotate() is Outcome.ROTATED
    assert rotated.journal.step is Step.IDLE
