"""`lessee import`: lessee renders the same bytes as Vault Agent, consul-template and the injector."""

import base64
import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from lessee.host.openbao import find_bao
from support.programs.forks import run_lessee

EXAMPLES = Path(__file__).parent / "imported"
NAMES = sorted(folder.name for folder in EXAMPLES.iterdir())
JKS = bytes(range(256)) * 3
SECRETS = {
    "shop/database": {
        "host": "db.shop.internal",
        "port": 5432,
        "username": "shop & co <app>",
        "password": """p"w' $HOME {{ x }} \\n é ü %s""",
        "tls": True,
    },
    "shop/mail": {"user": "mailer", "password": "s3cr#t", "host": "smtp.shop.internal:587"},
    "shop/app": {"version": "1.4.0-beta.2", "debug": False, "workers": 4, "threads": "8", "name-of-shop": "a=b & <c>"},
    "shop/tls": {
        "certificate": "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
        "key": "-----BEGIN PRIVATE KEY-----\nMIIE\n\n-----END PRIVATE KEY-----\n",
    },
    "shop/upstreams": {"hosts": "10.0.0.1, 10.0.0.2 ,web.internal", "api_key": "k-{%1%}", "maxconn": 2000},
    "shop/keystore": {"jks": base64.b64encode(JKS).decode(), "password": "changeit"},
    "shop/redis": {"password": "r3dis"},
    "shop/providers/openrouter": {"api_key": "or-1", "base_url": "https://openrouter.example"},
    "shop/providers/anthropic": {"api_key": "an-1"},
    "shop/providers/Zeta": {"api_key": "z"},
    "staging/payment": {"key": "pk_staging"},
}
POLICY = """
path "secret/*"   { capabilities = ["read", "list"] }
path "legacy/*"   { capabilities = ["read", "list"] }
path "database/*" { capabilities = ["read"] }
path "pki/issue/*" { capabilities = ["update"] }
path "sys/leases/*" { capabilities = ["update"] }
"""
ENVIRON = {"ENVIRONMENT": "staging", "LOG_LEVEL": "info", "HOSTNAME": "shop-1"}
MOUNTS = {"legacy": "kv", "pki": "pki"}


@pytest.fixture(scope="module")
def server(bao, request):
    """A server with all secrets of the examples."""
    for path, fields in SECRETS.items():
        bao.put(path, **fields)
    for path, kind in MOUNTS.items():
        bao.ask("POST", f"sys/mounts/{path}", {"type": kind})
    bao.ask("PUT", "legacy/mysql", {"user": "backup", "password": "old;style", "port": 3306})
    bao.ask("POST", "pki/root/generate/internal", {"common_name": "test CA", "ttl": "240h"})
    bao.ask("POST", "pki/roles/web", {"allow_any_name": True, "ttl": "1h"})
    request.getfixturevalue("postgres").attach(bao, role="shop")
    yield bao
    for path in MOUNTS:  # Other tests use these mounts.
        bao.ask("DELETE", f"sys/mounts/{path}")


class Example:
    """A copy of an example, with its placeholders replaced."""

    def __init__(self, name, server, folder, memory):
        self.folder = folder / "example"
        self.out = memory / "out"
        self.lessee = folder / "lessee"
        self.rendered = folder / "rendered"
        self.environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8", **ENVIRON}
        shutil.copytree(EXAMPLES / name, self.folder)
        values = {"@ADDRESS@": server.address, "@FOLDER@": str(self.folder), "@OUT@": str(self.out)}
        for file in self.folder.iterdir():
            file.write_text(re.sub("@[A-Z]+@", lambda match: values[match[0]], file.read_text()))
        for file, value in zip(("role_id", "secret_id"), server.approle("importing", POLICY), strict=True):
            (self.folder / file).write_text(value)
        (self.folder / "proxy.pid").write_text("4194305")  # Greater than any PID.
        self.address = server.address
        others = [file for file in self.folder.iterdir() if file.name in MAIN]
        self.main = others[0] if others else self.folder / "agent.hcl"

    def run_agent(self):
        """The files that the real agent renders, by name."""
        self.out.mkdir(exist_ok=True)
        configs = [
            file for file in self.folder.iterdir() if file.suffix in {".hcl", ".json"} and file.name != "environ.json"
        ]
        command = [find_bao(), "agent", *(f"-config={file}" for file in sorted(configs))]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environ, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        files = contents(self.out)
        shutil.rmtree(self.out)
        return files

    def command(self, *arguments):
        return run_lessee(*map(str, arguments), cwd=self.folder, env=self.environ)

    def import_(self):
        return self.command("import", self.main, "--output", self.lessee)

    def config(self):
        return yaml.safe_load((self.lessee / "lessee.yaml").read_text())

    def change(self, **keys):
        (self.lessee / "lessee.yaml").write_text(yaml.safe_dump(self.config() | keys, sort_keys=False))

    def log_in_by_approle(self):
        """Replace a login that needs a cluster."""
        files = {f"{name}_file": str(self.folder / name) for name in ("role_id", "secret_id")}
        self.change(vault={"address": self.address, "auth": {"method": "approle", **files}})

    def render(self):
        """The files that lessee renders, by name."""
        done = self.command("render", "--config", self.lessee / "lessee.yaml", "--output", self.rendered)
        assert done.returncode == 0, done.stderr
        return contents(*self.rendered.iterdir())


def contents(*folders):
    """Contents and modes by name; with its subdirectory, if the file is in one."""
    return {
        str(file.relative_to(folder)): (file.read_bytes(), oct(file.stat().st_mode))
        for folder in folders
        for file in folder.rglob("*")
        if file.is_file()
    }


MAIN = {"agent.json", "consul-template.hcl", "deployment.yaml", "pod.yaml", "redis.conf.ctmpl"}
DYNAMIC = {"database", "pki-bundle", "pki-cert"}
MOVED = {"single", "supervisor"}


@pytest.fixture
def example(server, tmp_path, memory):
    return lambda name: Example(name, server, tmp_path, memory)


def without_dynamic_values(content):
    """The content with placeholders for dynamic secrets."""
    text = re.sub(r"-----BEGIN ([A-Z ]+)-----[\w+/=\s]+-----END \1-----", r"<\1>", content.decode())
    text = re.sub(r"v-approle-shop-\w{20}-\d+", "<user>", text)
    return re.sub(r"[\w-]{20}(?=\n|@|\Z)", "<password>", text)


@pytest.mark.thorough(each=6)
@pytest.mark.parametrize("name", [name for name in NAMES if name != "supervisor"])
def test_the_rendered_files_are_those_of_the_agent_byte_for_byte(example, name):
    it = example(name)
    expected = it.run_agent()
    imported = it.import_()
    assert imported.returncode == 0, imported.stderr
    checked = it.command("check", "--config", it.lessee / "lessee.yaml")
    assert checked.returncode == 0, checked.stderr
    directories = {app["directory"] for app in it.config()["apps"].values()}
    assert directories == {str(it.out)} or name in MOVED
    it.log_in_by_approle()
    found = it.render()
    if name in DYNAMIC:
        expected, found = (
            {file: (without_dynamic_values(content), mode) for file, (content, mode) in files.items()}
            for files in (expected, found)
        )
    assert found == expected


@pytest.mark.thorough
def test_the_environment_of_a_child_is_that_of_the_agent(example):
    it = example("supervisor")
    agent = subprocess.run(
        [find_bao(), "agent", f"-config={it.main}"],
        cwd=it.folder,
        env=it.environ,
        capture_output=True,
        timeout=60,
        check=False,
    )
    expected = json.loads((it.folder / "environ.json").read_text())
    (it.folder / "environ.json").unlink()
    imported = it.import_()
    assert imported.returncode == 0, (imported.stderr, agent.stdout)
    [command] = re.findall(r"start the program with `lessee (.*)`; it gets", imported.stderr)
    words = shlex.split(command)
    apps = it.config()["apps"]
    apps["python3"]["directory"] = str(it.out / "app")
    it.change(state_dir=str(it.out / "state"), apps=apps)
    done = it.command("exec", "--config", it.lessee / "lessee.yaml", *words[1:])
    assert done.returncode == 0, done.stderr
    found = json.loads((it.folder / "environ.json").read_text())
    names = ("DB_USER", "DB_URL", "MOTD")
    assert {name: found.get(name) for name in names} == {name: expected[name] for name in names}


def test_without_an_output_directory_the_files_are_printed(example):
    it = example("env-file")
    done = it.command("import", it.main)
    assert done.returncode == 0
    before, config, template = re.split(r"^==> (?:.*) <==\n", done.stdout, flags=re.MULTILINE)
    assert before == ""
    assert yaml.safe_load(config)["vault"]["address"] == it.address
    assert template.startswith('DATABASE_HOST={{ secret("shop/database").host }}\n')


def test_what_an_import_cannot_carry_over_is_not_published_without_it(example):
    it = example("env-file")
    source = f'template {{\n source = "/nowhere/b.ctmpl"\n destination = "{it.out}/b.txt"\n}}\n'
    it.main.write_text(it.main.read_text() + source)
    imported = it.import_()
    assert imported.returncode == 65
    assert "template.source: the template /nowhere/b.ctmpl cannot be found" in imported.stderr
    it.log_in_by_approle()
    config = ("--config", it.lessee / "lessee.yaml")
    checked = it.command("check", *config)
    assert checked.returncode == 65
    assert "b.txt.j2:1: `lessee import` left a call of fail() here" in checked.stderr
    rendered = it.command("render", *config, "--output", it.rendered)
    assert rendered.returncode != 0
    assert "TODO lessee import: the template /nowhere/b.ctmpl cannot be found" in rendered.stderr
    assert not list(it.rendered.glob("*/*"))
    (it.lessee / "b.txt.j2").write_text("done")
    assert it.command("check", *config).returncode == 0
    assert it.render()["b.txt"][0] == b"done"


def test_an_output_directory_with_files_is_unchanged(example):
    it = example("env-file")
    it.lessee.mkdir()
    assert it.import_().returncode == 0
    before = {file: file.read_bytes() for file in it.lessee.iterdir()}
    again = it.import_()
    assert again.returncode == 73
    assert "the output directory is not empty" in again.stderr
    assert {file: file.read_bytes() for file in it.lessee.iterdir()} == before
    (it.folder / "file").touch()
    assert it.command("import", it.main, "--output", it.folder / "file").returncode == 73


@pytest.mark.parametrize(
    ("name", "content", "code", "error"),
    [
        ("agent.hcl", b'a = "\n', 78, "agent.hcl:1: a string is not closed"),
        ("agent.json", b"{", 78, "agent.json:1: this is not JSON"),
        ("pod.yaml", b"a: [", 78, "pod.yaml:2: invalid YAML"),
        ("a.ctmpl", b"\n{{ if }}", 65, "a.ctmpl:2: expected a value"),
        ("a.ctmpl", b"{{ timestamp }}", 65, "a.ctmpl:1: timestamp returns another time"),
        ("a.ctmpl", b"\xff", 78, "the file is not UTF-8 text"),
        ("agent.hcl", b"vault {}", 64, "has no templates"),
        (
            "agent.hcl",
            b'template {\n source = "%s"\n destination = "/run/a/b"\n}' % (b"x" * 5000),
            65,
            "agent.hcl:2: template.source: the template xxx",
        ),
        ("agent.json", b'{"template": {"contents": "\\ud800", "destination": "/run/a/b"}}', 0, ""),
        (".", None, 78, "Is a directory"),
        ("nowhere.hcl", None, 78, "the file does not exist"),
    ],
)
def test_an_invalid_file_is_reported_with_its_line_and_no_traceback(tmp_path, name, content, code, error):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    done = run_lessee("import", name, cwd=tmp_path, env={"PATH": os.environ["PATH"]})
    assert done.returncode == code, done.stderr
    assert error in done.stderr
    assert "Traceback" not in done.stderr
