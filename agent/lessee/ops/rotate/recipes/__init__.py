"""Loads recipes: those of this package by name, and others by path."""

from importlib.resources import files
from pathlib import Path

from lessee.core.errors import ConfigError, LesseeError
from lessee.ops.rotate.kinds import library
from lessee.ops.rotate.policy import recipes
from lessee.ops.rotate.policy.recipes import Recipe

_SUFFIX = ".yaml"


def names() -> list[str]:
    """The recipes of this package."""
    return sorted(file.name.removesuffix(_SUFFIX) for file in files(__name__).iterdir() if file.name.endswith(_SUFFIX))


def load(name: str, folder: Path, *, whole: bool) -> Recipe:
    """The recipe of this name or path, which may be relative to `folder`. `whole`: as in `parse`.

    Raises ConfigError, and LesseeError where a library is missing.
    """
    library("jsonpath")
    if "/" in name or name.endswith((_SUFFIX, ".yml")):
        return recipes.parse(_text(folder / name), source=name, whole=whole)
    if name not in names():
        todo = f"lessee has {', '.join(names())}; name your own recipe by its path, such as `./{name}.yaml`"
        raise ConfigError([LesseeError(f"unknown recipe {name!r}", todo=todo)])
    text = files(__name__).joinpath(f"{name}{_SUFFIX}").read_text("utf-8")
    return recipes.parse(text, source=f"{name}{_SUFFIX}", whole=whole)


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError as exc:
        problem = LesseeError(f"cannot read the recipe: {exc.strerror}", where=str(path), todo="correct `recipe`")
    except ValueError:
        problem = LesseeError("the recipe is not UTF-8", where=str(path), todo="save it as UTF-8")
    raise ConfigError([problem])
