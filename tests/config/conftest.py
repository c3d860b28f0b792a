"""All errors of the configuration have texts that were reviewed."""

from pathlib import Path

from support.error_texts import reviewed

error_texts = reviewed(Path(__file__).with_name("error_texts.txt"))
