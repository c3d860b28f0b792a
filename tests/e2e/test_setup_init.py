"""`lessee setup --init`: Vault sends a new server's keys only once, and lessee saves them."""

import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from support.full_disk import starting_with_a_full_disk
from support.needs import need
from support.programs.sidecar import eventually
from support.servers.fault_proxy import Delay, Fault, Proxy
from support.servers.vault_server import MEMORY, Server, ports

SEAL = """
seal "static" {{
  current_key_id = "one"
  current_key    = "file://{folder}/seal.key"
}}
"""

RAFT = """
api_addr     = "http://127.0.0.1:{port}"
cluster_addr = "http://127.0.0.1:{cluster_port}"
listener "tcp" {{
  address         = "127.0.0.1:{port}"
  cluster_address = "127.0.0.1:{cluster_port}"
  tls_disable     = true
}}
storage "raft" {{
  path                   = "{folder}"
  node_id                = "{port}"
  performance_multiplier = 1
  {joins}
}}
"""


@pytest.fixture
def server(tmp_path):
    (port,) = ports(1)
    with Server(tmp_path, port, MEMORY.format(port=port)) as server:
        yield server


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def output(done):
    return done.stdout + done.stderr


def is_new(server):
    return not server.ask("GET", "sys/init")["initialized"]


def through(server, proxy):
    """From now on `lessee setup` reaches the server through the proxy."""
    (server.folder / "lessee.yaml").write_text(yaml.safe_dump({"vault": {"address": proxy.address}}))


def test_keys_and_token_are_only_in_files_that_only_the_operator_may_read(server):
    folder = server.folder / "new" / "keys"
    said = server.setup("--init", folder)
    assert said.returncode == 0, said.stderr
    files = [folder / f"unseal-key-{number}" for number in range(1, 6)] + [folder / "root-token"]
    assert said.stdout == "".join(f"{file}\n" for file in files)
    assert sorted(folder.iterdir()) == sorted(files)
    assert (mode(folder), {mode(file) for file in files}) == (0o700, {0o600})
    values = [file.read_text().strip() for file in files]
    assert len(set(values)) == 6
    assert not [value for value in values if value in output(said) or value in server.log.read_text()]
    assert "the server is unsealed and active" in said.stderr
    assert "next: set $VAULT_TOKEN" in said.stderr
    assert server.ask("GET", "auth/token/lookup-self", token=values[-1])["data"]["policies"] == ["root"]


def test_any_threshold_of_the_keys_unseals_the_server(server):
    keys = server.folder / "keys"
    assert server.setup("--init", keys, "--key-shares", 4, "--key-threshold", 2).returncode == 0
    token = (keys / "root-token").read_text().strip()
    status = server.ask("GET", "sys/seal-status")
    assert (status["n"], status["t"]) == (4, 2)
    for number in (1, 2):
        (keys / f"unseal-key-{number}").unlink()
    server.ask("PUT", "sys/seal", token=token)
    said = server.setup("--unseal", keys)
    assert (said.returncode, said.stdout) == (0, ""), said.stderr
    assert not server.ask("GET", "sys/seal-status")["sealed"]
    assert server.setup("--unseal", keys).returncode == 0  # It is already unsealed.
    (keys / "unseal-key-3").unlink()
    server.ask("PUT", "sys/seal", token=token)
    said = server.setup("--unseal", keys)
    assert said.returncode == 77
    assert "1 key of this folder cannot unseal the server; it needs 2; check that they are this server's" in said.stderr


def test_keys_of_another_server_do_not_unseal_it(server):
    keys = server.folder / "keys"
    assert server.setup("--init", keys, "--key-shares", 1, "--key-threshold", 1).returncode == 0
    server.ask("PUT", "sys/seal", token=(keys / "root-token").read_text().strip())
    key = (keys / "unseal-key-1").read_text()
    other = key[:-8].swapcase() + key[-8:]
    (keys / "unseal-key-1").write_text(other)
    said = server.setup("--unseal", keys)
    assert said.returncode == 77, said.stderr
    assert "check that the key is this server's" in said.stderr
    assert other.strip() not in output(said)
    assert server.ask("GET", "sys/seal-status")["sealed"]


def test_a_wrong_key_given_before_fails_only_one_run(server):
    keys = server.folder / "keys"
    assert server.setup("--init", keys, "--key-shares", 2, "--key-threshold", 2).returncode == 0
    server.ask("PUT", "sys/seal", token=(keys / "root-token").read_text().strip())
    key = (keys / "unseal-key-2").read_text().strip()
    server.ask("PUT", "sys/unseal", {"key": ("B" if key[0] == "A" else "A") + key[1:]})
    said = server.setup("--unseal", keys)
    assert (said.returncode, "give all keys again" in said.stderr) == (77, True)
    assert server.setup("--unseal", keys).returncode == 0


def test_an_initialized_server_is_refused_with_the_next_step(server):
    assert server.setup("--unseal", server.folder).returncode == 77  # It is not initialized yet.
    assert server.setup("--init", server.folder / "keys").returncode == 0
    said = server.setup("--init", server.folder / "again")
    assert (said.returncode, said.stdout) == (77, "")
    assert "the server is already initialized; set $VAULT_TOKEN" in said.stderr
    assert not (server.folder / "again").exists()
    server.ask("PUT", "sys/seal", token=(server.folder / "keys" / "root-token").read_text().strip())
    said = server.setup("--init", server.folder / "again")
    assert "unseal it with `lessee setup --unseal DIR`" in said.stderr


def test_a_directory_with_files_is_refused_before_any_request(server):
    folder = server.folder / "full"
    folder.mkdir()
    (folder / "unseal-key-1").write_text("of another server")
    said = server.setup("--init", folder)
    assert (said.returncode, said.stdout) == (73, "")
    assert f"{folder}: the directory is not empty; name a new directory" in said.stderr
    assert [file.read_text() for file in folder.iterdir()] == ["of another server"]
    assert is_new(server)


def test_an_empty_directory_is_made_private(server):
    folder = server.folder / "empty"
    folder.mkdir(mode=0o755)
    assert server.setup("--init", folder).returncode == 0
    assert mode(folder) == 0o700


def test_without_disk_space_there_is_no_request_and_no_file(server):
    said = server.setup("--init", server.folder / "keys", under=starting_with_a_full_disk(5000))
    assert (said.returncode, said.stdout) == (73, "")
    assert "cannot write: File too large" in said.stderr
    assert not (server.folder / "keys").exists()
    assert is_new(server)


def test_a_directory_of_another_user_gets_no_keys(server):
    need(os.geteuid() == 0, "needs root, to change owners")
    (server.folder / "keys").mkdir(mode=0o755)
    os.chown(server.folder / "keys", 12345, 12345)
    said = server.setup("--init", server.folder / "keys")
    assert said.returncode == 73
    assert "belongs to uid 12345" in said.stderr
    assert list((server.folder / "keys").iterdir()) == []
    assert is_new(server)


def test_a_symbolic_link_instead_of_the_directory_is_refused(server):
    (server.folder / "keys").symlink_to(server.folder / "nowhere")
    said = server.setup("--init", server.folder / "keys")
    assert said.returncode == 73
    assert "the directory is a symbolic link; name a new directory" in said.stderr
    assert is_new(server)


def test_in_a_git_work_tree_it_warns(server):
    (server.folder / ".git").mkdir()
    said = server.setup("--init", server.folder / "deep" / "keys")
    assert said.returncode == 0
    assert "warning: " in said.stderr
    assert "is in a git work tree; never commit it" in said.stderr


def test_it_warns_of_an_unencrypted_connection(server):
    (server.folder / "lessee.yaml").write_text("vault: {address: 'http://no-such-host.invalid:8200'}")
    said = server.setup("--init", server.folder / "keys")
    assert said.returncode == 69
    assert "http://no-such-host.invalid:8200 is not encrypted; a listener on the network gets all keys" in said.stderr
    (server.folder / "lessee.yaml").write_text(yaml.safe_dump({"vault": {"address": server.address}}))
    assert "not encrypted" not in server.setup("--init", server.folder / "keys").stderr


def test_only_the_first_of_several_addresses_is_initialized(server):
    addresses = [server.address, "http://127.0.0.1:9"]
    (server.folder / "lessee.yaml").write_text(yaml.safe_dump({"vault": {"addresses": addresses}}))
    said = server.setup("--init", server.folder / "keys")
    assert said.returncode == 0, said.stderr
    assert f"only {server.address} is initialized; the other nodes join it" in said.stderr


def test_signals_wait_until_the_keys_are_saved(server):
    with Proxy(server.port) as proxy:
        through(server, proxy)
        proxy.on_path("sys/init", Delay(0.6))
        program = subprocess.Popen(
            [sys.executable, "-m", "lessee", "setup", "--init", "keys"],
            cwd=server.folder,
            env={"PATH": os.environ["PATH"]},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        with program:
            eventually(lambda: [one for one in proxy.requests if one.method == "PUT"], "the request")
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                program.send_signal(number)
            program.communicate(timeout=30)
    assert program.returncode != 0
    assert not is_new(server)
    keys = sorted((server.folder / "keys").iterdir())
    assert [file.name for file in keys] == ["root-token", *(f"unseal-key-{number}" for number in range(1, 6))]
    (server.folder / "lessee.yaml").write_text(yaml.safe_dump({"vault": {"address": server.address}}))
    assert server.setup("--unseal", server.folder / "keys").returncode == 0


def test_a_lost_answer_is_reported_as_lost_keys(server):
    with Proxy(server.port) as proxy:
        through(server, proxy)
        eventually(lambda: server.setup("--unseal", server.folder).returncode == 77, "the proxy")
        proxy.on_path("sys/init", Fault.CUT)
        said = server.setup("--init", server.folder / "keys")
    # The status request before is cut too: it is harmless, and no init request followed.
    assert said.returncode == 69
    assert is_new(server)
    with CuttingProxy(server.port) as proxy:
        through(server, proxy)
        said = server.setup("--init", server.folder / "keys")
    assert said.returncode == 69
    assert "its keys are lost: start with empty storage" in said.stderr
    assert not is_new(server)
    assert not (server.folder / "keys").exists()


class CuttingProxy(Proxy):
    """Cuts the answer of a PUT."""

    def fault_of(self, _):
        return Fault.CUT if self.requests and self.requests[-1].method == "PUT" else None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--key-shares", "2"], None),
        (["--key-shares", "3", "--key-threshold", "4"], "a threshold of 4 with 3 key shares is not possible"),
        (["--key-shares", "3", "--key-threshold", "1"], "unseals the server alone"),
        (["--key-shares", "0"], "not an integer above 0"),
        (["--pgp-key", "lessee.yaml"], "the file holds no public PGP key"),
        (["--pgp-key", "missing"], "cannot be read"),
        (["--unseal", "keys"], "not allowed with"),
    ],
)
def test_invalid_options_are_reported_before_any_request(server, options, words):
    said = server.setup("--init", server.folder / "keys", *options)
    if words is None:
        assert said.returncode == 0
        return
    assert said.returncode in {64, 78}
    assert words in said.stderr
    assert is_new(server)


@pytest.fixture
def gpg():
    """Runs gpg with keys of its own; its folder's name must be short, for its agent's socket."""
    need(shutil.which("gpg"), "needs GnuPG: apt install gnupg")
    home = Path(tempfile.mkdtemp(prefix="gpg-"))

    def run(*arguments, said=b""):
        done = subprocess.run(
            [
                "gpg",
                "--homedir",
                home,
                "--batch",
                "--quiet",
                "--pinentry-mode",
                "loopback",
                "--passphrase",
                "",
                *arguments,
            ],
            input=said,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    yield run
    subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False, capture_output=True)
    shutil.rmtree(home, ignore_errors=True)


def test_pgp_encrypted_keys_unseal_only_with_their_owners(server, gpg):
    for name in ("alice", "bob", "carol"):
        gpg("--quick-generate-key", name, "default", "default", "1d")
    files = [server.folder / f"{name}.{kind}" for name, kind in (("alice", "gpg"), ("bob", "asc"), ("carol", "gpg"))]
    for file in files:
        file.write_bytes(gpg("--export", *["--armor"] * (file.suffix == ".asc"), file.stem))
    options = [word for file in files for word in ("--pgp-key", file.name)]
    keys = server.folder / "keys"
    said = server.setup("--init", keys, *options, "--key-threshold", 2, "--root-token-pgp-key", "carol.gpg")
    assert said.returncode == 0, said.stderr
    assert "decrypt 2 keys (`base64 -d FILE | gpg -d`)" in said.stderr
    names = ["root-token.pgp", "unseal-key-1.pgp", "unseal-key-2.pgp", "unseal-key-3.pgp"]
    assert sorted(file.name for file in keys.iterdir()) == names
    assert server.ask("GET", "sys/seal-status")["sealed"]

    def decrypted(name):
        binary = subprocess.run(["base64", "-d", keys / name], capture_output=True, check=True).stdout
        return gpg("--decrypt", said=binary).decode()

    for number in (3, 2):
        server.ask("PUT", "sys/unseal", {"key": decrypted(f"unseal-key-{number}.pgp")})
    assert not server.ask("GET", "sys/seal-status")["sealed"]
    token = decrypted("root-token.pgp").strip()
    assert server.ask("GET", "auth/token/lookup-self", token=token)["data"]["policies"] == ["root"]
    private = server.folder / "private.asc"
    private.write_bytes(gpg("--export-secret-keys", "--armor", "alice"))
    said = server.setup("--init", server.folder / "others", "--pgp-key", private.name)
    assert said.returncode == 64
    assert "the file holds a private key" in said.stderr


def test_auto_unseal_gives_recovery_keys(tmp_path):
    (port,) = ports(1)
    (tmp_path / "seal.key").write_bytes(os.urandom(32))
    text = MEMORY.format(port=port) + SEAL.format(folder=tmp_path)
    with ExitStack() as stack:
        server = stack.enter_context(Server(tmp_path, port, text))
        said = server.setup("--init", tmp_path / "keys", "--key-shares", 3, "--key-threshold", 2)
        assert said.returncode == 0, said.stderr
        names = ["recovery-key-1", "recovery-key-2", "recovery-key-3", "root-token"]
        assert sorted(file.name for file in (tmp_path / "keys").iterdir()) == names
        status = server.ask("GET", "sys/seal-status")
        assert (status["recovery_seal"], status["sealed"], status["n"], status["t"]) == (True, False, 3, 2)
        token = (tmp_path / "keys" / "root-token").read_text().strip()
        assert server.ask("GET", "auth/token/lookup-self", token=token)["data"]["policies"] == ["root"]
        assert server.setup("--unseal", tmp_path / "keys").returncode == 0  # It unseals itself.


@pytest.mark.thorough
def test_a_joining_node_and_a_standby_node_are_unsealed(tmp_path):
    numbers = ports(4)
    keys, nodes = tmp_path / "keys", []
    with ExitStack() as stack:
        for port, cluster_port in (numbers[:2], numbers[2:]):
            folder = tmp_path / f"node-{port}"
            (folder / "data").mkdir(parents=True)
            joins = f'retry_join {{\n leader_api_addr = "{nodes[0].address}"\n }}' if nodes else ""
            text = RAFT.format(port=port, cluster_port=cluster_port, folder=folder / "data", joins=joins)
            nodes.append(stack.enter_context(Server(folder, port, text)))
            if len(nodes) == 1:
                assert nodes[0].setup("--init", keys).returncode == 0
        first, second = nodes
        eventually(lambda: second.ask("GET", "sys/seal-status")["initialized"], "the second node to find the first")
        for _ in ("it joins", "it restarted"):
            said = second.setup("--unseal", keys)
            assert said.returncode == 0, said.stderr
            assert second.ask("GET", "sys/leader")["leader_address"] == first.address
            assert not second.ask("GET", "sys/health?standbyok=true")["sealed"]
            second.stop()
            second.start()


def test_without_a_server_it_fails_and_leaves_no_file(tmp_path):
    (port,) = ports(1)
    server = Server(tmp_path, port, "")
    said = server.setup("--init", tmp_path / "keys")
    assert said.returncode == 69
    assert re.search("connection refused", said.stderr)
    assert not (tmp_path / "keys").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--to", "development"], "--to has no effect without --migrate-from"),
        (["--key-shares", "3"], "--key-shares has no effect without --init"),
        (["--quiet"], "--quiet has no effect without --migrate-from"),
        (["--pgp-key", "x"], "--pgp-key has no effect without --init"),
        (["--init", "keys", "--plan"], "--plan has no effect with --init"),
        (["--unseal", "keys", "--key-threshold", "3"], "--key-threshold has no effect with --unseal"),
        (["--migrate-from", "secret/", "--to", "x", "--force"], "--force has no effect with --migrate-from"),
        (["--init", "keys", "--remove", "x"], "--remove has no effect with --init"),
    ],
)
def test_an_option_without_effect_is_reported(tmp_path, options, words):
    said = Server(tmp_path, 9, "").setup(*options)
    assert (said.returncode, said.stdout) == (64, "")
    assert words in said.stderr
    assert not (tmp_path / "keys").exists()
