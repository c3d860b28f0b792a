"""Tokens and AppRole, against a real OpenBao."""

import json
import urllib.request

import pytest

from lessee.core.failures import Kind
from lessee.host.clock import boot_time
from lessee.vault.auth.approle import AppRoleLogin
from lessee.vault.auth.login import TokenLogin, look_up, renew, token_id
from lessee.vault.transport import Address, RequestFailedError, Transport
from support.servers.fault_proxy import Proxy, Status

POLICY = 'path "secret/data/production/*" { capabilities = ["read"] }'
ORIGIN = "auth/approle/role/*/secret-id"


@pytest.fixture
def transport(bao):
    way = Transport(Address(bao.address))
    yield way
    way.close()


@pytest.fixture
def files(bao, tmp_path):
    """role_id and secret_id in files."""
    role_id, secret_id = bao.approle("reader", POLICY)
    (tmp_path / "role_id").write_text(role_id + "\n")
    (tmp_path / "secret_id").write_text(secret_id + "\n")
    return tmp_path


def approle(folder, *, wrapping_path=None, remove=False):
    return AppRoleLogin(
        mount="approle",
        role_id=None,
        role_id_file=str(folder / "role_id"),
        secret_id_file=str(folder / "secret_id"),
        wrapping_path=wrapping_path,
        remove=remove,
    )


def failure_of(method, transport):
    with pytest.raises(RequestFailedError) as caught:
        method.login(transport, boot_time)
    return caught.value.failure


def wrap(bao, path, body=None):
    """A response-wrapping token for the answer of this request."""
    request = urllib.request.Request(
        f"{bao.address}/v1/{path}",
        method="POST",
        data=json.dumps(body or {}).encode(),
        headers={"X-Vault-Token": "root-of-a-server-in-memory", "X-Vault-Wrap-TTL": "60s"},
    )
    with urllib.request.urlopen(request, timeout=5) as answer:
        return json.load(answer)["wrap_info"]["token"]


def test_approle_returns_a_renewable_token_whose_ttl_counts_from_the_request(transport, files):
    before = boot_time()
    grant = approle(files).login(transport, boot_time)
    assert before <= grant.token.sent_at <= boot_time()
    assert (grant.token.ttl, grant.token.renewable) == (3600, True)
    assert grant.token.accessor
    assert grant.value not in repr(grant)


def test_a_token_can_be_looked_up_and_renewed(transport, files):
    grant = approle(files).login(transport, boot_time)
    assert look_up(transport, grant.value, boot_time).accessor == grant.token.accessor
    assert 3590 <= renew(transport, grant.value, boot_time).ttl <= 3600


def test_a_token_keeps_its_id_which_reveals_nothing_about_its_value(transport, files):
    grant = approle(files).login(transport, boot_time)
    seen = {grant.token.id, look_up(transport, grant.value, boot_time).id, renew(transport, grant.value, boot_time).id}
    assert seen == {token_id(grant.value)}
    assert len(grant.token.id) == 16
    assert grant.token.id not in grant.value
    assert approle(files).login(transport, boot_time).token.id not in seen


def test_a_token_with_a_capped_ttl_is_not_renewable(bao, transport, files):
    bao.ask("POST", "auth/approle/role/reader", {"token_ttl": "1h", "token_explicit_max_ttl": "30m"})
    try:
        grant = approle(files).login(transport, boot_time)
        assert (grant.token.ttl, grant.token.renewable) == (1800, False)
        assert not renew(transport, grant.value, boot_time).renewable
    finally:
        bao.ask("POST", "auth/approle/role/reader", {"token_explicit_max_ttl": "0s"})


def test_a_valid_token_that_may_not_look_up_or_renew_itself_differs_from_an_invalid_one(bao, transport):
    settings = {"no_default_policy": True, "policies": ["no-such-policy"]}
    value = bao.ask("POST", "auth/token/create", settings)["auth"]["client_token"]
    for ask, grant in (look_up, "read on auth/token/lookup-self"), (renew, "update on auth/token/renew-self"):
        with pytest.raises(RequestFailedError) as caught:
            ask(transport, value, boot_time)
        assert caught.value.failure.kind is Kind.UNSUPPORTED
        assert caught.value.failure.text.endswith(f"grant it {grant}")
        with pytest.raises(RequestFailedError) as caught:
            ask(transport, "no-token", boot_time)
        assert caught.value.failure.kind is Kind.DENIED


@pytest.mark.parametrize("body", [b"", b"<html>Forbidden</html>", b"[]", b'{"errors": "no"}'])
def test_a_403_of_a_proxy_ends_no_token(bao, files, body):
    """Vault's own are JSON. Taken for one, it would end the token's leases, and the files of apps with `on_expiry`."""
    with Proxy(bao.port) as proxy:
        way = Transport(Address(proxy.address))
        value = approle(files).login(way, boot_time).value
        proxy.fault = Status(403, body=body)
        for ask in look_up, renew:
            with pytest.raises(RequestFailedError) as caught:
                ask(way, value, boot_time)
            assert caught.value.failure.kind is Kind.UNAVAILABLE
        assert failure_of(approle(files), way).kind is Kind.UNAVAILABLE
        proxy.clear()
        assert look_up(way, value, boot_time).ttl > 0
        way.close()


def test_a_batch_token_has_an_id_without_an_accessor(bao, transport, files):
    bao.ask("POST", "auth/approle/role/reader", {"token_type": "batch"})
    try:
        token = approle(files).login(transport, boot_time).token
    finally:
        bao.ask("POST", "auth/approle/role/reader", {"token_type": "default"})
    assert (token.accessor, token.renewable) == ("", False)
    assert token.id


def test_a_wrong_secret_id_is_refused_without_repeating_it(transport, files):
    (files / "secret_id").write_text("canary-secret-id")
    failure = failure_of(approle(files), transport)
    assert failure.kind is Kind.DENIED
    assert "canary" not in failure.text


def test_a_missing_file_is_reported_by_name(transport, files):
    (files / "role_id").unlink()
    failure = failure_of(approle(files), transport)
    assert failure.kind is Kind.DENIED
    assert str(files / "role_id") in failure.text


@pytest.mark.parametrize("name", ["role_id", "secret_id"])
def test_an_empty_file_is_reported_by_name(transport, files, name):
    (files / name).write_text("\n")
    todo = "write it there: `lessee setup --output DIR` creates it"
    assert failure_of(approle(files), transport).text == f"{files / name} is empty; {todo}"


def test_a_secret_id_file_is_removed_after_reading_and_the_next_login_still_works(transport, files):
    method = approle(files, remove=True)
    first = method.login(transport, boot_time)
    assert not (files / "secret_id").exists()
    assert method.login(transport, boot_time).value != first.value


def test_a_secret_id_file_is_not_removed_after_a_failed_login(transport, files):
    method = approle(files, remove=True)
    closed = Transport(Address("http://127.0.0.1:1"))
    assert failure_of(method, closed).kind is Kind.UNAVAILABLE
    assert (files / "secret_id").exists()
    assert method.login(transport, boot_time).value
    assert not (files / "secret_id").exists()


def test_a_wrapping_token_s_file_is_removed_too(bao, transport, files):
    (files / "secret_id").write_text(wrap(bao, "auth/approle/role/reader/secret-id"))
    method = approle(files, wrapping_path=ORIGIN, remove=True)
    first = method.login(transport, boot_time)
    assert not (files / "secret_id").exists()
    assert method.login(transport, boot_time).value != first.value


def test_a_secret_id_file_is_removed_only_if_configured(transport, files):
    approle(files).login(transport, boot_time)
    assert (files / "secret_id").exists()


def test_a_new_secret_id_in_the_file_is_used_after_the_old_one_was_denied(bao, transport, files):
    method = approle(files, remove=True)
    method.login(transport, boot_time)
    accessors = bao.ask("LIST", "auth/approle/role/reader/secret-id")["data"]["keys"]
    for accessor in accessors:
        bao.ask("POST", "auth/approle/role/reader/secret-id-accessor/destroy", {"secret_id_accessor": accessor})
    assert failure_of(method, transport).kind is Kind.DENIED
    (files / "secret_id").write_text(bao.ask("POST", "auth/approle/role/reader/secret-id", {})["data"]["secret_id"])
    assert method.login(transport, boot_time).value


def test_a_wrapped_secret_id_is_unwrapped_once_and_reused_for_the_next_login(bao, transport, files):
    (files / "secret_id").write_text(wrap(bao, "auth/approle/role/reader/secret-id"))
    method = approle(files, wrapping_path=ORIGIN)
    first = method.login(transport, boot_time)
    assert method.login(transport, boot_time).value != first.value


def test_a_used_wrapping_token_is_a_security_event_without_further_requests(bao, transport, files):
    token = wrap(bao, "auth/approle/role/reader/secret-id")
    bao.ask("POST", "sys/wrapping/unwrap", token=token)  # Another client was faster.
    (files / "secret_id").write_text(token)
    method = approle(files, wrapping_path=ORIGIN)
    failure = failure_of(method, transport)
    assert failure.kind is Kind.ALREADY_UNWRAPPED
    assert "another client has read the secret_id" in failure.text
    assert token not in failure.text
    closed = Transport(Address("http://127.0.0.1:1"))  # A request there would be an outage.
    assert failure_of(method, closed) == failure


def test_a_new_wrapping_token_is_tried_after_a_used_one(bao, transport, files):
    (files / "secret_id").write_text("s.spent-long-ago")
    method = approle(files, wrapping_path=ORIGIN)
    assert failure_of(method, transport).kind is Kind.ALREADY_UNWRAPPED
    (files / "secret_id").write_text(wrap(bao, "auth/approle/role/reader/secret-id"))
    assert method.login(transport, boot_time).value


def test_a_wrapping_token_from_another_path_is_not_unwrapped(bao, transport, files):
    token = wrap(bao, "sys/wrapping/wrap", {"secret_id": "planted"})
    (files / "secret_id").write_text(token)
    failure = failure_of(approle(files, wrapping_path=ORIGIN), transport)
    assert failure.kind is Kind.ALREADY_UNWRAPPED
    assert "sys/wrapping/wrap" in failure.text
    # It was only looked up: an investigator can still unwrap it.
    assert bao.ask("POST", "sys/wrapping/unwrap", token=token)["data"] == {"secret_id": "planted"}


class IssueStandIn:
    """In the place of the socket of `lessee issue`, whose service has tests of its own."""

    def __init__(self, *tokens):
        self.tokens = list(tokens)

    def wrapping_token(self):
        return self.tokens.pop(0)

    def state(self):
        return str(len(self.tokens))


def issued(bao, *tokens):
    role_id = bao.ask("GET", "auth/approle/role/reader/role-id")["data"]["role_id"]
    return AppRoleLogin(
        mount="approle",
        role_id=role_id,
        role_id_file=None,
        secret_id_file=None,
        wrapping_path=ORIGIN,
        remove=False,
        socket=IssueStandIn(*tokens),
    )


@pytest.mark.usefixtures("files")
def test_an_issued_secret_id_is_used_until_vault_refuses_it_and_then_another_one_is_requested(bao, transport):
    path = "auth/approle/role/reader/secret-id"
    known = set(bao.ask("LIST", path)["data"]["keys"])
    first = wrap(bao, path)
    [accessor] = set(bao.ask("LIST", path)["data"]["keys"]) - known
    one = issued(bao, first, wrap(bao, path))
    before = one.fingerprint()
    for _ in range(2):
        assert one.login(transport, boot_time).value
    assert len(one._socket.tokens) == 1
    assert one.fingerprint() != before
    bao.ask("POST", f"{path}-accessor/destroy", {"secret_id_accessor": accessor})
    failure = failure_of(one, transport)
    assert (failure.kind, "asks `lessee issue` for a new secret_id" in failure.text) == (Kind.DENIED, True)
    assert one.login(transport, boot_time).value


@pytest.mark.usefixtures("files")
def test_an_issued_token_is_kept_while_vault_does_not_answer(bao, transport):
    one = issued(bao, wrap(bao, "auth/approle/role/reader/secret-id"))
    with Proxy(bao.port) as proxy:
        proxy.fault = Status(503)
        away = Transport(Address(proxy.address))
        assert failure_of(one, away).kind is Kind.UNAVAILABLE
        away.close()
    assert one.login(transport, boot_time).value


@pytest.mark.usefixtures("files")
def test_an_issued_token_that_another_client_has_used_is_a_security_event_and_not_used_again(bao, transport):
    path = "auth/approle/role/reader/secret-id"
    stolen = wrap(bao, path)
    bao.ask("POST", "sys/wrapping/unwrap", token=stolen)
    one = issued(bao, stolen, wrap(bao, path))
    assert failure_of(one, transport).kind is Kind.ALREADY_UNWRAPPED
    assert one.login(transport, boot_time).value


def test_a_token_file_is_read_again_at_each_login(bao, transport, tmp_path):
    file = tmp_path / "token"
    method = TokenLogin(str(file), {})
    accessors = []
    for _ in range(2):
        file.write_text(bao.ask("POST", "auth/token/create", {"ttl": "1h"})["auth"]["client_token"] + "\n")
        accessors.append(method.login(transport, boot_time).token.accessor)
    assert len(set(accessors)) == 2
    file.write_text("")
    assert failure_of(method, transport).text == f"{file} is empty"


def test_only_the_token_of_a_login_is_ours(bao, transport, files):
    given = bao.ask("POST", "auth/token/create", {"ttl": "1h"})["auth"]["client_token"]
    grant = TokenLogin(None, {"VAULT_TOKEN": given}).login(transport, boot_time)
    assert not grant.token.ours
    assert not renew(transport, given, boot_time, ours=False).ours
    assert approle(files).login(transport, boot_time).token.ours


def test_without_a_token_file_the_token_is_from_the_environment(bao, transport):
    token = bao.ask("POST", "auth/token/create", {"ttl": "1h"})["auth"]["client_token"]
    assert TokenLogin(None, {"VAULT_TOKEN": token}).login(transport, boot_time).token.ttl > 3500
    assert "VAULT_TOKEN is not set" in failure_of(TokenLogin(None, {}), transport).text
    invalid = failure_of(TokenLogin(None, {"VAULT_TOKEN": "canary-token"}), transport)
    assert invalid.kind is Kind.FORBIDDEN
    assert invalid.text.startswith("the token in $VAULT_TOKEN is not valid")
    assert "canary" not in invalid.text


def test_a_root_token_never_ends(transport):
    token = TokenLogin(None, {"VAULT_TOKEN": "root-of-a-server-in-memory"}).login(transport, boot_time).token
    assert token.ends_at == float("inf")
