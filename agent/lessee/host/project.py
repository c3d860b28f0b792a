"""Reads lessee.yaml and its templates, and compiles them."""

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath

import msgspec

from lessee.config import (
    App,
    Child,
    Config,
    HttpTarget,
    LastKnownGoodFallback,
    Notify,
    SecretsFallback,
    VariablesFallback,
    logins_of,
)
from lessee.config.parsing import environments, has_block, parse
from lessee.core.errors import ConfigError, LesseeError, TemplateError, TemplateListError
from lessee.core.immutable import ImmutableStruct, replace
from lessee.host.template_files import NoTemplateError, OutsideError, content_of, open_beneath
from lessee.rendering.app_templates import CompiledApp, compile_apps, path_scope_of
from lessee.rendering.templates import Compiler

DEFAULT_PATHS = (Path("lessee.yaml"), Path("/etc/lessee/lessee.yaml"))
_UNREADABLE = "template-unreadable"


class Project(ImmutableStruct, frozen=True):
    """A configuration with its compiled templates."""

    path: Path
    config: Config
    text: str
    """The file's text; no value that it contains is a secret."""
    compiled_apps: Mapping[str, CompiledApp]
    stamps: Mapping[str, "Stamp"]
    """The stamps of the configuration and all templates by path, taken just before each was read."""
    refused: Mapping[str, LesseeError] = {}
    """Why some apps of the file are missing in `config`, by name."""
    refused_apps: Mapping[str, App] = {}
    """Those of them whose settings are valid, but not their templates."""


Stamp = tuple[int, int, int, int] | None
"""A value that changes together with the file; None if it does not exist."""


def stamp(path: str) -> Stamp:
    """The stamp of a file, or of the target of a link."""
    try:
        return _stamp(os.stat(path))  # noqa: PTH116  # A Path takes as long as the call, for each of many files.
    except (OSError, ValueError):  # ValueError: the name holds a NUL.
        return None


def _stamp(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def find(option: str | None, environ: Mapping[str, str]) -> Path:
    """The configuration file: by the option, else by $LESSEE_CONFIG, else in the default paths. Raises ConfigError."""
    named = option or environ.get("LESSEE_CONFIG")
    paths = [Path(named)] if named else DEFAULT_PATHS
    for path in paths:
        if path.is_file():
            return path.absolute()
    searched = ", ".join(map(str, paths))
    todo = "create it (see `lessee check --schema`), or name another with --config or $LESSEE_CONFIG"
    raise ConfigError([LesseeError("configuration file not found", where=searched, todo=todo)])


def read(
    path: Path, environ: Mapping[str, str], *, environment: str | None = None, blocks: Collection[str] = ()
) -> Config:
    """The configuration without its templates; the other parameters are those of `parse`. Raises ConfigError."""
    return parse(
        text_of(path),
        source=path.name,
        environ=environ,
        environment=environment,
        blocks=blocks,
        load_model=model_loader(path),
        find_id=find_id,
    )


def find_id(kind: str, name: str) -> int | None:
    """The number of a `user` or `group` of this machine or container; None without one."""
    # Few configurations have a name.
    import grp  # noqa: PLC0415
    import pwd  # noqa: PLC0415

    try:
        return pwd.getpwnam(name).pw_uid if kind == "user" else grp.getgrnam(name).gr_gid
    except KeyError:
        return None


def model_loader(path: Path, stamps: "dict[str, Stamp] | None" = None) -> Callable[[str], str]:
    """What loads a Compose model that the configuration at `path` names, and adds its stamp to `stamps`."""

    def load_model(name: str) -> str:
        file = path.parent / name
        if stamps is not None:
            stamps[str(file)] = stamp(str(file))
        try:
            return text_of(file)
        except ConfigError as exc:
            [problem] = exc.problems
            todo = "write it with `docker compose config --no-interpolate --format json`; `compose.file` names it"
            raise ConfigError([LesseeError(problem.what, where=problem.where, todo=todo)]) from None

    return load_model


def environments_of(path: Path, environ: Mapping[str, str]) -> tuple[str, ...]:
    """The environments that `lessee setup` sets up. Raises ConfigError if the file cannot be read."""
    return environments(text_of(path), source=path.name, environ=environ)


def require_setup(path: Path) -> None:
    """Raise ConfigError for a file without the block `setup`: its environments would be the defaults."""
    if not has_block(text_of(path), "setup", source=path.name):
        what = "it has no `setup:` block, so it does not say which environments to set up"
        todo = "name the file that has one with --config, or write `setup: {environments: [NAME]}` in this one"
        raise ConfigError([LesseeError(what, where=str(path), todo=todo)])


def app_of(config: Config, name: str, path: Path) -> App:
    """The app of this name; `path` is the configuration's. Raises ConfigError, which lists all names."""
    if name not in config.apps:
        todo = f"its apps are: {', '.join(config.apps) or 'none'}"
        raise ConfigError([LesseeError(f"no app is named {name!r}", where=path.name, todo=todo)])
    return config.apps[name]


def load(  # noqa: PLR0913  # Each command sets two or three of them.
    path: Path,
    environ: Mapping[str, str],
    *,
    only: str | None = None,
    prepare: bool = True,
    for_child: bool = False,
    respawns: bool = False,
    environment: str | None = None,
    blocks: Collection[str] = (),
    refuses_apps: bool = False,
) -> Project:
    """Read and compile all apps, or `only` one. Raises ConfigError or TemplateError, which list all problems.

    `refuses_apps`: a problem of some apps alone is in the result; it is raised only if no other app is left.

    `for_child`: `lessee exec` starts a child, which gets what `env_template` renders; without one, `env_template` is
    ignored. `respawns`: a restart of the child is the default notification. `prepare` is that of `compile_apps`,
    `environment` and `blocks` are those of `parse`.
    """
    stamps = {str(path): stamp(str(path))}
    text = text_of(path)
    invalid: dict[str, ConfigError] | None = {} if refuses_apps else None
    config = parse(
        text,
        source=path.name,
        environ=environ,
        for_child=for_child,
        environment=environment,
        blocks=blocks,
        refused=invalid,
        load_model=model_loader(path, stamps),
        find_id=find_id,
    )
    if config.sources:
        config = _with_absolute_sources(config, path.parent)
    if invalid and only in invalid:
        raise invalid[only]
    if invalid and not config.apps:
        raise ConfigError(problem for error in invalid.values() for problem in error.problems)
    if only is not None:
        config, invalid = _with(config, {only: app_of(config, only, path)}), invalid and {}
    if not for_child:
        config = _with(
            config, {name: msgspec.structs.replace(app, env_template=None) for name, app in config.apps.items()}
        )
    if respawns:
        config = _with(config, {name: with_restarted_child(app) for name, app in config.apps.items()})
    folder = path.parent / config.template_dir if config.template_dir else path.parent
    credentials = file_ids((*configuration_files(path, config), *credential_files(config, environ)))

    def template(name: str) -> str:
        if (inline := config.inline_templates.get(name)) is not None:
            return inline.text
        stamps[os.path.join(folder, name)] = None  # noqa: PTH118  # A Path takes as long as the file itself.
        return template_of(folder, name, stamps, credentials)

    broken: dict[str, TemplateListError] | None = {} if refuses_apps else None
    compiler = Compiler(template, path_scope_of(config))
    try:
        compiled_apps = compile_apps(config, compiler, prepare=prepare, refused=broken)
    except TemplateListError as exc:
        raise _at_keys(exc, config, folder, path.name, text) from None
    if broken is None or invalid is None:
        _check_fallbacks(compiled_apps.values())
        return Project(path, config, text, compiled_apps, stamps)
    broken.update({name: _at_keys(error, config, folder, path.name, text) for name, error in broken.items()})
    for name, compiled_app in compiled_apps.items():
        try:
            _check_fallbacks([compiled_app])
        except TemplateListError as exc:
            broken[name] = exc
    if not broken and not invalid:
        return Project(path, config, text, compiled_apps, stamps)
    if config.apps.keys() == broken.keys():
        raise TemplateListError(problem for error in broken.values() for problem in error.problems)
    return without_apps(Project(path, config, text, compiled_apps, stamps, invalid), broken)


def _at_keys(error: TemplateListError, config: Config, folder: Path, source: str, text: str) -> TemplateListError:
    """The error, in which each template that cannot be read has the line and the key that names it."""
    # Only errors need it.
    from lessee.config.grammar.nodes import compose, line_of_key  # noqa: PLC0415
    from lessee.config.grammar.problems import spell  # noqa: PLC0415

    keys: dict[str, tuple[str, tuple[str | int, ...]]] = {}
    for app in config.apps.values():
        if app.name not in config.labeled_apps:
            at: tuple[str | int, ...] = ("apps", app.name)
            for index, file in enumerate(app.files):
                keys[str(folder / file.template)] = file.template, (*at, "files", index, "template")
            if app.env_template is not None:
                keys[str(folder / app.env_template)] = app.env_template, (*at, "env_template")
    root = compose(text, source)

    def located(problem: LesseeError) -> LesseeError:
        if problem.rule != _UNREADABLE or problem.where not in keys:
            return problem
        name, key = keys[problem.where]
        what, where = f"{spell(key)}: {name}: {problem.what}", f"{source}:{line_of_key(root, key)}"
        return TemplateError(what, where=where, todo=problem.todo, rule=problem.rule)

    return TemplateListError(map(located, error.problems))


def without_apps(project: Project, refused: Mapping[str, LesseeError]) -> Project:
    """The project without these apps, which are refused for the given reasons."""
    config = project.config
    return replace(
        project,
        config=_with(config, {name: app for name, app in config.apps.items() if name not in refused}),
        compiled_apps={name: app for name, app in project.compiled_apps.items() if name not in refused},
        refused={**project.refused, **refused},
        refused_apps={**project.refused_apps, **{name: config.apps[name] for name in refused}},
    )


def without_children(project: Project, *, strict: bool = False) -> Project:
    """The project without the apps that only `lessee exec` can notify. Raises ConfigError if no other app is left.

    `strict`: one such app is enough.
    """
    apps = project.config.apps
    refused = {
        name: LesseeError(
            "`lessee run` has no child process to notify",
            where=f"apps.{name}.notify",
            todo=f"start the app with `lessee exec --app {name}`",
        )
        for name, app in apps.items()
        if app.notify and isinstance(app.notify.target, Child)
    }
    if not refused:
        return project
    if strict or refused.keys() == apps.keys():
        raise ConfigError(refused.values())
    return without_apps(project, refused)


def with_restarted_child(app: App) -> App:
    """The app, with a restart of its child as the default notification."""
    # Imported here: only `lessee exec` needs the defaults of the grammar.
    from lessee.config.grammar.app import NotifyBlock  # noqa: PLC0415

    block = NotifyBlock(child=True, action="restart")
    default = Notify(
        target=Child(),
        action=block.action,
        stop_grace_period=block.stop_grace_period,
        stop_signal=block.stop_signal,
        start_period=block.start_period,
        on_unhandled_signal=block.on_unhandled_signal,
        timeout=block.timeout,
    )
    return msgspec.structs.replace(app, notify=app.notify or default)


def _check_fallbacks(compiled_apps: Iterable[CompiledApp]) -> None:
    """Raise TemplateListError for a fallback that can never serve: now, and not when Vault is unavailable."""
    with_fallback = [
        compiled_app
        for compiled_app in compiled_apps
        if isinstance(compiled_app.app.fallback, VariablesFallback | SecretsFallback)
    ]
    if with_fallback:
        # Imports all env formats, which few configurations need.
        from lessee.rendering.fallback.files import problems  # noqa: PLC0415

        found = [problem for compiled_app in with_fallback for problem in problems(compiled_app)]
        if found:
            raise TemplateListError(found)


def _with_absolute_sources(config: Config, folder: Path) -> Config:
    """The configuration whose sources name their files wherever the agent runs."""
    from lessee.config.grammar.sources import SopsSource  # noqa: PLC0415  # Few configurations have a source.

    sources = {
        name: msgspec.structs.replace(
            source,
            settings=msgspec.structs.replace(
                source.settings,
                directory=os.path.normpath(folder / source.settings.directory),
                age_key_file=os.path.normpath(folder / source.settings.age_key_file),
            ),
        )
        for name, source in config.sources.items()
        if isinstance(source.settings, SopsSource)
    }
    if not sources:
        return config
    apps = {
        name: msgspec.structs.replace(app, identities={**app.identities, **sources})
        for name, app in config.apps.items()
    }
    return msgspec.structs.replace(config, sources={**config.sources, **sources}, apps=apps)


def _with(config: Config, apps: dict[str, App]) -> Config:
    return msgspec.structs.replace(config, apps=apps)


def text_of(path: Path) -> str:
    """The text of a configuration file. Raises ConfigError."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as exc:
        raise ConfigError([LesseeError(f"cannot be read: {exc.strerror}", where=str(path))]) from None
    except UnicodeDecodeError:
        raise ConfigError([LesseeError("not UTF-8 text", where=str(path))]) from None
    except ValueError:
        raise ConfigError([LesseeError("not a valid file name", where=repr(str(path)))]) from None


def configuration_files(path: Path, config: Config) -> Iterator[str]:
    """The configuration, and the Compose model that it names: no template reads what other services have there."""
    yield str(path)
    if config.compose_file is not None:
        yield str(path.parent / config.compose_file)


def credential_files(config: Config, environ: Mapping[str, str]) -> Iterator[str]:
    """The files of this configuration that hold credentials of the agent: its directory may contain them too."""
    for vault in logins_of(config):
        files = [getattr(vault.auth, field) for field in vault.auth.__struct_fields__ if field.endswith("_file")]
        yield from (file for file in (*files, vault.client_key_file) if file is not None)
    for source in config.sources.values():
        yield from source.credential_files
    for app in config.apps.values():
        if app.notify is not None and isinstance(app.notify.target, HttpTarget):
            yield from app.notify.target.header_files.values()
    if config.status.listen is not None and config.status.listen.token_file is not None:
        yield config.status.listen.token_file
    if config.audit_trail is not None:
        yield config.audit_trail.key_file
    if any(isinstance(app.fallback, LastKnownGoodFallback) for app in config.apps.values()):
        # Few apps have one.
        from lessee.host.encrypted_file import key_file  # noqa: PLC0415

        yield str(key_file(environ))


def file_ids(paths: Iterable[str]) -> frozenset[tuple[int, int]]:
    """What identifies these files under any name and through any link, as far as they exist."""
    return frozenset(found[:2] for path in paths if (found := stamp(path)) is not None)


def template_of(
    folder: Path,
    name: str,
    stamps: dict[str, Stamp] | None = None,
    credentials: Collection[tuple[int, int]] = (),
) -> str:
    """The text of a template in the template directory; its stamp is added to `stamps`. Raises TemplateError.

    `credentials`: the ids of files that no template may read, such as the configuration, whose URLs hold passwords.
    """
    path = os.path.join(folder, name)  # noqa: PTH118  # A Path takes as long as the file itself.
    below = os.path.relpath(name, folder) if name.startswith("/") else name
    if ".." in below.split("/"):
        raise TemplateError(
            f"the template {name!r} is outside the template directory",
            where=str(folder),
            todo="name it relative to that directory (`template_dir: DIR` sets it)",
            rule=_UNREADABLE,
        )
    try:
        file = open_beneath(os.fspath(folder), below)
        try:
            status = os.fstat(file)
            if stamps is not None:
                stamps[path] = _stamp(status)
            if (status.st_dev, status.st_ino) in credentials:
                raise NoTemplateError("a file with a credential of the agent, or its configuration")
            return _text(content_of(file))
        finally:
            os.close(file)
    except NoTemplateError as exc:
        todo = "name a file of text that is only a template"
        what = f"the template is {exc.what}"
        raise TemplateError(what, where=str(folder / name), todo=todo, rule=_UNREADABLE) from None
    except OutsideError:
        what = "the template is a link, or below one, that leads out of the template directory"
        todo = "copy the file into the directory, or set template_dir to one that contains both"
        raise TemplateError(what, where=str(folder / name), todo=todo, rule=_UNREADABLE) from None
    except FileNotFoundError:
        todo = (
            f"{_similar_template(folder, name)}paths are relative to the configuration's directory, or to template_dir"
        )
        raise TemplateError("template not found", where=str(folder / name), todo=todo, rule=_UNREADABLE) from None
    except OSError as exc:
        what = f"the template cannot be read: {exc.strerror}"
        raise TemplateError(what, where=str(folder / name), rule=_UNREADABLE) from None
    except UnicodeDecodeError:
        what = "the template is not UTF-8 text"
        raise TemplateError(what, where=str(folder / name), rule=_UNREADABLE) from None
    except ValueError:
        what = f"{name!r} is not a valid name of a template"
        raise TemplateError(what, where=os.fspath(folder), rule=_UNREADABLE) from None


def _text(content: bytes) -> str:
    text = content.decode()
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def _similar_template(folder: Path, name: str) -> str:
    """A question for a template with a similar name in the same directory; empty without one."""
    from difflib import get_close_matches  # noqa: PLC0415  # Only errors need it.

    directory = (folder / name).parent
    with suppress(OSError):
        names = sorted(path.name for path in directory.iterdir() if path.suffix == Path(name).suffix)
        if similar := get_close_matches(Path(name).name, names, n=1, cutoff=0.8):
            return f"did you mean {PurePosixPath(name).with_name(similar[0])}? "
    return ""


def check_has_apps(project: Project) -> None:
    """Raise ConfigError for a configuration without apps."""
    if not project.config.apps:
        todo = "add `apps:`, or name an app's configuration with --config"
        what = "the configuration has no apps, as it is an operator's file"
        if project.config.compose_file is not None:
            what = f"neither it nor a label of {project.config.compose_file} has an app"
            todo = "give a service a label such as lessee.env or lessee.template.app.env, and write the model again"
        raise ConfigError([LesseeError(what, where=str(project.path), todo=todo)])
