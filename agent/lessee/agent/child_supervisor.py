"""Runs the child of `lessee exec` as core/supervision decides."""

import signal
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, assert_never

from lessee.config import Restart
from lessee.host.procfs import ProcessIdentity
from lessee.mcp.session import actions as mcp
from lessee.process import supervision as sup
from lessee.process.child import Child, StartError
from lessee.process.hardening import InheritedLimits
from lessee.process.spawn import reap_orphans
from lessee.telemetry.logs import log

if TYPE_CHECKING:
    from lessee.mcp.relay import Relay

ENDING = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT})
"""Signals that are meant to end the child, and lessee with it."""
LINGER = 1.0
"""Seconds that a server at a pipe may take to end by the end of its input."""
LEFT = sup.ClientDisconnected(stop_grace_period=1.0, linger=3.0)
"""How a server ends whose client has hung up. Clients wait for two seconds or so, and then they kill."""
CRASHES = Restart(max_attempts=5, window=60.0)
"""How often a server that has once answered, and fails, is started again, where the configuration does not say."""


class Supervisor:
    """Owned by the thread of the loop, which calls `turn` in each turn, and at `wake_at` at the latest."""

    def __init__(
        self,
        command: Sequence[str],
        base: Callable[[], Mapping[str, str]],
        *,
        before: InheritedLimits,
        restart: Restart | None,
        respawns: bool = False,
    ) -> None:
        """`base` gives the child's environment except for `env_template`.

        `respawns`: the child is an MCP server at our stdin and stdout, whose client sees nothing of a restart.
        """
        self.environ: Mapping[str, str] | None = None
        """The rendered part of the next child's environment; None where nothing was rendered."""
        self.wake: Callable[[], None] = lambda: None
        """Has the loop turn; signal handlers call it."""
        self.goes_back: Callable[[], bool] = lambda: False
        """Asked where the child has failed: whether what it was started with is taken back because of that."""
        self.began = float("-inf")
        """When the last child was started, on CLOCK_BOOTTIME: it found what was there then."""
        self._command = tuple(command)
        self._base = base
        self._before = before
        self._state = sup.Supervision(restart)
        self._child: Child | None = None
        self._mail: deque[sup.Event | mcp.ServerEvent | int] = deque()
        self._look = False
        self._told: list[Callable[[str], None]] = []
        self._grace = 0.0
        self._started = 0
        self._relay = self._relayed() if respawns else None

    # What signal handlers may call.

    def forward(self, number: int) -> None:
        """Send the child a signal that we were sent."""
        self._mail.append(number)
        self.wake()

    def look(self) -> None:
        """A child of ours, or an orphan, has ended or was stopped."""
        self._look = True
        self.wake()

    # What the loop's thread calls.

    @property
    def child(self) -> ProcessIdentity | None:
        """The child that runs."""
        return ProcessIdentity(self._child.pid, self._child.started) if self._child is not None else None

    @property
    def begun(self) -> bool:
        """Whether there is, or was, a child."""
        return not isinstance(self._state.phase, sup.Idle)

    @property
    def wake_at(self) -> float:
        """When `turn` will find something to do, on CLOCK_BOOTTIME."""
        return sup.wake_at(self._state)

    @property
    def environment(self) -> Mapping[str, str]:
        """What the next child will have."""
        return {**self._base(), **(self.environ or {})}

    def begin(self) -> None:
        """Start the child in the next turn."""
        self._mail.append(sup.StartRequested())

    def restart(self, grace: float, done: Callable[[str], None]) -> None:
        """Start the child anew, and call `done` with words when it runs; never within this call.

        It is sent SIGTERM, and all of its group SIGKILL `grace` seconds later. An MCP server has as long before that
        to answer what it was asked.
        """
        self._told.append(done)
        if self._relay is None:
            self._mail.append(sup.RestartRequested(grace))
        else:
            self._grace = grace
            self._relay.drain(grace)

    def turn(self, now: float) -> int | None:
        """Take what has happened, and act; the exit code when all is over."""
        if self._look:
            self._look = False
            reap_orphans()
        while self._mail:
            mail = self._mail.popleft()
            if isinstance(mail, int):
                self._pass_on(mail, now)
            elif isinstance(mail, mcp.ServerEvent):
                self._heard_of(mail, now)
            else:
                self._take(mail, now)
        if self._child is not None and (code := self._child.poll()) is not None:
            self._take(sup.Exited(code, rolls_back=code != 0 and self.goes_back()), now)
        self._take(sup.Tick(), now)
        if not isinstance(self._state.phase, sup.Finished):
            return None
        if self._relay is not None:
            self._relay.finish()
        return self._state.phase.code

    @property
    def respawns(self) -> bool:
        """Whether the child is an MCP server that is started anew unnoticed."""
        return self._relay is not None

    def _relayed(self) -> "Relay":
        # Wanted by few.
        from lessee.mcp.relay import Relay  # noqa: PLC0415

        def post(event: mcp.ServerEvent | mcp.ClientClosed) -> None:
            self._mail.append(event if isinstance(event, mcp.ServerEvent) else LEFT)
            self.wake()

        return Relay(post)

    def _heard_of(self, about: mcp.ServerEvent, now: float) -> None:
        """What the relay says of a server, which may be gone meanwhile."""
        match about.event:
            case mcp.ServerResponded():
                self._take(sup.FirstResponse(CRASHES), now)
            case mcp.Drained():
                if self._told and about.server == self._started:  # Else another has been started meanwhile.
                    self._take(sup.RestartRequested(self._grace, LINGER), now)
            case mcp.ServerUnusable(why):
                log("error", "server cannot be used", reason=why)
                if self._child is not None and about.server == self._started:
                    self._child.kill()
            case _:
                assert_never(about.event)

    def _pass_on(self, number: int, now: float) -> None:
        if self._child is not None:
            self._child.signal(number)
        if number in ENDING:
            self._take(sup.StopRequested(number), now)

    def _take(self, event: sup.Event, now: float) -> None:
        before = self._state
        self._state, actions = sup.step(before, event, now)
        _say(before, event, self._state, now)
        for action in actions:
            self._obey(action, now)

    def _obey(self, action: sup.Action, now: float) -> None:
        child = self._child
        if action is sup.Action.START:
            self._start(now)
            return
        assert child is not None
        match action:
            case sup.Action.CLOSE_INPUT:
                assert self._relay is not None
                self._relay.close_input()
            case sup.Action.TERMINATE:
                child.signal(signal.SIGTERM)
            case sup.Action.KILL:
                child.kill()
            case sup.Action.REAP:
                child.reap()
                self._child = None
                if self._relay is not None:
                    self._relay.detach()
            case _:
                assert_never(action)

    def _start(self, now: float) -> None:
        try:
            child = self._child = self._new_child()
        except StartError as exc:
            log("error", "child not started", reason=str(exc))
            self._take(sup.StartFailed(exc.exit_code), now)
            return
        self._started += 1
        self.began = child.began
        log("info", "child started", pid=child.pid, command=self._command[0])
        told, self._told = self._told, []
        for done in told:
            done(f"restarted as {child.pid}")

    def _new_child(self) -> Child:
        if self._relay is None:
            return Child(self._command, self.environment, self._before)
        try:
            pipes = self._relay.pipes()
        except OSError as exc:
            raise StartError(self._command, exc) from None
        try:
            child = Child(self._command, self.environment, self._before, pipes=(pipes.stdin, pipes.stdout))
        except StartError:
            pipes.close()
            raise
        self._relay.attach(pipes)
        return child


def _say(before: sup.Supervision, event: sup.Event, after: sup.Supervision, now: float) -> None:
    match event, after.phase:
        case sup.Exited(code), sup.BackingOff(until):
            log("warning", "child failed", code=code, again_in=round(until - now, 1))
        case sup.Exited(code), sup.AwaitingRollback():
            log("warning", "child failed", code=code, note="with the newest; what was before is shown again")
        case sup.Exited(code), sup.Finished(gave_up=True):
            log("error", "child failed too often", code=code, failures=len(before.failed_at) + 1)
        case sup.Exited(code), _:
            log("info", "child ended", code=code)
        case sup.ClientDisconnected(), sup.Stopping():
            log("info", "client has hung up")
        case sup.RestartRequested(grace), sup.Stopping() if before is not after:
            log("info", "child told to end, to be started anew", grace=grace)
        case _:
            pass
