"""The Helm chart, with the same bytes for the same commit. Helm itself would write the time of the build."""

import gzip
import io
import tarfile
from pathlib import Path

FOLDER = "compose/kubernetes/chart"
_NAME = "lessee"


def make(source: Path, output: Path, version: str, epoch: int) -> Path:
    """Pack the chart of an exported source as `helm package` does: below a folder with the chart's name."""
    folder, packed = source / FOLDER, io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for file in _files(folder):
            entry = tarfile.TarInfo(f"{_NAME}/{file.relative_to(folder)}")
            entry.size, entry.mtime, entry.mode = file.stat().st_size, epoch, 0o644
            with file.open("rb") as content:
                archive.addfile(entry, content)
    target = output / f"lessee-chart-{version}.tgz"
    target.write_bytes(gzip.compress(packed.getvalue(), mtime=epoch))
    return target


def _files(folder: Path) -> list[Path]:
    """Chart.yaml is first, so that programs that read an archive for it read little."""
    files = (file for file in folder.rglob("*") if file.is_file())
    return sorted(files, key=lambda file: (file.name != "Chart.yaml", str(file)))
