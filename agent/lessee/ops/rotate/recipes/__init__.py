"""Recipes: those that lie here, by name, and those of one's own, by path."""

from importlib.resources import files
from pathlib import Path

from lessee.core.errors import ConfigError, LesseeError
from lessee.ops.rotate.kinds import library
from lessee.ops.rotate.policy import recipes
from lessee.ops.rotate.policy.recipes import Recipe

_ENDING = ".yaml"


def names() -> list[str]:
    """Those that lessee has."""
    return sorted(file.name.removesuffix(_ENDING) for file in files(__name__).iterdir() if file.name.endswith(_ENDING))


def load(name: str, folder: Path, *, whole: bool) -> Recipe:
    """The recipe that the configuration names; a relative path begins at `folder`.

    Raises ConfigError, and LesseeError where a library is missing.
    """
    library("jsonpath")
    if "/" in name or name.endswith((_ENDING, ".yml")):
        return recipes.parse(_text(folder / name), source=name, whole=whole)
    if name not in names():
        todo = f"there are {', '.join(names())}; one of your own is named by its path, such as `./{name}.yaml`"
        raise ConfigError([LesseeError(f"lessee has no recipe {name!r}", todo=todo)])
    text = files(__name__).joinpath(f"{name}{_ENDING}").read_text("utf-8")
    return recipes.parse(text, source=f"{name}{_ENDING}", whole=whole)


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError as exc:
        problem = LesseeError(f"the recipe is not to be read: {exc.strerror}", where=str(path), todo="mend `recipe:`")
    except ValueError:
        problem = LesseeError("the recipe is no UTF-8", where=str(path), todo="save it as UTF-8")
    raise ConfigError([problem])
