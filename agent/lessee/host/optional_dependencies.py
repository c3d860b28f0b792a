"""Clients of other systems, which only some commands need."""

from importlib import import_module
from types import ModuleType

from lessee.core.errors import LesseeError


def library(name: str, extra: str) -> ModuleType:
    """Import it. Raises LesseeError where it is not installed; `extra` of ours brings it."""
    try:
        return import_module(name)
    except ImportError:
        todo = f"install it: pip install 'lessee[{extra}]'"
        raise LesseeError(f"the library {name.partition('.')[0]} is missing", todo=todo) from None
