"""Reports in KV metadata which versions of rotated secrets an app uses, so that the rotator finds them."""

from lessee.core.consumers import custom_metadata
from lessee.protocol.commands import ReportVersions
from lessee.vault.transport import Transport


def report_versions(transport: Transport, token: str, report: ReportVersions) -> None:
    """Write the report as the custom metadata of a key without data, or delete the key. Raises RequestFailedError."""
    reports = custom_metadata(report.versions, report.generation)
    for number, document in enumerate(reports):
        body = {"custom_metadata": document}
        # Sending it twice does no harm, so it may reuse a connection.
        transport.request("POST", _path(report.path, number), token=token, body=body, changes=False)
    for number in range(len(reports), len(custom_metadata(report.previous, report.generation))):
        transport.request("DELETE", _path(report.path, number), token=token, changes=False)


def _path(path: str, number: int) -> str:
    return f"{path}+{number}" if number else path
