"""The format of SOPS: which values of a tree are encrypted, and the MAC over all of them.

https://github.com/getsops/sops: values are `ENC[AES256_GCM,…]` under one data key, with the keys that lead to a value
as additional data, and the MAC is a SHA-512 over the plaintexts in the order of the file.
"""

import hashlib
import re
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lessee.core.immutable import ImmutableStruct

_VALUE = re.compile(r"ENC\[AES256_GCM,data:([^,]+),iv:([^,]+),tag:([^,]+),type:([a-z]+)\]")
_QUANTIFIER = re.compile(r".[*+?{]", re.DOTALL)
_WHOLE = re.compile(r"-?[0-9]{1,15}")
_SETS = ("[[", "[^[", "--", "&&", "~~", "||")
"""What a later version of Python may take for operations on sets of characters."""
_DEFAULT_SUFFIX = "_unencrypted"
_ONLY_ENCRYPTED = hashlib.sha256(b"sops").digest()
"""What a MAC over the encrypted values alone begins with, so that it never equals one over all."""
_MAX_DEPTH = 50
_MAX_VALUES = 20_000
_MAX_PATTERN = 200
_MAX_CHOICES = 2
"""Parts of a pattern, quantifiers and groups, that can match in several ways."""
_RULES = ("unencrypted_suffix", "encrypted_suffix", "unencrypted_regex", "encrypted_regex")
_UNKNOWN_RULES = ("unencrypted_comment_regex", "encrypted_comment_regex")

Open = Callable[[bytes, bytes, bytes], bytes]
"""Decrypts by AES-GCM: `(iv, ciphertext with tag, additional data)`. Raises ValueError."""
Tree = dict[str, Any] | list[Any]


class SopsError(ValueError):
    """The file is not what SOPS writes, or was changed. The text has no value."""


class SopsMetadata(ImmutableStruct, frozen=True):
    """What SOPS wrote about a file."""

    keys: tuple[str, ...]
    """The data key, encrypted for each age recipient."""
    mac: str
    last_modified: str
    rules: Mapping[str, str]
    mac_only_encrypted: bool = False


def metadata_of(block: object) -> SopsMetadata:
    """The metadata, from the block `sops` of a file. Raises SopsError."""
    if not isinstance(block, Mapping):
        raise SopsError("it has no metadata of SOPS; encrypt it with `sops encrypt`")
    if found := next((rule for rule in _UNKNOWN_RULES if block.get(rule)), None):
        raise SopsError(f"{found} is not supported; encrypt it with encrypted_regex or a suffix")
    if block.get("key_groups") or block.get("shamir_threshold"):
        raise SopsError("its data key is shared among key groups, which is not supported; use age recipients alone")
    recipients = block.get("age") or []
    entries = recipients if isinstance(recipients, list) else []
    keys = [entry.get("enc") for entry in entries if isinstance(entry, Mapping)]
    if not keys or not all(isinstance(key, str) for key in keys):
        raise SopsError("it is not encrypted for age; add a recipient with `sops updatekeys`")
    mac, last_modified = block.get("mac"), block.get("lastmodified")
    if not isinstance(mac, str) or not isinstance(last_modified, str):
        raise SopsError("it has no MAC, so that a change would not be noticed; encrypt it again")
    rules = {name: str(block[name]) for name in _RULES if block.get(name)}
    if any(len(rule) > _MAX_PATTERN for rule in rules.values()):
        raise SopsError(f"a rule in its metadata has more than {_MAX_PATTERN} characters")
    only = block.get("mac_only_encrypted") in {True, "true"}
    rules = rules or {"unencrypted_suffix": _DEFAULT_SUFFIX}
    return SopsMetadata(tuple(map(str, keys)), mac, last_modified, rules, only)


def decrypted(tree: Mapping[str, Any], metadata: SopsMetadata, open_: Open) -> dict[str, Any]:
    """The plain tree, whose MAC is right. Raises SopsError."""
    digest = hashlib.sha512(_ONLY_ENCRYPTED if metadata.mac_only_encrypted else b"")
    walk = _Walk(metadata, open_, digest.update)
    plain = walk.branch(tree, ())
    expected = _open_value(metadata.mac, metadata.last_modified, open_)
    if not isinstance(expected, str) or expected != digest.hexdigest().upper():
        raise SopsError("its MAC is wrong: it was changed without SOPS; restore it, or edit it with `sops edit`")
    return plain


class _Walk:
    """The decryption of one tree."""

    def __init__(self, metadata: SopsMetadata, open_: Open, hash_: Callable[[bytes], None]) -> None:
        self._rules = metadata.rules
        self._only_encrypted = metadata.mac_only_encrypted
        self._open = open_
        self._hash = hash_
        self._left = _MAX_VALUES
        self._found: dict[tuple[str, str], bool] = {}
        try:
            self._patterns = {name: _pattern(text) for name, text in self._rules.items() if name.endswith("regex")}
        except (re.error, OverflowError, RecursionError):
            raise SopsError("a rule in its metadata is no regular expression that is understood here") from None

    def branch(self, tree: Mapping[Any, Any], path: tuple[str, ...]) -> dict[str, Any]:
        self._spend(path)
        found = {}
        for key, value in tree.items():
            if not isinstance(key, str) or len(key) > _MAX_PATTERN:
                raise SopsError(f"a key in it is no text of at most {_MAX_PATTERN} characters")
            found[key] = self._value(value, (*path, key))
        return found

    def _value(self, value: Any, path: tuple[str, ...]) -> Any:
        self._spend(path)
        match value:
            case Mapping():
                return self.branch(value, path)
            case list():
                # The elements of a list have the path of the list.
                return [self._value(item, path) for item in value]
            case None:
                return None
            case _:
                return self._leaf(value, path)

    def _leaf(self, value: Any, path: tuple[str, ...]) -> Any:
        encrypted = self._is_encrypted(path)
        if encrypted:
            if not isinstance(value, str):
                raise SopsError(f"{_spelled(path)} should be encrypted, and is not; edit it with `sops edit`")
            value = _open_value(value, f"{':'.join(path)}:", self._open, where=_spelled(path))
        if encrypted or not self._only_encrypted:
            self._hash(_bytes_of(value))
        return value

    def _is_encrypted(self, path: tuple[str, ...]) -> bool:
        encrypted, rules = True, self._rules
        if (suffix := rules.get("unencrypted_suffix")) and any(key.endswith(suffix) for key in path):
            encrypted = False
        if suffix := rules.get("encrypted_suffix"):
            encrypted = any(key.endswith(suffix) for key in path)
        if "unencrypted_regex" in self._patterns and any(self._matches("unencrypted_regex", key) for key in path):
            encrypted = False
        if "encrypted_regex" in self._patterns:
            encrypted = any(self._matches("encrypted_regex", key) for key in path)
        return encrypted

    def _matches(self, rule: str, key: str) -> bool:
        """Each key is compared once: many values may be below the same long keys."""
        if (rule, key) not in self._found:
            self._found[rule, key] = self._patterns[rule].search(key) is not None
        return self._found[rule, key]

    def _spend(self, path: tuple[str, ...]) -> None:
        self._left -= 1
        if self._left < 0 or len(path) > _MAX_DEPTH:
            raise SopsError(f"it has more than {_MAX_VALUES:,} values, or more than {_MAX_DEPTH} levels")


def _pattern(text: str) -> re.Pattern[str]:
    """The pattern, which costs little for any key: Python tries all ways to match, which a file's author could exploit.

    A pattern is searched for, so what matches anything at its ends is left out.
    """
    text = re.sub(r"^\^?\.\*|(?<!\\)\.\*\$?$", "", text)
    if any(sign in text for sign in _SETS):
        raise SopsError("a rule in its metadata has a set of characters that is not understood here")
    quantifiers = _QUANTIFIER.findall(text.replace("(?:", "("))
    # Groups with alternatives multiply the ways to match, as (|a)(|a)(|a) does.
    groups = text.count("(") if "|" in text else 0
    is_costly = len(quantifiers) > 1 or len(quantifiers) + groups > _MAX_CHOICES
    if is_costly or any(found[0] == ")" for found in quantifiers):
        raise SopsError("a rule in its metadata repeats too much; write it as in ^(password|token)$")
    return re.compile(text)


def _open_value(text: str, additional: str, open_: Open, *, where: str = "its MAC") -> Any:
    if not text:
        return ""  # SOPS leaves an empty text as it is.
    match = _VALUE.fullmatch(text)
    if match is None:
        raise SopsError(f"{where} should be encrypted, and is not; edit it with `sops edit`")
    data, iv, tag, kind = match.groups()
    try:
        nonce, content, end = (b64decode(part, validate=True) for part in (iv, data, tag))
        plain = open_(nonce, content + end, additional.encode())
        return _typed(plain, kind)
    except ValueError:
        raise SopsError(f"{where} cannot be decrypted: it was changed, or moved to another key") from None


def _typed(plain: bytes, kind: str) -> Any:
    text = plain.decode()
    match kind:
        case "str" | "bytes" | "time":
            return text
        case "int":
            return int(text)
        case "float":
            # JSON has one type of numbers, and SOPS calls it so.
            return int(text) if _WHOLE.fullmatch(text) else float(text)
        case "bool" if text in {"True", "False", "true", "false"}:
            return text in {"True", "true"}
        case _:
            raise ValueError


def _bytes_of(value: Any) -> bytes:
    match value:
        case str():
            return value.encode()
        case bool():
            return b"True" if value else b"False"
        case int():
            return str(value).encode()
        case float():
            return _shortest(value).encode()
        case _:
            raise SopsError("a value in it has a type that is not supported; quote it")


def _shortest(value: float) -> str:
    """The number as Go's FormatFloat(value, 'f', -1, 64) writes it: the fewest digits, without an exponent."""
    digits = repr(value)
    if "e" not in digits and "n" not in digits:
        return digits.removesuffix(".0")
    from decimal import Decimal  # noqa: PLC0415  # Few numbers are so large or small.

    return f"{Decimal(digits):f}"


def _spelled(path: tuple[str, ...]) -> str:
    return repr(".".join(path)[:100])


def unflattened(lines: Iterator[tuple[str, str]]) -> tuple[dict[str, str], dict[str, Any]]:
    """The values of a dotenv file, and its metadata, whose keys SOPS writes as `sops_age__list_0__map_enc`."""
    values: dict[str, str] = {}
    block: dict[str, Any] = {}
    recipients: dict[int, dict[str, str]] = {}
    for key, text in lines:
        if not key.startswith("sops_"):
            values[key] = text
        elif (match := re.fullmatch(r"sops_age__list_([0-9]{1,4})__map_([a-z]+)", key)) is not None:
            recipients.setdefault(int(match[1]), {})[match[2]] = text
        else:
            block[key.removeprefix("sops_")] = text
    if recipients:
        block["age"] = [recipients[number] for number in sorted(recipients)]
    return values, block
