"""The errors that users see: each says what failed, where and what to do, and has an exit code of sysexits(3)."""

from collections.abc import Iterable
from typing import Self

from lessee.core.failures import Kind


class LesseeError(Exception):
    """The base class of lessee's errors; its text never contains the value of a secret.

    `where` is a place that the reader can open (`lessee.yaml:12`, a path in Vault). `todo` is what to do next. `rule`
    is the name of the `lessee lint` rule that reports it, if it has one.
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
        """The single errors that it consists of."""
        return self._several or (self,)

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}; {self.todo}" if self.todo else text


class UsageError(LesseeError):
    """The command line is invalid."""

    exit_code = 64  # EX_USAGE


class TemplateError(LesseeError):
    """A template cannot be read, compiled or rendered."""

    exit_code = 65  # EX_DATAERR


class TemplateListError(TemplateError):
    """Several templates or parts of one are wrong; lists every error."""

    def __init__(self, problems: Iterable[LesseeError]) -> None:
        several = {str(problem): problem for problem in problems}  # Two templates may include the same wrong file.
        super().__init__("\n".join(several))
        self._several = tuple(several.values())


class FormatError(TemplateError):
    """A value cannot be written in the format of the file that a template renders."""


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
    """Vault did not answer in time, or answered that it cannot serve requests now."""

    exit_code = 69  # EX_UNAVAILABLE


class AgentUnavailableError(LesseeError):
    """No running agent answers."""

    exit_code = 69  # EX_UNAVAILABLE


class WriteError(LesseeError):
    """lessee cannot create or write a file, directory or socket."""

    exit_code = 73  # EX_CANTCREAT


class NotNotifiedError(LesseeError):
    """The files are published, but the app could not be notified."""

    exit_code = 75  # EX_TEMPFAIL


class ManuallyChangedError(LesseeError):
    """An object differs from the configuration, and lessee left it in place: a person changed it, or another file."""

    exit_code = 75  # EX_TEMPFAIL


class DeniedError(VaultRequestError):
    """Vault denied a login or a path, or lessee did so before it sent the request."""

    exit_code = 77  # EX_NOPERM
    default_kind = Kind.DENIED


class ConfigError(LesseeError):
    """The configuration is wrong; lists every error."""

    exit_code = 78  # EX_CONFIG

    def __init__(self, problems: Iterable[LesseeError]) -> None:
        several = tuple(problems)
        super().__init__("\n".join(map(str, several)))
        self._several = several
