"""The content of an imported configuration, whatever program it is for."""

from collections.abc import Sequence

from lessee.config.yaml_writer import Entry, Keys
from lessee.core.immutable import ImmutableStruct
from lessee.core.source_text import Text
from lessee.ops.migrate.policy.commands import Command


class Template(ImmutableStruct, frozen=True):
    """A Go template and its delimiters; empty delimiters are `{{` and `}}`."""

    contents: Text
    left_delimiter: str = ""
    right_delimiter: str = ""
    missing: str = ""
    """The path of the file with the template, if that was not found."""


class File(ImmutableStruct, frozen=True):
    """A file to render. `where`: its location in the configuration. `comments`: for the generated file."""

    template: Template
    destination: str
    where: str
    mode: str = "0644"
    owner: str = ""
    command: Command | None = None
    comments: Sequence[str] = ()


class Variable(ImmutableStruct, frozen=True):
    """A variable of the child's environment."""

    name: str
    template: Template


class Child(ImmutableStruct, frozen=True):
    """A program that the other agent starts. `action`: on a change of its secrets; empty for none."""

    command: Command
    action: str
    stop_grace_period: str
    where: str
    stop_signal: str = ""


class ImportedConfig:
    """An imported configuration, which the functions of `sources` fill."""

    kind: str
    """What is imported, such as the configuration of Vault Agent."""
    name: str
    """The name of a Kubernetes workload, or empty."""
    vault: list[Entry]
    auth: Keys | None
    refresh_interval: str
    on_stop: str
    files: list[File]
    variables: list[Variable]
    child: Child | None
    exclusive_directories: frozenset[str]
    """Directories that only the agent writes to."""
    comments: list[str]
    vault_comments: list[str]

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.name = self.refresh_interval = self.on_stop = ""
        self.vault, self.files, self.variables = [], [], []
        self.auth = self.child = None
        self.exclusive_directories = frozenset()
        self.comments, self.vault_comments = [], []
