"""The paper's numbers of any network: `python -m experiments.paper_tables --help`."""
