"""Runs the child of `lessee exec`, as process.supervision decides."""

import signal
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, assert_never

from lessee.config import Restart
from lessee.host.procfs import ProcessIdentity
from lessee.mcp.session import actions as mcp
from lessee.process import supervision as sup
from lessee.process.child import Child, StartError, User
from lessee.process.hardening import InheritedLimits
from lessee.process.spawn import reap_orphans
from lessee.telemetry.logs import log

if TYPE_CHECKING:
    from lessee.mcp.relay import Relay

STOP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT})
"""Signals that stop the child, and lessee with it."""
END_OF_INPUT_TIMEOUT = 1.0
"""Seconds in which an MCP server may exit at the end of its input, before it gets SIGTERM."""
CLIENT_CLOSED = sup.ClientDisconnected(stop_grace_period=1.0, linger=3.0)
"""How an MCP server stops after its client disconnected. Clients kill after two seconds or so."""
DEFAULT_RESTART = Restart(max_attempts=5, window=60.0)
"""The restart policy of an MCP server that has answered once, if the configuration has none."""


class Owner(Protocol):
    """The agent, as its supervisor calls it."""

    def wake(self) -> None:
        """Run the loop once; signal handlers may call it."""
        ...

    def start_rollback(self) -> bool:
        """The child has failed. Whether the generation with which it was started is rolled back because of that."""
        ...


class ChildSupervisor:
    """Belongs to the thread of the loop, which calls `update` in each iteration, and by `wake_at` at the latest."""

    def __init__(
        self,
        command: Sequence[str],
        base_environment: Callable[[], Mapping[str, str]],
        *,
        inherited: InheritedLimits,
        restart: Restart | None,
        user: User | None = None,
        respawns: bool = False,
    ) -> None:
        """`base_environment` returns the child's environment except for `env_template`; `user` is the child's.

        `respawns`: the child is an MCP server at this process's stdin and stdout, whose client does not notice a
        restart.
        """
        self.environ: Mapping[str, str] | None = None
        """The rendered part of the next child's environment; None if nothing is rendered."""
        self.owner: Owner | None = None
        self.child_started_at = float("-inf")
        """When the last child was started, on CLOCK_BOOTTIME: it has read the files of that moment."""
        self._command = tuple(command)
        self._base_environment = base_environment
        self._inherited = inherited
        self._user = user
        self._state = sup.Supervision(restart)
        self._child: Child | None = None
        self._inbox: deque[sup.Event | mcp.ServerEvent | int] = deque()
        self._has_sigchld = False
        self._on_restarted: list[Callable[[str], None]] = []
        self._stop_grace_period = 0.0
        self._stop_signal: int = signal.SIGTERM
        self._starts = 0
        self._relay = self._new_relay() if respawns else None

    # What signal handlers may call.

    def forward(self, number: int) -> None:
        """Send the child a signal that this process received."""
        self._inbox.append(number)
        self._wake()

    def on_sigchld(self) -> None:
        """A child of this process, or an orphan, has exited or was stopped."""
        self._has_sigchld = True
        self._wake()

    # What the loop's thread calls.

    @property
    def child(self) -> ProcessIdentity | None:
        """The running child."""
        return ProcessIdentity(self._child.pid, self._child.started) if self._child is not None else None

    @property
    def has_started(self) -> bool:
        """Whether a child runs, or has run."""
        return not isinstance(self._state.phase, sup.Idle)

    @property
    def wake_at(self) -> float:
        """When `update` has something to do, on CLOCK_BOOTTIME."""
        return sup.wake_at(self._state)

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment of the next child."""
        return {**self._base_environment(), **(self.environ or {})}

    @property
    def respawns(self) -> bool:
        """Whether the child is an MCP server whose client does not notice a restart."""
        return self._relay is not None

    def start(self) -> None:
        """Start the child with the next update."""
        self._inbox.append(sup.StartRequested())

    def restart(
        self, stop_grace_period: float, restarted: Callable[[str], None], stop_signal: int = signal.SIGTERM
    ) -> None:
        """Restart the child, and call `restarted` with a description when it runs; never within this call.

        The child gets `stop_signal`, and its process group SIGKILL after the grace period. Before that, an MCP server
        has the same time to answer its pending requests.
        """
        self._on_restarted.append(restarted)
        self._stop_signal = stop_signal
        if self._relay is None:
            self._inbox.append(sup.RestartRequested(stop_grace_period))
        else:
            self._stop_grace_period = stop_grace_period
            self._relay.drain(stop_grace_period)

    def update(self, now: float) -> int | None:
        """Handle what has happened. Returns the exit code when supervision has ended."""
        if self._has_sigchld:
            self._has_sigchld = False
            reap_orphans()
        while self._inbox:
            message = self._inbox.popleft()
            if isinstance(message, int):
                self._handle_signal(message, now)
            elif isinstance(message, mcp.ServerEvent):
                self._handle_server_event(message, now)
            else:
                self._take(message, now)
        if self._child is not None and (code := self._child.poll()) is not None:
            self._take(sup.Exited(code, rolls_back=code != 0 and self._start_rollback()), now)
        self._take(sup.Tick(), now)
        if not isinstance(self._state.phase, sup.Finished):
            return None
        if self._relay is not None:
            self._relay.finish()
        return self._state.phase.code

    def _wake(self) -> None:
        if self.owner is not None:
            self.owner.wake()

    def _start_rollback(self) -> bool:
        return self.owner is not None and self.owner.start_rollback()

    def _new_relay(self) -> "Relay":
        # Only MCP servers need it.
        from lessee.mcp.relay import Relay  # noqa: PLC0415

        def post(event: mcp.ServerEvent | mcp.ClientClosed) -> None:
            self._inbox.append(event if isinstance(event, mcp.ServerEvent) else CLIENT_CLOSED)
            self._wake()

        return Relay(post)

    def _handle_server_event(self, message: mcp.ServerEvent, now: float) -> None:
        """The relay reports on a server, which may have been replaced meanwhile."""
        is_current = message.server == self._starts
        match message.event:
            case mcp.ServerResponded():
                self._take(sup.FirstResponse(DEFAULT_RESTART), now)
            case mcp.Drained():
                if self._on_restarted and is_current:
                    self._take(sup.RestartRequested(self._stop_grace_period, END_OF_INPUT_TIMEOUT), now)
            case mcp.ServerUnusable(why):
                log("error", "mcp server killed", reason=why)
                if self._child is not None and is_current:
                    self._child.kill()
            case _:
                assert_never(message.event)

    def _handle_signal(self, number: int, now: float) -> None:
        if self._child is not None:
            self._child.signal(number)
        if number in STOP_SIGNALS:
            self._take(sup.StopRequested(number), now)

    def _take(self, event: sup.Event, now: float) -> None:
        before = self._state
        self._state, actions = sup.step(before, event, now)
        _log_change(before, event, self._state, now)
        for action in actions:
            self._obey(action, now)

    def _obey(self, action: sup.Action, now: float) -> None:
        child = self._child
        if action is sup.Action.START:
            self._start_child(now)
            return
        assert child is not None
        match action:
            case sup.Action.CLOSE_INPUT:
                assert self._relay is not None
                self._relay.close_input()
            case sup.Action.TERMINATE:
                child.signal(self._stop_signal)
            case sup.Action.KILL:
                child.kill()
            case sup.Action.REAP:
                child.reap()
                self._child = None
                if self._relay is not None:
                    self._relay.detach()
            case _:
                assert_never(action)

    def _start_child(self, now: float) -> None:
        try:
            child = self._child = self._new_child()
        except StartError as exc:
            log("error", "child not started", reason=str(exc))
            self._take(sup.StartFailed(exc.exit_code), now)
            return
        self._starts += 1
        self.child_started_at = child.began
        log("info", "child started", pid=child.pid, command=self._command[0])
        callbacks, self._on_restarted = self._on_restarted, []
        for restarted in callbacks:
            restarted(f"restarted as pid {child.pid}")

    def _new_child(self) -> Child:
        if self._relay is None:
            return Child(self._command, self.environment, self._inherited, user=self._user)
        try:
            pipes = self._relay.pipes()
        except OSError as exc:
            raise StartError(self._command, exc) from None
        try:
            ends = (pipes.stdin, pipes.stdout)
            child = Child(self._command, self.environment, self._inherited, pipes=ends, user=self._user)
        except StartError:
            pipes.close()
            raise
        self._relay.attach(pipes)
        return child


def _log_change(before: sup.Supervision, event: sup.Event, after: sup.Supervision, now: float) -> None:
    match event, after.phase:
        case sup.Exited(code), sup.BackingOff(until):
            log("warning", "child failed", code=code, retry_in=round(until - now, 1))
        case sup.Exited(code), sup.AwaitingRollback():
            log("warning", "child failed", code=code, note="the previous generation is published again")
        case sup.Exited(code), sup.Finished(gave_up=True):
            log("error", "child failed too often", code=code, failures=len(before.failed_at) + 1)
        case sup.Exited(code), _:
            log("info", "child exited", code=code)
        case sup.ClientDisconnected(), sup.Stopping():
            log("info", "mcp client disconnected")
        case sup.RestartRequested(stop_grace_period), sup.Stopping() if before is not after:
            log("info", "child restart requested", stop_grace_period=stop_grace_period)
        case _:
            pass
