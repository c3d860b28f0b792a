"""What a new server is asked for, and the files that its only answer becomes."""

from collections.abc import Mapping
from typing import Any

from lessee.core.errors import UsageError
from lessee.core.immutable import Record

_MOST = 255  # Shamir's shares over GF(256).


class Seal(Record, frozen=True):
    """What sys/seal-status says."""

    initialised: bool
    sealed: bool
    automatic: bool
    """It unseals itself, and its keys are for recovery alone."""
    threshold: int
    progress: int = 0
    """So many keys were given; 0 again once they are enough."""


class Wish(Record, frozen=True):
    """Into how many keys a server's key is split, and how many open it. PGP keys in Base64: one a share, or none."""

    shares: int
    threshold: int
    pgp_keys: tuple[str, ...] = ()
    root_pgp_key: str | None = None


def seal_of(status: Mapping[str, Any]) -> Seal:
    """From the answer of sys/seal-status."""
    return Seal(
        initialised=status.get("initialized") is True,
        sealed=status.get("sealed") is not False,
        automatic=status.get("recovery_seal") is True,
        threshold=int(status.get("t") or 0),
        progress=int(status.get("progress") or 0),
    )


def check(wish: Wish) -> None:
    """Raises UsageError for what a server would refuse."""
    if not 1 <= wish.threshold <= wish.shares <= _MOST:
        what = f"{wish.threshold} of {wish.shares} keys cannot be"
        raise UsageError(what, where="--threshold, --shares", todo=f"write 1 to {_MOST}, the threshold no larger")
    if wish.threshold == 1 < wish.shares:
        what = "with a threshold of 1, each of several keys opens it alone"
        raise UsageError(what, where="--threshold", todo="write 2 or more, or --shares 1")
    if wish.pgp_keys and len(wish.pgp_keys) != wish.shares:
        what = f"there are {len(wish.pgp_keys)} for {wish.shares} shares"
        raise UsageError(what, where="--pgp-key", todo="name one file a share")


def request(wish: Wish, seal: Seal) -> dict[str, Any]:
    """The body for sys/init."""
    kind = "recovery" if seal.automatic else "secret"
    body: dict[str, Any] = {f"{kind}_shares": wish.shares, f"{kind}_threshold": wish.threshold}
    if wish.pgp_keys:
        body["recovery_pgp_keys" if seal.automatic else "pgp_keys"] = list(wish.pgp_keys)
    if wish.root_pgp_key is not None:
        body["root_token_pgp_key"] = wish.root_pgp_key
    return body


def names(wish: Wish, seal: Seal) -> tuple[str, ...]:
    """The files that the answer will become; encrypted ones end in `.pgp`, and hold Base64."""
    return (*(_key_name(wish, seal, number) for number in range(1, wish.shares + 1)), _token_name(wish))


def contents(wish: Wish, seal: Seal, answer: Mapping[str, Any]) -> dict[str, str]:
    """What is in them, whatever of it the answer holds: it comes only once."""
    keys = answer.get("recovery_keys_base64" if seal.automatic else "keys_base64") or ()
    texts = {_key_name(wish, seal, number): str(key) for number, key in enumerate(keys, 1)}
    return texts | {_token_name(wish): str(answer.get("root_token") or "")}


def unseal_keys(wish: Wish, seal: Seal, answer: Mapping[str, Any]) -> tuple[str, ...]:
    """As many as open it; none where nobody here can read them, or nobody needs to."""
    if seal.automatic or wish.pgp_keys:
        return ()
    return tuple(contents(wish, seal, answer).values())[: wish.threshold]


def _key_name(wish: Wish, seal: Seal, number: int) -> str:
    return f"{'recovery' if seal.automatic else 'unseal'}-key-{number}{'.pgp' * bool(wish.pgp_keys)}"


def _token_name(wish: Wish) -> str:
    return f"root-token{'.pgp' * (wish.root_pgp_key is not None)}"
