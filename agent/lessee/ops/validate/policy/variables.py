"""Public variables among the fields of secrets: what a frontend build writes into the files for every visitor."""

import re

from lessee.core.sensitive.names import is_sensitive

_FOR_VISITORS = frozenset({"anon", "browser", "publishable", "public", "site"})
"""Words in the names of keys that a provider makes for browsers, such as `VITE_SUPABASE_ANON_KEY`."""
_PUBLIC = re.compile(r"^(?:[A-Za-z0-9]+_)*?PUBLIC_")
"""`PUBLIC_` and `NEXT_PUBLIC_` say who reads the value, not what it is."""
_PLAIN = re.compile(r"true|false|yes|no|on|off|none|null|[0-9.]*|pk_(?:live|test)_.*", re.IGNORECASE | re.DOTALL)
"""Switches and numbers, and Stripe's publishable keys."""


def is_credential(variable: str) -> bool:
    """Whether a public variable is named like a credential that no visitor may have."""
    name = _PUBLIC.sub("", variable)
    words = re.findall(r"[a-z0-9]+", name.lower())
    return is_sensitive(name) and not (words[-1] == "key" and _FOR_VISITORS.intersection(words))


def may_be_public(value: str) -> bool:
    """Whether a value is no secret, whatever its name is."""
    return _PLAIN.fullmatch(value.strip()) is not None
