"""Executes the machine's commands with a source in the place of Vault, and posts an event for each answer.

The machine of a source is that of a login, so that a source has the same freshness, retries and outages as Vault: its
login has no token, and its paths are those of a KV v1 mount, whose changes are noticed by reading.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from lessee.config import Source
from lessee.config.grammar.sources import DirectorySource, ParameterStoreSource, SecretsManagerSource, SopsSource
from lessee.core.errors import LesseeError
from lessee.core.failures import Failure, Kind
from lessee.core.secrets import Secret
from lessee.core.tokens import Token
from lessee.protocol import commands as cmd
from lessee.protocol import events as ev
from lessee.sources.reader import ReadError, SourceReader
from lessee.vault.client import WorkerPool

THREADS = 3
"""Threads that read, so that a file or an answer that hangs holds up no other."""
_KV_WITHOUT_VERSIONS = 1


class SourceClient:
    """One source for the machine of one identity."""

    token = ""

    def __init__(
        self,
        source: Source,
        environ: Mapping[str, str],
        post: Callable[[ev.Event], None],
        clock: Callable[[], float],
        learn: Callable[[str, Iterable[object]], None],
    ) -> None:
        """The arguments are those of `vault.client.Client`."""
        self.address = source.address
        self._reader = reader_of(source, environ)
        self._post = post
        self._clock = clock
        self._learn = learn
        self._pool = WorkerPool("source", THREADS, self._run)

    def obey(self, command: cmd.VaultCommand) -> None:
        """Start a request; a thread posts its answer."""
        self._pool.put(command)

    def abandon(self, request_id: int) -> None:
        """Stop waiting for a request. If it hangs, a new thread replaces its thread."""
        self._pool.abandon(request_id)

    def close(self) -> None:
        """Read nothing more. Answers to requests in progress are dropped."""
        self._post = lambda _event: None
        self._pool.close()

    def restore_tokens(self, tokens: Sequence[tuple[Token, str]]) -> None:
        """A source has none."""

    def use_login(self, request_id: int) -> str:
        """A source has no token, whose value this would be."""
        del request_id
        return ""

    def forget_token(self, token_id: str) -> None:
        """A source has none."""

    def _run(self, command: cmd.VaultCommand) -> None:
        request_id = command.request_id
        try:
            event: ev.Event = self._answer(command)
        except ReadError as exc:
            event = ev.RequestFailed(request_id, exc.failure)
        except LesseeError as exc:
            event = ev.RequestFailed(request_id, Failure(Kind.INVALID, str(exc)))
        except Exception as exc:  # noqa: BLE001  # A thread that ends without an event would lose the answer.
            text = f"the source cannot be read ({type(exc).__name__})"
            event = ev.RequestFailed(request_id, Failure(Kind.UNAVAILABLE, text))
        self._post(event)

    def _answer(self, command: cmd.VaultCommand) -> ev.Event:
        request_id = command.request_id
        match command:
            case cmd.Login():
                self._reader.check()
                return ev.LoggedIn(request_id, self._login())
            case cmd.RenewToken() | cmd.LookUpToken():
                # This is the probe of an outage.
                self._reader.check()
                return ev.TokenRenewed(request_id, self._login())
            case cmd.DetectKvVersion():
                return ev.KvVersionDetected(request_id, _KV_WITHOUT_VERSIONS)
            case cmd.ListFolder():
                return ev.FolderListed(request_id, dict.fromkeys(self._reader.names(command.folder.path)))
            case cmd.ReadSecret():
                secret = Secret(self._reader.read(command.ref.path))
                # In this thread, because a large value takes a while.
                self._learn(str(command.ref), secret.data.values())
                return ev.SecretRead(request_id, secret)
            case _:
                return ev.RequestFailed(request_id, Failure(Kind.UNSUPPORTED, "a source is only read"))

    def _login(self) -> Token:
        return Token(accessor="", sent_at=self._clock(), ttl=0.0, renewable=False, id="source", ours=False)


def reader_of(source: Source, environ: Mapping[str, str]) -> SourceReader:
    """What reads this source. Each kind is imported only for a source of its own."""
    match source.settings:
        case DirectorySource(directory=directory):
            from lessee.sources.directory import DirectoryReader  # noqa: PLC0415

            return DirectoryReader(directory)
        case SopsSource(directory=directory, age_key_file=age_key_file):
            from lessee.sources.sops import SopsReader  # noqa: PLC0415

            return SopsReader(directory, age_key_file)
        case SecretsManagerSource() | ParameterStoreSource():
            from lessee.sources.aws import reader_of_service  # noqa: PLC0415

            return reader_of_service(source.settings, environ)
