"""A walk through the history in the terminal: `app` alone needs Textual."""
