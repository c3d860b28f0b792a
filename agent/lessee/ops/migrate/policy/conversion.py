"""A configuration of another agent, with its templates, as lessee.yaml and templates of Jinja."""

import shlex
from collections.abc import Sequence
from posixpath import basename, normpath

from lessee.core import hcl
from lessee.core.errors import TemplateError, TemplateListError, UsageError
from lessee.core.source_text import Text
from lessee.ops.migrate.policy import config_writer
from lessee.ops.migrate.policy.apps import App, Naming, Rendered, app_name, arrange
from lessee.ops.migrate.policy.environment import line
from lessee.ops.migrate.policy.findings import Report
from lessee.ops.migrate.policy.golang import nodes as go
from lessee.ops.migrate.policy.golang.parser import parse
from lessee.ops.migrate.policy.jinja.layout import Layout, Survey, choose
from lessee.ops.migrate.policy.jinja.to_jinja import translate
from lessee.ops.migrate.policy.plan import Child, File, Plan, Template, Variable
from lessee.ops.migrate.policy.sources import agent_config, consul_template, injector
from lessee.ops.migrate.policy.sources.template_blocks import NO_MODE, Read, mode_of, not_in_numbers, owner_of

Files = dict[str, str]
"""Texts, by where they are to lie."""


def convert(name: str, text: str, read: Read, report: Report) -> Files:
    """What `lessee import` writes for a file. `read` gives templates by their path.

    Raises ConfigError or TemplateError, which name file and line, for what the other agent could not read either.
    """
    plans = _plans(name, text, read, report)
    if not any(plan.files or plan.variables for plan in plans):
        raise UsageError(f"{name} renders no template", todo="name a configuration that has some, or a template")
    report.remark(name, _STRICT)
    if len(plans) == 1:
        return _converted(plans[0], name, report)
    files: Files = {}
    naming = Naming()
    for plan in plans:
        folder = naming.unique(plan.name)
        files |= {f"{folder}/{path}": content for path, content in _converted(plan, name, report).items()}
    return files


_STRICT = "a key that is missing, a null, a list or a mapping is an error where Go writes <no value>, [a b] or map[a:b]"
_TEMPLATES = (".ctmpl", ".tpl", ".tmpl")
_NEW_FILES = "/run/secrets"
_ENVIRON = "process.env.j2"


def _plans(name: str, text: str, read: Read, report: Report) -> Sequence[Plan]:
    if name.endswith(_TEMPLATES):
        return [_single(name, text, report)]
    if name.endswith((".yaml", ".yml")):
        return injector.plans(text, name, report, read)
    root = hcl.parse(text, name)
    if any(item.keys[0] in agent_config.KEYS for item in root.items):
        return [agent_config.plan(root, name, report, read)]
    return [consul_template.plan(root, name, report, read)]


def _single(name: str, text: str, report: Report) -> Plan:
    """A template alone, which says neither whose it is nor where it goes."""
    plan = Plan("a template of consul-template")
    stem = basename(name)[: -len(name[name.rindex(".") :])]
    destination = f"{_NEW_FILES}/{stem.partition('.')[0] or 'app'}/{stem}"
    report.remark(name, f"the template does not say where its file goes: {destination} is taken", "change `directory`")
    plan.files = [File(Template(Text(text, name, 1)), destination, name)]
    return plan


def _converted(plan: Plan, source: str, report: Report) -> Files:
    wanted: list[File | Variable] = [*plan.files, *plan.variables]
    trees = _parsed([one.template for one in wanted])
    survey = Survey()
    for one, tree in zip(wanted, trees, strict=True):
        translate(tree, one.template.contents, survey, Report())
    layout = choose(survey.seen)
    rendered: dict[str, Rendered] = {}
    for file, tree in zip(plan.files, trees, strict=False):
        for made in _rendered(file, tree, layout, report):
            if made.destination in rendered:
                report.lose(made.where, f"two templates write {made.destination}: the last is kept", "let one do it")
            rendered[made.destination] = made
    apps = arrange(list(rendered.values()), plan.own_directories, plan.name, report)
    environ = "".join(
        _line(variable, tree, layout, report)
        for variable, tree in zip(plan.variables, trees[len(plan.files) :], strict=True)
    )
    if plan.child is not None:
        apps = _with_child(plan.child, apps, report)
    templates = {config_writer.template_path(app, file, apps): file.text for app in apps for file in app.files}
    name = _ENVIRON if environ else ""
    while name in templates:
        name = f"environ.{name}"
    files = {"lessee.yaml": config_writer.config(plan, layout, apps, name, source)}
    return files | templates | ({name: environ} if environ else {})


def _parsed(templates: Sequence[Template]) -> list[go.Template]:
    """All of them, or all that is wrong with them."""
    trees, wrong = [], []
    for template in templates:
        try:
            trees.append(parse(template.contents, template.left, template.right))
        except TemplateError as exc:
            wrong.append(exc)
    if wrong:
        raise TemplateListError(wrong)
    return trees


def _rendered(file: File, tree: go.Template, layout: Layout, report: Report) -> list[Rendered]:
    """The file, and those that its template writes besides."""
    made = translate(tree, file.template.contents, layout, report)
    said = (file.destination, made.text, file.mode, file.owner, file.command, file.where)
    files = [Rendered(*said, tuple(file.notes))]
    for written in made.besides:
        where = file.template.contents.where(written.line)
        notes: list[str] = []
        owner = owner_of(written.user, written.group)
        if owner is None:
            report.lose(where, *not_in_numbers(written.user, written.group), notes=notes)
        mode = mode_of(written.mode)
        if mode is None:
            report.lose(where, *NO_MODE, notes=notes)
        said = (normpath(written.destination), written.text, mode or "0644", owner or "", file.command, where)
        files.append(Rendered(*said, tuple(notes)))
    return files


def _line(variable: Variable, tree: go.Template, layout: Layout, report: Report) -> str:
    made = translate(tree, variable.template.contents, layout, report)
    for written in made.besides:
        where = variable.template.contents.where(written.line)
        report.lose(where, f"{written.destination} is written by a variable's template", "give it one of its own")
    return line(variable.name, made.pieces)


def _with_child(child: Child, apps: list[App], report: Report) -> list[App]:
    """The apps, of which the first is the child's."""
    words = (
        ("sh", "-c", child.command.script)
        if len(child.command.words) == 1 and child.command.script
        else child.command.words
    )
    if not apps:
        program = app_name(basename(words[0]))
        apps = [App(program, f"{_NEW_FILES}/{program}", (), None)]
    first = apps[0].name
    what = f"run it as `lessee exec --app {first} -- {shlex.join(words)}`"
    report.remark(child.where, what, "its environment is the agent's without VAULT_*, BAO_* and LESSEE_*")
    if len(apps) > 1:
        what = f"`lessee exec` keeps the files of one app, {first}"
        report.lose(child.where, what, "run `lessee run` beside it for the others, with a lessee.yaml of their own")
    if apps[0].command is not None and child.action:
        report.lose(child.where, f"the app {first} is told by its command, and the child is not", "tell it in one way")
    return apps
