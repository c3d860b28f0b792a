"""`lessee setup --init` and `--unseal`: initializes or unseals a server, with its keys in files."""

import argparse
import os
import re
import sys
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from lessee.config import Vault
from lessee.core.errors import ConfigError, DeniedError, LesseeError
from lessee.core.printable import counted
from lessee.host.project import find, read
from lessee.ops.setup.initialization import initialize, unseal, wait_until_active
from lessee.ops.setup.policy.initialization import InitOptions, check, public_key, seal_of
from lessee.process.hardening import harden
from lessee.vault.admin import unauthenticated_client

_SHARES, _THRESHOLD = 5, 3
_KEY_FILE = re.compile(r"unseal-key-[0-9]+")


def run(arguments: argparse.Namespace) -> int:
    """Prints the key files to stdout, and the next steps to stderr."""
    harden()
    environ = dict(os.environ)
    vault = read(find(arguments.config, environ), environ).vault
    if arguments.init is None:
        return _unseal(vault, environ, Path(arguments.unseal))
    options = _init_options(arguments)
    folder = Path(arguments.init).absolute()
    _warn(vault, folder)
    with unauthenticated_client(vault, environ) as server:
        files, seal, keys = initialize(server, options, folder)
        print(*files, sep="\n", flush=True)
        if not seal.automatic and not keys:
            decrypt = "`base64 -d FILE | gpg -d`"
            _notice(f"next: decrypt {options.threshold} keys ({decrypt}), and pass each one to `bao operator unseal`")
            return 0
        if keys:
            unseal(server, keys)
        wait_until_active(server)
    _notice("the server is unsealed and active")
    token = "`base64 -d FILE | gpg -d`" if options.root_pgp_key else f"`cat {files[-1]}`"
    _notice(
        f"next: set $VAULT_TOKEN to the output of {token} and run `lessee setup`; then store each key in another place"
    )
    return 0


def _init_options(arguments: argparse.Namespace) -> InitOptions:
    pgp_keys = tuple(map(_pgp_key, arguments.pgp_key))
    shares = arguments.key_shares or len(pgp_keys) or _SHARES
    threshold = arguments.key_threshold or min(_THRESHOLD, shares)
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
            todo = "run `lessee setup --init DIR` first"
            raise DeniedError("the server is not initialized", where=vault.address, todo=todo)
        if seal.sealed and not seal.automatic:
            keys = [_content(file).decode("latin-1").strip() for file in _key_files(folder)]
            if unseal(server, keys).sealed:
                what = f"{counted(len(keys), 'key')} of this folder cannot unseal the server; it needs {seal.threshold}"
                todo = "check that they are this server's keys, and not encrypted"
                raise DeniedError(what, where=str(folder), todo=todo)
        wait_until_active(server)
    _notice("the server is unsealed and active")
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
        _notice(f"warning: the connection to {vault.address} is not encrypted; a listener on the network gets all keys")
    if vault.addresses:
        what = f"only {vault.address} is initialized; the other nodes join it (`retry_join`), and each must be unsealed"
        _notice(what)
    if any((parent / ".git").exists() for parent in (folder, *folder.parents)):
        _notice(f"warning: {folder} is in a git work tree; never commit it")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _notice(text: str) -> None:
    print(f"lessee: {text}", file=sys.stderr, flush=True)
