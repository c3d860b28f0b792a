"""Executes the machine's Vault commands in threads, and posts an event for each answer."""

import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, assert_never

from lessee.core.failures import Failure, Kind
from lessee.core.immutable import replace
from lessee.core.tokens import Token
from lessee.protocol import commands as cmd
from lessee.protocol import events as ev
from lessee.vault.auth.login import AuthMethod, Clock, Grant, TokenCheck, look_up, renew
from lessee.vault.engines import kv, leases
from lessee.vault.large_secrets import LargeSecrets
from lessee.vault.transport import RequestFailedError, Transport

if TYPE_CHECKING:
    from lessee.core.paths import Folder
    from lessee.vault.subscription import Subscription

READER_THREADS = 3
"""Threads for reads: enough to use two processor cores of a server."""
MAX_READER_THREADS = 8
"""Threads for reads from a server that is far away or slow: few enough for any server."""
SLOW_ANSWER = 0.05
"""Seconds. While reads take longer and others wait, each starts one more thread."""
ISSUER_THREADS = 2
"""Threads that issue dynamic secrets. An issue takes as long as the system behind Vault does."""
LEASE_THREADS = 2
"""Threads that renew and revoke leases, so that a hanging read or issue delays no renewal."""


Learn = Callable[[str, Iterable[object]], None]


class Client:
    """Vault for the machine of one identity. Only this object and the requests in progress hold token values."""

    def __init__(
        self,
        transport: Transport,
        method: AuthMethod,
        post: Callable[[ev.Event], None],
        clock: Clock,
        learn: Learn = lambda _source, _values: None,
    ) -> None:
        """`post`: takes an event from any thread. `learn`: hides the values of a path, before they are posted."""
        self._transport = transport
        self._method = method
        self._post = post
        self._learn = learn
        self._clock = clock
        self._values: dict[str, str] = {}
        self.token = ""
        """The value of the token in use."""
        self._ours = True
        self._saved: Grant | None = None
        self._saved_check = TokenCheck()
        self._rejection: tuple[bytes, Failure] | None = None
        self._grants: dict[int, Grant] = {}
        self._large_secrets = LargeSecrets()
        self._listings: dict[tuple[Folder, bool], kv.Listing] = {}
        """The last listing of each folder, with metadata or without."""
        self._session_pool = WorkerPool("session", 1, self._run)
        self._lease_pool = WorkerPool("lease", LEASE_THREADS, self._run)
        self._issuer_pool = WorkerPool("issuer", ISSUER_THREADS, self._run)
        self._reader_pool = WorkerPool("reader", READER_THREADS, self._run, limit_if_slow=MAX_READER_THREADS)
        self._reporter_pool = WorkerPool("reporter", 1, self._run)

    @property
    def address(self) -> str:
        """The address in use."""
        return self._transport.address

    def log_in_by(self, method: AuthMethod, transport: Transport) -> None:
        """Use this auth method and transport from now on."""
        self._transport.close()
        self._method, self._transport, self._rejection = method, transport, None

    def subscribe(self, types: str) -> "Subscription":
        """Subscribe to these event types with the token in use, from any thread. Raises as `subscription.subscribe`."""
        from lessee.vault.subscription import subscribe  # noqa: PLC0415  # Few servers have it.

        return subscribe(self._transport, self.token, types)

    def obey(self, command: cmd.VaultCommand) -> None:
        """Start a request; a thread posts its answer."""
        match command:
            case cmd.Login() | cmd.RenewToken() | cmd.LookUpToken():
                self._session_pool.put(command)
            case cmd.RenewLease() | cmd.LookUpLease() | cmd.RevokeLease() | cmd.RevokeToken():
                self._lease_pool.put(command)
            case cmd.IssueSecret():
                self._issuer_pool.put(command)
            case cmd.ReportVersions():
                self._reporter_pool.put(command)
            case _:
                self._reader_pool.put(command)

    def abandon(self, request_id: int) -> None:
        """Stop waiting for a request. If it hangs, a new thread replaces its thread."""
        for pool in self._pools:
            pool.abandon(request_id)
        self._grants.pop(request_id, None)

    def close(self) -> None:
        """Send no further request. Answers to requests in progress are dropped."""
        self._post = lambda _event: None
        for pool in self._pools:
            pool.close()
        self._transport.close()

    def restore_tokens(self, tokens: Sequence[tuple[Token, str]]) -> None:
        """Take over the tokens of an earlier run, the oldest first. The first login may reuse the last one."""
        for token, value in tokens:
            self._values[token.id] = value
            self._saved = Grant(value, token)

    def use_login(self, request_id: int) -> str:
        """Use the token from this login, and return its value, so that the caller can save it."""
        grant = self._grants.pop(request_id)
        self.token, self._ours = grant.value, grant.token.ours
        self._values[grant.token.id] = grant.value
        return grant.value

    def forget_token(self, token_id: str) -> None:
        """Drop the value of the token with this id."""
        self._values.pop(token_id, None)

    @property
    def _pools(self) -> "tuple[WorkerPool, ...]":
        return self._session_pool, self._lease_pool, self._issuer_pool, self._reader_pool, self._reporter_pool

    def _run(self, command: cmd.VaultCommand) -> None:
        try:
            event = self._answer(command)
        except RequestFailedError as exc:
            event = ev.RequestFailed(command.request_id, exc.failure, kv.deleted_version(exc))
        except Exception as exc:  # noqa: BLE001  # A thread that ends without an event would lose the answer.
            failure = Failure(Kind.UNAVAILABLE, f"the agent cannot parse an answer ({type(exc).__name__})")
            event = ev.RequestFailed(command.request_id, failure)
        self._post(event)

    def _answer(self, command: cmd.VaultCommand) -> ev.Answer:
        match command:
            case cmd.Login() | cmd.RenewToken() | cmd.LookUpToken() | cmd.RevokeToken():
                return self._answer_session(command)
            case cmd.DetectKvVersion() | cmd.ListFolder() | cmd.ReadMetadata() | cmd.ReadSecret():
                return self._answer_reading(command)
            case cmd.ReportVersions():
                # Few apps read rotated secrets.
                from lessee.vault.engines import consumers  # noqa: PLC0415

                consumers.report_versions(self._transport, self.token, command)
                return ev.VersionsReported(command.request_id)
            case _:
                return self._answer_leases(command)

    def _answer_session(self, command: cmd.SessionCommand) -> ev.Answer:
        request_id = command.request_id
        match command:
            case cmd.Login():
                saved = None if command.fresh else self._reuse_saved_token()
                grant = saved or self._login(if_changed=command.if_changed)
                self._grants[request_id] = grant
                return ev.LoggedIn(request_id, grant.token, reused=saved is not None)
            case cmd.RenewToken():
                return ev.TokenRenewed(request_id, renew(self._transport, self.token, self._clock, ours=self._ours))
            case cmd.LookUpToken():
                return ev.TokenRenewed(request_id, look_up(self._transport, self.token, self._clock, ours=self._ours))
            case cmd.RevokeToken():
                return self._revoke_token(command)
            case _:
                assert_never(command)

    def _answer_reading(self, command: cmd.ReadingCommand) -> ev.Answer:
        request_id, transport, token = command.request_id, self._transport, self.token
        match command:
            case cmd.DetectKvVersion():
                return ev.KvVersionDetected(request_id, kv.detect_version(transport, token, command.mount))
            case cmd.ListFolder():
                return ev.FolderListed(request_id, self._list(command).secrets)
            case cmd.ReadMetadata():
                return ev.MetadataRead(request_id, kv.read_metadata(transport, token, command.ref))
            case cmd.ReadSecret():
                secret = kv.read(transport, token, command.ref, command.version)
                self._large_secrets.hold(command.ref, secret)
                # In this thread, because a large value takes a while.
                self._learn(str(command.ref), secret.data.values())
                return ev.SecretRead(request_id, secret)
            case _:
                assert_never(command)

    def _list(self, command: cmd.ListFolder) -> kv.Listing:
        # The machine compares nothing if it gets the same object again.
        key = (command.folder, command.detailed)
        last = self._listings.get(key)
        listing = self._listings[key] = kv.list_folder(
            self._transport, self.token, command.folder, command.version, detailed=command.detailed, last=last
        )
        return listing

    def _answer_leases(self, command: cmd.LeaseCommand) -> ev.Answer:
        request_id, transport, token = command.request_id, self._transport, self.token
        match command:
            case cmd.IssueSecret():
                value = self._values[command.token]
                lease = leases.issue(transport, value, command.token, command.need, self._clock, inputs=command.inputs)
                self._learn(str(lease.need), lease.secret.data.values())
                return ev.SecretIssued(request_id, lease)
            case cmd.RenewLease():
                return ev.LeaseRenewed(request_id, *leases.renew(transport, token, command.lease_id, self._clock))
            case cmd.LookUpLease():
                return ev.LeaseRenewed(request_id, *leases.look_up(transport, token, command.lease_id, self._clock))
            case cmd.RevokeLease():
                leases.revoke(transport, token, command.lease_id)
                return ev.Revoked(request_id)
            case _:
                assert_never(command)

    def _revoke_token(self, command: cmd.RevokeToken) -> ev.Revoked:
        try:
            leases.revoke_token(self._transport, self._values[command.token])
        except RequestFailedError as exc:
            if exc.failure.kind is not Kind.DENIED or exc.by_policy:
                raise  # Any other denial means that the token has ended already.
        return ev.Revoked(command.request_id)

    def _login(self, *, if_changed: bool) -> Grant:
        fingerprint = self._method.fingerprint()
        if if_changed and self._rejection is not None and self._rejection[0] == fingerprint:
            raise RequestFailedError(self._rejection[1])
        try:
            return self._method.login(self._transport, self._clock)
        except RequestFailedError as exc:
            self._rejection = (fingerprint, exc.failure)
            raise

    def _reuse_saved_token(self) -> Grant | None:
        """The saved token if it is still valid."""
        if self._saved is None:
            return None
        saved = self._saved
        try:
            token = self._saved_check.check(self._transport, saved.value, self._clock, ours=saved.token.ours)
        except RequestFailedError as exc:
            match exc.failure.kind:
                case Kind.UNSUPPORTED:
                    return saved  # It is valid, but may not look itself up.
                case Kind.DENIED:
                    self._saved = None
                    return None
                case _:
                    raise
        if token.ttl:
            # Restarts do not postpone what is due for it: it counts from its first issue.
            ttl = max(token.ttl, saved.token.ttl)
            token = replace(token, sent_at=token.ends_at - ttl, ttl=ttl)
        return replace(saved, token=replace(token, renewable=token.renewable and saved.token.renewable))


class WorkerPool:
    """A queue of commands and its threads, which start on demand."""

    def __init__(
        self, name: str, limit: int, run: Callable[[cmd.VaultCommand], None], *, limit_if_slow: int = 0
    ) -> None:
        self._name = name
        self._limit = limit
        self._limit_if_slow = max(limit, limit_if_slow)
        self._run = run
        self._queue: queue.SimpleQueue[cmd.VaultCommand | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0
        self._threads = 0
        self._open: set[int] = set()
        self._busy: set[int] = set()
        self._abandoned: set[int] = set()

    def put(self, command: cmd.VaultCommand) -> None:
        with self._lock:
            self._open.add(command.request_id)
            self._queue.put(command)
            if self._idle < self._queue.qsize() and self._threads < self._limit:
                self._start()

    def abandon(self, request_id: int) -> None:
        with self._lock:
            if request_id not in self._open:
                return  # It belongs to another pool, or is done.
            self._abandoned.add(request_id)
            if request_id in self._busy:
                self._threads -= 1  # The hanging thread ends when its request does.
                if not self._queue.empty():
                    self._start()

    def close(self) -> None:
        for _ in range(self._threads):
            self._queue.put(None)

    def _start(self) -> None:
        self._threads += 1
        threading.Thread(target=self._serve, name=f"lessee-{self._name}", daemon=True).start()

    def _serve(self) -> None:
        while True:
            with self._lock:
                self._idle += 1
            command = self._queue.get()
            with self._lock:
                self._idle -= 1
                if command is None:
                    self._threads -= 1
                    return
                if self._finish(command.request_id):
                    continue
                self._open.add(command.request_id)
                self._busy.add(command.request_id)
            started_at = time.monotonic()
            self._run(command)
            with self._lock:
                is_slow = time.monotonic() - started_at > SLOW_ANSWER
                if is_slow and self._threads < self._limit_if_slow and not self._queue.empty():
                    self._start()
                self._busy.discard(command.request_id)
                if self._finish(command.request_id):
                    return

    def _finish(self, request_id: int) -> bool:
        """Forget the request, and return whether it was abandoned."""
        self._open.discard(request_id)
        abandoned = request_id in self._abandoned
        self._abandoned.discard(request_id)
        return abandoned
