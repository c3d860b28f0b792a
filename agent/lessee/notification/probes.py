"""Probes whether an app is ready with the files that were published."""

import base64
import re
import socket
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import assert_never

from lessee.config import CommandProbe, FileProbe, HttpProbe, HttpTarget, Probe, Ready, TcpProbe, TlsProbe
from lessee.core.immutable import ImmutableStruct
from lessee.host import tls
from lessee.host.clock import boot_time, boot_times
from lessee.notification.results import Delivered
from lessee.notification.webhook import call

_PERIOD = 0.25
"""Seconds from the start of one probe to the start of the next."""
_LONGEST_PROBE = 5.0
_LAST_PROBE = 1.0
_GRACE = 0.5
"""Seconds after a probe's timeout for which its result is still awaited."""
_CANCEL_POLL = 0.05
"""Seconds within which a running probe is canceled."""
_TICK = 0.01
"""A file's time is that of the kernel's last tick, which is up to so many seconds old."""
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)


class _Publication(ImmutableStruct, frozen=True):
    directory: Path
    published_at: float
    extra: Mapping[str, str]


def wait_until_ready(
    ready: Ready,
    *,
    directory: Path,
    notified_at: float,
    published_at: float,
    extra: Mapping[str, str],
    canceled: threading.Event,
) -> str | None:
    """None as soon as the app is ready; else the last probe's failure, at the end of the timeout or once canceled.

    `notified_at` and `published_at` are on the boot clock. `directory` holds the published files, and a command's
    environment gets `extra`. The last probe starts at the end of the timeout, so that there is always one, and may take
    another second. A command that is canceled may run on until its timeout.
    """
    publication = _Publication(directory, published_at, extra)
    end = notified_at + ready.timeout
    next_probe = notified_at + ready.initial_delay
    failure: str | None = "canceled before the first probe"
    while not canceled.wait(max(0.0, next_probe - boot_time())):
        started = boot_time()
        timeout = round(max(end - started, _LAST_PROBE), 1)
        if not isinstance(ready.probe, CommandProbe):
            timeout = min(timeout, _LONGEST_PROBE)
        failure = _run(_function(ready.probe, publication, timeout), timeout, canceled)
        if failure is None or boot_time() >= end:
            break
        next_probe = min(started + _PERIOD, end)
    return failure


def _run(probe: Callable[[], str | None], timeout: float, canceled: threading.Event) -> str | None:
    """Probe from another thread, which is abandoned if it takes too long: a resolver ignores every timeout."""
    failures: list[str | None] = []
    worker = threading.Thread(target=lambda: failures.append(probe()), name="lessee-probe", daemon=True)
    worker.start()
    limit = boot_time() + timeout + _GRACE
    while worker.is_alive() and boot_time() < limit and not canceled.is_set():
        worker.join(_CANCEL_POLL)
    return failures[0] if failures else "the last probe did not finish"


def _function(probe: Probe, publication: _Publication, timeout: float) -> Callable[[], str | None]:
    """A function that probes once, and returns why the app is not ready."""
    match probe:
        case HttpProbe(url):
            return partial(_http, url, timeout)
        case TcpProbe(address):
            return partial(_tcp, address, timeout)
        case TlsProbe(address, certificate):
            return partial(_tls, address, publication.directory, certificate, timeout)
        case CommandProbe(command):
            return partial(_command, command, publication.extra, timeout)
        case FileProbe(path):
            return partial(_file, Path(path), publication.published_at)
        case _:
            assert_never(probe)


def _http(url: str, timeout: float) -> str | None:
    result = call(HttpTarget(url=url, method="GET", header_files={}), timeout)
    return None if isinstance(result, Delivered) else result.reason


def _tcp(address: str, timeout: float) -> str | None:
    try:
        _connect(address, timeout).close()
    except (OSError, ValueError) as exc:
        return _connection_failure(address, exc, timeout)
    return None


def _tls(address: str, directory: Path, name: str, timeout: float) -> str | None:
    try:
        expected = _first_certificate((directory / name).read_bytes())
    except OSError as exc:
        return f"cannot read {name}: {exc.strerror}"
    except ValueError:
        return f"{name} holds no certificate"
    try:
        served = tls.served_certificate(partial(_connect, address, timeout), _host_and_port(address)[0])
    except tls.HandshakeError as exc:
        return f"{address}: the TLS handshake failed: {exc}"
    except (OSError, ValueError) as exc:
        return _connection_failure(address, exc, timeout)
    return None if served == expected else f"{address} serves another certificate than {name}"


def _first_certificate(pem: bytes) -> bytes:
    """The first certificate, as DER. Raises ValueError without a certificate."""
    if (match := _CERTIFICATE.search(pem)) is None:
        raise ValueError
    return base64.b64decode(match[1])


def _command(command: tuple[str, ...], extra: Mapping[str, str], timeout: float) -> str | None:
    from lessee.process import program_output, programs  # noqa: PLC0415  # Imported only for this kind of probe.

    result = programs.run(command, timeout=timeout, extra=extra)
    if result.succeeded:
        return None
    app = extra.get("LESSEE_APP", "")
    # Four times a second, so it is not logged; the error says how the last one ended.
    result.keep_output(app, "ready")
    return f"{command[0]} {result.failure}{program_output.hint(app, result.line_count)}"


def _file(path: Path, published_at: float) -> str | None:
    try:
        modified_at = path.stat().st_mtime
    except OSError as exc:
        return f"{path}: {exc.strerror}"
    return None if boot_times(modified_at)[-1] + _TICK >= published_at else f"{path} is older than the publish"


def _connect(address: str, timeout: float) -> socket.socket:
    return socket.create_connection(_host_and_port(address), timeout)


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _connection_failure(address: str, exc: Exception, timeout: float) -> str:
    match exc:
        case ConnectionRefusedError():
            return f"{address}: connection refused"
        case TimeoutError():
            return f"{address}: no response within {timeout:g} s"
        case OSError(strerror=str() as reason):
            return f"{address}: {reason}"
        case _:
            return f"{address} is not a valid address"
