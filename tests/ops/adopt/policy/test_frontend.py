"""Public variables of a frontend are an allow-list, and keys that a browser would get move behind nginx."""

import itertools
import shutil
import socket
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.request import urlopen

import pytest

from lessee.ops.adopt.policy.classification import classified
from lessee.ops.adopt.policy.env_config import EnvApp, config_of, new_config
from lessee.ops.adopt.policy.env_rendering import rendered_file
from lessee.ops.adopt.policy.frontend import plan_frontends
from lessee.ops.adopt.policy.model import Image, Origin, Project, Service, Source, Span, Use
from lessee.ops.adopt.policy.providers import KNOWN
from lessee.ops.adopt.policy.upstreams import UPSTREAMS
from lessee.ops.scan.policy.classifier import Verdict
from support.needs import need
from support.programs.sidecar import eventually

KEY = "sk-or-v1-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
OTHER = "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"

PLACES = itertools.count()


def use(name, value, service="web", line=3):
    at = next(PLACES)
    return Use(service, name, value, (Source(Origin.COMPOSE, name, Span("compose.yaml", line, at, at + 1)),))


def project(*uses, **services):
    found = {"web": Service("web", Image("web")), **{name: Service(name, image) for name, image in services.items()}}
    return classified(Project("p", ".", ("compose.yaml",), found, uses))


def test_public_variables_stay_where_they_are():
    found = project(
        use("VITE_API_URL", "https://api.example.org"),
        use("build.args.NEXT_PUBLIC_APP_NAME", "shop"),
        use("PUBLIC_STRIPE_PUBLISHABLE_KEY", "pk_test_0123456789abcdef01234567"),
        use("VITE_EMPTY", ""),
        use("labels.VITE_X", "y"),
        use("OPENROUTER_API_KEY", KEY, "api"),
    )
    plan = plan_frontends(found)
    assert (plan.project, plan.keys, plan.steps, plan.files, plan.templates) == (found, (), (), {}, {})


def test_a_key_of_a_known_provider_moves_behind_nginx():
    plan = plan_frontends(
        project(
            use("build.args.VITE_OPENROUTER_API_KEY", KEY, line=7),
            use("VITE_OPENROUTER_API_KEY", KEY),
            use("VITE_OPENROUTER_API_KEY", OTHER, "admin"),
        )
    )
    assert {one.verdict for one in plan.project.uses} == {Verdict.PUBLIC}
    [key] = plan.keys
    assert (key.stored.path, key.stored.field, key.stored.value) == ("api-keys/openrouter", "api_key", KEY)
    assert key.services == ("web",)
    assert key.stored.uses == (("web", "build.args.VITE_OPENROUTER_API_KEY"), ("web", "VITE_OPENROUTER_API_KEY"))
    step, other = plan.steps
    assert (step.where, other.where) == ("web.VITE_OPENROUTER_API_KEY", "admin.VITE_OPENROUTER_API_KEY")
    assert "the download of every visitor (compose.yaml:7, compose.yaml:3)" in step.what
    assert "add `include lessee/frontend/openrouter.location.conf;` to the server block of your nginx" in step.todo
    assert "send its requests to /api/openrouter/ in place of https://openrouter.ai/" in step.todo
    assert KEY not in f"{step}{plan.files}{plan.templates}"
    assert "proxy_pass https://openrouter.ai/;" in plan.files["lessee/frontend/openrouter.location.conf"]


def test_a_key_of_another_provider_is_left_to_a_person():
    plan = plan_frontends(project(Use("web", "REACT_APP_MYTHING_SECRET_KEY", "q8Zr2Kx9Lm4Tn7Vb5Wc3Yd6Hf1Jg0Ps", ())))
    assert plan.keys == ()
    [step] = plan.steps
    assert step.where == "web.REACT_APP_MYTHING_SECRET_KEY"
    assert "(" not in step.what
    assert "let a server of yours send these requests and add the key" in step.todo


@pytest.mark.parametrize(
    ("services", "server"),
    [
        ({}, "your nginx"),
        ({"proxy": Image("nginx:1.27")}, "nginx in proxy"),
        ({"a": Image("nginx"), "b": Image("x", entrypoint=(), command=("nginx", "-g"))}, "your nginx"),
        ({"web": Image("my/nginx"), "b": Image("nginx")}, "nginx in web"),
    ],
)
def test_the_step_names_the_nginx_of_the_site(services, server):
    found = project(use("VITE_OPENROUTER_API_KEY", KEY), **services)
    assert f"to the server block of {server}, let" in plan_frontends(found).steps[0].todo


def test_each_upstream_is_a_known_provider():
    assert UPSTREAMS.keys() <= KNOWN.keys()


class _Upstream(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Authorization", "leaked back")
        self.end_headers()
        self.wfile.write(f"{self.path} {self.headers['Authorization']} {self.headers['Cookie']}".encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def upstream():
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Upstream)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def test_a_real_nginx_adds_the_key_and_the_browser_gets_nothing_of_it(tmp_path, upstream):
    need(shutil.which("nginx"), "needs nginx (Debian: apt-get install nginx)")
    plan = plan_frontends(project(use("VITE_OPENROUTER_API_KEY", KEY)))
    [key] = plan.keys
    config = config_of(
        new_config("testing", None, EnvApp("web", "t", "openrouter.nginx.conf", "nginx")), "f", "web", {}
    )
    included = tmp_path / "openrouter.nginx.conf"
    included.write_text(rendered_file(config, plan.templates[key.template], [key.stored]))
    [location] = plan.files.values()
    location = location.replace(key.file, str(included)).replace(
        "https://openrouter.ai/", f"http://127.0.0.1:{upstream}/"
    )
    port = free_port()
    (tmp_path / "nginx.conf").write_text(
        f"daemon off; pid {tmp_path}/pid; error_log stderr; master_process off; events {{}}\n"
        f"http {{ access_log off; {temporary(tmp_path)} server {{ listen 127.0.0.1:{port};\n{location}}} }}\n"
    )
    command = ["nginx", "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")]
    subprocess.run([*command, "-t"], check=True, capture_output=True, timeout=60)
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: is_open(port), "nginx listens")
        answer = urlopen(f"http://127.0.0.1:{port}/api/openrouter/v1/models", timeout=30)
        assert answer.read().decode() == f"/v1/models Bearer {KEY} None"
        assert answer.headers["Authorization"] is None
    finally:
        process.terminate()
        process.wait(30)


def is_open(port):
    with socket.socket() as found:
        return found.connect_ex(("127.0.0.1", port)) == 0


def temporary(folder):
    names = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    return " ".join(f"{name}_temp_path {folder}/{name};" for name in names)
