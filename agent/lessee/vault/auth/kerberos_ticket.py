"""Proves a Kerberos principal: a ticket for Vault, which SPNEGO (RFC 4559) wraps."""

import base64
import ctypes
import secrets
from contextlib import suppress

from lessee.core.failures import Failure, Kind
from lessee.host.optional_dependencies import library
from lessee.vault.auth.login import check_readable
from lessee.vault.auth.proof import AUTHORIZATION, Proof
from lessee.vault.responses import RequestFailedError

EXTRA = "kerberos"
_SPNEGO = "1.3.6.1.5.5.2"
_TEMPORARY = frozenset({-1765328228, -1765328164})
"""KRB5_KDC_UNREACH and KRB5_REALM_CANT_RESOLVE: no KDC answers, or its name is unknown."""


def negotiate(*, username: str, service: str, realm: str, keytab_file: str) -> Proof:
    """A ticket that only the service can read. Raises RequestFailedError and LesseeError.

    $KRB5_CONFIG and DNS say where the KDC is. The cache of the tickets is in memory, and gone with the login: the keys
    of both may be new at the next one.
    """
    gssapi = library("gssapi", EXTRA)
    check_readable(keytab_file)  # GSSAPI's own error does not name the file.
    cache = f"MEMORY:{secrets.token_hex(8)}"
    principal = gssapi.NameType.kerberos_principal
    try:
        credentials = gssapi.Credentials(
            name=gssapi.Name(f"{username}@{realm}", principal),
            usage="initiate",
            store={"client_keytab": f"FILE:{keytab_file}", "ccache": cache},
        )
        context = gssapi.SecurityContext(
            name=gssapi.Name(f"{service}@{realm}", principal),
            creds=credentials,
            mech=gssapi.OID.from_int_seq(_SPNEGO),
            usage="initiate",
        )
        ticket = context.step()
    except gssapi.exceptions.GSSError as exc:
        code = exc.min_code if exc.min_code < 1 << 31 else exc.min_code - (1 << 32)
        kind = Kind.UNAVAILABLE if code in _TEMPORARY else Kind.DENIED
        text = f"no Kerberos ticket of {username} for {service} in {realm}, by {keytab_file}: {_reason(exc)}"
        raise RequestFailedError(Failure(kind, text)) from None
    finally:
        _destroy(cache)
    return {AUTHORIZATION: f"Negotiate {base64.b64encode(ticket).decode()}"}


def _reason(exc: Exception) -> str:
    """Kerberos' own text of the error, which names principals and files but holds no key."""
    return str(exc).rpartition("Minor (")[2].partition("):")[2].strip() or "GSSAPI gave no reason"


def _destroy(cache: str) -> None:
    """Remove a cache in memory. GSSAPI has no call for it, and libkrb5 keeps it as long as the process lives."""
    with suppress(OSError):  # Heimdal's library has another name.
        krb5 = ctypes.CDLL("libkrb5.so.3")
        context, handle = ctypes.c_void_p(), ctypes.c_void_p()
        if krb5.krb5_init_context(ctypes.byref(context)) == 0:
            if krb5.krb5_cc_resolve(context, cache.encode(), ctypes.byref(handle)) == 0:
                krb5.krb5_cc_destroy(context, handle)
            krb5.krb5_free_context(context)
