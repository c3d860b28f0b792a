"""The spans of commands and their answers: names, versions and counts, and never the value of a secret."""

from collections.abc import Mapping
from typing import NamedTuple

from lessee.core.paths import DynamicSecret, Folder, Need, Ref
from lessee.protocol import commands as cmd
from lessee.protocol import events as ev

Attributes = Mapping[str, str | int | float | bool]


class SpanStart(NamedTuple):
    """The name of a span, and its attributes at the start."""

    name: str
    attributes: Attributes


class SpanEnd(NamedTuple):
    """The outcome of a span, whether it is a failure, and its attributes at the end."""

    outcome: str
    failed: bool
    attributes: Attributes


def span_start(command: cmd.Command) -> SpanStart | None:
    """The span that a command starts; None for a command that needs none."""
    match command:
        case cmd.Login():
            return SpanStart("login", {"lessee.fresh": command.fresh})
        case cmd.RenewToken():
            return SpanStart("renew token", {})
        case cmd.LookUpToken():
            return SpanStart("look up token", {})
        case cmd.RevokeToken():
            return SpanStart("revoke token", {})
        case cmd.DetectKvVersion():
            return SpanStart("detect KV version", {"lessee.path": command.mount})
        case cmd.ListFolder():
            return SpanStart("list folder", _path(command.folder))
        case cmd.ReadMetadata():
            return SpanStart("read metadata", _path(command.ref))
        case cmd.ReadSecret():
            return SpanStart("read secret", _path(command.ref))
        case cmd.IssueSecret():
            return SpanStart("issue secret", _path(command.need))
        case cmd.RenewLease():
            return SpanStart("renew lease", _leased(command.lease_id))
        case cmd.LookUpLease():
            return SpanStart("look up lease", _leased(command.lease_id))
        case cmd.RevokeLease():
            return SpanStart("revoke lease", _leased(command.lease_id))
        case cmd.ReportVersions():
            return SpanStart("report versions", {"lessee.app": command.app, "lessee.generation": command.generation})
        case cmd.Render():
            return SpanStart("render", _app(command.app) | {"lessee.secrets": len(needs(command))})
        case cmd.RenderFallback():
            return SpanStart("render fallback", _app(command.app))
        case cmd.RunCheck():
            return SpanStart("check", _app(command.app))
        case cmd.Publish():
            return SpanStart("publish", _app(command.app) | {"lessee.files": len(command.generation.files)})
        case cmd.Notify():
            return SpanStart("notify", _app(command.app))
        case cmd.Probe():
            return SpanStart("probe", _app(command.app))
        case cmd.RollBack():
            return SpanStart("roll back", _app(command.app) | {"lessee.generation": command.to})
        case _:
            return None


def span_end(event: ev.Event) -> SpanEnd | None:
    """The end that an event means for its span, or None. Error texts are only in the log, which redacts values."""
    match event:
        case ev.RequestFailed():
            return SpanEnd(event.failure.kind.value, failed=True, attributes={})
        case ev.LoggedIn():
            return SpanEnd(
                "reused" if event.reused else "done", failed=False, attributes={"lessee.ttl": event.token.ttl}
            )
        case ev.TokenRenewed():
            return _done({"lessee.ttl": event.token.ttl})
        case ev.SecretIssued():
            return _done({"lessee.ttl": event.lease.ttl})
        case ev.LeaseRenewed():
            return _done({"lessee.ttl": event.ttl})
        case ev.FolderListed():
            return _done({"lessee.secrets": len(event.secrets)})
        case ev.MetadataRead():
            return _done({"lessee.version": event.metadata.version})
        case ev.SecretRead():
            metadata = event.secret.metadata
            return _done({} if metadata is None else {"lessee.version": metadata.version})
        case ev.KvVersionDetected() | ev.Revoked() | ev.VersionsReported():
            return _done({})
        case ev.Rendered() | ev.FallbackRendered():
            return SpanEnd("rendered", failed=False, attributes={"lessee.files": len(event.generation.files)})
        case ev.RenderFailed() | ev.FallbackFailed():
            return SpanEnd("not rendered", failed=True, attributes={})
        case ev.CheckPassed():
            return SpanEnd("check passed", failed=False, attributes={})
        case ev.CheckFailed():
            return SpanEnd("check failed", failed=True, attributes={})
        case ev.Published():
            word = "published" if event.changed else "unchanged"
            return SpanEnd(word, failed=False, attributes={"lessee.generation": event.number})
        case ev.PublishFailed():
            return SpanEnd("not published", failed=True, attributes={})
        case ev.Notified():
            return SpanEnd("notified", failed=False, attributes={})
        case ev.NotificationFailed():
            # Before the app has started, no process is expected.
            return SpanEnd(
                "app not running" if event.absent else "not notified", failed=not event.absent, attributes={}
            )
        case ev.ReadinessPassed():
            return SpanEnd("ready", failed=False, attributes={})
        case ev.ReadinessFailed():
            return SpanEnd("not ready", failed=True, attributes={})
        case ev.RolledBack():
            return SpanEnd("rolled back", failed=True, attributes={})
        case ev.RollbackFailed():
            return SpanEnd("not rolled back", failed=True, attributes={})
        case _:
            return None


def needs(command: cmd.Render) -> frozenset[Need]:
    """The secrets that were read for a rendering."""
    inside = (folder.ref(name) for folder, secrets in command.folders.items() for name in secrets)
    return frozenset[Need]((*command.secrets, *inside, *command.dynamic))


def _done(attributes: Attributes) -> SpanEnd:
    return SpanEnd("done", failed=False, attributes=attributes)


def _app(name: str) -> dict[str, str | int | float | bool]:
    return {"lessee.app": name}


def _path(need: Need) -> Attributes:
    match need:
        case Ref(mount, path) | Folder(mount, path):
            return {"lessee.path": f"{mount}/{path}"}
        case DynamicSecret():
            return {"lessee.path": need.path}


def _leased(lease_id: str) -> Attributes:
    # The last part identifies the lease and would differ in every span.
    return {"lessee.path": lease_id.rpartition("/")[0]}
