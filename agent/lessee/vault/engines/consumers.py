"""Says in KV's metadata which versions of rotated secrets an app works with, where a rotator looks for it."""

from lessee.agent.machine.protocol.commands import ReportVersions
from lessee.core.consumers import custom_metadata
from lessee.vault.transport import Transport


def say(transport: Transport, token: str, report: ReportVersions) -> None:
    """A key without data, whose custom metadata say it; where there is nothing to say, none. Raises RequestFailedError."""
    said = custom_metadata(report.versions, report.generation)
    for number, document in enumerate(said):
        body = {"custom_metadata": document}
        # It may be sent twice, and so goes over the connection that is there.
        transport.ask("POST", _place(report.where, number), token=token, body=body, changes=False)
    for number in range(len(said), len(custom_metadata(report.before, report.generation))):
        transport.ask("DELETE", _place(report.where, number), token=token, changes=False)


def _place(where: str, number: int) -> str:
    return f"{where}+{number}" if number else where
