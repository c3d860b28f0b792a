"""Obeys the machine's commands to Vault, each in a thread, and posts the answers."""

import queue
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, assert_never

from lessee.agent.machine.protocol import commands as cmd
from lessee.agent.machine.protocol import events as ev
from lessee.core.failures import Failure, Kind
from lessee.core.immutable import replace
from lessee.core.tokens import Token
from lessee.vault.auth.login import Clock, Grant, Method, look_up, renew
from lessee.vault.engines import kv, leases
from lessee.vault.transport import RequestFailedError, Transport

if TYPE_CHECKING:
    from lessee.vault.subscription import Subscription

READERS = 3
"""Threads that read: enough to keep a server busy from two cores."""
ISSUERS = 2
"""Threads that have something issued, which may take as long as the system behind Vault does."""
KEEPERS = 2
"""Threads that renew and revoke: neither reading nor issuing that hangs delays them."""


class Client:
    """Vault, as the machine of one identity sees it. Tokens' values rest here and in requests under way."""

    def __init__(self, transport: Transport, method: Method, post: Callable[[ev.Event], None], clock: Clock) -> None:
        """`post` takes events from any thread."""
        self._transport = transport
        self._method = method
        self._post = post
        self._clock = clock
        self._values: dict[str, str] = {}
        self.token = ""
        """The value of the one in use."""
        self._ours = True
        self._kept: Grant | None = None
        self._refused: tuple[bytes, Failure] | None = None
        self._grants: dict[int, Grant] = {}
        self._session = _Lane("session", 1, self._run)
        self._keepers = _Lane("keeper", KEEPERS, self._run)
        self._issuers = _Lane("issuer", ISSUERS, self._run)
        self._readers = _Lane("reader", READERS, self._run)
        self._reporter = _Lane("reporter", 1, self._run)

    @property
    def address(self) -> str:
        """The address in use."""
        return self._transport.address

    def subscribe(self, types: str) -> "Subscription":
        """Subscribe to these event types with the token in use, from any thread. Raises as `subscription.subscribe`."""
        from lessee.vault.subscription import subscribe  # noqa: PLC0415  # Few servers have it.

        return subscribe(self._transport, self.token, types)

    def obey(self, command: cmd.VaultCommand) -> None:
        """Start a request; its answer is posted."""
        match command:
            case cmd.Login() | cmd.RenewToken() | cmd.LookUpToken():
                self._session.put(command)
            case cmd.RenewLease() | cmd.LookUpLease() | cmd.RevokeLease() | cmd.RevokeToken():
                self._keepers.put(command)
            case cmd.IssueSecret():
                self._issuers.put(command)
            case cmd.ReportVersions():
                self._reporter.put(command)
            case _:
                self._readers.put(command)

    def abandon(self, call: int) -> None:
        """Do not wait for a call; should it hang, another thread takes the place of its own."""
        for lane in self._lanes:
            lane.abandon(call)
        self._grants.pop(call, None)

    def close(self) -> None:
        """Ask nothing more; what is under way ends as it may, and nobody hears of it."""
        self._post = lambda _event: None
        for lane in self._lanes:
            lane.close()
        self._transport.close()

    def keep(self, tokens: Sequence[tuple[Token, str]]) -> None:
        """Tokens of an earlier life, the oldest first: the first login may adopt the last one."""
        for token, value in tokens:
            self._values[token.id] = value
            self._kept = Grant(value, token)

    def accept(self, call: int) -> str:
        """Use the token that this login gave, and tell its value, to be kept."""
        grant = self._grants.pop(call)
        self.token, self._ours = grant.value, grant.token.ours
        self._values[grant.token.id] = grant.value
        return grant.value

    def forget(self, token_id: str) -> None:
        """The token with this id is not needed any more."""
        self._values.pop(token_id, None)

    @property
    def _lanes(self) -> "tuple[_Lane, ...]":
        return self._session, self._keepers, self._issuers, self._readers, self._reporter

    def _run(self, command: cmd.VaultCommand) -> None:
        try:
            event = self._answer(command)
        except RequestFailedError as exc:
            event = ev.RequestFailed(command.call, exc.failure, kv.deleted(exc))
        except Exception as exc:  # noqa: BLE001  # A thread that ends silently would be a lost answer.
            failure = Failure(Kind.UNAVAILABLE, f"an answer was not understood ({type(exc).__name__})")
            event = ev.RequestFailed(command.call, failure)
        self._post(event)

    def _answer(self, command: cmd.VaultCommand) -> ev.Answer:
        match command:
            case cmd.Login() | cmd.RenewToken() | cmd.LookUpToken() | cmd.RevokeToken():
                return self._answer_session(command)
            case cmd.DetectKvVersion() | cmd.ListFolder() | cmd.ReadMetadata() | cmd.ReadSecret():
                return self._answer_reading(command)
            case cmd.ReportVersions():
                # Few apps read what is rotated.
                from lessee.vault.engines import consumers  # noqa: PLC0415

                consumers.say(self._transport, self.token, command)
                return ev.VersionsReported(command.call)
            case _:
                return self._answer_leases(command)

    def _answer_session(self, command: cmd.SessionCommand) -> ev.Answer:
        call = command.call
        match command:
            case cmd.Login():
                kept = None if command.fresh else self._adopt()
                grant = kept or self._login(if_changed=command.if_changed)
                self._grants[call] = grant
                return ev.LoggedIn(call, grant.token, kept=kept is not None)
            case cmd.RenewToken():
                return ev.TokenRenewed(call, renew(self._transport, self.token, self._clock, ours=self._ours))
            case cmd.LookUpToken():
                return ev.TokenRenewed(call, look_up(self._transport, self.token, self._clock, ours=self._ours))
            case cmd.RevokeToken():
                return self._revoke_token(command)
            case _:
                assert_never(command)

    def _answer_reading(self, command: cmd.ReadingCommand) -> ev.Answer:
        call, transport, token = command.call, self._transport, self.token
        match command:
            case cmd.DetectKvVersion():
                return ev.KvVersionDetected(call, kv.mount_version(transport, token, command.mount))
            case cmd.ListFolder():
                secrets = kv.list_folder(transport, token, command.folder, command.version, detailed=command.detailed)
                return ev.FolderListed(call, secrets)
            case cmd.ReadMetadata():
                return ev.MetadataRead(call, kv.look(transport, token, command.ref))
            case cmd.ReadSecret():
                return ev.SecretRead(call, kv.read(transport, token, command.ref, command.version))
            case _:
                assert_never(command)

    def _answer_leases(self, command: cmd.LeaseCommand) -> ev.Answer:
        call, transport, token = command.call, self._transport, self.token
        match command:
            case cmd.IssueSecret():
                value = self._values[command.token]
                return ev.SecretIssued(call, leases.issue(transport, value, command.token, command.need, self._clock))
            case cmd.RenewLease():
                return ev.LeaseRenewed(call, *leases.renew(transport, token, command.lease_id, self._clock))
            case cmd.LookUpLease():
                return ev.LeaseRenewed(call, *leases.look_up(transport, token, command.lease_id, self._clock))
            case cmd.RevokeLease():
                leases.revoke(transport, token, command.lease_id)
                return ev.Revoked(call)
            case _:
                assert_never(command)

    def _revoke_token(self, command: cmd.RevokeToken) -> ev.Revoked:
        try:
            leases.revoke_token(self._transport, self._values[command.token])
        except RequestFailedError as exc:
            if exc.failure.kind is not Kind.DENIED or exc.by_policy:
                raise  # else it is no more already
        return ev.Revoked(command.call)

    def _login(self, *, if_changed: bool) -> Grant:
        mark = self._method.mark()
        if if_changed and self._refused is not None and self._refused[0] == mark:
            raise RequestFailedError(self._refused[1])
        try:
            return self._method.login(self._transport, self._clock)
        except RequestFailedError as exc:
            self._refused = (mark, exc.failure)
            raise

    def _adopt(self) -> Grant | None:
        """The kept token, where it is still good."""
        if self._kept is None:
            return None
        kept = self._kept
        try:
            token = look_up(self._transport, kept.value, self._clock, ours=kept.token.ours)
        except RequestFailedError as exc:
            match exc.failure.kind:
                case Kind.UNSUPPORTED:
                    return kept  # it is valid, and may not tell us more
                case Kind.DENIED:
                    self._kept = None
                    return None
                case _:
                    raise
        if token.ttl:
            # It is as old as it is: what was due for it is due, however often the agent is started again.
            ttl = max(token.ttl, kept.token.ttl)
            token = replace(token, sent_at=token.ends_at - ttl, ttl=ttl)
        return replace(kept, token=replace(token, renewable=token.renewable and kept.token.renewable))


class _Lane:
    """A queue of commands and the threads that serve it, started when they are needed."""

    def __init__(self, name: str, limit: int, run: Callable[[cmd.VaultCommand], None]) -> None:
        self._name = name
        self._limit = limit
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
            self._open.add(command.call)
            self._queue.put(command)
            if self._idle < self._queue.qsize() and self._threads < self._limit:
                self._start()

    def abandon(self, call: int) -> None:
        with self._lock:
            if call not in self._open:
                return  # it is another lane's, or over
            self._abandoned.add(call)
            if call in self._busy:
                self._threads -= 1  # the hanging one ends when it comes back
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
                if self._is_over(command.call):
                    continue
                self._open.add(command.call)
                self._busy.add(command.call)
            self._run(command)
            with self._lock:
                self._busy.discard(command.call)
                if self._is_over(command.call):
                    return

    def _is_over(self, call: int) -> bool:
        """Take the call off the list; whether nobody waits for it any more."""
        self._open.discard(call)
        abandoned = call in self._abandoned
        self._abandoned.discard(call)
        return abandoned
