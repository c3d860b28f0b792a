"""lessee's own filters, which encode values in another grammar, or decode them."""

import base64
import binascii
import hashlib
import json
import string
from collections.abc import Mapping
from urllib.parse import quote

from jinja2 import Undefined

from lessee.core.secrets import SecretValueError, SecretView, Value, view
from lessee.rendering.document import Placeholder
from lessee.rendering.formats.value_markers import dumps, loads
from lessee.rendering.sandbox.bounds import check_width
from lessee.rendering.sandbox.fragments import EXPRESSION, Json, MixedText, Yaml, plain
from lessee.rendering.sandbox.strings import text_of

_BLANKS = str.maketrans("", "", string.whitespace)


class ParsedJson(SecretView):
    """The structure of a value's JSON text. Its keys are part of the value, so no error may print them."""

    __slots__ = ()

    def __getitem__(self, key: str) -> object:
        return _parsed(self.path, self._data[key])


def to_json(value: object, indent: int | None = None) -> Json:
    """JSON, compact without `indent`, with characters unescaped."""
    check_width(indent or 0)
    separators = (",", ":") if indent is None else None
    try:
        text = json.dumps(plain(value), ensure_ascii=False, allow_nan=False, indent=indent, separators=separators)
    except ValueError:
        raise SecretValueError("json: a number is NaN, infinite or too long") from None
    return Json(text)


def from_json(value: object) -> object:
    """Parse JSON text. Everything in it has the text's origin."""
    try:
        return _parsed(value.origin if isinstance(value, Value) else EXPRESSION, loads(_string(value)))
    except ValueError:
        raise SecretValueError("fromjson: the value is not JSON") from None
    except RecursionError:
        raise SecretValueError("fromjson: the value is nested too deeply") from None


def to_yaml(value: object) -> Yaml:
    """YAML in block style, with keys in order. A YAML file gets the structure itself."""
    from lessee.rendering.sandbox.block_yaml import dump  # noqa: PLC0415  # Importing PyYAML takes milliseconds.

    data = plain(value)
    try:
        as_json = dumps(data)
    except ValueError:
        raise SecretValueError("yaml: a number is NaN, infinite or too long") from None
    text = Yaml(dump(data))
    text.json = as_json
    return text


def to_dotenv(value: object) -> MixedText:
    """A whole secret as lines of NAME=value, in the order of its keys."""
    if isinstance(value, Undefined):
        str(value)  # Raises.
    if not isinstance(value, Mapping):
        raise SecretValueError("dotenv takes a whole secret", todo='write {{ secret("…") | dotenv }}')
    parts: list[str | Placeholder] = []
    for key, item in value.items():
        origin = _origin(value, key, item)
        if isinstance(item, Mapping | list | tuple):
            what, todo = f"{origin} is a structure, but NAME=value needs a string", "write its values one by one"
            raise SecretValueError(what, todo=todo)
        parts += ["\n"] if parts else []
        parts += [Placeholder(plain(key), f"the name of {origin}"), "=", Placeholder(plain(item), origin)]
    return MixedText(tuple(parts))


def to_sh(value: object) -> str:
    """A single-quoted word of a shell."""
    return "'" + _string(value).replace("'", "'\\''") + "'"


def urlencode(value: object) -> str:
    """Percent-encode all but unreserved characters, for a user, a password, a path segment or a query value.

    RFC 3986, section 2.3.
    """
    return quote(_string(value), safe="")


def b64encode(value: object) -> str:
    return base64.b64encode(_bytes(value)).decode()


def b64decode(value: object) -> str | bytes:
    """The decoded text, or bytes if it is not UTF-8."""
    try:
        # base64(1) and PEM break lines.
        decoded = base64.b64decode(_string(value).translate(_BLANKS), validate=True)
    except (binascii.Error, ValueError):
        raise SecretValueError("b64decode: the value is not base64") from None
    try:
        return decoded.decode()
    except UnicodeDecodeError:
        return decoded


def sha256(value: object) -> str:
    """The digest in hexadecimal digits."""
    return hashlib.sha256(_bytes(value)).hexdigest()


def md5(value: object) -> str:
    """The digest in hexadecimal digits, for programs that demand MD5. It protects nothing."""
    return hashlib.md5(_bytes(value), usedforsecurity=False).hexdigest()


def hmac_sha256(value: object, key: object) -> str:
    """The authentication code of RFC 2104 in hexadecimal digits."""
    import hmac  # noqa: PLC0415  # Few templates sign a value.

    return hmac.digest(_bytes(key), _bytes(value), "sha256").hex()


def _origin(of: Mapping[object, object], key: object, item: object) -> str:
    if isinstance(of, SecretView) and not isinstance(of, ParsedJson):
        # A key may contain a newline.
        return f"{of.path}: {key if str(key).isprintable() else repr(key)}"
    return item.origin if isinstance(item, Value) else EXPRESSION


def _parsed(origin: str, value: object) -> object:
    match value:
        case str():
            return view(origin, value)
        case dict():
            return ParsedJson(origin, value)
        case list():
            return [_parsed(origin, item) for item in value]
        case _:
            return value


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else _string(value).encode()


def _string(value: object) -> str:
    if isinstance(value, Mapping | list | tuple) or value is None:
        raise SecretValueError("this filter takes a string or a number", todo="add `| json` for a structure")
    return text_of(value)
