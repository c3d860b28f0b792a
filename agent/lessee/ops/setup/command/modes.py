"""What `lessee setup` does instead of setting up, and which options go with it."""

import argparse

from lessee.core.errors import UsageError

_MODES: dict[str, tuple[str, ...]] = {
    "init": ("shares", "threshold", "pgp_key", "root_token_pgp_key"),
    "unseal": (),
    "migrate_from": ("to", "plan"),
    "remove": ("yes", "plan"),
}
_OTHERS = ("plan", "force", "only", "output", "wrap")


def mode(arguments: argparse.Namespace) -> str | None:
    """The one that is asked for; None: setting up. Raises UsageError for options that say nothing there."""
    named = next((name for name in _MODES if getattr(arguments, name) is not None), None)
    allowed = _OTHERS if named is None else (named, *_MODES[named])
    every = dict.fromkeys((*_MODES, *(option for options in _MODES.values() for option in options), *_OTHERS))
    for option in every:
        if getattr(arguments, option) not in (None, False, []) and option not in allowed:
            owner = next((name for name, options in _MODES.items() if option in options), None)
            what = f"with {_spelled(named)}" if named else f"without {_spelled(owner or '')}"
            raise UsageError(f"{_spelled(option)} says nothing {what}", todo="leave it out")
    return named


def _spelled(option: str) -> str:
    return f"--{option.replace('_', '-')}"
