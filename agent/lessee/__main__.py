"""Runs the command line as `python -m lessee`."""

import sys

from lessee.cli import main

sys.exit(main())
