"""Entries of a real OpenLDAP, rotated by an entry that may write passwords and nothing else."""

import base64
import os
from contextlib import contextmanager

from support.servers.ldap_directory import ROTATOR, ROTATOR_PASSWORD, SERVICES, LdapDirectory

PASSWORD = "first-of-an-app"


class Entries:
    """One entry, whose userPassword has two values during the rotation."""

    server = "directory"
    calls = ("lessee.host.ldap_client:Directory.bind", "lessee.host.ldap_client:Directory.modify")
    min_calls = 12
    count = 1
    has_client = True
    """In the benchmark of kills an app logs in all the time."""

    def __init__(self, directory, **settings):
        """`settings`: more keys of the target."""
        self.directory = directory
        # A name with characters that LDIF and DNs treat in their own way.
        mark = os.urandom(4).hex()
        self.entries = [f"cn=shop {mark} {letter} ü#,{SERVICES}" for letter in "ab"[: self.count]]
        for dn in self.entries:
            directory.add_service(dn, PASSWORD if dn == self.entries[0] else os.urandom(16).hex())
        self.target = {
            "kind": "ldap",
            "secret": "directory/shop",
            "admin_secret": "directory/admin",
            "accounts": self.entries,
            **settings,
        }

    @classmethod
    @contextmanager
    def started(cls, folder):
        with LdapDirectory(folder) as directory:
            yield lambda: cls(directory)

    def secrets(self):
        return {
            "directory/shop": {"url": self.directory.url, "dn": self.entries[0], "password": PASSWORD},
            "directory/admin": {"url": self.directory.url, "dn": ROTATOR, "password": ROTATOR_PASSWORD},
        }

    def accepts(self, fields):
        return self.directory.can_log_in(fields["dn"], fields["password"])

    def values(self, dn=None):
        """The stored values of an entry."""
        return {base64.b64decode(value) for value in self.directory.values(dn or self.entries[0])}

    def orphans(self, fields):
        """All values but one: the published password is accepted, so it has that one."""
        return set(sorted(self.values(fields["dn"]))[1:])

    def old_is_revoked(self, fields):
        return not self.accepts(fields)


class TwoEntries(Entries):
    """Two entries that alternate."""

    min_calls = 12
    count = 2

    def __init__(self, directory, **settings):
        super().__init__(directory, **settings)
        self.passwords = {self.entries[0]: {PASSWORD}, self.entries[1]: set()}

    def orphans(self, fields):
        """Published passwords that are still accepted, except the newest, and second values."""
        self.passwords[fields["dn"]].add(fields["password"])
        known = [(dn, password) for dn in self.entries for password in sorted(self.passwords[dn])]
        found = {(dn, password) for dn, password in known if self.directory.can_log_in(dn, password)}
        found |= {(dn, value) for dn in self.entries for value in sorted(self.values(dn))[1:]}
        return found - {(fields["dn"], fields["password"])}
