"""nginx reads the templates of a broker: what reaches an API, and what reaches its client."""

import hashlib
import json
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from lessee.core.errors import FormatError, TemplateError
from support import readmes
from support.models.template_library import TEMPLATES, written
from support.paths import ROOT
from support.programs.sidecar import eventually
from support.servers.api_upstream import Upstream
from support.servers.broker import HOSTS, Broker
from support.servers.certificate_authority import Authority

TOKEN = "client-" + "t" * 30
PREVIOUS = "client-" + "p" * 30
APIS = {
    "openai": ("Authorization", "Bearer ", "/openai/v1/models"),
    "anthropic": ("X-Api-Key", "", "/anthropic/v1/models"),
    "openrouter": ("Authorization", "Bearer ", "/openrouter/api/v1/models"),
    "brave": ("X-Subscription-Token", "", "/brave/res/v1/web/search?q=a%20b"),
    "github": ("Authorization", "Bearer ", "/github/repos/o/r/contents/a/b.txt?ref=x"),
}
HOSTILE = "p@ss/w:rd'\"#{HOME} %(home)s `half ;}\\"


def key_of(api):
    return f"key-of-{api}-{HOSTILE}"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """The file of a CA, and a certificate of it for all APIs."""
    folder = tmp_path_factory.mktemp("authority")
    Authority(folder / "ca.crt").issue(folder / "pair", 9, names=HOSTS)
    return folder


@pytest.fixture(scope="module")
def provider(authority):
    with Upstream(authority / "pair") as upstream:
        yield upstream


@pytest.fixture
def upstream(provider):
    """Without the calls of other tests."""
    provider.calls.clear()
    return provider


def files_of(folder, upstream):
    """The files of all APIs, whose calls reach the upstream."""
    for api in APIS:
        text = written(f"broker/api-{api}.nginx.conf.j2", "nginx", {f"api-keys/{api}": {"api_key": key_of(api)}})
        text = text.replace("https://$broker_host;", f"https://127.0.0.1:{upstream.port};")
        (folder / f"api-{api}.nginx.conf").write_text(text)
    (folder / "clients.nginx.conf").write_text(clients({"app": TOKEN, "app_previous": PREVIOUS, "other": ""}))
    return folder


def clients(tokens):
    return written("broker/clients.nginx.conf.j2", "nginx", {"broker/clients": tokens})


@pytest.fixture(scope="module")
def broker(provider, authority):
    (authority / "files").mkdir()
    with Broker(authority, files_of(authority / "files", provider)) as broker:
        yield broker


@pytest.mark.parametrize("api", APIS)
def test_a_call_has_the_key_of_the_broker_and_nothing_else_of_the_client(broker, upstream, api):
    header, prefix, path = APIS[api]
    hostile = {
        "Cookie": "a=b",
        "Proxy-Authorization": "Basic x",
        "X-Forwarded-For": "10.0.0.1",
        "Connection": "close, Authorization",
        "Accept": "application/json",
        "X-Evil": "1",
        "Upgrade": "websocket",
        "Expect": "",
    }
    status, _, text = broker.call(path, TOKEN, headers=hostile, header=header, prefix=prefix)
    assert (status, json.loads(text)) == (200, {"key": hashlib.sha256(key_of(api).encode("latin-1")).hexdigest()})
    [(_, target, headers, _)] = upstream.calls
    assert target == path.removeprefix(f"/{api}")
    assert dict(headers) == {
        "Host": next(host for host in HOSTS if api in host),
        "Connection": "close",
        header: f"{prefix}{key_of(api)}",
        "Accept": "application/json",
        "User-Agent": "lessee-broker",
    }


def test_a_body_arrives_unchanged(broker, upstream):
    body = json.dumps({"model": "m", "text": "é" * 200_000})
    headers = {"Content-Type": "application/json", "Anthropic-Version": "2023-06-01"}
    assert broker.call("/anthropic/v1/messages", method="POST", body=body.encode(), headers=headers)[0] == 200
    [(method, path, sent, received)] = upstream.calls
    assert (method, path, received.decode()) == ("POST", "/v1/messages", body)
    assert headers.items() <= dict(sent).items()


def test_a_body_that_does_not_end_takes_no_disk(broker, upstream):
    fields = ("Host: x", f"Authorization: Bearer {TOKEN}", "Content-Length: 9000000")
    head = "\r\n".join(("POST /openai/v1/responses HTTP/1.1", *fields, "", ""))
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(str(broker.tokens))
        connection.sendall(head.encode() + b"x" * 8_999_999)
        workers = [descriptor for pid in broker.workers() for descriptor in Path(f"/proc/{pid}/fd").iterdir()]
        assert not [each for each in workers if "client_body" in str(each.readlink())]
        assert upstream.calls == []
    eventually(lambda: upstream.calls, "the end of the call at the API")


@pytest.mark.parametrize(
    ("token", "header", "prefix", "status"),
    [
        (TOKEN, "Authorization", "token ", 200),
        (TOKEN, "X-Api-Key", "", 200),
        (PREVIOUS, "Authorization", "Bearer ", 200),
        ("", "Authorization", "", 401),
        ("wrong" + TOKEN, "Authorization", "Bearer ", 401),
        (TOKEN[:-1], "Authorization", "Bearer ", 401),
        (f"{TOKEN} x", "Authorization", "Bearer ", 401),
        (TOKEN, "Authorization", "Basic ", 401),
        (TOKEN, "X-Token", "", 401),
        (key_of("openai"), "Authorization", "Bearer ", 401),
    ],
)
def test_only_a_client_with_a_token_or_at_the_socket_may_call(broker, upstream, token, header, prefix, status):
    assert broker.call("/openai/v1/models", token, header=header, prefix=prefix)[0] == status
    assert len(upstream.calls) == (status == 200)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/../admin", "/v1/models/../../organization/users", "/v1/models/%2e%2e/x", "/v1/%6dodels", "//v1/models",
        "/v1//models", "/v1/models/", "/v1/models%0a", "/v1/models%00", "/v1/models;x", "/v1/models\\..\\x",
        "/v1/organization/admin_api_keys", "/v1/files", "/v1/chat/completions/x", "/V1/models", "/v1/models/a/b",
        "/v1/./models", "/v1/models/..", "/v1/models/%252e%252e", "", "/",
    ],
)  # fmt: skip
def test_no_other_path_reaches_the_api(broker, upstream, path):
    answer = broker.send(f"GET /openai{path} HTTP/1.0\r\n\r\n".encode())
    assert answer.split(b" ")[1] in {b"400", b"404"}, answer
    assert upstream.calls == []


@pytest.mark.parametrize("method", ["POST", "DELETE", "PUT", "PATCH", "TRACE", "CONNECT", "OPTIONS", "HEAD", "get"])
def test_no_other_method_reaches_the_api(broker, upstream, method):
    assert broker.send(f"{method} /openai/v1/models HTTP/1.0\r\n\r\n".encode()).split(b" ")[1] in {
        b"400",
        b"404",
        b"405",
    }
    assert upstream.calls == []


def test_an_answer_never_has_the_key(broker, upstream):
    for api, (_, _, path) in APIS.items():
        mark = "&" if "?" in path else "?"
        for answer, status in {"echo": 400, "refuse": 502, "redirect": 502, "accel": 200}.items():
            found, headers, text = broker.call(f"{path}{mark}answer={answer}")
            assert found == status
            assert key_of(api) not in text + str(headers)
            assert not {"location", "set-cookie", "authorization"} & {name.lower() for name in headers}
    assert len(upstream.calls) == 4 * len(APIS)


def test_an_answer_streams(broker, upstream):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(60)
        connection.connect(str(broker.socket))
        connection.sendall(b"GET /openai/v1/models?answer=stream HTTP/1.0\r\n\r\n")
        received = b""
        while b"data: 0\n\n" not in received:
            received += connection.recv(65536)
        assert b"data: 1" not in received
        upstream.may_continue.set()
        received += b"".join(iter(lambda: connection.recv(65536), b""))
        assert received.endswith(b"data: 0\n\ndata: 1\n\ndata: 2\n\n")


@pytest.mark.parametrize("names", [("127.0.0.1",), ("localhost", "evil.example")], ids=["other names", "several"])
def test_a_server_with_another_certificate_gets_no_key(authority, tmp_path, names):
    Authority(tmp_path / "ca.crt").issue(tmp_path / "pair", 9, names=names)
    (tmp_path / "files").mkdir()
    with Upstream(tmp_path / "pair") as upstream, Broker(tmp_path, files_of(tmp_path / "files", upstream)) as broker:
        assert broker.call("/openai/v1/models")[0] == 502
        (tmp_path / "ca.crt").write_bytes((authority / "ca.crt").read_bytes())
        assert upstream.calls == []


def test_the_log_has_names_and_paths_and_no_secret(broker):
    before = broker.log.stat().st_size
    for path in (
        "/openai/v1/models?key=secret-1",
        "/secret-2/x",
        "/openai/secret-3?x",
        "/openai/v1/models?answer=echo",
    ):
        broker.call(path, TOKEN, headers={"X-Evil": "secret-4"})
    broker.call("/openai/v1/models", "secret-5")
    broker.call("/openai/v1/chat/completions", method="POST", body=b"secret-6")
    broker.send(b"GET secret-7\r\n\r\n")
    eventually(lambda: broker.log.read_text()[before:].count("\n") == 7, "the line of the last call")
    lines = [json.loads(line) for line in broker.log.read_text()[before:].splitlines()]
    assert {(line["client"], line["api"], line["path"]) for line in lines} == {
        ("app", "openai", "/openai/v1/models"),
        ("app", "", ""),
        ("app", "openai", ""),
        ("", "", ""),
        ("socket", "openai", "/openai/v1/chat/completions"),
    }
    logged = broker.log.read_text() + broker.errors.read_text()
    assert not [word for word in ("secret", TOKEN, key_of("openai")) if word in logged]


def test_each_client_has_a_rate(upstream, authority, tmp_path):
    (tmp_path / "files").mkdir()
    (tmp_path / "ca.crt").write_bytes((authority / "ca.crt").read_bytes())
    with Broker(tmp_path, files_of(tmp_path / "files", upstream), rate="1r/m") as broker:
        found = [broker.call("/openai/v1/models", TOKEN)[0] for _ in range(45)]
        assert found == [200] * 41 + [429] * 4
        assert broker.call("/openai/v1/models")[0] == 200  # another client


def test_a_client_with_many_open_calls_gets_no_more_and_another_one_does(upstream, authority, tmp_path):
    (tmp_path / "files").mkdir()
    (tmp_path / "ca.crt").write_bytes((authority / "ca.crt").read_bytes())
    upstream.may_continue.clear()
    with Broker(tmp_path, files_of(tmp_path / "files", upstream), open_calls=3) as broker, ExitStack() as calls:
        for _ in range(3):
            assert calls.enter_context(broker.open_call("/openai/v1/models?answer=stream", TOKEN)).status == 200
        assert broker.call("/openai/v1/models", TOKEN)[0] == 429
        assert broker.call("/openai/v1/models")[0] == 200
        upstream.may_continue.set()


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\0b", "a\x7fb", "$request_uri", "${host}", "x" * 4096])
def test_a_key_that_could_become_more_than_a_value_is_rejected(value):
    with pytest.raises(FormatError):
        written("broker/api-openai.nginx.conf.j2", "nginx", {"api-keys/openai": {"api_key": value}})


@pytest.mark.parametrize(
    "tokens",
    [
        {"app": "short"},
        {"app": "x" * 201},
        {"app": "~^.*(.............)$"},
        {"app": f"{TOKEN}\n"},
        {"app": f"{TOKEN}😀"},
        {"$request_uri": TOKEN},
        {"app": TOKEN, "other": TOKEN},
    ],
)
def test_a_token_that_would_let_others_in_is_rejected(tokens):
    with pytest.raises((FormatError, TemplateError)):
        clients(tokens)


def test_the_stack_has_the_files_of_the_library():
    for name in ("api-openai.nginx.conf.j2", "api-anthropic.nginx.conf.j2", "clients.nginx.conf.j2"):
        assert (ROOT / "compose/broker/lessee" / name).read_text() == (TEMPLATES / "broker" / name).read_text()
    assert (ROOT / "compose/broker/nginx/nginx.conf").read_text() == (TEMPLATES / "broker/nginx.conf").read_text()


def test_the_readme_explains_how_to_use_each_template(tmp_path):
    readmes.check("broker", tmp_path)
