"""Vite, Next, browsers and nginx read the templates: only public variables reach visitors."""

import json
import re
import shutil
import subprocess
from contextlib import closing, contextmanager
from http.client import HTTPConnection

import pytest

from lessee.core.errors import FormatError
from lessee.host.openbao import free_port
from support import npm, readmes
from support.inputs.env_files import refused
from support.inputs.hostile_values import VALUES
from support.models.template_library import HOSTILE, rendered, use, written
from support.needs import need
from support.programs.sidecar import eventually

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
VITE = {"template": "frontend/vite/.env.production.j2", "format": "dotenv-vite"}
NEXT = {"template": "frontend/next/.env.production.j2", "format": "dotenv-vite"}
ENV_JS = "frontend/env.js.j2"
OPENROUTER = "frontend/openrouter.nginx.conf.j2"
PUBLIC = "p@ss'\"#${HOME} $PATH \\n </script> \u2028ü"
"""All but what an env file of Vite cannot hold."""
CANARY = "canary-5a1e"
CANNOT = re.compile(r"[\x00-\x1f\x7f$]")
VITES = ("vite-7", "vite-8")

# The bundle needs a few globals of a browser.
RUN_BUNDLE = """
globalThis.document = { createElement: () => ({ relList: { supports: () => true } }) };
import(process.argv[1]).then(() => console.log(JSON.stringify(document.title)));
"""
LOAD = """
const fs = require("fs");
const [library, folder] = process.argv.slice(1);
import(library).then((it) => {
  const load = {
    "vite-8": () => it.loadEnv("production", folder),
    "@next/env": () => it.default.loadEnvConfig(folder, false, console, true).parsedEnv,
  }[library];
  const found = JSON.parse(fs.readFileSync(`${folder}/texts`)).map((text) => {
    fs.writeFileSync(`${folder}/.env.production`, text);
    return load();
  });
  fs.writeFileSync(`${folder}/found`, JSON.stringify(found));
});
"""
EVALUATE = """
const fs = require("fs");
const vm = require("vm");
const found = JSON.parse(fs.readFileSync(0)).map((text) => {
  const page = { window: {} };
  vm.runInNewContext(text, page);
  return page;
});
console.log(JSON.stringify(found));
"""
MAIN = """
daemon off; pid {0}/pid; error_log stderr notice; user nobody nogroup; worker_processes 1; events {{}}
http {{
access_log off; include /etc/nginx/mime.types; {1}
server {{ listen unix:{0}/upstream; location / {{
  add_header Authorization $http_authorization; add_header Set-Cookie "session=upstream"; add_header X-Path $uri;
  return 200 "$http_authorization|$http_cookie"; }} }}
{2}
}}
"""
PATHS = " ".join(f"{name}_temp_path {{0}}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))


def secret_of(value):
    names = ("api_url", "ws_url", "app_url", "app_name", "enable_auth", "show_chat_widget")
    return {"frontend/app": dict.fromkeys(names, value)}


def node(script, *arguments, **options):
    packages = npm.packages()
    command = [npm.program(packages, "node"), "-e", script, *map(str, arguments)]
    options = {"cwd": packages, "env": {"HOME": "/home"}, "stdout": subprocess.PIPE} | options
    return subprocess.run(command, check=True, timeout=60, **options).stdout


@pytest.mark.parametrize("vite", VITES)
def test_a_bundle_contains_public_variables_and_no_secret(bao, sidecar, tmp_path, vite):
    packages = npm.packages()
    bao.put("testing/frontend/app", **secret_of(PUBLIC)["frontend/app"], internal_token=CANARY)
    bao.put("testing/api-keys/openai", api_key=CANARY)
    sidecar.web["public_variables"] = ["VITE_API_URL", "VITE_APP_NAME", "VITE_ENABLE_AUTH"]
    app = rendered(sidecar, VITE)
    (app / "index.html").write_text('<script type="module" src="/main.js"></script>\n')
    (app / "main.js").write_text("document.title = import.meta.env;\n")
    command = [npm.program(packages, "node"), packages / "node_modules" / vite / "bin/vite.js", "build"]
    environ = {"HOME": str(tmp_path), "OPENAI_API_KEY": CANARY}
    subprocess.run(command, cwd=app, env=environ, check=True, stdout=subprocess.DEVNULL, timeout=60)
    bundle = next((app / "dist/assets").glob("*.js"))
    assert all(CANARY not in path.read_text() for path in (app / "dist").rglob("*.*"))
    found = json.loads(node(RUN_BUNDLE, bundle))
    built_in = {"BASE_URL": "/", "DEV": False, "MODE": "production", "PROD": True, "SSR": False}
    assert found == built_in | dict.fromkeys(("VITE_API_URL", "VITE_APP_NAME", "VITE_ENABLE_AUTH"), PUBLIC)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("library", "template", "names"),
    [
        ("vite-8", VITE["template"], ["VITE_API_URL", "VITE_APP_NAME", "VITE_ENABLE_AUTH"]),
        (
            "@next/env",
            NEXT["template"],
            [f"NEXT_PUBLIC_{name}" for name in ("API_URL", "WS_URL", "APP_URL", "SHOW_CHAT_WIDGET")],
        ),
    ],
)
def test_a_build_reads_every_hostile_value_that_its_file_can_represent(memory, library, template, names):
    cannot = refused("dotenv-vite")
    values = [value for value in VALUES if value not in cannot]
    texts = [written(template, "dotenv-vite", secret_of(value)) for value in values]
    (memory / "texts").write_text(json.dumps(texts))
    node(LOAD, library, memory)
    found = json.loads((memory / "found").read_bytes())
    assert found == [dict.fromkeys(names, value) for value in values]
    for value in cannot:
        with pytest.raises(FormatError, match=r"carriage return, or needs quotes|contains a NUL"):
            written(template, "dotenv-vite", secret_of(value))


def test_every_hostile_value_is_a_string_in_env_js():
    texts = [written(ENV_JS, "text", secret_of(value)) for value in VALUES]
    found = json.loads(node(EVALUATE, input=json.dumps(texts).encode()))
    for value, page in zip(VALUES, found, strict=True):
        assert page == {"window": {"__ENV__": dict.fromkeys(("API_URL", "APP_NAME", "ENABLE_AUTH"), value)}}


def test_a_boolean_is_a_boolean_in_env_js():
    [page] = json.loads(node(EVALUATE, input=json.dumps([written(ENV_JS, "text", secret_of(value=True))]).encode()))
    assert page["window"]["__ENV__"]["ENABLE_AUTH"] is True


@pytest.fixture
def folder(memory):
    """A folder that nginx's unprivileged workers can enter."""
    need(NGINX, "needs nginx: apt install nginx")
    memory.chmod(0o711)
    (memory / "nginx").mkdir(mode=0o711)
    return memory / "nginx"


@contextmanager
def nginx(folder, http):
    (folder / "nginx.conf").write_text(MAIN.format(folder, PATHS.format(folder), http))
    command = [NGINX, "-c", folder / "nginx.conf", "-e", "stderr"]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stderr=log) as process:
        try:
            # It writes the file when it listens; the sockets appear before.
            eventually(lambda: (folder / "pid").exists() or process.poll() is not None, "nginx")
            assert process.poll() is None, (folder / "log").read_text()
            yield
        finally:
            process.terminate()


def ask(port, path):
    with closing(HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("GET", path, headers={"Cookie": "session=browser", "Authorization": "Bearer browser"})
        answer = connection.getresponse()
        assert answer.status == 200
        return answer.headers, answer.read().decode()


def test_nginx_adds_the_key_which_the_browser_never_receives(bao, sidecar, folder):
    """The configuration of the README, with other paths."""
    port = free_port()
    bao.put("testing/api-keys/openrouter", api_key="first")
    bao.put("testing/frontend/app", **secret_of(HOSTILE)["frontend/app"])
    notify = {"process": {"pid_file": str(folder / "pid")}, "action": "SIGHUP"}
    ready = {"http": f"http://127.0.0.1:{port}/env.js"}
    use(sidecar, ENV_JS, {"template": OPENROUTER, "mode": "0400"}, mode="0444", notify=notify, ready=ready)
    sidecar.start()
    [server] = readmes.blocks("frontend", "nginx")
    for was, becomes in {
        "listen 8080;": f"listen 127.0.0.1:{port};",
        "/run/secrets/frontend": str(sidecar.directory),
        "https://openrouter.ai/": f"http://unix:{folder}/upstream:/",
    }.items():
        assert was in server
        server = server.replace(was, becomes)
    with nginx(folder, server):
        headers, body = ask(port, "/api/openrouter/v1/models")
        assert body == "Bearer first|"
        assert headers["X-Path"] == "/api/v1/models"
        assert not {"Authorization", "Set-Cookie"} & set(headers)
        headers, body = ask(port, "/env.js")
        assert headers["Cache-Control"] == "no-store"
        assert headers["Content-Type"].endswith("javascript; charset=utf-8")
        [page] = json.loads(node(EVALUATE, input=json.dumps([body]).encode()))
        assert page["window"]["__ENV__"]["API_URL"] == HOSTILE
        bao.put("testing/api-keys/openrouter", api_key='second"; } #')
        eventually(lambda: ask(port, "/api/openrouter/")[1] == 'Bearer second"; } #|', "the new key")
        sidecar.until(lambda status: status["apps"]["web"]["state"] == "ready")


def test_nginx_sends_every_hostile_key_except_with_dollars_or_control_characters(folder):
    accepted, locations = [], []
    for value in VALUES:
        try:
            text = written(OPENROUTER, "nginx", {"api-keys/openrouter": {"api_key": value}})
        except FormatError:
            assert CANNOT.search(value) or len(value) > 4000  # nginx's parser has a limit of 4 KB for a word.
            continue
        assert not CANNOT.search(value)
        (folder / f"{len(accepted)}.conf").write_text(text)
        include = f"include {folder}/{len(accepted)}.conf; proxy_pass http://unix:{folder}/upstream:/;"
        locations.append(f"location = /{len(accepted)} {{ {include} }}")
        accepted.append(value)
    port = free_port()
    with nginx(folder, f"server {{ listen 127.0.0.1:{port};\n" + "\n".join(locations) + "\n}"):
        for number, value in enumerate(accepted):
            assert ask(port, f"/{number}")[1] == f"Bearer {value}".strip(" ") + "|"


def test_the_readme_is_valid(tmp_path):
    readmes.check("frontend", tmp_path)
