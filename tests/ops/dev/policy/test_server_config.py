import json

import pytest

from lessee.ops.dev.policy.server_config import accepts_clients, admin_policy, server_config


def test_every_address_is_loopback_or_a_socket_in_the_folder():
    config = json.loads(server_config("/f", 8200, closed=False))
    unix, tcp = config["listener"][0]["unix"], config["listener"][1]["tcp"]
    assert unix["address"] == "/f/api.sock"
    assert tcp["address"] == "127.0.0.1:8200"
    assert tcp["cluster_address"].startswith("127.0.0.1:")
    assert "tls_disable" not in tcp
    assert "tls_require_and_verify_client_cert" not in tcp
    assert config["seal"]["static"]["current_key"] == "file:///f/seal.key"
    assert config["storage"]["raft"]["path"] == "/f/data"


def test_only_the_socket_makes_root_tokens():
    config = json.loads(server_config("/f", 8200, closed=False))
    assert config["listener"][0]["unix"]["disable_unauthed_generate_root_endpoints"] is False
    assert "disable_unauthed_generate_root_endpoints" not in config["listener"][1]["tcp"]


def test_a_closed_server_wants_a_certificate_that_no_client_has():
    tcp = json.loads(server_config("/f", 8200, closed=True))["listener"][1]["tcp"]
    assert tcp["address"] == "127.0.0.1:0"
    assert tcp["tls_require_and_verify_client_cert"] is True
    assert tcp["tls_client_ca_file"] == "/f/ca.pem"


@pytest.mark.parametrize(("listen", "address"), [("172.17.0.1", "172.17.0.1:8200"), ("fd00::1", "[fd00::1]:8200")])
def test_the_address_for_containers_has_a_listener_with_tls_of_its_own(listen, address):
    _, loopback, other = json.loads(server_config("/f", 8200, closed=False, listen=listen))["listener"]
    assert loopback["tcp"]["address"] == "127.0.0.1:8200"
    assert other["tcp"] == loopback["tcp"] | {"address": address}


def test_only_a_server_that_is_not_closed_accepts_clients():
    assert accepts_clients(server_config("/f", 8200, closed=False, listen="172.17.0.1"))
    assert not accepts_clients(server_config("/f", 8200, closed=True))
    assert not accepts_clients("")


def test_a_closed_server_has_no_address_for_containers():
    assert len(json.loads(server_config("/f", 8200, closed=True, listen="172.17.0.1"))["listener"]) == 2


def test_a_path_with_quotes_stays_one_path():
    assert json.loads(server_config('/a "b"/${c}', 1, closed=False))["storage"]["raft"]["path"] == '/a "b"/${c}/data'


def test_the_token_may_not_seal_rekey_or_make_root_tokens():
    lines = admin_policy().splitlines()
    assert lines[0].startswith('path "*" { capabilities = ["create", "read"')
    denied = [line.split('"')[1] for line in lines[1:] if line.endswith('{ capabilities = ["deny"] }')]
    assert len(denied) == len(lines) - 1
    assert {"sys/seal", "sys/generate-root/*", "sys/rekey/*", "sys/raw/*"} <= set(denied)
