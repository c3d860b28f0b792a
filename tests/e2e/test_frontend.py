"""Builds of real frontends contain no secret, and lessee reports whatever would put one there."""

import base64
import gzip
import json
import os
import subprocess
from pathlib import Path
from urllib.parse import quote

import brotli
import pytest
from backports import zstd

from support import npm

CANARY = "canary-\"5a1e/7c+9'ü>k"
"""Every encoding changes this value."""
PLAIN = "canary-2b7f0d94c6e1"
URL = "https://api.example.org/v1"
PUBLIC = ["VITE_API_URL", "VITE_APP_NAME", "VITE_ENABLE_AUTH"]
MAIN = """\
const values = [import.meta.env.VITE_API_URL, import.meta.env.VITE_OPENAI_API_KEY, import.meta.env.OPENAI_API_KEY];
document.title = values.join(" ");
"""
WEBPACK = """\
const [webpack, source, output] = process.argv.slice(1);
const { webpack: build, DefinePlugin } = require(webpack);
// Like react-scripts: only variables with this prefix.
const names = Object.keys(process.env).filter((name) => name.startsWith("REACT_APP_"));
const values = Object.fromEntries(names.map((name) => [`process.env.${name}`, JSON.stringify(process.env[name])]));
build(
  {
    mode: "production", devtool: "source-map", context: source, entry: "./main.js",
    output: { path: output }, plugins: [new DefinePlugin(values)],
  },
  (error, stats) => process.exit(error || stats.hasErrors() ? 1 : 0),
);
"""


@pytest.fixture
def site(bao, sidecar, folder, tmp_path):
    """A sidecar whose app `web` is a build. Its environment has public variables and a private key."""
    bao.put(f"testing/{folder}/app", api_url=URL, app_name="Simba", enable_auth="true", pin="1234")
    bao.put(f"testing/{folder}/openai", api_key=CANARY)
    bao.put(f"testing/{folder}/plain", api_key=PLAIN)
    sidecar.config["secrets"] = {"prefix": f"testing/{folder}/"}
    (tmp_path / "web.env.j2").write_text(
        '{% set app = secret("app") %}VITE_API_URL={{ app.api_url }}\nVITE_APP_NAME={{ app.app_name }}\n'
        'VITE_ENABLE_AUTH={{ app.enable_auth }}\nOPENAI_API_KEY={{ secret("openai").api_key }}\n'
    )
    del sidecar.web["files"]
    sidecar.web.update(env_template="web.env.j2", public_variables=PUBLIC)
    sidecar.write_config()
    (tmp_path / "src").mkdir()
    (tmp_path / "src/index.html").write_text('<script type="module" src="/main.js"></script>\n')
    (tmp_path / "src/main.js").write_text(MAIN)
    return sidecar


def build(site, *options, env=None):
    """`vite build` with the environment that lessee renders."""
    packages = npm.packages()
    vite = [npm.program(packages, "node"), str(packages / "node_modules/vite-7/bin/vite.js"), "build", "src", *options]
    return site.command("exec", "--once", "--app", "web", "--", *vite, env=env, timeout=60)


def check_dist(site, *arguments, env=None):
    """Run `check --dist`; returns its exit code and its findings."""
    done = site.command("check", "--format", "json", "--dist", *arguments, env=env)
    found = json.loads(done.stdout)
    assert CANARY not in done.stdout + done.stderr
    assert PLAIN not in done.stdout + done.stderr
    return done.returncode, [(one["rule"], Path(one["file"]).name, one["line"], one["message"]) for one in found]


def test_a_build_contains_only_public_variables(site):
    done = build(site, "--sourcemap")
    assert done.returncode == 0, done.stderr
    [bundle] = (site.disk / "src/dist/assets").glob("*.js")
    assert URL in bundle.read_text()
    assert check_dist(site, "src/dist") == (0, [])
    done = site.command("check", "--dist", "src/dist")
    assert done.stdout.startswith(
        "3 files (0.0 MiB) searched for 2 values of 3 secrets; not searched for: 1 shorter than 8 characters, 2 named"
    )
    assert "leased credentials" in done.stdout


@pytest.mark.parametrize("command", [("render", "--output", "out"), ("exec", "--once", "--app", "web", "--", "true")])
def test_a_secret_in_a_public_variable_is_rejected_before_the_build(site, command):
    with (site.disk / "web.env.j2").open("a") as template:
        template.write('VITE_OPENAI_API_KEY={{ secret("openai").api_key }}\n')
    site.web["files"] = [{"template": "web.env.j2", "name": ".env.production", "format": "dotenv-vite"}]
    site.write_config()
    for arguments in (("check",), command):
        done = site.command(*arguments)
        assert done.returncode == 65
        assert "VITE_OPENAI_API_KEY takes openai: api_key" in done.stderr
        assert CANARY not in done.stderr
    assert not (site.disk / "out").exists()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("env.js", 'window.__ENV = {"NEXT_PUBLIC_KEY": {{ secret("openai").api_key | json }}};\n'),
        ("env.js", 'window.__ENV = {{ {"NEXT_PUBLIC_KEY": secret("openai").api_key} | json }};\n'),
        ("config.json", '{"NEXT_PUBLIC_KEY": {{ secret("openai").api_key }}}\n'),
    ],
)
def test_a_secret_in_a_public_variable_is_rejected_in_a_file_for_browsers(site, name, text):
    (site.disk / f"{name}.j2").write_text(text)
    site.web["files"] = [{"template": f"{name}.j2"}]
    site.write_config()
    for arguments in (("check",), ("render", "--output", "out")):
        done = site.command(*arguments)
        assert done.returncode == 65
        assert f"{name}.j2:1: NEXT_PUBLIC_" in done.stderr
        assert CANARY not in done.stderr
    site.web["public_variables"] = [*PUBLIC, "NEXT_PUBLIC_KEY"]
    site.write_config()
    assert site.command("check").returncode == 0


def test_a_key_in_public_variables_is_accepted_with_a_warning(site):
    with (site.disk / "web.env.j2").open("a") as template:
        template.write('VITE_OPENAI_API_KEY={{ secret("openai").api_key }}\n')
    site.web["public_variables"] = [*PUBLIC, "VITE_OPENAI_API_KEY"]
    site.write_config()
    done = site.command("check")
    assert done.returncode == 0
    assert "warning: VITE_OPENAI_API_KEY is listed as public and has secret/testing/" in done.stderr
    assert build(site).returncode == 0
    assert check_dist(site, "src/dist")[0] == 0


def test_a_secret_from_another_source_is_found_in_the_build(site):
    """lessee did not provide the variable, so only the output reveals it."""
    done = build(site, "--sourcemap", "inline", env={"VITE_OPENAI_API_KEY": CANARY})
    assert done.returncode == 0, done.stderr
    code, found = check_dist(site, "src/dist")
    assert code == 65
    assert {(rule, name.rpartition(".")[2]) for rule, name, _, _ in found} == {("secret-in-dist", "js")}
    assert all(f"{site.config['secrets']['prefix']}openai: api_key, " in message for _, _, _, message in found)


@pytest.mark.thorough
def test_a_secret_is_found_in_a_webpack_bundle_and_its_map(site, tmp_path):
    """Create React App builds with webpack and DefinePlugin."""
    (tmp_path / "src/main.js").write_text("document.title = process.env.REACT_APP_KEY + process.env.REACT_APP_URL;\n")
    (tmp_path / "web.env.j2").write_text(
        'REACT_APP_URL={{ secret("app").api_url }}\nAPI_KEY={{ secret("plain").api_key }}\n'
    )
    site.web["public_variables"] = ["REACT_APP_URL"]
    site.write_config()
    packages = npm.packages()
    command = [npm.program(packages, "node"), "-e", WEBPACK, str(packages / "node_modules/webpack")]
    arguments = ("exec", "--once", "--app", "web", "--", *command, str(tmp_path / "src"), str(tmp_path / "src/dist"))
    assert site.command(*arguments, timeout=60).returncode == 0
    assert URL in (tmp_path / "src/dist/main.js").read_text()
    assert check_dist(site, "src/dist") == (0, [])
    assert site.command(*arguments, env={"REACT_APP_KEY": PLAIN}, timeout=60).returncode == 0
    code, found = check_dist(site, "src/dist")
    assert code == 65
    assert {name for _, name, _, _ in found} == {"main.js"}


PLANTED = {
    "raw.js": (lambda raw: b"\n\nx" + raw, "as it is, at byte 3", 3),
    "json.js": (lambda raw: json.dumps({"k": raw.decode()}).encode(), "as JSON, at byte 7", 1),
    "b64-0.js": (base64.b64encode, "in base64, at byte 0", 1),
    "b64-1.js": (lambda raw: base64.b64encode(b"a" + raw), "in base64, at byte 2", 1),
    "b64-2.js": (lambda raw: base64.b64encode(b"ab" + raw + b"c"), "in base64, at byte 3", 1),
    "url64.js": (lambda raw: b"??" + base64.urlsafe_b64encode(raw + b">>>???"), "in base64url, at byte 2", 1),
    "url.html": (lambda raw: f"?key={quote(raw, safe='')}".encode(), "as a URL, at byte 5", 1),
    "hex.css": (lambda raw: raw.hex().encode(), "in hex, at byte 0", 1),
    "HEX.css": (lambda raw: raw.hex().upper().encode(), "in hex, at byte 0", 1),
    "x.js.gz": (lambda raw: gzip.compress(b"ab" + raw), "as it is, at byte 2 of its uncompressed content", None),
    "x.js.br": (lambda raw: brotli.compress(b"abc" + raw), "as it is, at byte 3 of its uncompressed content", None),
    "x.js.zst": (lambda raw: zstd.compress(b"abcd" + raw), "as it is, at byte 4 of its uncompressed content", None),
    "x.map": (
        lambda raw: zstd.compress(b"a") + zstd.compress(raw),
        "as it is, at byte 1 of its uncompressed content",
        None,
    ),
    "x.js.map": (
        lambda raw: b"//# sourceMappingURL=data:;base64," + base64.b64encode(json.dumps(["é", raw.decode()]).encode()),
        "in base64, at byte ",
        1,
    ),
}


def test_a_canary_is_found_in_every_encoding(site):
    dist = site.disk / "dist"
    dist.mkdir()
    for name, (write, _, _) in PLANTED.items():
        (dist / name).write_bytes(write(CANARY.encode()))
    code, found = check_dist(site, "dist")
    assert code == 65
    path = f"secret/{site.config['secrets']['prefix']}openai: api_key"
    assert {name for _, name, _, _ in found} == PLANTED.keys()
    for name, (_, encoding, at) in PLANTED.items():
        expected = f"it contains the value of {path}, {encoding}"
        messages = [(line, message) for _, file, line, message in found if file == name]
        assert any(line == at and message.startswith(expected) for line, message in messages), messages


def test_a_canary_is_found_across_the_chunks_of_a_large_file(site):
    dist = site.disk / "dist"
    dist.mkdir()
    for at in (2**20 - 10, 2**20, 3 * 2**20 - 3):
        content = b"\n" * at + PLAIN.encode() + b"." * 2**20
        for suffix, pack in {"js": bytes, "gz": gzip.compress, "br": brotli.compress, "zst": zstd.compress}.items():
            (dist / f"{at}.{suffix}").write_bytes(pack(content))
    code, found = check_dist(site, "dist")
    assert code == 65
    # Zstandard does not encode unrepeated text, so the compressed file contains it too.
    found = [one for one in found if one[1].endswith("js") or one[3].endswith("of its uncompressed content")]
    assert len(found) == 12
    for _, name, line, message in found:
        at, suffix = name.split(".")
        assert f"plain: api_key, as it is, at byte {at}" in message
        assert line == (int(at) + 1 if suffix == "js" else None)


def test_a_file_that_cannot_be_searched_fails_the_check(site, tmp_path):
    dist = tmp_path / "dist"
    dist.mkdir()
    assert check_dist(site, "dist")[1][0][3] == "it has no files"
    (dist / "a.gz").write_bytes(gzip.compress(os.urandom(1000))[:-20])
    (dist / "b.br").write_bytes(b"no brotli")
    (dist / "c.zst").write_bytes(b"no Zstandard")
    (dist / "d").write_bytes(zstd.compress(os.urandom(1000))[:-20])
    (tmp_path / "outside.js").write_text(PLAIN)
    (dist / "link.js").symlink_to(tmp_path / "outside.js")
    (dist / "loop").symlink_to(dist)
    code, found = check_dist(site, "dist")
    assert code == 65
    assert [(rule, name) for rule, name, _, _ in found] == [
        ("dist-unreadable", "a.gz"), ("dist-unreadable", "b.br"), ("dist-unreadable", "c.zst"),
        ("dist-unreadable", "d"), ("secret-in-dist", "link.js"),
    ]  # fmt: skip


def test_a_value_in_the_name_of_a_file_is_found_and_not_repeated(site):
    (site.disk / "dist" / PLAIN / "x").mkdir(parents=True)
    (site.disk / "dist" / f"a.{PLAIN}.js").write_text(PLAIN)
    (site.disk / "dist" / PLAIN / "x/broken.gz").write_bytes(gzip.compress(b"x")[:-2])
    code, found = check_dist(site, "dist")
    assert code == 65
    assert {name for _, name, _, _ in found} == {"dist"}
    messages = sorted(message for _, _, _, message in found)
    assert [message.partition(": ")[0] for message in messages] == [
        "a file whose name contains a secret",
        "a file whose name contains a secret",
        "the name of a file in it contains the value of secret/" + site.config["secrets"]["prefix"] + "plain",
    ]


def test_control_characters_in_a_file_name_are_escaped(site):
    (site.disk / "dist").mkdir()
    for name in (b"a\n::error::x", b"\xff.js", "\u202e.js".encode()):
        Path(os.fsdecode(os.fsencode(site.disk) + b"/dist/" + name)).write_text(PLAIN)
    code, found = check_dist(site, "dist")
    assert code == 65
    assert {name for _, name, _, _ in found} == {"a\\n::error::x", "\\udcff.js", "\\u202e.js"}
    for form in ("text", "sarif", "github", "gitlab"):
        done = site.command("check", "--format", form, "--dist", "dist")
        assert done.returncode == 65
        assert not any(line.startswith("::error::x") for line in (done.stdout + done.stderr).splitlines())
        assert "Traceback" not in done.stderr


def test_a_single_file_can_be_searched(site):
    """Such as a rendered `env.js`."""
    (site.disk / "env.js").write_text(f"window.__ENV__ = {json.dumps({'KEY': PLAIN})};")
    code, found = check_dist(site, "env.js")
    assert code == 65
    assert [(rule, name) for rule, name, _, _ in found] == [("secret-in-dist", "env.js")]
    assert check_dist(site, "nowhere")[1][0][3] == "not found"


def test_a_token_without_access_to_all_secrets_gets_a_warning_or_error(site, bao, folder):
    (site.disk / "dist").mkdir()
    (site.disk / "dist/x.js").write_text("1")
    for name, policy, code, levels in (
        ("some", f'path "secret/data/testing/{folder}/openai" {{ capabilities = ["read"] }}', 0, ["warning"] * 2),
        ("plain", f'path "secret/data/testing/{folder}/app" {{ capabilities = ["read"] }}', 65, ["error"]),
        ("none", 'path "nowhere/x" { capabilities = ["read"] }', 77, []),
    ):
        bao.ask("PUT", f"sys/policies/acl/{folder}-{name}", {"policy": policy})
        token = bao.ask("POST", "auth/token/create", {"policies": [f"{folder}-{name}"]})["auth"]["client_token"]
        done = site.command("check", "--format", "json", "--dist", "dist", env={"VAULT_TOKEN": token})
        assert done.returncode == code, done.stderr
        found = json.loads(done.stdout or "[]")
        assert [(one["rule"], one["level"]) for one in found] == [("dist-incomplete", level) for level in levels]


def test_without_vault_the_check_fails(site):
    (site.disk / "dist").mkdir()
    site.config["vault"] = {"address": "http://127.0.0.1:1"}
    site.write_config()
    done = site.command("check", "--dist", "dist")
    assert done.returncode == 69
    assert subprocess.list2cmdline([CANARY]) not in done.stderr
