"""Command: the paper's numbers for any network."""
