"""`lessee setup --init` and `--unseal`: a new server's keys, into files of their own."""

import argparse
import os
import re
import sys
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from lessee.config import Vault
from lessee.core.errors import ConfigError, DeniedError, LesseeError
from lessee.host.project import find, read
from lessee.ops.setup.initialization import initialize, unseal, wait_until_active
from lessee.ops.setup.policy.initialization import InitOptions, check, public_key, seal_of
from lessee.process.hardening import make_private
from lessee.vault.admin import unauthenticated_client

_SHARES, _THRESHOLD = 5, 3
_KEY_FILE = re.compile(r"unseal-key-[0-9]+")


def run(arguments: argparse.Namespace) -> int:
    """Of a new server only the names of the files go to stdout, and what to do next to stderr."""
    make_private()
    environ = dict(os.environ)
    vault = read(find(arguments.config, environ), environ).vault
    if arguments.init is None:
        return _unseal(vault, environ, Path(arguments.unseal))
    options = _wish(arguments)
    folder = Path(arguments.init).absolute()
    _warn(vault, folder)
    with unauthenticated_client(vault, environ) as server:
        files, seal, keys = initialize(server, options, folder)
        print(*files, sep="\n", flush=True)
        if not seal.automatic and not keys:
            _tell(f"decrypt {options.threshold} keys (`base64 -d FILE | gpg -d`), give each to `bao operator unseal`")
            return 0
        if keys:
            unseal(server, keys)
        wait_until_active(server)
    _tell("it is unsealed and serves")
    token = "`base64 -d FILE | gpg -d`" if options.root_pgp_key else f"`cat {files[-1]}`"
    _tell(f"next: set $VAULT_TOKEN to what {token} prints, and run `lessee setup`; then keep each key elsewhere")
    return 0


def _wish(arguments: argparse.Namespace) -> InitOptions:
    pgp_keys = tuple(map(_pgp_key, arguments.pgp_key))
    shares = arguments.shares or len(pgp_keys) or _SHARES
    threshold = arguments.threshold or min(_THRESHOLD, shares)
    root = arguments.root_token_pgp_key
    options = InitOptions(shares, threshold, pgp_keys, _pgp_key(root) if root else None)
    check(options)
    return options


def _pgp_key(name: str) -> str:
    return public_key(_content(Path(name)), name)


def _unseal(vault: Vault, environ: dict[str, str], folder: Path) -> int:
    with unauthenticated_client(vault, environ) as server:
        seal = seal_of(server.seal_status().data)
        if not seal.initialized:
            raise DeniedError("it is not initialised", where=vault.address, todo="run `lessee setup --init DIR` first")
        if seal.sealed and not seal.automatic:
            keys = [_content(file).decode("latin-1").strip() for file in _key_files(folder)]
            if unseal(server, keys).sealed:
                what = f"{len(keys)} keys do not open it; it needs {seal.threshold}"
                raise DeniedError(what, where=str(folder), todo="are they this server's, and not encrypted?")
        wait_until_active(server)
    _tell("it is unsealed and serves")
    return 0


def _key_files(folder: Path) -> list[Path]:
    try:
        return sorted(file for file in folder.iterdir() if _KEY_FILE.fullmatch(file.name))
    except OSError as exc:
        raise _unreadable(folder, exc) from None


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as exc:
        raise _unreadable(file, exc) from None


def _unreadable(path: Path, exc: OSError) -> ConfigError:
    return ConfigError([LesseeError(f"cannot be read: {exc.strerror}", where=str(path))])


def _warn(vault: Vault, folder: Path) -> None:
    where = urlsplit(vault.address)
    if where.scheme == "http" and not _is_loopback(where.hostname or ""):
        _tell(f"warning: {vault.address} is not encrypted; whoever listens on the way gets all keys")
    if vault.addresses:
        _tell(f"{vault.address} alone is initialised; the other nodes join it (`retry_join`), and are unsealed each")
    if any((parent / ".git").exists() for parent in (folder, *folder.parents)):
        _tell(f"warning: {folder} lies in a git work tree; never commit it")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _tell(text: str) -> None:
    print(f"lessee: {text}", file=sys.stderr, flush=True)
