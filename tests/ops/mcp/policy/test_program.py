"""Secrets leave the arguments of a program in the least visible way that it takes."""

import shutil
import subprocess
import sys

import pytest

from lessee.ops.mcp.policy.program import CannotWrapError, suspicious, without_secrets
from lessee.ops.mcp.policy.secret_detection import Judge

JUDGE = Judge()
URL = "postgresql://me:a%2Fb@h:5432/db?sslmode=require"


def moved(command, *args, taken=()):
    program = without_secrets(command, args, taken, JUDGE)
    return program.words, dict(program.variables), program.seen


@pytest.mark.parametrize("args", [(), ("-y", "pkg"), ("--key=${K}",), ("postgresql://me@h/db",)])
def test_what_holds_no_secret_is_as_it_was(args):
    assert moved("npx", *args) == (("npx", *args), {}, ())


def test_the_password_of_a_url_of_postgres_is_a_variable_that_its_libraries_read():
    bare = "postgresql://me@h:5432/db?sslmode=require"
    assert moved("server", URL) == (("server", bare), {"PGPASSWORD": "a/b"}, ())
    assert moved("server", f"--database={URL}", URL)[0] == ("server", f"--database={bare}", bare)


def test_two_passwords_do_not_become_one():
    words, variables, seen = moved("server", URL, URL.replace("a%2F", "c"))
    assert words[:2] == ("sh", "-c")
    assert variables == {"PGPASSWORD": "a/b", "MCP_ARGUMENT": URL.replace("a%2F", "c")}
    assert seen == ("MCP_ARGUMENT",)
    assert moved("server", URL, taken=["PGPASSWORD"])[2] == ("MCP_ARGUMENT",)


@pytest.mark.parametrize("engine", ["docker", "/usr/bin/podman"])
def test_an_engine_hands_its_own_variables_on(engine):
    args = ("run", "-i", "-e", "A_TOKEN=x", "--env", "B_KEY=y=z", "--env=C_KEY=w", "-e", "D=info", "image")
    wanted = (engine, "run", "-i", "-e", "A_TOKEN", "--env", "B_KEY", "--env=C_KEY", "-e", "D=info", "image")
    assert moved(engine, *args) == (wanted, {"A_TOKEN": "x", "B_KEY": "y=z", "C_KEY": "w"}, ())


def test_what_an_engine_does_not_hand_on_is_put_in_by_a_shell():
    _, variables, seen = moved("docker", "run", "-e", "A_TOKEN=x", "-e", "A_TOKEN=y", "image", "--token", "z")
    assert variables == {"A_TOKEN": "x", "MCP_E": "A_TOKEN=y", "MCP_TOKEN": "z"}
    assert seen == ("MCP_E", "MCP_TOKEN")
    assert moved("docker", "run", "-e", "A_TOKEN=x", taken=["A_TOKEN"])[2] == ("MCP_E",)
    assert moved("docker", "run", "-e", "Bearer canary-x")[2] == ("MCP_E",)


def test_a_shell_puts_each_argument_in_its_place():
    args = (
        "it's",
        "--api-key",
        "a b",
        "--a.token=$x",
        "${HOME}/a $b",
        "-H",
        "Authorization: Bearer canary-1",
        "--token",
        "t",
    )
    words, variables, seen = moved(sys.executable, "-c", "import sys; print(sys.argv[1:])", *args)
    assert seen == ("MCP_API_KEY", "MCP_A_TOKEN", "MCP_H", "MCP_TOKEN")
    assert "${" not in words[2]
    told = subprocess.run([shutil.which("sh"), *words[1:]], env=variables, capture_output=True, text=True, check=True)
    assert told.stdout == f"{list(args)}\n"
    words, _, _ = moved("x", "--token", "a", "--token", "b", taken=["MCP_TOKEN"])
    assert words == ("sh", "-c", 'exec x --token "$MCP_TOKEN_2" --token "$MCP_TOKEN_3"')


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("sh", "-c", "API_KEY=x server"), "the script of a shell"),
        (("npx server --api-key=canary",), "its command holds a secret"),
        (("x", "--key", "canary-${X}"), "mixes a secret"),
        (("x", "--token", "t", *["${X}"] * 10), "too many of its arguments are references"),
    ],
)
def test_what_cannot_be_moved_is_told(words, why):
    with pytest.raises(CannotWrapError, match=why):
        moved(*words)


def test_the_suspicious_ones_are_found_by_place():
    assert suspicious(["--token", "t", "-v", "--key", "--other", "x"], JUDGE) == (1,)
