"""Repeated subsequences on fresh data and on 512 sequences (paper D.3, Figures 31, 32)."""

from experiments import sequence_lab

if __name__ == "__main__":
    sequence_lab.run("repeated_subsequence", __doc__, 512, 285_820)
