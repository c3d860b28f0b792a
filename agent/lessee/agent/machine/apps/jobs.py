"""The job under way for an app, which only the event with its number ends."""

from lessee.agent.machine.apps.state import App, Job
from lessee.agent.machine.transaction import Transaction
from lessee.protocol import events as ev

JobEvent = (
    ev.Rendered
    | ev.RenderFailed
    | ev.FallbackRendered
    | ev.FallbackFailed
    | ev.CheckPassed
    | ev.CheckFailed
    | ev.Published
    | ev.PublishFailed
    | ev.Notified
    | ev.NotificationFailed
)


def job_of(tx: Transaction, event: JobEvent) -> tuple[App, Job] | None:
    """The app and its job that this event ends; None if the app does not wait for it any more."""
    app = tx.apps.get(event.app)
    if app is None or app.job is None or app.job.id != event.job:
        return None
    return app, app.job
