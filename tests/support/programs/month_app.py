"""An app of the month: it reads its env file at the start and at SIGHUP, and logs in to its systems all the time.

    month_app.py ENV_FILE PID_FILE JOURNAL

The journal has a JSON line for each failed login, and at SIGTERM one with the number of logins.
"""

import json
import os
import shlex
import signal
import sys
import time
from pathlib import Path

import psycopg
import redis

PAUSE = 0.1
"""Seconds between two logins."""


class App:
    def __init__(self, env_file, journal):
        self._file, self._journal = Path(env_file), Path(journal)
        self._logins = 0
        self._env = self._read()

    def run(self):
        while True:
            error = self._try(self._env)
            if error is not None:
                self._note(error=error)
            self._logins += 1
            time.sleep(PAUSE)

    def _try(self, env):
        try:
            log_in(env)
        except (psycopg.Error, redis.RedisError) as exc:
            if env is not self._env:  # It was notified during the login, as a pool would try again with the new ones.
                return self._try(self._env)
            return str(exc).strip().splitlines()[-1][:200]
        return None

    def reload(self, *_):
        self._env = self._read()

    def stop(self, *_):
        self._note(logins=self._logins)
        raise SystemExit(0)

    def _read(self):
        lines = (line.partition("=") for line in self._file.read_text().splitlines() if "=" in line)
        return {name: "".join(shlex.split(value)) for name, _, value in lines}

    def _note(self, **fields):
        with self._journal.open("a") as file:
            file.write(json.dumps({"at": time.time(), **fields}) + "\n")


def log_in(env):
    """Log in to what the file names."""
    if "POSTGRES_USER" in env:
        names = {"host": "HOST", "port": "PORT", "dbname": "DB", "user": "USER", "password": "PASSWORD"}
        psycopg.connect(**{key: env[f"POSTGRES_{name}"] for key, name in names.items()}).close()
    if "REDIS_USERNAME" in env:
        where = {"host": env["REDIS_HOST"], "port": int(env["REDIS_PORT"])}
        with redis.Redis(**where, username=env["REDIS_USERNAME"], password=env["REDIS_PASSWORD"]) as client:
            client.ping()


def main():
    env_file, pid_file, journal = sys.argv[1:]
    app = App(env_file, journal)
    signal.signal(signal.SIGHUP, app.reload)
    signal.signal(signal.SIGTERM, app.stop)
    Path(pid_file).write_text(f"{os.getpid()}\n")
    app.run()


if __name__ == "__main__":
    main()
