"""A variable of the container shadows one of a file, because parsers of env files prefer the environment."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from support import npm
from support.needs import need

PYTHON = "import dotenv, json, os; dotenv.load_dotenv('app.env'); print(json.dumps(dict(os.environ)))"
NODE = "console.log(JSON.stringify(process.env))"
NPM = f"require('dotenv-17').config({{path: process.argv[1], quiet: true}}); {NODE}"


@pytest.fixture
def environ(tmp_path):
    """A function that runs a program with two variables, one of which is also in the file; returns those it reads."""
    (tmp_path / "app.env").write_text("BOTH=file\nFILE=file\n")

    def run(*command, folder=tmp_path):
        done = subprocess.run(
            command,
            cwd=folder,
            env={"PATH": os.environ["PATH"], "BOTH": "environment"},
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(done.stdout)

    return run


def test_python_dotenv_prefers_the_environment(environ):
    found = environ(sys.executable, "-c", PYTHON)
    assert (found["BOTH"], found["FILE"]) == ("environment", "file")


def test_node_prefers_the_environment(environ):
    need(shutil.which("node"), "needs Node.js 20 or later: apt install nodejs")
    found = environ("node", "--env-file=app.env", "-e", NODE)
    assert (found["BOTH"], found["FILE"]) == ("environment", "file")


def test_npms_dotenv_prefers_the_environment(environ, tmp_path):
    found = environ("node", "-e", NPM, str(tmp_path / "app.env"), folder=npm.packages())
    assert (found["BOTH"], found["FILE"]) == ("environment", "file")


def test_a_shell_prefers_the_file(environ):
    command = f"set -a; . ./app.env; exec {sys.executable} -c 'import json, os; print(json.dumps(dict(os.environ)))'"
    found = environ("sh", "-c", command)
    assert (found["BOTH"], found["FILE"]) == ("file", "file")
