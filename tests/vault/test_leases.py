"""Leases, certificates and static roles, against a real OpenBao and a real PostgreSQL."""

import re
import time
from contextlib import closing

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.verification import PolicyBuilder, Store

from lessee.core.failures import Kind
from lessee.core.immutable import replace
from lessee.core.paths import DynamicSecret
from lessee.host.clock import boot_time
from lessee.host.openbao import ROOT_TOKEN
from lessee.vault.engines import leases
from lessee.vault.transport import Address, RequestFailedError, Transport
from support.servers.fault_proxy import Fault, Proxy

PATIENCE = 20.0


@pytest.fixture
def transport(bao):
    way = Transport(Address(bao.address))
    yield way
    way.close()


@pytest.fixture(scope="module")
def pki(bao):
    """Roles with leases (leased) or without (bare), and one that signs any key (any)."""
    bao.ask("POST", "sys/mounts/pki", {"type": "pki", "config": {"max_lease_ttl": "48h"}})
    bao.ask("POST", "pki/root/generate/internal", {"common_name": "root", "ttl": "48h"})
    names = {"allow_any_name": True, "allowed_uri_sans": "*", "max_ttl": "1h"}
    for role, settings in {"leased": {"generate_lease": True}, "bare": {}, "any": {"key_type": "any"}}.items():
        bao.ask("POST", f"pki/roles/{role}", names | settings)
    yield bao
    bao.ask("DELETE", "sys/mounts/pki")  # Other tests mount their own there.


@pytest.fixture(scope="module")
def database(bao, postgres):
    postgres.attach(bao, role="simba", default_ttl="1h", max_ttl="2h")
    postgres.attach(bao, role="brief", default_ttl="1h", max_ttl="1h")
    postgres.static_role(bao, "stays", rotation_period="24h")
    return postgres


def certificate(path, *, local_key=False, **params):
    return DynamicSecret(path, tuple(sorted(params.items())), "POST", certificate=True, local_key=local_key)


def issue(transport, need, value=ROOT_TOKEN):
    return leases.issue(transport, value, "token-1", need, boot_time)


def failure(call, *args):
    with pytest.raises(RequestFailedError) as caught:
        call(*args)
    return caught.value.failure


def until(true):
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline


def is_gone(transport, lease_id):
    try:
        leases.look_up(transport, ROOT_TOKEN, lease_id, boot_time)
    except RequestFailedError as exc:
        return exc.failure.kind is Kind.NOT_FOUND
    return False


def test_an_issued_lease_describes_itself_without_a_value(transport, database):
    need = DynamicSecret("database/creds/simba")
    before = boot_time()
    lease = issue(transport, need)
    assert (lease.need, lease.token, lease.static, lease.renewable) == (need, "token-1", False, True)
    assert lease.lease_id.startswith("database/creds/simba/")
    assert before <= lease.sent_at == lease.issued_at <= boot_time()
    assert 3598 <= lease.ttl <= 3600
    assert database.can_log_in(lease.secret.data["username"], lease.secret.data["password"])
    assert lease.secret.data["password"] not in repr(lease)


@pytest.mark.usefixtures("database", "pki")
def test_each_issue_has_its_own_id_which_is_a_safe_file_name(transport):
    needs = [DynamicSecret("database/creds/simba"), certificate("pki/issue/bare", common_name="a.b")] * 2
    ids = [issue(transport, need).id for need in needs]
    assert len(set(ids)) == 4
    assert all(re.fullmatch("[0-9a-f]{16}", one) for one in ids)


@pytest.mark.usefixtures("database")
def test_a_lease_is_renewed_and_looked_up(transport):
    lease = issue(transport, DynamicSecret("database/creds/simba"))
    for ask in (leases.renew, leases.look_up):
        sent_at, ttl, renewable = ask(transport, ROOT_TOKEN, lease.lease_id, boot_time)
        assert lease.sent_at < sent_at <= boot_time()
        assert (renewable, 3590 <= ttl <= 3600) == (True, True)


@pytest.mark.usefixtures("database")
def test_a_lease_with_a_capped_renewal_is_not_renewable_again(transport):
    lease = issue(transport, DynamicSecret("database/creds/brief"))
    assert lease.renewable
    # The server warns once a whole second of the max_ttl has gone.
    until(lambda: not leases.renew(transport, ROOT_TOKEN, lease.lease_id, boot_time)[2])


@pytest.mark.usefixtures("database")
def test_a_lease_that_is_capped_at_its_issue_is_not_renewable(bao, transport):
    bao.ask("POST", "sys/mounts/database/tune", {"max_lease_ttl": "30m"})
    try:
        lease = issue(transport, DynamicSecret("database/creds/simba"))
    finally:
        bao.ask("POST", "sys/mounts/database/tune", {"max_lease_ttl": "768h"})
    assert (lease.renewable, 1790 <= lease.ttl <= 1800) == (False, True)


def test_a_revocation_ends_the_lease_and_its_database_user(transport, database):
    lease = issue(transport, DynamicSecret("database/creds/simba"))
    leases.revoke(transport, ROOT_TOKEN, lease.lease_id)
    until(lambda: is_gone(transport, lease.lease_id))
    assert database.roles(lease.secret.data["username"]) == []
    assert failure(leases.renew, transport, ROOT_TOKEN, lease.lease_id, boot_time).text == "the lease has ended"
    leases.revoke(transport, ROOT_TOKEN, lease.lease_id)  # A second revocation is no error.


def test_a_database_that_is_down_breaks_its_own_path_alone(transport, database):
    database.stop()
    try:
        assert failure(issue, transport, DynamicSecret("database/creds/simba")).kind is Kind.PATH_ERROR
    finally:
        database.start()
    # OpenBao's own connections may be broken once more.
    until(lambda: _issues(transport))


def _issues(transport):
    try:
        return bool(issue(transport, DynamicSecret("database/creds/simba")))
    except RequestFailedError:
        return False


def test_an_issue_with_a_lost_answer_is_not_repeated(bao, database):
    with Proxy(bao.port) as proxy:
        transport = Transport(Address(proxy.address))
        known = issue(transport, DynamicSecret("database/creds/simba"))
        transport.request("GET", "sys/mounts", token=ROOT_TOKEN)  # This opens a connection.
        proxy.on_path("database/creds", Fault.CUT)
        before = set(database.roles("v-%"))
        assert failure(issue, transport, DynamicSecret("database/creds/simba")).kind is Kind.UNAVAILABLE
        transport.close()
    assert known.secret.data["username"] in before
    assert len(set(database.roles("v-%")) - before) == 1


def test_a_static_role_keeps_its_id_and_is_valid_until_its_next_rotation(transport, database):
    first, second = (issue(transport, DynamicSecret("database/static-creds/stays")) for _ in range(2))
    assert (first.static, first.lease_id, first.renewable) == (True, "", False)
    assert first.id == second.id
    assert first.id.startswith("static-")
    assert 86000 < first.ttl <= 86400.5
    assert database.can_log_in("stays", first.secret.data["password"])


@pytest.mark.usefixtures("database")
def test_a_revoked_token_ends_its_leases_too(bao, transport):
    bao.ask("PUT", "sys/policies/acl/simba", {"policy": 'path "database/creds/simba" { capabilities = ["read"] }'})
    value = bao.ask("POST", "auth/token/create", {"policies": ["simba"]})["auth"]["client_token"]
    lease = issue(transport, DynamicSecret("database/creds/simba"), value)
    leases.revoke_token(transport, value)
    until(lambda: is_gone(transport, lease.lease_id))
    failed = failure(leases.revoke_token, transport, value)
    assert failed.kind is Kind.DENIED


@pytest.mark.usefixtures("pki")
def test_a_certificate_with_a_lease_cannot_be_renewed_but_revoked(transport):
    lease = issue(transport, certificate("pki/issue/leased", common_name="simba.local", ttl="30m"))
    assert (lease.renewable, 1790 <= lease.ttl <= 1800) == (False, True)
    assert failure(leases.renew, transport, ROOT_TOKEN, lease.lease_id, boot_time).kind is Kind.UNSUPPORTED
    leases.revoke(transport, ROOT_TOKEN, lease.lease_id)
    until(lambda: is_gone(transport, lease.lease_id))


@pytest.mark.usefixtures("pki")
def test_a_certificate_without_a_lease_ends_by_the_servers_clock(transport):
    need = certificate("pki/issue/bare", common_name="simba.local", ttl="10m")
    lease = leases.issue(transport, ROOT_TOKEN, "token-1", need, boot_time, wall=lambda: 0.0)
    took = boot_time() - lease.sent_at
    assert (lease.lease_id, lease.static) == ("", False)
    ends = x509.load_pem_x509_certificate(lease.secret.data["certificate"].encode()).not_valid_after_utc.timestamp()
    assert ends - 2 - took <= time.time() + lease.ends_at - boot_time() <= ends


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ({}, "ec"),
        ({"key_type": "ec", "key_bits": 384}, "ec"),
        ({"key_type": "rsa"}, "rsa"),
        ({"key_type": "ed25519"}, "ed25519"),
    ],
)
def test_a_local_key_matches_its_certificate_and_is_never_sent(pki, key, kind):
    names = {"common_name": "simba.local", "alt_names": "www.simba.local, a@simba.local"}
    others = {"ip_sans": "127.0.0.1,::1", "uri_sans": "spiffe://simba/app"}
    with Proxy(pki.port) as proxy:
        transport = Transport(Address(proxy.address))
        data = issue(transport, certificate("pki/issue/any", local_key=True, **names, **others, **key)).secret.data
        transport.close()
    (request,) = proxy.requests
    assert request.path == "/v1/pki/sign/any"
    assert b"BEGIN CERTIFICATE REQUEST" in request.body
    assert b"PRIVATE" not in request.body
    assert b"key_type" not in request.body
    assert data["private_key_type"] == kind
    private = serialization.load_pem_private_key(data["private_key"].encode(), None)
    assert data["private_key"].splitlines()[1].encode() not in request.body
    issued = x509.load_pem_x509_certificate(data["certificate"].encode())
    assert issued.public_key() == private.public_key()
    alternatives = issued.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(alternatives.get_values_for_type(x509.DNSName)) == {"simba.local", "www.simba.local"}
    assert alternatives.get_values_for_type(x509.RFC822Name) == ["a@simba.local"]
    assert {str(one) for one in alternatives.get_values_for_type(x509.IPAddress)} == {"127.0.0.1", "::1"}
    assert alternatives.get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://simba/app"]
    if kind != "ed25519":  # The verifier of web certificates does not support it.
        root = x509.load_pem_x509_certificate(data["issuing_ca"].encode())
        verifier = PolicyBuilder().store(Store([root])).build_server_verifier(x509.DNSName("simba.local"))
        assert verifier.verify(issued, [])[0] == issued


@pytest.mark.usefixtures("pki")
def test_a_role_that_forbids_the_key_type_is_reported_with_the_parameter(transport):
    failed = failure(issue, transport, certificate("pki/issue/bare", local_key=True, common_name="a.b"))
    assert failed.kind is Kind.INVALID
    assert "key_type" in failed.text
    fitting = certificate("pki/issue/bare", local_key=True, common_name="a.b", key_type="rsa")
    assert issue(transport, fitting).secret.data["private_key_type"] == "rsa"


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"common_name": "a" * 65}, "common_name"),
        ({"common_name": ""}, "common_name"),
        ({"alt_names": "sîmba.local"}, "not ASCII"),
        ({"ip_sans": "127.0.0"}, "ip_sans"),
        ({"uri_sans": "spiffe://sîmba"}, "uri_sans"),
        ({"key_type": "dsa"}, "key_type='dsa'"),
        ({"key_bits": 2048}, "key_bits=2048"),
    ],
)
def test_invalid_names_and_keys_are_rejected_without_a_request(pki, params, words):
    with Proxy(pki.port) as proxy:
        transport = Transport(Address(proxy.address))
        failed = failure(
            issue, transport, certificate("pki/issue/any", local_key=True, **{"common_name": "a.b", **params})
        )
        transport.close()
    assert failed.kind is Kind.INVALID
    assert words in failed.text
    assert proxy.requests == []


def test_an_answer_without_a_lease_and_a_ttl_is_rejected_with_advice(bao, transport):
    bao.put("plain", password="p")
    failed = failure(issue, transport, DynamicSecret("secret/data/plain"))
    assert (failed.kind, "secret()" in failed.text) == (Kind.INVALID, True)


@pytest.mark.parametrize("path", ["auth/token/lookup-self", "sys/wrapping/lookup", "cubbyhole/a", "a/auth/token/x"])
def test_what_returns_credentials_of_the_agent_is_not_even_requested(path):
    nowhere = Transport(Address("http://127.0.0.1:1"))
    failed = failure(issue, nowhere, DynamicSecret(path))
    assert failed.kind is Kind.INVALID
    assert "credentials of the agent itself" in failed.text


def test_an_answer_with_the_agents_own_token_is_rejected_whatever_its_path(bao, transport):
    bao.ask("POST", "sys/mounts/kv1", {"type": "kv"})
    bao.ask("POST", "kv1/a", {"nested": {"id": f"x{ROOT_TOKEN}"}, "ttl": "1h"})
    failed = failure(issue, transport, DynamicSecret("kv1/a"))
    assert (failed.kind, ROOT_TOKEN in failed.text) == (Kind.INVALID, False)
    assert "credentials of the agent itself" in failed.text


def test_a_ttl_in_the_answer_replaces_a_missing_lease(bao, transport):
    bao.ask("POST", "identity/oidc/key/short", {"allowed_client_ids": "*"})
    bao.ask("POST", "identity/oidc/role/app", {"key": "short", "ttl": "20m"})
    entity = bao.ask("POST", "identity/entity", {"name": "simba"})["data"]["id"]
    accessor = bao.ask("GET", "sys/auth")["data"]["token/"]["accessor"]
    bao.ask("POST", "auth/token/roles/named", {"allowed_entity_aliases": "simba"})
    alias = {"name": "simba", "canonical_id": entity, "mount_accessor": accessor}
    bao.ask("POST", "identity/entity-alias", alias)
    bao.ask("PUT", "sys/policies/acl/oidc", {"policy": 'path "identity/oidc/token/app" { capabilities = ["read"] }'})
    named = {"policies": ["oidc"], "entity_alias": "simba"}
    value = bao.ask("POST", "auth/token/create/named", named)["auth"]["client_token"]
    lease = issue(transport, DynamicSecret("identity/oidc/token/app"), value)
    assert (lease.lease_id, lease.renewable, lease.ttl) == ("", False, 1200)


@pytest.mark.usefixtures("pki")
def test_an_endpoint_that_needs_a_post_is_reported_with_the_parameter(transport):
    failed = failure(issue, transport, DynamicSecret("pki/issue/any"))
    assert (failed.kind, 'method="POST"' in failed.text) == (Kind.UNSUPPORTED, True)
    assert issue(transport, DynamicSecret("pki/issue/bare", (("common_name", "a.b"),), "POST")).ttl > 3500


class Rewriting(Transport):
    """Requests through a proxy that takes a path for another one."""

    def request(self, method, path, **settings):  # noqa: ARG002
        return super().request("POST", "auth/token/create", **{**settings, "body": {}})


def test_an_answer_with_another_token_is_rejected_too(bao):
    with closing(Rewriting(Address(bao.address))) as transport:
        failed = failure(issue, transport, DynamicSecret("a/b", method="POST", every=60.0))
    assert failed.kind is Kind.INVALID
    assert "credentials of the agent itself" in failed.text


@pytest.fixture
def secrets(bao):
    bao.ask("POST", "sys/mounts/any", {"type": "kv"})
    yield "any"
    bao.ask("DELETE", "sys/mounts/any")


def test_an_answer_of_any_path_without_an_end_is_read_as_often_as_its_call_says(bao, transport, secrets):
    bao.ask("POST", f"{secrets}/a", {"number": 1, "ttl": 5})
    need = DynamicSecret(f"{secrets}/a", every=60.0)
    lease = issue(transport, need)
    assert (lease.static, lease.ttl, lease.lease_id) == (True, 0.0, "")
    assert lease.secret.data == {"number": 1, "ttl": 5}
    assert issue(transport, need).id == lease.id
    bao.ask("POST", f"{secrets}/a", {"number": 1})
    assert issue(transport, need).id != lease.id
    listed = issue(transport, DynamicSecret(f"{secrets}/", method="LIST", every=60.0))
    assert listed.secret.data == {"keys": ["a"]}
    assert failure(issue, transport, DynamicSecret(f"{secrets}/b", every=60.0)).kind is Kind.NOT_FOUND


class Answering(Transport):
    """Each POST has the answer that the secret of this name contains."""

    def request(self, method, path, **settings):  # noqa: ARG002
        return super().request("GET", path, **{**settings, "body": None})


def test_what_is_made_at_any_path_ends_by_its_ttl_its_own_end_or_never(bao, secrets):
    need = DynamicSecret(f"{secrets}/a", method="POST", every=60.0)
    with closing(Answering(Address(bao.address))) as transport:
        for data, ttl in [({"ttl": 90}, 90.0), ({"ttl": 0}, 0.0), ({"ttl": "1h"}, 0.0), ({"token": "opaque"}, 0.0)]:
            bao.ask("POST", f"{secrets}/a", data)
            lease = issue(transport, need)
            assert (lease.static, lease.ttl) == (False, ttl)


class Undated(Transport):
    """Requests to a server that sends no date."""

    def request(self, method, path, **settings):
        return replace(super().request(method, path, **settings), date_header="")


@pytest.mark.parametrize(("now", "left"), [(1000.0, 20.5), (1019.0, 1.5), (1020.0, 30.5)])
def test_a_code_without_its_end_is_read_again_when_the_usual_period_ends(bao, secrets, now, left):
    bao.ask("POST", f"{secrets}/code/a", {"code": "123456"})
    with closing(Undated(Address(bao.address))) as transport:
        need = DynamicSecret(f"{secrets}/code/a")
        lease = leases.issue(transport, ROOT_TOKEN, "token-1", need, boot_time, wall=lambda: now)
        assert (lease.static, lease.ttl) == (True, left)
