"""Issues secret_ids: finds the role of who asks, remembers who got one, and asks Vault for a wrapped one."""

import json
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from time import monotonic

from lessee.config import Config
from lessee.core.cgroups import container_of, is_inside, unit_of
from lessee.core.errors import LesseeError, NotNotifiedError, VaultUnreachableError
from lessee.core.issue_messages import Reply
from lessee.host import procfs
from lessee.host.clock import boot_time
from lessee.notification.engine import Container, open_engine
from lessee.ops.issue.peer import Peer, runs
from lessee.ops.issue.policy import issued as book
from lessee.ops.issue.policy.roles import ContainerPlace, Place, Refusal, UnitPlace, may_ask, role_for
from lessee.ops.issue.record import Record
from lessee.telemetry.logs import log
from lessee.vault.service_logins import ServiceLogins

_LOGIN_TODO = (
    "let `vault.auth` log in with the policy that `lessee check --policy --issuer` prints; `lessee setup` creates it "
    "as ENVIRONMENT-issuer"
)
_QUIET = 60.0
"""Seconds until the same refusal of the same place is logged again."""
_REFUSED_AGAIN = 1.0
"""Seconds for which a refused container is refused again without a question to the engine."""
_MAX_REMEMBERED = 1000


class Issuer:
    """Answers one process at a time."""

    def __init__(
        self, config: Config, environ: Mapping[str, str], record: Record, trail_problem: Callable[[], str | None]
    ) -> None:
        """`trail_problem`: why the audit trail cannot be written, where it is required; None if it can."""
        assert config.issue is not None
        self._config, self._issue, self._environ, self._record = config, config.issue, environ, record
        self._trail_problem = trail_problem
        self._logins = ServiceLogins(boot_time, _LOGIN_TODO)
        self._lock, self._engine_lock = threading.Lock(), threading.Lock()
        self._refused: OrderedDict[tuple[str, int, str], tuple[float, Reply]] = OrderedDict()
        self._logged: OrderedDict[tuple[str, str], float] = OrderedDict()

    def try_out(self) -> None:
        """Log what would keep this service from issuing: at its start, before an agent asks."""
        try:
            if any(role.containers for role in self._issue.roles.values()):
                with self._engine_lock, open_engine():
                    pass
            with self._logins.client(self._config.vault, self._environ):
                pass
        except LesseeError as exc:
            log("warning", "issuer not ready", reason=str(exc))

    def is_known(self, uid: int, cgroup: str) -> bool:
        """Whether a process may get a secret_id, as far as that can be said without a question to the engine."""
        return may_ask(self._issue, uid) and self._refused_before(uid, cgroup) is None

    def report(self, error: LesseeError) -> None:
        """The record cannot be written."""
        log("error", "secret_id not issued", reason=str(error))

    def issue(self, peer: Peer, deliver: Callable[[Reply], bool]) -> None:
        """Answer a process. `deliver` says whether the process got the reply."""
        if not may_ask(self._issue, peer.uid):
            deliver(self._refusal(peer, None, f"no role in issue.roles is for uid {peer.uid}"))
            return
        if (before := self._refused_before(peer.uid, peer.cgroup, peer.wanted)) is not None:
            deliver(before)
            return
        place = self._place(peer)
        if not isinstance(place, ContainerPlace | UnitPlace):
            deliver(place)
            return
        role = role_for(self._issue, peer.uid, place, peer.wanted)
        if isinstance(role, Refusal):
            deliver(self._refusal(peer, place, role.reason))
            return
        with self._lock:
            self._issue_once(peer, place, role, deliver)

    def _issue_once(self, peer: Peer, place: Place, role: str, deliver: Callable[[Reply], bool]) -> None:
        holder = book.Holder(peer.pid, peer.started, boot_time())
        match book.objection(self._record.issued, role, place.key, holder, runs):
            case book.Taken(reason):
                deliver(self._refusal(peer, place, reason, role=role))
                return
            case book.TooSoon(reason):
                self._log("warning", "secret_id refused", peer, place, role=role, reason=reason)
                deliver(Reply(unavailable=reason))
                return
            case None:
                pass
        if (problem := self._trail_problem()) is not None:
            self._log("error", "secret_id not issued", peer, place, role=role, reason=problem)
            deliver(Reply(unavailable="the service cannot write its audit trail"))
            return
        # Recorded first: a service that is killed in between does not issue a second one.
        self._record.save(book.add(self._record.issued, role, place.key, holder))
        reply = self._reply(peer, place, role)
        if reply.wrapping_token and deliver(reply):
            return
        self._record.save(book.remove(self._record.issued, role, place.key, holder))
        if reply.wrapping_token:
            self._log("warning", "secret_id not issued", peer, place, role=role, reason="the process has left")
        else:
            deliver(reply)

    def _reply(self, peer: Peer, place: Place, role: str) -> Reply:
        about = {"host": os.uname().nodename, "place": place.title, "uid": str(peer.uid)}
        path = f"auth/{self._issue.mount}/role/{role}/secret-id"
        try:
            with self._logins.client(self._config.vault, self._environ) as client:
                body = {"metadata": json.dumps(about)}
                token = client.write(path, body, wrap_ttl=self._issue.wrap_ttl).wrapping_token
        except LesseeError as exc:
            level = "warning" if isinstance(exc, VaultUnreachableError) else "error"
            self._log(level, "secret_id not issued", peer, place, role=role, reason=str(exc))
            return Reply(unavailable="the service gets no secret_id from Vault; see its log")
        if not token:
            self._log("error", "secret_id not issued", peer, place, role=role, reason="the answer is not wrapped")
            return Reply(unavailable="the service gets no secret_id from Vault; see its log")
        log("info", "secret_id issued", role=role, place=place.title, uid=peer.uid, pid=peer.pid)
        return Reply(wrapping_token=token)

    def _place(self, peer: Peer) -> Place | Reply:
        container = container_of(peer.cgroup)
        if container is None:
            if (unit := unit_of(peer.cgroup)) is not None:
                return UnitPlace(unit)
            return self._refusal(peer, None, "the process runs in no container and in no unit of the system")
        try:
            with self._engine_lock, open_engine() as engine:
                found = engine.inspect(container)
        except NotNotifiedError as exc:  # At boot, agents may start before the engine answers.
            self._log("warning", "secret_id not issued", peer, None, reason=str(exc))
            return Reply(unavailable="the service cannot ask the container engine; see its log")
        if found is None or not _runs_in(found, peer, container):
            return self._refusal(peer, None, "the engine knows no running container with this cgroup")
        return ContainerPlace(container, found.title, found.config.labels or {})

    def _refusal(self, peer: Peer, place: Place | None, reason: str, **fields: object) -> Reply:
        self._log("warning", "secret_id refused", peer, place, **fields, reason=reason)
        reply = Reply(refused=reason)
        if not fields and container_of(peer.cgroup) is not None:
            # By its whole cgroup: a user can name one of its own like that of any container.
            self._refused[peer.cgroup, peer.uid, peer.wanted] = monotonic() + _REFUSED_AGAIN, reply
            while len(self._refused) > _MAX_REMEMBERED:
                self._refused.popitem(last=False)
        return reply

    def _refused_before(self, uid: int, cgroup: str, wanted: str = "") -> Reply | None:
        until, reply = self._refused.get((cgroup, uid, wanted), (0.0, None))
        return reply if monotonic() < until else None

    def _log(self, level: str, event: str, peer: Peer, place: Place | None, **fields: object) -> None:
        title = place.title if place is not None else f"container {(container_of(peer.cgroup) or 'none')[:12]}"
        key, now = (f"{title} {peer.uid}", str(fields.get("reason"))), monotonic()
        if now - self._logged.get(key, -_QUIET) < _QUIET:
            return
        self._logged[key] = now
        while len(self._logged) > _MAX_REMEMBERED:
            self._logged.popitem(last=False)
        log(level, event, **fields, place=title, uid=peer.uid, pid=peer.pid)


def _runs_in(found: Container, peer: Peer, container: str) -> bool:
    first = procfs.cgroup(found.state.pid) if found.state.pid > 0 else ""
    return found.id == container and is_inside(peer.cgroup, container, first)
