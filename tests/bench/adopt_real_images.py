"""Images under the names that a public Compose file uses, made without a registry: real stores, and small real apps."""

import json
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from e2e.engine import WITH_PYTHON, Engine
from e2e.postgres import _libraries_of
from support.servers.postgres import find_initdb

PARTS = Path(__file__).with_name("adopt_real")
BASE = "lessee-adopt-real-base"
PORT = 9999
"""Each app listens here, whatever else it does."""
_PACKAGES = (
    *(*WITH_PYTHON, "bash", "util-linux", "grep", "sed", "gawk", "procps", "curl", "hostname", "findutils"),
    *("postgresql", "mariadb-server", "redis-server", "redis-tools"),
    *("rabbitmq-server", "nginx"),
)
_IDS = {"postgres": (999, 999), "mysql": (999, 999), "redis": (999, 999), "rabbitmq": (999, 999)}
_ALPINE = {"postgres": (70, 70), "redis": (999, 1000), "rabbitmq": (100, 101)}
_STORES = (
    (r"postgres", "postgres"),
    (r"mariadb|mysql", "mysql"),
    (r"redis|valkey", "redis"),
    (r"rabbitmq", "rabbitmq"),
    (r"minio", "minio"),
    (r"nginx", "nginx"),
)
_HEAD = """\
FROM {base}
RUN printf '%s\\n' root:x:0:0::/root:/bin/sh www-data:x:33:33::/var/www:/bin/sh {user}:x:{uid}:{gid}::{home}:/bin/sh \\
        > /etc/passwd; \\
    printf '%s\\n' root:x:0: www-data:x:33: {user}:x:{gid}: > /etc/group; \\
    install -d -m 1777 /tmp; install -d /usr/local/bin /usr/local/lib; install -d -o {uid} -g {gid} {home}; \\
    for file in /usr/lib/postgresql/*/bin/*; do ln -sf "$file" /usr/local/bin/; done
"""
_STORE = {
    "postgres": """\
COPY --chmod=755 postgres.sh /usr/local/bin/docker-entrypoint.sh
COPY entrypoint.sh /usr/local/lib/entrypoint.sh
RUN install -d -o {uid} -g {gid} -m 0700 /var/lib/postgresql/data; install -d -m 3777 /var/run/postgresql; \\
    install -d /docker-entrypoint-initdb.d
ENV PGDATA=/var/lib/postgresql/data IDS={uid}:{gid}
VOLUME {volume}
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["postgres"]
STOPSIGNAL SIGINT
""",
    "mysql": """\
COPY --chmod=755 mariadb.sh /usr/local/bin/docker-entrypoint.sh
COPY entrypoint.sh /usr/local/lib/entrypoint.sh
RUN install -d -o {uid} -g {gid} /var/lib/mysql /run/mysqld; install -d /etc/mysql; \\
    ln -s /usr/bin/mariadb-admin /usr/local/bin/mysqladmin; ln -s /usr/bin/mariadb /usr/local/bin/mysql
ENV IDS={uid}:{gid}
VOLUME /var/lib/mysql
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["mariadbd"]
""",
    "redis": """\
COPY --chmod=755 redis.sh /usr/local/bin/docker-entrypoint.sh
COPY --chmod=755 redis-server.sh /usr/local/bin/redis-server
RUN ln -s redis-server /usr/local/bin/valkey-server; ln -s /usr/bin/redis-cli /usr/local/bin/valkey-cli; \\
    install -d -o {uid} -g {gid} /data
ENV IDS={uid}:{gid}
VOLUME /data
WORKDIR /data
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["redis-server"]
""",
    "rabbitmq": """\
COPY --chmod=755 rabbitmq.sh /usr/local/bin/docker-entrypoint.sh
RUN rm -rf /var/lib/rabbitmq /var/log/rabbitmq; \\
    install -d -o {uid} -g {gid} /var/lib/rabbitmq /var/log/rabbitmq /etc/rabbitmq; \\
    printf '%s' '{plugins}' > /etc/rabbitmq/enabled_plugins
ENV IDS={uid}:{gid}
VOLUME /var/lib/rabbitmq
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["rabbitmq-server"]
""",
    "minio": """\
COPY --chmod=755 weed /usr/local/bin/weed
COPY --chmod=755 minio.sh /usr/bin/docker-entrypoint.sh
COPY --chmod=755 mc.sh /usr/local/bin/mc
COPY entrypoint.sh /usr/local/lib/entrypoint.sh
RUN ln -s /usr/bin/docker-entrypoint.sh /usr/local/bin/minio
VOLUME /data
ENTRYPOINT ["/usr/bin/docker-entrypoint.sh"]
CMD ["minio"]
STOPSIGNAL SIGKILL
""",
    "nginx": """\
COPY nginx.conf /etc/nginx/nginx.conf
RUN install -d /run /etc/nginx/conf.d /var/log/nginx /var/lib/nginx; \\
    printf '#!/bin/sh\\nexec "$@"\\n' > /docker-entrypoint.sh; chmod 755 /docker-entrypoint.sh
ENTRYPOINT ["/docker-entrypoint.sh"]
CMD ["nginx", "-g", "daemon off;"]
STOPSIGNAL SIGQUIT
""",
}
_CHECK = 'HEALTHCHECK --interval=4s --timeout=30s --retries=60 CMD ["curl", "-fsS", "-o", "/dev/null", "http://127.0.0.1:PORT/"]'
_APP = """\
COPY app.py /usr/local/lib/app.py
COPY {settings} /etc/app.json
RUN printf '#!/usr/bin/python3\\n' | cat - /usr/local/lib/app.py > /usr/local/bin/app; chmod 755 /usr/local/bin/app; \\
    for name in {programs}; do install -d "$(dirname "$name")"; ln -s /usr/local/bin/app "$name"; done
WORKDIR {home}
USER {run_as}
{check}
ENTRYPOINT {entrypoint}
CMD {command}
"""


def kind_of(reference: str) -> str | None:
    """The kind of store, or nginx, that an image with this name has; None: an app."""
    name = reference.partition("@")[0].rpartition("/")[2].partition(":")[0]
    return next((kind for pattern, kind in _STORES if re.fullmatch(pattern, name)), None)


class RealImages:
    """Makes the images of a project on an Engine of the benchmark's own."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self._engine, self._folder = engine, folder
        folder.mkdir()
        for part in PARTS.iterdir():
            shutil.copy(part, folder)
        shutil.copy(Path(sys.executable).with_name("weed"), folder)
        engine.make_base(BASE, *_PACKAGES, *_libraries_of(find_initdb()))

    def make(self, reference: str, app: Mapping[str, Any] | None) -> None:
        """Make the image: a store by its name, or else an app with these settings."""
        if app is None:
            kind = kind_of(reference)
            assert kind is not None, f"adopt_real.toml says nothing of the image {reference}"
            text = self._store(reference, kind)
        else:
            text = self._app(app)
        (self._folder / "Dockerfile").write_text(text)
        self._engine.docker("build", "--quiet", "--network", "none", "--tag", reference, str(self._folder))

    def _store(self, reference: str, kind: str) -> str:
        is_alpine = "alpine" in reference.rpartition(":")[2]
        uid, gid = (_ALPINE if is_alpine and kind in _ALPINE else _IDS).get(kind, (1000, 1000))
        words = {"user": kind, "uid": uid, "gid": gid, "home": f"/home/{kind}"}
        version = re.search(r":(\d+)", reference)
        volume = "/var/lib/postgresql" if version and int(version[1]) >= 18 else "/var/lib/postgresql/data"
        plugins = "[rabbitmq_management]." if "management" in reference else "[]."
        return _HEAD.format(base=BASE, **words) + _STORE[kind].format(volume=volume, plugins=plugins, **words)

    def _app(self, app: Mapping[str, Any]) -> str:
        name, _, uid = app.get("user", "app:1000").partition(":")
        is_root = uid == "0"
        words = {"user": "app" if is_root else name, "uid": 1000 if is_root else uid}
        gid = app.get("gid", words["uid"])
        settings = {
            "logins": app.get("logins", []),
            "ports": [PORT, *app.get("ports", [])],
            "once": app.get("once", []),
            "files": app.get("files", []),
        }
        (self._folder / "settings.json").write_text(json.dumps(settings))
        home = f"/home/{words['user']}"
        return (_HEAD + _APP).format(
            base=BASE,
            **words,
            gid=gid,
            home=home,
            run_as="root" if is_root else name,
            check="HEALTHCHECK NONE" if app.get("once") else _CHECK.replace("PORT", str(PORT)),
            settings="settings.json",
            programs=" ".join(app.get("programs", ["/usr/local/bin/start"])),
            entrypoint=json.dumps(app.get("entrypoint", [])),
            command=json.dumps(app.get("command", ["app"])),
        )
