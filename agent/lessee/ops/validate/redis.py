"""Checks a Redis with the credentials in Vault: it must accept only them, and store what it is sent."""

import uuid
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from typing import Any

from lessee.core import credentials as wanted
from lessee.core.credentials import RedisLogin
from lessee.core.immutable import replace
from lessee.host.answer_limits import broken_limit
from lessee.host.http_client import is_loopback
from lessee.host.redis_client import client_for
from lessee.ops.validate.checks import Check
from lessee.ops.validate.context import ValidationContext
from lessee.ops.validate.credentials import library, read_login
from lessee.ops.validate.network import connection_error
from lessee.ops.validate.policy import thresholds
from lessee.ops.validate.policy.results import Reporter, Result

_NAMES = (
    "redis-secret",
    "redis-reachable",
    "redis-tls",
    "redis-login",
    "redis-probe",
    "redis-requires-login",
    "redis-rejects-wrong-password",
)
_SHARE = 0.4
"""Of a check's time, for each response."""
_TTL = 60
_REJECTED = "rejected"
_NOT_PERMITTED = "not permitted"
"""The login works, but not for this command."""


def check(context: ValidationContext, reporter: Reporter, path: str, *, configured: bool) -> Check:
    """The check of the Redis of one secret."""
    return Check(reporter.component, _NAMES, partial(_check, context, reporter, path, configured=configured))


def _check(context: ValidationContext, reporter: Reporter, path: str, *, configured: bool) -> Iterator[Result]:
    login, timeout = read_login(context, path, wanted.redis, configured=configured), context.timeout * _SHARE
    yield reporter.passed("redis-secret", f"Redis credentials found in Vault ({path})")
    if error := connection_error(login.host, login.port, timeout):
        todo = "start it, or correct host and port in the secret, or the network"
        yield reporter.critical("redis-reachable", f"Redis does not answer at {login.address}: {error}", todo)
        return
    yield reporter.passed("redis-reachable", f"Redis answers at {login.address}")
    driver = library("redis")
    with closing(_client(login, timeout)) as client:
        error = _ping(driver, client)
        yield from _check_login(reporter, login, error)
        if not error:
            yield _check_probe(reporter, driver, client)
        elif error == _NOT_PERMITTED:
            yield reporter.skipped("redis-probe", "this user may not PING, as an admin need not: no probe key is set")
    if error in {"", _REJECTED, _NOT_PERMITTED}:
        yield _check_anonymous(reporter, driver, login, timeout)
        yield _check_wrong_password(reporter, driver, login, timeout)


def _ping(driver: Any, client: Any) -> str:
    """Empty after a success; _REJECTED where Redis rejects the login, _NOT_PERMITTED where it rejects the command;
    otherwise the name of the error.
    """
    try:
        client.ping()
    except driver.exceptions.AuthenticationError:
        return _REJECTED
    except driver.exceptions.NoPermissionError:
        return _NOT_PERMITTED
    except driver.exceptions.RedisError as exc:
        return broken_limit(exc) or type(exc).__name__
    return ""


def _check_login(reporter: Reporter, login: RedisLogin, error: str) -> Iterator[Result]:
    name = login.username or "the default user"
    if error not in {"", _REJECTED, _NOT_PERMITTED} and login.tls:
        todo = "check that the server has TLS at this port, and a certificate that matches ca_file and host"
        yield reporter.critical("redis-tls", f"the TLS connection to {login.address} fails ({error})", todo)
        return
    loopback = is_loopback(login.host)
    yield thresholds.encryption(reporter, "redis-tls", "Redis", loopback=loopback, tls=login.tls, verified=login.tls)
    if error == _REJECTED:
        todo = "write the user's password into the secret, or set it in Redis (ACL SETUSER, requirepass)"
        yield reporter.critical("redis-login", f"Redis rejects the password of {name}", todo)
    elif error == _NOT_PERMITTED:
        yield reporter.passed("redis-login", f"Redis login as {name} works, without the right to PING")
    elif error:
        todo = "check whether the port needs TLS (`tls: true` in the secret), and see the server's log"
        yield reporter.critical("redis-login", f"Redis does not answer PING ({error})", todo)
    else:
        yield reporter.passed("redis-login", f"Redis login as {name} works")


def _check_probe(reporter: Reporter, driver: Any, client: Any) -> Result:
    key, value = f"lessee:validate:{uuid.uuid4()}", uuid.uuid4().hex
    try:
        client.set(key, value, ex=_TTL)
        stored, left = client.get(key), client.ttl(key)
        client.delete(key)
    except driver.exceptions.RedisError as exc:
        todo = "check that the user may SET, GET and DEL (ACL), and that the server has free memory (maxmemory)"
        reason = broken_limit(exc) or type(exc).__name__
        return reporter.critical("redis-probe", f"a probe key cannot be set and read ({reason})", todo)
    if stored != value.encode() or not isinstance(left, int) or not 0 < left <= _TTL:
        todo = "check that the server is Redis, and not a proxy that stores nothing"
        return reporter.critical("redis-probe", "a probe key was not stored as it was set", todo)
    return reporter.passed("redis-probe", "a probe key was set with a TTL, read and deleted")


def _check_anonymous(reporter: Reporter, driver: Any, login: RedisLogin, timeout: float) -> Result:
    check = "redis-requires-login"
    with closing(_client(replace(login, username="", password=""), timeout)) as client:
        error = _ping(driver, client)
    if error == _REJECTED:
        return reporter.passed(check, "Redis rejects clients without a login")
    if error:
        return reporter.skipped(check, f"Redis does not answer a client without a login ({error})")
    todo = "set a password for the default user (requirepass), or disable it (ACL SETUSER default off)"
    return reporter.critical(check, "Redis is open: it accepts clients without a login", todo)


def _check_wrong_password(reporter: Reporter, driver: Any, login: RedisLogin, timeout: float) -> Result:
    check = "redis-rejects-wrong-password"
    with closing(_client(replace(login, password=uuid.uuid4().hex), timeout)) as client:
        error = _ping(driver, client)
    if error == _REJECTED:
        return reporter.passed(check, "Redis rejects a wrong password")
    if error:
        return reporter.skipped(check, f"Redis does not answer a client with a wrong password ({error})")
    todo = "remove `nopass` from the user: ACL SETUSER … resetpass >PASSWORD"
    return reporter.critical(check, "Redis accepts any password", todo)


def _client(login: RedisLogin, timeout: float) -> Any:
    return client_for(login, extra="validate", timeout=timeout, total=timeout)
