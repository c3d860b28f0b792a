"""The rules for valid configurations: no TLS, overlapping directories, and programs that do not handle SIGHUP."""

from collections.abc import Iterator, Mapping
from itertools import combinations

from msgspec import to_builtins
from yaml.nodes import MappingNode

from lessee.config import App, Child, CmdlineTarget, Config, NameTarget, Vault
from lessee.config.grammar.nodes import line_of_key
from lessee.config.grammar.problems import spell
from lessee.config.grammar.vault import AppRole, TokenAuth
from lessee.ops.lint.policy.findings import Finding, Level
from lessee.ops.lint.policy.fixes.model import Fix, Merge
from lessee.ops.lint.policy.signals import SighupIssue, issue_of_pattern, issue_of_process

_CREDENTIALS = frozenset({"token_file", "secret_id_file", "jwt_file", "key_file", "password_file"})
_USER = "write `exec: {user: UID:GID}` with the app's user"
_OTHERS_READ = 0o004
_OVERFLOW_UID = 65534
_LINKS: Mapping[str, str] = {"/var/run/": "/run/"}
"""Directories that have two names on every Linux."""


def check_apps(config: Config, root: MappingNode, file: str) -> Iterator[Finding]:
    """Check all apps; `root` is the configuration's YAML, and `file` its name."""
    yield from _connections(config, root, file)
    yield from _directories(config, root, file)
    for app in config.apps.values():
        issue = configured_issue(app) if relies_on_sighup(app) else None
        if issue is not None:
            yield sighup_not_handled(app, issue, root, file)
        yield from _world_readable(app, root, file)
        yield from _overflow_uid(app, root, file)
        if config.child_user is None and (app.env_template is not None or _is_child(app)):
            yield from _readable_credentials(app, config.state_dir, root, file)


def _world_readable(app: App, root: MappingNode, file: str) -> Iterator[Finding]:
    """Files that every user may read, except for those that a frontend gives to its visitors, such as env.js."""
    files = () if app.public_variables else app.files
    names = [one.name for one in files if one.mode & _OTHERS_READ and not one.name.endswith(".js")]
    if names:
        what = f"apps.{app.name}.mode: every user of the machine can read {', '.join(names)}"
        todo = 'write "0440", with the app\'s group in `owner:`'
        yield Finding(
            "world-readable", "warning", what, todo, file, line_of_key(root, ("apps", app.name, "mode")), app.name
        )


def _overflow_uid(app: App, root: MappingNode, file: str) -> Iterator[Finding]:
    """Whether processes with an unknown user may read at the app's socket (user_namespaces(7))."""
    if app.socket is not None and _OVERFLOW_UID in app.socket.uids and not app.socket.containers:
        what = (
            f"apps.{app.name}.socket: uid {_OVERFLOW_UID} may read, and the kernel shows it for each process whose "
            "user this machine does not have, such as in a user namespace of its own"
        )
        todo = "give the app another user, or name its container in `socket.containers`"
        line = line_of_key(root, ("apps", app.name, "socket"))
        yield Finding("overflow-uid", "warning", what, todo, file, line, app.name)


def relies_on_sighup(app: App) -> bool:
    """Whether the app is notified by SIGHUP without a restart where it does not handle the signal."""
    return app.notify is not None and app.notify.action == "SIGHUP" and app.notify.on_unhandled_signal == "report"


def configured_issue(app: App) -> SighupIssue | None:
    """The issue of the process that the app's `notify` names."""
    match app.notify and app.notify.target:
        case NameTarget(name):
            return issue_of_process(name)
        case CmdlineTarget(pattern):
            return issue_of_pattern(pattern)
        case _:
            return None


def sighup_not_handled(app: App, issue: SighupIssue, root: MappingNode, file: str, whose: str = "") -> Finding:
    """The finding; `whose` tells where the program is configured, if not in lessee.yaml."""
    level: Level = "error" if issue.always else "warning"
    message = f"{issue.program}{whose} does not reload files on SIGHUP: {issue.why}"
    line = line_of_key(root, ("apps", app.name, "notify", "action"))
    path = ("apps", app.name, "notify")
    fix = Fix("restart it instead", (Merge(file, {"action": "restart"}, path),)) if issue.always else None
    return Finding("sighup-not-handled", level, message, issue.todo, file, line, app.name, fix=fix)


def _is_child(app: App) -> bool:
    return app.notify is not None and isinstance(app.notify.target, Child)


def _readable_credentials(app: App, state_dir: str, root: MappingNode, file: str) -> Iterator[Finding]:
    """The child of `lessee exec` has the agent's user, and so reads the agent's token, and the files that stay."""
    auth = app.vault.auth
    removed = isinstance(auth, AppRole) and (auth.wrapped or auth.remove_secret_id_file_after_reading)
    credentials = [
        f"{key}: {path}"
        for key, path in to_builtins(auth).items()
        if key in _CREDENTIALS and path is not None and not (removed and key == "secret_id_file")
    ]
    # A token that was given to the agent stays in its own file or variable alone.
    if not isinstance(auth, TokenAuth):
        credentials.append(f"the agent's token in state_dir: {state_dir}")
    if credentials:
        what = f"the child of `lessee exec` has the agent's user, and can read {', '.join(credentials)}"
        yield Finding("child-reads-credentials", "warning", what, _USER, file, line_of_key(root, ("exec",)), app.name)


def _connections(config: Config, root: MappingNode, file: str) -> Iterator[Finding]:
    at: dict[tuple[str, ...], Vault] = {("vault",): config.vault}
    # An inherited address is reported at its own key.
    at |= {
        ("identities", name): identity.vault
        for name, identity in config.identities.items()
        if identity.vault.exposed_addresses != config.vault.exposed_addresses
    }
    at |= {("apps", app.name, "vault"): app.vault for app in config.apps.values() if app.vault is not config.vault}
    for path, vault in at.items():
        if vault.exposed_addresses:
            what = f"{spell(path)}: tokens and secrets cross the network to {vault.exposed_addresses[0]} without TLS"
            todo = "write https://, or `insecure_http: true` if that is intended"
            line = line_of_key(root, (*path, "addresses" if vault.addresses else "address"))
            yield Finding("insecure-http", "warning", what, todo, file, line, path[1] if path[0] == "apps" else "")


def _directories(config: Config, root: MappingNode, file: str) -> Iterator[Finding]:
    places = [
        ("state", _resolved(config.state_dir)),
        *((app.name, _resolved(app.directory)) for app in config.apps.values()),
    ]
    for (at, (first, outer)), (_, (second, inner)) in combinations(enumerate(places), 2):
        path = ("apps", second, "directory")
        other = spell(("apps", first, "directory")) if at else first
        line = line_of_key(root, path)
        if outer == inner:
            what = f"{spell(path)}: {other} is the same directory with another name"
            yield Finding("duplicate-directory", "error", what, "give each its own directory", file, line, second)
        elif _contains(outer, inner) or _contains(inner, outer):
            what = (
                f"{spell(path)}: it lies in {other}"
                if _contains(outer, inner)
                else f"{spell(path)}: {other} lies in it"
            )
            yield Finding("nested-directories", "error", what, "do not nest them", file, line, second)


def _resolved(directory: str) -> str:
    for link, place in _LINKS.items():
        if directory.startswith(link):
            return place + directory.removeprefix(link)
    return directory


def _contains(outer: str, inner: str) -> bool:
    return inner.startswith(outer.removesuffix("/") + "/")
