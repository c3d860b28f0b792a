"""Calls functions of the C library without `ctypes`, which costs each agent 300 KiB and a millisecond."""

import _ctypes

Argument = int | bytes
"""An int is a C int; bytes are passed by their address."""


def call(name: str, *arguments: Argument) -> int:
    """The result of a function, a C int; -1 means an error in most of them."""
    return int(_ctypes.call_function(symbol(name), arguments))


def symbol(name: str) -> int:
    """The address of a function or variable of the C library."""
    # dlopen(3) of nothing is the program itself.
    return int(_ctypes.dlsym(_ctypes.dlopen(None, 0), name))  # type: ignore[arg-type]


def prctl(option: int, value: int = 0) -> int:
    """Set or read an attribute of this process, by its PR_ constant."""
    return call("prctl", option, value, 0, 0, 0)


def address_of(data: bytes) -> int:
    """Where the bytes lie, as long as they exist; for structures that hold a pointer."""
    return id(data) + bytes.__basicsize__ - 1
