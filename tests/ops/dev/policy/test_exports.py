import subprocess

from lessee.ops.dev.policy.exports import export_lines

NAMES = ("VAULT_ADDR", "VAULT_CACERT", "VAULT_TOKEN", "VAULT_NAMESPACE", "BAO_ADDR", "HOME")


def evaluated(lines, environ):
    """The variables after `eval` in a POSIX shell."""
    script = 'eval "$1"; for name in ' + " ".join(NAMES) + '; do eval "printf \'%s\\0\' \\"\\${$name-}\\""; done'
    done = subprocess.run(
        ["sh", "-euc", script, "sh", "\n".join(lines)], env=environ, capture_output=True, text=True, check=True
    )
    return dict(zip(NAMES, done.stdout.split("\0")[:-1], strict=True))


def test_a_shell_gets_the_values_whatever_is_in_the_paths(tmp_path):
    folder = tmp_path / 'it\'s "$HOME" `id`'
    folder.mkdir()
    (folder / "token").write_text("s.canary\n")
    lines = list(export_lines("https://127.0.0.1:8200", str(folder / "ca.pem"), str(folder / "token"), ()))
    assert "canary" not in "".join(lines)
    found = evaluated(lines, {"PATH": "/usr/bin:/bin"})
    assert found["VAULT_ADDR"] == "https://127.0.0.1:8200"
    assert found["VAULT_CACERT"] == str(folder / "ca.pem")
    assert found["VAULT_TOKEN"] == "s.canary"


def test_what_names_another_server_is_unset(tmp_path):
    (tmp_path / "token").write_text("s.canary\n")
    environ = {"PATH": "/usr/bin:/bin", "BAO_ADDR": "https://other", "VAULT_NAMESPACE": "team", "HOME": "/h"}
    lines = list(export_lines("https://127.0.0.1:1", "/ca", str(tmp_path / "token"), environ))
    assert lines[-1] == "unset BAO_ADDR VAULT_NAMESPACE"
    found = evaluated(lines, environ)
    assert (found["BAO_ADDR"], found["VAULT_NAMESPACE"], found["HOME"]) == ("", "", "/h")
