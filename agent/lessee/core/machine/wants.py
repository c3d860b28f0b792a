"""What is asked of the machine: an app, its needs, and what is done with its files."""

from lessee.core.paths import Need
from lessee.core.record import Record


class Want(Record, frozen=True):
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
