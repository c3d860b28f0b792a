"""The kinds of systems whose credentials can be rotated: a module each, imported when it is asked for."""

from functools import partial
from importlib import import_module

from lessee.config.grammar import rotation as grammar
from lessee.host import optional_dependencies
from lessee.ops.rotate.kinds.kind import Kind, Setting

_CLASSES: dict[type[grammar.Rotation], tuple[str, str]] = {
    grammar.Postgres: ("postgres", "LoginRoles"),
    grammar.Redis: ("redis", "AclUser"),
    grammar.S3: ("s3", "AccessKeys"),
    grammar.Minio: ("minio", "ServiceAccounts"),
    grammar.ApiKey: ("api_key", "ProviderKeys"),
    grammar.Manual: ("manual", "ByHand"),
    grammar.InVault: ("vault", "in_vault"),
    grammar.Own: ("command", "OwnProgram"),
}
"""The module of each, and the class in it."""


def kind_of(said: grammar.Rotation, setting: Setting) -> Kind:
    """Raises LesseeError where a library is missing, or the configuration or the admin's secret is no use."""
    module, name = _CLASSES[type(said)]
    kind: Kind = getattr(import_module(f"{__name__}.{module}"), name)(said, setting)
    return kind


library = partial(optional_dependencies.library, extra="rotate")
"""A client of the extra `rotate`. Raises LesseeError where it is not installed."""
