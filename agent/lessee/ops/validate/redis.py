"""A Redis, with the credentials in Vault: whom it lets in, whom it does not, and what it keeps."""

import uuid
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from typing import Any

from lessee.core import credentials as wanted
from lessee.core.credentials import RedisLogin
from lessee.core.immutable import replace
from lessee.host.http_client import is_loopback
from lessee.ops.validate.checks import Check
from lessee.ops.validate.context import Subject
from lessee.ops.validate.credentials import credentials, library
from lessee.ops.validate.network import reach
from lessee.ops.validate.policy import thresholds
from lessee.ops.validate.policy.results import Result, Teller

_NAMES = (
    "redis-secret",
    "redis-reachable",
    "redis-tls",
    "redis-login",
    "redis-probe",
    "redis-demands-login",
    "redis-refuses-wrong-password",
)
_SHARE = 0.4
"""Of a check's time, for each answer."""
_TTL = 60
_REFUSED = "refused"


def check(subject: Subject, tell: Teller, path: str, *, configured: bool) -> Check:
    """All about the Redis of one secret."""
    return Check(tell.component, _NAMES, partial(_look, subject, tell, path, configured=configured))


def _look(subject: Subject, tell: Teller, path: str, *, configured: bool) -> Iterator[Result]:
    login, timeout = credentials(subject, path, wanted.redis, configured=configured), subject.timeout * _SHARE
    yield tell.passed("redis-secret", f"Redis credentials found in Vault ({path})")
    if silence := reach(login.host, login.port, timeout):
        todo = "start it, or mend host and port in the secret and the network on the way"
        yield tell.critical("redis-reachable", f"Redis does not answer at {login.address}: {silence}", todo)
        return
    yield tell.passed("redis-reachable", f"Redis answers at {login.address}")
    driver = library("redis")
    with closing(_client(driver, login, timeout)) as client:
        said = _ping(driver, client)
        yield from _answer(tell, login, said)
        if not said:
            yield _probe(tell, driver, client)
    if said in {"", _REFUSED}:
        yield _stranger(tell, driver, login, timeout)
        yield _liar(tell, driver, login, timeout)


def _ping(driver: Any, client: Any) -> str:
    """Empty where it answers, _REFUSED where the login is not accepted, else the name of what went wrong."""
    try:
        client.ping()
    except driver.exceptions.AuthenticationError:
        return _REFUSED
    except driver.exceptions.RedisError as exc:
        return type(exc).__name__
    return ""


def _answer(tell: Teller, login: RedisLogin, said: str) -> Iterator[Result]:
    name = login.username or "the default user"
    if said and said != _REFUSED and login.tls:
        todo = "does the server speak TLS at this port, and does its certificate fit ca_file and host?"
        yield tell.critical("redis-tls", f"no TLS connection to {login.address} comes about ({said})", todo)
        return
    loopback = is_loopback(login.host)
    yield thresholds.wire(tell, "redis-tls", "Redis", loopback=loopback, tls=login.tls, verified=login.tls)
    if said == _REFUSED:
        todo = "write the user's password into the secret, or set it in Redis (ACL SETUSER, requirepass)"
        yield tell.critical("redis-login", f"Redis refuses the password of {name}", todo)
    elif said:
        todo = "does the port speak TLS (`tls: true` in the secret), and is the server well?"
        yield tell.critical("redis-login", f"Redis does not answer a PING ({said})", todo)
    else:
        yield tell.passed("redis-login", f"Redis login as {name} works")


def _probe(tell: Teller, driver: Any, client: Any) -> Result:
    key, value = f"lessee:validate:{uuid.uuid4()}", uuid.uuid4().hex
    try:
        client.set(key, value, ex=_TTL)
        kept, left = client.get(key), client.ttl(key)
        client.delete(key)
    except driver.exceptions.RedisError as exc:
        todo = "may the user SET, GET and DEL (ACL), and has the server memory left (maxmemory)?"
        return tell.critical("redis-probe", f"a probe key cannot be set and read ({type(exc).__name__})", todo)
    if kept != value.encode() or not 0 < left <= _TTL:
        todo = "is what answers a Redis, or a proxy that keeps nothing?"
        return tell.critical("redis-probe", "a probe key is not there as it was set", todo)
    return tell.passed("redis-probe", "a probe key was set with a ttl, read and deleted")


def _stranger(tell: Teller, driver: Any, login: RedisLogin, timeout: float) -> Result:
    check = "redis-demands-login"
    with closing(_client(driver, replace(login, username="", password=""), timeout)) as client:
        said = _ping(driver, client)
    if said == _REFUSED:
        return tell.passed(check, "Redis refuses who does not log in")
    if said:
        return tell.unlooked(check, f"without a login Redis gives no clear answer ({said})")
    todo = "set a password for the default user (requirepass), or switch it off (ACL SETUSER default off)"
    return tell.critical(check, "Redis is open: it answers who does not log in", todo)


def _liar(tell: Teller, driver: Any, login: RedisLogin, timeout: float) -> Result:
    check = "redis-refuses-wrong-password"
    with closing(_client(driver, replace(login, password=uuid.uuid4().hex), timeout)) as client:
        said = _ping(driver, client)
    if said == _REFUSED:
        return tell.passed(check, "Redis refuses a wrong password")
    if said:
        return tell.unlooked(check, f"to a wrong password Redis gives no clear answer ({said})")
    todo = "take `nopass` from the user: ACL SETUSER … resetpass >PASSWORD"
    return tell.critical(check, "Redis takes any password", todo)


def _client(driver: Any, login: RedisLogin, timeout: float) -> Any:
    secured: dict[str, Any] = {}
    if login.tls:
        secured = {"ssl": True, "ssl_ca_certs": login.ca_file or None, "ssl_check_hostname": True}
    return driver.Redis(
        host=login.host,
        port=login.port,
        db=login.db,
        username=login.username or None,
        password=login.password or None,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=None,
        **secured,
    )
