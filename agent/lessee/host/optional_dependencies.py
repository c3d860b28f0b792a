"""Imports client libraries that only some commands need."""

from importlib import import_module
from types import ModuleType

from lessee.core.errors import LesseeError


def library(name: str, extra: str) -> ModuleType:
    """Import a library. Raises LesseeError if it is not installed; lessee's extra `extra` contains it."""
    try:
        return import_module(name)
    except ImportError:
        todo = f"pip install 'lessee[{extra}]'"
        raise LesseeError(f"the library {name.partition('.')[0]} is missing", todo=todo) from None
