"""Page templates, style sheet and script of a report."""
