"""What the keys of each target of `rotation` say together, and with the other targets."""

from collections.abc import Collection, Iterable, Iterator
from itertools import combinations

from lessee.config import Config, durations
from lessee.config.grammar import rotation as grammar
from lessee.config.grammar.problems import Path, Problems, spell
from lessee.config.time_windows import hours, longest_pause
from lessee.core.errors import RefusedError
from lessee.core.paths import Space

_ENVIRONMENT = "{environment}"
_OWN = "lessee"
"""The folder of an environment in which rotation keeps what it knows."""
_TOLD = frozenset({"rotation_timestamp", "rotation_count"})
"""What each rotation writes beside the value."""
_LOGIN = frozenset({"username", "password"})
_KEY = frozenset({"access_key", "secret_key"})
_SECRET_ID = frozenset({"role_id", "secret_id"})
_MOST_ROLES = 2
_DAY = 86400.0


def check_rotation(config: Config, problems: Problems) -> None:
    """Tells of targets that could not be rotated, or would undo each other's work."""
    if config.rotation and config.environment is None and _ENVIRONMENT in config.secrets.prefix:
        what = f"missing, and secrets.prefix holds {_ENVIRONMENT}"
        problems.follow(("environment",), what, todo="write `environment: NAME`, or set $LESSEE_ENVIRONMENT")
    for name, said in config.rotation.items():
        at: Path = ("rotation", name)
        _check_paths(config, said, at, problems)
        _check_times(said, at, problems)
        _check_kind(said, at, problems)
    for (first, its), (second, said) in combinations(config.rotation.items(), 2):
        _check_pair(said, its, ("rotation", second), spell(("rotation", first)), problems)


def _check_paths(config: Config, said: grammar.Rotation, at: Path, problems: Problems) -> None:
    secrets = config.secrets
    space = Space(secrets.mount, secrets.prefix, secrets.shared, config.foreign_environments)
    admin = grammar.admin_of(said)
    for key, path in (("secret", said.secret), ("admin", admin)):
        if path is None:
            continue
        try:
            found = space.secret(path).path
        except RefusedError as exc:
            problems.follow((*at, key), exc.what, todo=exc.todo)
            continue
        if path.split("/")[0] == _OWN:
            problems.follow((*at, key), f"what is below `{_OWN}` is lessee's own", todo="name the folder otherwise")
        if found == path and secrets.prefix:
            what = "it lies in a shared folder, and so is no environment's to change"
            problems.follow((*at, key), what, todo="name one below the prefix")
    if admin == said.secret:
        what = "it is the secret that is rotated: an admin who is shut out could not mend it"
        problems.follow((*at, "admin"), what, todo="give the admin a secret of its own, which the apps do not read")


def _check_times(said: grammar.Rotation, at: Path, problems: Problems) -> None:
    if said.every is None:
        for key in ("jitter", "windows"):
            if getattr(said, key):
                problems.follow((*at, key), "there is no `every`", todo="write how often it is rotated")
        return
    if said.jitter is not None and said.jitter > said.every:
        problems.follow((*at, "jitter"), "it is longer than `every`", todo="make it shorter")
    sound = [_is_sound(window, (*at, "windows", n), problems) for n, window in enumerate(said.windows)]
    pause = longest_pause(said.windows) if sound and all(sound) else 0.0
    if said.every < pause:
        what = f"it is shorter than the {durations.spell(pause)} between two of its windows"
        problems.follow((*at, "every"), what, todo="make it longer, or add a window")


def _is_sound(window: str, at: Path, problems: Problems) -> bool:
    begins, ends = hours(window.rpartition(" ")[2])
    if begins == ends:
        problems.follow(at, "it ends as it begins", todo="for the whole day write `00:00-24:00`")
    elif begins == _DAY:
        problems.follow(at, "no day begins at 24:00", todo="write `00:00`, and the day after")
    return begins not in {ends, _DAY}


def _check_kind(said: grammar.Rotation, at: Path, problems: Problems) -> None:
    match said:
        case grammar.Postgres(roles=roles, owner=owner):
            _check_roles(roles, owner, at, problems)
        case grammar.Manual(keys=keys):
            _check_keys(keys, (*at, "keys"), problems)
            if said.recipe is not None and said.prove is not None:
                what = "`recipe` says already how it is proved"
                problems.follow((*at, "prove"), what, todo="leave one of them out")
        case grammar.InVault():
            _check_values(said, at, problems)
        case _:
            pass  # Each of their keys stands for itself.


def _check_roles(roles: Collection[str], owner: str | None, at: Path, problems: Problems) -> None:
    if len(roles) > _MOST_ROLES:
        problems.follow((*at, "roles"), f"there are {len(roles)}, and two take turns", todo="leave the others out")
    for role in _repeated(roles):
        problems.follow((*at, "roles"), f"`{role}` stands there twice", todo="name another, or leave one out")
    if owner in roles:
        what = f"`{owner}` is one of the roles that take turns; what it owns would not be the other's"
        problems.follow((*at, "owner"), what, todo="name a role of its own, without a login")


def _check_values(said: grammar.InVault, at: Path, problems: Problems) -> None:
    if not said.keys and not said.approle:
        todo = "write `keys:` with those that get a random value, or `approle:`"
        problems.follow((*at, "keys"), "missing, and there is no `approle`", todo=todo)
    made = [*said.keys, *(_SECRET_ID if said.approle else ())]
    previous = [value.previous for value in said.keys.values() if value.previous is not None]
    _check_keys([*made, *previous], (*at, "keys"), problems)
    for key, value in said.keys.items():
        if value.alphabet is not None and len(set(value.alphabet)) == 1:
            what = "of one character alone nothing random can be made"
            problems.follow((*at, "keys", key, "alphabet"), what, todo="write several, or leave it out")


def _check_keys(keys: Collection[str], at: Path, problems: Problems) -> None:
    for key in _repeated(keys):
        problems.follow(at, f"`{key}` gets two values at once", todo="name one of them otherwise")
    for key in sorted(_TOLD.intersection(keys)):
        problems.follow(at, f"`{key}` is what lessee tells there of a rotation", todo="name it otherwise")


def _check_pair(said: grammar.Rotation, its: grammar.Rotation, at: Path, other: str, problems: Problems) -> None:
    """Of two targets: the one at `at`, and what the `other` says."""
    if said.secret == its.secret and (shared := sorted(_changed(said) & _changed(its))):
        keys = ", ".join(f"`{key}`" for key in shared)
        problems.follow(
            (*at, "secret"), f"{other} changes its {keys} too", todo="give each keys, or a secret, of its own"
        )
    if isinstance(said, grammar.Postgres) and isinstance(its, grammar.Postgres) and said.admin == its.admin:
        for role in sorted({*said.roles} & {*its.roles}):
            what = f"{other} changes the password of `{role}` too"
            problems.follow((*at, "roles"), what, todo="give each roles of its own")


def _changed(said: grammar.Rotation) -> frozenset[str]:
    """The secret's keys that change, as far as the configuration says it: a recipe and a program know themselves."""
    match said:
        case grammar.Postgres() | grammar.Redis():
            return _LOGIN
        case grammar.S3() | grammar.Minio():
            return _KEY
        case grammar.Manual(keys=keys):
            return frozenset(keys)
        case grammar.InVault():
            previous = {value.previous for value in said.keys.values() if value.previous is not None}
            return frozenset(said.keys) | previous | (_SECRET_ID if said.approle else frozenset())
        case _:
            return frozenset()


def _repeated(names: Iterable[str]) -> Iterator[str]:
    names = list(names)
    yield from sorted({name for name in names if names.count(name) > 1})
