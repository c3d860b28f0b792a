"""Which secrets of an environment must exist, because templates, `setup.secrets` or `rotation` name them."""

from collections.abc import Iterable, Iterator, Mapping

from lessee.config import Config
from lessee.config.grammar.rotation import admin_of
from lessee.core.immutable import ImmutableStruct
from lessee.core.path_scope import PathScope
from lessee.core.paths import Ref
from lessee.rendering.app_templates import CompiledApp

_SETUP, _ADMIN = "setup.secrets", ".admin_secret"


class Expectation(ImmutableStruct, frozen=True):
    """Why a secret must exist: what names it, and the keys that it must have."""

    sources: tuple[str, ...]
    keys: tuple[str, ...] = ()

    @property
    def is_only_for_operators(self) -> bool:
        """Whether neither an app nor a rotation's consumers read it: a login of theirs need not."""
        return all(source == _SETUP or source.endswith(_ADMIN) for source in self.sources)


def expectations(
    config: Config, scope: PathScope, compiled_apps: Mapping[str, CompiledApp]
) -> Mapping[str, Expectation]:
    """By the paths of secrets in templates. What templates can do without is not expected."""
    found: dict[str, Expectation] = {}
    for path, source, keys in (*_in_templates(scope, compiled_apps), *_in_setup(config), *_in_rotation(config)):
        before = found.get(path, Expectation(()))
        found[path] = Expectation(
            tuple(dict.fromkeys((*before.sources, source))), tuple(dict.fromkeys((*before.keys, *keys)))
        )
    return found


def path_of(ref: Ref, scope: PathScope) -> str | None:
    """The path in templates of a secret of the environment; None for a secret of another mount or identity."""
    if ref.mount != scope.mount or ref.identity:
        return None
    return ref.path.removeprefix(scope.prefix)


_Named = Iterator[tuple[str, str, Iterable[str]]]


def _in_templates(scope: PathScope, compiled_apps: Mapping[str, CompiledApp]) -> _Named:
    for name, compiled_app in compiled_apps.items():
        for need in sorted(compiled_app.references - compiled_app.optional, key=str):
            if isinstance(need, Ref) and (path := path_of(need, scope)) is not None:
                yield path, f"templates of {name}", ()


def _in_setup(config: Config) -> _Named:
    if config.environment in config.setup.environments:
        for path, values in config.setup.secrets.items():
            yield path, _SETUP, values


def _in_rotation(config: Config) -> _Named:
    for name, target in config.rotation.items():
        if target.has_consumers:  # Otherwise the first rotation creates it, as a record that no app reads.
            yield target.secret, f"rotation.{name}", ()
        if (admin := admin_of(target)) is not None:
            yield admin, f"rotation.{name}{_ADMIN}", ()
