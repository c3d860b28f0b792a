"""Credentials for databases, brokers, directories and object stores, parsed from the fields of a secret."""

from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from lessee.core.errors import LesseeError
from lessee.core.immutable import ImmutableStruct

SSLMODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
"""The modes of libpq, https://www.postgresql.org/docs/current/libpq-ssl.html."""
_PORTS = 65535
_DIGITS = 9


class PostgresLogin(ImmutableStruct, frozen=True):
    """A user of a PostgreSQL database. An empty `sslmode` is libpq's default, which any server may turn off."""

    hidden = ("password",)

    host: str
    port: int
    database: str
    username: str
    password: str
    sslmode: str
    ca_file: str

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def security(self) -> Mapping[str, str]:
        """The settings of libpq for TLS, and for which requests of a server the client ends the connection.

        A server whose certificate is not verified may be any: it gets no password in clear text.
        https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNECT-REQUIRE-AUTH
        """
        found = {"sslmode": self.sslmode} if self.sslmode else {}
        if self.ca_file:
            found["sslrootcert"] = self.ca_file
        return found if self.sslmode.startswith("verify-") else {**found, "require_auth": "!password"}


class RedisLogin(ImmutableStruct, frozen=True):
    """A user of a Redis server; an empty `username` is the default user."""

    hidden = ("password",)

    host: str
    port: int
    db: int
    username: str
    password: str
    tls: bool
    ca_file: str

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"


class MysqlLogin(ImmutableStruct, frozen=True):
    """A user of MariaDB or MySQL. An empty `database` selects none. With `tls`, the certificate is verified."""

    hidden = ("password",)

    host: str
    port: int
    database: str
    username: str
    password: str
    tls: bool
    ca_file: str

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"


class RabbitmqLogin(ImmutableStruct, frozen=True):
    """A user of a virtual host of RabbitMQ, for AMQP 0-9-1."""

    hidden = ("password",)

    host: str
    port: int
    vhost: str
    username: str
    password: str
    tls: bool
    ca_file: str

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"


class RabbitmqAdmin(ImmutableStruct, frozen=True):
    """An administrator of RabbitMQ, and the URL of its management API."""

    hidden = ("password",)

    url: str
    username: str
    password: str
    ca_file: str


class LdapLogin(ImmutableStruct, frozen=True):
    """An entry of an LDAP directory that logs in with a simple bind. `tls`: from the first byte on."""

    hidden = ("password",)

    host: str
    port: int
    dn: str
    password: str
    tls: bool
    start_tls: bool
    ca_file: str

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"


class S3Login(ImmutableStruct, frozen=True):
    """An access key of an S3 object store, and the bucket that it is for."""

    hidden = ("access_key", "secret_key")

    url: str
    host: str
    port: int
    access_key: str
    secret_key: str
    bucket: str
    ca_file: str

    @property
    def tls(self) -> bool:
        return self.url.startswith("https:")


def postgres(path: str, fields: Mapping[str, object]) -> PostgresLogin:
    """Raises LesseeError that names every key of the secret that is missing or invalid."""
    _complete(path, fields, ("host", "port", "database", "username", "password"))
    sslmode = _text(fields, "sslmode")
    if sslmode and sslmode not in SSLMODES:
        raise LesseeError("sslmode is not one of libpq's modes", where=path, todo=f"write one of {', '.join(SSLMODES)}")
    return PostgresLogin(
        host=_name(path, fields, "host"),
        port=_port(path, fields["port"]),
        database=_name(path, fields, "database"),
        username=_text(fields, "username"),
        password=_text(fields, "password"),
        # With a CA and no mode, libpq would verify nothing.
        sslmode=sslmode or ("verify-full" if _text(fields, "ca_file") else ""),
        ca_file=_text(fields, "ca_file"),
    )


def redis(path: str, fields: Mapping[str, object]) -> RedisLogin:
    """Raises as `postgres` does."""
    _complete(path, fields, ("host", "port", "password"))
    return RedisLogin(
        host=_name(path, fields, "host"),
        port=_port(path, fields["port"]),
        db=int(db) if (db := _text(fields, "db")).isdecimal() and len(db) <= _DIGITS else 0,
        username=_text(fields, "username"),
        password=_text(fields, "password"),
        tls=_is_true(fields, "tls"),
        ca_file=_text(fields, "ca_file"),
    )


def mysql(path: str, fields: Mapping[str, object]) -> MysqlLogin:
    """Raises as `postgres` does."""
    _complete(path, fields, ("host", "port", "username", "password"))
    return MysqlLogin(
        host=_name(path, fields, "host"),
        port=_port(path, fields["port"]),
        database=_name(path, fields, "database"),
        username=_text(fields, "username"),
        password=_text(fields, "password"),
        tls=_is_true(fields, "tls"),
        ca_file=_text(fields, "ca_file"),
    )


def rabbitmq(path: str, fields: Mapping[str, object]) -> RabbitmqLogin:
    """Raises as `postgres` does."""
    _complete(path, fields, ("host", "port", "username", "password"))
    return RabbitmqLogin(
        host=_name(path, fields, "host"),
        port=_port(path, fields["port"]),
        vhost=_text(fields, "vhost") or "/",
        username=_text(fields, "username"),
        password=_text(fields, "password"),
        tls=_is_true(fields, "tls"),
        ca_file=_text(fields, "ca_file"),
    )


def rabbitmq_admin(path: str, fields: Mapping[str, object]) -> RabbitmqAdmin:
    """Raises as `postgres` does."""
    _complete(path, fields, ("url", "username", "password"))
    scheme, host, port, prefix = _url(path, fields, {"http": 80, "https": 443})
    host = f"[{host}]" if ":" in host else host
    return RabbitmqAdmin(
        url=f"{scheme}://{host}:{port}{prefix}",
        username=_text(fields, "username"),
        password=_text(fields, "password"),
        ca_file=_text(fields, "ca_file"),
    )


def ldap(path: str, fields: Mapping[str, object]) -> LdapLogin:
    """Raises as `postgres` does. Except for the URL, the keys are those of a static role of Vault's LDAP engine."""
    _complete(path, fields, ("url", "dn", "password"))
    scheme, host, port, _ = _url(path, fields, {"ldap": 389, "ldaps": 636})
    return LdapLogin(
        host=host,
        port=port,
        dn=_text(fields, "dn"),
        password=_text(fields, "password"),
        tls=scheme == "ldaps",
        start_tls=scheme == "ldap" and _is_true(fields, "start_tls"),
        ca_file=_text(fields, "ca_file"),
    )


def s3(path: str, fields: Mapping[str, object], *, bucket: bool = True) -> S3Login:
    """Raises as `postgres` does. An endpoint without a scheme is HTTPS if `secure` is true.

    `bucket` False: the key administers the store and needs no bucket.
    """
    _complete(path, fields, ("endpoint", "access_key", "secret_key", *(("bucket",) if bucket else ())))
    endpoint = _text(fields, "endpoint")
    if "://" not in endpoint:
        endpoint = f"{'https' if _is_true(fields, 'secure') else 'http'}://{endpoint}"
    try:
        parts = urlsplit(endpoint)
        host, port = parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        host, port = None, 0
    if not host or parts.scheme not in {"http", "https"}:
        raise LesseeError("endpoint is not an address", where=path, todo="write host:port, or https://host")
    return S3Login(
        url=f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}",
        host=host,
        port=port,
        access_key=_text(fields, "access_key"),
        secret_key=_text(fields, "secret_key"),
        bucket=_text(fields, "bucket"),
        ca_file=_text(fields, "ca_file"),
    )


def _complete(path: str, fields: Mapping[str, object], keys: Iterable[str]) -> None:
    if missing := [key for key in keys if not _text(fields, key)]:
        what = f"the secret lacks {', '.join(missing)}"
        raise LesseeError(what, where=path, todo=f"write it with all of {', '.join(keys)}")


def _text(fields: Mapping[str, object], key: str) -> str:
    value = fields.get(key)
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _url(path: str, fields: Mapping[str, object], schemes: Mapping[str, int]) -> tuple[str, str, int, str]:
    """Scheme, host, port and path of the field `url`; `schemes`: with the default port of each."""
    try:
        parts = urlsplit(_text(fields, "url"))
        host, port = parts.hostname, parts.port or schemes.get(parts.scheme, 0)
    except ValueError:
        host, port = None, 0
    if not host or not port or parts.scheme not in schemes or "@" in parts.netloc:
        examples = " or ".join(f"{scheme}://HOST:{port}" for scheme, port in schemes.items())
        todo = f"write {examples}; username and password have their own keys"
        raise LesseeError("url is not an address", where=path, todo=todo)
    return parts.scheme, host, port, parts.path.rstrip("/")


def _name(path: str, fields: Mapping[str, object], key: str) -> str:
    """The name is printed, so it must not be a URL or DSN, which can contain a password."""
    name = _text(fields, key)
    if any(sign in name for sign in "@/="):
        todo = "write only the name: the other parts of a URL have their own keys"
        raise LesseeError(f"{key} is not a name", where=path, todo=todo)
    return name


def _port(path: str, value: object) -> int:
    text = str(value)
    # Python refuses to convert thousands of digits.
    if not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS and 0 < int(text) <= _PORTS):
        raise LesseeError("port is not a port number", where=path, todo=f"write a number from 1 to {_PORTS}")
    return int(text)


def _is_true(fields: Mapping[str, object], key: str) -> bool:
    return str(fields.get(key)).lower() in {"true", "yes", "on", "1"}
