"""Benchmarks: speed on this machine, PyTorch's speed, compiled programs for other chips."""
