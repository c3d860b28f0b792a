"""Recognizes a service that has the image of a store for its client programs alone, such as one that writes dumps."""

import re
from collections.abc import Collection, Iterable
from urllib.parse import urlsplit

from lessee.ops.adopt.policy.model import Service, Use
from lessee.ops.adopt.policy.stores import Kind, kind_of_scheme


def is_client(service: Service, kind: Kind, uses: Iterable[Use], services: Collection[str]) -> bool:
    """Whether the service connects to another one of these services, or starts another program than a store.

    `uses` are its own.
    """
    return any(_names_other(use, service.name, kind, services) for use in uses if use.is_variable) or _starts_client(
        service
    )


def _names_other(use: Use, own: str, kind: Kind, services: Collection[str]) -> bool:
    """Whether the variable has the host of another service; a replica has that of its primary."""
    if _PRIMARY.search(use.name):
        return False
    if _HOST.search(use.name):
        host = use.value.partition(":")[0]
    else:
        scheme, separator, _ = use.value.partition("://")
        if not separator or kind_of_scheme(scheme) is not kind:
            return False
        try:
            host = urlsplit(use.value.removeprefix("jdbc:")).hostname or ""
        except ValueError:
            return False
    return host != own and host in services


def _starts_client(service: Service) -> bool:
    words = [*(service.entrypoint or ()), *(service.command or ())]
    program = words[0].rpartition("/")[2] if words else ""
    return bool(_PROGRAM.fullmatch(program)) and not any(map(_SERVER.search, words))


_HOST = re.compile(r"HOST(?:NAME|_NAME)?$", re.IGNORECASE)
_PRIMARY = re.compile(r"MASTER|PRIMARY|REPLICA|SLAVE|SENTINEL|CLUSTER|NODE", re.IGNORECASE)
_PROGRAM = re.compile(
    r"(?:ba|da|a|)sh|sleep|tail|cron[d]?|psql|pg_\w+|redis-cli|valkey-cli|mysql|mysqldump|mysqladmin|mariadb"
    r"|mariadb-dump|mongosh?|mongo(?:dump|restore)|mc|rabbitmqadmin"
)
"""Shells, and programs that only use a store."""
_SERVER = re.compile(
    r"entrypoint|run\.sh|-server\b|(?:^|exec\s+|[;&|]\s*|/)(?:postgres|mysqld|mariadbd|mongod|mongos|minio|dragonfly)(?!:)\b"
)
"""The start of a store in the words of a shell."""
