"""nginx reads the templates: the certificate, the users who may log in, and the upstream's key."""

import base64
import re
import shutil
import socket
import ssl
import subprocess
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from cryptography import x509

from lessee.core.errors import FormatError
from lessee.host.openbao import OpenBao, free_port
from support import readmes
from support.inputs.hostile_values import VALUES
from support.models.template_library import HOSTILE, TEMPLATES, written
from support.needs import need
from support.programs.sidecar import Sidecar, eventually

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
FILES = {"tls.crt": {}, "tls.key": {}, "keys.nginx.conf": {}, "htpasswd": {"format": "ini"}, "nginx.conf": {}}
KEY = HOSTILE.replace("\u00fc", "$request_uri")  # Python's server reads headers as Latin-1.
USER = HOSTILE.replace(":", "").replace("=", "")
PASSWORD = "opens"
HASH = "$apr1$lessee$B2NKFlfQJYNz4NMQuqvmO1"  # openssl passwd -apr1 -salt lessee opens

CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# With quotes and the next byte, it fits in nginx's buffer of 4096.
KEYS = [
    value
    for value in VALUES
    if not CONTROL.search(value) and len(re.sub(r'(["\\])', r"\\\1", value).encode()) + 2 < 4096
]
NAMES = [
    value
    for value in VALUES
    if value and value == value.strip() and not re.search("[\n\r\0:=]", value) and not value.startswith(("#", ";", "["))
]


@pytest.fixture(autouse=True)
def nginx():
    need(NGINX, "needs nginx: apt install nginx")


@pytest.fixture
def server(tmp_path):
    """A server with its own CA."""
    with OpenBao(tmp_path) as bao:
        bao.ask("POST", "sys/mounts/pki", {"type": "pki"})
        bao.ask("POST", "pki/root/generate/internal", {"common_name": "test CA", "ttl": "24h"})
        bao.ask("POST", "pki/roles/nginx", {"allow_any_name": True, "ttl": "1h"})
        yield bao


@pytest.fixture
def sidecar(server, tmp_path, memory):
    agent = Sidecar(server.address, tmp_path, memory)
    yield agent
    agent.close()


@pytest.fixture
def upstream():
    """An upstream that returns the path and headers of each request."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = f"{self.path} {self.headers['Authorization']} {self.headers['Cookie']}".encode("latin-1")
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@contextmanager
def running(*arguments):
    process = subprocess.Popen([NGINX, "-g", "daemon off; user root;", "-e", "stderr", *map(str, arguments)])
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def placed(sidecar, port, upstream, ttl):
    """The templates in the test's directory, with a certificate that expires soon."""
    for name, settings in FILES.items():
        text = (TEMPLATES / f"nginx/{name}.j2").read_text().replace('ttl="24h"', f'ttl="{ttl}"')
        text = text.replace("/tmp/", f"{sidecar.disk}/").replace("listen 8443", f"listen 127.0.0.1:{port}")
        text = text.replace("https://openrouter.ai/", f"http://127.0.0.1:{upstream}/")
        sidecar.template(f"{name}.j2", text, **settings)
    sidecar.web.update(
        check=[NGINX, "-t", "-e", "stderr", "-g", "user root;", "-c", "{directory}/nginx.conf"],
        notify={"process": {"cmdline": f"nginx.*{re.escape(str(sidecar.directory))}"}},
        ready={"tls": {"address": f"127.0.0.1:{port}", "certificate": "tls.crt"}},
    )


def serial(port):
    """The serial number of the served certificate, or None if nothing listens."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection(("127.0.0.1", port), 5) as plain,
            context.wrap_socket(plain, server_hostname="www.example.com") as connection,
        ):
            return x509.load_der_x509_certificate(connection.getpeercert(binary_form=True)).serial_number
    except OSError:
        return None


def get_site(port, path, user=None):
    """Status and body."""
    headers = {"Cookie": "a=b"} | authorization(user)
    context = ssl._create_unverified_context()  # noqa: S323  # It is the test's own server.
    request = urllib.request.Request(f"https://127.0.0.1:{port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, context=context, timeout=5) as answer:
            return answer.status, answer.read().decode("latin-1")
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code, ""


@pytest.mark.thorough
def test_nginx_loads_all_changes_at_sighup(server, sidecar, upstream):
    port = free_port()
    server.put("testing/nginx/users", **{USER: HASH})
    server.put("testing/api-keys/openrouter", api_key=KEY)
    placed(sidecar, port, upstream, ttl="8s")
    sidecar.start()
    with running("-c", sidecar.directory / "nginx.conf"):
        first = eventually(lambda: serial(port), "nginx")
        assert get_site(port, "/openrouter/x", USER) == (200, f"/x Bearer {KEY} None")
        assert get_site(port, "/openrouter/x", "[users]")[0] == 401
        assert get_site(port, "/openrouter/x")[0] == 401
        server.put("testing/nginx/users", other=HASH)
        server.put("testing/api-keys/openrouter", api_key="new")
        eventually(lambda: get_site(port, "/openrouter/", "other") == (200, "/ Bearer new None"), "the new key")
        assert get_site(port, "/openrouter/", USER)[0] == 401
        eventually(lambda: serial(port) not in {None, first}, "a new certificate")
        sidecar.until(lambda status: status["apps"]["web"]["state"] == "ready")


def test_nginx_sends_every_hostile_key_that_it_can_read(tmp_path):
    server, http = [], []
    for number, value in enumerate(KEYS):
        http.append(key_of(value).replace("$openrouter_key", f"$key{number}", 1))
        server.append(f"location = /{number} {{ return 200 $key{number}; }}\n")
    for value in set(VALUES) - set(KEYS):
        with pytest.raises(FormatError, match=r"contains a control character|nginx's limit of 4 KB"):
            key_of(value)
    with plain(tmp_path, http, server) as get:
        for number, value in enumerate(KEYS):
            assert get(f"/{number}") == (200, value)


def test_every_hostile_name_that_the_file_can_contain_may_log_in(tmp_path):
    file = tmp_path / "htpasswd"
    file.write_text("".join(users_of(value) for value in NAMES))
    for value in set(VALUES) - set(NAMES):
        with pytest.raises(FormatError, match=r"does not form a valid name of a section or key|a newline or a NUL"):
            users_of(value)
    strangers = "[users", "[users:]", "[users:]\nx", "harmless", f"{NAMES[0]}\n{NAMES[1]}"
    with plain(tmp_path, [], [f"auth_basic x; auth_basic_user_file {file}; location / {{ empty_gif; }}\n"]) as get:
        for value in NAMES:
            assert get("/", value)[0] == 200, value
        for value in (*set(VALUES) - set(NAMES), *strangers):
            assert get("/", value)[0] == 401, value


def key_of(value):
    return written("nginx/keys.nginx.conf.j2", "nginx", {"api-keys/openrouter": {"api_key": value}})


def users_of(name):
    return written("nginx/htpasswd.j2", "ini", {"nginx/users": {name: HASH}})


@contextmanager
def plain(folder, http, server):
    """An nginx without TLS; returns a function that sends requests over one connection."""
    paths = "".join(
        f"{name}_temp_path {folder}/{name}; " for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    http = ["access_log off; keepalive_requests 100000; variables_hash_max_size 8192; ", paths, *http]
    file, address = folder / "nginx.conf", folder / "http"
    server = [f"server {{ listen unix:{address};\n", *server, "}\n"]
    parts = [f"error_log {folder}/log; pid {folder}/pid; events {{}} http {{\n", *http, *server, "}\n"]
    file.write_bytes("".join(parts).encode())
    with running("-c", file):
        # It writes this file when it listens; the socket appears before.
        eventually((folder / "pid").exists, "nginx")
        connection = HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(address))

        def get(path, user=None):
            connection.request("GET", path, headers=authorization(user))
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace")

        yield get
        connection.close()


def authorization(user):
    if user is None:
        return {}
    return {"Authorization": f"Basic {base64.b64encode(f'{user}:{PASSWORD}'.encode()).decode()}"}


def test_the_readme_explains_how_to_use_each_template(tmp_path):
    readmes.check("nginx", tmp_path)
