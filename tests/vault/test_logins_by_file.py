"""Logins with credentials from files, and in a namespace, against a real OpenBao."""

import pytest

from lessee.core.failures import Kind
from lessee.core.paths import Ref
from lessee.vault.engines import kv
from lessee.vault.transport import RequestFailedError
from support.programs.sidecar import eventually
from support.servers.jwt_signer import Signer
from support.servers.token_reviews import TokenReviews, service_account_token


@pytest.fixture
def identity(bao, identities):
    return lambda auth, **block: identities(auth, **{"address": bao.address, **block})


@pytest.fixture
def mount(bao):
    """Mounts an auth method under a path of two elements, until the test is over."""
    mounted = []

    def make(kind):
        path = f"team/{kind}"
        bao.ask("POST", f"sys/auth/{path}", {"type": kind})
        mounted.append(path)
        return path

    yield make
    for path in mounted:
        bao.ask("DELETE", f"sys/auth/{path}")


def owner_of(bao, grant):
    """Vault's display name of a token."""
    return bao.ask("POST", "auth/token/lookup", {"token": grant.value})["data"]["display_name"]


@pytest.fixture(scope="module")
def signer():
    return Signer()


@pytest.fixture
def jwt(bao, mount, signer, identity, tmp_path):
    """An identity of a JWT in `tmp_path/jwt`, with the role `web`, which is the default too."""
    path = mount("jwt")
    bao.ask("POST", f"auth/{path}/config", {"jwt_validation_pubkeys": [signer.public_key], "default_role": "web"})
    role = {"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["vault"], "token_ttl": "1h"}
    bao.ask("POST", f"auth/{path}/role/web", role)

    def make(**auth):
        return identity({"method": "jwt", "mount": path, "jwt_file": str(tmp_path / "jwt"), **auth})

    return make


@pytest.mark.parametrize("role", [{"role": "web"}, {}])
def test_a_jwt_is_read_again_at_each_login(bao, jwt, signer, tmp_path, role):
    one, owners, marks = jwt(**role), [], []
    for subject in "old", "new":
        (tmp_path / "jwt").write_text(signer.sign(sub=subject, aud="vault") + "\n")
        grant = one.login()
        owners.append(owner_of(bao, grant))
        marks.append(one.method.fingerprint())
        assert (grant.token.ttl, grant.token.ours) == (3600, True)
    assert owners == ["team-jwt-old", "team-jwt-new"]
    assert marks[0] != marks[1]


def test_a_denied_jwt_is_reported_with_file_mount_and_role(jwt, signer, tmp_path):
    foreign = signer.sign(sub="web", aud="elsewhere")
    (tmp_path / "jwt").write_text(foreign)
    failure = jwt(role="web").failure()
    assert failure.kind is Kind.DENIED
    assert failure.text.startswith(
        f"Vault does not accept {tmp_path / 'jwt'} at auth/team/jwt/login, role web; "
        "`bao read auth/team/jwt/role/web` prints what the role requires;"
    )
    assert foreign not in failure.text
    assert "locked" not in failure.text


def test_a_jwt_with_another_signature_is_denied(jwt, tmp_path):
    (tmp_path / "jwt").write_text(Signer().sign(sub="web", aud="vault"))
    assert jwt().failure().kind is Kind.DENIED


def test_an_empty_or_missing_jwt_is_reported_without_a_request(identity, tmp_path):
    file = tmp_path / "jwt"
    away = identity({"method": "jwt", "jwt_file": str(file)}, address="http://127.0.0.1:1")
    assert away.failure().text == f"cannot read {file}: No such file or directory"
    file.write_text(" \n")
    assert away.failure().text == f"{file} is empty"
    file.write_text("x.y.z")
    assert away.failure().kind is Kind.UNAVAILABLE


@pytest.fixture
def kubernetes():
    with TokenReviews() as reviews:
        yield reviews


def test_a_service_account_token_is_read_again_at_each_login(bao, kubernetes, mount, signer, identity, tmp_path):
    path = mount("kubernetes")
    kubernetes.mount(bao, path)
    file = tmp_path / "token"
    pod = identity({"method": "kubernetes", "mount": path, "role": "web", "jwt_file": str(file)})
    for name in "first", "second":
        file.write_text(service_account_token(signer, pod=name))
        kubernetes.known[:] = [file.read_text()]
        assert owner_of(bao, pod.login()) == "team-kubernetes-default-web"
    kubernetes.known.clear()
    failure = pod.failure()
    assert failure.kind is Kind.FORBIDDEN  # The method answers 403 for any denial.
    assert failure.text.startswith(f"Vault does not accept {file} at auth/team/kubernetes/login, role web;")


@pytest.fixture
def userpass(bao, mount, identity, tmp_path):
    """An identity of the user `app.home`, whose password `right` is in `tmp_path/password`."""
    path = mount("userpass")
    bao.ask("POST", f"auth/{path}/users/app.home", {"password": "right"})
    file = tmp_path / "password"
    file.write_text("right\n")
    return identity({"method": "userpass", "mount": path, "username": "app.home", "password_file": str(file)})


def test_a_login_uses_the_current_password_in_the_file(bao, userpass, tmp_path):
    assert owner_of(bao, userpass.login()) == "team-userpass-app.home"
    bao.ask("POST", "auth/team/userpass/users/app.home/password", {"password": "newer"})
    assert userpass.failure().kind is Kind.DENIED
    (tmp_path / "password").write_text("newer")
    assert userpass.login().token.accessor


def test_a_wrong_password_is_reported_with_file_user_and_lockout_but_not_printed(userpass, tmp_path):
    (tmp_path / "password").write_text("canary-password")
    failure = userpass.failure()
    assert failure.kind is Kind.DENIED
    assert f"does not accept {tmp_path / 'password'} at auth/team/userpass/login/app.home" in failure.text
    assert "has locked the user after denied logins" in failure.text
    assert "canary" not in failure.text


def test_a_locked_user_gets_403_and_logins_meanwhile_do_not_prolong_the_lockout(bao, userpass, tmp_path):
    lockout = {"lockout_threshold": "2", "lockout_duration": "3s", "lockout_counter_reset_duration": "3s"}
    bao.ask("POST", "sys/auth/team/userpass/tune", {"user_lockout_config": lockout})
    (tmp_path / "password").write_text("wrong")
    kinds = [userpass.failure().kind for _ in range(3)]
    assert kinds == [Kind.DENIED, Kind.DENIED, Kind.FORBIDDEN]
    (tmp_path / "password").write_text("right")
    assert userpass.failure().kind is Kind.FORBIDDEN

    def is_logged_in():
        try:
            return userpass.login()
        except RequestFailedError:
            return None

    assert eventually(is_logged_in).value


def test_an_empty_password_is_reported_without_a_login(userpass, tmp_path):
    (tmp_path / "password").write_text("\n")
    failure = userpass.failure()
    assert (failure.kind, failure.text) == (Kind.DENIED, f"{tmp_path / 'password'} is empty")


def test_a_login_that_requires_a_second_factor_returns_no_token(bao, userpass):
    method = bao.ask("POST", "identity/mfa/method/totp", {"issuer": "team"})["data"]["method_id"]
    accessor = bao.ask("GET", "sys/auth/team/userpass")["data"]["accessor"]
    rule = {"mfa_method_ids": [method], "auth_method_accessors": [accessor]}
    bao.ask("POST", "identity/mfa/login-enforcement/team", rule)
    try:
        failure = userpass.failure()
    finally:
        bao.ask("DELETE", "identity/mfa/login-enforcement/team")
    assert failure.kind is Kind.INVALID
    assert "second factor" in failure.text


def test_a_missing_mount_is_reported(identity, tmp_path):
    (tmp_path / "jwt").write_text("x.y.z")
    failure = identity({"method": "jwt", "mount": "nowhere", "jwt_file": str(tmp_path / "jwt")}).failure()
    assert failure.kind is Kind.FORBIDDEN
    assert "auth/nowhere/login" in failure.text


@pytest.fixture(scope="module")
def team(bao, tmp_path_factory):
    """A namespace with a secret, and a user who may read it; the root namespace has a secret at the same path."""
    bao.put("shared/name", owner="root")
    bao.ask("POST", "sys/namespaces/team-a", {})
    bao.ask("POST", "team-a/sys/mounts/secret", {"type": "kv", "options": {"version": "1"}})
    bao.ask("POST", "team-a/secret/shared/name", {"owner": "team-a"})
    bao.ask("PUT", "team-a/sys/policies/acl/reader", {"policy": 'path "secret/*" { capabilities = ["read"] }'})
    bao.ask("POST", "team-a/sys/auth/userpass", {"type": "userpass"})
    bao.ask("POST", "team-a/auth/userpass/users/app", {"password": "right", "token_policies": ["reader"]})
    file = tmp_path_factory.mktemp("team") / "password"
    file.write_text("right")
    return {"method": "userpass", "username": "app", "password_file": str(file)}


NAME = Ref("secret", "shared/name")


def test_a_login_and_a_read_stay_in_their_namespace(identity, team):
    here, outside = identity(team, namespace="team-a"), identity(team)
    value = here.login().value
    assert kv.detect_version(here.transport, value, "secret") == 1
    assert kv.read(here.transport, value, NAME, 1).data == {"owner": "team-a"}
    assert outside.failure().kind is Kind.FORBIDDEN
    with pytest.raises(RequestFailedError) as caught:
        kv.read(outside.transport, value, NAME, 2)
    assert caught.value.failure.kind is Kind.DENIED


def test_a_token_of_the_root_namespace_reads_nothing_in_another_one(bao, identity, team):
    bao.ask("PUT", "sys/policies/acl/all-secrets", {"policy": 'path "secret/*" { capabilities = ["read"] }'})
    value = bao.ask("POST", "auth/token/create", {"policies": ["all-secrets"]})["auth"]["client_token"]
    here, root = identity(team, namespace="team-a"), identity(team, namespace="root")
    assert kv.read(root.transport, value, NAME, 2).data == {"owner": "root"}
    with pytest.raises(RequestFailedError) as caught:
        kv.read(here.transport, value, NAME, 1)
    assert caught.value.failure.kind is Kind.DENIED
