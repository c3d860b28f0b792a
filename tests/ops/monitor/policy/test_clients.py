"""The clients that log in with a role and read, from the audit log alone."""

import json

import pytest
from msgspec import ValidationError

from lessee.ops.monitor.policy import clients as module
from lessee.ops.monitor.policy.access import Access
from lessee.ops.monitor.policy.clients import FORGET_AFTER, SILENT_AFTER, Clients

AT, TIMESTAMP, LATER = 1_790_000_000.0, "2026-09-21T14:13:20.000+00:00", "2026-09-21T14:14:20.000+00:00"
WEB = "production-web at 10.0.0.1"


def access(path, operation="read", *, at=AT, version=None, **fields):
    settings = {
        "role": "production-web", "address": "10.0.0.1", "error": None, "namespace": "", "id": "id", "type": "kv",
    } | fields  # fmt: skip
    mount = "auth/approle" if path.startswith("auth/approle") else path.partition("/")[0]
    return Access(
        at, settings["id"], operation, path, mount, settings["type"], settings["namespace"], settings["address"], "",
        "", settings["role"], "", (), root=False, error=settings["error"], denied=False, version=version,
        server="vault",
    )  # fmt: skip


def login(**fields):
    return access("auth/approle/login", "update", type="approle", **fields)


def read(path="production/db", version=1, **fields):
    return access(f"secret/data/{path}", version=version, **fields)


def write(path="production/db", version=2, **fields):
    return access(f"secret/data/{path}", "update", version=version, role="", **fields)


def rows(*accesses, environments=("testing", "production"), now=AT + 100):
    clients = Clients(environments)
    for one in accesses:
        clients.take(one)
    return {name: row for _, name, row in clients.rows(now)}


def test_a_role_that_logs_in_and_reads_is_listed_with_its_last_login_read_and_version():
    [(name, row)] = rows(login(), read(version=3, at=AT + 60)).items()
    assert name == WEB
    assert (row["component"], row["address"], row["environment"]) == ("production-web", "10.0.0.1", "production")
    assert (row["logged_in_at"], row["last_read_at"], row["last_seen_at"]) == (TIMESTAMP, LATER, LATER)
    assert row["last_read"] == {"path": "secret/production/db", "version": 3}
    assert (row["state"], row["fresh"], row["outdated"]) == ("fresh", True, [])


def test_a_role_at_another_address_is_another_client():
    assert list(rows(read(), read(address="10.0.0.2"))) == [WEB, "production-web at 10.0.0.2"]


def test_a_client_whose_login_the_log_does_not_have_is_listed_without_it():
    assert rows(read())[WEB]["logged_in_at"] is None


@pytest.mark.parametrize(
    "others",
    [
        (login(),),
        (read(role=""),),
        (read(error="permission denied"), login(error="invalid role or secret ID")),
        (access("auth/token/renew-self", "update", type="token"),),
        (access("secret/metadata/production/db"),),
        (read(role="production-rotator"), read(role="Production-Monitor"), read(role="testing-monitor")),
    ],
)
def test_what_reads_nothing_has_no_role_or_is_a_service_of_lessee_is_not_listed(others):
    assert rows(*others) == {}


def test_a_newer_version_makes_it_outdated_until_it_reads_that():
    before = [read(), read("production/other", version=7), write(at=AT + 60)]
    row = rows(*before)[WEB]
    assert (row["state"], row["fresh"]) == ("not_fresh", False)
    assert row["outdated"] == [{"path": "secret/production/db", "version": 1, "newest": 2, "since": LATER}]
    assert rows(*before, read(version=2, at=AT + 61))[WEB]["state"] == "fresh"


def test_metadata_shows_a_newer_version_too():
    polled = access("secret/metadata/production/db", version=2, role="other")
    assert rows(read(), polled)[WEB]["fresh"] is False


def test_answers_out_of_order_do_not_hide_that_a_client_is_outdated():
    assert rows(read(), write(at=AT + 1), read(at=AT + 2))[WEB]["fresh"] is False
    assert rows(read(version=2), read(at=AT + 1))[WEB]["fresh"] is True


def test_a_client_that_asks_for_an_old_version_is_not_outdated():
    row = rows(read(), write(), read(at=AT + 60))[WEB]
    assert (row["state"], row["fresh"], row["outdated"]) == ("not_watched", None, [])


def test_a_secret_whose_metadata_are_deleted_begins_with_version_1_again():
    deleted = access("secret/metadata/production/db", "delete", role="")
    assert rows(read(version=9), deleted)[WEB]["fresh"] is None
    assert rows(read(version=9), deleted, read(), write())[WEB]["outdated"][0]["newest"] == 2


def test_it_is_unknown_whether_a_client_of_secrets_without_versions_is_fresh():
    row = rows(access("database/creds/web", type="database"))[WEB]
    assert (row["state"], row["fresh"]) == ("not_watched", None)
    assert row["last_read"] == {"path": "database/creds/web", "version": None}


def test_a_client_without_a_request_for_hours_is_silent():
    assert rows(read(), now=AT + SILENT_AFTER)[WEB]["state"] == "silent"
    renewed = access("auth/token/renew-self", "update", type="token", at=AT + 60)
    assert rows(read(), renewed, now=AT + SILENT_AFTER)[WEB]["state"] == "fresh"


def test_the_last_requests_about_its_token_name_it():
    renewals = [access("auth/token/renew-self", "update", type="token", id=f"renewal-{n}") for n in range(3)]
    assert rows(login(id="login"), read())[WEB]["token_requests"] == ["login"]
    assert rows(login(id="login"), read(), *renewals)[WEB]["token_requests"] == [f"renewal-{n}" for n in range(3)]


@pytest.mark.parametrize(
    ("fields", "environment"),
    [
        ({}, "production"),
        ({"role": "PRODUCTION-web"}, "production"),
        ({"role": "web"}, None),
        ({"namespace": "team"}, "team/production"),
        ({"namespace": "team", "role": "web"}, "team"),
    ],
)
def test_a_role_belongs_to_the_environment_whose_name_it_begins_with(fields, environment):
    assert [row["environment"] for row in rows(read(**fields)).values()] == [environment]


def test_clients_are_bounded_and_the_one_that_was_not_seen_for_longest_is_forgotten(monkeypatch):
    monkeypatch.setattr(module, "MAX_CLIENTS", 2)
    clients = Clients()
    for number in range(3):
        clients.take(read(f"production/{number}", at=AT + number, address=str(number)))
    assert [name[-1] for _, name, _ in clients.rows(AT)] == ["1", "2"]
    assert list(clients.state()["newest"]) == ["secret/production/1", "secret/production/2"]


def test_secrets_are_bounded_and_a_client_with_too_many_is_not_called_fresh(monkeypatch):
    monkeypatch.setattr(module, "MAX_PATHS_OF_CLIENT", 2)
    many = [read(f"production/{number}") for number in range(3)]
    assert rows(*many[:2])[WEB]["fresh"] is True
    assert rows(*many)[WEB]["fresh"] is None
    assert rows(*many, write("production/1"))[WEB]["fresh"] is False
    monkeypatch.setattr(module, "MAX_PATHS", 1)
    assert rows(*many[:1])[WEB]["fresh"] is True
    assert rows(*many[:2])[WEB]["fresh"] is None


def test_a_client_that_is_gone_for_a_week_is_forgotten():
    clients = Clients()
    clients.take(read())
    clients.take(read("production/other", address="10.0.0.2", at=AT + 60))
    clients.prune(AT + FORGET_AFTER - 1)
    assert len(list(clients.rows(AT))) == 2
    clients.prune(AT + FORGET_AFTER)
    assert [name for _, name, _ in clients.rows(AT)] == ["production-web at 10.0.0.2"]
    assert list(clients.state()["newest"]) == ["secret/production/other"]


def test_a_restart_forgets_no_client():
    before, after = Clients(), Clients()
    for one in (login(), read(), read("production/other"), write()):
        before.take(one)
    after.restore(json.loads(json.dumps(before.state())))
    assert list(after.rows(AT)) == list(before.rows(AT))
    with pytest.raises(ValidationError):
        after.restore({"clients": 7})


def test_a_secret_of_which_no_newest_version_is_known_is_not_outdated():
    clients = Clients()
    clients.take(read())
    clients.restore(clients.state() | {"newest": {}})
    assert [row["outdated"] for _, _, row in clients.rows(AT)] == [[]]
