"""The name of a use says which field of a service has the value, whatever names the project's author chose.

A variable has its own name if no other field can have it, and `environment.NAME` otherwise: `secrets.x` is Compose's
secret x, and `environment.secrets.x` a variable. A name can hold any character, so it is no path.
"""

import re
from enum import Enum

_ENVIRONMENT = "environment."
_WORD = re.compile(r"(?P<list>command|entrypoint|healthcheck\.test)\[(?P<at>[0-9]+)\]")


class ServiceField(Enum):
    """The field of a service. The value is what precedes the key in the name of a use."""

    VARIABLE = _ENVIRONMENT
    LABEL = "labels."
    BUILD_ARGUMENT = "build.args."
    SECRET = "secrets."  # noqa: S105
    CONFIG = "configs."
    WORD = ""
    """A word of `command`, `entrypoint` or `healthcheck.test`; its key is the whole name."""


def name_of_variable(key: str) -> str:
    """The name of a use of a variable."""
    return f"{_ENVIRONMENT}{key}" if any(char in key for char in ".[") else key


def kind_of(name: str) -> ServiceField:
    """The field that the name of a use says."""
    if "." not in name and "[" not in name:
        return ServiceField.VARIABLE
    return next(kind for kind in ServiceField if name.startswith(kind.value))


def key_of(name: str) -> str:
    """The key in the field: of `environment.x.y` and of `labels.x.y` it is `x.y`."""
    return name.removeprefix(kind_of(name).value)


def index_of(name: str) -> tuple[str, int] | None:
    """The list and the index that a word such as `command[2]` has; None for another kind of use."""
    found = _WORD.fullmatch(name)
    return None if found is None else (found["list"], int(found["at"]))
