"""Command: the generated parts of the docs pages that report results."""
