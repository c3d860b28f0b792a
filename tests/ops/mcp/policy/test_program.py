"""Secrets move from the arguments of a program to its environment, in the least visible way that it supports."""

import shutil
import subprocess
import sys

import pytest

from lessee.ops.mcp.policy.program import UnmovableSecretError, secret_arguments, without_secrets
from lessee.ops.mcp.policy.secret_detection import SecretDetector

DETECTOR = SecretDetector()
URL = "postgresql://me:a%2Fb@h:5432/db?sslmode=require"


def rewrite(command, *args, existing=()):
    program = without_secrets(command, args, existing, DETECTOR)
    return program.argv, dict(program.variables), program.exposed


@pytest.mark.parametrize("args", [(), ("-y", "pkg"), ("--key=${K}",), ("postgresql://me@h/db",)])
def test_arguments_without_secrets_do_not_change(args):
    assert rewrite("npx", *args) == (("npx", *args), {}, ())


def test_the_password_of_a_postgres_url_moves_to_the_variable_of_libpq():
    bare = "postgresql://me@h:5432/db?sslmode=require"
    assert rewrite("server", URL) == (("server", bare), {"PGPASSWORD": "a/b"}, ())
    assert rewrite("server", f"--database={URL}", URL)[0] == ("server", f"--database={bare}", bare)


def test_two_different_passwords_get_two_variables():
    argv, variables, exposed = rewrite("server", URL, URL.replace("a%2F", "c"))
    assert argv[:2] == ("sh", "-c")
    assert variables == {"PGPASSWORD": "a/b", "MCP_ARGUMENT": URL.replace("a%2F", "c")}
    assert exposed == ("MCP_ARGUMENT",)
    assert rewrite("server", URL, existing=["PGPASSWORD"])[2] == ("MCP_ARGUMENT",)


@pytest.mark.parametrize("engine", ["docker", "/usr/bin/podman"])
def test_a_container_engine_passes_its_own_variables_on(engine):
    args = ("run", "-i", "-e", "A_TOKEN=x", "--env", "B_KEY=y=z", "--env=C_KEY=w", "-e", "D=info", "image")
    expected = (engine, "run", "-i", "-e", "A_TOKEN", "--env", "B_KEY", "--env=C_KEY", "-e", "D=info", "image")
    assert rewrite(engine, *args) == (expected, {"A_TOKEN": "x", "B_KEY": "y=z", "C_KEY": "w"}, ())


def test_a_secret_that_an_engine_cannot_pass_on_is_expanded_by_a_shell():
    _, variables, exposed = rewrite("docker", "run", "-e", "A_TOKEN=x", "-e", "A_TOKEN=y", "image", "--token", "z")
    assert variables == {"A_TOKEN": "x", "MCP_E": "A_TOKEN=y", "MCP_TOKEN": "z"}
    assert exposed == ("MCP_E", "MCP_TOKEN")
    assert rewrite("docker", "run", "-e", "A_TOKEN=x", existing=["A_TOKEN"])[2] == ("MCP_E",)
    assert rewrite("docker", "run", "-e", "Bearer canary-x")[2] == ("MCP_E",)
    assert rewrite("docker", "--clé-token", "canary-x")[2] == ("MCP_CL_TOKEN",)


def test_a_shell_expands_each_argument_in_its_position():
    args = (
        "it's",
        "--api-key",
        "a b",
        "--a.token=a$x",
        "${HOME}/a $b",
        "-H",
        "Authorization: Bearer canary-1",
        "--token",
        "t",
    )
    argv, variables, exposed = rewrite(sys.executable, "-c", "import sys; print(sys.argv[1:])", *args)
    assert exposed == ("MCP_API_KEY", "MCP_A_TOKEN", "MCP_H", "MCP_TOKEN")
    assert "${" not in argv[2]
    result = subprocess.run([shutil.which("sh"), *argv[1:]], env=variables, capture_output=True, text=True, check=True)
    assert result.stdout == f"{list(args)}\n"
    argv, _, _ = rewrite("x", "--token", "a", "--token", "b", existing=["MCP_TOKEN"])
    assert argv == ("sh", "-c", 'exec x --token "$MCP_TOKEN_2" --token "$MCP_TOKEN_3"')


@pytest.mark.parametrize(
    ("argv", "error"),
    [
        (("sh", "-c", "API_KEY=x server"), "a shell script in `args` contains a secret"),
        (("npx server --api-key=canary",), "`command` contains a secret"),
        (("x", "--key", "canary-${X}"), "contains both a secret and a reference"),
        (("x", "--token", "t", *["${X}"] * 10), "contains a secret and more than 9 references"),
    ],
)
def test_a_secret_that_cannot_be_moved_is_an_error(argv, error):
    with pytest.raises(UnmovableSecretError, match=error):
        rewrite(*argv)


def test_secret_arguments_are_found_by_index():
    assert secret_arguments(["--token", "t", "-v", "--key", "--other", "x"], DETECTOR) == (1,)
