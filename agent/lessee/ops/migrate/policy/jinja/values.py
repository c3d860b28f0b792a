"""The values of a Go template's pipelines, and their fields, in Jinja."""

from lessee.core.immutable import ImmutableStruct
from lessee.ops.migrate.policy.golang.nodes import Constant
from lessee.ops.migrate.policy.jinja.expressions import (
    ANY,
    COMPARE,
    FILTER,
    LIST,
    PRIMARY,
    TEXT,
    TRUTH,
    Expr,
    Joined,
    UnsupportedError,
    as_expr,
    join,
    quote,
)
from lessee.ops.migrate.policy.jinja.vault_paths import KvPath


class Response(ImmutableStruct, frozen=True):
    """The result of `secret`: Vault's response. `fields`: the call that returns its fields in lessee."""

    path: str
    fields: Expr
    is_kv: bool = True
    """Whether it is a KV secret; else it is a dynamic secret."""
    is_api_path: bool = False
    """Whether the path is an API path of KV version 2, whose fields are in `.Data.data`."""


class Data(ImmutableStruct, frozen=True):
    """`.Data` of a response."""

    response: Response


class Certificate(ImmutableStruct, frozen=True):
    """The result of `pkiCert`, and its `.Data`."""

    call: Expr


class SecretNames(ImmutableStruct, frozen=True):
    """The result of `secrets`: the names in a KV folder."""

    folder: KvPath
    call: Expr


class SecretName(ImmutableStruct, frozen=True):
    """The current name in a loop over a KV folder; `entry`: the secret of this name."""

    folder: KvPath
    name: Expr
    entry: Expr


Value = Constant | Expr | Joined | Response | Data | Certificate | SecretNames | SecretName

_PEM_FIELDS = {"Cert": "certificate", "Key": "private_key", "CA": "issuing_ca"}
_MAPPING_METHODS = frozenset({"items", "keys", "values", "get"})
_RESPONSE_FIELDS = "LeaseID LeaseDuration Renewable RequestID Warnings Auth WrapInfo Metadata MountType".split()  # noqa: SIM905
_REWRITE = "rewrite this part"


def field(value: Value, name: str) -> Value:
    """`.name` of a value. Raises UnsupportedError for a field that lessee does not have."""
    match value:
        case Response() if name == "Data":
            return Data(value)
        case Response() if name in _RESPONSE_FIELDS:
            what = f".{name} is not available in templates, because the agent manages leases itself"
            raise UnsupportedError(what, "remove it; `lessee status` shows the leases")
        case Data(response):
            return _data_field(response, name)
        case Certificate() if name == "Data":
            return value
        case Certificate(call) if name in _PEM_FIELDS:
            return join(Expr(f"{call:p}.{_PEM_FIELDS[name]}", kind=TEXT), Constant("\n"))
        case Expr():
            return item(value, Constant(name))
        case _:
            raise UnsupportedError(f"this value has no field .{name}", _REWRITE)


def item(value: Value, index: Constant | Expr | Joined) -> Value:
    """`index value key`."""
    match value, index:
        case ((Response() | Data() | Certificate()), Constant(str(name))):
            return field(value, name)
        case ((Data() | SecretNames() | SecretName()), _):
            return item(to_expr(value), index)
        case Expr(), Constant(str(name)):
            is_attribute = name.isidentifier() and name.isascii() and name not in _MAPPING_METHODS
            text = f"{value:p}.{name}" if is_attribute else f"{value:p}[{quote(name)}]"
            return Expr(text, PRIMARY, ANY, optional=Expr(f"{value:p}.get({quote(name)})"))
        case Expr(), _:
            return Expr(f"{value:p}[{as_expr(index).text}]")
        case _:
            raise UnsupportedError("this value has no items", _REWRITE)


def to_expr(value: Value) -> Expr:
    """The value as one expression. Raises UnsupportedError for a whole response."""
    match value:
        case Constant() | Expr() | Joined():
            return as_expr(value)
        case Data(response):
            return _all_fields(response)
        case SecretNames(call=call):
            return Expr(f"{call:f} | sort(case_sensitive=true)", FILTER, LIST)
        case SecretName(name=name):
            return name
        case _:
            raise UnsupportedError(
                "a whole response of Vault is not available in templates", "use a field of its .Data"
            )


def as_part(value: Value) -> Constant | Expr | Joined:
    """The value as output; the parts of joined text remain separate."""
    return value if isinstance(value, Constant | Joined) else to_expr(value)


def condition(value: Value) -> Expr:
    """The value as a condition. A response is always true, because both agents render nothing without it."""
    match value:
        case Response(fields=call) | Certificate(call):
            return Expr(f"{call:f} is mapping", COMPARE, TRUTH)
        case Constant(constant):
            return Expr("true" if constant else "false", kind=TRUTH)
        case Joined(parts) if any(isinstance(part, Constant) for part in parts):
            return Expr("true", kind=TRUTH)
        case _:
            return to_expr(value).condition


def _data_field(response: Response, name: str) -> Value:
    if not response.is_kv or (name != "data" and not response.is_api_path):
        return item(response.fields, Constant(name))
    if name == "data":
        return response.fields
    if name == "metadata":
        raise UnsupportedError(f"the metadata of {response.path!r} is not available in templates", "remove it")
    what = f"{response.path!r} is a path of KV version 2, which has no .Data.{name}"
    raise UnsupportedError(what, f"write .Data.data.{name}")


def _all_fields(response: Response) -> Expr:
    if response.is_api_path:
        what = f".Data of {response.path!r} also contains the metadata, which is not available in templates"
        raise UnsupportedError(what, "write .Data.data for the fields")
    return response.fields
