"""Reads the examples that other scanners test themselves with, from their repositories, which are not part of this one.

Gitleaks writes its examples as Go: strings, and calls that make random ones of a pattern. This evaluates as much of Go
as they use. detect-secrets writes them as arguments of its tests.
"""

import ast
import os
import random
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CORPUS = os.environ.get("SCAN_CORPUS", "")
"""A folder with clones named OWNER+NAME, or OWNER+NAME/repo; otherwise git clones them."""


@dataclass(frozen=True)
class Example:
    """A text that contains a secret, or none, in the opinion of the project that it is from."""

    text: str
    is_secret: bool
    origin: str


class NotThereError(Exception):
    """A repository is neither in the folder of clones nor reachable."""


def checkout(name: str, commit: str) -> Path:
    """The files of a commit of OWNER/NAME in a new temporary folder. Raises NotThereError."""
    folder = Path(tempfile.mkdtemp(prefix="lessee-scan-"))
    local = [Path(CORPUS, name.replace("/", "+"), part) for part in ("repo", "")] if CORPUS else []
    sources = [str(path) for path in local if path.is_dir()] or [f"https://github.com/{name}"]
    clone = ["git", "-c", "core.hooksPath=/dev/null", "clone", "--quiet", "--no-checkout", sources[0], str(folder)]
    try:
        subprocess.run(
            clone, check=True, capture_output=True, timeout=300, env={**os.environ, "GIT_TERMINAL_PROMPT": "0"}
        )
        subprocess.run(
            ["git", "-C", str(folder), "checkout", "--quiet", commit], check=True, capture_output=True, timeout=60
        )
    except (subprocess.SubprocessError, OSError) as exc:
        shutil.rmtree(folder, ignore_errors=True)
        raise NotThereError(
            f"cannot clone {name}: set SCAN_CORPUS to a folder with clones ({type(exc).__name__})"
        ) from None
    return folder


def gitleaks_examples(root: Path, seed: int = 1) -> tuple[list[Example], int]:
    """The examples of all rules of gitleaks, and how many statements this could not evaluate."""
    chance, found, unknown = random.Random(seed), [], 0  # noqa: S311  # The same examples in each run.
    for path in sorted((root / "cmd/generate/config/rules").glob("*.go")):
        text = path.read_text()
        scope: dict[str, Any] = {}
        for start in _STATEMENT.finditer(text):
            name = start[1]
            try:
                value = _Go(text, start.end(), scope, chance).expression()
            except (_UnknownError, re.error, KeyError, TypeError, IndexError):
                unknown += name in {"tps", "fps"}
                continue
            scope[name] = value
            if name in {"tps", "fps"}:
                new = (
                    value[scope.get(f"{name}#", 0) :]
                    if text[start.end() : start.end() + 7].lstrip().startswith("append")
                    else value
                )
                scope[f"{name}#"] = len(value)
                texts = new.values() if isinstance(new, dict) else new
                found += [Example(item, name == "tps", path.stem) for item in texts]
    return found, unknown


def detect_secrets_examples(root: Path) -> list[Example]:
    """The arguments of the tests of detect-secrets' plugins that are a text, and whether it is a secret."""
    found: dict[str, Example] = {}
    for path in sorted((root / "tests/plugins").glob("*_test.py")):
        module = ast.parse(path.read_text())
        names = {
            node.targets[0].id: node.value
            for node in ast.walk(module)
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        }
        for node in ast.walk(module):
            if isinstance(node, ast.Tuple) and len(node.elts) == 2:
                try:
                    text, flag = (_python(item, names) for item in node.elts)
                except (_UnknownError, ValueError, KeyError, IndexError):
                    continue
                if isinstance(text, str) and isinstance(flag, bool | str | None) and "{secret}" not in text:
                    found.setdefault(text, Example(text, bool(flag), path.stem.removesuffix("_test")))
    return list(found.values())


class _UnknownError(Exception):
    pass


def _python(node: ast.expr, names: dict[str, ast.expr]) -> Any:
    match node:
        case ast.Constant():
            return node.value
        case ast.Name() if node.id in names:
            return _python(names[node.id], names)
        case ast.BinOp(op=ast.Add()):
            return _python(node.left, names) + _python(node.right, names)
        case ast.Call(func=ast.Attribute(attr="format", value=text)):
            return _python(text, names).format(
                *(_python(item, names) for item in node.args),
                **{k.arg or "": _python(k.value, names) for k in node.keywords},
            )
    raise _UnknownError


_STATEMENT = re.compile(r"^[ \t]*(?:var )?(\w+)[ \t]*:?=(?!=)[ \t]*", re.MULTILINE)
_SPACE = re.compile(r"(?:\s|//[^\n]*)*")
_STRING = re.compile(r'`([^`]*)`|"((?:\\.|[^"\\\n])*)"')
_NAME = re.compile(r"[A-Za-z_][\w.]*")
_SIZES = {"Numeric": "0-9", "Hex": "a-f0-9", "AlphaNumeric": "a-z0-9", "AlphaNumericExtendedShort": "a-z0-9_-",
          "AlphaNumericExtended": r"a-z0-9=_\-", "AlphaNumericExtendedLong": r"a-z0-9\/=_\+\-"}  # fmt: skip


class _Go:
    """Evaluates an expression of strings, lists and maps at a place of a Go file."""

    def __init__(self, text: str, at: int, scope: dict[str, Any], chance: random.Random) -> None:
        self.text, self.at, self.scope, self.chance = text, at, scope, chance

    def expression(self) -> Any:
        value = self._term()
        while self._take("+"):
            value += self._term()
        return value

    def _take(self, word: str) -> bool:
        self.at = _SPACE.match(self.text, self.at).end()  # type: ignore[union-attr]
        if self.text.startswith(word, self.at):
            self.at += len(word)
            return True
        return False

    def _term(self) -> Any:
        if self._take("[]string{"):
            return self._items("}")
        if self._take("map[string]string{"):
            found = {}
            while not self._take("}"):
                key = self.expression()
                if not self._take(":"):
                    raise _UnknownError
                found[key] = self.expression()
                self._take(",")
            return found
        if string := _STRING.match(self.text, self.at):
            self.at = string.end()
            return string[1] if string[1] is not None else ast.literal_eval(f'"{string[2]}"')
        name = _NAME.match(self.text, self.at)
        if name is None:
            raise _UnknownError
        self.at = name.end()
        if not self._take("("):
            return self.scope[name[0]]
        return self._call(name[0].rpartition(".")[2], self._items(")"))

    def _items(self, end: str) -> list[Any]:
        found = []
        while not self._take(end):
            value = self.expression()
            if self._take("..."):
                found += value
            else:
                found.append(value)
            self._take(",")
        return found

    def _call(self, name: str, given: list[Any]) -> Any:
        match name:
            case "append":
                return [*given[0], *given[1:]]
            case "NewSecret" | "NewSecretWithEntropy" | "newPlausibleSecret":
                return generate(given[0], self.chance)
            case "GenerateSampleSecret":
                return f'{given[0]}_api_token = "{given[1]}"'
            case "GenerateSampleSecrets":
                return _samples(*given)
            case "Hex8_4_4_4_12":
                return "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
            case "Sprintf":
                return re.sub("%[sv]", "{}", given[0].replace("{", "{{").replace("}", "}}")).format(*given[1:])
            case "ToUpper":
                return given[0].upper()
            case "Repeat" | _ if name not in _SIZES:
                raise _UnknownError
        return f"[{_SIZES[name]}]{{{given[0]}}}"


def _samples(name: str, secret: str) -> list[str]:
    """What gitleaks writes around an example: as assignments in the languages that it knows."""
    forms = [
        '{i}Token="{s}"', '{i}Token = "{s}"', "{i}Token={s}", "{i}Token = {s}", '{{\n    "{i}_token": "{s}"\n}}',
        '{{"config.ini": "{I}_TOKEN={s}\\nBACKUP_ENABLED=true"}}', "<{i}Token>\n    {s}\n</{i}Token>",
        "{i}_token: {s}", "{i}_token: '{s}'", '{i}_token: "{s}"', 'string {i}Token = "{s}";',
        'var {i}Token string = "{s}"', '{i}Token := "{s}"', "{i}Token := `{s}`", 'String {i}Token = "{s}";',
        'var {i}Token = "{s}"', '${i}Token .= "{s}"', "{i}Token = '{s}'", 'System.setProperty("{I}_TOKEN", "{s}")',
        '  "{i}Token" => "{s}"', '{i}_TOKEN := "{s}"', '{i}_TOKEN ::= "{s}"', '{i}_TOKEN :::= "{s}"',
        '{i}_TOKEN ?= "{s}"',
    ]  # fmt: skip
    return [form.format(i=name, I=name.upper(), s=secret) for form in forms]


def generate(pattern: str, chance: random.Random) -> str:
    """A random text that a regular expression matches; an open number of repetitions is at most ten more."""
    return "".join(_generated(re._parser.parse(pattern), chance))  # type: ignore[attr-defined]


def _generated(parsed: Any, chance: random.Random) -> Iterator[str]:
    for kind, value in parsed:
        match str(kind):
            case "LITERAL":
                yield chr(value)
            case "IN":
                yield chance.choice("".join(_choices(value)))
            case "MAX_REPEAT" | "MIN_REPEAT":
                low, high, inner = value
                for _ in range(chance.randint(low, min(int(high), low + 10))):
                    yield from _generated(inner, chance)
            case "SUBPATTERN":
                yield from _generated(value[-1], chance)
            case "BRANCH":
                yield from _generated(chance.choice(value[1]), chance)
            case "AT":
                pass
            case _:
                raise _UnknownError


def _choices(items: Any) -> Iterator[str]:
    for kind, value in items:
        match str(kind):
            case "LITERAL":
                yield chr(value)
            case "RANGE":
                yield "".join(map(chr, range(value[0], value[1] + 1)))
            case "CATEGORY" if "WORD" in str(value):
                yield "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"
            case "CATEGORY" if "DIGIT" in str(value):
                yield "0123456789"
            case _:
                raise _UnknownError
