"""An operators' service sends refused credentials seldom enough not to lock its role, against a real OpenBao."""

import os
from threading import Barrier, Thread

import pytest

from lessee.config.parsing import parse
from lessee.core.errors import VaultUnreachableError
from lessee.host.openbao import ROOT_TOKEN
from lessee.vault.service_logins import LoginRefusedError, ServiceLogins
from support.servers.fault_proxy import Proxy, Status

LOCKOUT = 900.0
"""Seconds after which a role's refusals are forgotten, and for which it is locked; five refusals lock it."""
THREADS = 5
POLICY = 'path "secret/data/none" { capabilities = ["read"] }'


class Rotator:
    """A service whose AppRole, files and clock are its own."""

    def __init__(self, bao, folder, address=None):
        self.bao, self.now, self.folder = bao, 1000.0, folder
        role_id, self.secret_id = bao.approle(f"role-{os.urandom(4).hex()}", POLICY)
        (folder / "role_id").write_text(role_id)
        self.use("wrong")
        files = {f"{key}_file": str(folder / key) for key in ("role_id", "secret_id")}
        text = {"vault": {"address": address or bao.address, "auth": {"method": "approle", **files}}}
        self.vault = parse(str(text), source="lessee.yaml", environ={}).vault
        self.logins = ServiceLogins(lambda: self.now)

    def use(self, secret_id):
        (self.folder / "secret_id").write_text(secret_id)

    def log_in(self, **environ):
        """Whether a login succeeds."""
        try:
            with self.logins.client(self.vault, environ) as client:
                return bool(client.read("auth/token/lookup-self"))
        except LoginRefusedError:
            return False


@pytest.fixture
def rotator(bao, tmp_path):
    return Rotator(bao, tmp_path)


@pytest.fixture
def proxy(bao):
    with Proxy(int(bao.address.rpartition(":")[2])) as proxy:
        yield proxy


@pytest.fixture
def proxied(bao, proxy, tmp_path):
    return Rotator(bao, tmp_path, proxy.address)


def test_refused_credentials_do_not_lock_the_role(rotator):
    """Asked for again and again, as by a service whose targets are due. The server does not see the simulated time."""
    until = rotator.now + LOCKOUT
    while rotator.now < until:
        assert not rotator.log_in()
        rotator.now += 5.0
    rotator.use(rotator.secret_id)
    assert rotator.log_in()


def test_several_threads_send_refused_credentials_once(rotator):
    barrier = Barrier(THREADS)
    outcomes = []

    def log_in():
        barrier.wait()
        outcomes.append(rotator.log_in())

    threads = [Thread(target=log_in) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == [False] * THREADS
    rotator.use(rotator.secret_id)
    assert rotator.log_in()


def test_changed_credentials_are_sent_at_once(rotator):
    assert not rotator.log_in()
    assert rotator.logins.are_refused
    rotator.use(rotator.secret_id)
    assert rotator.log_in()
    assert not rotator.logins.are_refused


def test_a_missing_file_is_a_refusal_without_a_request(rotator):
    (rotator.folder / "secret_id").unlink()
    assert not rotator.log_in()
    rotator.use(rotator.secret_id)
    assert rotator.log_in()


def test_a_given_token_needs_no_login(rotator):
    assert not rotator.log_in()
    assert rotator.log_in(VAULT_TOKEN=ROOT_TOKEN)
    assert rotator.logins.are_refused


def test_a_403_is_repeated_after_seconds_and_then_ever_more_rarely(proxied, proxy):
    proxied.use(proxied.secret_id)
    sent = []
    proxy.on_path("/login", Status(403))
    for _ in range(600):
        before = proxy.count("/login")
        assert not proxied.log_in()
        sent += [proxied.now] * (proxy.count("/login") - before)
        proxied.now += 1.0
    proxy.clear()
    assert 2 <= sent[1] - sent[0] <= 6
    assert 20 <= sent[-1] - sent[-2] <= 51
    proxied.now += 51.0
    assert proxied.log_in()


def test_an_outage_is_no_refusal(proxied, proxy):
    proxy.fault = Status(503)
    with pytest.raises(VaultUnreachableError):
        proxied.log_in()
    assert not proxied.logins.are_refused


def test_credentials_are_in_no_text(rotator):
    with pytest.raises(LoginRefusedError) as caught, rotator.logins.client(rotator.vault, {}):
        pass
    assert "wrong" not in f"{caught.value} {vars(rotator.logins)}"
