"""Checks the block `setup`, and the names and paths that it shares with the rest of the file."""

from itertools import permutations

from lessee.config import grammar
from lessee.config.grammar.problems import Path, Problems, spell
from lessee.config.grammar.setup import Login

_ENVIRONMENT = "{environment}"
_ROTATOR, _ISSUER = "rotator", "issuer"
_RESERVED = "lessee"
"""The folder of an environment in which setup and rotation store their own data."""


def check_setup(file: grammar.Lessee, problems: Problems) -> None:
    """Report what would let two environments share a policy, a role, a path or an engine."""
    block = file.setup
    _check_environments(block.environments, problems)
    if _ENVIRONMENT not in file.secrets.prefix:
        what = f"without {_ENVIRONMENT} in it, all environments would read the same secrets"
        problems.add_dependent(
            ("secrets", "prefix"), what, todo=f"write `prefix: {_ENVIRONMENT}/`, which is the default"
        )
    for key, path in (("mount", file.secrets.mount), ("prefix", file.secrets.prefix)):
        if "+" in path.split("/"):
            what = "a path element `+` matches any element in a policy"
            problems.add_dependent(("secrets", key), what, todo="choose another path")
    for path, keys in block.secrets.items():
        if path.split("/")[0] == _RESERVED:
            what = f"paths below `{_RESERVED}` are reserved for lessee"
            problems.add_dependent(("setup", "secrets", path), what, todo="choose another path")
        for key, source in keys.items():
            if source.json and source.generate is not None:
                what = "a generated value is text, not JSON"
                todo = "remove one of them"
                problems.add_dependent(("setup", "secrets", path, key, "json"), what, todo=todo)
    _check_names(file, problems)
    _check_times(file, problems)
    if block.database and block.pki and block.database.mount == block.pki.mount:
        what = "the database engine has the same mount path"
        problems.add_dependent(("setup", "pki", "mount"), what, todo="choose another mount path")


def _check_environments(environments: tuple[str, ...], problems: Problems) -> None:
    at: Path = ("setup", "environments")
    for name in sorted({name for name in environments if environments.count(name) > 1}):
        problems.add_dependent(at, f"duplicate environment `{name}`", todo="remove one of them")
    if _RESERVED in environments:
        what = f"the name `{_RESERVED}` is reserved for what all environments share"
        problems.add_dependent(at, what, todo="choose another name")
    for name, other in permutations(environments, 2):
        if other.lower().startswith(f"{name.lower()}-"):
            what = f"`{other}` begins with `{name}-`, and so do the names of the policies and roles of `{name}`"
            problems.add_dependent(at, what, todo="rename one of the two")


def _check_names(file: grammar.Lessee, problems: Problems) -> None:
    """Check that each component and app has a policy and role of its own. Vault compares their names in lower case."""
    components: list[Path] = [("setup", "components", name) for name in file.setup.components]
    apps: list[Path] = [("apps", name) for name in file.apps] if file.setup.apps else []
    taken: dict[str, Path] = {_ROTATOR: ("rotation",)} if file.rotation else {}
    if file.issue is not None:
        taken[_ISSUER] = ("issue",)
    for path in (*components, *apps):
        other = taken.setdefault(str(path[-1]).lower(), path)
        if other is not path:
            what = f"its policy and role would be those of {spell(other)}"
            problems.add_dependent(path, what, todo="rename one of the two")


def _check_times(file: grammar.Lessee, problems: Problems) -> None:
    logins: list[tuple[Path, object]] = [(("setup", "apps"), file.setup.apps)]
    logins += [(("setup", "components", name), component) for name, component in file.setup.components.items()]
    for path, login in logins:
        if isinstance(login, Login) and login.token_ttl > login.token_max_ttl:
            problems.add_dependent((*path, "token_ttl"), "it is longer than token_max_ttl", todo="make it shorter")
