"""The shell commands by which clients use the server for development."""

import shlex
from collections.abc import Collection, Iterator

_OTHERS = ("BAO_ADDR", "BAO_CACERT", "BAO_NAMESPACE", "BAO_TOKEN", "VAULT_NAMESPACE", "VAULT_SKIP_VERIFY")
"""Variables of another server: `bao` prefers its own ones to VAULT_*."""


def export_lines(address: str, ca_file: str, token_file: str, exported: Collection[str]) -> Iterator[str]:
    """Lines for `eval`. The token is not in them: the shell reads its file, so that no history and no screen has it.

    `exported`: the names of the variables that the shell exports now.
    """
    yield f"export VAULT_ADDR={shlex.quote(address)}"
    yield f"export VAULT_CACERT={shlex.quote(ca_file)}"
    yield f'export VAULT_TOKEN="$(cat {shlex.quote(token_file)})"'
    if others := [name for name in _OTHERS if name in exported]:
        yield f"unset {' '.join(others)}"
