"""The kinds of systems whose credentials can be rotated: a module each, imported when it is asked for."""

from lessee.core.config.grammar.rotation import InVault, Rotation
from lessee.core.errors import LesseeError
from lessee.rotation.kinds.kind import Kind, Setting


def kind_of(said: Rotation, setting: Setting) -> Kind:
    """Raises LesseeError where a library is missing, or the configuration or the admin's secret is no use."""
    match said:
        case InVault():
            from lessee.rotation.kinds.vault import RandomValues  # noqa: PLC0415  # As its neighbours are.

            return RandomValues(said, setting)
        case _:
            raise LesseeError(f"{type(said).__name__}: to come")
