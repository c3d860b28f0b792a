"""AWS's services as sources, by moto's server in their place, and by servers that attack."""

import json
import socket
import threading
from contextlib import contextmanager, suppress

import pytest

from lessee.config.grammar.sources import ParameterStoreSource, SecretsManagerSource
from lessee.core.failures import Kind
from lessee.sources.aws import reader_of_service
from lessee.sources.reader import ReadError
from support.programs.sidecar import Sidecar
from support.servers.moto_server import KEYS, REGION, Moto


@pytest.fixture(scope="module")
def moto(tmp_path_factory):
    server = Moto(tmp_path_factory.mktemp("moto"))
    yield server
    server.close()


def reader(kind, address, **settings):
    return reader_of_service(kind(region=REGION, endpoint=address, **settings), KEYS)


def failure(reader, path):
    with pytest.raises(ReadError) as caught:
        reader.read(path)
    return caught.value.failure


def test_a_secret_has_the_keys_of_its_json(moto):
    for name, text in (("db", json.dumps({"password": "p", "n": 5})), ("text", "plain"), ("list", "[1]")):
        moto.secrets.create_secret(Name=f"testing/{name}", SecretString=text)
    moto.secrets.create_secret(Name="testing/binary", SecretBinary=b"\xff")
    manager = reader(SecretsManagerSource, moto.address)
    assert manager.read("testing/db") == {"password": "p", "n": 5}
    assert manager.read("testing/text") == {"value": "plain"}
    assert manager.read("testing/list") == {"value": "[1]"}
    assert manager.names("testing/") == ["binary", "db", "list", "text"]
    assert manager.names("") == []
    assert failure(manager, "testing/binary").text == "the secret is binary; store it as text"
    assert failure(manager, "testing/none").kind is Kind.NOT_FOUND
    manager.check()


@pytest.mark.thorough
def test_a_parameter_has_one_key(moto):
    moto.parameters.put_parameter(Name="/testing/key", Value="v", Type="SecureString")
    moto.parameters.put_parameter(Name="top", Value="t", Type="String")
    for number in range(12):  # More than a page.
        moto.parameters.put_parameter(Name=f"/pages/{number}", Value="v", Type="String")
    store = reader(ParameterStoreSource, moto.address)
    assert store.read("testing/key") == {"value": "v"}
    assert store.read("top") == {"value": "t"}
    assert store.names("testing/") == ["key"]
    assert len(store.names("pages/")) == 12
    assert failure(store, "none").kind is Kind.NOT_FOUND


def test_a_file_with_credentials_that_is_gone_is_not_replaced_by_other_credentials(moto, tmp_path):
    file = tmp_path / "credentials"
    store = reader(ParameterStoreSource, moto.address, credentials_file=str(file))
    found = failure(store, "top")
    assert found.kind is Kind.UNAVAILABLE
    assert "AWS's credentials or settings cannot be used (NoCredentialsError)" in found.text
    with pytest.raises(ReadError):
        store.check()
    file.write_text("[default]\naws_access_key_id = AKIAEXAMPLE\naws_secret_access_key = x\n")
    assert failure(store, "none").kind is Kind.NOT_FOUND
    store.check()


@contextmanager
def attacker(answer):
    """A server that answers each request with these pieces."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection, suppress(OSError):
                        connection.recv(1 << 16)
                        for piece in answer():
                            connection.sendall(piece)

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def endless():
    yield b"HTTP/1.1 200 OK\r\n\r\n"
    while True:
        yield b" " * 65536


def refusal(status, kind, text="canary-text"):
    body = json.dumps({"__type": kind, "message": text}).encode()
    head = f"HTTP/1.1 {status} x\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: {len(body)}\r\n\r\n"
    return lambda: [head.encode() + body]


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (endless, Kind.UNAVAILABLE, "does not answer"),
        (lambda: [b"nonsense"], Kind.UNAVAILABLE, "does not answer"),
        (refusal(400, "AccessDeniedException"), Kind.INVALID, "the role needs secretsmanager:GetSecretValue"),
        (refusal(400, "a" * 1000 + "\n"), Kind.INVALID, "refuses it"),
        (refusal(400, "ThrottlingException"), Kind.RATE_LIMITED, "set a longer refresh_interval"),
        (refusal(500, "InternalServiceError"), Kind.PATH_ERROR, "has an error (InternalServiceError)"),
    ],
)
def test_what_a_server_answers_is_bounded_and_its_text_is_not_repeated(answer, kind, text):
    with attacker(answer) as address:
        found = failure(reader(SecretsManagerSource, address), "db")
    assert found.kind is kind
    assert text in found.text
    assert "canary" not in found.text
    assert len(found.text) < 200


def test_a_list_without_an_end_ends(monkeypatch):
    monkeypatch.setattr("lessee.sources.aws.LISTING_TIMEOUT", 0.5)
    body = b'{"SecretList": [], "NextToken": "again"}'
    head = f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with attacker(lambda: [head + body]) as address, pytest.raises(ReadError, match="takes longer than"):
        reader(SecretsManagerSource, address).names("")


def test_an_agent_follows_a_secret_of_aws_through_an_outage(moto, tmp_path, memory):
    moto.secrets.create_secret(Name="testing/app", SecretString=json.dumps({"key": "first-canary"}))
    agent = Sidecar("http://127.0.0.1:1", tmp_path, memory)
    agent.environ |= KEYS
    settings = {"kind": "aws-secrets-manager", "region": REGION, "endpoint": moto.address}
    agent.config["sources"] = {"cloud": settings | {"refresh_interval": "300ms"}}
    agent.template("web.txt.j2", 'key={{ secret("app", source="cloud").key }}\n')
    agent.start()
    try:
        agent.until_file("web.txt", "key=first-canary\n")
        moto.secrets.put_secret_value(SecretId="testing/app", SecretString=json.dumps({"key": "second-canary"}))
        agent.until_file("web.txt", "key=second-canary\n")
        agent.template("stolen.txt.j2", '{{ env("AWS_SECRET_ACCESS_KEY") }}')
        agent.write_config()
        assert agent.command("check").returncode == 65
        log = agent.log.read_text()
        assert "canary" not in log
    finally:
        agent.close()
