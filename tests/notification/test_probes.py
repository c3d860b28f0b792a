"""An app is ready once it uses the published files, and not before."""

import datetime as dt
import os
import socket
import ssl
import sys
import threading
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from lessee.config import CommandProbe, FileProbe, HttpProbe, Ready, TcpProbe, TlsProbe
from lessee.host.clock import boot_time
from lessee.host.openbao import free_port
from lessee.notification import probes
from lessee.process.program_output import outputs_of
from support.programs.sidecar import eventually

LONG = 60.0
"""Seconds that no test waits."""
LEEWAY = 40.0
"""Seconds that a busy machine may add; what is under test would take longer, or forever."""


def wait(probe, *, initial_delay=0.0, timeout=LONG, notified_ago=0.0, canceled=None, **more):
    settings = {"directory": Path("/nowhere"), "published_at": 0.0, "extra": {}} | more
    return probes.wait_until_ready(
        Ready(probe=probe, initial_delay=initial_delay, timeout=timeout),
        notified_at=boot_time() - notified_ago,
        canceled=canceled or threading.Event(),
        **settings,
    )


class Server:
    """Handles one connection after the other by the next behavior; the last one applies to all later ones."""

    def __init__(self, *behaviours):
        self.at = []
        """When each began, on the boot clock."""
        self._behaviours = list(behaviours)
        self._open = None
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self):
        with suppress(OSError):
            while True:
                self._open, _ = self._listening.accept()
                self.at.append(boot_time())
                behave = self._behaviours.pop(0) if len(self._behaviours) > 1 else self._behaviours[0]
                with self._open, suppress(OSError):
                    behave(self._open)

    def close(self):
        self._listening.shutdown(socket.SHUT_RDWR)
        if self._open is not None:
            with suppress(OSError):  # It has ended, or is in the hands of ssl.
                self._open.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listening.close()


@pytest.fixture
def serve():
    servers = []

    def start(*behaviours):
        servers.append(Server(*behaviours))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def answer(status, connection):
    request = b""
    while b"\r\n\r\n" not in request:
        request += connection.recv(65536)
    assert request.startswith(b"GET /health?deep=1 HTTP/1.1\r\n")
    connection.sendall(f"HTTP/1.1 {status}\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n".encode())


def hang(connection):
    while connection.recv(65536):
        pass


def hang_up(connection):
    """Close the connection immediately."""


def die_in_the_middle(connection):
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 20")


GOOD, BUSY, MOVED = (partial(answer, status) for status in ("200 OK", "503 Busy", "302 Found"))


def health(server):
    return HttpProbe(f"http://{server.address}/health?deep=1")


def test_an_app_that_answers_with_2xx_is_ready_at_the_first_probe(serve):
    server = serve(GOOD)
    assert wait(health(server)) is None
    assert len(server.at) == 1


def test_an_app_that_starts_late_is_ready_when_it_answers(serve):
    server = serve(BUSY, hang_up, die_in_the_middle, MOVED, GOOD)
    assert wait(health(server)) is None
    assert len(server.at) == 5


def test_probes_are_a_quarter_of_a_second_apart_and_the_first_follows_the_initial_delay(serve):
    server = serve(BUSY, BUSY, GOOD)
    notified_at = boot_time()
    assert wait(health(server), initial_delay=0.3) is None
    first, second, third = server.at
    assert first >= notified_at + 0.3
    # From start to start; a connection may be taken late.
    assert second >= notified_at + 0.3 + 0.25
    assert third >= notified_at + 0.3 + 0.5


@pytest.mark.parametrize(
    ("behaviour", "seen"),
    [
        (BUSY, "GET http://{}/health answered 503"),
        (MOVED, "GET http://{}/health answered 302"),
        (die_in_the_middle, "GET http://{}/health: the response is not HTTP"),
        (hang_up, "GET http://{}/health: the server closed the connection before its response was complete"),
        (hang, "GET http://{}/health: no response within 1 s"),
    ],
)
def test_an_app_that_is_never_ready_fails_at_the_timeout_with_the_last_failure(serve, behaviour, seen):
    server = serve(behaviour)
    began = boot_time()
    assert wait(health(server), timeout=0.6) == seen.format(server.address)
    assert 0.6 <= boot_time() - began < 0.6 + 1.0 + LEEWAY


def test_the_last_probe_starts_at_the_timeout(serve):
    server = serve(BUSY)
    began = boot_time()
    wait(health(server), timeout=0.4)
    assert server.at[-1] >= began + 0.4


def test_an_app_notified_long_ago_is_still_probed_once(serve):
    assert wait(health(serve(GOOD)), timeout=30, notified_ago=1000) is None
    assert wait(health(serve(BUSY)), timeout=30, notified_ago=1000).endswith("answered 503")


@pytest.mark.parametrize("kind", [HttpProbe, TlsProbe, CommandProbe])
def test_a_cancellation_during_a_probe_takes_effect_immediately(serve, certify, tmp_path, kind):
    certify("tls.crt")
    os.mkfifo(tmp_path / "gate")
    server = serve(hang)
    probe = {
        HttpProbe: health(server),
        TlsProbe: TlsProbe(server.address, "tls.crt"),
        CommandProbe: CommandProbe(python(f"open({str(tmp_path / 'gate')!r}).read(); exit(1)")),
    }[kind]
    canceled, seen = threading.Event(), []
    waiting = threading.Thread(
        target=lambda: seen.append(wait(probe, directory=tmp_path, canceled=canceled)), daemon=True
    )
    waiting.start()
    gate = None
    if kind is CommandProbe:
        gate = (tmp_path / "gate").open("w")  # Waits for the command to be there.
    else:
        eventually(lambda: server.at, "a look")
    began = boot_time()
    canceled.set()
    waiting.join(LONG)
    assert boot_time() - began < LEEWAY
    assert len(seen) == 1
    assert seen[0]
    if gate is not None:
        gate.close()


def test_a_cancellation_between_probes_or_before_the_first_takes_effect_immediately():
    canceled = threading.Event()
    began = boot_time()
    threading.Timer(0.2, canceled.set).start()
    assert wait(TcpProbe("127.0.0.1:1"), initial_delay=50, canceled=canceled)
    assert boot_time() - began < LEEWAY


def test_an_address_that_accepts_a_connection_is_ready(serve):
    assert wait(TcpProbe(serve(hang).address)) is None


def test_an_address_that_refuses_connections_is_not_ready():
    address = f"127.0.0.1:{free_port()}"
    assert wait(TcpProbe(address), timeout=0.3) == f"{address}: connection refused"


def test_an_address_that_accepts_connections_later_is_ready_then():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))  # Until it listens, a connection is refused.
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        assert wait(TcpProbe(address), timeout=0.3) == f"{address}: connection refused"
        threading.Timer(0.3, listening.listen).start()
        assert wait(TcpProbe(address)) is None


def test_an_ipv6_address_is_probed_too():
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listening:
        assert wait(TcpProbe(f"[::1]:{listening.getsockname()[1]}")) is None


def test_an_invalid_address_is_reported():
    address = f"{'a' * 70}.example:80"
    assert wait(TcpProbe(address), timeout=0.3) == f"{address} is not a valid address"


@pytest.fixture
def certify(tmp_path):
    """Write a certificate that ended an hour ago, its key and a chain into one file; gives the certificate."""

    def make(file, *, key_first=False, chain=b""):
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "app")])
        now = dt.datetime.now(dt.UTC)
        builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - dt.timedelta(hours=2)).not_valid_after(now - dt.timedelta(hours=1))
        certificate = builder.sign(key, SHA256()).public_bytes(Encoding.PEM)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (tmp_path / file).write_bytes(private + certificate + chain if key_first else certificate + chain + private)
        return certificate

    return make


def handshake(file, connection, *, names=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    if names is not None:
        context.sni_callback = lambda _, name, __: names.append(name)
    with context.wrap_socket(connection, server_side=True) as served:
        hang(served)


@pytest.mark.parametrize("key_first", [False, True])
def test_a_server_with_the_new_certificate_is_ready_with_any_issuer_and_name(serve, certify, tmp_path, key_first):
    old = certify("old.crt")
    certify("tls.crt", key_first=key_first, chain=old)
    server = serve(partial(handshake, tmp_path / "tls.crt"))
    assert wait(TlsProbe(server.address, "tls.crt"), directory=tmp_path) is None


def test_a_server_with_the_old_certificate_is_not_ready_until_it_serves_the_new_one(serve, certify, tmp_path):
    old = certify("old.crt")
    certify("tls.crt", chain=old)
    stale, fresh = partial(handshake, tmp_path / "old.crt"), partial(handshake, tmp_path / "tls.crt")
    server = serve(stale)
    seen = wait(TlsProbe(server.address, "tls.crt"), directory=tmp_path, timeout=0.3)
    assert seen == f"{server.address} serves another certificate than tls.crt"
    server = serve(stale, hang_up, fresh)
    assert wait(TlsProbe(server.address, "tls.crt"), directory=tmp_path) is None
    assert len(server.at) == 3


def test_a_handshake_names_the_server_but_no_address(serve, certify, tmp_path):
    certify("tls.crt")
    names = []
    server = serve(partial(handshake, tmp_path / "tls.crt", names=names))
    port = server.address.rpartition(":")[2]
    for host in ("localhost", "127.0.0.1"):
        assert wait(TlsProbe(f"{host}:{port}", "tls.crt"), directory=tmp_path) is None
    assert names == ["localhost", None]


@pytest.mark.parametrize(
    ("behaviour", "seen"),
    [
        (hang, "{}: no response within 1 s"),
        (die_in_the_middle, "{}: the TLS handshake failed: "),
        (hang_up, "{}: the TLS handshake failed: "),
    ],
)
def test_a_server_that_completes_no_handshake_is_not_ready(serve, certify, tmp_path, behaviour, seen):
    certify("tls.crt")
    server = serve(behaviour)
    failure = wait(TlsProbe(server.address, "tls.crt"), directory=tmp_path, timeout=0.3)
    assert failure.startswith(seen.format(server.address))


@pytest.mark.parametrize("name", ["tls.crt", "tls/server.crt"])
def test_a_file_without_a_certificate_is_reported(serve, tmp_path, name):
    server = serve(hang)
    probe = TlsProbe(server.address, name)
    assert wait(probe, directory=tmp_path, timeout=0.3) == f"cannot read {name}: No such file or directory"
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("-----BEGIN CERTIFICATE-----\nQ\n-----END CERTIFICATE-----\n")
    assert wait(probe, directory=tmp_path, timeout=0.3) == f"{name} holds no certificate"
    (tmp_path / name).write_text("canary")
    assert wait(probe, directory=tmp_path, timeout=0.3) == f"{name} holds no certificate"


def python(script):
    return sys.executable, "-c", f"import os, signal\n{script}"


def test_a_command_that_exits_with_0_means_ready_and_gets_the_apps_name():
    probe = CommandProbe(("sh", "-c", 'test "$LESSEE_APP" = web'))
    assert wait(probe, extra={"LESSEE_APP": "web"}) is None
    assert wait(probe, extra={"LESSEE_APP": "other"}, timeout=0.1) == "sh exited with status 1"


def test_a_command_that_fails_at_first_is_run_again_until_it_succeeds(tmp_path):
    script = f"open({str(tmp_path / 'runs')!r}, 'a').write('x'); exit(os.stat({str(tmp_path / 'runs')!r}).st_size < 3)"
    assert wait(CommandProbe(python(script))) is None
    assert (tmp_path / "runs").read_text() == "xxx"


def test_a_failed_command_is_reported_without_its_output_which_is_in_memory():
    probe = CommandProbe(("sh", "-c", "echo first; echo no route to the app; echo; exit 2"))
    said = wait(probe, extra={"LESSEE_APP": "web"}, timeout=0.3)
    assert said.startswith("sh exited with status 2; ")
    assert "3 lines" in said
    assert "no route" not in said
    *_, output = outputs_of("web")
    assert (output.program, output.result) == ("ready", "exited with status 2")
    assert output.lines == ("first", "no route to the app", "")


def test_a_command_that_hangs_is_killed_at_its_timeout(monkeypatch):
    # A busy machine may need seconds to end the command; the agent would not wait for that.
    monkeypatch.setattr(probes, "_GRACE", LEEWAY)
    began = boot_time()
    assert wait(CommandProbe(python("signal.pause()")), timeout=1.5) == f"{sys.executable} was killed after 1.5 s"
    assert 1.4 <= boot_time() - began < 1.5 + LEEWAY


def test_a_missing_command_is_reported():
    seen = "/no/such was not started: No such file or directory"
    assert wait(CommandProbe(("/no/such",)), timeout=0.1) == seen


def test_a_file_written_right_after_the_publish_is_new_although_file_times_are_coarse(tmp_path):
    for number in range(300):
        published = boot_time()
        (tmp_path / str(number)).touch()
        assert wait(FileProbe(str(tmp_path / str(number))), published_at=published, timeout=0.1) is None


def test_a_missing_file_or_one_from_before_the_publish_is_not_ready(tmp_path):
    file = tmp_path / "ready"
    assert wait(FileProbe(str(file)), timeout=0.1) == f"{file}: No such file or directory"
    file.touch()
    os.utime(file, (0, time.time() - 0.05))
    published = boot_time()
    assert wait(FileProbe(str(file)), published_at=published, timeout=0.1) == f"{file} is older than the publish"
    threading.Timer(0.2, file.touch).start()
    assert wait(FileProbe(str(file)), published_at=boot_time()) is None
