"""The request that initializes a server, and the files that its only answer becomes."""

import base64
import re
from collections.abc import Mapping
from typing import Any

from lessee.core.errors import UsageError
from lessee.core.immutable import ImmutableStruct

_MOST = 255  # Shamir's shares over GF(256).


class Seal(ImmutableStruct, frozen=True):
    """What sys/seal-status says."""

    initialized: bool
    sealed: bool
    automatic: bool
    """It unseals itself, and its keys are for recovery alone."""
    threshold: int
    progress: int = 0
    """So many keys were given; 0 again once they are enough."""


class InitOptions(ImmutableStruct, frozen=True):
    """Into how many keys a server's key is split, and how many open it. PGP keys in Base64: one a share, or none."""

    shares: int
    threshold: int
    pgp_keys: tuple[str, ...] = ()
    root_pgp_key: str | None = None


def seal_of(status: Mapping[str, Any]) -> Seal:
    """From the answer of sys/seal-status."""
    return Seal(
        initialized=status.get("initialized") is True,
        sealed=status.get("sealed") is not False,
        automatic=status.get("recovery_seal") is True,
        threshold=int(status.get("t") or 0),
        progress=int(status.get("progress") or 0),
    )


def check(options: InitOptions) -> None:
    """Raises UsageError for what a server would refuse."""
    if not 1 <= options.threshold <= options.shares <= _MOST:
        what = f"{options.threshold} of {options.shares} keys cannot be"
        raise UsageError(what, where="--threshold, --shares", todo=f"write 1 to {_MOST}, the threshold no larger")
    if options.threshold == 1 < options.shares:
        what = "with a threshold of 1, each of several keys opens it alone"
        raise UsageError(what, where="--threshold", todo="write 2 or more, or --shares 1")
    if options.pgp_keys and len(options.pgp_keys) != options.shares:
        what = f"there are {len(options.pgp_keys)} for {options.shares} shares"
        raise UsageError(what, where="--pgp-key", todo="name one file a share")


def request(options: InitOptions, seal: Seal) -> dict[str, Any]:
    """The body for sys/init."""
    kind = "recovery" if seal.automatic else "secret"
    body: dict[str, Any] = {f"{kind}_shares": options.shares, f"{kind}_threshold": options.threshold}
    if options.pgp_keys:
        body["recovery_pgp_keys" if seal.automatic else "pgp_keys"] = list(options.pgp_keys)
    if options.root_pgp_key is not None:
        body["root_token_pgp_key"] = options.root_pgp_key
    return body


def names(options: InitOptions, seal: Seal) -> tuple[str, ...]:
    """The files that the answer will become; encrypted ones end in `.pgp`, and hold Base64."""
    return (*(_key_name(options, seal, number) for number in range(1, options.shares + 1)), _token_name(options))


def contents(options: InitOptions, seal: Seal, answer: Mapping[str, Any]) -> dict[str, str]:
    """What is in them, whatever of it the answer holds: it comes only once."""
    keys = answer.get("recovery_keys_base64" if seal.automatic else "keys_base64") or ()
    texts = {_key_name(options, seal, number): str(key) for number, key in enumerate(keys, 1)}
    return texts | {_token_name(options): str(answer.get("root_token") or "")}


def unseal_keys(options: InitOptions, seal: Seal, answer: Mapping[str, Any]) -> tuple[str, ...]:
    """As many as open it; none where nobody here can read them, or nobody needs to."""
    if seal.automatic or options.pgp_keys:
        return ()
    return tuple(contents(options, seal, answer).values())[: options.threshold]


def _key_name(options: InitOptions, seal: Seal, number: int) -> str:
    return f"{'recovery' if seal.automatic else 'unseal'}-key-{number}{'.pgp' * bool(options.pgp_keys)}"


def _token_name(options: InitOptions) -> str:
    return f"root-token{'.pgp' * (options.root_pgp_key is not None)}"


_ARMOUR = re.compile(
    r"-----BEGIN PGP PUBLIC KEY BLOCK-----[ \t]*\n(?:[^\n]*:[^\n]*\n)*[ \t]*\n(.*?)(?:\n=[A-Za-z0-9+/]{4}[ \t]*)?"
    r"\n-----END PGP PUBLIC KEY BLOCK-----",
    re.DOTALL,
)
_PUBLIC, _SECRET = 6, 5  # Tags of packets: RFC 9580, section 5.


def public_key(content: bytes, where: str) -> str:
    """The key in Base64, without armour. `where` is the file's name. Raises UsageError."""
    todo = "write it with `gpg --export NAME > FILE`"
    packets = content
    if content.lstrip().startswith(b"-----BEGIN PGP"):
        packets = _unarmoured(content.decode("latin-1").replace("\r\n", "\n"))
    tag = _tag(packets)
    if tag == _PUBLIC:
        return base64.b64encode(packets).decode()
    if tag == _SECRET or b"PRIVATE KEY BLOCK" in content:
        raise UsageError("it holds a private key, which stays with its owner", where=where, todo=todo)
    raise UsageError("it holds no public PGP key", where=where, todo=todo)


def _unarmoured(text: str) -> bytes:
    found = _ARMOUR.search(text)
    try:
        return base64.b64decode("".join(found[1].split()), validate=True) if found else b""
    except ValueError:
        return b""


def _tag(packets: bytes) -> int | None:
    """Of the first packet: in the new format six bits, in the old one four."""
    first = packets[0] if packets else 0
    if not first & 0x80:
        return None
    return first & 0x3F if first & 0x40 else (first >> 2) & 0x0F
