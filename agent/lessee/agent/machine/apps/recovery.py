"""Which apps there are, and what stood in their directories before."""

from collections.abc import Mapping

from lessee.agent.machine.apps.fallback import anew
from lessee.agent.machine.apps.readiness import forgive
from lessee.agent.machine.protocol.app_spec import Want
from lessee.agent.machine.protocol.commands import MarkReady
from lessee.agent.machine.protocol.events import AppRecovered
from lessee.agent.machine.state import App, Backup, Fallback, Readiness
from lessee.agent.machine.transaction import Turn
from lessee.core.immutable import replace


def configure_apps(turn: Turn, wants: Mapping[str, Want]) -> None:
    """Apps that stay keep what they have; another recipe makes them render again."""
    apps = turn.edit_apps()
    for name in set(apps) - set(wants):
        if name not in turn.elsewhere:
            turn.tell("warning", "app left the configuration", app=name, note="its files stay as they are")
        del apps[name]
    for name, want in wants.items():
        app = apps.get(name)
        if app is None:
            apps[name] = App(want)
        elif app.want != want:
            dirty = app.dirty or app.want.recipe != want.recipe or app.want.needs != want.needs
            owed = app.owed and want.notifies
            job = app.job if app.want.recipe == want.recipe else None  # an old recipe's files are not wanted
            apps[name] = replace(app, want=want, dirty=dirty, owed=owed, job=job)
            if app.want.recipe != want.recipe:
                apps[name] = anew(apps[name], as_before=app.want.needs == want.needs)
                forgive(turn, name)  # what judges it may be another now
            if app.proof.open and not want.proves:
                turn.commands.append(MarkReady(name))
                apps[name] = replace(apps[name], proof=Readiness())


def recovered(turn: Turn, event: AppRecovered) -> None:
    """What stood in the app's directory before: a generation to read, and perhaps a debt."""
    app = turn.apps.get(event.app)
    if app is not None:
        turn.edit_apps()[event.app] = replace(
            app,
            dirty=True,
            job=None,
            generation=None,
            shows=None,
            shows_rotated=None,
            staged=None,
            old=event.old,
            number=event.number,
            # Where it is not known when it was shown, who is owed is told, whenever it started.
            published_at=turn.now if event.published_at is None and event.number is not None else event.published_at,
            owed=event.owed and app.want.notifies and event.number is not None,
            proof=_recovered_proof(event) if app.want.proves else Readiness(),
            fallback=Fallback(shown=event.fallback),
        )


def _recovered_proof(event: AppRecovered) -> Readiness:
    backup = Backup(event.good, None) if event.good is not None else None
    return Readiness(open=event.unproved, backup=backup, bad=event.bad, fingerprint=event.fingerprint)
