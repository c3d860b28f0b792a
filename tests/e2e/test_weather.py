"""Vault goes and comes back; the app has its files all the while."""

import pytest

from lessee.host.openbao import OpenBao
from sidecar import Sidecar


@pytest.fixture
def server(tmp_path):
    """A server of the test's own, to be broken."""
    with OpenBao(tmp_path) as bao:
        yield bao


@pytest.fixture
def sidecar(server, tmp_path, memory):
    agent = Sidecar(server.address, tmp_path, memory)
    yield agent
    agent.close()


def test_vault_dies_and_comes_back_empty_and_is_filled_again(server, sidecar):
    server.put("testing/db", password="first")
    sidecar.template("app.env.j2", 'PASSWORD={{ secret("db").password }}\n')
    sidecar.start()

    server.stop()
    status = sidecar.until(lambda s: not s["vault"]["reachable"])
    assert (status["ready"], status["vault"]["next_try"] is not None) == (True, True)
    assert any("vault cannot be reached" in line for line in status["problems"])
    assert (sidecar.directory / "app.env").read_text() == "PASSWORD='first'\n"

    server.start()  # empty: the secret is gone, but the old file stays
    status = sidecar.until(lambda s: s["vault"]["reachable"] and s["apps"]["web"]["secrets"][0]["error"])
    assert not status["fresh"]
    assert (sidecar.directory / "app.env").read_text() == "PASSWORD='first'\n"

    server.put("testing/db", password="second")
    sidecar.command("refresh")  # or it would be found within a minute
    sidecar.until_file("app.env", "PASSWORD='second'\n")
    sidecar.until(lambda s: s["fresh"] and not s["problems"])


def test_a_revoked_token_is_replaced_and_the_files_are_fresh_again(server, sidecar):
    server.put("testing/db", password="first")
    sidecar.log_in_by_approle(server, 'path "secret/*" { capabilities = ["read", "list"] }')
    sidecar.template("app.env.j2", 'PASSWORD={{ secret("db").password }}\n')
    sidecar.start()
    accessor = sidecar.status()["token"]["accessor"]
    server.ask("POST", "auth/token/revoke-accessor", {"accessor": accessor})
    server.put("testing/db", password="second")
    sidecar.until_file("app.env", "PASSWORD='second'\n")
    status = sidecar.until(lambda s: s["fresh"])
    assert status["token"]["accessor"] != accessor
    assert status["totals"]["logins"] == 2


def test_a_policy_without_metadata_rights_costs_data_reads_and_is_as_fresh(server, sidecar):
    server.put("testing/db", password="first")
    sidecar.log_in_by_approle(server, 'path "secret/data/testing/*" { capabilities = ["read"] }')
    sidecar.template("app.env.j2", 'PASSWORD={{ secret("db").password }}\n')
    sidecar.start()
    status = sidecar.until(lambda s: set(s["vault"]["polling"].values()) == {"data"})
    assert status["problems"] == []
    server.put("testing/db", password="second")
    sidecar.until_file("app.env", "PASSWORD='second'\n")


def test_a_folder_of_secrets_is_one_list_a_round_and_takes_up_new_ones(server, sidecar):
    for name in ("a", "b"):
        server.put(f"testing/keys/{name}", key=name)
    sidecar.template("keys.json.j2", '{{ secrets("keys/") }}\n')
    sidecar.start()
    sidecar.until_file("keys.json", '{"a":{"key":"a"},"b":{"key":"b"}}\n')
    assert sidecar.status()["vault"]["polling"] == {"secret/testing/keys/": "list"}
    server.put("testing/keys/c", key="c")
    server.ask("DELETE", "secret/metadata/testing/keys/a")
    sidecar.until_file("keys.json", '{"b":{"key":"b"},"c":{"key":"c"}}\n')


def test_kv_version_one_is_read_and_followed(server, sidecar):
    server.ask("POST", "sys/mounts/old", {"type": "kv", "options": {"version": "1"}})
    server.ask("POST", "old/testing/db", {"password": "first"})
    sidecar.config["secrets"] = {"mount": "old"}
    sidecar.template("app.env.j2", 'PASSWORD={{ secret("db").password }}\n')
    sidecar.start()
    sidecar.until_file("app.env", "PASSWORD='first'\n")
    server.ask("POST", "old/testing/db", {"password": "second"})
    sidecar.until_file("app.env", "PASSWORD='second'\n")
