"""How fast grokjax is on this machine: `python -m experiments.throughput --help`."""
