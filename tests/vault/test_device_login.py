"""Logins that a person confirms in a browser, against a real OpenBao."""

import re

import pytest

from lessee.core.failures import Kind
from lessee.vault.auth.device_login import DeviceLogin
from lessee.vault.transport import Address, RequestFailedError, Transport
from support.servers.device_provider import DeviceProvider
from support.servers.fault_proxy import Proxy, Status


@pytest.fixture
def provider(bao, tmp_path):
    with DeviceProvider(tmp_path) as provider:
        bao.ask("POST", "sys/auth/team/oidc", {"type": "oidc"})
        try:
            provider.mount(bao, "team/oidc")
            yield provider
        finally:
            bao.ask("DELETE", "sys/auth/team/oidc")


@pytest.fixture
def proxy(bao):
    with Proxy(bao.port) as proxy:
        yield proxy


@pytest.fixture
def person(proxy):
    transport = Transport(Address(proxy.address))
    yield Person(transport)
    transport.close()


class Person:
    """A login, its clock, and what its terminal shows."""

    def __init__(self, transport):
        self.now, self.shown, self.has_terminal = 100.0, [], True
        self._transport = transport

    def method(self, role="person", mount="team/oidc"):
        return DeviceLogin(mount, role, self._show)

    def _show(self, text):
        self.shown.append(text)
        return self.has_terminal

    def login(self, method):
        return method.login(self._transport, lambda: self.now)

    def failure(self, method):
        with pytest.raises(RequestFailedError) as caught:
            self.login(method)
        return caught.value.failure

    def code(self):
        return re.search("the code ([0-9A-F]{8})$", self.shown[-1].strip())[1]


def wait(provider, person):
    """As long as the provider wants between two polls."""
    for device in provider.devices.values():
        device["polled_at"] -= provider.interval
    person.now += provider.interval


@pytest.mark.parametrize("role", ["person", None])
def test_a_person_confirms_the_login_with_the_code_at_the_terminal(bao, provider, person, role):
    method = person.method(role)
    assert person.failure(method).kind is Kind.PENDING
    assert person.shown == [f"lessee: to log in, open {provider.url}/activate, and enter the code {person.code()}\n"]
    wait(provider, person)
    assert person.failure(method).kind is Kind.PENDING
    provider.decide(person.code(), "confirmed")
    wait(provider, person)
    grant = person.login(method)
    assert bao.ask("POST", "auth/token/lookup", {"token": grant.value})["data"]["display_name"] == "team-oidc-ann"
    assert (grant.token.ttl, grant.token.sent_at) == (3600, person.now)
    assert len(person.shown) == 1


def test_a_provider_is_not_polled_sooner_than_it_wants(provider, proxy, person):
    method = person.method()
    for _ in range(3):
        assert person.failure(method).kind is Kind.PENDING
    assert proxy.count("oidc/poll") == 0
    person.now += provider.interval  # Its own clock says that this is too soon.
    assert person.failure(method).kind is Kind.PENDING
    assert provider.early_polls == 1
    wait(provider, person)
    assert person.failure(method).kind is Kind.PENDING
    assert proxy.count("oidc/poll") == 1  # It waits five seconds longer now.
    person.now += 5
    assert person.failure(method).kind is Kind.PENDING
    assert proxy.count("oidc/poll") == 2


@pytest.mark.parametrize("decision", ["access_denied", "expired_token"])
def test_a_login_that_is_not_confirmed_starts_again_with_a_new_code(provider, person, decision):
    method = person.method()
    person.failure(method)
    first = person.code()
    provider.decide(first, decision)
    wait(provider, person)
    failure = person.failure(method)
    assert failure.kind is Kind.DENIED
    assert failure.text.endswith("at auth/team/oidc/oidc, role person")
    assert person.failure(method).kind is Kind.PENDING
    assert person.code() != first


def test_a_code_is_in_no_error(provider, person):
    method = person.method()
    pending = person.failure(method).text
    provider.decide(person.code(), "access_denied")
    wait(provider, person)
    assert not any(person.code() in text or provider.url in text for text in (pending, person.failure(method).text))


@pytest.mark.usefixtures("provider")
def test_a_machine_without_a_terminal_shows_no_code(person):
    person.has_terminal = False
    failure = person.failure(person.method())
    assert failure.kind is Kind.DENIED
    assert "method oidc needs a person at a terminal" in failure.text


def test_an_outage_between_two_polls_does_not_end_the_login(provider, proxy, person):
    method = person.method()
    person.failure(method)
    provider.decide(person.code(), "confirmed")
    wait(provider, person)
    proxy.fault = Status(503)
    assert person.failure(method).kind is Kind.UNAVAILABLE
    proxy.clear()
    wait(provider, person)
    assert person.login(method).value
    assert len(person.shown) == 1


def test_a_role_that_no_device_can_use_is_named(bao, provider, person):
    provider.mount(bao, "team/oidc", callback_mode="client")
    failure = person.failure(person.method())
    assert failure.kind is Kind.DENIED
    assert failure.text.endswith("the role needs callback_mode=device (OpenBao)")
    assert "auth/team/oidc/oidc/auth_url, role other" in person.failure(person.method("other")).text
    assert not person.shown


def test_what_a_server_says_cannot_act_on_the_terminal(proxy, person):
    data = b'{"request_id": "1", "data": {"auth_url": "https://x\\u001b[2J", "state": "s", "user_code": "\\u202e1"}}'
    proxy.on_path("auth_url", Status(200, body=data))
    person.failure(person.method())
    assert person.shown == ["lessee: to log in, open https://x\\u001b[2J, and enter the code \\u202e1\n"]
    proxy.on_path("auth_url", Status(200, body=data.replace(b"https:", b"file:/")))
    assert person.failure(person.method()).text.endswith("returned no URL of the web")
