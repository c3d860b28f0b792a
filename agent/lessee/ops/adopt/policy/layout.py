"""Decides where each secret of a project is stored in Vault, and of which fields each value is made."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import quote, unquote

from lessee.ops.adopt.policy.accounts import Account, Accounts, word
from lessee.ops.adopt.policy.model import Part, Project, Rendered, Span, StoredField, Use
from lessee.ops.adopt.policy.providers import provider_of
from lessee.ops.adopt.policy.secret_parts import SecretPart, secret_parts, words_in
from lessee.ops.adopt.policy.store_clients import is_client
from lessee.ops.adopt.policy.stores import (
    DATABASE,
    DATABASES,
    MINIO,
    MYSQL,
    RABBITMQ,
    Kind,
    kind_of_image,
    kind_of_name,
    kind_of_scheme,
)
from lessee.ops.adopt.policy.use_names import ServiceField, key_of, kind_of
from lessee.ops.scan.policy.classifier import Verdict

_Segment = tuple[int, int, Part]


def stored_fields(project: Project) -> tuple[tuple[StoredField, ...], tuple[Rendered, ...]]:
    """The fields that the secrets of a classified project have in Vault, and the values made of them."""
    layout = _Layout(project)
    secrets = [use for use in project.uses if use.verdict is Verdict.SECRET and use.value.strip()]
    rendered = {(use.service, use.name): layout.rendered(use) for use in sorted(secrets, key=layout.rank)}
    in_order = tuple(rendered[use.service, use.name] for use in secrets)
    return tuple(layout.fields(in_order)), in_order


def stores_of(project: Project) -> dict[str, Kind]:
    """The services that are systems with credentials, by their images; of an image that is built, by its variables.

    A client that has a store's image for its programs, such as one that writes dumps, is an app.
    """
    found: dict[str, Kind] = {}
    for name, service in project.services.items():
        kind = kind_of_image(service.image.reference)
        if service.build_context is not None:
            own = [use.name for use in project.uses if use.service == name and use.is_variable]
            kind = next((kind for kind in map(_own_kind, own) if kind is not None and _STORE.search(name)), None)
        uses = (use for use in project.uses if use.service == name)
        if kind is not None and not is_client(service, kind, uses, project.services):
            found[name] = kind
    return found


def bare(name: str) -> str:
    """The variable's name of a use, or what is most like one."""
    key = key_of(name)
    return key if kind_of(name) in {ServiceField.VARIABLE, ServiceField.WORD} else key.rpartition(".")[2]


class _Field(NamedTuple):
    account: Account
    name: str

    @property
    def value(self) -> str:
        return self.account.fields[self.name]

    def part(self, *, is_url_part: bool = False) -> Part:
        return Part(path=self.account.path, field=self.name, is_url_part=is_url_part)


class _Layout:
    def __init__(self, project: Project) -> None:
        self._project = project
        self._variables: dict[str, dict[str, str]] = {}
        for use in project.uses:
            if use.is_variable:
                self._variables.setdefault(use.service, {})[use.name] = use.value
        self._stores = stores_of(project)
        self._accounts = Accounts(self._stores)
        self._places: dict[tuple[Span, str], _Field] = {}
        self._given: dict[str, list[_Field]] = {}
        """The fields that the variables of each service have."""

    def rank(self, use: Use) -> int:
        """The order in which uses are laid out: first those that tell most of their credential."""
        if use.kind not in {ServiceField.VARIABLE, ServiceField.SECRET}:
            return 3
        if any(part.scheme for part in secret_parts(use.value)):
            return 1
        return 0 if self._is_own(use) else 2

    def rendered(self, use: Use) -> Rendered:
        """The value in parts, whose secrets have fields afterwards."""
        value = use.value
        segments = [segment for part in _numbered(value) for segment in self._segments(use, value, part)]
        if not segments and use.kind is ServiceField.WORD:
            segments = list(self._known(use.service, value))
        if not segments or segments[0][:2] == (0, len(value)):
            segments = [(0, len(value), self._whole(use, bare(use.name), value).part())]
        parts: list[Part] = []
        at = 0
        for start, end, part in sorted(segments, key=lambda segment: segment[:2]):
            parts += [Part(text=value[at:start])] * (start > at) + [part]
            at = end
        return Rendered(use.service, use.name, (*parts, *[Part(text=value[at:])] * (len(value) > at)))

    def fields(self, rendered: tuple[Rendered, ...]) -> Iterator[StoredField]:
        """All fields with the uses that they are rendered for."""
        uses: dict[tuple[str, str], dict[tuple[str, str], None]] = {}
        for one in rendered:
            for part in one.parts:
                uses.setdefault((part.path, part.field), {})[one.service, one.name] = None
        for account in self._accounts.all.values():
            for name, value in (account.about | account.fields).items():
                yield StoredField(account.path, name, value, tuple(uses.get((account.path, name), ())))

    def _segments(self, use: Use, value: str, part: SecretPart) -> Iterator[_Segment]:
        """A secret in a value, and what is around it in its URL."""
        text = value[part.start : part.end]
        kind = kind_of_scheme(part.scheme)
        if kind is None:
            name = (
                part.key
                if use.kind is ServiceField.WORD and part.key
                else "_".join(filter(None, (bare(use.name), part.key)))
            )
            yield part.start, part.end, self._whole(use, name, text, part.key).part()
            return
        words = {name: value[start:end] for name, (start, end) in part.about.items()}
        user = unquote(words.get("username", ""))
        is_raw = self._accounts.with_value(text, lambda own: own is kind) is not None
        password = text if is_raw else unquote(text)
        server = self._server_of(words["host"], kind, password)
        wanted = "root_password" if user == "root" else "password"
        account = self._accounts.of_system(kind, server, user, ("password", password), use.service)
        field = account.field_with(password, wanted) or "password"
        account.fields[field] = password
        names = ("host", "port") if kind is RABBITMQ else ("host", "port", "database")
        account.know(username=user, **{name: words.get(name, "") for name in names})
        encodes = not is_raw or quote(text, safe="") == text
        yield part.start, part.end, _Field(account, field).part(is_url_part=encodes)
        if field != "password":
            return  # The other fields are of the account that `password` is of.
        for name, (start, end) in part.about.items():
            if account.about.get(name) == unquote(value[start:end]):
                yield start, end, _Field(account, name).part(is_url_part=name == "username")

    def _known(self, service: str, value: str) -> Iterator[_Segment]:
        """Secrets of other uses in a text that nothing else takes apart, those of the service's own system first."""
        fields = self._fields()
        fields += sorted(self._given.get(service, ()), key=lambda one: one.account.server == service)
        known = {field.value: field for field in fields}
        for start, end in words_in(value, known):
            yield start, end, known[value[start:end]].part()

    def _fields(self) -> list[_Field]:
        return [_Field(one, name) for one in self._accounts.all.values() for name in one.fields]

    def _whole(self, use: Use, name: str, value: str, key: str = "") -> _Field:
        """The field of a value that is one secret. `key`: that of a part of a value."""
        spans = [(source.span, key) for source in use.sources if source.span is not None]
        for span in spans:
            known = self._places.get(span)
            if known is not None and known.value == value:
                return known
        given = self._given.setdefault(use.service, [])
        others = [] if use.service in self._stores else self._fields()
        if use.kind is ServiceField.WORD and (same := [one for one in [*given, *others] if one.value == value]):
            return max(same, key=lambda one: (one.account.server == use.service, one.name.endswith(_snake(name))))
        found = self._found(use, name, value)
        found.account.fields[found.name] = value
        self._places |= dict.fromkeys(spans, found)
        given.append(found)
        return found

    def _found(self, use: Use, name: str, value: str) -> _Field:
        own = self._stores.get(use.service)
        if own is not None and (self._is_own(use) or not use.is_variable):
            account = self._own_account(use.service, own)
            field = self._own_field(use.service, own, name)
            if account.fields.get(field, value) == value:
                return _Field(account, field)
        kind = kind_of_name(name)
        if kind is None and _STORAGE.search(name):
            kind = MINIO if self._accounts.with_value(value, lambda one: one is MINIO) else None
        provider = provider_of(name)
        if kind is None and provider is not None and provider[0] not in self._project.services:
            return self._at(f"api-keys/{provider[0]}", provider[1], value, use)
        if kind is not None and (_PASSWORD.search(name) or kind != DATABASE):
            return self._of_system(use, name, value, kind)
        return self._at(f"applications/{word(use.service)}", _snake(name), value, use)

    def _of_system(self, use: Use, name: str, value: str, kind: Kind) -> _Field:
        """The field of a password that an app has for a system."""
        about = self._around(use.service, name)
        server = self._server_of(about["host"], kind, value) if "host" in about else ""
        if not server:
            having = [one for one in self._accounts.all.values() if one.kind is kind and value in one.fields.values()]
            server = having[0].server if len(having) == 1 else self._likely_server(use.service, kind)
        kind = self._stores.get(server, kind)
        user = "" if kind is MINIO else about.get("username", "")
        wanted = _field_of(kind, name)
        account = self._accounts.of_system(kind, server, user, (wanted, value), use.service)
        if account.kind is not MINIO:
            account.know(**about)
        return _Field(account, account.field_with(value, wanted) or wanted)

    def _at(self, path: str, field: str, value: str, use: Use) -> _Field:
        return _Field(self._accounts.at(path, field, value, use.service), field)

    def _is_own(self, use: Use) -> bool:
        """Whether a service is a system, and the variable sets its own credential."""
        kind = self._stores.get(use.service)
        return kind is not None and (kind_of_name(bare(use.name)) in (kind, DATABASE) or use.name in kind.fields)

    def _own_account(self, service: str, kind: Kind) -> Account:
        """The account that a system's own variables set."""
        for one in self._accounts.all.values():
            if one.kind is kind and one.server == service:
                return one
        variables = self._variables.get(service, {})
        about = {"host": service}
        for name, value in variables.items():
            if kind_of_name(name) is kind and (found := _ABOUT.search(name)) and "ROOT" not in name:
                about.setdefault("database" if found["database"] else "username", value)
        if kind is MINIO:
            about = {"endpoint": f"{service}:9000"}
        else:
            about.setdefault("username", kind.user)
        account = self._accounts.of_system(kind, service, about.get("username", ""), ("", ""), service)
        account.know(**about)
        return account

    def _own_field(self, service: str, kind: Kind, name: str) -> str:
        """The field of a system's own credential. The file of a secret has the name of the variable that names it."""
        variables = self._variables.get(service, {})
        ending = f"/{name}"
        name = next((one.removesuffix("_FILE") for one, value in variables.items() if value.endswith(ending)), name)
        field = _field_of(kind, name)
        has_user = any(kind_of_name(one) is kind and _ABOUT.search(one) for one in variables if "USER" in one)
        return "password" if field == "root_password" and kind is MYSQL and not has_user else field

    def _around(self, service: str, name: str) -> dict[str, str]:
        """The host, port, database and user that variables with the same beginning have."""
        begin = _LAST.sub("", name)
        found: dict[str, str] = {}
        for other, value in self._variables.get(service, {}).items():
            about = _AROUND.fullmatch(other[len(begin) :]) if begin and other.startswith(begin) else None
            if about is not None and value:
                found.setdefault(next(key for key, text in about.groupdict().items() if text), value)
        host, _, port = found.get("host", "").partition(":")
        return {**found, **({"host": host} if host else {}), **({"port": port} if port.isdecimal() else {})}

    def _server_of(self, host: str, kind: Kind, value: str) -> str:
        """The service that a host name is. Another name is the only system's if it is local, or the secret is equal."""
        if host in self._project.services:
            return host
        stores = [name for name, own in self._stores.items() if own is kind]
        same = self._accounts.with_value(value, lambda own: own is kind)
        return stores[0] if len(stores) == 1 and (host in _LOCAL or same is not None) else host

    def _likely_server(self, service: str, kind: Kind) -> str:
        """The system that a service most likely uses: the one that it depends on, or the only one."""
        stores = [name for name, own in self._stores.items() if own is kind or _is_any(kind, own)]
        needed = [name for name in stores if name in self._project.services[service].depends_on]
        return (needed or stores)[0] if len(needed) == 1 or len(stores) == 1 else ""


def _is_any(kind: Kind, own: Kind) -> bool:
    return kind is DATABASE and own.name in DATABASES


def _own_kind(name: str) -> Kind | None:
    kind = kind_of_name(name)
    return kind if kind is not DATABASE and _PASSWORD.search(name) else None


def _field_of(kind: Kind, name: str) -> str:
    """The field of a system's secret: `password`, if its name says nothing more."""
    if name in kind.fields:
        return kind.fields[name]
    if kind is MINIO:
        return "access_key" if re.search(r"user|access_?key(?:_?id)?$", name, re.IGNORECASE) else "secret_key"
    said = [one for one in _snake(name).split("_") if one not in _NOISE and not re.fullmatch(kind.words, one.upper())]
    field = re.sub(r"(?:pass|passwd|pwd|pw|requirepass|passwort)$", "password", "_".join(said))
    if field.endswith("password"):
        said = [one for one in field.split("_") if one in _ACCOUNTS or (one == "root" and "non_root" in field)]
        return "_".join([*said, "password"])
    return "password" if not field or field[0].isdecimal() or field == "auth" else field


def _numbered(value: str) -> list[SecretPart]:
    """The secrets in a value, with different keys."""
    seen: Counter[str] = Counter()
    found = []
    for part in secret_parts(value):
        seen[part.key] += 1
        is_second = part.key and seen[part.key] > 1
        found.append(part._replace(key=f"{part.key}_{seen[part.key]}") if is_second else part)
    return found


def _snake(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()).strip("_") or "value"


_NOISE = frozenset(
    {"initdb", "init", "initial", "default", "docker", "db", "database", "service", "user", "app", "command"}
)
_ACCOUNTS = frozenset({"non", "replication", "readonly", "kibana"})
"""The words for accounts of a system that are not its usual one."""
_LOCAL = frozenset({"localhost", "127.0.0.1", "host.docker.internal", "::1", "0.0.0.0"})  # noqa: S104
_PASSWORD = re.compile(r"(?:PASS|PASSWD|PASSWORD|PWD|PW)(?:_FILE)?$", re.IGNORECASE)
_STORAGE = re.compile(r"S3|AWS|STORAGE|MINIO", re.IGNORECASE)
_STORE = re.compile(r"postgres|pg|sql|maria|mongo|redis|rabbit|minio|db|database|elastic|store|house", re.IGNORECASE)
_ABOUT = re.compile(r"(?:(?P<database>_(?:DB|DATABASE))|_(?:USER|USERNAME))$")
_LAST = re.compile(r"(?:ROOT_?)?[A-Za-z]+$")
_AROUND = re.compile(
    r"(?P<host>HOST|HOSTNAME|SERVER|ADDR|ADDRESS|HOST_NAME)|(?P<port>PORT)|(?P<database>DB|DATABASE|NAME|DB_NAME|DBNAME)"
    r"|(?P<username>USER|USERNAME|LOGIN)",
    re.IGNORECASE,
)
