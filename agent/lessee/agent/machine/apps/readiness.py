"""After an app was told: whether it works with what it sees, and the way back where it does not.

told ──► prove ──► confirmed: what was before may go
           │
           └─ not ready ──► back to the one before, told again ──► proved: what was bad waits for other inputs
                                                                     │
                                    the newest again, which was not at fault ◄── not ready either
"""

from lessee.agent.machine.protocol.commands import AllowRetry, CancelProbe, MarkReady, Probe, Publish, RollBack
from lessee.agent.machine.protocol.events import ReadinessFailed, ReadinessPassed, RollbackFailed, RolledBack
from lessee.agent.machine.state import NEVER, App, Backup, Readiness
from lessee.agent.machine.transaction import Turn
from lessee.core.backoff import delay
from lessee.core.immutable import replace

CAP = 15.0
"""Seconds between looks at an app that is not ready, at most."""


def plan_proof(turn: Turn, name: str) -> None:
    """Look at what is not proved yet, once the app has been told of it."""
    app = turn.apps[name]
    if app.proof.bad is not None and app.shows is not None and _has_ended(turn, app.shows):
        turn.tell("warning", "tries again what was rolled back", app=name, reason="what stands in the files has ended")
        forgive(turn, name)
    if turn.now >= prove_at(app):
        job = turn.next_id()
        _set(turn, name, replace(app.proof, job=job))
        turn.commands.append(
            Probe(name, job, app.published_at or 0.0, max(app.published_at or 0.0, app.told_at or 0.0))
        )


def prove_at(app: App) -> float:
    """When to look whether the app works; NEVER while it is still to be told, or where that is known."""
    proof = app.proof
    return proof.next_at if proof.open and proof.job is None and not app.owed else NEVER


def opened(turn: Turn, name: str, app: App) -> Readiness:
    """Of what is shown now in the place of what `app` says."""
    before = app.proof
    if before.job is not None:
        turn.commands.append(CancelProbe(name, before.job))
    if not app.want.proves:
        return Readiness()
    backup = before.backup
    # What was never known to work is nothing to go back to; nor is what had an environment that nobody knows any more.
    known = not before.open or before.bad is not None
    whole = app.staged is None or app.staged.environ is None or app.environ is not None
    # Nor is what came from a fallback.
    if backup is None and app.number is not None and known and whole and app.fallback.shown is None:
        backup = Backup(app.number, app.shows, app.environ, app.shows_rotated)
    return Readiness(open=True, next_at=turn.now, backup=backup)


def proved(turn: Turn, event: ReadinessPassed) -> None:
    """The app works with what it sees."""
    app = turn.apps.get(event.app)
    if app is None or app.proof.job != event.job:
        return
    proof = app.proof
    turn.tell("info", "confirmed", app=event.app, generation=app.number)
    turn.totals = replace(turn.totals, confirmations=turn.totals.confirmations + 1)
    turn.commands.append(MarkReady(event.app))
    _set(turn, event.app, replace(proof, open=False, job=None, backup=None, error=proof.error if proof.bad else None))


def not_proved(turn: Turn, event: ReadinessFailed) -> None:
    """Back to the one before, where there is one that is still good."""
    app = turn.apps.get(event.app)
    if app is None or app.proof.job != event.job:
        return
    proof = replace(app.proof, job=None)
    if proof.error != event.text or proof.backup is not None:
        turn.tell("error", "not ready", app=event.app, generation=app.number, reason=event.text)
    backup = proof.backup
    if backup is not None and backup.shows is not None and _has_ended(turn, backup.shows):
        reason = "what the previous generation holds has ended"
        turn.tell("error", "not rolled back", app=event.app, reason=reason)
        backup = None
    followed = any(isinstance(command, Publish) and command.app == event.app for command in turn.commands)
    if backup is not None and proof.fingerprint is not None and not followed:
        turn.commands.append(
            RollBack(event.app, backup.number, proof.fingerprint, owe=app.want.notifies, environ=backup.environ)
        )
        _set(turn, event.app, replace(proof, error=event.text, next_at=NEVER))
        return
    _set(turn, event.app, _later(turn, replace(proof, backup=backup), event.text))
    if proof.bad is not None:
        note = "the newest is shown again: it was not at fault"
        turn.tell("warning", "the previous generation does not work either", app=event.app, note=note)
        forgive(turn, event.app)


def rolled_back(turn: Turn, event: RolledBack) -> None:
    """Readers see the one before, of which the app is to be told, and which is looked at as well."""
    app = turn.apps.get(event.app)
    if app is None or (backup := app.proof.backup) is None:
        return
    turn.tell("error", "rolled back", app=event.app, generation=backup.number, reason=app.proof.error)
    turn.totals = replace(turn.totals, rollbacks=turn.totals.rollbacks + 1)
    assert app.number is not None
    old = [(number, at) for number, at in app.old if number != backup.number] + [(app.number, turn.now)]
    turn.edit_apps()[event.app] = replace(
        app,
        number=backup.number,
        shows=backup.shows,
        shows_rotated=backup.rotated,
        environ=backup.environ,
        generation=None,
        published_at=turn.now,
        old=tuple(old),
        owed=app.want.notifies,
        notify_at=turn.now,
        notify_tries=0,
        notify_error=None,
        proof=Readiness(open=True, next_at=turn.now, bad=app.proof.fingerprint, error=app.proof.error),
    )


def not_rolled_back(turn: Turn, event: RollbackFailed) -> None:
    """Readers see what they saw; it is looked at again."""
    app = turn.apps.get(event.app)
    if app is not None:
        turn.tell("error", "not rolled back", app=event.app, reason=event.text)
        _set(turn, event.app, _later(turn, app.proof, app.proof.error))


def forgive(turn: Turn, name: str) -> None:
    """What did not work, or was refused, may be tried again."""
    app = turn.apps[name]
    if app.proof.bad is not None:
        turn.commands.append(AllowRetry(name))
        _set(turn, name, replace(app.proof, bad=None))
    if app.proof.bad is not None or app.rejected:
        turn.edit_apps()[name] = replace(turn.apps[name], dirty=True)


def is_kept_for_going_back(app: App, id_: str) -> bool:
    """Whether the generation to go back to may hold this lease."""
    backup = app.proof.backup
    return backup is not None and (backup.shows is None or id_ in backup.shows)


def _has_ended(turn: Turn, leases: frozenset[str]) -> bool:
    held = [turn.leases.get(id_) for id_ in leases]
    return any(one is None or one.ended_at is not None for one in held)


def _later(turn: Turn, proof: Readiness, error: str | None) -> Readiness:
    wait = delay(proof.tries, turn.draw(), cap=CAP)
    return replace(proof, job=None, error=error, tries=proof.tries + 1, next_at=turn.now + wait)


def _set(turn: Turn, name: str, proof: Readiness) -> None:
    turn.edit_apps()[name] = replace(turn.apps[name], proof=proof)
