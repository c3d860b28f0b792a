"""The request that initializes a server, and the files that its only answer becomes."""

import base64
import re
from collections.abc import Mapping
from typing import Any

from lessee.core.errors import UsageError
from lessee.core.immutable import ImmutableStruct

_MAX_SHARES = 255  # Shamir's shares over GF(256).


class Seal(ImmutableStruct, frozen=True):
    """The server's answer to sys/seal-status."""

    initialized: bool
    sealed: bool
    automatic: bool
    """The server unseals itself, and its keys are recovery keys."""
    threshold: int
    progress: int = 0
    """The number of keys given; 0 again once there are enough of them."""


class InitOptions(ImmutableStruct, frozen=True):
    """The number of key shares, the threshold that unseals, and PGP keys in Base64: one for each share, or none."""

    shares: int
    threshold: int
    pgp_keys: tuple[str, ...] = ()
    root_pgp_key: str | None = None


def seal_of(status: Mapping[str, Any]) -> Seal:
    """Parse the answer of sys/seal-status."""
    return Seal(
        initialized=status.get("initialized") is True,
        sealed=status.get("sealed") is not False,
        automatic=status.get("recovery_seal") is True,
        threshold=int(status.get("t") or 0),
        progress=int(status.get("progress") or 0),
    )


def check(options: InitOptions) -> None:
    """Raises UsageError for options that Vault would reject."""
    if not 1 <= options.threshold <= options.shares <= _MAX_SHARES:
        what = f"a threshold of {options.threshold} with {options.shares} key shares is not possible"
        todo = f"use 1 to {_MAX_SHARES} shares, and a threshold that is not larger"
        raise UsageError(what, where="--key-threshold, --key-shares", todo=todo)
    if options.threshold == 1 < options.shares:
        what = "with a threshold of 1, each of several keys unseals the server alone"
        raise UsageError(what, where="--key-threshold", todo="use 2 or more, or --key-shares 1")
    if options.pgp_keys and len(options.pgp_keys) != options.shares:
        what = f"{len(options.pgp_keys)} PGP keys for {options.shares} key shares"
        raise UsageError(what, where="--pgp-key", todo="name one file for each share")


def request(options: InitOptions, seal: Seal) -> dict[str, Any]:
    """The request body for sys/init."""
    kind = "recovery" if seal.automatic else "secret"
    body: dict[str, Any] = {f"{kind}_shares": options.shares, f"{kind}_threshold": options.threshold}
    if options.pgp_keys:
        body["recovery_pgp_keys" if seal.automatic else "pgp_keys"] = list(options.pgp_keys)
    if options.root_pgp_key is not None:
        body["root_token_pgp_key"] = options.root_pgp_key
    return body


def names(options: InitOptions, seal: Seal) -> tuple[str, ...]:
    """The files that will hold the answer. Encrypted ones end with `.pgp`, and are Base64."""
    return (*(_key_name(options, seal, number) for number in range(1, options.shares + 1)), _token_name(options))


def contents(options: InitOptions, seal: Seal, answer: Mapping[str, Any]) -> dict[str, str]:
    """The contents of the files. Whatever the answer holds is written, because Vault sends it only once."""
    keys = answer.get("recovery_keys_base64" if seal.automatic else "keys_base64") or ()
    texts = {_key_name(options, seal, number): str(key) for number, key in enumerate(keys, 1)}
    return texts | {_token_name(options): str(answer.get("root_token") or "")}


def unseal_keys(options: InitOptions, seal: Seal, answer: Mapping[str, Any]) -> tuple[str, ...]:
    """As many keys as unseal the server; none if they are PGP-encrypted, or the server unseals itself."""
    if seal.automatic or options.pgp_keys:
        return ()
    return tuple(contents(options, seal, answer).values())[: options.threshold]


def _key_name(options: InitOptions, seal: Seal, number: int) -> str:
    return f"{'recovery' if seal.automatic else 'unseal'}-key-{number}{'.pgp' * bool(options.pgp_keys)}"


def _token_name(options: InitOptions) -> str:
    return f"root-token{'.pgp' * (options.root_pgp_key is not None)}"


_ARMOR = re.compile(
    r"-----BEGIN PGP PUBLIC KEY BLOCK-----[ \t]*\n(?:[^\n]*:[^\n]*\n)*[ \t]*\n(.*?)(?:\n=[A-Za-z0-9+/]{4}[ \t]*)?"
    r"\n-----END PGP PUBLIC KEY BLOCK-----",
    re.DOTALL,
)
_PUBLIC, _SECRET = 6, 5  # Tags of packets: RFC 9580, section 5.


def public_key(content: bytes, where: str) -> str:
    """The key in Base64, without armor. `where` is the file's name. Raises UsageError."""
    todo = "write it with `gpg --export NAME > FILE`"
    packets = content
    if content.lstrip().startswith(b"-----BEGIN PGP"):
        packets = _without_armor(content.decode("latin-1").replace("\r\n", "\n"))
    tag = _tag(packets)
    if tag == _PUBLIC:
        return base64.b64encode(packets).decode()
    if tag == _SECRET or b"PRIVATE KEY BLOCK" in content:
        raise UsageError("the file holds a private key, which must stay with its owner", where=where, todo=todo)
    raise UsageError("the file holds no public PGP key", where=where, todo=todo)


def _without_armor(text: str) -> bytes:
    found = _ARMOR.search(text)
    try:
        return base64.b64decode("".join(found[1].split()), validate=True) if found else b""
    except ValueError:
        return b""


def _tag(packets: bytes) -> int | None:
    """The tag of the first packet: six bits in the new format, four in the old one."""
    first = packets[0] if packets else 0
    if not first & 0x80:
        return None
    return first & 0x3F if first & 0x40 else (first >> 2) & 0x0F
