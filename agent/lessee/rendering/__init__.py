"""From templates and secrets to files: pure, and with the values apart from the text until the last moment."""
