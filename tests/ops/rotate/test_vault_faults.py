"""Rotations while Vault fails, and while a user writes to the same secret."""

import pytest

from lessee.core.errors import DeniedError, VaultUnreachableError
from lessee.ops.rotate import targets
from lessee.ops.rotate.policy import journal
from lessee.ops.rotate.policy.decision import Outcome
from lessee.ops.rotate.policy.journal import Step
from lessee.vault import transport
from support.environments.rotation_targets import FUTURE_VERSION, SUSPENSION, RotationTarget, sampled_calls
from support.servers.fault_proxy import Fault, Proxy, Status
from support.systems.vault import VaultValues

SEALED = Status(503, body=b'{"errors":["Vault is sealed"]}')


class FaultAtRequest(Proxy):
    """A proxy with a fault, or an action, at one request."""

    def __init__(self, target_port):
        self._left, self._action = -1, None
        super().__init__(target_port)

    def at(self, number, fault):
        """Set the request's number from now on, and its fault, or a function that is called before the request."""
        self._left, self._action = number, fault

    @property
    def is_next(self):
        """Whether the next request has the fault; an action takes as long as it takes."""
        return self._left == 0 and not callable(self._action)

    def disarm(self):
        """Remove the fault. Returns whether the request was reached."""
        self.was_reached, self._left = self._left < 0, -1
        return self.was_reached

    def fault_of(self, path):
        self._left -= 1
        if self._left == -1:
            if not callable(self._action):
                return self._action
            self._action()
        return super().fault_of(path)


@pytest.fixture
def proxy(bao):
    with FaultAtRequest(int(bao.address.rpartition(":")[2])) as proxy:
        yield proxy


@pytest.fixture
def target(bao, tmp_path, proxy, monkeypatch):
    inner = transport.Transport.request

    def request(self, *arguments, **settings):
        # Only the request with the fault has a short timeout.
        return inner(self, *arguments, **settings | ({"timeout": 0.2} if proxy.is_next else {}))

    monkeypatch.setattr(transport.Transport, "request", request)
    new = RotationTarget(bao, tmp_path, VaultValues(tmp_path))
    new.config["vault"]["address"] = proxy.address
    new.write_config()
    new.confirm(version=FUTURE_VERSION)
    monkeypatch.setattr(targets, "time", new.clock())
    return new


def attempt(target):
    try:
        return target.rotate()
    except (VaultUnreachableError, DeniedError):
        target.clock_offset += SUSPENSION  # Its lock has expired: this process still runs, so others would wait for it.
        return None


def each_request(proxy, fault):
    """The numbers of the requests of a rotation, or of a sample of them."""
    for number in sampled_calls(getattr(fault, "__name__", str(fault)), of=3, least=VaultValues.min_calls + 1):
        proxy.at(number, fault)
        yield number
        if not proxy.was_reached:
            assert number > VaultValues.min_calls
            return


@pytest.mark.thorough
@pytest.mark.parametrize("fault", [SEALED, Fault.LOST, Fault.HANG, Fault.DROP], ids=["sealed", "lost", "hang", "drop"])
def test_a_fault_at_any_request_delays_the_rotation(target, proxy, fault):
    for _ in each_request(proxy, fault):
        before = target.journal.count
        attempt(target)
        proxy.disarm()
        target.recover()
        journal = target.journal
        assert (journal.step, journal.pending) == (Step.IDLE, {})
        assert journal.count <= before + 1
        assert len({entry.id for entry in journal.history}) == len(journal.history)
        # One rotation is one version, whatever was retried.
        assert target.metadata()["current_version"] == 1 + journal.count
        assert target.fields()["issuer"] == "simba"


def test_a_rotation_continues_after_its_token_was_revoked(target, proxy):
    """Vault denies all later requests too, so the failure cannot be recorded."""
    for _ in each_request(
        proxy, lambda: proxy.on_path("/v1/secret/", Status(403, body=b'{"errors":["permission denied"]}'))
    ):
        before = target.journal.count
        attempt(target)
        proxy.disarm()
        proxy.clear()
        target.recover()
        journal = target.journal
        assert (journal.step, journal.pending) == (Step.IDLE, {})
        assert journal.count <= before + 1
        assert target.metadata()["current_version"] == 1 + journal.count


def test_a_key_that_a_user_writes_during_the_rotation_stays(target, proxy):
    def edit():
        target.put(target.secret_path, **{**target.fields(), "note": f"by a user {proxy.count()}"})
        written.append(target.fields()["note"])

    written = []
    for _ in each_request(proxy, edit):
        assert attempt(target) in {Outcome.ROTATED, Outcome.ALREADY_ROTATED}
        proxy.disarm()
        assert target.fields()["note"] == written[-1]
        assert target.journal.step is Step.IDLE


def test_a_value_that_a_user_writes_during_the_rotation_is_published_or_the_previous_one(target, proxy):
    """The value was valid: the secret has it, or it was rotated after that."""

    def edit():
        written.append(f"{len(written):064}")
        target.put(target.secret_path, **{**target.fields(), "secret": written[-1]})

    written = []
    for _ in each_request(proxy, edit):
        attempt(target)
        if not proxy.disarm():
            continue
        target.recover()
        fields = target.fields()
        assert written[-1] in {fields["secret"], fields["old"]}
        assert target.journal.step is Step.IDLE


def test_a_secret_deleted_during_the_rotation_is_reported_and_rotated_after_its_restore(target, proxy, bao):
    path = f"{target.environment}/{target.secret_path}"

    def delete():
        bao.ask("DELETE", f"secret/data/{path}")

    refused = 0
    for _ in each_request(proxy, delete):
        outcome = attempt(target)
        proxy.disarm()
        if outcome is None:
            refused += 1
            newest = target.metadata()["current_version"]
            assert "bao kv undelete" in target.journal.error
            bao.ask("POST", f"secret/undelete/{path}", {"versions": [newest]})
            assert target.rotate() is Outcome.ROTATED
            assert target.fields()["issuer"] == "simba"
        target.put(target.secret_path, secret="0" * 64, issuer="simba")
        target.recover()
        assert target.journal.step is Step.IDLE
    assert refused


def test_a_journal_deleted_during_the_rotation_is_started_again(target, proxy, bao):
    def delete():
        bao.ask("DELETE", f"secret/metadata/{target.environment}/{journal.FOLDER}{target.name}")

    for _ in each_request(proxy, delete):
        assert attempt(target) in {Outcome.ROTATED, Outcome.ALREADY_ROTATED}
        proxy.disarm()
        assert target.journal.step is Step.IDLE
        assert target.system.accepts(target.fields())


def test_an_invalid_journal_is_reported_and_not_changed(target):
    target.put(f"{journal.FOLDER}{target.name}", password="canary")
    before = target.fields()
    with pytest.raises(DeniedError, match="not a rotation journal") as caught:
        target.rotate()
    assert f"{journal.FOLDER}{target.name}" in str(caught.value)
    assert "bao kv metadata delete" in str(caught.value)
    assert "canary" not in str(caught.value)
    assert target.fields() == before


def test_a_kv_version_1_mount_is_rejected(target, bao):
    mount = f"old-{target.environment}"
    bao.ask("POST", f"sys/mounts/{mount}", {"type": "kv", "options": {"version": "1"}})
    target.config["secrets"] = {"mount": mount}
    target.write_config()
    with pytest.raises(DeniedError, match="KV version 2"):
        target.rotate()
