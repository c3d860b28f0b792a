"""Rendering: when an app's inputs have changed, its files are rendered and checked, and then published."""

from lessee.agent.machine.apps.fallback import fallback_failed, may_use_fallback
from lessee.agent.machine.apps.inputs import inputs_of, optional_missing, settled_at
from lessee.agent.machine.apps.jobs import job_of
from lessee.agent.machine.apps.publication import log_problem, publish
from lessee.agent.machine.apps.state import (
    App,
    Checking,
    Contents,
    Rejected,
    Rendering,
    RenderingFallback,
    Staged,
    WriteFailed,
)
from lessee.agent.machine.apps.version_reports import rotated_versions
from lessee.agent.machine.session.state import NEVER
from lessee.agent.machine.transaction import StateView, Transaction
from lessee.core.immutable import replace
from lessee.protocol.commands import Render, RunCheck
from lessee.protocol.events import CheckFailed, CheckPassed, FallbackRendered, Rendered, RenderFailed


def render_due_at(state: StateView, app: App) -> float:
    """When to render an app's files; NEVER while an input is missing or another job is under way."""
    if not app.dirty or app.job is not None or inputs_of(state, app) is None:
        return NEVER
    retry_at = app.problem.next_at if isinstance(app.problem, WriteFailed) else 0.0
    return max(retry_at, settled_at(state, app.spec.needs))


def retain_files(tx: Transaction, name: str) -> None:
    """After a restart, leave the files as they are while something is missing that they may contain."""
    app = tx.apps[name]
    if not app.spec.sources or app.retained or app.publication is None or app.spec.sets_environment:
        return
    is_of_previous_run = app.publication.generation is None and app.publication.fallback is None
    if is_of_previous_run and optional_missing(app) and render_due_at(tx, app) != NEVER:
        tx.apps[name] = replace(app, dirty=False, retained=True)


def render(tx: Transaction, name: str) -> None:
    """Render an app's files from its current inputs."""
    app = tx.apps[name]
    found = inputs_of(tx, app)
    assert found is not None
    contents = Contents(found.leases, rotated_versions(found, app.spec.report_target))
    job = Rendering(tx.new_id(), contents)
    tx.apps[name] = replace(app, job=job, dirty=False)
    tx.counters = replace(tx.counters, renders=tx.counters.renders + 1)
    tx.commands.append(Render(name, job.id, app.spec.compiled_app, found.secrets, found.folders, found.dynamic))


def on_rendered(tx: Transaction, event: Rendered) -> None:
    """Check or publish the files, unless readers see the same ones already or the app was not ready with them."""
    match job_of(tx, event):
        case app, Rendering() as job:
            pass
        case _:
            return
    publication = app.publication
    if publication is not None:
        if publication.generation == event.generation and publication.fallback is None:
            publication = replace(publication, contents=job.contents)
            tx.apps[event.app] = replace(app, job=None, problem=None, publication=publication)
            return
        failed = publication.rolled_back
        if failed is not None and failed.fingerprint == event.generation.fingerprint:
            tx.apps[event.app] = replace(app, job=None, problem=None)
            return
    _check_or_publish(tx, event.app, job.id, Staged(event.generation, job.contents))


def on_fallback_rendered(tx: Transaction, event: FallbackRendered) -> None:
    """Check or publish the files of the fallback, unless Vault has answered meanwhile."""
    match job_of(tx, event):
        case app, RenderingFallback() as job if may_use_fallback(tx, app):
            # A snapshot may contain any lease that the agent holds.
            staged = Staged(event.generation, Contents(frozenset(tx.leases)), event.source)
            _check_or_publish(tx, event.app, job.id, staged)
        case app, RenderingFallback():
            tx.apps[event.app] = replace(app, job=None)
        case _:
            pass


def _check_or_publish(tx: Transaction, name: str, job: int, staged: Staged) -> None:
    app = tx.apps[name]
    # A write error remains until a publication succeeds, so that a full disk is logged once.
    app = tx.apps[name] = replace(app, problem=None if isinstance(app.problem, Rejected) else app.problem)
    if app.spec.checks:
        tx.apps[name] = replace(app, job=Checking(job, staged))
        tx.commands.append(RunCheck(name, job, staged.generation))
    else:
        publish(tx, name, job, staged)


def on_check_passed(tx: Transaction, event: CheckPassed) -> None:
    """Publish the generation, unless it was rendered from a fallback and Vault has answered meanwhile."""
    match job_of(tx, event):
        case app, Checking() as job if job.staged.fallback is None or may_use_fallback(tx, app):
            publish(tx, event.app, job.id, job.staged)
        case app, Checking():
            tx.apps[event.app] = replace(app, job=None)
        case _:
            pass


def on_rejected(tx: Transaction, event: RenderFailed | CheckFailed) -> None:
    """The published files remain until an input changes."""
    match job_of(tx, event):
        case _, Checking(staged=Staged(fallback=str())):
            fallback_failed(tx, event.app, event.text)
        case app, Rendering() | Checking():
            log_problem(tx, event.app, event.text)
            tx.apps[event.app] = replace(app, job=None, problem=Rejected(event.text))
        case _:
            pass
