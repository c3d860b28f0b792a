"""Rotation of the stores of an adopted project: the login that the image made changes its own password.

The name of the login stays, so that no setting of an app but the password changes. A store that cannot do this is left
to a person, with the command that does it.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from lessee.config.yaml_writer import Entry, Keys
from lessee.core.immutable import ImmutableStruct
from lessee.ops.adopt.policy import known_images
from lessee.ops.adopt.policy.app_plans import where
from lessee.ops.adopt.policy.layout import stores_of
from lessee.ops.adopt.policy.model import AppPlan, ManualStep, Project, Service, StoredField, Use
from lessee.ops.adopt.policy.root_logins import SUFFIX
from lessee.ops.adopt.policy.stores import MINIO, MYSQL, POSTGRES, RABBITMQ, REDIS, Kind


class StoreTarget(ImmutableStruct, frozen=True):
    """A target of `rotation:` for one login of a store."""

    name: str
    service: str
    path: str
    settings: tuple[Entry, ...]
    """The other keys of its block."""
    consumers: tuple[str, ...] = ()
    """The services that get the password."""
    restarts: bool = False
    """The store reads its password when it starts: it is started again after a rotation."""


class RotatedStore(ImmutableStruct, frozen=True):
    """A target that adopt has rotated. `version`: of its secret, with the password that the user's files have."""

    name: str
    service: str
    path: str
    version: int
    restarts: bool = False
    is_done: bool = False


class Rotations(ImmutableStruct, frozen=True):
    """What is rotated, the fields that it needs in Vault in addition, and what is left to a person."""

    targets: tuple[StoreTarget, ...] = ()
    fields: tuple[StoredField, ...] = ()
    steps: tuple[ManualStep, ...] = ()

    @property
    def services(self) -> tuple[str, ...]:
        """The services whose networks the rotator needs."""
        return tuple(dict.fromkeys(target.service for target in self.targets))

    def pending(self, rotated: Iterable[RotatedStore], only: Iterable[str] = ()) -> tuple[StoreTarget, ...]:
        """The targets that adopt has not rotated. `only`: names of targets or services; empty: all."""
        done, named = {one.name for one in rotated if one.is_done}, set(only)
        return tuple(
            target
            for target in self.targets
            if target.name not in done and (not named or named & {target.name, target.service})
        )

    def unknown(self, only: Iterable[str]) -> tuple[str, ...]:
        """Those of the names that no target and no service of one has."""
        known = {name for target in self.targets for name in (target.name, target.service)}
        return tuple(name for name in only if name not in known)


class _Login(NamedTuple):
    """A login that a store's own settings make."""

    path: str
    field: str
    use: Use


class _Found(NamedTuple):
    targets: tuple[StoreTarget, ...]
    about: Mapping[str, Mapping[str, str]]
    """Fields that are no secret, by path."""


def rotations(project: Project, stored: Iterable[StoredField], apps: Iterable[AppPlan]) -> Rotations:
    """The rotation of all stores whose passwords the apps get from Vault."""
    stored, apps = tuple(stored), tuple(apps)
    targets: list[StoreTarget] = []
    fields: list[StoredField] = []
    steps: list[ManualStep] = []
    found_of: dict[str, tuple[Use, _Found]] = {}
    for name, kind in stores_of(project).items():
        service, logins = project.services[name], _logins(project, name, apps)
        if not logins:
            continue
        try:
            found_of[name] = (
                logins[0].use,
                _KINDS.get(kind.name, _unknown)(_Store(project, service, kind, logins, stored)),
            )
        except _LeftError as exc:
            steps.append(ManualStep(where(logins[0].use, name), exc.what, exc.todo))
    for name, (use, found) in found_of.items():
        paths = {target.path for target in found.targets}
        others = [
            other
            for other, (_, one) in found_of.items()
            if other != name and any(target.path in paths for target in one.targets)
        ]
        if others:
            what = f"{name} and {', '.join(others)} have one password, and a rotation changes it in one store alone"
            steps.append(ManualStep(where(use, name), what, "give each a password of its own, and adopt again"))
            continue
        rotated = [_with_consumers(target, apps) for target in found.targets]
        kept = {target.path: step for target in rotated if (step := _kept_elsewhere(project, target, where(use, name)))}
        steps += kept.values()
        targets += [target for target in rotated if target.path not in kept]
        for path in [path for path in found.about if path not in kept]:
            about = found.about[path]
            known = {part.field for app in apps for item in app.rendered for part in item.parts if part.path == path}
            fields += [StoredField(path, key, value, ()) for key, value in about.items() if key not in known]
    return Rotations(tuple(targets), tuple(fields), tuple(steps))


def _kept_elsewhere(project: Project, target: StoreTarget, place: str) -> ManualStep | None:
    """What is left to a person where a consumer would go on with the old password, which is in a file of its own."""
    for name in target.consumers:
        if file := known_images.keeps(project.services[name].image.reference):
            what = f"{name} keeps the password of {target.service} in its {file}, so it is not rotated"
            todo = f"change it in {target.service} and in that file, then `lessee set {target.path} password`"
            return ManualStep(place, what, todo)
    return None


def rotation_block(found: Rotations) -> tuple[Entry, ...]:
    """The block of lessee.yaml; nothing without targets."""
    if not found.targets:
        return ()
    about = "`docker compose run --rm lessee-rotator rotate NAME` changes a password in its store and here."
    blocks = tuple((target.name, Keys(tuple(_settings(target)))) for target in found.targets)
    return (about, ("rotation", Keys(blocks)))


def _settings(target: StoreTarget) -> Iterator[Entry]:
    kind, *others = target.settings
    yield kind
    yield "secret", target.path
    yield from others
    yield "consumers", list(target.consumers)


class _LeftError(Exception):
    """A store that is left to a person."""

    def __init__(self, what: str, todo: str) -> None:
        super().__init__(what)
        self.what, self.todo = what, todo


class _Store:
    """A store with what its service says of it."""

    def __init__(
        self, project: Project, service: Service, kind: Kind, logins: list[_Login], stored: tuple[StoredField, ...]
    ) -> None:
        self.service, self.kind, self.logins, self.stored = service, kind, logins, stored
        self.name, self.image = service.name, service.image.reference
        self.variables = {use.name: use.value for use in project.uses if use.service == service.name}
        if service.network_mode is not None:
            what = f"the store {self.name} has `network_mode: {service.network_mode}`"
            raise self.left(what, "name it in `rotation:` with an address that lessee-rotator reaches")

    def variable(self, *names: str) -> str:
        """The first of these variables that is set."""
        return next((self.variables[name] for name in names if self.variables.get(name)), "")

    def login(self, *fields: str) -> _Login:
        """The login in one of these fields."""
        for one in self.logins:
            if one.field in fields:
                return one
        raise self.left(f"the password of {self.name} is not one that lessee knows how to rotate", self.by_hand)

    @property
    def by_hand(self) -> str:
        """What a person does without a rotation."""
        return f"set a new password in {self.name}, and then in Vault: {_set(self.logins[0])}"

    @staticmethod
    def left(what: str, todo: str) -> _LeftError:
        return _LeftError(f"{what}, so its password is not rotated", todo)

    def about(self, port: int, **others: str) -> dict[str, str]:
        """What the rotator needs to reach the store."""
        return {"host": self.name, "port": str(port), **others}


def _postgres(store: _Store) -> _Found:
    if store.variable("POSTGRES_HOST_AUTH_METHOD") == "trust":
        raise store.left(f"{store.name} accepts logins without a password", "remove POSTGRES_HOST_AUTH_METHOD")
    login = store.login("password")
    user = store.variable("POSTGRES_USER", "POSTGRESQL_USERNAME") or POSTGRES.user
    database = store.variable("POSTGRES_DB", "POSTGRESQL_DATABASE") or user
    target = StoreTarget(
        _target_name(login.path), store.name, login.path, (("kind", "postgres"), ("roles", [user]))
    )  # fmt: skip
    return _Found((target,), {login.path: store.about(5432, username=user, database=database)})


def _mysql(store: _Store) -> _Found:
    if "mariadb" not in store.image.lower():
        sql = "ALTER USER 'NAME'@'%' IDENTIFIED BY 'NEW'"
        todo = f"`docker compose exec {store.name} mysql -u root -p`, {sql}, then {_set(store.logins[0])}"
        raise store.left("MySQL would get the new password in clear text", todo)
    roots = [one for one in store.logins if one.path.endswith(SUFFIX) and one.field == "password"]
    users = [one for one in store.logins if one.field == "password" and one not in roots]
    user = store.variable("MARIADB_USER", "MYSQL_USER")
    targets, about = [], {}
    for one in roots:
        settings: tuple[Entry, ...] = (("kind", "mysql"), ("users", ["root"]), ("more_account_hosts", _LOCAL_ACCOUNTS))
        targets.append(StoreTarget(_target_name(one.path), store.name, one.path, settings))
        about[one.path] = store.about(3306, username="root")
    for one in users if user else ():
        if not roots:
            raise store.left("no administrator's password is known", store.by_hand)
        settings = (("kind", "mysql"), ("admin_secret", roots[0].path), ("users", [user]))
        targets.append(StoreTarget(_target_name(one.path), store.name, one.path, settings))
        database = store.variable("MARIADB_DATABASE", "MYSQL_DATABASE")
        about[one.path] = store.about(3306, username=user, **({"database": database} if database else {}))
    if not targets:
        store.login()
    # The apps' users first: their administrator is then the one that they were made with.
    return _Found(tuple(reversed(targets)), about)


def _redis(store: _Store) -> _Found:
    login = store.login("password")
    settings: tuple[Entry, ...] = (("kind", "redis"), ("user", "default"))
    target = StoreTarget(_target_name(login.path), store.name, login.path, settings)
    return _Found((target,), {login.path: store.about(6379)})


def _rabbitmq(store: _Store) -> _Found:
    login = store.login("password")
    user = store.variable("RABBITMQ_DEFAULT_USER", "RABBITMQ_USERNAME") or RABBITMQ.user
    command = f"docker compose exec {store.name} rabbitmqctl change_password {user}"
    todo = f"`{command}`, which asks for the new one, then {_set(login)}"
    if "management" not in store.image:
        raise store.left(
            f"the image of {store.name} has no management API", f"use an image with `-management`, or {todo}"
        )
    if user == RABBITMQ.user:
        raise store.left(f"the user {user} may log in only inside of the container", f"name another user, or {todo}")
    settings: tuple[Entry, ...] = (("kind", "rabbitmq"), ("user", user), ("keep_name", True))
    target = StoreTarget(_target_name(login.path), store.name, login.path, settings)
    about = {"username": user, "management_url": f"http://{store.name}:15672"}
    if vhost := store.variable("RABBITMQ_DEFAULT_VHOST"):
        about["vhost"] = vhost
    return _Found((target,), {login.path: store.about(5672, **about)})


def _minio(store: _Store) -> _Found:
    login = store.login("secret_key")
    # MinIO takes 8 characters or more.
    keys = Keys((("secret_key", Keys((("generate", 40),), flow=True)),), flow=True)
    settings: tuple[Entry, ...] = (("kind", "vault"), ("keys", keys))
    target = StoreTarget(_target_name(login.path), store.name, login.path, settings, restarts=True)
    return _Found((target,), {})


def _unknown(store: _Store) -> _Found:
    login = store.logins[0]
    shell = f"docker compose exec {store.name} mongosh -u {store.variable('MONGO_INITDB_ROOT_USERNAME') or 'USER'} -p"
    mongo = f"`{shell}`, `db.getSiblingDB('admin').changeUserPassword(…)`, then {_set(login)}"
    todo = mongo if store.kind.name == "mongodb" else store.by_hand
    raise store.left(f"lessee does not rotate {store.kind.name}", todo)


def _logins(project: Project, service: str, apps: Iterable[AppPlan]) -> list[_Login]:
    """The fields that a store's own settings are made of; not the name of a user."""
    uses = {use.name: use for use in project.uses if use.service == service}
    found: dict[tuple[str, str], _Login] = {}
    for app in apps:
        for item in app.rendered if app.service == service else ():
            for part in item.parts:
                if part.path and item.name in uses and not _ABOUT.fullmatch(part.field):
                    found.setdefault((part.path, part.field), _Login(part.path, part.field, uses[item.name]))
    return list(found.values())


def _with_consumers(target: StoreTarget, apps: Iterable[AppPlan]) -> StoreTarget:
    names = [
        app.service
        for app in apps
        if any(part.path == target.path for item in app.rendered for part in item.parts)
    ]  # fmt: skip
    return StoreTarget(target.name, target.service, target.path, target.settings, tuple(sorted(names)), target.restarts)


def _set(login: _Login) -> str:
    return f"`lessee set {login.path} {login.field}`"


def _target_name(path: str) -> str:
    return path.rpartition("/")[2]


_KINDS: Mapping[str, Callable[[_Store], _Found]] = {
    POSTGRES.name: _postgres,
    MYSQL.name: _mysql,
    REDIS.name: _redis,
    RABBITMQ.name: _rabbitmq,
    MINIO.name: _minio,
}
_ABOUT = re.compile(r"username|access_key|host|port|database|vhost|endpoint")
_LOCAL_ACCOUNTS = ["localhost", "127.0.0.1", "::1"]
