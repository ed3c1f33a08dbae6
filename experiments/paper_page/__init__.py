"""The tables of the docs that stand for what was run: `python -m experiments.paper_page`."""
