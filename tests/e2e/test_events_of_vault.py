"""Vault Enterprise tells of a change itself; where the server cannot, the agent looks as without events.

The server is a real OpenBao; its event stream is a stand-in for the licensed server's
(tests/support/servers/vault_event_stream.py).
"""

import ssl
from contextlib import closing
from http import HTTPStatus
from urllib.parse import urlsplit

import pytest

from support.programs.sidecar import Sidecar, eventually, pass_by
from support.servers.certificate_authority import Authority
from support.servers.vault_event_stream import Enterprise, frame

RULES = 'path "secret/*" { capabilities = ["read", "list"] }'
PAGE = 'VALUE={{{{ secret("{0}/one").value }}}}\n'


@pytest.fixture
def enterprise(bao):
    with Enterprise(urlsplit(bao.address).port) as server:
        yield server


@pytest.fixture
def hears(bao, enterprise, tmp_path, memory, folder):
    """An agent of one secret that looks only once an hour, unless it is told."""
    agent = Sidecar(enterprise.address, tmp_path, memory)
    bao.put(f"testing/{folder}/one", value="first")
    agent.template("one.env.j2", PAGE.format(folder))
    agent.web["refresh"] = "1h"
    agent.config["events"] = {"vault": "auto", "poll": "1h"}
    yield agent
    agent.close()


def is_live(status):
    return status["events"]["live"]


def looks_often(bao, agent):
    """With a token of its own, so that it soon finds that this one is no more."""
    agent.log_in_by_approle(bao, RULES)
    agent.web["refresh"] = agent.config["events"]["poll"] = "1s"


def requests(agent):
    return agent.status()["totals"]["requests"]


def test_a_write_is_told_and_costs_one_read(bao, enterprise, hears, folder):
    hears.start()
    status = hears.until(is_live)
    assert status["events"]["source"] == f"{enterprise.address} (sys/events)"
    assert not status["problems"]
    before = requests(hears)
    bao.put(f"testing/{folder}/one", value="second")
    enterprise.tell(frame(f"data/testing/{folder}/one"))
    hears.until_file("one.env", "VALUE='second'\n")
    assert requests(hears) == before + 1
    assert hears.status()["events"]["last_at"]
    (token,) = enterprise.tokens
    assert token not in hears.log.read_text()


def test_rubbish_and_strangers_paths_cost_nothing_and_a_forged_event_one_read(enterprise, hears, folder):
    hears.start()
    hears.until(is_live)
    before = requests(hears)
    enterprise.tell(
        "{", "null", "[" * 5000, b"\xff\xfe", '{"data": {"event": 7}}', "x" * 100_000,
        frame(f"data/testing/{folder}/other"),
        frame(f"data/testing/{folder}/one", mount="elsewhere"),
        frame(f"metadata/testing/{folder}/one", "metadata-write"),
        frame("config", "config-write"),
        frame(f"data/testing/{folder}/one"),
    )  # fmt: skip
    eventually(lambda: requests(hears) > before, "the read")
    pass_by(1)
    assert requests(hears) == before + 1
    assert is_live(hears.status())
    assert (hears.directory / "one.env").read_text() == "VALUE='first'\n"


def test_a_server_without_an_event_stream_is_looked_at_within_refresh_and_that_is_no_problem(bao, sidecar, folder):
    bao.put(f"testing/{folder}/one", value="first")
    sidecar.template("one.env.j2", PAGE.format(folder))
    sidecar.config["events"] = {"vault": "auto", "poll": "1h"}
    sidecar.start()
    eventually(lambda: "events are not heard" in sidecar.log.read_text(), "the line")
    bao.put(f"testing/{folder}/one", value="second")
    sidecar.until_file("one.env", "VALUE='second'\n")
    status = sidecar.status()
    assert not status["events"]["live"]
    assert not status["problems"]
    lines = [line for line in sidecar.log.read_text().splitlines() if "events are not heard" in line]
    assert len([line for line in lines if "has no event stream" in line]) == 1
    assert not any("warning" in line.lower() for line in lines)


def test_a_server_that_has_none_is_asked_once_for_each_token(bao, enterprise, hears):
    enterprise.away = HTTPStatus.NOT_FOUND
    looks_often(bao, hears)
    hears.start()
    eventually(lambda: enterprise.requests, "the question")
    pass_by(3)
    (first,) = enterprise.requests
    bao.ask("POST", "auth/token/revoke", {"token": first.headers["X-Vault-Token"]})
    enterprise.away = None
    hears.until(is_live)
    assert enterprise.requests[-1].headers["X-Vault-Token"] != first.headers["X-Vault-Token"]


def test_a_stream_that_breaks_is_opened_anew_and_what_was_missed_is_found(bao, enterprise, hears, folder):
    hears.web["refresh"] = "500ms"
    hears.start()
    hears.until(is_live)
    enterprise.away = HTTPStatus.SERVICE_UNAVAILABLE
    enterprise.cut()
    hears.until(lambda s: any("changes are not told" in line for line in s["problems"]))
    bao.put(f"testing/{folder}/one", value="missed")
    hears.until_file("one.env", "VALUE='missed'\n")
    enterprise.away = None
    hears.until(is_live)
    bao.put(f"testing/{folder}/one", value="told")
    enterprise.tell(frame(f"data/testing/{folder}/one"))
    hears.until_file("one.env", "VALUE='told'\n")


def test_the_stream_is_opened_anew_with_each_new_token(bao, enterprise, hears, folder):
    looks_often(bao, hears)
    hears.start()
    hears.until(is_live)
    (first,) = enterprise.tokens
    bao.ask("POST", "auth/token/revoke", {"token": first})
    eventually(lambda: enterprise.tokens and enterprise.tokens[-1] != first, "another token", patience=90)
    hears.until(is_live)
    bao.put(f"testing/{folder}/one", value="second")
    enterprise.tell(frame(f"data/testing/{folder}/one"))
    hears.until_file("one.env", "VALUE='second'\n")


def test_the_stream_takes_the_tls_of_the_other_requests(bao, tmp_path, memory, folder):
    authority = Authority(tmp_path / "ca.pem")
    authority.issue(tmp_path / "server.pem", 30)
    Authority(tmp_path / "clients.pem").issue(tmp_path / "client.pem", 30)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "server.pem")
    tls.load_verify_locations(tmp_path / "clients.pem")
    tls.verify_mode = ssl.CERT_REQUIRED
    bao.put(f"testing/{folder}/one", value="first")
    with Enterprise(urlsplit(bao.address).port, tls) as server, closing(Sidecar("", tmp_path, memory)) as agent:
        client = str(tmp_path / "client.pem")
        agent.config["vault"] = {
            "address": server.address,
            "ca_file": str(tmp_path / "ca.pem"),
            "server_name": "localhost",
            "client_cert_file": client,
            "client_key_file": client,
        }
        agent.template("one.env.j2", PAGE.format(folder))
        agent.web["refresh"] = "1h"
        agent.config["events"] = {"vault": "auto", "poll": "1h"}
        agent.start()
        agent.until(is_live)
        bao.put(f"testing/{folder}/one", value="second")
        server.tell(frame(f"data/testing/{folder}/one"))
        agent.until_file("one.env", "VALUE='second'\n")


def test_the_policy_that_is_printed_grants_the_stream(hears, folder):
    hears.write_config()
    text = hears.command("check", "--policy").stdout
    assert 'path "sys/events/subscribe/kv*" {\n  capabilities = ["read"]\n}' in text
    rule = '  capabilities = ["list", "read", "subscribe"]\n  subscribe_event_types = ["kv*"]\n'
    assert f'path "secret/data/testing/{folder}/one" {{\n{rule}}}' in text
