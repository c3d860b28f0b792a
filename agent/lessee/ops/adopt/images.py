"""Looks at the images of a project: the Engine's, the Dockerfiles', or what is known of their names.

It starts no program of an image, and pulls nothing.
"""

import io
import json
import os
import stat
import subprocess
import tarfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

from lessee.core.immutable import replace
from lessee.host.limited_command import run_limited
from lessee.ops.adopt.policy import dockerfile, known_images
from lessee.ops.adopt.policy.model import Image, Project, Service

_TIMEOUT = 30.0
_MOST_BYTES = 2**20
LABEL, STARTED = "lessee.adopt=probe", "lessee.adopt.started"
"""The labels of the containers: what they are, and when this program made them, in seconds of Unix time."""
_LEFTOVER_AGE = 600
"""Seconds. A run needs some seconds for one."""
_CONCURRENT = 4
_SHELLS = ("/bin/sh", "/bin/bash", "/busybox/sh")


def with_images(project: Project, folder: Path, environ: Mapping[str, str]) -> Project:
    """The project, whose services know their images. `folder` is the project's."""
    engine = _Engine(environ)
    different = {(service.image.reference, service.user): service for service in project.services.values()}
    # The time is that of starts of `docker`, which mostly wait for the Engine.
    with ThreadPoolExecutor(_CONCURRENT) as pool:
        found = dict(
            zip(different, pool.map(lambda one: _image_of(one, engine, folder), different.values()), strict=True)
        )
    services = {
        name: replace(service, image=found[service.image.reference, service.user])
        for name, service in project.services.items()
    }
    return replace(project, services=services)


def _image_of(service: Service, engine: "_Engine", folder: Path) -> Image:
    reference = service.image.reference
    found = engine.image(reference, service.user)
    if found is not None:
        return found
    if service.build_context is None:
        return known_images.image(reference)
    text = _dockerfile(folder / service.build_context / service.dockerfile)
    if text is None:
        return Image(reference)

    def base_of(base: str) -> Image:
        return engine.image(base, None) or known_images.image(base)

    return dockerfile.image_of(text, reference, base_of, target=service.build_target)


def _dockerfile(path: Path) -> str | None:
    """The begin of a Dockerfile; None if it is no regular file: a device has no end, and a FIFO waits."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        with os.fdopen(fd, "rb") as file:
            is_file = stat.S_ISREG(os.fstat(fd).st_mode)
            return file.read(_MOST_BYTES).decode(errors="replace") if is_file else None
    except (OSError, ValueError):
        return None


class _Engine:
    """The Engine's images, as its command line shows them; none if no Engine answers."""

    _looked_at: ClassVar[dict[tuple[str, str, str | None], Image]] = {}
    """What this process knows of images by reference, id and user: an id never means another content."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._answers = True
        self._answers = self._run("version", "--format", "{{.Server.Version}}") is not None
        self._remove_leftovers()

    def image(self, reference: str, user: str | None) -> Image | None:
        """An image that the Engine has; `user` as the service sets it."""
        output = self._run("image", "inspect", "--format", "{{.Id}} {{json .Config}}", "--", reference)
        if output is None:
            return None
        own_id, _, text = output.decode().partition(" ")
        key = (reference, own_id, user)
        found = self._looked_at.get(key) or self._look_at(reference, json.loads(text) or {}, user)
        if found.shell_path is not None:
            self._looked_at[key] = found
        return found

    def _look_at(self, reference: str, config: dict[str, Any], user: str | None) -> Image:
        found = Image(
            reference,
            entrypoint=tuple(config.get("Entrypoint") or ()),
            command=tuple(config.get("Cmd") or ()),
            user=config.get("User") or "",
            healthcheck=_test(config),
            stop_signal=config.get("StopSignal") or "",
        )
        return self._with_files(found, user)

    def _with_files(self, image: Image, user: str | None) -> Image:
        """With its shell, and the numbers of the user, both from files of a container that is never started."""
        labels = (f"--label={LABEL}", f"--label={STARTED}={int(time.time())}")
        output = self._run("create", "--network=none", *labels, "--entrypoint=/", "--", image.reference)
        if output is None:
            return image
        container = output.decode().strip()
        try:
            shell = next((path for path in _SHELLS if self._has(container, path)), "")
            passwd, groups = (self._file(container, f"/etc/{name}") for name in ("passwd", "group"))
        finally:
            self._run("rm", "--force", "--volumes", container)
        uid, gid = known_images.numbers(user or image.user, passwd, groups)
        return replace(image, shell_path=shell, uid=uid, gid=gid, numbers_of=user or "")

    def _remove_leftovers(self) -> None:
        """Remove the containers of killed runs."""
        columns = '--format={{.ID}} {{.Label "' + STARTED + '"}}'
        output = self._run("ps", "--all", f"--filter=label={LABEL}", columns)
        for line in (output or b"").decode().splitlines():
            container, _, started = line.partition(" ")
            if not started.isdecimal() or int(started) < time.time() - _LEFTOVER_AGE:
                self._run("rm", "--force", "--volumes", container)

    def _has(self, container: str, path: str) -> bool:
        return self._run("cp", "--follow-link", f"{container}:{path}", "-") is not None

    def _file(self, container: str, path: str) -> str:
        output = self._run("cp", "--follow-link", f"{container}:{path}", "-")
        if output is None:
            return ""
        with tarfile.open(fileobj=io.BytesIO(output)) as archive:
            member = archive.next()
            file = archive.extractfile(member) if member is not None and member.isfile() else None
            return file.read(_MOST_BYTES).decode(errors="replace") if file is not None else ""

    def _run(self, *arguments: str) -> bytes | None:
        """The output of `docker …`; None if it fails."""
        if not self._answers:
            return None
        try:
            done = run_limited(("docker", *arguments), self._environ, timeout=_TIMEOUT)  # As the user's own `docker`.
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout if done.returncode == 0 else None


def _test(config: Mapping[str, Any]) -> tuple[str, ...]:
    test = tuple((config.get("Healthcheck") or {}).get("Test") or ())
    return () if test[:1] == ("NONE",) else test
