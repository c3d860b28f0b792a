"""Users of a real RabbitMQ, rotated by an administrator of it."""

import os
from contextlib import contextmanager

import pika

from support.servers.rabbitmq import ADMIN, ADMIN_PASSWORD, Rabbitmq

PASSWORD = "first-of-an-app"


class BrokerUsers:
    """Users whose names have a suffix of their own; each gets the permissions of the one before."""

    server = "rabbitmq"
    calls = ("lessee.host.http_client:request", "lessee.host.amqp_login:log_in")
    min_calls = 18
    has_client = True
    """In the benchmark of kills an app logs in all the time."""
    settings = {}  # noqa: RUF012  # It is never changed.

    def __init__(self, rabbitmq, **settings):
        """`settings`: more keys of the target."""
        self.rabbitmq = rabbitmq
        # A name that a path misreads unless it is quoted.
        self.user = f"shop {os.urandom(4).hex()}/?%"
        self.target = {
            "kind": "rabbitmq",
            "secret": "queue/rabbitmq",
            "admin_secret": "queue/admin",
            "user": self.user,
            **self.settings,
            **settings,
        }
        rabbitmq.add_user(self.user, PASSWORD, "monitoring", **{"/": ("^shop\\.", ".*", ".*")})

    @classmethod
    @contextmanager
    def started(cls, folder):
        with Rabbitmq(folder) as rabbitmq:
            yield lambda: cls(rabbitmq)

    def secrets(self):
        where = {"host": "127.0.0.1", "port": self.rabbitmq.port}
        return {
            "queue/rabbitmq": {**where, "username": self.user, "password": PASSWORD},
            "queue/admin": {"url": self.rabbitmq.url, "username": ADMIN, "password": ADMIN_PASSWORD},
        }

    def connect(self, fields):
        """Connect as an app does, with the client that most apps in Python use."""
        login = pika.PlainCredentials(fields["username"], fields["password"])
        return pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", self.rabbitmq.port, "/", login))

    def accepts(self, fields):
        try:
            self.connect(fields).close()
        except pika.exceptions.ProbableAuthenticationError:
            return False
        return True

    def orphans(self, fields):
        found = self.rabbitmq.users().items()
        enabled = {name for name, user in found if name.startswith(self.user) and user["password_hash"]}
        return enabled - {fields["username"]}

    def old_is_revoked(self, fields):
        return not self.accepts(fields)


class OneUser(BrokerUsers):
    """One user, whose password is changed: the old password is invalid immediately."""

    min_calls = 10
    has_client = False
    settings = {"keep_name": True}  # noqa: RUF012  # It is never changed.


class OwnBrokerUser(OneUser):
    """One administrator, as an image makes it, which changes its own password."""

    def __init__(self, rabbitmq):
        super().__init__(rabbitmq)
        rabbitmq.add_user(self.user, PASSWORD, "administrator", **{"/": (".*", ".*", ".*")})
        del self.target["admin_secret"]

    def secrets(self):
        fields = super().secrets()["queue/rabbitmq"]
        return {"queue/rabbitmq": {**fields, "management_url": self.rabbitmq.url}}
