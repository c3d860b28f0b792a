"""The errors a person may see: each says what, where and what to do, and ends in a code of sysexits(3)."""

from collections.abc import Iterable
from typing import Self

from lessee.core.failures import Kind


class LesseeError(Exception):
    """The root of lessee's errors; its text never holds a secret's value.

    `where` is a place the reader can open (`lessee.yaml:12`, a path in Vault); `todo` is the way out; `rule` is the
    name under which `lessee check` tells of it, where it has one of its own.
    """

    exit_code = 70  # EX_SOFTWARE

    def __init__(self, what: str, *, where: str = "", todo: str = "", rule: str = "") -> None:
        super().__init__(what, where, todo)
        self.what = what
        self.where = where
        self.todo = todo
        self.rule = rule
        self._several: tuple[LesseeError, ...] = ()

    @property
    def problems(self) -> "tuple[LesseeError, ...]":
        """All that it tells of, one by one."""
        return self._several or (self,)

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}; {self.todo}" if self.todo else text


class UsageError(LesseeError):
    """The command line makes no sense."""

    exit_code = 64  # EX_USAGE


class TemplateError(LesseeError):
    """A template cannot be read, compiled or rendered."""

    exit_code = 65  # EX_DATAERR


class TemplateListError(TemplateError):
    """Templates are wrong; all that is wrong with them is told at once."""

    def __init__(self, problems: Iterable[LesseeError]) -> None:
        several = {str(problem): problem for problem in problems}  # What two of them take in is wrong once.
        super().__init__("\n".join(several))
        self._several = tuple(several.values())


class FormatError(TemplateError):
    """A value has no place in the grammar of the file that a template writes."""


class VaultRequestError(LesseeError):
    """A request to Vault failed. The code that handles it decides by `kind`, never by the text."""

    default_kind = Kind.UNAVAILABLE

    def __init__(self, what: str, *, where: str = "", todo: str = "", rule: str = "", kind: Kind | None = None) -> None:
        super().__init__(what, where=where, todo=todo, rule=rule)
        self.kind = self.default_kind if kind is None else kind

    def replace(self, *, what: str | None = None, where: str | None = None, todo: str | None = None) -> Self:
        """The same error with other texts."""
        return type(self)(
            self.what if what is None else what,
            where=self.where if where is None else where,
            todo=self.todo if todo is None else todo,
            rule=self.rule,
            kind=self.kind,
        )


class VaultUnreachableError(VaultRequestError):
    """Vault did not answer in time, or answered that it cannot serve now."""

    exit_code = 69  # EX_UNAVAILABLE


class AgentUnavailableError(LesseeError):
    """No running agent answers."""

    exit_code = 69  # EX_UNAVAILABLE


class WriteError(LesseeError):
    """A file, directory or socket of ours cannot be made."""

    exit_code = 73  # EX_CANTCREAT


class NotNotifiedError(LesseeError):
    """The files are published and their reader could not be told."""

    exit_code = 75  # EX_TEMPFAIL


class ManuallyChangedError(LesseeError):
    """What somebody changed by hand was left as it is."""

    exit_code = 75  # EX_TEMPFAIL


class DeniedError(VaultRequestError):
    """Vault, or lessee itself before asking, refused a login or a path."""

    exit_code = 77  # EX_NOPERM
    default_kind = Kind.DENIED


class ConfigError(LesseeError):
    """lessee.yaml is wrong; all that is wrong with it is told at once."""

    exit_code = 78  # EX_CONFIG

    def __init__(self, problems: Iterable[LesseeError]) -> None:
        several = tuple(problems)
        super().__init__("\n".join(map(str, several)))
        self._several = several
