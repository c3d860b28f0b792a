"""Resolves the block `apps.X.fallback`: where values come from at a cold start without Vault."""

from collections.abc import Mapping, Sequence

from lessee import config
from lessee.config import File
from lessee.config.grammar.app import AppBlock
from lessee.config.grammar.problems import Path, Problems, spell

MARKER = ".degraded"
"""The file in an app's directory that shows that its files come from a fallback."""


def resolve_fallback(
    app: AppBlock, files: Sequence[File], environment: str | None, at: Path, problems: Problems
) -> config.Fallback | None:
    """The fallback of the app at `at`; None if it has none."""
    block = app.fallback
    if block is None:
        return None
    at = (*at, "fallback")
    if any(file.name.partition("/")[0] == MARKER for file in files):
        what = f"a file of the app is named {MARKER}, which is the marker of a fallback"
        problems.add_dependent(at, what, todo="rename the file")
    if block.max_age is not None and block.last_known_good is None:
        problems.add_dependent((*at, "max_age"), "it applies only to `last_known_good`", todo="remove it")
    if block.last_known_good is not None:
        if block.last_known_good.startswith(f"{app.directory}/"):
            what = "the file is in the app's directory"
            problems.add_dependent((*at, "last_known_good"), what, todo="name a file outside of it")
        return config.LastKnownGoodFallback(block.last_known_good, block.max_age, environment or "")
    if not block.env:
        problems.add_dependent((*at, "env"), "it is empty", todo="name variables, or remove `fallback`")
        return None
    if isinstance(block.env, tuple):
        return config.VariablesFallback(block.env)
    return config.SecretsFallback(block.env)


def check_last_known_good_files(apps: Mapping[str, config.App], problems: Problems) -> None:
    """Report apps that share a last_known_good file, and files in the directory of another app."""
    files: dict[str, str] = {}
    for name, app in apps.items():
        if not isinstance(app.fallback, config.LastKnownGoodFallback):
            continue
        at = ("apps", name, "fallback", "last_known_good")
        file = app.fallback.file
        if (other := files.setdefault(file, spell(at))) != spell(at):
            problems.add_dependent(at, f"{other} is the same file", todo="give each app a file of its own")
        for owner, another in apps.items():
            if owner != name and file.startswith(f"{another.directory}/"):
                what = f"the file is in the directory of apps.{owner}"
                problems.add_dependent(at, what, todo="name a file outside of it")
