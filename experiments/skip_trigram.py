"""The skip trigram on fresh data and on finite sets (paper D.3, Figures 33, 34)."""

from experiments import options, sequence_lab


def paper():
    """Three seeds of each; 8 minutes on two cores.

    The paper's text has 512 sequences, the title of Figure 34 has 50, the authors' notebook 100.
    """
    return sequence_lab.both("skip_trigram", (512, 100, 50), 5_000, every=100)


def laptop():
    """Fresh data alone, three seeds; 20 seconds on two cores."""
    return sequence_lab.fresh("skip_trigram", 1_000)


losses = sequence_lab.losses
PRESETS = {"paper": paper, "laptop": laptop}
main = sequence_lab.experiment("skip_trigram", __doc__, PRESETS)

if __name__ == "__main__":
    options.start(main)
