"""A rotation while Vault is away, and while a person writes to the same secret."""

from itertools import count

import pytest

from lessee.core.errors import DeniedError, VaultUnreachableError
from lessee.ops.rotate import targets
from lessee.ops.rotate.policy import journal
from lessee.ops.rotate.policy.decision import Outcome
from lessee.ops.rotate.policy.journal import Step
from lessee.vault import transport
from support.environments.rotation_targets import FUTURE_VERSION, SUSPENSION, RotationTarget
from support.servers.fault_proxy import Fault, Proxy, Status
from support.systems.vault import VaultValues

SEALED = Status(503, body=b'{"errors":["Vault is sealed"]}')


class Once(Proxy):
    """Something happens at one request, counted from now."""

    def __init__(self, target_port):
        self._left, self._what = -1, None
        super().__init__(target_port)

    def at(self, number, what):
        """A weather, or what is done before the request is served."""
        self._left, self._what = number, what

    @property
    def is_next(self):
        """Whether it happens at the next request."""
        return self._left == 0

    def calm(self):
        """Nothing happens any more. Whether it has."""
        self.has_come, self._left = self._left < 0, -1
        return self.has_come

    def fault_of(self, path):
        self._left -= 1
        if self._left == -1:
            if not callable(self._what):
                return self._what
            self._what()
        return super().fault_of(path)


@pytest.fixture
def way(bao):
    with Once(int(bao.address.rpartition(":")[2])) as proxy:
        yield proxy


@pytest.fixture
def target(bao, tmp_path, way, monkeypatch):
    inner = transport.Transport.request

    def ask(self, *arguments, **named):
        # Where an answer is held back, it is not waited for; all others have their time.
        return inner(self, *arguments, **named | ({"timeout": 0.2} if way.is_next else {}))

    monkeypatch.setattr(transport.Transport, "request", ask)
    new = RotationTarget(bao, tmp_path, VaultValues(tmp_path))
    new.config["vault"]["address"] = way.address
    new.write_config()
    new.confirm(version=FUTURE_VERSION)
    monkeypatch.setattr(targets, "time", new.clock())
    return new


def attempt(target):
    try:
        return target.rotate()
    except (VaultUnreachableError, DeniedError):
        target.clock_offset += SUSPENSION  # Its hold is over: this process lives on, and so it would be waited for.
        return None


def each(way, what):
    """The numbers of the requests of a rotation, until there is none of this number any more."""
    for number in count():
        way.at(number, what)
        yield number
        if not way.has_come:
            assert number > VaultValues.min_calls
            return


@pytest.mark.parametrize("fault", [SEALED, Fault.LOST, Fault.HANG, Fault.DROP], ids=["sealed", "lost", "hang", "drop"])
def test_a_fault_at_any_request_delays_the_rotation(target, way, fault):
    for _ in each(way, fault):
        before = target.journal.count
        attempt(target)
        way.calm()
        target.recover()
        said = target.journal
        assert (said.step, said.pending) == (Step.IDLE, {})
        assert said.count <= before + 1
        assert len({past.id for past in said.history}) == len(said.history)
        # One rotation is one version, whatever was asked again.
        assert target.metadata()["current_version"] == 1 + said.count
        assert target.fields()["issuer"] == "simba"


def test_a_rotation_continues_after_its_token_was_revoked(target, way):
    """From that request on, so that not even the failure can be noted."""
    for _ in each(way, lambda: way.on_path("/v1/secret/", Status(403, body=b'{"errors":["permission denied"]}'))):
        before = target.journal.count
        attempt(target)
        way.calm()
        way.clear()
        target.recover()
        said = target.journal
        assert (said.step, said.pending) == (Step.IDLE, {})
        assert said.count <= before + 1
        assert target.metadata()["current_version"] == 1 + said.count


def test_a_key_that_a_user_writes_during_the_rotation_stays(target, way):
    def edit():
        target.put(target.secret_path, **{**target.fields(), "note": f"of a person {way.count()}"})
        written.append(target.fields()["note"])

    written = []
    for _ in each(way, edit):
        assert attempt(target) in {Outcome.ROTATED, Outcome.ALREADY_ROTATED}
        way.calm()
        assert target.fields()["note"] == written[-1]
        assert target.journal.step is Step.IDLE


def test_a_value_that_a_user_writes_during_the_rotation_is_published_or_the_previous_one(target, way):
    """It was valid: so it is what stands there, or what was rotated properly after it."""

    def edit():
        written.append(f"{len(written):064}")
        target.put(target.secret_path, **{**target.fields(), "secret": written[-1]})

    written = []
    for _ in each(way, edit):
        attempt(target)
        if not way.calm():
            continue
        target.recover()
        fields = target.fields()
        assert written[-1] in {fields["secret"], fields["old"]}
        assert target.journal.step is Step.IDLE


def test_a_secret_deleted_during_the_rotation_is_reported_and_rotated_after_its_restore(target, way, bao):
    path = f"{target.environment}/{target.secret_path}"

    def delete():
        bao.ask("DELETE", f"secret/data/{path}")

    refused = 0
    for _ in each(way, delete):
        came = attempt(target)
        way.calm()
        if came is None:
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


def test_a_journal_deleted_during_the_rotation_is_started_again(target, way, bao):
    def delete():
        bao.ask("DELETE", f"secret/metadata/{target.environment}/{journal.FOLDER}{target.name}")

    for _ in each(way, delete):
        assert attempt(target) in {Outcome.ROTATED, Outcome.ALREADY_ROTATED}
        way.calm()
        assert target.journal.step is Step.IDLE
        assert target.system.accepts(target.fields())


def test_an_invalid_journal_is_reported_and_not_changed(target):
    target.put(f"{journal.FOLDER}{target.name}", password="canary")
    before = target.fields()
    with pytest.raises(DeniedError, match="no journal") as caught:
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
