"""Which span a command begins, and what its answer says of it: names, versions and counts, and never a value."""

from collections.abc import Mapping
from typing import NamedTuple

from lessee.agent.machine.protocol import commands as cmd
from lessee.agent.machine.protocol import events as ev
from lessee.core.paths import Dynamic, Folder, Need, Ref

Attributes = Mapping[str, str | int | float | bool]


class Begun(NamedTuple):
    """A span: its name, and what is known from the start."""

    name: str
    attributes: Attributes


class Ended(NamedTuple):
    """How it ended, in a word; whether that is a failure; what is known only now."""

    outcome: str
    failed: bool
    attributes: Attributes


def begun(command: cmd.Command) -> Begun | None:
    """None: it is done at once, and is nobody's concern."""
    match command:
        case cmd.Login():
            return Begun("login", {"lessee.fresh": command.fresh})
        case cmd.RenewToken():
            return Begun("renew token", {})
        case cmd.CheckToken():
            return Begun("look up token", {})
        case cmd.RevokeToken():
            return Begun("revoke token", {})
        case cmd.DetectKvVersion():
            return Begun("find mount", {"lessee.path": command.mount})
        case cmd.ListFolder():
            return Begun("list", _path(command.folder))
        case cmd.ReadMetadata():
            return Begun("look", _path(command.ref))
        case cmd.ReadSecret():
            return Begun("read", _path(command.ref))
        case cmd.Issue():
            return Begun("issue", _path(command.need))
        case cmd.RenewLease():
            return Begun("renew lease", _leased(command.lease_id))
        case cmd.LookUpLease():
            return Begun("look up lease", _leased(command.lease_id))
        case cmd.RevokeLease():
            return Begun("revoke lease", _leased(command.lease_id))
        case cmd.Report():
            return Begun("report", {"lessee.app": command.app, "lessee.generation": command.generation})
        case cmd.Render():
            return Begun("render", _app(command.app) | {"lessee.secrets": len(needs(command))})
        case cmd.FallBack():
            return Begun("fall back", _app(command.app))
        case cmd.Check():
            return Begun("check", _app(command.app))
        case cmd.Publish():
            return Begun("publish", _app(command.app) | {"lessee.files": len(command.generation.files)})
        case cmd.Notify():
            return Begun("notify", _app(command.app))
        case cmd.Prove():
            return Begun("prove", _app(command.app))
        case cmd.RollBack():
            return Begun("roll back", _app(command.app) | {"lessee.generation": command.to})
        case _:
            return None


def ended(event: ev.Event) -> Ended | None:
    """None: it answers nothing. A text stands in no span: it is in the log, where values are hidden."""
    match event:
        case ev.Failed():
            return Ended(event.failure.kind.value, failed=True, attributes={})
        case ev.LoggedIn():
            return Ended("kept" if event.kept else "done", failed=False, attributes={"lessee.ttl": event.token.ttl})
        case ev.Renewed():
            return _done({"lessee.ttl": event.token.ttl})
        case ev.Issued():
            return _done({"lessee.ttl": event.lease.ttl})
        case ev.LeaseRenewed():
            return _done({"lessee.ttl": event.ttl})
        case ev.Listed():
            return _done({"lessee.secrets": len(event.markers)})
        case ev.Looked():
            return _done({"lessee.version": event.marker.version})
        case ev.Read():
            marker = event.secret.marker
            return _done({} if marker is None else {"lessee.version": marker.version})
        case ev.MountFound() | ev.Revoked() | ev.Reported():
            return _done({})
        case ev.Rendered() | ev.FellBack():
            return Ended("rendered", failed=False, attributes={"lessee.files": len(event.generation.files)})
        case ev.RenderFailed() | ev.NoFallback():
            return Ended("not rendered", failed=True, attributes={})
        case ev.Checked():
            return Ended("checked", failed=False, attributes={})
        case ev.CheckFailed():
            return Ended("refused", failed=True, attributes={})
        case ev.Published():
            word = "published" if event.changed else "unchanged"
            return Ended(word, failed=False, attributes={"lessee.generation": event.number})
        case ev.PublishFailed():
            return Ended("not published", failed=True, attributes={})
        case ev.Notified():
            return Ended("told", failed=False, attributes={})
        case ev.NotificationFailed():
            # Nobody there is as it should be before the app has started.
            return Ended("absent" if event.absent else "not told", failed=not event.absent, attributes={})
        case ev.ReadinessPassed():
            return Ended("confirmed", failed=False, attributes={})
        case ev.ReadinessFailed():
            return Ended("not ready", failed=True, attributes={})
        case ev.RolledBack():
            return Ended("rolled back", failed=True, attributes={})
        case ev.NotRolledBack():
            return Ended("not rolled back", failed=True, attributes={})
        case _:
            return None


def needs(command: cmd.Render) -> frozenset[Need]:
    """What was read for it."""
    inside = (folder.ref(name) for folder, secrets in command.folders.items() for name in secrets)
    return frozenset[Need]((*command.secrets, *inside, *command.dynamic))


def _done(attributes: Attributes) -> Ended:
    return Ended("done", failed=False, attributes=attributes)


def _app(name: str) -> dict[str, str | int | float | bool]:
    return {"lessee.app": name}


def _path(need: Need) -> Attributes:
    match need:
        case Ref(mount, path) | Folder(mount, path):
            return {"lessee.path": f"{mount}/{path}"}
        case Dynamic():
            return {"lessee.path": need.path}


def _leased(lease_id: str) -> Attributes:
    # Its last part is the lease's own: it would be another in each span.
    return {"lessee.path": lease_id.rpartition("/")[0]}
