"""The skip trigram on fresh data and on 512 sequences (paper D.3, Figures 33, 34)."""

from experiments import lab, sequence_lab


def paper():
    """Three seeds of each; 5 minutes on two cores."""
    return sequence_lab.both("skip_trigram", 512, 5_000, every=100)


def laptop():
    """Fresh data alone, three seeds; 20 seconds on two cores."""
    return sequence_lab.fresh("skip_trigram", 1_000)


losses = sequence_lab.losses

PRESETS = {"paper": paper, "laptop": laptop}

if __name__ == "__main__":
    options = dict(table=sequence_lab.rows, losses=losses, limit=1, drawn_from=())
    lab.run("skip_trigram", __doc__, PRESETS, **options)
