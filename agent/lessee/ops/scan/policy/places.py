"""What kind of file a path is: a value's meaning depends on who reads the file."""

import re
from enum import Enum

from lessee.core.immutable import ImmutableStruct


class Kind(Enum):
    """Who reads a file, and how a value is written in it."""

    ENV = "env"
    """A dotenv file: every line is `NAME=value`, without quotes too."""
    CONFIG = "config"
    """YAML, JSON, TOML, INI, XML or properties: values need no quotes in most of them."""
    SOURCE = "source"
    """A program: only text in quotes is a literal."""
    SHELL = "shell"
    """A shell script, a Dockerfile, a Makefile: values need no quotes."""
    TEXT = "text"
    """Documentation, or a file of an unknown kind."""
    GENERATED = "generated"
    """Lock files, source maps and minified programs, which are full of hashes."""


class Place(ImmutableStruct, frozen=True):
    """The kind of a file. `is_example`: it shows how to write another file, or tests or explains the program."""

    kind: Kind
    is_example: bool = False


def place_of(path: str) -> Place:
    """The place of a file by its path, with `/` between its parts."""
    lowered = path.lower()
    name = lowered.rpartition("/")[2]
    is_example = _EXAMPLE.search(name) is not None or _EXAMPLE_FOLDER.search(lowered) is not None
    bare = _EXAMPLE_ENDING.sub("", name)
    return Place(_kind(bare), is_example or _kind(bare) is Kind.TEXT)


def _kind(name: str) -> Kind:
    if _GENERATED.search(name):
        return Kind.GENERATED
    if _ENV.search(name):
        return Kind.ENV
    ending = name.rpartition(".")[2] if "." in name else ""
    if ending in _CONFIG or name in _CONFIG_NAMES:
        return Kind.CONFIG
    if ending in _SHELL or _SHELL_NAME.match(name):
        return Kind.SHELL
    if ending in _SOURCE:
        return Kind.SOURCE
    return Kind.TEXT


_EXAMPLE_ENDING = re.compile(r"[._-](?:example|sample|template|tmpl|tpl|dist|default|defaults)$")
_EXAMPLE = re.compile(
    r"(?:^|[._-])(?:examples?|samples?|template|tmpl|tpl|dist|fixtures?|mocks?|tests?|spec)(?:[._-]|$)"
)
_EXAMPLE_FOLDER = re.compile(
    r"(?:^|/)(?:tests?|__tests__|testdata|test_data|spec|specs|fixtures|mocks?|__mocks__|docs?)/"
)
_GENERATED = re.compile(
    r"\.(?:min\.(?:js|css)|map|lock|sum|svg|ipynb|snap|po|csv|tsv|patch|diff)$"
    r"|^(?:package-lock\.json|npm-shrinkwrap\.json|pnpm-lock\.yaml|.*requirements.*\.txt|packages\.lock\.json"
    r"|\.yarnrc\.yml)$"
)
_ENV = re.compile(r"^(?:.*\.)?env(?:[._-][\w.-]+)?$|^\.?envrc$|^[\w-]*[._-]env$")
_CONFIG = frozenset(
    """
    yml yaml json jsonc json5 toml ini cfg conf cnf config properties xml tf tfvars hcl nix plist npmrc pypirc
    netrc pgpass service container volume network ctmpl j2 tpl gradle sbt edn tfstate har key pem p12 pub crt
    credentials secret secrets password pass htpasswd txt
    """.split()  # noqa: SIM905
)
_CONFIG_NAMES = frozenset(
    {".npmrc", ".pypirc", ".netrc", ".pgpass", ".gitconfig", "credentials", "config", ".htpasswd"}
)
_SHELL = frozenset("sh bash zsh ksh fish ps1 psm1 bat cmd mk mak dockerfile containerfile".split())  # noqa: SIM905
_SHELL_NAME = re.compile(
    r"(?:dockerfile|containerfile|makefile|justfile|procfile|vagrantfile|\.?(?:bash|zsh)\w*|\.profile)"
)
_SOURCE = frozenset(
    """
    py pyi js jsx ts tsx mjs cjs mts cts vue svelte astro go rs java kt kts scala groovy rb php cs fs vb c h cc
    cpp cxx hpp m mm swift dart lua pl pm r jl ex exs erl hs clj cljs ml elm sql html htm jsp erb ejs hbs twig
    cls sol zig
    """.split()  # noqa: SIM905
)
