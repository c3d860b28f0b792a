"""npm and pip read the templates: they authenticate at a registry with the credentials from Vault."""

import base64
import os
import shutil
import subprocess
import sys

import pytest
from pip._internal.configuration import Configuration
from pip._internal.utils.misc import split_auth_netloc_from_url

from lessee.core.errors import FormatError, TemplateError
from lessee.host.openbao import OpenBao
from support import readmes
from support.inputs.hostile_values import VALUES
from support.models.template_library import HOSTILE, NUMBERS, rendered, use, written
from support.needs import need
from support.servers.https_receiver import ANSWER, enable_authority, receiving

NPMRC = "npm/.npmrc.j2"
PIP = {"template": "pip/pip.conf.j2", "format": "ini"}
TOKEN = "npm_aZ09-._~+/=="  # All characters that a bearer token may contain (RFC 6750).
PASSWORDS = (HOSTILE, "x\nscript-shell=/tmp/evil.sh", " both\t", "\"';#", "${HOME}", "é😀\u2028:")


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    with OpenBao(tmp_path_factory.mktemp("authority")) as bao:
        enable_authority(bao)
        yield bao


@pytest.fixture
def registry(authority, tmp_path):
    with receiving(authority, tmp_path) as server:
        yield server


def basic(username, password):
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


def environ_of(registry, folder):
    trusting = {"npm_config_cafile": str(registry.authority), "PIP_CERT": str(registry.authority)}
    calm = {
        "npm_config_fetch_retries": "0",
        "npm_config_update_notifier": "false",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    return {"PATH": os.environ["PATH"], "HOME": str(folder), **trusting, **calm}


def npm(command, environ):
    need(shutil.which("npm"), "needs npm: apt install nodejs npm")
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_npm_sends_the_token(bao, sidecar, registry, tmp_path):
    bao.put("testing/registry/npm", host=f"{registry.host}/npm", token=TOKEN)
    config = rendered(sidecar, NPMRC) / ".npmrc"
    user = npm(["npm", "whoami"], environ_of(registry, tmp_path) | {"npm_config_userconfig": str(config)})
    assert user.strip() == ANSWER["username"]
    assert ("/npm/-/whoami", f"Bearer {TOKEN}", None) in registry.requests


@pytest.mark.thorough(each=2)
@pytest.mark.parametrize("password", PASSWORDS)
def test_npm_sends_any_user_and_password(registry, tmp_path, password):
    secret = {"host": registry.host, "username": "user", "password": password}
    config = tmp_path / ".npmrc"
    config.write_text(written(NPMRC, "text", {"registry/npm": secret}))
    npm(["npm", "ping"], environ_of(registry, tmp_path) | {"npm_config_userconfig": str(config)})
    assert ("/-/ping", basic("user", password), None) in registry.requests


def test_npm_sends_numbers_and_booleans(registry, tmp_path):
    config = tmp_path / ".npmrc"
    environ = environ_of(registry, tmp_path) | {"npm_config_userconfig": str(config)}
    for value, text in NUMBERS.items():
        for secret, shown in (
            ({"username": value, "password": value}, basic(text, text)),
            ({"token": value}, f"Bearer {text}"),
        ):
            config.write_text(written(NPMRC, "text", {"registry/npm": {"host": registry.host, **secret}}))
            npm(["npm", "ping"], environ)
            assert registry.requests.pop() == ("/-/ping", shown, None)


def test_a_user_with_a_colon_cannot_be_in_npmrc():
    secret = {"host": "r.example.com", "username": "a:b", "password": "x"}
    with pytest.raises(TemplateError, match="registry/npm: the username contains a :"):
        written(NPMRC, "text", {"registry/npm": secret})


def test_npm_sends_a_token_from_the_environment_of_exec(bao, sidecar, registry, tmp_path):
    token = "any.{$}\"';#\\ token"
    bao.put("testing/registry/npm", token=token)
    config = tmp_path / "npmrc"
    config.write_text(f"registry=https://{registry.host}/\n//{registry.host}/:_authToken=${{NPM_TOKEN}}\n")
    use(sidecar, env_template="npm/npm.env.j2")
    del sidecar.web["files"]
    sidecar.write_config()
    environ = environ_of(registry, tmp_path) | {"npm_config_userconfig": str(config)}
    done = sidecar.command("exec", "--app", "web", "--", "npm", "whoami", env=environ)
    assert done.stdout.strip() == ANSWER["username"], done.stderr
    assert ("/-/whoami", f"Bearer {token}", None) in registry.requests


def test_an_invalid_token_or_host_cannot_be_in_npmrc():
    for value in VALUES:
        for secret in ({"host": "r.example.com", "token": value}, {"host": value, "token": "x"}):
            if all(char.isascii() and (char.isalnum() or char in "-._~+/=:") for char in value):
                text = written(NPMRC, "text", {"registry/npm": secret})
                assert text.endswith(f"\n//{secret['host']}/:_authToken={secret['token']}\n\n")
                continue
            with pytest.raises(TemplateError, match="registry/npm: host and token may contain only letters"):
                written(NPMRC, "text", {"registry/npm": secret})


@pytest.mark.thorough
def test_pip_sends_any_user_and_password_of_ascii(bao, sidecar, registry, tmp_path):
    # pip encodes other characters as Latin-1.
    for number, password in enumerate(filter(str.isascii, (*PASSWORDS, HOSTILE.replace("ü", "")))):
        host, username = f"{registry.host}/r{number}", password.replace(":", "")
        bao.put("testing/registry/pypi", host=host, username=username, password=password)
        config = rendered(sidecar, PIP) / "pip.conf"
        command = [sys.executable, "-m", "pip", "download", "--no-input", "--dest", tmp_path, "no-such-package"]
        environ = environ_of(registry, tmp_path) | {"PIP_CONFIG_FILE": str(config)}
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=60)
        shown = (f"/r{number}/simple/no-such-package/", basic(username, password), None)
        assert registry.requests == [shown], done.stderr
        registry.requests.clear()


def test_pip_reads_every_hostile_password(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    for value in VALUES:
        secret = {"host": "r.example.com:8443/python", "username": "user", "password": value}
        (tmp_path / "pip.conf").write_text(written(PIP["template"], "ini", {"registry/pypi": secret}))
        configuration = Configuration(isolated=False)
        configuration.load()
        url, _, login = split_auth_netloc_from_url(configuration.get_value("global.index-url"))
        assert (url, login) == ("https://r.example.com:8443/python/simple/", ("user", value))


def test_a_host_of_several_lines_cannot_be_in_pip_conf():
    secret = {"host": "r.example.com\n[install]\ntrusted-host=*", "username": "user", "password": "x"}
    with pytest.raises(FormatError, match="contains a newline"):
        written(PIP["template"], "ini", {"registry/pypi": secret})


@pytest.mark.parametrize("folder", ["npm", "pip"])
def test_the_readme_names_every_template_and_its_configurations_are_right(folder, tmp_path):
    readmes.check(folder, tmp_path)
