"""What an imported configuration asks for, whichever program it is of."""

from collections.abc import Sequence

from lessee.config.yaml_writer import Entry, Keys
from lessee.core.immutable import Record
from lessee.core.source_text import Text
from lessee.ops.migrate.policy.commands import Command


class Template(Record, frozen=True):
    """A template of Go's and its delimiters, which are empty where they are `{{` and `}}`."""

    contents: Text
    left: str = ""
    right: str = ""


class File(Record, frozen=True):
    """A file to be rendered. `where`: what asks for it. `notes`: comments that belong to it."""

    template: Template
    destination: str
    where: str
    mode: str = "0644"
    owner: str = ""
    command: Command | None = None
    notes: Sequence[str] = ()


class Variable(Record, frozen=True):
    """A variable of a child's environment."""

    name: str
    template: Template
    where: str


class Child(Record, frozen=True):
    """A program that is started with the files there. `action`: what it is told of changes; empty: nothing."""

    command: Command
    action: str
    grace: str
    where: str


class Plan:
    """All of it; what reads a configuration fills it in."""

    of: str
    """What kind of configuration it is."""
    name: str
    """Of a workload; empty where there is none."""
    vault: list[Entry]
    auth: Keys | None
    refresh: str
    on_stop: str
    files: list[File]
    variables: list[Variable]
    child: Child | None
    own_directories: frozenset[str]
    """Directories that are the agent's alone, wherever they lie."""
    notes: list[str]
    vault_notes: list[str]

    def __init__(self, of: str) -> None:
        self.of = of
        self.name = self.refresh = self.on_stop = ""
        self.vault, self.files, self.variables = [], [], []
        self.auth = self.child = None
        self.own_directories = frozenset()
        self.notes, self.vault_notes = [], []
