"""What is asked of the machine: an app, its needs, and what is done with its files."""

from lessee.core.immutable import ImmutableStruct
from lessee.core.paths import Need


class Consumer(ImmutableStruct, frozen=True):
    """Where an app says which versions of rotated secrets it works with: `where` below KV's metadata.

    `prefix` is left out of the secrets' paths.
    """

    where: str
    prefix: str


class Want(ImmutableStruct, frozen=True):
    """What an app wants. `recipe` stands for its templates and settings: another recipe, another rendering."""

    hidden = ("recipe",)

    needs: frozenset[Need]
    refresh: float
    notifies: bool
    recipe: object
    checks: bool = False
    """A command judges its files before they are shown."""
    proves: bool = False
    """It is looked at whether the app works with what it was told of."""
    falls_back: bool = False
    """There is something to make its files from at a cold start without Vault."""
    keeps: bool = False
    """What its files were made from is kept for that."""
    consumer: Consumer | None = None
    """None: nobody is told which versions it works with."""
