"""Converts the configuration and templates of another agent to lessee.yaml and Jinja templates."""

import re
import shlex
from collections.abc import Iterable, Sequence
from posixpath import basename, normpath
from typing import Protocol, TypeVar

from lessee.core import hcl
from lessee.core.errors import TemplateError, TemplateListError, UsageError
from lessee.core.source_text import Text
from lessee.ops.migrate.policy.apps import App, NameAllocator, RenderedFile, app_name, group_into_apps
from lessee.ops.migrate.policy.config_writer import template_path, write_config
from lessee.ops.migrate.policy.findings import Report
from lessee.ops.migrate.policy.golang import nodes as go
from lessee.ops.migrate.policy.golang.parser import parse
from lessee.ops.migrate.policy.imported_config import Child, File, ImportedConfig, Template, Variable
from lessee.ops.migrate.policy.jinja import fragments as jinja
from lessee.ops.migrate.policy.jinja.layout import Layout, PathCollector, choose_layout
from lessee.ops.migrate.policy.jinja.to_jinja import translate
from lessee.ops.migrate.policy.sources import agent_config, consul_template, injector
from lessee.ops.migrate.policy.sources.template_blocks import (
    INVALID_MODE,
    TemplateLoader,
    missing_template,
    mode_of,
    named_owner,
    owner_of,
)

Files = dict[str, str]
"""The texts of files by their paths."""


_T = TypeVar("_T")


class Track(Protocol):
    """Passes the items of a phase on, and counts those that are done."""

    def __call__(self, items: Iterable[_T], what: str, total: int) -> Iterable[_T]: ...


def untracked(items: Iterable[_T], what: str, total: int) -> Iterable[_T]:  # noqa: ARG001  # As `Track` says.
    """The items, without a count."""
    return items


def convert(name: str, text: str, load_template: TemplateLoader, report: Report, track: Track = untracked) -> Files:
    """The files that `lessee import` generates from a file.

    Raises ConfigError or TemplateError with file and line for a file that is invalid for the other agent too.
    """
    configs = _read(name, text, load_template, report)
    if not any(config.files or config.variables for config in configs):
        todo = "pass a configuration with templates, or a template"
        if report.has_losses:
            losses = [TemplateError(one.what, where=one.where, todo=one.todo) for one in report.findings if one.is_loss]
            nothing = TemplateError("the import found no template that it can carry over", where=name, todo=todo)
            raise TemplateListError([*losses, nothing])
        raise UsageError(f"{name} has no templates", todo=todo)
    report.add_note(name, _STRICT)
    if len(configs) == 1:
        return _convert(configs[0], name, report, track)
    files: Files = {}
    names = NameAllocator()
    for config in configs:
        folder = names.allocate(config.name)
        files |= {f"{folder}/{path}": content for path, content in _convert(config, name, report, track).items()}
    return files


_STRICT = "lessee rejects a missing key, a null, a list or a map as a value; Go writes <no value>, [a b] or map[a:b]"
_TEMPLATE_SUFFIXES = (".ctmpl", ".tpl", ".tmpl")
_NEW_DIRECTORIES = "/run/secrets"
_ENV_TEMPLATE = "process.env.j2"


def _read(name: str, text: str, load_template: TemplateLoader, report: Report) -> Sequence[ImportedConfig]:
    if name.endswith(_TEMPLATE_SUFFIXES):
        return [_single_template(name, text, report)]
    if name.endswith((".yaml", ".yml")):
        return injector.read(text, name, report, load_template)
    root = hcl.parse(text, name, strict=True)
    if agent_config.is_of_agent(root):
        return [agent_config.read(root, name, report, load_template)]
    return [consul_template.read(root, name, report, load_template)]


def _single_template(name: str, text: str, report: Report) -> ImportedConfig:
    """A configuration for a template without one, which does not contain the file's destination."""
    config = ImportedConfig("a template of consul-template")
    stem = basename(name)[: -len(name[name.rindex(".") :])]
    destination = f"{_NEW_DIRECTORIES}/{stem.partition('.')[0] or 'app'}/{stem}"
    what = f"the template does not contain the destination of its file; the import assumes {destination}"
    report.add_note(name, what, "change `directory`")
    config.files = [File(Template(Text(text, name, 1)), destination, name)]
    return config


def _convert(config: ImportedConfig, source: str, report: Report, track: Track) -> Files:
    templates = [file.template for file in config.files]
    templates += [variable.template for variable in config.variables]
    trees = _parse(track(templates, "parsing templates", len(templates)))
    collector = PathCollector()
    parsed = zip(templates, trees, strict=True)
    for template, tree in track(parsed, "finding secrets in templates", len(templates)):
        translate(tree, template.contents, collector, Report())
    layout = choose_layout(collector.paths)
    by_destination: dict[str, RenderedFile] = {}
    found = zip(config.files, trees, strict=False)
    for file, tree in track(found, "converting templates", len(config.files)):
        for rendered in _translate_file(file, tree, layout, report):
            if rendered.destination in by_destination:
                what = f"two templates write {rendered.destination}; the import uses the last one"
                report.add_loss(rendered.where, what, "remove one of the two")
            by_destination[rendered.destination] = rendered
    apps = group_into_apps(list(by_destination.values()), config.exclusive_directories, config.name, report)
    environment = "".join(
        _translate_variable(variable, tree, layout, report)
        for variable, tree in zip(config.variables, trees[len(config.files) :], strict=True)
    )
    if config.child is not None:
        apps = _add_child(config.child, apps, report)
    elif environment:
        apps = _add_unknown_child(config, apps, report)
    files = {template_path(app, file, apps): file.text for app in apps for file in app.files}
    env_template = _ENV_TEMPLATE if environment else ""
    while env_template in files:
        env_template = f"environ.{env_template}"
    generated = {"lessee.yaml": write_config(config, layout, apps, env_template, source)}
    return generated | files | ({env_template: environment} if environment else {})


def _parse(templates: Iterable[Template]) -> list[go.Template]:
    """Parse all templates. Raises TemplateListError with the errors of all of them."""
    trees, errors = [], []
    for template in templates:
        try:
            trees.append(parse(template.contents, template.left_delimiter, template.right_delimiter))
        except TemplateError as exc:
            errors.append(exc)
    if errors:
        raise TemplateListError(errors)
    return trees


def _translate_file(file: File, tree: go.Template, layout: Layout, report: Report) -> list[RenderedFile]:
    """The file, and those that its template writes with writeToFile."""
    translation = translate(tree, file.template.contents, layout, report)
    text = jinja.assemble([_missing(file.template)]) if file.template.missing else translation.text
    fields = (file.destination, text, file.mode, file.owner, file.command, file.where)
    files = [RenderedFile(*fields, tuple(file.comments))]
    for extra in translation.extra_files:
        where = file.template.contents.where(extra.line)
        comments: list[str] = []
        owner = owner_of(extra.user, extra.group)
        if owner is None:
            report.add_loss(where, *named_owner(extra.user, extra.group), comments=comments)
        mode = mode_of(extra.mode)
        if mode is None:
            report.add_loss(where, *INVALID_MODE, comments=comments)
        fields = (normpath(extra.destination), extra.text, mode or "0644", owner or "", file.command, where)
        files.append(RenderedFile(*fields, tuple(comments)))
    return files


def _translate_variable(variable: Variable, tree: go.Template, layout: Layout, report: Report) -> str:
    """The variable's line in the env template."""
    translation = translate(tree, variable.template.contents, layout, report)
    for extra in translation.extra_files:
        where = variable.template.contents.where(extra.line)
        what = f"the template of a variable writes {extra.destination}"
        report.add_loss(where, what, "give the file its own template")
    fragments = [_missing(variable.template)] if variable.template.missing else translation.fragments
    return env_line(variable.name, fragments)


def _missing(template: Template) -> jinja.Fragment:
    return jinja.unfinished(*missing_template(template.missing))


_UNQUOTED = re.compile(r"[\w.:/@%+,-]*")


def env_line(name: str, fragments: Sequence[jinja.Fragment]) -> str:
    """`NAME=…` in dotenv syntax."""
    texts = [fragment.text for fragment in fragments if isinstance(fragment, jinja.Text)]
    only_values = all(fragment.kind == "{" for fragment in fragments if isinstance(fragment, jinja.Tag))
    if only_values and all(_UNQUOTED.fullmatch(text) for text in texts):
        return f"{name}={jinja.assemble(fragments)}\n"
    quoted = [
        jinja.Text(_escape_env(fragment.text)) if isinstance(fragment, jinja.Text) else fragment
        for fragment in fragments
    ]
    return jinja.assemble([jinja.Text(f'{name}="'), *quoted, jinja.Text('"\n')])


def _escape_env(text: str) -> str:
    """Escape a text for double quotes. dotenv has no escape for `${`, so `$` becomes the default of an empty name."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\r", "\\r").replace("${", "${:-$}{")


def _add_unknown_child(config: ImportedConfig, apps: list[App], report: Report) -> list[App]:
    """The apps; the first one has the variables of a child that the configuration does not name."""
    name = apps[0].name if apps else app_name(config.name)
    where = config.variables[0].template.contents.where()
    todo = f"write exec.command, or run `lessee exec --app {name} -- PROGRAM`"
    report.add_loss(where, "the configuration has variables for a program, and no program", todo)
    return apps or [App(name, f"{_NEW_DIRECTORIES}/{name}", (), None)]


def _add_child(child: Child, apps: list[App], report: Report) -> list[App]:
    """The apps; the first one is that of the child."""
    words = (
        ("sh", "-c", child.command.script)
        if len(child.command.words) == 1 and child.command.script
        else child.command.words
    )
    if not apps:
        program = app_name(child.command.program)
        apps = [App(program, f"{_NEW_DIRECTORIES}/{program}", (), None)]
    first = apps[0].name
    what = f"start the program with `lessee exec --app {first} -- {shlex.join(words)}`"
    report.add_note(child.where, what, "it gets the agent's environment without VAULT_*, BAO_* and LESSEE_*")
    if len(apps) > 1:
        what = f"`lessee exec` renders the files of one app, {first}"
        todo = "render the other apps with `lessee run` and a second lessee.yaml"
        report.add_loss(child.where, what, todo)
    if apps[0].command is not None and child.action:
        what = f"the app {first} has a command and a child, and only the command is notified"
        report.add_loss(child.where, what, "choose one of the two")
    return apps
