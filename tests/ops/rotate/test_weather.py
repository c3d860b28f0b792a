"""A rotation while Vault is away, and while a person writes to the same secret."""

from itertools import count

import pytest

from lessee.core.errors import DeniedError, VaultUnreachableError
from lessee.ops.rotate import targets
from lessee.ops.rotate.policy import journal
from lessee.ops.rotate.policy.decision import Outcome
from lessee.ops.rotate.policy.journal import Step
from lessee.vault import transport
from support.environments.rotation_targets import AHEAD, SLEEP, Rotated
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
def rotated(bao, tmp_path, way, monkeypatch):
    inner = transport.Transport.request

    def ask(self, *arguments, **named):
        # Where an answer is held back, it is not waited for; all others have their time.
        return inner(self, *arguments, **named | ({"timeout": 0.2} if way.is_next else {}))

    monkeypatch.setattr(transport.Transport, "request", ask)
    new = Rotated(bao, tmp_path, VaultValues(tmp_path))
    new.config["vault"]["address"] = way.address
    new.write_config()
    new.confirm(version=AHEAD)
    monkeypatch.setattr(targets, "time", new.clock())
    return new


def attempt(rotated):
    try:
        return rotated.rotate()
    except (VaultUnreachableError, DeniedError):
        rotated.ahead += SLEEP  # Its hold is over: this process lives on, and so it would be waited for.
        return None


def each(way, what):
    """The numbers of the requests of a rotation, until there is none of this number any more."""
    for number in count():
        way.at(number, what)
        yield number
        if not way.has_come:
            assert number > VaultValues.crossings_least
            return


@pytest.mark.parametrize("sky", [SEALED, Fault.LOST, Fault.HANG, Fault.DROP], ids=["sealed", "lost", "hang", "drop"])
def test_whatever_befalls_one_request_it_converges_when_vault_is_back(rotated, way, fault):
    for _ in each(way, fault):
        before = rotated.journal.count
        attempt(rotated)
        way.calm()
        rotated.recover()
        said = rotated.journal
        assert (said.step, said.pending) == (Step.IDLE, {})
        assert said.count <= before + 1
        assert len({past.id for past in said.history}) == len(said.history)
        # One rotation is one version, whatever was asked again.
        assert rotated.metadata()["current_version"] == 1 + said.count
        assert rotated.fields()["issuer"] == "simba"


def test_a_token_that_ends_in_the_middle_is_refused_and_the_next_one_goes_on(rotated, way):
    """From that request on, so that not even the failure can be noted."""
    for _ in each(way, lambda: way.on_path("/v1/secret/", Status(403, body=b'{"errors":["permission denied"]}'))):
        before = rotated.journal.count
        attempt(rotated)
        way.calm()
        way.clear()
        rotated.recover()
        said = rotated.journal
        assert (said.step, said.pending) == (Step.IDLE, {})
        assert said.count <= before + 1
        assert rotated.metadata()["current_version"] == 1 + said.count


def test_a_key_that_a_person_writes_meanwhile_is_kept(rotated, way):
    def edit():
        rotated.put(rotated.secret_path, **{**rotated.fields(), "note": f"of a person {way.count()}"})
        written.append(rotated.fields()["note"])

    written = []
    for _ in each(way, edit):
        assert attempt(rotated) in {Outcome.ROTATED, Outcome.ALREADY_ROTATED}
        way.calm()
        assert rotated.fields()["note"] == written[-1]
        assert rotated.journal.step is Step.IDLE


def test_a_value_that_a_person_writes_meanwhile_is_published_or_the_predecessor(rotated, way):
    """It was valid: so it is what stands there, or what was rotated properly after it."""

    def edit():
        written.append(f"{len(written):064}")
        rotated.put(rotated.secret_path, **{**rotated.fields(), "secret": written[-1]})

    written = []
    for _ in each(way, edit):
        attempt(rotated)
        if not way.calm():
            continue
        rotated.recover()
        fields = rotated.fields()
        assert written[-1] in {fields["secret"], fields["old"]}
        assert rotated.journal.step is Step.IDLE


def test_a_secret_that_is_deleted_meanwhile_is_told_and_rotated_when_it_is_back(rotated, way, bao):
    path = f"{rotated.environment}/{rotated.secret_path}"

    def delete():
        bao.ask("DELETE", f"secret/data/{path}")

    refused = 0
    for _ in each(way, delete):
        came = attempt(rotated)
        way.calm()
        if came is None:
            refused += 1
            newest = rotated.metadata()["current_version"]
            assert "bao kv undelete" in rotated.journal.error
            bao.ask("POST", f"secret/undelete/{path}", {"versions": [newest]})
            assert rotated.rotate() is Outcome.ROTATED
            assert rotated.fields()["issuer"] == "simba"
        rotated.put(rotated.secret_path, secret="0" * 64, issuer="simba")
        rotated.recover()
        assert rotated.journal.step is Step.IDLE
    assert refused


def test_a_journal_that_is_deleted_meanwhile_is_begun_anew(rotated, way, bao):
    def delete():
        bao.ask("DELETE", f"secret/metadata/{rotated.environment}/{journal.FOLDER}{rotated.name}")

    for _ in each(way, delete):
        assert attempt(rotated) in {Outcome.ROTATED, Outcome.ALREADY_ROTATED}
        way.calm()
        assert rotated.journal.step is Step.IDLE
        assert rotated.system.lets_in(rotated.fields())


def test_a_journal_that_is_none_is_told_and_left_alone(rotated):
    rotated.put(f"{journal.FOLDER}{rotated.name}", password="canary")
    before = rotated.fields()
    with pytest.raises(DeniedError, match="no journal") as caught:
        rotated.rotate()
    assert f"{journal.FOLDER}{rotated.name}" in str(caught.value)
    assert "bao kv metadata delete" in str(caught.value)
    assert "canary" not in str(caught.value)
    assert rotated.fields() == before


def test_a_mount_without_versions_is_refused(rotated, bao):
    mount = f"old-{rotated.environment}"
    bao.ask("POST", f"sys/mounts/{mount}", {"type": "kv", "options": {"version": "1"}})
    rotated.config["secrets"] = {"mount": mount}
    rotated.write_config()
    with pytest.raises(DeniedError, match="KV version 2"):
        rotated.rotate()
