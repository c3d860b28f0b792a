"""The pages of docs/reference that are made of the code. `make docs` writes them, and tests/test_docs.py compares."""
