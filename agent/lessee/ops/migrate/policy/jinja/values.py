"""What Go's templates work with, and how it is named in Jinja."""

from lessee.core.immutable import Record
from lessee.ops.migrate.policy.golang.nodes import Constant
from lessee.ops.migrate.policy.jinja.expressions import (
    ANY,
    FILTER,
    LIST,
    PRIMARY,
    TEXT,
    TRUTH,
    Expr,
    Joined,
    LostError,
    as_expr,
    joined,
    quote,
)
from lessee.ops.migrate.policy.jinja.vault_paths import Kv


class Answer(Record, frozen=True):
    """What `secret` gives, and the call that gives its fields in lessee."""

    path: str
    fields: Expr
    is_kv: bool = True
    """A KV secret, else what was made when it was asked for."""
    explicit: bool = False
    """Whether the path is as the API of KV version 2 has it, so that the fields lie in `.Data.data`."""


class Data(Record, frozen=True):
    """`.Data` of an answer."""

    of: Answer


class Certificate(Record, frozen=True):
    """What `pkiCert` gives, and its `.Data`."""

    call: Expr


class Names(Record, frozen=True):
    """What `secrets` gives: the names in a KV folder."""

    folder: Kv
    call: Expr


class Name(Record, frozen=True):
    """One of them in a loop, with the secret that it names."""

    folder: Kv
    name: Expr
    entry: Expr


Value = Constant | Expr | Joined | Answer | Data | Certificate | Names | Name

_PEMS = {"Cert": "certificate", "Key": "private_key", "CA": "issuing_ca"}
_MAPPING_METHODS = frozenset({"items", "keys", "values", "get"})
_OF_ANSWERS = "LeaseID LeaseDuration Renewable RequestID Warnings Auth WrapInfo Metadata MountType".split()  # noqa: SIM905


def field(value: Value, name: str) -> Value:
    """`.name` of a value. Raises LostError for what lessee does not give."""
    match value:
        case Answer() if name == "Data":
            return Data(value)
        case Answer() if name in _OF_ANSWERS:
            raise LostError(
                f".{name} is not for templates: lessee keeps leases itself", "leave it out; see `lessee status`"
            )
        case Data(answer):
            return _of_data(answer, name)
        case Certificate() if name == "Data":
            return value
        case Certificate(call) if name in _PEMS:
            return joined(Expr(f"{call:p}.{_PEMS[name]}", kind=TEXT), Constant("\n"))
        case Expr():
            return key(value, Constant(name))
        case _:
            raise LostError(f"there is no .{name} here", "write that part another way")


def key(value: Value, index: Constant | Expr | Joined) -> Value:
    """`index value key`."""
    match value, index:
        case ((Answer() | Data() | Certificate()), Constant(str(name))):
            return field(value, name)
        case ((Data() | Names() | Name()), _):
            return key(whole(value), index)
        case Expr(), Constant(str(name)):
            attribute = name.isidentifier() and name.isascii() and name not in _MAPPING_METHODS
            text = f"{value:p}.{name}" if attribute else f"{value:p}[{quote(name)}]"
            return Expr(text, PRIMARY, ANY, absent=Expr(f"{value:p}.get({quote(name)})"))
        case Expr(), _:
            return Expr(f"{value:p}[{as_expr(index).text}]")
        case _:
            raise LostError("there is nothing to be looked up here", "write that part another way")


def whole(value: Value) -> Expr:
    """The value as one expression. Raises LostError for what is none in lessee."""
    match value:
        case Constant() | Expr() | Joined():
            return as_expr(value)
        case Data(answer):
            return _whole(answer)
        case Names(call=call):
            return Expr(f"{call:f} | sort(case_sensitive=true)", FILTER, LIST)
        case Name(name=name):
            return name
        case _:
            raise LostError("a whole answer of Vault is not for templates", "name a field of its .Data")


def as_part(value: Value) -> Constant | Expr | Joined:
    """As something that can be written; the pieces of a joined text stay apart."""
    return value if isinstance(value, Constant | Joined) else whole(value)


def condition(value: Value) -> Expr:
    """The value where only its truth counts; an answer is there wherever it is looked at."""
    match value:
        case Answer() | Certificate():
            return Expr("true", kind=TRUTH)
        case Constant(truth):
            return Expr("true" if truth else "false", kind=TRUTH)
        case Joined(parts) if any(isinstance(part, Constant) for part in parts):
            return Expr("true", kind=TRUTH)
        case _:
            return whole(value).condition


def _of_data(answer: Answer, name: str) -> Value:
    if not answer.is_kv or (name != "data" and not answer.explicit):
        return key(answer.fields, Constant(name))
    if name == "data":
        return answer.fields
    if name == "metadata":
        raise LostError(f"the metadata of {answer.path!r} is not for templates", "leave it out")
    raise LostError(f"{answer.path!r} is of KV version 2, and has no .Data.{name}", f"write .Data.data.{name}")


def _whole(answer: Answer) -> Expr:
    if answer.explicit:
        raise LostError(f"the whole .Data of {answer.path!r} holds its metadata too", "write .Data.data for its fields")
    return answer.fields
