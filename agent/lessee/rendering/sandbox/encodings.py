"""The filters of our own: values in another grammar or encoding than the file's, and out of one."""

import base64
import binascii
import hashlib
import json
import string
from collections.abc import Mapping
from urllib.parse import quote

from jinja2 import Undefined

from lessee.core.secrets import SecretValueError, SecretView, Value, view
from lessee.rendering.document import Hole
from lessee.rendering.formats.value_markers import dumps, loads
from lessee.rendering.sandbox.bounds import refuse_width
from lessee.rendering.sandbox.fragments import NOWHERE, Json, Mixed, Yaml, plain
from lessee.rendering.sandbox.strings import text_of

_BLANKS = str.maketrans("", "", string.whitespace)


class Opened(SecretView):
    """What was JSON text in a value: its keys are part of that value, so that no error may tell them."""

    __slots__ = ()

    def __getitem__(self, key: str) -> object:
        return _opened(self.path, self._data[key])


def to_json(value: object, indent: int | None = None) -> Json:
    """Compact without `indent`; every letter as it is."""
    refuse_width(indent or 0)
    separators = (",", ":") if indent is None else None
    try:
        text = json.dumps(plain(value), ensure_ascii=False, allow_nan=False, indent=indent, separators=separators)
    except ValueError:
        raise SecretValueError("json: a number is NaN, infinite or too long") from None
    return Json(text)


def from_json(value: object) -> object:
    """The structure that a text is; all in it has the text's origin."""
    try:
        return _opened(value.origin if isinstance(value, Value) else NOWHERE, loads(_string(value)))
    except ValueError:
        raise SecretValueError("fromjson: the value is no JSON") from None
    except RecursionError:
        raise SecretValueError("fromjson: the value is nested too deep") from None


def to_yaml(value: object) -> Yaml:
    """Block style, keys in order. In a YAML file it is the structure itself."""
    from lessee.rendering.sandbox.block_yaml import dump  # noqa: PLC0415  # PyYAML costs a start some milliseconds.

    data = plain(value)
    try:
        as_json = dumps(data)
    except ValueError:
        raise SecretValueError("yaml: a number is NaN, infinite or too long") from None
    text = Yaml(dump(data))
    text.json = as_json
    return text


def to_dotenv(value: object) -> Mixed:
    """A whole secret as lines of NAME=value, in the order that its keys have."""
    if isinstance(value, Undefined):
        str(value)  # raises
    if not isinstance(value, Mapping):
        raise SecretValueError("dotenv takes a whole secret", todo='write {{ secret("…") | dotenv }}')
    parts: list[str | Hole] = []
    for key, item in value.items():
        origin = _origin(value, key, item)
        if isinstance(item, Mapping | list | tuple):
            what, todo = f"{origin} is a structure, and NAME=value holds none", "write its values one by one"
            raise SecretValueError(what, todo=todo)
        parts += ["\n"] if parts else []
        parts += [Hole(plain(key), f"the name of {origin}"), "=", Hole(plain(item), origin)]
    return Mixed(tuple(parts))


def to_sh(value: object) -> str:
    """One word of a shell."""
    return "'" + _string(value).replace("'", "'\\''") + "'"


def urlencode(value: object) -> str:
    """Percent-encoding of all but unreserved characters: a user, a password, a segment of a path, a query's value.

    RFC 3986, section 2.3.
    """
    return quote(_string(value), safe="")


def b64encode(value: object) -> str:
    return base64.b64encode(_bytes(value)).decode()


def b64decode(value: object) -> str | bytes:
    """Text, where it is UTF-8."""
    try:
        # base64(1) and PEM break lines.
        decoded = base64.b64decode(_string(value).translate(_BLANKS), validate=True)
    except (binascii.Error, ValueError):
        raise SecretValueError("b64decode: the value is no base64") from None
    try:
        return decoded.decode()
    except UnicodeDecodeError:
        return decoded


def sha256(value: object) -> str:
    """In hexadecimal digits."""
    return hashlib.sha256(_bytes(value)).hexdigest()


def _origin(of: Mapping[object, object], key: object, item: object) -> str:
    if isinstance(of, SecretView) and not isinstance(of, Opened):
        # A key may hold a line's end.
        return f"{of.path}: {key if str(key).isprintable() else repr(key)}"
    return item.origin if isinstance(item, Value) else NOWHERE


def _opened(origin: str, value: object) -> object:
    match value:
        case str():
            return view(origin, value)
        case dict():
            return Opened(origin, value)
        case list():
            return [_opened(origin, item) for item in value]
        case _:
            return value


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else _string(value).encode()


def _string(value: object) -> str:
    if isinstance(value, Mapping | list | tuple) or value is None:
        raise SecretValueError("this filter takes a string or a number", todo="add `| json` for a structure")
    return text_of(value)
