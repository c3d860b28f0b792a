"""Checks a configuration and its templates, and reports all problems in one run."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import PurePosixPath

from yaml.nodes import MappingNode

from lessee.config import Config, InlineTemplate, default_format
from lessee.config.apps import FindId, any_name
from lessee.config.grammar import app as grammar
from lessee.config.grammar.nodes import compose, line_of_key
from lessee.config.grammar.problems import Path, Problems
from lessee.config.grammar.reader import Reader
from lessee.config.parsing import parse
from lessee.core.errors import ConfigError, LesseeError
from lessee.core.immutable import ImmutableStruct, replace
from lessee.core.path_scope import MountScope, PathScope
from lessee.core.paths import source_mount
from lessee.ops.lint.policy.app_rules import check_apps
from lessee.ops.lint.policy.fallbacks import check_fallback
from lessee.ops.lint.policy.findings import Finding, of_configuration, split_location
from lessee.ops.lint.policy.rotation_rules import check_rotation
from lessee.ops.lint.policy.templates import TemplateOutput, Templates
from lessee.ops.lint.policy.unfinished_imports import unfinished_in_config
from lessee.rendering.app_templates import CompiledApp, compile_apps, path_scope_of

LoadModel = Callable[[str], str]
"""Returns the text of a Compose model by its name in the configuration. Raises ConfigError."""
Load = Callable[[PurePosixPath, str], str]
"""Returns the text of a template in a directory. Raises TemplateError."""

_ENVIRON = "dotenv"
"""The format of what `env_template` renders."""


class ValidConfig(ImmutableStruct, frozen=True):
    """A valid configuration, parsed and as YAML."""

    config: Config
    root: MappingNode


class CheckResult(ImmutableStruct, frozen=True):
    """The findings in a file and its templates, and the input for further checks."""

    file: str
    findings: tuple[Finding, ...]
    valid: ValidConfig | None = None
    compiled_apps: Mapping[str, CompiledApp] = {}
    """Empty if a template has errors."""
    texts: Mapping[TemplateOutput, str] = {}
    """The contents of the files with sample values, or the template's text where these fail."""


def check_project(
    path: PurePosixPath,
    text: str,
    environ: Mapping[str, str],
    load: Load,
    load_model: LoadModel | None = None,
    find_id: FindId = any_name,
) -> CheckResult:
    """Check a configuration; `text` is the content of the file `path`, which findings name."""
    try:
        config = parse(
            text,
            source=path.name,
            environ=environ,
            for_child=True,
            load_model=load_model,
            find_id=find_id,
            checks_operators=True,
        )
    except ConfigError as exc:
        findings = [of_configuration(problem, _file_of(problem, path)) for problem in exc.problems]
        findings += unfinished_in_config(text, str(path))
        return CheckResult(str(path), (*findings, *_findings_despite_errors(path, text, environ, load)))
    root = compose(text, path.name)
    scope, inline = path_scope_of(config), config.inline_templates
    templates = _templates(path, root, config.template_dir, load, scope, _outputs(config), inline)
    compiled_apps = {} if templates.findings else compile_apps(config, templates.compiler, prepare=False)
    fallbacks = (
        finding
        for compiled_app in compiled_apps.values()
        for finding in check_fallback(compiled_app, templates.compiler, environ, root, str(path), templates.folder)
    )
    return CheckResult(
        str(path),
        (
            *unfinished_in_config(text, str(path)),
            *(_at_label(finding, config, path) for finding in check_apps(config, root, str(path))),
            *check_rotation(config, root, str(path)),
            *templates.findings,
            *fallbacks,
        ),
        ValidConfig(config, root),
        compiled_apps,
        templates.texts,
    )


def _file_of(problem: LesseeError, path: PurePosixPath) -> str:
    """The file of a problem: the configuration, or what it names."""
    name, _ = split_location(problem.where)
    return str(path if name in {"", path.name} else path.parent / name)


def _at_label(finding: Finding, config: Config, path: PurePosixPath) -> Finding:
    """The finding at the labels of its app, if it has them instead of keys in the configuration."""
    labels = config.labeled_apps.get(finding.app)
    if labels is None:
        return finding
    # Its keys are labels, which a fix of the configuration does not find.
    return replace(finding, file=str(path.parent / labels.file), line=labels.line, fix=None)


def _findings_despite_errors(path: PurePosixPath, text: str, environ: Mapping[str, str], load: Load) -> list[Finding]:
    """Findings in the templates of an invalid configuration, as if there were no prefix."""
    problems = Problems(path.name)
    reader = Reader(problems, environ)
    try:
        root = compose(text, path.name)
        reader.read(root)
    except ConfigError:
        return []
    folder, mount = (reader.values.get(key) for key in (("template_dir",), ("secrets", "mount")))
    name = mount if isinstance(mount, str) else "secret"
    # Any environment is fine.
    mounts = {str(at[-1]): MountScope() for at in problems.lines if at[-3:-1] == ("secrets", "mounts")}
    below = PathScope(name, environment="environment", mounts=mounts)
    identities = {str(at[1]): below for at in problems.lines if at[:1] == ("identities",) and len(at) > 1}
    sources = {
        name: replace(below, mount=source_mount(name), identity=name)
        for name in {str(at[1]) for at in problems.lines if at[:1] == ("sources",) and len(at) > 1}
    }
    scope = replace(below, identities=identities, sources=sources)
    outputs = _outputs_despite_errors(reader.values)
    return _templates(path, root, folder if isinstance(folder, str) else None, load, scope, outputs).findings


def _templates(  # Each is another part of the configuration.
    path: PurePosixPath,
    root: MappingNode,
    folder: str | None,
    load: Load,
    scope: PathScope,
    outputs: Iterable[TemplateOutput],
    inline: Mapping[str, InlineTemplate] = {},  # Never changed.
) -> Templates:
    below = path.parent / folder if folder else path.parent
    locate = lambda key: (str(path), line_of_key(root, key))  # noqa: E731  # As short as its use.
    text_of = cache(lambda name: inline[name].text if name in inline else load(below, name))
    places = {name: (str(path.parent / template.file), template.line) for name, template in inline.items()}
    templates = Templates(below, text_of, scope, locate, places)
    templates.check(outputs)
    return templates


def _outputs(config: Config) -> Iterator[TemplateOutput]:
    for app in config.apps.values():
        key: Path
        for index, file in enumerate(app.files):
            key = ("apps", app.name, "files", index, "template")
            yield TemplateOutput(app.name, file.template, file.format, file.name, app.public_variables, key)
        if app.env_template is not None:
            key = ("apps", app.name, "env_template")
            yield TemplateOutput(app.name, app.env_template, _ENVIRON, "", app.public_variables, key)


def _outputs_despite_errors(values: Mapping[Path, object]) -> Iterator[TemplateOutput]:
    def public(app: str) -> frozenset[str]:
        listed = (value for path, value in values.items() if path[:-1] == ("apps", app, "public_variables"))
        return frozenset(str(name) for name in listed)

    for path, value in values.items():
        match path, value:
            case ("apps", str(app), "files", int()), grammar.FileBlock(template=str(template)):
                name = value.name or template.rpartition("/")[2].removesuffix(".j2")
                format_ = value.format or default_format(name)
                yield TemplateOutput(app, template, format_, name, public(app), (*path, "template"))
            case ("apps", str(app), "env_template"), str(template):
                yield TemplateOutput(app, template, _ENVIRON, "", public(app), path)
            case _:
                pass
