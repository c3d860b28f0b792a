"""From what an app's block says to where its values come from at a cold start without Vault."""

from collections.abc import Mapping, Sequence

from lessee import config
from lessee.config import File
from lessee.config.grammar import app
from lessee.config.grammar.problems import Path, Problems, spell

MARKER = ".degraded"
"""Stands in an app's directory while its files come from a fallback."""


def fallback(
    said: app.App, files: Sequence[File], environment: str | None, at: Path, problems: Problems
) -> config.Fallback | None:
    """What serves an app while there is nothing else."""
    block = said.fallback
    if block is None:
        return None
    at = (*at, "fallback")
    if any(file.name == MARKER for file in files):
        problems.follow(at, f"a file of the app is called {MARKER}, as the marker of a fallback is", todo="rename it")
    if block.max_age is not None and block.last_good is None:
        problems.follow((*at, "max_age"), "only what is kept in a file grows old", todo="leave it out")
    if block.last_good is not None:
        if block.last_good.startswith(f"{said.directory}/"):
            problems.follow((*at, "last_good"), "it lies in the app's directory", todo="name a file elsewhere")
        return config.LastGood(block.last_good, block.max_age, environment or "")
    if not block.env:
        problems.follow((*at, "env"), "it names no variable", todo="name some, or leave `fallback` out")
        return None
    if isinstance(block.env, tuple):
        return config.FromVariables(block.env)
    return config.FromSecrets(block.env)


def check_kept(apps: Mapping[str, config.App], problems: Problems) -> None:
    """Each app keeps its last good in a file of its own, and in no directory of another app."""
    files: dict[str, str] = {}
    for name, said in apps.items():
        if not isinstance(said.fallback, config.LastGood):
            continue
        at = ("apps", name, "fallback", "last_good")
        file = said.fallback.file
        if (other := files.setdefault(file, spell(at))) != spell(at):
            problems.follow(at, f"{other} is the same file", todo="give each its own")
        for holder, another in apps.items():
            if holder != name and file.startswith(f"{another.directory}/"):
                problems.follow(at, f"it lies in the directory of apps.{holder}", todo="name a file elsewhere")
