"""Checks the targets of the block `rotation`, each by itself and against each other."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import combinations

from lessee.config import Config, durations
from lessee.config.grammar import rotation as grammar
from lessee.config.grammar.problems import Path, Problems, spell
from lessee.config.time_windows import hours, longest_pause
from lessee.core.errors import DeniedError
from lessee.core.path_scope import PathScope

_ENVIRONMENT = "{environment}"
_RESERVED = "lessee"
"""The folder of an environment in which rotation stores its own data."""
_LOGIN = frozenset({"username", "password"})
_KEY = frozenset({"access_key", "secret_key"})
_SECRET_ID = frozenset({"role_id", "secret_id"})
_ENTRY = frozenset({"dn", "password"})
_ACCOUNTS: Mapping[type, str] = {
    grammar.Mysql: "users",
    grammar.Rabbitmq: "user",
    grammar.Redis: "user",
    grammar.Ldap: "accounts",
}
"""The key with the users or entries of a target, by kind; PostgreSQL has its own check."""
_GENERATED: Mapping[type, frozenset[str]] = {
    grammar.SshKey: frozenset({"private_key", "public_key"}),
    grammar.SigningKey: frozenset({"private_key", "public_key"}),
    grammar.JwtKey: frozenset({"private_key", "kid", "algorithm"}),
    grammar.AgeIdentity: frozenset({"recipient"}),
    grammar.Totp: frozenset({"seed"}),
}
"""The keys of a secret that lessee generates for these kinds."""
_MAX_ROLES = _TURNS = 2
_ACCESSORS = frozenset({"secret_id_accessor", "replaced_accessor"})
_ROOT = frozenset({"username", "rotation_id"})
_DAY = 86400.0


def check_rotation(config: Config, problems: Problems) -> None:
    """Report targets that lessee could not rotate, or that would overwrite each other's values."""
    if config.rotation and config.environment is None and _ENVIRONMENT in config.secrets.prefix:
        what = f"missing, but secrets.prefix contains {_ENVIRONMENT}"
        problems.add_dependent(("environment",), what, todo="write `environment: NAME`, or set $LESSEE_ENVIRONMENT")
    for name, target in config.rotation.items():
        at: Path = ("rotation", name)
        _check_paths(config, target, at, problems)
        _check_times(target, at, problems)
        _check_kind(target, at, problems)
        if grammar.changes_itself(target):
            _check_own(target, at, problems)
    for (first, other), (second, target) in combinations(config.rotation.items(), 2):
        _check_pair(target, other, ("rotation", second), spell(("rotation", first)), problems)


def _check_paths(config: Config, target: grammar.Rotation, at: Path, problems: Problems) -> None:
    secrets = config.secrets
    scope = PathScope(secrets.mount, secrets.prefix, secrets.shared_prefixes, config.foreign_environments)
    admin = None if grammar.changes_itself(target) else grammar.admin_of(target)
    verifier = target.verifier_secret if isinstance(target, grammar.VerifiedTarget) else None
    for key, path in (("secret", target.secret), ("admin_secret", admin), ("verifier_secret", verifier)):
        if path is None:
            continue
        try:
            resolved = scope.secret(path).path
        except DeniedError as exc:
            problems.add_dependent((*at, key), exc.what, todo=exc.todo)
            continue
        if path.split("/")[0] == _RESERVED:
            what = f"paths below `{_RESERVED}` are reserved for lessee"
            problems.add_dependent((*at, key), what, todo="choose another path")
        if resolved == path and secrets.prefix:
            what = "it is below a shared prefix, and an environment may not change what all environments share"
            problems.add_dependent((*at, key), what, todo="choose a path below `secrets.prefix`")
    if admin == target.secret and not isinstance(target, grammar.SELF_ADMINISTERED):
        what = "it is the secret that is rotated; if a rotation failed halfway, no login would be left to repair it"
        todo = (
            "store the admin's credentials in a secret of their own, which the apps do not read; "
            "for an admin that rotates itself, see the kinds `postgres-admins` and `s3-admin`"
        )
        problems.add_dependent((*at, "admin_secret"), what, todo=todo)

    if verifier == target.secret:
        what = "it is the secret that is rotated; a server needs no private key, and accepts more than one credential"
        todo = "choose another path, which only the servers read"
        problems.add_dependent((*at, "verifier_secret"), what, todo=todo)


def _check_times(target: grammar.Rotation, at: Path, problems: Problems) -> None:
    period = target.rotation_period
    if period is None:
        for key in ("jitter", "rotation_windows"):
            if getattr(target, key):
                what = "it needs `rotation_period`, which is missing"
                problems.add_dependent(
                    (*at, key), what, todo="write how often to rotate, such as `rotation_period: 24h`"
                )
        return
    if target.jitter is not None and target.jitter > period:
        problems.add_dependent((*at, "jitter"), "it is longer than `rotation_period`", todo="make it shorter")
    windows = target.rotation_windows
    valid = [_is_valid(window, (*at, "rotation_windows", n), problems) for n, window in enumerate(windows)]
    pause = longest_pause(windows) if valid and all(valid) else 0.0
    if period < pause:
        what = f"it is shorter than the longest time between two rotation windows, {durations.spell(pause)}"
        problems.add_dependent((*at, "rotation_period"), what, todo="make it longer, or add a window")


def _is_valid(window: str, at: Path, problems: Problems) -> bool:
    begin, end = hours(window.rpartition(" ")[2])
    if begin == end:
        problems.add_dependent(at, "it is empty: it ends when it begins", todo="for the whole day write `00:00-24:00`")
    elif begin == _DAY:
        problems.add_dependent(at, "a window cannot begin at 24:00", todo="write `00:00`, on the next day")
    return begin not in {end, _DAY}


def _check_kind(target: grammar.Rotation, at: Path, problems: Problems) -> None:
    match target:
        case grammar.Postgres(roles=roles, owner=owner) | grammar.PostgresAdmins(roles=roles, owner=owner):
            _check_roles(roles, owner, at, problems)
        case grammar.Mysql(users=users, role=role):
            _check_two(users, "users", at, problems)
            if target.more_account_hosts and len(users) > 1:
                what = "it is for a single user"
                problems.add_dependent((*at, "more_account_hosts"), what, todo="name one user, or remove it")
            if role in users:
                what = f"`{role}` is also one of `users`"
                problems.add_dependent((*at, "role"), what, todo="name the role that has the privileges, or remove it")
        case grammar.Ldap(accounts=accounts):
            _check_entries(accounts, at, problems)
        case grammar.Manual(keys=keys):
            _check_keys(keys, (*at, "keys"), problems)
            if target.recipe is not None and target.verify is not None:
                what = "`recipe` is set too, and both verify the new credential"
                problems.add_dependent((*at, "verify"), what, todo="remove one of them")
        case grammar.VaultValues():
            _check_values(target, at, problems)
        case grammar.SshKey(options=str() as options) if not options.isprintable():
            what = "it has a line break or another control character, which would end the key's line"
            problems.add_dependent((*at, "options"), what, todo="write the options in one line")
        case grammar.BasicAuth(users=users):
            _check_users(users, at, problems)
        case _:
            pass  # Their keys do not depend on each other.


def _check_own(target: grammar.Rotation, at: Path, problems: Problems) -> None:
    """Report what a login that changes its own password cannot do."""
    match target:
        case grammar.Postgres():
            needing = {"roles": len(target.roles) > 1, "owner": target.owner, "terminate": target.terminate}
        case grammar.Mysql():
            needing = {"users": len(target.users) > 1, "role": target.role, "terminate": target.terminate}
        case grammar.Rabbitmq():
            needing = {"keep_name": not target.keep_name}
        case _:
            needing = {}
    for key, is_needed in needing.items():
        if is_needed:
            what = "`admin_secret` is missing, and a login cannot do more than change its own password"
            todo = "write `keep_name: true`, or name" if key == "keep_name" else "name"
            problems.add_dependent((*at, key), what, todo=f"{todo} the secret of an admin in `admin_secret`")


def _check_roles(roles: Collection[str], owner: str | None, at: Path, problems: Problems) -> None:
    if len(roles) > _MAX_ROLES:
        what = f"expected one or two roles, found {len(roles)}"
        problems.add_dependent((*at, "roles"), what, todo="remove the others")
    for role in _repeated(roles):
        problems.add_dependent((*at, "roles"), f"duplicate role `{role}`", todo="name another role, or remove one")
    if owner in roles:
        what = f"`{owner}` is also one of `roles`; the other role could not use the objects that it owns"
        problems.add_dependent((*at, "owner"), what, todo="name a separate role, without a login")


def _check_two(names: Collection[str], key: str, at: Path, problems: Problems) -> None:
    """Report more names than can be used in turn, and repeated ones."""
    if len(names) > _MAX_ROLES:
        problems.add_dependent((*at, key), f"expected one or two, found {len(names)}", todo="remove the others")
    for name in _repeated(names):
        problems.add_dependent((*at, key), f"`{name}` is duplicate", todo="name another, or remove one")


def _check_entries(accounts: Sequence[str], at: Path, problems: Problems) -> None:
    """Report what is no DN, and what `_check_two` does, whatever the spelling."""
    from lessee.core.distinguished_names import position  # noqa: PLC0415  # Few configurations name entries.

    found = [position(dn, accounts) for dn in accounts]
    for number, first in enumerate(found):
        if first < 0:
            todo = "write it as in RFC 4514, such as `cn=shop,ou=services,dc=example,dc=com`"
            problems.add_dependent((*at, "accounts", number), f"`{accounts[number]}` is not a DN", todo=todo)
    _check_two([accounts[first] for first in found if first >= 0], "accounts", at, problems)


def _check_users(users: Collection[str], at: Path, problems: Problems) -> None:
    """In htpasswd a colon ends a user's name, and servers read a line that begins with `#` as a comment."""
    if len(users) != _TURNS:
        problems.add_dependent((*at, "users"), f"expected two users, found {len(users)}", todo="name two users")
    for user in _repeated(users):
        todo = "name another user: servers look only at the first line of a user"
        problems.add_dependent((*at, "users"), f"duplicate user `{user}`", todo=todo)
    for user in users:
        if ":" in user or user.startswith("#") or not user.isprintable():
            what = f"{user!r} cannot be a user of HTTP basic authentication"
            problems.add_dependent(
                (*at, "users"), what, todo="choose printable characters, no `:`, and no `#` at its start"
            )
        elif user in grammar.MARKS or user == "retired":
            what = f"the key `{user}` is reserved: lessee writes it at every rotation"
            problems.add_dependent((*at, "users"), what, todo="rename it")


def _check_values(target: grammar.VaultValues, at: Path, problems: Problems) -> None:
    if not target.keys and not target.approle:
        todo = "write `keys:` with the keys that get random values, or `approle:`"
        problems.add_dependent((*at, "keys"), "missing, and `approle` is missing too", todo=todo)
    new = [*target.keys, *(_SECRET_ID if target.approle else ())]
    previous = [value.previous_key for value in target.keys.values() if value.previous_key is not None]
    _check_keys([*new, *previous], (*at, "keys"), problems)
    for key, value in target.keys.items():
        if value.charset is not None and len(set(value.charset)) == 1:
            what = "a value of a single character is not random"
            problems.add_dependent((*at, "keys", key, "charset"), what, todo="write several characters, or remove it")


def _check_keys(keys: Collection[str], at: Path, problems: Problems) -> None:
    for key in _repeated(keys):
        problems.add_dependent(at, f"two values would be written to the key `{key}`", todo="rename one of them")
    for key in sorted(grammar.MARKS.intersection(keys)):
        what = f"the key `{key}` is reserved: lessee writes it at every rotation"
        problems.add_dependent(at, what, todo="rename it")


def _check_pair(target: grammar.Rotation, other: grammar.Rotation, at: Path, other_at: str, problems: Problems) -> None:
    """Check the target at `at` against one that precedes it."""
    if target.secret == other.secret and (shared := sorted(_rotated_keys(target) & _rotated_keys(other))):
        keys = ", ".join(f"`{key}`" for key in shared)
        todo = "give each target its own keys, or its own secret"
        problems.add_dependent((*at, "secret"), f"{other_at} rotates its {keys} too", todo=todo)
    _check_verifier_pair(target, other, at, other_at, problems)
    if (
        isinstance(target, grammar.Postgres | grammar.PostgresAdmins)
        and isinstance(other, grammar.Postgres | grammar.PostgresAdmins)
        and target.admin_path == other.admin_path
    ):
        for role in sorted({*target.roles} & {*other.roles}):
            what = f"{other_at} changes the password of `{role}` too"
            problems.add_dependent((*at, "roles"), what, todo="give each target its own roles")
    if type(target) is type(other) and grammar.admin_of(target) == grammar.admin_of(other):
        key = _ACCOUNTS.get(type(target), "")
        for name in _shared_accounts(target, other):
            what = f"{other_at} changes the password of `{name}` too"
            problems.add_dependent((*at, key), what, todo=f"give each target its own {key}")


def _shared_accounts(target: grammar.Rotation, other: grammar.Rotation) -> list[str]:
    """The users or entries whose passwords both targets change, except roles of PostgreSQL."""
    match target, other:
        case grammar.Mysql(users=names), grammar.Mysql(users=others):
            return sorted({*names} & {*others})
        case (grammar.Rabbitmq(user=name), grammar.Rabbitmq(user=used)) | (
            grammar.Redis(user=name),
            grammar.Redis(user=used),
        ):
            return [name] if name == used else []
        case grammar.Ldap(accounts=names), grammar.Ldap(accounts=others):
            from lessee.core.distinguished_names import position  # noqa: PLC0415  # As above.

            return [dn for dn in names if position(dn, others) >= 0]
        case _:
            return []


def _check_verifier_pair(
    target: grammar.Rotation, other: grammar.Rotation, at: Path, other_at: str, problems: Problems
) -> None:
    """Two targets may share a verifiers' secret; but no key of it may be another target's."""
    is_shared = (
        isinstance(target, grammar.VerifiedTarget)
        and isinstance(other, grammar.VerifiedTarget)
        and target.verifier_secret == other.verifier_secret
    )
    if is_shared and isinstance(target, grammar.BasicAuth) and isinstance(other, grammar.BasicAuth):
        for user in sorted({*target.users} & {*other.users}):
            what = f"{other_at} changes the password of `{user}` too"
            problems.add_dependent((*at, "users"), what, todo="give each target its own users")
    elif is_shared:
        what = f"{other_at} writes this secret too"
        problems.add_dependent((*at, "verifier_secret"), what, todo="give each target its own verifiers' secret")
    crossed = {*grammar.written_by(target)[1:]} & {other.secret} | {*grammar.written_by(other)[1:]} & {target.secret}
    if crossed:
        what = f"{other_at} uses this secret for the other side"
        problems.add_dependent((*at, "verifier_secret"), what, todo="give each side its own secret")

    place = _place(target)
    if place is not None and place == _place(other):
        key, value, *_ = place
        todo = "remove one of the targets"
        problems.add_dependent((*at, key), f"{other_at} rotates the credential of `{value}` too", todo=todo)


def _place(target: grammar.Rotation) -> tuple[str, ...] | None:
    """The key that says where the credential is, and what it says, for kinds that have a place of their own."""
    match target:
        case grammar.SecretIdFile(secret_id_file=file):
            return "secret_id_file", file
        case grammar.DatabaseRoot(connection=connection, mount=mount):
            return "connection", connection, mount
        case _:
            return None


def _rotated_keys(target: grammar.Rotation) -> frozenset[str]:
    """The keys of the secret that the target rotates; empty for recipes and programs, which choose them."""
    match target:
        case grammar.Postgres() | grammar.PostgresAdmins() | grammar.Redis() | grammar.Mysql() | grammar.Rabbitmq():
            return _LOGIN
        case grammar.Ldap():
            return _ENTRY
        case grammar.S3() | grammar.S3Admin() | grammar.Minio():
            return _KEY
        case grammar.SecretIdFile():
            return _ACCESSORS
        case grammar.DatabaseRoot():
            return _ROOT
        case grammar.Manual(keys=keys):
            return frozenset(keys)
        case grammar.BasicAuth():
            return _LOGIN
        case grammar.VerifiedTarget():
            return _GENERATED.get(type(target), frozenset())
        case grammar.VaultValues():
            previous = {value.previous_key for value in target.keys.values() if value.previous_key is not None}
            return frozenset(target.keys) | previous | (_SECRET_ID if target.approle else frozenset())
        case _:
            return frozenset()


def _repeated(names: Iterable[str]) -> Iterator[str]:
    names = list(names)
    yield from sorted({name for name in names if names.count(name) > 1})
