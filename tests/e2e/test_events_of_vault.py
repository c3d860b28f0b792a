"""Vault Enterprise sends change events; on other servers the agent polls as without events.

The server is a real OpenBao; its event stream is a substitute for the licensed server's
(tests/support/servers/vault_event_stream.py).
"""

import ssl
from contextlib import closing
from http import HTTPStatus
from itertools import chain, cycle, repeat
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from support.programs.sidecar import Sidecar, eventually, pass_by
from support.servers.certificate_authority import Authority
from support.servers.vault_event_stream import Enterprise, frame

FORKED_AGENTS = True
RULES = 'path "secret/*" { capabilities = ["read", "list"] }'
MOST_MEMORY = 120
"""MiB of a sidecar."""
PAGE = 'VALUE={{{{ secret("{0}/one").value }}}}\n'


@pytest.fixture
def enterprise(bao):
    with Enterprise(urlsplit(bao.address).port) as server:
        yield server


@pytest.fixture
def listening(bao, enterprise, tmp_path, memory, folder):
    """An agent of one secret that polls once an hour, unless an event arrives."""
    agent = Sidecar(enterprise.address, tmp_path, memory)
    bao.put(f"testing/{folder}/one", value="first")
    agent.template("one.env.j2", PAGE.format(folder))
    agent.web["refresh_interval"] = "1h"
    agent.config["events"] = {"vault": "auto", "poll_interval": "1h"}
    yield agent
    agent.close()


STALLS = {
    # RFC 6455, section 5.2: the first byte has FIN and the opcode, the second the length.
    "a frame that never ends": lambda: chain([b"\x81\x7e\xff\xff"], cycle((b"x", 1.5))),
    "a message of ever more fragments": lambda: chain([b"\x01\x01x"], cycle((b"\x00\x01x", 1.5))),
    "a flood of empty fragments": lambda: chain([b"\x01\x00"], repeat(b"\x00\x00" * 1000)),
    "a flood of a message without an end": lambda: chain([b"\x01\x01x"], repeat(b"\x00\x7e\xff\xff" + b"x" * 65535)),
}
"""What holds back the events that follow, by name."""


def is_live(status):
    return status["events"]["live"]


def poll_often(bao, agent):
    """With a token of its own, so that it soon finds that the token has been revoked."""
    agent.log_in_by_approle(bao, RULES)
    agent.web["refresh_interval"] = agent.config["events"]["poll_interval"] = "1s"


def requests(agent):
    return agent.status()["totals"]["requests"]


def test_an_event_of_a_write_causes_one_read(bao, enterprise, listening, folder):
    listening.start()
    status = listening.until(is_live)
    assert status["events"]["source"] == f"{enterprise.address} (sys/events)"
    assert not status["problems"]
    before = requests(listening)
    bao.put(f"testing/{folder}/one", value="second")
    enterprise.send(frame(f"data/testing/{folder}/one"))
    listening.until_file("one.env", "VALUE='second'\n")
    assert requests(listening) == before + 1
    assert listening.status()["events"]["last_at"]
    (token,) = enterprise.tokens
    assert token not in listening.log.read_text()


def test_garbage_and_foreign_paths_cause_no_read_and_a_forged_event_one(enterprise, listening, folder):
    listening.start()
    listening.until(is_live)
    before = requests(listening)
    enterprise.send(
        "{", "null", "[" * 5000, b"\xff\xfe", '{"data": {"event": 7}}', "x" * 100_000,
        frame(f"data/testing/{folder}/other"),
        frame(f"data/testing/{folder}/one", mount="elsewhere"),
        frame(f"metadata/testing/{folder}/one", "metadata-write"),
        frame("config", "config-write"),
        frame(f"data/testing/{folder}/one"),
    )  # fmt: skip
    eventually(lambda: requests(listening) > before, "the read")
    pass_by(1)
    assert requests(listening) == before + 1
    assert is_live(listening.status())
    assert (listening.directory / "one.env").read_text() == "VALUE='first'\n"


def test_a_server_without_an_event_stream_is_polled_and_that_is_no_problem(bao, sidecar, folder):
    bao.put(f"testing/{folder}/one", value="first")
    sidecar.template("one.env.j2", PAGE.format(folder))
    sidecar.config["events"] = {"vault": "auto", "poll_interval": "1h"}
    sidecar.start()
    eventually(lambda: "event source unavailable" in sidecar.log.read_text(), "the line")
    bao.put(f"testing/{folder}/one", value="second")
    sidecar.until_file("one.env", "VALUE='second'\n")
    status = sidecar.status()
    assert not status["events"]["live"]
    assert not status["problems"]
    lines = [line for line in sidecar.log.read_text().splitlines() if "event source unavailable" in line]
    assert len([line for line in lines if "has no event stream" in line]) == 1
    assert not any("warning" in line.lower() for line in lines)


@pytest.mark.thorough
def test_a_server_without_an_event_stream_gets_one_request_per_token(bao, enterprise, listening):
    enterprise.away = HTTPStatus.NOT_FOUND
    poll_often(bao, listening)
    listening.start()
    eventually(lambda: enterprise.requests, "the question")
    pass_by(3)
    (first,) = enterprise.requests
    bao.ask("POST", "auth/token/revoke", {"token": first.headers["X-Vault-Token"]})
    enterprise.away = None
    listening.until(is_live)
    assert enterprise.requests[-1].headers["X-Vault-Token"] != first.headers["X-Vault-Token"]


def test_a_broken_stream_is_opened_again_and_missed_changes_are_found(bao, enterprise, listening, folder):
    listening.web["refresh_interval"] = "500ms"
    listening.start()
    listening.until(is_live)
    enterprise.away = HTTPStatus.SERVICE_UNAVAILABLE
    enterprise.cut()
    listening.until(lambda s: any("event source not connected" in line for line in s["problems"]))
    bao.put(f"testing/{folder}/one", value="missed")
    listening.until_file("one.env", "VALUE='missed'\n")
    enterprise.away = None
    listening.until(is_live)
    bao.put(f"testing/{folder}/one", value="third")
    enterprise.send(frame(f"data/testing/{folder}/one"))
    listening.until_file("one.env", "VALUE='third'\n")


@pytest.mark.thorough
@pytest.mark.parametrize("stall", STALLS)
def test_a_stream_that_stalls_in_a_message_is_replaced_and_changes_are_found_meanwhile(
    bao, enterprise, listening, folder, stall
):
    listening.web["refresh_interval"] = "500ms"
    listening.start()
    listening.until(is_live)
    bao.put(f"testing/{folder}/one", value="second")
    enterprise.send(frame(f"data/testing/{folder}/one"))
    listening.until_file("one.env", "VALUE='second'\n")
    enterprise.drip(STALLS[stall]())
    bao.put(f"testing/{folder}/one", value="held back")
    listening.until_file("one.env", "VALUE='held back'\n")
    eventually(lambda: len(enterprise.requests) > 1, "another stream")
    listening.until(is_live)
    bao.put(f"testing/{folder}/one", value="third")
    enterprise.send(frame(f"data/testing/{folder}/one"))
    listening.until_file("one.env", "VALUE='third'\n")
    status = Path(f"/proc/{listening.pid}/status").read_text()
    (peak,) = [int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM:")]
    assert peak <= MOST_MEMORY


def test_the_stream_is_opened_again_with_each_new_token(bao, enterprise, listening, folder):
    poll_often(bao, listening)
    listening.start()
    listening.until(is_live)
    (first,) = enterprise.tokens
    bao.ask("POST", "auth/token/revoke", {"token": first})
    eventually(lambda: enterprise.tokens and enterprise.tokens[-1] != first, "another token")
    listening.until(is_live)
    bao.put(f"testing/{folder}/one", value="second")
    enterprise.send(frame(f"data/testing/{folder}/one"))
    listening.until_file("one.env", "VALUE='second'\n")


def test_the_stream_uses_the_tls_settings_of_other_requests(bao, tmp_path, memory, folder):
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
            "tls_server_name": "localhost",
            "client_cert_file": client,
            "client_key_file": client,
        }
        agent.template("one.env.j2", PAGE.format(folder))
        agent.web["refresh_interval"] = "1h"
        agent.config["events"] = {"vault": "auto", "poll_interval": "1h"}
        agent.start()
        agent.until(is_live)
        bao.put(f"testing/{folder}/one", value="second")
        server.send(frame(f"data/testing/{folder}/one"))
        agent.until_file("one.env", "VALUE='second'\n")


def test_the_printed_policy_grants_the_stream(listening, folder):
    listening.write_config()
    text = listening.command("check", "--policy").stdout
    assert 'path "sys/events/subscribe/kv*" {\n  capabilities = ["read"]\n}' in text
    rule = '  capabilities = ["list", "read", "subscribe"]\n  subscribe_event_types = ["kv*"]\n'
    assert f'path "secret/data/testing/{folder}/one" {{\n{rule}}}' in text
