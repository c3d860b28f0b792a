"""Logins by a directory (LDAP, RADIUS, Kerberos), against a real OpenBao with a real server behind it."""

from importlib.util import find_spec

import pytest

from lessee.core.failures import Kind
from support.needs import need
from support.servers.kerberos_realm import REALM, SERVICE, KerberosRealm
from support.servers.ldap_server import LdapServer
from support.servers.older_openbao import older_openbao
from support.servers.radius_server import RadiusServer


@pytest.fixture(scope="module")
def bao(tmp_path_factory):
    with older_openbao(tmp_path_factory.mktemp("openbao-2.6")) as server:
        yield server


@pytest.fixture
def identity(bao, identities):
    return lambda auth, **block: identities(auth, **{"address": bao.address, **block})


def owner_of(bao, grant):
    return bao.ask("POST", "auth/token/lookup", {"token": grant.value})["data"]["display_name"]


SERVERS = {"ldap": LdapServer, "radius": RadiusServer}


@pytest.fixture(params=SERVERS)
def password_login(request, bao, identity, tmp_path):
    """The method, the server behind it, and an identity of `app.home`, whose password is in `tmp_path/password`."""
    method, file = request.param, tmp_path / "password"
    file.write_text("right\n")
    mount = f"team/{method}"
    with SERVERS[method](**{"app.home": "right", "other": "other"}) as server:
        bao.ask("POST", f"sys/auth/{mount}", {"type": method})
        server.mount(bao, mount)
        bao.ask("POST", f"auth/{mount}/users/app.home", {"policies": "default"})
        # As Vault Agent's mount_path names it.
        settings = {"method": method, "mount": f"auth/{mount}", "username": "app.home", "password_file": str(file)}
        yield method, server, identity(settings)
        bao.ask("DELETE", f"sys/auth/{mount}")


def test_a_login_uses_the_current_password_in_the_file(bao, password_login, tmp_path):
    method, server, one = password_login
    grant = one.login()
    assert owner_of(bao, grant) == f"team-{method}-app.home"
    assert grant.token.ours
    server.start(**{"app.home": "newer"})
    before = one.method.fingerprint()
    failure = one.failure()
    assert failure.kind is Kind.DENIED
    assert f"does not accept {tmp_path / 'password'} at auth/team/{method}/login/app.home" in failure.text
    assert "right" not in failure.text
    (tmp_path / "password").write_text("newer")
    assert one.method.fingerprint() != before
    assert one.login().value != grant.value


def test_another_user_s_password_is_refused(password_login, tmp_path):
    (tmp_path / "password").write_text("other")
    assert password_login[2].failure().kind is Kind.DENIED


@pytest.fixture(scope="module")
def realm():
    with KerberosRealm("app", "stranger") as made:
        yield made


@pytest.fixture(scope="module")
def kerberos_mount(bao, realm):
    with LdapServer(app="unused") as directory:
        headers = {"passthrough_request_headers": ["Authorization"], "allowed_response_headers": ["www-authenticate"]}
        bao.ask("POST", "sys/auth/team/kerberos", {"type": "kerberos", "config": headers})
        realm.mount(bao, "team/kerberos", directory)
        yield "auth/team/kerberos"


@pytest.fixture
def kerberos(realm, kerberos_mount, identity, monkeypatch):
    need(find_spec("gssapi"), "gssapi is not installed: make .venv/ready-logins, with libkrb5-dev")
    monkeypatch.setenv("KRB5_CONFIG", str(realm.config))

    def make(username="app", **auth):
        settings = {"username": username, "service": SERVICE, "realm": REALM, "mount": kerberos_mount}
        return identity({"method": "kerberos", "keytab_file": str(realm.keytab(username)), **settings, **auth})

    return make


def test_a_ticket_logs_in_and_each_login_has_a_new_one(bao, kerberos):
    one = kerberos()
    first, second = one.login(), one.login()
    assert owner_of(bao, first) == "team-kerberos-app"
    assert first.value != second.value


def test_a_keytab_with_new_keys_is_used_at_the_next_login(realm, kerberos):
    one = kerberos()
    one.login()
    old, before = realm.keytab("app").read_bytes(), one.method.fingerprint()
    realm.renew("app")
    new = realm.keytab("app").read_bytes()
    assert one.method.fingerprint() != before
    one.login()
    realm.keytab("app").write_bytes(old)
    failure = one.failure()
    assert failure.kind is Kind.DENIED
    assert str(realm.keytab("app")) in failure.text
    realm.keytab("app").write_bytes(new)
    assert one.login().value


def test_a_principal_that_the_directory_does_not_have_is_refused(kerberos):
    assert kerberos("stranger").failure().kind is Kind.PATH_ERROR  # OpenBao answers 500.


def test_a_missing_keytab_and_an_unknown_service_are_named(kerberos, tmp_path):
    assert kerberos(keytab_file=str(tmp_path / "no")).failure().text.startswith(f"cannot read {tmp_path / 'no'}")
    failure = kerberos(service="HTTP/elsewhere").failure()
    assert failure.kind is Kind.DENIED
    assert "for HTTP/elsewhere in EXAMPLE.COM" in failure.text


def test_a_kdc_that_is_away_is_an_outage(realm, kerberos):
    one = kerberos()
    realm.stop()
    try:
        assert one.failure().kind is Kind.UNAVAILABLE
    finally:
        realm.start()
    assert one.login().value
