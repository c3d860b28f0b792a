"""`lessee dev --listen`: containers reach the server for development, with TLS, and with its token alone."""

import json
import os
import re
import subprocess

import pytest

from support.needs import need
from support.programs.sidecar import PATIENCE
from support.servers.dev_server import Dev
from support.thorough import sampled

docker = pytest.mark.docker
BASE, NETWORK = "lessee-dev-listen-base", "lessee-dev-listen"
ASK = """
import json, ssl, sys, urllib.error, urllib.request
token, context = sys.stdin.readline().strip(), ssl.create_default_context(cafile="/ca.pem")
for host in sys.argv[2:]:
    request = urllib.request.Request(f"https://{host}:{sys.argv[1]}/v1/secret/data/a", headers={"X-Vault-Token": token})
    try:
        print(host, json.load(urllib.request.urlopen(request, timeout=60, context=context))["data"]["data"]["key"])
    except urllib.error.HTTPError as exc:
        print(host, exc.code)
    except OSError as exc:
        print(host, "unreachable" if isinstance(getattr(exc, "reason", exc), TimeoutError) else exc)
"""
CANARY, ADDRESS = "canary-55e1", "10.99.0.1"
MOMENTS = ("after remove ca.pem", "after write server-key.pem", "after write server.pem", "after write ca.pem")


@pytest.fixture
def dev(tmp_path):
    with Dev(tmp_path) as one:
        yield one


@pytest.fixture(scope="module")
def network(engine):
    """A bridge network of a user's own, as Compose makes one for each project."""
    engine.make_base(BASE)
    engine.docker("network", "create", NETWORK)
    yield NETWORK
    engine.docker("network", "rm", NETWORK, check=False)


@pytest.fixture
def host(engine, tmp_path):
    """`lessee dev` on the host of the Engine."""
    with Dev(tmp_path, under=engine.network, is_lasting=True) as one:
        yield one


@pytest.fixture
def elsewhere(tmp_path):
    """`lessee dev` in a network with one more address, and without Docker's bridge."""
    need(os.geteuid() == 0, "needs root for a network of its own")
    setup = f"ip link set lo up; ip address add {ADDRESS}/32 dev lo; echo ready; exec cat"
    words = ["unshare", "--net", "sh", "-euc", setup]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        with Dev(tmp_path, under=["nsenter", f"--target={process.pid}", "--net", "--"]) as one:
            yield one


def put(dev):
    """Write a secret by the socket, which needs no network."""
    done = subprocess.run(
        [
            *("curl", "-sf", "--unix-socket", dev.folder / "api.sock", "-H", f"X-Vault-Token: {dev.token}"),
            *("-d", f'{{"data": {{"key": "{CANARY}"}}}}', "http://unix/v1/secret/data/a"),
        ],
        check=False,
    )
    assert done.returncode == 0


def ask(engine, dev, *hosts, network="bridge", token=None, ca=None, names=("host.docker.internal",)):
    """What a container gets at each of these addresses of the server."""
    words = [word for name in names for word in ("--add-host", f"{name}:host-gateway")]
    output = engine.docker(
        *("run", "--rm", "--interactive", "--network", network, *words),
        *("--volume", f"{ca or dev.folder / 'ca.pem'}:/ca.pem:ro", BASE),
        *("/usr/bin/python3", "-c", ASK, str(dev.port), *hosts),
        text=f"{token or dev.token}\n",
    )
    return dict(line.split(" ", 1) for line in output.splitlines())


def gateway(engine):
    return engine.docker("network", "inspect", "bridge", "--format={{(index .IPAM.Config 0).Gateway}}").strip()


@pytest.mark.thorough
@docker
def test_a_container_on_a_bridge_network_reads_a_secret_by_the_name_of_the_host(engine, host, network):
    said = host.detach("--listen", "docker").stderr
    address = gateway(engine)
    assert f"https://host.docker.internal:{host.port} ({address})" in said
    put(host)
    names = ("host.docker.internal", "host.containers.internal")
    for one in ("bridge", network):
        got = ask(engine, host, *names, address, network=one, names=names)
        assert got == dict.fromkeys((*names, address), CANARY)
    # Without the token it gets nothing, and only with this CA it trusts the server.
    assert ask(engine, host, names[0], token="s.none") == {names[0]: "403"}
    other = ask(engine, host, names[0], ca="/etc/ssl/certs/ca-certificates.crt")
    assert "CERTIFICATE_VERIFY_FAILED" in other[names[0]]
    shown = host("--status").stdout
    assert f"listen   https://{address}:{host.port}\n" in shown
    assert "host.docker.internal:host-gateway" in shown


@pytest.mark.thorough
@docker
def test_a_server_that_exists_gets_the_address_and_keeps_its_data_and_its_token(engine, host, network):
    host.detach()
    put(host)
    token, name = host.token, "host.docker.internal"
    assert ask(engine, host, name, network=network) != {name: CANARY}
    changed = host.detach("--listen", "docker")
    assert "is restarted with another address" in changed.stderr
    assert host.token == token
    assert ask(engine, host, name, network=network) == {name: CANARY}
    # It runs so already, and the next start remembers it.
    [server] = host.servers()
    assert "runs here already" in host.detach("--listen", "docker").stderr
    assert list(host.servers()) == [server]
    ca = (host.folder / "ca.pem").read_bytes()
    host("--stop")
    host.detach()
    assert (host.folder / "ca.pem").read_bytes() == ca
    assert ask(engine, host, name, network=network) == {name: CANARY}
    # And away again: the certificate stays, because it still names loopback.
    host.detach("--listen", "127.0.0.1")
    assert ask(engine, host, name, network=network) != {name: CANARY}
    assert "listen" not in host("--status").stdout
    assert (host.folder / "ca.pem").read_bytes() == ca
    assert host.token == token


@docker
def test_without_a_bridge_the_engine_says_where_its_gateway_is(engine, elsewhere):
    """As where the Engine's bridge has another name."""
    done = elsewhere("--detach", "--listen", "docker", DOCKER_HOST=engine.environ.get("DOCKER_HOST", ""))
    # This network has no such address, so it was the Engine that named it.
    assert done.returncode == 73
    assert f"{gateway(engine)}: this machine does not have this address" in done.stderr
    assert "--listen" in done.stderr


def test_without_docker_the_error_says_what_to_do(elsewhere):
    done = elsewhere("--detach", "--listen", "docker", DOCKER_HOST="unix:///nowhere")
    assert done.returncode == 70
    assert re.search(r"no Docker Engine with a bridge network.*--listen ADDRESS", done.stderr)


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "8.8.8.8", "all"])  # noqa: S104
def test_all_addresses_are_never_listened_on(dev, address):
    done = dev("--detach", "--port", dev.port, "--listen", address)
    assert (done.returncode, list(dev.servers())) == (64, [])


@pytest.mark.thorough
def test_an_address_that_is_not_of_this_machine_leaves_the_running_server_alone(dev):
    dev.detach()
    [server] = dev.servers()
    done = dev("--detach", "--listen", "192.168.255.254")
    assert done.returncode == 73
    assert "192.168.255.254" in done.stderr
    assert list(dev.servers()) == [server]
    dev("--stop")
    assert dev("--detach", "--listen", "192.168.255.254").returncode == 73
    dev.detach()


@pytest.mark.thorough
def test_a_new_certificate_that_is_killed_halfway_is_whole_at_the_next_start(elsewhere):
    elsewhere.detach()
    put(elsewhere)
    token = elsewhere.token
    elsewhere("--stop")
    for moment in sampled(MOMENTS, of=2, key="dev listen"):
        killed = elsewhere.killed(moment, options=("--listen", ADDRESS))
        assert killed.wait(PATIENCE) == -9
        elsewhere.detach()
        assert "listen" not in elsewhere("--status").stdout
        assert read(elsewhere, "127.0.0.1") == CANARY
        elsewhere("--stop")
    elsewhere.detach("--listen", ADDRESS)
    assert (read(elsewhere, ADDRESS), elsewhere.token) == (CANARY, token)


def read(dev, address):
    """What a client that verifies the server reads in its network."""
    done = subprocess.run(
        [
            *(*dev.under, "curl", "-s", "--cacert", dev.folder / "ca.pem", "-H", f"X-Vault-Token: {dev.token}"),
            f"https://{address}:{dev.port}/v1/secret/data/a",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)["data"]["data"]["key"]
