"""Obeys the machine's commands to Vault, each in a thread, and posts the answers."""

import queue
import threading
from collections.abc import Callable
from typing import assert_never

from lessee.core.machine import commands as cmd
from lessee.core.machine import events as ev
from lessee.core.machine.failures import Failure, Kind
from lessee.vault import kv
from lessee.vault.door import Door, RequestFailed
from lessee.vault.login import Clock, Grant, Method, look_up, renew

READERS = 3
"""Threads that read: enough to keep a server busy from two cores."""


class Client:
    """Vault, as the machine sees it. The token's value rests here and in requests under way."""

    def __init__(self, door: Door, method: Method, post: Callable[[ev.Event], None], clock: Clock) -> None:
        """`post` takes events from any thread."""
        self._door = door
        self._method = method
        self._post = post
        self._clock = clock
        self._token = ""
        self._kept: str | None = None
        self._refused: tuple[bytes, Failure] | None = None
        self._grants: dict[int, str] = {}
        # Two lanes, so that a hanging read delays no renewal.
        self._session = _Lane("session", 1, self._run)
        self._readers = _Lane("reader", READERS, self._run)

    def obey(self, command: cmd.VaultCommand) -> None:
        """Start a request; its answer is posted."""
        if isinstance(command, cmd.Login | cmd.RenewToken | cmd.CheckToken):
            self._session.put(command)
        else:
            self._readers.put(command)

    def abandon(self, call: int) -> None:
        """Do not wait for a call; should it hang, another thread takes the place of its own."""
        self._session.abandon(call)
        self._readers.abandon(call)
        self._grants.pop(call, None)

    def close(self) -> None:
        """Ask nothing more; what is under way ends as it may, and nobody hears of it."""
        self._post = lambda _event: None
        self._session.close()
        self._readers.close()
        self._door.close()

    def keep(self, token: str) -> None:
        """A token from an earlier life, which the first login may adopt."""
        self._kept = token

    def accept(self, call: int) -> str:
        """Use the token that this login gave, and tell its value, to be kept."""
        self._token = self._grants.pop(call)
        return self._token

    def _run(self, command: cmd.VaultCommand) -> None:
        try:
            event = self._answer(command)
        except RequestFailed as exc:
            event = ev.Failed(command.call, exc.failure, kv.deleted(exc))
        except Exception as exc:  # noqa: BLE001  # A thread that ends silently would be a lost answer.
            failure = Failure(Kind.WEATHER, f"an answer was not understood ({type(exc).__name__})")
            event = ev.Failed(command.call, failure)
        self._post(event)

    def _answer(self, command: cmd.VaultCommand) -> ev.Answer:
        call, door, token = command.call, self._door, self._token
        match command:
            case cmd.Login():
                kept = None if command.fresh else self._adopt()
                grant = kept or self._login(if_changed=command.if_changed)
                self._grants[call] = grant.value
                return ev.LoggedIn(call, grant.token, kept=kept is not None)
            case cmd.RenewToken():
                return ev.Renewed(call, renew(door, token, self._clock))
            case cmd.CheckToken():
                return ev.Renewed(call, look_up(door, token, self._clock))
            case cmd.FindMount():
                return ev.MountFound(call, kv.mount_version(door, token, command.mount))
            case cmd.ListFolder():
                markers = kv.list_folder(door, token, command.folder, command.version, detailed=command.detailed)
                return ev.Listed(call, markers)
            case cmd.LookAt():
                return ev.Looked(call, kv.look(door, token, command.ref))
            case cmd.ReadSecret():
                return ev.Read(call, kv.read(door, token, command.ref, command.version))
            case _:
                assert_never(command)

    def _login(self, *, if_changed: bool) -> Grant:
        mark = self._method.mark()
        if if_changed and self._refused is not None and self._refused[0] == mark:
            raise RequestFailed(self._refused[1])
        try:
            return self._method.login(self._door, self._clock)
        except RequestFailed as exc:
            self._refused = (mark, exc.failure)
            raise

    def _adopt(self) -> Grant | None:
        """The kept token, where it is still good."""
        if self._kept is None:
            return None
        try:
            return Grant(self._kept, look_up(self._door, self._kept, self._clock))
        except RequestFailed as exc:
            if exc.failure.kind is not Kind.DENIED:
                raise
            self._kept = None
            return None


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
