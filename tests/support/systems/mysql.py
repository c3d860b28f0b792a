"""Users of a real MariaDB, rotated by an admin that is not root."""

import json
import os
from contextlib import contextmanager
from hashlib import sha1

from lessee.host.mysql_client import account
from support.servers.mariadb import DATABASE, Mariadb

PASSWORD = "first-of-an-app"
ADMIN_PASSWORD = "first-of-an-admin"


class Users:
    """Two users that alternate; the next one gets the grants of the current one."""

    server = "mariadb"
    calls = ("pymysql.connections:Connection.connect", "pymysql.cursors:Cursor.execute")
    min_calls = 23
    count = 2
    has_client = True
    """In the benchmark of kills an app logs in all the time."""

    def __init__(self, mariadb, **settings):
        """`settings`: more keys of the target."""
        self.mariadb = mariadb
        # Names that SQL misreads unless they are quoted.
        mark = os.urandom(4).hex()
        self.users = [f"Shop {mark} {letter}'\"`\\%" for letter in "ab"[: self.count]]
        self.admin = f"admin {mark}"
        self.target = {
            "kind": "mysql",
            "secret": "database/mysql",
            "admin_secret": "database/admin",
            "users": self.users,
            **settings,
        }
        self._make()

    @classmethod
    @contextmanager
    def started(cls, folder):
        with Mariadb(folder) as mariadb:
            yield lambda: cls(mariadb)

    def secrets(self):
        where = {"host": "127.0.0.1", "port": self.mariadb.port}
        return {
            "database/mysql": {**where, "database": DATABASE, "username": self.users[0], "password": PASSWORD},
            "database/admin": {**where, "username": self.admin, "password": ADMIN_PASSWORD},
        }

    def connect(self, fields):
        """Connect as an app does."""
        return self.mariadb.connect(fields["username"], fields["password"], database=fields["database"])

    def accepts(self, fields):
        return self.mariadb.can_log_in(fields["username"], fields["password"])

    def grants(self, user):
        """The privileges of a user, without its name and its password."""
        shown = (text for (text,) in self.mariadb.sql(f"SHOW GRANTS FOR {account(user, '%')}"))
        return {text.replace(account(user, "%"), "USER").partition(" IDENTIFIED")[0] for text in shown}

    def orphans(self, fields):
        """Passwords other than the published one by which one of the users can log in."""
        published = (fields["username"], hash_of(fields["password"]))
        return {(user, stored) for user in self.users for stored in self._passwords(user)} - {published}

    def old_is_revoked(self, fields):
        return not self.accepts(fields)

    def _passwords(self, user):
        for (text,) in self.mariadb.sql("SELECT Priv FROM mysql.global_priv WHERE User = %s", user):
            found = json.loads(text)
            for method in [found, *found.get("auth_or", [])]:
                stored = method.get("authentication_string", "invalid")
                if stored != "invalid" and not found.get("account_locked"):
                    yield stored

    def _make(self):
        first, admin = account(self.users[0], "%"), account(self.admin, "%")
        self.mariadb.sql(f"CREATE USER {first} IDENTIFIED BY '{PASSWORD}'")
        self.mariadb.sql(f"GRANT SELECT, INSERT, UPDATE ON {DATABASE}.* TO {first}")
        self.mariadb.sql(f"CREATE USER {admin} IDENTIFIED BY '{ADMIN_PASSWORD}'")
        self.mariadb.sql(f"GRANT CREATE USER ON *.* TO {admin}")
        self.mariadb.sql(f"GRANT SELECT ON mysql.* TO {admin}")
        self.mariadb.sql(f"GRANT SELECT, INSERT, UPDATE ON {DATABASE}.* TO {admin} WITH GRANT OPTION")


class OneUser(Users):
    """One user, which has both passwords during the rotation."""

    min_calls = 18
    count = 1


class OwnUser(Users):
    """A user with all privileges, as an image makes it, with two accounts. It changes its own password."""

    min_calls = 18
    count = 1

    def _make(self):
        for host in ("%", "localhost"):
            named = account(self.users[0], host)
            self.mariadb.sql(f"CREATE USER {named} IDENTIFIED BY '{PASSWORD}'")
            self.mariadb.sql(f"GRANT ALL ON *.* TO {named} WITH GRANT OPTION")
        del self.target["admin_secret"]
        self.target["more_account_hosts"] = ["localhost", "127.0.0.1"]

    def secrets(self):
        return {path: fields for path, fields in super().secrets().items() if path == "database/mysql"}


def hash_of(password):
    """What MariaDB stores for a password."""
    inner = sha1(password.encode(), usedforsecurity=False).digest()
    return f"*{sha1(inner, usedforsecurity=False).hexdigest().upper()}"
