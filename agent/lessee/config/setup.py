"""What the keys of `setup` say together, and with the rest of the file."""

from itertools import permutations

from lessee.config import grammar
from lessee.config.grammar.problems import Path, Problems, spell
from lessee.config.grammar.setup import Login

_ENVIRONMENT = "{environment}"
_ROTATOR = "rotator"
_OWN = "lessee"
"""The folder of an environment in which setup and rotation keep what they know."""


def check_setup(said: grammar.Lessee, problems: Problems) -> None:
    """Tells of what would let two environments share a name, a folder or an engine."""
    block = said.setup
    for name in sorted({name for name in block.environments if block.environments.count(name) > 1}):
        problems.follow(("setup", "environments"), f"`{name}` stands there twice", todo="leave one of them out")
    if _OWN in block.environments:
        what = f"`{_OWN}` is where setup keeps what all environments share"
        problems.follow(("setup", "environments"), what, todo="name it otherwise")
    for one, other in permutations(block.environments, 2):
        if other.lower().startswith(f"{one.lower()}-"):
            what = f"`{other}` begins with `{one}-`, as the policies and roles of `{one}` do"
            problems.follow(("setup", "environments"), what, todo="name one of them otherwise")
    if _ENVIRONMENT not in said.secrets.prefix:
        what = f"without {_ENVIRONMENT} all environments would read the same secrets"
        problems.follow(("secrets", "prefix"), what, todo=f"write `prefix: {_ENVIRONMENT}/`, its default")
    for key, path in (("mount", said.secrets.mount), ("prefix", said.secrets.prefix)):
        if "+" in path.split("/"):
            problems.follow(("secrets", key), "in a policy `+` means any element", todo="name the folder otherwise")
    for path in said.setup.secrets:
        if path.split("/")[0] == _OWN:
            what = f"what is below `{_OWN}` is lessee's own"
            problems.follow(("setup", "secrets", path), what, todo="name the folder otherwise")
    _check_names(said, problems)
    _check_times(said, problems)
    if block.database and block.pki and block.database.mount == block.pki.mount:
        problems.follow(("setup", "pki", "mount"), "the database engine is mounted there", todo="name another path")


def _check_names(said: grammar.Lessee, problems: Problems) -> None:
    """Each has a policy and a role of its name, which the server writes in small letters."""
    components: list[Path] = [("setup", "components", name) for name in said.setup.components]
    apps: list[Path] = [("apps", name) for name in said.apps] if said.setup.apps else []
    taken: dict[str, Path] = {_ROTATOR: ("rotation",)} if said.rotation else {}
    for path in (*components, *apps):
        other = taken.setdefault(str(path[-1]).lower(), path)
        if other is not path:
            what = f"its policy and role would be those of {spell(other)}"
            problems.follow(path, what, todo="name one of them otherwise")


def _check_times(said: grammar.Lessee, problems: Problems) -> None:
    logins: list[tuple[Path, object]] = [(("setup", "apps"), said.setup.apps)]
    logins += [(("setup", "components", name), component) for name, component in said.setup.components.items()]
    for path, login in logins:
        if isinstance(login, Login) and login.token_ttl > login.token_max_ttl:
            problems.follow((*path, "token_ttl"), "it is longer than token_max_ttl", todo="make it shorter")
