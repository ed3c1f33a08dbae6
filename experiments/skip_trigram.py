"""The skip trigram on fresh data and on 512 sequences (paper D.3, Figures 33, 34)."""

from experiments import sequence_lab

if __name__ == "__main__":
    sequence_lab.run("skip_trigram", __doc__, 512, 5_000, 1_000)
