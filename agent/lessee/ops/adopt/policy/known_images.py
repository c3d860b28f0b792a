"""What is known of well-known images by their names: which variables they read from files, and as which user.

Of the images' own entrypoints, as of 2025. An image that is not here is looked at by the Engine or its Dockerfile.
"""

import re
from collections.abc import Callable

from lessee.core.immutable import ImmutableStruct
from lessee.ops.adopt.policy.model import Image

_REFERENCE = re.compile(r"(?P<name>[^@]*?)(?::(?P<tag>[^:/@]*))?(?:@.*)?")
_HOST = re.compile(r"(?:[^/]*[.:][^/]*|localhost)/")
_MIRRORED = re.compile(r"(?:docker/)?library/|docker\.io/")


class KnownImage(ImmutableStruct, frozen=True):
    """What its entrypoint does."""

    file_variable: Callable[[str], str | None] | None = None
    """The variable that names a file instead of the variable that this one has; None: it reads no files."""
    user: tuple[int, int] | None = None
    """The uid and gid that read the files, and run the program; None: those that the container starts with."""
    alpine_user: tuple[int, int] | None = None
    """The same for a tag with `alpine`, if it differs."""
    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    is_store: bool = False
    """It reads its password only to initialize an empty volume, or its password changes while it runs."""
    is_pid_1: bool = False
    """Its init system refuses to be another process than the first of its PID namespace."""
    keeps: str = ""
    """Its file with the database's password of its first start; empty: it reads the variable at each start."""


def known(reference: str) -> KnownImage | None:
    """What is known of an image by its reference, from whichever registry."""
    name = _name(reference)
    for pattern, image in _IMAGES:
        if pattern.fullmatch(name):
            return image
    return None


def user_of(reference: str) -> tuple[int, int] | None:
    """The uid and gid of the program that it starts as root."""
    image = known(reference)
    if image is None:
        return None
    found = _REFERENCE.fullmatch(reference)
    is_alpine = found is not None and "alpine" in (found["tag"] or "")
    return image.alpine_user if is_alpine and image.alpine_user else image.user


def file_variable(reference: str, name: str) -> str | None:
    """The variable that gives this one's value by a file; None: the image has none."""
    image = known(reference)
    return image.file_variable(name) if image is not None and image.file_variable is not None else None


def keeps(reference: str) -> str:
    """The file of its own in which an image keeps the database's password of its first start; empty: none is known."""
    image = known(reference)
    return image.keeps if image is not None else ""


def _name(reference: str) -> str:
    """`postgres` of `registry.example.com:5000/library/postgres:17-alpine@sha256:…`."""
    found = _REFERENCE.fullmatch(reference)
    assert found is not None  # It matches any text.
    name = found["name"].lower()
    return _MIRRORED.sub("", _HOST.sub("", name) if _HOST.match(name) else name)


def _suffix(*names: str) -> Callable[[str], str | None]:
    return _of(names, lambda name: f"{name}_FILE")


def _of(names: tuple[str, ...], file: Callable[[str], str]) -> Callable[[str], str | None]:
    allowed = re.compile("|".join(names))
    return lambda name: file(name) if allowed.fullmatch(name) else None


def _any_suffix(name: str) -> str | None:
    return None if name.endswith("_FILE") else f"{name}_FILE"


_SCRIPT = ("docker-entrypoint.sh",)
_POSTGRES = KnownImage(
    _suffix("POSTGRES_PASSWORD", "POSTGRES_USER", "POSTGRES_DB", "POSTGRES_INITDB_ARGS"),
    user=(999, 999),
    alpine_user=(70, 70),
    entrypoint=_SCRIPT,
    command=("postgres",),
    is_store=True,
)
_MYSQL = _suffix("MYSQL_(?:ROOT_PASSWORD|PASSWORD|USER|DATABASE|ROOT_HOST)")
_MARIADB = _suffix("(?:MYSQL|MARIADB)_(?:ROOT_PASSWORD|PASSWORD|USER|DATABASE|ROOT_HOST)(?:_HASH)?")
_MONGO = _suffix("MONGO_INITDB_ROOT_(?:USERNAME|PASSWORD)")
_GRAFANA = _of(("GF_.*",), lambda name: f"{name}__FILE")
_BITNAMI_STORES = r"bitnami(?:legacy)?/(?:postgresql.*|mysql|mariadb.*|mongodb.*|redis.*|valkey.*|rabbitmq|minio)"

_TABLE: tuple[tuple[str, KnownImage], ...] = (
    (r"postgres|postgis/postgis|pgvector/pgvector|timescale/timescaledb(?:-ha)?|imresamu/postgis", _POSTGRES),
    (r"mysql|mysql/mysql-server|container-registry\.oracle\.com/mysql/.*", KnownImage(
        _MYSQL, user=(999, 999), entrypoint=_SCRIPT, command=("mysqld",), is_store=True)),
    (r"mariadb", KnownImage(
        _MARIADB, user=(999, 999), entrypoint=_SCRIPT, command=("mariadbd",), is_store=True)),
    (r"percona(?:/percona-server)?", KnownImage(_MYSQL, user=(1001, 1001), is_store=True)),
    (r"mongo", KnownImage(_MONGO, user=(999, 999), entrypoint=_SCRIPT, command=("mongod",), is_store=True)),
    (r"redis|valkey/valkey", KnownImage(
        user=(999, 999), alpine_user=(999, 1000), entrypoint=_SCRIPT, command=("redis-server",), is_store=True)),
    (r"rabbitmq", KnownImage(
        user=(999, 999), alpine_user=(100, 101), entrypoint=_SCRIPT, command=("rabbitmq-server",), is_store=True)),
    (r"minio/minio|pgsty/minio", KnownImage(
        _suffix("MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD"),
        entrypoint=("/usr/bin/docker-entrypoint.sh",), command=("minio",), is_store=True)),
    (r"influxdb", KnownImage(
        _suffix("DOCKER_INFLUXDB_INIT_(?:USERNAME|PASSWORD|ADMIN_TOKEN)"), user=(1000, 1000), is_store=True)),
    (r"clickhouse/clickhouse-server|clickhouse", KnownImage(
        _suffix("CLICKHOUSE_PASSWORD"), user=(101, 101), is_store=True)),
    (_BITNAMI_STORES, KnownImage(_any_suffix, user=(1001, 0), is_store=True)),
    (r"bitnami(?:legacy)?/.*", KnownImage(_any_suffix, user=(1001, 0))),
    (r"grafana/grafana(?:-oss|-enterprise)?", KnownImage(_GRAFANA, user=(472, 0), entrypoint=("/run.sh",), command=())),
    (r"wordpress", KnownImage(
        _suffix("WORDPRESS_.*"), entrypoint=_SCRIPT, command=("apache2-foreground",))),
    (r"nextcloud", KnownImage(
        _suffix("(?:POSTGRES|MYSQL)_(?:DB|DATABASE|USER|PASSWORD)", "NEXTCLOUD_ADMIN_(?:USER|PASSWORD)"),
        entrypoint=("/entrypoint.sh",), command=("apache2-foreground",), keeps="config/config.php")),
    (r"matomo", KnownImage(
        entrypoint=("/entrypoint.sh",), command=("apache2-foreground",), keeps="config/config.ini.php")),
    (r"dpage/pgadmin4", KnownImage(
        _suffix("PGADMIN_DEFAULT_PASSWORD"), user=(5050, 0), entrypoint=("/entrypoint.sh",), command=())),
    (r"(?:ghcr\.io/)?linuxserver/.*", KnownImage(
        _of((".*",), lambda name: f"FILE__{name}"), entrypoint=("/init",), command=(), is_pid_1=True)),
    (r"(?:ghcr\.io/)?paperless-ngx/paperless-ngx|pihole/pihole|homeassistant/home-assistant|crazymax/.*", KnownImage(
        entrypoint=("/init",), command=(), is_pid_1=True)),
)  # fmt: skip
_IMAGES = tuple((re.compile(pattern), image) for pattern, image in _TABLE)

# Images that others are built from, whose entrypoint, command and shell are known.
_BASES: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    (r"python|pypy|bitnami/python", (), ("python3",)),
    (r"node|bitnami/node", ("docker-entrypoint.sh",), ("node",)),
    (r"nginx|nginxinc/nginx-unprivileged", ("/docker-entrypoint.sh",), ("nginx", "-g", "daemon off;")),
    (r"php", ("docker-php-entrypoint",), ("php", "-a")),
    (r"httpd", (), ("httpd-foreground",)),
    (r"ruby", (), ("irb",)),
    (r"golang|debian|ubuntu|fedora|rockylinux|almalinux|buildpack-deps|rust", (), ("bash",)),
    (r"alpine|busybox|oven/bun|denoland/deno", (), ("/bin/sh",)),
    (r"(?:astral-sh|ghcr\.io/astral-sh)/uv", (), ("uv",)),
)
_BY_BASE = tuple((re.compile(pattern), words) for pattern, *words in _BASES)
_PHP = "php|wordpress|nextcloud|matomo"
_STOP_SIGNALS = tuple(
    (re.compile(names), re.compile(tags), stop)
    for names, tags, stop in (
        ("nginx|nginxinc/nginx-unprivileged", "", "SIGQUIT"),
        ("httpd", "", "SIGWINCH"),
        (_PHP, r"(?:^|-)fpm(?:-|$)", "SIGQUIT"),
        ("wordpress|nextcloud|matomo", r"^(?!.*(?:^|-)cli(?:-|$))", "SIGWINCH"),
        ("php", r"(?:^|-)apache(?:-|$)", "SIGWINCH"),
    )
)
"""What a graceful end needs: the images, their tags, and the signal."""
_WITHOUT_SHELL = re.compile(r"scratch|(?:.*/)?distroless/.*|(?:cgr\.dev/)?chainguard/.*")
_USERS = {"root": (0, 0), "node": (1000, 1000)}


def image(reference: str) -> Image:
    """An image as far as its name tells."""
    name, found, stop = _name(reference), known(reference), _stop_signal(reference)
    if found is not None:
        shell = "/bin/sh" if found.entrypoint is not None else None
        return Image(reference, entrypoint=found.entrypoint, command=found.command, shell_path=shell, stop_signal=stop)
    for pattern, (entrypoint, command) in _BY_BASE:
        if pattern.fullmatch(name):
            return Image(reference, entrypoint=entrypoint, command=command, shell_path="/bin/sh", stop_signal=stop)
    return Image(reference, shell_path="" if _WITHOUT_SHELL.fullmatch(name) else None)


def _stop_signal(reference: str) -> str:
    """The signal that its STOPSIGNAL names; empty: SIGTERM, or it is not known."""
    name, found = _name(reference), _REFERENCE.fullmatch(reference)
    assert found is not None  # It matches any text.
    tag = found["tag"] or ""
    for pattern, tags, stop in _STOP_SIGNALS:
        if pattern.fullmatch(name) and tags.search(tag):
            return stop
    return ""


def usual_user(name: str) -> tuple[int, int] | None:
    """The uid and gid of a user that has the same in most images."""
    return _USERS.get(name)


def numbers(user: str, passwd: str, groups: str) -> tuple[int | None, int | None]:
    """The uid and gid of `USER[:GROUP]`, as an Engine finds them in an image's /etc/passwd and /etc/group."""
    name, _, group = user.partition(":")
    name = name or "0"
    entries = [line.split(":") for line in passwd.splitlines()]
    found = next((entry for entry in entries if len(entry) > _GID and name in {entry[0], entry[_UID]}), None)
    uid = int(found[_UID]) if found and found[_UID].isdecimal() else int(name) if name.isdecimal() else None
    if group:
        listed = [line.split(":") for line in groups.splitlines()]
        by_name = next((entry[2] for entry in listed if len(entry) > _UID and entry[0] == group), group)
        return uid, int(by_name) if by_name.isdecimal() else None
    if found and found[_GID].isdecimal():
        return uid, int(found[_GID])
    return uid, 0 if name.isdecimal() else None


_UID, _GID = 2, 3
