"""What `lessee import` makes of one key or one function of another agent, in the words of docs/reference/import.md.

`PYTHONPATH=tests .venv/bin/python -m support.migration_table` writes the last column of the page's tables again.
"""

import json
import re
import sys

import yaml

from lessee.core.errors import LesseeError
from lessee.ops.migrate.policy.conversion import convert
from lessee.ops.migrate.policy.findings import Report
from support.paths import ROOT

PAGE = ROOT / "docs/reference/import.md"
SAME = "the same"
HEADERS = {"key of the agent": "agent", "key of consul-template": "consul-template", "in a template": "template"}
"""What the first column of each table has, by its title."""

TEMPLATE = {"contents": '"x"', "destination": '"/run/web/a.env"'}
CONTEXTS = {
    "template.command_timeout": {"command": '"reload"'},
    "template.left_delimiter": {"contents": r'''"[[ env \"B\" }}"'''},
    "template.right_delimiter": {"contents": r'''"{{ env \"B\" ]]"'''},
    "env_template.left_delimiter": {"contents": r'''"[[ env \"B\" }}"'''},
    "env_template.right_delimiter": {"contents": r'''"{{ env \"B\" ]]"'''},
    "vault.k8s_service_account_token_path": {"k8s_auth_role_name": '"web"'},
    "vault.k8s_service_mount_path": {"k8s_auth_role_name": '"web"'},
    "default_delimiters": {"contents": r'''"[[ env \"B\" ]]"'''},
}
"""What a key needs in its block to have an effect."""
METHODS = {
    "approle": {"role_id_file_path": '"/r"'},
    "cert": {"client_cert": '"/c"', "client_key": '"/k"'},
    "jwt": {"path": '"/j"'},
    "kubernetes": {"role": '"web"'},
    "token_file": {"token_file_path": '"/t"'},
    "userpass": {"username": '"u"', "password_file_path": '"/p"'},
}


def rows():
    """The cells of each row of the page's tables, after the kind of the table."""
    kind = None
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if not cells:
            kind = None
        elif cells[0] in HEADERS:
            kind = HEADERS[cells[0]]
        elif kind and not set(cells[0]) <= {"-", ":"}:
            yield kind, *cells


def outcome(kind, key, example):
    """The last cell of a row."""
    if kind == "template":
        return _of_template(key, example)
    name, before, after = _configs(kind, key.strip("`"), example.strip("`"))
    base, with_key = _imported(name, before), _imported(name, after)
    return _difference(base, with_key) or SAME


def _of_template(_key, example):
    report = Report()
    try:
        files = convert("t.ctmpl", example.strip("`"), lambda _: None, report)
    except LesseeError as error:
        return f"rejected: {error.what}"
    losses = [finding for finding in report.findings if finding.is_loss]
    if losses:
        return f"reported: {_text(losses[0], '')}"
    texts = "` and `".join(text for path, text in files.items() if path.endswith(".j2") and text)
    notes = [finding.what for finding in report.findings if not finding.is_loss and finding.where != "t.ctmpl"]
    return f"`{texts}`".replace("\n", "\u23ce") + "".join(f" ({note})" for note in notes)


def _configs(kind, key, example):
    """The text of a configuration without the key, and with it."""
    first, _, rest = key.partition(".")
    if kind == "agent" and first in METHODS:
        return "agent.hcl", *(_agent_login(first, keys) for keys in ({}, {rest: example}))
    if kind == "agent" and first == "auto_auth" and rest.startswith("method "):
        method = rest.partition(" ")[2].strip('"')
        login = f'auto_auth {{\n method "{method}" {{\n{_lines({"config": example})} }}\n}}\n'
        return "agent.hcl", _block("template", TEMPLATE), login + _block("template", TEMPLATE)
    name = "agent.hcl" if kind == "agent" else "consul-template.hcl"
    base = _base(kind, first)
    for needed, value in CONTEXTS.get(key, {}).items():
        base = _with(base, [first if first in {"env_template", "vault"} else "template", needed], value)
    plain = base
    if key.endswith(("left_delimiter", "right_delimiter")):  # Without the key, the template is invalid.
        plain = _with(base, [first, "contents"], '"y"')
    return name, plain, _with(base, key.split("."), example)


def _agent_login(method, keys):
    inside = METHODS[method] | {key.removeprefix("config."): value for key, value in keys.items() if "config." in key}
    outside = {key: value for key, value in keys.items() if "config." not in key}
    login = f'auto_auth {{\n method "{method}" {{\n{_lines(outside)} config = {{\n{_lines(inside)} }}\n }}\n}}\n'
    return login + _block("template", TEMPLATE)


def _base(kind, first):
    if first == "env_template" or (first == "exec" and kind == "agent"):
        return 'env_template "A" {\n contents = "x"\n}\nexec {\n command = ["web"]\n}\n'
    vault = 'vault {\n address = "https://vault:8200"\n}\n' + "auto_auth {\n}\n" * (kind == "agent")
    more = 'exec {\n command = ["web"]\n}\n' if first == "exec" else ""
    return vault + more + _block("template", TEMPLATE)


def _with(base, path, example):
    """The configuration with a key; a key that it has is replaced."""
    *blocks, key = path
    line = f"{key} {example}" if example.startswith(("{", '"')) and example.endswith("}") else f"{key} = {example}"
    if not blocks:
        return f"{line}\n{base}"
    head, *inner = blocks
    for block in reversed(inner):
        line = f"{block} {{\n {line}\n }}"
    found = re.search(rf'^{head}(?: "A")? \{{\n', base, re.MULTILINE)
    if found is None:
        return f"{head} {{\n {line}\n}}\n{base}"
    end = base.index("\n}\n", found.end() - 1)
    body = re.sub(rf"^ {key} = .*\n?", "", base[found.end() : end + 1], flags=re.MULTILINE)
    if key == "source":
        body = re.sub(r"^ contents = .*\n?", "", body, flags=re.MULTILINE)
    return f"{base[: found.end()]}{body} {line}{base[end:]}"


def _block(name, keys):
    return f"{name} {{\n{_lines(keys)}}}\n"


def _lines(keys):
    return "".join(f" {key} = {value}\n" for key, value in keys.items())


def _imported(name, text):
    report = Report()
    files = convert(name, text, lambda _: None, report)
    return yaml.safe_load(files["lessee.yaml"]), files, report.findings


def _difference(base, new):
    config = dict(_flat(new[0]))
    changes = [
        f"`{path}: {json.dumps(value, ensure_ascii=False)}`"
        for path, value in config.items()
        if dict(_flat(base[0])).get(path) != value
    ]
    changes += [f"no `{path}`" for path, _ in _flat(base[0]) if path not in config]
    changes += [
        f"`{text.strip()}` in the template"
        for path, text in new[1].items()
        if path != "lessee.yaml" and base[1].get(path, text) != text and "fail(" not in text
    ]
    known = {(finding.what, finding.is_loss) for finding in base[2]}
    found = [finding for finding in new[2] if (finding.what, finding.is_loss) not in known]
    texts = [f"reported: {_text(finding)}" for finding in found if finding.is_loss]
    notes = [
        f"needs nothing: {_text(finding).removeprefix('not needed: ')}" for finding in found if not finding.is_loss
    ]
    return "; ".join((", ".join(changes), *texts, *notes) if changes else (*texts, *notes))


def _text(finding, prefix=r"^[\w.-]+: "):
    what = re.sub(prefix, "", finding.what, count=1) if prefix else finding.what
    return f"{what}; {finding.todo}" if finding.todo else what


def _flat(node, path=""):
    """The values of a mapping by their paths."""
    if not isinstance(node, dict):
        yield path, node
        return
    for key, value in node.items():
        name = "APP" if path == "apps" else key
        yield from _flat(value, f"{path}.{name}" if path else name)


def main():
    """Write the last column of each row."""
    lines = []
    kind = None
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if not cells:
            kind = None
        elif cells[0] in HEADERS:
            kind = HEADERS[cells[0]]
        elif kind and not set(cells[0]) <= {"-", ":"}:
            cells[-1] = outcome(kind, *cells[:2])
            line = "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"  # noqa: PLW2901
        lines.append(line)
    PAGE.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
