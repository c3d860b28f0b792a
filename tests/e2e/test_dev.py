"""`lessee dev`: a server that keeps its secrets, for one user, whatever kills it."""

import json
import os
import re
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lessee.host.openbao import ROOT_TOKEN, OpenBao, find_bao
from support.full_disk import starting_with_a_full_disk
from support.needs import need
from support.programs.forks import run_lessee
from support.programs.sidecar import eventually
from support.programs.terminal import Terminal
from support.programs.users import as_user
from support.servers.dev_server import Dev
from support.servers.vault_server import certificate
from support.thorough import sampled

CANARY = "canary-7d31"
STRANGER = 12345


@pytest.fixture
def dev(tmp_path):
    with Dev(tmp_path) as one:
        yield one


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """A server that was started once, and stopped."""
    with Dev(tmp_path_factory.mktemp("started")) as one:
        one.detach()
        assert one("--stop").returncode == 0
        yield one


@pytest.fixture
def started_before(dev, started):
    dev.copy_of(started)


not_the_first_start = pytest.mark.usefixtures("started_before")


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.thorough
def test_a_second_start_finds_the_secrets_and_unseals(dev):
    said = dev.detach().stderr
    assert f"at https://127.0.0.1:{dev.port}, folder {dev.folder}" in said
    assert "for development only" in said
    dev.put("a/b", password=CANARY)
    token = dev.token
    assert dev("--stop").stdout == "stopped; its data stay\n"
    assert (list(dev.servers()), dev("--status").returncode, dev("--export").returncode) == ([], 1, 69)
    assert dev("--stop").stdout == "it does not run\n"
    dev.detach()
    assert dev.get("a/b") == {"password": CANARY}
    assert dev.token == token
    assert dev("--status").returncode == 0
    assert mode(dev.folder) == 0o700
    private = [file for file in dev.folder.iterdir() if file.is_file() or file.is_socket()]
    assert [file for file in private if mode(file) & 0o077] == []
    assert {"token", "seal.key", "recovery-key", "api.sock"} <= {file.name for file in private}


@pytest.mark.thorough
def test_no_output_and_no_log_has_a_key_or_the_token(dev):
    dev.detach()
    dev("--status"), dev("--export"), dev("--stop")
    dev.detach()
    texts = dev.said + (dev.folder / "openbao.log").read_text() + (dev.folder / "server.json").read_text()
    for name in ("token", "recovery-key"):
        assert (dev.folder / name).read_text().strip() not in texts
    assert (dev.folder / "seal.key").read_bytes().hex() not in texts


@pytest.mark.thorough
@not_the_first_start
def test_a_shell_that_evaluates_the_export_is_logged_in(dev):
    dev.detach()
    dev.put("a", key=CANARY)
    line = 'eval "$("$@")"; exec "$BAO" kv get -mount=secret -field=key a'
    command = [sys.executable, "-m", "lessee", *dev.words("--export")]

    environ = dev.environ | {"BAO": find_bao(), "BAO_ADDR": "https://127.0.0.1:9", "VAULT_NAMESPACE": "elsewhere"}
    done = subprocess.run(
        ["sh", "-euc", line, "sh", *command], env=environ, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout.strip()) == (0, CANARY), done.stderr
    assert dev.token not in dev("--export").stdout


CONFIG = """
environment: development
vault: {auth: {method: approle, role_id: x}}
apps:
  shop: {directory: /dev/shm/lessee-dev-shop, files: [{template: shop.env.j2}]}
setup:
  apps: true
  audit: {file: /var/log/lessee-dev-never.log}
  secrets:
    database/postgres: {username: {value: shop}, password: {generate: 24}}
"""


def with_config(folder, text=CONFIG):
    (folder / "lessee.yaml").write_text(text)
    (folder / "shop.env.j2").write_text('PASSWORD={{ secret("database/postgres").password }}\n')


@pytest.mark.thorough
def test_it_sets_up_the_environment_of_lessee_yaml_and_a_restart_changes_nothing(dev, tmp_path):
    with_config(tmp_path)
    said = dev.detach().stdout
    assert "secret/development/database/postgres" in said
    before = dev.get("development/database/postgres")
    assert (before["username"], len(before["password"])) == ("shop", 24)
    assert before["password"] not in dev.said
    assert "  + role development-shop" in said
    assert dev.ask("GET", "auth/approle/role/development-shop")["data"]["token_policies"] == ["development-shop"]
    dev("--stop")
    dev.detach()
    assert dev.get("development/database/postgres") == before


@not_the_first_start
def test_an_address_in_lessee_yaml_is_noted_because_agents_use_it(dev, tmp_path):
    with_config(tmp_path, CONFIG.replace("vault: {", "vault: {address: 'https://vault.example.com:8200', "))
    assert "note: lessee.yaml names https://vault.example.com:8200" in dev.detach().stderr


def test_an_invalid_lessee_yaml_is_an_error_before_there_is_a_server(dev, tmp_path):
    with_config(tmp_path, CONFIG + "nonsense: 1\n")
    done = dev("--detach", "--port", dev.port)
    assert done.returncode == 78
    assert "nonsense" in done.stderr
    assert not dev.folder.exists()


@pytest.mark.thorough
def test_what_cannot_be_set_up_is_said_and_the_server_runs(dev, tmp_path):
    with_config(tmp_path, CONFIG.replace("{generate: 24}", "{env: NOT_SET_HERE}"))
    done = dev("--detach", "--port", dev.port)
    assert done.returncode == 75
    assert "$NOT_SET_HERE is not set or empty" in done.stderr
    assert dev("--status").returncode == 0
    dev("--stop")
    dev.detach(NOT_SET_HERE=CANARY)
    assert dev.get("development/database/postgres")["password"] == CANARY


@not_the_first_start
def test_the_namespace_of_lessee_yaml_is_created(dev, tmp_path):
    with_config(tmp_path, CONFIG.replace("vault: {", "vault: {namespace: team/shop, "))
    dev.detach()
    assert dev.ask("GET", "team/shop/secret/data/development/database/postgres")["data"]["data"]["username"] == "shop"
    dev("--stop")
    dev.detach()


@pytest.mark.thorough
def test_no_root_token_is_left_and_the_token_is_limited(dev):
    dev.detach()
    assert list(dev.root_tokens()) == []
    found = dev.ask("GET", "auth/token/lookup-self")["data"]
    assert (set(found["policies"]), found["period"], found["orphan"]) == (
        {"default", "lessee-dev-admin"},
        2764800,
        True,
    )
    with pytest.raises(RuntimeError, match="403"):
        dev.ask("PUT", "sys/seal", {})


@not_the_first_start
def test_a_token_that_has_ended_is_replaced_by_the_next_export_too(dev):
    dev.detach()
    before = dev.token
    dev.ask("POST", "auth/token/revoke-self", {})
    assert dev("--status").returncode == 0
    assert dev("--export").returncode == 0
    assert dev.token != before
    assert list(dev.root_tokens()) == []


@pytest.mark.thorough
@not_the_first_start
@pytest.mark.parametrize("change", ["lost", "ended"])
def test_a_token_that_is_lost_or_has_ended_is_replaced_at_the_next_start(dev, change):
    dev.detach()
    dev.put("a", key=CANARY)
    before = dev.token
    if change == "ended":
        dev.ask("POST", "auth/token/revoke-self", {})
    dev("--stop")
    if change == "lost":
        (dev.folder / "token").unlink()
    dev.detach()
    assert dev.token != before
    assert dev.get("a") == {"key": CANARY}
    assert list(dev.root_tokens()) == []
    with pytest.raises(RuntimeError, match="403"):
        dev.ask("GET", "auth/token/lookup-self", token=before)


MOMENTS = [
    "after write initializing",
    "after write seal.key",
    "after write server-key.pem",
    "after write ca.pem",
    "before request sys/init",
    "after request sys/init",
    "after write recovery-key",
    "after remove initializing",
    "after request sys/policies/acl/lessee-dev-admin",
    "after request auth/token/create-orphan",
    "after write token",
    "before request auth/token/revoke-self",
    "after request auth/token/revoke-self",
    "after write port",
]


@pytest.mark.thorough
@pytest.mark.parametrize("moment", list(sampled(MOMENTS, of=2, key="first start")))
def test_killed_at_any_moment_of_the_first_start_the_next_one_is_whole(dev, moment):
    process = dev.killed(moment)
    assert process.wait(120) == -signal.SIGKILL, (dev.home / "out").read_text()
    dev.detach()
    assert list(dev.root_tokens()) == []
    dev.put("a", key=CANARY)
    token = dev.token
    dev("--stop")
    dev.detach()
    assert (dev.get("a"), dev.token) == ({"key": CANARY}, token)
    assert not {"initializing", "provisioning"} & set(names_in(dev.folder))


@pytest.mark.thorough
@not_the_first_start
def test_killed_while_it_makes_a_new_token_no_root_token_is_left(dev):
    dev.detach()
    dev.put("a", key=CANARY)
    before = dev.token
    dev("--stop")
    (dev.folder / "token").unlink()
    process = dev.killed("after request sys/generate-root/update")
    assert process.wait(120) == -signal.SIGKILL, (dev.home / "out").read_text()
    dev.detach()
    assert list(dev.root_tokens()) == []
    assert dev.get("a") == {"key": CANARY}
    with pytest.raises(RuntimeError, match="403"):
        dev.ask("GET", "auth/token/lookup-self", token=before)


@not_the_first_start
def test_killed_while_it_runs_the_server_ends_too_and_confirmed_writes_stay(dev):
    process = dev.foreground()
    dev.until_ready()
    [server] = dev.servers()
    for number in range(20):
        dev.put("a", key=number)
    process.kill()
    eventually(lambda: not list(dev.servers()), "the end of the server")
    assert process.wait(60) == -signal.SIGKILL
    dev.detach()
    assert dev.get("a") == {"key": 19}
    [again] = dev.servers()
    assert again != server


@pytest.mark.thorough
def test_the_server_of_a_user_without_privileges_ends_with_a_killed_lessee_too(tmp_path, memory):
    need(os.geteuid() == 0, "needs root, to become another user")
    memory.chmod(0o755)
    with Dev(tmp_path, under=as_user(memory, STRANGER, STRANGER)) as dev:
        dev.cwd = dev.home
        os.chown(dev.home, STRANGER, STRANGER)
        dev.detach()
        dev.put("a", key=CANARY)
        assert {dev.folder.stat().st_uid, (dev.folder / "token").stat().st_uid} == {STRANGER}
        os.kill(int((dev.folder / "lessee-dev.lock").read_text().split()[0]), signal.SIGKILL)
        eventually(lambda: not list(dev.servers()), "the end of the server")
        assert dev("--status").returncode == 1
        dev.detach()
        assert dev.get("a") == {"key": CANARY}


@not_the_first_start
def test_a_server_that_is_killed_is_reported_and_starts_again(dev):
    process = dev.foreground()
    eventually(lambda: "next: eval" in (dev.home / "out").read_text(), "the end of its start")
    dev.put("a", key=CANARY)
    [server] = dev.servers()
    os.kill(server, signal.SIGKILL)
    assert process.wait(60) == 69
    assert "it has lost nothing that it confirmed; start it again" in (dev.home / "out").read_text()
    dev.detach()
    assert dev.get("a") == {"key": CANARY}


@not_the_first_start
def test_a_server_that_is_killed_before_it_is_active_is_reported(dev):
    process = dev.killed("after GET sys/seal-status", suspend=True)
    assert process.wait_until_suspended(120), (dev.home / "out").read_text()
    [server] = dev.servers()
    os.kill(server, signal.SIGKILL)
    process.send_signal(signal.SIGCONT)
    assert process.wait(120) == 69
    assert "the server ended with -9" in (dev.home / "out").read_text()


@pytest.mark.thorough
@not_the_first_start
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_the_foreground_as_wished(dev, number):
    process = dev.foreground(
        sys.executable,
        "-c",
        "import signal; signal.signal(signal.SIGINT, signal.SIG_DFL)\n"
        "import sys; sys.argv[0] = 'lessee'\nfrom lessee.cli import main\nsys.exit(main())",
    )
    dev.until_ready()
    process.send_signal(number)
    assert process.wait(60) == 0, (dev.home / "out").read_text()
    assert list(dev.servers()) == []


@not_the_first_start
def test_another_project_is_set_up_on_the_server_that_runs(dev, tmp_path):
    dev.detach()
    dev.cwd = tmp_path / "other"
    dev.cwd.mkdir()
    with_config(dev.cwd, CONFIG.replace("environment: development", "environment: other"))
    done = dev("--detach")
    assert done.returncode == 0, done.stderr
    assert "runs here already" in done.stderr
    assert dev.get("other/database/postgres")["username"] == "shop"
    names = dev.ask("GET", "secret/metadata?list=true")["data"]["keys"]
    assert (set(names), "production" in done.stdout) == ({"other/", "lessee/"}, False)
    with_config(dev.cwd, CONFIG.replace("environment: development", "nonsense: 1"))
    assert dev("--detach").returncode == 78
    with_config(dev.cwd, CONFIG.replace("{generate: 24}", "{env: NOT_SET_HERE}"))
    assert dev("--detach").returncode == 75
    assert dev("--status").returncode == 0


@not_the_first_start
def test_two_projects_of_one_environment_remove_nothing_of_each_other(dev, tmp_path):
    with_config(tmp_path)
    dev.detach()
    before = dev.get("development/database/postgres")
    dev.cwd = tmp_path / "other"
    dev.cwd.mkdir()
    with_config(dev.cwd, CONFIG.replace("shop:", "cart:").replace("database/postgres:", "api-keys/x:"))
    (dev.cwd / "shop.env.j2").write_text('KEY={{ secret("api-keys/x").password }}\n')
    assert dev("--detach").returncode == 0
    roles = dev.ask("GET", "auth/approle/role?list=true")["data"]["keys"]
    assert set(roles) == {"development-shop", "development-cart"}
    assert dev.get("development/database/postgres") == before
    assert dev.get("development/api-keys/x")["username"] == "shop"


@not_the_first_start
def test_ctrl_c_stops_the_foreground_and_the_server(dev):
    command = [sys.executable, "-m", "lessee", *dev.words("--port", dev.port)]
    terminal = Terminal(*command, env=dev.environ, cwd=dev.cwd)
    terminal.until("next: eval")
    dev.put("a", key=CANARY)
    terminal.type("\x03")
    terminal.until("stopping; its data stay")
    assert terminal.end(60) == 0
    assert list(dev.servers()) == []
    dev.detach()
    assert dev.get("a") == {"key": CANARY}


@pytest.mark.thorough
def test_starts_at_the_same_time_make_one_server(dev, tmp_path):
    with_config(tmp_path)
    done = []
    threads = [threading.Thread(target=lambda: done.append(dev("--detach", "--port", dev.port))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.returncode for one in done] == [0] * 4, [one.stderr for one in done]
    assert sum("runs here already" in one.stderr for one in done) == 3
    assert len(list(dev.servers())) == 1
    assert dev.get("development/database/postgres")["username"] == "shop"
    second = dev("--port", dev.port)
    assert second.returncode == 73
    assert "a server for development runs here already; see `lessee dev --directory" in second.stderr


@pytest.mark.thorough
def test_a_port_in_use_is_an_error_that_says_what_to_do_and_leaves_nothing_half(dev):
    with socket.create_server(("127.0.0.1", dev.port)):
        done = dev("--detach", "--port", dev.port)
        assert done.returncode == 73
        assert f"127.0.0.1:{dev.port}: another process listens on this port; stop it, or use another" in done.stderr
    dev.detach()
    dev("--stop")
    with socket.create_server(("127.0.0.1", dev.port)):
        assert dev("--detach").returncode == 73  # The port is remembered.
    assert dev("--detach").returncode == 0


@pytest.mark.thorough
@pytest.mark.parametrize("size", [0, 10, 3000, 200_000])
def test_a_full_disk_is_an_error_and_the_next_start_is_whole(dev, size):
    done = dev("--detach", "--port", dev.port, under=starting_with_a_full_disk(size))
    assert done.returncode in {69, 70, 73}, done.stderr
    assert "internal error" not in done.stderr
    assert done.stderr.strip()
    dev.detach()
    dev.put("a", key=CANARY)


def fill_disk(dev):
    """The number of secrets that the server has confirmed when its disk is full."""
    for number in range(1000):
        try:
            dev.put(f"large/{number}", value="x" * 700_000)
        except (RuntimeError, ConnectionError):  # Or the server has ended, with its storage.
            return number
    pytest.fail("the disk is never full")


@pytest.mark.thorough
def test_a_disk_that_fills_up_loses_nothing_that_was_confirmed(dev):
    need(os.geteuid() == 0, "needs root, to mount a small tmpfs")
    dev.folder.mkdir(0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=50m,mode=0700", "tmpfs", dev.folder], check=True)
    try:
        dev.detach()
        confirmed = fill_disk(dev)
        dev("--stop")
        done = dev("--detach")
        assert (done.returncode, "No space left on device" in done.stderr) == (73, True)
        subprocess.run(["mount", "-o", "remount,size=200m", dev.folder], check=True)
        dev.detach()
        assert [len(dev.get(f"large/{number}")["value"]) for number in range(confirmed)] == [700_000] * confirmed
    finally:
        dev("--stop")
        subprocess.run(["umount", "--lazy", dev.folder], check=True)


def folder_of_a_stranger(path):
    need(os.geteuid() == 0, "needs root, to change owners")
    path.mkdir()
    os.chown(path, STRANGER, STRANGER)


def folder_that_all_may_write(path):
    path.mkdir()
    path.chmod(0o777)


def folder_in_one_that_all_may_write(path):
    path.parent.chmod(0o777)


def folder_with_files(path):
    path.mkdir()
    (path / "notes.txt").write_text("mine")


def link_of_a_stranger(path):
    need(os.geteuid() == 0, "needs root, to change owners")
    (path.parent / "real").mkdir()
    path.symlink_to(path.parent / "real")
    os.lchown(path, STRANGER, STRANGER)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (folder_of_a_stranger, "belongs to uid 12345"),
        (folder_that_all_may_write, "every user may write into"),
        (folder_in_one_that_all_may_write, "every user may write into"),
        (folder_with_files, "the directory has other files; name a new or empty directory"),
        (link_of_a_stranger, "is a symbolic link that uid 12345 made"),
    ],
)
@pytest.mark.parametrize("option", ["--detach", "--status", "--stop", "--reset"])
def test_a_folder_that_another_user_may_change_is_refused(dev, make, words, option):
    make(dev.folder)
    before = names_in(dev.folder) if dev.folder.is_dir() else []
    done = dev(option)
    if make is folder_in_one_that_all_may_write and option != "--detach":
        assert "no server for development here" in done.stdout  # There is no folder yet.
        return
    assert done.returncode == 73, done.stdout + done.stderr
    assert words in done.stderr
    assert (names_in(dev.folder) if dev.folder.is_dir() else []) == before


def test_a_path_that_a_socket_cannot_have_is_refused(dev):
    dev.folder = dev.home / ("x" * 100)
    done = dev("--detach")
    assert done.returncode == 64
    assert "too long for a Unix socket" in done.stderr
    dev.folder = dev.home / "a#b"
    done = dev("--detach")
    assert (done.returncode, "would mean another one" in done.stderr) == (64, True)
    dev.folder = dev.home / "dev"


@not_the_first_start
def test_a_lost_key_is_an_error_that_says_what_is_missing(dev):
    shutil.move(dev.folder / "seal.key", dev.home / "copy")
    done = dev("--detach")
    assert done.returncode == 70
    assert "seal.key is missing, and without it the data cannot be read; put it back from a copy" in done.stderr
    shutil.move(dev.home / "copy", dev.folder / "seal.key")
    dev.detach()


# Reset


@pytest.mark.thorough
@not_the_first_start
def test_a_reset_says_what_will_be_lost_and_asks(dev):
    dev.detach()
    for name in ("a", "b/c", "b/d"):
        dev.put(name, key=CANARY)
    done = dev("--reset")
    assert (done.returncode, "there is no terminal; add --yes" in done.stderr) == (64, True)
    assert "3 secrets with all versions in secret/" in done.stdout
    terminal = Terminal(sys.executable, "-m", "lessee", *dev.words("--reset"), env=dev.environ, cwd=dev.cwd)
    terminal.until("type reset to continue")
    terminal.type("no\n")
    assert terminal.end(60) == 64
    assert dev.get("a") == {"key": CANARY}
    dev("--stop")
    terminal = Terminal(sys.executable, "-m", "lessee", *dev.words("--reset"), env=dev.environ, cwd=dev.cwd)
    assert "3 secrets with all versions in secret/" in terminal.until("type reset to continue")
    terminal.type("reset\n")
    terminal.until("begins with an empty server")
    assert terminal.end(60) == 0
    assert names_in(dev.folder) == ["lessee-dev.lock"]
    dev.detach()
    with pytest.raises(RuntimeError, match="404"):
        dev.get("a")


@pytest.mark.thorough
@not_the_first_start
def test_a_reset_of_what_cannot_be_read_any_more_says_so(dev):
    (dev.folder / "seal.key").unlink()
    done = dev("--reset", "--yes")
    assert done.returncode == 0, done.stderr
    assert "bytes of data with keys; what they are is not known (the server ended with 1)" in done.stdout
    dev.detach()


def test_a_reset_without_a_server_is_no_error(dev):
    assert dev("--reset", "--yes").returncode == 0
    assert not dev.folder.exists()


@pytest.mark.thorough
@not_the_first_start
@pytest.mark.parametrize("moment", ["after write initializing", "before remove initializing"])
def test_a_reset_that_is_killed_is_finished_by_the_next_start(dev, moment):
    dev.detach()
    dev.put("a", key=CANARY)
    dev.run_killed(moment, "--reset", "--yes")
    dev.detach()
    with pytest.raises(RuntimeError, match="404"):
        dev.get("a")
    assert list(dev.root_tokens()) == []


# Other users of the machine


def listening(pid):
    """The addresses on which a process listens by TCP, from /proc: proc_net_tcp(5)."""
    sockets = set()
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        sockets |= set(re.findall(r"socket:\[(\d+)\]", str(fd.readlink())))
    found = []
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and words[9] in sockets:
                found.append((name, words[1].partition(":")[0], int(words[1].rpartition(":")[2], 16)))
    return found


@not_the_first_start
def test_it_listens_on_loopback_alone(dev):
    dev.detach()
    [server] = dev.servers()
    found = listening(server)
    assert found
    assert {(name, address) for name, address, _ in found} == {("tcp", "0100007F")}
    assert dev.port in {port for _, _, port in found}


_ATTACK = """
import json, os, socket, ssl, sys, urllib.error, urllib.request
folder, port = sys.argv[1], int(sys.argv[2])
result = {"uid": os.getuid()}
def attempt(name, do):
    try:
        result[name] = do()
    except urllib.error.HTTPError as exc:
        result[name] = exc.code
    except OSError as exc:
        result[name] = type(exc).__name__
for name in ("token", "seal.key", "recovery-key", "server-key.pem", "openbao.log", "ca.pem"):
    attempt(name, lambda: open(f"{folder}/{name}").read())
attempt("list", lambda: os.listdir(folder))
unix = socket.socket(socket.AF_UNIX)
attempt("socket", lambda: unix.connect(f"{folder}/api.sock"))
context = ssl._create_unverified_context()
def ask(method, path, body=None, token=""):
    request = urllib.request.Request(f"https://127.0.0.1:{port}/v1/{path}", json.dumps(body).encode() if body else None,
                                     {"X-Vault-Token": token} if token else {}, method=method)
    return lambda: json.loads(urllib.request.urlopen(request, context=context, timeout=10).read() or b"{}")
attempt("read", ask("GET", "secret/data/a"))
attempt("guess", ask("GET", "secret/data/a", token="root"))
attempt("init", ask("PUT", "sys/init", {"recovery_shares": 1, "recovery_threshold": 1}))
attempt("root", ask("PUT", "sys/generate-root/attempt", {"otp": ""}))
attempt("rekey", ask("PUT", "sys/rekey/init", {"secret_shares": 1, "secret_threshold": 1}))
attempt("recovery", ask("PUT", "sys/rekey-recovery-key/init", {"secret_shares": 1, "secret_threshold": 1}))
attempt("seal", ask("PUT", "sys/seal", {"x": 1}))
print(json.dumps(result))
"""


@pytest.fixture
def attack(memory):
    need(os.geteuid() == 0, "needs root, to become another user")

    def run(dev, port):
        memory.chmod(0o755)
        dev.home.chmod(0o755)
        command = [*as_user(memory, STRANGER, STRANGER), sys.executable.replace(sys.prefix, sys.base_prefix)]
        python = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
        done = subprocess.run(
            [*command[:-1], str(python), "-c", _ATTACK, str(dev.folder), str(port)],
            capture_output=True, text=True, timeout=120, check=False, cwd="/",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@not_the_first_start
def test_another_local_user_gets_nothing_without_the_token(dev, attack):
    dev.detach()
    dev.put("a", key=CANARY)
    found = attack(dev, dev.port)
    assert found.pop("uid") == STRANGER
    denied = {"token", "seal.key", "recovery-key", "server-key.pem", "openbao.log", "ca.pem", "list", "socket"}
    assert {found[name] for name in denied} == {"PermissionError"}
    assert {
        name: value for name, value in found.items() if name not in denied and value not in {400, 403, 404, 405}
    } == {}
    assert dev.get("a") == {"key": CANARY}
    assert CANARY not in json.dumps(found)


@pytest.mark.thorough
def test_another_local_user_cannot_initialize_a_new_server_first(dev, attack):
    process = dev.killed("before request sys/init", suspend=True)
    eventually(lambda: Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T", "the stop")
    assert dev("--status").stdout.startswith("not ready; see openbao.log, process")
    assert "openbao.log: the server is not ready" in dev("--export").stderr
    [server] = dev.servers()
    ports = [port for _, _, port in listening(server)]
    assert ports
    assert dev.port not in ports
    for port in ports:
        found = attack(dev, port)
        assert {found[name] for name in ("read", "init", "root", "rekey", "seal")} <= {
            "SSLError",
            "URLError",
            "ConnectionResetError",
        }
    process.send_signal(signal.SIGCONT)
    dev.until_ready()
    assert list(dev.root_tokens()) == []


@pytest.mark.thorough
def test_a_server_that_accepts_no_client_yet_is_not_ready(dev):
    process = dev.killed("after remove provisioning", suspend=True)
    eventually(lambda: Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T", "the stop")
    assert dev("--status").stdout.startswith("not ready; see openbao.log, process")
    assert dev("--export").returncode == 69
    process.send_signal(signal.SIGCONT)
    dev.until_ready()
    dev.put("a", key=CANARY)


@not_the_first_start
def test_a_user_who_takes_the_port_gets_no_token(dev, tmp_path):
    dev.detach()
    token = dev.token
    lines = dict(line.removeprefix("export ").split("=", 1) for line in dev("--export").stdout.splitlines())
    dev("--stop")
    received = []
    # The other user has a certificate for loopback too, of a CA of their own.

    certificate(tmp_path / "tls")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "tls/tls.crt", tmp_path / "tls/tls.key")
    with socket.create_server(("127.0.0.1", dev.port)) as server:

        def accept():
            connection, _ = server.accept()
            try:
                with context.wrap_socket(connection, server_side=True) as secure:
                    received.append(secure.recv(65536))
            except (ssl.SSLError, OSError):
                received.append(b"")

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        (tmp_path / "lessee.yaml").write_text("environment: development\nsetup: {components: {app: [read]}}\n")
        environ = dev.environ | {
            "VAULT_ADDR": lines["VAULT_ADDR"],
            "VAULT_CACERT": lines["VAULT_CACERT"],
            "VAULT_TOKEN": token,
        }
        done = run_lessee("setup", "--plan", cwd=tmp_path, env=environ)
        thread.join(60)
    assert done.returncode == 69, done.stderr
    assert received == [b""]


# The other server


@pytest.fixture
def other(tmp_path):

    with OpenBao(tmp_path) as server:
        (tmp_path / "real-token").write_text(ROOT_TOKEN)
        yield server


def copy(dev, other, *options):
    return dev("--to", other.address, "--token-file", dev.cwd / "real-token", *options)


def filled(dev, tmp_path):
    with_config(tmp_path)
    dev.detach()
    for number in range(3):
        dev.put("development/api-keys/x", key=f"{CANARY}-{number}")
    dev.ask("POST", "secret/metadata/development/api-keys/x", {"custom_metadata": {"owner": "me"}, "max_versions": 5})
    dev.put("development/gone", key=CANARY)
    dev.ask("DELETE", "secret/data/development/gone")


@not_the_first_start
def test_all_is_copied_and_setup_finds_nothing_missing_there(dev, other, tmp_path):
    filled(dev, tmp_path)
    planned = copy(dev, other, "--plan")
    assert planned.returncode == 0, planned.stderr
    assert "+ secret/development/api-keys/x: 3 versions" in planned.stdout
    assert "auth/approle/" not in other.ask("GET", "sys/auth")["data"]
    done = copy(dev, other, "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "copied and verified" in done.stdout
    assert "secret_ids are not copied" in done.stdout
    for number in (1, 2, 3):
        found = other.ask("GET", f"secret/data/development/api-keys/x?version={number}")
        assert found["data"]["data"] == {"key": f"{CANARY}-{number - 1}"}
    metadata = other.ask("GET", "secret/metadata/development/api-keys/x")["data"]
    assert (metadata["custom_metadata"], metadata["max_versions"]) == ({"owner": "me"}, 5)
    assert other.ask("GET", "secret/metadata/development/gone")["data"]["versions"]["1"]["deletion_time"]
    policies = other.ask("GET", "sys/policies/acl?list=true")["data"]["keys"]
    assert ("development-shop" in policies, "lessee-dev-admin" in policies) == (True, False)
    environ = dev.environ | {"VAULT_ADDR": other.address, "VAULT_TOKEN": ROOT_TOKEN}
    plan = run_lessee("setup", "--plan", "--only", "environment=development", cwd=tmp_path, env=environ)
    assert "plan: 0 changes" in plan.stdout, plan.stdout + plan.stderr
    again = copy(dev, other, "--yes")
    assert (again.returncode, "plan: 0 to write" in again.stdout) == (0, True), again.stdout
    assert CANARY not in dev.said


@pytest.mark.thorough
@not_the_first_start
def test_a_copy_is_made_only_after_yes(dev, other):
    dev.detach()
    dev.put("a", key=CANARY)
    words = dev.words("--to", other.address, "--token-file", dev.cwd / "real-token")
    for answer, code in (("no", 64), ("yes", 0)):
        terminal = Terminal(sys.executable, "-m", "lessee", *words, env=dev.environ, cwd=dev.cwd)
        assert "+ secret/a: 1 version" in terminal.until(f"copy 1 to {other.address}; type yes to continue: ")
        with pytest.raises(RuntimeError, match="404"):
            other.ask("GET", "secret/data/a")
        terminal.type(f"{answer}\n")
        terminal.until("nothing was copied" if code else "copied and verified: 1")
        assert terminal.end(60) == code
    assert other.ask("GET", "secret/data/a")["data"]["data"] == {"key": CANARY}


@pytest.mark.thorough
@not_the_first_start
def test_what_differs_there_stays_and_is_left_to_a_person(dev, other, tmp_path):
    filled(dev, tmp_path)
    other.put("development/api-keys/x", key="theirs")
    other.ask("PUT", "sys/policies/acl/development-shop", {"policy": 'path "theirs" { capabilities = ["read"] }'})
    done = copy(dev, other, "--yes")
    assert done.returncode == 75, done.stdout + done.stderr
    assert "! secret/development/api-keys/x: a different secret is there, and stays" in done.stdout
    assert "! sys/policies/acl/development-shop: another one is there, and stays" in done.stdout
    assert "2 left to you (marked with !)" in done.stderr
    found = other.ask("GET", "secret/data/development/api-keys/x")["data"]
    assert (found["data"], found["metadata"]["version"]) == ({"key": "theirs"}, 1)
    assert "theirs" in other.ask("GET", "sys/policies/acl/development-shop")["data"]["policy"]
    assert other.ask("GET", "secret/data/development/database/postgres")["data"]["data"]["username"] == "shop"
    done = copy(dev, other, "--yes", "--force")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "(--force)" in done.stdout
    found = other.ask("GET", "secret/data/development/api-keys/x")["data"]
    assert (found["data"], found["metadata"]["version"]) == ({"key": f"{CANARY}-2"}, 2)
    assert other.ask("GET", "secret/data/development/api-keys/x?version=1")["data"]["data"] == {"key": "theirs"}


@not_the_first_start
def test_one_namespace_is_copied_to_the_same_one_there(dev, other, tmp_path):
    with_config(tmp_path, CONFIG.replace("vault: {", "vault: {namespace: team, "))
    dev.detach()
    done = copy(dev, other, "--yes")
    assert (done.returncode, "! namespace team: copy it with --namespace team" in done.stdout) == (75, True)
    other.ask("POST", "sys/namespaces/team")
    done = copy(dev, other, "--yes", "--namespace", "team")
    assert done.returncode == 0, done.stdout + done.stderr
    found = other.ask("GET", "team/secret/data/development/database/postgres")
    assert found["data"]["data"] == dev.ask("GET", "team/secret/data/development/database/postgres")["data"]["data"]


@not_the_first_start
def test_what_no_server_returns_is_left_to_a_person(dev, other):
    dev.detach()
    dev.ask("POST", "sys/mounts/pki", {"type": "pki"})
    dev.ask("POST", "sys/auth/userpass", {"type": "userpass"})
    dev.ask("POST", "auth/userpass/users/ann", {"password": CANARY})
    done = copy(dev, other, "--yes")
    assert done.returncode == 75, done.stdout + done.stderr
    assert "! pki/: a CA's key never leaves its server" in done.stdout
    assert "! auth/userpass/users/ann: cannot be read from a server (its password)" in done.stdout
    assert "pki/" in other.ask("GET", "sys/mounts")["data"]


@not_the_first_start
def test_a_mount_of_another_type_stops_the_copy_before_any_write(dev, other, tmp_path):
    filled(dev, tmp_path)
    other.ask("DELETE", "sys/mounts/secret")
    other.ask("POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "1"}})
    done = copy(dev, other, "--yes")
    assert done.returncode == 75
    assert "nothing was copied" in done.stderr
    assert "auth/approle/" not in other.ask("GET", "sys/auth")["data"]


@not_the_first_start
def test_the_token_of_the_development_server_is_never_sent_there(dev, other):
    dev.detach()
    done = dev("--to", other.address, VAULT_TOKEN=dev.token)
    assert done.returncode == 64
    assert "$VAULT_TOKEN is the token of this server; name a file with one of the other server" in done.stderr
    done = dev("--to", other.address)
    assert (done.returncode, "there is no token for the other server" in done.stderr) == (64, True)
    done = dev("--to", f"https://127.0.0.1:{dev.port}", "--ca-file", dev.folder / "ca.pem", VAULT_TOKEN="other")
    assert done.returncode != 0
    done = copy(dev, other)
    assert (done.returncode, "add --yes" in done.stderr or "plan: 0" in done.stdout) in {(64, True), (0, True)}


@not_the_first_start
def test_a_copy_that_is_killed_continues(dev, other, tmp_path):
    filled(dev, tmp_path)
    words = ("--to", other.address, "--token-file", tmp_path / "real-token", "--yes", "--quiet")
    dev.run_killed("after POST secret/data/development/api-keys/x", *words)
    assert other.ask("GET", "secret/metadata/development/api-keys/x")["data"]["current_version"] == 1
    done = copy(dev, other, "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert other.ask("GET", "secret/metadata/development/api-keys/x")["data"]["current_version"] == 3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--plan"], "--plan has no effect without --to"),
        (["--force"], "--force has no effect without --to"),
        (["--yes"], "--yes has no effect without --to or --reset"),
        (["--detach", "--stop"], "not allowed with"),
        (["--port", "0"], "is not a port from 1 to 65535"),
        (["--to", "vault:8200"], "there is no server"),
    ],
)
def test_options_without_effect_are_reported(dev, options, words):
    done = dev(*options)
    if "--to" in options:
        assert (done.returncode, "no server for development here" in done.stderr) == (69, True)
        return
    assert (done.returncode, words in done.stderr) == (64, True), done.stderr
    assert not dev.folder.exists()


@pytest.mark.thorough
def test_a_program_that_is_no_server_is_an_error(dev):
    done = dev("--detach", "--port", dev.port, "--bao", "/bin/true")
    assert done.returncode == 69
    assert "the server ended with 0" in done.stderr
    done = dev("--detach", "--port", dev.port, "--bao", "/nonexistent/bao")
    assert (done.returncode, "/nonexistent/bao: cannot be started: No such file" in done.stderr) == (70, True)
    dev.detach()


@pytest.mark.thorough
def test_a_command_that_does_not_trust_the_server_names_the_export(dev, tmp_path, memory):
    hint = '`eval "$(lessee dev --export)"`'
    dev.folder = dev.home / ".local/state/lessee/dev"
    dev.detach()
    (tmp_path / "a.j2").write_text('{{ secret("a").key }}')
    app = {"directory": str(memory / "app"), "files": [{"template": "a.j2"}]}
    vault = {"address": f"https://127.0.0.1:{dev.port}"}
    config = {"environment": "development", "vault": vault, "state_dir": str(memory / "state"), "apps": {"app": app}}
    (tmp_path / "lessee.yaml").write_text(json.dumps(config))
    environ = dev.environ | {"VAULT_TOKEN": "hvs.none"}
    for command in (["render", "--timeout", "1s"], ["check", "--policy", "--online"]):
        done = run_lessee(*command, cwd=tmp_path, env=environ)
        assert "certificate is not trusted" in done.stderr
        assert hint in done.stderr
    dev("--stop")
    stopped = run_lessee("render", "--timeout", "1s", cwd=tmp_path, env=environ)
    assert (stopped.returncode, hint in stopped.stderr) == (69, False)
