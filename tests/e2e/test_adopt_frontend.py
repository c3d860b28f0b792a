"""`lessee adopt` says what to do about a key that a build makes public, and leaves public variables alone."""

import os
import shutil
import subprocess
import sys

import pytest

from lessee.core.redaction import forms
from lessee.host.openbao import ROOT_TOKEN
from support.needs import need

KEY = "sk-or-v1-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
COMPOSE = f"""\
services:
  db:
    image: postgres:17
    environment:
      POSTGRES_PASSWORD: hunter2hunter3
  web:
    image: nginx:1.27
    build:
      context: .
      args:
        VITE_OPENROUTER_API_KEY: {KEY}
        VITE_API_URL: https://api.example.org
"""


@pytest.fixture
def plan(bao, tmp_path, folder):
    """A function that plans the adoption of a Compose file; returns the completed process."""
    version = ["docker", "compose", "version"]
    found = shutil.which("docker") and subprocess.run(version, capture_output=True, check=False).returncode == 0
    need(found, "docker with Compose (Debian: docker-cli docker-compose)")

    def run(text):
        (tmp_path / "compose.yaml").write_text(text)
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "VAULT_ADDR": bao.address,
            "VAULT_TOKEN": ROOT_TOKEN,
            "DOCKER_HOST": "unix:///nonexistent",
        }
        command = [sys.executable, "-m", "lessee", "adopt", "--plan", "--environment", folder]
        return subprocess.run(
            command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120, check=False
        )

    return run


def test_a_key_in_a_build_is_a_manual_step_with_what_nginx_needs(plan):
    done = plan(COMPOSE)
    assert done.returncode == 75, done.stderr
    assert (
        "! web.VITE_OPENROUTER_API_KEY: the build puts this key into the download of every visitor (compose.yaml:11)"
        in (done.stdout)
    )
    assert "to the server block of nginx in web, let the app send its requests to /api/openrouter/" in done.stdout
    assert "+ lessee/frontend/openrouter.location.conf" in done.stdout
    assert "+ lessee/templates/frontend/openrouter.nginx.conf.j2" in done.stdout
    assert not [form for form in forms(KEY) if form in done.stdout + done.stderr]


def test_public_variables_need_nothing(plan):
    done = plan(COMPOSE.replace(f"        VITE_OPENROUTER_API_KEY: {KEY}\n", ""))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "VITE_" not in done.stdout.partition("left to you")[2]
