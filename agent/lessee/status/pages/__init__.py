"""Views of a status: one model that the HTML page and the terminal display."""
