"""Writes the pages of docs/reference that are made of the code: `PYTHONPATH=tests python -m support.reference`."""

from support.reference.pages import FOLDER, PAGES

for name, make in PAGES.items():
    (FOLDER / f"{name}.md").write_text(make())
