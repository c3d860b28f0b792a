"""Reads lessee.yaml and its templates from the disk."""

import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path, PurePosixPath

import msgspec

from lessee.config import App, Child, Config, Notify, SecretsFallback, VariablesFallback
from lessee.config.parsing import environments, parse
from lessee.core.errors import ConfigError, LesseeError, TemplateError, TemplateListError
from lessee.core.immutable import ImmutableStruct
from lessee.rendering.app_templates import CompiledApp, compile_apps, path_scope_of
from lessee.rendering.templates import Compiler

PLACES = (Path("lessee.yaml"), Path("/etc/lessee/lessee.yaml"))
_UNREADABLE = "template-unreadable"


class Project(ImmutableStruct, frozen=True):
    """A configuration in force: what the file says, the templates compiled, and the files all that came from."""

    path: Path
    config: Config
    text: str
    """The file's text: what it spells out is no secret."""
    compiled_apps: Mapping[str, CompiledApp]
    stamps: Mapping[Path, "Stamp"]
    """The files all that came from, as they were just before they were read."""


Stamp = tuple[int, ...] | None
"""What changes when a file does; None where there is none."""


def stamp(path: Path) -> Stamp:
    """Follows links, as reading does."""
    try:
        status = path.stat()
    except (OSError, ValueError):  # ValueError: no file can be called so.
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def find(option: str | None, environ: Mapping[str, str]) -> Path:
    """The configuration file: as asked for, else by $LESSEE_CONFIG, else in its usual places."""
    named = option or environ.get("LESSEE_CONFIG")
    places = [Path(named)] if named else PLACES
    for place in places:
        if place.is_file():
            return place.absolute()
    looked = ", ".join(map(str, places))
    todo = "write one (see `lessee check --schema`), or name it with --config or $LESSEE_CONFIG"
    raise ConfigError([LesseeError("there is no such configuration file", where=looked, todo=todo)])


def read(
    path: Path, environ: Mapping[str, str], *, environment: str | None = None, blocks: Collection[str] = ()
) -> Config:
    """The configuration alone, whatever the templates are like; the rest as of `parse`. Raises ConfigError."""
    return parse(text_of(path), source=path.name, environ=environ, environment=environment, blocks=blocks)


def environments_of(path: Path, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Those that `lessee setup` is for. Raises ConfigError where the file is not to be read."""
    return environments(text_of(path), source=path.name, environ=environ)


def app_of(config: Config, name: str, path: Path) -> App:
    """The app of this name; `path` is the configuration's. Raises ConfigError with the names that there are."""
    if name not in config.apps:
        todo = f"there are: {', '.join(config.apps) or 'none'}"
        raise ConfigError([LesseeError(f"there is no app {name!r}", where=path.name, todo=todo)])
    return config.apps[name]


def load(
    path: Path,
    environ: Mapping[str, str],
    *,
    only: str | None = None,
    prepare: bool = True,
    for_child: bool = False,
    respawns: bool = False,
    environment: str | None = None,
    blocks: Collection[str] = (),
) -> Project:
    """Read and compile all of it, or one app. Raises ConfigError or TemplateError, which tell all that is wrong.

    `prepare`: as of `compile_apps`. `for_child`: there is a child to take what `environ` makes; else it is left out.
    `respawns`: it is started anew where an app does not say how it is told. `environment` and `blocks`: as of `parse`.
    """
    stamps = {path: stamp(path)}
    text = text_of(path)
    config = parse(text, source=path.name, environ=environ, for_child=for_child, environment=environment, blocks=blocks)
    if only is not None:
        config = _with(config, {only: app_of(config, only, path)})
    if not for_child:
        config = _with(
            config, {name: msgspec.structs.replace(app, env_template=None) for name, app in config.apps.items()}
        )
    if respawns:
        config = _with(config, {name: respawned(app) for name, app in config.apps.items()})
    folder = path.parent / config.template_dir if config.template_dir else path.parent

    def template(name: str) -> str:
        stamps[folder / name] = stamp(folder / name)
        return template_of(folder, name)

    compiled_apps = compile_apps(config, Compiler(template, path_scope_of(config)), prepare=prepare)
    _refuse_fallbacks(compiled_apps.values())
    return Project(path, config, text, compiled_apps, stamps)


def respawned(app: App) -> App:
    """The app, with a restart of its child as the default notification."""
    # Imported here: only `lessee exec` needs the defaults of the grammar.
    from lessee.config.grammar.app import NotifyBlock  # noqa: PLC0415

    block = NotifyBlock(child=True, action="restart")
    default = Notify(
        target=Child(),
        action=block.action,
        stop_grace_period=block.stop_grace_period,
        start_period=block.start_period,
        on_unhandled_signal=block.on_unhandled_signal,
        timeout=block.timeout,
    )
    return msgspec.structs.replace(app, notify=app.notify or default)


def _refuse_fallbacks(compiled_apps: Iterable[CompiledApp]) -> None:
    """Raises TemplateListError: one that can never serve is found out now, and not when Vault is away."""
    some = [compiled_app for compiled_app in compiled_apps if isinstance(compiled_app.app.fallback, VariablesFallback | SecretsFallback)]
    if some:
        # Of all env formats: few need it.
        from lessee.rendering.fallback.files import problems  # noqa: PLC0415

        found = [problem for compiled_app in some for problem in problems(compiled_app)]
        if found:
            raise TemplateListError(found)


def _with(config: Config, apps: dict[str, App]) -> Config:
    return msgspec.structs.replace(config, apps=apps)


def text_of(path: Path) -> str:
    """What stands in a configuration. Raises ConfigError."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as exc:
        raise ConfigError([LesseeError(f"cannot be read: {exc.strerror}", where=str(path))]) from None
    except UnicodeDecodeError:
        raise ConfigError([LesseeError("is not UTF-8 text", where=str(path))]) from None
    except ValueError:
        raise ConfigError([LesseeError("no file can be called so", where=repr(str(path)))]) from None


def template_of(folder: Path, name: str) -> str:
    """The template of this name, below the templates' folder. Raises TemplateError."""
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts:
        raise TemplateError(
            f"the template {name!r} lies outside the templates' folder",
            where=str(folder),
            todo="name it relative to that folder (`templates: DIR` says which)",
            rule=_UNREADABLE,
        )
    try:
        return (folder / name).read_text(encoding="utf-8")
    except OSError as exc:
        what = f"the template cannot be read: {exc.strerror}"
        raise TemplateError(what, where=str(folder / name), rule=_UNREADABLE) from None
    except UnicodeDecodeError:
        what = "the template is not UTF-8 text"
        raise TemplateError(what, where=str(folder / name), rule=_UNREADABLE) from None
    except ValueError:
        what = f"no template can be called {name!r}"
        raise TemplateError(what, where=os.fspath(folder), rule=_UNREADABLE) from None


def refuse_without_apps(project: Project) -> None:
    """An operator's file has nothing to run. Raises ConfigError."""
    if not project.config.apps:
        todo = "add `apps:`, or name an app's configuration with --config"
        raise ConfigError([LesseeError("it has no apps: it is an operator's file", where=str(project.path), todo=todo)])
