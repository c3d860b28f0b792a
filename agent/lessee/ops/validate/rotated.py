"""Checks the logins that `rotation` changes in MariaDB, MySQL, RabbitMQ and LDAP directories."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from lessee.config.grammar.rotation import Ldap, Mysql, Rabbitmq, Rotation
from lessee.core import credentials as wanted
from lessee.core.credentials import LdapLogin, MysqlLogin, RabbitmqLogin
from lessee.host import amqp_login, mysql_client
from lessee.host.amqp_login import AmqpError, Outcome
from lessee.host.http_client import is_loopback
from lessee.host.ldap_client import Code, Directory, LdapError
from lessee.host.mysql_client import ErrorKind, MysqlError
from lessee.ops.validate.checks import Check
from lessee.ops.validate.context import ValidationContext
from lessee.ops.validate.credentials import library, read_login
from lessee.ops.validate.network import connection_error
from lessee.ops.validate.policy import thresholds
from lessee.ops.validate.policy.results import Reporter, Result

_SHARE = 0.4
"""Of a check's time, for each connection."""


def checks(context: ValidationContext) -> Iterator[Check]:
    """The checks of each target of these kinds."""
    for target in context.config.rotation.values():
        if (kind := _kind(target)) is not None:
            system, parse, log_in, last = kind
            names = tuple(f"{system.lower()}-{name}" for name in ("secret", "reachable", "tls", "login", *last))
            run = partial(_check, context, target.secret, system, parse, log_in)
            yield Check("rotation", names, run)


def _kind(target: Rotation) -> tuple[str, Callable[..., Any], Callable[..., Iterator[Result]], tuple[str, ...]] | None:
    """The system's name, what parses its secret, what logs in, and the checks that it has in addition."""
    match target:
        case Mysql():
            return "MySQL", wanted.mysql, _log_in_to_mysql, ("database",)
        case Rabbitmq():
            return "RabbitMQ", wanted.rabbitmq, _log_in_to_rabbitmq, ("vhost",)
        case Ldap():
            return "LDAP", wanted.ldap, _bind, ()
        case _:
            return None


def _check(
    context: ValidationContext,
    path: str,
    system: str,
    parse: Callable[..., Any],
    log_in: Callable[..., Iterator[Result]],
) -> Iterator[Result]:
    reporter, prefix, timeout = Reporter("rotation"), system.lower(), context.timeout * _SHARE
    login = read_login(context, path, parse, configured=True)
    yield reporter.passed(f"{prefix}-secret", f"{system} credentials found in Vault ({path})")
    if error := connection_error(login.host, login.port, timeout):
        todo = "start it, or correct its address in the secret, or the network"
        yield reporter.critical(f"{prefix}-reachable", f"{system} does not answer at {login.address}: {error}", todo)
        return
    yield reporter.passed(f"{prefix}-reachable", f"{system} answers at {login.address}")
    tls = login.tls or getattr(login, "start_tls", False)
    loopback = is_loopback(login.host)
    yield thresholds.encryption(reporter, f"{prefix}-tls", system, loopback=loopback, tls=tls, verified=tls)
    yield from log_in(reporter, login, timeout)


def _log_in_to_mysql(reporter: Reporter, login: MysqlLogin, timeout: float) -> Iterator[Result]:
    library("pymysql")
    try:
        with mysql_client.session(login, extra="validate", program="lessee validate", timeout=timeout, total=timeout):
            pass
    except MysqlError as exc:
        match exc.kind:
            case ErrorKind.NO_DATABASE:
                yield reporter.passed("mysql-login", f"MySQL login as {login.username} works")
                todo = "create it, or GRANT … ON it, or correct `database` in the secret"
                what = f"{login.username} may not use the database {login.database}, or it does not exist"
                yield reporter.critical("mysql-database", what, todo)
            case ErrorKind.REJECTED:
                todo = "write the user's password into the secret, or set a new one: ALTER USER … IDENTIFIED BY …"
                yield reporter.critical("mysql-login", f"MySQL rejects the password of {login.username}", todo)
            case _:
                todo = "see the server's log, and check `tls` and `ca_file` in the secret"
                yield reporter.critical("mysql-login", f"no login to MySQL is possible: {exc.reason}", todo)
        return
    yield reporter.passed("mysql-login", f"MySQL login as {login.username} works")
    yield reporter.passed("mysql-database", f"the database is {login.database or 'none'}")


def _log_in_to_rabbitmq(reporter: Reporter, login: RabbitmqLogin, timeout: float) -> Iterator[Result]:
    try:
        outcome = amqp_login.log_in(login, timeout)
    except AmqpError as exc:
        todo = "see the broker's log, and check `tls` and `ca_file` in the secret"
        yield reporter.critical("rabbitmq-login", f"no login to RabbitMQ is possible: {exc}", todo)
        return
    if outcome is Outcome.REJECTED:
        todo = f"write the user's password into the secret, or set it: rabbitmqctl change_password {login.username}"
        yield reporter.critical("rabbitmq-login", f"RabbitMQ rejects the password of {login.username}", todo)
        return
    yield reporter.passed("rabbitmq-login", f"RabbitMQ login as {login.username} works")
    if outcome is Outcome.NO_VHOST:
        todo = f"rabbitmqctl set_permissions -p {login.vhost} {login.username} …, or correct `vhost` in the secret"
        what = f"{login.username} may not use the virtual host {login.vhost}, or it does not exist"
        yield reporter.critical("rabbitmq-vhost", what, todo)
    else:
        yield reporter.passed("rabbitmq-vhost", f"the virtual host is {login.vhost}")


def _bind(reporter: Reporter, login: LdapLogin, timeout: float) -> Iterator[Result]:
    try:
        with Directory(login, timeout) as directory:
            code = directory.bind(login.dn, login.password)
    except LdapError as exc:
        todo = "see the directory's log, and check the scheme of `url`, `start_tls` and `ca_file` in the secret"
        yield reporter.critical("ldap-login", f"no bind to the directory is possible: {exc}", todo)
        return
    if code == Code.SUCCESS:
        yield reporter.passed("ldap-login", f"LDAP bind as {login.dn} works")
        return
    todo = "write the entry's password into the secret, or set it: ldappasswd"
    yield reporter.critical("ldap-login", f"the directory rejects the bind as {login.dn} (code {code})", todo)
