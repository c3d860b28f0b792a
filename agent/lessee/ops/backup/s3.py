"""Stores archives in an S3 bucket."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Self, cast

from lessee.config.grammar.backup import S3Bucket
from lessee.core.errors import ConfigError, LesseeError, WriteError
from lessee.host.answer_limits import broken_limit
from lessee.host.aws_client import limit_answers
from lessee.host.progress import SILENT, Progress
from lessee.ops.backup.encryption import CHUNK_SIZE
from lessee.ops.backup.policy.archive_format import ArchiveError

_MISSING = {"NoSuchKey", "404"}
_TIMEOUTS = (5.0, 60.0)
"""Seconds to connect, and for each read."""
_TIMEOUT = 60.0
"""Seconds for a request with its answer, beyond those that its bytes may take."""
_LOWEST_RATE = 1 << 14
"""Bytes per second at which archives are sent and fetched at least."""
_MAX_NAMES = 100_000
"""Objects below the prefix; their names are held in memory."""
_MAX_PAGES = 200
"""Of a list, each with up to 1,000 objects. A server may send empty ones."""


class S3Store:
    """A store of archives in a bucket, below a key prefix."""

    def __init__(self, config: S3Bucket, environ: Mapping[str, str], progress: Progress = SILENT) -> None:
        self._config = config
        self._environ = environ
        self._progress = progress

    @property
    def address(self) -> str:
        """Where its archives are, also if another server has a bucket of the same name."""
        return f"{self._config.endpoint or ''} {self.where('')}"

    def where(self, name: str) -> str:
        return f"s3://{self._config.bucket}/{self._config.prefix}{name}"

    def names(self) -> tuple[str, ...]:
        prefix, found, pages_left = self._config.prefix, [], _MAX_PAGES
        try:
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._config.bucket, Prefix=prefix)
            for page in pages:
                found += [item["Key"].removeprefix(prefix) for item in page.get("Contents", ())]
                pages_left -= 1
                if len(found) > _MAX_NAMES or not pages_left:
                    todo = "move what is no archive away, or set another prefix"
                    raise WriteError(
                        f"the bucket lists more than {_MAX_NAMES} objects", where=self.where(""), todo=todo
                    )
        except self._errors as exc:
            raise WriteError(f"cannot list the bucket: {_reason(exc)}", where=self.where("")) from None
        return tuple(found)

    def put(self, name: str, archive: IO[bytes]) -> None:
        """Store the archive and check its size. Raises WriteError."""
        size = archive.seek(0, os.SEEK_END)
        archive.seek(0)
        place = {"Bucket": self._config.bucket, "Key": self._config.prefix + name}
        try:
            self._progress.phase("storing the archive in the bucket", size, unit="bytes")
            self._client.put_object(**place, Body=_Sent(archive, self._progress), ContentLength=size)
            self._progress.done()
            stored = self._client.head_object(**place)["ContentLength"]
        except self._errors as exc:
            raise WriteError(f"cannot store the archive: {_reason(exc)}", where=self.where(name)) from None
        if stored != size:
            raise WriteError(f"only {stored} of {size} bytes were stored", where=self.where(name))

    def open(self, name: str) -> IO[bytes] | None:
        file = tempfile.TemporaryFile()  # noqa: SIM115  # The caller closes it.
        try:
            answer = self._client.get_object(Bucket=self._config.bucket, Key=self._config.prefix + name)
            self._check_size(answer, name)
            chunks, size = answer["Body"].iter_chunks(CHUNK_SIZE), answer["ContentLength"]
            for chunk in self._progress.track(chunks, "fetching the archive from the bucket", size, size=len):
                file.write(chunk)
        except self._errors as exc:
            file.close()
            if _reason(exc) in _MISSING:
                return None
            raise ArchiveError(f"cannot fetch the archive: {_reason(exc)}", where=self.where(name)) from None
        except BaseException:
            file.close()
            raise
        file.seek(0)
        return file

    def start(self, name: str) -> IO[bytes] | None:
        try:
            body = self._client.get_object(Bucket=self._config.bucket, Key=self._config.prefix + name)["Body"]
        except self._errors as exc:
            if _reason(exc) in _MISSING:
                return None
            raise ArchiveError(f"cannot fetch the archive: {_reason(exc)}", where=self.where(name)) from None
        return cast("IO[bytes]", _Body(body, self._errors, self.where(name)))

    def remove(self, name: str) -> None:
        try:
            self._client.delete_object(Bucket=self._config.bucket, Key=self._config.prefix + name)
        except self._errors as exc:
            raise WriteError(f"cannot remove the archive: {_reason(exc)}", where=self.where(name)) from None

    def _check_size(self, answer: Mapping[str, Any], name: str) -> None:
        """Raises ArchiveError unless the archive, in a temporary file, fits on the disk."""
        size, free = answer.get("ContentLength"), shutil.disk_usage(tempfile.gettempdir()).free
        if isinstance(size, int) and size <= free:
            return
        answer["Body"].close()
        if not isinstance(size, int):
            todo = "check that `endpoint` is an S3 server"
            raise ArchiveError("the server does not say how large the archive is", where=self.where(name), todo=todo)
        what, todo = f"the archive has {size} bytes, and {free} are free", f"make space in {tempfile.gettempdir()}"
        raise ArchiveError(what, where=self.where(name), todo=todo)

    @cached_property
    def _client(self) -> Any:
        core = _botocore()
        access = self._key(self._config.access_key_file, "AWS_ACCESS_KEY_ID", "access_key_file")
        secret = self._key(self._config.secret_key_file, "AWS_SECRET_ACCESS_KEY", "secret_key_file")
        connecting, reading = _TIMEOUTS
        try:
            client = core.session.Session().create_client(
                "s3",
                region_name=self._config.region,
                endpoint_url=self._config.endpoint,
                aws_access_key_id=access,
                aws_secret_access_key=secret,
                config=core.config.Config(
                    connect_timeout=connecting,
                    read_timeout=reading,
                    retries={"max_attempts": 2},
                    s3={"addressing_style": "path" if self._config.endpoint else "auto"},
                ),
            )
        except (core.exceptions.BotoCoreError, ValueError):
            raise _config_error("the endpoint or the region is invalid", "backup.s3") from None
        return limit_answers(client, seconds=_TIMEOUT, timeouts=_TIMEOUTS, rate=_LOWEST_RATE, extra="backup")

    @property
    def _errors(self) -> tuple[type[Exception], ...]:
        core = _botocore()
        errors = core.exceptions
        return errors.BotoCoreError, errors.ClientError, core.parsers.ResponseParserError, OSError

    def _key(self, file: str | None, variable: str, name: str) -> str:
        if file is None:
            value = self._environ.get(variable, "")
        else:
            try:
                value = Path(file).read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError):
                raise _config_error("cannot read the file", f"backup.s3.{name}") from None
        if not value.strip():
            raise _config_error("no key", f"backup.s3.{name}", f"name its file, or set ${variable}")
        return value.strip()


class _Sent:
    """A file that is sent. botocore may read it twice, and rewinds it before a retry."""

    def __init__(self, file: IO[bytes], progress: Progress) -> None:
        self._file, self._progress = file, progress
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        chunk = self._file.read(size)
        self._progress.reach(self._file.tell())
        return chunk


class _Body:
    """An object that is fetched as it is read; `close` leaves the rest."""

    def __init__(self, body: Any, errors: tuple[type[Exception], ...], where: str) -> None:
        self._body, self._errors, self._where = body, errors, where

    def read(self, size: int) -> bytes:
        try:
            return bytes(self._body.read(size))
        except self._errors as exc:
            raise ArchiveError(f"cannot fetch the archive: {_reason(exc)}", where=self._where) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._body.close()


def _botocore() -> Any:
    try:
        import botocore.config  # noqa: PLC0415  # An extra that takes half a second to import.
        import botocore.exceptions  # noqa: PLC0415
        import botocore.parsers  # noqa: PLC0415
        import botocore.session  # noqa: PLC0415
    except ImportError:
        raise LesseeError("botocore is not installed", todo="install it with `pip install 'lessee[backup]'`") from None
    return botocore


def _reason(exc: Exception) -> str:
    """The limit that an answer broke, or the error's code only: the server's text may repeat the request."""
    if broken := broken_limit(exc):
        return broken
    response = getattr(exc, "response", None)
    return str(response["Error"].get("Code")) if response else type(exc).__name__


def _config_error(what: str, where: str, todo: str = "") -> ConfigError:
    return ConfigError([LesseeError(what, where=where, todo=todo)])
