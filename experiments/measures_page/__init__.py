"""Command: the page of all measures."""
