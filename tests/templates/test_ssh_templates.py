"""OpenSSH reads the templates: it logs in to a real server, and a hostile name is unchanged or rejected."""

import getpass
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from lessee.core.errors import TemplateError
from lessee.host.openbao import free_port
from support import readmes
from support.inputs.hostile_values import VALUES
from support.models.template_library import TEMPLATES, written
from support.needs import need
from support.programs.sidecar import eventually

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
MODES = {"id_ed25519": "0400", "known_hosts": "0440", "config": "0440"}
NAMES = [value for value in VALUES if re.fullmatch("[A-Za-z0-9._~:@-]*", value)]


@pytest.fixture
def keys(tmp_path):
    """A function that generates a key pair, and returns its private and public key."""

    def make(name):
        file = tmp_path / name
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", file], check=True)
        return file.read_text(), file.with_suffix(".pub").read_text()

    return make


class Server:
    """A real sshd of the user who runs the tests. It accepts the key in `allowed`."""

    def __init__(self, folder, host_key):
        need(SSHD and shutil.which("ssh"), "needs OpenSSH: apt install openssh-server openssh-client")
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # As root, sshd does not start without this directory.
        self.port = free_port()
        self.allowed = folder / "authorized_keys"
        settings = {
            "ListenAddress": "127.0.0.1",
            "Port": self.port,
            "PidFile": "none",
            "HostKey": host_key,
            "AuthorizedKeysFile": self.allowed,
            "StrictModes": "no",
            "UsePAM": "no",
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
        }
        file = folder / "sshd_config"
        file.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
        with (folder / "sshd.log").open("wb") as log:
            self._process = subprocess.Popen([SSHD, "-D", "-e", "-f", file], stderr=log)

    def close(self):
        self._process.kill()
        self._process.wait()


@pytest.fixture
def server(keys, tmp_path):
    keys("host")
    server = Server(tmp_path, tmp_path / "host")
    yield server
    server.close()


@pytest.fixture
def deploy(bao, sidecar, server, tmp_path):
    """A function that stores the secret of a deployment for the test's server and user."""
    for name, mode in MODES.items():
        text = (TEMPLATES / f"ssh/{name}.j2").read_text().replace("/run/secrets/ssh", str(sidecar.directory))
        sidecar.template(f"{name}.j2", text, mode=mode)
    host_key = (tmp_path / "host.pub").read_text()

    def put(private_key, **fields):
        place = {"host": "127.0.0.1", "port": server.port, "username": getpass.getuser(), "host_key": host_key}
        bao.put("testing/ssh/deploy", private_key=private_key, **place | fields)

    return put


def run_ssh(sidecar, *command):
    """The output of a command on the server, or the error of ssh."""
    ssh = ["ssh", "-F", sidecar.directory / "config", "-o", "BatchMode=yes", "deploy", *command]
    done = subprocess.run(ssh, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=30)
    return done.stdout or done.stderr


def test_ssh_uses_the_new_key_for_its_next_connection(sidecar, server, deploy, keys):
    old, new = keys("old"), keys("new")
    sidecar.web["check"] = ["ssh-keygen", "-y", "-f", "{directory}/id_ed25519"]
    server.allowed.write_text(old[1])
    deploy(old[0])
    sidecar.start()
    eventually(lambda: run_ssh(sidecar, "echo", "in") == "in\n", "a login")
    server.allowed.write_text(new[1])
    assert "Permission denied (publickey)" in run_ssh(sidecar, "echo", "in")
    deploy(new[0].rstrip("\n"))
    eventually(lambda: run_ssh(sidecar, "echo", "in") == "in\n", "a login with the new key")
    deploy(old[0].replace("\n", "\r\n"))
    sidecar.until(lambda status: status["apps"]["web"]["state"] == "rejected")
    assert run_ssh(sidecar, "echo", "in") == "in\n"


def test_ssh_rejects_a_server_with_another_key_and_a_private_key_that_others_may_read(sidecar, server, deploy, keys):
    private, public = keys("old")
    server.allowed.write_text(public)
    deploy(private, host_key=keys("another")[1])
    sidecar.web["files"][0]["mode"] = "0440"
    sidecar.start()
    eventually(lambda: "Host key verification failed" in run_ssh(sidecar, "echo", "in"), "a refusal")
    deploy(private)
    eventually(lambda: "UNPROTECTED PRIVATE KEY FILE" in run_ssh(sidecar, "echo", "in"), "a refusal")


@pytest.mark.thorough
def test_a_hostile_name_is_unchanged_or_rejected(tmp_path):
    need(shutil.which("ssh"), "needs ssh: apt install openssh-client")
    usual = settings(tmp_path, "harmless", "harmless")
    for value in filter(None, NAMES):
        expected = {"hostname": f"h{value}".lower(), "user": value}  # ssh treats a plain number as an address.
        assert settings(tmp_path, f"h{value}", value) == usual | expected
    for value in set(VALUES) - set(NAMES):
        for host, username in ((value, "x"), ("x", value)):
            with pytest.raises(TemplateError, match="ssh/deploy: host and username may contain only letters"):
                config_of(host, username)


def test_a_hostile_key_of_a_server_is_one_line_or_rejected(tmp_path, keys):
    file = tmp_path / "known_hosts"
    public = keys("host")[1]
    file.write_text(known(public))
    assert public.split()[1] in found(file, "deploy")
    accepted = 0
    for value in VALUES:
        for host_key in (value, f"ssh-ed25519 {value}", f"{value} {public.split()[1]}", f"{value}{public}"):
            try:
                text = known(host_key)
            except TemplateError:
                continue
            accepted += 1
            assert re.fullmatch(r"deploy [A-Za-z0-9%._~-]+ [A-Za-z0-9+/=]*\n", text)
    assert accepted > len(VALUES)


def settings(folder, host, username):
    """The settings that ssh reads from the configuration."""
    file = folder / "config"
    file.write_text(config_of(host, username))
    done = subprocess.run(["ssh", "-G", "-T", "-F", file, "deploy"], capture_output=True, text=True, check=True)
    return dict(line.split(" ", 1) for line in done.stdout.splitlines())


def config_of(host, username):
    return written("ssh/config.j2", "text", {"ssh/deploy": {"host": host, "username": username}})


def known(host_key):
    return written("ssh/known_hosts.j2", "text", {"ssh/deploy": {"host_key": host_key}})


def found(file, host):
    return subprocess.run(["ssh-keygen", "-F", host, "-f", file], capture_output=True, text=True, check=True).stdout


def test_the_readme_explains_how_to_use_each_template(tmp_path):
    readmes.check("ssh", tmp_path)
