"""The accounts of a project's systems, each with its own secret in Vault."""

import re
from collections.abc import Callable, Iterable, Mapping

from msgspec import Struct, field

from lessee.core.sensitive.weakness import weakness
from lessee.ops.adopt.policy.stores import DATABASE, DATABASES, Kind


class Account(Struct):
    """An account of a system, or a group of other secrets at one path."""

    path: str
    kind: Kind | None = None
    server: str = ""
    user: str = ""
    fields: dict[str, str] = field(default_factory=dict)
    about: dict[str, str] = field(default_factory=dict)
    """What is no secret: host, port, database, username."""

    def field_with(self, value: str, preferred: str) -> str | None:
        """The field that has the value."""
        found = [name for name, own in self.fields.items() if own == value]
        return preferred if preferred in found else next(iter(found), None)

    def know(self, **about: str) -> None:
        """Take over what is not known yet."""
        for name, value in about.items():
            if value:
                self.about.setdefault(name, value)


class Accounts:
    """All accounts, found by system, server, user and value: an equal value of the same meaning is stored once."""

    def __init__(self, stores: Mapping[str, Kind]) -> None:
        """`stores`: the services that are such systems."""
        self.all: dict[str, Account] = {}
        self._stores = stores

    def of_system(self, kind: Kind, server: str, user: str, secret: tuple[str, str], service: str) -> Account:
        """The account of a user of a system, for a field and its value. An empty `server` or `user` is not known."""
        field, value = secret
        candidates = [one for one in self.all.values() if _fits(one, kind) and server in {"", one.server}]
        users = [
            one
            for one in candidates
            if user in {"", one.user} or one.user == "" or (user == "root" and one.fields.get("root_password") == value)
        ]
        for one in [one for one in users if value in one.fields.values()] or users:
            if value in one.fields.values() or field not in one.fields:
                one.user = one.user or user
                return one
        server = server or next((one.server for one in candidates), "")
        return self._new(self._base(kind, server, service), user or service, kind=kind, server=server, user=user)

    def with_value(self, value: str, is_wanted: Callable[[Kind], bool]) -> Account | None:
        """The account of a system that has the value."""
        of_kind = (one for one in self.all.values() if one.kind is not None and is_wanted(one.kind))
        return next((one for one in of_kind if value in one.fields.values()), None)

    def at(self, path: str, field: str, value: str, service: str) -> Account:
        """The group of secrets at a path, which takes the value: a path of its own where it has another one there."""
        if weakness("password", value) is None:  # No user chooses such a value twice: it is one secret.
            folder = path.rpartition("/")[0]
            for one in self.all.values():
                if one.path.startswith(f"{folder}/") and one.fields.get(field) == value:
                    return one
        found = self.all.get(path)
        if found is not None and found.fields.get(field, value) == value:
            return found
        if found is None:
            return self._new(path, service)
        own = [one for one in self.all.values() if one.path.startswith(f"{path}-") and one.fields.get(field) == value]
        return own[0] if own else self._new(path, service)

    def _base(self, kind: Kind, server: str, service: str) -> str:
        servers = [name for name, own in self._stores.items() if own is kind]
        taken = {one.server for one in self.all.values() if one.kind is kind}
        if (server in servers and len(servers) == 1) or not ({*servers, *taken} - {server}):
            return kind.path
        return f"{kind.folder}/{word(server or service)}"

    def _new(self, path: str, name: str, **about: object) -> Account:
        names = _names(path, name)
        free = next(one for one in names if one not in self.all)
        self.all[free] = Account(free, **about)  # type: ignore[arg-type]
        return self.all[free]


def _fits(account: Account, kind: Kind) -> bool:
    if account.kind is None:
        return False
    return account.kind is kind or (kind is DATABASE and account.kind.name in DATABASES)


def _names(path: str, name: str) -> Iterable[str]:
    yield path
    own = f"{path}-{word(name)}"
    yield own
    yield from (f"{own}-{number}" for number in range(2, 1 << 16))


def word(text: str) -> str:
    """A name as a part of a path in Vault."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "other"
