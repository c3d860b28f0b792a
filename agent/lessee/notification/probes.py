"""Looks whether an app has taken up what was published."""

import base64
import re
import socket
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import assert_never

from lessee.config import ByHttp, CommandProbe, FileProbe, HttpProbe, Probe, Ready, TcpProbe, TlsProbe
from lessee.core.immutable import Record
from lessee.host.clock import boot_time
from lessee.notification.results import Done
from lessee.notification.webhook import call

_BETWEEN = 0.25
"""Seconds from the start of a look to that of the next."""
_LONGEST_LOOK = 5.0
_LAST_LOOK = 1.0
_LATE = 0.5
"""Seconds after its time in which a look is still waited for."""
_NOTICED = 0.05
"""Seconds in which it is noticed, during a look, that it was given up."""
_TICK = 0.01
"""A file's time is that of the kernel's last tick, which is up to so many seconds past."""
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)


class _Published(Record, frozen=True):
    directory: Path
    wall: float
    extra: Mapping[str, str]


def wait_until_ready(
    ready: Ready,
    *,
    directory: Path,
    told_at: float,
    published_wall: float,
    extra: Mapping[str, str],
    given_up: threading.Event,
) -> str | None:
    """None as soon as the app is ready; else, at the end of `within` or once given up, what was wrong when last seen.

    `told_at` is on the boot clock, `published_wall` in seconds since 1970. `directory` holds the files published, and
    `extra` goes into a command's environment. The last look begins at the end of `within`, so that there is always
    one, and may take a second more. Of a command that is given up nobody hears, but it may go on for its time.
    """
    published = _Published(directory, published_wall, extra)
    end = told_at + ready.within
    next_look = told_at + ready.after
    seen: str | None = "it was given up before the first look"
    while not given_up.wait(max(0.0, next_look - boot_time())):
        started = boot_time()
        timeout = round(max(end - started, _LAST_LOOK), 1)
        if not isinstance(ready.probe, CommandProbe):
            timeout = min(timeout, _LONGEST_LOOK)
        seen = _look(_looker(ready.probe, published, timeout), timeout, given_up)
        if seen is None or boot_time() >= end:
            break
        next_look = min(started + _BETWEEN, end)
    return seen


def _look(looker: Callable[[], str | None], timeout: float, given_up: threading.Event) -> str | None:
    """Look from another thread: a resolver keeps to no time, and can be left alone there."""
    seen: list[str | None] = []
    looking = threading.Thread(target=lambda: seen.append(looker()), name="lessee-look", daemon=True)
    looking.start()
    limit = boot_time() + timeout + _LATE
    while looking.is_alive() and boot_time() < limit and not given_up.is_set():
        looking.join(_NOTICED)
    return seen[0] if seen else "the last look came to no end"


def _looker(probe: Probe, published: _Published, timeout: float) -> Callable[[], str | None]:
    """What looks once, and says what is wrong."""
    match probe:
        case HttpProbe(url):
            return partial(_http, url, timeout)
        case TcpProbe(address):
            return partial(_tcp, address, timeout)
        case TlsProbe(address, certificate):
            return partial(_tls, address, published.directory / certificate, timeout)
        case CommandProbe(command):
            return partial(_command, command, published.extra, timeout)
        case FileProbe(path):
            return partial(_file, Path(path), published.wall)
        case _:
            assert_never(probe)


def _http(url: str, timeout: float) -> str | None:
    answer = call(ByHttp(url=url, method="GET", header_files={}), timeout)
    return None if isinstance(answer, Done) else answer.why


def _tcp(address: str, timeout: float) -> str | None:
    try:
        _connect(address, timeout).close()
    except (OSError, ValueError) as exc:
        return _unconnected(address, exc, timeout)
    return None


def _tls(address: str, file: Path, timeout: float) -> str | None:
    # Few apps are proved so.
    import ssl  # noqa: PLC0415

    try:
        wanted = _first_certificate(file.read_bytes())
    except OSError as exc:
        return f"{file.name} cannot be read: {exc.strerror}"
    except ValueError:
        return f"{file.name} holds no certificate"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # It is no matter who answers, but with what.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    host = _host_and_port(address)[0]
    try:
        with _connect(address, timeout) as plain, context.wrap_socket(plain, server_hostname=host) as connection:
            served = connection.getpeercert(binary_form=True)
    except (ssl.SSLError, ConnectionResetError, BrokenPipeError) as exc:
        return f"{address} completes no TLS handshake: {exc.strerror}"
    except (OSError, ValueError) as exc:
        return _unconnected(address, exc, timeout)
    return None if served == wanted else f"{address} serves another certificate than {file.name}"


def _first_certificate(pem: bytes) -> bytes:
    """As DER. Raises ValueError where there is none."""
    if (found := _CERTIFICATE.search(pem)) is None:
        raise ValueError
    return base64.b64decode(found[1])


def _command(command: tuple[str, ...], extra: Mapping[str, str], timeout: float) -> str | None:
    # It is imported where an app is proved so.
    from lessee.process import programs  # noqa: PLC0415

    ended = programs.run(command, timeout=timeout, extra=extra)
    if ended.fine:
        return None
    return f"{command[0]} {ended.why}: {ended.last}" if ended.last else f"{command[0]} {ended.why}"


def _file(path: Path, published_wall: float) -> str | None:
    try:
        written = path.stat().st_mtime
    except OSError as exc:
        return f"{path}: {exc.strerror}"
    return None if written + _TICK >= published_wall else f"{path} is older than the publish"


def _connect(address: str, timeout: float) -> socket.socket:
    return socket.create_connection(_host_and_port(address), timeout)


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _unconnected(address: str, failure: Exception, timeout: float) -> str:
    match failure:
        case ConnectionRefusedError():
            return f"nobody listens at {address}"
        case TimeoutError():
            return f"{address}: no answer within {timeout:g} s"
        case OSError(strerror=str() as reason):
            return f"{address}: {reason}"
        case _:
            return f"{address} cannot be asked"
